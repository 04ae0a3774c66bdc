//! Opening events, and telling them what to do: the system call `perf_event_open(2)` and its
//! ioctls.
#![expect(unsafe_code, reason = "system calls without a safe form; see each SAFETY comment")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use perf_event_open_sys::bindings::{PERF_FLAG_FD_CLOEXEC, perf_event_attr as Attr};
use perf_event_open_sys::{ioctls, perf_event_open};

use super::event::Setup;

impl Setup {
    /// Adds bits to `config1`, which a breakpoint's address shares.
    pub(in crate::live) fn or_config1(&mut self, bits: u64) {
        // SAFETY: both fields of the union are `u64`, of which every value is one; all of an
        // attribute is initialised, by `Attr::default`.
        let before = unsafe { self.attr.__bindgen_anon_3.config1 };
        self.attr.__bindgen_anon_3.config1 = before | bits;
    }

    /// Adds bits to `config2`, which a breakpoint's length shares.
    pub(in crate::live) fn or_config2(&mut self, bits: u64) {
        // SAFETY: as in `or_config1`.
        let before = unsafe { self.attr.__bindgen_anon_4.config2 };
        self.attr.__bindgen_anon_4.config2 = before | bits;
    }
}

/// The attribute with this period.
fn with_period(attr: &Attr, period: u64) -> Attr {
    let mut attr = *attr;
    attr.__bindgen_anon_1.sample_period = period;
    attr
}

/// The bytes of an attribute with this period, as many as it says that it has.
pub(in crate::live) fn attr_bytes(attr: &Attr, period: u64) -> Vec<u8> {
    let attr = with_period(attr, period);
    let size = usize::try_from(attr.size).unwrap_or(0).min(size_of::<Attr>());
    // SAFETY: the slice covers no more than the structure, which lives longer. It is `repr(C)`,
    // its fields follow each other without padding (the bindings check size and offsets), and all
    // of it is initialised: `Attr::default` zeroes every byte.
    let bytes = unsafe { core::slice::from_raw_parts((&raw const attr).cast::<u8>(), size) };
    bytes.to_vec()
}

/// Opens an event for a thread (-1: all) on a CPU.
pub(in crate::live) fn open(
    setup: &Setup,
    pid: i32,
    cpu: u32,
    leader: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let cpu = i32::try_from(cpu).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut attr = with_period(&setup.attr, setup.period);
    let group = leader.map_or(-1, |leader| leader.as_raw_fd());
    // SAFETY: the kernel reads as many bytes as the attribute says that it has, which `Setup` keeps
    // at most those of the structure, and may write its `size`; it lives until the call returns.
    let fd =
        unsafe { perf_event_open(&raw mut attr, pid, cpu, group, u64::from(PERF_FLAG_FD_CLOEXEC)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so that this is a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a call succeeded.
fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets an event count.
pub(in crate::live) fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed; the argument is a number.
    checked(unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) })
}

/// Stops an event. What its unit has written is published before this returns.
pub(in crate::live) fn disable(event: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: as in `enable`.
    checked(unsafe { ioctls::DISABLE(event.as_raw_fd(), 0) })
}

/// Has an event write into the rings of another one of its CPU.
pub(in crate::live) fn write_into(event: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: as in `enable`; the other descriptor is open too.
    checked(unsafe { ioctls::SET_OUTPUT(event.as_raw_fd(), other.as_raw_fd()) })
}

/// The number by which an event's records name it.
pub(in crate::live) fn id(event: BorrowedFd<'_>) -> io::Result<u64> {
    let mut id = 0;
    // SAFETY: as in `enable`; the kernel writes a `u64` to where the argument points, which lives
    // until the call returns.
    checked(unsafe { ioctls::ID(event.as_raw_fd(), &raw mut id) })?;
    Ok(id)
}

/// Changes an event's period.
pub(in crate::live) fn set_period(event: BorrowedFd<'_>, period: u64) -> io::Result<()> {
    // The kernel reads the period from memory, although the bindings say that it is the argument.
    let pointer = &raw const period;
    // SAFETY: as in `enable`; the kernel reads a `u64` from where the argument points, which lives
    // until the call returns.
    checked(unsafe { ioctls::PERIOD(event.as_raw_fd(), pointer as u64) })
}
