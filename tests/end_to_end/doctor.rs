//! `doctor` on the machine that runs the tests, whatever it is, and on one that is none.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use serde_json::Value;
use tests::emulation::emulated;

use crate::program::{
    Nobody, Run, check_ledger, command_words, folioscope, in_shell, of_ledger, report, scratch,
};

/// Runs it; that it can record nothing is no failure to describe the machine.
fn doctor(arguments: &[&str]) -> Run {
    let run = folioscope(["doctor"]).args(arguments).run();
    let status = run.status.code();
    assert!(matches!(status, Some(0 | 1)), "{}: {:?}", run.command, run.status);
    let lines = run.stderr.lines().count();
    assert_eq!(lines, usize::from(status == Some(1)), "one line if it fails: {}", run.stderr);
    run
}

fn json(arguments: &[&str]) -> (Value, Option<i32>) {
    let run = doctor(&[&["--format", "json"], arguments].concat());
    let object: Value = serde_json::from_slice(&run.stdout).expect("one JSON object");
    (object, run.status.code())
}

/// The units that the kernel offers, looked up without the program.
fn units() -> Vec<String> {
    let devices = fs::read_dir("/sys/bus/event_source/devices").into_iter().flatten().flatten();
    let names = devices.map(|device| device.file_name().to_string_lossy().into_owned());
    names.filter(|name| name == "ibs_op" || name.starts_with("arm_spe_")).collect()
}

#[test]
fn this_machine_is_described() {
    let (object, status) = json(&[]);
    assert_eq!(object["schema"], "folioscope.doctor/1");
    assert_eq!(status, Some(if object["can_work"] == true { 0 } else { 1 }));
    let checks = object["checks"].as_array().expect("an array");
    let unit = &checks[0];
    let precise = Path::new("/sys/bus/event_source/devices/cpu/caps/max_precise");
    let hybrid = Path::new("/sys/bus/event_source/devices/cpu_core");
    match &units()[..] {
        [] if !precise.exists() && !hybrid.exists() => {
            assert!(object["unit"].is_null(), "{object}");
            assert_eq!(unit["status"], "fail", "{unit}");
            assert!(object["advice"].is_null(), "no period without a unit");
        }
        [] => {}
        units => {
            assert!(!object["unit"].is_null(), "{units:?}: {object}");
            assert!(object["advice"]["period"].as_u64() > Some(0), "{object}");
        }
    }
    for check in checks {
        let status = check["status"].as_str().expect("a word");
        assert!(["ok", "warn", "fail"].contains(&status), "{check}");
        assert_eq!(check["remedy"].is_null(), status == "ok", "{check}");
        assert!(!check["finding"].as_str().expect("text").is_empty(), "{check}");
    }
    let commands = object["commands"].as_array().expect("an array");
    assert!(commands.iter().any(|command| {
        command["command"].as_str().is_some_and(|line| line.contains("folioscope record --event"))
    }));
}

/// What a breakpoint watches.
static WATCHED: AtomicU64 = AtomicU64::new(0);

/// Says that something could not be tried here.
fn did_not_run(what: &str, why: &str) {
    // Not by a macro, whose output the test harness keeps to itself where a test passes.
    let _ = writeln!(std::io::stderr(), "DID NOT RUN: doctor: {what}: {}", why.trim());
}

/// The lines that are advised, and the status of `physical_addresses`.
fn advised(object: &Value) -> (Vec<String>, String) {
    let commands = object["commands"].as_array().expect("an array").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let lines = commands.map(|command| text(&command["command"]));
    let mut checks = object["checks"].as_array().expect("an array").iter();
    let addresses = checks.find(|check| check["name"] == "physical_addresses");
    (lines.collect(), text(&addresses.expect("it is always looked at")["status"]))
}

/// An advised line, with its blanks filled in, that ends by itself.
fn shortened(line: &str) -> String {
    let watched = format!("{:p}", &raw const WATCHED);
    let line = line.trim_start_matches("sudo ").replace("0xADDRESS", &watched);
    let line = line.replace("--pid PID", &format!("--pid {}", std::process::id()));
    let line = line.replace("-- COMMAND", "-- true").replace("sleep 10", "sleep 0.2");
    let line = line.replace("folioscope record ", "folioscope record --duration 200ms ");
    if line.starts_with("folioscope serve ") { line + " --check-config" } else { line }
}

