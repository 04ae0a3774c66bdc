//! `perf_event_attr`: how an event was set up (`include/uapi/linux/perf_event.h`).

use crate::cursor::{ByteOrder, Cursor};

/// Size of the first version; fields behind an attribute's own size are zero.
pub const MIN_LEN: u64 = 64;

/// `attr.type` of counters that most processors have.
pub const TYPE_HARDWARE: u32 = 0;
/// `attr.type` of software events.
pub const TYPE_SOFTWARE: u32 = 1;
/// `attr.type` of tracepoints.
pub const TYPE_TRACEPOINT: u32 = 2;
/// `attr.type` of the counters of caches.
pub const TYPE_HW_CACHE: u32 = 3;
/// `attr.type` of breakpoints.
pub const TYPE_BREAKPOINT: u32 = 5;

/// `attr.bp_type` of breakpoints on loads alone.
pub const BP_READ: u32 = 1;
/// `attr.bp_type` of breakpoints on stores alone.
pub const BP_WRITE: u32 = 2;
/// `attr.bp_type` of breakpoints on instructions.
pub const BP_EXECUTE: u32 = 4;

bitflags::bitflags! {
    /// `attr.sample_type`: which fields a sample record has.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SampleType: u64 {
        #[allow(missing_docs)] const IP = 1 << 0;
        #[allow(missing_docs)] const TID = 1 << 1;
        #[allow(missing_docs)] const TIME = 1 << 2;
        #[allow(missing_docs)] const ADDR = 1 << 3;
        #[allow(missing_docs)] const READ = 1 << 4;
        #[allow(missing_docs)] const CALLCHAIN = 1 << 5;
        #[allow(missing_docs)] const ID = 1 << 6;
        #[allow(missing_docs)] const CPU = 1 << 7;
        #[allow(missing_docs)] const PERIOD = 1 << 8;
        #[allow(missing_docs)] const STREAM_ID = 1 << 9;
        #[allow(missing_docs)] const RAW = 1 << 10;
        #[allow(missing_docs)] const BRANCH_STACK = 1 << 11;
        #[allow(missing_docs)] const REGS_USER = 1 << 12;
        #[allow(missing_docs)] const STACK_USER = 1 << 13;
        #[allow(missing_docs)] const WEIGHT = 1 << 14;
        #[allow(missing_docs)] const DATA_SRC = 1 << 15;
        #[allow(missing_docs)] const IDENTIFIER = 1 << 16;
        #[allow(missing_docs)] const TRANSACTION = 1 << 17;
        #[allow(missing_docs)] const REGS_INTR = 1 << 18;
        #[allow(missing_docs)] const PHYS_ADDR = 1 << 19;
        #[allow(missing_docs)] const AUX = 1 << 20;
        #[allow(missing_docs)] const CGROUP = 1 << 21;
        #[allow(missing_docs)] const DATA_PAGE_SIZE = 1 << 22;
        #[allow(missing_docs)] const CODE_PAGE_SIZE = 1 << 23;
        #[allow(missing_docs)] const WEIGHT_STRUCT = 1 << 24;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `attr.read_format`: the shape of a sample's READ field.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ReadFormat: u64 {
        #[allow(missing_docs)] const TOTAL_TIME_ENABLED = 1 << 0;
        #[allow(missing_docs)] const TOTAL_TIME_RUNNING = 1 << 1;
        #[allow(missing_docs)] const ID = 1 << 2;
        #[allow(missing_docs)] const GROUP = 1 << 3;
        #[allow(missing_docs)] const LOST = 1 << 4;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// The bit-field of `perf_event_attr`, as far as it matters here.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct AttrFlags: u64 {
        /// User space was not sampled.
        const EXCLUDE_USER = 1 << 4;
        /// The kernel was not sampled.
        const EXCLUDE_KERNEL = 1 << 5;
        /// `sample_period` is a frequency.
        const FREQ = 1 << 10;
        /// Records other than samples end in a trailer of ids.
        const SAMPLE_ID_ALL = 1 << 18;
        /// Times are of another clock than the kernel's own.
        const USE_CLOCKID = 1 << 25;
        /// The ring is written from its end to its start, and overwritten: it holds the end of the
        /// time alone (`perf record --overwrite`).
        const WRITE_BACKWARD = 1 << 27;
        /// The samples are packets in another event's AUX data.
        const AUX_OUTPUT = 1 << 31;
        const _ = !0;
    }
}

impl AttrFlags {
    /// `precise_ip`, 0 to 3.
    pub const fn precise_ip(self) -> u8 {
        (self.bits() >> 15 & 0b11) as u8
    }
}

/// How an event was set up. Fields are named as the kernel names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attr {
    pub type_: u32,
    pub size: u32,
    pub config: u64,
    pub sample_period: u64,
    pub sample_type: SampleType,
    pub read_format: ReadFormat,
    pub flags: AttrFlags,
    pub bp_type: u32,
    pub config1: u64,
    pub config2: u64,
    pub branch_sample_type: u64,
    pub sample_regs_user: u64,
    pub sample_regs_intr: u64,
    pub config3: u64,
    pub config4: u64,
}

/// Size of the newest attribute whose fields are known here.
const KNOWN_LEN: usize = 144;

