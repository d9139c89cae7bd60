//! Measures what `procore-auth run` costs while nothing is due. `cargo xtask idle` builds and starts it.

#![allow(clippy::print_stderr, reason = "a command-line tool")]

use std::time::Duration;

use clap::Parser;
use procore_auth_tests::idle;

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
    let span = Duration::from_secs(arguments.seconds);
    println!(
        "| connections | memory (RSS) | of it private | CPU, of one core | wake-ups a minute |"
    );
    println!("|---|---|---|---|---|");
    for connections in &arguments.connections {
        let cost = idle::measure(&arguments.program, *connections, span).await?;
        println!(
            "| {connections} | {:.1} MiB | {:.1} MiB | {:.3} % | {:.0} |",
            cost.resident, cost.private, cost.cpu, cost.wakeups
        );
    }
    Ok(())
}
