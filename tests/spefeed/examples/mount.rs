//! Mounts the stand-in for scripts: `mount DIR`.
//!
//! It prints `mounted` on standard output when it is there, and totals on standard error every
//! second. It goes at SIGTERM, SIGINT or the end of standard input, whose lines are commands, each
//! answered by one line: `bitmap 0xPFN ORDER` (a digit for each chunk, chunk 0 first; or `none`),
//! `totals`, `prune`, `advance SECONDS`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use spefeed::{Kernel, Mounted};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Answers a command.
fn answer(kernel: &mut Kernel, command: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    let answer = match words.next()? {
        "bitmap" => {
            let pfn = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
            let bitmap = kernel.bitmap(pfn, words.next()?.parse().ok()?);
            let digits = |bitmap: Vec<bool>| {
                bitmap.into_iter().map(|hot| if hot { '1' } else { '0' }).collect()
            };
            bitmap.map_or_else(|| "none".into(), digits)
        }
        "totals" => totals(kernel),
        "prune" => {
            kernel.prune(kernel.now());
            totals(kernel)
        }
        "advance" => {
            let time = Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok()?;
            kernel.advance(time);
            "ok".into()
        }
        _ => return None,
    };
    words.next().is_none().then_some(answer)
}

fn totals(kernel: &Kernel) -> String {
    let (entries, accesses) = kernel.totals();
    format!("entries={entries} accesses={accesses} writes={}", kernel.writes)
}

async fn run(dir: PathBuf) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mounted = Mounted::new(dir)?;
    // Nobody reads the log.
    mounted.kernel().is_logged = false;
    println!("mounted");
    let (sender, mut commands) = mpsc::channel(1);
    std::thread::spawn(move || {
        for command in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(command).is_err() {
                break;
            }
        }
    });
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = second.tick() => eprintln!("{}", totals(&mounted.kernel())),
            command = commands.recv() => match command {
                Some(command) => {
                    let answer = answer(&mut mounted.kernel(), &command);
                    println!("{}", answer.unwrap_or_else(|| format!("error: {command}")));
                }
                None => return Ok(()),
            },
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(dir), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: mount DIR");
        return ExitCode::from(2);
    };
    if let Err(why) = spefeed::available() {
        eprintln!("mount: NOT RUN: {why}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.and_then(|runtime| runtime.block_on(run(dir.into())));

    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mount: {error}");
            ExitCode::FAILURE
        }
    }
}
