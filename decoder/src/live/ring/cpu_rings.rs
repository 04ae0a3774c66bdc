//! The rings of one CPU, and the order in which they are emptied.
//!
//! ```text
//! the kernel:   AUX bytes, then the AUX record that tells of them, then aux_head
//! we:           aux_head, then all records, then AUX bytes up to that aux_head
//! ```
//!
//! So what an AUX record says of bytes (lost behind them, incomplete) is known before they are
//! decoded, as in a file (`perf_aux_output_end` in `kernel/events/ring_buffer.c`). Bytes that come
//! in between wait for the next pass.
//!
//! Between its two heads the kernel has no barrier, so a CPU that reorders stores may show
//! `aux_head` first. Then a loss is known one pass later, and still before what comes behind it:
//! its unit is off until we have it go on.

use std::io;

use super::{AuxRing, NATIVE, RecordRing, Ring};
use crate::live::output::RecordingWriter;
use crate::perf::record;
use crate::perf::record::{MISC_LOST_SAMPLES_BPF, Next, Record, kind};
use crate::perf::{Aux, AuxFlags, Auxtrace, QueueKey};

/// AUX data is handed over in multiples of this, up to the end: as much as perf's records hold.
const PIECE_ALIGN: u64 = 8;

/// The rings of one CPU.
#[derive(Debug)]
pub struct CpuRings<R> {
    queue: QueueKey,
    /// Its records.
    pub records: RecordRing<R>,
    /// Its AUX data.
    pub aux: Option<AuxRing<R>>,
}

/// What one pass found in the rings of a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Bytes of records.
    pub record_bytes: u64,
    /// Sample records.
    pub samples: u64,
    /// Records of what tasks do: switches, starts, ends, names.
    pub side_records: u64,
    /// Bytes of AUX data, without filling.
    pub aux_bytes: u64,
    /// An AUX record said that the ring was full: the event is off until it is enabled again.
    pub truncated: u64,
    /// AUX records that say that samples were dropped.
    pub collisions: u64,
    /// AUX records that say that there may be gaps.
    pub partial: u64,
    /// Records and samples that the kernel says it lost for want of room.
    pub lost: u64,
    /// Samples that the kernel says it dropped, which no filter asked for. Often the same ones.
    pub lost_samples: u64,
    /// Times that the kernel stopped sampling until the next tick, since samples came too often.
    pub throttled: u64,
    /// Bytes of the record ring that hold no record.
    pub unreadable: u64,
    /// Times that a ring's head was where none can be. What it claimed was given back unread.
    pub overruns: u64,
}

impl Passed {
    /// Adds another pass.
    pub fn add(&mut self, other: &Self) {
        self.record_bytes += other.record_bytes;
        self.samples += other.samples;
        self.side_records += other.side_records;
        self.aux_bytes += other.aux_bytes;
        self.truncated += other.truncated;
        self.collisions += other.collisions;
        self.partial += other.partial;
        self.lost = self.lost.saturating_add(other.lost);
        self.lost_samples = self.lost_samples.saturating_add(other.lost_samples);
        self.throttled += other.throttled;
        self.unreadable += other.unreadable;
        self.overruns += other.overruns;
    }

    /// Looks at what has to do with capturing itself. What records mean is decoded elsewhere.
    fn look(&mut self, record: &Record<'_>) {
        match record.kind {
            kind::SAMPLE => self.samples += 1,
            kind::SWITCH | kind::SWITCH_CPU_WIDE | kind::COMM | kind::FORK | kind::EXIT => {
                self.side_records += 1;
            }
            kind::THROTTLE => self.throttled += 1,
            kind::AUX => {
                let flags = Aux::parse(record.body, NATIVE).map(|aux| aux.flags);
                let says = |flag| u64::from(flags.is_some_and(|flags| flags.contains(flag)));
                self.truncated += says(AuxFlags::TRUNCATED);
                self.collisions += says(AuxFlags::COLLISION);
                self.partial += says(AuxFlags::PARTIAL);
            }
            kind::LOST => self.lost = self.lost.saturating_add(word(record.body, 8)),
            kind::LOST_SAMPLES if record.misc & MISC_LOST_SAMPLES_BPF == 0 => {
                self.lost_samples = self.lost_samples.saturating_add(word(record.body, 0));
            }
            _ => {}
        }
    }

