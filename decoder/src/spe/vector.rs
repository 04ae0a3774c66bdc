//! One question, asked once for every record: are these bytes, where a mask says so, those?
//!
//! Answered by the widest vector instructions that the machine has. They are chosen at run time
//! by [`Simd::detect`]; [`with`] then runs a whole loop compiled for them, so that the choice is
//! made once and the instructions stand in the middle of the loop.
#![allow(unsafe_code)]

/// Bytes that are compared at once: one load of AVX-512, two of AVX2, four of NEON.
pub(super) const BLOCK: usize = 64;

/// Bytes and which of them matter.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The bytes; 0 where they do not matter.
    bytes: [u8; BLOCK],
    /// 0xff where they matter, else 0.
    mask: [u8; BLOCK],
    /// The same, a bit a byte.
    bits: u64,
}

impl Pattern {
    /// A pattern that everything fits.
    pub(super) const fn any() -> Self {
        Self { bytes: [0; BLOCK], mask: [0; BLOCK], bits: 0 }
    }

    /// The byte that must stand at `at`, if one must.
    pub(super) fn required(&self, at: usize) -> Option<u8> {
        (self.mask[at] != 0).then_some(self.bytes[at])
    }

    /// From now on the byte at `at` must be this one.
    ///
    /// # Panics
    /// If `at` is not below [`BLOCK`].
    pub(super) fn require(&mut self, at: usize, byte: u8) {
        (self.bytes[at], self.mask[at]) = (byte, 0xff);
        self.bits |= 1 << at;
    }
}

/// A way to compare. Copies of it prove that the machine has the instructions.
pub(super) trait Compare: Copy {
    /// Whether a block fits a pattern.
    fn fits(self, block: &[u8; BLOCK], pattern: &Pattern) -> bool;
}

/// A loop that compares.
pub(super) trait Job {
    /// What it gives.
    type Output;
    /// Runs it. To be inlined always: only then is it compiled for the instructions of `C`.
    fn run<C: Compare>(self, compare: C) -> Self::Output;
}

/// Instructions that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Simd {
    /// AVX-512 with byte elements.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON, which every aarch64 machine has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Words of eight bytes.
    Portable,
}

impl Simd {
    /// All that the machine has, the best first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = [
            (Self::Avx512, is_x86_feature_detected!("avx512bw")),
            (Self::Avx2, is_x86_feature_detected!("avx2")),
        ];
        #[cfg(target_arch = "aarch64")]
        let vectors = [(Self::Neon, true)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let vectors = [];
        vectors
            .into_iter()
            .chain([(Self::Portable, true)])
            .filter(|(_, has)| *has)
            .map(|(unit, _)| unit)
    }

    /// The best.
    pub(super) fn detect() -> Self {
        Self::all().next().unwrap_or(Self::Portable)
    }
}

/// Runs a loop, compiled for a unit of [`Simd::all`].
pub(super) fn with<J: Job>(unit: Simd, job: J) -> J::Output {
    match unit {
        // SAFETY: `Simd::all` and `Simd::detect`, which alone make this value, have found the
        // instructions.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 => unsafe { x86::avx512(job) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { x86::avx2(job) },
        #[cfg(target_arch = "aarch64")]
        Simd::Neon => job.run(neon::Neon),
        Simd::Portable => job.run(Portable),
    }
}

/// No instructions that not every machine has.
#[derive(Clone, Copy)]
struct Portable;

