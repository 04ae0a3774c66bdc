//! The sink against a stand-in for the kernel's tree with all its traps.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::rc::Rc;

use heatmap::{ChunkOrder, HotThreshold, Verdict};
use proptest::prelude::*;

use super::*;
use crate::decision::Standing;

/// Operation not permitted, no memory, busy, invalid argument.
const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

/// What a kernel knows.
#[derive(Clone, Debug)]
struct Version {
    has_core_filters: bool,
    knows_allow: bool,
    /// The last filter decides what becomes of what matches none; else it is acted on.
    rejects_by_default: bool,
    actions: Vec<&'static str>,
    /// Filters do nothing.
    ignores_filters: bool,
    /// It is not told which regions were tried.
    hides_regions: bool,
}

fn version(number: u32) -> Version {
    Version {
        has_core_filters: number >= 618,
        knows_allow: number >= 614,
        rejects_by_default: number >= 618,
        actions: vec!["stat", "pageout", "hugepage", "lru_deprio", "migrate_cold"],
        ignores_filters: false,
        hides_regions: false,
    }
}

const VERSIONS: [u32; 3] = [612, 614, 618];

/// What a running kdamond was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acting {
    action: String,
    /// Where it acts, in ascending order.
    ranges: Vec<Range>,
}

/// The tree.
#[derive(Debug)]
struct Kernel {
    version: Version,
    files: BTreeMap<String, String>,
    running: Option<Acting>,
    /// All that was ever running.
    acted: Vec<Acting>,
    pids: u32,
    writes: usize,
    /// The number of the write that fails.
    fails_at: Option<usize>,
}

#[derive(Clone, Debug)]
struct Fake(Rc<RefCell<Kernel>>);

fn errno(number: i32) -> Error {
    Error::from_raw_os_error(number)
}

impl Kernel {
    fn set(&mut self, path: &str, value: &str) {
        self.files.insert(path.to_owned(), value.to_owned());
    }

    /// The number in a file.
    fn of(&self, path: &str) -> u64 {
        self.files[path].parse().expect("the kernel checks numbers when they are written")
    }

    /// Makes the folders that a number of folders stands for, blank.
    fn recreate(&mut self, path: &str, count: u64) {
        let (folder, name) = path.rsplit_once('/').unwrap();
        let below = format!("{folder}/");
        let is_kept = |file: &str| !file.starts_with(&below) || file == path;
        self.files.retain(|file, _| is_kept(file));
        let blank: &[(&str, &str)] = match name {
            "nr_kdamonds" => &[("state", "off"), ("pid", "-1"), ("contexts/nr_contexts", "0")],
            "nr_contexts" => &[
                ("avail_operations", "vaddr\nfvaddr\npaddr"),
                ("operations", "vaddr"),
                ("monitoring_attrs/intervals/sample_us", "5000"),
                ("monitoring_attrs/intervals/aggr_us", "100000"),
                ("monitoring_attrs/intervals/update_us", "1000000"),
                ("monitoring_attrs/nr_regions/min", "10"),
                ("monitoring_attrs/nr_regions/max", "1000"),
                ("targets/nr_targets", "0"),
                ("schemes/nr_schemes", "0"),
            ],
            "nr_targets" => &[("pid_target", "0"), ("regions/nr_regions", "0")],
            "nr_regions" => &[("start", "0"), ("end", "0")],
            "nr_schemes" => &[
                ("action", "stat"),
                ("target_nid", "0"),
                ("access_pattern/sz/min", "0"),
                ("access_pattern/sz/max", "0"),
                ("access_pattern/nr_accesses/min", "0"),
                ("access_pattern/nr_accesses/max", "0"),
                ("access_pattern/age/min", "0"),
                ("access_pattern/age/max", "0"),
                ("filters/nr_filters", "0"),
                ("stats/nr_tried", "0"),
                ("stats/sz_tried", "0"),
                ("stats/nr_applied", "0"),
                ("stats/sz_applied", "0"),
                ("stats/qt_exceeds", "0"),
                ("tried_regions/total_bytes", "0"),
            ],
            "nr_filters" => {
                &[("type", "anon"), ("matching", "N"), ("addr_start", "0"), ("addr_end", "0")]
            }
            other => panic!("{other}"),
        };
        let version = self.version.clone();
        for number in 0..count {
            for (file, value) in blank {
                self.set(&format!("{below}{number}/{file}"), value);
            }
            if name == "nr_schemes" && version.has_core_filters {
                self.set(&format!("{below}{number}/core_filters/nr_filters"), "0");
                self.set(&format!("{below}{number}/ops_filters/nr_filters"), "0");
            }
            if name == "nr_schemes" && version.actions.contains(&"mthp_split") {
                self.set(&format!("{below}{number}/target_order"), "0");
                self.set(&format!("{below}{number}/hot_threshold"), "0");
            }
            if name == "nr_filters" && version.knows_allow {
                self.set(&format!("{below}{number}/allow"), "N");
            }
        }
    }

