//! A kdamond of our own with one context, one target and one scheme: writing it down and checking
//! beforehand what kernels accept in silence.

use anyhow::{Context, bail, ensure};

use super::ranges::{self, Range};
use super::settings::{Operations, Settings};
use super::tree::{Files, KDAMONDS, NR_KDAMONDS, number, put, text};

/// The number of our kdamond: it is the only one.
pub(crate) const KDAMOND: u32 = 0;
/// Regions that DAMON needs at least.
const MIN_REGIONS: usize = 3;
/// Regions that it keeps at most, unless there are more ranges.
const MAX_REGIONS: usize = 1000;
/// Actions tried if none is named: that of the second RFC, then that of the first.
const SPLITS: [&str; 2] = ["split", "mthp_split"];

/// The path of a file of our kdamond.
pub(crate) fn ours(file: &str) -> String {
    format!("{KDAMONDS}/{KDAMOND}/{file}")
}

/// That of a file of its context.
pub(crate) fn context(file: &str) -> String {
    ours(&format!("contexts/0/{file}"))
}

/// That of a file of its scheme.
pub(crate) fn scheme(file: &str) -> String {
    context(&format!("schemes/0/{file}"))
}

/// Where the filters of a running scheme are, and what they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// `core_filters`, or `filters` of older kernels.
    folder: &'static str,
    /// Whether there is `allow`.
    knows_allow: bool,
}

impl Dialect {
    /// Looks at a scheme that is not running yet. It writes, since filters show what they know only
    /// if there is one.
    fn detect(files: &mut impl Files) -> anyhow::Result<Self> {
        let folder = ["core_filters", "filters"]
            .into_iter()
            .find(|folder| files.exists(&scheme(&format!("{folder}/nr_filters"))))
            .context("this kernel's schemes have no filters")?;
        put(files, &scheme(&format!("{folder}/nr_filters")), "1")?;
        let knows_allow = files.exists(&scheme(&format!("{folder}/0/allow")));
        Ok(Self { folder, knows_allow })
    }
}

/// Writes kdamond, context and scheme down, as far as they do not depend on ranges. Returns the
/// action, which is chosen here if none is named, and how filters are told.
pub(crate) fn write(
    files: &mut impl Files,
    settings: &Settings,
) -> anyhow::Result<(String, Dialect)> {
    put(files, &ours("contexts/nr_contexts"), "1")?;
    let operations = match settings.operations {
        Operations::Paddr => "paddr",
        // Its regions stay what they are told to be; those of `vaddr` follow the process.
        Operations::Vaddr { .. } => {
            if offers(files, "fvaddr")? {
                "fvaddr"
            } else {
                "vaddr"
            }
        }
    };
    ensure!(offers(files, operations)?, "this kernel's DAMON does not offer {operations}");
    put(files, &context("operations"), operations)?;
    for (file, interval) in [
        ("sample_us", settings.intervals.sample),
        ("aggr_us", settings.intervals.aggregation),
        ("update_us", settings.intervals.update),
    ] {
        let file = context(&format!("monitoring_attrs/intervals/{file}"));
        put(files, &file, &interval.as_micros().to_string())?;
    }
    let regions = |which: &str| context(&format!("monitoring_attrs/nr_regions/{which}"));
    // The maximum first: the minimum is never above it.
    put(files, &regions("max"), &MAX_REGIONS.max(4 * settings.max_filters).to_string())?;
    put(files, &regions("min"), &MIN_REGIONS.to_string())?;
    put(files, &context("targets/nr_targets"), "1")?;
    if let Operations::Vaddr { pid } = settings.operations {
        put(files, &context("targets/0/pid_target"), &pid.to_string())?;
    }
    put(files, &context("schemes/nr_schemes"), "1")?;
    let action = write_action(files, settings.action.as_deref())?;
    for (file, wanted) in [
        ("target_order", settings.order.map(|order| u32::from(order.get()))),
        ("hot_threshold", settings.threshold.map(|share| u32::from(share.get()))),
        ("target_nid", settings.target_node),
    ] {
        if let Some(wanted) = wanted.filter(|_| files.exists(&scheme(file))) {
            put(files, &scheme(file), &wanted.to_string())?;
        }
    }
    // A maximum is 0 unless it is written: nothing would match. Counts are 32 bits wide.
    for (of, max) in [("sz", u64::MAX), ("nr_accesses", 0xffff_ffff), ("age", 0xffff_ffff)] {
        put(files, &scheme(&format!("access_pattern/{of}/min")), "0")?;
        put(files, &scheme(&format!("access_pattern/{of}/max")), &max.to_string())?;
    }
    let dialect = Dialect::detect(files)?;
    Ok((action, dialect))
}

