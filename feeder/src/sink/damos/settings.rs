//! What is to be done, and where.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use heatmap::{ChunkOrder, HotThreshold, Verdict};

/// Orders that a scheme of the kernel can have.
const ORDERS: core::ops::RangeInclusive<u8> = 2..=8;
/// Filters that are written at most.
const MOST_FILTERS: usize = 10_000;

/// What a scheme that acts is tried out with.
pub(super) const STAT: &str = "stat";

/// What addresses a scheme acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operations {
    /// Those of the machine's memory.
    #[default]
    Paddr,
    /// Those of a process.
    Vaddr {
        /// Its number.
        pid: u32,
    },
}

/// What is to be done, and where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// What is done to folios; none: split them, if the kernel can.
    pub action: Option<String>,
    /// By which addresses.
    pub operations: Operations,
    /// The verdicts of the folios that it is done to; none: what suits the action.
    pub verdicts: Option<Vec<Verdict>>,
    /// Filters that a scheme has at most, at least 2; there is a range less.
    pub max_filters: usize,
    /// The order to split to, where the kernel asks for one.
    pub order: Option<ChunkOrder>,
    /// The hot threshold, where the kernel asks for one.
    pub threshold: Option<HotThreshold>,
    /// The node to migrate to.
    pub target_node: Option<u32>,
    /// How often DAMON looks and acts.
    pub intervals: Intervals,
    /// How long the scheme may take to act for the first time while it is tried out. A supervisor
    /// hears nothing in that time: it is to be more patient.
    pub proof: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sysfs: PathBuf::from("/sys"),
            procfs: PathBuf::from("/proc"),
            action: None,
            operations: Operations::default(),
            verdicts: None,
            max_filters: 256,
            order: None,
            threshold: None,
            target_node: None,
            intervals: Intervals::default(),
            proof: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Refuses what no kernel can do.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let action = self.action.as_deref().unwrap_or(STAT);
        ensure!(
            action.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                && !action.is_empty(),
            "{action:?} is no action of DAMON"
        );
        ensure!(
            !action.starts_with("migrate_") || self.target_node.is_some(),
            "the action {action} needs a node to migrate to"
        );
        ensure!(
            (2..=MOST_FILTERS).contains(&self.max_filters),
            "{} filters: there are 2 to {MOST_FILTERS}",
            self.max_filters
        );
        if let Some(order) = self.order {
            ensure!(ORDERS.contains(&order.get()), "order {order}: a scheme's are 2 to 8");
        }
        self.intervals.check()
    }

    /// Whether something is done to folios with a verdict.
    pub(super) fn concerns(&self, verdict: Verdict) -> bool {
        if let Some(verdicts) = &self.verdicts {
            return verdicts.contains(&verdict);
        }
        match self.action.as_deref() {
            Some("hugepage" | "collapse" | "lru_prio" | "migrate_hot") => verdict == Verdict::Hot,
            _ => verdict == Verdict::Sparse,
        }
    }
}

/// How often DAMON looks, sums up and looks for new memory.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between two samples.
    pub sample: Duration,
    /// Between two sums, after which schemes act.
    pub aggregation: Duration,
    /// Between two looks at what there is.
    pub update: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            sample: Duration::from_millis(50),
            aggregation: Duration::from_secs(1),
            update: Duration::from_secs(2),
        }
    }
}

impl Intervals {
    /// Checks what kernels accept in silence and stumble over later.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.sample >= Duration::from_micros(1), "the sample interval is below 1 us");
        ensure!(
            self.sample <= self.aggregation && self.aggregation <= self.update,
            "intervals have to rise: sample {:?}, aggregation {:?}, update {:?}",
            self.sample,
            self.aggregation,
            self.update
        );
        ensure!(self.update <= Duration::from_secs(3600), "the update interval is above an hour");
        Ok(())
    }
}
