//! The command line: one module a verb, and the few concepts that they share.

mod adoption;
mod alerts;
mod browser;
mod call;
mod callback;
mod callback_page;
mod companies;
mod completions;
mod config;
mod config_edit;
mod context;
mod credential_probe;
mod demo;
mod doctor;
mod env_file;
mod exit;
mod export;
mod failure;
mod heartbeat;
mod import;
mod init;
mod key;
mod keyring;
mod logging;
mod login;
mod logout;
mod metrics;
mod open;
mod opened;
mod parked;
mod replace_file;
mod report;
mod run;
mod secret_reference;
mod shutdown;
mod sinks;
mod status;
mod store;
mod terminal;
mod tick;
mod time;
mod token;
mod trouble;
mod typed;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};
use procore_auth_host::ConnectionName;

use context::Context;
use exit::Exit;
use failure::{Explained, Failure};
use shutdown::Shutdown;
use terminal::{Format, Terminal};

/// Keeps unattended agents signed in to Procore.
#[derive(Parser)]
#[command(name = "procore-auth", version, long_version = version::long(), after_help = Exit::table(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Keeps a verb's own options together in its help.
const GLOBAL: &str = "Global options";

/// What every verb takes.
#[derive(Args)]
pub(crate) struct Global {
    /// The configuration file [default: $XDG_CONFIG_HOME/procore-auth/config.toml, then
    /// /etc/procore-auth/config.toml]
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "FILE",
        env = "PROCORE_AUTH_CONFIG",
        hide_env_values = true,
        // An empty name counts as none.
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    config: Option<PathBuf>,
    /// The connection to use [default: `default_connection`, or the only one; `status`, `run` and `tick`: all]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    connection: Option<ConnectionName>,
    /// Print results and errors as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Tell more on standard error; twice for still more (or set PROCORE_AUTH_LOG=debug)
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Verb {
    /// Set a connection up, step by step, and sign in
    Init(init::Arguments),
    /// Sign in, and check who one is signed in as
    Login(login::Arguments),
    /// Print a valid access token, refreshed first where that is due
    Token,
    /// Call Procore's REST API
    Call(call::Arguments),
    /// Keep the connections alive, in the foreground, until told to stop
    Run,
    /// Visit each connection once, for cron
    Tick(tick::Arguments),
    /// Tell how the connections are
    Status(status::Arguments),
    /// Look for what is wrong with a connection: evidence first, then causes and cures. Spends and changes nothing
    Doctor(doctor::Arguments),
    /// Sign out: revoke the tokens, then delete them
    Logout(logout::Arguments),
    /// Take over the files of an existing script
    Import(import::Arguments),
    /// Write the access token alone to a file, for scripts that read one
    Export(export::Arguments),
    /// List, replay or discard the requests that wait
    #[command(subcommand)]
    Parked(parked::Verb),
    /// Make keys for encryption
    #[command(subcommand)]
    Key(key::Verb),
    /// Put secrets into the operating system's keyring
    #[command(subcommand)]
    Keyring(keyring::Verb),
    /// Encrypt or decrypt what is stored
    #[command(subcommand)]
    Store(store::Verb),
    /// Try the sinks of alerts out, and see what waits for them
    #[command(subcommand)]
    Alerts(alerts::Verb),
    /// Try everything out against a bundled stand-in for Procore
    Demo(demo::Arguments),
    /// Print the completions for a shell
    Completions(completions::Arguments),
}

/// Parses the command line, carries it out, and returns the exit code.
pub(crate) fn main() -> ExitCode {
    let Cli { global, verb } = Cli::parse();
    logging::start(global.verbose, matches!(verb, Verb::Run));
    let format = if global.json {
        Format::Json
    } else {
        Format::Text
    };
    let terminal = Terminal::standard(format);
    let outcome = start(&global, terminal, verb);
    outcome.into()
}

fn start(global: &Global, terminal: Terminal, verb: Verb) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let explained = Explained::new(
                Exit::Internal,
                "runtime",
                format!("Cannot start: {error}."),
                "Check the limits on threads and open files.",
            );
            return report::failure(&terminal, &explained.into());
        }
    };
    let exit = runtime.block_on(async {
        let shutdown = match Shutdown::listen() {
            Ok(shutdown) => shutdown,
            Err(failure) => return report::failure(&terminal, &failure),
        };
        let context = Context::new(global, terminal, shutdown);
        let exit = carry_out(&context, verb)
            .await
            .unwrap_or_else(|failure| report::failure(&context.terminal, &failure));
        match context.opened.end().await {
            Ok(()) => exit,
            Err(failure) => report::failure(&context.terminal, &failure),
        }
    });
    // A browser that is slow to start does not keep us.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit
}

