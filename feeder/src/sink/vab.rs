//! The drop folder of memtierd (`PagesOfInterestDir` of its policy `demote-idle`): which virtual
//! memory of which process it is to look at.
//!
//! ```text
//! decisions -> by process: ranges, sorted, adjacent ones joined -> lock -> <PID>.vab: u64 pairs
//! ```
//!
//! memtierd moves to slower memory whatever pages of these ranges it finds idle, and leaves all
//! others where they are. So the ranges to name are not the hot ones: by default they are those
//! that are proven to be [sparse](Verdict::Sparse), whose pages were mostly not accessed. It reads
//! the files round by round under a shared lock, and skips a round while somebody writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use heatmap::Verdict;
use rustix::fs::{FlockOperation, flock};

use crate::decision::Decision;

/// The verdicts whose folios are named unless others are asked for.
pub const DEFAULT_VERDICTS: &[Verdict] = &[Verdict::Sparse];
/// Bytes of virtual memory that a folio takes.
const FOLIO: u64 = 2 << 20;
/// Addresses from here on are the kernel's own, and of no process.
const KERNEL: u64 = 1 << 63;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that were written, one for each process.
    pub files: usize,
    /// Ranges in all of them.
    pub ranges: usize,
    /// Files that were removed, since their processes have no ranges any more.
    pub removed: usize,
    /// Folios of the verdicts asked for that are left out: nobody knows a process that has them, or
    /// where.
    pub unplaced: usize,
}

/// A drop folder, and what we wrote into it.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    verdicts: Vec<Verdict>,
    /// The processes whose files are ours.
    ours: BTreeSet<u32>,
}

/// Writes the folios with one of these verdicts into a drop folder, once.
///
/// # Errors
/// See [`Folder::write`].
pub fn write(dir: &Path, decisions: &[Decision], verdicts: &[Verdict]) -> anyhow::Result<Written> {
    Folder::new(dir, verdicts).write(decisions)
}

impl Folder {
    /// A folder that gets the folios with one of these verdicts.
    pub fn new(dir: &Path, verdicts: &[Verdict]) -> Self {
        Self { dir: dir.to_path_buf(), verdicts: verdicts.to_vec(), ours: BTreeSet::new() }
    }

    /// Writes the files of all processes that have ranges, and removes those that we wrote before
    /// of processes that have none now; with no decisions, all that we wrote. Waits for the lock.
    /// Files of others stay, but for those of processes that we write ourselves.
    ///
    /// # Errors
    /// There is no such folder, or something in it cannot be written. Each file is the old one or
    /// the new one then.
    pub fn write(&mut self, decisions: &[Decision]) -> anyhow::Result<Written> {
        let (processes, unplaced) = ranges(decisions, &self.verdicts);
        let mut written = Written { unplaced, ..Written::default() };
        let dir = self.dir.display();
        let _lock = lock(&self.dir).with_context(|| format!("cannot lock {dir}/lock"))?;
        for (pid, ranges) in &processes {
            // Before it is there: whatever happens, it is ours to remove.
            self.ours.insert(*pid);
            replace(&self.dir, *pid, &bytes(ranges))
                .with_context(|| format!("cannot write {dir}/{pid}.vab"))?;
            written.files += 1;
            written.ranges += ranges.len();
        }
        let ours = self.ours.iter().copied();
        let gone: Vec<u32> = ours.filter(|pid| !processes.contains_key(pid)).collect();
        for pid in gone {
            let removed = remove(&self.dir.join(format!("{pid}.vab")))
                .with_context(|| format!("cannot remove {dir}/{pid}.vab"))?;
            written.removed += usize::from(removed);
            self.ours.remove(&pid);
        }
        Ok(written)
    }
}

/// The ranges of each process, and how many folios nobody can place.
fn ranges(decisions: &[Decision], verdicts: &[Verdict]) -> (BTreeMap<u32, Vec<Range<u64>>>, usize) {
    let mut starts = BTreeMap::<u32, BTreeSet<u64>>::new();
    let mut unplaced = 0;
    for decision in decisions.iter().filter(|one| verdicts.contains(&one.verdict)) {
        match (decision.pid, decision.vaddr) {
            // Process 0 is the idle one, which has no memory of its own.
            (Some(pid), Some(vaddr))
                if pid != 0 && vaddr < KERNEL && vaddr.is_multiple_of(FOLIO) =>
            {
                starts.entry(pid).or_default().insert(vaddr);
            }
            _ => unplaced += 1,
        }
    }
    let joined = |starts: BTreeSet<u64>| {
        let mut ranges = Vec::<Range<u64>>::new();
        for start in starts {
            match ranges.last_mut() {
                Some(last) if start <= last.end => last.end = start + FOLIO,
                _ => ranges.push(start..start + FOLIO),
            }
        }
        ranges
    };
    (starts.into_iter().map(|(pid, starts)| (pid, joined(starts))).collect(), unplaced)
}

fn bytes(ranges: &[Range<u64>]) -> Vec<u8> {
    ranges.iter().flat_map(|range| [range.start, range.end]).flat_map(u64::to_le_bytes).collect()
}

/// The lock, held until the file is closed.
fn lock(dir: &Path) -> io::Result<File> {
    // As memtierd makes it, whoever comes first.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(dir.join("lock"))?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(file)
}

/// Puts a file in the place of a process's one, at once.
fn replace(dir: &Path, pid: u32, bytes: &[u8]) -> io::Result<()> {
    // memtierd reads what is called `.vab` alone.
    let new = dir.join(format!("{pid}.vab.new"));
    // From a run that did not come to its end: nobody else writes while we hold the lock.
    remove(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
    let done = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, dir.join(format!("{pid}.vab"))));
    if done.is_err() {
        // What went wrong first is what is told.
        let _ = remove(&new);
    }
    done
}

