//! What reading costs, in steps of the decoder, against the size of the input.

use std::num::NonZeroUsize;

use decoder::{
    Access, Grain, Options, Origin, Recording, Shard, Sink, decode_bytes, decode_stream,
    steps_taken,
};

use super::Choices;

/// Bytes of an input to which steps are related.
const BYTES: usize = 64;
/// Steps that an ordinary recording takes for so many bytes, read in order, which takes most.
pub const ORDINARY: u64 = 3;
/// The same of a recording that perf compressed (`-z`): it holds several times its size.
pub const ORDINARY_COMPRESSED: u64 = 25;
/// How much more than an ordinary input of its size any input may take.
const TIMES: u64 = 50;
/// Steps that any input may take beside that, however small it is. The decoder lets every input
/// decompress to 4,096 records and 1 MiB before it holds it to its size; that is most of them.
const FREE: u64 = 16 << 10;
/// Inputs that are made here are not longer.
const LONGEST: usize = 64 << 10;

/// Asks for all that a sink can ask for.
#[derive(Debug, Default)]
struct Asks {
    changed: bool,
}

impl Sink for Asks {
    fn access(&mut self, _: &Access) {}
    fn other(&mut self, _: &Origin) {}
    fn wants_recording(&self) -> bool {
        self.changed
    }
    fn recording_changed(&mut self) {
        self.changed = true;
    }
    fn recording_so_far(&mut self, _: &Recording) {
        self.changed = false;
    }
}

impl Shard for Asks {
    fn split(&self) -> Self {
        Self::default()
    }
    fn merge(&mut self, _: Self) {}
}

/// Reads any bytes as a file, in order and not, and as a stream. None takes more than its share of
/// steps. The bytes also say what is written many times into another input, which is read too.
pub fn cost(data: &[u8]) {
    check(data);
    check(&repeating(Choices::from_start(data)));
}

/// Reads a recording in all forms and panics if one takes more steps than its size allows. Returns
/// the greatest number of steps for 64 bytes, of those beyond what is free.
pub fn check(data: &[u8]) -> u64 {
    let size = data.len().div_ceil(BYTES) as u64;
    let ordinary = if may_be_compressed(data) { ORDINARY_COMPRESSED } else { ORDINARY };
    let most = FREE + TIMES * ordinary * size;
    let mut greatest = 0;
    for (form, read) in forms() {
        let Some(before) = steps_taken() else { return 0 };
        read(data);
        let taken = steps_taken().unwrap_or(before) - before;
        assert!(taken <= most, "{taken} steps, at most {most} for {} bytes, {form}", data.len());
        greatest = greatest.max(taken.saturating_sub(FREE) / size.max(1));
    }
    greatest
}

type Read = fn(&[u8]);

/// Whether there may be a record COMPRESSED or COMPRESSED2 in it: each starts with its number, at a
/// multiple of 8.
fn may_be_compressed(data: &[u8]) -> bool {
    let kinds = [81_u32, 83].map(u32::to_le_bytes);
    let starts = |at: &[u8]| kinds.iter().any(|kind| at == kind || at.iter().rev().eq(kind));
    data.chunks(8).filter_map(|word| word.get(..4)).any(starts)
}

fn forms() -> [(&'static str, Read); 3] {
    // What cannot be opened costs nothing.
    fn one(ordered: bool) -> Options {
        let grain = Grain { part: 4096, buffer: 64 << 10 };
        Options { ordered, grain, ..Options::new(NonZeroUsize::MIN) }
    }
    [
        ("as a file", |data| drop(decode_bytes(&[data], 0, &one(false), &mut Asks::default()))),
        ("in order", |data| drop(decode_bytes(&[data], 0, &one(true), &mut Asks::default()))),
        ("as a stream", |data| drop(decode_stream(data, 0, &one(false), &mut Asks::default()))),
    ]
}

/// A stream in which a few records stand again and again, with words in them that count.
fn repeating(mut choices: Choices<'_>) -> Vec<u8> {
    /// Those that the decoder knows, and one that it does not.
    const KINDS: [u32; 21] =
        [64, 69, 70, 71, 74, 80, 78, 79, 81, 9, 11, 21, 2, 3, 5, 7, 12, 13, 14, 15, 99];
    const AUXTRACE: u32 = 71;
    let mut out = [&b"PERFILE2"[..], &16_u64.to_le_bytes()].concat();
    while !choices.is_empty() && out.len() < LONGEST {
        let group: Vec<_> = (0..1 + choices.below(3))
            .map(|_| {
                let kind = KINDS[choices.below(KINDS.len())];
                let words: Vec<_> =
                    (0..choices.below(20)).map(|_| Word::of(&mut choices)).collect();
                (kind, u16::from(choices.byte()), words)
            })
            .collect();
        let times = 1_u64 << choices.below(13);
        for time in 0..times {
            if out.len() >= LONGEST {
                break;
            }
            for (kind, misc, words) in &group {
                let mut body: Vec<u8> =
                    words.iter().flat_map(|word| word.at(time).to_le_bytes()).collect();
                // Its first word is the length of the data behind it.
                let payload =
                    if *kind == AUXTRACE && body.len() > 40 { body.split_off(40) } else { vec![] };
                if *kind == AUXTRACE && body.len() == 40 {
                    body[..8].copy_from_slice(&(payload.len() as u64).to_le_bytes());
                }
                out.extend(kind.to_le_bytes());
                out.extend(misc.to_le_bytes());
                let size = u16::try_from(8 + body.len()).expect("at most 20 words");
                out.extend(size.to_le_bytes());
                out.extend(body);
                out.extend(payload);
            }
        }
    }
    out
}

/// A word of a record that is repeated.
#[derive(Clone, Copy, Debug)]
enum Word {
    Same(u64),
    /// Counts from a number on, in steps.
    Counts(u64, u64),
}

impl Word {
    fn of(choices: &mut Choices<'_>) -> Self {
        match choices.byte() {
            small @ 0..200 => Self::Same(u64::from(small)),
            200..210 => Self::Same(u64::MAX),
            210..220 => Self::Counts(u64::from(choices.byte()), u64::from(choices.byte())),
            220..230 => {
                Self::Counts(u64::from(choices.u32()), u64::from(choices.u16()).wrapping_neg())
            }
            230..240 => Self::Same(u64::from(choices.u32())),
            _ => Self::Same(choices.u64()),
        }
    }

    const fn at(self, time: u64) -> u64 {
        match self {
            Self::Same(word) => word,
            Self::Counts(first, step) => first.wrapping_add(step.wrapping_mul(time)),
        }
    }
}
