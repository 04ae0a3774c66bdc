//! Hosts made of files, and what is said about them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use decoder::live::{self, Attempt, EventChoice, Scope};

use super::check::{Addresses, Check, Status};
use super::diagnosis::SCHEMA;
use super::*;

/// A host in a temporary folder.
struct Tree {
    dir: tempfile::TempDir,
}

/// CAP_PERFMON, CAP_SYS_ADMIN, CAP_IPC_LOCK and all others.
const ALL: &str = "000001ffffffffff";
const NONE: &str = "0000000000000000";
/// The type of a unit that no kernel has: its events never open.
const NO_TYPE: &str = "2000000000\n";

impl Tree {
    /// What every host here has: a bare machine with 4 CPUs, perf, THP, DAMON and spe_feed, and a
    /// process of root.
    fn new() -> Self {
        let tree = Self { dir: tempfile::tempdir().unwrap() };
        tree.user(ALL, 2);
        tree.file("proc/self/uid_map", "         0          0 4294967295\n");
        tree.file("proc/self/limits", "Max locked memory  8388608  8388608  bytes\n");
        tree.file("proc/self/smaps", "0-1 r-xp\nKernelPageSize:        4 kB\n");
        tree.file("proc/sys/kernel/osrelease", "6.12.9\n");
        tree.file("proc/sys/kernel/perf_event_mlock_kb", "516\n");
        tree.file("proc/sys/kernel/perf_event_max_sample_rate", "100000\n");
        tree.process(1, "systemd");
        tree.file("sys/devices/system/cpu/online", "0-3\n");
        tree.file("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n");
        tree.file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
        let thp = "sys/kernel/mm/transparent_hugepage";
        tree.file(&format!("{thp}/enabled"), "always [madvise] never\n");
        tree.file(&format!("{thp}/defrag"), "always defer defer+madvise [madvise] never\n");
        for (size, enabled) in [
            ("64kB", "always inherit madvise [never]"),
            ("2048kB", "always [inherit] madvise never"),
        ] {
            tree.file(&format!("{thp}/hugepages-{size}/enabled"), enabled);
        }
        tree.file("sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "0\n");
        tree.file("debug/damon/spe_feed", "");
        tree.file("bin/perf", "");
        let perf = tree.dir.path().join("bin/perf");
        fs::set_permissions(perf, fs::Permissions::from_mode(0o755)).unwrap();
        tree
    }

    fn arm() -> Self {
        let tree = Self::new();
        tree.file("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\n");
        tree.file("sys/module/arm_spe_pmu/refcnt", "0");
        let device = "sys/bus/event_source/devices/arm_spe_0";
        tree.file(&format!("{device}/type"), NO_TYPE);
        tree.file(&format!("{device}/format/ts_enable"), "config:0\n");
        tree.file(&format!("{device}/format/pa_enable"), "config:1\n");
        tree.file(&format!("{device}/format/jitter"), "config:16\n");
        tree.file(&format!("{device}/caps/min_interval"), "1024\n");
        tree.file(&format!("{device}/cpumask"), "0-3\n");
        tree
    }

    fn intel() -> Self {
        let tree = Self::new();
        tree.file("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme\n");
        tree.file("sys/bus/event_source/devices/cpu/caps/max_precise", "3\n");
        tree.loads("cpu");
        tree
    }

    /// The events of PEBS that the kernel names.
    fn loads(&self, device: &str) {
        let device = format!("sys/bus/event_source/devices/{device}");
        self.file(&format!("{device}/type"), NO_TYPE);
        self.file(&format!("{device}/format/event"), "config:0-7\n");
        self.file(&format!("{device}/format/umask"), "config:8-15\n");
        self.file(&format!("{device}/format/ldlat"), "config1:0-15\n");
        self.file(&format!("{device}/events/mem-loads"), "event=0xcd,umask=0x1,ldlat=3\n");
        self.file(&format!("{device}/events/mem-stores"), "event=0xcd,umask=0x2\n");
    }

    fn amd() -> Self {
        let tree = Self::new();
        tree.file("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu vme\n");
        tree.file("sys/bus/event_source/devices/ibs_op/type", NO_TYPE);
        tree.file("sys/bus/event_source/devices/cpu/caps/max_precise", "0\n");
        tree
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.dir.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    fn user(&self, capabilities: &str, paranoid: i32) {
        self.file("proc/self/status", &format!("Name:\tx\nCapEff:\t{capabilities}\nSeccomp:\t0\n"));
        self.file("proc/sys/kernel/perf_event_paranoid", &format!("{paranoid}\n"));
    }

    fn process(&self, pid: u32, comm: &str) {
        self.file(&format!("proc/{pid}/comm"), &format!("{comm}\n"));
    }

    fn host(&self) -> Host {
        let folder = |name: &str| self.dir.path().join(name);
        Host {
            procfs: folder("proc"),
            sysfs: folder("sys"),
            debugfs: folder("debug"),
            path: folder("bin").into_os_string(),
        }
    }

    /// What is said if no event is tried.
    fn diagnosis(&self) -> Diagnosis {
        self.tried(|_, _| None)
    }

    fn tried(&self, probe: impl Fn(Event, Scope) -> Option<Result<(), live::Error>>) -> Diagnosis {
        Diagnosis::of(&self.host(), 50 << 20, &probe)
    }
}

/// Answers of the kernel's, by their numbers in `errno(3)`.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const EMFILE: i32 = 24;

/// The kernel's answer to an event of the unit of SPE.
fn refused(step: live::Attempt, errno: i32) -> Option<Result<(), live::Error>> {
    Some(Err(live::Error::Refused(live::Refusal {
        step,
        event: "arm_spe_0//".to_owned(),
        scope: live::Scope::AllCpus,
        errno,
        paranoid: Some(2),
        mlock_kib: Some(516),
        descriptors: Some(1024),
        cpu: 3,
    })))
}

/// The check of a name.
fn check<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a Check {
    let mut found = diagnosis.checks.iter().filter(|check| check.name == name);
    let check = found.next().unwrap_or_else(|| panic!("{name} is not in {diagnosis:#?}"));
    assert!(found.next().is_none(), "{name} stands there twice");
    check
}

/// All that is not OK: names and statuses.
fn complaints(diagnosis: &Diagnosis) -> Vec<(&str, Status)> {
    let bad = diagnosis.checks.iter().filter(|check| check.status != Status::Ok);
    let bad: Vec<_> = bad.map(|check| (check.name, check.status)).collect();
    for check in &diagnosis.checks {
        assert_eq!(check.remedy.is_some(), check.status != Status::Ok, "{check:?}");
    }
    bad
}

/// Asserts what a check says.
fn says(diagnosis: &Diagnosis, name: &str, finding: &str, remedy: &str) {
    let check = check(diagnosis, name);
    assert!(check.finding.contains(finding), "{finding}: {check:?}");
    let has = check.remedy.as_deref().unwrap_or("");
    assert!(has.contains(remedy), "{remedy}: {check:?}");
}

#[test]
fn an_arm_server_with_spe_as_root_lacks_nothing() {
    let found = Tree::arm().diagnosis();
    assert_eq!(complaints(&found), []);
    assert_eq!(found.unit, Some("arm_spe"));
    assert_eq!(found.cpus, 4);
    assert!(found.can_work());
    assert_eq!(found.physical_addresses, Addresses::Yes);
    says(&found, "arm_spe", "arm_spe_0; at least 1024 operations", "");
    assert_eq!(found.advice.as_ref().map(|advice| advice.cpus), Some(4));
    says(&found, "physical_addresses", "(not tried)", "");
    says(&found, "thp", "enabled=madvise, defrag=madvise; on: 2048kB=madvise", "");
    let names: Vec<_> = found.checks.iter().map(|check| check.name).collect();
    let want = [
        "arm_spe",
        "physical_addresses",
        "perf_event_paranoid",
        "ring_memory",
        "perf",
        "virtual_machine",
        "guests",
        "page_size",
        "thp",
        "lockdown",
        "damon",
        "spe_feed",
    ];
    assert_eq!(names, want);
    let advice = found.advice.as_ref().unwrap();
    assert_eq!((advice.period, advice.cpus), (14_848, 4));
    assert!(found.commands[0].command.starts_with("folioscope record --event spe --period 14848"));
}

#[test]
fn without_privilege_and_at_level_2_nothing_can_work() {
    let tree = Tree::arm();
    tree.user(NONE, 2);
    let found = tree.diagnosis();
    let want = [
        ("physical_addresses", Status::Fail),
        ("perf_event_paranoid", Status::Warn),
        // 4 * (4 MiB + 516 KiB) against 8 MiB + 4 * 516 KiB.
        ("ring_memory", Status::Warn),
    ];
    assert_eq!(complaints(&found), want);
    assert!(!found.can_work());
    says(&found, "physical_addresses", "neither CAP_PERFMON", "setcap cap_perfmon");
    says(
        &found,
        "ring_memory",
        "take 18 MiB; this process may lock 10 MiB",
        "LimitMEMLOCK=infinity",
    );
    assert!(found.commands[0].command.starts_with("sudo folioscope record --event spe"));

    // Below it depends on the kernel: only trying tells.
    tree.user(NONE, 0);
    let found = tree.diagnosis();
    assert_eq!(found.physical_addresses, Addresses::Perhaps);
    assert_eq!(check(&found, "physical_addresses").status, Status::Warn);
    assert!(found.can_work());
    let found = tree.tried(|_, _| Some(Ok(())));
    assert_eq!(check(&found, "physical_addresses").status, Status::Ok);
    assert!(!found.commands[0].command.contains("sudo"));
}

#[test]
fn at_level_1_own_processes_alone_can_be_recorded() {
    let tree = Tree::intel();
    tree.user(NONE, 1);
    let by_rule = tree.diagnosis();
    let own_alone = |_, scope| match scope {
        Scope::AllCpus => refused(Attempt::Open, EACCES),
        Scope::Process => Some(Ok(())),
    };
    for found in [by_rule, tree.tried(own_alone)] {
        assert_eq!(check(&found, "physical_addresses").status, Status::Warn);
        says(&found, "physical_addresses", "samples of your own processes", "cap_perfmon");
        assert!(found.can_work());
        let lines = found.commands.iter().map(|command| command.command.as_str());
        let lines: Vec<_> = lines.take(2).collect();
        assert!(
            lines[0].starts_with("folioscope record --event pebs --period 150001 "),
            "{lines:?}"
        );
        assert!(lines[0].ends_with(" -- COMMAND"), "{lines:?}");
        assert!(lines[1].starts_with("sudo folioscope record --event pebs"), "{lines:?}");
    }
    let spe = Tree::arm();
    spe.user(NONE, 1);
    says(&spe.diagnosis(), "physical_addresses", "enough for processes of your own", "setcap");
    let neither = tree.tried(|_, _| refused(Attempt::Open, EACCES));
    assert!(!neither.can_work());
    assert!(neither.commands[0].command.contains("--all-cpus"));
}

#[test]
fn the_capability_alone_is_enough_up_to_the_levels_of_the_kernel() {
    let tree = Tree::arm();
    tree.user("0000004000000000", 2);
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("ring_memory", Status::Warn)]);
    tree.user("0000004000004000", 4);
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("physical_addresses", Status::Warn)]);
    says(&found, "physical_addresses", "distributions have added", "CAP_SYS_ADMIN");
}

