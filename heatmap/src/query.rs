//! What a query leaves out: the filters of the command line, and the grammar of their values.

use core::ops::RangeInclusive;
use core::str::FromStr;

use decoder::spe::Midr;
use decoder::{Access, DataSource, Direction, Pfn, Source};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, digit1, hex_digit1};
use nom::combinator::{all_consuming, map_res, opt};
use nom::multi::separated_list1;
use nom::sequence::preceded;
use nom::{IResult, Parser};

/// Which accesses are kept. Repeated values of one filter are alternatives, different filters
/// must all hold, and a value that an access does not have never matches.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// Keep loads and atomics; with `stores` either.
    pub loads: bool,
    /// Keep stores and atomics; with `loads` either.
    pub stores: bool,
    /// Least total latency in cycles.
    pub min_latency_cycles: Option<u32>,
    /// Processes.
    pub pids: Option<NumberList>,
    /// Threads.
    pub tids: Option<NumberList>,
    /// CPUs.
    pub cpus: Option<NumberList>,
    /// Data sources.
    pub sources: Vec<DataSource>,
    /// Names of events.
    pub events: Vec<String>,
    /// Times of the trace's clock.
    pub times: Vec<TimeRange>,
    /// Page frames.
    pub pfns: Vec<PfnRange>,
}

/// What a query makes of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is counted.
    Kept,
    /// It was made outside of the ranges of times: in another, shorter recording.
    OtherTime,
    /// It is a fault, a breakpoint or the like of an event that is not wanted: those are no sample
    /// of accesses, and nothing is missing without them.
    NoSample,
    /// It is not counted, so that something is missing of its block.
    LeftOut,
}

impl Filters {
    /// Whether everything is kept.
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none() && self.times.is_empty()
    }

    /// The options that leave out accesses of blocks that are otherwise counted. A range of times
    /// is a shorter recording, and leaves nothing out.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [
            ("--loads", self.loads),
            ("--stores", self.stores),
            ("--min-latency", self.min_latency_cycles.is_some()),
            ("--pid", self.pids.is_some()),
            ("--tid", self.tids.is_some()),
            ("--cpu", self.cpus.is_some()),
            ("--source", !self.sources.is_empty()),
            ("--event", !self.events.is_empty()),
            ("--pfn", !self.pfns.is_empty()),
        ]
        .into_iter()
        .filter(|(_, used)| *used)
        .map(|(name, _)| name)
    }

    /// The process, if one alone is kept.
    pub fn one_process(&self) -> Option<u32> {
        self.pids.as_ref().and_then(NumberList::single)
    }

    /// Whether an access is kept. `event_wanted` says whether each event has a wanted name.
    pub fn keep(&self, access: &Access, event_wanted: &[bool]) -> bool {
        self.fate(access, event_wanted) == Fate::Kept
    }

    /// What becomes of an access, and what follows for its block. `event_wanted` says whether each
    /// event has a wanted name.
    pub(crate) fn fate(&self, access: &Access, event_wanted: &[bool]) -> Fate {
        let number = |wanted: &Option<NumberList>, number: Option<u32>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| number.is_some_and(|number| wanted.contains(number)))
        };
        if !self.times.is_empty() && self.range_of(access.origin.time_ns).is_none() {
            // Without a time nobody knows whether it belongs to the shorter recording.
            let known = access.origin.time_ns.is_some();
            return if known { Fate::OtherTime } else { Fate::LeftOut };
        }
        let direction = match access.operation.direction {
            _ if !self.loads && !self.stores => true,
            Direction::Load => self.loads,
            Direction::Store => self.stores,
            Direction::Atomic => true,
            Direction::Unknown => false,
        };
        let event = self.events.is_empty()
            || access
                .origin
                .event
                .and_then(|event| event_wanted.get(usize::from(event.0)))
                .is_some_and(|wanted| *wanted);
        if !event && access.origin.source == Source::Sample {
            return Fate::NoSample;
        }
        let kept = direction
            && event
            && self
                .min_latency_cycles
                .is_none_or(|least| access.latency_cycles.is_some_and(|latency| latency >= least))
            && number(&self.pids, access.pid)
            && number(&self.tids, access.tid)
            && number(&self.cpus, access.origin.cpu)
            && (self.sources.is_empty()
                || access.data_source.is_some_and(|source| self.sources.contains(&source)))
            && (self.pfns.is_empty()
                || access.paddr.is_some_and(|paddr| {
                    self.pfns.iter().any(|range| range.contains(paddr.pfn()))
                }));
        if kept { Fate::Kept } else { Fate::LeftOut }
    }

    /// The number of the first range of times that has this one.
    pub(crate) fn range_of(&self, time_ns: Option<u64>) -> Option<usize> {
        let time_ns = time_ns?;
        self.times.iter().position(|range| range.contains(time_ns))
    }

    /// Whether an event's name is one of those that are wanted: the whole name, or what stands
    /// in it before the terms or modifiers.
    pub fn wants_event(&self, name: &str) -> bool {
        let unit = name.split(['/', ':']).next().unwrap_or(name);
        self.events.iter().any(|wanted| wanted == name || wanted == unit)
    }
}

