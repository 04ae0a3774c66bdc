//! DAMON's schemes as a sink: our scheme follows the decisions, and is off without them.

use std::path::PathBuf;
use std::time::Duration;

use super::damos::{Damos, Settings};
use super::{Figures, Sink};
use crate::decision::Decision;
use crate::supervisor::{self, Supervisor};

/// How often the statistics are read.
const STATS: Duration = Duration::from_secs(10);
/// How often the supervisor hears of us: well within what it waits.
const BEAT: Duration = Duration::from_secs(2);

/// The sink.
#[derive(Debug)]
pub struct Acting {
    damos: Damos,
    sysfs: PathBuf,
    program: PathBuf,
    supervisor: Option<Supervisor>,
    /// Folios that are acted on.
    folios: usize,
    unplaced: usize,
    /// Bytes that the scheme was applied to, as the kernel says.
    applied: u64,
    next_beat: Duration,
    next_stats: Duration,
    events: Vec<String>,
}

impl Acting {
    /// Checks that DAMON is there for us. Writes nothing.
    ///
    /// # Errors
    /// What is in the way.
    pub fn open(settings: Settings, program: PathBuf) -> anyhow::Result<Self> {
        let sysfs = settings.sysfs.clone();
        Ok(Self {
            damos: Damos::open(settings)?,
            sysfs,
            program,
            supervisor: None,
            folios: 0,
            unplaced: 0,
            applied: 0,
            next_beat: Duration::ZERO,
            next_stats: Duration::ZERO,
            events: Vec::new(),
        })
    }

    fn off(&mut self) -> anyhow::Result<()> {
        self.damos.turn_off()?;
        self.folios = 0;
        match self.supervisor.take() {
            Some(supervisor) => supervisor.dismiss(),
            None => Ok(()),
        }
    }
}

impl Sink for Acting {
    fn propose(&mut self, decisions: Vec<Decision>, _: Duration) -> anyhow::Result<()> {
        let Self { damos, supervisor, program, sysfs, .. } = self;
        let applied = damos.propose_watched(&decisions, |mark| {
            if let Some(before) = supervisor.take() {
                before.dismiss()?;
            }
            *supervisor = Some(supervisor::start(program, sysfs, mark)?);
            Ok(())
        })?;
        if self.damos.mark().is_none() {
            self.off()?;
        }
        self.folios = applied.folios.len();
        self.unplaced = applied.unplaced.len();
        self.events.push(format!(
            "the scheme acts on {} folios in {} ranges; {} found no place",
            applied.folios.len(),
            applied.ranges.len(),
            applied.unplaced.len()
        ));
        Ok(())
    }

    fn hold(&mut self) -> anyhow::Result<()> {
        if self.damos.mark().is_some() {
            self.events.push("the scheme is turned off".to_owned());
        }
        self.off()
    }

    fn tend(&mut self, now: Duration) -> anyhow::Result<Option<Duration>> {
        let Some(supervisor) = &mut self.supervisor else { return Ok(None) };
        if now >= self.next_beat {
            supervisor.beat()?;
            self.next_beat = now + BEAT;
        }
        if now >= self.next_stats {
            self.applied = self.damos.stats()?.sz_applied;
            self.next_stats = now + STATS;
        }
        Ok(Some(self.next_beat.min(self.next_stats)))
    }

    fn end(&mut self) -> anyhow::Result<String> {
        self.off()?;
        Ok("our scheme is off, and DAMON is as it was found".to_owned())
    }

    fn events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    fn figures(&self) -> Figures {
        Figures {
            acted_on: self.folios as u64,
            applied_bytes: self.applied,
            unplaced: self.unplaced as u64,
            ..Figures::default()
        }
    }
}
