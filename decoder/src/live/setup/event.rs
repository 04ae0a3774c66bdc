//! Which events are opened, and how they are set up: from what was asked and what the host has
//! to `perf_event_attr`.

use core::fmt;

use perf_event_open_sys::bindings::{
    PERF_TYPE_BREAKPOINT, PERF_TYPE_SOFTWARE, perf_event_attr as Attr,
};

use super::event_choice::{Breakpoint, EventChoice, SOFTWARE, Side};
use super::host::{Host, Pmu};
use crate::live::error::Error;
use crate::live::options::Options;
use crate::perf::SampleType;

/// `attr.size` up to `sig_data`, which perf 6.1 reads; `config3` and `config4` stand behind it.
const SIZE_VER7: u32 = 128;
/// Arm SPE's period if the unit does not say its least one.
const SPE_PERIOD: u64 = 4096;
/// The least and the greatest period of Arm SPE, whose counter has no low eight bits
/// (`arm_spe_event_sanitise_period` in `drivers/perf/arm_spe_pmu.c`).
const SPE_LEAST: u64 = SPE_STEP;
const SPE_MOST: u64 = 0xffff_ff00;
const SPE_STEP: u64 = 256;
/// The greatest period that the kernel takes of any event (`perf_event_open` and
/// `_perf_event_period` in `kernel/events/core.c` refuse bit 63).
const MOST_PERIOD: u64 = i64::MAX as u64;
/// Cycles between two samples of AMD's unit, whose counter has no low four bits.
const IBS_PERIOD: u64 = 1 << 16;
const IBS_STEP: u64 = 16;
/// Loads, or stores, between two samples of Intel's unit.
const PEBS_PERIOD: u64 = 10_007;
/// Loads faster than this are passed over by Intel's unit, which needs some bound.
const PEBS_LATENCY: u64 = 3;
/// Nanoseconds between two samples of a clock.
const CLOCK_PERIOD: u64 = 1_000_000;
/// `config` of the software event that only carries records of tasks.
const DUMMY: u64 = 9;

/// What an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::live) enum Role {
    /// Its unit writes AUX data.
    Tracer,
    /// It writes sample records.
    Sampler,
    /// The next one is in a group that it leads; it tells nothing itself.
    Leader,
    /// It tells of tasks.
    SideBand,
}

/// An event, ready to be opened.
#[derive(Clone)]
pub(in crate::live) struct Setup {
    pub(in crate::live) attr: Attr,
    pub(in crate::live) name: String,
    pub(in crate::live) role: Role,
    /// CPUs that have its unit; `None`: all.
    pub(in crate::live) cpus: Option<Vec<u32>>,
    /// Its period, in what the unit counts.
    pub(in crate::live) period: u64,
    /// Periods are multiples of this.
    pub(in crate::live) step: u64,
    /// The greatest one: a multiple of `step`.
    pub(in crate::live) most: u64,
    /// The least sampling period that the unit recommends; 0 if it does not say.
    pub(in crate::live) least: u64,
    /// The events that Arm SPE can filter by, a bit each; 0 if the unit does not say.
    pub(in crate::live) event_filter: u64,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, role, cpus, period, .. } = self;
        write!(f, "{name} ({role:?}, period {period}, CPUs {cpus:?})")
    }
}

/// The events that are to be opened, in the order in which each CPU's are.
pub(in crate::live) fn setups(options: &Options) -> Result<Vec<Setup>, Error> {
    let host = &options.host;
    if let Some(period) = options.period.filter(|period| *period > MOST_PERIOD) {
        return Err(Error::unusable(format!(
            "the kernel takes periods up to {MOST_PERIOD}, and --period asks for {period}"
        )));
    }
    match &options.event {
        EventChoice::Best => match best(host) {
            Some(event) => setups(&Options { event, ..options.clone() }),
            None => Err(Error::unusable(
                "this host has no unit that samples memory accesses (none of arm_spe_*, ibs_op, \
                 cpu/mem-loads/ under /sys/bus/event_source/devices): virtual machines often have \
                 none; choose --event faults or --event mem:ADDR/LEN:rw, or record on another host",
            )),
        },
        EventChoice::ArmSpe => arm_spe(options),
        EventChoice::IbsOp => Ok(vec![ibs_op(options)?]),
        EventChoice::Pebs => pebs(options),
        EventChoice::Faults => Ok(vec![software("minor-faults", options)?]),
        EventChoice::Software(name) => Ok(vec![software(name, options)?]),
        EventChoice::Breakpoints(breakpoints) => {
            breakpoints.iter().map(|breakpoint| watch(*breakpoint, options)).collect()
        }
    }
}

