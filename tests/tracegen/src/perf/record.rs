//! Records that the kernel writes (`enum perf_event_type`), all but samples.

use super::attr::sample_type as st;
use crate::bytes::{Endian, align};

/// Record types below 64.
pub mod kind {
    /// Lost records.
    pub const LOST: u32 = 2;
    /// A task's name.
    pub const COMM: u32 = 3;
    /// End of a task.
    pub const EXIT: u32 = 4;
    /// Sampling stops until the next tick.
    pub const THROTTLE: u32 = 5;
    /// A new task.
    pub const FORK: u32 = 7;
    /// A sample.
    pub const SAMPLE: u32 = 9;
    /// A mapping.
    pub const MMAP2: u32 = 10;
    /// New data in an AUX area.
    pub const AUX: u32 = 11;
    /// Who ran when tracing started.
    pub const ITRACE_START: u32 = 12;
    /// Samples that were dropped.
    pub const LOST_SAMPLES: u32 = 13;
    /// A task comes in or goes out.
    pub const SWITCH: u32 = 14;
    /// A task switch on a CPU.
    pub const SWITCH_CPU_WIDE: u32 = 15;
    /// Which counter an event has whose samples go into AUX data.
    pub const AUX_OUTPUT_HW_ID: u32 = 21;
}

/// Flags of an AUX record.
pub mod aux_flag {
    /// Data was lost behind this piece.
    pub const TRUNCATED: u64 = 0x01;
    /// From a ring that overwrites.
    pub const OVERWRITE: u64 = 0x02;
    /// The last record may be incomplete.
    pub const PARTIAL: u64 = 0x04;
    /// At least one sample was dropped.
    pub const COLLISION: u64 = 0x08;
}

/// Appends one record: the header with its size, and what `body` writes.
///
/// # Panics
///
/// If the record is longer than the 16-bit size field can say.
pub fn write(
    out: &mut Vec<u8>,
    endian: Endian,
    kind: u32,
    misc: u16,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    endian.u32(out, kind);
    endian.u16(out, misc);
    endian.u16(out, 0);
    body(out);
    let size = u16::try_from(out.len() - start).expect("a record is shorter than 64 KiB");
    let size = match endian {
        Endian::Little => size.to_le_bytes(),
        Endian::Big => size.to_be_bytes(),
    };
    out[start + 6..start + 8].copy_from_slice(&size);
}

/// Who, when and where: the fields behind every record but a sample (`sample_id_all`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Time in ns.
    pub time: u64,
    /// Id of the event.
    pub id: u64,
    /// CPU.
    pub cpu: u32,
}

impl Trailer {
    /// Appends the fields that `sample_type` has, in the order TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER.
    pub fn write(&self, endian: Endian, sample_type: u64, out: &mut Vec<u8>) {
        if sample_type & st::TID != 0 {
            endian.u32(out, self.pid);
            endian.u32(out, self.tid);
        }
        if sample_type & st::TIME != 0 {
            endian.u64(out, self.time);
        }
        if sample_type & st::ID != 0 {
            endian.u64(out, self.id);
        }
        if sample_type & st::STREAM_ID != 0 {
            endian.u64(out, self.id);
        }
        if sample_type & st::CPU != 0 {
            endian.u32(out, self.cpu);
            endian.u32(out, 0);
        }
        if sample_type & st::IDENTIFIER != 0 {
            endian.u64(out, self.id);
        }
    }
}

/// A side-band record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Sampling of an event stops until the next tick.
    Throttle {
        /// Nanoseconds.
        time: u64,
        /// The event's id.
        id: u64,
    },
    /// A task's name.
    Comm {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
        /// The name, at most 15 bytes on Linux.
        comm: &'a str,
        /// By exec.
        exec: bool,
    },
    /// A new task.
    Fork {
        /// Process.
        pid: u32,
        /// Parent process.
        ppid: u32,
        /// Thread.
        tid: u32,
        /// Parent thread.
        ptid: u32,
        /// Time in ns.
        time: u64,
    },
    /// The end of a task.
    Exit {
        /// Process.
        pid: u32,
        /// Parent process.
        ppid: u32,
        /// Thread.
        tid: u32,
        /// Parent thread.
        ptid: u32,
        /// Time in ns.
        time: u64,
    },
    /// A mapping.
    Mmap2 {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
        /// First address.
        addr: u64,
        /// Length in bytes.
        len: u64,
        /// Offset in the file, in bytes.
        pgoff: u64,
        /// Read 1, write 2, execute 4.
        prot: u32,
        /// The file, or `//anon`.
        name: &'a str,
    },
    /// New data in an AUX area.
    Aux {
        /// Where it starts in the ring's running count.
        offset: u64,
        /// How many bytes.
        size: u64,
        /// See [`aux_flag`].
        flags: u64,
    },
    /// Who ran when tracing started.
    ItraceStart {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
    },
    /// The task of the trailer leaves or enters a CPU.
    Switch {
        /// Leaves; else enters.
        out: bool,
    },
    /// A task leaves or enters a CPU.
    SwitchCpuWide {
        /// Leaves; else enters.
        out: bool,
        /// The next task's process if it leaves, else the previous one's.
        pid: u32,
        /// The same, thread.
        tid: u32,
    },
    /// The event of the trailer's id has this counter from now on.
    AuxOutputHwId {
        /// The counter.
        number: u64,
    },
    /// Records were lost.
    Lost {
        /// Id of the event.
        id: u64,
        /// How many.
        lost: u64,
    },
    /// Samples were dropped.
    LostSamples {
        /// How many.
        lost: u64,
        /// By a BPF filter, so on purpose.
        bpf: bool,
    },
}