impl Compare for Portable {
    #[inline(always)]
    fn fits(self, block: &[u8; BLOCK], pattern: &Pattern) -> bool {
        let words = |bytes: &[u8; BLOCK]| {
            let mut words = [0; BLOCK / 8];
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            words
        };
        let (block, bytes, mask) = (words(block), words(&pattern.bytes), words(&pattern.mask));
        (0..BLOCK / 8).fold(0, |other, at| other | (block[at] & mask[at]) ^ bytes[at]) == 0
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, Compare, Job, Pattern};
    use core::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_testz_si256,
        _mm256_xor_si256, _mm512_loadu_epi8, _mm512_mask_cmpneq_epi8_mask,
    };

    /// Made in [`avx512`] alone.
    #[derive(Clone, Copy)]
    struct Avx512(());
    /// Made in [`avx2`] alone.
    #[derive(Clone, Copy)]
    struct Avx2(());

    #[target_feature(enable = "avx512bw")]
    pub(super) fn avx512<J: Job>(job: J) -> J::Output {
        job.run(Avx512(()))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2<J: Job>(job: J) -> J::Output {
        job.run(Avx2(()))
    }

    impl Compare for Avx512 {
        #[inline(always)]
        fn fits(self, block: &[u8; BLOCK], pattern: &Pattern) -> bool {
            // SAFETY: a value of this type exists only where the machine has the instructions.
            // Both loads are of arrays of 64 bytes, and need no alignment.
            unsafe {
                let block = _mm512_loadu_epi8(block.as_ptr().cast());
                let bytes = _mm512_loadu_epi8(pattern.bytes.as_ptr().cast());
                _mm512_mask_cmpneq_epi8_mask(pattern.bits, block, bytes) == 0
            }
        }
    }

    impl Compare for Avx2 {
        #[inline(always)]
        fn fits(self, block: &[u8; BLOCK], pattern: &Pattern) -> bool {
            // SAFETY: a value of this type exists only where the machine has the instructions.
            // All loads are of 32 bytes within arrays of 64, and need no alignment.
            unsafe {
                let load = |bytes: &[u8; BLOCK], half: usize| {
                    _mm256_loadu_si256(bytes.as_ptr().cast::<__m256i>().add(half))
                };
                let other = |half| {
                    let masked = _mm256_and_si256(load(block, half), load(&pattern.mask, half));
                    _mm256_xor_si256(masked, load(&pattern.bytes, half))
                };
                let other = _mm256_or_si256(other(0), other(1));
                _mm256_testz_si256(other, other) == 1
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::{BLOCK, Compare, Pattern};
    use core::arch::aarch64::{
        vandq_u8, veorq_u8, vld1q_u8, vmaxvq_u32, vorrq_u8, vreinterpretq_u32_u8,
    };

    #[derive(Clone, Copy)]
    pub(super) struct Neon;

    impl Compare for Neon {
        #[inline(always)]
        fn fits(self, block: &[u8; BLOCK], pattern: &Pattern) -> bool {
            // SAFETY: aarch64 always has NEON. All loads are of 16 bytes within arrays of 64.
            unsafe {
                let other = |quarter: usize| {
                    let load = |bytes: &[u8; BLOCK]| vld1q_u8(bytes.as_ptr().add(16 * quarter));
                    veorq_u8(vandq_u8(load(block), load(&pattern.mask)), load(&pattern.bytes))
                };
                let other = vorrq_u8(vorrq_u8(other(0), other(1)), vorrq_u8(other(2), other(3)));
                vmaxvq_u32(vreinterpretq_u32_u8(other)) == 0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fits<'a>(&'a [u8; BLOCK], &'a Pattern);

    impl Job for Fits<'_> {
        type Output = bool;
        #[inline(always)]
        fn run<C: Compare>(self, compare: C) -> bool {
            compare.fits(self.0, self.1)
        }
    }

    proptest! {
        #[test]
        fn every_unit_compares_like_a_loop(
            block in prop::array::uniform32(any::<[u8; 2]>()),
            required in prop::collection::vec((0..BLOCK, prop::option::weighted(0.05, any::<u8>())), 0..BLOCK),
        ) {
            let mut block: [u8; BLOCK] = core::array::from_fn(|at| block[at / 2][at % 2]);
            let mut pattern = Pattern::any();
            let mut fits = true;
            for (at, other) in required {
                let byte = other.unwrap_or(block[at]);
                if pattern.bits >> at & 1 == 0 {
                    pattern.require(at, byte);
                    fits &= byte == block[at];
                }
            }
            for unit in Simd::all() {
                prop_assert_eq!(with(unit, Fits(&block, &pattern)), fits, "{:?}", unit);
            }
            // One byte at a time decides.
            for at in 0..BLOCK {
                block[at] ^= 0x10;
                let mut one = Pattern::any();
                one.require(at, block[at] ^ 0x10);
                for unit in Simd::all() {
                    prop_assert!(!with(unit, Fits(&block, &one)), "{unit:?} at {at}");
                }
                block[at] ^= 0x10;
                for unit in Simd::all() {
                    prop_assert!(with(unit, Fits(&block, &one)), "{unit:?} at {at}");
                }
            }
        }
    }
}
