//! Mapped files, and what happens when one shrinks under its mapping.
//!
//! A read beyond the end of a mapped file is a SIGBUS. Each mapping is therefore known to a
//! signal handler that puts zero pages where the file no longer is and remembers that it did.
//! The decoder reads padding to its end, and [`Mapping::check`] then says what happened.
#![expect(unsafe_code, reason = "mapping memory and handling its faults; see each SAFETY comment")]

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use memmap2::Mmap;

use crate::Error;

/// A file in memory.
pub(crate) struct Mapping {
    file: File,
    map: Option<Mmap>,
    slot: Option<&'static Slot>,
    len: u64,
}

/// A mapped range that the handler may repair. Free if `len` is 0.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    len: AtomicUsize,
    faulted: AtomicBool,
}

/// Mappings that can be watched at one time.
const SLOTS: usize = 1024;

static WATCHED: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; SLOTS];

impl Mapping {
    /// Maps a regular file. `None` if there is no room for it, in the address space or among
    /// the mappings that are watched: then it can still be read.
    pub(crate) fn new(file: &File) -> Result<Option<Self>, Error> {
        let io = |source| Error::Io { action: "cannot open", source };
        let file = file.try_clone().map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        if len == 0 {
            return Ok(Some(Self { file, map: None, slot: None, len }));
        }
        install_handler();
        // SAFETY: `Mmap` is a `&[u8]` over memory that others can change: it asks that nobody
        // does. If another process writes to the file while it is read, the bytes change under
        // the decoder. That is no undefined behaviour in effect here, since the decoder takes
        // every byte as an untrusted claim, checks it where it uses it and never reads one
        // twice to rely on both being equal: the worst is a record read wrongly, as from a
        // damaged file. If the file is cut, reads behind its end fault; the slot below makes
        // the handler turn those into zeros.
        let Ok(map) = (unsafe { Mmap::map(&file) }) else { return Ok(None) };
        let Some(slot) = Slot::watch(&map) else { return Ok(None) };
        Ok(Some(Self { file, map: Some(map), slot: Some(slot), len }))
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Whether all bytes that were read were the file's.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let io = |source| Error::Io { action: "cannot read", source };
        let after = self.file.metadata().map_err(io)?.len();
        let faulted = self.slot.is_some_and(|slot| slot.faulted.load(Ordering::Acquire));
        if after < self.len {
            return Err(Error::Shrank { before: self.len, after });
        }
        if faulted {
            // A page that its disk or its memory could not give.
            return Err(io(std::io::Error::other("input/output error in mapped memory")));
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // The range is taken out before it is unmapped, so that the handler never repairs
            // memory that has become somebody else's.
            slot.len.store(0, Ordering::Release);
            self.map = None;
            slot.faulted.store(false, Ordering::Release);
            slot.taken.store(false, Ordering::Release);
        }
    }
}

impl Slot {
    fn watch(map: &Mmap) -> Option<&'static Self> {
        let slot = WATCHED.iter().find(|slot| !slot.taken.swap(true, Ordering::AcqRel))?;
        slot.start.store(map.as_ptr() as usize, Ordering::Release);
        slot.len.store(map.len(), Ordering::Release);
        Some(slot)
    }

    /// Whether the address lies in the watched range.
    fn holds(&self, address: usize) -> bool {
        let len = self.len.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Acquire);
        len > 0 && address >= start && address - start < len
    }
}

/// The handler is installed once, with the first mapping, and stays.
static INSTALL: Once = Once::new();
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(4096);
/// What was to be done before: faults that are not ours are left to it. It may be a handler of the program that uses this
/// library, or the one of Rust's runtime.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install_handler() {
    INSTALL.call_once(|| {
        PAGE_SIZE.store(rustix::param::page_size(), Ordering::Release);
        // SAFETY: `sigaction` reads the structure that its second argument points to and writes the one of its third, and
        // both live until the call returns; either may be null. All-zero bytes are a valid `sigaction`: an empty mask and no
        // flags. The handler has the signature that SA_SIGINFO asks for, and does only what is allowed in a handler: see
        // there. What was before is stored first, so that the handler finds it.
        unsafe {
            let mut before: libc::sigaction = core::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, core::ptr::null(), &raw mut before) == 0 {
                let _ = BEFORE.set(before);
            }
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = on_bus_error as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &raw const action, core::ptr::null_mut());
        }
    });
}

/// Puts a page of zeros where a watched file no longer is; leaves all other faults to the handler before.
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid `siginfo_t`, and for a SIGBUS of its own, whose code is above 0, its
    // address field is filled in.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // Somebody sent the signal: there is no address.
    let sent = code <= 0;
    let page = PAGE_SIZE.load(Ordering::Acquire);
    if let Some(slot) = WATCHED.iter().find(|slot| !sent && slot.holds(address)) {
        slot.faulted.store(true, Ordering::Release);
        // SAFETY: the page lies in a mapping that this process made and still holds: a slot's
        // length is set after mapping and cleared before unmapping. It is read-only memory
        // behind the end of a file, so that nothing is lost by replacing it, and MAP_FIXED
        // replaces just that page. mmap is a plain system call: it takes no lock and allocates
        // nothing in this process, and errno is put back, so it may run in a handler.
        unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            let mapped = libc::mmap(
                (address & !(page - 1)) as *mut libc::c_void,
                page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            );
            *errno = before;
            if mapped != libc::MAP_FAILED {
                return;
            }
        }
    }
    // A fault cannot be ignored, and a signal that was sent can.
    if sent && BEFORE.get().is_some_and(|before| before.sa_sigaction == libc::SIG_IGN) {
        return;
    }
    let before =
        BEFORE.get().filter(|it| ![libc::SIG_DFL, libc::SIG_IGN].contains(&it.sa_sigaction));
    if let Some(before) = before {
        // SAFETY: the address is that of a handler, since it is neither of the two that stand for none, and whoever installed
        // it promised the signature that its flags tell. It is called with what the kernel gave us.
        unsafe {
            if before.sa_flags & libc::SA_SIGINFO == 0 {
                let handler: extern "C" fn(libc::c_int) = core::mem::transmute(before.sa_sigaction);
                handler(signal);
            } else {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    core::mem::transmute(before.sa_sigaction);
                handler(signal, info, context);
            }
        }
        return;
    }
    // SAFETY: as in `install_handler`; SIG_DFL is a valid action, and `raise` may be called in a handler. The fault comes
    // again, or the signal is sent again, and ends the process as it would have without this handler.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGBUS, &raw const action, core::ptr::null_mut());
        if sent {
            libc::raise(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(len: usize) -> File {
        let path =
            std::env::temp_dir().join(format!("folioscope-mapping-{}-{len}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&vec![7; len]).unwrap();
        file
    }

    #[test]
    fn a_file_that_shrinks_reads_as_zeros_and_is_reported() {
        let file = file(300_000);
        let mapping = Mapping::new(&file).unwrap().unwrap();
        assert!(mapping.check().is_ok());
        file.set_len(100).unwrap();
        let sum: u64 = mapping.bytes().iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 700, "the rest of the first page is zeros too");
        let error = mapping.check().unwrap_err().to_string();
        assert!(error.contains("300000") && error.contains("100"), "{error}");
    }

    #[test]
    fn an_empty_file_and_one_that_stays() {
        let empty = Mapping::new(&file(0)).unwrap().unwrap();
        assert_eq!(empty.bytes(), b"");
        assert!(empty.check().is_ok());
        let whole = Mapping::new(&file(5000)).unwrap().unwrap();
        assert_eq!(whole.bytes(), [7; 5000]);
        assert!(whole.check().is_ok());
    }
}
