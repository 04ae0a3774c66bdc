//! Records out of the bytes of one AUX queue, which come in chunks of any size. What is unfinished
//! between them is kept: the record so far and the bytes of a packet that a chunk cuts.
//!
//! ```text
//! searching:  byte by byte, for a PSB; nothing before it can be trusted
//! walking:    packet by packet; the blocks among them become records
//! ```
//!
//! A trace has PSB packets at intervals, so that damage is cheap: after bytes that are no packet,
//! and after a gap, the search begins anew. A record that is not whole by then is never given out.

use super::block::{Blocks, Record, Step};
use super::packet::{Kind, MAX_PACKET_LEN, NoPacket, PSB, Packet};
use crate::aux_data::byte_account::{ByteAccount, FedBytes};
use crate::aux_data::chunk::Continuity;

/// Decodes one queue.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    blocks: Blocks,
    /// Where in the queue the unfinished record starts.
    blocks_start: u64,
    /// The start of a packet that the last chunk cut.
    carry: [u8; MAX_PACKET_LEN],
    carry_len: usize, // in [0, MAX_PACKET_LEN)
    carry_start: u64,
    /// Place of the byte behind the last one that was fed; filling does not move it.
    next: u64,
    /// The last TSC packet since the last gap.
    ticks: Option<u64>,
    /// A time near those of the TSC packets that come.
    reference: Option<u64>,
    newest: Newest,
    /// Records were given out since somebody asked: how many, and one had a time.
    given: u64,
    ticked: bool,
    /// What had come before the last snapshot.
    before: Newest,
    /// In a snapshot: nothing has come yet that is later than all before it.
    repeats: bool,
    /// Padding packets since the last other one. Fewer than the zeros that perf added mean that
    /// the others completed that packet's payload.
    padding_run: u64,
    /// A PSB has come, and behind it at most padding, which may be perf's.
    behind_psb: bool,
    fed: FedBytes,
}

/// The latest times so far, in ticks. Those of records and of TSC packets are two clocks' hands: a
/// record's own time may be older than the TSC packet before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Newest {
    tsc: Option<u64>,
    /// Of the records given out.
    record: Option<u64>,
}

impl Newest {
    fn any(self) -> Option<u64> {
        self.tsc.max(self.record)
    }
}

/// How far a record's own time may be from the time so far, in ticks: some minutes. One that is
/// damaged must not make all that follows look repeated.
const MAX_FROM_TSC: u64 = 1 << 40;

/// What a PSB consists of, eight times. Where more of them follow, it was found too early: stray
/// ones stood before it, since no PSB follows a PSB, and no other packet starts like one.
const PSB_PAIR: [u8; 2] = [PSB[0], PSB[1]];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of a PSB have come.
    Searching(usize), // in [0, PSB.len())
    /// The next byte starts a packet, or goes on with the one that was cut.
    Walking,
}

impl Default for State {
    fn default() -> Self {
        Self::Searching(0)
    }
}

/// A field of the account.
type Field = fn(&mut ByteAccount) -> &mut u64;
const RECORD: Field = |bytes| &mut bytes.record;
const PADDING: Field = |bytes| &mut bytes.padding;
const SKIPPED: Field = |bytes| &mut bytes.skipped;
const CUT_OFF: Field = |bytes| &mut bytes.cut_off;

impl Decoder {
    /// The account so far. The bytes of an unfinished record or packet are in none of its fields
    /// until [`Decoder::finish`].
    pub fn bytes(&self) -> ByteAccount {
        self.fed.account
    }

    /// All bytes that were fed, counted apart from the account.
    pub fn total(&self) -> u64 {
        self.fed.total
    }

    /// The bytes so far, for whoever passes some over.
    pub fn fed_mut(&mut self) -> &mut FedBytes {
        &mut self.fed
    }

    /// Gives a whole time near those of the next bytes, which restores the upper byte that TSC
    /// packets leave out.
    pub fn refer_to(&mut self, reference: Option<u64>) {
        self.reference = reference.or(self.reference);
    }

    /// Announces how the next bytes follow the last ones.
    pub fn join(&mut self, join: Continuity) {
        match join {
            Continuity::Continued | Continuity::Kept(_) => {}
            Continuity::Trimmed(zeros) => self.trim(usize::from(zeros)),
            Continuity::Gap => self.gap(),
            Continuity::Snapshot { .. } => {
                self.gap();
                self.before = self.newest;
                self.repeats = self.newest.any().is_some();
            }
        }
    }

