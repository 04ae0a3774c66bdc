//! Bytes whose end is the end of what is mapped: reading one byte too many is a fault, not luck.

use decoder::spe::Decoder;

/// A load as a Neoverse N1 writes it: 64 bytes.
const LOAD: [u8; 64] = [
    0xb0, 0x00, 0x10, 0x40, 0, 0, 0, 0, 0x80, 0x64, 0x92, 0x10, 0, 0, 0x49, 0x00, 0x52, 0x16, 0x00,
    0x99, 0x04, 0x00, 0x98, 0x14, 0x00, 0xb2, 0x28, 0x6b, 0x09, 0x03, 0x37, 0x0e, 0xff, 0x00, 0x9a,
    0x01, 0x00, 0xb3, 0x00, 0x70, 0x56, 0x34, 0x12, 0, 0, 0x80, 0x43, 0x00, 0, 0, 0, 0, 0, 0, 0,
    0x71, 0xe8, 0x03, 0, 0, 0, 0, 0, 0,
];

/// Two pages, the second of which nobody may touch.
struct Guarded {
    mapping: memmap2::MmapMut,
    page: usize,
}

impl Guarded {
    fn new() -> Self {
        let page = rustix::param::page_size();
        let mut mapping = memmap2::MmapMut::map_anon(2 * page).expect("two pages");
        // SAFETY: the second page is part of the mapping, and nothing refers to it: `at_end` gives
        // out the first one alone.
        let refused = unsafe {
            let second = mapping.as_mut_ptr().add(page);
            libc::mprotect(second.cast(), page, libc::PROT_NONE)
        };
        assert_eq!(refused, 0, "{}", std::io::Error::last_os_error());
        Self { mapping, page }
    }

    /// Puts `bytes` right before the second page.
    fn at_end(&mut self, bytes: &[u8]) -> &[u8] {
        let place = &mut self.mapping[self.page - bytes.len()..self.page];
        place.copy_from_slice(bytes);
        place
    }
}

#[test]
fn nothing_is_read_behind_the_end() {
    let mut guarded = Guarded::new();
    let whole = LOAD.repeat(12);
    for len in 0..=whole.len() {
        let bytes = guarded.at_end(&whole[..len]);
        for decoder in [Decoder::default(), Decoder::plain()] {
            // Once to learn the layout, then with its layout known.
            let mut decoder = decoder;
            let mut records = 0;
            decoder.feed(&whole, 0, &mut |_, _| records += 1);
            assert_eq!(records, 12);
            decoder.feed(bytes, whole.len() as u64, &mut |_, _| records += 1);
            assert_eq!(records, 12 + len / LOAD.len(), "{len} bytes");
        }
    }
}
