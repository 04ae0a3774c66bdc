//! The name of an AUX queue.

/// Identifies an AUX queue. `idx` alone would do, but damaged files give one `idx` to several
/// CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// Order of the ring's mapping; not a CPU number.
    pub idx: u32,
    /// The CPU, unless the ring belongs to a thread.
    pub cpu: Option<u32>,
    /// The thread, or the only thread of a recorded command.
    pub tid: Option<u32>,
}
