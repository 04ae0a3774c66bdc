//! The diagnosis as people read it: a line for each check, its remedy below it, then what to type.

use std::io::{self, Write};

use report::Style;
use report::layout::{Line, Paint, clean, counted, hanging, size, thousands, wrap};

use super::advice::{Advice, Command};
use super::check::{Check, Status};
use super::diagnosis::Diagnosis;

/// Where findings start.
const INDENT: usize = 6;
/// What stands before a remedy.
const ARROW: &str = "-> ";

/// Writes the diagnosis.
///
/// # Errors
/// Those of `out`.
pub fn write(diagnosis: &Diagnosis, out: &mut dyn Write, style: Style) -> io::Result<()> {
    let mut lines = head(diagnosis, style);
    lines.extend(diagnosis.checks.iter().flat_map(|item| check(item, style)));
    lines.push(Line::new(style));
    if let Some(advice) = &diagnosis.advice {
        lines.extend(reasons(advice, style));
        lines.push(Line::new(style));
    }
    lines.extend(diagnosis.commands.iter().flat_map(|item| command(item, style)));
    lines.iter().try_for_each(|line| writeln!(out, "{}", line.finish().replace(GLUE, " ")))
}

/// A blank at which a line is not broken.
const GLUE: char = '\u{a0}';

