//! `procore-auth run` while it waits, and while it begins.

use std::time::Duration;

use anyhow::Context as _;
use procore_auth_tests::idle::{self, Cost};

use super::Bench;
use crate::{
    table::{Aim, Row, Unit, seconds},
    turns::Figures,
};

/// How many connections, one run each; the first is the baseline.
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
    let (few, at_few) = runs.remove(0);
    Ok(runs
        .iter()
        .flat_map(|(many, cost)| rows((few, &at_few), (*many, cost)))
        .collect())
}

fn rows((few, at_few): (f64, &Cost), (many, cost): (f64, &Cost)) -> Vec<Row> {
    let row = |what: &str, show: fn(f64) -> String, figure: fn(&Cost) -> f64| Row {
        what: format!("`run` with {many:.0} connections: {what} for each"),
        ours: show(figure(cost) / many),
        baseline: format!("itself with {few:.0}: {}", show(figure(at_few) / few)),
        result: Figures::of([figure(cost) / many / (figure(at_few) / few)]),
        unit: Unit::Times,
        aim: Some(Aim::AtMost(1.0)),
    };
    vec![
        row("memory", kibibytes, |cost| cost.resident),
        row("CPU of its start and first refresh", seconds, |cost| {
            cost.first_round_cpu
        }),
        row("time until all are refreshed", seconds, |cost| {
            cost.first_round
        }),
        wakeups(many, cost),
    ]
}

fn wakeups(many: f64, cost: &Cost) -> Row {
    Row {
        what: format!("`run` with {many:.0} connections, nothing due: wake-ups in a minute"),
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
