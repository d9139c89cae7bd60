//! Diagnostic output on standard error.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Holds a filter in the syntax of tracing-subscriber's `EnvFilter`, such as `debug`.
const VARIABLE: &str = "PROCORE_AUTH_LOG";

/// Starts logging. `stays` is for a verb that stays in the foreground: it tells its normal steps too.
pub(crate) fn start(verbose: u8, stays: bool) {
    let standard = match verbose {
        0 if stays => "info",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(standard));
    let format = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(verbose > 1);
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(may_be_seen))
        .with(format)
        .try_init();
    debug_assert!(started.is_ok(), "logging is started once");
}

/// Libraries below us see headers and bodies, and their finer levels may print them: whatever the filter says, they are
/// heard from `info` on only.
fn may_be_seen(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("procore_auth") || *metadata.level() <= Level::INFO
}
