//! Healthy SPE data against a decoder of a few lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::differential(data));
