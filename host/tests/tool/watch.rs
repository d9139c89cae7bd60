//! `status --watch`: on a terminal of its own, and without one.

use std::process::Stdio;
use std::time::Duration;

use procore_auth_tests::Tool;
use pty_process::{Command, Pty, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;
use vt100::Parser;

use crate::{PROGRAM, signed_in};

const DEADLINE: Duration = Duration::from_secs(60);

/// What Ctrl-C types.
const CTRL_C: &[u8] = b"\x03";

/// A terminal with the program in it.
pub(crate) struct Terminal {
    pub(crate) pty: Pty,
    child: Child,
    pub(crate) screen: Parser,
}

impl Terminal {
    fn start(tool: &Tool, arguments: &[&str]) -> Self {
        // What it logs would be drawn over.
        Self::open(tool, arguments, (24, 80), |command| {
            command.stderr(Stdio::null())
        })
    }

    /// Starts the program in a terminal of so many rows and columns.
    pub(crate) fn open(
        tool: &Tool,
        arguments: &[&str],
        (rows, columns): (u16, u16),
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        let (pty, pts) = pty_process::open().expect("a terminal");
        pty.resize(Size::new(rows, columns)).expect("resized");
        let command = Command::new(PROGRAM)
            .args(arguments)
            .env_clear()
            .envs(tool.variables())
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .kill_on_drop(true);
        let child = change(command).spawn(pts).expect("started");
        Self {
            pty,
            child,
            screen: Parser::new(rows, columns, 0),
        }
    }

    /// Reads until the screen shows what is wanted.
    pub(crate) async fn shows(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut bytes = [0; 4096];
        loop {
            let screen = self.screen.screen().contents();
            if wanted(&screen) {
                return screen;
            }
            let read = timeout(DEADLINE, self.pty.read(&mut bytes)).await;
            match read {
                Ok(Ok(count @ 1..)) => self.screen.process(&bytes[..count]),
                other => panic!("{other:?} on\n{screen}"),
            }
        }
    }

    /// Reads until the screen is as wanted.
    async fn until(&mut self, wanted: impl Fn(&vt100::Screen) -> bool) {
        let mut bytes = [0; 4096];
        while !wanted(self.screen.screen()) {
            let read = timeout(DEADLINE, self.pty.read(&mut bytes)).await;
            match read {
                Ok(Ok(count @ 1..)) => self.screen.process(&bytes[..count]),
                other => panic!("{other:?} on\n{}", self.screen.screen().contents()),
            }
        }
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("running").to_string();
        let mut kill = tokio::process::Command::new("kill");
        let sent = kill.args([&format!("-{name}"), &pid]).status().await;
        assert!(sent.expect("kill").success());
    }

    /// Waits until the process is stopped.
    async fn is_stopped(&self) {
        let pid = self.child.id().expect("running").to_string();
        let stopped = async {
            loop {
                let mut ps = tokio::process::Command::new("ps");
                let shown = ps.args(["-o", "state=", "-p", &pid]).output().await;
                if shown.expect("ps").stdout.starts_with(b"T") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(DEADLINE, stopped).await.expect("it stops");
    }

    /// Reads what is left and waits for the end. Linux reports the end of a terminal as an error.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let mut bytes = [0; 4096];
        while let Ok(Ok(count @ 1..)) = timeout(DEADLINE, self.pty.read(&mut bytes)).await {
            self.screen.process(&bytes[..count]);
        }
        let ended = timeout(DEADLINE, self.child.wait()).await;
        ended.expect("it ends").expect("a status").code()
    }
}

#[tokio::test]
async fn watch_draws_in_place_what_changes_and_leaves_the_cursor_visible() {
    let (_rig, tool, _) = signed_in().await;
    let mut terminal = Terminal::start(&tool, &["status", "--watch", "1"]);
    let before = terminal.shows(|screen| screen.contains("healthy")).await;
    assert!(
        before.contains("▱┆▱▱") && before.contains("72 min"),
        "{before}"
    );
    assert!(terminal.screen.screen().hide_cursor());

    tool.run(&["logout", "--local"]).await.code_is(0);
    let after = terminal.shows(|screen| screen.contains("sign-in")).await;
    let after = match after.contains("tells why") {
        true => after,
        false => terminal.shows(|screen| screen.contains("tells why")).await,
    };
    assert!(!after.contains("healthy"), "{after}");
    assert_eq!(after.matches("CONNECTION").count(), 1, "{after}");

    terminal.pty.write_all(CTRL_C).await.expect("typed");
    assert_eq!(terminal.end().await, Some(0));
    assert!(!terminal.screen.screen().hide_cursor());
}

#[tokio::test]
async fn watch_restores_the_cursor_when_it_is_terminated() {
    let (_rig, tool, _) = signed_in().await;
    let mut terminal = Terminal::start(&tool, &["status", "--watch"]);
    terminal.shows(|screen| screen.contains("healthy")).await;
    terminal.signal("TERM").await;
    assert_eq!(terminal.end().await, Some(0));
    assert!(!terminal.screen.screen().hide_cursor());
}

#[tokio::test]
async fn watch_without_a_terminal_is_refused_or_json_line_by_line() {
    let (_rig, tool, _) = signed_in().await;
    let refused = tool.run(&["status", "--watch"]).await;
    refused.code_is(1).says("no terminal").says("--json");

    let mut watching = tool.start(&["status", "--watch", "1", "--json"]);
    let line = watching.says("\"health\":\"healthy\"").await;
    serde_json::from_str::<serde_json::Value>(&line).expect("a document a line");
    tool.run(&["logout", "--local"]).await.code_is(0);
    watching.says("sign-in-required").await;
    watching.signal("INT").await;
    let last = watching.end().await.code_is(0).json();
    assert_eq!(last["connections"][0]["health"], "sign-in-required");
}

#[tokio::test]
async fn status_fits_a_terminal_of_80_columns() {
    let (_rig, tool, _) = signed_in().await;
    let mut terminal = Terminal::start(&tool, &["status"]);
    let screen = terminal.shows(|screen| screen.contains("healthy")).await;
    assert_eq!(terminal.end().await, Some(0));
    let lines: Vec<&str> = screen.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 2, "{screen}");
}

#[tokio::test]
async fn watch_shows_the_cursor_while_it_is_suspended() {
    let (_rig, tool, _) = signed_in().await;
    let mut terminal = Terminal::start(&tool, &["status", "--watch", "1"]);
    terminal.shows(|screen| screen.contains("healthy")).await;
    assert!(terminal.screen.screen().hide_cursor());
    terminal.signal("TSTP").await;
    terminal.until(|screen| !screen.hide_cursor()).await;
    terminal.is_stopped().await;
    terminal.signal("CONT").await;
    terminal.until(vt100::Screen::hide_cursor).await;
    terminal.signal("TERM").await;
    assert_eq!(terminal.end().await, Some(0));
    assert!(!terminal.screen.screen().hide_cursor());
}

#[tokio::test]
async fn watch_names_the_worst_where_not_all_have_room() {
    let (_rig, tool, _) = signed_in().await;
    let connection = std::fs::read_to_string(tool.path("config.toml")).expect("there");
    let (_, acme) = connection.split_once("[connections.acme]").expect("there");
    // What follows in the table of acme belongs to it alone.
    let table = acme.split("\n[").next().expect("a table");
    let more: String = (1..=9)
        .map(|number| format!("\n[connections.zulu{number}]{table}\n"))
        .collect();
    tool.write("config.toml", &(connection.clone() + &more));
    for (rows, columns) in [(5, 20), (12, 80)] {
        let mut terminal =
            Terminal::open(&tool, &["status", "--watch"], (rows, columns), |command| {
                command.stderr(Stdio::null())
            });
        let screen = terminal.shows(|screen| screen.contains("zulu1")).await;
        assert!(screen.contains("9 sign-in required"), "{screen}");
        terminal.pty.write_all(CTRL_C).await.expect("typed");
        assert_eq!(terminal.end().await, Some(0));
    }
}
