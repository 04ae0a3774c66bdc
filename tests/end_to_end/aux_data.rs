//! Pieces of AUX data: what is joined, what is not, what came twice.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::container::Parts;
use tests::emulation::thinned;
use tests::made::{Made, load};
use tracegen::perf::record::aux_flag::{COLLISION, OVERWRITE, PARTIAL, TRUNCATED};

use crate::program::{check_ledger, counts, folioscope, of_ledger, scratch, write};

/// Records of frames 1, 2, ..., 48 bytes each.
fn loads(frames: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    frames.flat_map(|pfn| load(pfn, 1000 * pfn)).collect()
}

/// Pages and report of a recording, which must be the same as a file and as a stream, read by either walk.
fn read(recording: &[u8]) -> (BTreeMap<u64, u64>, Value) {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    let report = folioscope(["report", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    let pages = folioscope(["pages"]).arg(&path).text();
    let stream = Parts::of(recording).stream();
    assert_eq!(folioscope(["pages", "-"]).input(&stream).text(), pages, "as a stream");
    let streamed = folioscope(["report", "--format", "json", "-"]).input(&stream).json();
    assert_eq!(streamed["ledger"], report["ledger"], "as a stream");
    let listed = folioscope(["records", "--format", "json"]).arg(&path).json_lines();
    let mut by_page = BTreeMap::<u64, u64>::new();
    for record in listed {
        let paddr = record["paddr"].as_str().expect("all have one");
        *by_page.entry(crate::program::number(paddr) >> 12).or_default() += 1;
    }
    let pages = counts(&pages);
    assert_eq!(by_page, pages, "records in their order");
    (pages, report)
}

/// The listed records.
fn listed(recording: &[u8]) -> Vec<Value> {
    let folder = scratch();
    let path = write(folder.path(), "perf.data", recording);
    folioscope(["records", "--format", "json"]).arg(&path).json_lines()
}

fn frames(frames: impl IntoIterator<Item = u64>) -> BTreeMap<u64, u64> {
    frames.into_iter().map(|pfn| (pfn, 1)).collect()
}

fn ledger<const N: usize>(report: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| of_ledger(report, field))
}

const BYTES: [&str; 3] = ["skipped_bytes", "cut_off_bytes", "overlap_bytes"];

#[test]
fn a_record_cut_between_two_pieces_is_joined() {
    let data = loads(1..=3);
    // At every multiple of 8, inside packets too; also in three pieces, and with another CPU between them.
    for cut in thinned("cuts", (8..data.len()).step_by(8), 3) {
        let mut made = Made::spe();
        made.aux(0, 0, cut as u64, 0).piece(0, 0, &data[..cut]);
        made.piece(1, 0, &loads(9..=9));
        made.aux(0, cut as u64, (data.len() - cut) as u64, 0).piece(0, cut as u64, &data[cut..]);
        let (pages, report) = read(&made.finish());
        assert_eq!(pages, frames([1, 2, 3, 9]), "cut at {cut}");
        assert_eq!(ledger(&report, BYTES), [0, 0, 0], "cut at {cut}");
        assert_eq!(of_ledger(&report, "aux_bytes"), 4 * 48);
    }
    let mut made = Made::spe();
    for (at, piece) in data.chunks(8).enumerate() {
        made.piece(0, at as u64 * 8, piece);
    }
    assert_eq!(read(&made.finish()).0, frames(1..=3), "eight bytes at a time");
}

#[test]
fn nothing_is_joined_across_truncated_or_partial() {
    let data = loads(1..=4);
    for (flags, field) in [
        (TRUNCATED, "aux_truncated"),
        (PARTIAL, "aux_partial"),
        (TRUNCATED | PARTIAL, "aux_partial"),
    ] {
        // The second record lost its end; what follows starts with the rest of another record, and the offsets meet.
        for kept in [8, 16, 24, 40] {
            let first = 48 + kept;
            let mut made = Made::spe();
            made.aux(0, 0, first as u64, flags).piece(0, 0, &data[..first]);
            let rest = [&data[96 + 16..144], &data[144..]].concat();
            made.aux(0, first as u64, rest.len() as u64, 0).piece(0, first as u64, &rest);
            let (pages, report) = read(&made.finish());
            assert_eq!(pages, frames([1, 4]), "{flags} after {kept} bytes");
            assert_eq!(of_ledger(&report, field), 1);
            let [skipped, cut_off, overlap] = ledger(&report, BYTES);
            assert_eq!((skipped + cut_off, overlap), (kept as u64 + 32, 0), "{flags} after {kept}");
            assert!(cut_off >= kept as u64, "the unfinished record before the gap is cut off");
        }
    }
}

#[test]
fn a_collision_joins() {
    let data = loads(1..=2);
    let mut made = Made::spe();
    made.aux(0, 0, 56, COLLISION).piece(0, 0, &data[..56]).aux(0, 56, 40, 0).piece(
        0,
        56,
        &data[56..],
    );
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames(1..=2));
    assert_eq!(of_ledger(&report, "aux_collision"), 1);
}

