//! The kernel's side: DAMON as sysfs shows it, and `spe_feed` in debugfs. Nothing is written.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::check::Check;
use super::host::{Host, names, read};
use super::machine::Machine;

/// Both checks.
pub(super) fn checks(host: &Host, machine: &Machine, lockdown: Option<&str>) -> Vec<Check> {
    let is_4k = machine.page_size.is_none_or(|size| size.is_4k());
    let feed = Feed::look(&host.debugfs);
    vec![damon(host), spe_feed(&feed, &host.debugfs, is_4k, lockdown)]
}

fn damon(host: &Host) -> Check {
    let name = "damon";
    let root = host.sysfs.join("kernel/mm/damon");
    let kdamonds = root.join("admin/kdamonds");
    if !root.exists() {
        let finding = "this kernel has no DAMON";
        return Check::warn(name, finding, "to act on decisions: a kernel with CONFIG_DAMON_SYSFS");
    }
    let number = match read(&kdamonds.join("nr_kdamonds")) {
        Ok(number) => number,
        Err(error) => return unreadable(&kdamonds, &error),
    };
    if number == "0" {
        return idle(host);
    }
    let set_up: Vec<_> = numbered(&kdamonds).map(|folder| kdamond(&folder)).collect();
    Check::warn(
        name,
        format!("somebody uses it, and it is left alone: {}", set_up.join("; ")),
        "folioscope-feeder --sink damos writes nothing until whoever set them up has ended them \
         (nr_kdamonds 0)",
    )
}

/// Nobody uses DAMON's sysfs; the kernel itself may use DAMON.
fn idle(host: &Host) -> Check {
    let enabled = "module/damon_stat/parameters/enabled";
    if host.sys_text(enabled).is_some_and(|enabled| enabled == "Y") {
        return Check::warn(
            "damon",
            "DAMON_STAT runs, and while it does no other kdamond starts (EBUSY)",
            format!(
                "if nobody needs it: `echo N > {}`, then folioscope-feeder --sink damos",
                host.sysfs.join(enabled).display()
            ),
        );
    }
    Check::ok("damon", "there, and nobody uses it: folioscope-feeder --sink damos can")
}

fn unreadable(kdamonds: &Path, error: &io::Error) -> Check {
    let name = "damon";
    match error.kind() {
        ErrorKind::NotFound => Check::warn(
            name,
            format!("DAMON is there, but not {}", kdamonds.display()),
            "to act on decisions: a kernel with CONFIG_DAMON_SYSFS",
        ),
        _ => Check::warn(
            name,
            format!("{}: {error}", kdamonds.display()),
            "run as root to see who uses it",
        ),
    }
}

/// The folders 0, 1, ... of a folder.
fn numbered(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let names = names(folder).into_iter().filter(|name| name.parse::<u32>().is_ok());
    names.map(move |name| folder.join(name))
}

/// A kdamond in words: whether it runs, on what, and what its schemes do.
fn kdamond(folder: &Path) -> String {
    let word = |path: PathBuf| read(&path).unwrap_or_else(|_| "unknown".to_owned());
    let number = folder.file_name().unwrap_or_default().display();
    let state = word(folder.join("state"));
    let mut text = format!("kdamond {number} is {state}");
    if state == "on" {
        text += &format!(" (pid {})", word(folder.join("pid")));
    }
    for context in numbered(&folder.join("contexts")) {
        text += &format!(", {}", word(context.join("operations")));
        for scheme in numbered(&context.join("schemes")) {
            text += &format!(" {}", word(scheme.join("action")));
            if let Ok(order) = read(&scheme.join("target_order")) {
                text += &format!(" to order {order}");
            }
        }
    }
    text
}

/// What stands where `spe_feed` should be.
#[derive(Debug)]
enum Feed {
    /// The kernel has no debugfs.
    NoDebugfs,
    /// Nothing is mounted there.
    Unmounted,
    /// It cannot be looked into.
    Unreadable(io::Error),
    /// The kernel has no `spe_feed`.
    Missing,
    /// It does not open for writing.
    Closed(io::Error),
    /// It opens. Nothing was written.
    Opens,
}

