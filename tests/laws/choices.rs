//! Decisions that an input takes itself, so that the same bytes always give the same run.

/// Bytes that decide something. Where there are none left, all choices are 0.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
    from_end: bool,
}

impl<'a> Choices<'a> {
    /// Takes bytes from the front.
    pub const fn from_start(bytes: &'a [u8]) -> Self {
        Self { bytes, from_end: false }
    }

    /// Takes bytes from the end: for inputs whose start has a fixed form.
    pub const fn from_end(bytes: &'a [u8]) -> Self {
        Self { bytes, from_end: true }
    }

    /// Whether no byte is left.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that are left.
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let next = if self.from_end { self.bytes.split_last() } else { self.bytes.split_first() };
        let Some((byte, rest)) = next else { return 0 };
        self.bytes = rest;
        *byte
    }

    /// A flag; takes a whole byte, so that flipping it changes nothing else.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// A number below `n`, or 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let choice = if n > 256 { usize::from(self.u16()) } else { usize::from(self.byte()) };
        choice.checked_rem(n).unwrap_or(0)
    }

    /// Splits `whole` into as many parts as it likes, at most `most`.
    pub fn cuts<'b>(&mut self, whole: &'b [u8], most: usize) -> Vec<&'b [u8]> {
        let mut rest = whole;
        let mut parts = Vec::new();
        for _ in 1..most {
            let (part, others) = rest.split_at(self.below(rest.len() + 1));
            if others.is_empty() {
                break;
            }
            parts.push(part);
            rest = others;
        }
        parts.push(rest);
        parts
    }
}
