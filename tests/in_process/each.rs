//! The short way into the decoder gives every access, in the order of the input.

use std::collections::BTreeMap;

use tests::inputs::{all, bytes, input};

/// What perf's own listing, or the maker of a trace, says of the pages: `0xPFN COUNT`, a line each.
fn truth(name: &str) -> BTreeMap<u64, u64> {
    let text = String::from_utf8(bytes(input(name).with_extension("pfncounts.txt")));
    let text = text.expect("text");
    let line = |line: &str| {
        let (pfn, count) = line.split_once(' ').expect("two columns");
        let pfn = pfn.strip_prefix("0x").expect("a hexadecimal number");
        (u64::from_str_radix(pfn, 16).expect("a number"), count.parse().expect("a number"))
    };
    text.lines().map(line).collect()
}

#[test]
fn every_access_is_given_in_order() {
    let mut accesses = 0;
    for name in all() {
        let mut pages: BTreeMap<u64, u64> = BTreeMap::new();
        let mut last = None;
        let recording = decoder::for_each_access(input(name), |access| {
            let position = access.origin.position;
            let at = (position.file, position.offset.0);
            // A record may be several samples.
            assert!(last <= Some(at), "{name}: {at:?} after {last:?}");
            last = Some(at);
            accesses += 1;
            if let Some(address) = access.paddr {
                *pages.entry(address.pfn().get()).or_default() += 1;
            }
        });
        let recording = recording.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!recording.sources.is_empty() || pages.is_empty(), "{name}");
        assert_eq!(pages, truth(name), "{name}");
    }
    assert!(accesses > 10_000, "{accesses}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let refused = decoder::for_each_access(env!("CARGO_MANIFEST_PATH"), |_| {});
    assert!(refused.is_err());
}
