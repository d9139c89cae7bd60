//! The field log's story, step by step: each wrong turn gets the diagnosis that would have saved the day, and none of them
//! costs a refresh token. And its workload, which is what killed the tokens.

use std::time::Duration;

use fake_procore::{Options, Outcome, Recorded, TokenPair};
use http::Response;
use procore_auth_host::{
    ApiRequest, Connection, Diagnosis, Endpoint, EndpointSet, Environment, Grant, MemoryStore,
    Observation, Secret, Settings,
};
use procore_auth_tests::{
    Rig, plugin,
    rig::{REDIRECT_URI, SANDBOX, answered, fake},
};

const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// The log's mistake: the sandbox app's credentials, and production as the environment.
fn sandbox_app_in_production() -> Settings {
    Rig::settings_with(|settings| settings.environment = Environment::Production)
}

fn with_redirect(mut settings: Settings, uri: &str) -> Settings {
    settings.grant = Grant::AuthorizationCode {
        redirect_uri: uri.to_owned(),
    };
    settings
}

/// The pair of `.credentials/procore_token.json`.
fn saved_pair(rig: &Rig) -> TokenPair {
    let client_id = Options::demo_client_id(fake(SANDBOX).credential_pair());
    let user = Options::DEMO_USER;
    let pair = rig.procore.issue_pair(fake(SANDBOX), client_id, user);
    pair.expect("registered")
}

fn is_live(rig: &Rig, pair: &TokenPair) -> bool {
    let token = &pair.refresh_token;
    rig.procore.refresh_token_is_live(fake(SANDBOX), token)
}

/// Asks what a reply means that came from a URL which was thought to be the sandbox's.
async fn explained(endpoint: Endpoint, url: &str, reply: &Response<Vec<u8>>) -> Diagnosis {
    let headers = reply.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.to_string(), value.into_owned())
    });
    let seen = Observation {
        environment: SANDBOX,
        endpoint,
        url: Some(url.to_owned()),
        status: reply.status().as_u16(),
        headers: headers.collect(),
        body: reply.body().clone(),
    };
    plugin().advice().explain(seen).await.expect("advice")
}

/// Posts to a token endpoint as the log's script does.
async fn script_posts(rig: &Rig, url: &str, fields: &[(&str, &str)]) -> Response<Vec<u8>> {
    let settings = Rig::settings(SANDBOX);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.append_pair("client_id", &settings.client_id);
    form.append_pair("client_secret", settings.client_secret.expose());
    let request = http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.finish().into_bytes());
    rig.request(request.expect("a request")).await
}

async fn me(rig: &Rig, api_base: &str, pair: &TokenPair) -> Response<Vec<u8>> {
    let request = http::Request::get(format!("{api_base}/rest/v1.0/me"))
        .header("authorization", format!("Bearer {}", pair.access_token))
        .body(vec![]);
    rig.request(request.expect("a request")).await
}

#[tokio::test]
async fn step_1_and_3_the_authorize_page_of_the_wrong_environment_is_explained() {
    let rig = Rig::start().await;
    let connection = rig.process(sandbox_app_in_production(), MemoryStore::new());
    let login = connection.begin_login().await.expect("a link");
    let page = rig.get(&login.authorize_url).await;
    let words = String::from_utf8_lossy(page.body()).into_owned();
    assert!(words.contains("unknown client"), "{words}");
    let seen = Observation {
        environment: Environment::Production,
        endpoint: Endpoint::Authorize,
        url: None,
        status: page.status().as_u16(),
        headers: vec![],
        body: page.body().clone(),
    };
    let diagnosis = plugin().advice().explain(seen).await.expect("advice");
    assert_eq!(diagnosis.code, "invalid_client");
    assert!(
        diagnosis.cause.contains("another environment"),
        "{diagnosis:?}"
    );
    assert!(diagnosis.remedy.contains("`environment`"), "{diagnosis:?}");
}

