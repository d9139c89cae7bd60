//! Many that wait for one refresh: how long after the reply the last of them has its token.
//!
//! The reply is held back until all of them wait. The baseline is the HTTP client alone, which waits for the same reply.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use fake_procore::{Fault, Gate, Options, Target, TokenPair};
use procore_auth_host::{Connection, FileStore, HttpClient as _, RequestLimits, internals};
use procore_auth_tests::{
    Rig, Tool, plugin,
    rig::{SANDBOX, fake},
    tool::{self, Running},
};
use tokio::task::JoinSet;

use super::{Bench, builder};
use crate::{
    table::{Aim, Row, Unit, seconds},
    turns::Turns,
};

const TASKS: usize = 64;
const PROCESSES: usize = 8;
/// Longer ago than an access token lives, in seconds.
const LONG_AGO: u64 = 6000;
const TOKEN_URL: &str = "https://login-sandbox.procore.com/oauth/token";

const LIMITS: RequestLimits = RequestLimits {
    timeout: std::time::Duration::from_secs(60),
    reply_size: 1 << 20,
};

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let rig = bench.rig();
    let program = bench.program.to_str().context("a path in UTF-8")?;
    let tool = Tool::on_fake(program, &rig).with("PROCORE_AUTH_LOG", "warn");
    bench.runtime.block_on(async {
        let among_tasks = among_tasks(bench, &rig, &tool).await?;
        let among_processes = among_processes(bench, &rig, &tool).await?;
        Ok(vec![
            row(&format!("{TASKS} tasks of one connection"), &among_tasks),
            row(
                &format!("{PROCESSES} processes `procore-auth token`"),
                &among_processes,
            ),
        ])
    })
}

async fn among_tasks(bench: &Bench, rig: &Rig, tool: &Tool) -> anyhow::Result<Turns> {
    let mut turns = Turns::default();
    for _ in 0..bench.rounds {
        // The cache of this connection is empty, as after an expiry.
        let connection = put_expired_pair(rig, tool).await?;
        let gate = hold_reply(rig);
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let connection = connection.clone();
            tasks.spawn(async move { connection.access_token().await });
        }
        gate.arrived(1).await;
        let start = open(&gate);
        for token in tasks.join_all().await {
            token?;
        }
        turns.add(start.elapsed().as_secs_f64(), alone(rig).await?);
    }
    Ok(turns)
}

async fn among_processes(bench: &Bench, rig: &Rig, tool: &Tool) -> anyhow::Result<Turns> {
    let mut turns = Turns::default();
    for _ in 0..bench.rounds {
        put_expired_pair(rig, tool).await?;
        let gate = hold_reply(rig);
        let mut processes: Vec<Running> = (0..PROCESSES).map(|_| tool.start(&["token"])).collect();
        gate.arrived(1).await;
        tool::wait_for_lock(&processes, PROCESSES - 1).await;
        let start = open(&gate);
        for process in &mut processes {
            // A token is all that it prints.
            process.says("").await;
        }
        let last = start.elapsed().as_secs_f64();
        for process in processes {
            process.end().await.code_is(0);
        }
        turns.add(last, alone(rig).await?);
    }
    Ok(turns)
}

/// Has the next reply of the token endpoint wait, after the refresh was carried out.
fn hold_reply(rig: &Rig) -> Gate {
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    gate
}

fn open(gate: &Gate) -> Instant {
    let start = Instant::now();
    gate.open();
    start
}

/// Puts a pair into the tool's store whose access token has expired, and returns a new connection on it.
async fn put_expired_pair(rig: &Rig, tool: &Tool) -> anyhow::Result<Connection> {
    let pair = tool::issue(&rig.procore);
    rig.procore
        .expire_access_token(fake(SANDBOX), &pair.access_token);
    let mut reply = pair.to_json();
    reply["created_at"] = (pair.created_at - LONG_AGO).into();
    let root = tool.path("state");
    internals::create_folder(&root)?;
    let store = FileStore::open(&root, &tool::CONNECTION.parse()?)?;
    let connection = builder(plugin(), rig).store(Arc::new(store)).build()?;
    connection
        .adopt(reply.to_string().into_bytes(), true)
        .await?;
    Ok(connection)
}

/// Returns how long the client alone waits for such a reply, once it is let go.
async fn alone(rig: &Rig) -> anyhow::Result<f64> {
    let gate = hold_reply(rig);
    let request = refresh(&tool::issue(&rig.procore))?;
    let http = rig.http.clone();
    let asked = tokio::spawn(async move { http.send(request, LIMITS).await });
    gate.arrived(1).await;
    let start = open(&gate);
    let reply = asked.await??;
    anyhow::ensure!(reply.status() == 200, "{}", reply.status());
    Ok(start.elapsed().as_secs_f64())
}

fn refresh(pair: &TokenPair) -> anyhow::Result<http::Request<Vec<u8>>> {
    let credentials = fake(SANDBOX).credential_pair();
    let form = format!(
        "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
        Options::demo_client_id(credentials),
        Options::demo_client_secret(credentials),
        pair.refresh_token
    );
    let request =
        http::Request::post(TOKEN_URL).header("content-type", "application/x-www-form-urlencoded");
    Ok(request.body(form.into_bytes())?)
}

fn row(who: &str, turns: &Turns) -> Row {
    Row {
        what: format!("lock hand-over: {who} wait for one refresh, from the reply to the last"),
        ours: seconds(turns.ours().median()),
        baseline: format!(
            "the HTTP client alone, from the reply on: {}",
            seconds(turns.baseline().median())
        ),
        result: turns.added(),
        unit: Unit::SecondsAdded,
        aim: Some(Aim::AtMost(5e-3)),
    }
}