#[test]
fn capabilities_of_a_container_are_hollow_and_its_filter_is_named() {
    let tree = Tree::arm();
    tree.file("proc/self/uid_map", "0 100000 65536\n");
    tree.file("proc/self/status", &format!("CapEff:\t{ALL}\nSeccomp:\t2\n"));
    let found = tree.diagnosis();
    assert!(!found.can_work());
    says(&found, "physical_addresses", "of a user namespace alone", "outside of the container");
    says(&found, "system_calls", "seccomp", "perf_event_open");
}

#[test]
fn what_was_tried_wins_over_the_rules() {
    let tree = Tree::arm();
    let denied = |event: Event, _| {
        assert_eq!(event, Event::Spe);
        refused(Attempt::Open, EACCES)
    };
    let found = tree.tried(denied);
    assert_eq!(complaints(&found), [("physical_addresses", Status::Fail)]);
    let said = "on CPU 3: cannot open arm_spe_0//: Permission denied (os error 13); this process \
                has CAP_PERFMON and CAP_SYS_ADMIN";
    says(&found, "physical_addresses", said, "security module");
    assert!(!found.can_work());
    tree.user(NONE, 2);
    says(&tree.tried(denied), "physical_addresses", "neither", "setcap");
    tree.file("proc/self/uid_map", "0 100000 65536\n");
    says(&tree.tried(denied), "physical_addresses", "neither", "setcap");
    tree.user(ALL, 2);
    says(&tree.tried(denied), "physical_addresses", "user namespace", "outside of the container");
    tree.remove("proc/self/uid_map");
    tree.user("0000004000000000", 4);
    says(&tree.tried(denied), "physical_addresses", "has CAP_PERFMON", "added level 4 ask for it");
    tree.file("proc/self/status", &format!("CapEff:\t{ALL}\nSeccomp:\t2\n"));
    says(&tree.tried(denied), "physical_addresses", "", "seccomp");
}

