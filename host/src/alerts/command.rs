//! A command: a program that takes an alert further.
//!
//! It is started without a shell, gets the alert as one JSON object on its standard input, and has delivered it if it exits with
//! 0 in time. Its standard output goes nowhere; its standard error is ours. It inherits the environment, except for the
//! variables that hold secrets of this program.

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command as Process},
};

use super::{Alert, Format, Sink, SinkName, Undelivered};

/// How long one run may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A sink that is a program.
#[derive(Debug, Clone)]
pub struct Command {
    name: SinkName,
    program: String,
    arguments: Vec<String>,
    hidden: Vec<String>,
    first_pause: Option<Duration>,
}

impl Command {
    /// Makes a sink of a program and its arguments.
    pub fn new(
        name: SinkName,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            name,
            program: program.into(),
            arguments: arguments.into_iter().collect(),
            hidden: Vec::new(),
            first_pause: None,
        }
    }

    /// Keeps environment variables from it.
    #[must_use]
    pub fn hide(mut self, variables: impl IntoIterator<Item = String>) -> Self {
        self.hidden.extend(variables);
        self
    }

    /// Sets the pause after the first failed try.
    #[must_use]
    pub fn with_first_pause(mut self, first_pause: Duration) -> Self {
        self.first_pause = Some(first_pause);
        self
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut process = Process::new(&self.program);
        process
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        for variable in &self.hidden {
            process.env_remove(variable);
        }
        // A group of its own: what it starts ends with it, and a Ctrl-C that is meant for us is not for it.
        #[cfg(unix)]
        process.process_group(0);
        process.spawn()
    }
}

#[async_trait]
impl Sink for Command {
    fn name(&self) -> &SinkName {
        &self.name
    }

    fn first_pause(&self) -> Duration {
        self.first_pause.unwrap_or(super::sink::FIRST_PAUSE)
    }

    async fn deliver(&self, alert: &Alert, timeout: Duration) -> Result<String, Undelivered> {
        let timeout = timeout.min(TIMEOUT);
        let mut child = self.start().map_err(|error| {
            Undelivered::unreachable(format!("{} cannot be started: {error}", self.program))
        })?;
        let mut input = Format::Generic.write(alert);
        input.push(b'\n');
        let ended = tokio::time::timeout(timeout, feed(&mut child, &input)).await;
        match ended {
            Ok(Ok(status)) => judge(status),
            Ok(Err(error)) => Err(Undelivered::unreachable(error.to_string())),
            Err(_) => {
                kill(&mut child).await;
                let message = format!("did not end within {} s, and was killed", timeout.as_secs());
                Err(Undelivered::failing(message, None))
            }
        }
    }
}

async fn feed(child: &mut Child, input: &[u8]) -> std::io::Result<ExitStatus> {
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input may have delivered all the same: its exit code tells.
        let _ = stdin.write_all(input).await;
    }
    child.wait().await
}

async fn kill(child: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok())
        && let Some(group) = rustix::process::Pid::from_raw(pid)
    {
        // Gone already, then.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill().await;
}

fn judge(status: ExitStatus) -> Result<String, Undelivered> {
    if status.success() {
        return Ok("exit code 0".to_owned());
    }
    let message = match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "ended by a signal".to_owned(),
    };
    Err(Undelivered::failing(message, None))
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::{Duration, Instant};

    use super::Command;
    use crate::alerts::{Kind, Reason, Sink as _, Undelivered, alert::tests::example};

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Command::new("pager".parse().expect("a name"), "sh", arguments)
    }

    async fn deliver(command: &Command, timeout: Duration) -> Result<String, Undelivered> {
        command.deliver(&example(Kind::Alert), timeout).await
    }

    #[tokio::test]
    async fn gets_the_alert_on_its_standard_input_and_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("got");
        let command = shell(&format!("cat > '{0}'; env >> '{0}'", path.display()));
        // Cargo sets this one for tests.
        let command = command.hide(["CARGO_MANIFEST_DIR".to_owned()]);
        let delivered = deliver(&command, LONG).await.expect("delivered");
        assert_eq!(delivered, "exit code 0");
        let got = std::fs::read_to_string(path).expect("written");
        let (alert, environment) = got.split_once('\n').expect("a line");
        let alert: serde_json::Value = serde_json::from_str(alert).expect("JSON");
        assert_eq!(alert["code"], "invalid_grant");
        assert!(environment.contains("PATH="));
        assert!(!environment.contains("CARGO_MANIFEST_DIR="));
    }

    #[tokio::test]
    async fn its_exit_code_decides() {
        let failed = deliver(&shell("exit 3"), LONG).await.expect_err("3");
        assert_eq!(failed.message, "exit code 3");
        assert!(matches!(failed.reason, Reason::Down { answered: true, .. }));
        // Without reading its input.
        assert!(deliver(&shell("exit 0"), LONG).await.is_ok());
        let none = Command::new("pager".parse().expect("a name"), "/nonexistent", []);
        let none = deliver(&none, LONG).await.expect_err("no program");
        assert!(none.message.starts_with("/nonexistent cannot be started"));
    }

    #[tokio::test]
    async fn one_that_never_ends_is_killed_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pid");
        let command = shell(&format!("sleep 600 & echo $! > '{}'; wait", path.display()));
        let began = Instant::now();
        let killed = deliver(&command, Duration::from_secs(1)).await;
        assert!(killed.expect_err("killed").message.contains("within 1 s"));
        assert!(began.elapsed() < LONG);
        let pid = std::fs::read_to_string(path).expect("written");
        let stat = format!("/proc/{}/stat", pid.trim());
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while is_alive() && began.elapsed() < LONG {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!is_alive());
    }
}
