//! Kills processes that share a store, and says what was lost: see `procore_auth_tests::crash`.

#![allow(clippy::print_stderr, reason = "a command-line tool")]

use std::{env, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use fake_procore::Rotation;
use procore_auth_tests::crash::{self, Plan};

#[derive(Parser)]
#[command(bin_name = "cargo xtask crash")]
struct Arguments {
    /// How many processes to kill.
    #[arg(long, default_value_t = 500)]
    kills: usize,
    /// How many processes share the store.
    #[arg(long, default_value_t = 8)]
    processes: usize,
    /// Decides who is killed when; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// What the server does with a refresh token that was used.
    #[arg(long, value_enum, default_value_t = Mode::Strict)]
    rotation: Mode,
    /// How many times faster than real the time runs.
    #[arg(long, default_value_t = 5000)]
    speed: u64,
    /// The mean pause between two kills, in milliseconds.
    #[arg(long, default_value_t = 60)]
    pause: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// It is dead at once.
    Strict,
    /// It works until the new access token is used.
    Grace,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let worker = env::current_exe()
        .expect("a path")
        .with_file_name("crash-worker");
    let plan = Plan {
        worker,
        processes: arguments.processes,
        kills: arguments.kills,
        rotation: match arguments.rotation {
            Mode::Strict => Rotation::Strict,
            Mode::Grace => Rotation::Grace,
        },
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
        speed: arguments.speed,
        pause: Duration::from_millis(arguments.pause),
        lifetime: Plan::SHORTEST_LIFETIME,
        lasting: Duration::ZERO,
    };
    match crash::run(plan).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(breach) => {
            eprintln!("{breach}");
            ExitCode::FAILURE
        }
    }
}
