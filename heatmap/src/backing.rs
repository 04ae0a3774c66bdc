//! What the addresses of a block's accesses say of how the kernel maps it.
//!
//! Under one PMD mapping virtual and physical address are equal in their low 21 bits. On base
//! pages that happens by chance once in 512.

use decoder::{PAGE_SHIFT, PhysAddr, VirtAddr};

/// What is known about the mapping behind a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// A transparent huge page.
    Thp,
    /// A page of hugetlbfs.
    Hugetlb,
    /// Certainly not, or not only, one PMD mapping.
    Smaller,
    /// No evidence.
    Unknown,
}

impl Backing {
    /// Every backing.
    pub const ALL: [Self; 4] = [Self::Thp, Self::Hugetlb, Self::Smaller, Self::Unknown];

    /// The name in every format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thp => "thp",
            Self::Hugetlb => "hugetlb",
            Self::Smaller => "smaller",
            Self::Unknown => "unknown",
        }
    }

    /// The backing of this name; none if no backing has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backing| backing.name() == name)
    }
}

impl serde::Serialize for Backing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Order of a PMD mapping with 4 KiB base pages: 512 of them.
const PMD_ORDER: u8 = 9;

/// Evidence of a block's mapping, from its user accesses that carry both addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The greatest mapping order that all of them allow, in 0..=9; more without any.
    order_max: u8,
    /// The least page that they touch.
    least: u16,
    /// The greatest page that they touch.
    greatest: u16,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { order_max: u8::MAX, least: u16::MAX, greatest: 0 }
    }
}

impl Mapping {
    /// Takes in an access. The kernel's own addresses say nothing: it maps all memory in large
    /// pages.
    #[inline]
    pub fn access(&mut self, vaddr: VirtAddr, paddr: PhysAddr) {
        if vaddr.is_kernel() {
            return;
        }
        let difference = (vaddr.get() ^ paddr.get()) >> PAGE_SHIFT;
        // At most 64, so that the cast loses nothing.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        let order = (difference.trailing_zeros() as u8).min(PMD_ORDER);
        #[expect(clippy::cast_possible_truncation, reason = "pages are below 512")]
        let page = paddr.pfn().index_in_folio() as u16;
        self.merge(&Self { order_max: order, least: page, greatest: page });
    }

    /// Adds other evidence of the same block.
    #[inline]
    pub fn merge(&mut self, other: &Self) {
        self.order_max = self.order_max.min(other.order_max);
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// The greatest mapping order that the addresses allow, if any access carried both.
    pub fn order_max(&self) -> Option<u8> {
        (self.order_max <= PMD_ORDER).then_some(self.order_max)
    }

    /// What that proves. A recording cannot tell a transparent huge page from one of hugetlbfs.
    pub fn backing(&self) -> Backing {
        match self.order_max() {
            Some(order) if order < PMD_ORDER => Backing::Smaller,
            Some(_) if self.least != self.greatest => Backing::Thp,
            _ => Backing::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(accesses: &[(u64, u64)]) -> Mapping {
        let mut mapping = Mapping::default();
        for (vaddr, paddr) in accesses {
            mapping.access(VirtAddr::new(*vaddr), PhysAddr::new_truncate(*paddr));
        }
        mapping
    }

    #[test]
    fn a_huge_mapping_shows_on_two_pages() {
        let one = mapping(&[(0x7f00_0060_1000, 0x1_2340_1008)]);
        assert_eq!((one.order_max(), one.backing()), (Some(9), Backing::Unknown));
        let two = mapping(&[(0x7f00_0060_1000, 0x1_2340_1008), (0x7f00_0060_2000, 0x1_2340_2000)]);
        assert_eq!((two.order_max(), two.backing()), (Some(9), Backing::Thp));
        let same_page = mapping(&[(0x7f00_0060_1000, 0x1_2340_1008); 9]);
        assert_eq!(same_page.backing(), Backing::Unknown);
    }

    #[test]
    fn one_access_that_does_not_fit_is_enough() {
        let mixed = mapping(&[
            (0x7f00_0060_1000, 0x1_2340_1000),
            (0x7f00_0060_2000, 0x1_2340_2000),
            (0x7f00_0061_0000, 0x1_2340_0000),
        ]);
        assert_eq!((mixed.order_max(), mixed.backing()), (Some(4), Backing::Smaller));
    }

    #[test]
    fn the_kernels_own_mapping_is_no_evidence() {
        let kernel = mapping(&[(0xffff_8000_0060_1000, 0x1_2340_1000)]);
        assert_eq!((kernel.order_max(), kernel.backing()), (None, Backing::Unknown));
    }
}
