//! A plan as text: a page frame a line, each for one write(2).

use std::io::Write;

use crate::decision::Refusal;
use crate::plan::{Plan, Step, Unplaced};

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
    for reason in beside_steps(plan).filter(|_| explain) {
        writeln!(out, "# {reason}")?;
    }
    out.flush()
}

/// What each folio gets, or why it gets nothing, a line each.
pub fn reasons(plan: &Plan) -> impl Iterator<Item = String> {
    plan.steps.iter().map(fed).chain(beside_steps(plan))
}

/// Of folios that get nothing, why; and of those that were called sparse, why they are not taken for
/// it.
fn beside_steps(plan: &Plan) -> impl Iterator<Item = String> {
    let unplaced = plan.unplaced.iter().map(|(pfn, why)| not_fed(*pfn, *why));
    let refused = plan.refused.iter().map(|(pfn, why)| not_taken_for_sparse(*pfn, *why));
    unplaced.chain(refused)
}

fn fed(step: &Step) -> String {
    let (pfn, chunks, writes) = (step.folio_pfn, step.wanted.chunks().len(), step.writes.len());
    format!("folio {pfn:#x}: {chunks} hot chunks by {writes} writes")
}

fn not_taken_for_sparse(pfn: u64, why: Refusal) -> String {
    format!("folio {pfn:#x} was called sparse, and is not taken for it: {}", why.reason())
}

fn not_fed(pfn: u64, why: Unplaced) -> String {
    format!("folio {pfn:#x} is not fed: {}", why.reason())
}