#[test]
fn each_refusal_has_the_remedy_of_a_recording() {
    let cases = [
        (Attempt::Open, EMFILE, "Too many open files", "ulimit -n"),
        (Attempt::Open, ENODEV, "No such device", "CPU 3"),
        (Attempt::Open, ENOENT, "No such file", "choose another one (--event)"),
        (Attempt::MapRecords, EPERM, "cannot map the records of", "perf_event_mlock_kb"),
        (Attempt::MapAux, EPERM, "cannot map the AUX data of", "ulimit -l unlimited"),
    ];
    for (step, errno, finding, remedy) in cases {
        let found = Tree::arm().tried(|_, _| refused(step, errno));
        assert_eq!(complaints(&found), [("physical_addresses", Status::Fail)]);
        says(&found, "physical_addresses", finding, remedy);
        assert!(!found.can_work());
    }
    let tree = Tree::arm();
    let busy = tree.tried(|_, _| refused(Attempt::Open, EBUSY));
    assert_eq!(complaints(&busy), [("physical_addresses", Status::Warn)]);
    says(&busy, "physical_addresses", "busy", "in use by somebody else");
    assert!(busy.can_work(), "it will open once it is free");
}

#[test]
fn page_table_isolation_keeps_the_driver_away() {
    let tree = Tree::arm();
    tree.remove("sys/bus/event_source/devices/arm_spe_0");
    tree.file("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("arm_spe", Status::Fail)]);
    says(&found, "arm_spe", "KPTI", "kpti=off");
    assert_eq!((found.unit, found.advice.as_ref()), (None, None));
    assert!(found.can_work(), "faults still have addresses");
    // Where the unit is there all the same, it is no hindrance.
    let tree = Tree::arm();
    tree.file("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n");
    assert_eq!(complaints(&tree.diagnosis()), []);
}

#[test]
fn other_reasons_for_no_spe() {
    let tree = Tree::arm();
    tree.remove("sys/bus/event_source/devices/arm_spe_0");
    says(&tree.diagnosis(), "arm_spe", "has found no unit", "firmware");
    tree.remove("sys/module/arm_spe_pmu");
    says(&tree.diagnosis(), "arm_spe", "not loaded", "modprobe arm_spe_pmu");
    // An old driver.
    tree.file("sys/bus/event_source/devices/arm_spe_0/format/ts_enable", "config:0\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("arm_spe", Status::Fail)]);
    says(&found, "arm_spe", "no pa_enable", "kernel");
    // Only some cores have it.
    let tree = Tree::arm();
    tree.file("sys/bus/event_source/devices/arm_spe_0/cpumask", "2-3\n");
    let found = tree.diagnosis();
    says(&found, "arm_spe", "on 2 of 4 CPUs", "not cold");
    // Half of what 4 CPUs take, rounded up to 256: 2 * 3e9 * 64 / 50 MiB = 7324.2.
    let advice = found.advice.as_ref().unwrap();
    assert_eq!((advice.cpus, advice.period), (2, 7424));
    tree.file("sys/bus/event_source/devices/arm_spe_1/cpumask", "0-1\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), []);
    assert!(found.commands[1].command.contains("-e arm_spe_1/pa_enable=1"));
}

#[test]
fn a_guest_has_no_unit_and_is_told_where_to_look() {
    let tree = Tree::arm();
    tree.file("sys/class/dmi/id/sys_vendor", "QEMU\n");
    tree.file("sys/class/dmi/id/product_name", "KVM Virtual Machine\n");
    // A hypervisor that passes SPE on may keep the addresses back.
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("virtual_machine", Status::Warn)]);
    says(&found, "virtual_machine", "may withhold SPE's physical addresses", "on the host");
    tree.remove("sys/bus/event_source/devices/arm_spe_0");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("arm_spe", Status::Fail), ("virtual_machine", Status::Warn)]);
    says(&found, "arm_spe", "KVM gives guests no SPE", "record on the host");
    says(&found, "virtual_machine", "QEMU KVM Virtual Machine", "host");
    // A cloud's machine without a hypervisor.
    tree.file("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    tree.file("sys/class/dmi/id/product_name", "c7g.metal\n");
    assert_eq!(check(&tree.diagnosis(), "virtual_machine").status, Status::Ok);
    tree.file("proc/device-tree/hypervisor/compatible", "linux,kvm\0");
    says(&tree.diagnosis(), "virtual_machine", "names linux,kvm; ", "host");
}