    /// What is written down, as it is read when it is turned on.
    fn acting(&self) -> std::io::Result<Acting> {
        let context = |file: &str| super::scheme::context(file);
        let scheme = |file: &str| super::scheme::scheme(file);
        let interval =
            |name: &str| self.of(&context(&format!("monitoring_attrs/intervals/{name}")));
        let regions =
            |name: &str| self.of(&context(&format!("monitoring_attrs/nr_regions/{name}")));
        let is_bad = interval("sample_us") > interval("aggr_us")
            || regions("min") < 3
            || regions("min") > regions("max")
            || (self.files[&context("operations")] == "paddr"
                && self.of(&context("targets/nr_targets")) != 1);
        if is_bad {
            return Err(errno(EINVAL));
        }
        let mut looked_at = Vec::new();
        for number in 0..self.of(&context("targets/0/regions/nr_regions")) {
            let of = |name: &str| self.of(&context(&format!("targets/0/regions/{number}/{name}")));
            let range = Range { start: of("start"), end: of("end") };
            if range.is_empty()
                || looked_at.last().is_some_and(|last: &Range| last.end > range.start)
            {
                return Err(errno(EINVAL));
            }
            looked_at.push(range);
        }
        let folder = if self.version.has_core_filters { "core_filters" } else { "filters" };
        let mut filters = Vec::new();
        for number in 0..self.of(&scheme(&format!("{folder}/nr_filters"))) {
            let text =
                |name: &str| self.files[&scheme(&format!("{folder}/{number}/{name}"))].as_str();
            assert_eq!(text("type"), "addr");
            let number = |name: &str| text(name).parse::<u64>().unwrap();
            let range = Range { start: number("addr_start"), end: number("addr_end") };
            if range.start > range.end {
                return Err(errno(ENOMEM));
            }
            let allow = self.version.knows_allow && text("allow") == "Y";
            filters.push((range, text("matching") == "Y", allow));
        }
        let inverted = filters.iter().filter(|(_, matching, _)| !matching).count();
        assert!(inverted <= 1, "several of them leave nothing");
        let is_matched = ["sz", "nr_accesses", "age"]
            .iter()
            .all(|of| self.of(&scheme(&format!("access_pattern/{of}/max"))) > 0);
        let ranges = looked_at.iter().flat_map(|range| self.split(*range, &filters));
        Ok(Acting {
            action: self.files[&scheme("action")].clone(),
            ranges: ranges.filter(|_| is_matched).collect(),
        })
    }

    /// The parts of a region that filters let through.
    fn split(&self, region: Range, filters: &[(Range, bool, bool)]) -> Vec<Range> {
        let mut cuts = BTreeSet::from([region.start, region.end]);
        for (range, _, _) in filters {
            cuts.extend([range.start / PAGE * PAGE, range.end / PAGE * PAGE]);
        }
        let cuts: Vec<_> = cuts.range(region.start..=region.end).copied().collect();
        let parts = cuts.windows(2).map(|pair| Range { start: pair[0], end: pair[1] });
        parts.filter(|part| self.passes(*part, filters)).collect()
    }

    fn passes(&self, part: Range, filters: &[(Range, bool, bool)]) -> bool {
        if self.version.ignores_filters {
            return true;
        }
        let mut decided = filters
            .iter()
            .filter(|(range, matching, _)| range.contains(part) == *matching)
            .map(|(_, _, allow)| *allow);
        let by_default =
            !self.version.rejects_by_default || !filters.last().is_some_and(|last| last.2);
        decided.next().unwrap_or(by_default)
    }

