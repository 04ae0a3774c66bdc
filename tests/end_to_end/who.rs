//! Which process and thread made an access, where its record names the thread alone, or nobody.

use serde_json::Value;
use tests::container::Parts;
use tests::made::{FIRST_ID, Made};
use tracegen::bytes::Endian;
use tracegen::perf::Record;
use tracegen::perf::record::Trailer;
use tracegen::perf::tool::{TimeConv, id_index_of_machines};
use tracegen::spe::{Packet, Width, address, event, operation};

use crate::program::{counts, folioscope, scratch, write};

/// When the timer ticks, in perf's time.
fn ns(ticks: u64) -> u64 {
    TimeConv::default().ns(ticks)
}

/// An access to a page by a thread that its record names, or does not.
fn by(tid: impl Into<Option<u32>>, pfn: u64, ticks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let thread = tid.into().map(|value| Packet::Context { index: 0, value });
    let packets = [
        Packet::Address { index: address::PC, payload: address::code(0x40_1000, 0) },
        Packet::Events { bits: event::RETIRED, width: Width::One },
        Packet::Operation { class: operation::MEMORY, payload: operation::GENERAL },
        Packet::Address { index: address::DATA_VIRTUAL, payload: address::data(0x7000, 0) },
        Packet::Address {
            index: address::DATA_PHYSICAL,
            payload: address::physical(pfn << 12, false, 0),
        },
    ];
    for packet in packets.into_iter().chain(thread).chain([Packet::Timestamp(ticks)]) {
        packet.write(&mut out);
    }
    out
}

fn task(pid: u32, tid: u32, time: u64) -> Trailer {
    Trailer { pid, tid, time, id: FIRST_ID, cpu: 0 }
}

/// Runs a command on a recording as a file and as a stream, with one thread and with several.
fn each_form(file: &[u8], words: &[&str], mut look: impl FnMut(&str, String)) {
    let stream = Parts::of(file).stream();
    let folder = scratch();
    let path = write(folder.path(), "perf.data", file);
    for threads in ["1", "2", "5"] {
        let words: Vec<_> = words.iter().copied().chain(["--threads", threads]).collect();
        let run = folioscope(words.clone()).arg(&path).run().succeeded();
        look(&format!("file, {threads}"), String::from_utf8(run.stdout).expect("text"));
        let run = folioscope(words).arg("-").input(&stream).run().succeeded();
        look(&format!("stream, {threads}"), String::from_utf8(run.stdout).expect("text"));
    }
}

#[test]
fn a_thread_number_that_is_used_again_is_its_process_by_time() {
    let fork = |pid, time| Record::Fork { pid, ppid: 1, tid: 5000, ptid: 1, time };
    let exit = Record::Exit { pid: 100, ppid: 1, tid: 5000, ptid: 1, time: ns(2000) };
    let mut made = Made::spe();
    made.record_of(fork(100, ns(500)), &task(1, 1, ns(500)))
        .piece(0, 0, &by(5000, 0x1234, 1000))
        .record_of(exit, &task(100, 5000, ns(2000)))
        .record_of(fork(200, ns(5000)), &task(1, 1, ns(5000)))
        .piece(0, by(5000, 0, 0).len() as u64, &by(5000, 0x1235, 6000));
    let file = made.finish();
    for (pid, pfn) in [("100", 0x1234), ("200", 0x1235)] {
        each_form(&file, &["pages", "--pid", pid], |form, text| {
            assert_eq!(counts(&text), [(pfn, 1)].into(), "--pid {pid}, {form}");
        });
    }
}

/// Pids of the listed records.
fn pids(text: &str) -> Vec<Option<u64>> {
    let row = |line: &str| -> Value { serde_json::from_str(line).expect("a line of JSON") };
    text.lines().map(|line| row(line)["pid"].as_u64()).collect()
}

