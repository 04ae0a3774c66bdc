//! Between decoder and sink: gives accesses their frames.

use super::{Frames, Why};
use crate::addr::PAGE_SHIFT;
use crate::perf::QueueKey;
use crate::{
    Access, AccessFlags, Batch, Detail, EventIndex, Origin, Pfn, PhysAddr, Recording, Shard, Sink,
    Source, VirtAddr,
};

/// A sink that looks up the frame of each access of a user process that has a virtual but no
/// physical address, and passes all on to another sink.
///
/// Frames that were sampled stay as they are. An access whose frame was found has
/// [`AccessFlags::LOOKED_UP`]; one whose was not keeps no physical address, and has the flag
/// that says why. Kernel addresses, pid 0 (the idle threads), accesses without pid and those of
/// guests are never looked up, and have neither.
///
/// Since it looks at all of an access, decoding Arm SPE data is slower than where only places are
/// asked for; see [`LookUp::of_samples`].
#[derive(Debug)]
pub struct LookUp<S, F> {
    sink: S,
    /// None: all is passed on as it is.
    frames: Option<F>,
    /// Records of Arm SPE are left as they are.
    not_spe: bool,
    /// Each access says that its page has just been mapped.
    faults: bool,
}

impl<S, F: Frames> LookUp<S, F> {
    /// Accesses go to `sink`, with frames from `frames`.
    pub const fn new(sink: S, frames: F) -> Self {
        Self { sink, frames: Some(frames), not_spe: false, faults: false }
    }

    /// Accesses go to `sink` as they are. So a program has one kind of sink, whether it is given a
    /// page map or not.
    pub const fn nothing(sink: S) -> Self {
        Self { sink, frames: None, not_spe: false, faults: false }
    }

    /// As [`LookUp::new`], where Arm SPE was asked for physical addresses: its records stay as they
    /// are. One that has none is of an access that was given up, and where its page lies later
    /// says nothing.
    pub const fn of_samples(sink: S, frames: F) -> Self {
        Self { sink, frames: Some(frames), not_spe: true, faults: false }
    }

    /// The accesses are page faults: each says that its page has just been mapped, so its frame is
    /// asked for anew.
    #[must_use]
    pub fn of_faults(self) -> Self {
        Self { faults: true, ..self }
    }

    /// Where to look up the page of an access, and whose it is; none if it is not looked up.
    fn wanted(&self, access: &Access) -> Option<(&F, u32, VirtAddr)> {
        let frames = self.frames.as_ref()?;
        // The address is the guest's, and the page map that of the process that runs it.
        if access.flags.contains(AccessFlags::GUEST) {
            return None;
        }
        if self.not_spe && access.origin.source == Source::ArmSpe {
            return None;
        }
        let pid = access.pid.filter(|pid| *pid != 0)?;
        let vaddr = access.vaddr.filter(|vaddr| !vaddr.is_kernel())?;
        access.paddr.is_none().then_some((frames, pid, vaddr))
    }

    /// The sink, with all that it took.
    pub fn into_inner(self) -> S {
        self.sink
    }

    /// The access with its frame, or with the reason why it has none.
    fn looked_up(&self, access: &Access, (frames, pid, vaddr): (&F, u32, VirtAddr)) -> Access {
        let frame = match self.faults {
            true => frames.frame_anew(pid, vaddr),
            false => frames.frame(pid, vaddr),
        };
        match frame {
            Ok(frame) => Access {
                paddr: Some(byte_in(frame, vaddr)),
                flags: access.flags | AccessFlags::LOOKED_UP,
                ..*access
            },
            Err(why) => Access { flags: access.flags | Why::flag(why), ..*access },
        }
    }
}

/// The byte of a frame that a virtual address names.
const fn byte_in(frame: Pfn, vaddr: VirtAddr) -> PhysAddr {
    let within = vaddr.get() & ((1 << PAGE_SHIFT) - 1);
    PhysAddr::new_truncate(frame.get() << PAGE_SHIFT | within)
}

impl<S: Sink, F: Frames> Sink for LookUp<S, F> {
    fn detail(&self) -> Detail {
        if self.not_spe || self.frames.is_none() { self.sink.detail() } else { Detail::Accesses }
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        self.sink.batch(batch);
    }

    fn event_name(&mut self, event: EventIndex, name: &str) {
        self.sink.event_name(event, name);
    }

    fn access(&mut self, access: &Access) {
        match self.wanted(access) {
            Some(wanted) => self.sink.access(&self.looked_up(access, wanted)),
            None => self.sink.access(access),
        }
    }

