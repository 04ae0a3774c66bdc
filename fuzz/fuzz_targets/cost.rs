//! Steps of the decoder against the size of the input.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::cost(data));
