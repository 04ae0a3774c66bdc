//! Inputs that are none, damaged, cut or hostile: a clear end, never a signal, a panic or a silent wrong result.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::container::{Parts, number};
use tests::emulation::{emulated, thinned};
use tests::inputs::{all, bytes, input};
use tests::made::{Made, load};
use tracegen::bytes::Endian;
use tracegen::{Config, Form, Kind};

use crate::program::{Run, check_ledger, command_words, folioscope, in_shell, scratch, write};

const COMMANDS: [&str; 4] = ["report", "pages", "records", "decisions"];

/// Runs a command on a file and panics unless it ends as it may: done, or failed in one line that names the file.
fn ends_well(command: &str, path: &Path) -> Run {
    let run = folioscope([command]).arg(path).run().ended_well();
    if run.code() == 1 {
        let name = path.to_str().expect("a path of text");
        assert!(run.stderr.contains(name), "{}: {}", run.command, run.stderr);
    }
    // A warning is one line, too.
    assert!(run.stderr.lines().count() <= 1, "{}: {}", run.command, run.stderr);
    run
}

/// Panics unless the report on a file, if there is one, has sums that hold.
fn adds_up(path: &Path) -> i32 {
    let run = folioscope(["report", "--format", "json"]).arg(path).run().ended_well();
    if run.code() == 0 {
        check_ledger(&run.json());
    }
    run.code()
}

/// A small file with two CPUs' data, samples and side-band records; under 3 KiB.
fn small_file() -> Vec<u8> {
    let mut made = Made::spe();
    made.record(
        tracegen::perf::Record::Comm { pid: 5, tid: 5, comm: "spetest", exec: true },
        0,
        10,
    );
    made.aux(0, 0, 96, 0).piece(0, 0, &[load(1, 1000), load(2, 2000)].concat());
    made.aux(1, 0, 48, 0).piece(1, 0, &load(3, 3000)).round();
    made.finish()
}

#[test]
fn what_is_no_recording() {
    let folder = scratch();
    let empty_folder = folder.path().join("folder");
    std::fs::create_dir(&empty_folder).expect("a folder can be made");
    let text = write(folder.path(), "text", b"this is a text and no recording\n");
    let empty = write(folder.path(), "empty", b"");
    let short = write(folder.path(), "short", b"PERFILE2\x10\0");
    let old = write(folder.path(), "old", &[&b"PERFFILE"[..], &[0; 100]].concat());
    let missing = folder.path().join("missing");
    let executable = Path::new("/proc/self/exe");
    for command in COMMANDS {
        let fails = |path: &Path, words: &[&str]| {
            let name = path.to_str().expect("a path of text");
            folioscope([command]).arg(path).run().failed(&[words, &[name]].concat());
        };
        fails(&text, &["byte 0", "\"this is \"", "PERFILE2", "perf record"]);
        fails(&empty, &["0 bytes"]);
        fails(&short, &["10 bytes", "16"]);
        fails(&old, &["PERFFILE"]);
        fails(&missing, &["cannot open"]);
        fails(&empty_folder, &["data"]);
        fails(executable, &["byte 0", "ELF"]);
    }
    // The first that fails is named, whichever it is.
    folioscope(["pages"]).arg(input("pipe-one")).arg(&text).run().failed(&["text"]);
    // perf.data of a folder that has none.
    folioscope(["pages"]).folder(&empty_folder).run().failed(&["perf.data"]);
}

#[test]
fn what_is_no_recording_on_a_pipe() {
    for command in COMMANDS {
        let fails = |input: &[u8], words: &[&str]| {
            folioscope([command, "-"]).input(input).run().failed(&[&["-: "], words].concat());
        };
        fails(b"", &["0 bytes"]);
        fails(b"PERFILE2\x10\0", &["10 bytes", "16"]);
        fails(b"this is a text and no recording\n", &["PERFILE2"]);
        // A file on a pipe is saved, and fails as it does by its name.
        fails(&small_file()[..40], &["40 bytes"]);
    }
}

/// What a shell redirects is a file, and is read as one.
#[test]
fn a_redirected_file_is_a_file() {
    let path = input("file-kernel");
    let script = format!("exec \"$0\" \"$@\" < '{}'", path.display());
    let got = in_shell(&script, ["pages", "-"]).text();
    assert_eq!(got, folioscope(["pages"]).arg(&path).text());
}

