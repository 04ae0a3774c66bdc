//! How long accesses took: a count for each latency, or for each small range of them.

use hdrhistogram::Histogram;

/// Long latencies are told apart to one part in a thousand, up to what 32 bits hold.
const DIGITS: u8 = 3;
/// Latencies in cycles below this are most of all.
const SHORT: usize = 1 << 11;

/// Latencies in cycles, each above 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    /// How often each latency below [`SHORT`] was seen, unless it is in `others`.
    short: Box<[u32; SHORT]>,
    /// All others. Only what was seen is recorded here: a latency recorded 0 times would count
    /// as the least or greatest one.
    others: Histogram<u64>,
    /// The least and the greatest of `others`, exactly; without any, the least is the greater.
    ends: (u32, u32),
}

impl Default for Latencies {
    fn default() -> Self {
        let others = Histogram::new_with_bounds(1, u64::from(u32::MAX), DIGITS).expect("1 < 2^32");
        Self { short: Box::new([0; SHORT]), others, ends: (u32::MAX, 0) }
    }
}

impl Latencies {
    /// Takes in a latency; 0 stands for none and is left out.
    #[inline]
    pub(crate) fn add(&mut self, latency: u32) {
        if latency == 0 {
            return;
        }
        match self.short.get_mut(latency as usize) {
            Some(count) if *count < u32::MAX => *count += 1,
            _ => self.add_to_others(latency, 1),
        }
    }

    fn add_to_others(&mut self, latency: u32, times: u64) {
        self.others.saturating_record_n(latency.into(), times);
        self.ends = (self.ends.0.min(latency), self.ends.1.max(latency));
    }

    /// Takes in all that others took in.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.others.add(&other.others).expect("both have the same bounds");
        self.ends = (self.ends.0.min(other.ends.0), self.ends.1.max(other.ends.1));
        for (latency, &more) in (0..).zip(other.short.iter()).filter(|(_, more)| **more > 0) {
            let count = &mut self.short[latency as usize];
            match count.checked_add(more) {
                Some(sum) => *count = sum,
                None => self.add_to_others(latency, more.into()),
            }
        }
    }

    /// The short ones that were seen, ascending, and how often.
    fn seen(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> + '_ {
        // There are 2^11.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let counts = self.short.iter().enumerate().map(|(at, count)| (at as u32, (*count).into()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.seen().fold(self.others.len(), |sum, (_, count)| sum.saturating_add(count))
    }

    /// The least, exactly.
    pub fn min(&self) -> Option<u32> {
        let of_others = Some(self.ends.0).filter(|_| !self.others.is_empty());
        self.seen().map(|(latency, _)| latency).next().into_iter().chain(of_others).min()
    }

    /// The greatest, exactly.
    pub fn max(&self) -> Option<u32> {
        let of_others = Some(self.ends.1).filter(|_| !self.others.is_empty());
        self.seen().map(|(latency, _)| latency).next_back().into_iter().chain(of_others).max()
    }

    /// The least latency that `percent` of all, 1 to 100, do not exceed: the one of that rank in
    /// ascending order, rounded up to a whole rank. Below 2048 cycles it is exact; from there on
    /// it may be too great by less than one part in a thousand, but never exceeds
    /// [`Latencies::max`].
    pub fn percentile(&self, percent: u8) -> Option<u32> {
        let (min, max) = (self.min()?, self.max()?);
        let rank = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut parts: Vec<_> = self.seen().collect();
        parts.extend(self.others.iter_recorded().map(|part| {
            // The upper end of a range, which may lie beyond what 32 bits hold.
            let latency = u32::try_from(part.value_iterated_to()).unwrap_or(u32::MAX);
            (latency, part.count_since_last_iteration())
        }));
        parts.sort_unstable();
        let mut below = 0;
        let found = parts.into_iter().find(|(_, count)| {
            below += u128::from(*count);
            below >= rank
        });
        found.map(|(latency, _)| latency.clamp(min, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a list of latencies comes to, without a histogram.
    fn naive(latencies: &[u32]) -> Option<[u32; 5]> {
        let mut sorted: Vec<_> = latencies.iter().copied().filter(|one| *one > 0).collect();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        let last = sorted.last()?;
        Some([sorted[0], rank(50), rank(90), rank(99), *last])
    }

    fn told(latencies: &Latencies) -> Option<[u32; 5]> {
        let [p50, p90, p99] = [50, 90, 99].map(|percent| latencies.percentile(percent));
        Some([latencies.min()?, p50?, p90?, p99?, latencies.max()?])
    }

    /// Whether what is told is what there is, as exactly as promised.
    fn agree(told: Option<[u32; 5]>, want: Option<[u32; 5]>) -> bool {
        let (Some(told), Some(want)) = (told, want) else { return told == want };
        let near = |(told, want): (u32, u32)| {
            told == want || want >= 2048 && told > want && (told - want) as u64 * 1000 < want as u64
        };
        (told[0], told[4]) == (want[0], want[4])
            && told[1..4].iter().copied().zip(want[1..4].iter().copied()).all(near)
            && told[3] <= told[4]
    }

    #[test]
    fn what_was_never_seen_is_neither_least_nor_greatest() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.count(), told(&latencies)), (0, None));
        latencies.add(0);
        assert_eq!((latencies.count(), told(&latencies)), (0, None));
        for latency in 300..400 {
            latencies.add(latency);
        }
        assert_eq!((latencies.count(), told(&latencies)), (100, Some([300, 349, 389, 398, 399])));
        let mut shards = Latencies::default();
        shards.merge(&latencies);
        shards.merge(&Latencies::default());
        assert_eq!(told(&shards), told(&latencies));
    }

    #[test]
    fn a_full_slot_goes_on_counting_elsewhere() {
        let mut latencies = Latencies::default();
        latencies.short[7] = u32::MAX;
        latencies.add(7);
        latencies.add(9);
        let mut both = latencies.clone();
        both.merge(&latencies);
        assert_eq!((both.count(), told(&both)), (2 << 32 | 2, Some([7, 7, 7, 7, 9])));
    }

    #[test]
    fn the_greatest_latency_is_told_as_it_is() {
        let mut latencies = Latencies::default();
        latencies.add(u32::MAX);
        latencies.add(1_000_001);
        let want = [1_000_001, 1_000_001, u32::MAX, u32::MAX, u32::MAX];
        assert!(agree(told(&latencies), Some(want)), "{:?}", told(&latencies));
    }

    proptest! {
        #[test]
        fn a_list_of_latencies_says_the_same(
            latencies in prop::collection::vec(
                prop_oneof![
                    0..5_u32,
                    300..400_u32,
                    2040..2060_u32,
                    any::<u16>().prop_map(u32::from),
                    any::<u32>(),
                ],
                0..300,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut whole = Latencies::default();
            latencies.iter().for_each(|latency| whole.add(*latency));
            let want = naive(&latencies);
            prop_assert!(agree(told(&whole), want), "{:?} {:?}", told(&whole), want);
            prop_assert_eq!(whole.count(), latencies.iter().filter(|one| **one > 0).count() as u64);
            let (first, second) = latencies.split_at(cut.index(latencies.len() + 1));
            let [mut merged, mut other] = [Latencies::default(), Latencies::default()];
            first.iter().for_each(|latency| merged.add(*latency));
            second.iter().for_each(|latency| other.add(*latency));
            merged.merge(&other);
            prop_assert_eq!(told(&merged), told(&whole));
        }
    }
}