    fn other(&mut self, origin: &Origin) {
        self.sink.other(origin);
    }

    fn exec(&mut self, pid: u32) {
        if let Some(frames) = &self.frames {
            frames.forget(pid);
        }
        self.sink.exec(pid);
    }

    fn wants_recording(&self) -> bool {
        self.sink.wants_recording()
    }

    fn recording_changed(&mut self) {
        self.sink.recording_changed();
    }

    fn recording_so_far(&mut self, recording: &Recording) {
        self.sink.recording_so_far(recording);
    }

    fn recording_ended(&mut self) {
        self.sink.recording_ended();
    }

    fn has_enough(&self) -> bool {
        self.sink.has_enough()
    }
}

impl<S: Shard, F: Frames> Shard for LookUp<S, F> {
    fn split(&self) -> Self {
        Self { sink: self.sink.split(), frames: self.frames.clone(), ..*self }
    }

    fn join_in(&self) -> Self {
        Self { sink: self.sink.join_in(), frames: self.frames.clone(), ..*self }
    }

    fn part_begins(&mut self, number: u64) {
        self.sink.part_begins(number);
    }

    fn part_ended(&mut self) {
        self.sink.part_ended();
    }

    fn queue_goes_on(&mut self, queue: QueueKey) {
        self.sink.queue_goes_on(queue);
    }

    fn queue_pauses(&mut self, queue: QueueKey) {
        self.sink.queue_pauses(queue);
    }

    fn queue_is_ahead(&mut self, queue: QueueKey) {
        self.sink.queue_is_ahead(queue);
    }

    fn merge_ahead(&mut self, ahead: Self, queue: QueueKey) -> bool {
        self.sink.merge_ahead(ahead.sink, queue)
    }

