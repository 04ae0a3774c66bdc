//! Plays streams of `tracegen` one after the other, again and again, as one stream whose times go
//! on: `endless FILE... | folioscope serve -`. It writes as fast as it is read from.
//!
//! Where an Arm SPE time stands must be known without decoding: the streams must have been made
//! with the layout n1, whose records end with a Timestamp packet at every 64 bytes, and with
//! times. Only the first stream says what the events are, so all must have the same ones.

#![expect(clippy::cast_possible_truncation, reason = "numbers of 32 bits in words of 64")]

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};

/// Bytes of a stream's header.
const HEADER: usize = 16;
/// Bytes of an SPE record, and where its Timestamp packet (D18.2.9) has its payload.
const RECORD: usize = 64;
const TIMESTAMP: (usize, u8) = (55, 0x71);
/// Types of records, in `include/uapi/linux/perf_event.h` and `tools/lib/perf/include/perf/event.h`.
const AUX: u32 = 11;
const FIRST_OF_PERF: u32 = 64;
const AUXTRACE: u32 = 71;
const TIME_CONV: u32 = 79;
/// Bytes that are given to the pipe at once.
const WRITTEN: usize = 1 << 20;

/// Where something stands that grows from round to round.
enum Place {
    /// An SPE time, in ticks.
    Ticks(usize),
    /// A record's time, in ns.
    Ns(usize),
    /// A place in the AUX data of a CPU.
    Offset(usize, usize),
}

struct Stream {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// Where the records start that are not only for the stream's first reader.
    start: usize,
    /// The first time, in ticks.
    first: u64,
    /// Ticks from there to behind the last one.
    span: u64,
    /// Bytes of AUX data of each CPU.
    lengths: Vec<u64>,
    /// Nanoseconds of a tick, as a multiplier and a shift.
    conversion: (u64, u64),
}

fn word(bytes: &[u8], at: usize) -> Result<u64, Box<dyn Error>> {
    let word = bytes.get(at..at + 8).ok_or("a record is cut off")?;
    Ok(u64::from_le_bytes(word.try_into()?))
}

fn read(path: &str) -> Result<Stream, Box<dyn Error>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let (mut places, mut lengths, mut conversion) = (Vec::new(), Vec::new(), (1, 0));
    let (mut at, mut start, mut first, mut last) = (HEADER, None, u64::MAX, 0);
    while at < bytes.len() {
        let head = word(&bytes, at)?;
        let (kind, len) = (head as u32, (head >> 48) as usize);
        if kind < FIRST_OF_PERF {
            start.get_or_insert(at);
        }
        match kind {
            TIME_CONV => conversion = (word(&bytes, at + 16)?, word(&bytes, at + 8)?),
            AUXTRACE => {
                let (size, cpu) = (word(&bytes, at + 8)?, word(&bytes, at + 40)? as u32 as usize);
                lengths.resize(lengths.len().max(cpu + 1), 0);
                lengths[cpu] += size;
                places.push(Place::Offset(at + 16, cpu));
                let data = at + len..at + len + size as usize;
                for record in data.clone().step_by(RECORD) {
                    let time = record + TIMESTAMP.0;
                    if bytes.get(time) != Some(&TIMESTAMP.1) {
                        return Err(format!("{path}: not layout n1 with times").into());
                    }
                    let ticks = word(&bytes, time + 1)?;
                    (first, last) = (first.min(ticks), last.max(ticks));
                    places.push(Place::Ticks(time + 1));
                }
                at = data.end;
                continue;
            }
            _ if kind < FIRST_OF_PERF => {
                // The trailer: pid and tid, time, CPU, identifier.
                places.push(Place::Ns(at + len - 24));
                if kind == AUX {
                    let cpu = word(&bytes, at + len - 16)? as u32 as usize;
                    places.push(Place::Offset(at + 8, cpu));
                }
            }
            _ => {}
        }
        at += len.max(8);
    }
    let span = (last + 1_u64).checked_sub(first).ok_or("a stream without AUX data")?;
    let start = start.unwrap_or(HEADER);
    Ok(Stream { bytes, places, start, first, span, lengths, conversion })
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<_> = std::env::args().skip(1).collect();
    let mut streams = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = streams.first() else { return Err("usage: endless FILE...".into()) };
    let mut out = File::from(std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned()?);
    let (mut now, (multiplier, shift)) = (first.first, first.conversion);
    let cpus = streams.iter().map(|stream| stream.lengths.len()).max().unwrap_or(0);
    let mut bases = vec![0_u64; cpus];
    // What the streams' bytes say already.
    let mut said: Vec<_> = streams.iter().map(|_| (0_u64, vec![0_u64; cpus])).collect();
    let mut begun = false;
    loop {
        for (stream, (moved, said)) in streams.iter_mut().zip(&mut said) {
            // Streams start at any time: each goes on where the one before has ended.
            let wanted = now.wrapping_sub(stream.first);
            let ticks = wanted.wrapping_sub(*moved);
            let in_ns = |ticks: u64| ((u128::from(ticks) * u128::from(multiplier)) >> shift) as u64;
            let ns = in_ns(wanted).wrapping_sub(in_ns(*moved));
            *moved = wanted;
            let mut places = stream.places.iter().peekable();
            let mut from = if begun { stream.start } else { 0 };
            begun = true;
            while from < stream.bytes.len() {
                let to = stream.bytes.len().min(from + WRITTEN);
                // A place that the next part begins in is done with this one: it was read whole.
                let mut add = |place: &Place| {
                    let (at, more) = match place {
                        Place::Ticks(at) => (*at, ticks),
                        Place::Ns(at) => (*at, ns),
                        Place::Offset(at, cpu) => (*at, bases[*cpu].wrapping_sub(said[*cpu])),
                    };
                    let word = &mut stream.bytes[at..at + 8];
                    let sum =
                        u64::from_le_bytes(word.try_into().expect("8 bytes")).wrapping_add(more);
                    word.copy_from_slice(&sum.to_le_bytes());
                };
                while let Some(place) = places.next_if(|place| {
                    let (Place::Ticks(at) | Place::Ns(at) | Place::Offset(at, _)) = place;
                    *at < to
                }) {
                    add(place);
                }
                if let Err(error) = out.write_all(&stream.bytes[from..to]) {
                    // The reader has enough.
                    let gone = error.kind() == std::io::ErrorKind::BrokenPipe;
                    return if gone { Ok(()) } else { Err(error.into()) };
                }
                from = to;
            }
            said.copy_from_slice(&bases);
            for (base, len) in bases.iter_mut().zip(&stream.lengths) {
                *base += len;
            }
            now += stream.span;
        }
    }
}