#[test]
fn larger_base_pages_are_counted_but_not_judged() {
    let tree = Tree::arm();
    tree.file("proc/self/smaps", "KernelPageSize:       64 kB\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("page_size", Status::Warn), ("spe_feed", Status::Warn)]);
    says(&found, "page_size", "64 KiB: a PMD block is 512 MiB", "4 KiB");
    tree.remove("proc/self/smaps");
    says(&tree.diagnosis(), "page_size", "does not say", "--page-size");
}

#[test]
fn damon_is_named_and_left_alone() {
    let tree = Tree::arm();
    let kdamonds = "sys/kernel/mm/damon/admin/kdamonds";
    tree.file(&format!("{kdamonds}/nr_kdamonds"), "2\n");
    tree.file(&format!("{kdamonds}/0/state"), "on\n");
    tree.file(&format!("{kdamonds}/0/pid"), "812\n");
    tree.file(&format!("{kdamonds}/0/contexts/0/operations"), "paddr\n");
    tree.file(&format!("{kdamonds}/0/contexts/0/schemes/0/action"), "mthp_split\n");
    tree.file(&format!("{kdamonds}/0/contexts/0/schemes/0/target_order"), "4\n");
    tree.file(&format!("{kdamonds}/1/state"), "off\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("damon", Status::Warn)]);
    let running = "kdamond 0 is on (pid 812), paddr mthp_split to order 4; kdamond 1 is off";
    says(&found, "damon", running, "nr_kdamonds 0");

    tree.file(&format!("{kdamonds}/nr_kdamonds"), "0\n");
    tree.file("sys/module/damon_stat/parameters/enabled", "Y\n");
    says(&tree.diagnosis(), "damon", "DAMON_STAT", "echo N > ");
    tree.remove("sys/kernel/mm/damon/admin");
    says(&tree.diagnosis(), "damon", "DAMON is there, but not", "CONFIG_DAMON_SYSFS");
    tree.remove("sys/kernel/mm/damon");
    says(&tree.diagnosis(), "damon", "no DAMON", "CONFIG_DAMON_SYSFS");
}

#[test]
fn lockdown_refuses_spe_feed() {
    let tree = Tree::arm();
    tree.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("lockdown", Status::Warn), ("spe_feed", Status::Warn)]);
    says(&found, "lockdown", "integrity: the kernel refuses writes", "--sink damos");
    says(&found, "spe_feed", "lockdown (integrity)", "--sink damos");
    assert!(found.can_work());
}

