//! Decisions as `folioscope decisions --format json` and its default text write them: a JSON object
//! a line.

use std::io::BufRead;

use anyhow::{Context, bail, ensure};
use heatmap::{Backing, ChunkOrder, HotThreshold, Verdict, hot_fraction};
use serde::Deserialize;

use crate::decision::{Asked, Decision, Evidence};

/// The longest line that is read: one with all 512 counters takes some 8 KiB.
const LONGEST: u64 = 64 << 10;
/// Orders that a scheme of the kernel can have.
const ORDERS: core::ops::RangeInclusive<u8> = 2..=8;

/// What of a line is looked at.
#[derive(Debug, Deserialize)]
struct Line {
    folio_pfn: String,
    order: u8,
    hot_threshold: Option<u8>,
    accesses: u64,
    verdict: Option<String>,
    hot_bitmap: String,
    counts: Option<Vec<(usize, u32)>>,
    backing: Option<String>,
    visits: Option<u64>,
    cold_visits: Option<u64>,
    cold_share: Option<u32>,
    steady: Option<bool>,
    left_out: Option<bool>,
    pid: Option<u32>,
    vaddr: Option<String>,
}

/// Reads decisions to their end. Of sparse folios only those stay so that may be acted on, see
/// [`Evidence::admit`].
///
/// # Errors
/// The number of the line that cannot be used, and why: nothing of such an input is to be fed.
pub fn read(mut lines: impl BufRead, asked: Asked) -> anyhow::Result<Vec<Decision>> {
    check_order(asked.order)?;
    let mut decisions = Vec::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let len = std::io::Read::take(&mut lines, LONGEST).read_until(b'\n', &mut line)?;
        if len == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let decision = parse(&line, asked).with_context(|| format!("line {number}"))?;
        decisions.push(decision);
    }
    Ok(decisions)
}

/// Refuses orders that no scheme of the kernel has.
///
/// # Errors
/// If it is one of them.
pub fn check_order(order: ChunkOrder) -> anyhow::Result<()> {
    ensure!(
        ORDERS.contains(&order.get()),
        "order {order}: a scheme of the kernel has an order from {} to {}",
        ORDERS.start(),
        ORDERS.end()
    );
    Ok(())
}

fn parse(line: &[u8], asked: Asked) -> anyhow::Result<Decision> {
    let order = asked.order;
    ensure!(line.ends_with(b"\n"), "is cut off, or longer than {LONGEST} bytes");
    let line: Line = serde_json::from_slice(line).context("is no decision")?;
    let folio_pfn = hexadecimal("folio_pfn", &line.folio_pfn)?;
    let vaddr = line.vaddr.as_deref().map(|vaddr| hexadecimal("vaddr", vaddr)).transpose()?;
    ensure!(
        folio_pfn.is_multiple_of(512),
        "folio_pfn {folio_pfn:#x} is no multiple of 512: the kernel would not find it"
    );
    let verdict = line.verdict.as_deref().context(
        "has no verdict: blocks of a kernel with base pages of 16 or 64 KiB are not judged",
    )?;
    let verdict = Verdict::from_name(verdict).with_context(|| format!("verdict {verdict:?}"))?;
    let hot_chunks = match &line.counts {
        Some(counts) => {
            let mut counters = [0; 512];
            for (page, count) in counts {
                let counter = counters.get_mut(*page);
                *counter.with_context(|| format!("counts: page {page} of 512"))? = *count;
            }
            let hot = hot_fraction(&counters, order);
            hot.map_or_else(Vec::new, |hot| hot.bitmap.iter().collect())
        }
        None if line.order == order.get() => chunks(&line.hot_bitmap, order)?,
        None => bail!(
            "is of order {}, and the plan of order {order}: print decisions with --order {order}, or \
             with --counts",
            line.order
        ),
    };
    let (verdict, standing) = line.evidence(asked)?.admit(verdict, asked.max_cold_share);
    let (accesses, pid) = (line.accesses, line.pid);
    Ok(Decision { folio_pfn, verdict, accesses, hot_chunks, pid, vaddr, standing })
}

