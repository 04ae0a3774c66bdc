//! Records out of packets: one ends with an End or a Timestamp packet
//! (DDI 0487, D18.1.2).
//!
//! The decoder takes the bytes of one AUX queue in chunks of any size and keeps only what is
//! unfinished between them: the fields of the record so far and the bytes of a packet that a
//! chunk cuts. Its memory is a few hundred bytes, whatever the input.
//!
//! A healthy stream needs no resynchronisation: unknown packets are skipped by their length.
//! What shows damage is
//! - a packet of a kind that the record has already (D18.2 has each once): its predecessor lost
//!   its end, and the packet begins the next record;
//! - a record longer than the architecture allows;
//! - a reserved packet: the record is taken, since new processors may write new packets, but
//!   the next one must prove itself.
//!
//! After damage, and after any gap, a record counts only if it proves itself: it holds what
//! every record holds, or has the same packets as the one before it. Until then all bytes are
//! `skipped`. A partial record is never given out.

use super::layout::{Layouts, Take};
use super::packet::{CutOff, Kind, MAX_PACKET_LEN, Packet};
use super::record::{Fields, MAX_RECORD_LEN, Record, SLOT_OF, Slot};
use super::resume::ResumeState;
use super::scan::{Scanned, scan};
use crate::aux_data::byte_account::{ByteAccount, FedBytes};
use crate::aux_data::chunk::Continuity;

/// Decodes one queue.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    record: Record,
    /// Bytes of the unfinished record's packets.
    record_len: u64,
    /// Where in the queue the unfinished record starts.
    record_start: u64,
    /// The start of a packet that the last chunk cut.
    carry: [u8; MAX_PACKET_LEN],
    carry_len: usize, // in [0, MAX_PACKET_LEN)
    /// The next record must prove itself.
    unproven: bool,
    /// The packets of the last record that failed to.
    failed: Option<Fields>,
    /// Of the packets that every record should have, those that some record had.
    seen: Fields,
    /// The last timestamp given out. Not the greatest: one that is damaged must not make all
    /// that follows look old.
    newest: Option<u64>,
    /// A record with a timestamp was given out since somebody asked.
    ticked: bool,
    /// In a snapshot: records up to this timestamp were given out before.
    repeated_until: Option<u64>,
    /// In a snapshot: bytes before this place of the queue came before.
    repeated_before: u64,
    /// Padding packets since the last other one. Fewer than the zeros that perf added mean
    /// that the others completed that packet's payload.
    padding_run: u64,
    fed: FedBytes,
    layouts: Layouts,
    /// Every record is walked.
    plain: bool,
}

impl Decoder {
    /// A decoder that walks every record, packet by packet. It gives the same, slower: it is
    /// what the others are compared with.
    pub fn plain() -> Self {
        Self { plain: true, ..Self::default() }
    }

    /// The account so far. The bytes of the unfinished record are in none of its fields until
    /// [`Decoder::finish`].
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

    /// Announces how the next bytes follow the last ones. Returns how many of the next bytes
    /// belong to a packet that is finished already and must be passed over.
    pub fn join(&mut self, join: Continuity) -> usize {
        match join {
            Continuity::Continued | Continuity::Kept(_) => 0,
            Continuity::Trimmed(zeros) => self.trim(usize::from(zeros)),
            Continuity::Gap => {
                self.gap();
                0
            }
            Continuity::Snapshot { repeated_before } => {
                self.gap();
                self.repeated_until = self.newest;
                self.repeated_before = repeated_before;
                0
            }
        }
    }

    /// Takes back `zeros` bytes of filling at the end of the last chunk.
    fn trim(&mut self, zeros: usize) -> usize {
        if self.carry_len >= zeros {
            // The filling stands in the middle of a packet: it goes, the packet stays.
            self.carry_len -= zeros;
            self.record_len -= zeros as u64;
            self.fed.account.padding += zeros as u64;
            0
        } else {
            // Filling that completed a packet with wrong bytes; the right ones come next.
            let wrong = zeros.saturating_sub(usize::try_from(self.padding_run).unwrap_or(zeros));
            if wrong > 0 {
                self.damage();
            }
            wrong
        }
    }

    /// Bytes may be missing here: the unfinished record is cut off.
    pub fn gap(&mut self) {
        self.fed.account.cut_off += self.record_len;
        self.start_over();
        self.unproven = true;
        self.failed = None;
    }

    /// Bytes may be missing before `position` of the queue: cuts off the unfinished record if
    /// it started before.
    pub fn gap_at(&mut self, position: u64) {
        if self.record_len > 0 && self.record_start < position {
            self.gap();
        }
    }

