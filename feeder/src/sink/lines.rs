//! A plan as text: a page frame a line, each for one write(2).

use std::io::Write;

use crate::plan::{LeftOut, Plan, Step};

/// Prints a plan; with reasons, in lines that begin with `#`, where they are asked for.
///
/// # Errors
/// If nothing more can be written.
pub fn print(plan: &Plan, explain: bool, mut out: impl Write) -> std::io::Result<()> {
    for step in &plan.steps {
        if explain {
            writeln!(out, "# {}", fed(step))?;
        }
        for pfn in &step.writes {
            writeln!(out, "{pfn:#x}")?;
        }
    }
    for (pfn, why) in plan.left_out.iter().filter(|_| explain) {
        writeln!(out, "# {}", not_fed(*pfn, *why))?;
    }
    out.flush()
}

/// What each folio gets, or why it gets nothing, a line each.
pub fn reasons(plan: &Plan) -> impl Iterator<Item = String> {
    let left_out = plan.left_out.iter().map(|(pfn, why)| not_fed(*pfn, *why));
    plan.steps.iter().map(fed).chain(left_out)
}

fn fed(step: &Step) -> String {
    let (pfn, chunks, writes) = (step.folio_pfn, step.wanted.chunks().len(), step.writes.len());
    format!("folio {pfn:#x}: {chunks} hot chunks by {writes} writes")
}

fn not_fed(pfn: u64, why: LeftOut) -> String {
    format!("folio {pfn:#x} is not fed: {}", why.reason())
}
