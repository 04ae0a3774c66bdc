//! How often to sample on this host, and the commands that do it. Arithmetic alone.
//!
//! What a processor really does is not known before it is sampled, so rates are assumed, for CPUs
//! that are all busy; the advice says them. A quieter host writes less.

use heatmap::{RECORD_AMD, RECORD_INTEL, precise_events};
use serde::Serialize;

use super::event::Event;
use super::units::Unit;

/// What an event costs, as assumed.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// What the period counts.
    counted: &'static str,
    /// How many of these a busy CPU does in a second.
    per_second: u64,
    /// What a sample takes in the recording.
    bytes: u64,
    /// The unit writes samples on its own; else each interrupts its CPU.
    buffered: bool,
}

/// SPE: usual records of Neoverse cores, padded to 64 bytes.
const SPE: Cost =
    Cost { counted: "operations", per_second: 3_000_000_000, bytes: 64, buffered: true };
/// PEBS: all loads and all stores, as [`RECORD_INTEL`] counts them. A sample of ours has a header,
/// IDENTIFIER, IP, TID, TIME, ADDR, CPU, WEIGHT, DATA_SRC and PHYS_ADDR of 8 bytes each; one of
/// perf's has no WEIGHT.
const PEBS: Cost =
    Cost { counted: "loads and stores", per_second: 1_500_000_000, bytes: 80, buffered: false };
/// IBS: cycles, which `ibs_op` counts unless told otherwise; samples as those of PEBS.
const IBS: Cost = Cost { counted: "cycles", per_second: 3_000_000_000, bytes: 80, buffered: false };

/// Samples a second on each CPU where each interrupts it: some percent of its time.
const MOST_INTERRUPTS: u64 = 10_000;

/// The low bits that SPE's interval register does not have (`PMSIRR_EL1.INTERVAL` is bits 31:8),
/// and its most.
const SPE_STEP: u64 = 1 << 8;
const SPE_MOST: u64 = 0xffff_ff00;
/// IBS counts in steps of 16, up to 27 bits of them (`IbsOpMaxCnt`).
const IBS_STEP: u64 = 16;
const IBS_MOST: u64 = 0x7ff_ffff * IBS_STEP;
/// A prime, as all periods of PEBS.
const PEBS_MOST: u64 = 0x7fff_ffff;

/// The AUX area of each CPU: at least two pages of any size, at most perf's own default.
const LEAST_AUX: u64 = 128 << 10;
const MOST_AUX: u64 = 4 << 20;

/// What the advice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// CPUs that are recorded.
    pub cpus: u64,
    /// What the recording may grow in a second.
    pub budget_bytes_per_second: u64,
    /// `perf_event_max_sample_rate`, if the kernel says it.
    pub max_sample_rate: Option<u64>,
}

/// How often to sample, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What to record.
    pub event: Event,
    /// One sample for each so many of `counted`.
    pub period: u64,
    /// What the period counts.
    pub counted: &'static str,
    /// How many of these a busy CPU is assumed to do in a second.
    pub assumed_per_second: u64,
    /// What a sample is assumed to take.
    pub sample_bytes: u64,
    /// CPUs that are recorded.
    pub cpus: u64,
    /// What was allowed.
    pub budget_bytes_per_second: u64,
    /// What the recording grows in a second, if all CPUs are busy as assumed.
    pub bytes_per_second: u64,
    /// The area that the unit writes to, where it does.
    pub aux_bytes_per_cpu: Option<u64>,
}

impl Advice {
    /// The advice for a unit.
    pub fn of(unit: &Unit, load: Load) -> Self {
        let cost = match unit.event {
            Event::Spe => SPE,
            Event::Ibs => IBS,
            Event::Pebs | Event::Faults => PEBS,
        };
        let least = least_period(cost, load);
        let period = match unit.event {
            Event::Spe => {
                let least = least.max(unit.min_interval.unwrap_or(0));
                least.min(SPE_MOST).next_multiple_of(SPE_STEP).max(SPE_STEP)
            }
            Event::Ibs => least.min(IBS_MOST).next_multiple_of(IBS_STEP),
            Event::Pebs | Event::Faults => next_prime(least.min(PEBS_MOST)),
        };
        let bytes = u128::from(load.cpus) * u128::from(cost.per_second) * u128::from(cost.bytes);
        let bytes = clamped(bytes / u128::from(period));
        Self {
            event: unit.event,
            period,
            counted: cost.counted,
            assumed_per_second: cost.per_second,
            sample_bytes: cost.bytes,
            cpus: load.cpus,
            budget_bytes_per_second: load.budget_bytes_per_second,
            bytes_per_second: bytes,
            aux_bytes_per_cpu: cost.buffered.then(|| aux_bytes(bytes / load.cpus.max(1))),
        }
    }
}