    fn state(&mut self, value: &str) -> std::io::Result<()> {
        let ours = |file: &str| super::scheme::ours(file);
        let is_on = self.running.is_some();
        match value {
            "on" => {
                let damon_stat = self.files.get(DAMON_STAT).is_some_and(|runs| runs == "Y");
                if is_on || damon_stat {
                    return Err(errno(EBUSY));
                }
                let acting = self.acting()?;
                self.acted.push(acting.clone());
                self.running = Some(acting);
                self.pids += 1;
                self.set(&ours("state"), "on");
                self.set(&super::scheme::scheme("stats/sz_tried"), "0");
                let pid = self.pids.to_string();
                self.set(&ours("pid"), &pid);
            }
            _ if !is_on => {
                assert_ne!(value, "off", "it is off, which the caller has to know");
                return Err(errno(if value == "off" { EPERM } else { EINVAL }));
            }
            "off" => self.end(),
            "commit" => {
                let acting = self.acting()?;
                self.acted.push(acting.clone());
                self.running = Some(acting);
            }
            "update_schemes_stats" => {
                let ranges = self.running.as_ref().unwrap().ranges.clone();
                let bytes: u64 = ranges.iter().map(|range| range.len()).sum();
                let before = self.of(&super::scheme::scheme("stats/sz_tried"));
                self.set(&super::scheme::scheme("stats/sz_tried"), &(before + bytes).to_string());
                let number = ranges.len().to_string();
                self.set(&super::scheme::scheme("stats/nr_tried"), &number);
            }
            "update_schemes_tried_regions" if self.version.hides_regions => {}
            "update_schemes_tried_regions" => {
                let ranges = self.running.as_ref().unwrap().ranges.clone();
                for (number, range) in ranges.iter().enumerate() {
                    let file = |name: &str| {
                        super::scheme::scheme(&format!("tried_regions/{number}/{name}"))
                    };
                    self.set(&file("start"), &range.start.to_string());
                    self.set(&file("end"), &range.end.to_string());
                }
            }
            other => panic!("{other} is never to be written"),
        }
        Ok(())
    }

    fn end(&mut self) {
        self.running = None;
        self.set(&super::scheme::ours("state"), "off");
        self.set(&super::scheme::ours("pid"), "-1");
    }

    fn write(&mut self, path: &str, value: &str) -> std::io::Result<()> {
        self.writes += 1;
        if self.fails_at == Some(self.writes) {
            return Err(errno(ENOMEM));
        }
        if !self.files.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let (_, name) = path.rsplit_once('/').unwrap();
        match name {
            "state" => return self.state(value),
            "action" if !self.version.actions.contains(&value) => return Err(errno(EINVAL)),
            "nr_kdamonds" if self.running.is_some() => return Err(errno(EBUSY)),
            "pid" | "avail_operations" | "total_bytes" => panic!("{path} is only read"),
            "action" | "operations" | "type" => {}
            "matching" | "allow" => assert!(["Y", "N"].contains(&value)),
            _ => {
                let count = value.parse().map_err(|_| errno(EINVAL))?;
                if name.starts_with("nr_") && name != "nr_regions"
                    || path.ends_with("/regions/nr_regions")
                {
                    self.recreate(path, count);
                }
            }
        }
        self.set(path, value);
        Ok(())
    }
}

impl Fake {
    fn new(version: Version) -> Self {
        let files = BTreeMap::from([(NR_KDAMONDS.to_owned(), "0".to_owned())]);
        Self(Rc::new(RefCell::new(Kernel {
            version,
            files,
            running: None,
            acted: Vec::new(),
            pids: 100,
            writes: 0,
            fails_at: None,
        })))
    }

    fn damos(&self, settings: &Settings) -> anyhow::Result<Damos<Self>> {
        Damos::with(self.clone(), settings.clone())
    }

    fn is_clean(&self) -> bool {
        let kernel = self.0.borrow();
        kernel.running.is_none() && kernel.files[NR_KDAMONDS] == "0"
    }

