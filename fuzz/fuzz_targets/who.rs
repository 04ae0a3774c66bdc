//! Processes and threads, as the input tells their story.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::laws::who(data));
