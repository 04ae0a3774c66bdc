//! The kernel's two files in debugfs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::sink::spe_feed::Device;

/// `spe_feed`, open, and where `spe_stats` is.
#[derive(Debug)]
pub struct Debugfs {
    feed: File,
    stats: PathBuf,
}

impl Debugfs {
    /// Opens `damon/spe_feed` of a debugfs. Nothing is written.
    ///
    /// # Errors
    /// If it cannot be opened for writing.
    pub fn open(debugfs: &Path) -> anyhow::Result<Self> {
        let path = debugfs.join("damon/spe_feed");
        let feed = OpenOptions::new().write(true).open(&path).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => ": only root may write to it",
                io::ErrorKind::ReadOnlyFilesystem => ": debugfs is mounted read-only",
                _ => "",
            };
            anyhow::anyhow!("{}: cannot be opened for writing: {error}{hint}", path.display())
        })?;
        let stats = debugfs.join("damon/spe_stats");
        // Without receipts nobody would know what became of anything.
        File::open(&stats)
            .with_context(|| format!("{}: receipts cannot be read", stats.display()))?;
        Ok(Self { feed, stats })
    }
}

/// The line that names a page frame: `0x%x\n`, as much as one write(2) has.
fn line(pfn: u64, buffer: &mut [u8; 20]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (16 - pfn.leading_zeros() as usize / 4).max(1);
    buffer[..2].copy_from_slice(b"0x");
    for (place, byte) in buffer[2..2 + digits].iter_mut().rev().enumerate() {
        *byte = DIGITS[(pfn >> (4 * place) & 15) as usize];
    }
    buffer[2 + digits] = b'\n';
    &buffer[..3 + digits]
}

impl Device for Debugfs {
    fn write(&mut self, pfn: u64) -> io::Result<()> {
        let mut buffer = [0; 20];
        let line = line(pfn, &mut buffer);
        // One value, one write(2): a rest would be another value.
        let written = loop {
            match self.feed.write(line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        if written == line.len() {
            return Ok(());
        }
        Err(io::Error::other(format!("{written} of {} bytes were taken", line.len())))
    }

    fn stats(&mut self) -> io::Result<String> {
        std::fs::read_to_string(&self.stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_the_kernel_reads() {
        for pfn in [0, 1, 0xf, 0x10, 0x20000, 0x820d_b801, u64::MAX >> 12, u64::MAX] {
            let mut buffer = [0; 20];
            assert_eq!(line(pfn, &mut buffer), format!("{pfn:#x}\n").as_bytes());
        }
    }
}