    /// Somebody else turns what there is off and makes his own.
    fn is_taken_over(&self) {
        let mut kernel = self.0.borrow_mut();
        if kernel.running.is_some() {
            kernel.state("off").unwrap();
        }
        let mut fake = Self(Rc::new(RefCell::new(std::mem::replace(
            &mut *kernel,
            Kernel {
                version: version(618),
                files: BTreeMap::new(),
                running: None,
                acted: Vec::new(),
                pids: 0,
                writes: 0,
                fails_at: None,
            },
        ))));
        fake.write(NR_KDAMONDS, "1").unwrap();
        scheme::write(&mut fake, &settings("stat")).unwrap();
        fake.write(&scheme::context("targets/0/regions/nr_regions"), "1").unwrap();
        fake.write(&scheme::context("targets/0/regions/0/end"), "4096").unwrap();
        fake.write(&scheme::scheme("filters/nr_filters"), "0").unwrap();
        if fake.exists(&scheme::scheme("core_filters")) {
            fake.write(&scheme::scheme("core_filters/nr_filters"), "0").unwrap();
        }
        fake.write(&scheme::ours("state"), "on").unwrap();
        *kernel = Rc::try_unwrap(fake.0).unwrap().into_inner();
    }
}

impl Files for Fake {
    fn read(&self, path: &str) -> std::io::Result<String> {
        let kernel = self.0.borrow();
        let text = kernel.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(format!("{text}\n"))
    }

    fn write(&mut self, path: &str, value: &str) -> std::io::Result<()> {
        self.0.borrow_mut().write(path, value)
    }

    fn exists(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.0.borrow().files.keys().any(|file| file == path || file.starts_with(&folder))
    }

    fn pause(&self, _: Duration) {}
}

fn settings(action: &str) -> Settings {
    Settings { action: Some(action.to_owned()), ..Settings::default() }
}

fn decision(number: u64, verdict: Verdict) -> Decision {
    Decision {
        standing: Standing::AsTold,
        folio_pfn: number << 9,
        verdict,
        accesses: 5,
        hot_chunks: vec![1],
        pid: None,
        vaddr: None,
    }
}

fn sparse(numbers: &[u64]) -> Vec<Decision> {
    numbers.iter().map(|number| decision(*number, Verdict::Sparse)).collect()
}

fn range(first: u64, behind: u64) -> Range {
    Range { start: first * FOLIO, end: behind * FOLIO }
}

#[test]
fn it_is_tried_out_then_acts_there_and_nowhere_else_then_is_gone() {
    for number in VERSIONS {
        let fake = Fake::new(version(number));
        let mut damos = fake.damos(&settings("pageout")).unwrap();
        assert_eq!(fake.0.borrow().writes, 0, "opening writes nothing");
        assert_eq!((damos.mark(), damos.stats().unwrap()), (None, Stats::default()));
        let mut decisions = sparse(&[0, 3, 4, 9]);
        decisions.push(decision(5, Verdict::Hot));
        let applied = damos.propose(&decisions).unwrap();
        let wanted = [range(0, 1), range(3, 5), range(9, 10)];
        assert_eq!(applied.ranges, wanted);
        assert_eq!(applied.folios, [0, 3 << 9, 4 << 9, 9 << 9]);
        let acting = |action: &str, ranges: &[Range]| Acting {
            action: action.to_owned(),
            ranges: ranges.to_vec(),
        };
        let trial = acting("stat", &wanted);
        let first = acting("pageout", &wanted);
        assert_eq!(fake.0.borrow().acted, [trial.clone(), first.clone()], "{number}");
        assert_eq!(damos.stats().unwrap().sz_tried, 4 * FOLIO);
        let mark = damos.mark().unwrap();
        assert_eq!(mark, Mark { kdamond: 0, pid: 102 });

        // The same once more is nothing new; another time the kdamond goes on.
        let writes = fake.0.borrow().writes;
        damos.propose(&decisions).unwrap();
        assert_eq!(fake.0.borrow().writes, writes);
        damos.propose(&sparse(&[7])).unwrap();
        let second = acting("pageout", &[range(7, 8)]);
        assert_eq!(fake.0.borrow().acted, [trial, first, second.clone()]);
        assert_eq!(damos.mark(), Some(mark));

        damos.propose(&[]).unwrap();
        assert!(fake.is_clean(), "without ranges there is no scheme");
        assert_eq!(damos.mark(), None);
        damos.propose(&sparse(&[7])).unwrap();
        assert_eq!(fake.0.borrow().acted.last(), Some(&second));
        assert_eq!(fake.0.borrow().acted.len(), 4, "it was tried out before");
        damos.turn_off().unwrap();
        assert!(fake.is_clean());
        let writes = fake.0.borrow().writes;
        damos.turn_off().unwrap();
        assert_eq!(fake.0.borrow().writes, writes, "what is off is not turned off");
    }
}

