//! Waiting for a unit that somebody else has.

use core::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::live::error::Error;
use crate::live::options::Options;
use crate::live::progress::Progress;
use crate::live::setup::open_events::OpenEvents;

/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How often we look whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What waiting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::live) struct Waited {
    /// How long it was.
    pub(in crate::live) time: Duration,
    /// The CPU whose unit was in use until we stopped waiting; `None`: everything is open.
    pub(in crate::live) in_vain: Option<u32>,
}

/// Opens all events. With `give_way` a unit that is in use is waited for, until it is free, `stop`
/// is set, the time is over, or the process that was to be observed is gone.
///
/// Between two tries nothing is open: who holds a part of what it needs keeps others from theirs.
/// `progress` is told after each try.
///
/// # Errors
/// As [`OpenEvents::open`].
pub(in crate::live) fn open(
    open_events: &mut OpenEvents,
    options: &Options,
    stop: &AtomicBool,
    progress: &mut impl FnMut(&Progress),
) -> Result<Waited, Error> {
    let begin = Instant::now();
    loop {
        let cpu = match open_events.open() {
            Ok(()) => return Ok(Waited { time: begin.elapsed(), in_vain: None }),
            Err(Error::Refused(refusal)) if options.give_way && refusal.is_busy() => refusal.cpu,
            Err(error) => return Err(error),
        };
        let time = begin.elapsed();
        progress(&Progress { waited: time, waiting_for: Some(cpu), ..Progress::default() });
        if !pause(options, stop, begin) || open_events.is_pointless() {
            return Ok(Waited { time: begin.elapsed(), in_vain: Some(cpu) });
        }
    }
}

/// Lets time pass until the next try. Whether there is to be one.
fn pause(options: &Options, stop: &AtomicBool, begin: Instant) -> bool {
    let tried = Instant::now();
    while tried.elapsed() < TRY_EVERY {
        let left = options.duration.map_or(LOOK_EVERY, |most| most.saturating_sub(begin.elapsed()));
        if stop.load(Ordering::Relaxed) || left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(LOOK_EVERY));
    }
    true
}