impl Attr {
    /// Reads the attribute at the start of `bytes` and returns it with its own size, behind
    /// which other data may follow. Fields that it does not have are zero, fields that it has
    /// beyond the known ones are passed over. `None` if its size does not fit `bytes`.
    pub fn parse(bytes: &[u8], order: ByteOrder) -> Option<(Self, usize)> {
        let mut head = Cursor::new(bytes, order);
        let _type = head.u32()?;
        let size = match u64::from(head.u32()?) {
            0 => MIN_LEN,
            size => size,
        };
        let size = usize::try_from(size).ok().filter(|size| *size as u64 >= MIN_LEN)?;
        let present = bytes.get(..size)?;
        let mut known = [0; KNOWN_LEN];
        let len = present.len().min(KNOWN_LEN);
        known[..len].copy_from_slice(&present[..len]);
        Some((Self::read(&known, order)?, size))
    }

    fn read(known: &[u8; KNOWN_LEN], order: ByteOrder) -> Option<Self> {
        let mut at = Cursor::new(known, order);
        let mut attr = Self {
            type_: at.u32()?,
            size: at.u32()?,
            config: at.u64()?,
            sample_period: at.u64()?,
            sample_type: SampleType::from_bits_retain(at.u64()?),
            read_format: ReadFormat::from_bits_retain(at.u64()?),
            flags: AttrFlags::from_bits_retain(bit_field(at.take(8)?, order)?),
            ..Self::default()
        };
        let _wakeup = at.u32()?;
        attr.bp_type = at.u32()?;
        attr.config1 = at.u64()?;
        attr.config2 = at.u64()?;
        attr.branch_sample_type = at.u64()?;
        attr.sample_regs_user = at.u64()?;
        let _stack_user_and_clockid = at.u64()?;
        attr.sample_regs_intr = at.u64()?;
        // aux_watermark, sample_max_stack, aux_sample_size, aux_action, sig_data.
        at.take(24)?;
        attr.config3 = at.u64()?;
        attr.config4 = at.u64()?;
        Some(attr)
    }
}

/// The bit-field as a little-endian writer would have it. Compilers for big-endian machines
/// put the first-declared bit into the most significant one, byte by byte.
fn bit_field(bytes: &[u8], order: ByteOrder) -> Option<u64> {
    let bytes: [u8; 8] = bytes.try_into().ok()?;
    Some(match order {
        ByteOrder::Little => u64::from_le_bytes(bytes),
        ByteOrder::Big => {
            let flags = u64::from_le_bytes(bytes.map(u8::reverse_bits));
            // The two bits of precise_ip are one number; reversing bytes parts them.
            let (low, high) = (flags >> 15 & 1, flags >> 16 & 1);
            flags & !(0b11 << 15) | low << 16 | high << 15
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: u32, order: ByteOrder) -> Vec<u8> {
        let words: Vec<u64> = (0..20).map(|word| 0x1000 + word).collect();
        let mut bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| match order {
                ByteOrder::Little => word.to_le_bytes(),
                ByteOrder::Big => word.to_be_bytes(),
            })
            .collect();
        let head = |value: u32| match order {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        };
        bytes[..4].copy_from_slice(&head(11));
        bytes[4..8].copy_from_slice(&head(size));
        bytes
    }

    #[test]
    fn every_size_from_the_first_to_beyond_the_newest() {
        // The latter half of word 6.
        for (order, bp_type) in [(ByteOrder::Little, 0), (ByteOrder::Big, 0x1006)] {
            for size in [64, 72, 80, 96, 104, 112, 120, 128, 136, 144, 152, 160] {
                let (attr, len) = Attr::parse(&bytes(size, order), order).unwrap();
                assert_eq!((attr.type_, attr.size, len), (11, size, size as usize));
                let from =
                    |offset: u64| if u64::from(size) > offset { 0x1000 + offset / 8 } else { 0 };
                assert_eq!(attr.config, 0x1001);
                assert_eq!(attr.sample_type.bits(), 0x1003);
                assert_eq!(attr.bp_type, bp_type);
                assert_eq!(attr.config1, 0x1007);
                assert_eq!(attr.config2, from(64), "{size}");
                assert_eq!(attr.branch_sample_type, from(72), "{size}");
                assert_eq!(attr.sample_regs_user, from(80), "{size}");
                assert_eq!(attr.sample_regs_intr, from(96), "{size}");
                assert_eq!(attr.config3, from(128), "{size}");
                assert_eq!(attr.config4, from(136), "{size}");
            }
            assert_eq!(Attr::parse(&bytes(0, order), order).unwrap().1, 64);
            assert_eq!(Attr::parse(&bytes(63, order), order), None);
            assert_eq!(Attr::parse(&bytes(168, order), order), None, "longer than its bytes");
            assert_eq!(Attr::parse(&bytes(u32::MAX, order), order), None);
        }
    }

    #[test]
    fn the_bit_field_of_a_big_endian_writer() {
        // exclude_kernel is declared sixth: from the top of the first byte.
        let mut field = [0; 8];
        field[0] = 0b0000_0100;
        assert_eq!(bit_field(&field, ByteOrder::Big), Some(AttrFlags::EXCLUDE_KERNEL.bits()));
        // precise_ip 2 straddles two bytes: its high bit comes first.
        let mut field = [0; 8];
        field[1] = 0b0000_0001;
        let flags = AttrFlags::from_bits_retain(bit_field(&field, ByteOrder::Big).unwrap());
        assert_eq!(flags.precise_ip(), 2);
        let flags = AttrFlags::from_bits_retain(1 << 16);
        assert_eq!(flags.precise_ip(), 2);
    }
}
