//! Why the kernel refuses, and which setting would change that (`man 2 perf_event_open`,
//! `Documentation/admin-guide/perf-security.rst`).

use core::fmt;
use std::io;

use super::host::Host;

/// What gives a process the right to physical addresses, and to rings without a limit.
pub const GRANT: &str = "run as root, or give the program the capabilities: \
                         `setcap cap_perfmon,cap_ipc_lock=ep $(command -v folioscope)`";

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Opening an event.
    Open,
    /// Mapping a ring of records.
    MapRecords,
    /// Mapping a ring of AUX data.
    MapAux,
    /// Letting it count, or another ioctl.
    Control,
}

/// What was to be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that runs.
    AllCpus,
    /// A process or a command.
    Process,
}

/// A refusal, with what is needed to say how to lift it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was being done.
    pub step: Attempt,
    /// The event's name.
    pub event: String,
    /// What was to be observed.
    pub scope: Scope,
    /// The system's answer.
    pub errno: i32,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: Option<i64>,
    /// `kernel.perf_event_mlock_kb`.
    pub mlock_kib: Option<i64>,
    /// Descriptors that this process may have.
    pub descriptors: Option<u64>,
    /// The CPU on which it was refused.
    pub cpu: u32,
}

impl Refusal {
    /// What the system says of `error`, with the host's settings.
    pub(in crate::live) fn new(
        step: Attempt,
        event: &str,
        scope: Scope,
        cpu: u32,
        error: &io::Error,
        host: &Host,
    ) -> Self {
        Self {
            step,
            event: event.to_owned(),
            scope,
            errno: error.raw_os_error().unwrap_or(0),
            paranoid: host.number("proc/sys/kernel/perf_event_paranoid"),
            mlock_kib: host.number("proc/sys/kernel/perf_event_mlock_kb"),
            descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            cpu,
        }
    }

    /// What failed, and the system's answer.
    pub fn finding(&self) -> String {
        let action = match self.step {
            Attempt::Open => "cannot open",
            Attempt::MapRecords => "cannot map the records of",
            Attempt::MapAux => "cannot map the AUX data of",
            Attempt::Control => "cannot control",
        };
        let answer = io::Error::from_raw_os_error(self.errno);
        format!("{action} {}: {answer}", self.event)
    }

    /// Whether somebody else has what was asked for.
    pub fn is_busy(&self) -> bool {
        let no_slot = self.errno == libc::ENOSPC && self.is_breakpoint();
        self.step == Attempt::Open && (self.errno == libc::EBUSY || no_slot)
    }

    fn is_breakpoint(&self) -> bool {
        self.event.starts_with("mem:")
    }

    /// Whether there is too little locked memory for rings as large as these.
    pub(in crate::live) fn is_memory(&self) -> bool {
        let maps = matches!(self.step, Attempt::MapRecords | Attempt::MapAux);
        maps && matches!(self.errno, libc::EPERM | libc::ENOMEM)
    }

