//! A real OAuth server for tests: Doorkeeper, the engine whose messages and routes Procore's are.
//!
//! The server is `tests/doorkeeper/config.ru`, run by the Ruby in the path with the gems `doorkeeper`, `rails`, `sqlite3` and
//! `puma`. On Debian: `apt-get install ruby-doorkeeper ruby-rails ruby-sqlite3 puma`. Where they are missing,
//! [`Doorkeeper::start`] says so, and a test may skip; a server that breaks is a panic instead, never a skip.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

/// What the gems are called; the server needs no other.
const GEMS: [&str; 4] = ["doorkeeper", "rails", "sqlite3", "puma"];
/// Two seconds are usual; a busy machine takes longer.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// For one request of the fixture's own.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// The hosts of Procore's developer sandbox, for which the server stands in.
const SANDBOX_HOSTS: [&str; 2] = ["login-sandbox.procore.com", "sandbox.procore.com"];

const CLIENT_ID: &str = "doorkeeper-client-id";
const CLIENT_SECRET: &str = "doorkeeper-client-secret";

/// With which the one user signs in where [`Consent::Asked`].
pub const LOGIN: &str = "ada@example.com";
/// The one user's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// What becomes of a refresh token once it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It is dead at once.
    Strict,
    /// It works until the access token that it gave is first used.
    Grace,
}

/// How the server comes to a person's consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// The one user is signed in always, and consents to everything.
    Given,
    /// A person signs in with [`LOGIN`] and [`PASSWORD`] in a form, and then allows or denies. The server takes itself to be behind
    /// TLS.
    Asked,
}

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an access token lives.
    pub access_token_lifetime: Duration,
    /// How long an authorization code lives, in whole seconds. Zero: it has expired once it is there.
    pub code_lifetime: Duration,
    /// Whether a person is asked for consent.
    pub consent: Consent,
    /// The redirect URIs registered for the app.
    pub redirect_uris: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            access_token_lifetime: Duration::from_secs(5400),
            code_lifetime: Duration::from_secs(600),
            consent: Consent::Given,
            redirect_uris: vec![
                "http://localhost:9876/callback".to_owned(),
                "urn:ietf:wg:oauth:2.0:oob".to_owned(),
            ],
        }
    }
}

/// Why there can be no server on this machine.
#[derive(Debug)]
pub struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// One row of the server's table of tokens: an access token, and the refresh token that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct TokenRow {
    /// Whether the access token has outlived its lifetime.
    pub expired: bool,
    /// Whether both tokens are dead.
    pub revoked: bool,
    /// Whether a refresh token came with it.
    pub refreshable: bool,
    /// Whether it belongs to the app itself and to no user.
    pub service_account: bool,
}

/// A running server, ended on drop. Each has a database of its own.
#[derive(Debug)]
pub struct Doorkeeper {
    address: SocketAddr,
    http: reqwest::Client,
    /// Killed on drop. Should this process be killed instead, the server ends itself at the end of its standard input.
    _server: Child,
    _folder: TempDir,
}

impl Doorkeeper {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    ///
    /// If Ruby and the gems are there and the server does not start all the same.
    pub async fn start(rotation: Rotation, options: Options) -> Result<Self, Unavailable> {
        available().await?;
        match Self::launch(rotation, &options).await {
            Ok(server) => Ok(server),
            Err(error) => panic!("the Doorkeeper server did not start: {error:#}"),
        }
    }

