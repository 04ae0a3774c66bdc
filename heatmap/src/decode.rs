//! From an input to a counter: the decoder, compiled for the sinks of this crate.
//!
//! The decoder is generic over its sink, so the compiler makes it anew for each, in the crate that
//! names the sink. For counters that is this one, whose code is optimised most (see the workspace's
//! profiles), and each is made once: the programs call these functions. The list of `records` is a
//! sink of the program, which has its own.

use std::io::Read;
use std::sync::atomic::AtomicBool;

use decoder::live::{self as capture, Progress};
use decoder::page_map::{LookUp, ProcessFrames, SavedFrames};
use decoder::{Error, Input, Options, Raw, Recording, Shard, decode_stream};

use crate::counters::Counters;
use crate::folio::{Block, Folio};
use crate::ingest::Counter;
use crate::live::Live;

/// A counter, with the frames of a page map for accesses that have none.
pub type CounterOfFiles<B> = LookUp<Counter<B>, SavedFrames>;

/// What can be kept of the blocks of an input.
pub trait Countable: Block + Send + Sized {
    /// Decodes and counts an input, see [`Input::decode`] and [`Input::decode_raw`].
    ///
    /// # Errors
    /// Those of the decoder.
    fn decode(
        input: Input,
        raw: Option<Raw>,
        first_file: u32,
        options: &Options,
        counter: &mut CounterOfFiles<Self>,
    ) -> Result<Recording, Error>;
}

/// A method in the trait would be compiled by whoever calls it.
macro_rules! countable {
    ($($block:ty),*) => {$(
        impl Countable for $block {
            fn decode(
                input: Input,
                raw: Option<Raw>,
                first_file: u32,
                options: &Options,
                counter: &mut CounterOfFiles<Self>,
            ) -> Result<Recording, Error> {
                decode(input, raw, first_file, options, counter)
            }
        }
    )*};
}

countable!(Folio, Counters);

/// Decodes an input into any sink: a recording, or bytes without a container.
///
/// # Errors
/// Those of the decoder.
pub fn decode<S: Shard>(
    input: Input,
    raw: Option<Raw>,
    first_file: u32,
    options: &Options,
    sink: &mut S,
) -> Result<Recording, Error> {
    match raw {
        Some(raw) => input.decode_raw(raw, first_file, sink),
        None => input.decode(first_file, options, sink),
    }
}

impl Counter {
    /// Counts what this host does, see [`capture::capture`], until `stop` says so. An access
    /// without a frame gets the one that its process has then.
    ///
    /// # Errors
    /// What the kernel or the options do not allow.
    pub fn capture(
        self,
        options: &capture::Options,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(Self, Recording, Progress), capture::Error> {
        let mut sink = options.look_up(self, ProcessFrames::default());
        let (recording, progress) = capture::capture(options, stop, progress, &mut sink)?;
        Ok((sink.into_inner(), recording, progress))
    }
}

impl Live {
    /// Counts an input, see [`Input::decode`].
    ///
    /// # Errors
    /// Those of the decoder.
    pub fn decode(&mut self, input: Input, options: &Options) -> Result<Recording, Error> {
        input.decode(0, options, self)
    }

    /// Counts a stream as it comes, see [`decode_stream`].
    ///
    /// # Errors
    /// Those of the decoder.
    pub fn decode_stream(
        &mut self,
        reader: &mut dyn Read,
        options: &Options,
    ) -> Result<Recording, Error> {
        decode_stream(reader, 0, options, self)
    }

    /// Counts what this host does, see [`Counter::capture`].
    ///
    /// # Errors
    /// What the kernel or the options do not allow.
    pub fn capture(
        &self,
        options: &capture::Options,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Recording, capture::Error> {
        let mut sink = options.look_up(self.clone(), ProcessFrames::default());
        Ok(capture::capture(options, stop, progress, &mut sink)?.0)
    }
}
