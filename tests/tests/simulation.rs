//! The simulation, as continuous integration runs it: a fixed range of seeds, a fresh one, and tests of the simulation itself.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use procore_auth_tests::simulation::{Outcome, Plan, Tally, Variant, run, shrink};

/// The seeds that every run of the tests takes.
const FIXED: std::ops::Range<u64> = 0..24;
/// How many seeds of its own each run takes.
const FRESH: u64 = 12;
/// How long each of them lasts.
const DAYS: u32 = 10;
/// Where a broken variant must be found.
const ENOUGH: std::ops::Range<u64> = 0..24;

/// How long it may take to make a plan smaller.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the seeds on two threads. Panics with the smallest plan that breaks what the first failing seed broke.
fn hold(seeds: impl Iterator<Item = u64>) -> Tally {
    let (even, odd): (Vec<_>, Vec<_>) = seeds.partition(|seed| seed % 2 == 0);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let halves = [even, odd].map(|seeds| {
            scope.spawn(move || {
                let plans = seeds.into_iter().map(|seed| Plan::new(seed, DAYS));
                plans.map(|plan| run(&plan)).collect::<Vec<_>>()
            })
        });
        let halves = halves.map(|half| half.join().expect("a half"));
        halves.into_iter().flatten().collect()
    });
    let mut tally = Tally::default();
    for outcome in outcomes {
        tally.add(&outcome.tally);
        if outcome.violation.is_some() {
            let found = outcome.plan.command();
            panic!("as it was found: {found}\n{}", shrink(outcome, PATIENCE));
        }
    }
    tally
}

#[test]
fn fixed_seeds_break_no_invariant() {
    let tally = hold(FIXED);
    assert_eq!(tally.runs, FIXED.end);
    for (what, count) in [
        ("refreshes", tally.refreshes),
        ("crashes", tally.crashes),
        ("lost pairs", tally.lost_pairs),
        ("sign-ins", tally.sign_ins),
    ] {
        assert!(count > 100, "an idle simulation: {count} {what}");
    }
}

#[test]
fn fresh_seeds_break_no_invariant() {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let from = since_epoch.expect("after 1970").as_secs();
    println!("seeds from {from}");
    hold(from..from + FRESH);
}

#[test]
fn a_plan_replays_step_by_step() {
    for seed in 0..3 {
        let plan = Plan::new(seed, DAYS);
        let (one, other) = (run(&plan), run(&plan));
        assert_eq!((one.digest, one.hits), (other.digest, other.hits));
    }
}

/// Returns the first seed's outcome that breaks something.
fn first_found(variant: Variant) -> Outcome {
    let mut outcomes = ENOUGH.map(|seed| run(&Plan::new(seed, DAYS).variant(variant)));
    let found = outcomes.find(|outcome| outcome.violation.is_some());
    found.unwrap_or_else(|| panic!("{variant} is not found"))
}

fn invariant(outcome: &Outcome) -> &'static str {
    outcome.violation.as_ref().expect("broken").invariant
}

#[test]
fn a_lock_around_the_save_alone_is_found() {
    assert_eq!(
        invariant(&first_found(Variant::LockAroundSave)),
        "I1 one refresh"
    );
}

#[test]
fn saving_after_use_is_found() {
    assert_eq!(
        invariant(&first_found(Variant::SaveAfterUse)),
        "I2 nothing lost"
    );
}

#[test]
fn latching_without_a_second_look_is_found() {
    assert_eq!(
        invariant(&first_found(Variant::LatchWithoutReread)),
        "I2 nothing lost"
    );
}

#[test]
fn claiming_in_memory_is_found() {
    assert_eq!(
        invariant(&first_found(Variant::ClaimInMemory)),
        "I7 no work lost"
    );
}

#[test]
fn a_violation_shrinks_to_what_it_takes() {
    let found = first_found(Variant::LockAroundSave);
    let (days, invariant_found) = (found.plan.days, invariant(&found));
    let least = shrink(found, PATIENCE);
    assert_eq!(invariant(&least), invariant_found);
    // Two who come at the same moment are all that it takes.
    assert_eq!(least.hits, []);
    assert!(least.plan.days < days, "{}", least.plan);
    let again: Plan = least.plan.to_string().parse().expect("a plan");
    assert_eq!(run(&again).digest, least.digest);
}
