//! Questions and their answers, the same over gRPC and over HTTP: request in, response out.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use decoder::{FolioPfn, Pfn, PhysAddr};
use heatmap::Verdict;
use heatmap::live::{LiveFolio, LiveFraction};
use heatmap::{TenPercentBuckets, touched_percent};
use proto::v1;
use tonic::Code;

use super::asked::Asked;
use super::refusal::Refusal;
use super::state::State;
use super::{convert, status};

/// Folios that one batch may ask for.
pub(super) const MAX_BATCH: usize = 10_000;
/// Folios in a page of a list, by default and at most.
const PAGE_SIZE: (usize, usize) = (100, 1000);

/// The folio of a page frame.
pub(super) fn folio_of_pfn(field: &'static str, pfn: u64) -> Result<FolioPfn, Refusal> {
    let known = Pfn::new_truncate(pfn);
    if known.get() != pfn {
        return Err(Refusal::wrong(field, "a page frame number has 44 bits at most"));
    }
    Ok(known.folio())
}

/// The folio of a physical address.
fn folio_of_address(address: u64) -> Result<FolioPfn, Refusal> {
    let known = PhysAddr::new_truncate(address);
    if known.get() != address {
        return Err(Refusal::wrong("physical_address", "a physical address has 56 bits at most"));
    }
    Ok(known.pfn().folio())
}

/// What is known of a folio, and the message that says so.
fn fraction(asked: &Asked, folio: LiveFolio<'_>) -> Option<(LiveFraction, v1::HotFraction)> {
    let fraction = folio.fraction(&asked.judge)?;
    let message = convert::hot_fraction(asked, folio, &fraction);
    Some((fraction, message))
}

pub(super) fn get_hot_fraction(
    state: &State,
    request: &v1::GetHotFractionRequest,
) -> Result<v1::GetHotFractionResponse, Refusal> {
    use v1::get_hot_fraction_request::Folio;
    let pfn = match request.folio {
        Some(Folio::Pfn(pfn)) => folio_of_pfn("pfn", pfn)?,
        Some(Folio::PhysicalAddress(address)) => folio_of_address(address)?,
        None => return Err(Refusal::wrong("pfn", "name a folio by pfn or physical_address")),
    };
    let asked = state.asked(request.order, request.hot_threshold)?;
    let folio = asked.snapshot.folio(pfn);
    let (_, fraction) =
        folio.and_then(|folio| fraction(&asked, folio)).ok_or_else(|| Refusal::no_samples(pfn))?;
    Ok(v1::GetHotFractionResponse { fraction: Some(fraction) })
}

pub(super) fn batch_get_hot_fractions(
    state: &State,
    request: &v1::BatchGetHotFractionsRequest,
) -> Result<v1::BatchGetHotFractionsResponse, Refusal> {
    use v1::batch_hot_fraction::Answer;
    if request.pfns.len() > MAX_BATCH {
        let message = format!("up to {MAX_BATCH} are answered at once, not {}", request.pfns.len());
        return Err(Refusal::wrong("pfns", message));
    }
    let folios: Vec<_> =
        request.pfns.iter().map(|pfn| folio_of_pfn("pfns", *pfn)).collect::<Result<_, _>>()?;
    let asked = state.asked(request.order, request.hot_threshold)?;
    let answer = |(pfn, folio): (&u64, FolioPfn)| {
        let fraction = asked.snapshot.folio(folio).and_then(|folio| fraction(&asked, folio));
        let answer = match fraction {
            Some((_, fraction)) => Answer::Fraction(fraction),
            None => Answer::NoData(v1::NoData { folio_pfn: folio.get() }),
        };
        v1::BatchHotFraction { pfn: *pfn, answer: Some(answer) }
    };
    let results = request.pfns.iter().zip(folios).map(answer).collect();
    Ok(v1::BatchGetHotFractionsResponse { results })
}

pub(super) fn get_folio(
    state: &State,
    request: &v1::GetFolioRequest,
) -> Result<v1::GetFolioResponse, Refusal> {
    use v1::get_folio_request::Folio;
    let pfn = match request.folio {
        Some(Folio::Pfn(pfn)) => folio_of_pfn("pfn", pfn)?,
        Some(Folio::PhysicalAddress(address)) => folio_of_address(address)?,
        None => return Err(Refusal::wrong("pfn", "name a folio by pfn or physical_address")),
    };
    let asked = state.asked(request.order, request.hot_threshold)?;
    let known = asked.snapshot.folio(pfn).and_then(|folio| Some((folio, fraction(&asked, folio)?)));
    let (folio, (fraction, message)) = known.ok_or_else(|| Refusal::no_samples(pfn))?;
    Ok(v1::GetFolioResponse {
        folio: Some(convert::folio(folio, &fraction, message)),
        counts: folio.counts().to_vec(),
        hot_bitmap: fraction.found.hot.bitmap.to_hex(asked.order),
    })
}

