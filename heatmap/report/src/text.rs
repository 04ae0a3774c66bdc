//! The report as people read it: what was lost before what was found, numbers before
//! pictures, every picture with its legend. The plain form is ASCII.

use std::io::{self, Write};

use decoder::Ledger;
use heatmap::{CpuCoverage, Report, TimeBase, Verdict};

use super::hottest::{TopColumns, top_legend};
use super::layout::{
    Line, Paint, bar, clean, counted, duration, hanging, ranges, seconds, share, shares_add_up,
    shorten, side_by_side, thousands,
};
use super::style::Style;

/// CPUs that get a line each; more are summarised.
const CPU_LINES: usize = 8;

/// Where the facts about CPUs start.
const COVERAGE_INDENT: usize = 11;

/// Ranges of silent CPUs that are listed.
const CPU_RANGES: usize = 24;

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn report(report: &Report, out: &mut dyn io::Write, style: Style) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let sections = [
        input(report, style),
        totals(report, style),
        losses(report, style),
        accounts(report, style),
        reason(report, style),
        notes(report, style),
        verdicts(report, style),
        distributions(report, style),
        coverage(report, style),
        latency(report, style),
        top_legend(report, style),
    ];
    let mut first = true;
    for section in sections.iter().filter(|section| !section.is_empty()) {
        if !first {
            writeln!(out)?;
        }
        first = false;
        write_lines(&mut out, section)?;
    }
    let columns = TopColumns::new(&report.top, style);
    if !report.top.is_empty() {
        writeln!(out)?;
        write_lines(&mut out, &columns.head())?;
    }
    for (index, folio) in report.top.iter().enumerate() {
        write_lines(&mut out, &columns.rows(index + 1, folio))?;
    }
    out.flush()
}

fn write_lines(out: &mut impl Write, lines: &[Line]) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{}", line.finish()))
}

/// What was read.
fn input(report: &Report, style: Style) -> Vec<Line> {
    let input = &report.input;
    let path = shorten(clean(&input.path, style).trim(), style.width());
    let mut facts = Vec::new();
    if !input.sources.is_empty() {
        facts.push(input.sources.join(" + "));
    }
    facts.extend(input.arch.clone());
    facts.push(input.kind.name().to_owned());
    match (input.time_base, input.duration_ns) {
        (TimeBase::Ns, Some(ns)) => facts.push(format!("{} of trace time", duration(ns))),
        (TimeBase::Ns, None) => {}
        (TimeBase::Ticks, _) => facts.push("times in ticks of an unknown clock".to_owned()),
        (TimeBase::None, _) => facts.push("no times".to_owned()),
    }
    let mut lines = vec![Line::new(style).paint(Paint::Title, &path)];
    lines.extend(hanging(Line::new(style), None, &clean(&facts.join(", "), style)));
    lines
}

/// What was counted.
fn totals(report: &Report, style: Style) -> Vec<Line> {
    if report.accesses == 0 {
        return vec![Line::new(style).paint(Paint::Title, "0 accesses")];
    }
    let total = format!(
        "{} to {} of {}",
        counted(report.accesses, "access", "accesses"),
        counted(report.pages, "page", "pages"),
        counted(report.folios, "block of 2 MiB", "blocks of 2 MiB"),
    );
    let mut lines = hanging(Line::new(style), Some(Paint::Title), &total);
    lines.extend(hanging(
        Line::new(style),
        Some(Paint::Faint),
        "A block is 2 MiB of physical memory: no proof of a transparent huge page.",
    ));
    lines
}

