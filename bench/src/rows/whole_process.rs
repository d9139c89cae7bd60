//! `procore-auth token` from start to end, as a script would call it, against a script that keeps its token in a file.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use procore_auth_tests::Tool;

use super::Bench;
use crate::{
    process,
    table::{Aim, Row, Unit, mebibytes, seconds},
    turns::Turns,
};

/// Of one round.
const RUNS: usize = 5;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/print_token.py");

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let rig = bench.rig();
    let program = text(&bench.program)?;
    let tool = Tool::on_fake(program, &rig).with("PROCORE_AUTH_LOG", "warn");
    let signed_in = tool.signed_in(&rig.procore, Duration::ZERO);
    let pair = bench.runtime.block_on(signed_in);
    let (token_file, _) = tool.script_files(&pair, Duration::ZERO);
    let ours = [program, "token"].map(str::to_owned);
    let baseline = [text(&bench.python)?, SCRIPT, &token_file].map(str::to_owned);
    let variables = tool.variables();
    let run = |command: &[String]| process::cost(command, &variables);
    // Files come into memory, and Python writes its byte code.
    run(&ours)?;
    run(&baseline)?;
    let (mut wall, mut memory) = (Turns::default(), Turns::default());
    for _ in 0..bench.rounds * RUNS {
        let (ours, baseline) = (run(&ours)?, run(&baseline)?);
        wall.add(ours.wall, baseline.wall);
        memory.add(ours.memory, baseline.memory);
    }
    Ok(rows(&wall, &memory))
}

fn rows(wall: &Turns, memory: &Turns) -> Vec<Row> {
    let row = |what: &str, turns: &Turns, show: fn(f64) -> String, aim| Row {
        what: format!("`procore-auth token` with a good token, whole process: {what}"),
        ours: show(turns.ours().median()),
        baseline: format!(
            "Python that imports `requests` and reads a token file: {}",
            show(turns.baseline().median())
        ),
        result: turns.ratio(),
        unit: Unit::Times,
        aim: Some(Aim::AtMost(aim)),
    };
    vec![
        row("time", wall, seconds, 0.05),
        row("memory", memory, mebibytes, 1.0),
    ]
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path in UTF-8")
}
