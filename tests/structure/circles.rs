//! No two files of a crate depend on each other by what they import or name, directly or by way of others: who reads one
//! needs to know only those that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::crate_files::{Crate, Module};

/// The first file of every library and program.
const CRATES: [&str; 11] = [
    "decoder/src/lib.rs",
    "feeder/src/lib.rs",
    "feeder/src/main.rs",
    "heatmap/cli/src/main.rs",
    "heatmap/client/src/lib.rs",
    "heatmap/report/src/lib.rs",
    "heatmap/service/src/lib.rs",
    "heatmap/src/lib.rs",
    "tests/spefeed/src/lib.rs",
    "tests/tracegen/src/lib.rs",
    "tests/verdict-over-time/src/lib.rs",
];

/// Everything that can be reached from a file.
fn reached<'a>(
    from: &'a Module,
    dependencies: &'a BTreeMap<Module, BTreeSet<Module>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut left = vec![from];
    while let Some(module) = left.pop() {
        left.extend(dependencies[module].iter().filter(|other| reached.insert(*other)));
    }
    reached
}

/// The dependencies that are part of a circle, a line for each.
fn circles(of: &Crate) -> Vec<String> {
    let dependencies = of.dependencies();
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        dependencies.keys().map(|module| (module, reached(module, &dependencies))).collect();
    let name = |module: &Module| match module.is_empty() {
        true => "the root".to_owned(),
        false => module.join("::"),
    };
    let edges = dependencies
        .iter()
        .flat_map(|(module, others)| others.iter().map(move |other| (module, other)));
    edges
        .filter(|(module, other)| reach[other].contains(module))
        .map(|(module, other)| format!("{} -> {}", name(module), name(other)))
        .collect()
}

#[test]
fn no_two_files_depend_on_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    for first in CRATES {
        let found = circles(&Crate::read(&root.join(first), &read));
        assert!(found.is_empty(), "{first}:\n{}", found.join("\n"));
    }
}

/// A crate of made files.
fn made(files: &[(&str, &str)]) -> Crate {
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| (*text).to_owned())
    };
    Crate::read(Path::new("lib.rs"), &read)
}

#[test]
fn circles_are_found() {
    let root = ("lib.rs", "mod a; mod b; pub use b::B;");
    let plain = [root, ("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A; pub struct B;")];
    assert_eq!(circles(&made(&plain)), ["a -> b", "b -> a"]);
    // By way of a table of contents, and by a path in the code.
    let around =
        [root, ("a.rs", "use crate::B;"), ("b.rs", "fn f() { super::a::g() } pub struct B;")];
    assert_eq!(circles(&made(&around)), ["a -> b", "b -> a"]);
    // A module and what is below it.
    let below = [
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b; use b::f; pub struct A;"),
        ("a/b.rs", "use super::A; pub fn f() {}"),
    ];
    assert_eq!(circles(&made(&below)), ["a -> a::b", "a::b -> a"]);
    // Of three.
    let three = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b;"),
        ("b.rs", "use crate::c;"),
        ("c.rs", "mod inner { use super::super::a; }"),
    ];
    assert_eq!(circles(&made(&three)), ["a -> b", "b -> c", "c -> a"]);
}

#[test]
fn what_is_no_circle_is_not_found() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"),
        ("b.rs", "use crate::A; use std::a::b; pub struct B; mod inner { use super::B; }"),
    ];
    assert_eq!(circles(&made(&files)), Vec::<String>::new());
}