async fn carry_out(context: &Context<'_>, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Init(arguments) => init::run(context, &arguments).await,
        Verb::Login(arguments) => login::run(context, &arguments).await,
        Verb::Token => token::run(context).await,
        Verb::Call(arguments) => call::run(context, arguments).await,
        Verb::Run => run::run(context).await,
        Verb::Tick(arguments) => tick::run(context, &arguments).await,
        Verb::Status(arguments) => status::run(context, &arguments).await,
        Verb::Doctor(arguments) => doctor::run(context, &arguments).await,
        Verb::Logout(arguments) => logout::run(context, &arguments).await,
        Verb::Import(arguments) => import::run(context, &arguments).await,
        Verb::Export(arguments) => export::run(context, &arguments).await,
        Verb::Parked(verb) => parked::run(context, &verb).await,
        Verb::Key(verb) => key::run(context, &verb),
        Verb::Keyring(verb) => keyring::run(context, &verb),
        Verb::Store(verb) => store::run(context, verb).await,
        Verb::Alerts(verb) => alerts::run(context, &verb).await,
        Verb::Demo(arguments) => demo::run(context, &arguments).await,
        Verb::Completions(arguments) => completions::run(context, &arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Verb};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_exit_codes_stand_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("a person must sign in"), "{help}");
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in [
            ["procore-auth", "--json", "--connection", "acme", "status"],
            ["procore-auth", "status", "--connection", "acme", "--json"],
        ] {
            let cli = Cli::try_parse_from(line).expect("valid");
            assert!(cli.global.json && matches!(cli.verb, Verb::Status(_)));
            assert_eq!(cli.global.connection.expect("given").as_str(), "acme");
        }
    }

    #[test]
    fn a_connection_name_cannot_be_a_path() {
        assert!(Cli::try_parse_from(["procore-auth", "status", "--connection", "../x"]).is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            &["procore-auth", "login", "--browser", "--no-browser"][..],
            &["procore-auth", "login", "--begin", "--finish"],
            &["procore-auth", "call", "/x", "-d", "a", "--body-file", "b"],
            &["procore-auth", "call", "rest/v1.0/me"],
            &[
                "procore-auth",
                "call",
                "https://api.procore.com/rest/v1.0/me",
            ],
            &["procore-auth", "call", "/x", "-H", "no colon"],
            &["procore-auth", "tick", "--next-visit", "soon"],
            &["procore-auth", "status", "--watch", "0"],
            &["procore-auth", "parked", "discard"],
            &["procore-auth", "import", "--token", "t.json"],
            &["procore-auth", "init", "--no-adopt", "--token", "t.json"],
            &["procore-auth", "init", "--grant", "password"],
            &["procore-auth", "init", "--environment", "staging"],
            &["procore-auth", "key", "generate"],
            &["procore-auth", "key", "generate", "--file", "k", "--print"],
            &["procore-auth", "keyring", "set", "no name"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn what_the_help_shows_is_accepted() {
        for line in [
            &["procore-auth", "login", "--no-browser"][..],
            &["procore-auth", "login", "--code-from", "-"],
            &["procore-auth", "call", "/rest/v1.0/me", "-i"],
            &[
                "procore-auth",
                "call",
                "-X",
                "POST",
                "/x",
                "-H",
                "A: b",
                "-d",
                "@-",
                "--company",
                "1",
                "--idempotent",
                "--park",
                "--timeout",
                "30s",
            ],
            &["procore-auth", "tick", "--next-visit", "60m"],
            &["procore-auth", "status", "--watch"],
            &["procore-auth", "status", "--watch", "5", "--json"],
            &["procore-auth", "doctor", "--json"],
            &["procore-auth", "doctor", "--page", "unknown client"],
            &["procore-auth", "parked", "list"],
            &["procore-auth", "parked", "replay"],
            &["procore-auth", "parked", "replay", "parked-1"],
            &["procore-auth", "alerts", "test"],
            &["procore-auth", "alerts", "list"],
            &["procore-auth", "alerts", "discard", "00112233"],
            &["procore-auth", "logout", "--local"],
            &[
                "procore-auth",
                "import",
                "--token",
                "t.json",
                "--env",
                "p.env",
                "--environment",
                "sandbox",
                "--write",
            ],
            &["procore-auth", "init"],
            &[
                "procore-auth",
                "init",
                "--environment",
                "sandbox",
                "--grant",
                "client-credentials",
                "--client-id",
                "x",
                "--client-secret",
                "-",
                "--secret-in",
                "keyring",
                "--company",
                "1",
            ],
            &["procore-auth", "export"],
            &["procore-auth", "export", "--to", "token.json", "--json"],
            &["procore-auth", "key", "generate", "--file", "store.key"],
            &["procore-auth", "key", "generate", "--keyring", "store"],
            &["procore-auth", "key", "generate", "--print"],
            &["procore-auth", "keyring", "set", "acme", "--replace"],
            &["procore-auth", "store", "encrypt"],
            &["procore-auth", "store", "decrypt", "--connection", "acme"],
            &["procore-auth", "completions", "bash"],
        ] {
            if let Err(error) = Cli::try_parse_from(line) {
                panic!("{line:?}: {error}");
            }
        }
    }
}
