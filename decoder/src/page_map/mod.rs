//! Virtual to physical: a frame for each access whose record has a virtual address only.
//!
//! ```text
//! access without a frame -> look_up.rs -> Frames -> access with one, or with the reason why not
//!                                         process.rs   /proc/PID/pagemap: as it is now
//!                                         saved.rs     a page map that was saved
//! ```
//!
//! A frame that is looked up is where the page is *now*, not where it was when it was sampled.
//! So [`ProcessFrames`] are for live capture, milliseconds after the sample: the processes of a
//! recording are gone or have changed, and what their page map says later is a wrong number
//! that nobody sees. A recording takes [`SavedFrames`], saved while it was made. Either way the
//! access says so ([`AccessFlags::LOOKED_UP`]), and so does the ledger
//! ([`looked_up`](crate::Ledger::looked_up), [`lookup_failed`](crate::Ledger::lookup_failed)).

mod look_up;
mod process;
mod remembered;
mod saved;

pub use look_up::LookUp;
pub use process::{MAX_FILES, MAX_GONE, MAX_PAGES, ProcessFrames, ProcessOptions};
pub use saved::{MAX_RANGES, PageMapError, PageMapProblem, SavedFrames};

use crate::{AccessFlags, Pfn, VirtAddr};

/// Knows which frame holds a page of a process.
///
/// Clones share what they know and remember: each thread that decodes has one.
pub trait Frames: Clone + Send {
    /// The 4 KiB frame that holds a virtual address of a process.
    ///
    /// # Errors
    /// Why there is none.
    fn frame(&self, pid: u32, vaddr: VirtAddr) -> Result<Pfn, Why>;

    /// As [`Frames::frame`], of a page that has just been mapped: what was known of it before says
    /// nothing.
    ///
    /// # Errors
    /// See [`Frames::frame`].
    fn frame_anew(&self, pid: u32, vaddr: VirtAddr) -> Result<Pfn, Why> {
        self.frame(pid, vaddr)
    }

    /// A process begins, or runs another program, from now on: what was known of its pages says
    /// nothing.
    fn forget(&self, _pid: u32) {}
}

/// Why a frame was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The process has ended, or is not in the map.
    Gone,
    /// Nothing is mapped there, or what was there is swapped out or not in the map.
    NotPresent,
    /// The kernel does not show it: CAP_SYS_ADMIN is missing, or the right to look into the
    /// process.
    Hidden,
    /// The page map could not be read for another reason.
    Unreadable,
}

impl Why {
    const ALL: [Self; 4] = [Self::Gone, Self::NotPresent, Self::Hidden, Self::Unreadable];

    /// The flag that an access gets.
    pub const fn flag(self) -> AccessFlags {
        match self {
            Self::Gone => AccessFlags::LOOKUP_GONE,
            Self::NotPresent => AccessFlags::LOOKUP_NOT_PRESENT,
            Self::Hidden => AccessFlags::LOOKUP_HIDDEN,
            Self::Unreadable => AccessFlags::LOOKUP_UNREADABLE,
        }
    }

    /// The reason that an access tells by its flags; `None` if nothing was looked up, or it was
    /// found.
    pub fn of(flags: AccessFlags) -> Option<Self> {
        Self::ALL.into_iter().find(|why| flags.contains(why.flag()))
    }
}