/// What the numbers miss; one line if that is nothing.
fn losses(report: &Report, style: Style) -> Vec<Line> {
    let ledger = &report.ledger;
    let losses: Vec<_> = ledger.losses().collect();
    let mut lines = Vec::new();
    if let Err(error) = ledger.check() {
        lines.extend(hanging(Line::new(style), Some(Paint::Bad), &error.to_string()));
    }
    if losses.is_empty() && report.unreadable.is_empty() {
        if lines.is_empty() {
            let (paint, text) = if ledger.recording_incomplete.is_empty() {
                (Paint::Good, "Nothing lost, as far as the recording tells.")
            } else {
                (Paint::Bad, "NOT COMPLETE: the notes say what is missing.")
            };
            lines.extend(hanging(Line::new(style), Some(paint), text));
        }
        return lines;
    }
    lines.push(Line::new(style).paint(Paint::Bad, "LOST: all numbers below miss this"));
    let numbers: Vec<_> = losses.iter().map(|(_, value)| thousands(*value)).collect();
    let width = numbers.iter().map(String::len).max().unwrap_or(0);
    for ((name, _), number) in losses.iter().zip(&numbers) {
        let head = Line::new(style)
            .push("  ")
            .paint(Paint::Bad, &format!("! {name:<18}  {number:>width$}"))
            .push("  ");
        lines.extend(hanging(head, None, &what_was_lost(name, report)));
    }
    for section in &report.unreadable {
        let head = Line::new(style).push("  ").paint(Paint::Bad, "! unreadable").push("  ");
        lines.extend(hanging(head, None, &clean(section, style)));
    }
    lines
}

fn what_was_lost(name: &str, report: &Report) -> String {
    match name {
        "skipped_bytes" => "bytes dropped while resynchronising after damage".to_owned(),
        "cut_off_bytes" => "bytes of unfinished records at gaps and ends".to_owned(),
        "aux_missing_bytes" => {
            "bytes of AUX data that were announced and are not in the recording".to_owned()
        }
        "aux_truncated" => "times the AUX buffer was full: data is missing".to_owned(),
        "aux_collision" => "times the hardware dropped samples".to_owned(),
        "aux_partial" => "AUX pieces whose last record may be incomplete".to_owned(),
        "lost" => format!(
            "perf's LOST says {}, LOST_SAMPLES {}",
            thousands(report.ledger.lost_records),
            thousands(report.ledger.lost_samples),
        ),
        "over_budget" => {
            "accesses that the memory budget did not hold: the result depends on --max-memory"
                .to_owned()
        }
        "saturated_counters" => "pages whose counter stopped at 4,294,967,295".to_owned(),
        _ => String::new(),
    }
}

