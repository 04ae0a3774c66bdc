//! Numbers as digits, straight into a line's buffer: the lists have millions of them.
//!
//! Both functions compute eight digits at a time inside one word, append a constant number
//! of bytes, which is a plain store, and take back what is too much. Digit by digit with a
//! copy of variable length took three times as long.

const ZEROS: u64 = 0x3030_3030_3030_3030;

/// What eight decimal digits count to.
const TEN_TO_8: u64 = 100_000_000;

/// Appends `value` in decimal.
#[inline]
pub(super) fn decimal(line: &mut Vec<u8>, value: u64) {
    if value < TEN_TO_8 {
        return leading_digits(line, value);
    }
    let high = value / TEN_TO_8;
    if high < TEN_TO_8 {
        leading_digits(line, high);
    } else {
        leading_digits(line, high / TEN_TO_8);
        line.extend_from_slice(&(eight_digits(high % TEN_TO_8) | ZEROS).to_le_bytes());
    }
    line.extend_from_slice(&(eight_digits(value % TEN_TO_8) | ZEROS).to_le_bytes());
}

/// Appends a number below 10^8 without leading zeros.
#[inline]
fn leading_digits(line: &mut Vec<u8>, value: u64) {
    let digits = eight_digits(value);
    let zeros = (digits.trailing_zeros() / 8).min(7);
    let start = line.len();
    line.extend_from_slice(&((digits | ZEROS) >> (8 * zeros)).to_le_bytes());
    line.truncate(start + 8 - zeros as usize);
}

/// The decimal digits of a number below 10^8, one a byte, the first one lowest. Divisions
/// are multiplications with rounded reciprocals, exact in the range of their lanes.
#[inline]
const fn eight_digits(value: u64) -> u64 {
    // Two lanes of four digits, then four of two, then eight of one.
    let fours = (value / 10_000) | (value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// Appends `0x` and `value` in lower-case hexadecimal.
#[inline]
pub(super) fn hex(line: &mut Vec<u8>, value: u64) {
    let zeros = (value.leading_zeros() / 4).min(15);
    let left = value << (4 * zeros);
    let mut text = *b"0x................";
    text[2..10].copy_from_slice(&eight_nibbles(left >> 32).to_be_bytes());
    text[10..].copy_from_slice(&eight_nibbles(left & 0xffff_ffff).to_be_bytes());
    let start = line.len();
    line.extend_from_slice(&text);
    line.truncate(start + 18 - zeros as usize);
}

/// The eight hexadecimal digits of a number below 2^32 as text, the first one highest.
#[inline]
const fn eight_nibbles(value: u64) -> u64 {
    let value = (value | value << 16) & 0x0000_ffff_0000_ffff;
    let value = (value | value << 8) & 0x00ff_00ff_00ff_00ff;
    let value = (value | value << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in the lanes that hold 10 to 15: `a` is 39 further than `9` + 1.
    let letters = ((value + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    value + ZEROS + letters * 39
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both(value: u64) -> String {
        let mut line = b"= ".to_vec();
        decimal(&mut line, value);
        line.push(b' ');
        hex(&mut line, value);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]);
        let tens = (0..20).flat_map(|power| [10_u64.pow(power) - 1, 10_u64.pow(power)]);
        // Each lane of four digits takes each of its values, at either place.
        let lanes = (0..10_000).flat_map(|four| [four, four * 10_000, four * 10_000 + 9_999]);
        for value in edges.chain(tens).chain(lanes).chain([u64::MAX]) {
            assert_eq!(both(value), format!("= {value} {value:#x}"));
        }
    }

    proptest! {
        #[test]
        fn any_digits_are_those_of_the_standard_library(value: u64, fewer in 0..64) {
            let value = value >> fewer;
            prop_assert_eq!(both(value), format!("= {value} {value:#x}"));
        }
    }
}
