//! What the unit of a CPU is told: to go on after its ring was full, to publish what it holds.
//!
//! ```text
//! a pass says TRUNCATED or LOST    ->  go on now, and once more after the next pass
//! nothing came between two calls   ->  publish: stop, and go on
//! ```
//!
//! A unit whose ring was full is off until it is told to go on. The record that says so may be
//! among those that found no room, so that any loss counts as a sign. Records are read before AUX
//! bytes, so the ring may still be full of bytes that came in between when the sign is seen: the
//! kernel then leaves the unit off and writes no record (`perf_aux_output_begin` in
//! `kernel/events/ring_buffer.c`, where `handle->size` is 0). Those bytes are out after the next
//! pass, hence once more: a unit that is on by then publishes what it holds, where all CPUs are
//! captured, since its event is disabled first (`OpenEvents::resume`). If no sign came at all, a unit that
//! is off is quiet, and to publish turns it on too.

use super::cpu_rings::Passed;

/// What is known of a CPU's unit by what came out of its rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::live) struct AuxRestart {
    /// It was told to go on when its ring may still have been full.
    again: bool,
    /// Nothing came since it was last asked whether it publishes.
    quiet: bool,
    /// It was told to publish, and nothing came since.
    silent: bool,
}

impl AuxRestart {
    /// A pass over its rings was made. Whether it is to go on.
    pub(in crate::live) fn goes_on(&mut self, passed: &Passed) -> bool {
        self.quiet &= passed.aux_bytes == 0;
        self.silent &= passed.aux_bytes == 0;
        let full = passed.truncated + passed.lost > 0;
        core::mem::replace(&mut self.again, full) || full
    }

    /// It is looked at once in a while. Whether it is to publish what it holds.
    pub(in crate::live) fn publishes(&mut self) -> bool {
        self.silent = core::mem::replace(&mut self.quiet, true);
        self.silent
    }

    /// Whether nothing has come although it was told to publish what it holds.
    pub(in crate::live) fn is_silent(self) -> bool {
        self.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Passed = Passed {
        record_bytes: 0,
        samples: 0,
        side_records: 0,
        aux_bytes: 0,
        truncated: 0,
        collisions: 0,
        partial: 0,
        lost: 0,
        lost_samples: 0,
        throttled: 0,
        unreadable: 0,
        overruns: 0,
    };
    const BYTES: Passed = Passed { aux_bytes: 64, ..NOTHING };
    const FULL: Passed = Passed { truncated: 1, ..BYTES };
    const LOSS: Passed = Passed { lost: 1, ..NOTHING };

    #[test]
    fn a_unit_goes_on_when_its_ring_was_full_and_once_more() {
        let cases: &[(&str, &[Passed], &[bool])] = &[
            ("all is well", &[NOTHING, BYTES, NOTHING], &[false, false, false]),
            ("its ring was full", &[FULL, BYTES, BYTES], &[true, true, false]),
            ("it was full, and nothing came", &[FULL, NOTHING, NOTHING], &[true, true, false]),
            ("the sign may be lost", &[LOSS, BYTES, BYTES], &[true, true, false]),
            ("twice", &[FULL, FULL, BYTES, BYTES], &[true, true, true, false]),
            ("twice, apart", &[FULL, BYTES, FULL, BYTES, BYTES], &[true, true, true, true, false]),
        ];
        for (name, passes, wanted) in cases {
            let mut unit = AuxRestart::default();
            let got: Vec<_> = passes.iter().map(|passed| unit.goes_on(passed)).collect();
            assert_eq!(got, *wanted, "{name}");
        }
    }

    /// What passes gave between two looks at the unit.
    type Spans<'a> = &'a [&'a [Passed]];

    #[test]
    fn a_unit_publishes_when_it_was_quiet_for_a_while() {
        let cases: &[(&str, Spans<'_>, &[bool])] = &[
            ("new", &[&[]], &[false]),
            ("nothing came", &[&[], &[NOTHING, NOTHING], &[NOTHING]], &[false, true, true]),
            ("something came", &[&[], &[NOTHING, BYTES, NOTHING], &[]], &[false, false, true]),
            ("only records came", &[&[], &[Passed { record_bytes: 8, ..LOSS }]], &[false, true]),
            (
                "it gave again",
                &[&[], &[], &[BYTES], &[BYTES], &[]],
                &[false, true, false, false, true],
            ),
        ];
        for (name, spans, wanted) in cases {
            let mut unit = AuxRestart::default();
            let got: Vec<_> = spans
                .iter()
                .map(|passes| {
                    passes.iter().for_each(|passed| _ = unit.goes_on(passed));
                    unit.publishes()
                })
                .collect();
            assert_eq!(got, *wanted, "{name}");
        }
    }

    #[test]
    fn a_unit_is_silent_until_it_gives_what_it_was_told_to_publish() {
        let mut unit = AuxRestart::default();
        assert!(!unit.publishes() && !unit.is_silent(), "it may only be slow");
        assert!(unit.publishes() && unit.is_silent());
        unit.goes_on(&NOTHING);
        assert!(unit.is_silent());
        unit.goes_on(&BYTES);
        assert!(!unit.is_silent());
        assert!(!unit.publishes() && !unit.is_silent());
    }
}
