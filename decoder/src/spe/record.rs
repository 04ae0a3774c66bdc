//! A record: what the packets of one sampled operation tell (DDI 0487, D18.1.2).

use super::event::Events;
use super::operation::CLASS_LOAD_STORE;
use super::packet::{Kind, Packet};

/// Longest record: PMSIDR_EL1.MaxSize is 2 KiB at most. Padding inside does not count.
pub(super) const MAX_RECORD_LEN: u64 = 2048;

/// One sampled operation, as its packets tell it. Payloads are raw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    pub(super) has: Fields,
    /// By [`Slot`]; those of packets that the record does not have say nothing.
    payloads: [u64; SLOTS],
    /// Class of the operation packet.
    class: u8,
}

/// What a packet is to a record: where its payload is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Slot {
    Pc,
    BranchTarget,
    DataVa,
    DataPa,
    PreviousTarget,
    TotalLatency,
    IssueLatency,
    TranslationLatency,
    AlternateLatency,
    Operation,
    Events,
    DataSource,
    ContextEl1,
    ContextEl2,
    Timestamp,
    /// A packet that may be repeated, or has no meaning here.
    Other,
}

/// How many slots there are.
pub(super) const SLOTS: usize = 16;

impl Slot {
    /// All of them, each at its own number.
    pub(super) const ALL: [Self; SLOTS] = [
        Self::Pc,
        Self::BranchTarget,
        Self::DataVa,
        Self::DataPa,
        Self::PreviousTarget,
        Self::TotalLatency,
        Self::IssueLatency,
        Self::TranslationLatency,
        Self::AlternateLatency,
        Self::Operation,
        Self::Events,
        Self::DataSource,
        Self::ContextEl1,
        Self::ContextEl2,
        Self::Timestamp,
        Self::Other,
    ];

    /// What a packet is, by its header.
    pub(super) const fn of(kind: Kind, index: u8) -> Self {
        match (kind, index) {
            (Kind::Address, 0) => Self::Pc,
            (Kind::Address, 1) => Self::BranchTarget,
            (Kind::Address, 2) => Self::DataVa,
            (Kind::Address, 3) => Self::DataPa,
            (Kind::Address, 4) => Self::PreviousTarget,
            (Kind::Counter, 0) => Self::TotalLatency,
            (Kind::Counter, 1) => Self::IssueLatency,
            (Kind::Counter, 2) => Self::TranslationLatency,
            (Kind::Counter, 4) => Self::AlternateLatency,
            (Kind::Operation, _) => Self::Operation,
            (Kind::Events, _) => Self::Events,
            (Kind::DataSource, _) => Self::DataSource,
            (Kind::Context, 0) => Self::ContextEl1,
            (Kind::Context, 1) => Self::ContextEl2,
            (Kind::Timestamp, _) => Self::Timestamp,
            _ => Self::Other,
        }
    }

    /// Its bit; none for packets that may be repeated.
    #[inline(always)]
    pub(super) const fn field(self) -> Fields {
        Fields::from_bits_retain(1 << self as u8 & !(1 << Self::Other as u8))
    }
}

bitflags::bitflags! {
    /// Which packets a record has: a bit for every slot.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct Fields: u32 {
        const PC = 1 << Slot::Pc as u8;
        const DATA_VA = 1 << Slot::DataVa as u8;
        const DATA_PA = 1 << Slot::DataPa as u8;
        const TOTAL_LATENCY = 1 << Slot::TotalLatency as u8;
        const OPERATION = 1 << Slot::Operation as u8;
        const EVENTS = 1 << Slot::Events as u8;
        const DATA_SOURCE = 1 << Slot::DataSource as u8;
        const CONTEXT_EL1 = 1 << Slot::ContextEl1 as u8;
        const CONTEXT_EL2 = 1 << Slot::ContextEl2 as u8;
        const TIMESTAMP = 1 << Slot::Timestamp as u8;
        /// A packet that the tables do not have.
        const RESERVED = 1 << SLOTS;
        const _ = !0;

        /// What every record has (D18.2), total latency aside, which some models leave out.
        const ALWAYS = Self::PC.bits() | Self::OPERATION.bits() | Self::EVENTS.bits();
    }
}

