//! Memory-access samples out of `perf.data`.

mod addr;
mod ledger;

pub use addr::{FOLIO_SHIFT, FolioPfn, PAGE_SHIFT, PAGES_PER_FOLIO, Pfn, PhysAddr, VirtAddr};
pub use ledger::{Ledger, LedgerError};
