//! What the documents' commands need to be run, and which of them are not run, and why.

use super::reader::Situation::{self, Configured, Dead, OutOfBand, Script, ServiceAccount};

/// The situation of a block that is not done by a reader who is signed in.
pub(super) struct Place {
    pub(super) document: &'static str,
    /// How the block's first command begins.
    pub(super) begins: &'static str,
    pub(super) situation: Situation,
    /// What stands for what: the reader's own values for the document's placeholders.
    pub(super) values: &'static [(&'static str, &'static str)],
}

const fn at(document: &'static str, begins: &'static str, situation: Situation) -> Place {
    Place {
        document,
        begins,
        situation,
        values: &[],
    }
}

pub(super) const PLACES: &[Place] = &[
    at("README.md", "cd ~/.config/procore-auth", Configured),
    at("README.md", "procore-auth login", Configured),
    at("README.md", "procore-auth login --begin", OutOfBand),
    at("README.md", "procore-auth import", Script),
    Place {
        document: "README.md",
        begins: "procore-auth call /rest/v1.0/PATH --body-file",
        situation: Situation::SignedIn,
        values: &[
            ("PATH --body-file", "bulk --body-file"),
            ("PATH --output", "bulk/1000 --output"),
        ],
    },
    at(
        "docs/keeper.md",
        "sudo -u procore-auth procore-auth login",
        Configured,
    ),
    at(
        "docs/runbook.md",
        "procore-auth status --connection acme",
        Dead,
    ),
    at("docs/runbook.md", "grep '\"severity\"", Dead),
    at("docs/deploying.md", "procore-auth call", ServiceAccount),
    at("docs/deploying.md", "procore-auth tick", ServiceAccount),
    at("docs/deploying.md", "procore-auth login --begin", OutOfBand),
    at("docs/moving-from-scripts.md", "grep", Script),
    at("docs/moving-from-scripts.md", "procore-auth import", Script),
    at("docs/moving-from-scripts.md", "mv .credentials", Script),
    at("docs/runbook.md", "procore-auth login --finish", OutOfBand),
    at("docs/runbook.md", "procore-auth login --begin", OutOfBand),
];

/// How a command begins that is not run, and why not.
pub(super) const NOT_RUN: &[(&str, &str)] = &[
    ("cargo ", "builds and tests the project itself, for minutes"),
    (
        "./target/release/procore-auth --help",
        "wants a release build; `--help` is run by other tests",
    ),
    ("apt-get ", "changes the machine"),
    ("curl --proto", "gets rustup from the network"),
    (". \"$HOME/.cargo/env\"", "follows on rustup"),
    ("useradd ", "changes the machine"),
    ("install ", "changes the machine"),
    ("chown ", "changes the machine"),
    (
        "(umask 077; cat > /etc/",
        "writes outside of the reader's home",
    ),
    ("docker ", "needs a container engine"),
    (
        "crontab -l",
        "shows the machine's own jobs, where it has cron",
    ),
    (
        "systemctl ",
        "needs systemd; the units are checked by the tests of `packaging`",
    ),
    (
        "launchctl ",
        "needs macOS; the agent is checked by the tests of `packaging`",
    ),
    (
        "sed \"s|/Users/USERNAME|",
        "writes into a folder that a Mac has",
    ),
    (
        "schtasks ",
        "needs Windows; the task is checked by the tests of `packaging`",
    ),
    (
        "procore-auth init",
        "asks at a terminal; the tests of `init` sit at one",
    ),
    ("wasm-tools ", "is another project's tool"),
];

/// Verbs that a document may announce. Once there is such a verb, it comes off this list, and its commands are run.
pub(super) const COMING: &[&str] = &[];

/// Languages of blocks that hold nothing to run, and why not.
pub(super) const NOT_CHECKED: &[(&str, &str)] = &[
    (
        "text",
        "drawings and shortened output; a test of its own checks the demo's",
    ),
    ("yaml", "rules for Prometheus, which is not at hand"),
];
