//! Situations at a real Doorkeeper, with its own words.

use procore_auth_tests::Tool;
use procore_auth_tests::doorkeeper::{Consent, Doorkeeper, LOGIN, Options, PASSWORD, Rotation};
use procore_auth_tests::tool::free_port;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use url::Url;

use super::{doctor, first};
use crate::{LONG_AGO, PROGRAM, doorkeeper};

#[tokio::test]
async fn a_refresh_token_that_another_program_spent() {
    let Some((server, tool)) = doorkeeper::start(Rotation::Strict).await else {
        return;
    };
    doorkeeper::log_in(&server, &tool).await;
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([tool.path("state"), tool.path("elsewhere")])
        .status();
    assert!(copied.expect("cp").success());
    tool.reconfigure("state = \"state\"", "state = \"elsewhere\"");
    tool.run(&["tick", "--next-visit", "2h"]).await;
    assert_eq!(
        server.tokens().await.expect("listed").len(),
        2,
        "it spent it"
    );

    tool.reconfigure("state = \"elsewhere\"", "state = \"state\"");
    server.age_tokens(LONG_AGO).await.expect("aged");
    tool.run(&["call", "/rest/v1.0/me"]).await.code_is(4);
    let found = doctor(&tool).await;
    assert_eq!(first(&found), "invalid_grant", "{found}");
    found.code_is(4);
}

#[tokio::test]
async fn an_access_token_that_was_revoked() {
    let Some((server, tool)) = doorkeeper::start(Rotation::Strict).await else {
        return;
    };
    doorkeeper::log_in(&server, &tool).await;
    server.revoke_all().await.expect("revoked");
    let found = doctor(&tool).await;
    assert_eq!(first(&found), "token-unknown", "{found}");
    found.code_is(11);
}

#[tokio::test]
async fn a_wrong_secret() {
    let Some((_server, tool)) = doorkeeper::start(Rotation::Strict).await else {
        return;
    };
    tool.write("client.secret", "another\n");
    let found = doctor(&tool).await;
    assert_eq!(first(&found), "invalid_client", "{found}");
    found.code_is(3);
}

#[tokio::test]
async fn a_redirect_uri_that_is_not_registered() {
    let Some((server, tool)) = doorkeeper::start(Rotation::Strict).await else {
        return;
    };
    tool.reconfigure("/callback", "/elsewhere");
    let page = server.authorize(&link(&tool).await).await;
    let page = page.expect_err("refused").to_string();
    let (_, words) = page.split_once(": ").expect("its words");
    let found = tool.run(&["doctor", "--json", "--page", words]).await;
    assert_eq!(first(&found), "invalid_redirect_uri", "{found}");
    found.code_is(3);
}

/// The server's own page does not know an app of another environment; the connection's pair is good.
#[tokio::test]
async fn a_link_of_another_app() {
    let Some((server, tool)) = doorkeeper::start(Rotation::Strict).await else {
        return;
    };
    let other = link(&tool).await.replace(server.client_id(), "another-app");
    let page = server.authorize(&other).await;
    let page = page.expect_err("refused").to_string();
    let (_, words) = page.split_once(": ").expect("its words");
    let found = tool.run(&["doctor", "--json", "--page", words]).await;
    assert_eq!(first(&found), "wrong-link", "{found}");
    found.code_is(4);
}

#[tokio::test]
async fn a_person_who_denied_it() {
    let redirect_uri = format!("http://localhost:{}/callback", free_port());
    let options = Options {
        consent: Consent::Asked,
        redirect_uris: vec![redirect_uri.clone()],
        ..Options::default()
    };
    let server = match Doorkeeper::start(Rotation::Strict, options).await {
        Ok(server) => server,
        Err(reason) => return doorkeeper::skip(&reason),
    };
    let tool = Tool::on_doorkeeper(PROGRAM, &server, &redirect_uri);
    let ended_on = deny(&server, &link(&tool).await).await;
    assert!(ended_on.starts_with(&redirect_uri), "{ended_on}");
    let found = tool.run(&["doctor", "--json", "--page", &ended_on]).await;
    let findings = found.json()["findings"].clone();
    let findings = findings.as_array().expect("a list");
    let denied = findings
        .iter()
        .find(|found| found["code"] == "access_denied");
    let denied = denied.unwrap_or_else(|| panic!("{found}"));
    assert_eq!(denied["exit_code"], 1, "as `login` ends");
}

async fn link(tool: &Tool) -> String {
    let begun = tool.run(&["login", "--begin"]).await;
    begun.code_is(0).out.trim().to_owned()
}

/// Plays the person before the browser: signs in, and denies. Returns the address on which the browser ends.
async fn deny(server: &Doorkeeper, link: &str) -> String {
    let mut browser = Browser {
        http: reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .expect("a client"),
        origin: format!("http://{}", server.address()),
        cookie: String::new(),
    };
    let sign_in = browser.get(link).await.location();
    let form = browser.get(&sign_in).await;
    let mut fields = form.fields("<form");
    fields.push(("login".to_owned(), LOGIN.to_owned()));
    fields.push(("password".to_owned(), PASSWORD.to_owned()));
    let back = browser.post("/sign_in", &fields).await.location();
    let consent = browser.get(&back).await;
    let fields = consent.fields("value=\"delete\"");
    browser.post("/oauth/authorize", &fields).await.location()
}

struct Browser {
    http: reqwest::Client,
    origin: String,
    cookie: String,
}

struct Shown {
    location: Option<String>,
    text: String,
}

impl Browser {
    async fn get(&mut self, url: &str) -> Shown {
        let request = self.http.get(self.here(url));
        self.send(request).await
    }

    async fn post(&mut self, path: &str, fields: &[(String, String)]) -> Shown {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.http.post(self.here(path)).body(body);
        let form = "application/x-www-form-urlencoded";
        self.send(request.header("content-type", form)).await
    }

    /// The page of that path and query, on the server.
    fn here(&self, url: &str) -> String {
        let base = Url::parse(&self.origin).expect("a URL");
        let url = base.join(url).expect("a URL");
        let query = url
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        format!("{}{}{query}", self.origin, url.path())
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Shown {
        let reply = request.header(COOKIE, &self.cookie).send().await;
        let reply = reply.expect("a reply");
        let header = |name| {
            let value = reply.headers().get(name)?;
            Some(value.to_str().expect("text").to_owned())
        };
        if let Some(set) = header(SET_COOKIE) {
            self.cookie = set.split(';').next().unwrap_or_default().to_owned();
        }
        Shown {
            location: header(LOCATION),
            text: reply.text().await.expect("a page"),
        }
    }
}

impl Shown {
    fn location(self) -> String {
        self.location.unwrap_or_else(|| panic!("{}", self.text))
    }

    /// The hidden fields of the form that holds this text.
    fn fields(&self, holds: &str) -> Vec<(String, String)> {
        let forms = self.text.split_inclusive("</form>");
        let form = forms.into_iter().find(|form| form.contains(holds));
        let form = form.unwrap_or_else(|| panic!("{}", self.text));
        let inputs = form.split("<input").skip(1);
        inputs
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
            .collect()
    }
}

fn attribute(input: &str, name: &str) -> Option<String> {
    let input = input.split('>').next()?;
    let (_, rest) = input.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0.replace("&amp;", "&"))
}