#[test]
fn kernels_need_not_tell_which_regions_were_tried() {
    let fake = Fake::new(Version { hides_regions: true, ..version(618) });
    fake.damos(&settings("pageout")).unwrap().propose(&sparse(&[1])).unwrap();
}

#[test]
fn each_kdamond_is_told_of_as_soon_as_it_runs() {
    let fake = Fake::new(version(618));
    let mut damos = fake.damos(&settings("pageout")).unwrap();
    let mut told = Vec::new();
    let watch = |mark: &Mark| {
        let kernel = fake.0.borrow();
        told.push((mark.pid, kernel.running.as_ref().unwrap().action.clone()));
        Ok(())
    };
    damos.propose_watched(&sparse(&[1]), watch).unwrap();
    assert_eq!(told, [(101, "stat".to_owned()), (102, "pageout".to_owned())]);
    damos.propose_watched(&sparse(&[2]), |_| panic!("it goes on")).unwrap();
    damos.turn_off().unwrap();
    // Where there can be no supervisor, nothing is done.
    assert!(damos.propose_watched(&sparse(&[2]), |_| bail!("no supervisor")).is_err());
    assert!(fake.is_clean());
}

#[test]
fn nothing_to_do_writes_nothing() {
    let fake = Fake::new(version(618));
    let mut damos = fake.damos(&settings("pageout")).unwrap();
    damos.propose(&[decision(5, Verdict::Hot)]).unwrap();
    assert_eq!(fake.0.borrow().writes, 0);
}

#[test]
fn what_others_use_is_not_touched() {
    let taken = Fake::new(version(618));
    taken.is_taken_over();
    let before = taken.0.borrow().files.clone();
    let error = taken.damos(&settings("pageout")).unwrap_err();
    assert!(error.to_string().contains("somebody else uses DAMON"), "{error}");
    assert_eq!(taken.0.borrow().files, before);

    let stat = Fake::new(version(618));
    stat.0.borrow_mut().set(DAMON_STAT, "Y");
    let error = stat.damos(&settings("pageout")).unwrap_err();
    assert!(error.to_string().contains("DAMON_STAT"), "{error}");
    assert_eq!((stat.0.borrow().writes, &*stat.0.borrow().files[DAMON_STAT]), (0, "Y"));
    // It may also begin later.
    stat.0.borrow_mut().set(DAMON_STAT, "N");
    let mut damos = stat.damos(&settings("pageout")).unwrap();
    stat.0.borrow_mut().set(DAMON_STAT, "Y");
    assert!(damos.propose(&sparse(&[1])).is_err());
    assert_eq!(stat.0.borrow().writes, 0);

    let none = Fake::new(version(618));
    none.0.borrow_mut().files.clear();
    let error = none.damos(&settings("pageout")).unwrap_err();
    assert!(error.to_string().contains("CONFIG_DAMON_SYSFS"), "{error}");
}

#[test]
fn what_others_have_put_in_our_place_is_not_touched() {
    let fake = Fake::new(version(618));
    let mut damos = fake.damos(&settings("pageout")).unwrap();
    damos.propose(&sparse(&[1, 5])).unwrap();
    let mark = damos.mark().unwrap();
    let mut second = Damos { running: damos.running.clone(), ..fake_of(&fake) };
    let mut third = Damos { running: damos.running.clone(), ..fake_of(&fake) };
    fake.is_taken_over();
    let before = fake.0.borrow().files.clone();
    assert!(damos.propose(&sparse(&[2])).unwrap_err().to_string().contains("somebody else"));
    damos.turn_off().unwrap();
    assert!(damos.propose(&sparse(&[2])).is_err());
    assert!(second.stats().is_err());
    third.turn_off().unwrap();
    assert!(!turn_off_marked(&mut fake.clone(), mark).unwrap());
    assert_eq!(fake.0.borrow().files, before);
}

/// A sink that has not written yet.
fn fake_of(fake: &Fake) -> Damos<Fake> {
    Damos { files: fake.clone(), settings: settings("pageout"), running: None, is_proven: false }
}

