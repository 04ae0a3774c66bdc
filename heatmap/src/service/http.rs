//! The HTTP listeners.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::State;

/// Listens at all HTTP addresses.
///
/// # Errors
/// If one of them cannot be listened at.
pub(super) async fn listen(_state: &Arc<State>, _tasks: &TaskTracker) -> anyhow::Result<()> {
    Ok(())
}
