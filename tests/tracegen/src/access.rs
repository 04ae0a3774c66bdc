//! What one sampled operation does, and the packets that it leaves.

use crate::bytes::{low8, low16};
use crate::rng::Rng;
use crate::scenario::Touch;
use crate::spe::{self, Layout, address, event, operation, source};
use crate::truth::{Op, Sampled};

/// A branch or an operation without memory.
pub(crate) fn not_memory(
    rng: &mut Rng,
    record: &mut spe::Record,
    ip: u64,
    level: u8,
    layout: Layout,
) {
    let total = rng.between(4, 900);
    record.total = Some(low16(total));
    record.issue = Some(low16(rng.between(1, total)));
    let mut events = event::RETIRED;
    if rng.percent(60) {
        let conditional = rng.percent(60);
        let payload = if conditional {
            operation::CONDITIONAL
        } else {
            rng.choose(&[0, operation::INDIRECT])
        };
        record.operation = Some((operation::BRANCH, payload));
        if conditional && rng.percent(40) {
            events |= event::NOT_TAKEN;
        } else {
            record.target = Some(address::code(ip + 64, level));
        }
        if rng.percent(3) {
            events |= event::MISPREDICTED;
        }
        if layout == Layout::Mix && rng.percent(30) {
            record.previous_target = Some(address::code(ip - 256, level));
        }
    } else {
        record.operation = Some((operation::OTHER, u8::from(rng.percent(10))));
    }
    record.events = Some(events);
}

/// A load, store or atomic; without `touch` one without a physical address, with `stray` as its virtual one.
pub(crate) fn memory(
    rng: &mut Rng,
    record: &mut spe::Record,
    sampled: &mut Sampled,
    touch: Option<Touch>,
    stray: u64,
    kernel: bool,
    layout: Layout,
) {
    let (op, payload) = operation(rng, layout);
    sampled.op = op;
    record.operation = Some((operation::MEMORY, payload));
    if let Some(touch) = touch {
        // The kernel reaches the page by its own map of all memory, or by the user's address.
        let linear = kernel && rng.percent(70);
        let va = if linear { 0xffff_0000_0000_0000 + touch.physical } else { touch.user };
        let tag = match rng.below(100) {
            0 if !linear => 0x5a,
            0..50 if linear => 0xff,
            _ => 0,
        };
        record.va = Some(address::data(va, tag));
        record.pa = Some(match rng.below(20) {
            0 => address::physical(touch.physical, rng.percent(50), low8(rng.below(16))),
            _ => address::physical(touch.physical, false, 0),
        });
        sampled.vaddr = Some(va);
        sampled.paddr = Some(touch.physical);
        if layout == Layout::Mix && rng.percent(2) {
            record.operation = None;
            sampled.op = Op::Access;
        }
    } else if rng.percent(80) {
        record.va = Some(address::data(stray, 0));
        sampled.vaddr = Some(stray);
    }
    let (from, low, high, extra) = match rng.below(100) {
        0..60 => (source::L1D, 5, 20, 0),
        60..75 => (source::L2, 12, 40, event::L1D_REFILL),
        75 => (source::PEER_CORE, 30, 90, event::L1D_REFILL),
        76..80 => (source::LOCAL_CLUSTER, 30, 90, event::L1D_REFILL),
        80..88 => (source::SYSTEM_CACHE, 60, 180, event::L1D_REFILL | event::LLC_ACCESS),
        88..90 => (source::PEER_CLUSTER, 60, 220, event::L1D_REFILL | event::LLC_ACCESS),
        90 => (
            source::REMOTE,
            250,
            900,
            event::L1D_REFILL | event::LLC_ACCESS | event::LLC_MISS | event::REMOTE,
        ),
        _ => (source::DRAM, 150, 700, event::L1D_REFILL | event::LLC_ACCESS | event::LLC_MISS),
    };
    let issue = rng.between(1, 30);
    let walk = rng.percent(2);
    record.issue = Some(low16(issue));
    record.total = Some(low16(issue + rng.between(low, high)));
    record.translation = Some(low16(if walk { rng.between(20, 90) } else { rng.between(0, 4) }));
    let mut events = event::L1D_ACCESS | event::TLB_ACCESS | extra;
    events |= if walk { event::TLB_WALK } else { 0 };
    if rng.percent(99) {
        events |= event::RETIRED;
    } else {
        sampled.retired = false;
    }
    record.events = Some(events);
    // Stores and atomics that return nothing have no source.
    if payload & operation::STORE == 0 && layout.has_source() {
        record.source = Some(from);
    }
}

/// What a short record tells of a memory operation: that it was one, and where.
pub(crate) fn short_memory(
    rng: &mut Rng,
    record: &mut spe::Record,
    sampled: &mut Sampled,
    touch: Option<Touch>,
) {
    let (op, payload) = operation(rng, Layout::Short);
    sampled.op = op;
    record.operation = Some((operation::MEMORY, payload));
    sampled.paddr = touch.map(|touch| touch.physical);
    record.pa = sampled.paddr.map(|address| address::physical(address, false, 0));
}

/// What an operation is, and the payload that says so.
fn operation(rng: &mut Rng, layout: Layout) -> (Op, u8) {
    let store = rng.percent(37);
    let bit = u8::from(store);
    if rng.percent(5) {
        return (Op::Atomic, operation::ATOMIC | bit);
    }
    let op = if store { Op::Store } else { Op::Load };
    let subclass = match rng.below(100) {
        0..85 => operation::GENERAL,
        85..95 => operation::SIMD,
        95 | 96 => operation::ACQUIRE_RELEASE,
        97 => operation::EXCLUSIVE,
        _ if layout != Layout::Mix => operation::UNSPECIFIED,
        _ => rng.choose(&[
            operation::TAG,
            operation::SVE_PREDICATED,
            operation::SVE_GATHER,
            operation::COPY,
            operation::UNSPECIFIED,
        ]),
    };
    if layout == Layout::Mix && store && rng.percent(1) {
        return (op, operation::SET);
    }
    (op, subclass | bit)
}
