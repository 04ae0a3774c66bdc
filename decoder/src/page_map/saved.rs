//! A page map that was saved as text, while a recording was made.
//!
//! ```text
//! # PID VADDR PFN [COUNT]
//! 4242 0x7f3a00400000 0x820db8 1
//! 4242 0x7f3a00600000 0x820e00 512
//! ```
//!
//! One line for each run of pages that lie side by side in virtual and in physical memory: PID
//! in decimal; VADDR, a multiple of 0x1000, and PFN, the frame of 4 KiB that holds it, in
//! hexadecimal, with or without `0x`; COUNT, how many pages, in decimal or with `0x` in
//! hexadecimal, 1 if it is missing. Empty lines, and what stands behind a `#`, say nothing.

use core::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::{Frames, Why};
use crate::addr::PAGE_SHIFT;
use crate::{Pfn, VirtAddr};

/// Most runs of pages: some 160 MiB while they are read. Lines that continue each other are one
/// run.
pub const MAX_RANGES: usize = 1 << 22;
/// No line is longer.
const MAX_LINE: u64 = 256;
/// One more than the greatest frame number.
const FRAMES: u64 = 1 << (56 - PAGE_SHIFT);
/// One more than the greatest virtual page.
const PAGES: u64 = 1 << (64 - PAGE_SHIFT);

/// A saved page map. It does not change while a recording goes on: of a page that has moved,
/// it has one of the places.
#[derive(Clone, Debug)]
pub struct SavedFrames {
    // Sorted, and none covers a page of another.
    ranges: Arc<[Range]>,
}

/// Pages side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    pid: u32,
    /// The first virtual page.
    page: u64,
    /// Its frame.
    frame: u64,
    /// How many pages; at least 1.
    count: u64,
}

/// A line that is no line of a page map.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PageMapError {
    /// Its number, from 1 on; of two that contradict each other, the later one's.
    pub line: u64,
    /// What is wrong with it.
    pub problem: PageMapProblem,
}

/// What is wrong with a line of a page map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageMapProblem {
    /// The system did not let us read it.
    #[error("cannot read")]
    Io(#[from] io::Error),
    /// It has too many bytes.
    #[error("over {MAX_LINE} bytes, expected `PID VADDR PFN [COUNT]`: is this a page map?")]
    LongLine,
    /// It has too few words or too many.
    #[error("{0} words, expected `PID VADDR PFN [COUNT]`")]
    Words(usize),
    /// A word is not the number that stands in its place.
    #[error("{name} is \"{found}\", expected {expected}")]
    Number {
        /// Name of the word.
        name: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// The pages, or their frames, reach beyond what there can be.
    #[error("{0} pages from there on reach beyond the greatest address")]
    TooFar(u64),
    /// There are too many runs of pages.
    #[error("more than {MAX_RANGES} runs of pages: leave out processes that are not asked for")]
    TooMany,
    /// Another line puts the same page elsewhere.
    #[error("page {page:#x} of process {pid} has two frames, expected one: save the map anew")]
    Contradiction {
        /// The process.
        pid: u32,
        /// Virtual address of the page.
        page: u64,
    },
}

impl SavedFrames {
    /// Reads a page map.
    ///
    /// # Errors
    /// The first line that is none, or that another one contradicts.
    pub fn read(mut reader: impl BufRead) -> Result<Self, PageMapError> {
        let mut ranges: Vec<(Range, u64)> = Vec::new();
        let mut bytes = Vec::new();
        for line in 1.. {
            let at = |problem: PageMapProblem| PageMapError { line, problem };
            bytes.clear();
            let read = reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| at(error.into()))?;
            if read == 0 {
                break;
            }
            if read as u64 > MAX_LINE {
                return Err(at(PageMapProblem::LongLine));
            }
            let Some(range) = parse(&String::from_utf8_lossy(&bytes)).map_err(at)? else {
                continue;
            };
            let joined = ranges.last_mut().is_some_and(|(last, _)| last.join(&range));
            if !joined && ranges.len() == MAX_RANGES {
                return Err(at(PageMapProblem::TooMany));
            }
            if !joined {
                ranges.push((range, line));
            }
        }
        ranges.sort_unstable();
        Ok(Self { ranges: joined(&ranges)?.into() })
    }
}