/// Cuts an input at every third byte (the library is tried with every cut, see `in_process`); only
/// up to `first`, where its records start, may it be none.
fn cut_everywhere(whole: &[u8], first: usize) {
    let folder = scratch();
    let mut read = 0;
    // Three and the number of commands have no factor in common: each command is tried.
    for cut in thinned("cuts", (0..whole.len()).step_by(3), 23) {
        let path = write(folder.path(), "cut.data", &whole[..cut]);
        let run = ends_well(COMMANDS[cut % 4], &path);
        assert!(run.code() == 0 || cut <= first, "cut at {cut}: {}", run.stderr);
        if cut % 2 == 0 {
            read += usize::from(adds_up(&path) == 0);
        }
    }
    assert!(read > 5, "{read} had a report");
}

#[test]
fn every_cut_of_a_small_file() {
    let file = small_file();
    let records = number(Endian::Little, &file[40..48]);
    cut_everywhere(&file, usize::try_from(records).expect("a place in memory"));
}

#[test]
fn every_cut_of_a_small_stream() {
    cut_everywhere(&Parts::of(&small_file()).stream(), 16);
}

#[test]
fn a_stream_that_stops_anywhere() {
    let stream = Parts::of(&small_file()).stream();
    for cut in thinned("stops", (0..stream.len()).step_by(3), 29) {
        let run = folioscope(["pages", "-"]).input(&stream[..cut]).run().ended_well();
        assert_eq!(run.code(), i32::from(cut < 16), "cut at {cut}: {}", run.stderr);
        let counted = run.text().lines().count();
        assert!(counted <= 3);
    }
    // Compressed data, too.
    for name in ["spe-stream-zstd83", "pipe-multi-z"] {
        let stream = bytes(input(name));
        let whole = folioscope(["pages", "-"]).input(&stream).text().lines().count();
        for part in 1..8 {
            let cut = stream.len() * part / 8 + part;
            let run = folioscope(["pages", "-"]).input(&stream[..cut]).run().ended_well();
            assert!(run.text().lines().count() <= whole, "{name} cut at {cut}");
        }
    }
}

#[test]
fn cuts_of_real_recordings() {
    let folder = scratch();
    for name in thinned("recordings", all(), 5) {
        let path = input(name);
        if path.is_dir() {
            continue;
        }
        let whole = bytes(path);
        for part in [1, 5, 9, 13, 16] {
            let cut = whole.len() * part / 17 + part;
            let path = write(folder.path(), "cut.data", &whole[..cut]);
            adds_up(&path);
            let run = ends_well("pages", &path);
            assert_eq!(run.code(), 0, "{name} cut at {cut}: {}", run.stderr);
            let strict = folioscope(["pages", "--strict"]).arg(&path).run().code();
            assert_eq!(strict, 3, "{name} cut at {cut}");
        }
    }
}

/// Every 64-bit word that says where something is or how large, with the values that break sums.
#[test]
fn sizes_beyond_all_memory() {
    let folder = scratch();
    for endian in [Endian::Little, Endian::Big] {
        let file = match endian {
            Endian::Little => small_file(),
            Endian::Big => {
                let mut made = Made::of(endian, false, vec![tests::made::spe_event()], "6.12.0");
                made.info().clock().piece(0, 0, &load(1, 1000));
                made.finish()
            }
        };
        let word = |at: usize| {
            usize::try_from(number(endian, &file[at..at + 8])).expect("a place in memory")
        };
        // Header, ids of each attribute, feature table.
        let mut places: Vec<usize> = (8..104).step_by(8).collect();
        let (stride, attrs, attrs_size) = (word(16), word(24), word(32));
        for entry in (attrs..attrs + attrs_size).step_by(stride) {
            places.extend([entry + stride - 16, entry + stride - 8]);
        }
        let table = word(40) + word(48);
        let entries: u32 = (72..104).step_by(8).map(|at| word(at).count_ones()).sum();
        places.extend((0..2 * entries as usize).map(|word| table + 8 * word));
        let values =
            [1 << 63, u64::MAX, u64::MAX - 7, (1 << 63) - 8, 1 << 32, 0, 1, file.len() as u64];
        let cases = places.iter().flat_map(|place| values.map(|value| (*place, value)));
        for (at, (place, value)) in thinned("sizes", cases, 17).into_iter().enumerate() {
            let mut damaged = file.clone();
            let mut value_bytes = Vec::new();
            endian.u64(&mut value_bytes, value);
            damaged[place..place + 8].copy_from_slice(&value_bytes);
            let path = write(folder.path(), "hostile.data", &damaged);
            ends_well(COMMANDS[at % 4], &path);
            if at % 4 == 0 {
                adds_up(&path);
            }
        }
    }
}

