//! A daemon of our own, which reads what we write.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, bail};
use proto::v1::heatmap_service_client::HeatmapServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// How long a start may take, also emulated.
const START: Duration = Duration::from_secs(60);
/// Lines on standard error that are kept to explain a failure.
const KEPT: usize = 20;
/// Longest message of the daemon.
const MESSAGE: usize = 64 << 20;

/// A running `folioscope serve -`.
pub struct Daemon {
    child: Child,
    folder: TempDir,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Daemon {
    /// Starts a program, with the words before its own arguments. Returns it once it listens, with its input.
    ///
    /// # Errors
    /// If it cannot be started, or does not listen.
    pub fn start(program: &[String]) -> anyhow::Result<(Self, ChildStdin)> {
        let folder = tempfile::tempdir().context("a folder for the socket")?;
        let Some((name, words)) = program.split_first() else { bail!("no program is named") };
        let socket = format!("unix:{}", folder.path().join("socket").display());
        let child = Command::new(name)
            .args(words)
            .args([
                "serve",
                "-",
                "--replay",
                "0",
                "--epoch",
                "1s",
                "--cooling-interval",
                "10s",
                "--ttl",
                "30s",
            ])
            .args(["--grpc", &socket])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name}: cannot be started"))?;
        let said = Arc::default();
        let mut daemon = Self { child, folder, said };
        let stdin = daemon.child.stdin.take().context("its input is a pipe")?;
        daemon.wait_until_it_listens()?;
        Ok((daemon, stdin))
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let stderr = self.child.stderr.take().context("its messages are a pipe")?;
        let (listens, told) = mpsc::channel();
        let said = Arc::clone(&self.said);
        // It goes on reading, so that messages never fill the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("listening for gRPC") {
                    // Nobody may wait any more.
                    let _ = listens.send(());
                }
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_back(line);
                if said.len() > KEPT {
                    said.pop_front();
                }
            }
        });
        if told.recv_timeout(START).is_err() {
            bail!("the daemon does not listen; it said: {}", self.said());
        }
        Ok(())
    }

    /// What it said last.
    pub fn said(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Vec::from_iter(said.iter().map(String::as_str)).join(" | ")
    }

    /// Ends it. What it said last stays.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// A connection to it.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn connect(&self) -> anyhow::Result<HeatmapServiceClient<Channel>> {
        let address = format!("unix://{}", self.folder.path().join("socket").display());
        let channel = Endpoint::from_shared(address)?
            .connect()
            .await
            .context("the daemon does not answer")?;
        Ok(HeatmapServiceClient::new(channel).max_decoding_message_size(MESSAGE))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