#[test]
fn debugfs_is_mounted_or_not() {
    let tree = Tree::arm();
    tree.remove("debug/damon");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("spe_feed", Status::Warn)]);
    says(&found, "spe_feed", "is empty", "mount -t debugfs");
    tree.file("debug/sched/features", "");
    says(&tree.diagnosis(), "spe_feed", "no CONFIG_DAMON_SPE", "--sink damos");
    tree.remove("debug");
    says(&tree.diagnosis(), "spe_feed", "no debugfs", "CONFIG_DEBUG_FS");
}

#[test]
fn an_intel_machine() {
    let tree = Tree::intel();
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), []);
    assert_eq!(found.unit, Some("pebs"));
    assert_eq!(found.advice.as_ref().map(|advice| advice.period), Some(150_001));
    assert!(found.commands[1].command.contains("mem_inst_retired.all_stores:P"));
    // Two kinds of cores.
    for device in ["cpu_core", "cpu_atom"] {
        tree.file(&format!("sys/bus/event_source/devices/{device}/caps/max_precise"), "3\n");
        tree.loads(device);
    }
    tree.remove("sys/bus/event_source/devices/cpu");
    let found = tree.diagnosis();
    says(&found, "pebs", "cpu_core, cpu_atom", "");
    assert!(found.commands[1].command.contains("-e cpu_atom/mem_uops_retired.all_loads/P"));
    // A third kind, and one without such events: its cores stay unseen.
    tree.file("sys/bus/event_source/devices/cpu_lowpower/caps/max_precise", "3\n");
    tree.loads("cpu_lowpower");
    let found = tree.diagnosis();
    assert!(found.commands[1].command.contains("-e cpu_lowpower/mem_uops_retired.all_stores/P"));
    tree.remove("sys/bus/event_source/devices/cpu_atom/events");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("pebs", Status::Warn)]);
    says(&found, "pebs", "the cores of cpu_atom have no such events", "--assume-complete");
    // A kernel without the caps; one that has turned PEBS off; one that does not know the events.
    let tree = Tree::intel();
    tree.remove("sys/bus/event_source/devices/cpu/caps");
    assert_eq!(tree.diagnosis().unit, Some("pebs"));
    tree.file("sys/bus/event_source/devices/cpu/caps/max_precise", "3\n");
    tree.remove("sys/bus/event_source/devices/cpu/events");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("pebs", Status::Fail)]);
    says(&found, "pebs", "names no events mem-loads", "newer kernel");
    assert_eq!(found.unit, None);
    tree.loads("cpu");
    tree.file("sys/bus/event_source/devices/cpu/caps/max_precise", "0\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("pebs", Status::Fail)]);
    says(&found, "pebs", "no PEBS", "dmesg");
}

