//! Frames of running processes, as `/proc/PID/pagemap` shows them
//! (Linux, `Documentation/admin-guide/mm/pagemap.rst`).
//!
//! ```text
//! entry of a virtual page, 64 bits
//!   63 present   62 swapped   61 file or shared   54:0 frame if present; 0 if it is hidden
//! ```

use core::fmt;
use core::time::Duration;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::remembered::Remembered;
use super::{Frames, Why};
use crate::addr::PAGE_SHIFT;
use crate::{Pfn, VirtAddr};

/// Most pages whose frame is remembered: some 4 MB.
pub const MAX_PAGES: usize = 1 << 16;
/// Most page maps that are open at a time, well below the 1024 files that a process may have.
pub const MAX_FILES: usize = 128;
/// Most processes of which is remembered that they are gone, and as many that called exec.
pub const MAX_GONE: usize = 1 << 12;

const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Where and how page maps are read. The default is this machine's `/proc`, and an age of 1 s.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    /// The mounted proc file system. Its PID namespace is the one that recorded pids are of.
    pub procfs: PathBuf,
    /// The kernel's base page in bytes: page maps have an entry for each. A power of two, 4096
    /// at least; 4096 is taken for anything else.
    pub page_bytes: u64,
    /// What was read is taken as true for less than this long.
    pub max_age: Duration,
    /// Most pages that are remembered, see [`MAX_PAGES`]; at least 2.
    pub max_pages: usize,
    /// Most page maps that are open, see [`MAX_FILES`]; at least 2.
    pub max_files: usize,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            procfs: PathBuf::from("/proc"),
            page_bytes: rustix::param::page_size() as u64,
            max_age: Duration::from_secs(1),
            max_pages: MAX_PAGES,
            max_files: MAX_FILES,
        }
    }
}

/// Frames of running processes, for live capture alone: of a page that has moved since it was
/// sampled, this is the new place.
///
/// Remembers at most [`MAX_PAGES`] frames, [`MAX_FILES`] open page maps and [`MAX_GONE`]
/// processes that are gone, each no longer than [`ProcessOptions::max_age`]. So a page that has
/// moved, and a process that has got the number of another, are seen that late at most; a
/// process that has ended since its page was read is still answered for, as its last samples
/// need it. Pages that are not present are asked for anew each time.
///
/// Of a page that has just been mapped ([`Frames::frame_anew`]) no frame is answered that was read
/// before it was asked for; of a process that has called exec ([`Frames::forget`]) none that was
/// read before that was told. What remains: the page may have moved again between its sample and
/// this answer, and rings of other CPUs may tell of exec one pass after samples that followed it.
#[derive(Clone, Debug)]
pub struct ProcessFrames {
    shared: Arc<Mutex<Lookups>>,
}

impl ProcessFrames {
    /// Reads page maps as `options` say, and tells ages by `clock`: the time since any fixed
    /// point.
    pub fn new(
        options: ProcessOptions,
        clock: impl Fn() -> Duration + Send + 'static,
    ) -> ProcessFrames {
        Self { shared: Arc::new(Mutex::new(Lookups::new(options, Box::new(clock)))) }
    }
}

/// This machine's processes, by its own clock.
impl Default for ProcessFrames {
    fn default() -> Self {
        let start = Instant::now();
        Self::new(ProcessOptions::default(), move || start.elapsed())
    }
}

impl ProcessFrames {
    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        // What is remembered is whole at any time, even where a thread has panicked.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Frames for ProcessFrames {
    fn frame(&self, pid: u32, vaddr: VirtAddr) -> Result<Pfn, Why> {
        self.lookups().frame(pid, vaddr, Known::Taken)
    }

    fn frame_anew(&self, pid: u32, vaddr: VirtAddr) -> Result<Pfn, Why> {
        self.lookups().frame(pid, vaddr, Known::Replaced)
    }

    fn forget(&self, pid: u32) {
        self.lookups().forget(pid);
    }
}

/// What becomes of a frame that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is the answer.
    Taken,
    /// The page map is asked, and its answer stands in its place.
    Replaced,
}

/// What all clones share.
struct Lookups {
    procfs: PathBuf,
    page_bytes: u64, // a power of two, 4096 at least
    clock: Box<dyn Fn() -> Duration + Send>,
    /// Frames in the kernel's pages, by process and virtual page, each with the number of calls of
    /// exec that had been told of when it was read.
    pages: Remembered<(u32, u64), (u64, u64)>,
    files: Remembered<u32, File>,
    gone: Remembered<u32, ()>,
    /// The number of the last call of exec, of those who called it.
    execs: Remembered<u32, u64>,
    exec_count: u64,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").field("procfs", &self.procfs).finish_non_exhaustive()
    }
}

