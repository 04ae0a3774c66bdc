//! The command line: options in, a sink and its news out.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use client::Address;
use client::messages::{MessageOptions, Messages};
use feeder::decision::Asked;
use feeder::device::Debugfs;
use feeder::host::{Host, SplitScheme, settle};
use feeder::http::{self, Shared};
use feeder::inbox::{Inbox, News};
use feeder::kernel::SpeFeed;
use feeder::plan::{Aim, Terms};
use feeder::privileges::{self, Need};
use feeder::run::Run;
use feeder::sink::damos::{Mark, Operations, Settings};
use feeder::sink::files::{Files, Form};
use feeder::sink::spe_feed::{Feeding, Manner};
use feeder::sink::{Figures, Sink, act, damo, vab};
use feeder::{service, supervisor};
use heatmap::{ChunkOrder, HotThreshold, MaxColdShare, Verdict};

/// Feeds this host's kernel with decisions about folios, and proves what it holds.
///
/// Takes decisions from a daemon (`folioscope serve`) or a file, and has the kernel keep or split
/// each folio by them. Without --sink it prints what it would write, and writes nothing.
#[derive(Debug, Parser)]
#[command(version, name = "folioscope-feeder", max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  folioscope decisions perf.data | folioscope-feeder --decisions - --explain
  folioscope-feeder --sink spe-feed --accept-split-on-death \\
      --http tcp:127.0.0.1:9090
  folioscope-feeder --decisions FILE --sink damos --action stat

Exit status: 0 done; 1 failed; 2 wrong usage; 3 with --strict if a folio found
no place.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    feed: Feed,
    #[command(flatten)]
    messages: MessageOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write man pages into a folder
    Man {
        /// The folder, which must exist
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Turn a kdamond off when whoever started this is gone
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        sysfs: PathBuf,
        #[arg(long)]
        kdamond: u32,
        #[arg(long)]
        pid: u32,
    },
    /// Turn off the kdamond that a feeder left when it was killed, supervisor and all
    ///
    /// For the service manager: which one it is stands in a file in $RUNTIME_DIRECTORY.
    #[command(hide = true)]
    TurnOff {
        #[arg(long, default_value = "/sys")]
        sysfs: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Feed {
    /// The daemon: unix:PATH or tcp:HOST:PORT [default: unix:/run/folioscope/folioscope.sock, else
    /// unix:$XDG_RUNTIME_DIR/folioscope.sock]
    #[arg(long, value_name = "ADDR", env = "FOLIOSCOPE_SERVICE", conflicts_with = "decisions")]
    service: Option<Address>,
    /// Decisions of a file instead, as `folioscope decisions` prints them; `-` is standard input
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Where decisions go
    #[arg(long, value_name = "SINK", default_value = "lines")]
    sink: Kind,
    /// Target order of the kernel's schemes, 2 to 8 [default: that of the schemes that run, else 2]
    #[arg(long, value_name = "N")]
    order: Option<ChunkOrder>,
    /// Hot threshold of the kernel's schemes in percent [default: that of the schemes that run,
    /// else 30]
    #[arg(long, value_name = "PCT")]
    hot_threshold: Option<HotThreshold>,
    /// Greatest cold share of a sparse folio that may be acted on: percent of its visits that lie
    /// outside of its hot chunks
    #[arg(long, value_name = "PCT", default_value = "20")]
    max_cold_share: MaxColdShare,
    /// What is fed
    #[arg(long, value_name = "PLAN", default_value = "protect")]
    plan: Planned,
    /// Writes a second at most; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    writes_per_second: u32,
    /// Start although somebody else's scheme splits every folio without an entry, and so those of
    /// all entries once this program is gone
    #[arg(long)]
    accept_split_on_death: bool,
    /// Say of each folio why it is fed or not: among lines after a `#`, for spe-feed in the log
    #[arg(long)]
    explain: bool,
    /// One pass: no renewal, and no write that is not in the plan
    #[arg(long)]
    once: bool,
    /// Exit with status 3 if a folio that should be fed found no place
    #[arg(long)]
    strict: bool,
    /// Health and metrics: unix:PATH or tcp:127.0.0.1:PORT [default: none]
    #[arg(long, value_name = "ADDR", env = "FOLIOSCOPE_FEEDER_HTTP")]
    http: Option<Address>,
    /// Where lines or damo's JSON go instead of standard output; memtierd's folder for vab
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    scheme: SchemeOptions,
    #[command(flatten)]
    host: HostOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Schemes of DAMON (damos, damo, vab)")]
struct SchemeOptions {
    /// What DAMON does to the folios [default: damos: split, if the kernel can; damo: stat]
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// Verdicts of the folios that it is done to [default: what suits the action]
    #[arg(long = "verdict", value_name = "VERDICT", value_parser = verdict)]
    verdicts: Vec<Verdict>,
    /// By virtual addresses of this process instead of physical ones
    #[arg(long, value_name = "PID")]
    target_pid: Option<u32>,
    /// The node to migrate to
    #[arg(long, value_name = "NODE")]
    target_node: Option<u32>,
    /// Filters that the scheme has at most
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_filters: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Where the kernel's file systems are")]
struct HostOptions {
    /// Holds damon/spe_feed
    #[arg(long, value_name = "DIR", default_value = "/sys/kernel/debug")]
    debugfs: PathBuf,
    /// Holds kernel/mm/damon
    #[arg(long, value_name = "DIR", default_value = "/sys")]
    sysfs: PathBuf,
    /// Holds PID/pagemap
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    procfs: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A dry run: the plan, a page frame a line
    Lines,
    /// The kernel's debugfs file (DAMON RFC v1)
    SpeFeed,
    /// A scheme of DAMON of our own, by sysfs
    Damos,
    /// JSON for the program damo
    Damo,
    /// memtierd's drop folder
    Vab,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Planned {
    /// Everything that is not proven to be sparse stays whole
    Protect,
    /// Every folio gets the hot chunks that were observed, as in the RFC
    Faithful,
}

fn verdict(name: &str) -> Result<Verdict, String> {
    heatmap::Verdict::from_name(name).ok_or_else(|| {
        "a verdict is hot, sparse, undersampled, filtered or unsplittable".to_owned()
    })
}

/// Runs the program with its own arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let messages = Messages::new("folioscope-feeder", &cli.messages);
    let result = match &cli.command {
        Some(command) => command.run().map(|()| ExitCode::SUCCESS),
        None => {
            messages.log();
            cli.feed.run(&messages)
        }
    };
    result.unwrap_or_else(|error| {
        let closed = |cause: &(dyn std::error::Error + 'static)| {
            let error = cause.downcast_ref::<std::io::Error>();
            error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        };
        // Whoever reads has enough: that is no failure.
        if error.chain().any(closed) {
            return ExitCode::SUCCESS;
        }
        messages.error(&error);
        ExitCode::FAILURE
    })
}

impl Command {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Completions { shell } => {
                let mut script = Vec::new();
                let mut cli = Cli::command();
                clap_complete::generate(*shell, &mut cli, "folioscope-feeder", &mut script);
                Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
            }
            Self::Man { folder } => client::manual::write(Cli::command(), folder)
                .with_context(|| format!("{}: cannot write man pages", folder.display())),
            Self::Supervise { sysfs, kdamond, pid } => {
                supervisor::run(sysfs, Mark { kdamond: *kdamond, pid: *pid })
            }
            Self::TurnOff { sysfs } => supervisor::turn_off_left(sysfs),
        }
    }
}

fn read(path: &Path, asked: Asked) -> anyhow::Result<Vec<feeder::decision::Decision>> {
    let lines: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).context("cannot open")?))
    };
    feeder::decisions::read(lines, asked)
}

