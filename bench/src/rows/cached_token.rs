//! A token that is good, from the handle that an embedder holds.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use procore_auth_host::{AccessToken, Connection};
use procore_auth_tests::plugin;
use tokio::task::JoinSet;

use super::{Bench, builder};
use crate::{
    reuse_token_source::ReuseTokenSource,
    table::{Aim, Row, Unit, seconds},
    timed,
    turns::{Figures, Turns},
};

/// How many ask at once.
const TASKS: u64 = 64;
/// For counting.
const CALLS: u64 = 1000;

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let rig = bench.rig();
    let (connection, token) = bench.runtime.block_on(async {
        let connection = builder(plugin(), &rig).build()?;
        rig.sign_in(&connection).await;
        let token = connection.access_token().await?;
        anyhow::Ok((connection, token))
    })?;
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_millis(token.expires_at());
    let source = ReuseTokenSource::new(token.bearer().expose().to_owned(), expiry);
    let both = Both {
        connection,
        source: Arc::new(source),
    };
    Ok(vec![
        alone(bench, &both)?,
        contended(bench, &both)?,
        allocations(bench, &both),
    ])
}

struct Both {
    connection: Connection,
    source: Arc<ReuseTokenSource>,
}

fn alone(bench: &Bench, both: &Both) -> anyhow::Result<Row> {
    let turns = timed::in_turns(
        bench.rounds,
        &mut |times| {
            bench.runtime.block_on(async {
                let start = Instant::now();
                for _ in 0..times {
                    black_box(ask(&both.connection).await);
                }
                start.elapsed()
            })
        },
        &mut |times| {
            let start = Instant::now();
            for _ in 0..times {
                black_box(both.source.token());
            }
            start.elapsed()
        },
    )?;
    Ok(row(
        "cached token from the Rust handle, 1 task".to_owned(),
        &turns,
        Aim::AtMost(1.0),
    ))
}

fn contended(bench: &Bench, both: &Both) -> anyhow::Result<Row> {
    let turns = timed::in_turns(
        bench.rounds,
        &mut |times| {
            bench.runtime.block_on(of_all_tasks(times, |times| {
                let connection = both.connection.clone();
                async move {
                    for _ in 0..times {
                        black_box(ask(&connection).await);
                    }
                }
            }))
        },
        &mut |times| {
            bench.runtime.block_on(of_all_tasks(times, |times| {
                let source = Arc::clone(&both.source);
                async move {
                    for _ in 0..times {
                        black_box(source.token());
                    }
                }
            }))
        },
    )?;
    Ok(row(
        format!("the same, {TASKS} tasks on 2 threads, for each call"),
        &turns,
        Aim::AtMost(0.2),
    ))
}

fn row(what: String, turns: &Turns, aim: Aim) -> Row {
    Row {
        what,
        ours: seconds(turns.ours().median()),
        baseline: format!(
            "mutex and expiry check: {}",
            seconds(turns.baseline().median())
        ),
        result: turns.ratio(),
        unit: Unit::Times,
        aim: Some(aim),
    }
}

/// Shares the calls out to as many tasks as ask at once, and returns the time until the last is done.
async fn of_all_tasks<F>(times: u64, task: impl Fn(u64) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for number in 0..TASKS {
        let share = times / TASKS + u64::from(number < times % TASKS);
        tasks.spawn(task(share));
    }
    tasks.join_all().await;
    start.elapsed()
}

fn allocations(bench: &Bench, both: &Both) -> Row {
    let counted = allocation_counter::measure(|| {
        bench.runtime.block_on(async {
            for _ in 0..CALLS {
                black_box(ask(&both.connection).await);
            }
        });
    });
    Row {
        what: format!("allocations of {CALLS} such calls"),
        ours: counted.count_total.to_string(),
        baseline: "–".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        result: Figures::of([counted.count_total as f64]),
        unit: Unit::Count,
        aim: Some(Aim::AtMost(0.0)),
    }
}

async fn ask(connection: &Connection) -> AccessToken {
    connection.access_token().await.expect("a token")
}
