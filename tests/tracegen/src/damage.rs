//! What goes wrong with a recording on purpose.

use std::str::FromStr;

/// How much damage of which kind. Where a kind counts pieces, they are spread over the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Bits of AUX data that are inverted.
    pub flip: u64,
    /// Pieces of AUX data that were announced (AUX record) but never copied: a gap in the offsets.
    pub drop: u64,
    /// Pieces whose end is missing, a record cut in the middle: a gap in the offsets.
    pub shorten: u64,
    /// AUX records with TRUNCATED: data was lost behind, records are whole.
    pub truncated: u64,
    /// AUX records with TRUNCATED and PARTIAL: the last record of the piece is incomplete. No gap in the offsets.
    pub partial: u64,
    /// AUX records with COLLISION; nothing else happens.
    pub collision: u64,
    /// LOST records, of 1 to 9 side-band records each.
    pub lost: u64,
    /// LOST_SAMPLES records, of 1 to 9 samples each.
    pub lost_samples: u64,
    /// Only so many bytes of the output are kept.
    pub cut: Option<u64>,
    /// The recorder never came back to finish a file: size 0 in the header, no features.
    pub killed: bool,
}

impl Damage {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a damage text is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamageError(String);

impl std::fmt::Display for DamageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}: expected KIND or KIND:NUMBER, KIND one of flip, drop, shorten, truncated, partial, collision, \
             lost, lost-samples, cut, killed",
            self.0
        )
    }
}

impl std::error::Error for DamageError {}

impl FromStr for Damage {
    type Err = DamageError;

    /// `KIND:NUMBER` or `KIND`, separated by commas: `drop:3,collision:2,killed`.
    fn from_str(text: &str) -> Result<Self, DamageError> {
        let mut damage = Self::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let error = || DamageError(item.to_owned());
            let (kind, number) = item.split_once(':').unwrap_or((item, "1"));
            let number: u64 = number.parse().map_err(|_| error())?;
            match kind {
                "flip" => damage.flip = number,
                "drop" => damage.drop = number,
                "shorten" => damage.shorten = number,
                "truncated" => damage.truncated = number,
                "partial" => damage.partial = number,
                "collision" => damage.collision = number,
                "lost" => damage.lost = number,
                "lost-samples" => damage.lost_samples = number,
                "cut" => damage.cut = Some(number),
                "killed" => damage.killed = number != 0,
                _ => return Err(error()),
            }
        }
        Ok(damage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let want =
            Damage { drop: 3, collision: 1, cut: Some(1000), killed: true, ..Damage::default() };
        assert_eq!("drop:3,collision,cut:1000,killed".parse(), Ok(want));
        assert_eq!("".parse(), Ok(Damage::default()));
        assert!("drop:x".parse::<Damage>().is_err());
        assert!("melt:3".parse::<Damage>().is_err());
    }
}