#[test]
fn an_amd_machine() {
    let tree = Tree::amd();
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), []);
    assert_eq!(found.unit, Some("ibs_op"));
    assert_eq!(found.advice.as_ref().map(|advice| advice.period), Some(300_000));
    assert!(found.commands[1].command.starts_with("perf record -e ibs_op// "));
    tree.remove("sys/bus/event_source/devices/ibs_op");
    says(&tree.diagnosis(), "ibs_op", "no ibs_op", "firmware");
}

#[test]
fn a_guest_of_amd_with_nothing_still_has_faults() {
    let tree = Tree::amd();
    tree.remove("sys/bus/event_source/devices");
    tree.file("sys/bus/event_source/devices/software/type", "1\n");
    tree.file("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nflags\t\t: fpu hypervisor\n");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("ibs_op", Status::Fail), ("virtual_machine", Status::Warn)]);
    says(&found, "ibs_op", "its hypervisor does not pass it on", "on the host");
    says(&found, "physical_addresses", "minor faults and breakpoints alone", "");
    assert_eq!(found.unit, None);
    assert!(found.can_work());
    assert!(found.commands[0].command.contains("--event faults"));
    tree.user(NONE, 2);
    assert!(!tree.diagnosis().can_work());
}

#[test]
fn virtual_machines_that_run_here_are_found_by_name_and_by_what_they_hold() {
    let tree = Tree::arm();
    tree.process(200, "qemu-system-aar");
    tree.process(31, "my-vmm");
    tree.process(30, "qemu-aarch64");
    fs::create_dir_all(tree.dir.path().join("proc/31/fd")).unwrap();
    let own = |name: &str, target: &str| {
        symlink(target, tree.dir.path().join("proc/31/fd").join(name)).unwrap();
    };
    own("0", "/dev/null");
    assert!(!check(&tree.diagnosis(), "guests").finding.contains("my-vmm"));
    own("9", "anon_inode:kvm-vm");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("guests", Status::Warn)]);
    says(&found, "guests", "(my-vmm 31, qemu-system-aar 200)", "never take the memory of guests");
    for pid in 300..305 {
        tree.process(pid, "firecracker");
    }
    says(&tree.diagnosis(), "guests", "firecracker 301 and 3 more", "");
}

#[test]
fn ibs_sees_the_virtual_machines_that_run_here() {
    let tree = Tree::amd();
    tree.process(200, "qemu-system-x86");
    let found = tree.diagnosis();
    assert_eq!(complaints(&found), [("guests", Status::Warn)]);
    let finding = "IBS samples them too; their accesses count where the hardware gives";
    says(&found, "guests", finding, "how many accesses of guests were counted");
}

