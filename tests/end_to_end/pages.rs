//! `pages` against the frame counts of the recorded workloads and of the made traces.

use tests::inputs::{all, bytes, input};

use crate::program::folioscope;

#[test]
fn counts_are_those_that_are_known() {
    for name in all() {
        let path = input(name);
        let want = String::from_utf8(bytes(path.with_extension("pfncounts.txt")));
        let want = want.expect("truth files are text");
        assert!(!want.is_empty());
        let got = folioscope(["pages"]).arg(&path).text();
        assert!(got == want, "{name}: the counts differ");
        if name.starts_with("pipe-") || name.starts_with("spe-stream") {
            let piped = folioscope(["pages", "-"]).input(&bytes(&path)).text();
            assert!(piped == want, "{name}: the counts differ through a pipe");
        }
    }
}

#[test]
fn several_inputs_add_up() {
    let paths = [input("file-shm"), input("spe-stream"), input("dir-threads")];
    let mut want = std::collections::BTreeMap::<u64, u64>::new();
    for path in &paths {
        let alone = crate::program::counts(&folioscope(["pages"]).arg(path).text());
        alone.into_iter().for_each(|(pfn, count)| *want.entry(pfn).or_default() += count);
    }
    let together = folioscope(["pages"]).args(&paths).text();
    assert_eq!(crate::program::counts(&together), want);
    // The same file twice counts twice.
    let twice = folioscope(["pages"]).args([&paths[0], &paths[0]]).text();
    let once = folioscope(["pages"]).arg(&paths[0]).text();
    for ((pfn, count), (again, double)) in
        crate::program::counts(&once).into_iter().zip(crate::program::counts(&twice))
    {
        assert_eq!((pfn, 2 * count), (again, double));
    }
}

#[test]
fn without_an_input_it_is_the_folder_s_perf_data() {
    let folder = crate::program::scratch();
    std::fs::copy(input("pipe-one"), folder.path().join("perf.data")).expect("a copy");
    let got = folioscope(["pages"]).folder(folder.path()).text();
    assert_eq!(got, folioscope(["pages"]).arg(input("pipe-one")).text());
}

#[test]
fn the_other_formats_list_the_same_pages() {
    let path = input("spe-file");
    let text = crate::program::counts(&folioscope(["pages"]).arg(&path).text());
    let csv = folioscope(["pages", "--format", "csv"]).arg(&path).text();
    let (header, rows) = csv.split_once('\n').expect("a header line");
    assert_eq!(header, "pfn,count");
    assert_eq!(crate::program::counts(&rows.replace(',', " ")), text);
    let lines = folioscope(["pages", "--format", "json"]).arg(&path).json_lines();
    let json = lines.iter().map(|page| {
        let pfn = page["pfn"].as_str().expect("a PFN is a string");
        (crate::program::number(pfn), page["count"].as_u64().expect("a count"))
    });
    assert_eq!(json.collect::<std::collections::BTreeMap<_, _>>(), text);
}
