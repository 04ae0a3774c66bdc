//! The threads that make epochs and write them.

use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use anyhow::Context;

use crate::news::News;
use crate::stream::Stream;
use crate::visits::{Batch, Visits};

/// What the thread that writes is told to do.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Write the next epoch.
    Epoch,
    /// Write a sign of life.
    KeepAlive,
}

/// Makes epochs, one ahead of the one that is written.
pub fn make(mut visits: Visits, made: SyncSender<anyhow::Result<Batch>>) {
    while made.send(visits.next_epoch()).is_ok() {}
}

/// Writes epochs as it is told to. Returns how many accesses were written.
pub fn write(
    orders: Receiver<Order>,
    batches: Receiver<anyhow::Result<Batch>>,
    tell: Sender<News>,
    blocks: usize,
    stdin: ChildStdin,
) -> u64 {
    let told = tell.clone();
    let written = || {
        let mut stream = Stream::begin(stdin)?;
        let mut epoch = None;
        for order in orders {
            match (order, epoch) {
                (Order::Epoch, _) => {
                    let batch = batches.recv()??;
                    epoch = Some(batch.epoch);
                    stream.epoch(batch, blocks)?;
                }
                (Order::KeepAlive, Some(epoch)) => stream.keep_alive(epoch, blocks)?,
                (Order::KeepAlive, None) => {}
            }
            told.send(News::Written)?;
        }
        anyhow::Ok(stream.accesses)
    };
    written().context("the stream").unwrap_or_else(|error| {
        // If nobody listens, somebody else has failed.
        let _ = tell.send(News::Failed(error));
        0
    })
}
