//! Which crate may depend on which, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every package of the workspace, and those of the workspace that it depends on. Dependencies of tests do not count.
const MAY_KNOW: [(&str, &[&str]); 13] = [
    ("benches", &["folioscope-decoder", "heatmap", "tracegen"]),
    ("client", &["proto"]),
    ("folioscope-decoder", &[]),
    ("feeder", &["client", "folioscope-decoder", "heatmap", "proto"]),
    ("folioscope", &["client", "folioscope-decoder", "heatmap", "proto", "report", "service"]),
    ("heatmap", &["folioscope-decoder"]),
    ("proto", &[]),
    ("report", &["folioscope-decoder", "heatmap"]),
    ("service", &["client", "folioscope-decoder", "heatmap", "proto"]),
    ("spefeed", &[]),
    ("tests", &["folioscope-decoder", "heatmap", "report", "tracegen"]),
    ("tracegen", &[]),
    ("verdict-over-time", &["proto", "tracegen"]),
];

/// Packages that know nothing of networks.
const WITHOUT_NETWORK: [&str; 3] = ["folioscope-decoder", "heatmap", "report"];
/// Who knows a package whose name begins like this knows networks.
const NETWORK: [&str; 8] = ["axum", "http", "hyper", "prost", "rustls", "tokio", "tonic", "tower"];

/// Direct dependencies by package, and which packages the workspace has.
type Known = BTreeMap<String, BTreeSet<String>>;

/// What `cargo metadata` says.
pub(crate) fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Who depends on whom.
fn dependencies() -> Known {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    packages
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().expect("dependencies");
            let counted = all.iter().filter(|dependency| dependency["kind"] != "dev");
            (text(&package["name"]), counted.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

/// What is not as the table says, a line for each.
fn wrong(known: &Known) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = MAY_KNOW.into_iter().collect();
    let mut wrong = Vec::new();
    for (package, dependencies) in known {
        let Some(may) = table.get(package.as_str()) else {
            wrong.push(format!("{package} is not in the table"));
            continue;
        };
        for other in dependencies.iter().filter(|other| known.contains_key(*other)) {
            if !may.contains(&other.as_str()) {
                wrong.push(format!("{package} must not depend on {other}"));
            }
        }
        for other in may.iter().filter(|other| !dependencies.contains(**other)) {
            wrong.push(format!("{package} does not depend on {other}: take it out of the table"));
        }
        if WITHOUT_NETWORK.contains(&package.as_str()) {
            let network = |other: &&String| NETWORK.iter().any(|name| other.starts_with(name));
            let known = dependencies.iter().filter(network);
            wrong.extend(known.map(|other| format!("{package} must not depend on {other}")));
        }
    }
    let gone = table.keys().filter(|package| !known.contains_key(**package));
    wrong.extend(gone.map(|package| format!("there is no package {package}")));
    wrong
}

#[test]
fn dependencies_point_one_way() {
    assert_eq!(wrong(&dependencies()), Vec::<String>::new());
}

#[test]
fn a_forbidden_dependency_is_found() {
    for (package, other) in
        [("folioscope-decoder", "heatmap"), ("service", "report"), ("heatmap", "tokio")]
    {
        let mut known = dependencies();
        known.get_mut(package).expect("a package").insert(other.to_owned());
        assert_eq!(wrong(&known), [format!("{package} must not depend on {other}")]);
    }
}
