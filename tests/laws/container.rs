//! Any bytes as a recording: as a file, a stream and a folder, through to the report.

use std::io::{self, ErrorKind, Read};
use std::num::NonZeroUsize;

use decoder::{Error, Grain, InputKind, Options, Recording, decode_bytes, decode_stream};

use super::probe::{ENOUGH, Given, Probe, check, told, wanted};
use super::{Choices, probe};

/// Files with this number are nobody else's.
const FIRST_FILE: u32 = 3;

/// Reads any bytes in all forms. The account adds up, the counters agree with it, a report can
/// be written; the order and the number of threads change no record; and a stream gives what
/// the same bytes give as a file.
pub fn container(data: &[u8]) {
    let mut choices = Choices::from_end(data);
    let memory = usize::from(choices.byte()) << 8;
    let wanted = wanted(choices.byte(), choices.byte(), choices.flag());
    let read = |threads, ordered, probe: &mut Probe| {
        let threads = NonZeroUsize::MIN.saturating_add(threads);
        let options = Options { ordered, grain: grain(data), ..Options::new(threads) };
        decode_bytes(&[data], FIRST_FILE, &options, probe)
    };

    let mut pressed = Probe::new(memory);
    let small = read(choices.below(3), false, &mut pressed);
    let mut ordered = Probe::new(ENOUGH);
    let file = read(0, true, &mut ordered);
    let mut piped = Probe::new(ENOUGH);
    let mut shared = Probe::new(ENOUGH);
    let pipe = |threads: usize, probe: &mut Probe| {
        let threads = NonZeroUsize::MIN.saturating_add(threads);
        let options = Options { grain: grain(data), ..Options::new(threads) };
        let pieces = Pieces { data, sizes: choices.clone() };
        decode_stream(pieces, FIRST_FILE, &options, probe)
    };
    let stream = pipe(0, &mut piped);
    let of_many = pipe(1 + data.len() % 3, &mut shared);

    match (&small, &file) {
        (Ok(small), Ok(file)) => {
            assert_eq!(told(small), told(file));
            assert_eq!(pressed.ledger(small), ordered.ledger(file));
            assert!(
                ordered.given.is_sorted_by_key(Given::position),
                "the order that was asked for"
            );
            assert_eq!(pressed.in_order(), ordered.in_order());
        }
        (Err(small), Err(file)) => assert_eq!(small.to_string(), file.to_string()),
        (small, file) => panic!("{small:?} and {file:?}"),
    }
    match (&stream, &of_many) {
        (Ok(stream), Ok(of_many)) => {
            assert_eq!(told(stream), told(of_many));
            assert_eq!(stream.ledger, of_many.ledger);
            assert!(shared.counter.ledgers().eq(piped.counter.ledgers()), "records, threads");
            assert_eq!(shared.in_order(), piped.in_order());
            assert_eq!(shared.pages(), piped.pages());
        }
        (Err(stream), Err(of_many)) => assert_eq!(stream.to_string(), of_many.to_string()),
        (stream, of_many) => panic!("{stream:?} and {of_many:?}"),
    }
    match (&file, &stream) {
        (Ok(file), Ok(stream)) => {
            assert_eq!(file.kind, InputKind::Stream);
            assert_eq!(told(file), told(stream));
            assert_eq!(ordered.ledger(file), piped.ledger(stream));
            assert_eq!(ordered.in_order(), piped.in_order());
            assert_eq!(ordered.pages(), piped.pages());
        }
        (Ok(Recording { kind: InputKind::File, .. }), Err(Error::NotAStream { .. }))
        | (Err(_), Err(_)) => {}
        (file, stream) => panic!("{file:?} and {stream:?}"),
    }
    piped.counter.store().validate();
    for (recording, probe) in [(small, &pressed), (file, &ordered)] {
        if let Ok(recording) = recording {
            check(recording, probe, data.len(), wanted);
        }
    }
    folder(data, &mut choices, wanted);
}

/// Queues are cut into small parts, and streams are read in small buffers of odd sizes.
fn grain(data: &[u8]) -> Grain {
    Grain { part: 1 + data.len() % 97, buffer: 1 + data.len() % 1013 }
}

/// The first part as `data`, the others as `data.0` and so on.
fn folder(data: &[u8], choices: &mut Choices<'_>, wanted: heatmap::Wanted) {
    let files = choices.cuts(data, 3);
    let threads = NonZeroUsize::MIN.saturating_add(choices.below(3));
    let options = Options {
        ordered: choices.flag(),
        prompt: choices.flag(),
        grain: grain(data),
        ..Options::new(threads)
    };
    let mut probe = probe::Probe::new(ENOUGH);
    if let Ok(recording) = decode_bytes(&files, FIRST_FILE, &options, &mut probe) {
        assert_eq!(recording.files as usize, files.len());
        check(recording, &probe, data.len(), wanted);
    }
}

/// Gives bytes in pieces of odd sizes, and is interrupted now and then.
struct Pieces<'a> {
    data: &'a [u8],
    sizes: Choices<'a>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = match self.sizes.byte() {
            0 => self.data.len(),
            1 => return Err(ErrorKind::Interrupted.into()),
            size if self.data.len() > 1 << 14 => usize::from(size) << 4,
            size => usize::from(size) / 2,
        };
        let len = len.min(buffer.len()).min(self.data.len());
        let (now, later) = self.data.split_at(len);
        buffer[..len].copy_from_slice(now);
        self.data = later;
        Ok(len)
    }
}
