//! What a block's hot fraction proves, given how many visits it rests on.
//!
//! A fraction from few samples proves nothing: a uniformly hot block with 51 samples always
//! shows under 10 % of its pages touched. So "sparse" is the rejection of a hypothesis. Let `n`
//! be the visits (`visits.rs`), `k` their hot chunks by the rule of the
//! [filter](crate::hot_fraction) and `m` the least number of hot chunks that reaches the threshold.
//! `p` is the probability of `k` or fewer hot chunks if the `n` visits fell independently and evenly
//! on `m` chunks:
//!
//! ```text
//! X  = least x with m * P(Bin(n, 1/m) >= x) <= 0.0001     the peak stays below X
//! t0 = max((X - 1) / 10, 1)                               so the filter's threshold is at most t0
//! t0 == 1:   p = P(distinct chunks of n draws on m <= k)
//! otherwise: p = P(Bin(m, P(Bin(n, 1/m) >= t0)) <= k) + 0.0001
//! ```
//!
//! and a block below the threshold is sparse only if `p <= 0.001`.
//!
//! # Limits
//!
//! - The hypothesis is an evenly hot block. An unevenly hot one, say a few very hot pages over
//!   many warm ones, may be called sparse: its warm pages lie below a tenth of its peak, and
//!   whether they matter is a matter of judgement, not of statistics. What lies outside of the hot
//!   chunks is told as the cold share ([`Finding`](crate::Finding)).
//! - Visits must be independent. Bursts within 10 ms count once; sampling without jitter (a period
//!   in step with the program's own) breaks it all the same, and `p` is then too small. Recordings
//!   without jitter are marked as such elsewhere.
//! - One in a thousand is the bound for one block judged once, not for the worst of many blocks, nor
//!   for the worst of many looks: who looks again and again asks whether a verdict is
//!   [steady](crate::live) too.

use core::fmt;
use core::ops::Range;
use std::sync::OnceLock;

use decoder::PAGES_PER_FOLIO;

use crate::filter::{ChunkOrder, HotFraction, HotThreshold};

/// The greatest `p` at which a fraction counts as proof.
pub const SIGNIFICANCE: f64 = 0.001;

/// The probability left to a peak of `X` or more.
const PEAK_RISK: f64 = 0.0001;

/// What is known about a block. The variants stand in the order in which they are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The recording or the query left out some loads or stores: hot pages may be missing.
    Filtered,
    /// At this order and threshold no block with data is ever split.
    Unsplittable,
    /// The hot fraction reaches the threshold.
    Hot,
    /// The hot fraction is below the threshold, and that is not an accident of few samples.
    Sparse,
    /// Everything else: the visits are too few, or the accesses span too short a time.
    Undersampled,
}

/// The word for people for a block of which nothing is said.
pub const NOT_JUDGED: &str = "not judged";

impl Verdict {
    /// Every verdict, in the order in which they are tested.
    pub const ALL: [Self; 5] =
        [Self::Filtered, Self::Unsplittable, Self::Hot, Self::Sparse, Self::Undersampled];

    /// The word for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Filtered => NOT_JUDGED,
            other => other.as_str(),
        }
    }

    /// The name in reports, decisions and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Unsplittable => "unsplittable",
            Self::Hot => "hot",
            Self::Sparse => "sparse",
            Self::Undersampled => "undersampled",
        }
    }

    /// The verdict of this name; none if no verdict has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == name)
    }
}

impl serde::Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a block's accesses span enough time to speak for its usual use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The recording has no times, so nothing is asked.
    NotAsked,
    /// From the first access to the last at least the wanted span.
    Long,
    /// Less than that.
    Short,
}

/// Gives verdicts at one order and threshold.
///
/// The first judge of a process for a given number `m` of hot chunks computes a table of steps
/// (at most some milliseconds and 10 KiB), which all others share. A query is a binary search in
/// it.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    order: ChunkOrder,
    min_hot_chunks: u32,           // in 0..=512
    proof: Option<&'static Proof>, // none where no block is ever split
}

impl Judge {
    /// A judge of fractions at `order` against `threshold`.
    pub fn new(order: ChunkOrder, threshold: HotThreshold) -> Self {
        let min_hot_chunks = threshold.min_hot_chunks(order);
        let proof = (min_hot_chunks > 1).then(|| Proof::against(min_hot_chunks));
        Self { order, min_hot_chunks, proof }
    }

    /// The least number of hot chunks that reaches the threshold: `m` of the module's
    /// documentation.
    pub const fn min_hot_chunks(&self) -> u32 {
        self.min_hot_chunks
    }

    /// The order of its fractions.
    pub const fn order(&self) -> ChunkOrder {
        self.order
    }