    /// Why, and what to do.
    pub fn remedy(&self) -> String {
        match self.errno {
            _ if self.is_memory() => self.no_memory(),
            libc::EACCES | libc::EPERM => self.no_right(),
            libc::EBUSY => format!(
                "its unit on CPU {} is in use by somebody else, such as another perf or a virtual \
                 machine: end that (`pgrep -a perf`), or wait for it with --yield",
                self.cpu
            ),
            libc::ENOSPC if self.is_breakpoint() => format!(
                "all hardware breakpoints on CPU {} are in use (x86 has 4): remove some, in \
                 debuggers too, or wait for one with --yield",
                self.cpu
            ),
            libc::ENOENT => "the kernel or the processor does not know this event: choose another \
                             one (--event), and see /sys/bus/event_source/devices"
                .to_owned(),
            libc::ENODEV => format!(
                "CPU {} has no such unit, or has gone offline: record on a host that has one",
                self.cpu
            ),
            libc::EOPNOTSUPP if self.step == Attempt::MapAux => {
                "its unit writes no AUX data: it is no tracer".to_owned()
            }
            libc::EOPNOTSUPP => "the unit cannot sample, or not with these settings: leave out \
                                 --min-latency, --loads and --stores, or choose another --event"
                .to_owned(),
            libc::EINVAL if self.event.starts_with("ibs_op") && self.scope == Scope::Process => {
                "before Linux 6.2 this unit samples whole CPUs only: leave --pid and the command \
                 out, or update the kernel"
                    .to_owned()
            }
            libc::EINVAL => "the kernel does not accept these settings: leave out --min-latency, \
                             --loads and --stores, give another --period, or a mem: address that \
                             is a multiple of its length (x86 cannot watch reads alone: use rw)"
                .to_owned(),
            libc::E2BIG => "the kernel is too old for one of these settings: leave out what needs \
                            it, or update the kernel"
                .to_owned(),
            libc::EMFILE => format!(
                "this process may have {} open files, and each event takes one on each CPU and \
                 thread: raise it (`ulimit -n 65536`, LimitNOFILE= in a unit)",
                self.descriptors.map_or_else(|| "too few".to_owned(), |limit| limit.to_string())
            ),
            libc::ENFILE => "the system has no descriptor left: raise fs.file-max \
                             (`sysctl fs.file-max`), or close files"
                .to_owned(),
            libc::ENOMEM => {
                "the kernel has no memory for it: free some, or record fewer CPUs".to_owned()
            }
            libc::ESRCH => "the process is gone: give the --pid of one that runs".to_owned(),
            libc::ENOSYS => "this kernel has no perf events (CONFIG_PERF_EVENTS), or a sandbox \
                             hides them: record outside of it"
                .to_owned(),
            _ => "this is not a refusal that is known: `dmesg` may say more".to_owned(),
        }
    }

    /// Whether a right is missing: the event may be opened, but not by this process.
    pub fn lacks_right(&self) -> bool {
        let maps = matches!(self.step, Attempt::MapRecords | Attempt::MapAux);
        !maps && matches!(self.errno, libc::EACCES | libc::EPERM)
    }

    /// A capability, rather than a lower level, which would let everybody.
    fn no_right(&self) -> String {
        let found = match self.paranoid {
            Some(value) => format!("kernel.perf_event_paranoid is {value}"),
            None => "kernel.perf_event_paranoid cannot be read".to_owned(),
        };
        let (what, highest) = match self.scope {
            Scope::AllCpus => ("physical addresses of all that runs", 0),
            Scope::Process => ("physical addresses", 1),
        };
        if self.paranoid.is_some_and(|value| value <= highest) {
            return format!(
                "{found}, which is low enough, so the unit's driver, a sandbox (seccomp, as in \
                 containers) or a security module asks for CAP_PERFMON: {GRANT}"
            );
        }
        format!("{found}, and above {highest} {what} need CAP_PERFMON: {GRANT}")
    }

