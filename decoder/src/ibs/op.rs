//! The registers of a sampled op, as the kernel copies them into RAW (`arch/x86/events/amd/ibs.c`;
//! the bits are those of `asm/amd/ibs.h` and of AMD's manuals, MSRs C001_1033 to C001_103D).
//!
//! ```text
//! caps 4 | IbsOpCtl 8 | OpRip 8 | OpData 8 | OpData2 8 | OpData3 8 | DcLinAd 8 | DcPhysAd 8 | ...
//! ```
//! What follows depends on the capabilities, and on how new the kernel is; nothing here needs it.

use crate::cursor::{ByteOrder, Cursor};
use crate::perf::processor;
use crate::{Direction, PhysAddr, Tlb};

bitflags::bitflags! {
    /// What the processor's IBS can do (CPUID 8000_001B, EAX).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Caps: u32 {
        /// Zen 4 and later: data sources of five bits.
        const ZEN4 = 1 << 11;
        /// IbsOpData2 tells streaming stores and other sockets.
        const STREAMING_AND_SOCKET = 1 << 16;
        /// Bits 5:4 of IbsOpData3 are the size of the page.
        const PAGE_SIZE = 1 << 19;
        const _ = !0;
    }
}

/// The processor, as far as its capabilities do not tell what its registers are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// Family 19h, models 00h to 0Fh: Zen 3 of servers and workstations.
    Zen3Server,
    /// Family 19h, models 20h to 5Fh: any other Zen 3.
    Zen3,
    /// Any other.
    Other,
    /// Not known.
    #[default]
    Unknown,
}

impl Model {
    /// The model of a processor that the recording calls `vendor,family,model,stepping`.
    pub fn of(cpuid: &str) -> Self {
        match processor(cpuid) {
            Some((_, 0x19, 0x00..=0x0f)) => Self::Zen3Server,
            Some((_, 0x19, 0x20..=0x5f)) => Self::Zen3,
            Some(_) => Self::Other,
            None => Self::Unknown,
        }
    }
}

bitflags::bitflags! {
    /// IbsOpCtl.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Control: u64 {
        /// Sampling was on.
        const ENABLED = 1 << 17;
        /// The other registers hold an op.
        const VALID = 1 << 18;
        const _ = !0;
    }
}

/// IbsOpData2: where the data of a load came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data2(pub u64);

impl Data2 {
    /// DataSrc: bits 2:0, and from Zen 4 on bits 7:6 above them.
    pub const fn source(self, caps: Caps) -> u8 {
        let [register, ..] = self.0.to_le_bytes();
        let high = if caps.contains(Caps::ZEN4) { register >> 6 } else { 0 };
        high << 3 | register & 0b111
    }

    /// The source belongs to another node.
    pub const fn remote(self, caps: Caps) -> bool {
        self.0 >> 4 & 1 == 1 || self.is_other_socket(caps)
    }

    /// The store went past the caches.
    pub const fn is_streaming(self, caps: Caps) -> bool {
        caps.contains(Caps::STREAMING_AND_SOCKET) && self.0 >> 8 & 1 == 1
    }

    /// The source belongs to another socket.
    pub const fn is_other_socket(self, caps: Caps) -> bool {
        caps.contains(Caps::STREAMING_AND_SOCKET) && self.0 >> 9 & 1 == 1
    }

    /// The cache that had the line had modified it (CacheHitSt 0, state M; 1 is state O).
    pub const fn modified(self) -> bool {
        self.0 >> 5 & 1 == 0
    }
}

