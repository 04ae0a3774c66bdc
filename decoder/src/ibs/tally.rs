//! What is to be doubted of the physical addresses of ops.

use core::ops::AddAssign;

use super::op::{Address, Op, physical};
use crate::Access;

/// The lowest place of the C-bit, which marks encrypted memory (SME) in a page table; CPUID
/// Fn8000_001F EBX says where it is, 47 and 51 are known. Whether IbsDcPhysAd can have it is not
/// known. No machine has memory up there.
const LOWEST_C_BIT: u32 = 47;

/// What is to be doubted of the physical addresses of ops, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accesses without a physical address whose registers say that there was one: the kernel
    /// hid it.
    pub hidden: u64,
    /// Accesses whose PHYS_ADDR, which counts, is not the address in their registers.
    pub differ: u64,
    /// Accesses whose address is beyond all memory, in the place of the C-bit: 128 TiB or more.
    pub beyond: u64,
}

impl Tally {
    /// Takes in an access by the address that the kernel gave it, if it did.
    pub fn take(&mut self, op: &Op, phys_addr: Option<u64>) {
        match (phys_addr, op.phys_addr()) {
            (None, Some(Address::Hidden)) => self.hidden += 1,
            (Some(given), Some(Address::Known(address))) => {
                self.differ += u64::from(physical(given) != address);
            }
            _ => {}
        }
    }

    /// Takes in an access that is given out.
    pub(crate) fn count(&mut self, access: &Access) {
        let beyond = access.paddr.is_some_and(|paddr| paddr.get() >> LOWEST_C_BIT != 0);
        self.beyond += u64::from(beyond);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.hidden += other.hidden;
        self.differ += other.differ;
        self.beyond += other.beyond;
    }
}