/// The least period that stays in the budget, and does not interrupt too often.
fn least_period(cost: Cost, load: Load) -> u64 {
    let bytes = u128::from(load.cpus) * u128::from(cost.per_second) * u128::from(cost.bytes);
    let by_budget = clamped(bytes.div_ceil(u128::from(load.budget_bytes_per_second.max(1))));
    if cost.buffered {
        return by_budget;
    }
    let rate = load.max_sample_rate.unwrap_or(MOST_INTERRUPTS).clamp(1, MOST_INTERRUPTS);
    by_budget.max(cost.per_second.div_ceil(rate))
}

fn clamped(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Room for a second, a power of two.
fn aux_bytes(bytes_per_second: u64) -> u64 {
    bytes_per_second.clamp(LEAST_AUX, MOST_AUX).next_power_of_two()
}

/// The least prime from a number on: PEBS has no jitter, and no loop is as long as a large prime.
fn next_prime(number: u64) -> u64 {
    let is_prime = |number: &u64| {
        let divisors = (2..).take_while(|divisor| divisor * divisor <= *number);
        divisors.into_iter().all(|divisor| !number.is_multiple_of(divisor))
    };
    (number.max(2)..).find(is_prime).unwrap_or(PEBS_MOST)
}

/// A command that is ready for this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// What it is for.
    pub purpose: &'static str,
    /// The line for a shell.
    pub command: String,
    /// What must be known of its result.
    pub caveat: Option<&'static str>,
}

/// Where the commands are typed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shell {
    /// To record all CPUs takes more rights than this process has.
    pub(super) as_root: bool,
    /// It has those to record its user's own processes.
    pub(super) own_alone: bool,
    /// perf is there.
    pub(super) perf: bool,
}

/// The commands that record on this host and show what came of it.
pub(super) fn commands(
    unit: Option<&Unit>,
    advice: Option<&Advice>,
    Shell { as_root, own_alone, perf }: Shell,
) -> Vec<Command> {
    let sudo = if as_root { "sudo " } else { "" };
    let command = |purpose, line: String, caveat| Command {
        purpose,
        command: format!("{sudo}{line}"),
        caveat,
    };
    // Ours is as large as perf's unless told otherwise.
    let aux = advice.and_then(|advice| advice.aux_bytes_per_cpu).filter(|bytes| *bytes < MOST_AUX);
    let aux = aux.map(|bytes| format!(" --aux-size {}KiB", bytes >> 10)).unwrap_or_default();
    let mut commands = Vec::new();
    if own_alone {
        let event = unit.map_or(Event::Faults, |unit| unit.event).name();
        let period = advice.map_or(1, |advice| advice.period);
        commands.push(Command {
            purpose: "samples of a command of your own, without more rights",
            command: format!(
                "folioscope record --event {event} --period {period}{aux} -o perf.data -- COMMAND"
            ),
            caveat: advice.is_none().then_some(FIRST_TOUCHES),
        });
    }
    if let (Some(unit), Some(advice)) = (unit, advice) {
        let event = unit.event.name();
        let period = advice.period;
        let line = format!(
            "folioscope record --event {event} --period {period}{aux} --all-cpus -o perf.data"
        );
        commands.push(command("samples of all CPUs, until Ctrl-C", line, None));
        if perf {
            commands.push(command("the same by perf, for 10 s", perf_record(unit, advice), None));
        }
        let line = format!("folioscope serve --live={event} --period {period}{aux}{PAGE}");
        commands.push(command("the same as it goes, with a page", line, None));
    } else {
        let line = "folioscope record --event faults --period 1 --all-cpus -o perf.data".to_owned();
        commands.push(command(
            "minor page faults of all CPUs, until Ctrl-C",
            line,
            Some(FIRST_TOUCHES),
        ));
        if perf {
            let purpose = "the same by perf, for 10 s";
            let line =
                "perf record -e minor-faults -c 1 -d --phys-data -a -o perf.data -- sleep 10";
            commands.push(command(purpose, line.to_owned(), Some(FIRST_TOUCHES)));
        }
        let line = format!("folioscope serve --live=faults{PAGE}");
        commands.push(command("the same as it goes, with a page", line, Some(FIRST_TOUCHES)));
        let line = "folioscope record --event mem:0xADDRESS/8:rw --pid PID -o perf.data";
        commands.push(command(
            "all accesses of a process to 8 bytes, until Ctrl-C",
            line.to_owned(),
            Some(EIGHT_BYTES),
        ));
    }
    // A recording of root's is for root to read.
    commands.push(command("what is hot", "folioscope report perf.data".to_owned(), None));
    commands
}