/// Whether a context can have such operations. Kernels that do not tell refuse them when written.
fn offers(files: &impl Files, operations: &str) -> anyhow::Result<bool> {
    let all = ours("contexts/0/avail_operations");
    if !files.exists(&all) {
        return Ok(operations != "fvaddr");
    }
    Ok(text(files, &all)?.split_whitespace().any(|one| one == operations))
}

fn write_action(files: &mut impl Files, named: Option<&str>) -> anyhow::Result<String> {
    if let Some(action) = named {
        let written = put(files, &scheme("action"), action);
        written.with_context(|| format!("this kernel does not offer the action {action}"))?;
        return Ok(action.to_owned());
    }
    for action in SPLITS {
        if files.write(&scheme("action"), action).is_ok() {
            return Ok(action.to_owned());
        }
    }
    bail!(
        "this kernel offers no splitting of folios ({}): say with --action what else is to be done",
        SPLITS.join(", ")
    )
}

/// Writes where a scheme may look, and by which filters it acts in some ranges only.
pub(crate) fn write_ranges(
    files: &mut impl Files,
    dialect: Dialect,
    looked_at: &[Range],
    acted_on: &[Range],
) -> anyhow::Result<()> {
    let filters = ranges::filters(acted_on, dialect.knows_allow);
    let regions = context("targets/0/regions");
    put(files, &format!("{regions}/nr_regions"), &looked_at.len().to_string())?;
    for (number, range) in looked_at.iter().enumerate() {
        put(files, &format!("{regions}/{number}/start"), &range.start.to_string())?;
        put(files, &format!("{regions}/{number}/end"), &range.end.to_string())?;
    }
    let folder = scheme(dialect.folder);
    put(files, &format!("{folder}/nr_filters"), &filters.len().to_string())?;
    for (number, filter) in filters.iter().enumerate() {
        let file = |name: &str| format!("{folder}/{number}/{name}");
        put(files, &file("type"), "addr")?;
        // The other way round, several of them would leave nothing.
        put(files, &file("matching"), "Y")?;
        if dialect.knows_allow {
            put(files, &file("allow"), if filter.allow { "Y" } else { "N" })?;
        }
        put(files, &file("addr_start"), &filter.range.start.to_string())?;
        put(files, &file("addr_end"), &filter.range.end.to_string())?;
    }
    Ok(())
}

/// Whether it runs, by its own word.
pub(crate) fn is_on(files: &impl Files) -> anyhow::Result<bool> {
    Ok(text(files, &ours("state"))? == "on")
}

/// The process number of the kernel's thread, if it runs.
pub(crate) fn pid(files: &impl Files, kdamond: u32) -> anyhow::Result<Option<u32>> {
    // -1 while it is off.
    Ok(text(files, &format!("{KDAMONDS}/{kdamond}/pid"))?.parse().ok())
}

/// Turns our kdamond off if it runs, and leaves none.
pub(crate) fn remove(files: &mut impl Files) -> anyhow::Result<()> {
    // It may have ended by itself; and turning off what is off fails.
    if is_on(files)? {
        let off = put(files, &ours("state"), "off");
        if is_on(files)? {
            off?;
        }
    }
    if number(files, NR_KDAMONDS)? != 0 {
        put(files, NR_KDAMONDS, "0")?;
    }
    Ok(())
}

/// What a scheme has done since it was turned on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Regions that it tried to act on.
    pub nr_tried: u64,
    /// Their bytes.
    pub sz_tried: u64,
    /// Regions that it acted on.
    pub nr_applied: u64,
    /// Bytes that it acted on.
    pub sz_applied: u64,
    /// How often a quota stopped it.
    pub qt_exceeds: u64,
}

/// Has the kernel write its statistics down, and reads them.
pub(crate) fn stats(files: &mut impl Files) -> anyhow::Result<Stats> {
    put(files, &ours("state"), "update_schemes_stats")?;
    let of = |name: &str| number(files, &scheme(&format!("stats/{name}")));
    Ok(Stats {
        nr_tried: of("nr_tried")?,
        sz_tried: of("sz_tried")?,
        nr_applied: of("nr_applied")?,
        sz_applied: of("sz_applied")?,
        qt_exceeds: of("qt_exceeds")?,
    })
}

/// The regions that the scheme tries, if this kernel tells.
pub(crate) fn tried_regions(files: &mut impl Files) -> anyhow::Result<Option<Vec<Range>>> {
    if !files.exists(&scheme("tried_regions")) {
        return Ok(None);
    }
    put(files, &ours("state"), "update_schemes_tried_regions")?;
    let mut tried = Vec::new();
    for number_of in 0.. {
        let file = |name: &str| scheme(&format!("tried_regions/{number_of}/{name}"));
        if !files.exists(&file("start")) {
            break;
        }
        tried.push(Range {
            start: number(files, &file("start"))?,
            end: number(files, &file("end"))?,
        });
    }
    Ok(Some(tried))
}
