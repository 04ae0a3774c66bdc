//! What the kernel tells of itself in files: its units, CPUs and limits
//! (`Documentation/ABI/testing/sysfs-bus-event_source-devices*`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::live::output::synthesized::TaskAbout;
use crate::perf::CpuSet;

/// Tasks that are told of at the start; a machine with more is rare, and the rest is learned as
/// it runs.
const MAX_TASKS: usize = 1 << 17;
/// Clocks that are read one after the other are read again if this much passes in between, ...
const MOST_APART: Duration = Duration::from_millis(1);
/// ... so many times at most.
const MOST_READINGS: usize = 4;

/// A host, by the folder that its `/sys`, `/proc` and `/etc` lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Host {
    /// The host whose files lie in this folder: `/`, or a copy for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What a file holds, without white space around it.
    pub(in crate::live) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(std::fs::read_to_string(self.root.join(path)).ok()?.trim().to_owned())
    }

    /// A number in a file.
    pub(in crate::live) fn number(&self, path: &str) -> Option<i64> {
        self.text(path)?.parse().ok()
    }

    /// The unit of this name.
    pub(in crate::live) fn pmu(&self, name: &str) -> Option<Pmu<'_>> {
        let folder = Path::new("sys/bus/event_source/devices").join(name);
        let type_ = self.text(folder.join("type"))?.parse().ok()?;
        Some(Pmu { host: self, name: name.to_owned(), type_, folder })
    }

    /// All units, by name.
    pub(in crate::live) fn pmus(&self) -> Vec<Pmu<'_>> {
        let entries = std::fs::read_dir(self.root.join("sys/bus/event_source/devices"));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut pmus: Vec<_> = names.filter_map(|name| self.pmu(&name)).collect();
        pmus.sort_by(|a, b| a.name.cmp(&b.name));
        pmus
    }

    /// CPUs that run now; `None` if that cannot be read.
    pub(in crate::live) fn online(&self) -> Option<Vec<u32>> {
        self.text("sys/devices/system/cpu/online").as_deref().and_then(cpu_list)
    }

    /// How many CPUs there may be, by the greatest number of one that is present.
    pub(in crate::live) fn available(&self) -> Option<u32> {
        let present = self.text("sys/devices/system/cpu/present").as_deref().and_then(cpu_list)?;
        present.into_iter().max()?.checked_add(1)
    }

    /// MIDR_EL1 of an Arm CPU.
    pub(in crate::live) fn midr(&self, cpu: u32) -> Option<u64> {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/regs/identification/midr_el1");
        hexadecimal(&self.text(path)?)
    }

    /// The processor as perf names it: MIDR_EL1, or vendor, family, model and stepping.
    pub(in crate::live) fn cpuid(&self) -> Option<String> {
        // A CPU that is offline does not tell, and that may be CPU 0.
        let online = self.online().unwrap_or_default();
        if let Some(midr) = online.into_iter().find_map(|cpu| self.midr(cpu)) {
            return Some(format!("{midr:#018x}"));
        }
        let info = self.text("proc/cpuinfo")?;
        let field = |name: &str| {
            info.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        let parts = ["vendor_id", "cpu family", "model", "stepping"].map(field);
        let parts: Option<Vec<_>> = parts.into_iter().collect();
        Some(parts?.join(","))
    }

    /// Threads of a process; none if it is gone.
    pub(in crate::live) fn threads(&self, pid: u32) -> Vec<u32> {
        self.numbers(&format!("proc/{pid}/task"))
    }

    /// Whether a process has children that run, or that cannot be known: the list is an option of
    /// the kernel's.
    pub(in crate::live) fn has_children(&self, pid: u32) -> bool {
        let mut threads = self.threads(pid).into_iter();
        let children = |tid| self.text(format!("proc/{pid}/task/{tid}/children"));
        threads.any(|tid| children(tid).is_none_or(|children| !children.is_empty()))
    }

    /// The entries of a folder that are numbers, in ascending order.
    fn numbers(&self, folder: &str) -> Vec<u32> {
        let entries = std::fs::read_dir(self.root.join(folder));
        let names = entries.into_iter().flatten().flatten();
        let mut numbers: Vec<u32> =
            names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// All threads that there are, with their names.
    pub(in crate::live) fn tasks(&self) -> Vec<TaskAbout> {
        let pids = self.numbers("proc").into_iter();
        let tasks = pids.flat_map(|pid| self.threads(pid).into_iter().map(move |tid| (pid, tid)));
        let named = tasks.filter_map(|(pid, tid)| {
            let name = self.text(format!("proc/{pid}/task/{tid}/comm"))?;
            Some(TaskAbout { pid, tid, name })
        });
        named.take(MAX_TASKS).collect()
    }
}

/// A unit that makes events.
#[derive(Clone, Debug)]
pub(in crate::live) struct Pmu<'h> {
    host: &'h Host,
    pub(in crate::live) name: String,
    /// `attr.type` of its events.
    pub(in crate::live) type_: u32,
    folder: PathBuf,
}