/// Sorted runs as few as possible.
fn joined(sorted: &[(Range, u64)]) -> Result<Vec<Range>, PageMapError> {
    let mut joined: Vec<(Range, u64)> = Vec::new();
    for (range, line) in sorted {
        if let Some((last, other_line)) = joined.last_mut() {
            if last.join(range) {
                continue;
            }
            if last.covers(range.pid, range.page) {
                let (pid, page) = (range.pid, range.page << PAGE_SHIFT);
                let problem = PageMapProblem::Contradiction { pid, page };
                return Err(PageMapError { line: *line.max(other_line), problem });
            }
        }
        joined.push((*range, *line));
    }
    Ok(joined.into_iter().map(|(range, _)| range).collect())
}

impl Frames for SavedFrames {
    fn frame(&self, pid: u32, vaddr: VirtAddr) -> Result<Pfn, Why> {
        let page = vaddr.get() >> PAGE_SHIFT;
        let next = self.ranges.partition_point(|range| (range.pid, range.page) <= (pid, page));
        let (before, after) = self.ranges.split_at(next);
        let last = before.last().filter(|range| range.pid == pid);
        match last {
            Some(range) if range.covers(pid, page) => {
                Ok(Pfn::new_truncate(range.frame + (page - range.page)))
            }
            None if after.first().is_none_or(|range| range.pid != pid) => Err(Why::Gone),
            _ => Err(Why::NotPresent),
        }
    }
}

impl Range {
    /// Takes in pages that overlap or follow, if they lie as these do. Whether it did.
    fn join(&mut self, next: &Self) -> bool {
        let Some(behind) = next.page.checked_sub(self.page).filter(|_| self.pid == next.pid) else {
            return false;
        };
        // Neither sum is above 2^53.
        let as_these = behind <= self.count && next.frame == self.frame + behind;
        if as_these {
            self.count = self.count.max(behind + next.count);
        }
        as_these
    }

    /// Whether a page, which is none before the first, is among these.
    const fn covers(&self, pid: u32, page: u64) -> bool {
        self.pid == pid && page - self.page < self.count
    }
}

/// The pages that a line tells of; `None` if it tells nothing.
fn parse(line: &str) -> Result<Option<Range>, PageMapProblem> {
    let line = line.split_once('#').map_or(line, |(said, _)| said);
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let (pid, vaddr, pfn, count) = match *words {
        [] => return Ok(None),
        [pid, vaddr, pfn] => (pid, vaddr, pfn, None),
        [pid, vaddr, pfn, count] => (pid, vaddr, pfn, Some(count)),
        _ => return Err(PageMapProblem::Words(words.len())),
    };
    let pid = decimal(pid).and_then(|pid| u32::try_from(pid).ok()).or_problem(
        "PID",
        pid,
        "a decimal number of 32 bits",
    )?;
    let page = hexadecimal(vaddr).filter(|vaddr| vaddr % (1 << PAGE_SHIFT) == 0).or_problem(
        "VADDR",
        vaddr,
        "a hexadecimal multiple of 0x1000",
    )? >> PAGE_SHIFT;
    let frame = hexadecimal(pfn).or_problem("PFN", pfn, "a hexadecimal frame number")?;
    let count = count.map_or(Ok(1), |count| {
        let number = if count.starts_with("0x") { hexadecimal(count) } else { decimal(count) };
        number.filter(|number| *number > 0).or_problem("COUNT", count, "a number from 1 on")
    })?;
    let fits = |first: u64, end: u64| first.checked_add(count).is_some_and(|last| last <= end);
    if !fits(page, PAGES) || !fits(frame, FRAMES) {
        return Err(PageMapProblem::TooFar(count));
    }
    Ok(Some(Range { pid, page, frame, count }))
}