#[test]
fn a_supervisor_turns_ours_off() {
    let fake = Fake::new(version(612));
    let mut damos = fake.damos(&settings("pageout")).unwrap();
    damos.propose(&sparse(&[1])).unwrap();
    let mark = damos.mark().unwrap();
    drop(damos);
    assert!(!fake.is_clean(), "dropping it leaves it running");
    let other = Mark { pid: mark.pid + 1, ..mark };
    assert!(!turn_off_marked(&mut fake.clone(), other).unwrap());
    assert!(turn_off_marked(&mut fake.clone(), mark).unwrap());
    assert!(fake.is_clean());
    assert!(!turn_off_marked(&mut fake.clone(), mark).unwrap());
}

#[test]
fn a_kdamond_that_ends_by_itself_is_cleared_away() {
    for is_proposed in [true, false] {
        let fake = Fake::new(version(618));
        let mut damos = fake.damos(&settings("pageout")).unwrap();
        damos.propose(&sparse(&[1])).unwrap();
        fake.0.borrow_mut().end();
        if is_proposed {
            let error = damos.propose(&sparse(&[2])).unwrap_err();
            assert!(error.to_string().contains("ended by itself"), "{error}");
        } else {
            damos.turn_off().unwrap();
        }
        assert!(fake.is_clean());
        damos.propose(&sparse(&[2])).unwrap();
    }
}

#[test]
fn splitting_is_found_by_its_names_in_the_drafts() {
    for name in ["split", "mthp_split"] {
        let mut version = version(618);
        version.actions.push(name);
        let fake = Fake::new(version);
        let settings = Settings {
            order: ChunkOrder::try_new(4).ok(),
            threshold: HotThreshold::try_new(25).ok(),
            ..Settings::default()
        };
        fake.damos(&settings).unwrap().propose(&sparse(&[1])).unwrap();
        let kernel = fake.0.borrow();
        assert_eq!(kernel.running.as_ref().unwrap().action, name);
        if name == "mthp_split" {
            assert_eq!(kernel.of(&scheme::scheme("target_order")), 4);
            assert_eq!(kernel.of(&scheme::scheme("hot_threshold")), 25);
        }
    }
    for (settings, said) in [
        (Settings::default(), "--action"),
        (settings("lru_prio"), "does not offer the action lru_prio"),
    ] {
        let fake = Fake::new(version(618));
        let decisions = [decision(1, Verdict::Hot), decision(2, Verdict::Sparse)];
        let error = fake.damos(&settings).unwrap().propose(&decisions).unwrap_err();
        assert!(format!("{error:#}").contains(said), "{error:#}");
        assert!(fake.is_clean() && fake.0.borrow().acted.is_empty());
    }
}

#[test]
fn actions_have_verdicts_that_suit_them() {
    let concerned = |settings: &Settings| {
        let all = [
            Verdict::Hot,
            Verdict::Sparse,
            Verdict::Undersampled,
            Verdict::Filtered,
            Verdict::Unsplittable,
        ];
        all.into_iter().filter(|one| settings.concerns(*one)).collect::<Vec<_>>()
    };
    for cold in
        ["split", "mthp_split", "pageout", "lru_deprio", "migrate_cold", "nohugepage", "stat"]
    {
        assert_eq!(concerned(&settings(cold)), [Verdict::Sparse]);
    }
    assert_eq!(concerned(&Settings::default()), [Verdict::Sparse]);
    for hot in ["hugepage", "collapse", "lru_prio", "migrate_hot"] {
        assert_eq!(concerned(&settings(hot)), [Verdict::Hot]);
    }
    let verdicts = Some(vec![Verdict::Hot, Verdict::Filtered]);
    let named = Settings { verdicts, ..settings("pageout") };
    assert_eq!(concerned(&named), [Verdict::Hot, Verdict::Filtered]);
}

