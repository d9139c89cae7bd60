//! What is short enough to be repeated: criterion's measurement, in turns.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use criterion::Criterion;
use serde_json::Value;

use crate::turns::Turns;

const WARM_UP: Duration = Duration::from_millis(500);
const MEASUREMENT: Duration = Duration::from_secs(1);
/// Of one round; criterion takes no fewer.
const SAMPLES: usize = 10;

/// Does something so many times, and returns how long that took.
pub(crate) type Repeated<'a> = &'a mut dyn FnMut(u64) -> Duration;

/// Measures both in each round, and begins with the one that the round before ended with. A round's figure is the median of
/// criterion's samples, in seconds for one time.
pub(crate) fn in_turns(
    rounds: usize,
    ours: Repeated<'_>,
    baseline: Repeated<'_>,
) -> anyhow::Result<Turns> {
    let folder = tempfile::tempdir()?;
    let mut turns = Turns::default();
    for round in 0..rounds {
        let measure = |name, repeated: &mut dyn FnMut(u64) -> Duration| {
            measure(folder.path(), name, round, repeated)
        };
        if round % 2 == 0 {
            let ours = measure("ours", ours)?;
            turns.add(ours, measure("baseline", baseline)?);
        } else {
            let baseline = measure("baseline", baseline)?;
            turns.add(measure("ours", ours)?, baseline);
        }
    }
    Ok(turns)
}

fn measure(folder: &Path, name: &str, round: usize, repeated: Repeated<'_>) -> anyhow::Result<f64> {
    let round = format!("round-{round}");
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .sample_size(SAMPLES)
        .output_directory(folder)
        .save_baseline(round.clone());
    criterion.bench_function(name, |bencher| bencher.iter_custom(&mut *repeated));
    let file = folder.join(name).join(round).join("estimates.json");
    let estimates: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let nanoseconds = estimates["median"]["point_estimate"].as_f64();
    Ok(nanoseconds.context("criterion's estimate")? / 1e9)
}
