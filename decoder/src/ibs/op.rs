//! The registers of a sampled op, as the kernel copies them into RAW (`arch/x86/events/amd/ibs.c`;
//! the bits are those of `asm/amd/ibs.h` and of AMD's manuals, MSRs C001_1033 to C001_103D).
//!
//! ```text
//! caps 4 | IbsOpCtl 8 | OpRip 8 | OpData 8 | OpData2 8 | OpData3 8 | DcLinAd 8 | DcPhysAd 8 | ...
//! ```
//! What follows depends on the capabilities, and on how new the kernel is; nothing here needs it.

use crate::cursor::{ByteOrder, Cursor};
use crate::perf::processor;
use crate::{AccessFlags, DataSource, Direction, PhysAddr};

bitflags::bitflags! {
    /// What the processor's IBS can do (CPUID 8000_001B, EAX).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Caps: u32 {
        /// Zen 4 and later: data sources of five bits.
        const ZEN4 = 1 << 11;
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
    pub const fn remote(self) -> bool {
        self.0 >> 4 & 1 == 1
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

    /// Where its data came from.
    pub fn data_source(&self) -> Option<DataSource> {
        self.direction().and_then(|_| super::data_source(self))
    }

    /// What else they tell.
    pub fn flags(&self) -> AccessFlags {
        let mut flags = AccessFlags::empty();
        let cacheable = !self.data3.contains(Data3::UNCACHEABLE);
        let walk = Data3::LIN_ADDR_VALID | Data3::L1_TLB_MISS | Data3::L2_TLB_MISS;
        flags.set(AccessFlags::L1_MISS, cacheable && self.touches(Data3::DC_MISS));
        let l2_miss = self.touches(Data3::DC_MISS | Data3::L2_MISS) && !self.is_erratum_1293();
        flags.set(AccessFlags::L2_MISS, cacheable && l2_miss);
        flags.set(AccessFlags::TLB_WALK, self.touches(walk));
        flags.set(AccessFlags::MISALIGNED, self.touches(Data3::MISALIGNED));
        flags.set(AccessFlags::LOCKED, self.touches(Data3::LOCKED));
        let remote = match self.data_source() {
            Some(DataSource::RemoteDram | DataSource::RemoteCache) => true,
            Some(DataSource::Pmem | DataSource::Cxl) => self.data2.remote(),
            _ => false,
        };
        flags.set(AccessFlags::REMOTE, remote);
        flags.set(AccessFlags::HITM, super::data_source::is_modified(self));
        flags
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
    fn touches(&self, bits: Data3) -> bool {
        self.direction().is_some() && self.data3.contains(bits)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

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
        assert_eq!(flags(1 | lin | 0b1100), AccessFlags::TLB_WALK);
        assert_eq!(flags(1 | lin | 0b0100), AccessFlags::empty(), "the second TLB had it");
        assert_eq!(flags(1 | 0b1100), AccessFlags::empty(), "no address, so no translation");
        assert_eq!(flags(2 | 1 << 8), AccessFlags::MISALIGNED);
        assert_eq!(flags(3 | 1 << 15), AccessFlags::LOCKED);
        assert_eq!(flags(!0b11), AccessFlags::empty(), "no memory");
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