    /// The verdict on one block.
    ///
    /// `hot` is the fraction of its accesses at the judge's order. `visits` is the sum of its 512
    /// present visit counters, cooled ones included, and `chunks_of_visits` their number of hot
    /// chunks. `filtered` says that loads or stores were left out.
    pub(crate) fn verdict(
        &self,
        hot: &HotFraction,
        visits: u64,
        chunks_of_visits: u32,
        span: Span,
        filtered: bool,
    ) -> Verdict {
        debug_assert_eq!(hot.chunks, self.order.chunks(), "a fraction of another order");
        if filtered {
            return Verdict::Filtered;
        }
        if self.proof.is_none() {
            return Verdict::Unsplittable;
        }
        if hot.hot_chunks >= self.min_hot_chunks {
            Verdict::Hot
        } else if self.proves(visits, chunks_of_visits) && span != Span::Short {
            Verdict::Sparse
        } else {
            Verdict::Undersampled
        }
    }

    /// Whether so many visits with so many hot chunks prove that fewer chunks are hot than the
    /// threshold asks for.
    pub(crate) fn proves(&self, visits: u64, chunks_of_visits: u32) -> bool {
        self.proof.is_some_and(|proof| {
            chunks_of_visits > 0 && chunks_of_visits <= proof.most_hot_chunks(visits)
        })
    }
}

/// The probability that `n` independent, even visits on `m` chunks show `k` or fewer hot
/// chunks, as the module's documentation defines it; 1 without accesses and where `k` or `m`
/// leaves nothing to prove (`k >= m`, `m < 2`).
///
/// This is the definition, in O(n m) or worse; [`Judge`] decides the same from tables. Good for
/// `n` up to 2^41, the most that 512 counters hold. Probabilities below 1e-200 may come out as 0.
pub fn p_value(n: u64, k: u32, m: u32) -> f64 {
    if n == 0 || m < 2 || k >= m {
        return 1.0;
    }
    match sure_threshold(n, m) {
        1 => {
            let mut occupancy = Occupancy::new(m);
            for _ in 0..n {
                occupancy.draw();
            }
            occupancy.at_most(k)
        }
        threshold => p_beyond_one(n, k, m, threshold),
    }
}

/// `t0`: a threshold that the filter's own exceeds with a probability of at most 0.0001, if
/// `n` visits fell evenly on `m` chunks. Never falls as `n` grows.
fn sure_threshold(n: u64, m: u32) -> u64 {
    ((peak_bound(n, m) - 1) / 10).max(1)
}

/// `X`: the least x with `m * P(Bin(n, 1/m) >= x) <= 0.0001`, for `n >= 1` and `m >= 2`.
fn peak_bound(n: u64, m: u32) -> u64 {
    let chunk = Binomial { trials: n, p: 1.0 / f64::from(m) };
    let risky = |x: u64| f64::from(m) * chunk.at_least(x) > PEAK_RISK;
    // Half of the distribution lies at or above the mean rounded down, so that is risky; from
    // there by doubled steps of about one standard deviation.
    let mean = n / u64::from(m);
    let mut from = mean;
    let mut step = mean.isqrt() + 1;
    while risky(from + step) {
        from += step;
        step *= 2;
    }
    first(from + 1..from + step, |x| !risky(x))
}

/// `p` where the filter's threshold may be above 1 access. The hot chunks are taken as
/// independent; they are not quite (accesses on one chunk are missing on the others), which
/// makes their number vary less, so that `p` errs on the side of "undersampled".
fn p_beyond_one(n: u64, k: u32, m: u32, threshold: u64) -> f64 {
    let chunk = Binomial { trials: n, p: 1.0 / f64::from(m) };
    // At most k hot chunks are at least m - k cold ones; said so because the probability of a
    // cold chunk is small, and keeps its digits where its complement would be rounded to 1.
    let cold = Binomial { trials: m.into(), p: chunk.at_most(threshold - 1) };
    (cold.at_least(u64::from(m - k)) + PEAK_RISK).min(1.0)
}

/// For one `m`: the most hot chunks that still prove "fewer than `m`", by the number of visits.
#[derive(Debug)]
struct Proof {
    /// Ascending in `visits`, the first at 1; each holds until the next, the last for ever.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    visits: u64,
    most_hot_chunks: u32, // in 0..m; 0 proves nothing, since every block with data has a hot chunk
}

impl Proof {
    /// From this many visits per chunk on, `m - 1` hot chunks prove "fewer than `m`".
    ///
    /// With `l >= 48` visits on each of `m <= 512` chunks on average, Chernoff's bounds give
    /// `m * P(Bin >= 2 l) <= 512 exp(-0.386 l) < 0.00001`, hence `X <= 2 l + 1`, `t0 <= l / 5`, and
    /// `m * P(Bin < t0) <= 512 exp(-0.478 l) < 0.000001`, so that `p < 0.000101`.
    const VISITS_PER_CHUNK: u64 = 48;

