//! What `damo start` takes: kdamonds as JSON, with one scheme for the folios asked for.
//!
//! ```text
//! decisions -> ranges of physical memory, sorted, adjacent ones joined
//!           -> regions of the target, filters of the scheme: allow each range, reject the rest
//! ```
//!
//! Whatever matches no filter is acted on by some kernels, so that the last filter rejects
//! everything. The target has no other regions than these ranges either: DAMON never acts outside
//! of them, not even where a kernel does not know filters that allow.
//!
//! Written for damo 3.4.3. A newer one may know more actions.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{bail, ensure};
use heatmap::Verdict;
use serde_json::{Value, json};

use crate::decision::Decision;

/// Actions that damo knows and that need nothing else to be said.
pub const ACTIONS: &[&str] = &[
    "stat",
    "hugepage",
    "nohugepage",
    "collapse",
    "pageout",
    "willneed",
    "cold",
    "lru_prio",
    "lru_deprio",
];
/// Bytes of physical memory in a page.
const PAGE: u64 = 4096;
/// Pages in a folio.
const PAGES: u64 = 512;
/// Regions that DAMON tells apart at most, unless there are more ranges: its own default.
const MAX_REGIONS: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is done with the folios, one of [`ACTIONS`].
    pub action: String,
    /// The verdicts whose folios are meant.
    pub verdicts: Vec<Verdict>,
}

impl Default for Settings {
    /// Counts the sparse ones, which changes nothing.
    fn default() -> Self {
        Self { action: "stat".into(), verdicts: vec![Verdict::Sparse] }
    }
}

/// Describes one kdamond with one context over physical memory and one scheme.
///
/// # Errors
/// damo would not take the action, or there is no folio to act on.
pub fn json(decisions: &[Decision], settings: &Settings) -> anyhow::Result<Value> {
    let action = settings.action.as_str();
    match action {
        "split" | "mthp_split" => bail!("damo does not know the action {action}"),
        "migrate_hot" | "migrate_cold" => {
            bail!("the action {action} needs a node, which decisions do not tell")
        }
        _ => ensure!(ACTIONS.contains(&action), "damo's actions are {}", ACTIONS.join(", ")),
    }
    let ranges = ranges(decisions, &settings.verdicts)?;
    ensure!(!ranges.is_empty(), "no folio has a verdict that is asked for: there is nothing to do");
    let regions: Vec<_> = ranges.iter().map(region).collect();
    let mut filters: Vec<_> = ranges.iter().map(|range| filter(range, true)).collect();
    filters.push(filter(&(0..u64::MAX), false));
    let everything = json!({ "min": "min", "max": "max" });
    Ok(json!({ "kdamonds": [{ "contexts": [{
        "ops": "paddr",
        "targets": [{ "pid": null, "regions": regions }],
        "intervals": { "sample_us": "5 ms", "aggr_us": "100 ms", "ops_update_us": "1 s" },
        // Filters cut regions, so that there may be more of them than ranges.
        "nr_regions": { "min": 10, "max": MAX_REGIONS.max(4 * ranges.len()) },
        "schemes": [{
            "action": action,
            // Accessed or not, for long or not: the decisions have said it.
            "access_pattern": {
                "sz_bytes": everything,
                "nr_accesses": everything,
                "age": everything,
            },
            "filters": filters,
        }],
    }]}]}))
}

fn region(range: &Range<u64>) -> Value {
    json!({ "start": range.start, "end": range.end })
}

/// A filter for what lies in a range.
fn filter(range: &Range<u64>, allow: bool) -> Value {
    json!({
        "filter_type": "addr",
        "matching": true,
        "allow": allow,
        "address_range": region(range),
    })
}

/// The physical memory of the folios with one of these verdicts.
fn ranges(decisions: &[Decision], verdicts: &[Verdict]) -> anyhow::Result<Vec<Range<u64>>> {
    let asked = decisions.iter().filter(|one| verdicts.contains(&one.verdict));
    let folios: BTreeSet<u64> = asked.map(|one| one.folio_pfn).collect();
    let mut ranges = Vec::<Range<u64>>::new();
    for pfn in folios {
        let end = pfn.checked_add(PAGES).and_then(|end| end.checked_mul(PAGE));
        let Some(end) = end else { bail!("folio {pfn:#x} lies beyond physical memory") };
        let start = pfn * PAGE;
        match ranges.last_mut() {
            Some(last) if start <= last.end => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Standing;

    fn decision(folio_pfn: u64, verdict: Verdict) -> Decision {
        Decision {
            standing: Standing::AsTold,
            folio_pfn,
            verdict,
            accesses: 9,
            hot_chunks: vec![0],
            pid: None,
            vaddr: None,
        }
    }

    #[test]
    fn ranges_are_allowed_and_everything_else_is_rejected() {
        let decisions = [
            decision(0x1000, Verdict::Sparse),
            decision(0x400, Verdict::Sparse),
            decision(0x600, Verdict::Sparse),
            decision(0x400, Verdict::Sparse),
            decision(0x800, Verdict::Hot),
        ];
        let json = json(&decisions, &Settings::default()).unwrap();
        let context = &json["kdamonds"][0]["contexts"][0];
        let regions = json!([
            { "start": 0x40_0000, "end": 0x80_0000 },
            { "start": 0x100_0000, "end": 0x120_0000 },
        ]);
        assert_eq!(context["targets"], json!([{ "pid": null, "regions": regions }]));
        let scheme = &context["schemes"][0];
        assert_eq!(scheme["action"], "stat");
        let wanted = [
            (regions[0].clone(), true),
            (regions[1].clone(), true),
            (json!({ "start": 0, "end": u64::MAX }), false),
        ];
        let wanted = wanted.map(|(range, allow)| {
            json!({
                "filter_type": "addr", "matching": true, "allow": allow, "address_range": range,
            })
        });
        assert_eq!(scheme["filters"], json!(wanted));
        assert_eq!(context["nr_regions"]["max"], 1000);
    }

    #[test]
    fn what_damo_would_not_take_is_said() {
        let said = |action: &str, pfn, verdict| {
            let settings = Settings { action: action.into(), ..Settings::default() };
            json(&[decision(pfn, verdict)], &settings).unwrap_err().to_string()
        };
        let sparse = Verdict::Sparse;
        assert_eq!(said("split", 0, sparse), "damo does not know the action split");
        assert!(said("migrate_cold", 0, sparse).contains("needs a node"));
        assert!(said("", 0, sparse).starts_with("damo's actions are stat, hugepage"));
        assert!(said("stat", 0, Verdict::Hot).starts_with("no folio has a verdict"));
        assert!(said("stat", 1 << 52, sparse).contains("beyond physical memory"));
        assert!(said("stat", !511, sparse).contains("beyond physical memory"));
    }
}
