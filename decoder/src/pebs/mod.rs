//! Intel's precise event-based sampling, as the processor writes it: buffer -> records -> accesses.
//!
//! A buffer is what stands between base and index of a debug store's PEBS part, or of an
//! architectural PEBS buffer: records without any header. It does not say its format, nor which
//! CPU, process or core it is of; and all its addresses are virtual (Intel SDM, volume 3,
//! "Processor event based sampling"; `arch/x86/events/intel/ds.c`).

mod adaptive;
mod arch;
mod buffer;
mod core;
mod fixed;
mod format;

pub use buffer::{Decoder, Records};
pub use core::{Core, Told, UnknownCore};
pub use format::{Format, UnknownFormat};

use crate::{Access, DataSource, Direction, Operation, Origin, VirtAddr};

/// What one record tells of its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The instruction. Formats 0 and 1 have only the one behind it, which is not told.
    pub ip: Option<u64>,
    /// Ticks of the time-stamp counter.
    pub tsc: Option<u64>,
    /// What it did in memory. Absent if the record has no room for that.
    pub memory: Option<Memory>,
}

/// What a record tells of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Linear address of the data; 0 if the event has none.
    pub address: u64,
    /// Data source word as it is. Each core has a table of its own for it.
    pub data_source: u64,
    /// Cycles until the data was there; from Golden Cove on of the cache's part alone.
    pub latency_cycles: Option<u32>,
}

impl Record {
    /// The memory access that the record tells of. Events without a data address leave 0. Where it
    /// is known which core wrote the record, its table says where the data came from.
    pub fn access(&self, origin: Origin, core: Option<Core>) -> Option<Access> {
        let memory = self.memory.filter(|memory| memory.address != 0)?;
        let told = memory.told(core);
        Some(Access {
            origin,
            // Whether its event was a load or a store stands in the event's setup only.
            operation: Operation::plain(Direction::Unknown),
            paddr: None,
            vaddr: Some(VirtAddr::new(memory.address)),
            ip: self.ip.map(VirtAddr::new),
            pid: None,
            tid: None,
            latency_cycles: memory.latency_cycles,
            data_source: told.source,
            issue_latency_cycles: None,
            translation_latency_cycles: None,
            tlb: told.tlb,
            page_size: None,
            aux_queue: None,
            flags: told.flags,
        })
    }
}

impl Memory {
    /// Takes the words that stand at these places: address, data source and latency.
    fn read(format: Format, bytes: &[u8], [address, source, latency]: [usize; 3]) -> Option<Self> {
        Some(Self {
            address: word(bytes, address)?,
            data_source: word(bytes, source)?,
            latency_cycles: format.latency_cycles(word(bytes, latency)?),
        })
    }

    /// What the data source word tells. Which code means what differs between cores: without one the
    /// word stays as it is, code and flags in bits 15:0. The codes are those of events that sample
    /// latencies. A buffer does not tell which event wrote a record: most others leave the word 0,
    /// which tells nothing, and store events before Golden Cove give its bits other meanings
    /// (`precise_store_data` and `precise_datala_hsw` in `arch/x86/events/intel/ds.c`).
    fn told(&self, core: Option<Core>) -> Told {
        let [low, high, ..] = self.data_source.to_le_bytes();
        let code = u16::from_le_bytes([low, high]);
        match core {
            _ if code == 0 => Told::default(),
            Some(core) => core.decode(self.data_source),
            None => Told { source: Some(DataSource::Unknown(code)), ..Told::default() },
        }
    }
}

/// What stands at the start of some bytes of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A record that ends after so many bytes.
    Record(Record, usize),
    /// So many bytes of a record that goes on behind them.
    Part(usize),
    /// So many bytes that belong to no record.
    Skipped(usize),
    /// So many bytes that hold nothing.
    Padding(usize),
    /// Nothing yet, but the record that went on up to here will not be whole.
    Dropped,
    /// Something that is longer than the bytes.
    Unfinished,
    /// The place behind the last record.
    End,
    /// Nothing that can be: where the next record starts is not known.
    Bad,
}

/// The word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// A value that is absent if it is 0.
fn present(value: u64) -> Option<u64> {
    Some(value).filter(|value| *value != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessFlags, Position, Source, Tlb};

    #[test]
    fn an_access_has_what_the_record_knows_and_nothing_else() {
        let origin = Origin {
            source: Source::Pebs,
            event: None,
            cpu: None,
            time_ns: None,
            not_retired: false,
            position: Position::default(),
        };
        let memory = Memory { address: 0x7f00_1008, data_source: 0x51, latency_cycles: Some(90) };
        let record = Record { ip: Some(0x40_1000), tsc: Some(5), memory: Some(memory) };
        let want = Access {
            origin,
            operation: Operation::plain(Direction::Unknown),
            paddr: None,
            vaddr: Some(VirtAddr::new(0x7f00_1008)),
            ip: Some(VirtAddr::new(0x40_1000)),
            pid: None,
            tid: None,
            latency_cycles: Some(90),
            data_source: Some(DataSource::Unknown(0x51)),
            issue_latency_cycles: None,
            translation_latency_cycles: None,
            tlb: None,
            page_size: None,
            aux_queue: None,
            flags: AccessFlags::empty(),
        };
        assert_eq!(record.access(origin, None), Some(want));
        let nowhere = Memory { address: 0, ..memory };
        assert_eq!(Record { memory: Some(nowhere), ..record }.access(origin, None), None);
        assert_eq!(Record { memory: None, ..record }.access(origin, None), None);
        let silent = Memory { data_source: 0, ..memory };
        assert_eq!(silent.told(None), Told::default());
        assert_eq!(silent.told(Some(Core::Skylake)), Told::default(), "another kind of event");
        let wide = Memory { data_source: 0xabcd_1051, ..memory };
        assert_eq!(wide.told(None).source, Some(DataSource::Unknown(0x1051)));
        // Code 1, missed the second TLB: bits 3:0, 4.
        let memory = Memory { data_source: 0x11, ..memory };
        let want = Access {
            data_source: Some(DataSource::L1),
            tlb: Some(Tlb::Walk),
            flags: AccessFlags::TLB_ACCESS | AccessFlags::TLB_WALK,
            ..want
        };
        let record = Record { memory: Some(memory), ..record };
        assert_eq!(record.access(origin, Some(Core::Skylake)), Some(want));
    }
}
