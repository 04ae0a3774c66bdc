//! Writes recordings whose content is known by construction.
fn main() {}
