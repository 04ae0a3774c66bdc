//! The account of every byte and every record: no number leaves the program without it.

use core::ops::AddAssign;

macro_rules! ledger {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Where every AUX byte and every record went. All counts are totals of one run.
        ///
        /// Two sums hold at the end of every run, whatever the input:
        /// [`Ledger::aux_bytes`] is the sum of record, padding, skipped and cut-off bytes,
        /// [`Ledger::records`] the sum of counted, no physical address, not memory,
        /// filtered and over budget. [`Ledger::check`] tests both against totals that are
        /// counted on their own.
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

        /// Ledgers of parts add up to the ledger of the whole. Sums stop at the greatest value,
        /// which only losses that a damaged input claims can reach.
        impl AddAssign for Ledger {
            fn add_assign(&mut self, other: Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)*
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
    /// Hardware records and sample records with addresses.
    records,
    /// Memory operations that each added 1 to a page's counter.
    counted,
    /// Memory operations without a physical address.
    no_physical_address,
    /// Records of other operations.
    not_memory,
    /// Memory operations that a filter of the query left out.
    filtered,
    /// Memory operations that the memory budget did not hold.
    over_budget,
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
    /// The greater of `lost_records` and `lost_samples`, which usually tell the same losses.
    lost,
    /// Sum of all LOST records.
    lost_records,
    /// Sum of all LOST_SAMPLES records that do not tell of a BPF filter.
    lost_samples,
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
    /// The five kinds of records do not add up to the records that were decoded.
    #[error("ledger: {parts} records accounted for of {records}: this is a bug, please report it")]
    Records {
        /// Sum of the five kinds.
        parts: u64,
        /// Records decoded.
        records: u64,
    },
}

impl Ledger {
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
        let parts = self.counted
            + self.no_physical_address
            + self.not_memory
            + self.filtered
            + self.over_budget;
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
            records: 15,
            counted: 5,
            no_physical_address: 4,
            not_memory: 3,
            filtered: 2,
            over_budget: 1,
            ..Ledger::default()
        };
        assert_eq!(whole.check(), Ok(()));
        let lost_byte = Ledger { aux_bytes: 11, ..whole };
        assert_eq!(lost_byte.check(), Err(LedgerError::Bytes { parts: 10, aux_bytes: 11 }));
        let lost_record = Ledger { records: 14, ..whole };
        assert_eq!(lost_record.check(), Err(LedgerError::Records { parts: 15, records: 14 }));
        let mut twice = whole;
        twice += whole;
        assert_eq!((twice.aux_bytes, twice.records, twice.check()), (20, 30, Ok(())));
    }

    #[test]
    fn losses_are_the_fields_that_strict_asks_for() {
        let ledger = Ledger { skipped_bytes: 1, filtered: 2, over_budget: 3, ..Ledger::default() };
        assert_eq!(ledger.losses().collect::<Vec<_>>(), [("skipped_bytes", 1), ("over_budget", 3)]);
    }
}
