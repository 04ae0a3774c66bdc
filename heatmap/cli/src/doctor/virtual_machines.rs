//! Virtual machines: whether this is one, and whether some run here, whose accesses no unit of the
//! host records but AMD's IBS.

use std::fs;
use std::path::Path;

use super::check::Check;
use super::event::Event;
use super::host::{Host, names, read};
use super::machine::Machine;
use super::units::Unit;

/// Descriptors of a process that are looked at; those of KVM are among the first that are opened.
const MAX_DESCRIPTORS: usize = 64;

/// Processes that are named.
const MAX_NAMED: usize = 4;

/// Both checks.
pub(super) fn checks(host: &Host, machine: &Machine, unit: Option<&Unit>) -> Vec<Check> {
    vec![guest(machine, unit), guests(host, unit)]
}

fn guest(machine: &Machine, unit: Option<&Unit>) -> Check {
    let name = "virtual_machine";
    let Some(evidence) = &machine.hypervisor else {
        return Check::ok(name, "no sign of a hypervisor below this kernel");
    };
    let finding = format!("this is one: {evidence}; addresses are those of its own memory");
    if unit.is_some_and(|unit| unit.event == Event::Spe) {
        return Check::warn(
            name,
            format!(
                "this is one: {evidence}; a hypervisor may withhold SPE's physical addresses, or \
                 pass on the host's, which mean nothing here"
            ),
            "record a second and see `folioscope report`: with no addresses, or with some beyond \
             this machine's memory, record on the host",
        );
    }
    let remedy = "to see the host's memory, run on the host";
    Check::warn(name, finding, remedy)
}

fn guests(host: &Host, unit: Option<&Unit>) -> Check {
    let name = "guests";
    let processes = names(&host.procfs);
    let mut processes = processes.iter().filter(|name| name.parse::<u32>().is_ok()).peekable();
    if processes.peek().is_none() {
        let finding = format!("processes cannot be listed in {}", host.procfs.display());
        return Check::warn(name, finding, "run as root, outside of a container");
    }
    let found: Vec<_> = processes.filter_map(|pid| runs_guest(host, pid)).collect();
    if found.is_empty() {
        return Check::ok(name, "no virtual machine runs here, as far as can be seen");
    }
    let mut named = found[..found.len().min(MAX_NAMED)].join(", ");
    if found.len() > MAX_NAMED {
        named += &format!(" and {} more", found.len() - MAX_NAMED);
    }
    if unit.is_some_and(|unit| unit.event == Event::Ibs) {
        return Check::warn(
            name,
            format!(
                "virtual machines run here ({named}): IBS samples them too; their accesses count \
                 where the hardware gives the physical address, and are left out where the kernel \
                 would look it up (guest_address)"
            ),
            "see in `folioscope report` how many accesses of guests were counted, and how many left \
             out",
        );
    }
    Check::warn(
        name,
        format!("virtual machines run here ({named}): what guests access is invisible"),
        "never take the memory of guests for cold or sparse; record inside the guests",
    )
}

/// How a process is called and numbered, if it runs a virtual machine.
fn runs_guest(host: &Host, pid: &str) -> Option<String> {
    let folder = host.procfs.join(pid);
    let comm = read(&folder.join("comm")).ok()?;
    let named = decoder::runs_guests(comm.as_bytes());
    (named || holds_guest(&folder)).then(|| format!("{comm} {pid}"))
}

/// Whether a process has opened KVM or holds a machine of it.
fn holds_guest(folder: &Path) -> bool {
    let descriptors = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
    descriptors.take(MAX_DESCRIPTORS).any(|descriptor| {
        fs::read_link(descriptor.path()).is_ok_and(|target| {
            target == Path::new("/dev/kvm") || target == Path::new("anon_inode:kvm-vm")
        })
    })
}
