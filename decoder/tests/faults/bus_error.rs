//! A program that uses the decoder keeps its own handler of SIGBUS: it gets the faults that are not the decoder's.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The page that the program lost itself, and how often its handler was called for it.
static LOST: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);
const PAGE: usize = 4096;

/// The program's handler: puts a page of zeros where its own is lost.
extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` where SA_SIGINFO is set, as the caller must that stands between.
    let address = unsafe { (*info).si_addr() } as usize;
    let lost = LOST.load(Ordering::SeqCst);
    if !(lost..lost + PAGE).contains(&address) {
        std::process::abort();
    }
    CALLS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the page is one that this test mapped and lost.
    unsafe {
        libc::mmap(
            lost as *mut libc::c_void,
            PAGE,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        );
    }
}

#[test]
fn faults_of_others_reach_the_handler_that_was_there_before() {
    // SAFETY: both structures live until the calls return; the handler has the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(libc::SIGBUS, &raw const action, core::ptr::null_mut()), 0);
    }
    // The decoder maps this file and installs its handler.
    let (bytes, _) =
        tracegen::to_bytes(&tracegen::Config { records: 10, ..tracegen::Config::default() })
            .expect("the configuration is right");
    let mut recording = tempfile::NamedTempFile::new().expect("a file");
    recording.write_all(&bytes).expect("there is room");
    let mut accesses = 0;
    decoder::for_each_access(recording.path(), |_| accesses += 1).expect("it is a recording");
    assert!(accesses > 0);
    // SAFETY: the structure lives until the call returns, and all-zero bytes are a valid one.
    let now = unsafe {
        let mut now: libc::sigaction = core::mem::zeroed();
        assert_eq!(libc::sigaction(libc::SIGBUS, core::ptr::null(), &raw mut now), 0);
        now.sa_sigaction
    };
    assert_ne!(now, on_bus_error as *const () as usize, "the decoder's handler stands before it");

    // A mapping of the program's own loses its page.
    let file = tempfile::tempfile().expect("a file");
    file.set_len(PAGE as u64).expect("there is room");
    // SAFETY: nobody else has the file.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("it can be mapped");
    LOST.store(map.as_ptr() as usize, Ordering::SeqCst);
    file.set_len(0).expect("it can be cut");
    assert_eq!((map[17], CALLS.load(Ordering::SeqCst)), (0, 1));
}
