//! Measures what the plugin and its host cost, each row against a baseline of the same run. `cargo xtask bench` builds and starts it.

#![allow(clippy::print_stderr, reason = "a command-line tool")]

mod empty_component;
mod load;
mod page;
mod process;
mod reuse_token_source;
mod rows;
mod table;
mod timed;
mod turns;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use tokio::runtime;

use crate::rows::Bench;

/// As many as the cores that the aims are about.
const THREADS: usize = 2;

#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measures all rows and prints the table.
    Table(Table),
    /// Runs a command and prints what it took: how this program starts what it measures.
    #[command(hide = true)]
    Launch {
        #[arg(last = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct Table {
    /// The `procore-auth` program.
    #[arg(long)]
    program: PathBuf,
    /// The interpreter of a Python environment in which `requests` is installed.
    #[arg(long)]
    python: PathBuf,
    /// The page in which the table is to stand. Not written where rows are left out.
    #[arg(long)]
    page: PathBuf,
    /// How often ours and the baseline take turns.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measures these rows alone, and writes nothing.
    #[arg(long, value_name = "ROW", value_parser = PossibleValuesParser::new(rows::ALL.map(|(name, _)| name)))]
    only: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::Table(table) => measure(table),
        Verb::Launch { command } => process::launch(&command),
    }
}

fn measure(arguments: Table) -> anyhow::Result<()> {
    let bench = Bench {
        program: arguments.program,
        python: arguments.python,
        rounds: arguments.rounds.max(1),
        runtime: runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?,
    };
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    let mut load = 0.0_f64;
    for (name, measure) in rows::ALL {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("measuring {name}");
        load = load.max(page::load_average());
        match measure(&bench) {
            Ok(measured) => {
                measured.iter().for_each(|row| eprintln!("{row}"));
                rows.extend(measured);
            }
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    let conditions = page::Conditions {
        rounds: bench.rounds,
        load,
    };
    println!("{}", page::section(&conditions, &rows));
    anyhow::ensure!(failed.is_empty(), "not measured: {}", failed.join("; "));
    if arguments.only.is_empty() {
        page::write(&arguments.page, &conditions, &rows)?;
    }
    Ok(())
}
