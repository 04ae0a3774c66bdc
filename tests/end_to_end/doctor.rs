//! `doctor` on the machine that runs the tests, whatever it is, and on one that is none.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{Run, folioscope};

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

/// The command that is advised for this host gives a recording, or the kernel's refusal that the checks foretold.
#[test]
fn the_advised_recording_can_be_made() {
    let (object, status) = json(&[]);
    let commands = object["commands"].as_array().expect("an array");
    let line = commands[0]["command"].as_str().expect("text").trim_start_matches("sudo ");
    let words: Vec<_> = line.split(' ').skip(1).collect();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = folioscope(words).args(["--duration", "200ms"]).folder(folder.path()).run();
    let check = object["checks"].as_array().expect("an array").iter();
    let addresses = check.filter(|check| check["name"] == "physical_addresses").collect::<Vec<_>>();
    match run.code() {
        0 => {
            assert_eq!((status, &addresses[0]["status"]), (Some(0), &Value::from("ok")), "{line}");
            let report = folioscope(["report", "perf.data"]).folder(folder.path()).run();
            assert!(
                report.succeeded().text().contains("minor-faults") || !object["unit"].is_null()
            );
        }
        1 => {
            assert_ne!(addresses[0]["status"], "ok", "{line}: {}", run.stderr);
            eprintln!("DID NOT RUN: doctor: the advised recording: {}", run.stderr.trim());
        }
        _ => panic!("{line}: {}", run.stderr),
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
