//! Where a process has a folio: its `pagemap` says whether the folio still is where it was seen.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};

use super::ranges::{FOLIO, PAGE};

/// The page frame of an entry of `pagemap`.
const PFN: u64 = (1 << 55) - 1;
/// There is a page.
const PRESENT: u64 = 1 << 63;

/// The `pagemap` of a process.
#[derive(Debug)]
pub struct Pagemap {
    file: File,
}

impl Pagemap {
    /// That of a process, where procfs is mounted at a folder.
    ///
    /// # Errors
    /// There is no such process, or it may not be looked at.
    pub fn open(procfs: &Path, pid: u32) -> anyhow::Result<Self> {
        let file = File::open(procfs.join(pid.to_string()).join("pagemap"));
        Ok(Self {
            file: file.with_context(|| format!("cannot read the pagemap of process {pid}"))?,
        })
    }

    /// Whether the first page of a folio is at this address.
    ///
    /// # Errors
    /// Reading fails, or the kernel does not tell page frames.
    pub fn has(&self, vaddr: u64, folio_pfn: u64) -> anyhow::Result<bool> {
        if !vaddr.is_multiple_of(FOLIO) || vaddr.checked_add(FOLIO).is_none() {
            return Ok(false);
        }
        let mut entry = [0; 8];
        match self.file.read_exact_at(&mut entry, vaddr / PAGE * 8) {
            Ok(()) => {}
            // Behind the last address, or the process has just ended.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error).context("cannot read the pagemap"),
        }
        let entry = u64::from_le_bytes(entry);
        if entry & PRESENT == 0 {
            return Ok(false);
        }
        ensure!(entry & PFN != 0, "the pagemap hides page frames: CAP_SYS_ADMIN is missing");
        Ok(entry & PFN == folio_pfn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folio_is_where_it_was_or_has_moved() {
        let procfs = tempfile::tempdir().unwrap();
        std::fs::create_dir(procfs.path().join("7")).unwrap();
        let mut map = vec![0; 8 * 2048];
        let mut set = |page: usize, entry: u64| {
            map[8 * page..8 * page + 8].copy_from_slice(&entry.to_le_bytes());
        };
        // 61: shared; 62: swapped out, so that the bits below are no page frame.
        set(512, PRESENT | 1 << 61 | 0x1200);
        set(1024, 1 << 62 | 0x1400);
        set(1536, PRESENT);
        std::fs::write(procfs.path().join("7/pagemap"), map).unwrap();
        let pagemap = Pagemap::open(procfs.path(), 7).unwrap();
        assert!(pagemap.has(FOLIO, 0x1200).unwrap());
        assert!(!pagemap.has(FOLIO, 0x1400).unwrap(), "another folio is there");
        assert!(!pagemap.has(FOLIO + PAGE, 0x1200).unwrap(), "no start of a folio");
        assert!(!pagemap.has(2 * FOLIO, 0x1400).unwrap(), "swapped out");
        assert!(!pagemap.has(9 * FOLIO, 0x1200).unwrap(), "behind the end");
        assert!(!pagemap.has(u64::MAX - FOLIO + 1, 0x1200).unwrap());
        let error = pagemap.has(3 * FOLIO, 0x1200).unwrap_err();
        assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
        assert!(Pagemap::open(procfs.path(), 8).is_err());
    }
}
