//! Makes a plan that breaks an invariant smaller, as long as it still breaks the same one.

use std::collections::BTreeSet;

use super::{
    fault::FaultId,
    plan::Plan,
    run::{Outcome, run},
    scenario::DAY,
};

/// Returns the smallest plan that was found, and what it comes to: first fewer days, then fewer faults (delta debugging: halves
/// are left out, then smaller parts, until no single one can be).
///
/// Returns the outcome as it is where nothing was broken.
#[must_use]
pub fn shrink(outcome: Outcome) -> Outcome {
    let Some(violation) = &outcome.violation else {
        return outcome;
    };
    let days = u32::try_from(violation.at / DAY).unwrap_or(u32::MAX) + 1;
    let shorter = Plan {
        days: days.min(outcome.plan.days),
        ..outcome.plan.clone()
    };
    let outcome = again(&shorter, &outcome).unwrap_or(outcome);
    let happened: BTreeSet<_> = outcome.hits.iter().map(|hit| hit.id).collect();
    let outcome = with_only(&outcome, happened).unwrap_or(outcome);
    with_fewer_faults(outcome)
}

fn with_fewer_faults(mut outcome: Outcome) -> Outcome {
    let mut parts = 1;
    loop {
        let faults: Vec<_> = outcome.hits.iter().map(|hit| hit.id).collect();
        let faults: Vec<_> = BTreeSet::from_iter(faults).into_iter().collect();
        if faults.is_empty() {
            return outcome;
        }
        let size = faults.len().div_ceil(parts);
        let smaller = faults.chunks(size).find_map(|part| {
            let rest = faults.iter().filter(|fault| !part.contains(fault));
            with_only(&outcome, rest.copied().collect())
        });
        match smaller {
            Some(smaller) => {
                outcome = smaller;
                parts = parts.saturating_sub(1).max(1);
            }
            None if size == 1 => return outcome,
            None => parts = (parts * 2).min(faults.len()),
        }
    }
}

fn with_only(outcome: &Outcome, only: BTreeSet<FaultId>) -> Option<Outcome> {
    let plan = Plan {
        only: Some(only),
        ..outcome.plan.clone()
    };
    again(&plan, outcome)
}

/// Runs a smaller plan. Returns its outcome if it breaks the same invariant.
fn again(plan: &Plan, outcome: &Outcome) -> Option<Outcome> {
    let invariant = |outcome: &Outcome| Some(outcome.violation.as_ref()?.invariant);
    let smaller = run(plan);
    (invariant(&smaller) == invariant(outcome)).then_some(smaller)
}