    /// The queue has ended.
    pub fn finish(&mut self) {
        self.fed.account.cut_off += self.record_len;
        self.start_over();
    }

    fn start_over(&mut self) {
        self.record.has = Fields::empty();
        self.record_len = 0;
        self.carry_len = 0;
    }

    /// What stands here is no record: its bytes are skipped, and the next must prove itself.
    fn damage(&mut self) {
        self.dropped(self.record_start, self.record_len);
        self.start_over();
        self.unproven = true;
        self.failed = None;
    }

    /// Counts bytes from `place` of the queue on that are no record of ours: damage, or what a
    /// snapshot holds again.
    fn dropped(&mut self, place: u64, len: u64) {
        if place < self.repeated_before {
            self.fed.repeated(len);
        } else {
            self.fed.account.skipped += len;
        }
    }

    /// Whether a record with a timestamp was given out since this was asked last.
    pub fn take_ticked(&mut self) -> bool {
        core::mem::take(&mut self.ticked)
    }

    /// Whether any record so far had a timestamp.
    pub fn is_timed(&self) -> bool {
        self.newest.is_some()
    }

    /// The timestamp of the last record that had one, in ticks.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Decodes `bytes`, which start at `position` of the queue. `sink` gets every record that
    /// ends in them, with the index in `bytes` of the first byte behind it.
    pub fn feed(&mut self, bytes: &[u8], position: u64, sink: &mut impl FnMut(&Record, usize)) {
        self.take(bytes, position, sink);
    }

    /// As [`Decoder::feed`], for those who can make use of a record's layout.
    pub(super) fn take(&mut self, bytes: &[u8], position: u64, taker: &mut impl Take) {
        self.fed.total += bytes.len() as u64;
        let mut at = self.complete_carry(bytes, position, taker);
        while at < bytes.len() {
            let place = position.wrapping_add(at as u64);
            if !self.stands_between_records(place) {
                at = self.walk(bytes, at, position, taker);
                continue;
            }
            let run = taker.run(&mut self.layouts, &bytes[at..], at);
            if run.len > 0 {
                self.gave_out(run.len, run.padding, run.newest);
                at += run.len;
            }
            if let Some(scanned) = scan(&bytes[at..]) {
                let Scanned { record, len, padding, shape } = scanned;
                self.gave_out(len, padding, record.timestamp());
                self.seen |= record.has & Fields::ALWAYS;
                self.layouts.scanned(&bytes[at..], len, shape);
                at += len;
                taker.record(&record, at);
            } else {
                at = self.walk(bytes, at, position, taker);
            }
        }
    }

    /// Whole records with padding before and between them were given out.
    #[inline(always)]
    fn gave_out(&mut self, len: usize, padding: usize, newest: Option<u64>) {
        self.fed.account.padding += padding as u64;
        self.fed.account.record += (len - padding) as u64;
        self.newest = newest.or(self.newest);
        self.ticked |= newest.is_some();
        self.padding_run = 0;
        self.failed = None;
    }

    /// Whether the next record, if it is one, will be given out whatever came before.
    fn stands_between_records(&self, place: u64) -> bool {
        !self.plain
            && self.record_len == 0
            && !self.unproven
            && self.repeated_until.is_none()
            && place >= self.repeated_before
    }

