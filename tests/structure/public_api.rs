//! What other crates can name of a library, but for what macros make, as a list that shows in a review when one comes or goes.

use std::path::Path;

use crate::crate_files::Crate;

/// The libraries that others may use.
const LIBRARIES: [(&str, &str); 2] =
    [("decoder", "decoder/src/lib.rs"), ("heatmap", "heatmap/src/lib.rs")];

#[test]
fn what_is_public_is_as_it_was() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    for (name, first) in LIBRARIES {
        let lines: Vec<_> = Crate::read(&root.join(first), &read).public().into_iter().collect();
        assert!(lines.len() > 20, "{name}: {lines:?}");
        insta::assert_snapshot!(name, lines.join("\n"));
    }
}
