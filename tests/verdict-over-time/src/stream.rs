//! The stream that the daemon reads: what `perf record -o -` writes of Arm SPE.

use std::io::{self, Write};

use tracegen::Config;
use tracegen::bytes::{Endian, align};
use tracegen::perf::record::{Record, Trailer};
use tracegen::perf::tool::{kind, mark};
use tracegen::perf::{Auxtrace, Writer};

use crate::visits::{Batch, EPOCH_NS, QUEUES, sign_of_life};

/// Process that runs on all CPUs, and its thread.
const TASK: (u32, u32) = (4242, 4242);

/// A stream that is being written.
pub struct Stream<W> {
    writer: Writer<W>,
    /// AUX bytes of each queue so far.
    lengths: [u64; QUEUES],
    /// Accesses so far.
    pub accesses: u64,
}

impl<W: Write> Stream<W> {
    /// Writes what stands before the first sample.
    ///
    /// # Errors
    /// Those of the output.
    pub fn begin(out: W) -> io::Result<Self> {
        let cpus = u32::try_from(QUEUES).expect("queues are few");
        let config = Config { cpus, records: 0, ..Config::default() };
        let writer = tracegen::begin_stream(&config, out)?;
        Ok(Self { writer, lengths: [0; QUEUES], accesses: 0 })
    }

    /// Writes an epoch, with a sign of life at its end: without any access time would not pass.
    ///
    /// # Errors
    /// Those of the output.
    pub fn epoch(&mut self, batch: Batch, blocks: usize) -> io::Result<()> {
        self.accesses += batch.accesses;
        for (queue, aux) in batch.aux.into_iter().enumerate() {
            self.aux(queue, aux, batch.epoch)?;
        }
        self.keep_alive(batch.epoch, blocks)?;
        let mut round = Vec::new();
        mark(&mut round, Endian::Little, kind::FINISHED_ROUND);
        self.writer.tool(&round)
    }

    /// Keeps an epoch alive that has been written, so that the daemon does not take it for over: see
    /// [`sign_of_life`].
    ///
    /// # Errors
    /// Those of the output.
    pub fn keep_alive(&mut self, epoch: u64, blocks: usize) -> io::Result<()> {
        self.accesses += 1;
        self.aux(0, sign_of_life(epoch, blocks), epoch)
    }

    /// Announces AUX data of a queue, and writes it.
    fn aux(&mut self, queue: usize, mut bytes: Vec<u8>, epoch: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        align(&mut bytes, 8);
        let cpu = u32::try_from(queue).expect("queues are few");
        let (offset, size) = (self.lengths[queue], bytes.len() as u64);
        let event = &self.writer.events()[0];
        let time = (epoch + 1) * EPOCH_NS - 1;
        let trailer = Trailer { pid: TASK.0, tid: TASK.1, time, id: event.ids[queue], cpu };
        let mut announced = Vec::new();
        Record::Aux { offset, size, flags: 0 }.write(
            &mut announced,
            Endian::Little,
            event.attr.sample_type,
            &trailer,
        );
        self.writer.ring(&announced);
        self.writer.drain()?;
        let record = Auxtrace { size, offset, reference: 0, idx: cpu, tid: u32::MAX, cpu };
        self.writer.auxtrace(&record, &bytes)?;
        self.lengths[queue] += size;
        Ok(())
    }
}