/// Runs a line as a shell takes it, where the program has its name.
fn typed(line: &str, folder: &Path) -> Run {
    let program = command_words().pop().expect("it has a name");
    let programs = Path::new(&program).parent().expect("it is in a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let no_arguments: [&str; 0] = [];
    in_shell(line, no_arguments).env("PATH", &format!("{programs}:{path}")).folder(folder).run()
}

/// Every line that is advised for this host does as its purpose says, or is refused as the checks
/// foretold.
#[test]
fn what_is_advised_runs() {
    if emulated() {
        return did_not_run("the advised commands", "an emulator has no perf events");
    }
    let (object, status) = json(&[]);
    let (lines, addresses) = advised(&object);
    let folder = scratch();
    let recording = folder.path().join("perf.data");
    let mut recorded = 0;
    for line in &lines {
        let run = typed(&shortened(line), folder.path());
        let ours = line.contains("folioscope record");
        match run.code() {
            0 if ours || line.contains("perf record") => {
                let found = report(&recording, &[]);
                check_ledger(&found);
                let counted = of_ledger(&found, "counted");
                assert!(counted > 0 || !line.contains("--all-cpus"), "{line}: no addresses");
                std::fs::remove_file(&recording).expect("it was written");
                recorded += u32::from(ours);
            }
            0 => {}
            // perf may be of another kernel, or a wrapper that finds none for this one.
            _ if line.contains("perf record") => did_not_run(line, &run.stderr),
            // No recording was made that could be reported.
            1 if line.ends_with("folioscope report perf.data") => {}
            1 if ours => {
                assert!(run.stderr.contains("cannot open"), "{line}: {}", run.stderr);
                let foretold = addresses != "ok" || line.contains("mem:");
                assert!(foretold, "{line}: {}", run.stderr);
                did_not_run(line, &run.stderr);
            }
            _ => panic!("{line}: {}", run.stderr),
        }
    }
    assert!(recorded > 0 || addresses != "ok", "{object}");
    assert_eq!(status, Some(i32::from(object["can_work"] == false)));
    if recorded == 0 {
        did_not_run("the advised recordings", "none was possible");
    }
}

/// Without rights it says what `record` says, and what it says comes true.
#[test]
fn nobody_is_told_what_record_tells() {
    let what = "without rights";
    if emulated() {
        return did_not_run(what, "an emulator has no perf events");
    }
    let nobody = match Nobody::new() {
        Ok(nobody) => nobody,
        Err(why) => return did_not_run(what, &why),
    };
    let output = nobody.run(&["doctor", "--format", "json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let (lines, addresses) = advised(&object);
    let event = object["advice"]["event"].as_str().unwrap_or("faults").to_owned();
    let all = ["record", "--event", &event, "--duration", "200ms"];
    let all = nobody.run(&all);
    let own = nobody.run(&["record", "--event", &event, "--", "true"]);
    let want = match (all.status.code(), own.status.code()) {
        (Some(0), _) => ["ok", "folioscope"],
        (_, Some(0)) => ["warn", "folioscope"],
        _ => ["fail", "sudo folioscope"],
    };
    assert_eq!(addresses, want[0], "{object}");
    assert_eq!(lines[0].split(" record").next(), Some(want[1]), "{lines:?}");
    assert_eq!(output.status.code(), Some(i32::from(addresses == "fail")));
    if addresses == "fail" {
        let mut checks = object["checks"].as_array().expect("an array").iter();
        let check =
            checks.find(|check| check["name"] == "physical_addresses").expect("it is there");
        let remedy = check["remedy"].as_str().expect("a failure has one");
        let said = String::from_utf8_lossy(&all.stderr);
        assert!(said.trim_end().ends_with(remedy), "{remedy}: {said}");
    }
}

#[test]
fn text_says_the_same_in_80_columns() {
    let (object, _) = json(&[]);
    let text = String::from_utf8(doctor(&[]).stdout).expect("text");
    for line in text.lines().filter(|line| !line.contains("perf record")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for check in object["checks"].as_array().expect("an array") {
        let status = check["status"].as_str().expect("a word").to_uppercase();
        let name = check["name"].as_str().expect("a word");
        let line = format!("\n{status:<6}{name}: ");
        assert!(text.contains(&line), "{line:?} is not in {text}");
    }
    assert!(!text.contains('\x1b'), "no colours in a pipe");
    let painted = doctor(&["--color", "always"]);
    assert!(String::from_utf8_lossy(&painted.stdout).contains("\x1b[32mOK"));
}

#[test]
fn a_host_without_anything_ends_with_status_1_and_its_remedy() {
    let empty = tempfile::tempdir().expect("a folder can be made");
    let empty = empty.path().to_str().expect("text");
    let run = doctor(&["--procfs", empty, "--sysfs", empty, "--debugfs", empty]);
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.contains("physical_addresses"), "{}", run.stderr);
    let text = String::from_utf8(run.stdout).expect("text");
    assert!(text.contains("FAIL  physical_addresses: this kernel has no perf events"), "{text}");
    assert!(text.contains("is empty: debugfs is not mounted"), "{text}");
}

#[test]
fn a_server_made_of_files_gets_its_commands() {
    let root = tempfile::tempdir().expect("a folder can be made");
    let file = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    };
    let folder = |name: &str| root.path().join(name).to_str().expect("text").to_owned();
    file("proc/cpuinfo", "CPU implementer\t: 0x41\n");
    file("proc/self/status", "CapEff:\t000001ffffffffff\n");
    file("proc/sys/kernel/perf_event_paranoid", "2\n");
    file("sys/devices/system/cpu/online", "0-255\n");
    file("sys/bus/event_source/devices/arm_spe_0/format/pa_enable", "config:1\n");
    let (proc, sys, debug) = (folder("proc"), folder("sys"), folder("debug"));
    let places = ["--procfs", &proc, "--sysfs", &sys, "--debugfs", &debug];
    let (object, status) = json(&places);
    assert_eq!((&object["unit"], status), (&Value::from("arm_spe"), Some(0)));
    // 256 * 3e9 * 64 / 50 MiB = 937,500, rounded up to 256.
    assert_eq!(object["advice"]["period"], 937_728);
    let (object, _) = json(&[&places[..], &["--budget", "100MiB"]].concat());
    // 468,750, likewise.
    assert_eq!(object["advice"]["period"], 468_992);
    assert_eq!(object["advice"]["budget_bytes_per_second"], 100 << 20);
}

#[test]
fn options_that_cannot_be_meant() {
    for arguments in [["--format", "csv"], ["--budget", "fast"], ["--nonsense", "1"]] {
        let run = folioscope(["doctor"]).args(arguments).run();
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {}", run.stderr);
    }
}