impl Lookups {
    fn new(options: ProcessOptions, clock: Box<dyn Fn() -> Duration + Send>) -> Self {
        let ProcessOptions { procfs, page_bytes, max_age, max_pages, max_files } = options;
        let known = page_bytes.is_power_of_two() && page_bytes >= 1 << PAGE_SHIFT;
        Self {
            procfs,
            page_bytes: if known { page_bytes } else { 1 << PAGE_SHIFT },
            clock,
            pages: Remembered::new(max_pages, max_age),
            files: Remembered::new(max_files, max_age),
            gone: Remembered::new(MAX_GONE, max_age),
            execs: Remembered::new(MAX_GONE, max_age),
            exec_count: 0,
        }
    }

    /// Forgets what was read of a process.
    fn forget(&mut self, pid: u32) {
        self.exec_count += 1;
        self.execs.put(pid, self.exec_count, (self.clock)());
        self.files.forget(&pid);
        self.gone.forget(&pid);
    }

    /// A frame that is remembered, and was read since its process last called exec.
    fn remembered(&self, pid: u32, page: u64, now: Duration) -> Option<u64> {
        let (frame, execs) = self.pages.get(&(pid, page), now)?;
        let since = self.execs.get(&pid, now).is_none_or(|last| last <= execs);
        since.then_some(*frame)
    }

    fn frame(&mut self, pid: u32, vaddr: VirtAddr, known: Known) -> Result<Pfn, Why> {
        let now = (self.clock)();
        let (page, within) = (vaddr.get() / self.page_bytes, vaddr.get() % self.page_bytes);
        let remembered = self.remembered(pid, page, now).filter(|_| known == Known::Taken);
        let frame = match remembered {
            Some(frame) => frame,
            None => self.ask(pid, page, now)?,
        };
        // A frame of the kernel's may be several of 4 KiB.
        let first = frame.wrapping_mul(self.page_bytes >> PAGE_SHIFT);
        Ok(Pfn::new_truncate(first + (within >> PAGE_SHIFT)))
    }

    /// Asks the kernel, unless the process is known to be gone, and remembers its answer.
    fn ask(&mut self, pid: u32, page: u64, now: Duration) -> Result<u64, Why> {
        if self.gone.get(&pid, now).is_some() {
            return Err(Why::Gone);
        }
        let answer = self.entry(pid, page, now).and_then(frame_of);
        match answer {
            Ok(frame) => self.pages.put((pid, page), (frame, self.exec_count), now),
            Err(Why::Gone) => self.gone.put(pid, (), now),
            Err(_) => self.pages.forget(&(pid, page)),
        }
        answer
    }

    /// The kernel's entry for a page, from the open page map or one that is opened now.
    fn entry(&mut self, pid: u32, page: u64, now: Duration) -> Result<u64, Why> {
        if let Some(file) = self.files.get(&pid, now)
            && let Some(entry) = read_entry(file, page)?
        {
            return Ok(entry);
        }
        // An open page map has no more entries once its program has ended or called exec:
        // there may be another one by now.
        self.files.forget(&pid);
        let path = self.procfs.join(format!("{pid}/pagemap"));
        let file = File::open(path).map_err(|error| why(&error))?;
        let entry = read_entry(&file, page)?;
        // Beyond the end of the address space there are no entries either.
        if entry.is_none() && read_entry(&file, 0)?.is_none() {
            return Err(Why::Gone);
        }
        self.files.put(pid, file, now);
        entry.ok_or(Why::NotPresent)
    }
}

/// An entry of a page map, if it has that many.
fn read_entry(file: &File, page: u64) -> Result<Option<u64>, Why> {
    let mut entry = [0; size_of::<u64>()];
    let read = file.read_at(&mut entry, page.saturating_mul(8));
    let whole = read.map_err(|error| why(&error))? == entry.len();
    Ok(whole.then_some(u64::from_ne_bytes(entry)))
}

/// The frame that an entry tells.
const fn frame_of(entry: u64) -> Result<u64, Why> {
    match (entry & PRESENT, entry & FRAME) {
        (0, _) => Err(Why::NotPresent),
        (_, 0) => Err(Why::Hidden),
        (_, frame) => Ok(frame),
    }
}