#[tokio::test]
async fn step_1_an_exchange_in_the_wrong_environment_names_environment_and_credentials() {
    let rig = Rig::start().await;
    let pair = saved_pair(&rig);
    // The person signed in on the sandbox, and the answer is pasted into a connection for production.
    let sandbox = with_redirect(Rig::settings(SANDBOX), OUT_OF_BAND);
    let right = rig.process(sandbox, MemoryStore::new());
    let login = right.begin_login().await.expect("a link");
    let code = rig.browse_out_of_band(&login.authorize_url).await;
    let wrong = with_redirect(sandbox_app_in_production(), OUT_OF_BAND);
    let wrong = rig.process(wrong, MemoryStore::new());
    wrong.begin_login().await.expect("a link");
    let error = wrong.finish_login(Secret::new(code.clone())).await;
    let error = error.expect_err("unknown client");
    assert!(error.is_configuration(), "{error}");
    let diagnosis = error.diagnosis();
    assert_eq!(diagnosis.code, "invalid_client");
    assert!(
        diagnosis.summary.contains("login.procore.com"),
        "{diagnosis:?}"
    );
    assert!(
        diagnosis.cause.contains("another environment"),
        "{diagnosis:?}"
    );
    assert!(diagnosis.remedy.contains("production"), "{diagnosis:?}");
    assert!(is_live(&rig, &pair));
    // The code is not spent either.
    right
        .finish_login(Secret::new(code))
        .await
        .expect("signed in");
}

#[tokio::test]
async fn step_2_and_4_the_lan_redirect_uri_is_refused_before_anything_is_sent() {
    let rig = Rig::start().await;
    let lan = "http://192.168.8.124:9876/callback";
    let connection = rig.process(
        with_redirect(Rig::settings(SANDBOX), lan),
        MemoryStore::new(),
    );
    let error = connection.begin_login().await.expect_err("a LAN address");
    assert!(error.is_configuration(), "{error}");
    let remedy = &error.diagnosis().remedy;
    assert!(
        remedy.contains("`http://localhost:9876/callback`"),
        "{remedy}"
    );
    assert!(remedy.contains("developer portal"), "{remedy}");
    let found = connection.diagnose().await.expect("findings");
    assert_eq!(found[0], *error.diagnosis());
    assert!(rig.procore.requests().is_empty());
}

#[tokio::test]
async fn step_5_the_authorize_url_follows_from_the_environment() {
    let rig = Rig::start().await;
    let login = rig.connection(SANDBOX).begin_login().await.expect("a link");
    let begins = "https://login-sandbox.procore.com/oauth/authorize?";
    assert!(
        login.authorize_url.starts_with(begins),
        "{}",
        login.authorize_url
    );
    assert_eq!(login.redirect_uri, REDIRECT_URI);
}

#[tokio::test]
async fn step_6_no_browser_is_needed_on_the_agents_machine() {
    let rig = Rig::start().await;
    let settings = with_redirect(Rig::settings(SANDBOX), OUT_OF_BAND);
    let connection = rig.process(settings, MemoryStore::new());
    let login = connection.begin_login().await.expect("a link");
    let code = rig.browse_out_of_band(&login.authorize_url).await;
    connection
        .finish_login(Secret::new(code))
        .await
        .expect("signed in");
    let response = answered(connection.send(ApiRequest::get("/rest/v1.0/me")).await);
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn step_7_the_cell_with_the_wrong_token_url_is_named_before_anything_is_sent() {
    let urls = EndpointSet {
        authorize_url: Some("https://login-sandbox.procore.com/oauth/authorize".to_owned()),
        token_url: Some("https://login.procore.com/oauth/token".to_owned()),
        api_base: Some("https://sandbox.procore.com".to_owned()),
    };
    let verdict = plugin()
        .advice()
        .check_endpoints(urls)
        .await
        .expect("advice");
    let diagnosis = verdict.expect_err("mixed");
    assert!(diagnosis.summary.contains("token URL"), "{diagnosis:?}");
    let right = "https://login-sandbox.procore.com/oauth/token";
    assert!(diagnosis.remedy.contains(right), "{diagnosis:?}");
}

#[tokio::test]
async fn step_7_an_exchange_at_the_wrong_host_is_explained_by_its_host() {
    let rig = Rig::start().await;
    let login = rig.connection(SANDBOX).begin_login().await.expect("a link");
    let callback = rig.browse(&login.authorize_url).await;
    let callback = url::Url::parse(&callback).expect("a URL");
    let (_, code) = callback
        .query_pairs()
        .find(|(name, _)| name == "code")
        .expect("a code");
    let wrong = "https://login.procore.com/oauth/token";
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
    ];
    let reply = script_posts(&rig, wrong, &fields).await;
    assert!(reply.status().is_client_error());
    names_the_login_host(&explained(Endpoint::Exchange, wrong, &reply).await);
}

