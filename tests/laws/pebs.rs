//! Any bytes as a raw PEBS buffer.

use std::io::{Error, ErrorKind, Read};

use decoder::pebs::Format;
use decoder::{Raw, Recording, decode_raw};

use super::Choices;
use super::probe::{ENOUGH, Given, Probe, check, wanted};

/// The last byte and the data address of each record, and the bytes of all of them.
type Walked = (Vec<(u64, Option<u64>)>, u64);

/// Reads any bytes in every format: all of them are accounted for, the records are those that a
/// walk by the table of sizes finds, and it does not matter in which pieces the bytes come.
pub fn pebs(data: &[u8]) {
    let mut choices = Choices::from_end(data);
    if [&b"PERFILE2"[..], b"2ELIFREP", b"PERFFILE"].iter().any(|magic| data.starts_with(magic)) {
        let refused = decode_raw(data, Raw::Pebs(Format::Fixed0, None), 0, &mut Probe::new(ENOUGH));
        return assert!(matches!(refused, Err(decoder::Error::NotRaw { .. })));
    }
    for format in Format::ALL {
        let (recording, probe) = read(data, format);
        let given = probe.given.clone();
        let walked = walk(format, data);
        assert_eq!(given.iter().map(told).collect::<Vec<_>>(), walked.0, "format {format}");
        assert_eq!(recording.ledger.record_bytes, walked.1, "format {format}");
        assert_eq!(recording.ledger.aux_bytes, data.len() as u64, "format {format}");
        let ledger = recording.ledger;
        check(recording, &probe, data.len(), wanted(0, 30, false));

        let pieces = Pieces { parts: choices.cuts(data, 16), interrupted: false };
        let (in_pieces, probe) = read(pieces, format);
        assert_eq!((probe.given, in_pieces.ledger), (given, ledger), "format {format}");
    }
}

fn read(reader: impl Read, format: Format) -> (Recording, Probe) {
    let mut probe = Probe::new(ENOUGH);
    let recording = decode_raw(reader, Raw::Pebs(format, None), 0, &mut probe);
    (recording.expect("memory can be read"), probe)
}

/// Gives bytes in pieces, each after an interruption.
struct Pieces<'a> {
    parts: Vec<&'a [u8]>,
    interrupted: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(Error::from(ErrorKind::Interrupted));
        }
        while self.parts.first().is_some_and(|part| part.is_empty()) {
            self.parts.remove(0);
        }
        let Some(part) = self.parts.first_mut() else { return Ok(0) };
        part.read(buffer)
    }
}

fn told(given: &Given) -> (u64, Option<u64>) {
    let address = match given {
        Given::Access(access) => access.vaddr.map(decoder::VirtAddr::get),
        Given::Other(_) => None,
    };
    (given.position().offset.0, address)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// All records, by the tables of sizes alone.
fn walk(format: Format, data: &[u8]) -> Walked {
    match format.as_str() {
        "0" => walk_fixed(data, 144, None),
        "1" => walk_fixed(data, 176, Some(152)),
        "2" => walk_fixed(data, 192, Some(152)),
        "3" => walk_fixed(data, 200, Some(152)),
        "arch" => walk_fragments(data),
        number => walk_adaptive(data, number == "6"),
    }
}

fn nonzero(bytes: &[u8]) -> Option<u64> {
    Some(number(bytes)).filter(|value| *value != 0)
}

fn walk_fixed(data: &[u8], size: usize, address: Option<usize>) -> Walked {
    let mut found = Vec::new();
    for (number, record) in data.chunks_exact(size).enumerate() {
        if record.iter().any(|byte| *byte > 0) {
            let address = address.and_then(|at| nonzero(&record[at..at + 8]));
            found.push((((number + 1) * size - 1) as u64, address));
        }
    }
    let bytes = (found.len() * size) as u64;
    (found, bytes)
}

fn walk_adaptive(data: &[u8], counters: bool) -> Walked {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = data.get(at..at + 8) {
        let size = usize::from(u16::from_le_bytes([first[6], first[7]]));
        let Some(record) = data.get(at..at + size).filter(|_| size >= 32) else { break };
        let mut groups = 32;
        for (bit, bytes) in [(1, 32), (2, 144), (4, 256), (8, 24 * (usize::from(first[3]) + 1))] {
            groups += if first[0] & bit > 0 { bytes } else { 0 };
        }
        if counters && first[0] & 0x30 > 0 {
            let Some(head) = record.get(groups..groups + 16) else { break };
            let metrics = if number(&head[8..12]) == 3 { 16 } else { 0 };
            let words = head[..8].iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
            groups += 16 + 8 * words + metrics;
        }
        if groups != size {
            break;
        }
        at += size;
        let address = (first[0] & 1 > 0).then(|| nonzero(&record[32..40])).flatten();
        found.push((at as u64 - 1, address));
    }
    (found, at as u64)
}

fn walk_fragments(data: &[u8]) -> Walked {
    let mut found = Vec::new();
    let (mut at, mut bytes) = (0, 0);
    // Bytes and address of the record that goes on.
    let mut open: Option<(u64, Option<u64>)> = None;
    while let Some(first) = data.get(at..at + 8) {
        let word = number(first);
        let bit = |bit: u32| word >> bit & 1 == 1;
        let size = usize::from(u16::from_le_bytes([first[0], first[1]]));
        let lbr = [0, 48 + 8 * 24, 48 + 16 * 24, 48][usize::from(first[5] & 3)];
        let counters = if (35..40).any(bit) { 16 } else { 0 };
        let sizes = [(63, 48), (62, 64), (61, 160), (49, 272)];
        let least = sizes.into_iter().filter(|(group, _)| bit(*group)).map(|(_, size)| size);
        let least = 16 + lbr + counters + least.sum::<usize>();
        if size == 0 || size % 8 > 0 || size < least {
            break;
        }
        let Some(fragment) = data.get(at..at + size) else { break };
        at += size;
        if bit(63) {
            // It starts a record, whatever went on up to here.
            open = None;
        } else if open.is_none() {
            continue;
        }
        let (before, mut address) = open.take().unwrap_or((0, None));
        if bit(62) {
            let aux = if bit(63) { 64 } else { 16 };
            address = nonzero(&fragment[aux..aux + 8]);
        }
        let so_far = before + size as u64;
        if bit(31) || word < 1 << 16 {
            open = Some((so_far, address));
        } else {
            found.push((at as u64 - 1, address));
            bytes += so_far;
        }
    }
    (found, bytes)
}
