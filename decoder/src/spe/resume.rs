//! What a decoder between two records must know to go on.

/// All that a decoder between two records knows of those before, and that decides how the bytes
/// behind read. (What it knows of snapshots' times and repeated bytes matters too: queues with
/// such are not cut.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumeState {
    /// Which of the packets that every record should have were seen; the decoder's bits.
    pub(super) seen: u32,
    /// The next record must prove itself.
    pub(super) unproven: bool,
}