#[tokio::test]
async fn step_7_a_refresh_at_the_wrong_host_is_explained_by_its_host_and_spends_nothing() {
    let rig = Rig::start().await;
    let pair = saved_pair(&rig);
    let wrong = "https://login.procore.com/oauth/token";
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", pair.refresh_token.as_str()),
    ];
    let reply = script_posts(&rig, wrong, &fields).await;
    // The misleading words: the same as for a dead token.
    assert!(String::from_utf8_lossy(reply.body()).contains("invalid_grant"));
    names_the_login_host(&explained(Endpoint::Refresh, wrong, &reply).await);
    assert!(is_live(&rig, &pair));
}

fn names_the_login_host(diagnosis: &Diagnosis) {
    assert_eq!(diagnosis.code, "wrong-host");
    assert!(
        diagnosis.summary.contains("login.procore.com"),
        "{diagnosis:?}"
    );
    assert!(
        diagnosis
            .remedy
            .contains("https://login-sandbox.procore.com"),
        "{diagnosis:?}"
    );
}

#[tokio::test]
async fn step_8_and_9_me_on_the_wrong_api_host_is_explained_by_its_host() {
    let rig = Rig::start().await;
    let pair = saved_pair(&rig);
    let wrong = "https://api.procore.com";
    let reply = me(&rig, wrong, &pair).await;
    assert_eq!(reply.status(), 401);
    let url = format!("{wrong}/rest/v1.0/me");
    let diagnosis = explained(Endpoint::Api, &url, &reply).await;
    assert_eq!(diagnosis.code, "wrong-host");
    assert!(
        diagnosis.summary.contains("api.procore.com"),
        "{diagnosis:?}"
    );
    assert!(
        diagnosis.remedy.contains("https://sandbox.procore.com"),
        "{diagnosis:?}"
    );
    assert_eq!(
        me(&rig, "https://sandbox.procore.com", &pair)
            .await
            .status(),
        200
    );
    assert_eq!(rig.procore.token_posts(), 0);
    assert!(is_live(&rig, &pair));
}

#[tokio::test]
async fn s50_a_sandbox_token_in_a_production_connection_is_recognised_and_not_spent() {
    let rig = Rig::start().await;
    let pair = saved_pair(&rig);
    let production = rig.connection(Environment::Production);
    let saved = pair.to_json().to_string().into_bytes();
    production.adopt(saved, false).await.expect("adopted");
    let found = production.diagnose().await.expect("findings");
    assert_eq!(found[0].code, "wrong-environment", "{found:?}");
    assert!(
        found[0].remedy.contains("environment = \"sandbox\""),
        "{found:?}"
    );
    let evidence = found[0].evidence.join("\n");
    assert!(
        evidence.contains("login-sandbox.procore.com knows it"),
        "{evidence}"
    );
    assert_eq!(rig.procore.token_posts(), 0);
    assert!(is_live(&rig, &pair));
}