/// What became of the records, with how many.
fn of_records(ledger: &Ledger) -> [(&'static str, u64); 7] {
    [
        ("counted", ledger.counted),
        ("guest address", ledger.guest_address),
        ("no physical address", ledger.no_physical_address),
        ("lookup failed", ledger.lookup_failed),
        ("not memory", ledger.not_memory),
        ("filtered", ledger.filtered),
        ("over budget", ledger.over_budget),
    ]
}

/// What became of the AUX bytes, with how many.
fn of_aux_bytes(ledger: &Ledger) -> [(&'static str, u64); 4] {
    [
        ("in records", ledger.record_bytes),
        ("padding", ledger.padding_bytes),
        ("skipped", ledger.skipped_bytes),
        ("cut off", ledger.cut_off_bytes),
    ]
}

/// Whether the percentages of some whole in the report do not add up to 100, as they are shown.
fn shares_are_rounded(report: &Report) -> bool {
    let (ledger, verdicts) = (&report.ledger, &report.verdicts);
    let judged = [
        verdicts.hot,
        verdicts.sparse,
        verdicts.undersampled,
        verdicts.filtered,
        verdicts.unsplittable,
    ];
    let cpus = report.coverage.iter().map(|cpu| cpu.records);
    let cpus: Vec<_> = cpus.filter(|_| report.coverage.len() <= CPU_LINES).collect();
    let add_up =
        |parts: &[(&str, u64)], whole| shares_add_up(parts.iter().map(|(_, part)| *part), whole);
    !add_up(&of_records(ledger), ledger.records)
        || !add_up(&of_aux_bytes(ledger), ledger.aux_bytes)
        || judged != [0; 5] && !shares_add_up(judged, report.folios)
        || !shares_add_up(cpus.iter().copied(), sum(&cpus))
}

fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

/// Where every record and every byte went.
fn accounts(report: &Report, style: Style) -> Vec<Line> {
    let ledger = &report.ledger;
    let mut kinds = of_records(ledger).to_vec();
    // Said only where something was looked up.
    let asked = ledger.looked_up + ledger.lookup_failed > 0;
    kinds.retain(|(name, _)| asked || *name != "lookup failed");
    kinds.retain(|(name, _)| ledger.guest_accesses > 0 || *name != "guest address");
    let records = account(("Records", ledger.records), &kinds, style);
    let bytes = if ledger.aux_bytes == 0 {
        Vec::new()
    } else {
        account(("AUX bytes", ledger.aux_bytes), &of_aux_bytes(ledger), style)
    };
    let mut lines = side_by_side(records, bytes, style);
    if shares_are_rounded(report) {
        let text = "Percentages are rounded: those of one whole may not add up to 100.";
        lines.extend(hanging(Line::new(style), Some(Paint::Faint), text));
    }
    let beside: Vec<_> = [
        (ledger.looked_up, "physical addresses looked up, not sampled"),
        (ledger.lookup_gone, "not found: the process had ended"),
        (ledger.lookup_not_present, "not found: nothing was present there"),
        (ledger.lookup_hidden, "not found: hidden without CAP_SYS_ADMIN"),
        (ledger.guest_accesses, "accesses of virtual machines"),
        (ledger.not_address_events, "records of events without data addresses"),
        (ledger.not_retired, "records not retired (they count)"),
        (ledger.tid_unknown, "of an unknown thread"),
        (ledger.throttled, "times throttled: samples are missing, a longer period prevents that"),
        (ledger.late, "accesses after their epoch had closed"),
        (ledger.foreign_aux_bytes, "AUX bytes of tracers that are not decoded"),
        (ledger.overlap_bytes, "AUX bytes delivered twice, counted once"),
    ]
    .into_iter()
    .filter(|(value, _)| *value != 0)
    .map(|(value, what)| format!("{} {what}", thousands(value)))
    .collect();
    if !beside.is_empty() {
        let head = Line::new(style).push("Besides  ");
        lines.extend(hanging(head, None, &beside.join("; ")));
    }
    if report.records_by_source.len() > 1 {
        for (source, ledger) in &report.records_by_source {
            let head = Line::new(style).push("Source   ");
            let text = format!(
                "{}: {}, {} counted",
                clean(source, style),
                counted(ledger.records, "record", "records"),
                thousands(ledger.counted)
            );
            lines.extend(hanging(head, None, &text));
        }
    }
    lines
}

/// A sum and its parts, numbers under each other.
fn account(sum: (&str, u64), parts: &[(&str, u64)], style: Style) -> Vec<Line> {
    let label = parts.iter().map(|(name, _)| name.len() + 2).max().unwrap_or(0);
    let number = label
        + 2
        + parts
            .iter()
            .fold(thousands(sum.1).len(), |widest, (_, value)| widest.max(thousands(*value).len()));
    let mut lines =
        vec![Line::new(style).paint(Paint::Title, sum.0).right(&thousands(sum.1), number)];
    for &(name, value) in parts {
        let line = Line::new(style).push("  ").push(name).right(&thousands(value), number);
        lines.push(line.right(&share(value, sum.1), number + 9));
    }
    lines
}

/// Why nothing was counted.
fn reason(report: &Report, style: Style) -> Vec<Line> {
    let text = match (&report.reason, report.accesses) {
        (Some(reason), _) => clean(reason, style),
        (None, 0) => "no record of a memory access was found".to_owned(),
        (None, _) => return Vec::new(),
    };
    let head = Line::new(style).paint(Paint::Bad, "NOTHING COUNTED: ");
    hanging(head, Some(Paint::Bad), &text)
}

/// What must be known to read the numbers.
fn notes(report: &Report, style: Style) -> Vec<Line> {
    let note = |note: &String| {
        let head = Line::new(style).paint(Paint::Note, "Note: ");
        hanging(head, None, &clean(note, style))
    };
    report.notes.iter().filter(|note| !note.is_empty()).flat_map(note).collect()
}

fn verdicts(report: &Report, style: Style) -> Vec<Line> {
    if report.folios == 0 {
        return Vec::new();
    }
    let counts = &report.verdicts;
    let threshold = report.hot_threshold;
    let rows = [
        (Verdict::Hot, counts.hot, format!("{threshold} % of the chunks or more are hot")),
        (
            Verdict::Sparse,
            counts.sparse,
            format!("under {threshold} % hot, with enough visits to be sure"),
        ),
        (
            Verdict::Undersampled,
            counts.undersampled,
            "too few visits to tell, or too close in time".to_owned(),
        ),
        (
            Verdict::Filtered,
            counts.filtered,
            "accesses left out: hot pages may be missing".to_owned(),
        ),
        (
            Verdict::Unsplittable,
            counts.unsplittable,
            "never split at this order and threshold".to_owned(),
        ),
    ];
    let number = rows.iter().map(|(_, count, _)| thousands(*count).len()).max().unwrap_or(0);
    let chunk = format!(
        "chunk: {} ({} KiB); hot: at least max(peak / 10, 1) accesses, rounded down; peak: those \
         of the block's hottest chunk",
        counted(1 << report.order.min(9), "page", "pages"),
        4 << report.order.min(9),
    );
    let head = Line::new(style).paint(Paint::Title, "Verdicts").push("  ");
    let mut lines = hanging(head, Some(Paint::Faint), &chunk);
    for (verdict, count, meaning) in rows {
        let line = Line::new(style).push("  ").push(verdict.words());
        let line = line.to(16).right(&thousands(count), 16 + number);
        let line = line.right(&share(count, report.folios), 25 + number).push("  ");
        lines.extend(hanging(line, Some(Paint::Faint), &meaning));
        if verdict == Verdict::Sparse && count > 0 {
            let proposed = format!(
                "{} of them may be set apart: cold share of {} % at most, backing thp or unknown",
                thousands(report.proposable),
                report.max_cold_share
            );
            let line = Line::new(style).to(27 + number);
            lines.extend(hanging(line, Some(Paint::Faint), &proposed));
        }
    }
    lines
}

fn distributions(report: &Report, style: Style) -> Vec<Line> {
    if report.folios == 0 {
        return Vec::new();
    }
    let hot = if report.order == 0 { "hot pages" } else { "hot chunks" };
    side_by_side(
        distribution("Blocks by touched pages", &report.touched_distribution, style),
        distribution(&format!("Blocks by {hot}"), &report.hot_distribution, style),
        style,
    )
}

/// Ten rows: percent, bar, blocks.
fn distribution(title: &str, blocks: &[u64; 10], style: Style) -> Vec<Line> {
    const LABEL: usize = 9;
    const LEAST_BAR: usize = 8;
    let most = blocks.iter().copied().max().unwrap_or(0);
    let number = thousands(most).len();
    let room = style.width() / 2 - 2;
    let bars = room.saturating_sub(LABEL + number + 2).max(LEAST_BAR);
    let mut lines = vec![Line::new(style).paint(Paint::Title, title)];
    for (row, &count) in blocks.iter().enumerate() {
        let to = if row == 9 { 100 } else { row * 10 + 9 };
        let line = Line::new(style).right(&format!("{}-{to} %", row * 10), LABEL).push(" ");
        let line = line.paint(Paint::Heat, &bar(count, most, bars, style));
        lines.push(line.right(&thousands(count), LABEL + 1 + bars + 1 + number));
    }
    lines
}

fn coverage(report: &Report, style: Style) -> Vec<Line> {
    let cpus = &report.coverage;
    let silent: Vec<u32> = cpus.iter().filter(|cpu| cpu.records == 0).map(|cpu| cpu.cpu).collect();
    let mut lines = match cpus.len() {
        0 => return Vec::new(),
        1..=CPU_LINES => coverage_lines(cpus, style),
        _ => coverage_summary(cpus, style),
    };
    if lines.iter().any(|line| line.width() > style.width()) {
        lines = coverage_summary(cpus, style);
    }
    if !silent.is_empty() {
        let head = Line::new(style).push("  ").paint(Paint::Bad, "silent").to(COVERAGE_INDENT);
        let text =
            format!("CPU {} without records: unknown, not cold", ranges(&silent, CPU_RANGES));
        lines.extend(hanging(head, None, &text));
    }
    lines
}

/// One line for each CPU.
fn coverage_lines(cpus: &[CpuCoverage], style: Style) -> Vec<Line> {
    let all = sum(&cpus.iter().map(|cpu| cpu.records).collect::<Vec<_>>());
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), seconds);
    let rows: Vec<[String; 5]> = cpus
        .iter()
        .map(|cpu| {
            let records = thousands(cpu.records);
            let share = share(cpu.records, all);
            [cpu.cpu.to_string(), records, share, time(cpu.first_ns), time(cpu.last_ns)]
        })
        .collect();
    let head = ["CPU", "records", "share", "first (s)", "last (s)"];
    let widths: [usize; 5] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].len()).fold(head[column].len(), usize::max)
    });
    let line = |row: [&str; 5]| {
        let mut line = Line::new(style);
        for (text, width) in row.iter().zip(widths) {
            let end = line.width() + 2 + width;
            line = line.right(text, end);
        }
        line
    };
    let mut lines = vec![Line::new(style).paint(Paint::Title, "Records by CPU"), line(head)];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines
}