impl Feed {
    fn run(&self, messages: &Messages) -> anyhow::Result<ExitCode> {
        let host = self.host();
        // Everything that can be refused is refused before anything is written.
        if self.sink == Kind::SpeFeed {
            host.check_spe_feed()?;
        }
        let feeds = matches!(self.sink, Kind::SpeFeed | Kind::Lines);
        let schemes = if feeds { host.split_schemes()? } else { Vec::new() };
        self.check_death(&schemes)?;
        let (order, threshold) = settle(&schemes, self.order, self.hot_threshold)?;
        feeder::decisions::check_order(order)?;
        let aim = match self.plan {
            Planned::Protect => Aim::Protect,
            Planned::Faithful => Aim::Faithful,
        };
        let terms = Terms { order, threshold, aim };
        let asked = Asked { order, threshold, max_cold_share: self.max_cold_share };
        let inbox = Inbox::new();
        if let Some(path) = &self.decisions {
            let decisions = read(path, asked).with_context(|| path.display().to_string())?;
            inbox.put(News::State { decisions, epoch: 0, expires: None });
        }
        let kept = privileges::keep_only(&self.needs())?;
        tracing::debug!("capabilities: {kept}");
        let mut sink = self.sink(&host, terms)?;
        let shared = Shared::default();
        self.start(&shared, &inbox, asked)?;
        // What a file says is said once, and files that others read stay as they are.
        let files = matches!(self.sink, Kind::Lines | Kind::Damo | Kind::Vab);
        let once = self.once || self.decisions.is_some() && files;
        let mut run = Run::new(once, shared);
        if self.sink == Kind::SpeFeed {
            run = run.beside(host, terms, schemes);
        }
        let figures = run.run(sink.as_mut(), &inbox)?;
        Ok(self.conclude(&figures, messages))
    }

    fn host(&self) -> Host {
        let HostOptions { debugfs, sysfs, procfs } = &self.host;
        Host { debugfs: debugfs.clone(), sysfs: sysfs.clone(), procfs: procfs.clone() }
    }

