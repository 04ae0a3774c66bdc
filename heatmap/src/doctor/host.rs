//! What the files of a host say. Reads alone: nothing is ever written here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::page_size::PageSize;
use crate::query::NumberList;

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

/// Who made the processor, which decides what unit it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Arm's architecture, whoever built it: Arm SPE.
    Arm,
    /// PEBS.
    Intel,
    /// IBS.
    Amd,
    /// No unit is known.
    Other,
}

/// What several checks need to know of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Who made the processor.
    pub maker: Maker,
    /// CPUs that are online; 1 where the kernel does not say.
    pub cpus: u64,
    /// The kernel's base page, unless it does not say.
    pub page_size: Option<PageSize>,
    /// The kernel's release, as `uname -r` says it.
    pub release: Option<String>,
    /// What shows that a hypervisor is below this kernel.
    pub hypervisor: Option<String>,
}

impl Machine {
    /// Asks the files.
    pub fn of(host: &Host) -> Self {
        let cpuinfo = host.proc_text("cpuinfo").unwrap_or_default();
        Self {
            maker: maker(&cpuinfo),
            cpus: host.numbers("devices/system/cpu/online").map_or(1, |cpus| cpus.0.len().max(1)),
            page_size: page_size(&host.proc_text("self/smaps").unwrap_or_default()),
            release: host.proc_text("sys/kernel/osrelease"),
            hypervisor: super::machines::hypervisor(host, &cpuinfo),
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

fn maker(cpuinfo: &str) -> Maker {
    let line = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.trim_end() == name).map(|(_, value)| value.trim())
    };
    match line("vendor_id") {
        Some("GenuineIntel") => Maker::Intel,
        Some("AuthenticAMD" | "HygonGenuine") => Maker::Amd,
        _ if line("CPU implementer").is_some() => Maker::Arm,
        _ => Maker::Other,
    }
}

/// From `/proc/self/smaps`, where the mapping of a program's own file stands first.
fn page_size(smaps: &str) -> Option<PageSize> {
    let size = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    let kib: u64 = size.trim().strip_suffix(" kB")?.parse().ok()?;
    format!("{kib}KiB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers() {
        let cases = [
            ("processor\t: 0\nvendor_id\t: GenuineIntel\n", Maker::Intel),
            ("vendor_id\t: AuthenticAMD\n", Maker::Amd),
            ("processor\t: 0\nCPU implementer\t: 0x41\n", Maker::Arm),
            ("vendor_id       : IBM/S390\n", Maker::Other),
            ("", Maker::Other),
        ];
        for (text, want) in cases {
            assert_eq!(maker(text), want, "{text}");
        }
    }

    #[test]
    fn page_sizes() {
        let size = |text| page_size(text).map(|size| size.to_string());
        assert_eq!(size("0-1 r-xp\nKernelPageSize:        4 kB\n").as_deref(), Some("4 KiB"));
        assert_eq!(size("KernelPageSize:       64 kB\n").as_deref(), Some("64 KiB"));
        for bad in ["", "KernelPageSize:", "KernelPageSize: 5 kB", "KernelPageSize: x kB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn chosen_words() {
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen("[none] integrity"), Some("none"));
        assert_eq!(chosen("always [madvise"), None);
        assert_eq!(chosen(""), None);
    }
}
