//! `procore-auth run` while it waits, and while it begins.

use std::time::Duration;

use anyhow::Context as _;
use procore_auth_tests::idle::{self, Cost};

use super::Bench;
use crate::{
    table::{Aim, Row, Unit, seconds},
    turns::Figures,
};

/// How many connections, one run each.
const CONNECTIONS: [u32; 3] = [10, 1000, 10_000];
/// How long each run is watched while nothing is due.
const SPAN: Duration = Duration::from_secs(30);

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let program = bench.program.to_str().context("a path in UTF-8")?;
    let mut runs = Vec::new();
    for connections in CONNECTIONS {
        let cost = bench
            .runtime
            .block_on(idle::measure(program, connections as usize, SPAN))?;
        runs.push((f64::from(connections), cost));
    }
    let [few, many, most] = &runs[..] else {
        anyhow::bail!("three runs were expected");
    };
    let (first, further) = (Step::of_all(few), Step::between(few, many));
    let mut rows = further.rows(&first);
    rows.extend(Step::between(many, most).rows(&further));
    rows.extend(runs.iter().map(wakeups));
    Ok(rows)
}

/// What each connection of some takes, in the order of [`FIGURES`].
struct Step {
    whose: String,
    each: [f64; 3],
}

type Figure = (&'static str, fn(f64) -> String, fn(&Cost) -> f64);

const FIGURES: [Figure; 3] = [
    ("memory", kibibytes, |cost| cost.resident),
    ("CPU of the start and the first refresh", seconds, |cost| {
        cost.first_round_cpu
    }),
    ("time until all are refreshed", seconds, |cost| {
        cost.first_round
    }),
];

impl Step {
    /// With its share of what the process takes by itself.
    fn of_all((count, cost): &(f64, Cost)) -> Self {
        Self {
            whose: format!("each of {count:.0}"),
            each: FIGURES.map(|(_, _, figure)| figure(cost) / count),
        }
    }

    /// Of those that one run had more than the other.
    fn between((few, at_few): &(f64, Cost), (many, at_many): &(f64, Cost)) -> Self {
        let further = |figure: fn(&Cost) -> f64| figure(at_many) - figure(at_few);
        Self {
            whose: format!("each further one, from {few:.0} to {many:.0}"),
            each: FIGURES.map(|(_, _, figure)| further(figure) / (many - few)),
        }
    }

    fn rows(&self, baseline: &Self) -> Vec<Row> {
        let figures = FIGURES.iter().zip(self.each.iter().zip(&baseline.each));
        figures
            .map(|((what, show, _), (ours, theirs))| Row {
                what: format!("`run`, {}: {what}", self.whose),
                ours: show(*ours),
                baseline: format!("{}: {}", baseline.whose, show(*theirs)),
                result: Figures::of([ours / theirs]),
                unit: Unit::Times,
                aim: Some(Aim::AtMost(1.0)),
            })
            .collect()
    }
}

fn wakeups((connections, cost): &(f64, Cost)) -> Row {
    Row {
        what: format!("`run` with {connections:.0} connections, nothing due: wake-ups in a minute"),
        ours: format!("{:.0}, {:.4} % of one core", cost.wakeups, cost.cpu),
        baseline: "–".to_owned(),
        result: Figures::of([cost.wakeups]),
        unit: Unit::Count,
        aim: Some(Aim::AtMost(0.0)),
    }
}

fn kibibytes(mebibytes: f64) -> String {
    format!("{:.1} KiB", mebibytes * 1024.0)
}
