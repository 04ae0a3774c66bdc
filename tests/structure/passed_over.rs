//! Do all tests and all examples in comments run? What has none says so (`test = false`, `doctest = false`), which spares
//! building it once more.

use std::path::{Path, PathBuf};

use crate::crate_files::rust_files;
use crate::layers::metadata;

/// Lines that open a block of code which `cargo test` would run.
fn examples(source: &str) -> Vec<usize> {
    let mut inside = false;
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let Some(comment) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            inside = false;
            continue;
        };
        if let Some(kind) = comment.trim_start().strip_prefix("```") {
            let runs = !inside && kind.trim() != "text";
            found.extend(runs.then_some(number + 1));
            inside = !inside;
        }
    }
    found
}

#[test]
fn no_example_is_passed_over() {
    let metadata = metadata();
    let mut libraries = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        for target in package["targets"].as_array().expect("targets") {
            let is_library =
                target["kind"].as_array().is_some_and(|kind| kind.iter().any(|kind| kind == "lib"));
            if !is_library || target["doctest"] != false {
                continue;
            }
            libraries += 1;
            let root = Path::new(target["src_path"].as_str().expect("a path"));
            for file in rust_files(root.parent().expect("a folder")) {
                let found = examples(&std::fs::read_to_string(&file).expect("text"));
                assert!(found.is_empty(), "{}: {found:?}", file.display());
            }
        }
    }
    assert!(libraries > 0, "this test looks at something");
}

/// The files of a crate whose root is `root`: itself, and its modules next to it.
fn files_of_modules(root: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(root).expect("text");
    let mut files = vec![root.to_owned()];
    for line in text.lines() {
        let module = line.trim_start_matches("pub ").strip_prefix("mod ");
        if let Some(name) = module.and_then(|line| line.strip_suffix(';')) {
            let folder = root.with_file_name(name);
            let file = folder.with_extension("rs");
            files.extend(file.exists().then_some(file));
            files.extend(if folder.is_dir() { rust_files(&folder) } else { Vec::new() });
        }
    }
    files
}

#[test]
fn no_test_is_passed_over() {
    let metadata = metadata();
    let mut looked_at = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        for target in package["targets"].as_array().expect("targets") {
            let holds = |kind: &serde_json::Value| kind == "lib" || kind == "bin";
            let is_code = target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(holds));
            if !is_code || target["test"] != false {
                continue;
            }
            for file in files_of_modules(Path::new(target["src_path"].as_str().expect("a path"))) {
                let text = std::fs::read_to_string(&file).expect("text");
                assert!(!text.contains("#[test]"), "{}", file.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 2, "this test looks at something");
}

#[test]
fn an_example_is_found() {
    let text = "/// ```text\n/// a -> b\n/// ```\nfn a() {}\n";
    assert!(examples(text).is_empty());
    let code = "//! Say:\n//! ```\n//! a();\n//! ```\n/// ```no_run\n/// b();\n/// ```\n";
    assert_eq!(examples(code), [2, 5]);
}
