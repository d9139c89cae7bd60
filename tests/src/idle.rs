//! What `procore-auth run` costs while nothing is due: memory, CPU and wake-ups, by the number of connections.
//!
//! Every connection has a token that is due, so that each is refreshed once; then the process is watched while it waits.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use fake_procore::{Options, VirtualClock};
use procore_auth_host::{ConnectionName, FileStore};
use tokio::time::{sleep, timeout};

use crate::{Rig, Tool, tool};

/// A token of this age is due, and still works.
const AGE: u64 = 5000;

/// For the refreshes of all connections.
const FIRST_ROUND: Duration = Duration::from_secs(600);

/// For what the first round leaves behind: idle threads and connections.
const SETTLE: Duration = Duration::from_secs(45);

/// Between two looks at the server's counter.
const LOOK: Duration = Duration::from_millis(20);

/// What a keeper takes.
pub struct Cost {
    /// From its start until every connection was refreshed once, in seconds.
    pub first_round: f64,
    /// Of one core, in the same time, in seconds.
    pub first_round_cpu: f64,
    /// Memory, in MiB.
    pub resident: f64,
    /// What of it is no file's, in MiB.
    pub private: f64,
    /// While nothing is due, in percent of one core.
    pub cpu: f64,
    /// A minute, while nothing is due.
    pub wakeups: f64,
}

/// Runs `program` with so many connections, and watches it for `span`.
///
/// Errors: where it is not done with the first round after ten minutes, or ends.
pub async fn measure(program: &str, connections: usize, span: Duration) -> anyhow::Result<Cost> {
    let rig = Rig::with(Options::demo(), VirtualClock::at(0)).await;
    let tool = Tool::on_fake(program, &rig).with("PROCORE_AUTH_LOG", "warn");
    configure(&tool, connections)?;
    for number in 0..connections {
        sign_in(&rig, &tool, number).await?;
    }
    let start = Instant::now();
    let mut keeper = tool.start(&["run"]);
    let process = Path::new("/proc").join(keeper.pid().to_string());
    let first_round = async {
        while rig.procore.token_posts() < connections {
            sleep(LOOK).await;
        }
    };
    let done = timeout(FIRST_ROUND, first_round).await;
    ensure!(done.is_ok(), "only {} refreshes", rig.procore.token_posts());
    let first_round = start.elapsed().as_secs_f64();
    let first_round_cpu = Counters::read(&process)?.cpu_ns / 1e9;
    sleep(SETTLE).await;
    ensure!(keeper.is_running(), "it has ended: {keeper}");
    let before = Counters::read(&process)?;
    sleep(span).await;
    let after = Counters::read(&process)?;
    let seconds = span.as_secs_f64();
    let status = fs::read_to_string(process.join("status"))?;
    let mebibytes = |name| anyhow::Ok(number(&status, name)? / 1024.0);
    let cost = Cost {
        first_round,
        first_round_cpu,
        resident: mebibytes("VmRSS:")?,
        private: mebibytes("RssAnon:")?,
        cpu: (after.cpu_ns - before.cpu_ns) / 1e9 / seconds * 100.0,
        wakeups: (after.wakeups - before.wakeups) / seconds * 60.0,
    };
    keeper.signal("TERM").await;
    keeper.end().await.code_is(0);
    Ok(cost)
}

/// Makes many connections of the one in the configuration.
fn configure(tool: &Tool, connections: usize) -> anyhow::Result<()> {
    let path = tool.path("config.toml");
    let text = fs::read_to_string(&path)?;
    let head = format!("[connections.{}]", tool::CONNECTION);
    let (shared, table) = text.split_once(&head).context("a connection")?;
    let tables = (0..connections).map(|number| format!("[connections.{}]{table}\n", name(number)));
    fs::write(path, shared.to_owned() + &tables.collect::<String>())?;
    Ok(())
}

async fn sign_in(rig: &Rig, tool: &Tool, number: usize) -> anyhow::Result<()> {
    let name: ConnectionName = name(number).parse()?;
    let store = FileStore::open(&tool.path("state"), &name)?;
    let settings = Rig::settings_with(|settings| settings.name = name);
    let builder = rig.builder(settings).store(Arc::new(store));
    let mut reply = tool::issue(&rig.procore).to_json();
    reply["created_at"] = (reply["created_at"].as_u64().context("a moment")? - AGE).into();
    let connection = builder.build()?;
    connection
        .adopt(reply.to_string().into_bytes(), false)
        .await?;
    Ok(())
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// What only grows.
struct Counters {
    cpu_ns: f64,
    wakeups: f64,
}

impl Counters {
    fn read(process: &Path) -> anyhow::Result<Self> {
        let mut counters = Self {
            cpu_ns: 0.0,
            wakeups: 0.0,
        };
        for task in fs::read_dir(process.join("task"))? {
            let task = task?.path();
            let schedstat = fs::read_to_string(task.join("schedstat"))?;
            let on_cpu = schedstat.split_whitespace().next().context("a time")?;
            counters.cpu_ns += on_cpu.parse::<f64>()?;
            let status = fs::read_to_string(task.join("status"))?;
            counters.wakeups += number(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(counters)
    }
}

/// Returns the number after a name in a file of `/proc`.
fn number(status: &str, name: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or_else(|| io::Error::other(format!("no {name}")))?;
    let number = line.split_whitespace().next().context("a number")?;
    Ok(number.parse()?)
}
