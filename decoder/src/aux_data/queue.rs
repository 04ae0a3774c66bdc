//! One AUX queue: the chunks of a ring, put in their places, decoded, and given out as accesses. What bytes mean is the
//! tracer's decoder's to say.

use super::byte_account::{ByteAccount, FedBytes, Timed};
use super::chunk::{Chunk, ChunkHandler, ChunkReader};
use super::threads::Threads;
use crate::perf::{QueueKey, SideBand};
use crate::{Position, Sink, cost};

/// Decodes the bytes of one tracer's queue. What is unfinished at the end of a chunk is kept for the next one.
pub trait AuxDecoder: Default {
    /// Starts a chunk. Returns how many of its first bytes came before, and how many belong to a packet that is finished
    /// already: both are passed over.
    fn begin(&mut self, chunk: &Chunk) -> (u64, usize);

    /// Decodes bytes without a break in them, and gives out what they tell.
    fn decode<S: Sink + ?Sized>(&mut self, data: &ChunkData<'_>, into: GiveTo<'_, S>) -> Given;

    /// Bytes may be missing before this place of the queue.
    fn gap_at(&mut self, place: u64);
    /// The queue has ended.
    fn finish(&mut self);

    /// The bytes so far.
    fn fed(&self) -> FedBytes;
    /// The same, to count those that it is not given.
    fn fed_mut(&mut self) -> &mut FedBytes;
    /// The timestamp of the last record that had one, in ticks.
    fn newest(&self) -> Option<u64>;
}

/// Bytes of a chunk without a break in them.
#[derive(Clone, Copy, Debug)]
pub struct ChunkData<'a> {
    /// The chunk.
    pub chunk: &'a Chunk,
    /// Some of its bytes.
    pub bytes: &'a [u8],
    /// Their place in the queue's running count.
    pub place: u64,
    /// Where they stand in the input.
    pub at: Position,
}

/// Who takes the accesses of a queue, and what is known of the threads that made them.
#[derive(Debug)]
pub struct GiveTo<'a, S: ?Sized> {
    /// The queue.
    pub(crate) key: QueueKey,
    /// What the side band said in this chunk.
    pub(crate) threads: &'a mut Threads,
    /// What it says.
    pub(crate) sideband: &'a SideBand,
    /// Who takes them.
    pub(crate) sink: &'a mut S,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// A record was given out of them, or, where that is counted over the whole queue, before.
    pub records: bool,
    /// One of theirs had a timestamp.
    pub ticked: bool,
}

/// Decodes the chunks of one queue, in their order.
#[derive(Clone, Debug)]
pub struct Queue<D> {
    pub(crate) key: QueueKey,
    pub(crate) reader: ChunkReader,
    pub(crate) decoder: D,
    /// What the side band said in this chunk.
    threads: Threads,
    timed: Timed,
}

/// What becomes of a queue's bytes.
struct DecodeChunk<'a, D, S: ?Sized> {
    decoder: &'a mut D,
    timed: &'a mut Timed,
    into: GiveTo<'a, S>,
}

impl<D: AuxDecoder, S: Sink + ?Sized> ChunkHandler for DecodeChunk<'_, D, S> {
    fn overlap(&mut self, len: u64) {
        self.decoder.fed_mut().account.overlap += len;
    }

    fn fill(&mut self, len: usize) {
        self.decoder.fed_mut().fill(len);
    }

    fn unfill(&mut self, len: usize) {
        self.decoder.fed_mut().unfill(len);
    }

    fn gap_at(&mut self, place: u64) {
        self.decoder.gap_at(place);
    }

    fn data(&mut self, chunk: &Chunk, bytes: &[u8], place: u64, at: Position) {
        cost::bytes(bytes.len());
        let GiveTo { key, threads, sideband, sink } = &mut self.into;
        let into = GiveTo { key: *key, threads, sideband, sink: &mut **sink };
        let given = self.decoder.decode(&ChunkData { chunk, bytes, place, at }, into);
        self.timed.records |= given.records;
        self.timed.ticks |= given.ticked;
        self.timed.ns |= given.ticked && chunk.clock.is_some();
    }
}

impl<D: AuxDecoder> Queue<D> {
    /// A queue before its first chunk.
    pub fn new(key: QueueKey) -> Self {
        Self::with_decoder(key, D::default())
    }

    /// A queue that this decoder goes on with.
    pub(crate) fn with_decoder(key: QueueKey, decoder: D) -> Self {
        let (reader, threads) = (ChunkReader::default(), Threads::default());
        Self { key, reader, decoder, threads, timed: Timed::default() }
    }

    /// Starts a chunk.
    pub fn begin(&mut self, chunk: Chunk) {
        cost::steps(1);
        let (repeated, finished) = self.decoder.begin(&chunk);
        self.threads = Threads::default();
        self.reader.begin(chunk, repeated, finished);
        // Cuts off a record that started before a loss at or before the next byte.
        if let Some(place) = self.reader.passed_break() {
            self.decoder.gap_at(place);
        }
    }

    /// Decodes the next bytes of the chunk, which stand at `at` in the input.
    pub fn bytes<S: Sink + ?Sized>(
        &mut self,
        bytes: &[u8],
        at: Position,
        sideband: &SideBand,
        sink: &mut S,
    ) {
        let Self { key, reader, decoder, threads, timed } = self;
        let into = GiveTo { key: *key, threads, sideband, sink };
        reader.bytes(bytes, at, &mut DecodeChunk { decoder, timed, into });
    }

    /// The queue has ended. Returns its account, the number of bytes that were fed, counted
    /// apart from it, and which times its records had.
    pub fn finish(mut self) -> (ByteAccount, u64, Timed) {
        self.decoder.finish();
        let FedBytes { account, total } = self.decoder.fed();
        (account, total, self.timed)
    }

    /// The account so far, without the unfinished record.
    pub fn so_far(&self) -> (ByteAccount, u64, Timed) {
        let account = self.decoder.fed().account;
        (account, account.sum(), self.timed)
    }

    /// The queue's CPU, and the time of its last record: what follows was made later.
    pub(crate) fn passed(&self) -> Option<(u32, u64)> {
        let clock = self.reader.chunk()?.clock?;
        Some((self.key.cpu?, clock.nanoseconds(self.decoder.newest()?)))
    }
}
