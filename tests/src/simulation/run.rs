//! One run of a plan.

use std::{fmt, sync::Arc};

use super::{
    actor::{self, Exam},
    fault::Hit,
    operator,
    oracle::without_token_after_the_calm,
    plan::Plan,
    scenario::Role,
    tally::Tally,
    trace::moment,
    world::{SETUP, World, held},
};

/// An invariant that a run broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub what: String,
    /// When, in milliseconds since the start of the run.
    pub at: u64,
    /// Whose step it was; empty where it was nobody's.
    pub who: String,
    /// How many steps had been taken.
    pub step: u64,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// The first invariant that was broken, at which the run ended.
    pub violation: Option<Violation>,
    /// The faults that happened, in order.
    pub hits: Vec<Hit>,
    /// What came together.
    pub tally: Tally,
    /// Two runs share it only if they took the same steps.
    pub digest: u64,
    /// The last steps, for people.
    pub trace: Vec<String>,
}

/// Runs a plan. The same plan comes to the same outcome.
///
/// # Panics
///
/// Where no runtime can be had.
#[must_use]
pub fn run(plan: &Plan) -> Outcome {
    run_with(plan, false)
}

/// Runs a plan, and keeps every step for people.
///
/// # Panics
///
/// Where no runtime can be had.
#[must_use]
pub fn run_with_whole_trace(plan: &Plan) -> Outcome {
    run_with(plan, true)
}

fn run_with(plan: &Plan, keep_whole_trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(simulate(plan.clone(), keep_whole_trace))
}

async fn simulate(plan: Plan, keep_whole_trace: bool) -> Outcome {
    let world = Arc::new(World::of(plan, keep_whole_trace));
    let secret = world.server.first_secret();
    world.oracle().keep_secret(secret.expose());
    tokio::spawn(operator::operate(Arc::clone(&world)));
    tokio::spawn(operator::back_up(Arc::clone(&world)));
    let everybody = tokio::spawn(everybody(Arc::clone(&world)));
    // Whoever breaks an invariant stops the run.
    let judged = Arc::clone(&world);
    let stopped = tokio::spawn(async move { judged.stop.notified().await });
    let watched = Arc::clone(&world);
    tokio::spawn(async move {
        let exams = everybody.await.unwrap_or_default();
        judge_exams(&watched, exams);
        watched.stop.notify_one();
    });
    let _ = stopped.await;
    world.close();
    outcome(&world)
}

/// Has every actor live to the end.
async fn everybody(world: Arc<World>) -> Vec<(usize, Exam)> {
    // The first sign-in comes before everything else.
    let admin = tokio::spawn(actor::live(Arc::clone(&world), world.admin()));
    world.agenda.until(SETUP).await;
    let actors = world.scenario.actors.iter().enumerate();
    let users = actors.filter(|(_, actor)| actor.role != Role::Admin);
    let lives: Vec<_> = users
        .map(|(number, _)| {
            let index = u16::try_from(number).unwrap_or_default();
            (number, tokio::spawn(actor::live(Arc::clone(&world), index)))
        })
        .collect();
    let mut exams = Vec::new();
    for (number, life) in lives {
        let exam = life
            .await
            .unwrap_or_else(|error| Some(Err(format!("its task failed: {error}"))));
        exams.push((number, exam));
    }
    drop(admin);
    actor::replay_the_rest(&world).await;
    actor::deliver_the_rest(&world).await;
    exams
}

fn judge_exams(world: &World, exams: Vec<(usize, Exam)>) {
    for (number, exam) in exams {
        if let Some(Err(why)) = exam {
            let name = &names(world)[number];
            world.judge(None, |_, _| {
                without_token_after_the_calm(format!("{name} has no token after the calm: {why}"))
            });
        }
    }
}

fn names(world: &World) -> Vec<String> {
    let actors = world.scenario.actors.iter().enumerate();
    actors
        .map(|(number, actor)| {
            let name = match actor.role {
                Role::Agent => "agent",
                Role::Keeper => "keeper",
                Role::Cron => "cron",
                Role::Tool => "tool",
                Role::Admin => "admin",
            };
            format!("{name}-{number}")
        })
        .collect()
}

fn outcome(world: &World) -> Outcome {
    let names = names(world);
    let trace = world.trace();
    let violation = world.take_breach().map(|(at, who, breach)| Violation {
        invariant: breach.invariant,
        what: breach.what,
        at,
        who: who.map_or_else(String::new, |who| {
            format!("{}#{}", names[usize::from(who.actor)], who.life)
        }),
        step: trace.steps(),
    });
    let hits = world.take_hits();
    let mut tally = held(&world.tally).clone();
    tally.runs = 1;
    tally.days = world.now().min(world.scenario.calm) / super::scenario::DAY;
    tally.steps = trace.steps();
    tally.lost_pairs = world.oracle().lost();
    tally.executions = world.oracle().work.executions();
    tally.parked = world.oracle().work.promises();
    tally.delivered = world.oracle().deliveries.count();
    tally.violations = u64::from(violation.is_some());
    tally.count_faults(&hits);
    Outcome {
        plan: world.plan.clone(),
        violation,
        hits,
        tally,
        digest: trace.digest(),
        trace: trace.lines(&names),
    }
}

/// Shows a violation with all that it takes to see it again.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            seed,
            days,
            variant,
            only,
        } = &self.plan;
        writeln!(f, "seed {seed}, {days} days, {variant}")?;
        if only.is_some() {
            writeln!(f, "faults:")?;
            for hit in &self.hits {
                writeln!(f, "  {} {} {}", moment(hit.at), hit.id, hit.kind)?;
            }
        }
        writeln!(f, "the last steps:")?;
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        match &self.violation {
            None => writeln!(f, "no invariant was broken")?,
            Some(violation) => writeln!(
                f,
                "BROKEN: {}: {}\n  at {}, step {}, {}",
                violation.invariant,
                violation.what,
                moment(violation.at),
                violation.step,
                violation.who
            )?,
        }
        writeln!(f, "replay: {}", self.plan.command())
    }
}