/// A value of an option that its grammar does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{found}\": expected {expected}")]
pub struct BadValue {
    found: String,
    expected: &'static str,
}

/// Runs a rule over all of a value.
fn whole<'a, T>(
    text: &'a str,
    expected: &'static str,
    rule: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>,
) -> Result<T, BadValue> {
    match all_consuming(rule).parse(text) {
        Ok((_, value)) => Ok(value),
        Err(_) => Err(BadValue { found: text.to_owned(), expected }),
    }
}

fn decimal<T: FromStr>(input: &str) -> IResult<&str, T> {
    map_res(digit1, str::parse).parse(input)
}

/// A number, `0x` and hexadecimal or decimal.
fn unsigned(input: &str) -> IResult<&str, u64> {
    let hexadecimal = map_res(hex_digit1, |digits| u64::from_str_radix(digits, 16));
    alt((preceded(tag("0x"), hexadecimal), decimal)).parse(input)
}

/// A list of numbers and ranges: `1,4-7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberList {
    /// In ascending order; no two overlap or touch.
    ranges: Vec<RangeInclusive<u32>>,
}

impl NumberList {
    /// Whether a number is in it.
    pub fn contains(&self, number: u32) -> bool {
        let after = self.ranges.partition_point(|range| *range.start() <= number);
        after.checked_sub(1).is_some_and(|index| number <= *self.ranges[index].end())
    }

    /// The number, where it has one alone.
    pub fn single(&self) -> Option<u32> {
        let [range] = &self.ranges[..] else { return None };
        (range.start() == range.end()).then_some(*range.start())
    }

    /// How many numbers it has.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.end() - range.start()) + 1).sum()
    }
}

impl FromIterator<RangeInclusive<u32>> for NumberList {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u32>>>(ranges: I) -> Self {
        let mut all: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        all.sort_unstable_by_key(|range| *range.start());
        let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
        for range in all {
            match ranges.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => ranges.push(range),
            }
        }
        Self { ranges }
    }
}

impl FromIterator<NumberList> for NumberList {
    fn from_iter<I: IntoIterator<Item = NumberList>>(lists: I) -> Self {
        lists.into_iter().flat_map(|list| list.ranges).collect()
    }
}

impl FromStr for NumberList {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = (decimal::<u32>, opt(preceded(char('-'), decimal::<u32>)));
        let range = map_res(range, |(first, last)| {
            let last = last.unwrap_or(first);
            if first <= last { Ok(first..=last) } else { Err(()) }
        });
        let ranges =
            whole(text, "numbers and ranges such as 1,4-7", separated_list1(char(','), range))?;
        Ok(ranges.into_iter().collect())
    }
}

/// Frames from one to another, both included: `0x820db800-0x820db9ff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PfnRange {
    first: Pfn,
    last: Pfn,
}

impl PfnRange {
    fn contains(&self, pfn: Pfn) -> bool {
        self.first <= pfn && pfn <= self.last
    }
}

impl FromStr for PfnRange {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = (unsigned, opt(preceded(char('-'), unsigned)));
        let range = map_res(range, |(first, last)| {
            let last = last.unwrap_or(first);
            let range = Self { first: Pfn::new_truncate(first), last: Pfn::new_truncate(last) };
            let fits = range.first.get() == first && range.last.get() == last;
            if fits && first <= last { Ok(range) } else { Err(()) }
        });
        whole(text, "page frames A-B, 0x... or decimal, A <= B", range)
    }
}

/// Times from one to another: `81234.5,81236`, in seconds as perf prints them. Either end may
/// be missing; the first is included, the last is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    from_ns: u64,
    to_ns: u64,
}

impl TimeRange {
    fn contains(&self, time_ns: u64) -> bool {
        self.from_ns <= time_ns && time_ns < self.to_ns
    }
}