bitflags::bitflags! {
    /// IbsOpData3: what the op did in the data cache. Bits that tell of addresses, of the cache
    /// or of the TLB say nothing for ops that are neither load nor store.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Data3: u64 {
        /// Reads memory.
        const LOAD = 1 << 0;
        /// Writes memory.
        const STORE = 1 << 1;
        /// Missed the first TLB.
        const L1_TLB_MISS = 1 << 2;
        /// Missed the second TLB.
        const L2_TLB_MISS = 1 << 3;
        /// The first TLB had it in a page of 2 MiB. With [`Caps::PAGE_SIZE`] the low bit of the
        /// page's size.
        const L1_TLB_HIT_2M = 1 << 4;
        /// The first TLB had it in a page of 1 GiB. With [`Caps::PAGE_SIZE`] the high bit.
        const L1_TLB_HIT_1G = 1 << 5;
        /// The second TLB had it in a page of 2 MiB. With [`Caps::PAGE_SIZE`] nothing.
        const L2_TLB_HIT_2M = 1 << 6;
        /// Missed the data cache.
        const DC_MISS = 1 << 7;
        /// Its address was misaligned.
        const MISALIGNED = 1 << 8;
        /// Uncacheable: what is told of misses, levels and latencies says nothing.
        const UNCACHEABLE = 1 << 14;
        /// Locked.
        const LOCKED = 1 << 15;
        /// Missed, and took no miss buffer of its own: its line was on its way already.
        const NO_MISS_BUFFER = 1 << 16;
        /// IbsDcLinAd holds its address.
        const LIN_ADDR_VALID = 1 << 17;
        /// IbsDcPhysAd holds its address.
        const PHYS_ADDR_VALID = 1 << 18;
        /// The second TLB had it in a page of 1 GiB. With [`Caps::PAGE_SIZE`] nothing.
        const L2_TLB_HIT_1G = 1 << 19;
        /// Missed the second-level cache.
        const L2_MISS = 1 << 20;
        /// A prefetch that software asked for.
        const SOFTWARE_PREFETCH = 1 << 21;
        const _ = !0;
    }
}

impl Data3 {
    /// DcMissLat, bits 47:32: cycles from the miss until the data came.
    const fn miss_latency(self) -> u32 {
        (self.bits() >> 32 & 0xffff) as u32
    }

    /// TlbRefillLat, bits 63:48: cycles from the miss until the first TLB had the page.
    const fn refill_latency(self) -> u32 {
        (self.bits() >> 48) as u32
    }
}

/// A physical address as the registers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The address, never 0.
    Known(PhysAddr),
    /// The register is valid and 0: the kernel has wiped it out for a caller without rights.
    /// Frame 0 is never data.
    Hidden,
}

/// Physical addresses have 52 bits in this architecture.
pub(super) const fn physical(raw: u64) -> PhysAddr {
    PhysAddr::new_truncate(raw & ((1 << 52) - 1))
}

/// The registers of one op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Op {
    /// The processor.
    pub model: Model,
    /// What the processor can do.
    pub caps: Caps,
    /// IbsOpCtl.
    pub control: Control,
    /// IbsOpData2.
    pub data2: Data2,
    /// IbsOpData3.
    pub data3: Data3,
    /// IbsDcLinAd.
    pub lin_addr: u64,
    /// IbsDcPhysAd.
    pub phys_addr: u64,
}

impl Op {
    /// Reads a RAW field of this processor, without its size. `None` if it is shorter than the
    /// registers that every processor with IBS has, or if IbsOpCtl does not say that they hold an
    /// op.
    pub fn parse(raw: &[u8], model: Model) -> Option<Self> {
        // Only x86 has these registers.
        let mut at = Cursor::new(raw, ByteOrder::Little);
        let caps = Caps::from_bits_retain(at.u32()?);
        let control = Control::from_bits_retain(at.u64()?);
        let (_rip, _data) = (at.u64()?, at.u64()?);
        let op = Self {
            model,
            caps,
            control,
            data2: Data2(at.u64()?),
            data3: Data3::from_bits_retain(at.u64()?),
            lin_addr: at.u64()?,
            phys_addr: at.u64()?,
        };
        control.contains(Control::ENABLED.union(Control::VALID)).then_some(op)
    }

    /// Its direction. `None` if it touched no memory, as most ops; one that reads and writes is
    /// a load, as the kernel has it.
    pub const fn direction(&self) -> Option<Direction> {
        if self.data3.contains(Data3::LOAD) {
            Some(Direction::Load)
        } else if self.data3.contains(Data3::STORE) {
            Some(Direction::Store)
        } else {
            None
        }
    }

    /// The virtual address of its data.
    pub fn lin_addr(&self) -> Option<u64> {
        let valid = self.touches(Data3::LIN_ADDR_VALID);
        (valid && self.lin_addr != 0).then_some(self.lin_addr)
    }