    /// Takes back `zeros` bytes of filling at the end of the last chunk.
    fn trim(&mut self, zeros: usize) {
        self.next = self.next.wrapping_sub(zeros as u64);
        if let State::Searching(_) = self.state {
            self.gap();
        } else if self.carry_len > zeros {
            // The filling stands in the middle of a packet: it goes, the packet stays.
            self.carry_len -= zeros;
            self.count(PADDING, zeros as u64);
        } else if self.carry_len > 0 || self.padding_run < zeros as u64 {
            // It completed a packet with wrong bytes.
            self.gap();
        }
    }

    /// Bytes may be missing here: what is unfinished is cut off, and a PSB is searched.
    pub fn gap(&mut self) {
        if let State::Searching(matched) = self.state {
            self.count(SKIPPED, matched as u64);
        }
        let carried = core::mem::take(&mut self.carry_len);
        self.count(CUT_OFF, carried as u64);
        self.lose_place();
        self.ticks = None;
    }

    /// Bytes may be missing before `place` of the queue: if that lies behind all bytes so far, or
    /// in what is unfinished, it is a gap. What was decoded beyond it has proved itself.
    pub fn gap_at(&mut self, place: u64) {
        let record = self.blocks.len() > 0 && self.blocks_start < place;
        let packet = self.carry_len > 0 && self.carry_start < place;
        if place >= self.next || record || packet {
            self.gap();
        }
    }

    /// The queue has ended.
    pub fn finish(&mut self) {
        self.gap();
    }

    /// Drops the unfinished record, and searches.
    fn lose_place(&mut self) {
        let dropped = self.blocks.drop();
        self.count(CUT_OFF, dropped);
        self.state = State::Searching(0);
        self.padding_run = 0;
        self.behind_psb = false;
    }

    /// Counts bytes, unless a snapshot repeats them.
    fn count(&mut self, field: Field, len: u64) {
        if self.repeats {
            self.fed.repeated(len);
        } else {
            *field(&mut self.fed.account) += len;
        }
    }

    /// How many records were given out since this was asked last, and whether any had a time.
    pub fn take_given(&mut self) -> (u64, bool) {
        (core::mem::take(&mut self.given), core::mem::take(&mut self.ticked))
    }

    /// The latest time of a record, in ticks.
    pub fn newest(&self) -> Option<u64> {
        self.newest.record
    }

    /// Whether there were packets and none of them, nor a record, had a time.
    pub fn is_untimed(&self) -> bool {
        self.fed.account.record > 0 && self.newest.any().is_none()
    }

