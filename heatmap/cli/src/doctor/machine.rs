//! What several checks need to know of the host.

use heatmap::PageSize;

use super::host::Host;

/// Who made the processor, which decides what unit it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Arm's architecture, whoever built it: Arm SPE.
    Arm,
    /// PEBS.
    Intel,
    /// IBS.
    Amd,
    /// No unit is known.
    Other,
}

/// What several checks need to know of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Who made the processor.
    pub maker: Maker,
    /// CPUs that are online; 1 where the kernel does not say.
    pub cpus: u64,
    /// The kernel's base page, unless it does not say.
    pub page_size: Option<PageSize>,
    /// The kernel's release, as `uname -r` says it.
    pub release: Option<String>,
    /// What shows that a hypervisor is below this kernel.
    pub hypervisor: Option<String>,
}

impl Machine {
    /// Asks the files.
    pub fn of(host: &Host) -> Self {
        let cpuinfo = host.proc_text("cpuinfo").unwrap_or_default();
        Self {
            maker: maker(&cpuinfo),
            cpus: host.numbers("devices/system/cpu/online").map_or(1, |cpus| cpus.count().max(1)),
            page_size: page_size(&host.proc_text("self/smaps").unwrap_or_default()),
            release: host.proc_text("sys/kernel/osrelease"),
            hypervisor: hypervisor(host, &cpuinfo),
        }
    }
}

fn maker(cpuinfo: &str) -> Maker {
    let line = |name: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.trim_end() == name).map(|(_, value)| value.trim())
    };
    match line("vendor_id") {
        Some("GenuineIntel") => Maker::Intel,
        Some("AuthenticAMD" | "HygonGenuine") => Maker::Amd,
        _ if line("CPU implementer").is_some() => Maker::Arm,
        _ => Maker::Other,
    }
}

/// From `/proc/self/smaps`, where the mapping of a program's own file stands first.
fn page_size(smaps: &str) -> Option<PageSize> {
    let size = smaps.lines().find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    let kib: u64 = size.trim().strip_suffix(" kB")?.parse().ok()?;
    format!("{kib}KiB").parse().ok()
}

/// What shows that a hypervisor is below this kernel; in the order of certainty.
fn hypervisor(host: &Host, cpuinfo: &str) -> Option<String> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    if flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")) {
        return Some("the processor's flags name a hypervisor".to_owned());
    }
    if let Some(kind) = host.sys_text("hypervisor/type").filter(|kind| !kind.is_empty()) {
        return Some(format!("hypervisor/type is {kind}"));
    }
    if let Some(tree) = host.proc_text("device-tree/hypervisor/compatible") {
        return Some(format!("the device tree names {}", tree.trim_end_matches('\0')));
    }
    firmware(host)
}

/// What firmware of hypervisors calls itself. Clouds call their machines without a hypervisor
/// "metal".
fn firmware(host: &Host) -> Option<String> {
    const VENDORS: [&str; 8] = [
        "QEMU",
        "KVM",
        "VMware",
        "Amazon EC2",
        "Xen",
        "Parallels",
        "BHYVE",
        "Apple Virtualization",
    ];
    let vendor = host.sys_text("class/dmi/id/sys_vendor").unwrap_or_default();
    let product = host.sys_text("class/dmi/id/product_name").unwrap_or_default();
    let known = VENDORS.iter().any(|name| vendor.starts_with(name))
        || ["Virtual Machine", "Virtual Platform", "Google Compute Engine"]
            .iter()
            .any(|name| product.contains(name));
    let metal = product.contains("metal");
    (known && !metal)
        .then(|| format!("the firmware is of {vendor} {product}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers() {
        let cases = [
            ("processor\t: 0\nvendor_id\t: GenuineIntel\n", Maker::Intel),
            ("vendor_id\t: AuthenticAMD\n", Maker::Amd),
            ("processor\t: 0\nCPU implementer\t: 0x41\n", Maker::Arm),
            ("vendor_id       : IBM/S390\n", Maker::Other),
            ("", Maker::Other),
        ];
        for (text, want) in cases {
            assert_eq!(maker(text), want, "{text}");
        }
    }

    #[test]
    fn page_sizes() {
        let size = |text| page_size(text).map(|size| size.to_string());
        assert_eq!(size("0-1 r-xp\nKernelPageSize:        4 kB\n").as_deref(), Some("4 KiB"));
        assert_eq!(size("KernelPageSize:       64 kB\n").as_deref(), Some("64 KiB"));
        for bad in ["", "KernelPageSize:", "KernelPageSize: 5 kB", "KernelPageSize: x kB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