/// Sizes inside records: every 64-bit word of the records, one at a time.
#[test]
fn hostile_words_inside_records() {
    let folder = scratch();
    let stream = Parts::of(&small_file()).stream();
    let cases = (16..stream.len() - 8)
        .step_by(8)
        .flat_map(|place| [1_u64 << 63, u64::MAX, 1 << 40, 0].map(|value| (place, value)));
    for (at, (place, value)) in thinned("words", cases, 37).into_iter().enumerate() {
        let mut damaged = stream.clone();
        damaged[place..place + 8].copy_from_slice(&value.to_le_bytes());
        if at % 2 == 0 {
            folioscope([COMMANDS[at / 2 % 4], "-"]).input(&damaged).run().ended_well();
        } else {
            let path = write(folder.path(), "hostile.data", &damaged);
            adds_up(&path);
        }
    }
}

/// Claims that readers believe: sizes, places and counts beyond what there is, and records cut short.
#[test]
fn claims_that_nobody_should_believe() {
    let folder = scratch();
    for (name, hostile) in tests::hostile::inputs() {
        let path = write(folder.path(), name, &hostile);
        for command in COMMANDS {
            ends_well(command, &path);
        }
        adds_up(&path);
        folioscope(["pages", "-"]).input(&hostile).run().ended_well();
    }
}

/// Little memory to reserve is enough, for good inputs and for hostile ones.
#[test]
fn an_address_space_of_four_gibibytes() {
    if emulated() {
        eprintln!(
            "emulated: the limit would be the emulator's, which reserves more than that; it is not set"
        );
    }
    let folder = scratch();
    let mut hostile = small_file();
    hostile[48..56].copy_from_slice(&(1_u64 << 62).to_le_bytes());
    let hostile = write(folder.path(), "hostile.data", &hostile);
    let script =
        if emulated() { "exec \"$0\" \"$@\"" } else { "ulimit -v 4194304; exec \"$0\" \"$@\"" };
    for command in COMMANDS {
        for path in [&input("file-z"), &input("spe-file-zstd83"), &input("dir-threads"), &hostile] {
            let free = folioscope([command]).arg(path).text();
            let limited = in_shell(script, [command]).arg(path).text();
            assert!(free == limited, "{command} {}", path.display());
        }
        let stream = bytes(input("pipe-multi-z"));
        let piped = in_shell(script, [command, "-"]).input(&stream).text();
        assert!(!piped.is_empty());
        let nothing = write(folder.path(), "nothing", b"nothing");
        in_shell(script, [command]).arg(&nothing).run().failed(&["nothing"]);
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    for arguments in
        [["records", "--format=text"], ["pages", "--format=csv"], ["decisions", "--counts"]]
    {
        let mut words = command_words();
        words.extend(arguments.map(str::to_owned));
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg(input("file-z"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // One line, then the pipe is closed.
        let mut first = [0; 16];
        child.stdout.take().expect("it is piped").read_exact(&mut first).expect("it writes");
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).expect("a pipe can be read");
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{arguments:?}: {status} {said}");
        assert_eq!(said, "", "{arguments:?}");
    }
    // As a shell does it.
    let script = "{ \"$0\" \"$@\"; echo $? >&2; } | head -n 1";
    let run = in_shell(script, ["records"]).arg(input("file-z")).run();
    assert_eq!((run.code(), run.stderr.as_str()), (0, "0\n"));
    assert_eq!(run.text().lines().count(), 1);
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = scratch();
    let nowhere = folder.path().join("missing/out");
    for command in COMMANDS {
        let run = folioscope([command, "-o"]).arg(&nowhere).arg(input("pipe-one")).run();
        run.failed(&["missing/out", "cannot write"]);
        let run = folioscope([command, "-o"]).arg(folder.path()).arg(input("pipe-one")).run();
        run.failed(&["cannot write"]);
        // A disk that is full.
        for format in ["text", "json", "csv"] {
            let run = folioscope([command, "--format", format, "-o", "/dev/full"]);
            let run = run.arg(input("pipe-one")).run();
            run.failed(&["/dev/full", "cannot write", "No space left"]);
        }
        let full = in_shell("exec \"$0\" \"$@\" >/dev/full", [command]).arg(input("pipe-one"));
        full.run().failed(&["standard output", "No space left"]);
    }
}

/// A file that its writer cuts off while it is read: the whole result, or a clear failure.
#[test]
fn a_file_that_shrinks_while_it_is_read() {
    let folder = scratch();
    let config = Config {
        records: 60_000,
        folios: 300,
        scenario: Kind::Dense,
        form: Form::File,
        ..Config::default()
    };
    let (whole, truth) = tracegen::to_bytes(&config).expect("a right configuration");
    let counted = truth.ledger.counted;
    let (mut complete, mut refused) = (0, 0);
    for round in thinned("rounds", 0..24_u64, 6) {
        let path = write(folder.path(), "perf.data", &whole);
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("it was written");
        let run = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_micros(round * 1200));
                file.set_len(4096).expect("a file can be cut");
            });
            folioscope(["report", "--format", "json", "--threads", "2"]).arg(&path).run()
        });
        match run.code() {
            1 => {
                run.failed(&["perf.data", "shrank"]);
                refused += 1;
            }
            _ => {
                let report = run.succeeded().json();
                check_ledger(&report);
                // Cut before it was opened: what is there is counted, and what is missing is told.
                let told = report["unreadable"] != serde_json::json!([]);
                assert!(report["accesses"] == counted || told, "{}", report["ledger"]);
                complete += 1;
            }
        }
    }
    eprintln!("{complete} complete, {refused} refused");
}