#[test]
fn flags_of_one_cpu_do_not_break_another() {
    let data = loads(1..=2);
    let mut made = Made::spe();
    made.piece(0, 0, &data[..56]).aux(1, 0, 56, TRUNCATED | PARTIAL).piece(0, 56, &data[56..]);
    assert_eq!(read(&made.finish()).0, frames(1..=2));
}

#[test]
fn a_gap_in_the_offsets_is_not_joined() {
    let data = loads(1..=4);
    let mut made = Made::spe();
    // 32 bytes are missing in the middle of the second record.
    made.piece(0, 0, &data[..64]).piece(0, 96, &data[96..]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames([1, 3, 4]));
    assert_eq!(ledger(&report, BYTES), [0, 16, 0]);
    // All of the third is missing: nothing is unfinished.
    let mut made = Made::spe();
    made.piece(0, 0, &data[..96]).piece(0, 144, &data[144..]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames([1, 2, 4]));
    assert_eq!(ledger(&report, BYTES), [0, 0, 0]);
}

#[test]
fn a_queue_that_starts_or_ends_inside_a_record() {
    let data = loads(1..=3);
    let mut made = Made::spe();
    made.piece(0, 16, &data[16..]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames([2, 3]), "the rest of a record is none");
    assert_eq!(ledger(&report, BYTES), [32, 0, 0]);
    let mut made = Made::spe();
    made.piece(0, 0, &data[..136]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames([1, 2]));
    assert_eq!(ledger(&report, BYTES), [0, 40, 0]);
}

#[test]
fn pieces_that_perf_padded_to_eight_bytes() {
    // The kernel says 4 bytes less than a multiple of 8; perf writes zeros up to it and the next piece starts below.
    let data = loads(1..=4);
    for short in 1..8_usize {
        let first = 96 - short;
        let mut padded = data[..first].to_vec();
        padded.resize(96, 0);
        let mut made = Made::spe();
        made.aux(0, 0, first as u64, 0).piece(0, 0, &padded);
        let rest = &data[first..];
        let mut rest_padded = rest.to_vec();
        rest_padded.resize(rest.len().next_multiple_of(8), 0);
        made.aux(0, first as u64, rest.len() as u64, 0).piece(0, first as u64, &rest_padded);
        let recording = made.finish();
        let (pages, report) = read(&recording);
        assert_eq!(pages, frames(1..=4), "{short} bytes short");
        for record in listed(&recording) {
            let pfn = crate::program::number(record["paddr"].as_str().expect("all have one")) >> 12;
            // The clock of these recordings makes 40 ns and 5000 of a tick.
            assert_eq!(record["time_ns"], 40 * 1000 * pfn + 5000, "{short} bytes short");
            assert_eq!((&record["ip"], &record["tid"]), (&"0x401000".into(), &4242.into()));
        }
        assert_eq!(ledger(&report, BYTES), [0, 0, 0], "{short} bytes short");
    }
}

#[test]
fn snapshots_that_overlap_count_once() {
    let data = loads(1..=6);
    // Two pictures of a ring that overwrites: records 1 to 4, then 3 to 6.
    let mut made = Made::spe();
    made.aux(0, 0, 192, OVERWRITE).piece(0, 0, &data[..192]);
    made.aux(0, 96, 192, OVERWRITE).piece(0, 96, &data[96..]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames(1..=6));
    assert_eq!(ledger(&report, BYTES), [0, 0, 96]);
    assert_eq!(ledger(&report, ["aux_bytes", "records"]), [6 * 48, 6]);
}

#[test]
fn a_snapshot_that_starts_inside_a_record() {
    let data = loads(1..=6);
    let mut made = Made::spe();
    made.aux(0, 0, 192, OVERWRITE).piece(0, 0, &data[..192]);
    made.aux(0, 112, 176, OVERWRITE).piece(0, 112, &data[112..]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames(1..=6));
    let [skipped, cut_off, overlap] = ledger(&report, BYTES);
    assert_eq!(overlap + skipped + cut_off, 80, "the rest of record 3 and record 4 again");
    assert_eq!(of_ledger(&report, "records"), 6);
}