#[test]
fn every_record_that_names_a_task_tells_whose_its_thread_is() {
    let (pid, tid) = (4999, 5000);
    let rows = [
        ("comes in", Record::SwitchCpuWide { out: false, pid: 0, tid: 0 }, (pid, tid)),
        ("comes in before the named one", Record::SwitchCpuWide { out: false, pid, tid }, (1, 1)),
        ("goes out to the named one", Record::SwitchCpuWide { out: true, pid, tid }, (1, 1)),
        ("goes out", Record::SwitchCpuWide { out: true, pid: 1, tid: 1 }, (pid, tid)),
        ("comes in, of one task", Record::Switch { out: false }, (pid, tid)),
        ("goes out, of one task", Record::Switch { out: true }, (pid, tid)),
        ("runs when tracing starts", Record::ItraceStart { pid, tid }, (1, 1)),
        ("has data", Record::Aux { offset: 0, size: 0, flags: 0 }, (pid, tid)),
    ];
    for (name, record, own) in rows {
        let mut made = Made::spe();
        made.record_of(record, &task(own.0, own.1, ns(500)));
        let data = [by(tid, 1, 1000), by(tid, 2, 1001)].concat();
        made.piece(0, 0, &data);
        each_form(&made.finish(), &["records", "--format", "json"], |form, text| {
            assert_eq!(pids(&text), [Some(u64::from(pid)); 2], "{name}, {form}");
        });
    }
}

#[test]
fn without_times_a_number_that_two_processes_had_is_nobodys() {
    let comm = |pid| Record::Comm { pid, tid: 5000, comm: "one", exec: false };
    for (second, want) in [(100, Some(100)), (200, None)] {
        let mut data = by(5000, 1, 0);
        // An End packet in the place of the timestamp.
        data.truncate(data.len() - 9);
        Packet::End.write(&mut data);
        let mut made = Made::spe();
        made.record_of(comm(100), &task(100, 5000, 500))
            .record_of(comm(second), &task(second, 5000, 600))
            .piece(0, 0, &data);
        each_form(&made.finish(), &["records", "--format", "json"], |form, text| {
            assert_eq!(pids(&text), [want], "{second}, {form}");
        });
    }
}

#[test]
fn numbers_inside_of_a_guest_say_nothing_of_the_host() {
    // perf inject --guest-data puts a guest's records among the host's, with ids of their own.
    let (host, guest) = (FIRST_ID, FIRST_ID + 1);
    let fork = |pid, time| Record::Fork { pid, ppid: 1, tid: 5000, ptid: 1, time };
    let mut index = Vec::new();
    id_index_of_machines(&mut index, Endian::Little, &[(host, 0), (guest, 77)]);
    let mut made = Made::spe();
    made.raw(&index)
        .record_of(fork(100, ns(500)), &task(1, 1, ns(500)))
        .record_of(fork(200, ns(600)), &Trailer { id: guest, ..task(1, 1, ns(600)) })
        .piece(0, 0, &by(5000, 1, 1000));
    each_form(&made.finish(), &["records", "--format", "json"], |form, text| {
        assert_eq!(pids(&text), [Some(100)], "{form}");
    });
}

#[test]
fn a_stream_tells_that_switches_came_too_late() {
    let switch = |pid| Record::SwitchCpuWide { out: false, pid: 0, tid: pid };
    for (switched, late) in [(900, false), (1500, true)] {
        let mut made = Made::spe();
        made.record_of(switch(0), &task(7, 7, ns(800)));
        let second = task(8, 8, ns(switched));
        if !late {
            made.record_of(switch(7), &second);
        }
        made.piece(0, 0, &[by(None, 1, 1000), by(None, 2, 2000)].concat());
        if late {
            made.record_of(switch(7), &second);
        }
        let file = made.finish();
        let stream = Parts::of(&file).stream();
        for threads in ["1", "3"] {
            let words = ["report", "--format", "json", "--threads", threads];
            let told = |report: Value| {
                report["notes"].to_string().contains("1 context switch came in the stream")
            };
            assert_eq!(told(folioscope(words).arg("-").input(&stream).json()), late, "{threads}");
            let folder = scratch();
            let path = write(folder.path(), "perf.data", &file);
            assert!(!told(folioscope(words).arg(&path).json()), "{threads}");
        }
    }
}