    fn no_memory(&self) -> String {
        let found = match self.mlock_kib {
            Some(value) => format!("kernel.perf_event_mlock_kb is {value}"),
            None => "kernel.perf_event_mlock_kb cannot be read".to_owned(),
        };
        format!(
            "its rings need locked memory on each CPU, and {found}: raise it \
             (`sysctl kernel.perf_event_mlock_kb=8192`), raise the limit of locked memory \
             (`ulimit -l unlimited`, LimitMEMLOCK= in a unit), or give CAP_IPC_LOCK"
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.finding(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(step: Attempt, scope: Scope, errno: i32) -> Refusal {
        Refusal {
            step,
            event: "mem:0x1000/8:rw".to_owned(),
            scope,
            errno,
            paranoid: Some(2),
            mlock_kib: Some(516),
            descriptors: Some(1024),
            cpu: 3,
        }
    }

    #[test]
    fn every_refusal_names_what_to_change() {
        use Attempt::{Control, MapAux, MapRecords, Open};
        use Scope::{AllCpus, Process};
        let cases: &[(Attempt, Scope, i32, &[&str])] = &[
            (
                Open,
                Process,
                libc::EACCES,
                &["perf_event_paranoid is 2", "above 1 physical", "CAP_PERFMON", "setcap"],
            ),
            (Open, AllCpus, libc::EACCES, &["perf_event_paranoid is 2", "above 0", "of all"]),
            (Open, AllCpus, libc::EPERM, &["CAP_PERFMON", "cannot open mem:0x1000/8:rw"]),
            (Open, Process, libc::EBUSY, &["CPU 3", "another perf", "--yield"]),
            (Open, Process, libc::ENOSPC, &["breakpoints on CPU 3 are in use", "--yield"]),
            (Open, Process, libc::ENOENT, &["does not know this event", "--event"]),
            (Open, AllCpus, libc::ENODEV, &["CPU 3", "offline"]),
            (Open, Process, libc::EOPNOTSUPP, &["cannot sample", "--min-latency"]),
            (MapAux, Process, libc::EOPNOTSUPP, &["no AUX data", "cannot map the AUX data"]),
            (Open, Process, libc::EINVAL, &["--period"]),
            (Open, Process, libc::E2BIG, &["too old"]),
            (Open, AllCpus, libc::EMFILE, &["1024 open files", "ulimit -n"]),
            (Open, AllCpus, libc::ENFILE, &["fs.file-max"]),
            (Open, AllCpus, libc::ENOMEM, &["no memory"]),
            (MapRecords, AllCpus, libc::ENOMEM, &["perf_event_mlock_kb is 516", "ulimit -l"]),
            (MapRecords, AllCpus, libc::EPERM, &["perf_event_mlock_kb", "CAP_IPC_LOCK"]),
            (MapAux, AllCpus, libc::EPERM, &["perf_event_mlock_kb", "LimitMEMLOCK"]),
            (Open, Process, libc::ESRCH, &["--pid"]),
            (Open, Process, libc::ENOSYS, &["CONFIG_PERF_EVENTS"]),
            (Control, Process, libc::EIO, &["cannot control", "dmesg"]),
        ];
        for (step, scope, errno, words) in cases {
            let said = refusal(*step, *scope, *errno).to_string();
            assert!(!said.contains('\n'), "{said}");
            for word in *words {
                assert!(said.contains(word), "{errno}: no {word:?} in {said}");
            }
        }
    }

    #[test]
    fn what_is_in_use_may_be_free_later() {
        let breakpoint = refusal(Attempt::Open, Scope::Process, libc::ENOSPC);
        assert!(breakpoint.is_busy());
        let other = |errno| Refusal { event: "ibs_op//".to_owned(), errno, ..breakpoint.clone() };
        assert!(other(libc::EBUSY).is_busy());
        assert!(!other(libc::ENOSPC).is_busy() && !other(libc::EACCES).is_busy());
        assert!(!Refusal { step: Attempt::MapAux, ..other(libc::EBUSY) }.is_busy());
    }

    #[test]
    fn ibs_of_a_process_needs_a_newer_kernel() {
        let ibs = Refusal {
            event: "ibs_op//".to_owned(),
            ..refusal(Attempt::Open, Scope::Process, libc::EINVAL)
        };
        assert!(ibs.to_string().contains("6.2"), "{ibs}");
        let all = Refusal { scope: Scope::AllCpus, ..ibs };
        assert!(all.to_string().contains("--period"), "{all}");
    }

    #[test]
    fn a_low_setting_points_to_the_sandbox() {
        let low =
            Refusal { paranoid: Some(-1), ..refusal(Attempt::Open, Scope::AllCpus, libc::EPERM) };
        assert!(low.to_string().contains("seccomp"), "{low}");
        let unknown = Refusal { paranoid: None, ..low };
        assert!(unknown.to_string().contains("cannot be read"), "{unknown}");
    }

    #[test]
    fn a_right_that_is_missing_is_told_from_locked_memory() {
        let lacks = |step, errno| refusal(step, Scope::AllCpus, errno).lacks_right();
        assert!(lacks(Attempt::Open, libc::EACCES) && lacks(Attempt::Open, libc::EPERM));
        assert!(!lacks(Attempt::MapRecords, libc::EPERM) && !lacks(Attempt::MapAux, libc::EPERM));
        assert!(!lacks(Attempt::Open, libc::EBUSY));
    }
}
