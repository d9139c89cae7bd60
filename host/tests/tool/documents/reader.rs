//! A reader of the documents: sits before a shell, in a home of their own, and does what a document says.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use fake_procore::{CredentialPair, Environment::Sandbox, Options};
use procore_auth_tests::tool::{Finished, OUT_OF_BAND, free_port, issue, register, visit};
use procore_auth_tests::{Rig, Tool};

use super::markdown::Command;
use crate::webhook::Webhook;
use crate::{LONG_AGO, PROGRAM, rig};

/// How it is when a reader begins with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Situation {
    /// The connection `acme` is signed in.
    SignedIn,
    /// It is configured, and nobody has signed in.
    Configured,
    /// Its refresh token is dead.
    Dead,
    /// Its refresh token is dead, and Procore shows the code on a page: the alert has a link.
    OutOfBand,
    /// The connection is a service account.
    ServiceAccount,
    /// No connection is configured; a script's files are there.
    Script,
}

/// The reader, and the servers that they reach.
pub(super) struct Reader {
    pub(super) rig: Rig,
    pub(super) tool: Tool,
    _webhook: Webhook,
    /// The link of the sign-in that was begun last.
    link: Option<String>,
}

/// Where the reader's configuration is.
const CONFIG: &str = ".config/procore-auth";

impl Reader {
    pub(super) async fn new(situation: Situation) -> Self {
        let rig = rig().await;
        let webhook = Webhook::start([]).await;
        let secrets = {
            let procore = rig.procore.clone();
            move || procore.secrets_issued()
        };
        let tool = Tool::new(PROGRAM, secrets).with("OPS_WEBHOOK", &webhook.url());
        let tool = with_path(tool);
        prepare(&rig, &tool, situation);
        let mut reader = Self {
            rig,
            tool,
            _webhook: webhook,
            link: None,
        };
        reader.arrive(situation).await;
        reader
    }

    async fn arrive(&mut self, situation: Situation) {
        match situation {
            Situation::SignedIn => {
                let age = Duration::from_secs(600);
                self.tool.signed_in(&self.rig.procore, age).await;
            }
            Situation::Dead | Situation::OutOfBand => {
                let pair = self.tool.signed_in(&self.rig.procore, LONG_AGO).await;
                let killed = self
                    .rig
                    .procore
                    .kill_refresh_token(Sandbox, &pair.refresh_token);
                assert!(killed);
                // What the alert's link is, a person gets from this one.
                self.tool.run(&["token"]).await.code_is(4);
                let begun = self.tool.run(&["login", "--begin"]).await;
                self.note_link(&begun);
            }
            Situation::Script => {
                let pair = issue(&self.rig.procore);
                let age = Duration::from_secs(600);
                self.tool.script_files(&pair, age);
                self.tool.write(
                    "scripts/procore-auth.py",
                    "TOKEN_URL = \"https://login-sandbox.procore.com/oauth/token\"\n",
                );
            }
            Situation::Configured | Situation::ServiceAccount => {}
        }
        if situation != Situation::Script {
            let _ = fs::remove_dir_all(self.tool.path(".credentials"));
        }
    }

    /// Types a command, and does what a person does meanwhile: signs in with a browser, pastes, presses Ctrl-C.
    pub(super) async fn follow(&mut self, command: &Command, text: &str) -> Finished {
        if waits_for_a_browser(command.bare()) {
            return self.sign_in(text).await;
        }
        let mut running = self.tool.shell(&in_place(text));
        if command.bare().ends_with("procore-auth run") {
            running.says("visited").await;
            running.signal("TERM").await;
        } else if command.bare().contains("login --finish") {
            let answer = self.answer().await;
            running.write(&format!("{answer}\n")).await;
        } else {
            let secret = Options::demo_client_secret(CredentialPair::Sandbox);
            running.write(&format!("{secret}\n")).await;
        }
        let finished = running.end().await;
        self.note_link(&finished);
        finished
    }

    /// `login` looks for a browser, and for a person at a terminal. The reader's browser is elsewhere.
    async fn sign_in(&self, text: &str) -> Finished {
        let mut login = self.tool.shell(&in_place(&format!("{text} --no-browser")));
        let callback = self.rig.browse(&login.link().await).await;
        assert_eq!(visit(&callback).await.0, 200);
        login.end().await
    }

