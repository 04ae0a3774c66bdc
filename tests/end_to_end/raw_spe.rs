//! The bytes of a buffer of Arm SPE without a container.

use serde_json::Value;
use tests::inputs::input;
use tests::made::load;
use tracegen::spe::{Packet, Width, address, counter, event, operation};

use crate::program::{check_ledger, counts, folioscope, of_ledger, scratch, write};

/// A load whose data source is 9: a cache of another core on a Neoverse N1, the second level's on
/// an AmpereOne-A (`tools/perf/util/arm-spe.c`).
fn from_source_9(pfn: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let vaddr = 0x7f00_1234_5000;
    let physical = pfn.map(|pfn| Packet::Address {
        index: address::DATA_PHYSICAL,
        payload: address::physical(pfn << 12, false, 0),
    });
    let packets = [
        Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
        Packet::Counter { index: counter::TOTAL, value: 20 },
        Packet::Events { bits: event::RETIRED, width: Width::One },
        Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
        Packet::DataSource { value: 9, width: Width::One },
        Packet::Address { index: address::DATA_VIRTUAL, payload: address::data(vaddr, 0) },
    ];
    for packet in packets.into_iter().chain(physical).chain([Packet::End]) {
        packet.write(&mut out);
    }
    out
}

/// 300 loads of pages 0x1000 to 0x1063, with padding between them.
fn buffer() -> Vec<u8> {
    (0..300_u64)
        .flat_map(|number| [load(0x1000 + number % 100, 1000 + number), vec![0; 16]].concat())
        .collect()
}

#[test]
fn every_command_counts_a_buffer() {
    let folder = scratch();
    let path = write(folder.path(), "spe.bin", &buffer());
    let pages = folioscope(["pages", "--raw-spe"]).arg(&path).text();
    let want = (0x1000..0x1064).map(|pfn| (pfn, 3)).collect();
    assert_eq!(counts(&pages), want);
    assert_eq!(folioscope(["pages", "--raw-spe", "-"]).input(&buffer()).text(), pages);

    let report = folioscope(["report", "--raw-spe", "--format", "json"]).arg(&path).json();
    check_ledger(&report);
    assert_eq!(report["accesses"], 300);
    assert_eq!(of_ledger(&report, "aux_bytes"), buffer().len() as u64);
    assert_eq!(of_ledger(&report, "padding_bytes"), 16 * 300);
    assert_eq!(report["input"]["time_base"], "ticks");
    assert_eq!(folioscope(["report", "--raw-spe", "--strict"]).arg(&path).run().code(), 0);

    let records = folioscope(["records", "--raw-spe", "--format", "json"]).arg(&path).json_lines();
    assert_eq!(records.len(), 300);
    assert_eq!(records[7]["paddr"], "0x1007000");
    assert_eq!(records[7]["tid"], 4242, "the context packet's");
    assert_eq!(records[7]["queue"], "spe0");
    for nothing in ["time_ns", "cpu", "event"] {
        assert_eq!(records[7][nothing], Value::Null, "{nothing}");
    }

    let decisions = folioscope(["decisions", "--raw-spe"]).arg(&path).json_lines();
    assert_eq!(decisions.len(), 1);
    let picture = folder.path().join("heat.svg");
    folioscope(["heatmap", "--raw-spe", "-o"]).arg(&picture).arg(&path).run().succeeded();
    assert!(std::fs::read_to_string(picture).expect("it is written").contains("<svg"));
}

/// Nobody says which CPUs there are, and what the unit left out.
#[test]
fn blocks_of_a_buffer_are_not_judged_unless_it_is_complete() {
    let verdict = |more: &[&str]| {
        let start = folioscope(["decisions", "--raw-spe", "-"]).args(more).input(&buffer());
        start.json_lines()[0]["verdict"].clone()
    };
    assert_eq!(verdict(&[]), "filtered");
    assert_ne!(verdict(&["--assume-complete"]), "filtered");
    let said = folioscope(["report", "--raw-spe", "-"]).input(&buffer()).text();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("does not tell which CPUs were sampled"), "{said}");
}

#[test]
fn the_processor_tells_what_sources_mean() {
    let buffer = from_source_9(Some(7));
    let source = |more: &[&str]| {
        let start = folioscope(["records", "--format", "json", "--raw-spe"]).args(more).arg("-");
        start.input(&buffer).json_lines()[0]["source"].clone()
    };
    assert_eq!(source(&[]), "unknown(0x09)");
    assert_eq!(source(&["--midr", "0x410fd0c1"]), "peer-core");
    assert_eq!(source(&["--midr", "0xc00fac40"]), "l2");
    for bad in ["0x", "410fd0c1", "0x+1", "n1"] {
        let run = folioscope(["records", "--raw-spe", "--midr", bad, "-"]).run();
        assert_eq!(run.code(), 2, "{bad}");
        assert!(run.stderr.contains("MIDR_EL1 such as 0x410fd0c1"), "{}", run.stderr);
    }
    assert_eq!(folioscope(["pages", "--midr", "0x410fd0c1", "-"]).run().code(), 2);
    assert_eq!(folioscope(["pages", "--raw-spe", "--raw-pebs", "3", "-"]).run().code(), 2);
}

#[test]
fn why_nothing_is_counted_and_what_is_lost() {
    let virtual_only = from_source_9(None).repeat(3);
    let cases: [(Vec<u8>, &str); 4] = [
        (virtual_only, "3 records, none with a physical address: let the unit collect them"),
        (vec![], "0 records, nothing was sampled"),
        (vec![0; 4096], "0 records, nothing was sampled"),
        (vec![0xff; 100], "no record in 100 bytes"),
    ];
    for (bytes, words) in cases {
        let run = folioscope(["pages", "--raw-spe", "-"]).input(&bytes).run().succeeded();
        assert_eq!((run.text().as_str(), run.stderr.lines().count()), ("", 1), "{}", run.stderr);
        assert!(run.stderr.contains(words), "{words:?} is not in {}", run.stderr);
        let run = folioscope(["pages", "--raw-spe", "--strict", "-"]).input(&bytes).run();
        assert_eq!(run.code(), 3, "{words}");
    }
    // A buffer that was cut.
    let cut = &buffer()[..300 * 64 - 30];
    let report = folioscope(["report", "--raw-spe", "--format", "json", "-"]).input(cut).json();
    check_ledger(&report);
    assert_eq!((&report["accesses"], of_ledger(&report, "cut_off_bytes")), (&299.into(), 34));
}

#[test]
fn a_recording_is_no_buffer_of_spe() {
    for name in ["file-kernel", "pipe-one", "dir-threads", "spe-file-be-timeless"] {
        let start = folioscope(["report", "--raw-spe"]).arg(input(name));
        start.run().failed(&["recording of perf's", "leave out --raw-spe"]);
    }
}
