//! Any bytes as a raw PEBS buffer, in every format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::pebs(data));
