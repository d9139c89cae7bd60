//! A test in a process of its own, with mounts, privileges or limits of its own: for errors that only a real system makes.
//!
//! The test runs its own program anew, under `unshare`, `setpriv` or `sh`, for itself alone. Where the machine refuses, the test
//! says why and ends: there it cannot be run.

use std::{
    env,
    fmt::Write as _,
    future::Future,
    process::{Command, Output},
};

/// In the environment of the process in which the test named by it really runs.
const INSIDE: &str = "PROCORE_AUTH_TESTS_INSIDE";

/// How a test's process is set apart.
#[derive(Debug, Clone, Copy)]
pub enum Confinement {
    /// It can mount what it likes, and nobody else sees it.
    OwnMounts,
    /// It has no more rights than any other account: permissions mean something to it, also where the tests run as root.
    NoPrivileges,
    /// A write beyond the limit on a file's size fails, and does not kill it.
    NoFileSizeSignal,
    /// As it is: what it does to itself harms no other test.
    Alone,
}

impl Confinement {
    /// Lists what can be put before a command, the best first.
    fn wrappers(self) -> &'static [&'static [&'static str]] {
        match self {
            // Root may do so by itself; others need a name space in which they are root.
            Self::OwnMounts => &[
                &["unshare", "--mount"],
                &["unshare", "--user", "--map-root-user", "--mount"],
            ],
            Self::NoPrivileges if rustix::process::geteuid().is_root() => {
                &[&["setpriv", "--bounding-set=-all", "--inh-caps=-all"]]
            }
            Self::NoFileSizeSignal => &[&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]],
            Self::NoPrivileges | Self::Alone => &[&["env"]],
        }
    }

    /// Finds what this machine allows, or says why it allows nothing.
    fn wrapper(self) -> Result<Command, String> {
        let mut refusals = String::new();
        for words in self.wrappers() {
            match wrap(words).arg("true").output() {
                Ok(output) if output.status.success() => return Ok(wrap(words)),
                Ok(output) => {
                    let why = String::from_utf8_lossy(&output.stderr);
                    let _ = write!(refusals, "{}: {}; ", words.join(" "), why.trim());
                }
                Err(error) => {
                    let _ = write!(refusals, "{}: {error}; ", words.join(" "));
                }
            }
        }
        Err(refusals)
    }
}

fn wrap(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Runs `scenario`, a closure in a test's function, as that test in a process that is set apart.
pub fn run<S: FnOnce() -> F, F: Future<Output = ()>>(confinement: Confinement, scenario: S) {
    let test = function_around::<S>();
    if env::var(INSIDE).is_ok_and(|inside| inside == test) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(scenario());
        return;
    }
    match confinement.wrapper() {
        Ok(wrapper) => check(test, &run_again(wrapper, test)),
        Err(refusals) => {
            println!("skipped: this machine does not grant {confinement:?}: {refusals}");
        }
    }
}

/// Returns the name of the function in which a closure stands, without its program's. That a test of this name ran is checked.
fn function_around<S>() -> &'static str {
    let path = std::any::type_name::<S>();
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    path.trim_end_matches("::{{closure}}")
}

fn run_again(mut wrapper: Command, test: &str) -> Output {
    wrapper
        .arg(env::current_exe().expect("a path"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, test)
        .output()
        .expect("it starts")
}

fn check(test: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test}: {}\n{said}\n{complaint}",
        output.status
    );
}
