//! Tests of a program for another processor than this machine's, in an emulator.
//!
//! Two variables of the environment say so, for programs that tests start as for tests that run
//! in the emulator themselves:
//!
//! | variable | what |
//! | --- | --- |
//! | `FOLIOSCOPE_EMULATOR` | the emulator's command line, to which a program's path is added |
//! | `FOLIOSCOPE_PROGRAMS` | the folder of the programs that are started in it |
//!
//! A test that starts programs is not to run in an emulator itself: QEMU 7.2's user mode forks
//! with whatever locks its other threads hold, so that two of 3,206 children that were tried of a
//! process with threads hung before they were another program.

use std::ffi::OsString;
use std::io::Write;

/// The emulator's command line up to the program's path, where there is an emulator.
///
/// # Panics
/// If a variable is no text.
pub fn emulator() -> Option<Vec<String>> {
    let words = variable("FOLIOSCOPE_EMULATOR")?;
    Some(words.split_whitespace().map(str::to_owned).collect())
}

/// The folder of the programs to start, if it is not the one of the test itself.
///
/// # Panics
/// If a variable is no text.
pub fn programs() -> Option<std::path::PathBuf> {
    variable("FOLIOSCOPE_PROGRAMS").map(Into::into)
}

fn variable(name: &str) -> Option<String> {
    let text =
        |value: OsString| value.into_string().unwrap_or_else(|_| panic!("{name} is no text"));
    std::env::var_os(name).map(text)
}

/// Whether what is tested runs in an emulator, which is many times slower than the processor.
pub fn emulated() -> bool {
    emulator().is_some()
}

/// Takes every `step`-th case where an emulator would need too long for all of them, and says so.
///
/// # Panics
/// If standard error is closed, or `step` is 0.
pub fn thinned<T>(what: &str, cases: impl IntoIterator<Item = T>, step: usize) -> Vec<T> {
    let cases: Vec<T> = cases.into_iter().collect();
    if !emulated() {
        return cases;
    }
    let all = cases.len();
    let cases: Vec<T> = cases.into_iter().step_by(step).collect();
    // Not by a macro, whose output the test harness keeps to itself where a test passes.
    let said = writeln!(std::io::stderr(), "emulated: {} of {all} cases of {what}", cases.len());
    said.expect("standard error is open");
    cases
}