/// [`Slot::of`] by kind and index.
pub(super) static SLOT_OF: [[Slot; 32]; Kind::COUNT] = {
    let mut table = [[Slot::Other; 32]; Kind::COUNT];
    let mut kind = 0;
    while kind < Kind::COUNT {
        let mut index = 0u8;
        while index < 32 {
            table[kind][index as usize] = Slot::of(Kind::ALL[kind], index);
            index += 1;
        }
        kind += 1;
    }
    table
};

/// Records are equal if they have the same packets with the same payloads.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.has == other.has
            && self.operation() == other.operation()
            && (0..SLOTS).all(|slot| {
                !self.has.contains(Fields::from_bits_retain(1 << slot))
                    || self.payloads[slot] == other.payloads[slot]
            })
    }
}
impl Eq for Record {}

impl Record {
    /// A record of these packets; payloads are zero-extended, those of others say nothing.
    #[inline(always)]
    pub(super) fn new(has: Fields, class: u8, payloads: [u64; SLOTS]) -> Self {
        Self { has, payloads, class }
    }

    #[inline(always)]
    fn get(&self, slot: Slot) -> Option<u64> {
        self.has.contains(slot.field()).then_some(self.payloads[slot as usize])
    }

    /// Payload of the instruction's address packet.
    #[inline]
    pub fn pc(&self) -> Option<u64> {
        self.get(Slot::Pc)
    }

    /// Payload of the data virtual address packet.
    #[inline]
    pub fn data_va(&self) -> Option<u64> {
        self.get(Slot::DataVa)
    }

    /// Payload of the data physical address packet.
    #[inline]
    pub fn data_pa(&self) -> Option<u64> {
        self.get(Slot::DataPa)
    }

    /// Class and payload of the operation packet, which is one byte.
    #[inline]
    pub fn operation(&self) -> Option<(u8, u8)> {
        self.get(Slot::Operation).map(|payload| (self.class, low(payload)))
    }

    /// Payload of the events packet.
    #[inline]
    pub fn events(&self) -> Option<u64> {
        self.get(Slot::Events)
    }

    /// Cycles from dispatch to completion (counter 0).
    #[inline]
    pub fn total_latency(&self) -> Option<u16> {
        self.get(Slot::TotalLatency).map(low)
    }

    /// Cycles from dispatch to issue (counter 1).
    #[inline]
    pub fn issue_latency(&self) -> Option<u16> {
        self.get(Slot::IssueLatency).map(low)
    }

    /// Cycles in which some part of the operation waited for the MMU (counter 2).
    #[inline]
    pub fn translation_latency(&self) -> Option<u16> {
        self.get(Slot::TranslationLatency).map(low)
    }

    /// Payload of the data source packet.
    #[inline]
    pub fn data_source(&self) -> Option<u16> {
        self.get(Slot::DataSource).map(low)
    }

    /// CONTEXTIDR: that of EL2 if the record has it, since a host kernel there is the one that
    /// writes its threads' numbers, else that of EL1.
    #[inline]
    pub fn context(&self) -> Option<u32> {
        self.get(Slot::ContextEl2).or(self.get(Slot::ContextEl1)).map(low)
    }

    /// Ticks of the generic timer.
    #[inline]
    pub fn timestamp(&self) -> Option<u64> {
        self.get(Slot::Timestamp)
    }

    /// Whether the record says that its operation did not retire.
    #[inline]
    pub fn not_retired(&self) -> bool {
        self.events().is_some_and(|events| events & Events::RETIRED.bits() == 0)
    }

    /// Whether the operation touched memory: class 1, or no class and a data address.
    #[inline]
    pub fn is_memory(&self) -> bool {
        match self.get(Slot::Operation) {
            Some(_) => self.class == CLASS_LOAD_STORE,
            None => self.has.intersects(Fields::DATA_VA.union(Fields::DATA_PA)),
        }
    }

    /// Takes one packet in.
    #[inline(always)]
    pub(super) fn take(&mut self, Packet { header, payload }: Packet, slot: Slot) {
        self.payloads[slot as usize] = payload;
        self.has |= slot.field();
        match header.kind {
            Kind::Operation => self.class = header.index,
            Kind::Reserved => self.has |= Fields::RESERVED,
            _ => {}
        }
    }
}

/// A payload as the type of its packet's length, which loses nothing.
#[inline]
fn low<T: TryFrom<u64> + Default>(payload: u64) -> T {
    T::try_from(payload).unwrap_or_default()
}
