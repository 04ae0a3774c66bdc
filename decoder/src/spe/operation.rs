//! The operation packet of class 1: loads, stores and atomics (DDI 0487, D18.2.7).

use crate::{AccessFlags, Direction, Operation};

/// Class 1 of the operation packet. Classes 0 (other), 2 (branch) and 3 (reserved) are no
/// memory operations.
pub const CLASS_LOAD_STORE: u8 = 1;

/// The subclasses, a line each, in the manual's order. Bit 0 says whether memory is written
/// without being read; the patterns are disjoint.
pub const fn subclass(payload: u8) -> Subclass {
    match payload {
        0b0000_0000 | 0b0000_0001 => Subclass::GeneralPurpose,
        0b0000_0100 | 0b0000_0101 => Subclass::SimdFp,
        0b0001_0000 | 0b0001_0001 => Subclass::Unspecified,
        0b0001_0100 | 0b0001_0101 => Subclass::AllocationTag,
        0b0011_0000 | 0b0011_0001 => Subclass::NestedVirtualization,
        _ if payload & 0b1110_0010 == 0b0000_0010 => Subclass::Extended {
            atomic: payload & 1 << 2 != 0,
            exclusive: payload & 1 << 3 != 0,
            acquire_release: payload & 1 << 4 != 0,
        },
        _ if payload & 0b0000_1010 == 0b0000_1000 => {
            Subclass::Vector { gather_scatter: payload & 1 << 7 != 0 }
        }
        0b0010_0000 | 0b0010_0001 => Subclass::MemoryCopy,
        0b0010_0101 => Subclass::MemorySet,
        _ if payload & 0b1111_1010 == 0b0100_0000 => Subclass::GuardedControlStack,
        _ => Subclass::Reserved,
    }
}

/// What kind of load or store it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subclass {
    /// To or from a general-purpose register.
    GeneralPurpose,
    /// To or from a SIMD and floating-point register.
    SimdFp,
    /// To or from a register that is not told.
    Unspecified,
    /// Of memory tags.
    AllocationTag,
    /// A system register access that nested virtualisation turned into one of memory.
    NestedVirtualization,
    /// Atomic, exclusive, acquire or release.
    Extended {
        /// An atomic operation.
        atomic: bool,
        /// A load or store exclusive.
        exclusive: bool,
        /// With acquire or release order.
        acquire_release: bool,
    },
    /// To or from an SVE or SME register.
    Vector {
        /// A gather load or scatter store.
        gather_scatter: bool,
    },
    /// A memory copy instruction.
    MemoryCopy,
    /// A memory set instruction.
    MemorySet,
    /// Of the guarded control stack.
    GuardedControlStack,
    /// No subclass of today; the direction still holds.
    Reserved,
}

/// What a class 1 payload says of the access.
pub const fn operation(payload: u8) -> (Operation, AccessFlags) {
    let direction = if payload & 1 == 0 { Direction::Load } else { Direction::Store };
    let mut flags = AccessFlags::empty();
    let (direction, detail) = match subclass(payload) {
        Subclass::GeneralPurpose | Subclass::Reserved => (direction, ""),
        Subclass::SimdFp => (direction, "simd"),
        Subclass::Unspecified => (direction, "unspecified"),
        Subclass::AllocationTag => (direction, "tag"),
        Subclass::NestedVirtualization => (direction, "sysreg"),
        Subclass::Extended { atomic, exclusive, acquire_release } => {
            if acquire_release {
                flags = flags.union(AccessFlags::ACQUIRE_RELEASE);
            }
            if exclusive {
                flags = flags.union(AccessFlags::LOCKED);
            }
            match (atomic, exclusive) {
                (true, _) => (Direction::Atomic, ""),
                (false, true) => (direction, "exclusive"),
                (false, false) if acquire_release => (direction, "ordered"),
                (false, false) => (direction, "extended"),
            }
        }
        Subclass::Vector { gather_scatter: true } => (direction, "gather-scatter"),
        Subclass::Vector { gather_scatter: false } => (direction, "sve"),
        Subclass::MemoryCopy => (direction, "copy"),
        Subclass::MemorySet => (direction, "set"),
        Subclass::GuardedControlStack => (direction, "gcs"),
    };
    (Operation { direction, detail }, flags)
}

