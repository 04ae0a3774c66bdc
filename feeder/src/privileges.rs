//! What the feeder may do: what its sink needs and no more, for good and for all that it starts.
//!
//! The kernel's files belong to root: who is root and has no capability can write them, and can do
//! little else. Capabilities: capabilities(7).

use anyhow::{Context, ensure};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// Why a capability is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Files and sockets that do not belong to this user: `CAP_DAC_OVERRIDE`.
    FilesOfOthers,
    /// The page frames of a process, and who it belongs to: `CAP_SYS_ADMIN`, `CAP_SYS_PTRACE`.
    PageFramesOfProcesses,
}

impl Need {
    const fn set(self) -> CapabilitySet {
        match self {
            Self::FilesOfOthers => CapabilitySet::DAC_OVERRIDE,
            Self::PageFramesOfProcesses => {
                CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_PTRACE)
            }
        }
    }
}

/// Gives up every capability but those needed, in this thread and in all that come from it: to be
/// called before others are started. Gives those that were kept, by name.
///
/// # Errors
/// One that nothing can be done without is missing, or the kernel takes none back.
pub fn keep_only(needs: &[Need]) -> anyhow::Result<String> {
    let needed = needs.iter().fold(CapabilitySet::empty(), |all, need| all | need.set());
    let had = capabilities(None).context("cannot read the capabilities of this process")?;
    if needs.contains(&Need::PageFramesOfProcesses) {
        ensure!(
            had.permitted.contains(CapabilitySet::SYS_ADMIN),
            "the page frames of a process are shown to those alone who have CAP_SYS_ADMIN, which is \
             missing: start this as root"
        );
    }
    // Root gets all capabilities of this set back when it starts a program.
    if had.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter().filter(|one| !needed.contains(*one)) {
            // One that this kernel does not know cannot be had either.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let kept = had.permitted & needed;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("cannot give capabilities up")?;
    set_no_new_privs(true).context("cannot do without new privileges")?;
    let names: Vec<_> = kept.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}
