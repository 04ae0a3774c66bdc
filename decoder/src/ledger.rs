//! The account of every byte and every record: no number leaves the program without it.

use core::ops::AddAssign;

use crate::page_map::Why;
use crate::{Access, AccessFlags};

macro_rules! ledger {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Where every AUX byte and every record went. All counts are totals of one run.
        ///
        /// Two sums hold at the end of every run, whatever the input:
        /// [`Ledger::aux_bytes`] is the sum of record, padding, skipped and cut-off bytes,
        /// [`Ledger::records`] the sum of not memory, guest address, no physical address, lookup
        /// failed, filtered, over budget and counted. [`Ledger::check`] tests both against totals that
        /// are counted on their own: bytes where they come in, before any thread has them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Ledger {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Ledger {
            /// All fields with their names, in the order of the report.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        /// Ledgers of parts add up to the ledger of the whole; its `lost` is that of the sums. Sums
        /// stop at the greatest value, which only losses that a damaged input claims can reach.
        impl AddAssign for Ledger {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
                self.sum_up_losses();
            }
        }
    };
}

ledger! {
    /// AUX bytes of the tracers that are decoded, or those of a raw buffer: bytes present, not
    /// bytes claimed.
    aux_bytes,
    /// Packets other than padding, of finished records; those of Intel PT also if they belong to
    /// none. Of a raw buffer: finished records, without the padding in them.
    record_bytes,
    /// Padding, wherever it stands.
    padding_bytes,
    /// Everything dropped because of damage before it.
    skipped_bytes,
    /// The unfinished record before a gap or at the end of a queue.
    cut_off_bytes,
    /// AUX bytes of tracers that are not decoded; outside the sum.
    foreign_aux_bytes,
    /// Bytes delivered a second time by overlapping snapshots; outside the sum.
    overlap_bytes,
    /// AUX bytes of any tracer that records announced and that are not in the recording; outside
    /// the sum.
    aux_missing_bytes,
    /// Hardware records and sample records with addresses.
    records,
    /// Records of other operations.
    not_memory,
    /// Memory operations of guests whose physical address hardware did not give: what the kernel
    /// looked up for a guest's address is none of the guest's, and is dropped.
    guest_address,
    /// Memory operations without a physical address, which nobody looked up.
    no_physical_address,
    /// Memory operations whose physical address was looked up and not found.
    lookup_failed,
    /// Memory operations that a filter of the query left out.
    filtered,
    /// Memory operations that the memory budget did not hold.
    over_budget,
    /// Memory operations that each added 1 to a page's counter.
    counted,
    /// Memory operations whose physical address was looked up and found, whatever became of them.
    looked_up,
    /// Part of `lookup_failed`: the process had ended.
    lookup_gone,
    /// Part of `lookup_failed`: nothing was present at the virtual address.
    lookup_not_present,
    /// Part of `lookup_failed`: the kernel hides frames from who lacks CAP_SYS_ADMIN.
    lookup_hidden,
    /// Memory operations of guests, whatever became of them.
    guest_accesses,
    /// Sample records of events that never have a data address, such as clocks, context switches
    /// and tracepoints; outside the sum.
    not_address_events,
    /// Accesses that came after their epoch had closed.
    late,
    /// Memory operations whose thread is not known.
    tid_unknown,
    /// Records of operations that did not retire; they count all the same.
    not_retired,
    /// AUX records with the flag TRUNCATED: data was lost behind them.
    aux_truncated,
    /// AUX records with the flag COLLISION: at least one sample was dropped. Its absence
    /// proves nothing.
    aux_collision,
    /// AUX records with the flag PARTIAL: their last record may be incomplete.
    aux_partial,
    /// The greater of `lost_records` and `lost_samples`, which usually tell the same losses. Of
    /// several inputs the sums of each are compared: of files that one recording was cut into, the
    /// last one's LOST_SAMPLES tell the LOST of all.
    lost,
    /// Sum of all LOST records.
    lost_records,
    /// Sum of all LOST_SAMPLES records that do not tell of a BPF filter.
    lost_samples,
    /// Times that the kernel stopped sampling on a CPU until its next tick, since samples came too
    /// often: how many are missing is not told (THROTTLE records).
    throttled,
    /// Pages whose counter stopped at 2^32 - 1.
    saturated_counters,
}