/// The direction that [`operation`] gives for each payload.
static DIRECTIONS: [Direction; 256] = {
    let mut table = [Direction::Unknown; 256];
    let mut payload = 0u8;
    loop {
        table[payload as usize] = operation(payload).0.direction;
        if payload == u8::MAX {
            break table;
        }
        payload += 1;
    }
};

/// The direction of the access that a class 1 payload tells of.
#[inline(always)]
pub fn direction(payload: u8) -> Direction {
    DIRECTIONS[usize::from(payload)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_in_both_directions() {
        use Subclass::{
            AllocationTag, GeneralPurpose, GuardedControlStack, MemoryCopy, MemorySet,
            NestedVirtualization, Reserved, SimdFp, Unspecified, Vector,
        };
        let cases: &[(u8, Subclass, &str)] = &[
            (0x00, GeneralPurpose, "load"),
            (0x01, GeneralPurpose, "store"),
            (0x04, SimdFp, "load/simd"),
            (0x05, SimdFp, "store/simd"),
            (0x10, Unspecified, "load/unspecified"),
            (0x11, Unspecified, "store/unspecified"),
            (0x14, AllocationTag, "load/tag"),
            (0x15, AllocationTag, "store/tag"),
            (0x30, NestedVirtualization, "load/sysreg"),
            (0x31, NestedVirtualization, "store/sysreg"),
            (0x08, Vector { gather_scatter: false }, "load/sve"),
            (0x7d, Vector { gather_scatter: false }, "store/sve"),
            (0x88, Vector { gather_scatter: true }, "load/gather-scatter"),
            (0xfd, Vector { gather_scatter: true }, "store/gather-scatter"),
            (0x20, MemoryCopy, "load/copy"),
            (0x21, MemoryCopy, "store/copy"),
            (0x25, MemorySet, "store/set"),
            (0x24, Reserved, "load"),
            (0x40, GuardedControlStack, "load/gcs"),
            (0x45, GuardedControlStack, "store/gcs"),
            (0x42, Reserved, "load"),
            (0xff, Reserved, "store"),
        ];
        for (payload, want, text) in cases {
            assert_eq!(subclass(*payload), *want, "{payload:#04x}");
            assert_eq!(operation(*payload).0.to_string(), *text, "{payload:#04x}");
        }
    }

    #[test]
    fn extended_operations_by_their_three_bits() {
        let cases: &[(u8, &str, AccessFlags)] = &[
            (0x02, "load/extended", AccessFlags::empty()),
            (0x03, "store/extended", AccessFlags::empty()),
            (0x12, "load/ordered", AccessFlags::ACQUIRE_RELEASE),
            (0x0b, "store/exclusive", AccessFlags::LOCKED),
            (0x06, "atomic", AccessFlags::empty()),
            (0x07, "atomic", AccessFlags::empty()),
            (0x1e, "atomic", AccessFlags::ACQUIRE_RELEASE.union(AccessFlags::LOCKED)),
        ];
        for (payload, text, flags) in cases {
            let (operation, got) = operation(*payload);
            assert_eq!((operation.to_string().as_str(), got), (*text, *flags), "{payload:#04x}");
        }
    }

    #[test]
    fn the_patterns_are_disjoint() {
        let patterns: [(u8, u8); 9] = [
            (0xfe, 0x00),
            (0xfe, 0x04),
            (0xfe, 0x10),
            (0xfe, 0x14),
            (0xfe, 0x30),
            (0xe2, 0x02),
            (0x0a, 0x08),
            (0xfe, 0x20),
            (0xfa, 0x40),
        ];
        for payload in 0..=u8::MAX {
            let rows = patterns.iter().filter(|(mask, value)| payload & mask == *value).count()
                + usize::from(payload == 0x25);
            assert!(rows <= 1, "{payload:#04x}");
            assert_eq!(rows == 0, subclass(payload) == Subclass::Reserved, "{payload:#04x}");
        }
    }
}