    /// The table for `m`, in 2..=512, computed when it is asked for the first time.
    fn against(m: u32) -> &'static Self {
        static PROOFS: [OnceLock<Proof>; PAGES_PER_FOLIO + 1] =
            [const { OnceLock::new() }; PAGES_PER_FOLIO + 1];
        PROOFS[m as usize].get_or_init(|| Self::compute(m))
    }

    fn compute(m: u32) -> Self {
        let settled = Self::VISITS_PER_CHUNK * u64::from(m);
        let mut proof = Self { steps: Vec::new() };

        // While t0 is 1. There are more distinct chunks after more draws, so that the proof only
        // grows: one pass over n.
        let beyond_one = first(1..settled, |n| sure_threshold(n, m) > 1);
        let mut occupancy = Occupancy::new(m);
        let mut most = 0;
        for n in 1..beyond_one {
            occupancy.draw();
            while most + 1 < m && occupancy.at_most(most + 1) <= SIGNIFICANCE {
                most += 1;
            }
            proof.push(n, most);
        }

        // Then piece by piece of equal t0, because p falls as n grows only within a piece.
        let mut piece = beyond_one;
        while piece < settled {
            let threshold = sure_threshold(piece, m);
            let next = first(piece + 1..settled, |n| sure_threshold(n, m) > threshold);
            let proves = |n, k| p_beyond_one(n, k, m, threshold) <= SIGNIFICANCE;
            let mut n = piece;
            while n < next {
                most = (1..m).rev().find(|k| proves(n, *k)).unwrap_or(0);
                proof.push(n, most);
                n = first(n + 1..next, |n| most + 1 < m && proves(n, most + 1));
            }
            piece = next;
        }
        proof.push(settled, m - 1);
        proof
    }

    fn push(&mut self, visits: u64, most_hot_chunks: u32) {
        if self.steps.last().is_none_or(|last| last.most_hot_chunks != most_hot_chunks) {
            self.steps.push(Step { visits, most_hot_chunks });
        }
    }

    /// The greatest `k` with `p_value(visits, k, m) <= 0.001`, or 0 if there is none above 0.
    fn most_hot_chunks(&self, visits: u64) -> u32 {
        let after = self.steps.partition_point(|step| step.visits <= visits);
        after.checked_sub(1).map_or(0, |index| self.steps[index].most_hot_chunks)
    }
}

/// The first number of `range` for which `holds`, or its end. Once true, `holds` stays true.
fn first(mut range: Range<u64>, holds: impl Fn(u64) -> bool) -> u64 {
    while range.start < range.end {
        let middle = range.start + (range.end - range.start) / 2;
        if holds(middle) {
            range.end = middle;
        } else {
            range.start = middle + 1;
        }
    }
    range.end
}

/// How many distinct chunks a number of even draws on `m` chunks has hit: the exact
/// distribution, by the recurrence over draws. All terms are positive, so nothing cancels.
struct Occupancy {
    /// `probability[d]` is that of `d` distinct chunks; 0 outside `support`.
    probability: Vec<f64>,
    support: Range<usize>,
}

impl Occupancy {
    /// Probabilities below this are dropped: their sum stays far below the rounding of any that
    /// matters, and numbers still smaller would be slow to compute with.
    const NEGLIGIBLE: f64 = 1e-200;

    /// Before the first draw.
    fn new(m: u32) -> Self {
        let mut probability = vec![0.0; m as usize + 1];
        probability[0] = 1.0;
        Self { probability, support: 0..1 }
    }

    /// One more draw: it hits one of the `d` chunks hit before, or one of the others.
    fn draw(&mut self) {
        let m = self.probability.len() - 1;
        let Range { start, end } = self.support;
        let end = (end + 1).min(m + 1);
        for distinct in (start..end).rev() {
            let again = self.probability[distinct] * distinct as f64;
            let anew = match distinct.checked_sub(1) {
                Some(before) => self.probability[before] * (m - before) as f64,
                None => 0.0,
            };
            self.probability[distinct] = (again + anew) / m as f64;
        }
        self.support = start..end;
        self.drop_negligible();
    }

    fn drop_negligible(&mut self) {
        let Range { start, end } = &mut self.support;
        while self.probability[*start] < Self::NEGLIGIBLE {
            self.probability[*start] = 0.0;
            *start += 1;
        }
        while self.probability[*end - 1] < Self::NEGLIGIBLE {
            self.probability[*end - 1] = 0.0;
            *end -= 1;
        }
    }

    /// The probability of `k` or fewer distinct chunks.
    fn at_most(&self, k: u32) -> f64 {
        let end = self.support.end.min(k as usize + 1);
        self.probability[self.support.start.min(end)..end].iter().sum()
    }
}

/// The binomial distribution of `trials` trials with success probability `p`.
///
/// Tails are summed from their greatest term outwards, which loses no digits; the other side of
/// the mean is the complement. The work is about ten standard deviations.
#[derive(Clone, Copy)]
struct Binomial {
    trials: u64,
    p: f64, // in [0, 1]
}

impl Binomial {
    fn mean(self) -> f64 {
        self.trials as f64 * self.p
    }

    /// P(successes >= `x`).
    fn at_least(self, x: u64) -> f64 {
        if x == 0 {
            1.0
        } else if x > self.trials {
            0.0
        } else if x as f64 > self.mean() {
            self.sum_up(x)
        } else {
            1.0 - self.sum_down(x - 1)
        }
    }