    /// What the sink and the daemon's socket need beyond what belongs to root.
    fn needs(&self) -> Vec<Need> {
        let has_socket =
            self.decisions.is_none() && !matches!(self.service, Some(Address::Tcp(..)));
        let writes_files = matches!(self.sink, Kind::Lines | Kind::Damo | Kind::Vab);
        let is_root = rustix::process::geteuid().is_root();
        let files = has_socket || writes_files || !is_root;
        let pages = self.sink == Kind::Damos && self.scheme.target_pid.is_some();
        let needs = [(files, Need::FilesOfOthers), (pages, Need::PageFramesOfProcesses)];
        needs.into_iter().filter_map(|(is, need)| is.then_some(need)).collect()
    }

    /// Where a scheme of others splits what has no entry, our death splits what we protect.
    fn check_death(&self, schemes: &[SplitScheme]) -> anyhow::Result<()> {
        let Some(scheme) = schemes.first().filter(|_| self.sink == Kind::SpeFeed) else {
            return Ok(());
        };
        let place = &scheme.place;
        ensure!(
            self.accept_split_on_death,
            "the scheme {place} splits every folio without an entry: 30 s after this program ends, \
             however it ends, also those that it protects; --accept-split-on-death starts it anyway"
        );
        tracing::warn!(
            "30 s after this program is gone the scheme {place} splits the folios that it protects"
        );
        Ok(())
    }

    fn sink(&self, host: &Host, terms: Terms) -> anyhow::Result<Box<dyn Sink>> {
        let SchemeOptions { action, verdicts, target_pid, target_node, max_filters } = &self.scheme;
        let verdicts = (!verdicts.is_empty()).then(|| verdicts.clone());
        let output = || self.output.clone();
        Ok(match self.sink {
            Kind::Lines => {
                let (explain, held) = (self.explain, SpeFeed::new());
                Box::new(Files::new(Form::Lines { terms, explain, held }, output()))
            }
            Kind::SpeFeed => {
                let device = Debugfs::open(&host.debugfs)?;
                let Self { writes_per_second, once, explain, .. } = *self;
                let manner = Manner { writes_per_second, once, explain };
                Box::new(Feeding::begin(device, terms, manner, Duration::ZERO)?)
            }
            Kind::Damos => {
                ensure!(!self.once, "--once: a scheme lives only as long as this program does");
                let settings = Settings {
                    sysfs: host.sysfs.clone(),
                    procfs: host.procfs.clone(),
                    action: action.clone(),
                    operations: target_pid
                        .map_or(Operations::Paddr, |pid| Operations::Vaddr { pid }),
                    verdicts,
                    max_filters: *max_filters,
                    order: Some(terms.order),
                    threshold: Some(terms.threshold),
                    target_node: *target_node,
                    ..Settings::default()
                };
                let program = std::env::current_exe().context("the path of this program")?;
                Box::new(act::Acting::open(settings, program)?)
            }
            Kind::Damo => {
                let mut settings = damo::Settings::default();
                settings.action = action.clone().unwrap_or(settings.action);
                settings.verdicts = verdicts.unwrap_or(settings.verdicts);
                Box::new(Files::new(Form::Damo(settings), output()))
            }
            Kind::Vab => {
                let Some(folder) = &self.output else {
                    bail!("--sink vab needs memtierd's folder: --output DIR");
                };
                let verdicts = verdicts.unwrap_or_else(|| vab::DEFAULT_VERDICTS.to_vec());
                Box::new(Files::new(Form::Vab(vab::Folder::new(folder, &verdicts)), output()))
            }
        })
    }

    /// Starts what goes on beside: signals, the daemon's stream, HTTP.
    fn start(&self, shared: &Shared, inbox: &Inbox, asked: Asked) -> anyhow::Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        // A second signal does not wait.
        let second = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&second))?;
            signal_hook::flag::register(signal, Arc::clone(&second))?;
        }
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
        let ends = inbox.clone();
        std::thread::spawn(move || {
            signals.forever().next();
            ends.end();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if let Some(address) = &self.http {
            runtime.block_on(http::listen(address, shared.clone()))?;
        }
        let follows = self.decisions.is_none().then(|| {
            let address = self.service.clone().unwrap_or_else(Address::default_socket);
            service::follow(address, asked, inbox.clone())
        });
        if follows.is_none() {
            shared.lock().last_true = Some(SystemTime::now());
        }
        if follows.is_none() && self.http.is_none() {
            return Ok(());
        }
        std::thread::spawn(move || {
            runtime.block_on(async {
                match follows {
                    Some(follows) => follows.await,
                    None => std::future::pending().await,
                }
            });
        });
        Ok(())
    }

    fn conclude(&self, figures: &Figures, messages: &Messages) -> ExitCode {
        if figures.unplaced > 0 {
            let unplaced = figures.unplaced;
            let explains = matches!(self.sink, Kind::Lines | Kind::SpeFeed);
            let why = if explains { "; --explain says why" } else { "" };
            messages.warn(&format!("{unplaced} folios found no place{why}"));
        }
        if figures.split_unproven > 0 {
            let split = figures.split_unproven;
            messages
                .warn(&format!("{split} folios that are not proven to be sparse will be split"));
        }
        if self.strict && figures.unplaced > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS }
    }
}