    /// Decodes `bytes`, which start at `place` of the queue. `sink` gets every record that ends in
    /// them, with the index in `bytes` of the first byte behind it.
    pub fn feed(&mut self, bytes: &[u8], place: u64, sink: &mut impl FnMut(&Record, usize)) {
        // What had looked like filling may have been the middle of a packet.
        if place != self.next {
            self.gap();
        }
        self.fed.total += bytes.len() as u64;
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::Searching(_) => self.search(bytes, at),
                State::Walking if self.carry_len > 0 => self.complete(bytes, at, sink),
                State::Walking => self.walk(bytes, at, place, sink),
            };
        }
        self.next = place.wrapping_add(bytes.len() as u64);
    }

    /// Searches a PSB from `at` on. Returns the place behind it, or the end.
    fn search(&mut self, bytes: &[u8], at: usize) -> usize {
        for (index, byte) in bytes.iter().enumerate().skip(at) {
            if self.searched(*byte) {
                return index + 1;
            }
        }
        bytes.len()
    }

    /// Takes a byte while searching. True if it is the last one of a PSB.
    fn searched(&mut self, byte: u8) -> bool {
        let State::Searching(matched) = self.state else { return false };
        let now = match byte {
            byte if byte == PSB[matched] => matched + 1,
            // The pattern repeats itself: only its first byte can start it anew.
            byte if byte == PSB[0] => 1,
            _ => 0,
        };
        self.count(SKIPPED, (matched + 1 - now) as u64);
        if now < PSB.len() {
            self.state = State::Searching(now);
            return false;
        }
        self.count(RECORD, now as u64);
        self.state = State::Walking;
        self.behind_psb = true;
        true
    }

    /// Walks to the end of the bytes, or to where no packet starts. Returns that place.
    fn walk(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        place: u64,
        sink: &mut impl FnMut(&Record, usize),
    ) -> usize {
        while at < bytes.len() {
            if self.behind_psb && bytes[at..].starts_with(&PSB_PAIR) {
                at += PSB_PAIR.len();
                self.count(SKIPPED, PSB_PAIR.len() as u64);
                continue;
            }
            let start = place.wrapping_add(at as u64);
            match Packet::parse(&bytes[at..], self.blocks.items()) {
                Ok(packet) => {
                    at += usize::from(packet.len);
                    self.packet(&packet, start, at, sink);
                }
                Err(NoPacket::CutOff) => {
                    let rest = &bytes[at..];
                    self.carry[..rest.len()].copy_from_slice(rest);
                    (self.carry_len, self.carry_start) = (rest.len(), start);
                    return bytes.len();
                }
                Err(NoPacket::Bad) => {
                    self.lose_place();
                    return at;
                }
            }
        }
        at
    }

    /// Adds a byte to the packet that was cut. Returns the place behind it.
    fn complete(
        &mut self,
        bytes: &[u8],
        at: usize,
        sink: &mut impl FnMut(&Record, usize),
    ) -> usize {
        self.carry[self.carry_len] = bytes[at];
        self.carry_len += 1;
        if self.behind_psb && self.carry[..self.carry_len] == PSB_PAIR {
            self.carry_len = 0;
            self.count(SKIPPED, PSB_PAIR.len() as u64);
            return at + 1;
        }
        match Packet::parse(&self.carry[..self.carry_len], self.blocks.items()) {
            Ok(packet) => {
                self.carry_len = 0;
                self.packet(&packet, self.carry_start, at + 1, sink);
            }
            Err(NoPacket::CutOff) => {}
            Err(NoPacket::Bad) => {
                let carried = core::mem::take(&mut self.carry_len);
                self.lose_place();
                for index in 0..carried {
                    self.searched(self.carry[index]);
                }
            }
        }
        at + 1
    }

    /// Takes a packet that starts at `start` of the queue and ends before the byte `end`.
    fn packet(
        &mut self,
        packet: &Packet,
        start: u64,
        end: usize,
        sink: &mut impl FnMut(&Record, usize),
    ) {
        let len = u64::from(packet.len);
        if packet.kind == Kind::Pad {
            self.padding_run += 1;
            return self.count(PADDING, len);
        }
        self.padding_run = 0;
        self.behind_psb = packet.kind == Kind::Psb;
        if packet.kind == Kind::Tsc {
            self.time(whole_time(packet.payload, self.reference));
        }
        let started = self.blocks.len() > 0;
        match self.blocks.take(packet) {
            Step::Apart => self.count(RECORD, len),
            Step::Part if started => {}
            Step::Part => self.blocks_start = start,
            Step::Dropped(dropped) => {
                self.count(CUT_OFF, dropped);
                self.count(RECORD, len);
            }
            Step::Ended(record, len) => self.ended(record, len, end, sink),
        }
    }

    fn ended(
        &mut self,
        mut record: Record,
        len: u64,
        end: usize,
        sink: &mut impl FnMut(&Record, usize),
    ) {
        // One whose own time cannot be is placed by the TSC packet before it.
        let own = record.ticks.filter(|ticks| self.is_near(*ticks));
        let placed = own.or(self.ticks);
        record.ticks = record.ticks.or(self.ticks);
        if self.came_before(placed) {
            return self.fed.repeated(len);
        }
        self.repeats = false;
        self.count(RECORD, len);
        self.newest.record = self.newest.record.max(placed);
        self.given += 1;
        self.ticked |= record.ticks.is_some();
        sink(&record, end);
    }

    /// Whether a time may be believed: it is near those so far, if there are any.
    fn is_near(&self, ticks: u64) -> bool {
        let known = self.ticks.or(self.newest.any());
        known.is_none_or(|known| known.abs_diff(ticks) < MAX_FROM_TSC)
    }

    /// Whether a record of this time was given out before the last snapshot.
    fn came_before(&self, ticks: Option<u64>) -> bool {
        match (ticks, self.before.record) {
            (_, None) => false,
            (None, Some(_)) => self.repeats,
            (Some(ticks), Some(before)) => ticks <= before,
        }
    }

    /// Takes the time of a TSC packet: what is later than all before is not repeated.
    fn time(&mut self, ticks: u64) {
        self.ticks = Some(ticks);
        self.newest.tsc = self.newest.tsc.max(self.ticks);
        self.repeats &= self.before.any() >= self.ticks;
    }
}

