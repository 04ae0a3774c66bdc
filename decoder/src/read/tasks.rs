//! What records of tasks say: who begins, ends, runs another program, and runs where.

use super::sample::Guest;
use super::session::Session;
use crate::cursor::Cursor;
use crate::perf::auxtrace::known;
use crate::perf::record::{MISC_COMM_EXEC, MISC_SWITCH_OUT, Record, kind};
use crate::perf::{Sign, Task, Trailer};

impl Session {
    /// The process that begins with a record, or runs another program from there on.
    pub(super) fn begins(&self, record: &Record<'_>) -> Option<u32> {
        let mut words = Cursor::new(record.body, self.order);
        let pid = words.u32().and_then(known);
        match record.kind {
            kind::COMM if record.misc & MISC_COMM_EXEC != 0 => pid,
            // Else a thread begins.
            kind::FORK => pid.filter(|pid| words.u32() != Some(*pid)),
            _ => None,
        }
    }

    /// Learns what a record of the kernel's says of threads. Each names the one that ran when it was
    /// written; some name others, or say what the thread begins or ends. `None` if it is too short.
    pub(super) fn tasks(&mut self, record: &Record<'_>) -> Option<()> {
        // Numbers inside of a guest are not those of the host.
        if self.guest(record) != Guest::No {
            return Some(());
        }
        let body = record.body;
        let mut words = Cursor::new(body, self.order);
        let trailer = self.trailer(body).unwrap_or_default();
        let own = trailer.pid_tid.and_then(|(pid, tid)| self::task(pid, tid));
        let time = trailer.time.unwrap_or(0);
        self.thread(own, time, Sign::Seen);
        match record.kind {
            kind::COMM | kind::MMAP | kind::MMAP2 => {
                let execed = record.kind == kind::COMM && record.misc & MISC_COMM_EXEC != 0;
                let sign = if execed { Sign::Execed } else { Sign::Seen };
                self.thread(task(words.u32()?, words.u32()?), time, sign);
            }
            kind::FORK | kind::EXIT => {
                let (pid, _parent, tid) = (words.u32()?, words.u32()?, words.u32()?);
                let _parents_thread = words.u32();
                let time = words.u64().unwrap_or(time);
                // perf writes such records for threads that were there before it.
                let sign = match record.kind {
                    kind::EXIT => Sign::Ended,
                    _ if time == 0 => Sign::Seen,
                    _ => Sign::Born,
                };
                self.thread(task(pid, tid), time, sign);
            }
            kind::ITRACE_START => {
                let task = task(words.u32()?, words.u32()?);
                self.thread(task, time, Sign::Seen);
                self.switch(trailer, task);
            }
            // Going out to a task that the record does not name, or coming in.
            kind::SWITCH => {
                let out = record.misc & MISC_SWITCH_OUT != 0;
                self.switch(trailer, own.filter(|_| !out));
            }
            // Going out to the named task, or coming in after it.
            kind::SWITCH_CPU_WIDE => {
                let out = record.misc & MISC_SWITCH_OUT != 0;
                let other = task(words.u32()?, words.u32()?);
                self.thread(other, time, Sign::Seen);
                self.switch(trailer, if out { other } else { own });
            }
            _ => {}
        }
        Some(())
    }

    pub(super) fn thread(&mut self, task: Option<Task>, time: u64, sign: Sign) {
        if let Some(task) = task {
            self.sideband.thread(task, time, sign);
        }
    }

    /// Learns which task a CPU runs from the time of a record on.
    pub(super) fn switch(&mut self, trailer: Trailer, task: Option<Task>) {
        if let Trailer { time: Some(time), cpu: Some(cpu), .. } = trailer {
            self.sideband.switch(cpu, time, task);
        }
    }

    /// Whether a record of the kernel's is of a guest: by the mode of the processor, or by its
    /// event, if that was recorded inside of one.
    pub(super) fn guest(&self, record: &Record<'_>) -> Guest {
        if self.events.is_inside_guest(record, self.order) {
            Guest::Inside
        } else if record.is_of_guest() {
            Guest::Sampled
        } else {
            Guest::No
        }
    }

    pub(super) fn comm(&mut self, mut words: Cursor<'_>) -> Option<()> {
        let (_pid, _tid) = (words.u32()?, words.u32()?);
        let name = words.rest().split(|byte| *byte == 0).next().unwrap_or_default();
        if self.hypervisor.is_none() && runs_guests(name) {
            self.hypervisor = Some(String::from_utf8_lossy(name).into_owned());
        }
        Some(())
    }
}

/// A task, unless the kernel says -1: it is gone, or was never one.
pub(super) fn task(pid: u32, tid: u32) -> Option<Task> {
    Some(Task { pid: known(pid)?, tid: known(tid)? })
}

/// Whether a task's name, of at most 15 bytes as the kernel keeps it, is one of a program that
/// runs virtual machines.
pub fn runs_guests(comm: &[u8]) -> bool {
    const NAMES: [&[u8]; 2] = [b"qemu", b"kvm"];
    // QEMU is also called as the distribution or libvirt ("qemu:NAME") wants. Its emulators of
    // single programs ("qemu-aarch64") and its tools ("qemu-img") run no guest.
    const BEGINNINGS: [&[u8]; 10] = [
        b"qemu-system",
        b"qemu-kvm",
        b"qemu-dm",
        b"qemu-lite",
        b"qemu:",
        b"vhost-",
        b"firecracker",
        b"cloud-hyperviso",
        b"crosvm",
        b"kvm-",
    ];
    // QEMU names the threads of its virtual CPUs "CPU 0/KVM".
    comm.ends_with(b"/KVM")
        || NAMES.contains(&comm)
        || BEGINNINGS.iter().any(|beginning| comm.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_run_guests_are_told_from_those_that_emulate_one_program() {
        for comm in [
            "qemu",
            "qemu-system-x86",
            "qemu-system-aar",
            "qemu-kvm",
            "qemu-dm",
            "qemu-lite-syste",
            "qemu:my-guest",
            "CPU 0/KVM",
            "CPU 12/KVM",
            "vhost-4711",
            "kvm",
            "kvm-nx-lpage-re",
            "firecracker",
            "cloud-hyperviso",
            "crosvm",
        ] {
            assert!(runs_guests(comm.as_bytes()), "{comm}");
        }
        for comm in [
            "qemu-aarch64",
            "qemu-aarch64-st",
            "qemu-x86_64",
            "qemu-arm",
            "qemu-s390x-stat",
            "qemu-img",
            "qemu-nbd",
            "qemu-ga",
            "my-qemu-notes",
            "kvmtop",
            "bash",
            "",
        ] {
            assert!(!runs_guests(comm.as_bytes()), "{comm}");
        }
    }
}