    fn note_link(&mut self, finished: &Finished) {
        let words = finished.out.split_whitespace();
        let mut links = words.filter(|word| word.contains("/oauth/authorize?"));
        if let Some(link) = links.next_back() {
            self.link = Some(link.to_owned());
        }
    }

    async fn answer(&self) -> String {
        let link = self.link.as_ref().expect("a sign-in was begun");
        if link.contains("urn") {
            self.rig.browse_out_of_band(link).await
        } else {
            self.rig.browse(link).await
        }
    }
}

fn waits_for_a_browser(command: &str) -> bool {
    let elsewhere = ["--begin", "--finish", "--code-from", "--paste", "--help"];
    command.contains("procore-auth login") && !elsewhere.iter().any(|flag| command.contains(flag))
}

/// Goes on in the folder in which the last command ended. What runs until a signal comes gets the signal itself.
fn in_place(text: &str) -> String {
    let last = text.lines().count() == 1 && text.trim_start().starts_with("procore-auth run");
    let rest = if last {
        format!("exec {text}")
    } else {
        format!("trap 'pwd > ~/.folder' EXIT\n{text}\n")
    };
    format!("cd \"$(cat ~/.folder 2>/dev/null || echo ~)\"\n{rest}")
}

/// Puts the program where the shell finds it, and a `sudo -u ACCOUNT` beside it that stays the same account.
pub(super) fn with_path(tool: Tool) -> Tool {
    let sudo = tool.write(".bin/sudo", "#!/bin/sh\nshift 2\nexec \"$@\"\n");
    fs::set_permissions(sudo, fs::Permissions::from_mode(0o755)).expect("set");
    let bin = tool.path(".bin");
    symlink(PROGRAM, bin.join("procore-auth")).expect("linked");
    let path = std::env::var("PATH").unwrap_or_default();
    tool.with("PATH", &format!("{}:{path}", bin.display()))
}

fn prepare(rig: &Rig, tool: &Tool, situation: Situation) {
    let ca = tool.write("ca.pem", rig.procore.ca_pem());
    let hosts = rig.procore.connect_to();
    let connect_to: Vec<String> = hosts
        .iter()
        .map(|(from, to)| format!("{from}={to}"))
        .collect();
    let curl = hosts
        .iter()
        .map(|(from, to)| format!("connect-to = \"{from}:{to}\"\n"));
    let curl: String = curl.collect();
    tool.write(
        ".curlrc",
        &format!("cacert = \"{ca}\"\nno-progress-meter\nfail\n{curl}"),
    );
    tool.write("drawing.pdf", "%PDF-1.7 and so on");
    let network = format!("[network]\nextra_ca = \"{ca}\"\nconnect_to = {connect_to:?}\n");
    let connection = connection(rig, situation);
    tool.write(
        &format!("{CONFIG}/config.toml"),
        &format!("{network}{connection}"),
    );
    if situation == Situation::Script {
        return;
    }
    let secret = Options::demo_client_secret(CredentialPair::Sandbox);
    tool.write(&format!("{CONFIG}/acme.secret"), &format!("{secret}\n"));
}

fn connection(rig: &Rig, situation: Situation) -> String {
    let grant = match situation {
        Situation::Script => return String::new(),
        Situation::ServiceAccount => "grant = \"client-credentials\"".to_owned(),
        Situation::OutOfBand => code_grant(OUT_OF_BAND),
        Situation::SignedIn | Situation::Configured | Situation::Dead => {
            let uri = format!("http://localhost:{}/callback", free_port());
            register(&rig.procore, &uri);
            code_grant(&uri)
        }
    };
    format!(
        "\n[alerts.ops]\nwebhook = {{ env = \"OPS_WEBHOOK\" }}\n\n[connections.acme]\nenvironment = \"sandbox\"\n\
         client_id = \"{}\"\nclient_secret = {{ file = \"acme.secret\" }}\n{grant}\ncompany_id = {}\n",
        Options::demo_client_id(CredentialPair::Sandbox),
        Options::DEMO_COMPANY,
    )
}

fn code_grant(uri: &str) -> String {
    format!("grant = \"authorization-code\"\nredirect_uri = \"{uri}\"")
}
