//! SPE records of recurring layouts: recognised and walked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::layouts(data));