#[test]
fn a_host_of_which_nothing_can_be_read_is_still_described() {
    let nowhere = Path::new("/nonexistent/host").to_owned();
    let host = Host {
        procfs: nowhere.clone(),
        sysfs: nowhere.clone(),
        debugfs: nowhere,
        path: Default::default(),
    };
    let found = Diagnosis::of(&host, 0, &|_, _| None);
    assert!(!found.can_work());
    says(&found, "sampling_unit", "none is known", "");
    says(&found, "physical_addresses", "no perf events", "CONFIG_PERF_EVENTS");
    says(&found, "perf", "no such program", "folioscope record");
    says(&found, "thp", "no transparent huge pages", "CONFIG_TRANSPARENT_HUGEPAGE");
    says(&found, "guests", "cannot be listed", "root");
    let mut text = Vec::new();
    write_text(&found, &mut text, report::Style::default()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn json_has_a_schema_and_every_check() {
    let found = Tree::arm().diagnosis();
    let json: serde_json::Value = serde_json::from_str(&found.to_json()).unwrap();
    assert_eq!(json["schema"], SCHEMA);
    assert_eq!(json["can_work"], true);
    assert_eq!(json["unit"], "arm_spe");
    assert_eq!(json["physical_addresses"], "yes");
    assert_eq!(json["checks"][0]["status"], "ok");
    assert!(json["checks"][0]["remedy"].is_null());
    assert_eq!(json["checks"].as_array().unwrap().len(), found.checks.len());
    assert_eq!(json["advice"]["period"], 14_848);
    assert_eq!(json["commands"].as_array().unwrap().len(), found.commands.len());
}

/// A command that is advised for a host, typed on that host: by whom an event would be opened, it
/// is, as far as the kernel goes.
fn type_in(tree: &Tree, line: &str) {
    use clap::Parser;
    let own = std::process::id();
    let line = line.trim_start_matches("sudo ").replace("0xADDRESS", "0x1000");
    let line = line.replace("--pid PID", &format!("--pid {own}")).replace("COMMAND", "true");
    let typed = crate::command::Cli::try_parse_from(line.split(' '));
    let typed = typed.unwrap_or_else(|error| panic!("{line}: {error}"));
    let Some(mut options) = typed.captures() else {
        assert_eq!(line, "folioscope report perf.data");
        return;
    };
    tree.file(&format!("proc/{own}/task/{own}/comm"), "own\n");
    options.host = live::Host::at(tree.dir.path());
    match live::try_open(&options) {
        Ok(()) | Err(live::Error::Refused(_)) => {}
        Err(error) => panic!("{line}: {error}"),
    }
}

#[test]
fn the_program_takes_every_command_that_is_advised() {
    let nothing = Tree::new();
    let two_units = Tree::arm();
    let second = "sys/bus/event_source/devices/arm_spe_1";
    for (file, text) in [
        ("type", NO_TYPE),
        ("cpumask", "2-3\n"),
        ("caps/min_interval", "4096\n"),
        ("format/ts_enable", "config:0\n"),
        ("format/pa_enable", "config:1\n"),
        ("format/jitter", "config:16\n"),
    ] {
        two_units.file(&format!("{second}/{file}"), text);
    }
    let two_kinds = Tree::intel();
    for device in ["cpu_core", "cpu_atom"] {
        two_kinds.loads(device);
    }
    two_kinds.remove("sys/bus/event_source/devices/cpu");
    for tree in [Tree::arm(), two_units, Tree::intel(), two_kinds, Tree::amd(), nothing] {
        for (cpus, (capabilities, level), budget) in [
            ("0-3\n", (ALL, 2), 50 << 20),
            ("0\n", (ALL, 2), 1 << 40),
            ("0-255\n", (NONE, 2), 50 << 20),
            ("0-4095\n", (NONE, 1), 0),
        ] {
            tree.file("sys/devices/system/cpu/online", cpus);
            tree.user(capabilities, level);
            let found = Diagnosis::of(&tree.host(), budget, &|_, _| None);
            let lines = found.commands.iter().map(|command| command.command.as_str());
            let lines: Vec<_> = lines.filter(|line| !line.contains("perf record ")).collect();
            assert!(lines.len() >= 2, "{lines:?}");
            lines.iter().for_each(|line| type_in(&tree, line));
        }
    }
}

#[test]
fn the_advised_period_is_of_the_unit_alone() {
    for (tree, own) in [
        (Tree::arm(), EventChoice::ArmSpe),
        (Tree::intel(), EventChoice::Pebs),
        (Tree::amd(), EventChoice::IbsOp),
    ] {
        let advised = tree.diagnosis().advice.map(|advice| advice.period);
        assert!(advised > Some(1), "{own:?}");
        for event in [own, EventChoice::Best] {
            assert_eq!(advised_period(&tree.host(), &event), advised, "{event:?}");
        }
        assert_eq!(advised_period(&tree.host(), &EventChoice::Faults), None);
    }
    assert_eq!(advised_period(&Tree::new().host(), &EventChoice::Best), None);
}