impl Options {
    /// What a period that is asked for will not come to, in a sentence for each reason: Arm SPE
    /// recommends a least one, and has a greatest one (`caps/min_interval`, PMSIRR_EL1.INTERVAL).
    pub fn period_caveats(&self) -> Vec<String> {
        let chosen = match &self.event {
            EventChoice::Best => best(&self.host),
            other => Some(other.clone()),
        };
        let Some(period) = self.period.filter(|_| chosen == Some(EventChoice::ArmSpe)) else {
            return Vec::new();
        };
        if period > SPE_MOST {
            return vec![format!(
                "Arm SPE counts periods up to {SPE_MOST}: it takes that for {period}"
            )];
        }
        let mut caveats = Vec::new();
        for pmu in self.host.pmus().iter().filter(|pmu| pmu.name.starts_with("arm_spe")) {
            let least = pmu.capability("min_interval").unwrap_or(0).max(SPE_LEAST);
            if period < least {
                caveats.push(format!(
                "{} recommends periods of {least} and more, and --period asks for {period}: the \
                 kernel may take a longer one, and samples may collide",
                pmu.name
            ));
            }
        }
        caveats
    }
}

/// The unit that tells most.
fn best(host: &Host) -> Option<EventChoice> {
    if host.pmus().iter().any(|pmu| pmu.name.starts_with("arm_spe")) {
        Some(EventChoice::ArmSpe)
    } else if host.pmu("ibs_op").is_some() {
        Some(EventChoice::IbsOp)
    } else {
        let loads = |pmu: &Pmu<'_>| pmu.event("mem-loads").is_some();
        host.pmus().iter().any(loads).then_some(EventChoice::Pebs)
    }
}

impl Setup {
    /// An event of a type, with the fields that all records need.
    fn new(name: impl Into<String>, role: Role, type_: u32, period: u64) -> Self {
        let mut attr = Attr { type_, size: SIZE_VER7, ..Attr::default() };
        let mut fields = SampleType::IDENTIFIER
            | SampleType::IP
            | SampleType::TID
            | SampleType::TIME
            | SampleType::CPU;
        match role {
            Role::Sampler => fields |= SampleType::ADDR | SampleType::PHYS_ADDR,
            // The fields that perf asks for; the unit's own packets have more.
            Role::Tracer => fields |= SampleType::DATA_SRC | SampleType::PHYS_ADDR,
            Role::Leader | Role::SideBand => {}
        }
        attr.sample_type = fields.bits();
        attr.set_sample_id_all(1);
        attr.set_disabled(1);
        Self {
            attr,
            name: name.into(),
            role,
            cpus: None,
            period,
            step: 1,
            most: MOST_PERIOD,
            least: 0,
            event_filter: 0,
        }
    }

    /// Puts a value where the unit wants it.
    fn set(&mut self, pmu: &Pmu<'_>, setting: &str, value: u64) -> Result<(), Error> {
        let Some(format) = pmu.format(setting) else {
            return Err(Error::unusable(format!(
                "{} of this host has no setting {setting} (see \
                 /sys/bus/event_source/devices/{}/format): leave the option out that asks for it",
                pmu.name, pmu.name
            )));
        };
        if value > format.greatest() {
            return Err(Error::unusable(format!(
                "{setting} of {} is at most {}, and {value} was asked for",
                pmu.name,
                format.greatest()
            )));
        }
        let bits = format.spread(value);
        match format.word {
            0 => self.attr.config |= bits,
            1 => self.or_config1(bits),
            2 => self.or_config2(bits),
            3 => (self.attr.config3, self.attr.size) = (self.attr.config3 | bits, 136),
            _ => (self.attr.config4, self.attr.size) = (self.attr.config4 | bits, 144),
        }
        Ok(())
    }
}

