//! What the threads that write and the tasks that watch tell the one that waits for them.

/// Something that has happened.
#[derive(Debug)]
pub enum News {
    /// The writer has written what it was last told to.
    Written,
    /// A watcher has the whole state at the end of an epoch.
    Seen {
        /// The watcher's number.
        watcher: usize,
        /// The epoch.
        epoch: u64,
    },
    /// The daemon has told a watcher that the input has ended.
    Ended,
    /// Something is wrong.
    Failed(anyhow::Error),
}
