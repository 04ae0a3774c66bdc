//! One pass over the bytes of a record stream, whatever holds them: a mapping gives them all at
//! once, a pipe in pieces of any size.

use crate::cursor::ByteOrder;
use crate::perf::Auxtrace;
use crate::perf::compressed;
use crate::perf::compressed::{Broken, Decompressor};
use crate::perf::record;
use crate::perf::record::{Next, Record, kind};
use crate::{Position, TraceOffset};

/// Takes what a walk finds. `'a` is how long the bytes of AUX data live.
pub(crate) trait Visitor<'a> {
    /// A part that lies in memory as a whole comes next; its first byte stands at `start`.
    fn part(&mut self, _bytes: &'a [u8], _start: Position) {}
    /// A record whose last byte stands at `position`.
    fn record(&mut self, record: &Record<'_>, position: Position);
    /// A record that was compressed: it does not stand at `position`, which is that of the
    /// compressed record, and is gone when this returns.
    fn inflated(&mut self, record: &Record<'_>, position: Position) {
        self.record(record, position);
    }
    /// AUX data comes next; `None` if its record does not say where it belongs.
    fn aux(&mut self, aux: Option<&Auxtrace>, position: Position);
    /// Bytes of the AUX data that was announced last, the first of which stands at `position`.
    fn aux_bytes(&mut self, bytes: &'a [u8], position: Position);
    /// Something could not be read.
    fn problem(&mut self, what: String, at: TraceOffset, consequence: &'static str);
    /// The input ends before its last record does, or before that record's data.
    fn cut_short(&mut self);
}

/// The state of a walk: what is open between two windows.
pub(crate) struct RecordStream {
    order: ByteOrder,
    file: u32,
    /// Payload bytes behind the last record that are still to come, and whether they are AUX
    /// data.
    payload: u64,
    payload_is_aux: bool,
    decompressor: Compression,
    ended: bool,
}

enum Compression {
    Unused,
    Running(Box<Decompressor>),
    Broken,
}

impl RecordStream {
    pub(crate) fn new(order: ByteOrder, file: u32) -> Self {
        let decompressor = Compression::Unused;
        Self { order, file, payload: 0, payload_is_aux: false, decompressor, ended: false }
    }

    /// A position in this input.
    pub(crate) fn position(&self, offset: u64) -> Position {
        Position { file: self.file, offset: TraceOffset(offset) }
    }

    /// Takes as much as it can from `window`, which starts at `start` of the input, and returns
    /// how much that was. What it leaves is less than one record: it must come again, with more
    /// behind it.
    pub(crate) fn advance<'a>(
        &mut self,
        window: &'a [u8],
        start: u64,
        visitor: &mut impl Visitor<'a>,
    ) -> usize {
        let mut at = 0;
        while at < window.len() {
            if self.ended {
                return window.len();
            }
            let rest = &window[at..];
            let offset = start + at as u64;
            if self.payload > 0 {
                let len =
                    usize::try_from(self.payload).map_or(rest.len(), |len| len.min(rest.len()));
                if self.payload_is_aux {
                    visitor.aux_bytes(&rest[..len], self.position(offset));
                }
                self.payload -= len as u64;
                at += len;
                continue;
            }
            match record::next(rest, self.order) {
                Next::Record(record) => {
                    at += record.size();
                    self.record(&record, offset, visitor);
                }
                Next::Partial { .. } => break,
                Next::Corrupt { size } => {
                    self.ended = true;
                    visitor.problem(
                        format!("record header with size {size}, expected 8 at least"),
                        TraceOffset(offset),
                        "what follows is not read",
                    );
                }
            }
        }
        at
    }

    fn record<'a>(&mut self, record: &Record<'_>, offset: u64, visitor: &mut impl Visitor<'a>) {
        let last_byte = self.position(offset + record.size() as u64 - 1);
        match record.kind {
            kind::COMPRESSED | kind::COMPRESSED2 => self.compressed(record, last_byte, visitor),
            kind::AUXTRACE => {
                let aux = Auxtrace::parse(record.body, self.order);
                visitor.aux(aux.as_ref(), last_byte);
                if aux.is_none() {
                    visitor.problem(
                        "AUXTRACE record too short for it".to_owned(),
                        TraceOffset(offset),
                        "its data is skipped",
                    );
                }
            }
            _ => visitor.record(record, last_byte),
        }
        self.payload = record.payload_len;
        self.payload_is_aux = record.kind == kind::AUXTRACE;
    }

    /// Decompresses a record. The records in it have its position.
    fn compressed<'a>(
        &mut self,
        record: &Record<'_>,
        position: Position,
        visitor: &mut impl Visitor<'a>,
    ) {
        if matches!(self.decompressor, Compression::Unused) {
            self.decompressor = match Decompressor::new() {
                Some(decompressor) => Compression::Running(Box::new(decompressor)),
                None => Compression::Broken,
            };
        }
        let Compression::Running(decompressor) = &mut self.decompressor else { return };
        let order = self.order;
        let done = compressed::data(record, order).and_then(|data| {
            decompressor.run(data, order, &mut |record| visitor.inflated(&record, position))
        });
        if let Err(broken) = done {
            self.break_compression(broken, position.offset, visitor);
        }
    }

    fn break_compression<'a>(
        &mut self,
        broken: Broken,
        at: TraceOffset,
        visitor: &mut impl Visitor<'a>,
    ) {
        self.decompressor = Compression::Broken;
        visitor.problem(broken.to_string(), at, "no compressed record from here on is read");
    }

    /// The input has ended, with `left` bytes that were no whole record.
    pub(crate) fn finish<'a>(self, left: usize, end: u64, visitor: &mut impl Visitor<'a>) {
        let unfinished = match &self.decompressor {
            Compression::Running(decompressor) => decompressor.unfinished(),
            _ => 0,
        };
        if self.payload > 0 || left > 0 || unfinished > 0 {
            visitor.cut_short();
        }
        if self.payload > 0 {
            visitor.problem(
                format!("the input ends {} bytes before the last record's data does", self.payload),
                TraceOffset(end),
                "what there was is counted",
            );
        } else if left > 0 || unfinished > 0 {
            visitor.problem(
                "the input ends in the middle of a record".to_owned(),
                TraceOffset(end),
                "that record is not counted",
            );
        }
    }
}
