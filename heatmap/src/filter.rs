//! The two-pass filter: which chunks of a block are hot, against the block's own peak.
//!
//! The arithmetic is the kernel's, in unsigned 64-bit integers. With counters `c[0..512]` and
//! order `n`:
//!
//! ```text
//! chunks   = 512 >> n
//! sum[i]   = c[i << n] + ... + c[((i + 1) << n) - 1]
//! peak     = max(sum)                                    first pass
//! thresh   = max(peak / 10, 1)                           integer division
//! hot[i]   = sum[i] >= thresh                            second pass
//! percent  = popcount(hot) * 100 / chunks                integer division, 0..=100
//! ```
//!
//! The peak chunk is always hot, so `percent` has a floor: 12 at order 6, 25 at order 7, 50 at
//! order 8, 100 at order 9. A threshold at or below the floor is never met
//! ([`HotThreshold::min_hot_chunks`] is then at most 1).

use core::fmt;
use core::iter::Sum;
use core::ops::Div;
use core::str::FromStr;

use decoder::PAGES_PER_FOLIO;

/// Words of 64 bits in a bitmap of 512.
const WORDS: usize = PAGES_PER_FOLIO / 64;

/// log2 of the base pages in one chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkOrder(u8); // in [0, 9]

/// A chunk order outside 0..=9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk order is a number from 0 to 9")]
pub struct InvalidOrder;

impl ChunkOrder {
    /// One chunk, the whole block.
    pub const MAX: Self = Self(9);

    /// Takes orders from 0 (one page a chunk) to 9 (one chunk a block).
    ///
    /// # Errors
    /// If `order` is above 9.
    pub const fn try_new(order: u8) -> Result<Self, InvalidOrder> {
        if order <= Self::MAX.0 { Ok(Self(order)) } else { Err(InvalidOrder) }
    }

    /// Every order, smallest chunks first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=Self::MAX.0).map(Self)
    }

    /// The order, in 0..=9.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Chunks in one block: 512 at order 0, 1 at order 9.
    pub const fn chunks(self) -> u32 {
        512 >> self.0
    }

    /// Base pages in one chunk: 1 at order 0, 512 at order 9.
    pub const fn pages_per_chunk(self) -> usize {
        1 << self.0
    }
}

impl TryFrom<u32> for ChunkOrder {
    type Error = InvalidOrder;

    fn try_from(order: u32) -> Result<Self, InvalidOrder> {
        Self::try_new(u8::try_from(order).map_err(|_| InvalidOrder)?)
    }
}

impl FromStr for ChunkOrder {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, InvalidOrder> {
        Self::try_new(text.parse().map_err(|_| InvalidOrder)?)
    }
}

impl fmt::Display for ChunkOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The percent of hot chunks from which on a block counts as hot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HotThreshold(u8); // in [0, 100]

/// A threshold outside 0..=100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hot threshold is a whole percent from 0 to 100")]
pub struct InvalidThreshold;

impl HotThreshold {
    /// Takes whole percents from 0 to 100.
    ///
    /// # Errors
    /// If `percent` is above 100.
    pub const fn try_new(percent: u8) -> Result<Self, InvalidThreshold> {
        if percent <= 100 { Ok(Self(percent)) } else { Err(InvalidThreshold) }
    }

    /// The percent, in 0..=100.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The least number `m` of hot chunks that reaches the threshold: the least `m` with
    /// `m * 100 / chunks >= threshold`, in 0..=`chunks`.
    ///
    /// At most 1 means that no block with data stays below the threshold.
    pub const fn min_hot_chunks(self, order: ChunkOrder) -> u32 {
        // For whole thresholds the rounded quotient reaches it exactly when the ratio does.
        (self.0 as u32 * order.chunks()).div_ceil(100)
    }
}

/// 30 percent, the kernel's default.
impl Default for HotThreshold {
    fn default() -> Self {
        Self(30)
    }
}

impl TryFrom<u32> for HotThreshold {
    type Error = InvalidThreshold;

    fn try_from(percent: u32) -> Result<Self, InvalidThreshold> {
        Self::try_new(u8::try_from(percent).map_err(|_| InvalidThreshold)?)
    }
}

impl FromStr for HotThreshold {
    type Err = InvalidThreshold;

    fn from_str(text: &str) -> Result<Self, InvalidThreshold> {
        Self::try_new(text.parse().map_err(|_| InvalidThreshold)?)
    }
}

impl fmt::Display for HotThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The set of a block's hot chunks; bit `i` is chunk `i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HotBitmap([u64; WORDS]); // bits from `chunks` on are clear