    /// Walks one record, or to the end of the bytes. Returns where it stopped.
    fn walk(&mut self, bytes: &[u8], mut at: usize, position: u64, taker: &mut impl Take) -> usize {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match Packet::parse(rest) {
                Ok(packet) => {
                    let end = at + packet.header.packet_len();
                    self.packet(packet, position.wrapping_add(at as u64), end, taker);
                    at = end;
                    if matches!(packet.header.kind, Kind::End | Kind::Timestamp) {
                        break;
                    }
                }
                Err(CutOff) => {
                    self.carry[..rest.len()].copy_from_slice(rest);
                    self.carry_len = rest.len();
                    self.unfinished(position.wrapping_add(at as u64), rest.len());
                    return bytes.len();
                }
            }
        }
        at
    }

    /// Finishes the packet that the last chunk cut. Returns how many of `bytes` it took.
    fn complete_carry(&mut self, bytes: &[u8], position: u64, taker: &mut impl Take) -> usize {
        if self.carry_len == 0 {
            return 0;
        }
        let carried = self.carry_len;
        let taken = bytes.len().min(MAX_PACKET_LEN - carried);
        let mut joined = self.carry;
        joined[carried..carried + taken].copy_from_slice(&bytes[..taken]);
        match Packet::parse(&joined[..carried + taken]) {
            Ok(packet) => {
                let end = packet.header.packet_len() - carried;
                self.carry_len = 0;
                self.record_len -= carried as u64;
                self.packet(packet, position.wrapping_sub(carried as u64), end, taker);
                end
            }
            Err(CutOff) => {
                self.carry = joined;
                self.carry_len = carried + taken;
                self.record_len += taken as u64;
                taken
            }
        }
    }

    /// Counts bytes to the unfinished record.
    #[inline]
    fn unfinished(&mut self, position: u64, len: usize) {
        if self.record_len == 0 {
            self.record_start = position;
        }
        self.record_len += len as u64;
    }

    /// Takes the packet that starts at `position` of the queue and ends before `end`.
    #[inline(always)]
    fn packet(&mut self, packet: Packet, position: u64, end: usize, taker: &mut impl Take) {
        let (kind, len) = (packet.header.kind, packet.header.packet_len());
        if kind == Kind::Padding {
            self.padding_run += 1;
            if position < self.repeated_before {
                self.dropped(position, 1);
            } else {
                self.fed.account.padding += 1;
            }
            return;
        }
        self.padding_run = 0;
        match kind {
            Kind::End | Kind::Timestamp => {
                self.unfinished(position, len);
                if kind == Kind::Timestamp {
                    self.record.take(packet, Slot::Timestamp);
                }
                self.end_of_record(end, taker);
            }
            _ => {
                let slot = SLOT_OF[kind as usize][usize::from(packet.header.index)];
                let repeated = self.record.has.intersects(slot.field());
                if repeated || self.record_len + len as u64 > MAX_RECORD_LEN {
                    self.damage();
                }
                self.unfinished(position, len);
                self.record.take(packet, slot);
            }
        }
    }

    fn end_of_record(&mut self, end: usize, taker: &mut impl Take) {
        let (record, len) = (self.record, self.record_len);
        self.start_over();
        if self.unproven && !self.proves_itself(record.has) {
            self.failed = Some(record.has);
            self.dropped(self.record_start, len);
            return;
        }
        self.failed = None;
        // A reserved packet may be new silicon or damage: take the record, doubt the next.
        self.unproven = record.has.contains(Fields::RESERVED);
        self.seen |= record.has & Fields::ALWAYS;
        if let Some(timestamp) = record.timestamp() {
            if self.repeated_until.is_some_and(|until| timestamp <= until) {
                self.fed.repeated(len);
                return;
            }
            self.newest = Some(timestamp);
            self.ticked = true;
        }
        self.fed.account.record += len;
        taker.record(&record, end);
    }

    /// Whether a record is whole, judged by its packets.
    fn proves_itself(&self, has: Fields) -> bool {
        let wanted = if self.seen.is_empty() { Fields::ALWAYS } else { self.seen };
        has.contains(wanted) || self.failed == Some(has) && !has.is_empty()
    }

    /// What is left of the bytes so far, if that is all: see [`ResumeState`].
    pub(super) fn resume_state(&self) -> Option<ResumeState> {
        // Padding is not told: it matters only to a chunk that follows without a record between.
        let open = self.record_len > 0 || self.carry_len > 0;
        let repeats = self.repeated_until.is_some() || self.repeated_before > 0;
        (!open && !repeats && self.failed.is_none())
            .then_some(ResumeState { seen: self.seen.bits(), unproven: self.unproven })
    }

    /// Of the packets that every record should have, those that some record had.
    pub(super) fn seen(&self) -> u32 {
        self.seen.bits()
    }

    /// A decoder that goes on there.
    pub(super) fn resumed(ResumeState { seen, unproven }: ResumeState) -> Self {
        Self { seen: Fields::from_bits_truncate(seen), unproven, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of `arm-spe` documentation's example: 64 bytes, a load by thread 4242.
    const LOAD: [u8; 64] = [
        0xb0, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0x80, // PC 0x401000, EL0
        0x64, 0x92, 0x10, 0, 0, // context EL1
        0x49, 0x00, // load, general-purpose register
        0x52, 0x16, 0x00, // retired, L1D access, TLB access
        0x99, 0x04, 0x00, // issue latency
        0x98, 0x14, 0x00, // total latency
        0xb2, 0x28, 0x6b, 0x09, 0x03, 0x37, 0x0e, 0xff, 0x00, // VA
        0x9a, 0x01, 0x00, // translation latency
        0xb3, 0x00, 0x70, 0x56, 0x34, 0x12, 0, 0, 0x80, // PA 0x1234567000
        0x43, 0x00, // data source
        0, 0, 0, 0, 0, 0, 0, // padding
        0x71, 0xe8, 0x03, 0, 0, 0, 0, 0, 0, // timestamp 1000
    ];
    /// A branch: 18 bytes, no data address.
    const BRANCH: [u8; 18] = [
        0xb0, 0x40, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x4a, 0x01, 0x42, 0x42, 0x98, 0x05, 0x00, 0x00,
        0x01,
    ];

    fn decode(chunks: &[(Continuity, &[u8])]) -> (Vec<Record>, ByteAccount) {
        let mut decoder = Decoder::default();
        let (mut records, mut position) = (Vec::new(), 0);
        for (join, bytes) in chunks {
            let skip = decoder.join(*join);
            decoder.fed_mut().fill(skip);
            decoder.feed(&bytes[skip..], position, &mut |record, _| records.push(*record));
            position += bytes.len() as u64;
        }
        decoder.finish();
        let account = decoder.bytes();
        let sum = account.record + account.padding + account.skipped + account.cut_off;
        assert_eq!(sum, decoder.total());
        (records, account)
    }

    fn whole(bytes: &[u8]) -> (Vec<Record>, ByteAccount) {
        decode(&[(Continuity::Continued, bytes)])
    }

    #[test]
    fn the_documented_record_reads_as_documented() {
        let (records, account) = whole(&LOAD);
        let [record] = records[..] else { panic!("{records:?}") };
        assert_eq!(record.pc(), Some(0x8000_0000_0040_1000));
        assert_eq!(record.context(), Some(4242));
        assert_eq!(record.operation(), Some((1, 0)));
        assert_eq!(record.events(), Some(0x16));
        assert_eq!(record.total_latency(), Some(20));
        assert_eq!(record.data_va(), Some(0xff_0e37_0309_6b28));
        assert_eq!(record.data_pa(), Some(0x8000_0012_3456_7000));
        assert_eq!(record.data_source(), Some(0));
        assert_eq!(record.timestamp(), Some(1000));
        assert!(record.is_memory());
        assert_eq!(account, ByteAccount { record: 57, padding: 7, ..ByteAccount::default() });
    }

    #[test]
    fn any_cut_gives_the_same_records() {
        let trace = [&LOAD[..], &BRANCH, &[0; 5], &LOAD, &BRANCH, &LOAD].concat();
        let want = whole(&trace);
        assert_eq!(want.0.len(), 5);
        for cut in 0..=trace.len() {
            let (a, b) = trace.split_at(cut);
            assert_eq!(
                decode(&[(Continuity::Continued, a), (Continuity::Continued, b)]),
                want,
                "at {cut}"
            );
        }
        let bytes: Vec<_> = trace.chunks(1).map(|byte| (Continuity::Continued, byte)).collect();
        assert_eq!(decode(&bytes), want, "byte by byte");
    }

    #[test]
    fn every_record_reports_where_it_ends() {
        let trace = [&LOAD[..], &BRANCH].concat();
        for cut in 0..=trace.len() {
            let mut decoder = Decoder::default();
            let mut ends = Vec::new();
            decoder.feed(&trace[..cut], 0, &mut |_, end| ends.push(end));
            decoder.feed(&trace[cut..], cut as u64, &mut |_, end| ends.push(cut + end));
            assert_eq!(ends, [64, 82], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_memory() {
        let pa = [0xb3, 0, 0x70, 0, 0, 0, 0, 0, 0x80];
        let memory = |bytes: &[&[u8]]| {
            let (records, _) = whole(&bytes.concat());
            assert_eq!(records.len(), 1);
            records[0].is_memory()
        };
        assert!(!memory(&[&[0x01]]), "an empty record");
        assert!(!memory(&[&LOAD[55..]]), "a timestamp alone");
        assert!(memory(&[&pa, &[0x01]]), "no operation packet, but a data address");
        assert!(!memory(&[&[0x4a, 0x00], &pa, &[0x01]]), "a branch with a data address");
        assert!(!memory(&[&[0x4b, 0x00], &pa, &[0x01]]), "the reserved class");
        assert!(memory(&[&[0x49, 0xff], &[0x01]]), "class 1, whatever its subclass");
    }

    #[test]
    fn an_unknown_packet_is_skipped_by_its_length() {
        let mut trace = LOAD.to_vec();
        trace.splice(14..14, [0xe0, 0x01, 0x71, 0xb3, 0x01]);
        let (records, account) = whole(&[&trace[..], &LOAD].concat());
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].data_pa(), records[1].data_pa());
        assert_eq!(account.skipped, 0);
    }

    #[test]
    fn a_record_that_lost_its_end_is_skipped_and_the_next_one_kept() {
        let broken = &LOAD[..55];
        let (records, account) = whole(&[&LOAD[..], broken, &BRANCH, &LOAD].concat());
        assert_eq!(records.len(), 3);
        assert_eq!(records[1].operation(), Some((2, 1)));
        assert_eq!((account.skipped, account.cut_off), (48, 0));
    }

    #[test]
    fn a_stream_that_starts_inside_a_record_gives_no_partial_one() {
        for start in 1..LOAD.len() {
            let trace = [&LOAD[start..], &LOAD, &BRANCH].concat();
            let (records, _) = decode(&[(Continuity::Gap, &trace)]);
            // The tail may swallow the head of the record behind it, never become one.
            assert!(records.len() == 2 || records.len() == 1, "start {start}: {}", records.len());
            assert!(records.iter().all(|r| r.pc().is_some()), "start {start}");
            assert_eq!(records.last().and_then(Record::operation), Some((2, 1)), "start {start}");
        }
    }

    #[test]
    fn a_gap_cuts_off_what_was_unfinished_and_nothing_else() {
        let (records, account) = decode(&[
            (Continuity::Continued, &[&LOAD[..], &LOAD[..30]].concat()),
            (Continuity::Gap, &[&BRANCH[..], &LOAD].concat()),
        ]);
        assert_eq!(records.len(), 3);
        assert_eq!((account.cut_off, account.skipped), (30, 0));
    }

    #[test]
    fn records_that_never_have_a_pc_prove_themselves_by_their_shape() {
        let no_pc = &BRANCH[9..];
        let trace = no_pc.repeat(4);
        assert_eq!(decode(&[(Continuity::Gap, &trace)]).0.len(), 3, "the first one is the price");
        let known = decode(&[(Continuity::Continued, no_pc), (Continuity::Gap, &trace)]);
        assert_eq!(known.0.len(), 5, "known from before the gap");
    }

    #[test]
    fn filling_inside_a_packet_is_taken_out_again() {
        // perf fills a chunk up to a multiple of eight bytes with zeros.
        let filled = |cut: usize, zeros: u8| {
            let (a, b) = LOAD.split_at(cut);
            let a = [a, &[0; 7][..usize::from(zeros)]].concat();
            decode(&[
                (Continuity::Continued, &a),
                (Continuity::Trimmed(zeros), &[b, &LOAD].concat()),
            ])
        };
        let (records, account) = filled(39, 1);
        assert_eq!(records.len(), 2);
        assert_eq!(records[0], records[1]);
        assert_eq!((account.padding, account.skipped), (7 + 7 + 1, 0));
        // Filling that completes a payload makes it wrong: that record is skipped.
        let (records, account) = filled(43, 5);
        assert_eq!(records.len(), 1);
        assert_eq!(account.cut_off, 0);
        assert!(account.skipped > 40, "{account:?}");
    }

    #[test]
    fn a_snapshot_does_not_count_a_record_twice() {
        let later = {
            let mut record = LOAD;
            record[56] = 0xe9;
            record
        };
        let (records, account) = decode(&[
            (Continuity::Continued, &[&BRANCH[..], &LOAD].concat()),
            (
                Continuity::Snapshot { repeated_before: 82 + 24 + 64 },
                &[&LOAD[40..], &LOAD, &later].concat(),
            ),
        ]);
        assert_eq!(records.len(), 3);
        assert_eq!(records[2].timestamp(), Some(1001));
        assert_eq!((account.overlap, account.skipped), (24 + 64, 0));
    }

    #[test]
    fn one_odd_record_does_not_make_partial_ones_pass() {
        let tail = &LOAD[34..];
        let empty = &LOAD[55..];
        let (records, account) = decode(&[
            (Continuity::Continued, &[empty, &LOAD].concat()),
            (Continuity::Gap, &[tail, &LOAD].concat()),
            // Of two tails with the same packets, apart, neither is a record.
            (Continuity::Gap, tail),
            (Continuity::Gap, &[tail, &LOAD].concat()),
        ]);
        assert_eq!(records.len(), 4);
        assert!(records[1..].iter().all(|record| record.pc().is_some()));
        assert!(account.skipped > 0);
    }

    #[test]
    fn a_record_without_end_stays_small() {
        let endless = [0xb7, 1, 2, 3, 4, 5, 6, 7, 8].repeat(1000);
        let (records, account) = whole(&endless);
        assert!(records.is_empty());
        assert!(account.cut_off <= MAX_RECORD_LEN, "{account:?}");
    }
}