#[test]
fn wrong_settings_are_refused_before_anything_is_written() {
    let second = Duration::from_secs(1);
    let intervals = |sample, aggregation, update| Settings {
        intervals: Intervals { sample, aggregation, update },
        ..settings("stat")
    };
    for wrong in [
        settings(""),
        settings("stat\n"),
        settings("../stat"),
        settings("migrate_cold"),
        Settings { max_filters: 1, ..settings("stat") },
        Settings { max_filters: usize::MAX, ..settings("stat") },
        Settings { order: ChunkOrder::try_new(1).ok(), ..settings("stat") },
        Settings { order: ChunkOrder::try_new(9).ok(), ..settings("stat") },
        intervals(2 * second, second, second),
        intervals(second, 2 * second, second),
        intervals(Duration::ZERO, second, second),
        intervals(second, second, 3601 * second),
    ] {
        let fake = Fake::new(version(618));
        assert!(fake.damos(&wrong).is_err(), "{wrong:?}");
        assert_eq!(fake.0.borrow().writes, 0);
    }
    let node = Settings { target_node: Some(1), ..settings("migrate_cold") };
    let fake = Fake::new(version(618));
    fake.damos(&node).unwrap().propose(&sparse(&[1])).unwrap();
    assert_eq!(fake.0.borrow().of(&scheme::scheme("target_nid")), 1);
}

#[test]
fn where_filters_do_not_work_it_goes_no_further_than_counting() {
    let ignoring = |number| Version { ignores_filters: true, ..version(number) };
    let hiding = |number| Version { hides_regions: true, ..ignoring(number) };
    // More memory lies between the first two than between the others.
    for (numbers, version) in VERSIONS.into_iter().flat_map(|number| {
        [([1, 9], ignoring(number)), ([1, 3], ignoring(number)), ([1, 3], hiding(number))]
    }) {
        let fake = Fake::new(version);
        let mut damos = fake.damos(&settings("pageout")).unwrap();
        let error = damos.propose(&sparse(&numbers)).unwrap_err();
        assert!(format!("{error:#}").contains("did not show that filters work"), "{error:#}");
        assert!(fake.is_clean());
        assert!(fake.0.borrow().acted.iter().all(|acted| acted.action == STAT));
        assert_eq!(damos.mark(), None);
    }
}

#[test]
fn whatever_fails_nothing_is_left_behind() {
    for number in VERSIONS {
        let settings = settings("pageout");
        let mut failures = 0;
        for fails_at in 1.. {
            let fake = Fake::new(version(number));
            fake.0.borrow_mut().fails_at = Some(fails_at);
            let mut damos = fake.damos(&settings).unwrap();
            let first = damos.propose(&sparse(&[1, 5]));
            let both = first.and_then(|_| damos.propose(&sparse(&[2, 7, 9])));
            if both.is_ok() {
                assert!(fake.0.borrow().writes < fails_at);
                break;
            }
            failures += 1;
            assert!(fake.is_clean(), "{number}: the write {fails_at}");
            assert_eq!(damos.mark(), None);
        }
        assert!(failures > 60, "{failures}");
    }
}

#[test]
fn what_finds_no_place_is_said() {
    let fake = Fake::new(version(612));
    let mut damos = fake.damos(&Settings { max_filters: 3, ..settings("pageout") }).unwrap();
    let mut decisions = sparse(&[1, 3, 5, 6, 5]);
    // The first has no address of 64 bits, the second would be no folio.
    decisions.push(Decision { folio_pfn: u64::MAX << 9, ..decisions[0].clone() });
    decisions.push(Decision { folio_pfn: 0x210, ..decisions[0].clone() });
    let applied = damos.propose(&decisions).unwrap();
    assert_eq!(applied.ranges, [range(1, 2), range(5, 7)]);
    assert_eq!(
        applied.unplaced,
        [
            (u64::MAX << 9, Unplaced::NoPlace),
            (0x210, Unplaced::NoPlace),
            (3 << 9, Unplaced::BeyondFilters)
        ]
    );
}

/// Processes with a few pages.
fn procfs(pages: &[(u32, u64, u64)]) -> tempfile::TempDir {
    let procfs = tempfile::tempdir().unwrap();
    for (pid, vaddr, pfn) in pages {
        let folder = procfs.path().join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let mut map = std::fs::read(folder.join("pagemap")).unwrap_or_default();
        let at = usize::try_from(vaddr / PAGE * 8).unwrap();
        map.resize(map.len().max(at + 8), 0);
        map[at..at + 8].copy_from_slice(&(pfn | 1 << 63).to_le_bytes());
        std::fs::write(folder.join("pagemap"), map).unwrap();
    }
    procfs
}