impl Pmu<'_> {
    /// Where a setting stands in the attribute; `None` if the unit does not have it.
    pub(in crate::live) fn format(&self, setting: &str) -> Option<Format> {
        Format::parse(&self.host.text(self.folder.join("format").join(setting))?)
    }

    /// A number that tells what the unit can do.
    pub(in crate::live) fn capability(&self, name: &str) -> Option<u64> {
        number(&self.host.text(self.folder.join("caps").join(name))?)
    }

    /// The settings of an event that the kernel names, as `name=value`.
    pub(in crate::live) fn event(&self, name: &str) -> Option<Vec<(String, u64)>> {
        let terms = self.host.text(self.folder.join("events").join(name))?;
        terms.split(',').map(term).collect()
    }

    /// CPUs that have the unit; `None` if all have.
    pub(in crate::live) fn cpus(&self) -> Option<Vec<u32>> {
        let list = ["cpumask", "cpus"].iter().find_map(|file| {
            self.host.text(self.folder.join(file)).filter(|list| !list.is_empty())
        });
        cpu_list(&list?)
    }
}

/// `name`, which stands for `name=1`, or `name=value`.
fn term(term: &str) -> Option<(String, u64)> {
    match term.split_once('=') {
        None => Some((term.to_owned(), 1)),
        Some((name, value)) => Some((name.to_owned(), number(value)?)),
    }
}

/// A number, hexadecimal behind `0x`.
pub(in crate::live) fn number(text: &str) -> Option<u64> {
    if text.starts_with("0x") { hexadecimal(text) } else { text.parse().ok() }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

/// Where the bits of a setting stand: a word of the attribute, and ranges of bits there, least
/// significant first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::live) struct Format {
    /// 0 is `config`, 1 `config1`, ...
    pub(in crate::live) word: usize,
    bits: Vec<(u32, u32)>, // first and last, in [0, 63]
}

impl Format {
    /// Reads `config1:0-11` or `config:0-7,32-35`.
    fn parse(text: &str) -> Option<Self> {
        let (word, bits) = text.split_once(':')?;
        let word = match word.strip_prefix("config")? {
            "" => 0,
            number => number.parse().ok().filter(|word| (1..=4).contains(word))?,
        };
        let range = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && last < 64).then_some((first, last))
        };
        Some(Self { word, bits: bits.split(',').map(range).collect::<Option<_>>()? })
    }

    /// The greatest value that it holds.
    pub(in crate::live) fn greatest(&self) -> u64 {
        let bits: u32 = self.bits.iter().map(|(first, last)| last - first + 1).sum();
        1u64.checked_shl(bits).map_or(u64::MAX, |above| above - 1)
    }

    /// The value's bits in their places; what does not fit is cut off.
    pub(in crate::live) fn spread(&self, mut value: u64) -> u64 {
        let mut word = 0;
        for (first, last) in &self.bits {
            let width = last - first + 1;
            let mask = 1u64.checked_shl(width).map_or(u64::MAX, |above| above - 1);
            word |= (value & mask) << first;
            value = value.checked_shr(width).unwrap_or(0);
        }
        word
    }
}

/// Reads a list of CPUs as the kernel prints it: `0-3,8`.
pub(in crate::live) fn cpu_list(text: &str) -> Option<Vec<u32>> {
    CpuSet::parse(text).map(|cpus| cpus.iter().collect())
}

/// How long this machine has slept since it started.
pub(super) fn asleep() -> Duration {
    let now = |clock| {
        let time = clock_gettime(clock);
        let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
    };
    let mut tries = MOST_READINGS;
    loop {
        let awake = now(ClockId::Monotonic);
        let boot = now(ClockId::Boottime);
        // Time that passes in between would look like sleep.
        tries -= 1;
        if now(ClockId::Monotonic).saturating_sub(awake) < MOST_APART || tries == 0 {
            return boot.saturating_sub(awake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_to_their_bits() {
        let format = |text| Format::parse(text);
        let split = format("config:0-7,32-35").unwrap();
        assert_eq!((split.word, split.greatest()), (0, 0xfff));
        assert_eq!(split.spread(0xabc), 0xa_0000_00bc);
        assert_eq!(format("config2:0-11").unwrap().word, 2);
        assert_eq!(format("config1:16").unwrap().spread(1), 1 << 16);
        let whole = format("config1:0-63").unwrap();
        assert_eq!((whole.greatest(), whole.spread(u64::MAX)), (u64::MAX, u64::MAX));
        for bad in ["", "config", "config5:0", "config:64", "config:3-1", "x:0", "config:"] {
            assert_eq!(format(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(cpu_list("5"), Some(vec![5]));
        assert_eq!(cpu_list("0-4294967295"), None);
        assert_eq!(cpu_list("x"), None);
    }

    /// perf refuses to select CPUs above the number of available ones.
    #[test]
    fn cpus_are_available_up_to_the_last_one_that_is_present() {
        let root = std::env::temp_dir().join(format!("folioscope-present-{}", std::process::id()));
        let folder = root.join("sys/devices/system/cpu");
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(Host::at(&root).available(), None);
        std::fs::write(folder.join("present"), "0,2-3\n").unwrap();
        assert_eq!(Host::at(&root).available(), Some(4));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn terms_of_an_event() {
        assert_eq!(term("event=0xcd"), Some(("event".into(), 0xcd)));
        assert_eq!(term("ldlat=3"), Some(("ldlat".into(), 3)));
        assert_eq!(term("any"), Some(("any".into(), 1)));
        assert_eq!(term("umask=x"), None);
    }
}
