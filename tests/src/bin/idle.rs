//! Measures what `procore-auth run` costs while nothing is due: memory, CPU and wake-ups, by the number of connections.
//!
//! Every connection has a token that is due, so that each is refreshed once; then the process is watched while it waits.

#![allow(clippy::print_stderr, reason = "a command-line tool")]

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser;
use fake_procore::{Options, VirtualClock};
use procore_auth_host::{ConnectionName, FileStore};
use procore_auth_tests::{Rig, Tool, tool};
use tokio::time::{sleep, timeout};

/// A token of this age is due, and still works.
const AGE: u64 = 5000;

/// For the refreshes of all connections.
const FIRST_ROUND: Duration = Duration::from_secs(600);

/// For what the first round leaves behind: idle threads and connections.
const SETTLE: Duration = Duration::from_secs(45);

#[derive(Parser)]
#[command(bin_name = "cargo xtask idle")]
struct Arguments {
    /// The program that is measured.
    #[arg(long)]
    program: String,
    /// How many connections, one run each.
    #[arg(default_values_t = [1, 10, 1000])]
    connections: Vec<usize>,
    /// For how many seconds the process is watched.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    println!(
        "| connections | memory (RSS) | of it private | CPU, of one core | wake-ups a minute |"
    );
    println!("|---|---|---|---|---|");
    for connections in &arguments.connections {
        let cost = measure(&arguments, *connections).await?;
        println!(
            "| {connections} | {:.1} MiB | {:.1} MiB | {:.3} % | {:.0} |",
            cost.resident, cost.private, cost.cpu, cost.wakeups
        );
    }
    Ok(())
}

struct Cost {
    resident: f64,
    private: f64,
    cpu: f64,
    wakeups: f64,
}

async fn measure(arguments: &Arguments, connections: usize) -> anyhow::Result<Cost> {
    let rig = Rig::with(Options::demo(), VirtualClock::at(0)).await;
    let tool = Tool::on_fake(&arguments.program, &rig).with("PROCORE_AUTH_LOG", "warn");
    configure(&tool, connections)?;
    for number in 0..connections {
        sign_in(&rig, &tool, number).await?;
    }
    let mut keeper = tool.start(&["run"]);
    let first_round = async {
        while rig.procore.token_posts() < connections {
            sleep(Duration::from_millis(200)).await;
        }
    };
    let done = timeout(FIRST_ROUND, first_round).await;
    ensure!(done.is_ok(), "only {} refreshes", rig.procore.token_posts());
    sleep(SETTLE).await;
    ensure!(keeper.is_running(), "it has ended: {keeper}");
    let process = Path::new("/proc").join(keeper.pid().to_string());
    let before = Counters::read(&process)?;
    sleep(Duration::from_secs(arguments.seconds)).await;
    let after = Counters::read(&process)?;
    let seconds = Duration::from_secs(arguments.seconds).as_secs_f64();
    let status = fs::read_to_string(process.join("status"))?;
    let mebibytes = |name| anyhow::Ok(number(&status, name)? / 1024.0);
    let cost = Cost {
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