#[test]
fn a_later_piece_at_an_earlier_offset_is_not_counted_twice() {
    let data = loads(1..=4);
    let mut made = Made::spe();
    made.piece(0, 0, &data).piece(0, 0, &data);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames(1..=4));
    assert_eq!(of_ledger(&report, "overlap_bytes"), data.len() as u64);
    assert_eq!(of_ledger(&report, "aux_bytes"), data.len() as u64);
}

#[test]
fn padding_that_came_twice_is_overlap() {
    // The context packet (0x64 and four bytes, behind the physical address) becomes padding.
    let mut data = loads(1..=6);
    for record in data.chunks_mut(48) {
        assert_eq!(record[34], 0x64);
        record[34..39].fill(0);
    }
    let mut made = Made::spe();
    made.aux(0, 0, 192, OVERWRITE).piece(0, 0, &data[..192]);
    made.aux(0, 96, 192, OVERWRITE).piece(0, 96, &data[96..]);
    let (pages, report) = read(&made.finish());
    assert_eq!(pages, frames(1..=6));
    assert_eq!(ledger(&report, BYTES), [0, 0, 96]);
    assert_eq!(ledger(&report, ["aux_bytes", "padding_bytes"]), [6 * 48, 6 * 5]);
}

#[test]
fn a_piece_that_claims_more_than_there_is() {
    let data = loads(1..=2);
    for claimed in [u64::MAX, 1 << 63, 1 << 62, 1 << 40, 97] {
        let mut made = Made::spe();
        made.piece(0, 0, &data);
        let mut bytes = made.finish();
        // The size field of the only AUXTRACE record.
        let parts = Parts::of(&bytes);
        let start = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().expect("eight")));
        let start = start.expect("a place in memory");
        let records = tests::container::walk(parts.endian, &parts.records);
        let (at, _) = records.iter().find(|(_, kind)| *kind == 71).expect("there is one");
        bytes[start + at + 8..start + at + 16].copy_from_slice(&claimed.to_le_bytes());
        let folder = scratch();
        let path = write(folder.path(), "perf.data", &bytes);
        let report = folioscope(["report", "--format", "json"]).arg(&path).json();
        check_ledger(&report);
        assert_eq!(report["accesses"], 2, "{claimed:#x}");
        assert_eq!(of_ledger(&report, "aux_bytes"), 96, "bytes present, not bytes claimed");
        let strict = folioscope(["pages", "--strict"]).arg(&path).run();
        assert_eq!(strict.code(), 3, "{claimed:#x}");
    }
}

#[test]
fn without_auxtrace_info_the_event_says_what_the_bytes_are() {
    let spe = tests::made::spe_event();
    let mut made = Made::of(tracegen::bytes::Endian::Little, false, vec![spe.clone()], "6.12.0");
    made.clock().piece(0, 0, &loads(1..=3));
    let (pages, _) = read(&made.finish());
    assert_eq!(pages, frames(1..=3));

    // With no event of the unit nobody knows: nothing is counted, all is foreign, and that is said.
    let other = tests::made::sample_event("dummy:u", 9, spe.attr.sample_type);
    let mut made = Made::of(tracegen::bytes::Endian::Little, false, vec![other], "6.12.0");
    made.clock().piece(0, 0, &loads(1..=3));
    let folder = scratch();
    let path = write(folder.path(), "perf.data", &made.finish());
    let run = folioscope(["report", "--format", "json"]).arg(&path).run().succeeded();
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let report = run.json();
    check_ledger(&report);
    assert_eq!(ledger(&report, ["foreign_aux_bytes", "aux_bytes", "records"]), [144, 0, 0]);
    assert!(report["reason"].is_string());
}

#[test]
fn hypervisors_are_noted() {
    let note = |comm: &str, release: &str| {
        let events = vec![tests::made::spe_event()];
        let mut made = Made::of(tracegen::bytes::Endian::Little, false, events, release);
        let comm = tracegen::perf::Record::Comm { pid: 7, tid: 7, comm, exec: true };
        made.info().clock().record(comm, 0, 10).piece(0, 0, &loads(1..=3));
        let (_, report) = read(&made.finish());
        report["notes"].to_string().contains("virtual machines")
    };
    assert!(note("qemu-system-x86", "6.12.0"));
    assert!(note("CPU 0/KVM", "6.12.0"));
    assert!(note("bash", "6.8.12-4-pve"));
    assert!(!note("bash", "6.12.0"));
    assert!(!note("my-qemu-notes", "6.12.0"));
    assert!(!note("qemu-aarch64-st", "6.12.0"), "it emulates a program");
}