impl HotBitmap {
    /// Whether chunk `chunk` is hot; false from the number of chunks on.
    pub fn contains(&self, chunk: usize) -> bool {
        self.0.get(chunk / 64).is_some_and(|word| word >> (chunk % 64) & 1 == 1)
    }

    /// The number of hot chunks, in 0..=512.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The indices of the hot chunks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let bitmap = *self;
        (0..PAGES_PER_FOLIO).filter(move |chunk| bitmap.contains(*chunk))
    }

    /// The set as lower-case hexadecimal without `0x`: exactly max(1, chunks / 4) digits, most
    /// significant first, bit 0 is chunk 0.
    pub fn to_hex(&self, order: ChunkOrder) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = (order.chunks() as usize / 4).max(1);
        let nibble = |digit: usize| (self.0[digit / 16] >> (digit % 16 * 4) & 0xf) as usize;
        (0..digits).rev().map(|digit| char::from(DIGITS[nibble(digit)])).collect()
    }
}

/// What the filter says about one block at one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HotFraction {
    /// The accesses of the hottest chunk, in 1..2^41.
    pub peak: u64,
    /// The accesses from which on a chunk is hot: max(peak / 10, 1), rounded down.
    pub threshold: u64,
    /// The hot chunks.
    pub bitmap: HotBitmap,
    /// How many chunks are hot, in 1..=`chunks`.
    pub hot_chunks: u32,
    /// How many chunks a block has at this order.
    pub chunks: u32,
}

impl HotFraction {
    /// The hot chunks in percent, rounded down, in 0..=100.
    pub fn percent(&self) -> u32 {
        self.hot_chunks * 100 / self.chunks
    }

    /// Whether the kernel's rule alone would split the block. It proves nothing when the
    /// accesses are few: that is what [`Judge`](crate::Judge) is for.
    pub fn is_below(&self, threshold: HotThreshold) -> bool {
        self.percent() < u32::from(threshold.get())
    }
}

/// Calls a function for the chunk size of an order, which is a constant inside of it, so that sums
/// become vector instructions.
macro_rules! for_chunk_size {
    ($order:expr, $function:ident($($argument:expr),*)) => {
        match $order.get() {
            0 => $function::<1>($($argument),*),
            1 => $function::<2>($($argument),*),
            2 => $function::<4>($($argument),*),
            3 => $function::<8>($($argument),*),
            4 => $function::<16>($($argument),*),
            5 => $function::<32>($($argument),*),
            6 => $function::<64>($($argument),*),
            7 => $function::<128>($($argument),*),
            8 => $function::<256>($($argument),*),
            _ => $function::<512>($($argument),*),
        }
    };
}

/// The filter of the module's documentation for one block, or `None` without accesses: "no data"
/// is not 0 %.
///
/// Costs about a microsecond at order 0, less at higher ones, and does not allocate.
pub fn hot_fraction(counters: &[u32; PAGES_PER_FOLIO], order: ChunkOrder) -> Option<HotFraction> {
    for_chunk_size!(order, filter(counters, order))
}

/// Of these counters those outside of the hot chunks, and the hot chunks that have one count only.
/// `hot` is what [`hot_fraction`] says of them at this order.
pub(crate) fn cold_visits(
    counters: &[u32; PAGES_PER_FOLIO],
    order: ChunkOrder,
    hot: &HotFraction,
) -> u64 {
    // A chunk with one count adds 1 either way.
    let least = hot.threshold.max(2);
    for_chunk_size!(order, below(counters, least))
}

/// The sum of all chunks with less than `least`.
fn below<const PAGES_PER_CHUNK: usize>(counters: &[u32; PAGES_PER_FOLIO], least: u64) -> u64 {
    let (chunks, _) = counters.as_chunks::<PAGES_PER_CHUNK>();
    match u32::try_from(least) {
        // No page of such a chunk has more, and neither has their sum: 32 bits hold all of it.
        Ok(least) if least < 1 << 20 => {
            let most = least.saturating_sub(1);
            let sums = chunks.iter().map(|chunk| {
                let capped = |count: &u32| (*count).min(least);
                let sum: u32 = chunk.iter().map(capped).sum();
                if sum <= most { sum } else { 0 }
            });
            sums.sum::<u32>().into()
        }
        _ => {
            let sum = |chunk: &[u32; PAGES_PER_CHUNK]| chunk.iter().copied().map(u64::from).sum();
            chunks.iter().map(sum).filter(|sum: &u64| *sum < least).sum()
        }
    }
}

