//! A process that turns our kdamond off when the feeder is gone, whatever it died of.
//!
//! ```text
//! feeder -- a byte every few seconds --> supervisor -- end of input, or too long none --> off
//! ```
//!
//! A kdamond runs on in the kernel after whoever made it has ended. So a second process, in a group
//! of its own, reads a pipe that ends with the feeder. A service manager may kill both at once: for
//! it a file says which kdamond is ours, and it starts [`turn_off_left`] when all have ended.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::sink::damos::{Mark, turn_off_if_ours};

/// How often the feeder is to give a sign of life at least.
pub const BEAT: Duration = Duration::from_secs(5);
/// How long the supervisor waits for one.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// A sign of life.
const ALIVE: u8 = b'.';
/// There is nothing to supervise any more.
const DISMISSED: u8 = b'q';
/// How often turning off is tried, a second apart.
const TRIES: usize = 4;

/// The feeder's side.
#[derive(Debug)]
pub struct Supervisor {
    child: Child,
    pipe: ChildStdin,
    note: Option<PathBuf>,
}

/// The file that says which kdamond is ours, if the service manager has a folder for us
/// (`RuntimeDirectory=`, systemd.exec(5)).
fn note() -> Option<PathBuf> {
    let folders = std::env::var("RUNTIME_DIRECTORY").ok()?;
    folders
        .split(':')
        .next()
        .filter(|folder| !folder.is_empty())
        .map(|one| Path::new(one).join("kdamond"))
}

/// Starts `program supervise` for our kdamond. It is for this kdamond alone: another one needs
/// another supervisor.
///
/// # Errors
/// The program does not start: the kdamond is to be turned off.
pub fn start(program: &Path, sysfs: &Path, mark: &Mark) -> anyhow::Result<Supervisor> {
    let note = note();
    if let Some(note) = &note {
        std::fs::write(note, format!("{} {}\n", mark.kdamond, mark.pid))
            .with_context(|| note.display().to_string())?;
    }
    let mut child = Command::new(program)
        .arg("supervise")
        .arg("--sysfs")
        .arg(sysfs)
        .args(["--kdamond", &mark.kdamond.to_string()])
        .args(["--pid", &mark.pid.to_string()])
        // What a terminal sends to the feeder does not reach it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start the supervisor")?;
    let pipe = child.stdin.take().context("the supervisor has no pipe")?;
    let mut supervisor = Supervisor { child, pipe, note };
    supervisor.beat()?;
    Ok(supervisor)
}

impl Supervisor {
    /// Gives a sign of life; at least every [`BEAT`].
    ///
    /// # Errors
    /// The supervisor is gone: the kdamond is to be turned off.
    pub fn beat(&mut self) -> anyhow::Result<()> {
        self.pipe.write_all(&[ALIVE]).context("the supervisor is gone")
    }

    /// Ends the supervisor, after the kdamond was turned off. Merely dropping it has it turn the
    /// kdamond off.
    ///
    /// # Errors
    /// It was gone already.
    pub fn dismiss(mut self) -> anyhow::Result<()> {
        let told = self.pipe.write_all(&[DISMISSED]);
        drop(self.pipe);
        self.child.wait().context("the supervisor")?;
        if let Some(note) = &self.note {
            std::fs::remove_file(note).with_context(|| note.display().to_string())?;
        }
        told.context("the supervisor is gone")
    }
}

/// Why a supervisor has stopped waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Dismissed,
    /// The feeder has ended.
    Closed,
    /// The feeder is stuck.
    Silent,
}

/// The supervisor's side: waits on standard input, and turns the kdamond off if it has to and may.
///
/// # Errors
/// The kdamond, which is ours, could not be turned off.
pub fn run(sysfs: &Path, mark: Mark) -> anyhow::Result<()> {
    // Whoever ends the feeder ends it with the same signal: until the pipe ends it stays.
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ignored)).context("cannot stay")?;
    }
    let why = match wait(&signs(std::io::stdin()), PATIENCE) {
        Ended::Dismissed => return Ok(()),
        Ended::Closed => "the feeder has ended".to_owned(),
        Ended::Silent => format!("the feeder was silent for {} s", PATIENCE.as_secs()),
    };
    let was_ours = turn_off(sysfs, &mark, Duration::from_secs(1))?;
    let done = if was_ours { "turned off" } else { "not ours any more, left alone" };
    // Where there is no room for it, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "supervisor: {why}: kdamond {} is {done}", mark.kdamond);
    Ok(())
}

