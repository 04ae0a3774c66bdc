//! What the files of a host say. Reads alone: nothing is ever written here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use heatmap::NumberList;

/// Bytes of a file that are read at most. What is looked for stands near the beginning, also in
/// those that have a part for each CPU or mapping.
const MAX_BYTES: u64 = 64 << 10;

/// Where the kernel's file systems are mounted, and where programs are.
#[derive(Clone, Debug)]
pub struct Host {
    /// `procfs`, usually `/proc`.
    pub procfs: PathBuf,
    /// `sysfs`, usually `/sys`.
    pub sysfs: PathBuf,
    /// `debugfs`, usually `/sys/kernel/debug`.
    pub debugfs: PathBuf,
    /// Folders of programs, as `$PATH` has them.
    pub path: OsString,
}

impl Host {
    /// This host, with its file systems where they usually are.
    pub fn here() -> Self {
        Self {
            procfs: PathBuf::from("/proc"),
            sysfs: PathBuf::from("/sys"),
            debugfs: PathBuf::from("/sys/kernel/debug"),
            path: std::env::var_os("PATH").unwrap_or_default(),
        }
    }
}

impl Host {
    /// A file below `procfs`; none if it cannot be read.
    pub(super) fn proc_text(&self, name: &str) -> Option<String> {
        read(&self.procfs.join(name)).ok()
    }

    /// A file below `sysfs`; none if it cannot be read.
    pub(super) fn sys_text(&self, name: &str) -> Option<String> {
        read(&self.sysfs.join(name)).ok()
    }

    /// A number in a file below `procfs`.
    pub(super) fn proc_number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.proc_text(name)?.parse().ok()
    }

    /// A list of numbers in a file below `sysfs`.
    pub(super) fn numbers(&self, name: &str) -> Option<NumberList> {
        self.sys_text(name)?.parse().ok()
    }

    /// Where a program is that may be run.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let runs = |path: &PathBuf| {
            fs::metadata(path)
                .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(&self.path).map(|folder| folder.join(name)).find(runs)
    }
}

/// The beginning of a file, without the blanks around it. What is no UTF-8 is replaced.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The names in a folder, in order. None if it cannot be read.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
}

/// The word in brackets of a file that lists what may be chosen: `always [madvise] never`.
pub(super) fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_words() {
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen("[none] integrity"), Some("none"));
        assert_eq!(chosen("always [madvise"), None);
        assert_eq!(chosen(""), None);
    }
}