/// Arm SPE: an event for each of its units, and one that tells which tasks run.
fn arm_spe(options: &Options) -> Result<Vec<Setup>, Error> {
    let pmus = options.host.pmus();
    let units: Vec<_> = pmus.iter().filter(|pmu| pmu.name.starts_with("arm_spe")).collect();
    let mut setups = Vec::new();
    for pmu in &units {
        let least = pmu.capability("min_interval").unwrap_or(0);
        let period = options.period.unwrap_or(if least > 0 { least } else { SPE_PERIOD });
        let period = period.clamp(SPE_LEAST, SPE_MOST);
        let mut setup = Setup::new("", Role::Tracer, pmu.type_, period);
        let mut terms = Vec::new();
        let wanted = [
            ("ts_enable", 1),
            ("pa_enable", 1),
            ("jitter", 1),
            ("load_filter", u64::from(options.side == Side::Loads)),
            ("store_filter", u64::from(options.side == Side::Stores)),
            ("min_latency", options.min_latency.map_or(0, u64::from)),
        ];
        let given = |setting: &str| options.settings.iter().any(|(name, _)| name == setting);
        let wanted = wanted.into_iter().filter(|(setting, value)| *value > 0 && !given(setting));
        let given = options.settings.iter().map(|(name, value)| (name.as_str(), *value));
        for (setting, value) in wanted.chain(given) {
            setup.set(pmu, setting, value)?;
            terms.push(format!("{setting}={value}"));
        }
        setup.name = format!("{}/{}/", pmu.name, terms.join(","));
        setup.cpus = pmu.cpus();
        setup.least = least;
        setup.event_filter = pmu.capability("event_filter").unwrap_or(0);
        (setup.step, setup.most) = (SPE_STEP, SPE_MOST);
        setups.push(setup);
    }
    if setups.is_empty() {
        return Err(Error::unusable(
            "this host has no Arm SPE unit (arm_spe_* under /sys/bus/event_source/devices): the \
             processor, its firmware or the hypervisor does not offer it, or the kernel is \
             without CONFIG_ARM_SPE_PMU",
        ));
    }
    setups.push(side_band());
    Ok(setups)
}

/// Tells which tasks there are, and where they run.
fn side_band() -> Setup {
    let mut setup = Setup::new("dummy:u", Role::SideBand, PERF_TYPE_SOFTWARE, 1);
    setup.attr.config = DUMMY;
    setup.attr.set_exclude_kernel(1);
    setup.attr.set_comm(1);
    setup.attr.set_task(1);
    setup.attr.set_context_switch(1);
    setup
}

fn ibs_op(options: &Options) -> Result<Setup, Error> {
    let Some(pmu) = options.host.pmu("ibs_op") else {
        return Err(Error::unusable(
            "this host has no IBS unit (ibs_op under /sys/bus/event_source/devices): AMD and Hygon \
             processors have it, and most hypervisors hide it",
        ));
    };
    if options.side != Side::Both {
        return Err(Error::unusable(
            "ibs_op samples every operation: leave --loads and --stores out, and give them to \
             `folioscope report`",
        ));
    }
    let most = MOST_PERIOD / IBS_STEP * IBS_STEP;
    let period = options.period.unwrap_or(IBS_PERIOD).min(most).next_multiple_of(IBS_STEP);
    let mut setup = Setup::new("ibs_op//", Role::Sampler, pmu.type_, period);
    (setup.step, setup.most) = (IBS_STEP, most);
    // The unit's registers say whether the hardware gave a physical address: for a guest's access the
    // kernel looks up a wrong one. Before 6.1 nothing else tells of the access at all.
    let told = SampleType::DATA_SRC | SampleType::WEIGHT | SampleType::RAW;
    setup.attr.sample_type |= told.bits();
    let latency = options.min_latency.map(|latency| ("ldlat", u64::from(latency)));
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), *value));
    let mut terms = Vec::new();
    for (setting, value) in latency.into_iter().chain(given) {
        setup.set(&pmu, setting, value)?;
        terms.push(format!("{setting}={value}"));
    }
    setup.name = format!("ibs_op/{}/", terms.join(","));
    setup.attr.set_comm(1);
    Ok(setup)
}

