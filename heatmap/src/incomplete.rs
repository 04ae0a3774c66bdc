//! Why recordings do not hold all that happened while they were made.

use core::fmt;

use decoder::perf::AttrFlags;
use decoder::{Incomplete, Recording};

use crate::perf_arguments::{Arguments, arguments};

/// One reason, in words for its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The recorder did not finish the file.
    Unfinished,
    /// The input ends in the middle of a record or of its data.
    CutShort,
    /// The rings of these events were overwritten.
    Overwritten(String),
    /// Rings of AUX data were overwritten.
    Snapshots,
    /// perf wrote several files one after another, and this is one of them.
    OneOfSeveral,
    /// perf deleted all but so many of the files that it wrote one after another.
    LastFiles(u64),
}

impl Reason {
    /// The names of all reasons.
    pub const NAMES: [&'static str; 6] =
        ["unfinished", "cut_short", "overwritten", "snapshots", "one_of_several", "last_files"];

    /// A name for programs, one of [`Reason::NAMES`].
    pub fn name(&self) -> &'static str {
        let [unfinished, cut_short, overwritten, snapshots, one_of_several, last_files] =
            Self::NAMES;
        match self {
            Self::Unfinished => unfinished,
            Self::CutShort => cut_short,
            Self::Overwritten(_) => overwritten,
            Self::Snapshots => snapshots,
            Self::OneOfSeveral => one_of_several,
            Self::LastFiles(_) => last_files,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished => {
                out.write_str("the recording was not finished: its end may be missing")
            }
            Self::CutShort => out.write_str(
                "the input ends in the middle of a record or of its data: its end is missing",
            ),
            Self::Overwritten(events) => write!(
                out,
                "only the end of the time was kept of {events}, whose rings were overwritten \
                 (perf record --overwrite)"
            ),
            Self::Snapshots => out.write_str(
                "AUX rings were overwritten, and only what was in them at a snapshot was kept \
                 (perf record --snapshot)",
            ),
            Self::OneOfSeveral => out.write_str(
                "perf may have written several files one after another, of which only one is read \
                 (perf record --switch-output): name all of them",
            ),
            Self::LastFiles(most) => write!(
                out,
                "perf kept the last {most} files and deleted those before \
                 (perf record --switch-max-files)"
            ),
        }
    }
}

/// The reasons of recordings that are read together, each once.
pub fn reasons(recordings: &[Recording]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for recording in recordings {
        let of_decoder = recording.incomplete.iter().map(|reason| match reason {
            Incomplete::Unfinished => Reason::Unfinished,
            Incomplete::CutShort => Reason::CutShort,
            Incomplete::Overwritten => Reason::Overwritten(overwritten(recording)),
            Incomplete::Snapshots => Reason::Snapshots,
        });
        for reason in of_decoder.chain(of_several_files(recording, recordings)) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    reasons
}

/// The events whose rings were overwritten.
fn overwritten(recording: &Recording) -> String {
    let backward = recording
        .events
        .iter()
        .filter(|event| event.attr.flags.contains(AttrFlags::WRITE_BACKWARD))
        .map(|event| event.name.as_deref().unwrap_or("an event"));
    backward.collect::<Vec<_>>().join(", ")
}

/// What perf's command line says of files that it wrote one after another. Whoever names several
/// of them is taken to have named all that there are.
fn of_several_files(recording: &Recording, all: &[Recording]) -> Option<Reason> {
    let words = &recording.features.command_line;
    let Arguments { switches_output: true, max_files, .. } = arguments(words) else { return None };
    let parts = all.iter().filter(|other| other.features.command_line == *words).count() as u64;
    match max_files {
        1.. if parts >= max_files || parts == 1 => Some(Reason::LastFiles(max_files)),
        0 if parts == 1 => Some(Reason::OneOfSeveral),
        _ => None,
    }
}