fn text(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    align(out, 8);
}

impl Record<'_> {
    const fn kind(&self) -> u32 {
        match self {
            Self::Comm { .. } => kind::COMM,
            Self::Fork { .. } => kind::FORK,
            Self::Exit { .. } => kind::EXIT,
            Self::Mmap2 { .. } => kind::MMAP2,
            Self::Aux { .. } => kind::AUX,
            Self::ItraceStart { .. } => kind::ITRACE_START,
            Self::Switch { .. } => kind::SWITCH,
            Self::SwitchCpuWide { .. } => kind::SWITCH_CPU_WIDE,
            Self::AuxOutputHwId { .. } => kind::AUX_OUTPUT_HW_ID,
            Self::Lost { .. } => kind::LOST,
            Self::Throttle { .. } => kind::THROTTLE,
            Self::LostSamples { .. } => kind::LOST_SAMPLES,
        }
    }

    /// Bits 2:0 say kernel (1) or user (2) where perf looks at them; bit 13 is exec or "switch out"; bit 15 of
    /// LOST_SAMPLES says BPF.
    const fn misc(&self) -> u16 {
        match self {
            Self::Comm { exec: true, .. }
            | Self::Switch { out: true }
            | Self::SwitchCpuWide { out: true, .. } => 0x2000,
            Self::Mmap2 { .. } => 2,
            Self::LostSamples { bpf: true, .. } => 0x8000,
            _ => 0,
        }
    }

    /// Appends the record with its trailer. `out` must be empty or hold whole records.
    pub fn write(&self, out: &mut Vec<u8>, endian: Endian, sample_type: u64, trailer: &Trailer) {
        write(out, endian, self.kind(), self.misc(), |out| {
            self.body(endian, out);
            trailer.write(endian, sample_type, out);
        });
    }

    fn body(&self, endian: Endian, out: &mut Vec<u8>) {
        match *self {
            Self::Comm { pid, tid, comm, .. } => {
                endian.u32(out, pid);
                endian.u32(out, tid);
                text(out, comm);
            }
            Self::Fork { pid, ppid, tid, ptid, time }
            | Self::Exit { pid, ppid, tid, ptid, time } => {
                for task in [pid, ppid, tid, ptid] {
                    endian.u32(out, task);
                }
                endian.u64(out, time);
            }
            Self::Mmap2 { pid, tid, addr, len, pgoff, prot, name } => {
                endian.u32(out, pid);
                endian.u32(out, tid);
                endian.u64(out, addr);
                endian.u64(out, len);
                endian.u64(out, pgoff);
                endian.u32(out, 8); // major
                endian.u32(out, 1); // minor
                endian.u64(out, 99); // inode
                endian.u64(out, 0); // inode generation
                endian.u32(out, prot);
                endian.u32(out, 2); // MAP_PRIVATE
                text(out, name);
            }
            Self::Aux { offset, size, flags } => {
                endian.u64(out, offset);
                endian.u64(out, size);
                endian.u64(out, flags);
            }
            Self::ItraceStart { pid, tid } | Self::SwitchCpuWide { pid, tid, .. } => {
                endian.u32(out, pid);
                endian.u32(out, tid);
            }
            Self::Switch { .. } => {}
            Self::Throttle { time, id } => {
                [time, id, id].iter().for_each(|word| endian.u64(out, *word))
            }
            Self::Lost { id, lost } => {
                endian.u64(out, id);
                endian.u64(out, lost);
            }
            Self::AuxOutputHwId { number } => endian.u64(out, number),
            Self::LostSamples { lost, .. } => endian.u64(out, lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE_TYPE: u64 = st::IDENTIFIER | st::IP | st::TID | st::TIME | st::CPU;

    #[test]
    fn aux_with_trailer() {
        let mut out = Vec::new();
        let trailer = Trailer { pid: 1, tid: 2, time: 3, id: 100, cpu: 5 };
        Record::Aux { offset: 0x1000, size: 0x40, flags: aux_flag::TRUNCATED }.write(
            &mut out,
            Endian::Little,
            SAMPLE_TYPE,
            &trailer,
        );
        #[rustfmt::skip]
        let want = [
            11, 0, 0, 0, 0, 0, 0x40, 0,
            0, 0x10, 0, 0, 0, 0, 0, 0,
            0x40, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, 0, 0, 0, 0,
            1, 0, 0, 0, 2, 0, 0, 0,
            3, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 0, 0, 0, 0, 0, 0,
            100, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(out, want);
    }

    #[test]
    fn comm_of_a_big_endian_machine() {
        let mut out = Vec::new();
        let comm = Record::Comm { pid: 4242, tid: 4243, comm: "spetest", exec: true };
        comm.write(&mut out, Endian::Big, 0, &Trailer::default());
        let want = [0, 0, 0, 3, 0x20, 0, 0, 24, 0, 0, 0x10, 0x92, 0, 0, 0x10, 0x93];
        assert_eq!(out[..16], want);
        assert_eq!(&out[16..], b"spetest\0");
    }
}
