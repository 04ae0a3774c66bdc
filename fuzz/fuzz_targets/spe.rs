//! Any bytes as the AUX data of one queue.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::spe(data));
