//! What is told of tasks, in its place among the accesses.

use std::num::NonZeroUsize;

use decoder::{Access, Options, Origin, Shard, Sink, decode_bytes, decode_stream};
use tests::container::Parts;
use tests::made::{FIRST_ID, Made, sample_event};
use tracegen::perf::attr::sample_type as st;
use tracegen::perf::{Record, Sample};

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Access(u64),
    Exec(u32),
}

#[derive(Default)]
struct List(Vec<Told>);

impl Sink for List {
    fn access(&mut self, access: &Access) {
        self.0.push(Told::Access(access.origin.time_ns.expect("it has one")));
    }
    fn other(&mut self, _: &Origin) {}
    fn exec(&mut self, pid: u32) {
        self.0.push(Told::Exec(pid));
    }
}

impl Shard for List {
    fn split(&self) -> Self {
        Self::default()
    }
    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

#[test]
fn who_calls_exec_is_told_between_the_accesses() {
    const FIELDS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::ADDR;
    let mut made = Made::samples(vec![sample_event("page-faults", 2, FIELDS)]);
    let sample =
        |time| Sample { id: 3 * FIRST_ID, addr: 0x1000, pid: 7, time, ..Sample::default() };
    let comm = |pid, exec| Record::Comm { pid, tid: 9, comm: "worker", exec };
    made.sample(&sample(1), FIELDS)
        .record(comm(7, false), 0, 2)
        .sample(&sample(3), FIELDS)
        .record(comm(7, true), 0, 4)
        .sample(&sample(5), FIELDS)
        .record(comm(u32::MAX, true), 0, 6)
        .record(comm(8, true), 0, 7);
    let file = made.finish();
    let want = [Told::Access(1), Told::Access(3), Told::Exec(7), Told::Access(5), Told::Exec(8)];
    let options = Options::new(NonZeroUsize::MIN);
    let mut list = List::default();
    decode_bytes(&[&file], 0, &options, &mut list).expect("it is a recording");
    assert_eq!(list.0, want, "a file");
    let mut list = List::default();
    decode_stream(&Parts::of(&file).stream()[..], 0, &options, &mut list).expect("it is one");
    assert_eq!(list.0, want, "a stream");
}

#[test]
fn a_process_that_begins_is_told_and_a_thread_is_not() {
    const FIELDS: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU | st::ADDR;
    let mut made = Made::samples(vec![sample_event("page-faults", 2, FIELDS)]);
    let fork = |pid, ppid, tid| Record::Fork { pid, ppid, tid, ptid: ppid, time: 3 };
    made.record(fork(7, 1, 7), 0, 3).record(fork(7, 7, 8), 0, 3);
    let options = Options::new(NonZeroUsize::MIN);
    let mut list = List::default();
    decode_bytes(&[&made.finish()], 0, &options, &mut list).expect("it is a recording");
    assert_eq!(list.0, [Told::Exec(7)]);
}
