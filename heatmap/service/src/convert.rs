//! From what is known to the messages of the interface.

use std::time::SystemTime;

use heatmap::Backing;
use heatmap::Verdict;
use heatmap::incomplete::Reason;
use heatmap::live::{LiveFolio, LiveFraction};
use proto::v1;

use super::asked::Asked;
use super::refusal::Refusal;

/// A length of time.
pub(super) fn duration(ns: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ns % 1_000_000_000).unwrap_or(0),
    }
}

/// A point in time.
pub(super) fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    prost_types::Timestamp::from(time)
}

fn verdict(verdict: Option<Verdict>) -> v1::Verdict {
    verdict.and_then(|verdict| v1::Verdict::from_word(verdict.as_str())).unwrap_or_default()
}

/// The verdicts that a request asks for.
///
/// # Errors
///
/// A number that stands for no verdict.
pub(super) fn wanted_verdicts(numbers: &[i32]) -> Result<Vec<Verdict>, Refusal> {
    let wanted = |number: &i32| {
        v1::Verdict::try_from(*number)
            .ok()
            .and_then(v1::Verdict::word)
            .and_then(Verdict::from_name)
            .ok_or_else(|| Refusal::wrong("verdicts", format!("{number} is no verdict")))
    };
    numbers.iter().map(wanted).collect()
}

fn backing(backing: Backing) -> v1::Backing {
    v1::Backing::from_word(backing.name()).unwrap_or_default()
}

pub(super) fn hot_fraction(
    asked: &Asked,
    folio: LiveFolio<'_>,
    fraction: &LiveFraction,
) -> v1::HotFraction {
    let (snapshot, found) = (&asked.snapshot, &fraction.found);
    v1::HotFraction {
        folio_pfn: folio.pfn().get(),
        hot_percent: fraction.found.hot.percent(),
        hot_chunks: fraction.found.hot.hot_chunks,
        chunks: fraction.found.hot.chunks,
        accesses: fraction.accesses,
        verdict: verdict(fraction.found.verdict).into(),
        age: folio.age_ns().map(duration),
        window: (snapshot.ttl_ns > 0).then(|| duration(snapshot.ttl_ns)),
        order: asked.order.get().into(),
        hot_threshold: asked.threshold.get().into(),
        epoch: snapshot.epoch.unwrap_or(0),
        snapshot_time: snapshot.made.map(timestamp),
        visits: found.visits,
        cold_visits: found.cold_visits,
        cold_share: found.cold_share(),
        proposable: found.is_proposable(snapshot.max_cold_share()),
        steady: Some(fraction.steady),
        left_out: found.left_out,
    }
}

pub(super) fn folio(
    folio: LiveFolio<'_>,
    fraction: &LiveFraction,
    message: v1::HotFraction,
) -> v1::Folio {
    let directions = folio.directions();
    let (pid, vaddr) = folio.last_seen();
    v1::Folio {
        fraction: Some(message),
        loads: directions.loads(),
        stores: directions.stores(),
        atomics: directions.atomics(),
        unknown_op: directions.unknown(),
        touched_pages: fraction.touched_pages,
        peak: fraction.found.hot.peak,
        mapping_order_max: folio.mapping_order_max().map(u32::from),
        backing: backing(folio.backing()).into(),
        first_ns: folio.times().first(),
        last_ns: folio.times().last(),
        pid,
        vaddr,
    }
}

pub(super) fn decision(
    asked: &Asked,
    folio: LiveFolio<'_>,
    fraction: &LiveFraction,
    counts: bool,
) -> v1::Decision {
    let (snapshot, found) = (&asked.snapshot, &fraction.found);
    let (pid, vaddr) = folio.last_seen();
    let pages = || {
        let counts = folio.counts();
        let touched = (0..).zip(counts).filter(|(_, count)| *count > 0);
        touched.map(|(page, count)| v1::PageCount { page, count }).collect()
    };
    v1::Decision {
        folio_pfn: folio.pfn().get(),
        order: asked.order.get().into(),
        hot_threshold: asked.threshold.get().into(),
        hot_percent: fraction.found.hot.percent(),
        hot_chunks: fraction.found.hot.hot_chunks,
        chunks: fraction.found.hot.chunks,
        accesses: fraction.accesses,
        verdict: verdict(fraction.found.verdict).into(),
        backing: backing(folio.backing()).into(),
        unverified: folio.backing() == Backing::Unknown,
        hot_bitmap: fraction.found.hot.bitmap.to_hex(asked.order),
        pid,
        vaddr,
        counts: if counts { pages() } else { Vec::new() },
        visits: found.visits,
        cold_visits: found.cold_visits,
        cold_share: found.cold_share(),
        proposable: found.is_proposable(snapshot.max_cold_share()),
        steady: Some(fraction.steady),
        left_out: found.left_out,
    }
}

/// The account of what came in.
pub(super) fn ledger(ledger: &decoder::Ledger, incomplete: &[Reason]) -> v1::Ledger {
    v1::Ledger {
        aux_bytes: ledger.aux_bytes,
        record_bytes: ledger.record_bytes,
        padding_bytes: ledger.padding_bytes,
        skipped_bytes: ledger.skipped_bytes,
        cut_off_bytes: ledger.cut_off_bytes,
        foreign_aux_bytes: ledger.foreign_aux_bytes,
        overlap_bytes: ledger.overlap_bytes,
        aux_missing_bytes: ledger.aux_missing_bytes,
        records: ledger.records,
        counted: ledger.counted,
        guest_address: ledger.guest_address,
        guest_accesses: ledger.guest_accesses,
        not_address_events: ledger.not_address_events,
        no_physical_address: ledger.no_physical_address,
        lookup_failed: ledger.lookup_failed,
        not_memory: ledger.not_memory,
        filtered: ledger.filtered,
        over_budget: ledger.over_budget,
        looked_up: ledger.looked_up,
        lookup_gone: ledger.lookup_gone,
        lookup_not_present: ledger.lookup_not_present,
        lookup_hidden: ledger.lookup_hidden,
        throttled: ledger.throttled,
        late: ledger.late,
        tid_unknown: ledger.tid_unknown,
        not_retired: ledger.not_retired,
        aux_truncated: ledger.aux_truncated,
        aux_collision: ledger.aux_collision,
        aux_partial: ledger.aux_partial,
        lost: ledger.lost,
        lost_records: ledger.lost_records,
        lost_samples: ledger.lost_samples,
        saturated_counters: ledger.saturated_counters,
        recording_incomplete: incomplete.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_judged_has_a_value_on_the_wire() {
        for told in Verdict::ALL {
            let sent = verdict(Some(told));
            assert_ne!(sent, v1::Verdict::Unspecified, "{told}");
            assert_eq!(wanted_verdicts(&[sent.into()]).ok(), Some(vec![told]));
        }
        assert_eq!(verdict(None), v1::Verdict::Unspecified);
        for number in [v1::Verdict::Unspecified.into(), -1, 99] {
            assert!(wanted_verdicts(&[number]).is_err(), "{number}");
        }
        for told in Backing::ALL {
            let sent = backing(told);
            assert_eq!(sent.word().and_then(Backing::from_name), Some(told), "{sent:?}");
        }
    }
}
