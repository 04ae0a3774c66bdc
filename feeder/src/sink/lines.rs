//! A plan as text: a page frame a line, each for one write(2).

use std::io::Write;

use crate::plan::Plan;

/// Prints a plan; with reasons, in lines that begin with `#`, where they are asked for.
///
/// # Errors
/// If nothing more can be written.
pub fn print(plan: &Plan, explain: bool, mut out: impl Write) -> std::io::Result<()> {
    for step in &plan.steps {
        if explain {
            let chunks = step.wanted.chunks().len();
            writeln!(out, "# folio {:#x}: {chunks} hot chunks", step.folio_pfn)?;
        }
        for pfn in &step.writes {
            writeln!(out, "{pfn:#x}")?;
        }
    }
    for (pfn, why) in plan.left_out.iter().filter(|_| explain) {
        writeln!(out, "# folio {pfn:#x} is not fed: {}", why.reason())?;
    }
    out.flush()
}