fn decimal(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

fn hexadecimal(word: &str) -> Option<u64> {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// What should be there, and is not.
trait OrProblem<T> {
    fn or_problem(
        self,
        name: &'static str,
        found: impl fmt::Display,
        expected: &'static str,
    ) -> Result<T, PageMapProblem>;
}

impl<T> OrProblem<T> for Option<T> {
    fn or_problem(
        self,
        name: &'static str,
        found: impl fmt::Display,
        expected: &'static str,
    ) -> Result<T, PageMapProblem> {
        self.ok_or_else(|| PageMapProblem::Number { name, found: found.to_string(), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SavedFrames, String> {
        SavedFrames::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn pages_and_ranges_are_found_and_nothing_else() {
        let map = read(
            "# saved at noon\n\n4242 0x7f0000200000 820e00 512 # one huge page\r\n\
             41 1000 0x10\n  4242\t7f0000001000 0x5 0x2\n42 0 1",
        )
        .expect("each line is one");
        let cases: &[(u32, u64, Result<u64, Why>)] = &[
            (4242, 0x7f00_0020_0000, Ok(0x82_0e00)),
            (4242, 0x7f00_003f_ffff, Ok(0x82_0fff)),
            (4242, 0x7f00_0040_0000, Err(Why::NotPresent)),
            (4242, 0x7f00_001f_ffff, Err(Why::NotPresent)),
            (4242, 0x7f00_0000_0fff, Err(Why::NotPresent)),
            (4242, 0x7f00_0000_1000, Ok(5)),
            (4242, 0x7f00_0000_2fff, Ok(6)),
            (4242, 0x7f00_0000_3000, Err(Why::NotPresent)),
            (41, 0x1fff, Ok(0x10)),
            (41, 0xfff, Err(Why::NotPresent)),
            (42, 0, Ok(1)),
            (42, 0x1000, Err(Why::NotPresent)),
            (40, 0x1000, Err(Why::Gone)),
            (43, 0x1000, Err(Why::Gone)),
            (4243, 0x1000, Err(Why::Gone)),
        ];
        for (pid, vaddr, want) in cases {
            let got = map.frame(*pid, VirtAddr::new(*vaddr)).map(Pfn::get);
            assert_eq!(got, *want, "{pid} {vaddr:#x}");
        }
    }

    #[test]
    fn lines_that_continue_each_other_are_one_run() {
        let lines: String =
            (0..1000).map(|page| format!("7 {:x} {:x}\n", page << 12, 0x500 + page)).collect();
        let map = read(&lines).expect("each line is one");
        assert_eq!(*map.ranges, [Range { pid: 7, page: 0, frame: 0x500, count: 1000 }]);
        let twice = read("7 2000 2\n7 0 0 9\n7 9000 9\n7 1000 1\n").expect("they say the same");
        assert_eq!(*twice.ranges, [Range { pid: 7, page: 0, frame: 0, count: 10 }]);
        assert!(read("").expect("an empty map is one").ranges.is_empty());
    }

    #[test]
    fn what_is_no_line_is_named() {
        let long = format!("1 1000 {}", "0".repeat(300));
        let cases: &[(&str, &str)] = &[
            ("1 2000", "line 1: 2 words, expected `PID VADDR PFN [COUNT]`"),
            ("1 1000 2 3 4", "line 1: 5 words, expected `PID VADDR PFN [COUNT]`"),
            ("#\nx 1000 2", "line 2: PID is \"x\", expected a decimal number of 32 bits"),
            ("4294967296 0 2", "line 1: PID is \"4294967296\", expected a decimal number of 32"),
            ("1 1001 2", "line 1: VADDR is \"1001\", expected a hexadecimal multiple of 0x1000"),
            ("1 +1000 2", "line 1: VADDR is \"+1000\""),
            ("1 0x 2", "line 1: VADDR is \"0x\""),
            ("1 1000 g", "line 1: PFN is \"g\", expected a hexadecimal frame number"),
            ("1 1000 2 0", "line 1: COUNT is \"0\", expected a number from 1 on"),
            ("1 1000 2 ff", "line 1: COUNT is \"ff\""),
            ("1 1000 100000000000", "line 1: 1 pages from there on reach beyond"),
            ("1 fffffffffffff000 2 2", "line 1: 2 pages from there on reach beyond"),
            ("1 1000 2 0xffffffffffffffff", "line 1: 18446744073709551615 pages"),
            (&long, "line 1: over 256 bytes"),
            ("1 2000 3\n1 1000 9 2", "line 2: page 0x2000 of process 1 has two frames"),
            ("1 2000 3\n2 2000 3\n1 2000 4", "line 3: page 0x2000 of process 1 has two frames"),
        ];
        for (text, want) in cases {
            let error = read(text).map(|_| ()).expect_err(text);
            assert!(error.starts_with(want), "{text}: {error}");
        }
        assert!(read("1 fffffffffffff000 fffffffffff").is_ok(), "the last page, the last frame");
    }
}
