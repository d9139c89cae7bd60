//! `procore-auth demo`: everything at once, against the bundled stand-in for Procore.

use clap::Args;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};

/// How to run the demo.
#[derive(Args)]
pub(super) struct Arguments {}

/// Runs the demo.
#[expect(clippy::unused_async, reason = "the demo will wait for servers")]
pub(super) async fn run(_: &Context<'_>, _: &Arguments) -> Result<Exit, Failure> {
    // The demo's place.
    Err(Explained::new(
        Exit::Internal,
        "demo-missing",
        "This build has no demo.",
        "Use a build that has it.",
    )
    .into())
}
