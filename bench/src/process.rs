//! Whole processes: their time and their memory.
//!
//! Linux counts the memory of whoever starts a program as the program's own until it runs. So this program does not start what
//! it measures: a fresh and small process of it does, and says what it saw.

use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use wait4::Wait4 as _;

/// What a process took.
pub(crate) struct Cost {
    /// From its start to its end, in seconds.
    pub(crate) wall: f64,
    /// The most memory that it had at once, in bytes.
    pub(crate) memory: f64,
}

/// Runs a command with nothing but these environment variables, and measures it.
pub(crate) fn cost(command: &[String], variables: &[(String, String)]) -> anyhow::Result<Cost> {
    let mut launcher = Command::new(env::current_exe()?);
    launcher.arg("launch").arg("--").args(command).env_clear();
    let output = launcher.envs(variables.iter().cloned()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} failed: {said}",
        command.join(" ")
    );
    let cost: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| cost[name].as_f64().context("a number");
    Ok(Cost {
        wall: number("wall")?,
        memory: number("memory")?,
    })
}

/// Runs a command, and prints what it took. What it prints itself is let go.
pub(crate) fn launch(command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("a command")?;
    let start = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let ended = child.wait4()?;
    let wall = start.elapsed().as_secs_f64();
    ensure!(ended.status.success(), "{}", ended.status);
    println!("{}", json!({ "wall": wall, "memory": ended.rusage.maxrss }));
    Ok(())
}