#[test]
fn a_folder_that_lacks_its_parts() {
    let folder = scratch();
    for part in ["data", "data.1"] {
        std::fs::copy(input("dir-threads").join(part), folder.path().join(part)).expect("a copy");
    }
    std::fs::write(folder.path().join("kallsyms"), b"not ours").expect("a file is written");
    // What is there is read, whatever else lies beside it.
    let run = ends_well("pages", folder.path());
    assert!(!run.text().is_empty());
    write(folder.path(), "data.1", b"");
    ends_well("pages", folder.path());
    write(folder.path(), "data.1", &[0xff; 1000]);
    ends_well("pages", folder.path());
    let strict = folioscope(["pages", "--strict"]).arg(folder.path()).run().code();
    assert_eq!(strict, 3);
    std::fs::remove_file(folder.path().join("data")).expect("it is there");
    folioscope(["pages"]).arg(folder.path()).run().failed(&["data"]);
}

#[test]
fn names_that_are_odd() {
    let folder = scratch();
    for name in ["with space", "ünïcode", "-dash", "quote\"'", "new\nline"] {
        let path = write(folder.path(), name, &bytes(input("pipe-one")));
        let report = folioscope(["report", "--format", "json", "--"]).arg(&path).json();
        assert_eq!(report["input"]["path"], path.to_str().expect("text"), "{name:?}");
        let bad = write(folder.path(), name, b"nonsense nonsense nonsense");
        let run = folioscope(["report", "--"]).arg(&bad).run();
        run.failed(&[]);
    }
    let no_text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe.data");
    let path = folder.path().join(no_text);
    if std::fs::write(&path, bytes(input("pipe-one"))).is_ok() {
        folioscope(["report", "--format", "json"]).arg(&path).json();
    }
}

/// Random damage over whole small recordings, in every form.
#[test]
fn random_bytes_in_recordings() {
    let folder = scratch();
    let mut rng = tracegen::rng::Rng::new(99);
    let originals = [
        small_file(),
        Parts::of(&small_file()).stream(),
        bytes(input("pipe-one")),
        bytes(input("spe-file-zstd83")),
    ];
    for round in thinned("rounds", 0..120_usize, 12) {
        let mut damaged = originals[round % originals.len()].clone();
        for _ in 0..=rng.below(20) {
            let at = rng.index(damaged.len());
            damaged[at] = rng.next_u64().to_le_bytes()[0];
        }
        let path = write(folder.path(), "damaged.data", &damaged);
        ends_well(COMMANDS[round / 4 % 4], &path);
        adds_up(&path);
        folioscope(["pages", "-"]).input(&damaged).run().ended_well();
    }
}