fn filter<const PAGES_PER_CHUNK: usize>(
    counters: &[u32; PAGES_PER_FOLIO],
    order: ChunkOrder,
) -> Option<HotFraction> {
    debug_assert_eq!(PAGES_PER_CHUNK, order.pages_per_chunk());
    let (chunks, _) = counters.as_chunks::<PAGES_PER_CHUNK>();

    // Sums that 32 bits hold, which is what there is almost always, take half the time.
    let greatest = counters.iter().copied().max().unwrap_or(0);
    let (peak, threshold, bitmap) =
        match u32::try_from(u64::from(greatest) * PAGES_PER_CHUNK as u64) {
            Ok(_) => hot::<u32, PAGES_PER_CHUNK>(chunks),
            Err(_) => hot::<u64, PAGES_PER_CHUNK>(chunks),
        };
    if peak == 0 {
        return None;
    }
    let hot_chunks = bitmap.count();
    Some(HotFraction { peak, threshold, bitmap, hot_chunks, chunks: order.chunks() })
}

/// Peak, threshold and hot chunks. `T` holds the sum of any chunk.
fn hot<T, const PAGES_PER_CHUNK: usize>(chunks: &[[u32; PAGES_PER_CHUNK]]) -> (u64, u64, HotBitmap)
where
    T: Copy + Default + Ord + From<u8> + From<u32> + Into<u64> + Div<Output = T> + Sum,
{
    let mut sums = [T::default(); PAGES_PER_FOLIO];
    for (sum, pages) in sums.iter_mut().zip(chunks) {
        *sum = pages.iter().copied().map(T::from).sum();
    }
    let peak = sums.iter().copied().max().unwrap_or_default();
    // At least 1: the sums beyond the last chunk are 0 and never hot.
    let threshold = (peak / T::from(10_u8)).max(T::from(1_u8));
    let mut bitmap = HotBitmap::default();
    for (word, sums) in bitmap.0.iter_mut().zip(sums.as_chunks::<64>().0) {
        // A byte for each chunk first, which compares many at once, then a bit of each byte.
        let is_hot = sums.map(|sum| u8::from(sum >= threshold));
        for (place, eight) in is_hot.as_chunks::<8>().0.iter().enumerate() {
            *word |= bits(u64::from_le_bytes(*eight)) << (8 * place);
        }
    }
    (peak.into(), threshold.into(), bitmap)
}

