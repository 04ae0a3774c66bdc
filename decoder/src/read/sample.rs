//! A sample record, and the access that it tells of.

use super::problems::Problems;
use super::recording_facts::{EventFacts, Facts};
use crate::cursor::ByteOrder;
use crate::perf::auxtrace::known;
use crate::perf::{DataSrc, Sample};
use crate::{
    Access, AccessFlags, Direction, EventIndex, Operation, Origin, PhysAddr, Position, Sink,
    Source, TimeBase, Tlb, VirtAddr, ibs,
};

/// Whether a record is of a virtual machine that ran on the machine that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// It is not.
    No,
    /// The host's unit sampled it while it ran: what hardware says of physical addresses is true of
    /// the host, and all else that names addresses is the guest's.
    Sampled,
    /// It was recorded inside of it, and put among the host's by `perf inject --guest-data`: all
    /// addresses, and the numbers of its processes, are the guest's.
    Inside,
}

/// A sample record with addresses, and what reading it takes beside the facts of its event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampleRecord<'a> {
    pub(crate) event: EventIndex,
    pub(crate) guest: Guest,
    pub(crate) body: &'a [u8],
    pub(crate) position: Position,
    /// The number of the record, which orders problems.
    pub(crate) record: u64,
}

/// What sample records came to, all of them or those that one thread has read.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(super) problems: Problems,
    pub(super) time_base: Option<TimeBase>,
    pub(super) sources: Vec<Source>,
    pub(super) ibs: ibs::Tally,
    /// Records of events that never have an address.
    pub(super) not_address_events: u64,
}

impl Samples {
    /// Reads one.
    pub(crate) fn take<S: Sink + ?Sized>(
        &mut self,
        record: SampleRecord<'_>,
        facts: &Facts,
        order: ByteOrder,
        sink: &mut S,
    ) {
        let SampleRecord { event, guest, body, position, record } = record;
        let Some(known) = facts.get(event) else { return };
        let EventFacts { attr, source, no_address, fetches, direction, .. } = known;
        let Some(sample) = Sample::parse(body, attr, order) else {
            self.problems.record = record;
            self.problems.add(
                "sample record whose fields do not end where it ends",
                position.offset.0,
                "it is not counted",
            );
            return;
        };
        // Should a kernel write one there all the same, the record is one of memory.
        if *no_address && present(sample.addr).or_else(|| present(sample.phys_addr)).is_none() {
            self.not_address_events += 1;
            return;
        }
        if !self.sources.contains(source) {
            self.sources.push(*source);
        }
        let base = if sample.time.is_some() { TimeBase::Ns } else { TimeBase::None };
        self.time_base = self.time_base.max(Some(base));
        let origin = Origin {
            source: *source,
            event: Some(event),
            cpu: sample.cpu,
            time_ns: sample.time,
            not_retired: false,
            position,
        };
        let op = match source {
            Source::IbsOp => self.op(&sample, facts.ibs_model, guest, record, position),
            _ => None,
        };
        match access(&sample, op.as_ref(), origin, *direction, guest).filter(|_| !fetches) {
            Some(access) => {
                if *source == Source::IbsOp {
                    self.ibs.count(&access);
                }
                sink.access(&access);
            }
            None => sink.other(&origin),
        }
    }

    /// The registers of an IBS op, if the sample has any.
    fn op(
        &mut self,
        sample: &Sample<'_>,
        model: ibs::Model,
        guest: Guest,
        record: u64,
        position: Position,
    ) -> Option<ibs::Op> {
        // An event without raw data has RAW all the same: four zeros.
        let raw = sample.raw.filter(|raw| raw.iter().any(|byte| *byte != 0))?;
        let op = ibs::Op::parse(raw, model);
        if let Some(op) = &op {
            // What the kernel says of a guest's physical address is no second opinion.
            if guest == Guest::No {
                self.ibs.take(op, present(sample.phys_addr));
            }
        } else {
            self.problems.record = record;
            self.problems.add(
                "sample record whose raw data holds no IBS op",
                position.offset.0,
                "its registers are ignored",
            );
        }
        op
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.problems.merge(other.problems);
        self.time_base = self.time_base.max(other.time_base);
        self.sources.extend(other.sources);
        self.ibs += other.ibs;
        self.not_address_events += other.not_address_events;
    }
}

/// What a sample has. The kernel writes 0 where it found no address, and no latency.
fn present(value: Option<u64>) -> Option<u64> {
    value.filter(|value| *value != 0)
}