#[test]
fn a_process_is_told_where_it_has_its_folios() {
    let procfs = procfs(&[(7, FOLIO, 9 << 9), (7, 2 * FOLIO, 3 << 9), (7, 5 * FOLIO, 1 << 9)]);
    let settings = Settings {
        procfs: procfs.path().to_owned(),
        operations: Operations::Vaddr { pid: 7 },
        ..settings("pageout")
    };
    let at = |number: u64, pid: Option<u32>, vaddr: Option<u64>| Decision {
        pid,
        vaddr,
        ..decision(number, Verdict::Sparse)
    };
    let decisions = [
        at(9, Some(7), Some(FOLIO)),
        at(3, Some(7), Some(2 * FOLIO)),
        at(4, Some(7), Some(5 * FOLIO)),
        at(5, Some(8), Some(FOLIO)),
        at(6, Some(7), None),
        at(8, None, Some(FOLIO)),
        at(10, Some(7), Some(FOLIO + 1)),
    ];
    let fake = Fake::new(version(618));
    let mut damos = fake.damos(&settings).unwrap();
    let applied = damos.propose(&decisions).unwrap();
    assert_eq!(applied.ranges, [range(1, 3)], "by virtual addresses");
    assert_eq!(applied.folios, [9 << 9, 3 << 9]);
    let unplaced: Vec<_> = applied.unplaced.iter().map(|(pfn, why)| (pfn >> 9, *why)).collect();
    assert_eq!(
        unplaced,
        [
            (4, Unplaced::Moved),
            (5, Unplaced::OtherProcess),
            (6, Unplaced::NoVirtualAddress),
            (8, Unplaced::NoVirtualAddress),
            (10, Unplaced::Moved)
        ]
    );
    assert_eq!(fake.0.borrow().of(&scheme::context("targets/0/pid_target")), 7);
    assert_eq!(fake.0.borrow().files[&scheme::context("operations")], "fvaddr");
    // Its process ends.
    std::fs::remove_dir_all(procfs.path().join("7")).unwrap();
    assert!(damos.propose(&decisions).is_err());
    assert!(fake.is_clean());
    assert!(fake.damos(&settings).is_err());
}

#[test]
fn files_of_sysfs_are_written_and_never_made() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings { sysfs: root.path().to_owned(), ..settings("pageout") };
    assert!(Damos::open(settings.clone()).unwrap_err().to_string().contains("CONFIG_DAMON"));
    std::fs::create_dir_all(root.path().join(KDAMONDS)).unwrap();
    std::fs::write(root.path().join(NR_KDAMONDS), "1\n").unwrap();
    assert!(Damos::open(settings.clone()).unwrap_err().to_string().contains("somebody else"));
    let mark = Mark { kdamond: 0, pid: 7 };
    assert!(!turn_off_if_ours(root.path(), &mark).unwrap());
    assert_eq!(std::fs::read_to_string(root.path().join(NR_KDAMONDS)).unwrap(), "1\n");

    std::fs::write(root.path().join(NR_KDAMONDS), "0\n").unwrap();
    let mut damos = Damos::open(settings).unwrap();
    // A plain folder makes no other folders.
    assert!(damos.propose(&sparse(&[1])).is_err());
    let mut files = Sysfs::new(root.path());
    assert!(files.write("kernel/new", "1").is_err());
    assert!(!files.exists("kernel/new") && files.exists("kernel"));
}

proptest! {
    #[test]
    fn whatever_is_proposed_is_acted_on_there_alone(
        number in prop::sample::select(VERSIONS.to_vec()),
        proposals in prop::collection::vec(prop::collection::btree_set(0..60_u64, 0..25), 1..5),
        max_filters in 2..30_usize,
    ) {
        let fake = Fake::new(version(number));
        let mut damos = fake.damos(&Settings { max_filters, ..settings("pageout") }).unwrap();
        for proposed in proposals {
            let proposed: Vec<_> = proposed.into_iter().collect();
            let applied = damos.propose(&sparse(&proposed)).unwrap();
            prop_assert_eq!(applied.folios.len() + applied.unplaced.len(), proposed.len());
            match &fake.0.borrow().running {
                None => prop_assert!(proposed.is_empty()),
                Some(acting) => {
                    prop_assert_eq!(&acting.action, "pageout");
                    prop_assert_eq!(&acting.ranges, &applied.ranges);
                    let bytes: u64 = acting.ranges.iter().map(|range| range.len()).sum();
                    prop_assert_eq!(bytes, applied.folios.len() as u64 * FOLIO);
                }
            }
        }
    }
}
