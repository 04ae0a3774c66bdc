//! The files of DAMON, below the folder where sysfs is mounted.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

/// The folder of the kdamonds.
pub(crate) const KDAMONDS: &str = "kernel/mm/damon/admin/kdamonds";
/// How many there are.
pub(crate) const NR_KDAMONDS: &str = "kernel/mm/damon/admin/kdamonds/nr_kdamonds";
/// Whether the kernel's own monitor of the whole memory runs.
pub(crate) const DAMON_STAT: &str = "module/damon_stat/parameters/enabled";

/// Files that are read and written as a whole, by their path below the root of sysfs.
pub trait Files {
    /// The content.
    ///
    /// # Errors
    /// What the kernel says.
    fn read(&self, path: &str) -> std::io::Result<String>;

    /// One write(2) of a value to a file that is there.
    ///
    /// # Errors
    /// What the kernel says of the value.
    fn write(&mut self, path: &str, value: &str) -> std::io::Result<()>;

    /// Whether there is such a file or folder.
    fn exists(&self, path: &str) -> bool;

    /// Waits.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The files themselves.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// Below a folder, which is `/sys` unless one tries things out.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Files for Sysfs {
    fn read(&self, path: &str) -> std::io::Result<String> {
        let mut text = String::new();
        // A file of sysfs has a page at most.
        std::fs::File::open(self.root.join(path))?.take(1 << 16).read_to_string(&mut text)?;
        Ok(text)
    }

    fn write(&mut self, path: &str, value: &str) -> std::io::Result<()> {
        // A file that is not there is not made.
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.root.join(path))?
            .write_all(value.as_bytes())
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

/// The content of a file without blanks around it.
pub(crate) fn text(files: &impl Files, path: &str) -> anyhow::Result<String> {
    let text = files.read(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

/// The number in a file.
pub(crate) fn number(files: &impl Files, path: &str) -> anyhow::Result<u64> {
    let text = text(files, path)?;
    text.parse().with_context(|| format!("{path} says {text:?}, which is no number"))
}

/// Writes a value.
pub(crate) fn put(files: &mut impl Files, path: &str, value: &str) -> anyhow::Result<()> {
    files.write(path, value).with_context(|| format!("cannot write {value} to {path}"))
}