    async fn launch(rotation: Rotation, options: &Options) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut server = command(rotation, options, folder.path()).spawn()?;
        let output = server.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let address = tokio::time::timeout(START_DEADLINE, address(&mut lines))
            .await
            .context("it takes too long")??;
        tokio::spawn(drain(lines));
        let doorkeeper = Self {
            address,
            http: http_client()?,
            _server: server,
            _folder: folder,
        };
        doorkeeper.tokens().await.context("it does not answer")?;
        Ok(doorkeeper)
    }

    /// Returns where the server listens, for plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the client id of the registered app.
    pub fn client_id(&self) -> &str {
        CLIENT_ID
    }

    /// Returns the client secret of the registered app.
    pub fn client_secret(&self) -> &str {
        CLIENT_SECRET
    }

    /// Returns the overrides that lead the developer sandbox's login and API host here, each as `HOST:PORT=http://ADDRESS:PORT`.
    pub fn connect_to(&self) -> [String; 2] {
        SANDBOX_HOSTS.map(|host| format!("{host}:443=http://{}", self.address))
    }

    /// Plays the browser and the person before it: opens the authorize `url`, and consents.
    ///
    /// Returns what would reach the program: the callback URL with the code, or the bare code where the redirect URI is the
    /// out-of-band one. The callback is not followed. Fails with the page's text where the server shows an error.
    pub async fn authorize(&self, url: &str) -> anyhow::Result<String> {
        let reply = self.http.get(self.here(url)?).send().await?;
        let Some(location) = reply.headers().get(reqwest::header::LOCATION) else {
            let status = reply.status();
            let page = reply.text().await?;
            let message = between(&page, "<pre>", "</pre>").unwrap_or(&page);
            bail!("the authorize page answers {status}: {message}");
        };
        let location = location.to_str()?.to_owned();
        if !Url::parse(&location)?
            .path()
            .ends_with("/oauth/authorize/native")
        {
            return Ok(location);
        }
        let page = self
            .http
            .get(self.here(&location)?)
            .send()
            .await?
            .text()
            .await?;
        let code = between(&page, r#"<code id="authorization_code">"#, "</code>");
        Ok(code.context("the page shows no code")?.to_owned())
    }

    /// Returns the server's table of tokens, the oldest first. A refresh that succeeds adds a row.
    pub async fn tokens(&self) -> anyhow::Result<Vec<TokenRow>> {
        self.ask("tokens").await
    }

    /// Returns how many requests have reached the token endpoint.
    pub async fn token_posts(&self) -> anyhow::Result<usize> {
        self.ask("token_posts").await
    }

    /// Returns the names of the projects that calls have created, in that order.
    pub async fn created_projects(&self) -> anyhow::Result<Vec<String>> {
        self.ask("projects").await
    }

    /// Revokes all that the user granted the app, as *My Connected Apps → Revoke* does.
    pub async fn revoke_all(&self) -> anyhow::Result<()> {
        self.post(&self.test_url("revoke")).await
    }

    /// Lets `time` pass for every token that there is, in whole seconds.
    pub async fn age_tokens(&self, time: Duration) -> anyhow::Result<()> {
        let url = format!("{}?seconds={}", self.test_url("age"), time.as_secs());
        self.post(&url).await
    }

    async fn ask<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let reply = self.http.get(self.test_url(name)).send().await?;
        let body = reply.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn post(&self, url: &str) -> anyhow::Result<()> {
        let status = self.http.post(url).send().await?.status();
        ensure!(status.is_success(), "{url} answers {status}");
        Ok(())
    }

    fn test_url(&self, name: &str) -> String {
        format!("http://{}/test/{name}", self.address)
    }

    /// The URL of one of Procore's hosts, on this server.
    fn here(&self, url: &str) -> anyhow::Result<String> {
        let url = Url::parse(url)?;
        let query = url.query().unwrap_or_default();
        Ok(format!("http://{}{}?{query}", self.address, url.path()))
    }
}

/// Whether Ruby and the gems are there.
async fn available() -> Result<(), Unavailable> {
    let script = "ARGV.each { |name| gem name }";
    let mut ruby = Command::new("ruby");
    ruby.args(["-e", script]).args(GEMS).stdin(Stdio::null());
    let output = ruby.output().await;
    let output = output.map_err(|error| Unavailable(format!("cannot run ruby: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().next().unwrap_or("ruby does not say why");
    Err(Unavailable(format!("a gem is missing: {reason}")))
}

fn command(rotation: Rotation, options: &Options, folder: &Path) -> Command {
    let mut command = Command::new("ruby");
    command.args(["-S", "puma", "--environment", "production"]);
    // Port 0: the system picks a free one, and the server says which.
    command.args(["--bind", "tcp://127.0.0.1:0", "--threads", "0:8"]);
    command.arg("config.ru");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/doorkeeper"));
    let rotation = match rotation {
        Rotation::Strict => "strict",
        Rotation::Grace => "grace",
    };
    let consent = match options.consent {
        Consent::Given => "given",
        Consent::Asked => "asked",
    };
    let code_lifetime = options.code_lifetime.as_secs().to_string();
    let lifetime = options.access_token_lifetime.as_secs().to_string();
    command
        .env("DOORKEEPER_FOLDER", folder)
        .env("DOORKEEPER_ROTATION", rotation)
        .env("DOORKEEPER_LIFETIME", lifetime)
        .env("DOORKEEPER_CODE_LIFETIME", code_lifetime)
        .env("DOORKEEPER_CONSENT", consent)
        .env("DOORKEEPER_PASSWORD", PASSWORD)
        .env("DOORKEEPER_CLIENT_ID", CLIENT_ID)
        .env("DOORKEEPER_CLIENT_SECRET", CLIENT_SECRET)
        .env("DOORKEEPER_REDIRECT_URIS", options.redirect_uris.join("\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    command
}

/// Reads the address from the server's announcement, which comes once it listens.
async fn address(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<SocketAddr> {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, address)) = line.split_once("Listening on http://") {
            return Ok(address.trim().parse()?);
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("it ended after saying:\n{said}")
}

/// Reads on, so that the server can write on.
async fn drain(mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}

fn http_client() -> anyhow::Result<reqwest::Client> {
    // The client wants a provider of cryptography though it speaks plain HTTP here. Another test may have set it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(REQUEST_DEADLINE)
        .build()?;
    Ok(client)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}
