//! AMD instruction-based sampling of ops: registers -> what an access is not told by the kernel.
//!
//! The kernel copies the registers of an op into the RAW field of its sample. They hold what the
//! other fields hold, and more: a physical address that the hardware took at the access, also
//! where nobody asked for PHYS_ADDR (`perf record -R -e ibs_op//`).

mod data_source;
mod op;

pub use data_source::data_source;
pub use op::{Address, Caps, Control, Data2, Data3, Op};

use core::ops::AddAssign;

/// What the registers said of physical addresses, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accesses without a physical address whose registers say that there was one: the kernel
    /// hid it.
    pub hidden: u64,
    /// Accesses whose PHYS_ADDR, which counts, is not the address in their registers.
    pub differ: u64,
}

impl Tally {
    /// Takes in an access by the address that the kernel gave it, if it did.
    pub fn take(&mut self, op: &Op, phys_addr: Option<u64>) {
        match (phys_addr, op.phys_addr()) {
            (None, Some(Address::Hidden)) => self.hidden += 1,
            (Some(given), Some(Address::Known(address))) => {
                self.differ += u64::from(op::physical(given) != address);
            }
            _ => {}
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.hidden += other.hidden;
        self.differ += other.differ;
    }
}
