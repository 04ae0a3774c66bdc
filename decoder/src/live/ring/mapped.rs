//! The rings of an event, mapped: a control page with records behind it, and AUX data apart
//! (`include/uapi/linux/perf_event.h`, `struct perf_event_mmap_page`).
#![expect(unsafe_code, reason = "memory shared with the kernel; see each SAFETY comment")]

use core::mem::offset_of;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use perf_event_open_sys::bindings::perf_event_mmap_page as Page;

use super::{Ring, ranges};

/// `cap_user_time_zero`: ticks can be converted to perf's time.
const CAP_USER_TIME_ZERO: u64 = 1 << 4;
/// `cap_user_time_short`: the counter is narrower than 64 bits.
const CAP_USER_TIME_SHORT: u64 = 1 << 5;
/// A writer of the clock's values is done after fewer tries than this.
const TRIES: usize = 1000;

/// A head is loaded before the bytes that it says are there are read, and what was stored before
/// it: the other head, where the kernel keeps that order.
const LOADS_HEAD: Ordering = Ordering::Acquire;
/// A tail is stored after the bytes that it gives back were read.
const STORES_TAIL: Ordering = Ordering::Release;

/// How ticks of the tracer's clock become nanoseconds, as the kernel has it at this moment: the
/// fields of a TIME_CONV record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeConversion {
    /// Shift.
    pub shift: u16, // in [0, 63]
    /// Factor.
    pub mult: u32,
    /// Nanoseconds at tick 0, modulo 2^64.
    pub zero: u64,
    /// Base and mask of a counter that is narrower than 64 bits.
    pub short: Option<(u64, u64)>,
}

/// The control page, mapped together with the records behind it.
#[derive(Debug)]
struct Control {
    map: MmapRaw,
}

impl Control {
    /// A word of the page, by its offset there.
    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= size_of::<Page>());
        // SAFETY: the mapping is at least a page long, starts at a page and lives as long as
        // `self`; `offset` is one of a `u64` in the page's structure, so that the word lies inside
        // and is aligned. Others change it, as atomics allow: the kernel, and `MappedRing`s of
        // this mapping, which use atomics too.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }

    fn read(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// The values of the clock; `None` if ticks cannot be converted.
    fn time_conversion(&self) -> Option<TimeConversion> {
        // SAFETY: as in `word`; the field is an aligned `u32`.
        let lock = unsafe {
            AtomicU32::from_ptr(self.map.as_mut_ptr().add(offset_of!(Page, lock)).cast())
        };
        for _ in 0..TRIES {
            // The kernel makes it odd while it writes, and another number afterwards.
            let before = lock.load(Ordering::Acquire);
            let capabilities = self.read(offset_of!(Page, __bindgen_anon_1));
            // pmc_width, time_shift and time_mult share a word.
            let parts = self.read(offset_of!(Page, pmc_width)).to_ne_bytes();
            let zero = self.read(offset_of!(Page, time_zero));
            let cycles = self.read(offset_of!(Page, time_cycles));
            let mask = self.read(offset_of!(Page, time_mask));
            fence(Ordering::Acquire);
            if before % 2 == 1 || lock.load(Ordering::Relaxed) != before {
                core::hint::spin_loop();
                continue;
            }
            let shift = u16::from_ne_bytes([parts[2], parts[3]]);
            let mult = u32::from_ne_bytes([parts[4], parts[5], parts[6], parts[7]]);
            let short = (capabilities & CAP_USER_TIME_SHORT != 0).then_some((cycles, mask));
            return (capabilities & CAP_USER_TIME_ZERO != 0 && shift < 64 && mult != 0)
                .then_some(TimeConversion { shift, mult, zero, short });
        }
        None
    }
}

/// One of an event's two rings.
#[derive(Debug)]
pub struct MappedRing {
    control: Arc<Control>,
    /// The memory of AUX data; records lie behind the control page.
    aux: Option<MmapRaw>,
    /// Where the bytes start in their mapping, and how many there are: a power of two.
    start: usize,
    len: usize,
    /// Offsets of the two words in the control page.
    head: usize,
    tail: usize,
}