/// A few lines for any number of CPUs.
fn coverage_summary(cpus: &[CpuCoverage], style: Style) -> Vec<Line> {
    let mut active: Vec<_> = cpus.iter().filter(|cpu| cpu.records > 0).collect();
    active.sort_by_key(|cpu| (cpu.records, cpu.cpu));
    let head = format!(
        "{}, {} with records",
        counted(cpus.len() as u64, "CPU", "CPUs"),
        thousands(active.len() as u64)
    );
    let title = Line::new(style).paint(Paint::Title, "Records by CPU").push("  ");
    let mut lines = hanging(title, None, &head);
    let row = |name: &str, text: &str| {
        hanging(Line::new(style).push("  ").push(name).to(COVERAGE_INDENT), None, text)
    };
    if let ([least, ..], [.., most]) = (&active[..], &active[..]) {
        lines.extend(row(
            "records",
            &format!(
                "least {} (CPU {}), median {}, most {} (CPU {})",
                thousands(least.records),
                least.cpu,
                thousands(active[active.len() / 2].records),
                thousands(most.records),
                most.cpu,
            ),
        ));
    }
    let span = |times: &mut dyn Iterator<Item = (u64, u32)>| {
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        match &times[..] {
            [] => None,
            [first, .., last] if first.0 != last.0 => Some(format!(
                "{} s (CPU {}) to {} s (CPU {})",
                seconds(first.0),
                first.1,
                seconds(last.0),
                last.1
            )),
            [first, ..] => Some(format!("{} s", seconds(first.0))),
        }
    };
    let first = span(&mut active.iter().filter_map(|cpu| Some((cpu.first_ns?, cpu.cpu))));
    let last = span(&mut active.iter().filter_map(|cpu| Some((cpu.last_ns?, cpu.cpu))));
    lines.extend(first.iter().flat_map(|text| row("first", text)));
    lines.extend(last.iter().flat_map(|text| row("last", text)));
    lines
}