/// The time of a TSC packet, which has 56 bits of it: the one nearest to a whole time.
fn whole_time(low: u64, reference: Option<u64>) -> u64 {
    const BITS: u32 = 56;
    let Some(reference) = reference else { return low };
    let upper = reference >> BITS;
    let candidates = [upper.saturating_sub(1), upper, upper.saturating_add(1)];
    let times = candidates.into_iter().filter(|upper| *upper < 1 << (u64::BITS - BITS));
    let times = times.map(|upper| upper << BITS | low);
    times.min_by_key(|time| time.abs_diff(reference)).unwrap_or(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEP: [u8; 2] = [0x02, 0x33];

    /// BIP with eight bytes.
    fn item(number: u8, value: u64) -> Vec<u8> {
        [&[number << 3 | 0b100][..], &value.to_le_bytes()].concat()
    }

    /// A record of 44 bytes: time, address.
    fn record(ticks: u64, address: u64) -> Vec<u8> {
        let begin = |block| [0x02, 0x63, block];
        [
            &begin(0x04)[..],
            &item(0, 0x40_1000),
            &item(2, ticks),
            &begin(0x05),
            &item(0, address),
            &item(2, 30),
            &BEP,
        ]
        .concat()
    }
    const RECORD_LEN: u64 = 3 + 9 + 9 + 3 + 9 + 9 + 2;

    /// Addresses of the records, and the account.
    fn decode(chunks: &[(Continuity, &[u8])]) -> (Vec<u64>, ByteAccount) {
        let mut decoder = Decoder::default();
        let (mut addresses, mut place, mut fed) = (Vec::new(), 0, 0);
        for (join, bytes) in chunks {
            decoder.join(*join);
            if let Continuity::Trimmed(zeros) = join {
                place -= u64::from(*zeros);
            }
            decoder.feed(bytes, place, &mut |record, _| addresses.extend(record.address));
            place += bytes.len() as u64;
            fed += bytes.len() as u64;
        }
        decoder.finish();
        let bytes = decoder.bytes();
        assert_eq!(decoder.total(), bytes.sum());
        assert_eq!(bytes.sum() + bytes.overlap, fed);
        (addresses, bytes)
    }

    fn whole(bytes: &[u8]) -> (Vec<u64>, ByteAccount) {
        decode(&[(Continuity::Continued, bytes)])
    }

    /// PSB, TSC, PSBEND.
    fn start(ticks: u64) -> Vec<u8> {
        [&PSB[..], &[0x19], &ticks.to_le_bytes()[..7], &[0x02, 0x23]].concat()
    }
    const START_LEN: u64 = 16 + 8 + 2;

    #[test]
    fn nothing_before_the_first_psb_is_trusted() {
        let trace = [&record(1, 1)[..], &[0; 5], &start(9), &record(2, 2), &[0; 3]].concat();
        let (addresses, bytes) = whole(&trace);
        assert_eq!(addresses, [2]);
        let want = ByteAccount {
            record: START_LEN + RECORD_LEN,
            padding: 3,
            skipped: RECORD_LEN + 5,
            ..ByteAccount::default()
        };
        assert_eq!(bytes, want);
        // One that starts in what looks like the start of one.
        let trace = [&PSB[..6], &[0x02], &start(9), &record(2, 2)].concat();
        assert_eq!(whole(&trace).1.skipped, 7);
        assert_eq!(whole(&PSB[..15]), (vec![], ByteAccount { skipped: 15, ..Default::default() }));
    }

    #[test]
    fn a_psb_starts_behind_stray_bytes_that_look_like_its_own() {
        let period = [start(9), record(2, 2)].concat();
        for pairs in 1..20 {
            let stray = PSB_PAIR.repeat(pairs);
            let skipped = stray.len() as u64;
            // Where it is searched, and where it is walked to.
            let sought = [&stray[..], &period].concat();
            let walked = [&start(1)[..], &record(1, 1), &stray, &period].concat();
            for (name, trace, addresses) in
                [("sought", sought, &[2][..]), ("walked", walked, &[1, 2])]
            {
                let len = (START_LEN + RECORD_LEN) * addresses.len() as u64;
                let want = ByteAccount { record: len, skipped, ..ByteAccount::default() };
                let want = (addresses.to_vec(), want);
                assert_eq!(whole(&trace), want, "{pairs} {name}");
                for cut in 0..=trace.len() {
                    let (first, second) = trace.split_at(cut);
                    let chunks = [(Continuity::Continued, first), (Continuity::Continued, second)];
                    assert_eq!(decode(&chunks), want, "{pairs} {name}, cut at {cut}");
                }
                let bytes: Vec<_> =
                    trace.chunks(1).map(|byte| (Continuity::Continued, byte)).collect();
                assert_eq!(decode(&bytes), want, "{pairs} {name}");
            }
        }
    }

    #[test]
    fn stray_bytes_before_a_psb_in_a_snapshot_behind_filling_and_before_a_gap() {
        let first = [start(10), record(12, 1)].concat();
        let again = [&PSB_PAIR[..], &first, &PSB_PAIR, &start(20), &record(22, 2)].concat();
        let (addresses, bytes) = decode(&[(Continuity::Continued, &first), (SNAPSHOT, &again)]);
        assert_eq!(addresses, [1, 2]);
        assert_eq!(bytes.overlap, 2 + START_LEN + RECORD_LEN + 2 + 16, "up to a new time");
        assert_eq!(bytes.skipped, 0);

        // The match ends where the chunk does, and zeros fill that up.
        let period = [start(10), record(12, 1)].concat();
        let (before, behind) = period.split_at(14);
        for zeros in 1..8 {
            let filled = [&PSB_PAIR[..], before, &vec![0; zeros.into()]].concat();
            let (addresses, bytes) =
                decode(&[(Continuity::Continued, &filled), (Continuity::Trimmed(zeros), behind)]);
            assert_eq!((addresses, bytes.skipped), (vec![1], 2), "{zeros}");
            assert_eq!(bytes.padding, zeros.into(), "{zeros}");
        }

        // Half a pair before a gap is cut off, and no pair goes on behind one.
        let half = [&PSB[..], &PSB_PAIR, &PSB[..1]].concat();
        let (addresses, bytes) =
            decode(&[(Continuity::Continued, &half), (Continuity::Gap, &period)]);
        assert_eq!((addresses, bytes.skipped, bytes.cut_off), (vec![1], 2, 1));
        let behind = [&PSB_PAIR[..], &[0x05], &period].concat();
        let (addresses, bytes) =
            decode(&[(Continuity::Continued, &PSB), (Continuity::Gap, &behind)]);
        assert_eq!((addresses, bytes.skipped, bytes.cut_off), (vec![1], 3, 0));
    }

    #[test]
    fn after_what_is_no_packet_the_next_psb_is_searched() {
        for (name, damage) in [("bad", &[0x05][..]), ("bad PSB", &PSB[..8]), ("MNT", &[2, 0xc3, 1])]
        {
            let begun = [0x02, 0x63, 0x05];
            let trace = [
                &start(1)[..],
                &record(2, 2),
                &begun,
                damage,
                &record(3, 3),
                &start(4),
                &record(5, 5),
            ];
            let (addresses, bytes) = whole(&trace.concat());
            assert_eq!(addresses, [2, 5], "{name}");
            assert_eq!(bytes.cut_off, 3, "{name}");
            assert_eq!(bytes.skipped, damage.len() as u64 + RECORD_LEN, "{name}");
            assert_eq!(bytes.record, 2 * (START_LEN + RECORD_LEN), "{name}");
        }
    }

    #[test]
    fn an_overflow_in_a_record_drops_it() {
        let half = [&[0x02, 0x63, 0x05][..], &item(0, 7)].concat();
        let trace = [&start(1), &half[..], &[0x02, 0xf3], &BEP, &record(2, 2)].concat();
        let (addresses, bytes) = whole(&trace);
        assert_eq!(addresses, [2]);
        assert_eq!((bytes.cut_off, bytes.skipped), (12, 0));
    }

    #[test]
    fn a_packet_or_record_cut_between_two_pieces_is_whole() {
        let trace = [&start(1)[..], &record(2, 2), &[0x99, 1], &record(3, 3), &[0x0c, 0]].concat();
        let want = whole(&trace);
        assert_eq!(want.0, [2, 3]);
        for cut in 0..=trace.len() {
            let (first, second) = trace.split_at(cut);
            assert_eq!(
                decode(&[(Continuity::Continued, first), (Continuity::Continued, second)]),
                want,
                "{cut}"
            );
        }
        let bytes: Vec<_> = trace.chunks(1).map(|byte| (Continuity::Continued, byte)).collect();
        assert_eq!(decode(&bytes), want);
    }

    #[test]
    fn nothing_is_joined_across_a_gap() {
        let (first, second) =
            ([start(1), record(2, 2)].concat(), [start(3), record(4, 4)].concat());
        // Where a packet is cut, where a record is, and between records.
        for cut in [START_LEN + 12 + 5, START_LEN + 12, START_LEN] {
            let first = &first[..usize::try_from(cut).unwrap()];
            let (addresses, bytes) =
                decode(&[(Continuity::Continued, first), (Continuity::Gap, &second)]);
            assert_eq!(addresses, [4], "{cut}");
            assert_eq!((bytes.cut_off, bytes.skipped), (cut - START_LEN, 0), "{cut}");
        }
        let rest = [&record(2, 2)[20..], &second].concat();
        let (addresses, bytes) =
            decode(&[(Continuity::Continued, &first[..46]), (Continuity::Gap, &rest)]);
        assert_eq!((addresses, bytes.cut_off, bytes.skipped), (vec![4], 20, RECORD_LEN - 20));
    }

    #[test]
    fn a_break_cuts_what_it_stands_in() {
        let trace = [start(1), record(2, 2), start(3), record(4, 4)].concat();
        let run = |fed: usize, place: u64| {
            let mut decoder = Decoder::default();
            let mut addresses = Vec::new();
            let mut take = |record: &Record, _: usize| addresses.extend(record.address);
            decoder.feed(&trace[..fed], 0, &mut take);
            decoder.gap_at(place);
            decoder.feed(&trace[fed..], fed as u64, &mut take);
            addresses
        };
        assert_eq!(run(50, 50), [4], "at its end");
        assert_eq!(run(50, 30), [4], "in its past");
        assert_eq!(run(50, 26), [2, 4], "where it starts");
        assert_eq!(run(70, 60), [2, 4], "in what is done with");
    }

    #[test]
    fn a_break_in_a_record_s_first_packet_cuts_the_record() {
        let trace = [start(1), record(2, 2), start(3), record(4, 4)].concat();
        // BBP stands at 26; the break, where its first byte or its second ended.
        for cut in [27, 28] {
            let mut decoder = Decoder::default();
            let mut addresses = Vec::new();
            let mut take = |record: &Record, _: usize| addresses.extend(record.address);
            decoder.feed(&trace[..cut], 0, &mut take);
            decoder.feed(&trace[cut..40], cut as u64, &mut take);
            decoder.gap_at(cut as u64);
            decoder.feed(&trace[40..], 40, &mut take);
            assert_eq!(addresses, [4], "{cut}");
        }
    }

    #[test]
    fn a_break_in_filling_is_one_however_much_of_it_has_come() {
        let lost = [record(2, 2), start(3), record(4, 4)].concat();
        for filled in 1..8 {
            let mut decoder = Decoder::default();
            let mut addresses = Vec::new();
            let mut take = |record: &Record, _: usize| addresses.extend(record.address);
            decoder.feed(&start(1), 0, &mut take);
            decoder.fed_mut().fill(filled);
            decoder.gap_at(START_LEN + 1);
            decoder.feed(&lost, START_LEN + filled as u64, &mut take);
            assert_eq!(addresses, [4], "{filled}");
        }
    }

    #[test]
    fn zeros_that_perf_added() {
        let trace = [&start(1)[..], &record(2, 2), &record(3, 3)].concat();
        // Where each packet of the two records starts, and its length.
        let lens = [3, 9, 9, 3, 9, 9, 2];
        let packets = lens.iter().chain(&lens).scan(26, |next, len| {
            *next += len;
            Some((*next - len, *len))
        });
        let packets: Vec<(usize, usize)> = packets.collect();
        let record_len = usize::try_from(RECORD_LEN).unwrap();
        assert_eq!((trace.len(), packets.len()), (26 + 2 * record_len, 14));
        let (mut kept, mut lost) = (0, 0);
        for cut in 27..trace.len() {
            let (start, len) = *packets.iter().rfind(|(start, _)| *start <= cut).unwrap();
            let there = cut - start;
            for zeros in 1..8u8 {
                let first = [&trace[..cut], &vec![0; zeros.into()]].concat();
                let (addresses, bytes) = decode(&[
                    (Continuity::Continued, &first),
                    (Continuity::Trimmed(zeros), &trace[cut..]),
                ]);
                // What a zero makes of the first half of a header is no packet.
                let half = there == 1 && trace[start] == 0x02;
                let completed = there > 0 && (half || usize::from(zeros) >= len - there);
                let told = format!("{zeros} zeros at {cut}: {addresses:x?} {bytes:?}");
                if completed {
                    // With wrong bytes: the record that it stands in is not believed, nor is what
                    // follows, up to a PSB that does not come.
                    let before: &[u64] = if cut < 26 + record_len { &[] } else { &[2] };
                    assert_eq!(addresses, before, "{told}");
                    assert!(bytes.skipped >= (trace.len() - cut) as u64, "{told}");
                    lost += 1;
                } else {
                    assert_eq!(addresses, [2, 3], "{told}");
                    assert_eq!((bytes.padding, bytes.skipped), (zeros.into(), 0), "{told}");
                    kept += 1;
                }
            }
        }
        assert!(kept > 100 && lost > 100, "{kept} {lost}");
    }

    #[test]
    fn filling_that_was_data_leaves_no_packet_in_its_middle() {
        let trace =
            [&start(1)[..], &record(2, 0x7f00_0000_1234), &start(3), &record(4, 4)].concat();
        // The address's item starts at byte 50; its bytes 7 and 8 are zeros that looked like filling.
        assert_eq!(trace[50..59], [0x04, 0x34, 0x12, 0, 0, 0, 0x7f, 0, 0]);
        for (from, to) in [(53, 56), (57, 59), (58, 59)] {
            let mut decoder = Decoder::default();
            let mut addresses = Vec::new();
            let mut take = |record: &Record, _: usize| addresses.extend(record.address);
            decoder.feed(&trace[..from], 0, &mut take);
            decoder.fed_mut().fill(to - from);
            decoder.feed(&trace[to..], to as u64, &mut take);
            decoder.finish();
            assert_eq!(addresses, [4], "{from}");
            assert_eq!(decoder.bytes().sum(), trace.len() as u64, "{from}");
        }
    }

    #[test]
    fn the_time_is_the_records_own_or_the_last_tsc() {
        let bare = [&[0x02, 0x63, 0x05][..], &item(0, 7), &BEP].concat();
        let trace = [&start(11)[..], &bare, &record(22, 1), &bare, &start(33), &bare].concat();
        let mut decoder = Decoder::default();
        let mut times = Vec::new();
        decoder.feed(&trace, 0, &mut |record, _| times.push(record.ticks));
        decoder.gap();
        decoder.feed(&[&PSB[..], &bare].concat(), 1000, &mut |record, _| times.push(record.ticks));
        assert_eq!(times, [Some(11), Some(22), Some(11), Some(33), None], "none of before a gap");
        assert_eq!(decoder.newest(), Some(33));
        assert_eq!(decoder.take_given(), (5, true));
        assert_eq!(decoder.take_given(), (0, false));
    }

    #[test]
    fn the_upper_byte_of_a_tsc_packet_is_that_of_the_nearest_time() {
        let low = 0x00ff_0000_0000_0000;
        // What the packet has, a time near it, and what it is.
        let cases = [
            (0x10, None, 0x10),
            (0x10, Some(1), 0x10),
            (low, Some(1), low),
            (0x10, Some(0x0300_0000_0000_0020), 0x0300_0000_0000_0010),
            // Perf read the ring after the packet was made, and the upper byte had changed.
            (low, Some(0x0300_0000_0000_0020), 0x02ff_0000_0000_0000),
            (0x10, Some(0x02ff_0000_0000_0000), 0x0300_0000_0000_0010),
            (0x10, Some(u64::MAX), 0xff00_0000_0000_0010),
            (low, Some(u64::MAX), 0xffff_0000_0000_0000),
        ];
        for (ticks, reference, want) in cases {
            let bare = [&[0x02, 0x63, 0x05][..], &item(0, 7), &BEP].concat();
            let mut decoder = Decoder::default();
            decoder.refer_to(reference);
            let mut times = Vec::new();
            let trace = [start(ticks), bare].concat();
            decoder.feed(&trace, 0, &mut |record, _| times.push(record.ticks));
            assert_eq!(times, [Some(want)], "{ticks:#x} near {reference:#x?}");
        }
    }

    #[test]
    fn own_times_and_restored_ones_are_of_one_clock() {
        let high = 0x0100_0000_0000_0000;
        let first = [start(10), record(high + 12, 1), start(20)].concat();
        let again = [&first[..], &record(high + 25, 2)].concat();
        let mut decoder = Decoder::default();
        decoder.refer_to(Some(high + 30));
        let mut addresses = Vec::new();
        for (place, (join, bytes)) in
            [(Continuity::Continued, &first), (SNAPSHOT, &again)].iter().enumerate()
        {
            decoder.join(*join);
            decoder.feed(bytes, place as u64 * 1000, &mut |record, _| {
                addresses.extend(record.address)
            });
        }
        assert_eq!(addresses, [1, 2]);
    }

    #[test]
    fn a_snapshot_gives_no_record_twice() {
        let part = |ticks: u64| [start(ticks), record(ticks + 1, ticks + 1)].concat();
        let first = [part(10), part(20)].concat();
        let second = [&part(10)[30..], &part(20), &part(30)].concat();
        let snapshot = Continuity::Snapshot { repeated_before: 0 };
        let (addresses, bytes) = decode(&[(Continuity::Continued, &first), (snapshot, &second)]);
        assert_eq!(addresses, [11, 21, 31]);
        assert_eq!((bytes.skipped, bytes.cut_off), (0, 0));
        let later = START_LEN + RECORD_LEN;
        // The PSB stands before the time that tells that it is new.
        assert_eq!(bytes.record, 3 * later - 16);
    }

    const SNAPSHOT: Continuity = Continuity::Snapshot { repeated_before: 0 };

    #[test]
    fn a_repeated_record_that_is_older_than_the_packet_before_it_stays_repeated() {
        // The TSC packet of 20 is later than any record before the snapshot.
        let first = [start(10), record(12, 1), start(20), record(15, 2)].concat();
        let second = [&first[..], &record(16, 3), &start(30), &record(25, 4)].concat();
        let (addresses, bytes) = decode(&[(Continuity::Continued, &first), (SNAPSHOT, &second)]);
        assert_eq!(addresses, [1, 2, 3, 4]);
        assert_eq!(bytes.overlap, first.len() as u64);
        // Also where the packet has not come before, since the first snapshot ended in front of it.
        let second = [start(22), record(15, 2), record(23, 5)].concat();
        let (addresses, bytes) = decode(&[(Continuity::Continued, &first), (SNAPSHOT, &second)]);
        assert_eq!(addresses, [1, 2, 5]);
        assert_eq!(bytes.overlap, 16 + RECORD_LEN, "the PSB before the time, and the record");
    }

    #[test]
    fn the_limit_is_the_greatest_time() {
        // The last record is older than the one before it.
        let first = [start(10), record(18, 1), record(11, 2)].concat();
        let (addresses, _) = decode(&[(Continuity::Continued, &first), (SNAPSHOT, &first)]);
        assert_eq!(addresses, [1, 2]);
    }

    #[test]
    fn a_damaged_time_makes_nothing_look_repeated() {
        let first = [start(10), record(u64::MAX, 1)].concat();
        let snapshot = |ticks| [start(ticks), record(ticks + 1, ticks + 1)].concat();
        let (second, third) = (snapshot(20), snapshot(30));
        let chunks = [
            (Continuity::Continued, &first[..]),
            (SNAPSHOT, &[&first[..], &second].concat()),
            (SNAPSHOT, &[&second[..], &third].concat()),
        ];
        assert_eq!(decode(&chunks).0, [1, 21, 31]);
    }

    #[test]
    fn without_a_record_before_it_a_snapshot_hides_none() {
        // The first one has times, and ends in the middle of its first record.
        let whole = [start(10), record(9, 1), start(12), record(13, 2)].concat();
        let cut = &whole[..50];
        let (addresses, bytes) = decode(&[(Continuity::Continued, cut), (SNAPSHOT, &whole)]);
        assert_eq!(addresses, [1, 2]);
        assert_eq!(bytes.overlap, START_LEN);
    }
}