    /// P(successes <= `x`).
    fn at_most(self, x: u64) -> f64 {
        if x >= self.trials {
            1.0
        } else if (x as f64) < self.mean() {
            self.sum_down(x)
        } else {
            1.0 - self.sum_up(x + 1)
        }
    }

    /// P(successes >= `x`) for `x` above the mean, in 1..=`trials`.
    fn sum_up(self, x: u64) -> f64 {
        let odds = self.p / (1.0 - self.p);
        let ratio = |x: u64| (self.trials - x) as f64 / (x + 1) as f64 * odds;
        self.exactly(x) * falling_sum((x..self.trials).map(ratio))
    }

    /// P(successes <= `x`) for `x` below the mean, in 0..`trials`.
    fn sum_down(self, x: u64) -> f64 {
        let odds = (1.0 - self.p) / self.p;
        let ratio = |x: u64| x as f64 / (self.trials - x + 1) as f64 * odds;
        self.exactly(x) * falling_sum((1..=x).rev().map(ratio))
    }

    /// P(successes = `x`) for `x` in 0..=`trials`: the saddle-point form (C. Loader, Fast and
    /// Accurate Computation of Binomial Probabilities, 2000). Logarithms of factorials would
    /// cancel here and leave two digits at 2^41 trials.
    fn exactly(self, x: u64) -> f64 {
        let n = self.trials as f64;
        let q = 1.0 - self.p;
        if x == 0 {
            return (n * (-self.p).ln_1p()).exp();
        }
        if x == self.trials {
            return (n * self.p.ln()).exp();
        }
        let (hits, misses) = (x as f64, (self.trials - x) as f64);
        let log = stirling_error(self.trials)
            - stirling_error(x)
            - stirling_error(self.trials - x)
            - deviance(hits, n * self.p)
            - deviance(misses, n * q);
        log.exp() * (n / (core::f64::consts::TAU * hits * misses)).sqrt()
    }
}

/// 1 + r0 + r0 r1 + r0 r1 r2 + ... for ratios below 1 that fall.
fn falling_sum(ratios: impl Iterator<Item = f64>) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// ln(n!) - ln(sqrt(2 pi n) (n / e)^n) for `n >= 1`.
fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        let log_factorial: f64 = (2..=n).map(|factor| (factor as f64).ln()).sum();
        return log_factorial - (x + 0.5) * x.ln() + x - 0.5 * core::f64::consts::TAU.ln();
    }
    let s = 1.0 / (x * x);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))) / x
}