#[test]
fn blocks_of_larger_base_pages_are_not_judged() {
    let recording = |release: &str| {
        let events = vec![tests::made::spe_event()];
        let mut made = Made::of(tracegen::bytes::Endian::Little, false, events, release);
        made.info().clock().piece(0, 0, &loads(1..=3));
        made.finish()
    };
    let folder = scratch();
    let large = write(folder.path(), "64k.data", &recording("6.8.0-31-generic-64k"));
    let report = folioscope(["report", "--format", "json"]).arg(&large).json();
    check_ledger(&report);
    assert_eq!(report["accesses"], 3, "the counts stay true");
    assert_eq!(report["top"][0]["verdict"], Value::Null);
    let verdicts = report["verdicts"].as_object().expect("an object");
    assert!(verdicts.values().all(|count| count == 0), "{verdicts:?}");
    assert!(report["notes"].to_string().contains("512 MiB"));
    folioscope(["decisions"]).arg(&large).run().failed(&["64 KiB", "512 MiB"]);
    let told = folioscope(["decisions", "--page-size", "4KiB"]).arg(&large).json_lines();
    assert_eq!(told.len(), 1, "the user knows better");

    let small = write(folder.path(), "4k.data", &recording("6.8.0-31-generic"));
    let report = folioscope(["report", "--format", "json"]).arg(&small).json();
    assert!(report["top"][0]["verdict"].is_string());
    assert!(report["notes"].to_string().contains("4 KiB assumed"));
    folioscope(["decisions", "--page-size", "16KiB"]).arg(&small).run().failed(&["32 MiB"]);
    let report =
        folioscope(["report", "--format", "json", "--page-size", "64KiB"]).arg(&small).json();
    assert_eq!(report["top"][0]["verdict"], Value::Null);
}

/// perf reads the AUX ring after the records, so that bytes may come before the record that
/// announces them. Zeros at their end look like perf's filling until then. A record of these ends in
/// six zeros, those of its ticks.
#[test]
fn zeros_that_were_not_announced_yet_are_data() {
    let data = loads(1..=4);
    let at_end = |announced: u64, later: &[(u64, u64)], cut: u64, next: Option<u64>| {
        let mut made = Made::spe();
        made.aux(0, 0, announced, 0);
        let cut = usize::try_from(cut).expect("a few bytes");
        let mut first = data[..cut].to_vec();
        first.resize(cut.next_multiple_of(8), 0);
        made.piece(0, 0, &first);
        for (offset, end) in later {
            made.aux(0, *offset, end - offset, 0);
        }
        if let Some(next) = next {
            made.piece(0, next, &data[usize::try_from(next).expect("a few bytes")..]);
        }
        made.finish()
    };
    // Two records have 96 bytes, the last six of which are zeros.
    let cases = [
        ("all is announced", at_end(96, &[(96, 192)], 96, Some(96)), 4),
        ("a part is, the rest later", at_end(91, &[(91, 192)], 96, Some(96)), 4),
        ("the rest is never announced", at_end(91, &[], 96, Some(96)), 4),
        ("it is announced, and nothing follows", at_end(91, &[(91, 96)], 96, None), 2),
        ("in two parts", at_end(91, &[(91, 93), (93, 96)], 96, None), 2),
        ("some of the zeros are filling", at_end(91, &[(91, 192)], 94, Some(94)), 4),
        ("all of them are", at_end(91, &[(91, 192)], 91, Some(91)), 4),
        ("the end is not told", at_end(91, &[], 96, None), 1),
        ("less than that is told", at_end(91, &[(91, 95)], 96, None), 1),
        // The physical address 0x2000 of the second record stands there.
        ("zeros before other bytes", at_end(74, &[(74, 192)], 80, Some(80)), 4),
    ];
    let wrong = cases.iter().filter_map(|(name, recording, wanted)| {
        let (pages, report) = read(recording);
        let lost = of_ledger(&report, "skipped_bytes");
        let right = pages == frames(1..=*wanted) && lost == 0;
        (!right).then(|| format!("{name}: {pages:?}, {lost} bytes skipped"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}