/// A ledger whose sums do not hold: a bug in this program, never in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The four kinds of bytes do not add up to the bytes that were given.
    #[error("ledger: {parts} bytes accounted for of {aux_bytes}: this is a bug, please report it")]
    Bytes {
        /// Sum of the four kinds.
        parts: u64,
        /// Bytes present.
        aux_bytes: u64,
    },
    /// The seven kinds of records do not add up to the records that were decoded.
    #[error("ledger: {parts} records accounted for of {records}: this is a bug, please report it")]
    Records {
        /// Sum of the seven kinds.
        parts: u64,
        /// Records decoded.
        records: u64,
    },
}

impl Ledger {
    /// Takes the greater of the two accounts of what the kernel lost.
    pub(crate) fn sum_up_losses(&mut self) {
        self.lost = self.lost_records.max(self.lost_samples);
    }

    /// Enters how an access came to its physical address, or where it ends for lack of one.
    #[inline]
    pub fn frame(&mut self, access: &Access) {
        self.looked_up += u64::from(access.flags.contains(AccessFlags::LOOKED_UP));
        let guest = access.flags.contains(AccessFlags::GUEST);
        self.guest_accesses += u64::from(guest);
        if access.paddr.is_some() {
            return;
        }
        if guest {
            self.guest_address += 1;
            return;
        }
        let Some(why) = Why::of(access.flags) else {
            self.no_physical_address += 1;
            return;
        };
        self.lookup_failed += 1;
        match why {
            Why::Gone => self.lookup_gone += 1,
            Why::NotPresent => self.lookup_not_present += 1,
            Why::Hidden => self.lookup_hidden += 1,
            // What the others leave of `lookup_failed`.
            Why::Unreadable => {}
        }
    }

    /// Tests both sums.
    ///
    /// # Errors
    /// The sum that does not hold.
    pub fn check(&self) -> Result<(), LedgerError> {
        let parts =
            self.record_bytes + self.padding_bytes + self.skipped_bytes + self.cut_off_bytes;
        if parts != self.aux_bytes {
            let aux_bytes = self.aux_bytes;
            return Err(LedgerError::Bytes { parts, aux_bytes });
        }
        let parts = self.not_memory
            + self.guest_address
            + self.no_physical_address
            + self.lookup_failed
            + self.filtered
            + self.over_budget
            + self.counted;
        if parts != self.records {
            let records = self.records;
            return Err(LedgerError::Records { parts, records });
        }
        Ok(())
    }

    /// The fields that `--strict` asks to be 0 and are not, with their values.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("skipped_bytes", self.skipped_bytes),
            ("cut_off_bytes", self.cut_off_bytes),
            ("aux_missing_bytes", self.aux_missing_bytes),
            ("aux_truncated", self.aux_truncated),
            ("aux_collision", self.aux_collision),
            ("aux_partial", self.aux_partial),
            ("lost", self.lost),
            ("over_budget", self.over_budget),
            ("saturated_counters", self.saturated_counters),
        ]
        .into_iter()
        .filter(|(_, value)| *value != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sum_is_tested_on_its_own() {
        let whole = Ledger {
            aux_bytes: 10,
            record_bytes: 4,
            padding_bytes: 3,
            skipped_bytes: 2,
            cut_off_bytes: 1,
            records: 28,
            counted: 5,
            guest_address: 7,
            lookup_failed: 6,
            no_physical_address: 4,
            not_memory: 3,
            filtered: 2,
            over_budget: 1,
            ..Ledger::default()
        };
        assert_eq!(whole.check(), Ok(()));
        let lost_byte = Ledger { aux_bytes: 11, ..whole };
        assert_eq!(lost_byte.check(), Err(LedgerError::Bytes { parts: 10, aux_bytes: 11 }));
        let lost_record = Ledger { records: 27, ..whole };
        assert_eq!(lost_record.check(), Err(LedgerError::Records { parts: 28, records: 27 }));
        let mut twice = whole;
        twice += whole;
        assert_eq!((twice.aux_bytes, twice.records, twice.check()), (20, 56, Ok(())));
    }

    #[test]
    fn losses_are_the_fields_that_strict_asks_for() {
        let ledger = Ledger { skipped_bytes: 1, filtered: 2, over_budget: 3, ..Ledger::default() };
        assert_eq!(ledger.losses().collect::<Vec<_>>(), [("skipped_bytes", 1), ("over_budget", 3)]);
    }
}
