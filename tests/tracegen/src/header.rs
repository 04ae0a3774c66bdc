//! What a recording says about the machine and the recorder.

use crate::config::{Config, Form, Source};
use crate::perf::attr::{flag, sample_type as st};
use crate::perf::feature::{Features, bit};
use crate::perf::{Attr, Event, compress};
use crate::spe;

/// PMU type of the tracing event: whatever the kernel gave out at boot.
pub(crate) const PMU: u32 = 11;
/// The software PMU and its event that counts nothing but carries side-band records.
const SOFTWARE: (u32, u64) = (1, 9);

/// The tracing event and the one that carries side-band records.
pub(crate) fn events(config: &Config) -> Vec<Event> {
    let time = if config.timeless { 0 } else { st::TIME };
    let common = st::IDENTIFIER | st::IP | st::TID | st::CPU | st::DATA_SRC | st::PHYS_ADDR | time;
    let ids = |base: u64| (0..u64::from(config.cpus)).map(|cpu| base + cpu).collect();
    let (kind, size) = (PMU, config.attr_size);
    let (first, name) = match config.source {
        Source::Spe => (
            Attr {
                kind,
                size,
                // ts_enable, pa_enable, jitter.
                config: u64::from(!config.timeless) | 1 << 1 | 1 << 16,
                sample_period: 1024,
                sample_type: common,
                flags: flag::INHERIT | flag::SAMPLE_ID_ALL,
                ..Attr::default()
            },
            match config.timeless {
                false => "arm_spe_0/ts_enable=1,pa_enable=1,jitter=1/",
                true => "arm_spe_0/pa_enable=1,jitter=1/",
            },
        ),
        Source::Samples => (
            Attr {
                kind,
                size,
                sample_period: 100_003,
                sample_type: common
                    | st::ADDR
                    | st::PERIOD
                    | st::WEIGHT_STRUCT
                    | st::DATA_PAGE_SIZE,
                flags: flag::INHERIT | flag::SAMPLE_ID_ALL,
                ..Attr::default()
            },
            "ibs_op//",
        ),
    };
    let side_band = Attr {
        kind: SOFTWARE.0,
        size,
        config: SOFTWARE.1,
        sample_period: 1,
        sample_type: first.sample_type,
        flags: flag::INHERIT
            | flag::MMAP
            | flag::COMM
            | flag::TASK
            | flag::SAMPLE_ID_ALL
            | flag::MMAP2
            | flag::CONTEXT_SWITCH,
        ..Attr::default()
    };
    vec![
        Event { attr: first, ids: ids(10_000), name: name.to_owned() },
        Event { attr: side_band, ids: ids(20_000), name: "dummy:u".to_owned() },
    ]
}

/// Whether ring data goes to `data.N`: perf does that with `--threads`, which refuses AUX data; the folder of an SPE
/// recording (`--kcore`) has one data file, which is like any file.
pub(crate) fn in_parts(config: &Config) -> bool {
    config.form == Form::Folder && config.source == Source::Samples
}

/// The feature sections that are known at the start.
pub(crate) fn features(config: &Config, events: &[Event]) -> Features {
    let mut features = Features::new(config.endian);
    features
        .text(bit::HOSTNAME, "spehost")
        .text(bit::OSRELEASE, "6.12.0")
        .text(bit::VERSION, "6.12.0")
        .cpus(config.cpus)
        .words(bit::TOTAL_MEM, &[256 << 20])
        .events(events);
    match config.source {
        Source::Spe => features
            .text(bit::ARCH, "aarch64")
            .text(bit::CPUDESC, "Neoverse-N1")
            .text(bit::CPUID, &format!("{:#018x}", spe::MIDR_NEOVERSE_N1))
            .command(&["/usr/bin/perf", "record", "-a", "-e", &events[0].name])
            .pmus(&[
                (1, "software"),
                (2, "tracepoint"),
                (5, "breakpoint"),
                (8, "armv8_pmuv3_0"),
                (PMU, "arm_spe_0"),
            ]),
        Source::Samples => features
            .text(bit::ARCH, "x86_64")
            .text(bit::CPUDESC, "AMD EPYC 9654 96-Core Processor")
            .text(bit::CPUID, "AuthenticAMD,25,17,1")
            .command(&["/usr/bin/perf", "record", "-a", "-d", "--phys-data", "-e", &events[0].name])
            .pmus(&[
                (1, "software"),
                (2, "tracepoint"),
                (4, "cpu"),
                (5, "breakpoint"),
                (10, "ibs_fetch"),
                (PMU, "ibs_op"),
            ]),
    };
    if config.compression.is_some() {
        features.compressed(compress::LEVEL, compress::LONGEST);
    }
    if in_parts(config) {
        features.words(bit::DIR_FORMAT, &[1]);
    }
    features
}
