//! A report against the records that it sums up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::summary(data));
