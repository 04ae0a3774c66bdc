//! The table as files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, SessionACL, TimeOrNow,
    WriteFlags,
};
use rustix::mount::UnmountFlags;
use rustix::thread::CapabilitySet;

use crate::kernel::{Kernel, Refusal};

/// Nothing is to be remembered of what may change.
const TTL: Duration = Duration::ZERO;
const ROOT: u64 = 1;
const DAMON: u64 = 2;
const FEED: u64 = 3;
const STATS: u64 = 4;

/// A kernel whose files are mounted, until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    kernel: Arc<Mutex<Kernel>>,
    dir: PathBuf,
    session: Option<BackgroundSession>,
}

/// Whether files can be mounted here; if not, why.
///
/// # Errors
/// What is missing, for a test to say that it did not run.
pub fn available() -> Result<(), String> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    device.map_err(|error| format!("/dev/fuse: {error}"))?;
    let capabilities = rustix::thread::capabilities(None).map_err(|error| error.to_string())?;
    if capabilities.effective.contains(CapabilitySet::SYS_ADMIN) {
        Ok(())
    } else {
        Err("only root may mount (CAP_SYS_ADMIN)".into())
    }
}

impl Mounted {
    /// Mounts `damon/spe_feed` and `damon/spe_stats` at a folder, which can be removed only after
    /// this is dropped.
    ///
    /// # Errors
    /// If that fails, see [`available`].
    pub fn new(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref().canonicalize()?;
        let kernel = Arc::new(Mutex::new(Kernel::new()));
        let files = Files { kernel: Arc::clone(&kernel), open: Mutex::default() };
        let mut config = Config::default();
        // The modes of the files hold, for everybody.
        config.acl = SessionACL::All;
        config.mount_options = vec![
            MountOption::DefaultPermissions,
            MountOption::FSName("spefeed".into()),
            MountOption::NoDev,
            MountOption::NoExec,
            MountOption::NoSuid,
        ];
        let session = fuser::spawn_mount(files, &dir, &config)?;
        Ok(Self { kernel, dir, session: Some(session) })
    }

    /// The kernel. Whoever uses the files waits while it is held: do not use them meanwhile.
    pub fn kernel(&self) -> MutexGuard<'_, Kernel> {
        lock(&self.kernel)
    }

    /// The folder, as if it were that of debugfs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file to write to.
    pub fn feed(&self) -> PathBuf {
        self.dir.join("damon/spe_feed")
    }

    /// The file to read from.
    pub fn stats(&self) -> PathBuf {
        self.dir.join("damon/spe_stats")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The folder is free at once, even if somebody still has a file open.
        let _ = rustix::mount::unmount(&self.dir, UnmountFlags::DETACH);
        drop(self.session.take());
    }
}

/// A test that failed while it held the lock is no reason to fail others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files.
struct Files {
    kernel: Arc<Mutex<Kernel>>,
    open: Mutex<Open>,
}

/// What readers of `spe_stats` see: a text that is made when they read at its start.
#[derive(Default)]
struct Open {
    last: u64,
    texts: HashMap<u64, String>,
}