impl MappedRing {
    /// Maps the ring of records of an event: `len` bytes, a power of two of pages.
    pub(in crate::live) fn records(event: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        if !len.is_power_of_two() || len < page {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let map = MmapOptions::new().len(page + len).map_raw(event.as_raw_fd())?;
        let control = Arc::new(Control { map });
        let (head, tail) = (offset_of!(Page, data_head), offset_of!(Page, data_tail));
        Ok(Self { control, aux: None, start: page, len, head, tail })
    }

    /// Maps the ring of AUX data of the same event.
    ///
    /// It is mapped writable: a read-only mapping would say that the kernel may overwrite what was
    /// not taken.
    pub(in crate::live) fn aux(&self, event: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        if !len.is_power_of_two() || len < page || self.aux.is_some() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Behind the records, which are a power of two of pages behind the control page.
        let offset = (2 * (page + self.len)).next_power_of_two() as u64;
        let relaxed = Ordering::Relaxed;
        self.control.word(offset_of!(Page, aux_offset)).store(offset, relaxed);
        self.control.word(offset_of!(Page, aux_size)).store(len as u64, relaxed);
        let map = MmapOptions::new().offset(offset).len(len).map_raw(event.as_raw_fd())?;
        let control = Arc::clone(&self.control);
        let (head, tail) = (offset_of!(Page, aux_head), offset_of!(Page, aux_tail));
        Ok(Self { control, aux: Some(map), start: 0, len, head, tail })
    }

    /// Where its bytes lie.
    #[cfg(test)]
    pub(in crate::live) fn memory(&self) -> Range<usize> {
        let map = self.aux.as_ref().unwrap_or(&self.control.map);
        let start = map.as_ptr().addr() + self.start;
        start..start + self.len
    }

    /// The kernel's clock at this moment.
    pub(in crate::live) fn time_conversion(&self) -> Option<TimeConversion> {
        self.control.time_conversion()
    }
}

impl Ring for MappedRing {
    fn head(&self) -> u64 {
        self.control.word(self.head).load(LOADS_HEAD)
    }

    fn tail(&self) -> u64 {
        // Nobody else stores it.
        self.control.word(self.tail).load(Ordering::Relaxed)
    }

    fn held(&self, places: Range<u64>) -> [&[u8]; 2] {
        let map = self.aux.as_ref().unwrap_or(&self.control.map);
        ranges(places, self.tail(), self.head(), self.len).map(|range| {
            // SAFETY: `ranges` gives ranges inside `len`, which with `start` is what was mapped;
            // the mapping lives as long as `self`, which is borrowed as long as the slice. The
            // bytes lie between tail and head: the kernel wrote them before it stored the head,
            // which was loaded by `LOADS_HEAD`, and in a ring that is mapped writable it writes
            // none of them again before the tail has passed them (`perf_output_begin`,
            // `perf_aux_output_begin`). The tail moves only in `give_back`, which takes `self`
            // exclusively and so ends all such slices. Another process cannot write: perf's
            // memory is shared by inheritance alone, and mappings of it are not inherited
            // (VM_DONTCOPY). As with mapped files, the decoder takes every byte as a claim.
            unsafe {
                let start = map.as_ptr().add(self.start + range.start);
                core::slice::from_raw_parts(start, range.len())
            }
        })
    }

    fn give_back(&mut self, to: u64) {
        let tail = self.tail();
        if to.wrapping_sub(tail) <= self.head().wrapping_sub(tail) {
            self.control.word(self.tail).store(to, STORES_TAIL);
        }
    }
}

/// The order of loads and stores, with a thread in the place of the kernel: it stores heads as
/// `smp_wmb` before a plain store does, and loads a tail as its control dependency does
/// (`kernel/events/ring_buffer.c`, "A matches D, B matches C").
#[cfg(all(test, loom))]
mod tests {
    use super::{LOADS_HEAD, STORES_TAIL};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::thread;

    #[test]
    fn bytes_are_read_after_they_were_written_and_before_they_are_written_again() {
        loom::model(|| {
            // A ring of one byte: loom sees every access to it.
            let ring = Arc::new((AtomicU64::new(0), AtomicU64::new(0), UnsafeCell::new(0u8)));
            let theirs = Arc::clone(&ring);
            let kernel = thread::spawn(move || {
                let (head, tail, byte) = &*theirs;
                for place in 0..2 {
                    while tail.load(Ordering::Acquire) != place {
                        thread::yield_now();
                    }
                    byte.with_mut(|_| ());
                    head.store(place + 1, Ordering::Release);
                }
            });
            let (head, tail, byte) = &*ring;
            for place in 0..2 {
                while head.load(LOADS_HEAD) == place {
                    thread::yield_now();
                }
                byte.with(|_| ());
                tail.store(place + 1, STORES_TAIL);
            }
            kernel.join().unwrap();
        });
    }

    #[test]
    fn records_that_were_there_before_an_aux_head_are_seen_after_it() {
        loom::model(|| {
            let heads = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
            let theirs = Arc::clone(&heads);
            let kernel = thread::spawn(move || {
                let (data_head, aux_head) = &*theirs;
                for pass in 1..3 {
                    data_head.store(pass, Ordering::Release);
                    aux_head.store(pass, Ordering::Release);
                }
            });
            let (data_head, aux_head) = &*heads;
            let of_aux = aux_head.load(LOADS_HEAD);
            assert!(data_head.load(LOADS_HEAD) >= of_aux, "the order of `CpuRings::drain`");
            kernel.join().unwrap();
        });
    }
}
