//! Any bytes as the pieces of an AUX queue, whichever unit wrote them.

use decoder::{Access, AuxFormat, ByteAccount, Chunk, Continuity, Origin, Position, Sink, Timed};

use super::Choices;

/// How a piece that starts at `place` may follow.
pub fn join(choices: &mut Choices<'_>, place: u64) -> Continuity {
    match choices.byte() {
        0..64 => Continuity::Continued,
        64..96 => Continuity::Gap,
        zeros @ 112..128 => Continuity::Kept(zeros % 8),
        repeated @ 96..112 => {
            Continuity::Snapshot { repeated_before: place.saturating_add(u64::from(repeated - 96)) }
        }
        zeros => Continuity::Trimmed(zeros % 8),
    }
}

/// How far before the end of the last piece one starts.
pub fn trimmed(join: Continuity) -> u64 {
    if let Continuity::Trimmed(zeros) = join { u64::from(zeros) } else { 0 }
}

/// Every byte that was fed is in one field of the account.
pub fn balanced(account: ByteAccount, total: u64, fed: u64) {
    assert_eq!(account.sum(), total, "{account:?}");
    assert_eq!(total + account.overlap, fed, "{account:?}");
}

/// Remembers accesses and other records.
#[derive(Debug, Default, PartialEq)]
struct Given(Vec<Access>, Vec<Origin>);

impl Sink for Given {
    fn access(&mut self, access: &Access) {
        self.0.push(*access);
    }
    fn other(&mut self, origin: &Origin) {
        self.1.push(*origin);
    }
}

/// A queue of some unit.
pub trait Queue {
    /// Starts a piece.
    fn begin(&mut self, piece: Chunk);
    /// Takes its next bytes.
    fn bytes(&mut self, bytes: &[u8], at: Position, sink: &mut dyn Sink);
    /// Ends.
    fn finish(self) -> (ByteAccount, u64, Timed);
}

/// Pieces with places, losses and repeats: the account adds up, and it does not matter in how
/// many steps the bytes of a piece come.
pub fn queue<Q: Queue>(
    data: &[u8],
    choices: &mut Choices<'_>,
    unit: &AuxFormat,
    new: impl Fn() -> Q,
) {
    let pieces = cut_up(data, choices, unit);
    let run = |steps: &mut dyn FnMut(usize) -> usize| {
        let mut queue = new();
        let mut given = Given::default();
        let mut at = Position::default();
        for (piece, bytes) in &pieces {
            queue.begin(piece.clone());
            let mut rest = *bytes;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(steps(rest.len()));
                queue.bytes(now, at, &mut given);
                at.offset.0 += now.len() as u64;
                rest = later;
            }
        }
        let (account, total, timed) = queue.finish();
        balanced(account, total, data.len() as u64);
        (given, account, total, timed)
    };
    let at_once = run(&mut |len| len);
    let in_steps = run(&mut |len| choices.below(len) + 1);
    assert_eq!(in_steps, at_once);
}

/// Cuts data into pieces that follow each other in any way.
fn cut_up<'a>(
    data: &'a [u8],
    choices: &mut Choices<'_>,
    unit: &AuxFormat,
) -> Vec<(Chunk, &'a [u8])> {
    let origin = if choices.flag() { u64::MAX - u64::from(choices.byte()) } else { 0 };
    let mut place = origin;
    let mut pieces = Vec::new();
    for bytes in choices.cuts(data, 8) {
        let mut breaks = Vec::new();
        // As of AUX records: none in a piece whose places start again at 0.
        if place.checked_add(bytes.len() as u64).is_some() {
            let count = choices.below(4);
            breaks.resize_with(count, || place + choices.below(bytes.len() + 1) as u64);
        }
        breaks.sort_unstable();
        // perf's filling is less than eight bytes.
        let data_len = (bytes.len() as u64).saturating_sub(u64::from(choices.byte() % 8));
        let join = join(choices, place);
        place = place.wrapping_sub(trimmed(join));
        let piece = Chunk {
            offset: place,
            data_len,
            continuity: join,
            repeated: choices.below(3) as u64 * 5,
            breaks,
            clock: None,
            reference: choices.flag().then(|| choices.u64()),
            event: None,
            format: unit.clone(),
        };
        place = place.wrapping_add(bytes.len() as u64);
        pieces.push((piece, bytes));
    }
    pieces
}
