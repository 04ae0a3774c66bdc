//! Any bytes as the registers of an IBS op.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::ibs(data));