/// What the system's answer says of a process.
fn why(error: &io::Error) -> Why {
    if error.raw_os_error() == Some(libc::ESRCH) {
        return Why::Gone;
    }
    match error.kind() {
        ErrorKind::NotFound => Why::Gone,
        ErrorKind::PermissionDenied => Why::Hidden,
        _ => Why::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering};
    use std::io::Write;

    use super::*;

    const PID: u32 = 4242;
    const PAGE: u64 = 0x400;
    const VADDR: VirtAddr = VirtAddr::new(0x40_0123);

    /// A proc file system in a folder, and a clock that stands still.
    struct Fake {
        folder: tempfile::TempDir,
        now_ms: Arc<AtomicU64>,
    }

    impl Fake {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder can be made");
            Self { folder, now_ms: Arc::default() }
        }

        fn options(&self) -> ProcessOptions {
            let procfs = self.folder.path().to_owned();
            ProcessOptions { procfs, page_bytes: 4096, ..ProcessOptions::default() }
        }

        fn frames(&self, options: ProcessOptions) -> ProcessFrames {
            let now_ms = Arc::clone(&self.now_ms);
            let clock = move || Duration::from_millis(now_ms.load(Ordering::Relaxed));
            ProcessFrames::new(options, clock)
        }

        fn at(&self, ms: u64) {
            self.now_ms.store(ms, Ordering::Relaxed);
        }

        fn path(&self, pid: u32) -> PathBuf {
            let folder = self.folder.path().join(pid.to_string());
            std::fs::create_dir_all(&folder).expect("a folder can be made");
            folder.join("pagemap")
        }

        /// Changes an entry of a process, as if its memory had moved.
        fn entry(&self, pid: u32, page: u64, entry: u64) {
            let mut options = File::options();
            options.write(true).create(true).truncate(false);
            let file = options.open(self.path(pid)).expect("it can be opened");
            file.write_all_at(&entry.to_ne_bytes(), 8 * page).expect("there is room");
        }

        /// Puts another process in the place of one, which has ended.
        fn replace(&self, pid: u32, page: u64, entry: u64) {
            let path = self.path(pid);
            File::create(&path).expect("the open page map has no entries any more");
            std::fs::remove_file(path).expect("it is there");
            self.entry(pid, page, entry);
        }
    }

    const fn pfn(frame: u64) -> Result<Pfn, Why> {
        Ok(Pfn::new_truncate(frame))
    }

    #[test]
    fn each_kind_of_entry() {
        // Bits by hand, from the kernel's documentation.
        let cases: &[(&str, u64, Result<Pfn, Why>)] = &[
            ("present", 0x8000_0000_0082_0db8, pfn(0x82_0db8)),
            ("present, soft-dirty, exclusive, file", 0xa180_0000_0000_0007, pfn(7)),
            ("the greatest frame there can be", 0x8000_0fff_ffff_ffff, pfn((1 << 44) - 1)),
            ("swapped", 0x4000_0000_0000_1203, Err(Why::NotPresent)),
            ("absent", 0, Err(Why::NotPresent)),
            ("absent, soft-dirty", 0x0080_0000_0000_0000, Err(Why::NotPresent)),
            ("hidden", 0x8000_0000_0000_0000, Err(Why::Hidden)),
            ("hidden, soft-dirty, file", 0xa080_0000_0000_0000, Err(Why::Hidden)),
        ];
        for (name, entry, want) in cases {
            let fake = Fake::new();
            fake.entry(PID, PAGE, *entry);
            assert_eq!(fake.frames(fake.options()).frame(PID, VADDR), *want, "{name}");
        }
    }

    #[test]
    fn processes_without_the_page() {
        let fake = Fake::new();
        fake.entry(PID, PAGE, PRESENT | 5);
        File::create(fake.path(1)).expect("a page map of a kernel thread is empty");
        std::fs::create_dir(fake.path(2)).expect("something that cannot be read");
        let frames = fake.frames(fake.options());
        let beyond = VirtAddr::new(0x7fff_ffff_f000);
        assert_eq!(frames.frame(PID, beyond), Err(Why::NotPresent), "beyond the end");
        assert_eq!(frames.frame(PID, VADDR), pfn(5), "which says nothing of the process");
        assert_eq!(frames.frame(1, VADDR), Err(Why::Gone), "no memory");
        assert_eq!(frames.frame(2, VADDR), Err(Why::Unreadable));
        assert_eq!(frames.frame(3, VADDR), Err(Why::Gone), "no process");
        assert_eq!(why(&io::Error::from_raw_os_error(libc::ESRCH)), Why::Gone);
        assert_eq!(why(&io::Error::from_raw_os_error(libc::EACCES)), Why::Hidden);
        assert_eq!(why(&io::Error::from_raw_os_error(libc::EMFILE)), Why::Unreadable);
    }

    #[test]
    fn a_frame_is_remembered_for_as_long_as_it_may_be() {
        let fake = Fake::new();
        fake.entry(PID, PAGE, PRESENT | 5);
        let frames = fake.frames(fake.options());
        assert_eq!(frames.frame(PID, VADDR), pfn(5));
        fake.entry(PID, PAGE, PRESENT | 6);
        fake.at(999);
        assert_eq!(frames.clone().frame(PID, VADDR), pfn(5), "clones share what they remember");
        fake.at(1000);
        assert_eq!(frames.frame(PID, VADDR), pfn(6));
    }

    #[test]
    fn a_page_that_comes_back_is_found_at_once() {
        let fake = Fake::new();
        fake.entry(PID, PAGE, 1 << 62);
        let frames = fake.frames(fake.options());
        assert_eq!(frames.frame(PID, VADDR), Err(Why::NotPresent));
        fake.entry(PID, PAGE, PRESENT | 6);
        assert_eq!(frames.frame(PID, VADDR), pfn(6));
    }

    #[test]
    fn a_process_that_is_gone_is_not_asked_for_until_its_number_may_be_anothers() {
        let fake = Fake::new();
        let frames = fake.frames(fake.options());
        assert_eq!(frames.frame(PID, VADDR), Err(Why::Gone));
        fake.entry(PID, PAGE, PRESENT | 7);
        fake.at(999);
        assert_eq!(frames.frame(PID, VADDR), Err(Why::Gone));
        fake.at(1000);
        assert_eq!(frames.frame(PID, VADDR), pfn(7));
    }

    #[test]
    fn a_number_that_another_process_has_now() {
        let fake = Fake::new();
        fake.entry(PID, PAGE, PRESENT | 5);
        let frames = fake.frames(fake.options());
        assert_eq!(frames.frame(PID, VADDR), pfn(5));
        fake.replace(PID, PAGE, PRESENT | 8);
        fake.entry(PID, PAGE + 1, PRESENT | 9);
        // The open page map has no entries any more.
        assert_eq!(frames.frame(PID, VirtAddr::new(0x40_1000)), pfn(9));
        assert_eq!(frames.frame(PID, VADDR), pfn(5), "for a while yet");
        fake.at(1000);
        assert_eq!(frames.frame(PID, VADDR), pfn(8));
    }

    #[test]
    fn a_page_that_has_just_been_mapped_is_asked_for_anew() {
        let cases: &[(&str, u64, Result<Pfn, Why>)] = &[
            ("elsewhere", PRESENT | 6, pfn(6)),
            ("not there any more", 1 << 62, Err(Why::NotPresent)),
        ];
        for (name, entry, want) in cases {
            let fake = Fake::new();
            fake.entry(PID, PAGE, PRESENT | 5);
            fake.entry(PID, PAGE + 1, PRESENT | 9);
            let frames = fake.frames(fake.options());
            let next = VirtAddr::new(0x40_1000);
            assert_eq!((frames.frame(PID, VADDR), frames.frame(PID, next)), (pfn(5), pfn(9)));
            fake.entry(PID, PAGE, *entry);
            fake.entry(PID, PAGE + 1, PRESENT | 10);
            assert_eq!(frames.frame(PID, VADDR), pfn(5), "{name}: it is remembered");
            assert_eq!(frames.frame_anew(PID, VADDR), *want, "{name}");
            assert_eq!(frames.frame(PID, VADDR), *want, "{name}: this is what is known since");
            assert_eq!(frames.frame(PID, next), pfn(9), "{name}: of other pages it says nothing");
        }
    }

    #[test]
    fn a_process_that_calls_exec_has_other_pages() {
        let fake = Fake::new();
        for pid in [PID, PID + 1] {
            fake.entry(pid, PAGE, PRESENT | 5);
        }
        let frames = fake.frames(fake.options());
        assert_eq!((frames.frame(PID, VADDR), frames.frame(PID + 1, VADDR)), (pfn(5), pfn(5)));
        assert_eq!(frames.frame(PID + 2, VADDR), Err(Why::Gone));
        // The new program has its memory in a page map of its own; the old one stays readable if
        // another process shares it, as after vfork.
        std::fs::remove_file(fake.path(PID)).expect("it is there");
        for pid in [PID, PID + 1, PID + 2] {
            fake.entry(pid, PAGE, PRESENT | 8);
        }
        frames.forget(PID);
        assert_eq!(frames.frame(PID, VADDR), pfn(8));
        assert_eq!(frames.frame(PID + 1, VADDR), pfn(5), "others called none");
        assert_eq!(frames.frame(PID + 2, VADDR), Err(Why::Gone));
        frames.forget(PID + 2);
        assert_eq!(frames.frame(PID + 2, VADDR), pfn(8), "who calls exec is there");
        fake.entry(PID, PAGE, PRESENT | 9);
        assert_eq!(frames.frame(PID, VADDR), pfn(8), "what was read since is remembered");
        frames.forget(PID);
        assert_eq!(frames.frame(PID, VADDR), pfn(9), "each call counts");
    }

    #[test]
    fn pages_and_files_stay_within_their_bounds() {
        let fake = Fake::new();
        for pid in 1..=40 {
            (0..5).for_each(|page| fake.entry(pid, page, PRESENT | (u64::from(pid) << 8 | page)));
        }
        let frames = fake.frames(ProcessOptions { max_pages: 16, max_files: 4, ..fake.options() });
        for pid in (1..=40).chain(1..=40) {
            for page in 0..5 {
                let got = frames.frame(pid, VirtAddr::new(page << 12));
                assert_eq!(got, pfn(u64::from(pid) << 8 | page));
                let lookups = frames.shared.lock().expect("nobody has panicked");
                assert!(lookups.pages.len() <= 16 && lookups.files.len() <= 4);
            }
        }
        for pid in 100..100 + 2 * MAX_GONE {
            let pid = u32::try_from(pid).expect("few");
            assert_eq!(frames.frame(pid, VADDR), Err(Why::Gone));
        }
        assert!(frames.shared.lock().expect("nobody has panicked").gone.len() <= MAX_GONE);
    }

    #[test]
    fn a_larger_base_page_has_several_of_our_frames() {
        let fake = Fake::new();
        fake.entry(PID, 2, PRESENT | 3);
        let frames = fake.frames(ProcessOptions { page_bytes: 0x1_0000, ..fake.options() });
        assert_eq!(frames.frame(PID, VirtAddr::new(0x2_5678)), pfn(3 * 16 + 5));
        let frames = fake.frames(ProcessOptions { page_bytes: 0, ..fake.options() });
        assert_eq!(frames.frame(PID, VirtAddr::new(0x2fff)), pfn(3), "0 is taken for 4096");
    }

    /// The frames of our own memory, as this machine's kernel shows them, against a second
    /// reader of the same file.
    #[test]
    fn this_process_itself() {
        const PAGES: usize = 64;
        let page_bytes = rustix::param::page_size();
        let mut memory = memmap2::MmapMut::map_anon(PAGES * page_bytes).expect("there is room");
        memory.iter_mut().step_by(page_bytes).for_each(|byte| *byte = 1);
        let _ = memory.lock();
        let address = memory.as_ptr().addr() as u64;
        let frames = ProcessFrames::default();
        let pid = std::process::id();
        let got: Vec<_> = (0..PAGES as u64)
            .map(|page| frames.frame(pid, VirtAddr::new(address + page * page_bytes as u64 + 7)))
            .collect();
        if got[0] == Err(Why::Hidden) {
            assert!(got.iter().all(|frame| *frame == Err(Why::Hidden)), "{got:?}");
            // Not by a macro: what those print of a test that passes is not shown.
            let why = "NOT RUN: frames are hidden without CAP_SYS_ADMIN: run this test as root";
            let _ = writeln!(io::stderr(), "this_process_itself: {why}");
            return;
        }
        let second = |index: usize| {
            let mut entries = [0; 8 * PAGES];
            let file = File::open("/proc/self/pagemap").expect("every process has one");
            file.read_exact_at(&mut entries, address / page_bytes as u64 * 8).expect("it is there");
            let entry: [u8; 8] = entries[8 * index..8 * index + 8].try_into().expect("8 bytes");
            assert_eq!(u64::from_ne_bytes(entry) >> 63, 1, "page {index} is present");
            (u64::from_ne_bytes(entry) << 9 >> 9) * (page_bytes as u64 / 4096)
        };
        for (index, frame) in got.iter().enumerate() {
            let frame = frame.expect("it was touched").get();
            assert_ne!(frame, 0);
            assert_eq!(frame, second(index), "page {index}");
        }
        let mut distinct: Vec<_> = got.iter().map(|frame| frame.expect("as above")).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), PAGES, "no two pages share a frame");
        let start = VirtAddr::new(address);
        drop(memory);
        // The clock of the default goes on, and remembers for a second: another one has nothing.
        assert_eq!(ProcessFrames::default().frame(pid, start), Err(Why::NotPresent));
    }
}