    /// The physical address of its data, to the byte.
    pub fn phys_addr(&self) -> Option<Address> {
        let address = physical(self.phys_addr);
        self.touches(Data3::PHYS_ADDR_VALID).then_some(match address.get() {
            0 => Address::Hidden,
            _ => Address::Known(address),
        })
    }

    /// Cycles that a load waited for its line. DcMissLat says nothing for hits, for stores, for
    /// prefetches and for what is uncacheable.
    pub fn latency_cycles(&self) -> Option<u32> {
        let has_none = Data3::UNCACHEABLE | Data3::SOFTWARE_PREFETCH;
        let valid =
            self.data3.contains(Data3::LOAD | Data3::DC_MISS) && !self.data3.intersects(has_none);
        valid.then(|| self.data3.miss_latency())
    }

    /// How its address was translated. What is told of TLBs is valid if the address is, and on
    /// processors that tell sizes of pages only if the physical one is too
    /// (`perf_ibs_get_tlb_lvl`).
    pub fn tlb(&self) -> Option<Tlb> {
        let mut valid = Data3::LIN_ADDR_VALID;
        valid.set(Data3::PHYS_ADDR_VALID, self.caps.contains(Caps::PAGE_SIZE));
        let misses = Data3::L1_TLB_MISS | Data3::L2_TLB_MISS;
        self.touches(valid).then(|| {
            if self.data3.contains(misses) {
                Tlb::Walk
            } else if self.data3.contains(Data3::L1_TLB_MISS) {
                Tlb::L2
            } else {
                Tlb::L1
            }
        })
    }

    /// Bytes of the page that its address was translated by. Before sizes were told as such, each
    /// TLB told of its hits in large pages, and of one that no TLB had nothing is known.
    pub fn page_size(&self) -> Option<u64> {
        const SIZES: [u64; 3] = [4 << 10, 2 << 20, 1 << 30];
        let (large, huge) = if self.caps.contains(Caps::PAGE_SIZE) {
            if !self.touches(Data3::PHYS_ADDR_VALID) {
                return None;
            }
            (Data3::L1_TLB_HIT_2M, Data3::L1_TLB_HIT_1G)
        } else {
            match self.tlb()? {
                Tlb::L1 => (Data3::L1_TLB_HIT_2M, Data3::L1_TLB_HIT_1G),
                Tlb::L2 => (Data3::L2_TLB_HIT_2M, Data3::L2_TLB_HIT_1G),
                Tlb::Walk | Tlb::Hit => return None,
            }
        };
        let bit = |bits| usize::from(self.data3.contains(bits));
        // Both bits are no size.
        SIZES.get(bit(huge) << 1 | bit(large)).copied()
    }

    /// Cycles until the first TLB had its page. It says nothing where that had it all the time,
    /// and from Zen 4 on where no physical address is valid.
    pub fn refill_latency_cycles(&self) -> Option<u32> {
        let mut valid = Data3::L1_TLB_MISS;
        valid.set(Data3::PHYS_ADDR_VALID, self.caps.contains(Caps::ZEN4));
        self.touches(valid).then(|| self.data3.refill_latency())
    }

    /// Whether what stands behind the data cache cannot be trusted: on Zen 3 of servers, for
    /// prefetches and for misses that took no miss buffer (AMD erratum 1293). A processor that is
    /// not known may be one if it is older than Zen 4: those lose the source of few accesses.
    pub(super) fn is_erratum_1293(&self) -> bool {
        let has_it = match self.model {
            Model::Zen3Server => true,
            Model::Zen3 | Model::Other => false,
            Model::Unknown => !self.caps.contains(Caps::ZEN4),
        };
        has_it && self.data3.intersects(Data3::SOFTWARE_PREFETCH | Data3::NO_MISS_BUFFER)
    }

    /// Whether the state of a line in the cache that had it can be trusted. On no Zen 3.
    pub(super) const fn tells_cache_state(&self) -> bool {
        match self.model {
            Model::Zen3Server | Model::Zen3 => false,
            Model::Other => true,
            Model::Unknown => self.caps.contains(Caps::ZEN4),
        }
    }