#[tokio::test]
async fn s50_a_production_token_in_a_sandbox_connection_is_recognised_and_not_spent() {
    let rig = Rig::start().await;
    let production = fake(Environment::Production);
    let client_id = Options::demo_client_id(production.credential_pair());
    let pair = rig
        .procore
        .issue_pair(production, client_id, Options::DEMO_USER);
    let pair = pair.expect("registered");
    let sandbox = rig.connection(SANDBOX);
    let saved = pair.to_json().to_string().into_bytes();
    sandbox.adopt(saved, false).await.expect("adopted");
    let found = sandbox.diagnose().await.expect("findings");
    assert_eq!(found[0].code, "wrong-environment", "{found:?}");
    assert!(
        found[0].remedy.contains("environment = \"production\""),
        "{found:?}"
    );
    assert_eq!(rig.procore.token_posts(), 0);
    let token = &pair.refresh_token;
    assert!(rig.procore.refresh_token_is_live(production, token));
}

#[tokio::test]
async fn the_resolution_everything_of_one_environment_works() {
    let rig = Rig::start().await;
    let pair = saved_pair(&rig);
    let connection = rig.connection(SANDBOX);
    let saved = pair.to_json().to_string().into_bytes();
    connection.adopt(saved, false).await.expect("adopted");
    assert_eq!(connection.diagnose().await.expect("findings"), []);
    connection.verify().await.expect("verified");
    rig.advance_to_expiry();
    connection.access_token().await.expect("refreshed");
    assert_eq!(rig.procore.token_posts(), 1);
}

/// The programs of the log that share one file.
struct Workload {
    rig: Rig,
    store: MemoryStore,
    restarts: u64,
}

impl Workload {
    /// Starts one more process.
    fn process(&self) -> Connection {
        let settings = Rig::settings(SANDBOX);
        let store = self.store.clone();
        self.rig.process(settings, store)
    }

    /// What happens in one minute.
    async fn minute(&mut self, minute: u64, agents: &mut [Connection]) {
        let count = agents.len() as u64;
        for (agent, n) in agents.iter_mut().zip(0..) {
            if minute % (24 * 60) == n * 60 {
                *agent = self.process();
                self.restarts += 1;
            }
            if minute % (60 * count) == 60 * n {
                let response = answered(agent.send(ApiRequest::get("/rest/v1.0/me")).await);
                assert_eq!((response.status, response.attempts), (200, 1));
            }
            agent.access_token().await.expect("a token");
        }
        if minute.is_multiple_of(60) {
            self.process().upkeep(None).await.expect("the hourly tick");
        }
        if minute % (12 * 60) == 7 {
            self.process().upkeep(None).await.expect("the keepalive");
        }
        if minute % 240 == 33 {
            let cli = self.process();
            answered(cli.send(ApiRequest::get("/rest/v1.0/companies")).await);
        }
    }
}

fn is_refused_post(request: &Recorded) -> bool {
    request.is_token_post() && request.outcome != Outcome::Replied(200)
}

#[tokio::test]
async fn s2_the_logs_workload_for_30_days_makes_one_post_per_due_moment_and_loses_nothing() {
    let days = 30;
    let rig = Rig::start().await;
    let mut workload = Workload {
        rig,
        store: MemoryStore::new(),
        restarts: 0,
    };
    let mut agents = [workload.process(), workload.process(), workload.process()];
    workload.rig.sign_in(&agents[0]).await;
    workload.rig.procore.clear_requests();
    for minute in 1..=days * 24 * 60 {
        workload.rig.advance(Duration::from_secs(60));
        workload.minute(minute, &mut agents).await;
    }
    assert!(workload.restarts >= 3 * (days - 1));
    let requests = workload.rig.procore.requests();
    assert!(!requests.iter().any(is_refused_post));
    let due = days * 86_400 * 10 / (8 * 5400);
    assert_eq!(workload.rig.procore.token_posts() as u64, due);
    assert!(workload.rig.journal.alerts().is_empty());
}