/// The end of a daemon's command.
const PAGE: &str = " --http tcp:127.0.0.1:8080";
const FIRST_TOUCHES: &str = "no sample of accesses: first touches of pages";
const EIGHT_BYTES: &str = "no sample of accesses: one breakpoint";

/// perf's command with the period and the areas of the advice.
fn perf_record(unit: &Unit, advice: &Advice) -> String {
    let period = advice.period;
    // Named, since perf writes into its standard output where that is a pipe.
    let to_file = format!(" -c {period} -a -o perf.data ");
    let with_period = |line: &str| line.replacen(" -a ", &to_file, 1);
    match unit.event {
        Event::Ibs => with_period(RECORD_AMD),
        Event::Pebs if unit.devices.iter().any(|device| device != "cpu") => {
            let events = unit.devices.iter().flat_map(|device| precise_events(device));
            let events = events.collect::<Vec<_>>().join(" ");
            let to_file = format!("-d --phys-data{to_file}-- sleep 10");
            format!("perf record {events} {to_file}")
        }
        Event::Pebs | Event::Faults => with_period(RECORD_INTEL),
        Event::Spe => {
            let event = |device: &String| format!("-e {device}/pa_enable=1,ts_enable=1,jitter=1/");
            let events: Vec<_> = unit.devices.iter().map(event).collect();
            let aux = advice.aux_bytes_per_cpu.unwrap_or(MOST_AUX) >> 10;
            let events = events.join(" ");
            format!("perf record {events} -c {period} -m ,{aux}K -a -o perf.data -- sleep 10")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(event: Event, cpus: u64, budget_mib: u64) -> Advice {
        let unit =
            Unit { min_interval: Some(1024), ..Unit::of(event, vec!["arm_spe_0".to_owned()]) };
        let load = Load {
            cpus,
            budget_bytes_per_second: budget_mib << 20,
            max_sample_rate: Some(100_000),
        };
        Advice::of(&unit, load)
    }

    #[test]
    fn spe_fills_the_budget_and_no_more() {
        // 3e9 operations/s * 64 bytes / 50 MiB = 3662.1 for each CPU, rounded up to 256.
        let cases = [
            (1, 3_840, 4 << 20),
            (4, 14_848, 4 << 20),
            // 52,415,xxx bytes of 256 CPUs: 204,745 of each.
            (256, 937_728, 256 << 10),
        ];
        for (cpus, period, aux) in cases {
            let advice = advice(Event::Spe, cpus, 50);
            assert_eq!(advice.period, period, "{cpus} CPUs");
            assert_eq!(advice.aux_bytes_per_cpu, Some(aux), "{cpus} CPUs");
            assert_eq!(advice.bytes_per_second, cpus * 192_000_000_000 / period);
            assert!(advice.bytes_per_second <= 50 << 20, "{cpus} CPUs");
            let finer = cpus * 192_000_000_000 / (period - 256);
            assert!(finer > 50 << 20, "{cpus} CPUs: no finer period fits");
        }
    }

    #[test]
    fn the_units_limits_hold() {
        // The least interval of the processor, the most of the register.
        assert_eq!(advice(Event::Spe, 1, 100_000).period, 1024);
        assert_eq!(advice(Event::Spe, u64::MAX, 0).period, SPE_MOST);
        assert_eq!(advice(Event::Ibs, u64::MAX, 0).period, IBS_MOST);
        assert_eq!(advice(Event::Pebs, u64::MAX, 0).period, PEBS_MOST);
        for cpus in [0, 1, 3, 1000] {
            assert!(advice(Event::Spe, cpus, 7).period.is_multiple_of(256));
            assert!(advice(Event::Ibs, cpus, 7).period.is_multiple_of(16));
        }
        assert_eq!(advice(Event::Spe, 4096, 50).aux_bytes_per_cpu, Some(LEAST_AUX));
    }

    #[test]
    fn interrupts_are_few_where_each_sample_is_one() {
        // 1 and 4 CPUs: 10,000 samples a second of each; 256: the budget,
        // 256 * 3e9 * 80 / 50 MiB = 1,171,875, and half as many loads and stores: 585,937.5.
        let ibs = [1, 4, 256].map(|cpus| advice(Event::Ibs, cpus, 50).period);
        assert_eq!(ibs, [300_000, 300_000, 1_171_888]);
        let pebs = [1, 4, 256].map(|cpus| advice(Event::Pebs, cpus, 50).period);
        assert_eq!(pebs, [150_001, 150_001, 585_953]);
        assert_eq!(advice(Event::Ibs, 1, 50).aux_bytes_per_cpu, None);
        // A kernel that allows less.
        let unit = Unit::of(Event::Ibs, Vec::new());
        let load =
            Load { cpus: 1, budget_bytes_per_second: 50 << 20, max_sample_rate: Some(1_000) };
        assert_eq!(Advice::of(&unit, load).period, 3_000_000);
    }

    #[test]
    fn primes() {
        let cases = [(0, 2), (2, 2), (4, 5), (150_000, 150_001), (PEBS_MOST, PEBS_MOST)];
        for (from, want) in cases {
            assert_eq!(next_prime(from), want);
        }
    }

    #[test]
    fn commands_for_each_unit() {
        let devices = vec!["arm_spe_0".to_owned(), "arm_spe_1".to_owned()];
        let lines = |event, (as_root, perf)| {
            let shell = Shell { as_root, perf, own_alone: false };
            let unit = Unit::of(event, devices.clone());
            let advice = advice(event, 4, 50);
            let commands = commands(Some(&unit), Some(&advice), shell);
            commands.into_iter().map(|command| command.command).collect::<Vec<_>>()
        };
        let spe = [
            "folioscope record --event spe --period 14848 --all-cpus -o perf.data",
            "perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ \
             -e arm_spe_1/pa_enable=1,ts_enable=1,jitter=1/ -c 14848 -m ,4096K -a \
             -o perf.data -- sleep 10",
            "folioscope serve --live=spe --period 14848 --http tcp:127.0.0.1:8080",
            "folioscope report perf.data",
        ];
        assert_eq!(lines(Event::Spe, (false, true)), spe);
        let ibs = [
            "sudo folioscope record --event ibs --period 300000 --all-cpus -o perf.data",
            "sudo perf record -e ibs_op// -d --phys-data -R -c 300000 -a -o perf.data -- sleep 10",
            "sudo folioscope serve --live=ibs --period 300000 --http tcp:127.0.0.1:8080",
            "sudo folioscope report perf.data",
        ];
        assert_eq!(lines(Event::Ibs, (true, true)), ibs);
        let pebs = [
            "folioscope record --event pebs --period 150001 --all-cpus -o perf.data",
            "folioscope serve --live=pebs --period 150001 --http tcp:127.0.0.1:8080",
            "folioscope report perf.data",
        ];
        assert_eq!(lines(Event::Pebs, (false, false)), pebs);
        let unit = Unit::of(Event::Pebs, vec!["cpu".to_owned()]);
        let line = perf_record(&unit, &advice(Event::Pebs, 4, 50));
        let end = ".all_stores:P -d --phys-data -c 150001 -a -o perf.data -- sleep 10";
        assert!(line.ends_with(end), "{line}");
        let two = ["cpu_core", "cpu_atom"].map(str::to_owned).to_vec();
        let line = perf_record(&Unit { devices: two, ..unit }, &advice(Event::Pebs, 4, 50));
        assert_eq!(
            line,
            "perf record -e cpu_core/mem_inst_retired.all_loads/P \
             -e cpu_core/mem_inst_retired.all_stores/P -e cpu_atom/mem_uops_retired.all_loads/P \
             -e cpu_atom/mem_uops_retired.all_stores/P -d --phys-data -c 150001 -a -o perf.data \
             -- sleep 10"
        );
    }

    #[test]
    fn who_may_record_own_processes_alone_is_told_how() {
        let shell = Shell { as_root: true, own_alone: true, ..Shell::default() };
        let commands = commands(None, None, shell);
        assert_eq!(
            commands[0].command,
            "folioscope record --event faults --period 1 -o perf.data -- COMMAND"
        );
        assert!(commands[1].command.starts_with("sudo folioscope record --event faults"));
    }

    #[test]
    fn without_a_unit_nothing_passes_for_a_sample() {
        let shell = Shell { perf: true, ..Shell::default() };
        let fallback = commands(None, None, shell);
        assert_eq!(fallback.len(), 5);
        for command in &fallback[..4] {
            assert!(command.caveat.unwrap().starts_with("no sample of accesses"), "{command:?}");
        }
        assert!(fallback[1].command.contains("minor-faults -c 1 -d --phys-data"));
        assert!(fallback[3].command.contains("mem:0xADDRESS/8:rw"));
    }
}
