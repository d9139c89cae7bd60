//! Section F, the pure half: which URLs belong together, and which redirect URIs can work.

use fake_procore::{Fault, Reply, Target};
use procore_auth_host::{
    ApiRequest, EndpointSet, Environment, Grant, MemoryStore, RedirectKind, Settings,
};
use procore_auth_tests::{
    Rig, plugin,
    rig::{answered, fake},
    stored,
};

fn login_url(environment: Environment, path: &str) -> String {
    format!("https://{}/oauth/{path}", fake(environment).login_host())
}

fn api_url(environment: Environment) -> String {
    format!("https://{}", fake(environment).api_hosts()[0])
}

fn cell(authorize: Environment, token: Environment, api: Environment) -> EndpointSet {
    EndpointSet {
        authorize_url: Some(login_url(authorize, "authorize")),
        token_url: Some(login_url(token, "token")),
        api_base: Some(api_url(api)),
    }
}

/// Returns the index of the URL that stands out, and the environment of the rest.
fn odd_one(cell: [Environment; 3]) -> (usize, Environment) {
    let [authorize, token, api] = cell;
    match () {
        () if authorize == token => (2, authorize),
        () if authorize == api => (1, authorize),
        () if token == api => (0, token),
        // Three that disagree: the authorize page is what a person has seen; the token URL is named first.
        () => (1, authorize),
    }
}

#[tokio::test]
async fn s49_every_cell_of_the_three_urls_is_judged() {
    let advice = plugin().advice();
    let mut judged = 0;
    for authorize in Environment::ALL {
        for token in Environment::ALL {
            for api in Environment::ALL {
                let urls = cell(authorize, token, api);
                let verdict = advice.check_endpoints(urls.clone()).await.expect("advice");
                judged += 1;
                if authorize == token && token == api {
                    assert_eq!(verdict, Ok(authorize));
                    continue;
                }
                let diagnosis = verdict.expect_err("mixed");
                let (odd, home) = odd_one([authorize, token, api]);
                let (name, fix) = [
                    ("authorize URL", login_url(home, "authorize")),
                    ("token URL", login_url(home, "token")),
                    ("API base", api_url(home)),
                ][odd]
                    .clone();
                assert_eq!(diagnosis.code, "mixed-environments", "{urls:?}");
                assert!(diagnosis.summary.contains(name), "{urls:?}: {diagnosis:?}");
                assert!(diagnosis.remedy.contains(&fix), "{urls:?}: {diagnosis:?}");
                assert_eq!(diagnosis.evidence.len(), 3);
            }
        }
    }
    assert_eq!(judged, 64);
}

#[tokio::test]
async fn s49_both_api_hosts_of_the_monthly_sandbox_are_known() {
    let advice = plugin().advice();
    let monthly = Environment::MonthlySandbox;
    for host in fake(monthly).api_hosts() {
        let mut urls = cell(monthly, monthly, monthly);
        urls.api_base = Some(format!("https://{host}"));
        let verdict = advice.check_endpoints(urls).await.expect("advice");
        assert_eq!(verdict, Ok(monthly), "{host}");
    }
}

#[tokio::test]
async fn s49_the_endpoints_of_each_environment_agree_with_themselves() {
    let advice = plugin().advice();
    for environment in Environment::ALL {
        let urls = advice.endpoints(environment).await.expect("advice");
        assert_eq!(urls.authorize_url, login_url(environment, "authorize"));
        assert_eq!(urls.token_url, login_url(environment, "token"));
        assert_eq!(urls.api_base, api_url(environment));
        let set = EndpointSet {
            authorize_url: Some(urls.authorize_url),
            token_url: Some(urls.token_url),
            api_base: Some(urls.api_base),
        };
        let verdict = advice.check_endpoints(set).await.expect("advice");
        assert_eq!(verdict, Ok(environment));
    }
}

#[tokio::test]
async fn s49_hosts_that_play_another_role_are_named() {
    let advice = plugin().advice();
    for wrong in [
        "https://app.procore.com",
        "https://us02.procore.com",
        "https://login.procore.com",
        "https://api-sandbox-monthly.procore.com",
        "http://api.procore.com",
        "https://api.procore.com.evil.example",
    ] {
        let mut urls = cell(
            Environment::Production,
            Environment::Production,
            Environment::Production,
        );
        urls.api_base = Some(wrong.to_owned());
        let diagnosis = advice.check_endpoints(urls).await.expect("advice");
        let diagnosis = diagnosis.expect_err(wrong);
        assert!(diagnosis.summary.contains("API base"), "{diagnosis:?}");
        assert!(
            diagnosis.remedy.contains("https://api.procore.com"),
            "{diagnosis:?}"
        );
    }
}

#[tokio::test]
async fn s49_a_connection_never_leaves_its_environment() {
    for environment in Environment::ALL {
        let rig = Rig::start().await;
        let connection = rig.signed_in(environment).await;
        connection.verify().await.expect("verified");
        rig.advance_to_expiry();
        connection.access_token().await.expect("a token");
        connection.revoke().await.expect("signed out");
        let requests = rig.procore.requests();
        assert!(requests.len() >= 5);
        for request in requests {
            assert_eq!(request.environment, Some(fake(environment)), "{request:?}");
        }
    }
}

