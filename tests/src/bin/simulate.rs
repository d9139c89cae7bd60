//! Runs the simulation over a range of seeds, or replays one plan. `cargo xtask simulate` builds and starts it.

// A command-line tool talks to a terminal.
#![allow(clippy::print_stderr)]

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use procore_auth_tests::simulation::{
    Outcome, Plan, Tally, Variant, run, run_with_whole_trace, shrink,
};

/// Runs the simulation: the real component under faults, in virtual time.
#[derive(Parser)]
#[command(bin_name = "cargo xtask simulate")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 350)]
    seeds: u64,
    /// How many virtual days each of them lasts.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// What the component runs on: sound, or a variant that breaks a promise and must be found.
    #[arg(long, default_value_t = Variant::Sound)]
    variant: Variant,
    /// How many seeds run at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Goes on after a seed that breaks an invariant, and shows the first lines of each.
    #[arg(long)]
    keep_going: bool,
    /// Replays this plan alone, and shows every step.
    #[arg(long, value_name = "PLAN")]
    replay: Option<Plan>,
    /// Makes the plan of a violation as small as it goes.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    shrink: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(plan) = &arguments.replay {
        return replay(plan);
    }
    let start = Instant::now();
    let search = Search::over(&arguments);
    thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| search.work(&arguments));
        }
    });
    let took = start.elapsed();
    let (tally, broken) = search.into_found();
    println!("{}", tally.table(took));
    for outcome in &broken {
        let at = outcome.plan.seed;
        let Some(violation) = &outcome.violation else {
            continue;
        };
        println!("seed {at}: {}: {}", violation.invariant, violation.what);
    }
    let Some(first) = broken.into_iter().next() else {
        return ExitCode::SUCCESS;
    };
    println!("\nas it was found: {}", first.plan.command());
    let shown = if arguments.shrink {
        shrink(first)
    } else {
        first
    };
    println!("{shown}");
    ExitCode::FAILURE
}

fn replay(plan: &Plan) -> ExitCode {
    let outcome = run_with_whole_trace(plan);
    println!("{outcome}");
    if outcome.violation.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Seeds that are still to be run, and what was found.
struct Search {
    next: AtomicU64,
    end: AtomicU64,
    found: Mutex<(Tally, Vec<Outcome>)>,
}

impl Search {
    fn over(arguments: &Arguments) -> Self {
        Self {
            next: AtomicU64::new(arguments.from),
            end: AtomicU64::new(arguments.from.saturating_add(arguments.seeds)),
            found: Mutex::default(),
        }
    }

    fn work(&self, arguments: &Arguments) {
        loop {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end.load(Ordering::Relaxed) {
                return;
            }
            let plan = Plan::new(seed, arguments.days).variant(arguments.variant);
            let outcome = run(&plan);
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.0.add(&outcome.tally);
            if outcome.violation.is_some() {
                found.1.push(outcome);
                if !arguments.keep_going {
                    self.end.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    fn into_found(self) -> (Tally, Vec<Outcome>) {
        let (tally, mut broken) = self
            .found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        broken.sort_by_key(|outcome| outcome.plan.seed);
        (tally, broken)
    }
}
