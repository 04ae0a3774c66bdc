//! What a command ends with.

/// What a command that did not fail ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All went well.
    Done,
    /// Something was lost or nothing was counted, and `--strict` asks for the opposite.
    Lossy,
}