    /// Whether it is a memory operation, and all of these are set.
    pub(super) fn touches(&self, bits: Data3) -> bool {
        self.direction().is_some() && self.data3.contains(bits)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::AccessFlags;

    /// RAW with the caps of a Zen 4, IbsOpCtl enabled and valid, and these registers.
    fn raw(data2: u64, data3: u64, lin_addr: u64, phys_addr: u64) -> Vec<u8> {
        let registers = [0x0006_4000, 0x40_1000, 0x0001_0002, data2, data3, lin_addr, phys_addr];
        let mut raw = 0x0000_0bff_u32.to_le_bytes().to_vec();
        registers.iter().for_each(|register: &u64| raw.extend(register.to_le_bytes()));
        raw
    }

    pub(in crate::ibs) fn op(data2: u64, data3: u64) -> Op {
        Op::parse(&raw(data2, data3, 0x7f00_0000_1008, 0x1234_5008), Model::Unknown).unwrap()
    }

    #[test]
    fn every_register_stands_at_its_index() {
        #[rustfmt::skip]
        let raw = [
            0xff, 0x0b, 0x01, 0x00, // caps
            0x10, 0x27, 0x06, 0, 0, 0, 0, 0, // IbsOpCtl: bits 17 and 18
            0x11, 0x11, 0x40, 0, 0, 0, 0, 0, // IbsOpRip
            0x22, 0, 0x22, 0, 0, 0, 0, 0, // IbsOpData
            0x43, 0, 0, 0, 0, 0, 0, 0, // IbsOpData2
            0x81, 0x00, 0x06, 0, 0xc8, 0, 0, 0, // IbsOpData3: load, miss, both addresses; 200
            0x08, 0x10, 0x00, 0xf7, 0xff, 0x7f, 0, 0, // IbsDcLinAd
            0x08, 0x50, 0x34, 0x12, 0x05, 0, 0, 0, // IbsDcPhysAd
        ];
        let op = Op::parse(&raw, Model::Unknown).unwrap();
        assert_eq!(op.caps.bits(), 0x1_0bff);
        assert_eq!(op.control.bits(), 0x6_2710);
        assert_eq!((op.data2.0, op.data3.bits()), (0x43, 0xc8_0006_0081));
        assert_eq!(op.direction(), Some(Direction::Load));
        assert_eq!(op.lin_addr(), Some(0x7fff_f700_1008));
        assert_eq!(op.phys_addr(), Some(Address::Known(PhysAddr::new_truncate(0x5_1234_5008))));
        assert_eq!(op.latency_cycles(), Some(200));
    }

    #[test]
    fn shorter_is_no_op_and_longer_is_the_same() {
        let raw = raw(0, 0x6_0001, 0x1000, 0x5000);
        assert_eq!(raw.len(), 60);
        for len in 0..raw.len() {
            assert_eq!(Op::parse(&raw[..len], Model::Unknown), None, "{len}");
        }
        let whole = Op::parse(&raw, Model::Unknown).unwrap();
        // IbsBrTarget, IbsOpData4, and what newer kernels may add.
        for more in [1, 8, 16, 100] {
            let longer = [&raw[..], &vec![0xff; more]].concat();
            assert_eq!(Op::parse(&longer, Model::Unknown), Some(whole), "{more}");
        }
    }

    #[test]
    fn registers_that_were_not_enabled_or_not_valid_are_no_op() {
        for (bits, good) in [(0, false), (1 << 17, false), (1 << 18, false), (3 << 17, true)] {
            let mut raw = raw(0, 1, 0, 0);
            raw[4..12].copy_from_slice(&u64::to_le_bytes(bits | 0xffff));
            assert_eq!(Op::parse(&raw, Model::Unknown).is_some(), good, "{bits:#x}");
        }
    }

    #[test]
    fn direction_and_addresses() {
        let known = Some(Address::Known(PhysAddr::new_truncate(0x1234_5008)));
        let lin_addr = Some(0x7f00_0000_1008);
        let (lin, phys) = (1 << 17, 1 << 18);
        let cases = [
            ("neither, whatever is valid", lin | phys, None, None, None),
            ("a load", 1 | lin | phys, Some(Direction::Load), lin_addr, known),
            ("a store", 2 | lin | phys, Some(Direction::Store), lin_addr, known),
            ("both", 3 | lin | phys, Some(Direction::Load), lin_addr, known),
            ("only the virtual one", 1 | lin, Some(Direction::Load), lin_addr, None),
            ("only the physical one", 2 | phys, Some(Direction::Store), None, known),
            ("none of them", 1, Some(Direction::Load), None, None),
        ];
        for (name, data3, direction, lin_addr, phys_addr) in cases {
            // Whatever the width says, and the bits beside it.
            for others in [0, 0xf << 22, 0x1e00, 0x3f << 26] {
                let op = op(0, data3 | others);
                assert_eq!(op.direction(), direction, "{name}");
                assert_eq!(op.lin_addr(), lin_addr, "{name}");
                assert_eq!(op.phys_addr(), phys_addr, "{name}");
            }
        }
    }

    #[test]
    fn valid_and_zero_is_hidden_and_bits_above_52_are_cut() {
        let of = |address| Op::parse(&raw(0, 0x6_0001, 0, address), Model::Unknown).unwrap();
        assert_eq!(of(0).phys_addr(), Some(Address::Hidden));
        assert_eq!(of(0).lin_addr(), None, "an address of 0 is none");
        assert_eq!(of(0xfff0_0000_0000_0000).phys_addr(), Some(Address::Hidden));
        let top = PhysAddr::new_truncate(0xf_ffff_ffff_ffff);
        assert_eq!(of(u64::MAX).phys_addr(), Some(Address::Known(top)));
        let invalid = Op::parse(&raw(0, 0x2_0001, 0, 0), Model::Unknown).unwrap();
        assert_eq!(invalid.phys_addr(), None, "not valid, so not hidden");
    }

    #[test]
    fn the_latency_is_that_of_loads_that_missed() {
        let latency = |data3: u64| op(0, data3 | 0x1234_0000_0000 | 0x5678 << 48).latency_cycles();
        let (load, store, miss) = (1, 2, 1 << 7);
        assert_eq!(latency(load | miss), Some(0x1234));
        assert_eq!(latency(load | store | miss), Some(0x1234));
        assert_eq!(latency(load), None, "a hit");
        assert_eq!(latency(store | miss), None);
        assert_eq!(latency(miss), None, "no memory");
        assert_eq!(latency(load | miss | 1 << 14), None, "uncacheable");
        assert_eq!(latency(load | miss | 1 << 21), None, "a prefetch");
        assert_eq!(op(0, load | miss).latency_cycles(), Some(0));
    }

    #[test]
    fn models_by_family_and_number() {
        let cases = [
            ("AuthenticAMD,25,0,0", Model::Zen3Server),
            ("AuthenticAMD,25,1,1", Model::Zen3Server),
            ("AuthenticAMD,25,15,0", Model::Zen3Server),
            ("AuthenticAMD,25,16,0", Model::Other),
            ("AuthenticAMD,25,31,0", Model::Other),
            ("AuthenticAMD,25,32,0", Model::Zen3),
            ("AuthenticAMD, 25, 33, 2", Model::Zen3),
            ("AuthenticAMD,25,95,0", Model::Zen3),
            ("AuthenticAMD,25,96,0", Model::Other),
            ("AuthenticAMD,23,1,2", Model::Other),
            ("HygonGenuine,24,0,1", Model::Other),
            ("AuthenticAMD,26,2,1", Model::Other),
            ("AuthenticAMD,25", Model::Unknown),
            ("AuthenticAMD,25,1x,1", Model::Unknown),
            ("0x00000000413fd0c1", Model::Unknown),
            ("", Model::Unknown),
        ];
        for (cpuid, want) in cases {
            assert_eq!(Model::of(cpuid), want, "{cpuid}");
        }
    }

    #[test]
    fn each_flag() {
        let flags = |data3: u64| op(0, data3).flags();
        let lin = 1 << 17;
        assert_eq!(flags(1 | 1 << 7), AccessFlags::L1_MISS);
        assert_eq!(flags(1 | 1 << 7 | 1 << 20), AccessFlags::L1_MISS | AccessFlags::L2_MISS);
        assert_eq!(flags(1 | 1 << 20), AccessFlags::empty(), "did not get there");
        assert_eq!(flags(1 | 1 << 7 | 1 << 20 | 1 << 14), AccessFlags::empty(), "uncacheable");
        let walk = AccessFlags::TLB_WALK | AccessFlags::TLB_ACCESS;
        assert_eq!(flags(1 | lin | 0b1100), walk);
        assert_eq!(flags(1 | lin | 0b0100), AccessFlags::TLB_ACCESS, "the second TLB had it");
        assert_eq!(flags(1 | 0b1100), AccessFlags::empty(), "no address, so no translation");
        assert_eq!(flags(2 | 1 << 8), AccessFlags::MISALIGNED);
        assert_eq!(flags(3 | 1 << 15), AccessFlags::LOCKED);
        assert_eq!(flags(!0b11), AccessFlags::empty(), "no memory");
    }

    /// A processor with these capabilities.
    fn with_caps(caps: u32, data2: u64, data3: u64) -> Op {
        Op { caps: Caps::from_bits_retain(caps), ..op(data2, data3) }
    }

    /// Before Zen 4; Zen 4; with streaming stores and sockets; with sizes of pages.
    const CAPS: [u32; 4] = [0x3ff, 0xbff, 0x1_0bff, 0x9_0bff];

    #[test]
    fn tlbs_are_believed_where_the_address_is_valid() {
        let (lin, phys) = (1 << 17, 1 << 18);
        let misses = [(0, Tlb::L1), (0b0100, Tlb::L2), (0b1100, Tlb::Walk), (0b1000, Tlb::L1)];
        for (caps, bits) in
            CAPS.into_iter().flat_map(|caps| [0, lin, phys, lin | phys].map(|b| (caps, b)))
        {
            // Bit 19: sizes of pages, whose bits are of the physical address.
            let wanted = if caps >> 19 & 1 == 1 { lin | phys } else { lin };
            for (missed, tlb) in misses {
                let want = (bits & wanted == wanted).then_some(tlb);
                let op = with_caps(caps, 0, 1 | bits | missed);
                assert_eq!(op.tlb(), want, "{caps:#x} {bits:#x} {missed:#b}");
                let walks = op.flags().contains(AccessFlags::TLB_WALK);
                assert_eq!(walks, want == Some(Tlb::Walk), "{caps:#x} {bits:#x} {missed:#b}");
                assert_eq!(with_caps(caps, 0, bits | missed).tlb(), None, "no memory");
            }
        }
    }

    #[test]
    fn sizes_of_pages_by_hits_before_they_had_bits() {
        const L1_MISS: u64 = 1 << 2;
        let (m2, g1) = (Some(2 << 20), Some(1 << 30));
        let cases = [
            ("a hit", 0, Some(4096)),
            ("in 2 MiB", 1 << 4, m2),
            ("in 1 GiB", 1 << 5, g1),
            ("in both", 3 << 4, None),
            ("what the second TLB says of a hit in the first", 1 << 6 | 1 << 19, Some(4096)),
            ("a hit in the second", L1_MISS, Some(4096)),
            ("in 2 MiB, second", L1_MISS | 1 << 6, m2),
            ("in 1 GiB, second", L1_MISS | 1 << 19, g1),
            ("what the first says of a miss", L1_MISS | 3 << 4, Some(4096)),
            ("a walk", L1_MISS | 1 << 3, None),
        ];
        for (name, bits, want) in cases {
            for caps in &CAPS[..3] {
                assert_eq!(with_caps(*caps, 0, 1 | 1 << 17 | bits).page_size(), want, "{name}");
                let nowhere = with_caps(*caps, 0, 1 | bits);
                assert_eq!(nowhere.page_size(), None, "{name}, without an address");
                assert_eq!(with_caps(*caps, 0, 1 << 17 | bits).page_size(), None, "no memory");
            }
        }
    }

    #[test]
    fn sizes_of_pages_by_their_bits() {
        let sizes =
            [(0, Some(4 << 10)), (1 << 4, Some(2 << 20)), (1 << 5, Some(1 << 30)), (3 << 4, None)];
        for (bits, want) in sizes {
            // Misses, and the bits that once were hits of the second TLB, change nothing.
            for others in [0, 1 << 2, 0b11 << 2, 1 << 6 | 1 << 19] {
                let of = |valid: u64| with_caps(CAPS[3], 0, 2 | valid | bits | others).page_size();
                assert_eq!(of(1 << 18), want, "{bits:#x} {others:#x}");
                assert_eq!(of(1 << 17), None, "without a physical address");
            }
        }
    }

    #[test]
    fn cycles_of_a_refill() {
        let of =
            |caps, data3: u64| with_caps(caps, 0, data3 | 0x1234 << 48).refill_latency_cycles();
        let (missed, phys) = (1 | 1 << 2, 1 << 18);
        assert_eq!(of(CAPS[0], missed), Some(0x1234), "before Zen 4 always");
        for caps in &CAPS[1..] {
            assert_eq!(of(*caps, missed | phys), Some(0x1234), "{caps:#x}");
            assert_eq!(of(*caps, missed), None, "{caps:#x}: no physical address");
        }
        assert_eq!(of(CAPS[1], 1 | phys), None, "the first TLB had it");
        assert_eq!(of(CAPS[1], 1 << 2 | phys), None, "no memory");
    }

    #[test]
    fn streaming_stores_and_other_sockets_where_the_processor_tells_them() {
        let (load, store, behind_l2) = (1, 2, 1 << 7 | 1 << 20);
        let (streaming, socket, node) = (1 << 8, 1 << 9, 1 << 4);
        let told = |caps, data2, data3| {
            let op = with_caps(caps, data2, data3);
            let flags = op.flags() - (AccessFlags::L1_MISS | AccessFlags::L2_MISS);
            (op.data_source().map(|source| source.to_string()).unwrap_or_default(), {
                flags.names().collect::<Vec<_>>().join(",")
            })
        };
        let want = |source: &str, flags: &str| (source.to_owned(), flags.to_owned());
        let caps = CAPS[2];
        assert_eq!(told(caps, streaming, store), want("l1", "streaming-store"));
        assert_eq!(told(caps, streaming, load), want("l1", ""), "no store");
        assert_eq!(told(CAPS[1], streaming, store), want("l1", ""), "not told");
        let dram = load | behind_l2;
        assert_eq!(told(caps, 3 | node, dram), want("remote-dram", "remote"));
        let far = want("remote-dram", "remote,remote-socket");
        assert_eq!(told(caps, 3 | node | socket, dram), far);
        assert_eq!(told(caps, 3 | socket, dram), far, "another socket is another node");
        assert_eq!(
            told(caps, 5 | socket | 1 << 5, dram),
            want("remote-cache", "remote,remote-socket")
        );
        assert_eq!(told(caps, 1 << 6 | socket, dram), want("cxl", "remote,remote-socket"));
        assert_eq!(told(caps, 2 | socket | 1 << 5, dram), want("peer-core", ""), "of this node");
        assert_eq!(told(caps, 3 | socket, load), want("l1", ""), "it did not get there");
        assert_eq!(told(CAPS[1], 3 | socket, dram), want("dram", ""), "not told");
    }

    #[test]
    fn hidden_and_differing_addresses_are_counted() {
        use crate::ibs::Tally;
        let of = |data3, address| Op::parse(&raw(0, data3, 0, address), Model::Unknown).unwrap();
        let valid = 1 | 1 << 18;
        let cases = [
            ("hidden", of(valid, 0), None, (1, 0)),
            ("known all the same", of(valid, 0), Some(0x5000), (0, 0)),
            ("the same", of(valid, 0x5008), Some(0x5008), (0, 0)),
            ("the same but for its upper bits", of(valid, 1 << 60 | 0x5008), Some(0x5008), (0, 0)),
            ("another", of(valid, 0x6008), Some(0x5008), (0, 1)),
            ("only in the registers", of(valid, 0x6008), None, (0, 0)),
            ("not valid", of(1, 0x6008), Some(0x5008), (0, 0)),
            ("no memory", of(1 << 18, 0), None, (0, 0)),
        ];
        for (name, op, given, (hidden, differ)) in cases {
            let mut tally = Tally::default();
            tally.take(&op, given);
            assert_eq!(tally, Tally { hidden, differ, beyond: 0 }, "{name}");
        }
    }
}