/// x ln(x / mean) + mean - x for positive `x` and `mean`, without cancellation where they are
/// close.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() - difference;
    }
    // With v = (x - mean) / (x + mean): ln(x / mean) = 2 (v + v^3 / 3 + v^5 / 5 + ...).
    let v = difference / (x + mean);
    let mut sum = difference * v;
    let mut power = 2.0 * x * v;
    // |v| < 0.1, so each term is under a hundredth of the one before: ten reach all digits.
    for odd in (3_u32..23).step_by(2) {
        power *= v * v;
        sum += power / f64::from(odd);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::hot_fraction;

    /// SplitMix64: small, and the same numbers on every machine.
    struct Rng(u64);

    impl Rng {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// Evenly in 0..`end`, for ends far below 2^32.
        fn below(&mut self, end: usize) -> usize {
            (((self.next() >> 32) * end as u64) >> 32) as usize
        }
    }

    fn judge(order: u8, threshold: u8) -> Judge {
        Judge::new(ChunkOrder::try_new(order).unwrap(), HotThreshold::try_new(threshold).unwrap())
    }

    fn close(got: f64, want: f64, relative: f64) -> bool {
        (got - want).abs() <= relative * want.abs()
    }

    #[test]
    fn p_values_equal_exact_rational_arithmetic() {
        // n, k, m -> X, t0, p, computed with exact fractions; the first six by hand:
        // 1, 1/2, 2/32, 2/64, 1/20, 45/81.
        let cases: &[(u64, u32, u32, u64, u64, f64)] = &[
            (1, 1, 2, 2, 1, 1.0),
            (2, 1, 2, 3, 1, 0.5),
            (5, 1, 2, 6, 1, 0.0625),
            (6, 1, 2, 7, 1, 0.03125),
            (2, 1, 20, 3, 1, 0.05),
            (4, 2, 3, 5, 1, 0.5555555555555556),
            (5, 3, 154, 4, 1, 0.0010377765041721426),
            (6, 3, 154, 4, 1, 2.42190533849796e-05),
            (5, 4, 154, 4, 1, 0.06347291547266139),
            (20, 3, 4, 15, 1, 0.012679125713475514),
            (100, 40, 52, 12, 1, 0.02857792717101649),
            (51, 10, 128, 7, 1, 7.375700264690433e-43),
            (24, 1, 2, 22, 2, 0.00010298023001832349),
            (60, 3, 4, 31, 3, 0.0001277666316662396),
            (70, 3, 4, 34, 3, 0.0001021024290442402),
            (200, 12, 13, 35, 3, 0.0003260552266560625),
            (200, 10, 13, 35, 3, 0.00010000000150403844),
            (400, 12, 13, 57, 5, 0.00010000928789328355),
            (360, 48, 52, 23, 2, 0.0007173124796892765),
            (360, 45, 52, 23, 2, 0.00010012352204898613),
        ];
        for (n, k, m, bound, threshold, p) in cases {
            assert_eq!(peak_bound(*n, *m), *bound, "X of {n} on {m}");
            assert_eq!(sure_threshold(*n, *m), *threshold, "t0 of {n} on {m}");
            let got = p_value(*n, *k, *m);
            assert!(close(got, *p, 1e-12), "{got} instead of {p} for {n}, {k}, {m}");
        }
    }

    #[test]
    fn occupancy_equals_counting_all_sequences_of_draws() {
        for m in 2..=4_u32 {
            for n in 1..=7_u32 {
                let mut by_distinct = vec![0_u32; m as usize + 1];
                for sequence in 0..m.pow(n) {
                    let chunk = |draw: u32| sequence / m.pow(draw) % m;
                    let seen = (0..n).fold(0_u32, |seen, draw| seen | 1 << chunk(draw));
                    by_distinct[seen.count_ones() as usize] += 1;
                }
                for k in 0..m {
                    let fewer: u32 = by_distinct[..=k as usize].iter().sum();
                    let want = f64::from(fewer) / f64::from(m.pow(n));
                    assert!(close(p_value(n.into(), k, m), want, 1e-14), "{n} {k} {m}");
                }
            }
        }
    }

    /// P(successes = x) for every x, by adding one trial after the other.
    fn binomial_by_trials(trials: u64, p: f64) -> Vec<f64> {
        let mut exactly = vec![1.0];
        for _ in 0..trials {
            let before = core::mem::take(&mut exactly);
            exactly = vec![0.0; before.len() + 1];
            for (x, probability) in before.iter().enumerate() {
                exactly[x] += probability * (1.0 - p);
                exactly[x + 1] += probability * p;
            }
        }
        exactly
    }

    #[test]
    fn p_beyond_one_equals_its_definition_by_adding_trials() {
        for (n, m) in [(24, 2), (61, 4), (190, 13), (480, 39), (700, 64), (1000, 116), (900, 39)] {
            let of_chunk = binomial_by_trials(n, 1.0 / f64::from(m));
            let at_least =
                |x: u64| of_chunk.iter().skip(usize::try_from(x).unwrap()).rev().sum::<f64>();
            let bound = (0..).find(|x| f64::from(m) * at_least(*x) <= 0.0001).unwrap();
            let threshold = ((bound - 1) / 10).max(1);
            assert_eq!((peak_bound(n, m), sure_threshold(n, m)), (bound, threshold), "{n} {m}");
            assert!(threshold > 1, "{n} on {m} is not beyond 1");
            let hot = binomial_by_trials(m.into(), at_least(threshold));
            for k in 1..m {
                let want = hot[..=k as usize].iter().sum::<f64>() + 0.0001;
                let got = p_value(n, k, m);
                // The naive sums lose digits where they are close to 1.
                assert!(close(got, want.min(1.0), 1e-7), "{n} {k} {m}: {got} {want}");
            }
        }
    }

    #[test]
    fn the_largest_counts_give_probabilities() {
        // The peak of so many visits is normal to four digits: m * Q(z) = 0.0001.
        for (n, m, z) in [(512 * u64::from(u32::MAX), 512, 5.0735), (1 << 36, 2, 3.8906)] {
            let share = 1.0 / f64::from(m);
            let deviation = (n as f64 * share * (1.0 - share)).sqrt();
            let bound = (peak_bound(n, m) - n / u64::from(m)) as f64 / deviation;
            assert!((bound - z).abs() < 3e-3, "{bound} for {n} on {m}");
            assert_eq!(p_value(n, m - 1, m), 0.0001, "{n} {m}");
        }
    }

    #[test]
    fn what_cannot_prove_anything_has_p_one() {
        for (n, k, m) in [(0, 0, 2), (0, 5, 512), (7, 2, 2), (7, 600, 512), (7, 0, 0), (7, 0, 1)] {
            assert_eq!(p_value(n, k, m), 1.0, "{n} {k} {m}");
        }
    }

    fn agrees(m: u32, n: u64, k: u32) {
        let proved = k <= Proof::against(m).most_hot_chunks(n);
        let p = p_value(n, k, m);
        assert_eq!(proved, p <= 0.001, "n {n}, k {k}, m {m}: p {p}");
    }

    #[test]
    fn the_tables_agree_with_the_definition() {
        let mut rng = Rng(1);
        for m in [2, 3, 4, 5, 8, 10, 13, 16, 20, 29, 39, 52, 64, 116, 154, 256, 461, 512] {
            let settled = Proof::VISITS_PER_CHUNK * u64::from(m);
            let around = |n: u64| [n.saturating_sub(1).max(1), n, n + 1];
            let steps = &Proof::against(m).steps;
            let picked = steps.iter().step_by(steps.len() / 12 + 1).chain(steps.last());
            let mut visits: Vec<u64> = picked.flat_map(|step| around(step.visits)).collect();
            for threshold in 1..5 {
                visits.extend(around(first(1..settled, |n| sure_threshold(n, m) > threshold)));
            }
            for _ in 0..10 {
                visits.push(1 + rng.next() % (3 * u64::from(m)));
                visits.push(1 + rng.next() % settled);
                visits.push((1 << (rng.next() % 24)) + rng.next() % 1000);
            }
            for n in visits {
                let most = Proof::against(m).most_hot_chunks(n);
                let other = u32::try_from(1 + rng.next() % u64::from(m)).unwrap();
                for k in [most.max(1), most + 1, other] {
                    agrees(m, n, k);
                }
            }
        }
    }

    /// The bisection over n inside a piece of equal t0 rests on p falling there.
    #[test]
    fn beyond_one_the_tables_agree_at_every_number_of_visits() {
        for m in [2, 3, 8, 13, 52] {
            let settled = Proof::VISITS_PER_CHUNK * u64::from(m);
            for n in first(1..settled, |n| sure_threshold(n, m) > 1)..settled + 20 {
                let most = Proof::against(m).most_hot_chunks(n);
                agrees(m, n, most);
                agrees(m, n, most + 1);
            }
        }
    }

    /// And one least n for each k would be wrong: p rises where t0 steps up.
    #[test]
    fn more_visits_can_prove_less_where_the_threshold_steps_up() {
        let proof = Proof::against(154);
        assert_eq!([809, 810].map(|n| sure_threshold(n, 154)), [1, 2]);
        let [before, after] = [809, 810].map(|n| proof.most_hot_chunks(n));
        assert!(after < before, "{after} and {before}");
    }

    #[test]
    fn forty_eight_visits_a_chunk_prove_everything() {
        for m in 2..=512 {
            let settled = Proof::VISITS_PER_CHUNK * u64::from(m);
            for n in [settled, settled + 7, 11 * settled] {
                let p = p_value(n, m - 1, m);
                assert!((0.0001..0.000101).contains(&p), "{p} for {n} on {m}");
            }
        }
    }

    #[test]
    fn tables_are_sorted_and_small() {
        for m in (2..=512).step_by(17) {
            let steps = &Proof::against(m).steps;
            assert_eq!(steps[0], Step { visits: 1, most_hot_chunks: 0 });
            assert!(steps.is_sorted_by(|a, b| a.visits < b.visits), "{m}");
            assert_eq!(steps.last().unwrap().most_hot_chunks, m - 1);
            assert!(steps.len() < 700, "{} steps for {m}", steps.len());
        }
    }

    fn fraction(order: u8, hot_chunks: usize, each: u32) -> HotFraction {
        let order = ChunkOrder::try_new(order).unwrap();
        let mut counters = [0; PAGES_PER_FOLIO];
        for chunk in 0..hot_chunks {
            counters[chunk * order.pages_per_chunk()] = each;
        }
        hot_fraction(&counters, order).unwrap()
    }

    #[test]
    fn verdicts_are_tested_in_order() {
        use Span::{Long, NotAsked, Short};
        use Verdict::{Filtered, Hot, Sparse, Undersampled, Unsplittable};
        // order, threshold, hot chunks, accesses on each, span, filtered
        let cases: &[(u8, u8, usize, u32, Span, bool, Verdict)] = &[
            (0, 30, 3, 100, Long, true, Filtered),
            (0, 0, 3, 100, Long, true, Filtered),
            (0, 30, 512, 100, Long, true, Filtered),
            (0, 0, 3, 100, Long, false, Unsplittable),
            (9, 30, 1, 100, Long, false, Unsplittable),
            (9, 100, 1, 100, Long, false, Unsplittable),
            (8, 51, 1, 100, Long, false, Sparse),
            (0, 30, 154, 1, Long, false, Hot),
            (0, 30, 154, 1, Short, false, Hot),
            (0, 30, 153, 1, Long, false, Undersampled),
            (0, 30, 153, 100, Long, false, Sparse),
            (0, 30, 153, 100, NotAsked, false, Sparse),
            (0, 30, 153, 100, Short, false, Undersampled),
            (0, 30, 1, 1, NotAsked, false, Undersampled),
            (0, 100, 511, 100, Long, false, Sparse),
            (0, 100, 512, 1, Long, false, Hot),
            // m is 10, and p = 10^(1 - n): exactly 1/1000 is still enough.
            (4, 30, 1, 3, Long, false, Undersampled),
            (4, 30, 1, 4, Long, false, Sparse),
        ];
        assert_eq!(judge(4, 30).min_hot_chunks(), 10);
        for (index, (order, threshold, chunks, each, span, filtered, want)) in
            cases.iter().enumerate()
        {
            let hot = fraction(*order, *chunks, *each);
            let accesses = *chunks as u64 * u64::from(*each);
            let judge = judge(*order, *threshold);
            let got = judge.verdict(&hot, accesses, hot.hot_chunks, *span, *filtered);
            assert_eq!(got, *want, "case {index}");
        }
    }

    #[test]
    fn m_of_at_most_one_is_unsplittable_whatever_the_accesses() {
        for order in 0..=9 {
            for threshold in 0..=100 {
                let judge = judge(order, threshold);
                let verdict = judge.verdict(&fraction(order, 1, 1000), 1000, 1, Span::Long, false);
                let floor = 100 / ChunkOrder::try_new(order).unwrap().chunks();
                let unsplittable = u32::from(threshold) <= floor;
                assert_eq!(unsplittable, judge.min_hot_chunks() <= 1);
                let want = if unsplittable { Verdict::Unsplittable } else { Verdict::Sparse };
                assert_eq!(verdict, want, "order {order}, {threshold} %");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_interface() {
        let names: Vec<String> = Verdict::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["filtered", "unsplittable", "hot", "sparse", "undersampled"]);
        assert_eq!(format!("{:>8}|", Verdict::Hot), "     hot|");
    }

    #[test]
    fn threads_may_share_a_judge() {
        fn shared<T: Sync + Send + Copy>() {}
        shared::<Judge>();
    }

    const ORDERS: [u8; 4] = [0, 2, 4, 6];
    const THRESHOLDS: [u8; 4] = [10, 30, 50, 90];

    /// The judges at these orders and thresholds that ever call anything sparse: all but one.
    fn splitting_judges() -> Vec<Judge> {
        let all = ORDERS.iter().flat_map(|order| THRESHOLDS.map(|percent| judge(*order, percent)));
        let judges: Vec<Judge> = all.filter(|judge| judge.min_hot_chunks() > 1).collect();
        assert_eq!(judges.len(), 15);
        judges
    }

    /// 0.1 % and four standard deviations of a share seen in `trials` trials, and one trial more:
    /// their number is small.
    fn tolerated(trials: u32) -> f64 {
        let share = SIGNIFICANCE;
        share + 4.0 * (share * (1.0 - share) / f64::from(trials)).sqrt() + 1.0 / f64::from(trials)
    }

    fn is_sparse(judge: &Judge, counters: &[u32; PAGES_PER_FOLIO]) -> bool {
        let accesses = counters.iter().copied().map(u64::from).sum();
        hot_fraction(counters, judge.order).is_some_and(|hot| {
            judge.verdict(&hot, accesses, hot.hot_chunks, Span::NotAsked, false) == Verdict::Sparse
        })
    }

    /// All numbers of accesses up to `dense`, then ever fewer, up to 10,000.
    fn accesses_to_try(dense: u64) -> Vec<u64> {
        let thin = core::iter::successors(Some(dense + 1), |n| Some(n + n / 12));
        (1..=dense).chain(thin.take_while(|n| *n < 10_000)).chain([10_000]).collect()
    }

    /// In how many of `trials` blocks the verdict after each number of accesses was sparse.
    /// `page` draws the page of one access.
    fn sparse_after(
        judge: &Judge,
        grid: &[u64],
        trials: u32,
        mut page: impl FnMut() -> usize,
    ) -> Vec<u32> {
        let mut sparse = vec![0; grid.len()];
        for _ in 0..trials {
            let mut counters = [0; PAGES_PER_FOLIO];
            let mut accesses = 0;
            for (sparse, n) in sparse.iter_mut().zip(grid) {
                for _ in accesses..*n {
                    counters[page()] += 1;
                }
                accesses = *n;
                *sparse += u32::from(is_sparse(judge, &counters));
            }
        }
        sparse
    }

    #[test]
    fn evenly_hot_blocks_are_called_sparse_in_at_most_one_in_a_thousand() {
        const TRIALS: u32 = 500;
        for judge in splitting_judges() {
            let m = judge.min_hot_chunks;
            let mut grid = accesses_to_try(40);
            for threshold in 1..7 {
                let step = first(2..10_000, |n| sure_threshold(n, m) > threshold);
                grid.extend([step - 1, step]);
            }
            grid.sort_unstable();
            grid.dedup();
            let mut rng = Rng(m.into());
            // m chunks are the least that must not be called sparse, and the hardest.
            let hot_pages = m as usize * judge.order.pages_per_chunk();
            let sparse = sparse_after(&judge, &grid, TRIALS, || rng.below(hot_pages));
            for (n, sparse) in grid.iter().zip(sparse) {
                let share = f64::from(sparse) / f64::from(TRIALS);
                assert!(share <= tolerated(TRIALS), "{share} after {n} visits, m {m}");
            }
        }
    }

    #[test]
    fn evenly_hot_blocks_are_called_sparse_in_at_most_one_in_a_thousand_after_cooling() {
        const TRIALS: u32 = 200;
        for judge in splitting_judges() {
            let m = judge.min_hot_chunks as usize;
            let mut rng = Rng(m as u64);
            // All pages of the hot chunks, or only the first of each.
            for pages in [judge.order.pages_per_chunk(), 1] {
                for batch in [2, 5, 7, 30, 100, 300, 1000] {
                    let mut sparse = [0_u32; 18];
                    for _ in 0..TRIALS {
                        let mut counters = [0; PAGES_PER_FOLIO];
                        for [before, after] in sparse.as_chunks_mut().0 {
                            for _ in 0..batch {
                                let chunk = rng.below(m) * judge.order.pages_per_chunk();
                                counters[chunk + rng.below(pages)] += 1;
                            }
                            *before += u32::from(is_sparse(&judge, &counters));
                            counters.iter_mut().for_each(|count| *count >>= 1);
                            *after += u32::from(is_sparse(&judge, &counters));
                        }
                    }
                    for (step, sparse) in sparse.into_iter().enumerate() {
                        let share = f64::from(sparse) / f64::from(TRIALS);
                        let coolings = step.div_ceil(2);
                        assert!(
                            share <= tolerated(TRIALS),
                            "{share} after {coolings} coolings of batches of {batch}, {judge:?}"
                        );
                    }
                }
            }
        }
    }

    /// The first number of visits that can prove "fewer than m" with so many hot chunks.
    fn first_proof(judge: &Judge, hot_chunks: u32) -> Option<u64> {
        (1..2000).find(|visits| judge.proves(*visits, hot_chunks))
    }

    /// Three hot pages far apart and 2 % of the visits anywhere: sparse in 90 % from the first visits
    /// on that can prove it, and always from 20, where the numbers of chunks allow it. Where m is
    /// close to the 3 hot chunks they do not (m = 3: the block is hot; m = 4: 3 of 4 chunks after 5
    /// visits have p = 0.77); what holds there is written down.
    #[test]
    fn three_hot_pages_are_called_sparse() {
        const TRIALS: u32 = 250;
        const NEVER: u64 = u64::MAX;
        // order, threshold, m, 90 % from, always from
        let later: &[(u8, u8, u32, u64, u64)] = &[
            (2, 10, 13, 13, 60),
            (2, 30, 39, 9, 20),
            (2, 50, 64, 9, 20),
            (4, 10, 4, 60, 200),
            (4, 30, 10, 15, 30),
            (4, 50, 16, 12, 30),
            (4, 90, 29, 10, 20),
            (6, 10, 1, NEVER, NEVER),
            (6, 30, 3, NEVER, NEVER),
            (6, 50, 4, 60, 200),
            (6, 90, 8, 19, 60),
        ];
        let grid = accesses_to_try(60);
        for order in ORDERS {
            for threshold in THRESHOLDS {
                let judge = judge(order, threshold);
                let m = judge.min_hot_chunks();
                let first = first_proof(&judge, 3).unwrap_or(NEVER);
                let exception = later.iter().find(|row| (row.0, row.1) == (order, threshold));
                let (mostly, always) = exception.map_or((first, 20), |row| (row.3, row.4));
                assert!(exception.is_none_or(|row| row.2 == m));
                let mut rng = Rng(u64::from(threshold) << 8 | u64::from(order));
                let page = || match rng.below(100) {
                    0..2 => rng.below(PAGES_PER_FOLIO),
                    _ => rng.below(3) * 170,
                };
                let sparse = sparse_after(&judge, &grid, TRIALS, page);
                for (n, sparse) in grid.iter().zip(&sparse) {
                    let share = f64::from(*sparse) / f64::from(TRIALS);
                    assert!(*n < mostly || share >= 0.9, "{share} after {n}, m {m}");
                    assert!(*n < always || share == 1.0, "{share} after {n}, m {m}");
                    assert!(mostly < NEVER || share < 0.05, "{share} after {n}, m {m}");
                }
                // An exception that is none any more should leave the list.
                let shares = grid.iter().zip(&sparse).filter(|(n, _)| (first..mostly).contains(n));
                let late =
                    shares.filter(|(_, sparse)| f64::from(**sparse) < 0.9 * f64::from(TRIALS));
                assert_eq!(late.count() > 0, mostly < NEVER && exception.is_some(), "m {m}");
            }
        }
    }

    /// The first visits that can prove anything of three hot pages, at the kernel's threshold.
    #[test]
    fn six_visits_can_prove_that_three_pages_are_not_a_hundred_and_fifty_four() {
        assert_eq!(first_proof(&judge(0, 30), 3), Some(6));
    }

    #[test]
    fn forty_hot_pages_are_called_sparse_from_a_hundred_and_twenty_visits_on() {
        for threshold in THRESHOLDS {
            let judge = judge(0, threshold);
            // Not a matter of chance: 40 pages never show more than 40 hot chunks.
            for n in 120..10_000 {
                assert!(
                    judge.proof.unwrap().most_hot_chunks(n) >= 40,
                    "{n}, m {}",
                    judge.min_hot_chunks
                );
            }
            let mut rng = Rng(threshold.into());
            let grid = [120, 121, 140, 200, 500, 1000, 9000];
            let sparse = sparse_after(&judge, &grid, 30, || 7 + rng.below(40));
            assert_eq!(sparse, [30; 7], "{judge:?}");
        }
    }
}