/// Seconds with up to nine decimals, in ns.
fn seconds(input: &str) -> IResult<&str, u64> {
    map_res(
        (decimal::<u64>, opt(preceded(char('.'), digit1))),
        |(seconds, fraction): (u64, Option<&str>)| {
            let fraction = fraction.unwrap_or("");
            if fraction.len() > 9 {
                return Err(());
            }
            let ns: u64 = format!("{fraction:0<9}").parse().map_err(|_| ())?;
            seconds.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(ns)).ok_or(())
        },
    )
    .parse(input)
}

impl FromStr for TimeRange {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = map_res((opt(seconds), char(','), opt(seconds)), |(from, _, to)| {
            let range = Self { from_ns: from.unwrap_or(0), to_ns: to.unwrap_or(u64::MAX) };
            if range.from_ns <= range.to_ns { Ok(range) } else { Err(()) }
        });
        whole(
            text,
            "seconds A,B of the trace's clock, A not after B, either of which may be missing",
            range,
        )
    }
}

/// A duration: `500ms`, `10s`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration {
    /// Its length in ns.
    pub ns: u64,
}

/// A whole number and the name of its unit, in the smallest unit.
fn scaled(text: &str, units: &[(&str, u64)], expected: &'static str) -> Result<u64, BadValue> {
    let letters = take_while(|letter: char| letter.is_ascii_alphabetic());
    let value = map_res((decimal::<u64>, letters), |(number, unit)| {
        let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(())?;
        number.checked_mul(*factor).ok_or(())
    });
    whole(text, expected, value)
}

impl FromStr for Duration {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 6] = [
            ("ns", 1),
            ("us", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000),
        ];
        let ns = scaled(text, &UNITS, "a duration such as 500ms, 10s or 1h")?;
        Ok(Self { ns })
    }
}

/// A number of bytes: `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many.
    pub bytes: u64,
}

impl FromStr for Size {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 5] =
            [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let bytes = scaled(text, &UNITS, "a size such as 64KiB, 512MiB or 4GiB")?;
        Ok(Self { bytes })
    }
}

/// The size of a ring: a power of two from 64 KiB to 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize {
    /// Bytes of it.
    pub bytes: usize,
}

impl FromStr for RingSize {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.parse::<Size>()?.bytes;
        let is_one = bytes.is_power_of_two() && (64 << 10..=1 << 30).contains(&bytes);
        let expected = "a power of two from 64KiB to 1GiB";
        let bad = || BadValue { found: text.to_owned(), expected };
        usize::try_from(bytes).ok().filter(|_| is_one).map(|bytes| Self { bytes }).ok_or_else(bad)
    }
}

/// A part of the whole, above 0 and at most 1, given in percent: `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a percentage above 0 and up to 100, such as 1% or 0.5%";
        let bad = || BadValue { found: text.to_owned(), expected };
        let number = text.strip_suffix('%').ok_or_else(bad)?;
        let percent: f64 = number.trim_end().parse().map_err(|_| bad())?;
        if percent > 0.0 && percent <= 100.0 { Ok(Self(percent / 100.0)) } else { Err(bad()) }
    }
}

/// The register MIDR_EL1 of an Arm CPU, in hexadecimal: `0x410fd0c1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MidrEl1(pub Midr);

impl FromStr for MidrEl1 {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "a MIDR_EL1 such as 0x410fd0c1";
        let bad = || BadValue { found: text.to_owned(), expected };
        let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        Ok(Self(Midr::new(number.ok_or_else(bad)?)))
    }
}

/// A setting of a sampling unit's: `event_filter=0x20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, lower-case letters, digits and `_`.
    pub name: String,
    /// What it is set to.
    pub value: u64,
}

