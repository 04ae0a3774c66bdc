//! How many steps reading an input takes, so that tests and fuzzing can hold them against its size
//! without a clock. In release builds nothing is counted.
//!
//! A step is about as much work as reading one record of 64 bytes. What takes longer for reasons
//! that lie in the input says so where it does: [`steps`].

#[cfg(any(fuzzing, debug_assertions))]
mod counter {
    use core::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn add(steps: u64) {
        STEPS.with(|all| all.set(all.get().wrapping_add(steps)));
    }

    pub(super) fn taken() -> u64 {
        STEPS.with(Cell::get)
    }
}

/// Bytes that are read, moved or compared in about one step.
const BYTES: usize = 64;

/// Counts steps.
#[inline(always)]
pub(crate) fn steps(_steps: usize) {
    #[cfg(any(fuzzing, debug_assertions))]
    counter::add(_steps as u64);
}

/// Counts the steps that reading or moving so many bytes takes.
#[inline(always)]
pub(crate) fn bytes(len: usize) {
    steps(len.div_ceil(BYTES));
}

/// The steps that this thread has taken so far. `None` where they are not counted, in release
/// builds.
pub fn steps_taken() -> Option<u64> {
    #[cfg(any(fuzzing, debug_assertions))]
    return Some(counter::taken());
    #[cfg(not(any(fuzzing, debug_assertions)))]
    None
}