/// Removes a file; says whether it was there.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::decision::Standing;

    fn decision(pid: u32, vaddr: u64) -> Decision {
        Decision {
            standing: Standing::AsTold,
            folio_pfn: 0x200,
            verdict: Verdict::Sparse,
            accesses: 9,
            hot_chunks: vec![0],
            pid: Some(pid),
            vaddr: Some(vaddr),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn pairs(path: &Path) -> Vec<(u64, u64)> {
        let bytes = fs::read(path).unwrap();
        assert!(bytes.len().is_multiple_of(16), "{} bytes", bytes.len());
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        bytes.chunks(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect()
    }

    #[test]
    fn ranges_are_sorted_and_joined_by_process() {
        let dir = tempfile::tempdir().unwrap();
        let unplaced = [
            Decision { pid: None, ..decision(7, 0x20_0000) },
            Decision { vaddr: None, ..decision(7, 0x20_0000) },
            decision(0, 0x20_0000),
            decision(7, 0xffff_8000_0000_0000),
            decision(7, 0x1000),
        ];
        let mut decisions = vec![
            decision(7, 0x7f00_0060_0000),
            decision(7, 0x7f00_0020_0000),
            decision(7, 0x7f00_00a0_0000),
            decision(7, 0x7f00_0080_0000),
            // One that moved, and is met twice.
            decision(7, 0x7f00_0020_0000),
            decision(123_456, 0),
            Decision { verdict: Verdict::Hot, ..decision(8, 0x20_0000) },
        ];
        decisions.extend(unplaced);
        let written = write(dir.path(), &decisions, DEFAULT_VERDICTS).unwrap();
        assert_eq!(written, Written { files: 2, ranges: 3, removed: 0, unplaced: 5 });
        assert_eq!(names(dir.path()), ["123456.vab", "7.vab", "lock"]);
        let bytes = fs::read(dir.path().join("123456.vab")).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0]);
        let wanted = [(0x7f00_0020_0000, 0x7f00_0040_0000), (0x7f00_0060_0000, 0x7f00_00c0_0000)];
        assert_eq!(pairs(&dir.path().join("7.vab")), wanted);
        let hot = write(dir.path(), &decisions, &[Verdict::Hot, Verdict::Sparse]).unwrap();
        assert_eq!((hot.files, hot.ranges), (3, 4));
    }

    #[test]
    fn only_files_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1.vab"), [0; 16]).unwrap();
        fs::write(dir.path().join("3.vab.new"), "left by a run that was killed").unwrap();
        let mut folder = Folder::new(dir.path(), DEFAULT_VERDICTS);
        folder.write(&[decision(2, 0), decision(3, 0)]).unwrap();
        assert_eq!(names(dir.path()), ["1.vab", "2.vab", "3.vab", "lock"]);
        let written = folder.write(&[decision(3, 0)]).unwrap();
        assert_eq!((written.files, written.removed), (1, 1));
        assert_eq!(names(dir.path()), ["1.vab", "3.vab", "lock"]);
        // Somebody else may have removed it already.
        fs::remove_file(dir.path().join("3.vab")).unwrap();
        assert_eq!(folder.write(&[]).unwrap(), Written::default());
        assert_eq!(names(dir.path()), ["1.vab", "lock"]);
    }

    #[test]
    fn the_lock_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let reader = File::create(dir.path().join("lock")).unwrap();
        flock(&reader, FlockOperation::LockShared).unwrap();
        thread::scope(|scope| {
            let writer =
                scope.spawn(|| write(dir.path(), &[decision(7, 0)], DEFAULT_VERDICTS).unwrap());
            thread::sleep(Duration::from_millis(200));
            assert!(!writer.is_finished());
            assert_eq!(names(dir.path()), ["lock"]);
            flock(&reader, FlockOperation::Unlock).unwrap();
            assert_eq!(writer.join().unwrap().files, 1);
        });
        assert_eq!(names(dir.path()), ["7.vab", "lock"]);
    }

    #[test]
    fn whoever_holds_the_lock_sees_whole_files_of_one_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let is_done = AtomicBool::new(false);
        let mut folder = Folder::new(path, DEFAULT_VERDICTS);
        folder.write(&[decision(1, 0), decision(2, 0)]).unwrap();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut is_last = false;
                while !is_last {
                    is_last = is_done.load(Ordering::Relaxed);
                    let file = File::open(path.join("lock")).unwrap();
                    flock(&file, FlockOperation::LockShared).unwrap();
                    let (one, two) = (pairs(&path.join("1.vab")), pairs(&path.join("2.vab")));
                    assert_eq!(one, two);
                    assert_eq!(names(path), ["1.vab", "2.vab", "lock"]);
                }
            });
            for round in 1..200_u64 {
                // Every second folio: none can be joined.
                let both = |at| [decision(1, at * 2 * FOLIO), decision(2, at * 2 * FOLIO)];
                let decisions: Vec<_> = (0..round * 7 % 100 + 1).flat_map(both).collect();
                folder.write(&decisions).unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
    }

    #[test]
    fn without_a_folder_there_is_one_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = write(&missing, &[decision(7, 0)], DEFAULT_VERDICTS).unwrap_err();
        let wanted = format!("cannot lock {}/lock: No such file or directory", missing.display());
        assert!(format!("{error:#}").starts_with(&wanted), "{error:#}");
        assert!(names(dir.path()).is_empty());
    }
}
