//! What this process may do with perf events: capabilities, levels, locked memory, lockdown.
//!
//! Whether an event opens is settled by opening it ([`Probe`](super::Probe)); what is read here
//! says why it does not.

use std::io;

use decoder::live;

use super::advice::Advice;
use super::host::{Host, Machine, chosen};
use super::text::size;
use super::units::Unit;
use super::{Addresses, Check, Event, Probe};

/// Bits of the capability sets in `/proc/PID/status` (`capability.h`).
mod capability {
    pub const IPC_LOCK: u32 = 14;
    pub const SYS_ADMIN: u32 = 21;
    pub const PERFMON: u32 = 38;
}

/// The data ring of each event and CPU that perf maps unless told otherwise, with its control
/// page (`perf_event_mlock_kb`).
const DATA_RING_BYTES: u64 = 516 << 10;

/// In securityfs, below sysfs.
const LOCKDOWN: &str = "kernel/security/lockdown";

/// The rights of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// CAP_PERFMON, effective where perf asks for it: in the first user namespace.
    perfmon: bool,
    /// CAP_SYS_ADMIN, likewise.
    sys_admin: bool,
    /// CAP_IPC_LOCK, likewise.
    ipc_lock: bool,
    /// Whether there are capabilities that count for nothing: those of another user namespace.
    hollow: bool,
    /// Whether a filter of system calls applies.
    filtered: bool,
    /// `perf_event_paranoid`; none where the kernel has no perf events.
    paranoid: Option<i32>,
    /// What each CPU's rings may take besides the limit, in KiB.
    mlock_kib: u64,
    /// What this process may lock; none if there is no limit.
    memlock_bytes: Option<u64>,
}

impl Rights {
    pub(super) fn of(host: &Host) -> Self {
        let status = host.proc_text("self/status").unwrap_or_default();
        let field = |name: &str| {
            let mut fields = status.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| *field == name).map(|(_, value)| value.trim())
        };
        let effective = field("CapEff").and_then(|set| u64::from_str_radix(set, 16).ok());
        let effective = effective.unwrap_or(0);
        let first = host.proc_text("self/uid_map").is_none_or(|map| is_whole(&map));
        let has = |bit: u32| first && effective >> bit & 1 == 1;
        Self {
            perfmon: has(capability::PERFMON),
            sys_admin: has(capability::SYS_ADMIN),
            ipc_lock: has(capability::IPC_LOCK),
            hollow: !first && effective != 0,
            filtered: field("Seccomp") == Some("2"),
            paranoid: host.proc_number("sys/kernel/perf_event_paranoid"),
            mlock_kib: host.proc_number("sys/kernel/perf_event_mlock_kb").unwrap_or(0),
            memlock_bytes: memlock(&host.proc_text("self/limits").unwrap_or_default()),
        }
    }

    /// `perfmon_capable()` of the kernel.
    pub(super) fn perfmon_capable(&self) -> bool {
        self.perfmon || self.sys_admin
    }

    /// Which capability that is.
    fn capability(&self) -> &'static str {
        match (self.perfmon, self.sys_admin) {
            (true, true) => "CAP_PERFMON and CAP_SYS_ADMIN",
            (true, false) => "CAP_PERFMON",
            (false, true) => "CAP_SYS_ADMIN",
            (false, false) if self.hollow => "capabilities of a user namespace alone",
            (false, false) => "neither CAP_PERFMON nor CAP_SYS_ADMIN",
        }
    }

    /// What gives the right to physical addresses.
    fn remedy(&self) -> &'static str {
        if self.hollow {
            return "run on the host itself, outside of the container or user namespace, as root";
        }
        "run as root, or give the program the capabilities: \
         `setcap cap_perfmon,cap_ipc_lock=ep $(command -v folioscope)`"
    }

    /// What the kernel's rules say about an event with physical addresses, of all CPUs.
    fn by_rule(&self, event: Event) -> Addresses {
        match self.paranoid {
            None => Addresses::No,
            // Levels that distributions have added: some ask for CAP_SYS_ADMIN.
            Some(3..) if self.perfmon_capable() && !self.sys_admin => Addresses::Perhaps,
            _ if self.perfmon_capable() => Addresses::Yes,
            // Before 6.12 the driver of SPE asks for the capability at every level.
            Some(..=1) if event == Event::Spe => Addresses::Perhaps,
            Some(..=1) => Addresses::Yes,
            _ => Addresses::No,
        }
    }
}

