//! Reading integers of either byte order out of a slice, in steps that cannot fail silently.

/// Byte order of the machine that wrote a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// A position in a slice. Every read returns `None`, and moves nothing, if the slice is
/// too short for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

macro_rules! reads {
    ($($name:ident: $type:ty),*) => {$(
        #[inline]
        pub(crate) fn $name(&mut self) -> Option<$type> {
            let (bytes, rest) = self.bytes.split_first_chunk()?;
            self.bytes = rest;
            Some(match self.order {
                ByteOrder::Little => <$type>::from_le_bytes(*bytes),
                ByteOrder::Big => <$type>::from_be_bytes(*bytes),
            })
        }
    )*};
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Self { bytes, order }
    }

    reads!(u8: u8, u16: u16, u32: u32, u64: u64);

    /// The next `len` bytes. `len` is what the input claims: it is compared, never added.
    #[inline]
    pub(crate) fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let len = usize::try_from(len).ok()?;
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    /// Passes over `count` items of `size` bytes.
    #[inline]
    pub(crate) fn skip_items(&mut self, count: u64, size: u64) -> Option<()> {
        self.take(count.checked_mul(size)?).map(|_| ())
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_and_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7];
        let mut little = Cursor::new(&bytes, ByteOrder::Little);
        assert_eq!(little.u32(), Some(0x0403_0201));
        assert_eq!(little.u32(), None, "three bytes are left");
        assert_eq!(little.u16(), Some(0x0605));
        let mut big = Cursor::new(&bytes, ByteOrder::Big);
        assert_eq!(big.u32(), Some(0x0102_0304));
        assert_eq!(big.take(u64::MAX), None);
        assert_eq!(big.skip_items(u64::MAX, 16), None);
        assert_eq!(big.rest(), [5, 6, 7]);
    }
}