/// A text whose commands, in backquotes, are not broken where a line has room: they are for
/// copying.
fn glued(text: &str, width: usize) -> String {
    let parts = text.split('`').enumerate().map(|(index, part)| {
        let whole = index % 2 == 1 && part.chars().count() + "``;".len() <= width;
        if whole { part.replace(' ', &GLUE.to_string()) } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("`")
}

fn head(diagnosis: &Diagnosis, style: Style) -> Vec<Line> {
    let release = diagnosis.release.as_deref().unwrap_or("of unknown release");
    let cpus = counted(diagnosis.cpus, "CPU", "CPUs");
    let title = clean(&format!("Linux {release}, {cpus}"), style);
    vec![Line::new(style).paint(Paint::Title, &title), Line::new(style)]
}

fn check(check: &Check, style: Style) -> Vec<Line> {
    let (word, paint) = match check.status {
        Status::Ok => ("OK", Paint::Good),
        Status::Warn => ("WARN", Paint::Heat),
        Status::Fail => ("FAIL", Paint::Bad),
    };
    let head = Line::new(style).paint(paint, word).to(INDENT);
    let finding = clean(&format!("{}: {}", check.name, check.finding), style);
    let mut lines = hanging(head, None, &finding);
    if let Some(remedy) = &check.remedy {
        let head = Line::new(style).to(INDENT).paint(Paint::Note, ARROW);
        let width = style.width().saturating_sub(INDENT + ARROW.len());
        lines.extend(hanging(head, None, &glued(&clean(remedy, style), width)));
    }
    lines
}

/// How the period came about.
fn reasons(advice: &Advice, style: Style) -> Vec<Line> {
    let mut text = format!(
        "one sample every {} {}: {} that are all busy with {} of them a second (assumed) then \
         write {} a second, {} bytes a sample; allowed are {} (--budget).",
        thousands(advice.period),
        advice.counted,
        counted(advice.cpus, "CPU", "CPUs"),
        thousands(advice.assumed_per_second),
        size(advice.bytes_per_second),
        advice.sample_bytes,
        size(advice.budget_bytes_per_second),
    );
    if let Some(aux) = advice.aux_bytes_per_cpu {
        let all = aux.saturating_mul(advice.cpus);
        text += &format!(" AUX areas take {} a CPU, {} in all.", size(aux), size(all));
    }
    hanging(Line::new(style).paint(Paint::Title, "Sampling").push("  "), None, &text)
}

/// A comment, and a command that a shell takes as it stands here.
fn command(command: &Command, style: Style) -> Vec<Line> {
    const CONTINUED: usize = 4;
    let mut comment = command.purpose.to_owned();
    if let Some(caveat) = command.caveat {
        comment += &format!("; {caveat}");
    }
    let comment = wrap(&comment, style.width() - "# ".len());
    let comment = comment.iter().map(|part| format!("# {part}"));
    let mut lines: Vec<_> =
        comment.map(|part| Line::new(style).paint(Paint::Faint, &part)).collect();
    // Room for what continues it, and for the indent of what follows.
    let parts = fold(&command.command, style.width() - CONTINUED - " \\".len());
    for (index, part) in parts.iter().enumerate() {
        let line = Line::new(style).to(if index == 0 { 0 } else { CONTINUED }).push(part);
        lines.push(if index + 1 < parts.len() { line.push(" \\") } else { line });
    }
    lines
}

/// A command in lines of at most `width` columns where its options allow it: an option stays with
/// its value.
fn fold(command: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, part) in command.split(" -").enumerate() {
        let part = if index == 0 { part.to_owned() } else { format!("-{part}") };
        match lines.last_mut() {
            Some(line) if line.len() + 1 + part.len() <= width => {
                line.push(' ');
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Addresses;
    use crate::doctor::event::Event;

    fn diagnosis() -> Diagnosis {
        let advice = Advice {
            event: Event::Spe,
            period: 14_848,
            counted: "operations",
            assumed_per_second: 3_000_000_000,
            sample_bytes: 64,
            cpus: 4,
            budget_bytes_per_second: 50 << 20,
            bytes_per_second: 51_724_137,
            aux_bytes_per_cpu: Some(4 << 20),
        };
        let line = "perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ -c 14848 -m ,4096K \
                    -a -- sleep 10";
        Diagnosis {
            release: Some("6.12.9".to_owned()),
            cpus: 4,
            unit: Some("arm_spe"),
            physical_addresses: Addresses::Yes,
            checks: vec![
                Check::ok("arm_spe", "arm_spe_0"),
                Check::warn(
                    "thp",
                    "enabled=never\x1b",
                    "turn them on, if they are wanted on this host of yours, by `echo madvise > y`",
                ),
                Check::fail("x", "y", "z"),
            ],
            advice: Some(advice),
            commands: vec![Command {
                purpose: "by perf",
                command: line.to_owned(),
                caveat: Some("mind"),
            }],
        }
    }

    #[test]
    fn plain_text_at_80_columns() {
        let mut text = Vec::new();
        write(&diagnosis(), &mut text, Style::default()).unwrap();
        let want = r"Linux 6.12.9, 4 CPUs

OK    arm_spe: arm_spe_0
WARN  thp: enabled=never\u{1b}
      -> turn them on, if they are wanted on this host of yours, by
         `echo madvise > y`
FAIL  x: y
      -> z

Sampling  one sample every 14,848 operations: 4 CPUs that are all busy with
          3,000,000,000 of them a second (assumed) then write 49.3 MiB a second,
          64 bytes a sample; allowed are 50 MiB (--budget). AUX areas take 4 MiB
          a CPU, 16 MiB in all.

# by perf; mind
perf record -e arm_spe_0/pa_enable=1,ts_enable=1,jitter=1/ -c 14848 \
    -m ,4096K -a -- sleep 10
";
        assert_eq!(String::from_utf8(text).unwrap(), want);
    }

    #[test]
    fn colours_change_nothing_else() {
        let mut text = Vec::new();
        write(&diagnosis(), &mut text, Style { color: true, width: 80 }).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\x1b[1;31mFAIL\x1b[0m  x: y\n"), "{text}");
        assert!(text.contains("\x1b[32mOK\x1b[0m    arm_spe"), "{text}");
    }

    #[test]
    fn commands_are_broken_only_where_no_line_holds_them() {
        assert_eq!(glued("as `a b` or b c", 20), "as `a\u{a0}b` or b c");
        assert_eq!(glued("`a b c d e f g h i j`", 20), "`a b c d e f g h i j`");
        assert_eq!(glued("one ` alone", 20), "one `\u{a0}alone");
    }
}
