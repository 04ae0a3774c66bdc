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
    /// CPUID 8000_001B EAX; 5: IbsBrTarget, 10: IbsOpData4, 11: data sources of Zen 4.
    pub caps: u32,
    /// IbsOpCtl; 17: enabled, 18: valid.
    pub control: u64,
    /// IbsOpRip.
    pub rip: u64,
    /// IbsOpData.
    pub data: u64,
    /// IbsOpData2; 2:0 and 7:6 the data source, 4 another node, 5 the state of the line.
    pub data2: u64,
    /// IbsOpData3, see [`data3`].
    pub data3: u64,
    /// IbsDcLinAd.
    pub linear: u64,
    /// IbsDcPhysAd.
    pub physical: u64,
    /// IbsBrTarget.
    pub branch_target: u64,
    /// IbsOpData4.
    pub data4: u64,
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
            branch_target: 0x40_2000,
            data4: 0,
        }
    }
}

impl Op {
    /// The bytes of RAW behind its size.
    pub fn raw(&self) -> Vec<u8> {
        let Self { caps, control, rip, data, data2, data3, linear, physical, .. } = *self;
        let mut registers = vec![control, rip, data, data2, data3, linear, physical];
        registers.extend((caps >> 5 & 1 == 1).then_some(self.branch_target));
        registers.extend((caps >> 10 & 1 == 1).then_some(self.data4));
        let mut raw = caps.to_le_bytes().to_vec();
        registers.iter().for_each(|register| raw.extend(register.to_le_bytes()));
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

    #[test]
    fn two_registers_are_there_if_they_are_announced() {
        let tail = |caps| {
            let op = Op { caps, branch_target: 0x44, data4: 0x55, ..Op::default() };
            let raw = op.raw();
            raw[0x3c..].chunks(8).map(|register| register[0]).collect::<Vec<_>>()
        };
        assert_eq!(tail(0x0bff), [0x44], "Zen 4");
        assert_eq!(tail(0x0fff), [0x44, 0x55]);
        assert_eq!(tail(0x0bdf), []);
        assert_eq!(tail(0x0fdf), [0x55]);
    }
}
