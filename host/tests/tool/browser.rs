//! Signing in as a person does it: a real Chromium, a real Doorkeeper with a form to sign in and a page that asks for consent,
//! the callback page.
//!
//! With `PROCORE_AUTH_SCREENSHOTS=FOLDER`, or `cargo xtask screenshots`, the pages are kept as pictures.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod chromium;
mod tls;

use std::path::Path;
use std::time::Duration;

use procore_auth_tests::Tool;
use procore_auth_tests::doorkeeper::{Consent, Doorkeeper, LOGIN, Options, PASSWORD, Rotation};
use procore_auth_tests::tool::{Finished, Running, free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use self::chromium::{Chromium, Scheme};
use crate::PROGRAM;

/// The page is there until the test has looked at it.
const LOGIN_COMMAND: [&str; 4] = ["login", "--no-browser", "--page-for", "10m"];

const LOGIN_HOST: &str = "login-sandbox.procore.com";

/// Measures each text of the page: its colour's contrast with the nearest background, as WCAG 2 defines it.
const CONTRASTS: &str = r"
const channel = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const numbers = colour => colour.match(/[\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ground = e => {
  for (; e; e = e.parentElement) {
    const colour = numbers(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const texts = [...document.querySelectorAll('body *')].filter(e =>
  [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
return texts.map(e => {
  const pair = [luminance(numbers(getComputedStyle(e).color)), luminance(ground(e))].sort((a, b) => b - a);
  return { text: e.textContent, contrast: (pair[0] + 0.05) / (pair[1] + 0.05) };
});";

/// Where everything is: the server, the program, the browser.
struct Stage {
    server: Doorkeeper,
    tool: Tool,
    browser: Chromium,
}

impl Stage {
    /// `None`, with a word why, where something is missing.
    async fn set(options: Options) -> Option<Self> {
        let redirect_uri = format!("http://localhost:{}/callback", free_port());
        let options = Options {
            consent: Consent::Asked,
            redirect_uris: vec![redirect_uri.clone()],
            ..options
        };
        let server = match Doorkeeper::start(Rotation::Strict, options).await {
            Ok(server) => server,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        let port = tls::before(server.address(), LOGIN_HOST).await;
        let browser = match Chromium::start(LOGIN_HOST, port).await {
            Ok(browser) => browser,
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        let tool = Tool::on_doorkeeper(PROGRAM, &server, &redirect_uri);
        tool.reconfigure("grant = ", "company_id = 4040\ngrant = ");
        Some(Self {
            server,
            tool,
            browser,
        })
    }

    fn origin(&self) -> String {
        format!("http://localhost:{}", self.tool.port())
    }

    /// Starts a sign-in; the browser fills in the form and comes to the page that asks for consent. Signed in there already, it
    /// comes there at once.
    async fn to_consent(&self, fill_in: bool) -> Running {
        let mut login = self.tool.start(&LOGIN_COMMAND);
        self.browser.open(&login.link().await).await;
        if fill_in {
            self.browser.shows("Sign in").await;
            self.browser.type_into("login", LOGIN).await;
            self.browser.type_into("password", PASSWORD).await;
            self.browser.click("Sign in").await;
        }
        self.browser.shows("Authorization required").await;
        login
    }

    /// Looks at the callback page that is shown: whether it keeps its promises, in both schemes. Keeps pictures of it.
    async fn inspect(&self, name: &str) {
        for scheme in [Scheme::Light, Scheme::Dark] {
            self.browser.prefer(scheme).await;
            self.check_colours(scheme).await;
            keep(name, scheme, &self.browser.picture().await);
        }
        self.browser.prefer(Scheme::Light).await;
        let page = self.browser.evaluate(
            "return { lang: document.documentElement.lang, title: document.title, headings: document.querySelectorAll('h1').length, \
             mains: document.querySelectorAll('main').length, roles: document.querySelectorAll('[role=status],[role=alert]').length, \
             scripts: document.scripts.length, address: location.href, wide: document.documentElement.scrollWidth > innerWidth };",
        );
        let page = page.await;
        assert_eq!(page["lang"], "en");
        assert!(
            page["title"]
                .as_str()
                .expect("a title")
                .ends_with("– procore-auth")
        );
        for (what, count) in [("headings", 1), ("mains", 1), ("roles", 1), ("scripts", 0)] {
            assert_eq!(page[what], count, "{what} of {name}");
        }
        assert_eq!(page["wide"], false, "{name} scrolls to the side");
        let complaints = self.browser.complaints_of(&self.origin()).await;
        // An error page is one: its status is told at the console.
        let complaints: Vec<_> = complaints
            .iter()
            .filter(|complaint| !complaint.contains("the server responded with a status of"))
            .collect();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }

    async fn check_colours(&self, scheme: Scheme) {
        let texts = self.browser.evaluate(CONTRASTS).await;
        let texts = texts.as_array().expect("texts");
        assert!(texts.len() >= 3, "{texts:?}");
        for text in texts {
            let contrast = text["contrast"].as_f64().expect("a number");
            assert!(contrast >= 4.5, "{scheme:?}: {text}");
        }
        let ground = self
            .browser
            .evaluate("return getComputedStyle(document.body).backgroundColor;");
        let ground = ground.await;
        let is_dark = ground
            .as_str()
            .is_some_and(|ground| ground.starts_with("rgb(18, "));
        assert_eq!(is_dark, scheme == Scheme::Dark, "{ground}");
    }

    async fn says(&self, texts: &[&str]) {
        let shown = self
            .browser
            .evaluate("return document.body.innerText;")
            .await;
        let shown = shown.as_str().expect("text");
        for text in texts {
            assert!(
                shown.contains(text),
                "{text:?} is not on the page:\n{shown}"
            );
        }
    }

    async fn address(&self) -> String {
        self.browser
            .client
            .current_url()
            .await
            .expect("an address")
            .into()
    }

    async fn end(self) {
        self.browser.end().await;
        drop(self.server);
    }
}

/// Ends a sign-in, or the time in which its page is there.
async fn end(login: Running) -> Finished {
    login.signal("INT").await;
    login.end().await
}

/// Keeps a picture where the environment names a folder.
fn keep(name: &str, scheme: Scheme, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG"));
    assert!(
        picture.len() < 100_000,
        "{name} has {} bytes",
        picture.len()
    );
    if let Some(folder) = std::env::var_os("PROCORE_AUTH_SCREENSHOTS") {
        let scheme = format!("{scheme:?}").to_lowercase();
        let path = Path::new(&folder).join(format!("{name}-{scheme}.png"));
        std::fs::write(&path, picture).expect("kept");
    }
}

#[tokio::test]
async fn s52_a_person_signs_in_with_a_real_browser() {
    let Some(stage) = Stage::set(Options::default()).await else {
        return;
    };
    let login = stage.to_consent(true).await;
    stage.browser.requests().await;
    stage.browser.click("Authorize").await;
    stage.browser.shows("Signed in to Procore").await;
    let requests = stage.browser.requests().await;

    stage
        .says(&[
            "Ada Agent",
            "ada@example.com",
            "Demo Builders (company 4040)",
            "acme",
        ])
        .await;
    let address = stage.address().await;
    assert!(
        address.starts_with(&format!("{}/sign-in/", stage.origin())),
        "{address}"
    );
    assert!(!address.contains("code"), "{address}");
    let own = [stage.origin(), format!("https://{LOGIN_HOST}/")];
    for request in &requests {
        let known = own.iter().any(|own| request.starts_with(own.as_str()));
        assert!(known || request.starts_with("data:"), "{request}");
    }
    stage.browser.client.refresh().await.expect("reloaded");
    stage.browser.shows("Signed in to Procore").await;
    assert_eq!(stage.address().await, address);
    stage.inspect("signed-in").await;
    let finished = end(login).await;
    finished
        .code_is(0)
        .says("as Ada Agent, ada@example.com (user 1), for Demo Builders (company 4040).");
    stage.end().await;
}

#[tokio::test]
async fn s52_each_error_is_explained_in_a_real_browser() {
    let Some(stage) = Stage::set(Options::default()).await else {
        return;
    };

    let mut login = stage.to_consent(true).await;
    for (query, name, texts) in [
        ("", "no-answer", &["Open the link"][..]),
        (
            "?code=x&state=another",
            "wrong-state",
            &[
                "another sign-in",
                "state-mismatch",
                "the terminal still waits",
            ],
        ),
    ] {
        stage
            .browser
            .open(&format!("{}/callback{query}", stage.origin()))
            .await;
        stage.says(texts).await;
        stage.inspect(name).await;
    }
    assert!(login.is_running(), "neither ends the sign-in");
    end(login).await.code_is(130);

    let login = stage.to_consent(false).await;
    stage.browser.click("Deny").await;
    stage.browser.shows("The sign-in did not work").await;
    stage.says(&["access_denied"]).await;
    stage.inspect("denied").await;
    end(login).await.code_is(1);

    stage.tool.write("client.secret", "wrong\n");
    let login = stage.to_consent(false).await;
    stage.browser.click("Authorize").await;
    stage.browser.shows("The sign-in did not work").await;
    stage
        .says(&["invalid_client", "developer portal", "procore-auth login"])
        .await;
    stage.inspect("invalid-client").await;
    end(login).await.code_is(3);
    stage
        .tool
        .write("client.secret", stage.server.client_secret());

    // The server's own page: this browser never comes to us.
    let mut login = stage.tool.start(&LOGIN_COMMAND);
    let link = login.link().await.replace("%2Fcallback", "%2Felsewhere");
    stage.browser.open(&link).await;
    stage.says(&["redirect uri"]).await;
    keep(
        "redirect-mismatch",
        Scheme::Light,
        &stage.browser.picture().await,
    );
    end(login).await.code_is(130);
    stage.end().await;
}

#[tokio::test]
async fn s53_a_code_that_has_expired_is_explained_in_a_real_browser() {
    let options = Options {
        code_lifetime: Duration::ZERO,
        ..Options::default()
    };
    let Some(stage) = Stage::set(options).await else {
        return;
    };
    let login = stage.to_consent(true).await;
    stage.browser.click("Authorize").await;
    stage.browser.shows("The sign-in did not work").await;
    stage
        .says(&[
            "The authorization code was not accepted.",
            "older than 10 minutes",
            "invalid_grant",
        ])
        .await;
    stage.inspect("expired-code").await;
    end(login).await.code_is(1).says("invalid_grant");
    stage.end().await;
}

#[tokio::test]
async fn s52_a_browser_waits_for_a_slow_server_and_sees_the_outcome() {
    let Some(stage) = Stage::set(Options::default()).await else {
        return;
    };
    let slow = Slow::start(&stage).await;
    let login = stage.to_consent(true).await;
    stage.browser.click("Authorize").await;
    stage.browser.shows("Signing in").await;
    stage.inspect("waiting").await;
    let place = stage.address().await;
    assert!(!place.contains("code"), "{place}");
    stage.browser.client.refresh().await.expect("reloaded");
    stage.browser.shows("Signing in").await;

    slow.answer("503 Service Unavailable").await;
    stage.browser.shows("The sign-in did not work").await;
    stage.says(&["503", "procore-auth login"]).await;
    assert_eq!(stage.address().await, place);
    stage.inspect("server-trouble").await;
    stage
        .browser
        .open(&format!("{}/callback?code=x&state=another", stage.origin()))
        .await;
    stage.browser.shows("Already finished").await;
    stage.inspect("already-finished").await;
    end(login).await.code_is(5);
    stage.end().await;
}

/// A login host that takes its time, for the program; the browser's is the real one.
struct Slow {
    listener: TcpListener,
}

impl Slow {
    async fn start(stage: &Stage) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let real = format!("{LOGIN_HOST}:443=http://{}", stage.server.address());
        stage
            .tool
            .reconfigure(&real, &format!("{LOGIN_HOST}:443=http://{address}"));
        Self { listener }
    }

    /// Answers the request that has been waiting.
    async fn answer(self, status: &str) {
        let accepted = tokio::time::timeout(Duration::from_secs(60), self.listener.accept()).await;
        let (mut stream, _): (TcpStream, _) = accepted.expect("in time").expect("a request");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).await.expect("a request");
        assert!(request[..read].starts_with(b"POST /oauth/token"));
        let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(reply.as_bytes()).await.expect("answered");
    }
}