#[tokio::test]
async fn s49_the_api_host_that_answers_is_chosen_and_kept() {
    let rig = Rig::start().await;
    let monthly = Environment::MonthlySandbox;
    let store = MemoryStore::new();
    let connection = rig.process(Rig::settings(monthly), store.clone());
    rig.sign_in(&connection).await;
    let [mapped, alternate] = fake(monthly).api_hosts() else {
        panic!("two hosts")
    };
    let gone = Fault::uncommitted(Reply::html(404, "<html>no such host</html>"));
    let target = Target::Host((*mapped).to_owned());
    rig.procore.inject_times(100, &target, &gone);
    connection.verify().await.expect("verified");
    assert_eq!(stored::session(&store).await["api_host"], *alternate);
    rig.procore.clear_requests();
    let restarted = rig.process(Rig::settings(monthly), store);
    let request = procore_auth_host::ApiRequest::get("/rest/v1.0/me");
    assert_eq!(answered(restarted.send(request).await).status, 200);
    assert!(rig.procore.requests().iter().all(|r| r.host == *alternate));
}

fn redirecting_to(uri: &str) -> Settings {
    let redirect_uri = uri.to_owned();
    Rig::settings_with(|settings| settings.grant = Grant::AuthorizationCode { redirect_uri })
}

/// What people have tried, and the exact string that works instead.
const REFUSED: [(&str, &str); 13] = [
    (
        "http://192.168.8.124:9876/callback",
        "http://localhost:9876/callback",
    ),
    (
        "http://moby-1:9876/callback",
        "http://localhost:9876/callback",
    ),
    (
        "http://moby-1.example.com/callback",
        "http://localhost/callback",
    ),
    (
        "http://127.0.0.1:9876/callback",
        "http://localhost:9876/callback",
    ),
    (
        "http://[::1]:9876/callback",
        "http://localhost:9876/callback",
    ),
    ("http://10.0.0.7", "http://localhost"),
    (
        "http://LOCALHOST:9876/callback",
        "http://localhost:9876/callback",
    ),
    (
        "HTTP://localhost:9876/callback",
        "http://localhost:9876/callback",
    ),
    ("http://localhost:80/callback", "http://localhost/callback"),
    (
        "http://localhost:9876/callback?x=1",
        "http://localhost:9876/callback",
    ),
    (
        "http://localhost:9876/callback#top",
        "http://localhost:9876/callback",
    ),
    (
        "http://localhost:9876/a/../callback",
        "http://localhost:9876/callback",
    ),
    (
        " http://localhost:9876/callback",
        "http://localhost:9876/callback",
    ),
];

#[tokio::test]
async fn s51_each_redirect_uri_that_cannot_work_is_refused_with_the_one_to_register() {
    let advice = plugin().advice();
    for (uri, right) in REFUSED {
        let refusal = advice.check_redirect_uri(uri, None).await.expect("advice");
        let diagnosis = refusal.expect_err(uri);
        let quoted = format!("`{right}`");
        assert!(
            diagnosis.remedy.contains(&quoted),
            "{uri}: {}",
            diagnosis.remedy
        );
    }
}

#[tokio::test]
async fn s51_a_sign_in_with_such_a_uri_is_refused_before_anything_is_sent() {
    let rig = Rig::start().await;
    for (uri, right) in REFUSED {
        let connection = rig.process(redirecting_to(uri), MemoryStore::new());
        let error = connection.begin_login().await.expect_err(uri);
        assert!(error.is_configuration(), "{uri}: {error}");
        assert_eq!(error.diagnosis().code, "redirect-uri-refused");
        let quoted = format!("`{right}`");
        assert!(error.diagnosis().remedy.contains(&quoted), "{uri}");
    }
    assert!(rig.procore.requests().is_empty());
}

#[tokio::test]
async fn s51_every_character_counts_against_the_registered_one() {
    let advice = plugin().advice();
    let registered = "http://localhost:9876/callback";
    for (uri, part) in [
        ("http://localhost:9876/callback/", "the trailing slash"),
        ("http://localhost:9877/callback", "the port"),
        ("http://localhost/callback", "the port"),
        ("http://localhost:9876/Callback", "letter case"),
        ("http://localhost:9876/back", "the path"),
        ("https://localhost:9876/callback", "the scheme"),
        ("https://agent.example:9876/callback", "the scheme"),
    ] {
        let checked = advice.check_redirect_uri(uri, Some(registered)).await;
        let diagnosis = checked.expect("advice").expect_err(uri);
        assert_eq!(diagnosis.code, "redirect-uri-mismatch");
        assert!(diagnosis.summary.contains(part), "{uri}: {diagnosis:?}");
        for exact in [format!("`{uri}`"), format!("`{registered}`")] {
            assert!(diagnosis.remedy.contains(&exact), "{diagnosis:?}");
        }
    }
    let same = advice
        .check_redirect_uri(registered, Some(registered))
        .await;
    let same = same.expect("advice").expect("the same");
    assert_eq!(
        (same.kind, same.port),
        (RedirectKind::Localhost, Some(9876))
    );
    assert_eq!(
        (same.register.as_str(), same.path.as_str()),
        (registered, "/callback")
    );
}

#[tokio::test]
async fn s54_the_overwriting_of_the_monthly_sandbox_touches_no_other_environment() {
    let rig = Rig::start().await;
    let monthly = rig.signed_in(Environment::MonthlySandbox).await;
    let production = rig.signed_in(Environment::Production).await;
    let token = production.access_token().await.expect("a token");
    rig.procore.overwrite_monthly_sandbox();
    rig.procore.clear_requests();
    let me = || ApiRequest::get("/rest/v1.0/me");
    let error = monthly.send(me()).await.expect_err("its tokens are gone");
    assert!(error.is_sign_in_required(), "{error}");
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(answered(production.send(me()).await).status, 200);
    let same = production.access_token().await.expect("a token");
    assert_eq!(same.bearer(), token.bearer());
    assert_eq!(rig.procore.token_posts(), 1, "production spends nothing");
    let status = production.status().await.expect("a status");
    assert!(status.incident.is_none());
}