impl Feed {
    fn look(debugfs: &Path) -> Self {
        let mut entries = match fs::read_dir(debugfs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::NoDebugfs,
            Err(error) => return Self::Unreadable(error),
        };
        if entries.next().is_none() {
            return Self::Unmounted;
        }
        // Opening alone does nothing: a value is what write(2) brings.
        match OpenOptions::new().write(true).open(debugfs.join("damon/spe_feed")) {
            Ok(_) => Self::Opens,
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Closed(error),
        }
    }
}

fn spe_feed(feed: &Feed, debugfs: &Path, is_4k: bool, lockdown: Option<&str>) -> Check {
    let name = "spe_feed";
    let dir = debugfs.display();
    let instead = "folioscope-feeder --sink damos works by DAMON's schemes instead";
    match feed {
        Feed::NoDebugfs => Check::warn(
            name,
            format!("there is no {dir}: this kernel has no debugfs"),
            format!("a kernel with CONFIG_DEBUG_FS and CONFIG_DAMON_SPE; {instead}"),
        ),
        Feed::Unmounted => Check::warn(
            name,
            format!("{dir} is empty: debugfs is not mounted"),
            format!("`mount -t debugfs none {dir}`"),
        ),
        Feed::Unreadable(error) => {
            Check::warn(name, format!("{dir}: {error}"), "run as root, to whom debugfs belongs")
        }
        Feed::Missing => Check::warn(
            name,
            format!("{dir} has no damon/spe_feed: this kernel has no CONFIG_DAMON_SPE"),
            instead,
        ),
        Feed::Closed(_) | Feed::Opens if let Some(mode) = lockdown => Check::warn(
            name,
            format!("there, but lockdown ({mode}) refuses writes, also to root"),
            instead,
        ),
        Feed::Closed(error) => Check::warn(
            name,
            format!("there, but does not open for writing: {error}"),
            "run the feeder as root, to whom the file belongs",
        ),
        Feed::Opens if !is_4k => Check::warn(
            name,
            "there, but works with base pages of 4 KiB alone: with others every folio is split",
            "do not feed it, and run no split scheme; boot a kernel with base pages of 4 KiB",
        ),
        Feed::Opens => Check::ok(name, "there, and opens for writing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn each_state_of_spe_feed_has_its_own_words() {
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let cases = [
            (Feed::NoDebugfs, "no debugfs", "CONFIG_DEBUG_FS"),
            (Feed::Unmounted, "not mounted", "mount -t debugfs none /d"),
            (Feed::Unreadable(denied()), "permission denied", "run as root"),
            (Feed::Missing, "no CONFIG_DAMON_SPE", "--sink damos"),
            (Feed::Closed(denied()), "does not open", "feeder as root"),
        ];
        for (feed, finding, remedy) in &cases {
            let check = spe_feed(feed, Path::new("/d"), true, None);
            assert_eq!(check.status, Status::Warn, "{feed:?}");
            assert!(check.finding.contains(finding), "{check:?}");
            assert!(check.remedy.as_deref().unwrap().contains(remedy), "{check:?}");
        }
        let opens = |is_4k, lockdown| spe_feed(&Feed::Opens, Path::new("/d"), is_4k, lockdown);
        assert_eq!(opens(true, None).status, Status::Ok);
        assert!(opens(false, None).finding.contains("4 KiB alone"));
        assert!(opens(true, Some("integrity")).finding.contains("lockdown (integrity)"));
    }

    #[test]
    fn spe_feed_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let debugfs = dir.path().join("debug");
        assert!(matches!(Feed::look(&debugfs), Feed::NoDebugfs));
        fs::create_dir(&debugfs).unwrap();
        assert!(matches!(Feed::look(&debugfs), Feed::Unmounted));
        fs::create_dir(debugfs.join("damon")).unwrap();
        assert!(matches!(Feed::look(&debugfs), Feed::Missing));
        fs::write(debugfs.join("damon/spe_feed"), "kept").unwrap();
        assert!(matches!(Feed::look(&debugfs), Feed::Opens));
        assert_eq!(fs::read(debugfs.join("damon/spe_feed")).unwrap(), b"kept", "never written");
        assert!(matches!(Feed::look(&debugfs.join("damon/spe_feed")), Feed::Unreadable(_)));
    }
}
