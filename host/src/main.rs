//! The `procore-auth` tool: signs in, keeps alive, calls and diagnoses.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
