//! The daemon's life: open, listen, read, answer, end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use heatmap::Filters;
use heatmap::facts::injected;
use heatmap::live::{InputState, Live, Snapshot};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

use super::config::{Given, HostDefaults};
use super::source::Source;
use super::state::State;

/// How long listeners and streams have to end.
const DRAIN: Duration = Duration::from_secs(5);

/// The input's name if it is what this host does.
const CAPTURED: &str = "live";

/// Runs the daemon until its input or a signal ends it. Without `input` it captures, or reads
/// standard input.
///
/// # Errors
/// If the input or a listener cannot be opened, if the input fails and `exit-on-eof` is set, or if
/// capturing fails.
pub fn run(
    given: &Given,
    host: &HostDefaults,
    input: Option<&Path>,
    filters: Filters,
) -> anyhow::Result<()> {
    let wanted = given.config(host, false)?;
    let (source, input) = match (wanted.capture, input) {
        (Some(options), _) => {
            options.period_caveats().iter().for_each(|caveat| tracing::warn!("{caveat}"));
            (Source::capture(options, &filters)?, CAPTURED.to_owned())
        }
        (None, input) => {
            let input = input.unwrap_or(Path::new("-"));
            (Source::open(input, wanted.follow)?, input.display().to_string())
        }
    };
    let config = given.config(host, source.is_live)?;
    let live = Live::new(config.live, filters);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let state = Arc::new(State::new(config, input, live.latest())?);
    let result = runtime.block_on(serve(Arc::clone(&state), live, source));
    // What does not end by itself is left behind.
    runtime.shutdown_background();
    result
}

async fn serve(state: Arc<State>, live: Live, source: Source) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut reload = signal(SignalKind::hangup())?;
    let tasks = TaskTracker::new();
    // Everything that can be refused is refused before anything is read.
    let (grpc, http) = super::place::places(&state.config)?;
    super::grpc::listen(grpc, &state, &tasks).await?;
    super::http::listen(http, &state, &tasks).await?;

    let mut published = state.published.subscribe();
    let telling = Arc::clone(&state);
    live.when_published(move |sequence| {
        telling.published.send_replace(sequence);
    });
    let reader = live.clone();
    let reading = Arc::clone(&state);
    std::thread::Builder::new().name("ingest".to_owned()).spawn(move || {
        if source.waits() {
            give_way();
        }
        source.read(reader, &reading);
    })?;
    tasks.spawn(tick(live.clone(), Arc::clone(&state)));

    let (mut told_ready, mut status) = (false, Status::default());
    let mut before = InputState::Waiting;
    let mut warned = None;
    loop {
        tokio::select! {
            changed = published.changed() => {
                if changed.is_err() {
                    break;
                }
                let snapshot = state.snapshot();
                let input_state = snapshot.state.clone();
                if snapshot.is_ready() && !told_ready {
                    told_ready = true;
                    notify(&[NotifyState::Ready]);
                }
                status.tell(&snapshot);
                let note = snapshot.known.as_ref().and_then(|known| injected(&known.recording));
                if let Some(note) = note.as_ref().filter(|_| note != warned) {
                    tracing::warn!(input = %state.input, "{note}");
                    warned = Some(note.clone());
                }
                if input_state == before {
                    continue;
                }
                before.clone_from(&input_state);
                if let InputState::Failed(reason) = &input_state {
                    tracing::error!(input = %state.input, %reason, "the input failed");
                    // A capture does not come back: whoever started us may try again.
                    if state.config.exit_on_eof || state.config.capture.is_some() {
                        end(&state, &live, tasks).await;
                        anyhow::bail!("{}: {reason}", state.input);
                    }
                }
                if input_state == InputState::Ended {
                    tracing::info!(input = %state.input, "the input has ended");
                    if state.config.exit_on_eof {
                        break;
                    }
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                reloading();
                super::state::reload(&state);
                if told_ready {
                    notify(&[NotifyState::Ready]);
                }
            }
        }
    }
    // A second signal does not wait.
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        std::process::exit(1);
    });
    end(&state, &live, tasks).await;
    Ok(())
}

/// How much nicer the threads that count are than those that answer.
const NICER: i32 = 5;

/// Lets others go first: answers take microseconds and somebody waits for them, the input waits in
/// its pipe. It holds for this thread, and for those that it starts.
fn give_way() {
    let nicer = rustix::process::getpriority_process(None)
        .and_then(|nice| rustix::process::setpriority_process(None, nice + NICER));
    if let Err(error) = nicer {
        tracing::debug!(%error, "counting does not give way to answers");
    }
}

/// Ends listeners and streams, within a limit.
async fn end(state: &State, live: &Live, tasks: TaskTracker) {
    notify(&[NotifyState::Stopping]);
    live.stop();
    state.ending.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("connections did not end in time, and are cut off");
    }
}

/// Lets time pass for what is counted.
async fn tick(live: Live, state: Arc<State>) {
    let epoch = Duration::from_nanos(state.config.live.epoch_ns);
    let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
    let most = watchdog.unwrap_or(Duration::MAX).min(Duration::from_secs(1));
    let tick = epoch.clamp(Duration::from_millis(10).min(most), most);
    let mut last_ping = Instant::now();
    let mut interval = tokio::time::interval(tick);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = state.ending.cancelled() => break,
            _ = interval.tick() => {}
        }
        // It waits for whoever counts: if that is stuck, so is this, and no ping is sent.
        let live = live.clone();
        if tokio::task::spawn_blocking(move || live.tick()).await.is_err() {
            break;
        }
        if watchdog.is_some_and(|interval| last_ping.elapsed() >= interval) {
            last_ping = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Tells the service manager that settings are read again: what waits for that waits for the word
/// that they have been.
fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the service manager was not told"),
    }
}

/// A line for the service manager about how it goes, not too often.
#[derive(Default)]
struct Status {
    told: Option<Instant>,
}

impl Status {
    /// Time from one line to the next.
    const PAUSE: Duration = Duration::from_secs(5);

    fn tell(&mut self, snapshot: &Snapshot) {
        if self.told.is_some_and(|told| told.elapsed() < Self::PAUSE) {
            return;
        }
        self.told = Some(Instant::now());
        let state = match &snapshot.state {
            InputState::Waiting => "waiting for input",
            InputState::Running => "reading",
            InputState::Stalled => "nothing comes",
            InputState::Ended => "the input has ended",
            InputState::Failed(_) => "the input failed",
        };
        let ledger = &snapshot.ledger;
        let line = format!(
            "{state}: {} records, {} lost, {} bytes of counters",
            ledger.records, ledger.lost, snapshot.memory
        );
        notify(&[NotifyState::Status(&line)]);
    }
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