/// The orders of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Accesses,
    HotPercent,
    Age,
    Pfn,
}

/// An order of a list, and whether it is descending.
fn list_order(text: &str) -> Result<(Key, bool), Refusal> {
    let mut words = text.split_whitespace();
    let (key, descending) = match words.next() {
        None | Some("accesses") => (Key::Accesses, true),
        Some("hot_percent") => (Key::HotPercent, true),
        Some("age") => (Key::Age, false),
        Some("pfn" | "folio_pfn") => (Key::Pfn, false),
        Some(_) => {
            return Err(Refusal::wrong("order_by", "accesses, hot_percent, age or pfn"));
        }
    };
    match (words.next(), words.next()) {
        (None, None) => Ok((key, descending)),
        (Some("asc"), None) => Ok((key, false)),
        (Some("desc"), None) => Ok((key, true)),
        _ => Err(Refusal::wrong("order_by", "one key, with asc or desc behind it")),
    }
}

/// Where a list goes on: the snapshot, what was asked, and how many folios came before.
struct PageToken {
    sequence: u64,
    question: u64,
    skipped: u64,
}

impl PageToken {
    /// A number that the same questions share.
    fn question(request: &v1::ListFoliosRequest) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        let v1::ListFoliosRequest {
            order,
            hot_threshold,
            min_accesses,
            verdicts,
            min_hot_percent,
            max_hot_percent,
            first_pfn,
            last_pfn,
            order_by,
            page_size: _,
            page_token: _,
        } = request;
        (order, hot_threshold, min_accesses, verdicts).hash(&mut hasher);
        (min_hot_percent, max_hot_percent, first_pfn, last_pfn, order_by).hash(&mut hasher);
        hasher.finish()
    }

    fn write(&self) -> String {
        format!("{:x}.{:x}.{:x}", self.sequence, self.question, self.skipped)
    }

    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| u64::from_str_radix(part, 16));
        let mut next = || numbers.next()?.ok();
        let token = Self { sequence: next()?, question: next()?, skipped: next()? };
        numbers.next().is_none().then_some(token)
    }
}

pub(super) fn list_folios(
    state: &State,
    request: &v1::ListFoliosRequest,
) -> Result<v1::ListFoliosResponse, Refusal> {
    let (key, descending) = list_order(&request.order_by)?;
    let page_size = match usize::try_from(request.page_size) {
        Err(_) => return Err(Refusal::wrong("page_size", "must not be negative")),
        Ok(0) => PAGE_SIZE.0,
        Ok(size) => size.min(PAGE_SIZE.1),
    };
    let verdicts = convert::wanted_verdicts(&request.verdicts)?;
    let percents = [
        ("min_hot_percent", request.min_hot_percent),
        ("max_hot_percent", request.max_hot_percent),
    ];
    if let Some((field, _)) = percents.iter().find(|(_, value)| value.is_some_and(|v| v > 100)) {
        return Err(Refusal::wrong(field, "must be 0 to 100"));
    }
    let asked = state.asked(request.order, request.hot_threshold)?;
    let question = PageToken::question(request);
    let skipped = match request.page_token.as_str() {
        "" => 0,
        text => {
            let token = PageToken::read(text)
                .filter(|token| token.question == question)
                .ok_or_else(|| Refusal::wrong("page_token", "belongs to another question"))?;
            // Another snapshot has other folios: what comes next there is not what came next here.
            if token.sequence != asked.snapshot.sequence && key != Key::Pfn {
                let message = "the list has changed since: ask again from its start, or by pfn";
                return Err(Refusal::new(Code::Aborted, "LIST_CHANGED", message));
            }
            token.skipped
        }
    };
    let first = folio_of_pfn("first_pfn", request.first_pfn.unwrap_or(0))?;
    let last = request.last_pfn.map_or(u64::MAX, |last| last);
    let mut found = Vec::new();
    for folio in asked.snapshot.folios(first).take_while(|folio| folio.pfn().get() <= last) {
        let Some(fraction) = folio.fraction(&asked.judge) else { continue };
        let percent = fraction.found.hot.percent();
        let wanted = fraction.accesses >= request.min_accesses
            && (verdicts.is_empty()
                || fraction.found.verdict.is_some_and(|verdict| verdicts.contains(&verdict)))
            && request.min_hot_percent.is_none_or(|least| percent >= least)
            && request.max_hot_percent.is_none_or(|most| percent <= most);
        if !wanted {
            continue;
        }
        let value = match key {
            Key::Accesses => fraction.accesses,
            Key::HotPercent => percent.into(),
            Key::Age => folio.age_ns().unwrap_or(u64::MAX),
            Key::Pfn => folio.pfn().get(),
        };
        found.push((value, folio.pfn()));
    }
    if descending {
        found.sort_unstable_by_key(|(value, pfn)| (Reverse(*value), *pfn));
    } else {
        found.sort_unstable();
    }
    // By PFN the token counts page frames, so that it holds in any snapshot.
    let begin = match key {
        Key::Pfn if skipped == 0 => 0,
        Key::Pfn if descending => found.partition_point(|(value, _)| value + 1 > skipped),
        Key::Pfn => found.partition_point(|(value, _)| *value < skipped),
        _ => usize::try_from(skipped).unwrap_or(usize::MAX).min(found.len()),
    };
    let end = begin.saturating_add(page_size).min(found.len());
    let listed = found[begin..end].iter().filter_map(|(_, pfn)| {
        let folio = asked.snapshot.folio(*pfn)?;
        let (fraction, message) = fraction(&asked, folio)?;
        Some(convert::folio(folio, &fraction, message))
    });
    let next = (end < found.len()).then(|| PageToken {
        sequence: asked.snapshot.sequence,
        question,
        skipped: match key {
            Key::Pfn => found[end - 1].0 + u64::from(!descending),
            _ => end as u64,
        },
    });
    Ok(v1::ListFoliosResponse {
        folios: listed.collect(),
        next_page_token: next.map(|token| token.write()).unwrap_or_default(),
        total_size: found.len() as u64,
    })
}