impl Line {
    /// What it says of the evidence; lines of older programs say less.
    fn evidence(&self, asked: Asked) -> anyhow::Result<Evidence> {
        let backing = match self.backing.as_deref() {
            Some(name) => Backing::from_name(name).with_context(|| format!("backing {name:?}"))?,
            None => Backing::Unknown,
        };
        // The share is rounded down, so that it is asked only where there is nothing better.
        let share = self.cold_share.map(|share| (share.into(), 100));
        let cold = self.cold_visits.zip(self.visits).or(share);
        let left_out = self.left_out.unwrap_or(false);
        // Fewer hot chunks than a smaller share of them are fewer than a greater one, too.
        let told = self.hot_threshold.unwrap_or(HotThreshold::default().get());
        let threshold_fits = told <= asked.threshold.get();
        let other_terms = self.order != asked.order.get() || !threshold_fits;
        Ok(Evidence { backing, cold, steady: self.steady, left_out, other_terms })
    }
}

fn hexadecimal(name: &str, text: &str) -> anyhow::Result<u64> {
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .with_context(|| format!("{name} {text:?} is no hexadecimal number"))
}

/// The chunks of a bitmap: hexadecimal, most significant digit first, bit 0 is chunk 0.
pub(crate) fn chunks(bitmap: &str, order: ChunkOrder) -> anyhow::Result<Vec<usize>> {
    let chunks = order.chunks() as usize;
    let digits = (chunks / 4).max(1);
    ensure!(
        bitmap.len() == digits,
        "hot_bitmap has {} digits, at order {order} there are {digits}",
        bitmap.len()
    );
    let mut hot = Vec::new();
    for (place, digit) in bitmap.chars().rev().enumerate() {
        let digit = digit.to_digit(16).context("hot_bitmap is not hexadecimal")?;
        hot.extend((0..4).filter(|bit| digit >> bit & 1 == 1).map(|bit| place * 4 + bit));
    }
    ensure!(
        hot.last().is_none_or(|last| *last < chunks),
        "hot_bitmap has more than {chunks} chunks"
    );
    Ok(hot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Refusal, Standing};

    const LINE: &str = "{\"folio_pfn\":\"0x400\",\"order\":4,\"hot_threshold\":30,\"accesses\":12,\
                        \"verdict\":\"hot\",\"backing\":\"thp\",\"hot_bitmap\":\"8000000f\",\
                        \"pid\":7,\"vaddr\":\"0x7f0000000000\"}\n";

    fn asked(order: u8) -> Asked {
        Asked::at(ChunkOrder::try_new(order).expect("0 to 9"))
    }

    #[test]
    fn a_line_is_a_decision() {
        let wanted = Decision {
            folio_pfn: 0x400,
            verdict: Verdict::Hot,
            accesses: 12,
            hot_chunks: vec![0, 1, 2, 3, 31],
            pid: Some(7),
            vaddr: Some(0x7f00_0000_0000),
            standing: Standing::AsTold,
        };
        let text = format!("{LINE}\n{LINE}");
        assert_eq!(read(text.as_bytes(), asked(4)).unwrap(), [wanted.clone(), wanted]);
        assert!(read(&b""[..], asked(4)).unwrap().is_empty());
    }

    #[test]
    fn counts_serve_every_order() {
        let line =
            LINE.replace("\"hot_bitmap\"", "\"counts\":[[0,10],[511,1],[510,1]],\"hot_bitmap\"");
        let hot = |number| read(line.as_bytes(), asked(number)).unwrap().remove(0).hot_chunks;
        assert_eq!(hot(2), [0, 127]);
        assert_eq!(hot(8), [0, 1]);
        // A tenth of 20 is 2, which one access is not, and two together are.
        let line = line.replace("[0,10]", "[0,20]");
        let hot = |number| read(line.as_bytes(), asked(number)).unwrap().remove(0).hot_chunks;
        assert_eq!((hot(2), hot(4)), (vec![0, 127], vec![0, 31]));
    }

    /// What is sparse for 30 % of the hot chunks is so for more, and need not be for fewer; of other
    /// orders nothing is known.
    #[test]
    fn a_sparse_folio_was_judged_for_what_is_asked() {
        use Standing::{Refused, Unverified};
        let line = LINE
            .replace("\"hot\"", "\"sparse\"")
            .replace("\"hot_bitmap\"", "\"counts\":[[0,10]],\"hot_bitmap\"");
        let other = (Verdict::Undersampled, Refused(Refusal::OtherTerms));
        let same = (Verdict::Sparse, Unverified);
        for (order, percent, wanted) in
            [(4, 30, same), (4, 31, same), (4, 29, other), (2, 30, other), (5, 30, other)]
        {
            let threshold = HotThreshold::try_new(percent).expect("a percent");
            let asked = Asked { threshold, ..asked(order) };
            let decision = read(line.as_bytes(), asked).unwrap().remove(0);
            assert_eq!((decision.verdict, decision.standing), wanted, "{order} {percent}");
        }
        // A program that tells no threshold has the default one.
        let line = line.replace("\"hot_threshold\":30,", "");
        for (percent, verdict) in [(30, Verdict::Sparse), (29, Verdict::Undersampled)] {
            let threshold = HotThreshold::try_new(percent).expect("a percent");
            let decisions = read(line.as_bytes(), Asked { threshold, ..asked(4) }).unwrap();
            assert_eq!(decisions[0].verdict, verdict, "{percent}");
        }
    }

    #[test]
    fn a_sparse_folio_has_to_be_proposable() {
        use Standing::{AsTold, Refused, Unverified};
        let standing = |line: &str| {
            let line = LINE.replace("\"hot\"", "\"sparse\"").replace("\"backing\":\"thp\"", line);
            let decision = read(line.as_bytes(), asked(4)).unwrap().remove(0);
            (decision.verdict, decision.standing)
        };
        let cases = [
            // Of an older program.
            ("\"backing\":\"thp\"", Verdict::Sparse, Unverified),
            ("\"backing\":\"thp\",\"steady\":null", Verdict::Sparse, Unverified),
            ("\"backing\":\"thp\",\"steady\":true,\"cold_share\":20", Verdict::Sparse, AsTold),
            (
                "\"backing\":\"thp\",\"visits\":1000,\"cold_visits\":201,\"cold_share\":20",
                Verdict::Undersampled,
                Refused(Refusal::ColdShare),
            ),
            (
                "\"backing\":\"thp\",\"steady\":false",
                Verdict::Undersampled,
                Refused(Refusal::NotSteady),
            ),
            ("\"backing\":\"hugetlb\"", Verdict::Filtered, Refused(Refusal::Backing)),
            ("\"backing\":\"smaller\"", Verdict::Filtered, Refused(Refusal::Backing)),
            ("\"backing\":\"thp\",\"left_out\":true", Verdict::Filtered, Refused(Refusal::LeftOut)),
        ];
        for (fields, verdict, wanted) in cases {
            assert_eq!(standing(fields), (verdict, wanted), "{fields}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_line() {
        let cases = [
            (LINE.trim_end().to_owned(), 4, "line 1: is cut off"),
            (format!("{LINE}{}\n", &LINE[..40]), 4, "line 2: is no decision"),
            (LINE.replace("0x400", "0x410"), 4, "line 1: folio_pfn 0x410 is no multiple of 512"),
            (LINE.replace("0x400", "1024"), 4, "is no hexadecimal number"),
            (LINE.replace("0x400", "0x1ffffffffffffffff"), 4, "is no hexadecimal number"),
            (LINE.replace("\"hot\"", "\"warm\""), 4, "verdict \"warm\""),
            (LINE.replace("\"hot\"", "null"), 4, "has no verdict"),
            (LINE.replace("\"thp\"", "\"huge\""), 4, "backing \"huge\""),
            (LINE.replace("8000000f", "f"), 4, "has 1 digits, at order 4 there are 8"),
            (LINE.replace("8000000f", "8000000g"), 4, "is not hexadecimal"),
            (LINE.to_owned(), 2, "is of order 4, and the plan of order 2"),
            (LINE.replace("\"order\":4", "\"order\":9"), 9, "an order from 2 to 8"),
            (
                LINE.replace("\"hot_bitmap\"", "\"counts\":[[512,1]],\"hot_bitmap\""),
                4,
                "page 512 of 512",
            ),
            (format!("{{{}{LINE}", " ".repeat(70_000)), 4, "line 1: is cut off, or longer"),
        ];
        for (text, number, wanted) in cases {
            let error = read(text.as_bytes(), asked(number)).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
