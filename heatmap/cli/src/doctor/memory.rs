//! What there is to split: base pages and huge pages.

use super::check::Check;
use super::host::{Host, chosen, names};
use super::machine::Machine;

const HUGE_PAGES: &str = "kernel/mm/transparent_hugepage";

/// Base pages, and transparent huge pages.
pub(super) fn checks(host: &Host, machine: &Machine) -> Vec<Check> {
    vec![page_size(machine), huge_pages(host)]
}

fn page_size(machine: &Machine) -> Check {
    let name = "page_size";
    match machine.page_size {
        Some(size) if size.is_4k() => Check::ok(name, size.to_string()),
        Some(size) => Check::warn(
            name,
            format!(
                "{size}: a PMD block is {} MiB, so blocks of 2 MiB are counted but not judged, \
                 and spe_feed does not work",
                size.pmd_block_bytes() >> 20
            ),
            "boot a kernel with base pages of 4 KiB to have blocks judged",
        ),
        None => Check::warn(
            name,
            "the kernel does not say it (/proc/self/smaps)",
            "4 KiB are assumed: name others by --page-size when you report",
        ),
    }
}

fn huge_pages(host: &Host) -> Check {
    let name = "thp";
    let Some(enabled) = host.sys_text(&format!("{HUGE_PAGES}/enabled")) else {
        return Check::warn(
            name,
            "this kernel has no transparent huge pages",
            "a kernel with CONFIG_TRANSPARENT_HUGEPAGE; until then only hugetlb has huge pages, \
             which are never split",
        );
    };
    let global = chosen(&enabled).unwrap_or("unknown");
    let defrag = host.sys_text(&format!("{HUGE_PAGES}/defrag"));
    let defrag = defrag.as_deref().and_then(chosen).unwrap_or("unknown");
    let sizes = sizes(host, global);
    let on = match &sizes[..] {
        [] => "no size".to_owned(),
        sizes => sizes.join(", "),
    };
    let finding = format!("enabled={global}, defrag={defrag}; on: {on}");
    // Kernels before 6.8 have no folders of sizes: the one size follows `enabled`.
    let any = !sizes.is_empty() || global == "always" || global == "madvise";
    if any {
        return Check::ok(name, finding);
    }
    Check::warn(
        name,
        finding,
        format!(
            "nothing new becomes a huge page, so there is little to split; where they are wanted: \
             `echo madvise > {}`",
            host.sysfs.join(HUGE_PAGES).join("enabled").display()
        ),
    )
}

/// The sizes of huge pages that are on, as `64kB=always`.
fn sizes(host: &Host, global: &str) -> Vec<String> {
    let folders = names(&host.sysfs.join(HUGE_PAGES));
    let sizes = folders.iter().filter_map(|folder| {
        let size = folder.strip_prefix("hugepages-")?;
        let enabled = host.sys_text(&format!("{HUGE_PAGES}/{folder}/enabled"))?;
        let word = match chosen(&enabled)? {
            "inherit" => global,
            word => word,
        };
        (word != "never").then(|| format!("{size}={word}"))
    });
    sizes.collect()
}
