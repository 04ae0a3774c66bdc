//! A channel from one thread to another that allocates nothing once it is made, and in which
//! sending never waits. (Those of the standard library allocate when a thread first waits.)

use std::collections::VecDeque;

#[cfg(all(test, loom))]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, loom)))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Sends. Dropping it lets the receiver take what there is, and no more.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// Receives, as an iterator too, which ends when the sender is gone and all is taken.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Something was sent, or the sender is gone.
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    sender_gone: bool,
    receiver_gone: bool,
}

/// Makes a channel with room for so many items at a time; more are taken, but allocate.
pub(crate) fn channel<T>(room: usize) -> (Sender<T>, Receiver<T>) {
    let items = VecDeque::with_capacity(room);
    let state = Mutex::new(State { items, sender_gone: false, receiver_gone: false });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Shared<T> {
    /// Nothing that is done under the lock can leave it half done, so a panic elsewhere in a
    /// thread that holds it changes nothing.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> Sender<T> {
    /// Sends an item. It is dropped if nobody can take it any more.
    pub(crate) fn send(&self, item: T) -> Result<(), Gone> {
        let mut state = self.0.lock();
        if state.receiver_gone {
            return Err(Gone);
        }
        state.items.push_back(item);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Waits for the next item.
    pub(crate) fn receive(&self) -> Result<T, Gone> {
        let mut state = self.0.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Ok(item);
            }
            if state.sender_gone {
                return Err(Gone);
            }
            state = self.0.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

impl<T> Iterator for Receiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receive().ok()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().sender_gone = true;
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        let items = core::mem::take(&mut state.items);
        drop(state);
        drop(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(loom)]
    use loom::thread;
    #[cfg(not(loom))]
    use std::thread;

    /// Runs a test in all orders in which its threads may take their turns, or once.
    fn every_order(test: impl Fn() + Send + Sync + 'static) {
        #[cfg(loom)]
        loom::model(test);
        #[cfg(not(loom))]
        test();
    }

    #[test]
    fn everything_arrives_in_order_and_then_the_end() {
        every_order(|| {
            let (sender, receiver) = channel(2);
            let sending = thread::spawn(move || {
                for item in 0..3 {
                    sender.send(item).unwrap();
                }
            });
            assert_eq!(receiver.collect::<Vec<_>>(), [0, 1, 2]);
            sending.join().unwrap();
        });
    }

    #[test]
    fn two_threads_that_send_to_and_fro_do_not_wait_for_ever() {
        every_order(|| {
            let (there, parcels) = channel(1);
            let (give_back, back) = channel(1);
            let worker = thread::spawn(move || {
                for parcel in parcels {
                    give_back.send(parcel + 1).unwrap();
                }
            });
            for parcel in 0..2 {
                there.send(parcel).unwrap();
                assert_eq!(back.receive(), Ok(parcel + 1));
            }
            drop(there);
            assert_eq!(back.receive(), Err(Gone), "the worker has ended");
            worker.join().unwrap();
        });
    }

    #[test]
    fn a_receiver_that_goes_is_noticed_and_drops_what_was_sent() {
        every_order(|| {
            let (sender, receiver) = channel(1);
            let item = Arc::new(());
            let sent = Arc::clone(&item);
            let gone = thread::spawn(move || drop(receiver));
            let _ = sender.send(sent);
            gone.join().unwrap();
            assert_eq!(sender.send(Arc::clone(&item)), Err(Gone));
            assert_eq!(Arc::strong_count(&item), 1);
        });
    }
}
