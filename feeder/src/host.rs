//! What this host's kernel is, before anything is written into it: what would make writing wrong
//! or in vain is refused with a sentence that names it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use heatmap::{ChunkOrder, HotThreshold};

use crate::plan::Terms;

/// Where the kernel's file systems are mounted.
#[derive(Clone, Debug)]
pub struct Host {
    /// `debugfs`, which holds `damon/spe_feed`.
    pub debugfs: PathBuf,
    /// `sysfs`.
    pub sysfs: PathBuf,
    /// `procfs`.
    pub procfs: PathBuf,
}

/// A scheme that runs and splits folios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitScheme {
    /// Its folder below `kdamonds`.
    pub place: String,
    /// The order that it splits to.
    pub order: Option<u8>,
    /// Percent of hot chunks below which it splits.
    pub threshold: Option<u8>,
}

impl Host {
    /// Refuses what no kernel with `spe_feed` is.
    ///
    /// # Errors
    /// Base pages are not of 4 KiB, the kernel is locked down, or there is no `spe_feed`.
    pub fn check_spe_feed(&self) -> anyhow::Result<()> {
        self.check_page_size()?;
        self.check_lockdown()?;
        let dir = self.debugfs.display();
        ensure!(
            self.debugfs.is_dir(),
            "{dir}: there is no such folder: this kernel has no debugfs, or it is elsewhere (--debugfs)"
        );
        let empty = fs::read_dir(&self.debugfs)
            .with_context(|| format!("{dir}: cannot be read: root is needed"))?
            .next()
            .is_none();
        ensure!(!empty, "{dir}: is empty: mount it by `mount -t debugfs none {dir}`");
        let feed = self.debugfs.join("damon/spe_feed");
        let feeds = feed
            .try_exists()
            .with_context(|| format!("{}: cannot be looked at: root is needed", feed.display()))?;
        ensure!(
            feeds,
            "{}: there is no such file: this kernel has no CONFIG_DAMON_SPE; --sink damos works by \
             DAMON's schemes instead",
            feed.display()
        );
        Ok(())
    }

    /// Base pages of 4 KiB: with others the kernel answers every question after a folio by an
    /// error, and splits it.
    fn check_page_size(&self) -> anyhow::Result<()> {
        let path = self.procfs.join("self/smaps");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let size = text.lines().find_map(|line| line.strip_prefix("KernelPageSize:"));
        let size = size.with_context(|| format!("{}: names no KernelPageSize", path.display()))?;
        let size = size.trim();
        ensure!(
            size == "4 kB",
            "this kernel has base pages of {size}: spe_feed works with pages of 4 KiB alone"
        );
        Ok(())
    }

    /// Lockdown refuses every write to debugfs, also to root.
    fn check_lockdown(&self) -> anyhow::Result<()> {
        let path = self.sysfs.join("kernel/security/lockdown");
        // No such file: a kernel without lockdown.
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        match mode {
            None | Some(("none", _)) => Ok(()),
            Some((mode, _)) => bail!(
                "kernel lockdown is on ({mode}): it refuses writes to debugfs even to root; boot \
                 without Secure Boot or with lockdown=none, or use --sink damos",
            ),
        }
    }

    /// The schemes that run and split folios. None where there is no DAMON.
    ///
    /// # Errors
    /// If they are there and cannot be read.
    pub fn split_schemes(&self) -> anyhow::Result<Vec<SplitScheme>> {
        let root = self.sysfs.join("kernel/mm/damon/admin/kdamonds");
        let mut found = Vec::new();
        for kdamond in numbered(&root)? {
            if word(&kdamond.join("state"))?.as_deref() != Some("on") {
                continue;
            }
            for context in numbered(&kdamond.join("contexts"))? {
                for scheme in numbered(&context.join("schemes"))? {
                    let action = word(&scheme.join("action"))?;
                    if !matches!(action.as_deref(), Some("mthp_split" | "split")) {
                        continue;
                    }
                    let number = |name: &str| -> anyhow::Result<Option<u8>> {
                        let path = scheme.join(name);
                        let parsed = word(&path)?.map(|text| text.parse::<u8>()).transpose();
                        parsed.with_context(|| format!("{}: is no number", path.display()))
                    };
                    let place = scheme.strip_prefix(&root).unwrap_or(&scheme);
                    found.push(SplitScheme {
                        place: place.display().to_string(),
                        order: number("target_order")?,
                        threshold: number("hot_threshold")?,
                    });
                }
            }
        }
        Ok(found)
    }
}

