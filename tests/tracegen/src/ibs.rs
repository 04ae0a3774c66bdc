//! RAW of an op that AMD's instruction-based sampling took, as the kernel writes it
//! (`arch/x86/events/amd/ibs.c`): capabilities, then the registers C001_1033 to C001_1039, then what the capabilities
//! announce.

/// Bits of IbsOpData3.
pub mod data3 {
    /// Reads memory.
    pub const LOAD: u64 = 0x1;
    /// Writes memory.
    pub const STORE: u64 = 0x2;
    /// Missed both TLBs.
    pub const TLB_MISSES: u64 = 0xc;
    /// Missed the data cache.
    pub const MISS: u64 = 0x80;
    /// IbsDcLinAd is valid.
    pub const LINEAR: u64 = 0x2_0000;
    /// IbsDcPhysAd is valid.
    pub const PHYSICAL: u64 = 0x4_0000;
    /// Missed the second-level cache.
    pub const L2_MISS: u64 = 0x10_0000;

    /// Cycles from the miss until the data came.
    pub const fn miss_latency(cycles: u16) -> u64 {
        (cycles as u64) << 32
    }
}

/// One op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// CPUID 8000_001B EAX; 11: data sources of Zen 4.
    pub caps: u32,
    /// IbsOpCtl; 17: enabled, 18: valid.
    pub control: u64,
    /// IbsOpRip.
    pub rip: u64,
    /// IbsOpData.
    pub data: u64,
    /// IbsOpData2; 2:0 and 7:6 the data source.
    pub data2: u64,
    /// IbsOpData3, see [`data3`].
    pub data3: u64,
    /// IbsDcLinAd.
    pub linear: u64,
    /// IbsDcPhysAd.
    pub physical: u64,
    /// Registers behind these.
    pub more: Vec<u64>,
}

impl Default for Op {
    /// A Zen 4 that sampled a valid op without memory.
    fn default() -> Self {
        Self {
            caps: 0x0bff,
            control: 0x6_2710,
            rip: 0x40_1000,
            data: 0x0001_0002,
            data2: 0,
            data3: 0,
            linear: 0,
            physical: 0,
            more: vec![0x40_2000, 0],
        }
    }
}

impl Op {
    /// The bytes of RAW behind its size.
    pub fn raw(&self) -> Vec<u8> {
        let Self { caps, control, rip, data, data2, data3, linear, physical, more } = self;
        let mut raw = caps.to_le_bytes().to_vec();
        let registers = [control, rip, data, data2, data3, linear, physical];
        registers.into_iter().chain(more).for_each(|register| raw.extend(register.to_le_bytes()));
        raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_stand_behind_four_bytes_of_capabilities() {
        let op = Op { data3: 0x11, linear: 0x22, physical: 0x33, ..Op::default() };
        let raw = op.raw();
        assert_eq!((raw.len() + 4) % 8, 0);
        assert_eq!(raw[..6], [0xff, 0x0b, 0, 0, 0x10, 0x27]);
        assert_eq!((raw[0x24], raw[0x2c], raw[0x34]), (0x11, 0x22, 0x33));
    }
}
