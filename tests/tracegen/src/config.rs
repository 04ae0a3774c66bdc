//! What to generate.

use std::io;

use crate::bytes::Endian;
use crate::damage::Damage;
use crate::perf::Compression;
use crate::scenario::{Kind, T5_FOLIOS};
use crate::spe::Layout;

/// The container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// One file.
    #[default]
    File,
    /// A folder with `data` and, for samples, `data.N`.
    Folder,
    /// What `perf record -o -` writes.
    Stream,
}

/// What the records are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Arm SPE packets in AUX data, of a Neoverse N1.
    #[default]
    Spe,
    /// `PERF_RECORD_SAMPLE` with addresses, as from `ibs_op` of an AMD processor, whose samples may be of operations
    /// without memory.
    Samples,
}

/// What to generate. The same configuration gives the same bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of all randomness.
    pub seed: u64,
    /// How many records.
    pub records: u64,
    /// Layouts of SPE records; each record takes one of them at random.
    pub layouts: Vec<Layout>,
    /// How many CPUs, 1 to [`Config::MOST_CPUS`].
    pub cpus: u32,
    /// The container.
    pub form: Form,
    /// Byte order of the container.
    pub endian: Endian,
    /// Without times.
    pub timeless: bool,
    /// Compression of ring data.
    pub compression: Option<Compression>,
    /// What the records are made from.
    pub source: Source,
    /// How long it lasts, if that leaves at least a few ticks between records.
    pub seconds: u64,
    /// How many folios are touched, if there are enough accesses.
    pub folios: usize,
    /// How heat lies on them.
    pub scenario: Kind,
    /// What goes wrong.
    pub damage: Damage,
    /// Size of `perf_event_attr` in bytes, a multiple of 8 from 64 on.
    pub attr_size: u32,
    /// AUXTRACE_INFO version, 1 or 2.
    pub info_version: u32,
    /// The most bytes of AUX data in one AUXTRACE, and of samples in one drain; a multiple of 8.
    pub piece_size: usize,
    /// Cut AUX data at any multiple of 8, also inside packets, and not only between records.
    pub cut_anywhere: bool,
    /// Percentage of records that are no memory operation.
    pub not_memory: u64,
    /// Percentage of records that are memory operations without a physical address.
    pub no_physical_address: u64,
    /// Percentage of samples taken while a guest ran: their physical addresses are what the kernel looked up, which
    /// is none of the guest's.
    pub guests: u64,
    /// On each CPU one thread after the other, of two processes in turn, has the same number.
    pub reused_threads: bool,
    /// Do not count pages in the truth: then memory does not grow with them.
    pub without_pages: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            records: 100_000,
            layouts: vec![Layout::N1],
            cpus: 4,
            form: Form::File,
            endian: Endian::Little,
            timeless: false,
            compression: None,
            source: Source::Spe,
            seconds: 10,
            folios: T5_FOLIOS,
            scenario: Kind::T5,
            damage: Damage::default(),
            attr_size: 128,
            info_version: 1,
            piece_size: 1 << 20,
            cut_anywhere: false,
            not_memory: 15,
            no_physical_address: 5,
            guests: 0,
            reused_threads: false,
            without_pages: false,
        }
    }
}

impl Config {
    /// The most CPUs whose ids fit one ID_INDEX record.
    pub const MOST_CPUS: u32 = 1000;

    /// Checks what the types do not say.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, with the reason.
    pub fn check(&self) -> io::Result<()> {
        let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if !(1..=Self::MOST_CPUS).contains(&self.cpus) {
            return refuse("the number of CPUs must be 1 to 1000");
        }
        if self.layouts.is_empty() {
            return refuse("at least one layout is needed");
        }
        if self.folios == 0 {
            return refuse("at least one folio is needed");
        }
        if self.attr_size < 64 || !self.attr_size.is_multiple_of(8) || self.attr_size > 4096 {
            return refuse("the attr size must be a multiple of 8 from 64 to 4096");
        }
        if !(1..=2).contains(&self.info_version) {
            return refuse("AUXTRACE_INFO has versions 1 and 2");
        }
        if self.piece_size == 0 || !self.piece_size.is_multiple_of(8) {
            return refuse("the piece size must be a multiple of 8 and not 0");
        }
        if self.guests > 100 || self.guests > 0 && self.source != Source::Samples {
            return refuse("guests are a percentage, of samples alone: Arm SPE sees none");
        }
        if self.not_memory + self.no_physical_address > 100 {
            return refuse(
                "the shares of records without memory and without physical address exceed 100 percent",
            );
        }
        Ok(())
    }
}