/// Turns off the kdamond that the file in `$RUNTIME_DIRECTORY` names, if there is one and it is ours.
///
/// # Errors
/// No folder, a file that names no kdamond, or one that cannot be turned off.
pub fn turn_off_left(sysfs: &Path) -> anyhow::Result<()> {
    turn_off_noted(sysfs, &note().context("no folder: $RUNTIME_DIRECTORY is not set")?)
}

fn turn_off_noted(sysfs: &Path, note: &Path) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(note) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        text => text.with_context(|| note.display().to_string())?,
    };
    let mut numbers = text.split_whitespace().map(str::parse);
    let (Some(Ok(kdamond)), Some(Ok(pid))) = (numbers.next(), numbers.next()) else {
        bail!("{}: names no kdamond", note.display());
    };
    turn_off(sysfs, &Mark { kdamond, pid }, Duration::from_secs(1))?;
    std::fs::remove_file(note).with_context(|| note.display().to_string())
}

fn turn_off(sysfs: &Path, mark: &Mark, pause: Duration) -> anyhow::Result<bool> {
    for _ in 1..TRIES {
        if let Ok(was_ours) = turn_off_if_ours(sysfs, mark) {
            return Ok(was_ours);
        }
        thread::sleep(pause);
    }
    turn_off_if_ours(sysfs, mark).context("cannot turn the kdamond off")
}

/// The bytes of an input; the channel ends with it.
fn signs(mut input: impl Read + Send + 'static) -> Receiver<u8> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 64];
        loop {
            match input.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => {
                    if bytes[..len].iter().any(|byte| sender.send(*byte).is_err()) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}

fn wait(signs: &Receiver<u8>, patience: Duration) -> Ended {
    loop {
        match signs.recv_timeout(patience) {
            Ok(DISMISSED) => return Ended::Dismissed,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Ended::Silent,
            Err(RecvTimeoutError::Disconnected) => return Ended::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn it_waits_for_the_end_for_silence_or_to_be_dismissed() {
        let (input, mut feeder) = std::io::pipe().unwrap();
        let signs_of_life = signs(input);
        let beating = thread::spawn(move || {
            for _ in 0..6 {
                feeder.write_all(&[ALIVE]).unwrap();
                thread::sleep(SHORT / 3);
            }
            feeder
        });
        assert_eq!(wait(&signs_of_life, SHORT), Ended::Silent);
        let mut feeder = beating.join().expect("it has gone silent only after six beats");
        feeder.write_all(&[ALIVE, DISMISSED]).unwrap();
        assert_eq!(wait(&signs_of_life, SHORT), Ended::Dismissed);
        drop(feeder);
        assert_eq!(wait(&signs_of_life, PATIENCE), Ended::Closed);
    }

    #[test]
    fn it_turns_off_what_is_ours_and_nothing_else() {
        let sysfs = tempfile::tempdir().unwrap();
        let kdamonds = sysfs.path().join("kernel/mm/damon/admin/kdamonds");
        let read = |file: &str| std::fs::read_to_string(kdamonds.join(file)).unwrap();
        std::fs::create_dir_all(kdamonds.join("0")).unwrap();
        for (file, value) in [("nr_kdamonds", "1\n"), ("0/state", "on\n"), ("0/pid", "77\n")] {
            std::fs::write(kdamonds.join(file), value).unwrap();
        }
        let ours = Mark { kdamond: 0, pid: 77 };
        for other in [Mark { pid: 78, ..ours }, Mark { kdamond: 1, ..ours }] {
            assert!(!turn_off(sysfs.path(), &other, SHORT).unwrap());
        }
        assert_eq!((read("nr_kdamonds"), read("0/state")), ("1\n".into(), "on\n".into()));
        let note = sysfs.path().join("note");
        turn_off_noted(sysfs.path(), &note).unwrap();
        assert_eq!(read("0/state"), "on\n", "there is no note");
        std::fs::write(&note, "0\n").unwrap();
        assert!(turn_off_noted(sysfs.path(), &note).is_err());
        std::fs::write(&note, "0 77\n").unwrap();
        turn_off_noted(sysfs.path(), &note).unwrap();
        assert!(!note.exists());
        assert_eq!((read("nr_kdamonds"), read("0/state")), ("0".into(), "off".into()));
        for (file, value) in [("nr_kdamonds", "1\n"), ("0/state", "on\n"), ("0/pid", "77\n")] {
            std::fs::write(kdamonds.join(file), value).unwrap();
        }
        assert!(turn_off(sysfs.path(), &ours, SHORT).unwrap());
        assert_eq!((read("nr_kdamonds"), read("0/state")), ("0".into(), "off".into()));
        assert!(!turn_off(&sysfs.path().join("nowhere"), &ours, SHORT).unwrap());
    }
}