/// Intel's precise loads and stores, of every unit that has them: processors of two kinds have
/// two.
fn pebs(options: &Options) -> Result<Vec<Setup>, Error> {
    no_settings("pebs", options)?;
    let mut setups = Vec::new();
    for pmu in options.host.pmus() {
        // The highest level is for one counter of some, on which loads have no place.
        let precise = pmu.capability("max_precise").unwrap_or(2).clamp(1, 2);
        let mut add = |event: &str, role, latency: Option<u64>| -> Result<bool, Error> {
            let Some(terms) = pmu.event(event) else { return Ok(false) };
            // A leader only counts: its samples would be no loads.
            let leads = role == Role::Leader;
            let period = if leads { 0 } else { options.period.unwrap_or(PEBS_PERIOD) };
            let mut setup = Setup::new("", role, pmu.type_, period);
            for (setting, value) in terms {
                let value = latency.filter(|_| setting == "ldlat").unwrap_or(value);
                setup.set(&pmu, &setting, value)?;
            }
            setup.name = match (latency, leads) {
                (_, true) => format!("{}/{event}/", pmu.name),
                (Some(latency), _) => format!("{}/{event},ldlat={latency}/P", pmu.name),
                (None, _) => format!("{}/{event}/P", pmu.name),
            };
            if !leads {
                // Of several samplers of a unit one tells of tasks.
                let first = !setups
                    .iter()
                    .any(|before: &Setup| before.attr.comm() == 1 && before.cpus == pmu.cpus());
                setup.attr.set_comm(u64::from(first));
                setup.attr.sample_type |= (SampleType::DATA_SRC | SampleType::WEIGHT).bits();
                setup.attr.set_precise_ip(precise);
            }
            setup.cpus = pmu.cpus();
            setups.push(setup);
            Ok(true)
        };
        if options.side != Side::Stores {
            let latency = options.min_latency.map_or(PEBS_LATENCY, u64::from);
            // Where the kernel has this event, loads are only sampled in a group behind it.
            if pmu.event("mem-loads").is_some() {
                add("mem-loads-aux", Role::Leader, None)?;
            }
            add("mem-loads", Role::Sampler, Some(latency))?;
        }
        if options.side != Side::Loads {
            add("mem-stores", Role::Sampler, None)?;
        }
    }
    if setups.is_empty() {
        return Err(Error::unusable(
            "this host has no precise memory events (cpu/mem-loads/ under \
             /sys/bus/event_source/devices): Intel's processors have them, and most hypervisors \
             hide them",
        ));
    }
    Ok(setups)
}

fn software(name: &str, options: &Options) -> Result<Setup, Error> {
    no_filters(name, options)?;
    let found = SOFTWARE.iter().find(|(known, _)| *known == name);
    let config = found.map(|(_, config)| *config).ok_or_else(|| {
        Error::unusable(format!("the kernel has no software event that is called {name}"))
    })?;
    let is_clock = name.ends_with("-clock");
    let period = options.period.unwrap_or(if is_clock { CLOCK_PERIOD } else { 1 });
    let mut setup = Setup::new(name, Role::Sampler, PERF_TYPE_SOFTWARE, period);
    setup.attr.config = config;
    setup.attr.set_comm(1);
    Ok(setup)
}

fn watch(breakpoint: Breakpoint, options: &Options) -> Result<Setup, Error> {
    no_filters("a breakpoint", options)?;
    let period = options.period.unwrap_or(1);
    let name = breakpoint.to_string();
    let mut setup = Setup::new(name, Role::Sampler, PERF_TYPE_BREAKPOINT, period);
    setup.attr.bp_type = u32::from(breakpoint.read) | u32::from(breakpoint.write) << 1;
    setup.or_config1(breakpoint.address);
    setup.or_config2(breakpoint.len);
    setup.attr.set_comm(1);
    Ok(setup)
}

/// Refuses what only a sampling unit can do.
fn no_filters(name: &str, options: &Options) -> Result<(), Error> {
    no_settings(name, options)?;
    if options.side == Side::Both && options.min_latency.is_none() {
        return Ok(());
    }
    Err(Error::unusable(format!(
        "{name} cannot filter by direction or latency: leave --loads, --stores and --min-latency \
         out"
    )))
}

