//! What this process may do with perf events: capabilities, levels, locked memory, lockdown.
//!
//! Whether an event opens is settled by opening it ([`Probe`]); what is read here
//! says why it does not.

use decoder::live::{self, GRANT, Refusal, Scope};
use report::layout::size;

use super::advice::Advice;
use super::check::{Addresses, Check, Probe};
use super::event::Event;
use super::host::{Host, chosen};
use super::machine::Machine;
use super::units::Unit;

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
        GRANT
    }

    /// What lifts a refusal: more than the kernel's answer says, where this process has the right
    /// already.
    fn lift(&self, refusal: &Refusal) -> String {
        if !refusal.lacks_right() {
            return refusal.remedy();
        }
        match (self.perfmon_capable(), self.paranoid) {
            (false, _) if self.hollow => self.remedy().to_owned(),
            (false, _) => refusal.remedy(),
            (true, _) if self.filtered => {
                "let the container's filter of system calls (seccomp) pass perf_event_open"
                    .to_owned()
            }
            (true, Some(level @ 3..)) if !self.sys_admin => format!(
                "run as root with CAP_SYS_ADMIN: distributions that have added level {level} ask \
                 for it"
            ),
            (true, _) => "a security module (SELinux, AppArmor) refuses, see `journalctl -k`: \
                          allow this program perf events in its policy"
                .to_owned(),
        }
    }

    /// What the kernel's rules say about an event with physical addresses.
    fn by_rule(&self, event: Event, scope: Scope) -> Addresses {
        let highest = match scope {
            Scope::AllCpus => 0,
            Scope::Process => 1,
        };
        match self.paranoid {
            None => Addresses::No,
            // Levels that distributions have added: some ask for CAP_SYS_ADMIN.
            Some(3..) if self.perfmon_capable() && !self.sys_admin => Addresses::Perhaps,
            _ if self.perfmon_capable() => Addresses::Yes,
            Some(level) if level > highest => Addresses::No,
            // Before 6.12 the driver of SPE asks for the capability at every level.
            _ if event == Event::Spe => Addresses::Perhaps,
            _ => Addresses::Yes,
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

/// What physical addresses there will be.
#[derive(Debug)]
pub(super) struct Sight {
    /// Whether they come.
    pub(super) addresses: Addresses,
    /// Of what.
    pub(super) scope: Scope,
    /// What there is to say about it.
    pub(super) check: Check,
}

/// Whether samples will have physical addresses: of all CPUs, else of this user's own processes.
pub(super) fn physical_addresses(rights: &Rights, unit: Option<&Unit>, probe: &Probe<'_>) -> Sight {
    let all = sight(rights, unit, Scope::AllCpus, probe);
    if all.addresses != Addresses::No {
        return all;
    }
    let own = sight(rights, unit, Scope::Process, probe);
    if own.addresses == Addresses::No { all } else { own }
}

fn sight(rights: &Rights, unit: Option<&Unit>, scope: Scope, probe: &Probe<'_>) -> Sight {
    let event = unit.map_or(Event::Faults, |unit| unit.event);
    let of = match unit {
        Some(_) => "samples",
        None => "minor faults and breakpoints alone",
    };
    let by_rule = rights.by_rule(event, scope);
    let (addresses, check) = match probe(event, scope) {
        Some(Ok(())) => (Addresses::Yes, seen(rights, scope, of, "opening an event worked")),
        // It opens once whoever has the unit is done.
        Some(Err(live::Error::Refused(refusal))) if refusal.is_busy() => {
            let finding = format!("they could not be tried: {}", refusal.finding());
            (by_rule, Check::warn(ADDRESSES, finding, refusal.remedy()))
        }
        Some(Err(error)) => (Addresses::No, refused(rights, &error)),
        None => (by_rule, expected(rights, scope, by_rule, of)),
    };
    Sight { addresses, scope, check }
}

/// The name of the check.
const ADDRESSES: &str = "physical_addresses";

/// They come, as far as the scope goes.
fn seen(rights: &Rights, scope: Scope, of: &str, why: &str) -> Check {
    match scope {
        Scope::AllCpus => Check::ok(ADDRESSES, format!("{of} will have them: {why}")),
        Scope::Process => Check::warn(
            ADDRESSES,
            format!("{of} of your own processes will have them, of whole CPUs not: {why}"),
            rights.remedy(),
        ),
    }
}

/// What follows from an event that did not open.
fn refused(rights: &Rights, error: &live::Error) -> Check {
    let live::Error::Refused(refusal) = error else {
        let remedy = "`folioscope record --help` lists what else can be recorded";
        return Check::fail(ADDRESSES, format!("nothing can be opened: {error}"), remedy);
    };
    let have = rights.capability();
    let finding = format!("on CPU {}: {}; this process has {have}", refusal.cpu, refusal.finding());
    Check::fail(ADDRESSES, finding, rights.lift(refusal))
}

/// What the rules say where nothing was tried.
fn expected(rights: &Rights, scope: Scope, by_rule: Addresses, of: &str) -> Check {
    let Some(paranoid) = rights.paranoid else {
        let remedy = "a kernel with CONFIG_PERF_EVENTS; in a container, one whose /proc is whole";
        return Check::fail(ADDRESSES, "this kernel has no perf events", remedy);
    };
    let have = rights.capability();
    let level = format!("this process has {have}, and perf_event_paranoid is {paranoid}");
    let whose = match scope {
        Scope::AllCpus => "",
        Scope::Process => " for processes of your own",
    };
    match by_rule {
        Addresses::Yes if rights.perfmon_capable() => {
            seen(rights, scope, of, &format!("this process has {have} (not tried)"))
        }
        Addresses::Yes => {
            seen(rights, scope, of, &format!("perf_event_paranoid is {paranoid} (not tried)"))
        }
        Addresses::Perhaps if rights.perfmon_capable() => Check::warn(
            ADDRESSES,
            level + ", a level that distributions have added: it may ask for CAP_SYS_ADMIN",
            "if recording is refused, run as root with CAP_SYS_ADMIN",
        ),
        Addresses::Perhaps => Check::warn(
            ADDRESSES,
            format!(
                "{level}: enough{whose} from Linux 6.12 on (and where that was taken back), else \
                 refused"
            ),
            rights.remedy(),
        ),
        Addresses::No => {
            Check::fail(ADDRESSES, level + ": they are refused (not tried)", rights.remedy())
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
    let cpus = advice.map_or(machine.cpus, |advice| advice.cpus);
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
                  smaller rings (`perf record -m 32,64K`, `folioscope record --aux-size 64KiB`)";
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
        // CAP_PERFMON, CAP_SYS_ADMIN, level; of all CPUs and of processes, each SPE and others.
        let cases = [
            (false, false, Some(-1), [Perhaps, Yes], [Perhaps, Yes]),
            (false, false, Some(0), [Perhaps, Yes], [Perhaps, Yes]),
            (false, false, Some(1), [No, No], [Perhaps, Yes]),
            (false, false, Some(2), [No, No], [No, No]),
            (false, false, Some(4), [No, No], [No, No]),
            (true, false, Some(2), [Yes, Yes], [Yes, Yes]),
            (true, false, Some(4), [Perhaps, Perhaps], [Perhaps, Perhaps]),
            (false, true, Some(4), [Yes, Yes], [Yes, Yes]),
            (true, true, None, [No, No], [No, No]),
        ];
        for (perfmon, sys_admin, paranoid, all_cpus, process) in cases {
            let rights = rights(perfmon, sys_admin, paranoid);
            for (scope, [spe, others]) in [(Scope::AllCpus, all_cpus), (Scope::Process, process)] {
                assert_eq!(rights.by_rule(Event::Spe, scope), spe, "{scope:?}: {rights:?}");
                for event in [Event::Pebs, Event::Ibs, Event::Faults] {
                    assert_eq!(rights.by_rule(event, scope), others, "{scope:?}: {rights:?}");
                }
            }
        }
    }
}
