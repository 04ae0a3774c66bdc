//! Colours: few fixed ones, and a scale from few accesses to many.

use heatmap::Verdict;

/// Steps of the scale.
pub(super) const STEPS: u8 = 240;

/// The colour map "viridis" at ten places: it grows brighter evenly, also for eyes that do not
/// tell all colours apart.
const VIRIDIS: [[u8; 3]; 10] = [
    [68, 1, 84],
    [72, 40, 120],
    [62, 74, 137],
    [49, 104, 142],
    [38, 130, 142],
    [31, 158, 137],
    [53, 183, 121],
    [109, 205, 89],
    [180, 222, 44],
    [253, 231, 37],
];

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Colour {
    /// The background.
    Paper,
    /// Text.
    Ink,
    /// Text that matters less.
    Quiet,
    /// Losses.
    Alarm,
    /// A page without accesses.
    Untouched,
    /// Verdicts.
    Hot,
    /// Sparse.
    Sparse,
    /// Neither.
    Unknown,
    /// A step of the scale, below [`STEPS`].
    Heat(u8),
}

impl Colour {
    /// All but those of the scale, in the order of their indexes.
    const FIXED: [Self; 8] = [
        Self::Paper,
        Self::Ink,
        Self::Quiet,
        Self::Alarm,
        Self::Untouched,
        Self::Hot,
        Self::Sparse,
        Self::Unknown,
    ];

    /// All colours, by [`Colour::index`].
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::FIXED.into_iter().chain((0..STEPS).map(Self::Heat))
    }

    /// Its place among all.
    pub(super) fn index(self) -> u8 {
        let at = |colour: Self| Self::FIXED.iter().zip(0..).find(|(known, _)| **known == colour);
        match self {
            Self::Heat(step) => step + 8,
            fixed => at(fixed).map_or(0, |(_, at)| at),
        }
    }

    pub(super) fn of_verdict(verdict: Option<Verdict>) -> Self {
        match verdict {
            Some(Verdict::Hot) => Self::Hot,
            Some(Verdict::Sparse) => Self::Sparse,
            _ => Self::Unknown,
        }
    }

    /// Red, green, blue.
    pub(super) fn rgb(self) -> [u8; 3] {
        match self {
            Self::Paper => [255, 255, 255],
            Self::Ink => [28, 29, 32],
            Self::Quiet => [93, 96, 104],
            Self::Alarm => [176, 24, 16],
            Self::Untouched => [230, 230, 226],
            Self::Hot => [213, 94, 0],
            Self::Sparse => [0, 114, 178],
            Self::Unknown => [190, 190, 190],
            Self::Heat(step) => {
                let exact = f64::from(step) / f64::from(STEPS - 1) * (VIRIDIS.len() - 1) as f64;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "in 0..=9"
                )]
                let low = exact as usize;
                let high = (low + 1).min(VIRIDIS.len() - 1);
                let part = exact - low as f64;
                core::array::from_fn(|at| {
                    let (low, high) = (f64::from(VIRIDIS[low][at]), f64::from(VIRIDIS[high][at]));
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "in 0..=255"
                    )]
                    let mixed = (low + (high - low) * part).round() as u8;
                    mixed
                })
            }
        }
    }
}

/// The colour of a page, where the hottest of all has `most` accesses: by the logarithm, since
/// counts differ by orders of magnitude.
pub(super) fn heat(count: u32, most: u32) -> Colour {
    if count == 0 {
        return Colour::Untouched;
    }
    let place = if most > 1 { f64::from(count).ln() / f64::from(most).ln() } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..STEPS")]
    let step = (place.clamp(0.0, 1.0) * f64::from(STEPS - 1)).round() as u8;
    Colour::Heat(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_grows_brighter() {
        let bright = |colour: Colour| {
            let [red, green, blue] = colour.rgb().map(f64::from);
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        let scale: Vec<_> = (0..STEPS).map(|step| bright(Colour::Heat(step))).collect();
        assert!(scale.is_sorted_by(|a, b| a <= b));
        assert!(scale[usize::from(STEPS) - 1] > scale[0] + 150.0);
    }

    #[test]
    fn every_colour_has_an_index_of_its_own() {
        let indexes: Vec<_> = Colour::all().map(Colour::index).collect();
        assert!(indexes.iter().copied().eq(0..=Colour::Heat(STEPS - 1).index()));
    }

    #[test]
    fn more_accesses_are_never_darker() {
        let step = |count| match heat(count, 1000) {
            Colour::Heat(step) => step,
            other => panic!("{other:?}"),
        };
        assert_eq!((step(1), step(1000), step(5000)), (0, STEPS - 1, STEPS - 1));
        assert!((1..1000).all(|count| step(count) <= step(count + 1)));
        assert_eq!(heat(1, 1), Colour::Heat(STEPS - 1));
    }
}