/// Refuses settings where there is no one unit whose they are.
fn no_settings(name: &str, options: &Options) -> Result<(), Error> {
    match options.settings.first() {
        None => Ok(()),
        Some((setting, _)) => Err(Error::unusable(format!(
            "{name} takes no setting {setting}: --set is for spe and ibs"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteOrder;
    use crate::live::setup::open::attr_bytes;
    use crate::perf::Attr as Parsed;
    use std::path::PathBuf;

    /// A folder with such files.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir()
                .join(format!("folioscope-events-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join("sys/bus/event_source/devices").join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn options(&self, event: &str) -> Options {
            let event = event.parse().unwrap();
            Options { event, host: Host::at(&self.0), ..Options::default() }
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const SPE: [(&str, &str); 9] = [
        ("arm_spe_0/type", "11\n"),
        ("arm_spe_0/cpumask", "0-3\n"),
        ("arm_spe_0/caps/min_interval", "1024\n"),
        ("arm_spe_0/format/ts_enable", "config:0\n"),
        ("arm_spe_0/format/pa_enable", "config:1\n"),
        ("arm_spe_0/format/jitter", "config:16\n"),
        ("arm_spe_0/format/load_filter", "config:33\n"),
        ("arm_spe_0/format/store_filter", "config:34\n"),
        ("arm_spe_0/format/min_latency", "config2:0-11\n"),
    ];

    fn parsed(setup: &Setup) -> Parsed {
        Parsed::parse(&attr_bytes(&setup.attr, setup.period), ByteOrder::Little).unwrap().0
    }

    #[test]
    fn arm_spe_by_its_format_and_capabilities() {
        let tree = Tree::new("spe", &SPE);
        let mut options = tree.options("best");
        options.min_latency = Some(30);
        options.side = Side::Stores;
        let events = setups(&options).unwrap();
        let attr = parsed(&events[0]);
        assert_eq!((attr.type_, attr.size, attr.sample_period), (11, 128, 1024));
        assert_eq!((attr.config, attr.config2), (1 << 34 | 1 << 16 | 0b11, 30));
        assert!(attr.sample_type.contains(SampleType::PHYS_ADDR | SampleType::IDENTIFIER));
        assert_eq!(events[0].cpus, Some(vec![0, 1, 2, 3]));
        let name = "arm_spe_0/ts_enable=1,pa_enable=1,jitter=1,store_filter=1,min_latency=30/";
        assert_eq!(events[0].name, name);
        assert_eq!((events[1].role, events.len()), (Role::SideBand, 2));

        let refused = |options: &Options| setups(options).unwrap_err().to_string();
        options.min_latency = Some(4096);
        assert!(refused(&options).contains("at most 4095, and 4096"), "{}", refused(&options));
        options.min_latency = None;
        assert_eq!(options.period_caveats(), Vec::<String>::new(), "none is asked for");
        for (period, attr_has, caveat) in [
            (1, 256, "arm_spe_0 recommends periods of 1024 and more, and --period asks for 1:"),
            (1000, 1000, "asks for 1000: the kernel may take a longer one"),
            (1024, 1024, ""),
            (0xffff_ff00, 0xffff_ff00, ""),
            (0xffff_ff01, 0xffff_ff00, "up to 4294967040: it takes that for 4294967041"),
            (u64::MAX >> 1, 0xffff_ff00, "it takes that for 9223372036854775807"),
        ] {
            options.period = Some(period);
            assert_eq!(parsed(&setups(&options).unwrap()[0]).sample_period, attr_has, "{period}");
            let caveats = options.period_caveats();
            assert_eq!(caveats.len(), usize::from(!caveat.is_empty()), "{caveats:?}");
            assert!(caveats.iter().all(|said| said.contains(caveat)), "{caveats:?}");
        }
        options.period = Some(1 << 63);
        assert!(refused(&options).contains("asks for 9223372036854775808"));
        let own = tree.options("spe");
        options = Options { settings: vec![("jitter".to_owned(), 0)], ..own.clone() };
        let events = setups(&options).unwrap();
        assert_eq!(parsed(&events[0]).config, 0b11);
        assert_eq!(events[0].name, "arm_spe_0/ts_enable=1,pa_enable=1,jitter=0/");
        options = Options { settings: vec![("event_filter".to_owned(), 2)], ..own };
        assert!(refused(&options).contains("no setting event_filter"), "{}", refused(&options));
        let older = Tree::new("spe-old", &SPE[..6]);
        options = older.options("spe");
        options.side = Side::Loads;
        assert!(refused(&options).contains("no setting load_filter"), "{}", refused(&options));
    }

    #[test]
    fn ibs_counts_in_sixteens() {
        let tree =
            Tree::new("ibs", &[("ibs_op/type", "9"), ("ibs_op/format/cnt_ctl", "config:19")]);
        let mut options = tree.options("best");
        let fields = parsed(&setups(&options).unwrap()[0]).sample_type;
        assert!(fields.contains(SampleType::RAW), "the unit's registers");
        options.period = Some(1000);
        let events = setups(&options).unwrap();
        assert_eq!((parsed(&events[0]).type_, parsed(&events[0]).sample_period), (9, 1008));
        options.settings = vec![("cnt_ctl".to_owned(), 1)];
        let events = setups(&options).unwrap();
        assert_eq!(
            (parsed(&events[0]).config, &events[0].name[..]),
            (1 << 19, "ibs_op/cnt_ctl=1/")
        );
        options.min_latency = Some(128);
        assert!(setups(&options).unwrap_err().to_string().contains("no setting ldlat"));
        options.side = Side::Loads;
        assert!(setups(&options).unwrap_err().to_string().contains("every operation"));
    }

    #[test]
    fn pebs_from_the_events_that_the_kernel_names() {
        let files = [
            ("cpu/type", "4"),
            ("cpu/caps/max_precise", "3"),
            ("cpu/events/mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
            ("cpu/events/mem-stores", "event=0xcd,umask=0x2"),
            ("cpu/events/mem-loads-aux", "event=0x03,umask=0x82"),
            ("cpu/format/event", "config:0-7"),
            ("cpu/format/umask", "config:8-15"),
            ("cpu/format/ldlat", "config1:0-15"),
        ];
        let tree = Tree::new("pebs", &files);
        let mut options = tree.options("best");
        options.min_latency = Some(30);
        let events = setups(&options).unwrap();
        let roles: Vec<_> = events.iter().map(|event| event.role).collect();
        assert_eq!(roles, [Role::Leader, Role::Sampler, Role::Sampler]);
        let configs: Vec<_> = events.iter().map(|event| parsed(event).config).collect();
        assert_eq!(configs, [0x8203, 0x1cd, 0x2cd]);
        assert_eq!((parsed(&events[1]).config1, parsed(&events[2]).config1), (30, 0));
        assert_eq!(parsed(&events[1]).flags.precise_ip(), 2);
        options.side = Side::Stores;
        assert_eq!(setups(&options).unwrap().len(), 1);
    }

    #[test]
    fn breakpoints_and_software_events() {
        let tree = Tree::new("none", &[("software/type", "1")]);
        let watched = setups(&tree.options("mem:0x7f00/8:w")).unwrap();
        let attr = parsed(&watched[0]);
        assert_eq!((attr.type_, attr.bp_type, attr.config1, attr.config2), (5, 2, 0x7f00, 8));
        assert_eq!(watched[0].name, "mem:0x7f00/8:w");
        let settings = vec![("jitter".to_owned(), 0)];
        let refused = setups(&Options { settings, ..tree.options("faults") }).unwrap_err();
        assert!(refused.to_string().contains("takes no setting jitter"), "{refused}");
        let faults = setups(&tree.options("faults")).unwrap();
        assert_eq!((parsed(&faults[0]).type_, parsed(&faults[0]).config), (1, 5));
        assert!(setups(&tree.options("best")).unwrap_err().to_string().contains("no unit"));
        for event in ["spe", "ibs", "pebs"] {
            assert!(setups(&tree.options(event)).is_err(), "{event}");
        }
        let defaults = "mem:4096".parse::<EventChoice>().unwrap();
        let want = Breakpoint { address: 4096, len: 4, read: true, write: true };
        assert_eq!(defaults, EventChoice::Breakpoints(vec![want]));
        let two = "mem:0x1000/8:w,mem:0x2000/4:rw";
        let both = two.parse::<EventChoice>().unwrap();
        assert_eq!(both.to_string(), two);
        assert_eq!(setups(&Options { event: both, ..tree.options("best") }).unwrap().len(), 2);
        for bad in [
            "",
            "mem:",
            "mem:1/8:w,",
            "mem:1/8:w,faults",
            "mem:x",
            "mem:1/3",
            "mem:1/8:x",
            "cycles",
        ] {
            assert!(bad.parse::<EventChoice>().is_err(), "{bad:?}");
        }
    }
}
