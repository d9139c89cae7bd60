//! A person at a terminal: reads what the program asks, and types.

use std::time::Duration;

use procore_auth_tests::Tool;
use pty_process::{Command, Pty, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;
use vt100::Parser;

use crate::PROGRAM;

const DEADLINE: Duration = Duration::from_secs(60);
const ROWS: u16 = 200;
const COLUMNS: u16 = 110;

/// What Enter types.
pub(crate) const ENTER: &str = "\r";

/// What the arrow down types.
pub(crate) const DOWN: &str = "\x1b[B";

/// What Ctrl-C types.
pub(crate) const CTRL_C: &str = "\x03";

/// What Ctrl-U types.
pub(crate) const CTRL_U: &str = "\x15";

/// The terminal, with the program in it.
pub(crate) struct Person {
    pty: Pty,
    child: Child,
    pub(crate) screen: Parser,
    /// Every byte that the terminal was sent.
    transcript: Vec<u8>,
    /// How many questions were answered.
    pub(crate) answered: u32,
}

impl Person {
    pub(crate) fn start(tool: &Tool, arguments: &[&str]) -> Self {
        let (pty, pts) = pty_process::open().expect("a terminal");
        pty.resize(Size::new(ROWS, COLUMNS)).expect("resized");
        let child = Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .envs(tool.variables())
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            // What it logs would be drawn over.
            .env("PROCORE_AUTH_LOG", "off")
            .current_dir(tool.path(""))
            .kill_on_drop(true)
            .spawn(pts)
            .expect("started");
        Self {
            pty,
            child,
            screen: Parser::new(ROWS, COLUMNS, 0),
            transcript: Vec::new(),
            answered: 0,
        }
    }

    /// Returns the screen.
    pub(crate) fn screen(&self) -> String {
        self.screen.screen().contents()
    }

    /// Returns all that was ever shown.
    pub(crate) fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.transcript).into_owned()
    }

    /// Reads until the screen shows this.
    pub(crate) async fn sees(&mut self, wanted: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let screen = self.screen();
            if screen.contains(wanted) {
                return screen;
            }
            match timeout(DEADLINE, self.pty.read(&mut bytes)).await {
                Ok(Ok(count @ 1..)) => self.take(&bytes[..count]),
                other => panic!("{other:?} instead of {wanted:?} on\n{screen}"),
            }
        }
    }

    /// Waits for the next question, which is this one, and types.
    pub(crate) async fn answers(&mut self, what: &str, keys: &str) {
        self.answered += 1;
        self.sees(&format!("\n{}. {what}", self.answered)).await;
        self.sees(&format!("? {what}:")).await;
        self.types(keys).await;
    }

    pub(crate) async fn types(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.expect("typed");
    }

    /// Waits for the link to sign in with.
    pub(crate) async fn link(&mut self) -> String {
        self.sees("state=").await;
        self.sees("Paste the address").await;
        let shown = self.transcript();
        let start = shown.find("https://login").expect("a link");
        let link = shown[start..].split_whitespace().next().expect("a link");
        link.to_owned()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("running").to_string();
        let mut kill = tokio::process::Command::new("kill");
        let status = kill.args([&format!("-{name}"), &pid]).status().await;
        assert!(status.expect("kill runs").success());
    }

    /// Reads what is left and waits for the end. Linux reports the end of a terminal as an error.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let mut bytes = [0; 4096];
        while let Ok(Ok(count @ 1..)) = timeout(DEADLINE, self.pty.read(&mut bytes)).await {
            self.take(&bytes[..count]);
        }
        let ended = timeout(DEADLINE, self.child.wait()).await;
        ended.expect("it ends").expect("a status").code()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.transcript.extend_from_slice(bytes);
        self.screen.process(bytes);
    }
}
