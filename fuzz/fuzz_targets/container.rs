//! Any bytes as a file, a stream and a folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::container(data));