/// The lowest bits of eight bytes that are 0 or 1, the first one lowest.
const fn bits(bytes: u64) -> u64 {
    // Byte i is 2^8i; the factor has 2^(7k) for k in 1..=8. With k = 8 - i that makes 2^(56 + i),
    // and no other sum of two such exponents is the same, so that nothing is carried.
    bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_of_bytes() {
        for wanted in 0..256_u64 {
            let bytes: [u8; 8] = core::array::from_fn(|bit| (wanted >> bit & 1) as u8);
            assert_eq!(bits(u64::from_le_bytes(bytes)), wanted);
        }
    }

    /// The filter as sentences about ratios, without any of the arithmetic above.
    struct Naive {
        peak: u128,
        hot: Vec<usize>,
        percent: u128,
    }

    fn naive(counters: &[u32], order: u8) -> Option<Naive> {
        let width = 2_usize.pow(order.into());
        let mut sums = vec![0_u128; counters.len() / width];
        for (page, count) in counters.iter().enumerate() {
            sums[page / width] += u128::from(*count);
        }
        let peak = sums.iter().copied().max().filter(|peak| *peak > 0)?;
        // sum >= floor(peak / 10)  <=>  sum + 1 > peak / 10  <=>  10 * (sum + 1) > peak
        let hot: Vec<usize> =
            (0..sums.len()).filter(|i| sums[*i] > 0 && 10 * (sums[*i] + 1) > peak).collect();
        // The greatest whole percent that the ratio reaches.
        let reached = |percent: &u128| percent * sums.len() as u128 <= 100 * hot.len() as u128;
        let percent = (0..=100).rev().find(reached)?;
        Some(Naive { peak, hot, percent })
    }

    fn array(counters: &[u32]) -> [u32; PAGES_PER_FOLIO] {
        counters.try_into().unwrap()
    }

    fn check(counters: &[u32]) {
        for order in ChunkOrder::all() {
            let got = hot_fraction(&array(counters), order);
            let want = naive(counters, order.get());
            assert_eq!(got.is_some(), want.is_some(), "order {order}");
            let (Some(got), Some(want)) = (got, want) else { continue };
            assert_eq!(u128::from(got.peak), want.peak, "order {order}");
            assert_eq!(got.threshold, (got.peak / 10).max(1), "order {order}");
            assert_eq!(got.bitmap.iter().collect::<Vec<_>>(), want.hot, "order {order}");
            assert_eq!(got.hot_chunks as usize, want.hot.len(), "order {order}");
            assert_eq!(got.chunks as usize, 512 / order.pages_per_chunk());
            assert_eq!(u128::from(got.percent()), want.percent, "order {order}");
            for chunk in 0..600 {
                assert_eq!(got.bitmap.contains(chunk), want.hot.contains(&chunk));
            }
            let sums = counters.chunks(order.pages_per_chunk());
            let sums = sums.map(|pages| pages.iter().map(|count| u64::from(*count)).sum::<u64>());
            let cold = sums.enumerate().map(|(chunk, sum)| match want.hot.contains(&chunk) {
                true => u64::from(sum == 1),
                false => sum,
            });
            let cold: u64 = cold.sum();
            assert_eq!(cold_visits(&array(counters), order, &got), cold, "order {order}");
        }
    }

    /// Counters of one block: how many pages are touched, and how often, vary over all scales.
    fn counters() -> impl Strategy<Value = Vec<u32>> {
        let count = prop_oneof![
            Just(0_u32),
            Just(1),
            8_u32..=12,
            0_u32..=120,
            (0_u32..=32).prop_map(|bits| u32::try_from((1_u64 << bits) - 1).unwrap()),
        ];
        (0_usize..=512, count.clone()).prop_flat_map(move |(touched, most)| {
            let touch = (0..PAGES_PER_FOLIO, prop_oneof![count.clone(), 0..=most]);
            prop::collection::vec(touch, touched).prop_map(|touches| {
                let mut counters = vec![0; PAGES_PER_FOLIO];
                for (page, count) in touches {
                    counters[page] = count;
                }
                counters
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 2))]

        #[test]
        fn the_filter_equals_the_naive_one(counters in counters()) {
            check(&counters);
        }

        #[test]
        fn peaks_around_ten_accesses_equal_the_naive_filter(
            peak in prop::sample::select(vec![1_u32, 9, 10, 11, 19, 20, 21]),
            at in 0..PAGES_PER_FOLIO,
            seed in prop::collection::vec(0_u32..=21, PAGES_PER_FOLIO),
        ) {
            let mut counters: Vec<u32> = seed.into_iter().map(|count| count.min(peak)).collect();
            counters[at] = peak;
            check(&counters);
        }
    }

    #[test]
    fn the_threshold_is_a_tenth_of_the_peak_but_at_least_one() {
        // (peak page, other page, third page) -> threshold, hot chunks at order 0
        let cases: &[([u32; 3], u64, u32)] = &[
            ([1, 0, 0], 1, 1),
            ([9, 1, 0], 1, 2),
            ([10, 1, 1], 1, 3),
            ([11, 1, 0], 1, 2),
            ([19, 1, 1], 1, 3),
            ([20, 1, 2], 2, 2),
            ([29, 2, 1], 2, 2),
            ([30, 2, 3], 3, 2),
            ([u32::MAX, 429_496_728, 429_496_729], 429_496_729, 2),
        ];
        for (pages, threshold, hot_chunks) in cases {
            let mut counters = [0; PAGES_PER_FOLIO];
            counters[5] = pages[0];
            counters[100] = pages[1];
            counters[511] = pages[2];
            let got = hot_fraction(&counters, ChunkOrder(0)).unwrap();
            assert_eq!((got.threshold, got.hot_chunks), (*threshold, *hot_chunks), "{pages:?}");
        }
    }

    #[test]
    fn a_block_without_accesses_has_no_fraction() {
        for order in ChunkOrder::all() {
            assert_eq!(hot_fraction(&[0; PAGES_PER_FOLIO], order), None);
        }
    }

    #[test]
    fn saturated_counters_do_not_overflow() {
        let got = hot_fraction(&[u32::MAX; PAGES_PER_FOLIO], ChunkOrder::MAX).unwrap();
        assert_eq!(got.peak, 512 * u64::from(u32::MAX));
        assert_eq!((got.hot_chunks, got.chunks, got.percent()), (1, 1, 100));
    }

    #[test]
    fn one_access_shows_the_floor_of_each_order() {
        let mut counters = [0; PAGES_PER_FOLIO];
        counters[300] = 1;
        let floors: Vec<u32> = ChunkOrder::all()
            .map(|order| hot_fraction(&counters, order).unwrap().percent())
            .collect();
        assert_eq!(floors, [0, 0, 0, 1, 3, 6, 12, 25, 50, 100]);
    }

    #[test]
    fn the_least_number_of_hot_chunks_is_the_least() {
        for order in ChunkOrder::all() {
            for percent in 0..=100 {
                let threshold = HotThreshold::try_new(percent).unwrap();
                let reached = |hot: u32| hot * 100 / order.chunks() >= u32::from(percent);
                let least = (0..=order.chunks()).find(|hot| reached(*hot)).unwrap();
                assert_eq!(threshold.min_hot_chunks(order), least, "order {order}, {percent} %");
            }
        }
    }

    #[test]
    fn below_the_threshold_is_fewer_hot_chunks_than_the_least_number() {
        for order in ChunkOrder::all() {
            for percent in 0..=100 {
                let threshold = HotThreshold::try_new(percent).unwrap();
                for hot_chunks in 1..=order.chunks() {
                    let bitmap = HotBitmap::default();
                    let chunks = order.chunks();
                    let hot = HotFraction { peak: 1, threshold: 1, bitmap, hot_chunks, chunks };
                    assert_eq!(
                        hot.is_below(threshold),
                        hot_chunks < threshold.min_hot_chunks(order)
                    );
                }
            }
        }
    }

    #[test]
    fn orders_and_thresholds_know_their_range() {
        assert_eq!(
            ChunkOrder::all().map(ChunkOrder::get).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        );
        assert_eq!(ChunkOrder::try_new(9), Ok(ChunkOrder::MAX));
        assert_eq!(ChunkOrder::try_new(10), Err(InvalidOrder));
        assert_eq!(ChunkOrder::try_from(9_u32), Ok(ChunkOrder::MAX));
        assert_eq!(ChunkOrder::try_from(256_u32), Err(InvalidOrder));
        assert_eq!(HotThreshold::try_new(100).map(HotThreshold::get), Ok(100));
        assert_eq!(HotThreshold::try_new(101), Err(InvalidThreshold));
        assert_eq!(HotThreshold::try_from(256_u32), Err(InvalidThreshold));
        assert_eq!(HotThreshold::default().get(), 30);
        for text in ["", "10", "-1", "1.5", "x", "256", " 1"] {
            assert_eq!(text.parse::<ChunkOrder>(), Err(InvalidOrder), "{text:?}");
        }
        for text in ["", "101", "-1", "30%", "x", "300"] {
            assert_eq!(text.parse::<HotThreshold>(), Err(InvalidThreshold), "{text:?}");
        }
        for order in ChunkOrder::all() {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for percent in 0..=100 {
            let threshold = HotThreshold::try_new(percent).unwrap();
            assert_eq!(threshold.to_string(), percent.to_string());
            assert_eq!(threshold.to_string().parse(), Ok(threshold));
        }
    }

    #[test]
    fn hexadecimal_has_a_digit_for_every_four_chunks() {
        let mut low = [0; PAGES_PER_FOLIO];
        low[0] = 1;
        let mut high = [0; PAGES_PER_FOLIO];
        high[511] = 1;
        let cases: &[(u8, usize, &str, &str)] = &[
            // order, digits, first digit when the last chunk is hot, last digit when chunk 0 is
            (0, 128, "8", "1"),
            (1, 64, "8", "1"),
            (2, 32, "8", "1"),
            (3, 16, "8", "1"),
            (4, 8, "8", "1"),
            (5, 4, "8", "1"),
            (6, 2, "8", "1"),
            (7, 1, "8", "1"),
            (8, 1, "2", "1"),
            (9, 1, "1", "1"),
        ];
        for (order, digits, first, last) in cases {
            let order = ChunkOrder::try_new(*order).unwrap();
            let hex = |counters| hot_fraction(counters, order).unwrap().bitmap.to_hex(order);
            assert_eq!(hex(&high), format!("{first:0<digits$}"), "order {order}");
            assert_eq!(hex(&low), format!("{last:0>digits$}"), "order {order}");
        }

        let mut counters = [0; PAGES_PER_FOLIO];
        for chunk in [1, 3, 4, 7, 10, 31] {
            counters[chunk * 16] = 7;
        }
        let order = ChunkOrder::try_new(4).unwrap();
        let bitmap = hot_fraction(&counters, order).unwrap().bitmap;
        assert_eq!(bitmap.to_hex(order), "8000049a");
        assert_eq!(bitmap.iter().collect::<Vec<_>>(), [1, 3, 4, 7, 10, 31]);
        assert_eq!(bitmap.count(), 6);
    }
}