pub(super) fn get_distribution(
    state: &State,
    request: &v1::GetDistributionRequest,
) -> Result<v1::GetDistributionResponse, Refusal> {
    let asked = state.asked(request.order, request.hot_threshold)?;
    Ok(distribution(&asked))
}

/// How the folios of a snapshot are distributed.
pub(super) fn distribution(asked: &Asked) -> v1::GetDistributionResponse {
    let (mut touched, mut hot) = (TenPercentBuckets::default(), TenPercentBuckets::default());
    let mut verdicts = v1::VerdictCounts::default();
    let (mut accesses, mut pages, mut folios) = (0, 0, 0);
    let (mut visits, mut proposable, mut proposed, mut left_out) = (0, 0, 0, 0);
    for folio in asked.snapshot.folios(Pfn::new_truncate(0).folio()) {
        let Some(fraction) = folio.fraction(&asked.judge) else { continue };
        touched.add(touched_percent(fraction.touched_pages));
        hot.add(fraction.found.hot.percent());
        accesses += fraction.accesses;
        pages += u64::from(fraction.touched_pages);
        folios += 1;
        visits += fraction.found.visits;
        proposable += u64::from(fraction.found.is_proposable(asked.snapshot.max_cold_share()));
        proposed += u64::from(fraction.proposed);
        left_out += u64::from(fraction.found.left_out);
        let count = match fraction.found.verdict {
            Some(Verdict::Hot) => &mut verdicts.hot,
            Some(Verdict::Sparse) => &mut verdicts.sparse,
            Some(Verdict::Undersampled) => &mut verdicts.undersampled,
            Some(Verdict::Filtered) => &mut verdicts.filtered,
            Some(Verdict::Unsplittable) => &mut verdicts.unsplittable,
            None => continue,
        };
        *count += 1;
    }
    let rows = |buckets: &TenPercentBuckets| {
        let rows = buckets.rows();
        rows.map(|(from, to, folios)| v1::DistributionRow { from, to, folios }).collect()
    };
    v1::GetDistributionResponse {
        touched_distribution: rows(&touched),
        hot_distribution: rows(&hot),
        verdicts: Some(verdicts),
        accesses,
        pages,
        folios,
        epoch: asked.snapshot.epoch.unwrap_or(0),
        visits,
        proposable,
        proposed,
        left_out,
    }
}

/// Whether whoever asks may see everything decides what of it is told.
pub(super) fn get_status(state: &State, may_see_all: bool) -> v1::GetStatusResponse {
    // In this order: what the snapshot's notes say of periods is as new as this, or newer.
    let capture = status::capture(state);
    let snapshot = state.snapshot();
    let mut status = status::status(state, &snapshot, capture);
    status.watchers = state.watchers.load(Ordering::Relaxed) as u64;
    if !may_see_all {
        // A path may say who is watched.
        status.inputs.iter_mut().for_each(|input| input.path = String::new());
        status.capture.iter_mut().for_each(|capture| capture.event = String::new());
    }
    status
}