fn latency(report: &Report, style: Style) -> Vec<Line> {
    let Some(latency) = &report.latency else { return Vec::new() };
    let text = format!(
        "min {}, p50 {}, p90 {}, p99 {}, max {} cycles ({})",
        thousands(latency.min),
        thousands(latency.p50),
        thousands(latency.p90),
        thousands(latency.p99),
        thousands(latency.max),
        counted(latency.count, "access", "accesses"),
    );
    hanging(Line::new(style).paint(Paint::Title, "Latency").push("  "), None, &text)
}

#[cfg(test)]
mod tests {
    use super::super::examples;
    use super::*;
    use heatmap::Backing;

    fn written(model: &Report, style: Style) -> String {
        let mut out = Vec::new();
        report(model, &mut out, style).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The text as a terminal shows it, without colours.
    fn seen(text: &str) -> String {
        let mut pieces = text.split("\x1b[");
        let first = pieces.next().unwrap().to_owned();
        pieces.fold(first, |seen, piece| seen + piece.split_once('m').unwrap().1)
    }

    const COLOUR: Style = Style { color: true, width: 80 };

    #[test]
    fn reports_read_as_they_did() {
        for (name, model) in [
            ("published", examples::published()),
            ("nothing_counted", examples::nothing_counted()),
            ("lossy", examples::lossy()),
        ] {
            insta::assert_snapshot!(name, written(&model, Style::default()));
        }
    }

    #[test]
    fn the_coloured_report_reads_as_it_did() {
        let text = written(&examples::published(), COLOUR);
        insta::assert_snapshot!("coloured", text.replace('\x1b', "ESC"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for (name, model) in examples::all() {
            for width in [0, 76, 80, 93, 100, usize::MAX] {
                for color in [false, true] {
                    let style = Style { color, width };
                    for line in seen(&written(&model, style)).lines() {
                        let columns = line.chars().count();
                        assert!(columns <= style.width(), "{name}, {columns} of {width}: {line}");
                        assert_eq!(line, line.trim_end(), "{name}, {style:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_plain_form_is_ascii_without_control_characters() {
        for (name, model) in examples::all() {
            let text = written(&model, Style::default());
            assert!(text.chars().all(|c| c == '\n' || matches!(c, ' '..='~')), "{name}: {text}");
        }
    }

    #[test]
    fn colour_changes_no_number_and_no_word() {
        let words = |text: &str| -> Vec<String> {
            let text = text.lines().filter(|line| !line.trim_start().starts_with('|'));
            let words = text.flat_map(|line| line.split_whitespace().map(str::to_owned));
            words.filter(|word| word.chars().any(|c| c.is_ascii_alphanumeric())).collect()
        };
        let model = examples::lossy();
        let coloured = seen(&written(&model, COLOUR)).replace("dots are", "blanks are");
        assert_eq!(words(&coloured), words(&written(&model, Style::default())));
    }

    #[test]
    fn losses_are_told_by_name_and_their_absence_in_one_line() {
        let mut model = examples::published();
        let nothing = "Nothing lost, as far as the recording tells.\n";
        assert!(written(&model, Style::default()).contains(nothing));
        model.ledger.aux_collision = 3;
        let text = written(&model, Style::default());
        assert!(text.contains("\n  ! aux_collision       3  times the hardware"), "{text}");
        assert!(!text.contains(nothing), "{text}");
        model.ledger.aux_collision = 0;
        model.unreadable.push("section 7".to_owned());
        let text = written(&model, Style::default());
        assert!(text.contains("\n  ! unreadable  section 7\n"), "{text}");
        assert!(!text.contains(nothing), "{text}");
    }

    #[test]
    fn lookups_are_told_where_there_were_any() {
        let mut model = examples::published();
        assert!(!written(&model, Style::default()).contains("lookup failed"));
        model.ledger.counted -= 12;
        model.ledger.lookup_failed = 12;
        model.ledger.lookup_hidden = 9;
        model.ledger.looked_up = 345;
        let text = written(&model, Style::default());
        for words in [
            "\n  lookup failed               12   <0.1 %",
            "345 physical addresses looked up, not sampled",
            "9 not found: hidden",
        ] {
            assert!(text.contains(words), "{words:?} is not in {text}");
        }
    }

    #[test]
    fn every_loss_has_its_explanation() {
        let ledger = &examples::lossy().ledger;
        assert_eq!(ledger.losses().count(), 9, "the example has all of them");
        for (name, _) in ledger.losses() {
            assert_ne!(what_was_lost(name, &examples::lossy()), "", "{name}");
        }
    }

    #[test]
    fn sums_that_do_not_hold_report_themselves() {
        let mut model = examples::published();
        model.ledger.records += 1;
        let text = written(&model, Style::default());
        assert!(text.contains("4000000 records accounted for of 4000001"), "{text}");
        assert!(!text.contains("Nothing lost"), "{text}");
    }

    #[test]
    fn many_cpus_take_few_lines() {
        let text = written(&examples::lossy(), Style::default());
        assert!(text.contains("256 CPUs, 247 with records\n"), "{text}");
        assert!(text.contains("  silent   CPU 7, 57, 100-103, 107, 157, 207 without"), "{text}");
        assert!(text.lines().count() < 100);
    }

    #[test]
    fn heat_lines_stand_under_their_blocks() {
        let text = written(&examples::published(), Style::default());
        let lines: Vec<_> = text.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("1  0x820db800")).unwrap();
        assert_eq!(
            lines[at].split_whitespace().collect::<Vec<_>>(),
            ["1", "0x820db800", "39,794", "3/512", "3/512", "0", "%", "0", "%", "sparse", "thp"]
        );
        // Pages 12 and 13 are in cell 1, page 402 is in cell 50.
        let cells = format!("  | @{}#{}|", " ".repeat(48), " ".repeat(13));
        assert_eq!(lines[at + 1], cells);
        assert_eq!(Backing::Hugetlb.name(), lines[at + 4].split_whitespace().last().unwrap());
        assert_eq!(lines[at + 5], format!("  |{}|", "@".repeat(64)));
    }
}