/// Whether the identifiers of a user namespace are those of the host.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The soft limit in `/proc/self/limits`.
fn memlock(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether samples will have physical addresses.
pub(super) fn physical_addresses(
    rights: &Rights,
    unit: Option<&Unit>,
    probe: &Probe<'_>,
) -> (Addresses, Check) {
    let name = "physical_addresses";
    let event = unit.map_or(Event::Faults, |unit| unit.event);
    let of = match unit {
        Some(_) => "samples will have them",
        None => "without a unit, minor faults and breakpoints alone will have them",
    };
    let have = rights.capability();
    match probe(event) {
        Some(Ok(())) => (Addresses::Yes, Check::ok(name, format!("{of}: opening an event worked"))),
        // It opens once whoever has the unit is done.
        Some(Err(live::Error::Refused(refusal))) if refusal.is_busy() => {
            let finding = format!("not tried to the end: {}", refusal.answer());
            (rights.by_rule(event), Check::warn(name, finding, refusal.remedy()))
        }
        Some(Err(error)) => (Addresses::No, refused(name, rights, &error)),
        None => {
            let by_rule = rights.by_rule(event);
            (
                by_rule,
                expected(
                    name,
                    rights,
                    by_rule,
                    &format!("{of}: this process has {have} (not tried)"),
                ),
            )
        }
    }
}

/// What follows from an event that did not open.
fn refused(name: &'static str, rights: &Rights, error: &live::Error) -> Check {
    let live::Error::Refused(refusal) = error else {
        let remedy = "`folioscope record --help` lists what else can be recorded";
        return Check::fail(name, format!("an event with them does not open: {error}"), remedy);
    };
    let have = rights.capability();
    let answer = refusal.answer();
    let finding = format!(
        "an event with them does not open on CPU {}: {answer}; this process has {have}",
        refusal.cpu
    );
    if answer.kind() != io::ErrorKind::PermissionDenied {
        return Check::fail(name, finding, refusal.remedy());
    }
    let remedy = if !rights.perfmon_capable() {
        rights.remedy()
    } else if rights.filtered {
        "let the container's filter of system calls (seccomp) pass perf_event_open"
    } else {
        "run as root with CAP_SYS_ADMIN: some distributions ask for it; see also the kernel's \
         security modules"
    };
    Check::fail(name, finding, remedy)
}

/// What the rules say where nothing was tried.
fn expected(name: &'static str, rights: &Rights, by_rule: Addresses, yes: &str) -> Check {
    let Some(paranoid) = rights.paranoid else {
        let remedy = "a kernel with CONFIG_PERF_EVENTS; in a container, one whose /proc is whole";
        return Check::fail(name, "this kernel has no perf events", remedy);
    };
    let have = rights.capability();
    let level = format!("this process has {have}, and perf_event_paranoid is {paranoid}");
    match by_rule {
        Addresses::Yes => Check::ok(name, yes),
        Addresses::Perhaps if rights.perfmon_capable() => Check::warn(
            name,
            level + ", a level that distributions have added: it may ask for CAP_SYS_ADMIN",
            "if recording is refused, run as root with CAP_SYS_ADMIN",
        ),
        Addresses::Perhaps => Check::warn(
            name,
            level + ": enough from Linux 6.12 on (and where that was taken back), else refused",
            rights.remedy(),
        ),
        Addresses::No => {
            Check::fail(name, level + ": they are refused (not tried)", rights.remedy())
        }
    }
}

/// Whose accesses may be recorded.
pub(super) fn paranoid(rights: &Rights) -> Option<Check> {
    let name = "perf_event_paranoid";
    let level = rights.paranoid?;
    if rights.perfmon_capable() {
        let have = rights.capability();
        return Some(Check::ok(name, format!("{level}, which does not bind {have}")));
    }
    let remedy = "the capabilities, rather than a lower level, which lowers it for everybody";
    Some(match level {
        ..=0 => Check::ok(name, format!("{level}: all CPUs and processes")),
        1 => Check::warn(name, "1: own processes, not whole CPUs", remedy),
        2 => Check::warn(name, "2: own processes, without what the kernel does for them", remedy),
        3.. => Check::warn(name, format!("{level}: no events without a capability"), remedy),
    })
}

/// A filter of system calls, which containers have.
pub(super) fn system_calls(rights: &Rights) -> Option<Check> {
    rights.filtered.then(|| {
        Check::warn(
            "system_calls",
            "a filter (seccomp) applies to this process, as containers and units have it",
            "if recording is refused, let the filter pass perf_event_open",
        )
    })
}

/// Whether the rings that the advice names may be locked in memory.
pub(super) fn ring_memory(rights: &Rights, machine: &Machine, advice: Option<&Advice>) -> Check {
    let name = "ring_memory";
    let cpus = machine.cpus;
    let aux = advice.map_or(0, |advice| advice.aux_bytes_per_cpu.unwrap_or(0));
    let needed = (DATA_RING_BYTES + aux).saturating_mul(cpus);
    let free = rights.mlock_kib.saturating_mul(cpus).saturating_mul(1 << 10);
    let takes = format!("rings of {cpus} CPUs take {}", size(needed));
    let limit = match rights.memlock_bytes {
        _ if rights.ipc_lock => {
            return Check::ok(name, takes + "; CAP_IPC_LOCK has no limit");
        }
        None => return Check::ok(name, takes + "; there is no limit"),
        Some(_) if rights.paranoid.is_some_and(|level| level < 0) => {
            return Check::ok(name, takes + "; perf_event_paranoid -1 has no limit");
        }
        Some(bytes) => bytes.saturating_add(free),
    };
    let finding = format!("{takes}; this process may lock {}", size(limit));
    if needed <= limit {
        return Check::ok(name, finding);
    }
    let remedy = "CAP_IPC_LOCK, or `ulimit -l unlimited` (units: LimitMEMLOCK=infinity), or \
                  smaller rings (`perf record -m 32,64K`)";
    Check::warn(name, finding, remedy)
}

/// How far the kernel is locked down; none where it cannot be.
pub(super) fn lockdown_mode(host: &Host) -> Option<String> {
    let text = host.sys_text(LOCKDOWN)?;
    chosen(&text).filter(|mode| *mode != "none").map(str::to_owned)
}

/// What lockdown takes away.
pub(super) fn lockdown(host: &Host, mode: Option<&str>) -> Check {
    let name = "lockdown";
    match mode {
        None if host.sys_text(LOCKDOWN).is_none() => {
            Check::ok(name, "this kernel has none, or securityfs is not mounted")
        }
        None => Check::ok(name, "off"),
        Some(mode) => Check::warn(
            name,
            format!("{mode}: the kernel refuses writes to debugfs, also to root: no spe_feed"),
            "folioscope-feeder --sink damos; or boot without Secure Boot or with lockdown=none",
        ),
    }
}

/// perf itself, which other tools and the commands below use.
pub(super) fn perf(host: &Host) -> (bool, Check) {
    match host.program("perf") {
        Some(path) => (true, Check::ok("perf", path.display().to_string())),
        None => {
            let remedy = "`folioscope record` needs none; else install it: linux-perf (Debian), \
                          linux-tools (Ubuntu), perf (Fedora)";
            (false, Check::warn("perf", "no such program in $PATH", remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_maps() {
        let limits = |value: &str| {
            memlock(&format!("Max open files  9  9  files\nMax locked memory  {value}  7  bytes\n"))
        };
        assert_eq!(limits("8388608"), Some(8_388_608));
        assert_eq!(limits("unlimited"), None);
        assert_eq!(memlock(""), None);
        assert!(is_whole("         0          0 4294967295"));
        assert!(!is_whole("0 1000 1"));
        assert!(!is_whole("0 0 4294967295\n1 1 1"));
    }

    #[test]
    fn rules_by_level_and_capability() {
        use Addresses::{No, Perhaps, Yes};
        let rights = |perfmon, sys_admin, paranoid| Rights {
            perfmon,
            sys_admin,
            ipc_lock: false,
            hollow: false,
            filtered: false,
            paranoid,
            mlock_kib: 516,
            memlock_bytes: None,
        };
        // CAP_PERFMON, CAP_SYS_ADMIN, level; SPE, others.
        let cases = [
            (false, false, Some(-1), Perhaps, Yes),
            (false, false, Some(1), Perhaps, Yes),
            (false, false, Some(2), No, No),
            (false, false, Some(4), No, No),
            (true, false, Some(2), Yes, Yes),
            (true, false, Some(4), Perhaps, Perhaps),
            (false, true, Some(4), Yes, Yes),
            (true, true, None, No, No),
        ];
        for (perfmon, sys_admin, paranoid, spe, others) in cases {
            let rights = rights(perfmon, sys_admin, paranoid);
            assert_eq!(rights.by_rule(Event::Spe), spe, "{rights:?}");
            for event in [Event::Pebs, Event::Ibs, Event::Faults] {
                assert_eq!(rights.by_rule(event), others, "{rights:?}");
            }
        }
    }
}
