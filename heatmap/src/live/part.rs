//! What one of several threads has decoded of a stream before its turn to count has come.

use core::ops::Range;

use decoder::{Access, Batch, EventIndex, Origin, PhysAddr, Touch};

/// Accesses and others that are held at most, roughly. Whoever has more waits for its turn: then
/// the threads before it are slower, and to decode on would gain nothing.
const MOST_HELD: usize = 1 << 15;

/// A part of a stream, as far as it could not be counted yet.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingPart {
    /// Its number in the order of the stream.
    pub(super) number: u64,
    held: Vec<Item>,
    addresses: Vec<PhysAddr>,
    touches: Vec<Touch>,
}

/// Something that is held.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Batch(Batch<'a>),
    Access(Access),
    Other(Origin),
    EventName(EventIndex, String),
}

#[derive(Clone, Debug)]
enum Item {
    /// A batch, with the places of its addresses and touches.
    Batch(Batch<'static>, Range<usize>, Range<usize>),
    Access(Access),
    Other(Origin),
    EventName(EventIndex, String),
}

impl WaitingPart {
    /// Whether no more should be held.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() + self.addresses.len() >= MOST_HELD
    }

    /// Holds a batch.
    pub(super) fn hold_batch(&mut self, batch: &Batch<'_>) {
        let (addresses, touches) = (self.addresses.len(), self.touches.len());
        self.addresses.extend_from_slice(batch.addresses);
        self.touches.extend_from_slice(batch.touches);
        let head = Batch { addresses: &[], touches: &[], ..*batch };
        self.held.push(Item::Batch(
            head,
            addresses..self.addresses.len(),
            touches..self.touches.len(),
        ));
    }

    /// Holds anything else.
    pub(super) fn hold(&mut self, held: Held<'_>) {
        self.held.push(match held {
            Held::Batch(batch) => return self.hold_batch(&batch),
            Held::Access(access) => Item::Access(access),
            Held::Other(origin) => Item::Other(origin),
            Held::EventName(event, name) => Item::EventName(event, name),
        });
    }

    /// Gives out all that it holds, in order.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Held<'_>)) {
        for item in self.held.drain(..) {
            take(match item {
                Item::Batch(head, addresses, touches) => Held::Batch(Batch {
                    addresses: &self.addresses[addresses],
                    touches: &self.touches[touches],
                    ..head
                }),
                Item::Access(access) => Held::Access(access),
                Item::Other(origin) => Held::Other(origin),
                Item::EventName(event, name) => Held::EventName(event, name),
            });
        }
        self.addresses.clear();
        self.touches.clear();
    }
}