    fn merge(&mut self, other: Self) {
        self.sink.merge(other.sink);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{Direction, Ledger, Operation, Position};

    /// Process 7 has page 0x1000 in frame 0x55; nobody else has anything.
    #[derive(Clone)]
    struct OnePage;

    impl Frames for OnePage {
        fn frame(&self, pid: u32, vaddr: VirtAddr) -> Result<Pfn, Why> {
            match (pid, vaddr.get() >> 12) {
                (7, 1) => Ok(Pfn::new_truncate(0x55)),
                (7, _) => Err(Why::NotPresent),
                (8, _) => Err(Why::Hidden),
                (9, _) => Err(Why::Unreadable),
                _ => Err(Why::Gone),
            }
        }
    }

    #[derive(Default)]
    struct Keep(Vec<Access>);

    impl Sink for Keep {
        fn access(&mut self, access: &Access) {
            self.0.push(*access);
        }
        fn other(&mut self, _: &Origin) {}
    }

    impl Shard for Keep {
        fn split(&self) -> Self {
            Self::default()
        }
        fn merge(&mut self, other: Self) {
            self.0.extend(other.0);
        }
    }

    fn access(pid: Option<u32>, vaddr: Option<u64>, paddr: Option<u64>) -> Access {
        Access {
            origin: Origin {
                source: Source::Sample,
                event: None,
                cpu: None,
                time_ns: None,
                not_retired: false,
                position: Position::default(),
            },
            operation: Operation::plain(Direction::Load),
            paddr: paddr.map(PhysAddr::new_truncate),
            vaddr: vaddr.map(VirtAddr::new),
            ip: None,
            pid,
            tid: pid,
            latency_cycles: None,
            data_source: None,
            issue_latency_cycles: None,
            translation_latency_cycles: None,
            tlb: None,
            page_size: None,
            aux_queue: None,
            flags: AccessFlags::L1_MISS,
        }
    }

    #[test]
    fn an_access_gets_its_frame_or_the_reason_why_not() {
        use AccessFlags as Flags;
        let kernel = 0xffff_8000_0000_1000;
        type Given = (Option<u32>, Option<u64>, Option<u64>);
        let cases: &[(&str, Given, Option<u64>, AccessFlags)] = &[
            ("found", (Some(7), Some(0x1abc), None), Some(0x5_5abc), Flags::LOOKED_UP),
            ("sampled", (Some(7), Some(0x1abc), Some(9)), Some(9), Flags::empty()),
            ("not present", (Some(7), Some(0x2000), None), None, Flags::LOOKUP_NOT_PRESENT),
            ("hidden", (Some(8), Some(0x1000), None), None, Flags::LOOKUP_HIDDEN),
            ("unreadable", (Some(9), Some(0x1000), None), None, Flags::LOOKUP_UNREADABLE),
            ("gone", (Some(1), Some(0x1000), None), None, Flags::LOOKUP_GONE),
            ("kernel", (Some(7), Some(kernel), None), None, Flags::empty()),
            ("idle", (Some(0), Some(0x1000), None), None, Flags::empty()),
            ("no pid", (None, Some(0x1000), None), None, Flags::empty()),
            ("no address", (Some(7), None, None), None, Flags::empty()),
        ];
        let mut look_up = LookUp::new(Keep::default(), OnePage);
        assert_eq!(look_up.detail(), Detail::Accesses);
        let mut ledger = Ledger::default();
        for (name, (pid, vaddr, paddr), want, flag) in cases {
            let given = access(*pid, *vaddr, *paddr);
            look_up.access(&given);
            let got = look_up.sink.0.pop().expect("every access is passed on");
            let paddr = want.map(PhysAddr::new_truncate);
            assert_eq!(got, Access { paddr, flags: Flags::L1_MISS | *flag, ..given }, "{name}");
            ledger.frame(&got);
        }
        assert_eq!((ledger.looked_up, ledger.no_physical_address, ledger.lookup_failed), (1, 4, 4));
        let reasons = (ledger.lookup_gone, ledger.lookup_not_present, ledger.lookup_hidden);
        assert_eq!(reasons, (1, 1, 1), "what is missing could not be read");
    }

    #[test]
    fn arm_spe_that_was_asked_for_addresses_is_left_alone() {
        let sample = access(Some(7), Some(0x1abc), None);
        let spe = Access { origin: Origin { source: Source::ArmSpe, ..sample.origin }, ..sample };
        let mut look_up = LookUp::of_samples(Keep::default(), OnePage);
        for mut sink in [look_up.split(), look_up.join_in()] {
            sink.access(&spe);
            sink.access(&sample);
            look_up.merge(sink);
        }
        let paddrs: Vec<_> = look_up.sink.0.iter().map(|access| access.paddr).collect();
        let found = Some(PhysAddr::new_truncate(0x5_5abc));
        assert_eq!(paddrs, [None, found, None, found]);
        // Without that they are looked up like all others.
        let mut look_up = LookUp::new(Keep::default(), OnePage);
        look_up.access(&spe);
        assert_eq!(look_up.sink.0[0].paddr, found);
    }

    /// Remembers frame 1 of every page, and finds frame 2 when it asks.
    #[derive(Clone, Default)]
    struct Moved(Arc<Mutex<Vec<u32>>>);

    impl Frames for Moved {
        fn frame(&self, _: u32, _: VirtAddr) -> Result<Pfn, Why> {
            Ok(Pfn::new_truncate(1))
        }
        fn frame_anew(&self, _: u32, _: VirtAddr) -> Result<Pfn, Why> {
            Ok(Pfn::new_truncate(2))
        }
        fn forget(&self, pid: u32) {
            self.0.lock().expect("nobody has panicked").push(pid);
        }
    }

    #[test]
    fn of_faults_nothing_remembered_is_taken() {
        for (event, frame) in [
            ("faults", 2),
            ("page-faults", 2),
            ("minor-faults", 2),
            ("major-faults", 2),
            ("alignment-faults", 1),
            ("cpu-clock", 1),
            ("mem:0x1000", 1),
            ("spe", 1),
            ("best", 1),
        ] {
            let event_choice = event.parse().expect("it is one");
            let options = crate::live::Options { event: event_choice, ..Default::default() };
            let mut look_up = options.look_up(Keep::default(), Moved::default());
            for mut sink in [look_up.split(), look_up.join_in()] {
                sink.access(&access(Some(7), Some(0x1abc), None));
                look_up.merge(sink);
            }
            let paddrs: Vec<_> = look_up.sink.0.iter().map(|access| access.paddr).collect();
            assert_eq!(paddrs, [Some(PhysAddr::new_truncate(frame << 12 | 0xabc)); 2], "{event}");
        }
    }

    #[test]
    fn who_calls_exec_is_forgotten() {
        let frames = Moved::default();
        let mut look_up = LookUp::new(Keep::default(), frames.clone());
        look_up.exec(7);
        look_up.access(&access(Some(7), Some(0x1abc), None));
        look_up.exec(9);
        assert_eq!(*frames.0.lock().expect("nobody has panicked"), [7, 9]);
    }

    #[test]
    fn every_reason_has_a_flag_of_its_own() {
        for why in Why::ALL {
            assert_eq!(Why::of(why.flag() | AccessFlags::LOCKED), Some(why));
        }
        assert_eq!(Why::of(AccessFlags::LOOKED_UP), None);
    }
}
