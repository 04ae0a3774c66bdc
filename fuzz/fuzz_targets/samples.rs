//! Sample records of any shape against a table of their fields.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::samples(data));