/// The access that a sample tells of. What the kernel says comes first; what it leaves open, the
/// registers of an IBS op may tell, or else its event.
fn access(
    sample: &Sample<'_>,
    op: Option<&ibs::Op>,
    origin: Origin,
    of_event: Direction,
    guest: Guest,
) -> Option<Access> {
    const NONE: u32 = u32::MAX;
    let known_paddr = || match op?.phys_addr()? {
        ibs::Address::Known(address) => Some(address),
        ibs::Address::Hidden => None,
    };
    let given = present(sample.phys_addr).map(PhysAddr::new_truncate);
    let paddr = match guest {
        Guest::No => given.or_else(known_paddr),
        // The kernel looks up what hardware did not give, in the page table of the process that
        // runs the guest: that is none of the guest's pages.
        Guest::Sampled => known_paddr().filter(|known| given.is_none_or(|given| given == *known)),
        Guest::Inside => None,
    };
    let vaddr = present(sample.addr).or_else(|| op?.lin_addr());
    let data_src = sample.data_src.map(DataSrc).map(|data_src| match origin.source {
        Source::IbsOp => data_src.of_ibs(),
        _ => data_src,
    });
    let told = data_src.is_some_and(|data_src| data_src.0 & 0b11110 != 0);
    // Kernels before 6.1 leave DATA_SRC of IBS ops open.
    let teller = op.filter(|op| !told && op.direction().is_some());
    // Most ops that IBS samples touch no memory; they say so by saying nothing.
    let no_address = given.or(paddr).is_none() && vaddr.is_none();
    let says_nothing = !told && teller.is_none() && no_address;
    if origin.source == Source::IbsOp && says_nothing {
        return None;
    }
    let operation = match (data_src, teller.and_then(ibs::Op::direction)) {
        (_, Some(direction)) => Operation::plain(direction),
        (Some(data_src), None) if told => data_src.operation(),
        _ => Operation::plain(of_event),
    };
    let weight = present(sample.weight).map(|weight| u32::try_from(weight).unwrap_or(u32::MAX));
    let (pid, tid) = sample.pid_tid.unwrap_or((NONE, NONE));
    Some(Access {
        origin,
        operation,
        paddr,
        vaddr: vaddr.map(VirtAddr::new),
        ip: sample.ip.map(VirtAddr::new),
        pid: known(pid),
        tid: known(tid),
        latency_cycles: weight.or_else(|| op?.latency_cycles().filter(|cycles| *cycles > 0)),
        data_source: data_src.and_then(DataSrc::source).or_else(|| teller?.data_source()),
        issue_latency_cycles: None,
        translation_latency_cycles: op.and_then(ibs::Op::refill_latency_cycles),
        tlb: tlb(data_src, op),
        // Of a guest's page the kernel looks it up where it looks up the address.
        page_size: op
            .and_then(ibs::Op::page_size)
            .or(present(sample.data_page_size).filter(|_| guest == Guest::No)),
        aux_queue: None,
        flags: flags(data_src, op, told) | of_guest(guest),
    })
}

/// How an access was translated. Where there are registers of a memory operation the kernel's
/// word, which older ones made of them without asking whether they were valid, is not needed.
fn tlb(data_src: Option<DataSrc>, op: Option<&ibs::Op>) -> Option<Tlb> {
    match op.filter(|op| op.direction().is_some()) {
        Some(op) => op.tlb(),
        None => data_src.and_then(DataSrc::tlb),
    }
}

/// What else is told of an access. DATA_SRC has no place for much of what registers tell; whether
/// the data came from afar, or was modified there, is said by whoever says where it came from.
fn flags(data_src: Option<DataSrc>, op: Option<&ibs::Op>, told: bool) -> AccessFlags {
    let of_kernel = data_src.map(DataSrc::flags).unwrap_or_default();
    let mut of_op = op.map(ibs::Op::flags).unwrap_or_default();
    if told {
        of_op.remove(AccessFlags::REMOTE | AccessFlags::HITM);
        // That it is another socket is more than the kernel says of another node.
        of_op.set(
            AccessFlags::REMOTE_SOCKET,
            of_op.contains(AccessFlags::REMOTE_SOCKET) && of_kernel.contains(AccessFlags::REMOTE),
        );
    }
    let of_tlb = AccessFlags::TLB_ACCESS | AccessFlags::TLB_WALK;
    ((of_kernel | of_op) - of_tlb) | tlb(data_src, op).map_or(AccessFlags::empty(), Tlb::flags)
}

fn of_guest(guest: Guest) -> AccessFlags {
    if guest == Guest::No { AccessFlags::empty() } else { AccessFlags::GUEST }
}
