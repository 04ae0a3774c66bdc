//! What the configuration of an `ibs_op` event leaves out of its loads and stores
//! (`arch/x86/events/amd/ibs.c`, its `format` folder in sysfs).

use decoder::perf::{Attr, Event, Features};

/// A word of `perf_event_attr`, as far as it is known.
struct Word {
    name: &'static str,
    of: fn(&Attr) -> u64,
    /// Bits that leave out nothing.
    harmless: u64,
    /// Bits that do, and what.
    filters: &'static [(u64, &'static str)],
}

const WORDS: [Word; 5] = [
    Word {
        name: "config",
        of: |attr| attr.config,
        // The counter's length (0-15 and 20-26), and cnt_ctl, what it counts.
        harmless: 0xffff | 0x7f << 20 | 1 << 19,
        // l3missonly
        filters: &[(1 << 16, "only misses of the last-level cache were recorded")],
    },
    Word {
        name: "config1",
        of: |attr| attr.config1,
        harmless: 0,
        // ldlat, strmst
        filters: &[
            (0xfff, "only loads of some latency were recorded"),
            (1 << 12, "only streaming stores were recorded"),
        ],
    },
    // swfilt, which only says who keeps to exclude_user and exclude_kernel.
    Word { name: "config2", of: |attr| attr.config2, harmless: 1, filters: &[] },
    Word { name: "config3", of: |attr| attr.config3, harmless: 0, filters: &[] },
    Word { name: "config4", of: |attr| attr.config4, harmless: 0, filters: &[] },
];

/// What an event that IBS samples for leaves out.
pub(crate) fn left_out(event: &Event, features: &Features) -> Vec<String> {
    // Precise events of the processor's own counters are sampled by IBS too: their config is the
    // number of an event.
    let own = event.unit(features) == Some("ibs_op");
    let attr = Attr { config: if own { event.attr.config } else { 0 }, ..event.attr };
    let mut reasons = Vec::new();
    for word in WORDS {
        let mut unknown = (word.of)(&attr) & !word.harmless;
        for (bits, reason) in word.filters {
            if unknown & bits != 0 {
                reasons.push((*reason).to_owned());
                unknown &= !bits;
            }
        }
        reasons.extend(unknown_bits(word.name, unknown));
    }
    reasons
}

/// What is said of bits of which nothing is known: they may be a filter.
pub(crate) fn unknown_bits(word: &str, bits: u64) -> Option<String> {
    let reason =
        || format!("a setting that is not known here may leave out accesses ({word} {bits:#x})");
    (bits != 0).then(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(unit: &str, change: impl FnOnce(&mut Attr)) -> String {
        let mut attr = Attr { type_: 10, ..Attr::default() };
        change(&mut attr);
        let features = Features { pmus: [(10, unit.to_owned())].into(), ..Features::default() };
        left_out(&Event::new(attr), &features).join("; ")
    }

    #[test]
    fn each_setting_of_ibs_op() {
        let ibs = |change: fn(&mut Attr)| told("ibs_op", change);
        for harmless in [
            (|attr| attr.config = 0) as fn(&mut Attr),
            |attr: &mut Attr| attr.config = 1 << 19,
            |attr: &mut Attr| attr.config = 0x07f0_ffff,
            |attr: &mut Attr| attr.config2 = 1,
        ] {
            assert_eq!(ibs(harmless), "");
        }
        let unknown =
            |word| format!("a setting that is not known here may leave out accesses ({word})");
        let l3 = "only misses of the last-level cache were recorded";
        assert_eq!(ibs(|attr| attr.config = 1 << 16 | 1 << 19), l3);
        assert_eq!(ibs(|attr| attr.config1 = 128), "only loads of some latency were recorded");
        assert_eq!(ibs(|attr| attr.config1 = 1 << 12), "only streaming stores were recorded");
        assert_eq!(ibs(|attr| attr.config = 1 << 17), unknown("config 0x20000"));
        assert_eq!(ibs(|attr| attr.config = 1 << 57), unknown("config 0x200000000000000"));
        assert_eq!(
            ibs(|attr| attr.config1 = 3 << 12),
            format!("only streaming stores were recorded; {}", unknown("config1 0x2000"))
        );
        assert_eq!(ibs(|attr| attr.config2 = 2), unknown("config2 0x2"));
        assert_eq!(ibs(|attr| attr.config3 = 4), unknown("config3 0x4"));
        assert_eq!(ibs(|attr| attr.config4 = 8), unknown("config4 0x8"));
        // `r1c1:p`: the number of an event, 0xc1, and nothing else of config.
        assert_eq!(told("cpu", |attr| attr.config = 0xf_00c1), "");
        assert!(told("cpu", |attr| attr.config1 = 1 << 12).contains("streaming"));
    }
}
