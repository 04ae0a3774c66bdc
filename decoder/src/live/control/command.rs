//! A command that is observed: started so that it inherits the events, and told to end with the
//! capture.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::live::error::Error;

/// How long a command that was told to end is waited for. Whoever waits for the recording is not
/// to wait for a command that takes its time.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What became of an observed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It ended by itself, with this status.
    Exited(i32),
    /// A signal ended it that was not ours.
    Killed(i32),
    /// The capture ended first, and the command when it was told to.
    Told,
    /// The capture ended first, and the command goes on although it was told to end: its process.
    GoesOn(u32),
}

impl From<ExitStatus> for CommandEnd {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or(0)),
        }
    }
}

/// A thread that commands are started from, whose events they inherit.
///
/// It does nothing else. Turning an event off and on again for all who inherited it turns it on
/// for whom they have it from, too; of a thread that only waits there is nothing to observe.
#[derive(Debug)]
pub(in crate::live) struct Starter {
    /// The thread.
    pub(in crate::live) tid: i32,
    commands: Sender<Command>,
    started: Receiver<io::Result<Child>>,
}

impl Starter {
    pub(in crate::live) fn new() -> Result<Self, Error> {
        let (commands, wanted) = channel::<Command>();
        let (tell, started) = channel();
        let (tell_tid, tid) = channel();
        let work = move || {
            let _ = tell_tid.send(rustix::thread::gettid().as_raw_nonzero().get());
            while let Ok(mut command) = wanted.recv() {
                let _ = tell.send(command.spawn());
            }
        };
        let no_thread = |why: String| Error::unusable(format!("cannot start a thread: {why}"));
        let thread = std::thread::Builder::new().name("starter".to_owned()).spawn(work);
        thread.map_err(|error| no_thread(error.to_string()))?;
        let tid = tid.recv().map_err(|error| no_thread(error.to_string()))?;
        Ok(Self { tid, commands, started })
    }

    /// Starts a command, which counts from its start.
    pub(in crate::live) fn start(
        &self,
        words: &[OsString],
        to_stderr: bool,
    ) -> Result<Running, Error> {
        let (program, arguments) =
            words.split_first().ok_or_else(|| Error::unusable("no command was given"))?;
        let mut command = Command::new(program);
        command.args(arguments);
        if to_stderr && let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
            command.stdout(stderr);
        }
        let _ = self.commands.send(command);
        let started = self.started.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        started.map(Running).map_err(|source| Error::Command { program: program.clone(), source })
    }
}

/// A command that runs. Dropping it tells it to end.
#[derive(Debug)]
pub(in crate::live) struct Running(Child);

impl Running {
    pub(in crate::live) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Tells it to end if it has not, and waits for it, but not for ever.
    pub(in crate::live) fn finish(mut self) -> CommandEnd {
        if let Ok(Some(status)) = self.0.try_wait() {
            return status.into();
        }
        terminate(&self.0);
        let told = Instant::now();
        while !self.has_ended() {
            if told.elapsed() >= GRACE {
                return CommandEnd::GoesOn(self.0.id());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        CommandEnd::Told
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            terminate(&self.0);
        }
    }
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It has not been waited for: the number is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}
