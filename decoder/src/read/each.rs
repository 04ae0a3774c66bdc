//! The short way in: a function for every access of an input.

use std::num::NonZeroUsize;
use std::path::Path;

use super::open::Input;
use crate::{Access, Error, Options, Origin, Recording, Shard, Sink};

/// Gives every access of a file, folder or FIFO to a function, in the order of the input, on one thread.
///
/// What else the input said is in the [`Recording`]: its events, what was lost of it, and the account of its bytes.
///
/// ```no_run
/// let recording = decoder::for_each_access("perf.data", |access| {
///     println!("{:?} {:?}", access.operation.direction, access.paddr);
/// })?;
/// eprintln!("{} bytes of AUX data were lost or damaged", recording.ledger.skipped_bytes);
/// # Ok::<(), decoder::Error>(())
/// ```
///
/// # Errors
/// If it cannot be opened or read, or there is no record stream in it. Damage inside is no error.
pub fn for_each_access(
    path: impl AsRef<Path>,
    take: impl FnMut(&Access) + Send,
) -> Result<Recording, Error> {
    let options = Options { ordered: true, ..Options::new(NonZeroUsize::MIN) };
    Input::open(path.as_ref())?.decode(0, &options, &mut Each(Some(take)))
}

/// Calls a function for every access. None in what is split off: with one thread nothing is.
struct Each<F>(Option<F>);

impl<F: FnMut(&Access) + Send> Sink for Each<F> {
    fn access(&mut self, access: &Access) {
        if let Some(take) = &mut self.0 {
            take(access);
        }
    }

    fn other(&mut self, _: &Origin) {}
}

impl<F: FnMut(&Access) + Send> Shard for Each<F> {
    fn split(&self) -> Self {
        Self(None)
    }

    fn merge(&mut self, _: Self) {}
}
