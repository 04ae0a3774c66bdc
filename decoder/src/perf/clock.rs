//! From ticks of the tracer's clock to perf's nanoseconds (`tools/perf/util/tsc.c`).

use crate::cursor::{ByteOrder, Cursor};

/// The body of a TIME_CONV record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    shift: u32, // in [0, 63]
    mult: u64,
    zero: u64,
    /// Base and mask of a counter that is narrower than 64 bits.
    short: Option<(u64, u64)>,
}

impl Clock {
    /// Reads a record's body. `None` if it is cut, or says that the times cannot be converted.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<Self> {
        let mut at = Cursor::new(body, order);
        let (shift, mult, zero) = (at.u64()?, at.u64()?, at.u64()?);
        // The older form of the record ends here.
        let newer = (|| Some((at.u64()?, at.u64()?, at.u8()?, at.u8()?)))();
        let short = match newer {
            Some((_, _, 0, _)) => return None,
            Some((cycles, mask, _, short)) if short != 0 => Some((cycles, mask)),
            _ => None,
        };
        let shift = u32::try_from(shift).ok().filter(|shift| *shift < 64)?;
        (mult != 0).then_some(Self { shift, mult, zero, short })
    }

    /// Nanoseconds of perf's clock, modulo 2^64.
    pub const fn nanoseconds(&self, ticks: u64) -> u64 {
        let ticks = match self.short {
            Some((cycles, mask)) => cycles.wrapping_add(ticks.wrapping_sub(cycles) & mask),
            None => ticks,
        };
        let quotient = ticks >> self.shift;
        let remainder = ticks & ((1 << self.shift) - 1);
        self.zero
            .wrapping_add(quotient.wrapping_mul(self.mult))
            .wrapping_add(remainder.wrapping_mul(self.mult) >> self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(words: &[u64], caps: &[u8]) -> Vec<u8> {
        let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        body.extend(caps);
        body.resize(body.len().next_multiple_of(8), 0);
        body
    }

    #[test]
    fn perf_and_we_agree_on_its_example() {
        for body in [
            body(&[10, 10240, 5000], &[]),
            body(&[10, 10240, 5000, 0, u64::MAX], &[1, 0]),
            body(&[10, 10240, 5000, 0, u64::MAX], &[1, 1]),
        ] {
            let clock = Clock::parse(&body, ByteOrder::Little).unwrap();
            assert_eq!(clock.nanoseconds(1000), 15000);
        }
    }

    #[test]
    fn a_zero_that_is_negative_and_a_narrow_counter() {
        let clock = Clock::parse(&body(&[0, 1, 10u64.wrapping_neg()], &[]), ByteOrder::Little);
        assert_eq!(clock.unwrap().nanoseconds(15), 5);
        let narrow = body(&[0, 1, 0, 0x1_0000_00f0, 0xff], &[1, 1]);
        let clock = Clock::parse(&narrow, ByteOrder::Little).unwrap();
        assert_eq!(clock.nanoseconds(0x05), 0x1_0000_0105, "wrapped once");
    }

    #[test]
    fn what_cannot_be_converted_is_not() {
        let parse =
            |words: &[u64], caps: &[u8]| Clock::parse(&body(words, caps), ByteOrder::Little);
        assert_eq!(parse(&[64, 1, 0], &[]), None, "a shift of the whole word");
        assert_eq!(parse(&[0, 1], &[]), None, "cut");
        assert_eq!(parse(&[0, 0, 0], &[]), None, "no rate");
        assert_eq!(parse(&[0, 1, 0, 0, 0], &[0, 0]), None, "cap_user_time_zero is clear");
    }
}
