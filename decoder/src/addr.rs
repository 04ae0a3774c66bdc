//! Addresses that cannot be mistaken for one another.

use core::fmt;

/// log2 of the page size that all counting uses: 4 KiB.
pub const PAGE_SHIFT: u32 = 12;
/// log2 of the size of a block, the unit of every heat map: 2 MiB.
pub const FOLIO_SHIFT: u32 = 21;
/// Base pages in one block: 512.
pub const PAGES_PER_FOLIO: usize = 1 << (FOLIO_SHIFT - PAGE_SHIFT);

/// A physical byte address, 56 bits at most, without tag and attribute bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(u64); // in [0, 2^56)

impl PhysAddr {
    /// Keeps bits 55:0, the address bits of an SPE physical-address packet
    /// (DDI 0487, D18.2.1 Address packet).
    pub const fn new_truncate(raw: u64) -> Self {
        Self(raw & ((1 << 56) - 1))
    }

    /// The byte address.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The 4 KiB frame that holds the address.
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }
}

/// A virtual byte address in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// Takes an address that is canonical already.
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The byte address.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether the address lies in the upper half, which Linux keeps for the kernel on
    /// every 64-bit architecture.
    pub const fn is_kernel(self) -> bool {
        self.0 >> 63 == 1
    }
}

/// A page frame number: a physical address divided by 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(u64); // in [0, 2^44)

impl Pfn {
    /// Keeps the 44 bits that a 56-bit physical address has above its page offset.
    pub const fn new_truncate(raw: u64) -> Self {
        Self(raw & ((1 << (56 - PAGE_SHIFT)) - 1))
    }

    /// The frame number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The block that holds the frame.
    pub const fn folio(self) -> FolioPfn {
        FolioPfn(self.0 & !(PAGES_PER_FOLIO as u64 - 1))
    }

    /// Which of its block's 512 pages the frame is.
    #[expect(clippy::cast_possible_truncation, reason = "below 512")]
    pub const fn index_in_folio(self) -> usize {
        (self.0 & (PAGES_PER_FOLIO as u64 - 1)) as usize
    }
}

/// The frame number of a block's first page; its low nine bits are clear. The key of
/// everything that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolioPfn(u64);

impl FolioPfn {
    /// The frame number of the block's first page.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the block: its physical address divided by 2 MiB. 32 bits hold it for
    /// every processor of today (52-bit addresses give 31 bits), not for all 56 bits.
    pub const fn number(self) -> u64 {
        self.0 >> (FOLIO_SHIFT - PAGE_SHIFT)
    }

    /// The block with this number.
    pub const fn from_number(number: u64) -> Self {
        Self(Pfn::new_truncate(number << (FOLIO_SHIFT - PAGE_SHIFT)).0)
    }

    /// The block's page `index`.
    ///
    /// # Panics
    /// If `index` is not below 512.
    pub const fn page(self, index: usize) -> Pfn {
        assert!(index < PAGES_PER_FOLIO);
        Pfn(self.0 | index as u64)
    }
}

macro_rules! hex {
    ($($type:ty),*) => {$(
        /// `0x` and lower-case hexadecimal.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}
hex!(PhysAddr, VirtAddr, Pfn, FolioPfn);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_physical_address_loses_its_attribute_bits_and_names_its_frame_and_block() {
        let address = PhysAddr::new_truncate(0x8000_0012_3456_7fff);
        assert_eq!(address.get(), 0x12_3456_7fff);
        assert_eq!(address.pfn().get(), 0x123_4567);
        assert_eq!(address.pfn().index_in_folio(), 0x167);
        assert_eq!(address.pfn().folio().get(), 0x123_4400);
        assert_eq!(address.pfn().folio().page(0x167), address.pfn());
        assert_eq!(address.pfn().folio().to_string(), "0x1234400");
    }

    #[test]
    fn the_highest_block_survives_its_number() {
        let top = PhysAddr::new_truncate(u64::MAX).pfn().folio();
        assert_eq!(FolioPfn::from_number(top.number()), top);
    }
}