impl FromStr for Setting {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let rule = (take_while1(is_word), char('='), unsigned);
        let (name, _, value) = whole(text, "NAME=VALUE, such as event_filter=0x20", rule)?;
        Ok(Self { name: name.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_units() {
        let setting = |text: &str| text.parse::<Setting>().map(|set| (set.name, set.value));
        assert_eq!(setting("jitter=0"), Ok(("jitter".to_owned(), 0)));
        assert_eq!(setting("event_filter=0x20"), Ok(("event_filter".to_owned(), 32)));
        for bad in ["", "jitter", "=1", "a/b=1", "a=-1", "a=1=1", "a=0xg"] {
            assert!(setting(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rings() {
        let size = |text: &str| text.parse::<RingSize>().map(|size| size.bytes);
        assert_eq!((size("64KiB"), size("1GiB")), (Ok(1 << 16), Ok(1 << 30)));
        for bad in ["", "0", "32KiB", "96KiB", "2GiB", "-1"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!("1%".parse(), Ok(Percent(0.01)));
        assert_eq!("0.5 %".parse(), Ok(Percent(0.005)));
        for bad in ["1", "0%", "101%", "-1%", "NaN%", "%", ""] {
            assert!(bad.parse::<Percent>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_and_ranges() {
        let ranges = |text: &str| text.parse::<NumberList>().map(|list| list.ranges);
        assert_eq!(ranges("1,4-7"), Ok(vec![1..=1, 4..=7]));
        assert_eq!(ranges("9,4-7,8,5-6,0"), Ok(vec![0..=0, 4..=9]));
        assert_eq!(ranges("4294967295,4294967295,0-4294967294"), Ok(vec![0..=u32::MAX]));
        for bad in ["", "1,", "7-4", "-1", "x", "4294967296", "1 2"] {
            assert!(ranges(bad).is_err(), "{bad}");
        }
        let list: NumberList = "4-7,20,30-31".parse().unwrap();
        let contained: Vec<u32> = (0..40).filter(|number| list.contains(*number)).collect();
        assert_eq!(contained, [4, 5, 6, 7, 20, 30, 31]);
        assert_eq!(list.count(), 7);
        let single = |text: &str| text.parse::<NumberList>().map(|list| list.single());
        assert_eq!(single("7,7-7"), Ok(Some(7)));
        assert_eq!((single("7-8"), single("7,9")), (Ok(None), Ok(None)));
        assert!(!list.contains(0) && !list.contains(u32::MAX));
        let all: NumberList = "0-4294967295".parse().unwrap();
        assert!(all.contains(0) && all.contains(u32::MAX));
        assert_eq!(all.count(), 1 << 32);
        let several = ["1-4", "3-9", "11"].map(|text| text.parse::<NumberList>().unwrap());
        let several: NumberList = several.into_iter().collect();
        assert_eq!(several.ranges, [1..=9, 11..=11]);
    }

    #[test]
    fn frames() {
        let range = |text: &str| {
            text.parse::<PfnRange>().map(|range| (range.first.get(), range.last.get()))
        };
        assert_eq!(range("0x820db800-0x820db9ff"), Ok((0x820d_b800, 0x820d_b9ff)));
        assert_eq!(range("512-1023"), Ok((512, 1023)));
        assert_eq!(range("7"), Ok((7, 7)));
        for bad in ["", "2-1", "0x", "0xg", "0xffffffffffffffff", "1-"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_as_perf_prints_them() {
        let range =
            |text: &str| text.parse::<TimeRange>().map(|range| (range.from_ns, range.to_ns));
        assert_eq!(range("81234.567890,81235"), Ok((81_234_567_890_000, 81_235_000_000_000)));
        assert_eq!(range("0.000000001,"), Ok((1, u64::MAX)));
        assert_eq!(range(",2"), Ok((0, 2_000_000_000)));
        for bad in ["", "1", "2,1", "1.0000000001,", "18446744074,", "a,b"] {
            assert!(range(bad).is_err(), "{bad}");
        }
        let range: TimeRange = "1,2".parse().unwrap();
        assert!(range.contains(1_000_000_000) && !range.contains(2_000_000_000));
    }

    #[test]
    fn durations_and_sizes() {
        let duration = |text: &str| text.parse::<Duration>().map(|duration| duration.ns);
        assert_eq!(duration("500ms"), Ok(500_000_000));
        assert_eq!(duration("10s"), Ok(10_000_000_000));
        assert_eq!(duration("1h"), Ok(3_600_000_000_000));
        assert!(duration("10").is_err() && duration("5 s").is_err() && duration("1d").is_err());
        let size = |text: &str| text.parse::<Size>().map(|size| size.bytes);
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("3GiB"), Ok(3 << 30));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("1MB").is_err() && size("99999999999GiB").is_err());
    }

    #[test]
    fn an_event_is_named_in_full_or_by_its_unit() {
        let filters = Filters {
            events: vec!["arm_spe_0".into(), "page-faults".into()],
            ..Filters::default()
        };
        assert!(filters.wants_event("arm_spe_0/pa_enable=1/"));
        assert!(filters.wants_event("page-faults:u"));
        assert!(!filters.wants_event("minor-faults"));
    }
}