    /// Whether anything was lost, as far as that shows without decoding.
    pub fn is_lossy(&self) -> bool {
        let said = [self.truncated, self.collisions, self.partial, self.lost, self.lost_samples];
        said.into_iter().any(|count| count > 0) || self.unreadable + self.overruns > 0
    }
}

/// A word of a record's body; 0 if it is too short.
fn word(body: &[u8], at: usize) -> u64 {
    let word = body.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_ne_bytes)
}

impl<R: Ring> CpuRings<R> {
    /// The rings of a CPU. `idx` numbers them; no two of a recording share one.
    pub fn new(idx: u32, cpu: Option<u32>, records: R, aux: Option<R>) -> Self {
        let queue = QueueKey { idx, cpu, tid: None };
        Self { queue, records: RecordRing::new(records), aux: aux.map(AuxRing::new) }
    }

    /// Hands over what the rings hold. `last` says that nothing more will come: then the end of
    /// AUX data is taken too if it is no multiple of 8.
    ///
    /// # Errors
    /// What the writer says.
    pub fn drain(&mut self, last: bool, writer: &mut impl RecordingWriter) -> io::Result<Passed> {
        let mut passed = Passed::default();
        // First of all: see above.
        let aux_head = self.aux.as_ref().map(AuxRing::head);
        let drained = self.records.drain(|records| {
            let mut at = 0;
            while let Next::Record(record) = record::next(&records[at..], NATIVE) {
                passed.look(&record);
                at += record.size();
            }
            writer.records(records)
        })?;
        (passed.record_bytes, passed.unreadable) = (drained.bytes, drained.unreadable);
        passed.overruns += u64::from(drained.overrun);
        if drained.unreadable > 0 {
            writer.unreadable(drained.unreadable);
        }
        if let (Some(aux), Some(head)) = (&mut self.aux, aux_head) {
            let to = if last { head } else { head / PIECE_ALIGN * PIECE_ALIGN };
            let queue = self.queue;
            let drained = aux.drain(to, |offset, bytes| {
                let len = (bytes[0].len() + bytes[1].len()) as u64;
                let chunk = Auxtrace {
                    size: len.next_multiple_of(PIECE_ALIGN),
                    offset,
                    reference: None,
                    queue,
                };
                writer.aux(&chunk, bytes)
            })?;
            passed.aux_bytes = drained.bytes;
            passed.overruns += u64::from(drained.overrun);
        }
        (0..passed.overruns).for_each(|_| writer.overrun());
        Ok(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What looking at one record finds.
    fn found(kind: u32, misc: u16, words: &[u64]) -> Passed {
        let mut passed = Passed::default();
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        passed.look(&Record { kind, misc, body: &body, payload_len: 0 });
        passed
    }

    #[test]
    fn losses_show_without_decoding() {
        const ANOTHER: u64 = 77;
        let aux = |flags| found(11, 0, &[0, 64, flags, ANOTHER]);
        assert_eq!(aux(1), Passed { truncated: 1, ..Passed::default() });
        assert_eq!(aux(1 << 2), Passed { partial: 1, ..Passed::default() });
        assert_eq!(aux(1 << 3), Passed { collisions: 1, ..Passed::default() });
        assert_eq!(found(2, 0, &[ANOTHER, 5]), Passed { lost: 5, ..Passed::default() });
        let dropped = found(13, 0, &[6, ANOTHER]);
        assert_eq!(dropped, Passed { lost_samples: 6, ..Passed::default() });
        for lossy in [aux(1), aux(1 << 2), aux(1 << 3), found(2, 0, &[ANOTHER, 5]), dropped] {
            assert!(lossy.is_lossy(), "{lossy:?}");
        }
        // Overwriting is no loss; a filter was asked for; a record that is cut says nothing.
        let harmless = [aux(1 << 1), found(13, 1 << 15, &[6]), found(2, 0, &[ANOTHER])];
        assert!(harmless.iter().all(|passed| !passed.is_lossy()), "{harmless:?}");
    }
}
