//! A headless Chromium, driven over WebDriver by Debian's `chromedriver`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// For one step; a busy machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a page is looked at with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// A browser with an empty profile. `end` it; a test that fails kills it.
pub(crate) struct Chromium {
    pub(crate) client: Client,
    driver: Child,
    _profile: TempDir,
}

impl Chromium {
    /// Starts a browser that finds `host` at this port of the machine, whatever certificate it has there. `Err`, with a word why,
    /// where there is none.
    pub(crate) async fn start(host: &str, port: u16) -> Result<Self, String> {
        let profile = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("chromedriver");
        command
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browsers that it starts end with it: see `drop`.
            .process_group(0)
            .kill_on_drop(true);
        let mut driver = command
            .spawn()
            .map_err(|error| format!("cannot run chromedriver: {error}"))?;
        let webdriver = format!("http://127.0.0.1:{}", port_of(&mut driver).await);
        let connected = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(&profile, host, port))
            .connect(&webdriver)
            .await;
        match connected {
            Ok(client) => Ok(Self {
                client,
                driver,
                _profile: profile,
            }),
            Err(error) => {
                kill_group(&driver);
                Err(format!("Chromium does not start: {error}"))
            }
        }
    }

    /// Opens an address. What it answers, an error page too, is a page.
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("opened");
    }

    /// Types into a field of a form.
    pub(crate) async fn type_into(&self, name: &str, text: &str) {
        let selector = format!("[name={name}]");
        let field = self.client.find(Locator::Css(&selector)).await;
        let field = field.expect("the field");
        field.send_keys(text).await.expect("typed");
    }

    /// Clicks the button with this text.
    pub(crate) async fn click(&self, text: &str) {
        let path = format!("//input[@type='submit' and @value='{text}'] | //button[.='{text}']");
        let button = self.client.wait().at_most(DEADLINE);
        let button = button.for_element(Locator::XPath(&path)).await;
        let button = button.expect("the button");
        button.click().await.expect("clicked");
    }

    /// Waits for a page whose heading is this.
    pub(crate) async fn shows(&self, heading: &str) {
        let path = format!("//h1[normalize-space()='{heading}']");
        let found = self.client.wait().at_most(DEADLINE);
        if let Err(error) = found.for_element(Locator::XPath(&path)).await {
            let page = self.evaluate("return document.body.innerText;").await;
            panic!("{heading:?} is never shown: {error}\n{page}");
        }
    }

    /// Evaluates a function's body in the page.
    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        let result = self.client.execute(script, Vec::new()).await;
        result.expect("evaluated")
    }

    /// Has pages believe that the person prefers this scheme.
    pub(crate) async fn prefer(&self, scheme: Scheme) {
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"features": feature});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Takes a picture of the window.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a picture")
    }

    /// Returns what pages of this origin complained of since the last time: at the console, by the content security policy.
    pub(crate) async fn complaints_of(&self, origin: &str) -> Vec<String> {
        let entries = self.log("browser").await.into_iter();
        let messages = entries.map(|entry| entry["message"].as_str().unwrap_or("?").to_owned());
        messages
            .filter(|message| message.contains(origin))
            .collect()
    }

    /// Returns the URLs of the requests since the last time.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let entries = self.log("performance").await.into_iter();
        let messages = entries
            .filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        let sent =
            messages.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| {
            let url = &event["message"]["params"]["request"]["url"];
            Some(url.as_str()?.to_owned())
        })
        .collect()
    }

    /// Closes the browser.
    pub(crate) async fn end(self) {
        self.client.clone().close().await.expect("closed");
    }

    async fn log(&self, kind: &'static str) -> Vec<Value> {
        let log = Vendor("se/log", json!({"type": kind}));
        let entries = self.client.issue_cmd(log).await.expect("a log");
        entries.as_array().cloned().unwrap_or_default()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let command = json!({"cmd": command, "params": parameters});
        let command = Vendor("goog/cdp/execute", command);
        self.client.issue_cmd(command).await.expect("done");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        kill_group(&self.driver);
    }
}

/// Ends the driver and the browsers that it started.
fn kill_group(driver: &Child) {
    let pid = driver.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(group) = pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn capabilities(profile: &TempDir, host: &str, port: u16) -> Capabilities {
    let data = profile.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let arguments = [
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--hide-scrollbars".to_owned(),
        "--window-size=800,820".to_owned(),
        format!("--host-resolver-rules=MAP {host}:443 127.0.0.1:{port}"),
        "--ignore-certificate-errors".to_owned(),
        format!("--user-data-dir={}", data.display()),
    ];
    let wanted = json!({
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "acceptInsecureCerts": true,
    });
    wanted.as_object().cloned().expect("an object")
}

async fn port_of(driver: &mut Child) -> u16 {
    let output = driver.stdout.take().expect("piped");
    let mut lines = BufReader::new(output).lines();
    let port = timeout(DEADLINE, async {
        loop {
            let line = lines.next_line().await.expect("read").expect("it listens");
            let port = line
                .split_once("successfully on port ")
                .and_then(|(_, port)| port.trim_end_matches('.').parse().ok());
            if let Some(port) = port {
                return port;
            }
        }
    });
    let port = port.await.expect("it starts");
    // Reads on, so that it can write on.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    port
}

/// A command that is Chromium's own: its path, and what it takes.
#[derive(Debug)]
struct Vendor(&'static str, Value);

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}
