//! Man pages: as clap makes them, but examples stay in their lines.

use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// Writes the page of a program, and of each of its commands, into a folder.
///
/// # Errors
/// If one cannot be written.
pub fn write(program: Command, folder: &Path) -> io::Result<()> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    write_built(&program, folder)
}

fn write_built(command: &Command, folder: &Path) -> io::Result<()> {
    for of_it in command.get_subcommands().filter(|of_it| !of_it.is_hide_set()) {
        write_built(of_it, folder)?;
    }
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = as_typed(&String::from_utf8_lossy(&page), command);
    std::fs::write(folder.join(man.get_filename()), page)
}

/// A page where lines that begin with spaces are not filled, and with the `--` before what may only
/// stand behind it.
fn as_typed(page: &str, command: &Command) -> String {
    let mut out = String::new();
    let mut is_example = false;
    for line in page.lines() {
        if line.starts_with(' ') != is_example {
            out.push_str(if is_example { ".fi\n" } else { ".nf\n" });
            is_example = !is_example;
        }
        out.push_str(line);
        out.push('\n');
    }
    if is_example {
        out.push_str(".fi\n");
    }
    let last = command.get_positionals().find(|argument| argument.is_last_set());
    let name = last.and_then(|last| last.get_value_names()?.first());
    match name {
        // The synopsis comes first.
        Some(name) => {
            let (bare, whole) =
                (format!("[\\fI{name}\\fR]"), format!("[\\-\\- \\fI{name}\\fR...]"));
            out.replacen(&bare, &whole, 1)
        }
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_not_filled() {
        let page = ".SH EXTRA\nExamples:\n  one \\-\\-a\n  two\n\nText.\n  three\n";
        let want =
            ".SH EXTRA\nExamples:\n.nf\n  one \\-\\-a\n  two\n.fi\n\nText.\n.nf\n  three\n.fi\n";
        assert_eq!(as_typed(page, &Command::new("program")), want);
    }
}