/// The folders 0, 1, ... of a folder, in this order. None if it is not there.
fn numbered(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| dir.display().to_string()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| dir.display().to_string())?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// What a file holds, without what surrounds it. Nothing if it is not there.
fn word(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// For what a plan has to hold: what was asked for, or what the schemes say, or the default.
///
/// # Errors
/// If schemes differ from each other or from what was asked for: one table cannot serve both.
pub fn settle(
    schemes: &[SplitScheme],
    order: Option<ChunkOrder>,
    threshold: Option<HotThreshold>,
) -> anyhow::Result<(ChunkOrder, HotThreshold)> {
    let (mut order, mut threshold) = (order, threshold);
    for scheme in schemes {
        let place = &scheme.place;
        if let Some(number) = scheme.order {
            let read = ChunkOrder::try_new(number).with_context(|| place.clone())?;
            let wanted = *order.get_or_insert(read);
            ensure!(
                wanted == read,
                "the scheme {place} has the target order {number}, and the plan order {wanted}: one \
                 table serves one order alone"
            );
        }
        if let Some(percent) = scheme.threshold {
            let read = HotThreshold::try_new(percent).with_context(|| place.clone())?;
            let wanted = *threshold.get_or_insert(read);
            ensure!(
                wanted == read,
                "the scheme {place} has the hot threshold {percent} %, and the plan {wanted} %: one \
                 table serves one threshold alone"
            );
        }
    }
    let order = match order {
        Some(order) => order,
        None => ChunkOrder::try_new(Terms::DEFAULT_ORDER)?,
    };
    Ok((order, threshold.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(dir: &Path) -> Host {
        let host =
            Host { debugfs: dir.join("debug"), sysfs: dir.join("sys"), procfs: dir.join("proc") };
        fs::create_dir_all(host.procfs.join("self")).unwrap();
        let smaps = "0-1 r-xp\nSize: 4 kB\nKernelPageSize:        4 kB\nMMUPageSize: 4 kB\n";
        fs::write(host.procfs.join("self/smaps"), smaps).unwrap();
        host
    }

    #[test]
    fn hosts_that_cannot_be_fed_are_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path());
        let refusal = || format!("{:#}", host.check_spe_feed().unwrap_err());
        assert!(refusal().contains("no debugfs"), "{}", refusal());
        fs::create_dir_all(&host.debugfs).unwrap();
        assert!(refusal().contains("mount -t debugfs"), "{}", refusal());
        fs::create_dir_all(host.debugfs.join("damon")).unwrap();
        assert!(refusal().contains("CONFIG_DAMON_SPE"), "{}", refusal());
        fs::write(host.debugfs.join("damon/spe_feed"), "").unwrap();
        host.check_spe_feed().unwrap();

        fs::create_dir_all(host.sysfs.join("kernel/security")).unwrap();
        let lockdown = host.sysfs.join("kernel/security/lockdown");
        fs::write(&lockdown, "[none] integrity confidentiality\n").unwrap();
        host.check_spe_feed().unwrap();
        fs::write(&lockdown, "none [integrity] confidentiality\n").unwrap();
        assert!(refusal().contains("lockdown is on (integrity)"), "{}", refusal());
        fs::remove_file(&lockdown).unwrap();

        let smaps = "0-1 r-xp\nSize: 16 kB\nKernelPageSize:       16 kB\n";
        fs::write(host.procfs.join("self/smaps"), smaps).unwrap();
        assert!(refusal().contains("base pages of 16 kB"), "{}", refusal());
    }

    fn scheme(host: &Host, place: &str, files: &[(&str, &str)]) {
        let dir = host.sysfs.join("kernel/mm/damon/admin/kdamonds").join(place);
        fs::create_dir_all(&dir).unwrap();
        files.iter().for_each(|(name, text)| fs::write(dir.join(name), text).unwrap());
        let kdamond = dir.ancestors().nth(4).unwrap();
        fs::write(kdamond.join("state"), "on\n").unwrap();
    }

    #[test]
    fn plans_hold_for_the_schemes_that_run() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path());
        let order = |number| ChunkOrder::try_new(number).unwrap();
        assert_eq!(host.split_schemes().unwrap(), []);
        assert_eq!(settle(&[], None, None).unwrap(), (order(2), HotThreshold::default()));
        let files =
            [("action", "mthp_split\n"), ("target_order", "4\n"), ("hot_threshold", "50\n")];
        scheme(&host, "0/contexts/0/schemes/0", &files);
        scheme(&host, "0/contexts/0/schemes/1", &[("action", "stat\n"), ("target_order", "3\n")]);
        let found = host.split_schemes().unwrap();
        assert_eq!(found.len(), 1);
        let fifty = HotThreshold::try_new(50).unwrap();
        assert_eq!(settle(&found, None, None).unwrap(), (order(4), fifty));
        assert_eq!(settle(&found, Some(order(4)), Some(fifty)).unwrap(), (order(4), fifty));
        assert!(settle(&found, Some(order(2)), None).is_err());
        assert!(settle(&found, None, Some(HotThreshold::default())).is_err());
        // Another one, of another order.
        scheme(&host, "10/contexts/0/schemes/0", &[("action", "split\n"), ("target_order", "2\n")]);
        let found = host.split_schemes().unwrap();
        assert_eq!(found[1].place, "10/contexts/0/schemes/0");
        let refusal = settle(&found, None, None).unwrap_err().to_string();
        assert!(refusal.contains("target order 2, and the plan order 4"), "{refusal}");
        // One that is off does not matter.
        let state = host.sysfs.join("kernel/mm/damon/admin/kdamonds/10/state");
        fs::write(state, "off\n").unwrap();
        assert_eq!(host.split_schemes().unwrap().len(), 1);
    }
}
