//! Any bytes as the Intel PT data of one queue.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::intel_pt(data));
