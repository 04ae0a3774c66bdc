//! The row of a list of records.

/// One record that is a memory operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRow<'a> {
    /// Time in ns of the trace clock.
    pub time_ns: Option<u64>,
    /// CPU that executed it.
    pub cpu: Option<u32>,
    /// Process. perf writes -1 where it does not know: that is absent here.
    pub pid: Option<u32>,
    /// Thread, with the same rule.
    pub tid: Option<u32>,
    /// Name of the event.
    pub event: Option<&'a str>,
    /// `load`, `store`, `atomic` or `access`, with a finer name after a slash where known.
    pub op: &'a str,
    /// Virtual address of the instruction.
    pub ip: Option<u64>,
    /// Virtual address of the data.
    pub vaddr: Option<u64>,
    /// Physical address of the data.
    pub paddr: Option<u64>,
    /// Total latency in cycles.
    pub latency: Option<u32>,
    /// Where the data came from.
    pub source: Option<&'a str>,
    /// Names of the record's flags; empty: none.
    pub flags: &'a str,
    /// Name of the queue that the record stood in: those of one queue have an order of their own.
    pub queue: &'a str,
    /// Who had the translation: `hit`, `l1`, `l2` or `walk`.
    pub tlb: Option<&'a str>,
    /// Bytes of the page that it was translated by.
    pub page_size: Option<u64>,
    /// Cycles until it was issued.
    pub issue_latency: Option<u32>,
    /// Cycles of its translation.
    pub translation_latency: Option<u32>,
    /// It was made in a virtual machine.
    pub guest: bool,
}

impl<'a> RecordRow<'a> {
    /// The flags, absent if there are none.
    pub(super) fn flags_or_absent(&self) -> Option<&'a str> {
        (!self.flags.is_empty()).then_some(self.flags)
    }

    /// The numbers that tell what the translation was like, in the order of their columns.
    pub(super) fn costs(&self) -> [Option<u64>; 3] {
        let [issue, translation] = [self.issue_latency, self.translation_latency];
        [self.page_size, issue.map(u64::from), translation.map(u64::from)]
    }
}