fn attributes(ino: u64) -> Option<FileAttr> {
    let (kind, perm, nlink) = match ino {
        ROOT => (FileType::Directory, 0o700, 3),
        DAMON => (FileType::Directory, 0o755, 2),
        FEED => (FileType::RegularFile, 0o200, 1),
        STATS => (FileType::RegularFile, 0o400, 1),
        _ => return None,
    };
    Some(FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn reply_attributes(ino: INodeNo, reply: ReplyAttr) {
    match attributes(ino.0) {
        Some(attributes) => reply.attr(&TTL, &attributes),
        None => reply.error(Errno::ENOENT),
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = match (parent.0, name.to_str()) {
            (ROOT, Some("damon")) => DAMON,
            (DAMON, Some("spe_feed")) => FEED,
            (DAMON, Some("spe_stats")) => STATS,
            _ => 0,
        };
        match attributes(ino) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply_attributes(ino, reply);
    }

    /// O_TRUNC asks for it. It changes nothing.
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply_attributes(ino, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut open = lock(&self.open);
        open.last += 1;
        // Each write(2) comes as it is, and each read(2).
        reply.opened(FileHandle(open.last), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.open).texts.remove(&handle.0);
        reply.ok();
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if ino.0 != FEED {
            return reply.error(Errno::EINVAL);
        }
        let mut kernel = lock(&self.kernel);
        let now = kernel.now();
        match kernel.write_with_faults(data, now) {
            // A request is never that long.
            Ok(len) => reply.written(u32::try_from(len).unwrap_or(u32::MAX)),
            Err(Refusal::NotPermitted) => reply.error(Errno::EPERM),
            Err(Refusal::ReadOnly) => reply.error(Errno::EROFS),
            Err(Refusal::Failed) => reply.error(Errno::EIO),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if ino.0 != STATS {
            return reply.error(Errno::EINVAL);
        }
        let kernel = lock(&self.kernel);
        if kernel.faults.stats_unreadable {
            return reply.error(Errno::EIO);
        }
        let mut open = lock(&self.open);
        let text = open.texts.entry(handle.0).or_default();
        if offset == 0 {
            *text = kernel.stats();
        }
        let start = usize::try_from(offset).map_or(text.len(), |offset| offset.min(text.len()));
        let len = usize::try_from(size).unwrap_or(usize::MAX).min(text.len() - start);
        reply.data(&text.as_bytes()[start..start + len]);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries: &[(u64, FileType, &str)] = match ino.0 {
            ROOT => &[(DAMON, FileType::Directory, "damon")],
            DAMON => &[
                (FEED, FileType::RegularFile, "spe_feed"),
                (STATS, FileType::RegularFile, "spe_stats"),
            ],
            _ => return reply.error(Errno::ENOTDIR),
        };
        let own = [(ino.0, FileType::Directory, "."), (ROOT, FileType::Directory, "..")];
        for (place, (ino, kind, name)) in (1_u64..).zip(own.iter().chain(entries)) {
            if place > offset && reply.add(INodeNo(*ino), place, *kind, name) {
                break;
            }
        }
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{ErrorKind, Read, Seek, Write};
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;

    /// A kernel at a folder that goes after it; nothing where that cannot be.
    fn mounted() -> Option<(tempfile::TempDir, Mounted)> {
        if let Err(why) = available() {
            eprintln!("NOT RUN: {why}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mounted = Mounted::new(dir.path()).unwrap();
        // What is bound last is dropped first.
        Some((dir, mounted))
    }

    fn feed(mounted: &Mounted) -> File {
        OpenOptions::new().write(true).open(mounted.feed()).unwrap()
    }

    #[test]
    fn rule_1_two_files_with_their_modes() {
        let Some((dir, mounted)) = mounted() else { return };
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(mounted.feed()), 0o100_200);
        assert_eq!(mode(mounted.stats()), 0o100_400);
        assert_eq!(mode(mounted.dir().join("damon")), 0o40_755);
        let names = |dir| {
            let entries = fs::read_dir(dir).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        assert_eq!(names(mounted.dir().to_path_buf()), ["damon"]);
        assert_eq!(names(mounted.dir().join("damon")), ["spe_feed", "spe_stats"]);
        // Nobody else may have a look.
        assert_eq!(mode(mounted.dir().to_path_buf()) & 0o777, 0o700);
        let feed = File::open(mounted.feed()).unwrap().read(&mut [0; 9]).unwrap_err();
        assert_eq!(feed.kind(), ErrorKind::InvalidInput);
        let stats = OpenOptions::new().write(true).open(mounted.stats()).unwrap().write(b"1");
        assert_eq!(stats.unwrap_err().kind(), ErrorKind::InvalidInput);
        drop(mounted);
        assert!(names(dir.path().to_path_buf()).is_empty(), "it is unmounted");
    }

    #[test]
    fn rules_2_to_6_each_write_comes_as_it_is() {
        let Some((_dir, mounted)) = mounted() else { return };
        let mut file = feed(&mounted);
        for line in ["0x20000\n", "0x20001", "131072\n", "+0x20001\n", "0x20000\n0x20200\n", "0\n"]
        {
            assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
        }
        for rubbish in ["", "-1\n", "0x20000\r\n", " 0x20000\n"] {
            assert_eq!(file.write(rubbish.as_bytes()).unwrap(), rubbish.len());
        }
        // The position is ignored, and so are O_TRUNC and O_APPEND.
        assert_eq!(file.write_at(b"0x20002\n", 12_345).unwrap(), 8);
        fs::write(mounted.feed(), "0x20003\n").unwrap();
        let mut append = OpenOptions::new().append(true).open(mounted.feed()).unwrap();
        assert_eq!(append.write(b"0x20004").unwrap(), 7);
        {
            let kernel = mounted.kernel();
            let counts = kernel.counts(0x20000).unwrap();
            assert_eq!(counts[..6], [2, 2, 1, 1, 1, 0]);
            assert_eq!(kernel.totals(), (1, 7));
            // One of no bytes does not come at all.
            assert_eq!(kernel.writes, 6 + 3 + 3);
            assert_eq!(kernel.log.len(), 8);
        }
        let long = "0x0000000000000000000000000020000";
        assert_eq!(file.write(long.as_bytes()).unwrap(), 33);
        assert_eq!(file.write(b"010000000").unwrap(), 9);
        assert_eq!(mounted.kernel().log[8..], [0x200, 0x20_0000]);
        // Many bytes are one write, too.
        assert_eq!(file.write(&[b'0'; 100_000]).unwrap(), 100_000);
        assert_eq!(mounted.kernel().writes, 15);
    }

    #[test]
    fn rules_7_and_8_time() {
        let Some((_dir, mounted)) = mounted() else { return };
        let mut file = feed(&mounted);
        for number in 1..=1025_u64 {
            writeln!(file, "{}", number * 512).unwrap();
        }
        assert_eq!(mounted.kernel().totals().0, 1024);
        assert!(mounted.kernel().counts(1025 * 512).is_none());
        mounted.kernel().advance(Duration::from_secs(31));
        file.write_all(b"513\n").unwrap();
        file.write_all(format!("{}\n", 1025 * 512).as_bytes()).unwrap();
        let mut kernel = mounted.kernel();
        assert_eq!(kernel.totals(), (2, 3));
        kernel.advance(Duration::from_secs(31));
        let now = kernel.now();
        assert!(!kernel.is_split(512, 8, 30), "it is read however old it is");
        kernel.prune(now);
        assert!(kernel.is_split(512, 8, 30));
    }

    #[test]
    fn rules_9_to_13_what_is_written_is_read() {
        let Some((_dir, mounted)) = mounted() else { return };
        let mut file = feed(&mounted);
        for chunk in [0, 1, 5, 31] {
            file.write_all(format!("{:#x}\n", 0x8000 + chunk * 16).as_bytes()).unwrap();
        }
        let stats = fs::read_to_string(mounted.stats()).unwrap();
        let wanted = "nr_entries=1 total_accesses=4\n  pfn=0x8000 pid=0 total=4 hot_pages=4/512\n";
        assert_eq!(stats, wanted);
        let kernel = mounted.kernel();
        let bitmap = kernel.bitmap(0x8000, 4).unwrap();
        let hot: Vec<_> = bitmap.iter().enumerate().filter(|(_, hot)| **hot).collect();
        assert_eq!(hot, [(0, &true), (1, &true), (5, &true), (31, &true)]);
        assert!(kernel.is_split(0x8000, 4, 30) && kernel.is_split(0x8010, 4, 0));
        assert_eq!(kernel.bitmap(0x8000, 9).unwrap().len(), 128);
    }

    #[test]
    fn stats_are_made_anew_at_their_start() {
        let Some((_dir, mounted)) = mounted() else { return };
        let mut stats = File::open(mounted.stats()).unwrap();
        let mut start = [0; 14];
        stats.read_exact(&mut start).unwrap();
        fs::write(mounted.feed(), "0x200").unwrap();
        let mut text = String::new();
        stats.read_to_string(&mut text).unwrap();
        assert_eq!(text, "otal_accesses=0\n", "what was there when it was begun");
        stats.rewind().unwrap();
        text.clear();
        stats.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("nr_entries=1 total_accesses=1\n"), "{text}");
    }

    #[test]
    fn faults_come_and_go() {
        let Some((_dir, mounted)) = mounted() else { return };
        let mut file = feed(&mounted);
        mounted.kernel().faults.swallow = true;
        assert_eq!(file.write(b"0x200\n").unwrap(), 6);
        assert_eq!(mounted.kernel().totals(), (0, 0));
        // EPERM, EROFS, EIO.
        for (refusal, errno) in
            [(Refusal::NotPermitted, 1), (Refusal::ReadOnly, 30), (Refusal::Failed, 5)]
        {
            mounted.kernel().faults.refuse = Some(refusal);
            assert_eq!(file.write(b"0x200\n").unwrap_err().raw_os_error(), Some(errno));
        }
        mounted.kernel().faults.stats_unreadable = true;
        let stats = fs::read_to_string(mounted.stats()).unwrap_err();
        assert_eq!(stats.raw_os_error(), Some(5));
        mounted.kernel().faults = crate::Faults::default();
        assert_eq!(file.write(b"0x200\n").unwrap(), 6);
        // Another writer.
        let mut kernel = mounted.kernel();
        let now = kernel.now();
        kernel.write(b"0x400\n", now);
        drop(kernel);
        let stats = fs::read_to_string(mounted.stats()).unwrap();
        assert!(stats.starts_with("nr_entries=2 total_accesses=2\n"), "{stats}");
    }

    #[test]
    fn it_goes_while_a_file_is_open() {
        let Some((dir, mounted)) = mounted() else { return };
        let mut file = feed(&mounted);
        let kernel = Arc::clone(&mounted.kernel);
        drop(mounted);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Whoever has it may go on, or is told.
        if file.write(b"0x200\n").is_ok() {
            assert_eq!(lock(&kernel).totals(), (1, 1));
        }
    }
}
