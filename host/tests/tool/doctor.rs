//! `procore-auth doctor`: in each situation the first finding is the right one, and nothing is spent to find it.

mod real_server;
mod situations;

use fake_procore::{CredentialPair, Environment, Fault, Gate, Options, Reply, Target};
use procore_auth_tests::doorkeeper::Rotation;
use procore_auth_tests::tool::{Finished, free_port};
use procore_auth_tests::{Rig, Tool};
use serde_json::json;

use crate::{arrived, doorkeeper, expired, fresh, signed_in};

/// The code of the first finding; empty where nothing is wrong.
fn first(finished: &Finished) -> String {
    let found = finished.json()["findings"][0]["code"].clone();
    found.as_str().unwrap_or_default().to_owned()
}

/// The verdict of a check.
fn verdict(finished: &Finished, check: &str) -> String {
    let document = finished.json();
    let checks = document["checks"].as_array().expect("a list");
    let found = checks.iter().find(|found| found["name"] == check);
    let verdict = &found.expect("a check of that name")["verdict"];
    verdict.as_str().expect("a word").to_owned()
}

async fn doctor(tool: &Tool) -> Finished {
    tool.run(&["doctor", "--json"]).await
}

/// Holds `docs/doctor.md` against what the tests of the situations demand.
#[test]
fn the_documents_table_is_what_doctor_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/doctor.md");
    let text = std::fs::read_to_string(path).expect("there");
    let rows: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let (situation, code) = (cells.next()?, cells.next()?);
            let code = code.trim_matches(['`', ' ', '|']);
            Some((situation, code)).filter(|_| line.contains("| right |"))
        })
        .collect();
    let table = situations::TABLE.iter().map(|(situation, code)| {
        let shown = if code.is_empty() { "nothing" } else { code };
        (*situation, shown)
    });
    assert_eq!(rows, table.collect::<Vec<_>>());
}

/// Each row of the tables of errors in `docs/procore-oauth.md` is a situation.
#[test]
fn every_error_of_procores_is_a_situation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/procore-oauth.md");
    let text = std::fs::read_to_string(path).expect("there");
    let (_, errors) = text.split_once("\n## Errors\n").expect("a heading");
    let (errors, _) = errors.split_once("\n## ").expect("the next heading");
    let rows = errors.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| Some(row.split_once(" | ")?.0));
    let errors: Vec<&str> = cells
        .flat_map(|cell| cell.split([',', ' ']))
        .map(|word| word.trim_matches(['`', '(', ')']))
        .filter(|word| word.contains('_') || word.parse::<u16>().is_ok())
        .collect();
    assert!(errors.len() >= 18, "they are found: {errors:?}");
    let is_situation = |error: &str| {
        situations::TABLE
            .iter()
            .any(|(situation, code)| *code == error || situation.contains(&format!("({error})")))
    };
    let missing: Vec<_> = errors.iter().filter(|error| !is_situation(error)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn each_check_is_told_as_it_is_made_and_nothing_is_wrong() {
    let (rig, tool, _) = signed_in().await;
    let finished = tool.run(&["doctor"]).await;
    finished.code_is(0);
    for text in [
        "configuration",
        "https://login-sandbox.procore.com/oauth/token",
        "agrees with",
        "knows the client id and its secret",
        "the access token expires",
        "acts as Demo User",
        "Nothing is wrong",
    ] {
        finished.says(text);
    }
    let probes = rig.procore.token_posts();
    assert_eq!(probes, 1, "the probe alone");
    assert_eq!(rig.procore.rotations(), 0);
}

#[tokio::test]
async fn s50_nothing_is_spent_whatever_is_wrong() {
    let (rig, tool, pair) = expired().await;
    doctor(&tool).await;
    let is_live = |token| {
        rig.procore
            .refresh_token_is_live(Environment::Sandbox, token)
    };
    assert!(is_live(&pair.refresh_token));
    tool.reconfigure("environment = \"sandbox\"", "environment = \"production\"");
    let found = doctor(&tool).await;
    assert_eq!(first(&found), "wrong-environment", "{found}");
    assert!(is_live(&pair.refresh_token));
    let presents_one = |request: &fake_procore::Recorded| {
        let form = request.form.as_ref();
        form.is_some_and(|form| form.iter().any(|(name, _)| name == "refresh_token"))
    };
    let requests = rig.procore.requests();
    let sent_tokens = requests.iter().filter(|request| presents_one(request));
    assert_eq!(
        sent_tokens.count(),
        0,
        "no refresh token leaves the machine"
    );
}

/// The secret is shown to other login hosts only where the connection's own does not know it.
#[tokio::test]
async fn s59_the_pair_that_its_own_login_host_knows_is_shown_to_no_other() {
    let (rig, tool, _) = signed_in().await;
    rig.procore.clear_requests();
    doctor(&tool).await.code_is(0);
    for request in rig.procore.requests() {
        assert!(
            request.host.starts_with("login-sandbox.procore.com")
                || request.host.starts_with("sandbox.procore.com"),
            "{}",
            request.host
        );
    }
}

/// What the probe of the credentials rests on is so at a real server.
#[tokio::test]
async fn a_real_doorkeeper_is_asked_without_spending_anything() {
    let Some((server, tool)) = doorkeeper::start(Rotation::Strict).await else {
        return;
    };
    assert_eq!(first(&doctor(&tool).await), "not-signed-in");
    doorkeeper::log_in(&server, &tool).await;
    let before = server.tokens().await.expect("listed").len();
    // The fixture has no companies to ask for.
    let found = doctor(&tool).await;
    for check in ["login host", "API host", "credentials", "tokens"] {
        assert_eq!(verdict(&found, check), "fine", "{check}\n{found}");
    }
    let after = server.tokens().await.expect("listed");
    assert_eq!(after.len(), before, "no token was made");
    assert!(after.iter().all(|token| !token.revoked), "none was revoked");
    tool.write("client.secret", "another\n");
    let found = doctor(&tool).await;
    assert_eq!(first(&found), "invalid_client", "{found}");
}

/// Whatever stands in the way of every refresh is told, with what was really asked.
#[tokio::test]
async fn a_token_endpoint_in_trouble_is_not_called_well() {
    for (reply, exit) in [
        (Reply::gateway_error(503), 5),
        (Reply::json(429, &json!({"errors": "Rate limit"})), 5),
        (Reply::json(403, &json!({"message": "Forbidden"})), 5),
        (Reply::json(400, &json!({"error": "invalid_scope"})), 3),
    ] {
        let (rig, tool, _) = signed_in().await;
        token_endpoint_answers(&rig, &reply);
        let found = tool.run(&["doctor"]).await;
        found
            .code_is(exit)
            .says("What is wrong, the likeliest root first:")
            .says("the token endpoint (code exchange) of sandbox answered");
        assert!(!found.out.contains("Nothing is wrong"), "{found}");
        assert!(!found.out.contains("(refresh)"), "{found}");
    }
}

/// The probe exchanges a code. Of another grant its answer says nothing.
#[tokio::test]
async fn a_refused_code_is_told_where_the_connection_lives_by_codes() {
    let (rig, tool, _) = signed_in().await;
    let refusal = Reply::json(400, &json!({"error": "unauthorized_client"}));
    token_endpoint_answers(&rig, &refusal);
    let found = tool.run(&["doctor"]).await;
    found.code_is(3).says("authorization-code");
    tool.use_service_account();
    let found = tool.run(&["doctor"]).await;
    found
        .says("a service account needs none")
        .says("it exchanges no codes for this app");
}

/// Two hosts with one trouble are two findings.
#[tokio::test]
async fn both_hosts_are_told_where_neither_can_be_reached() {
    let (rig, tool, _) = signed_in().await;
    for host in ["login-sandbox.procore.com", "sandbox.procore.com"] {
        let own = rig.procore.connect_to();
        let is_its_own = |(from, _): &&(String, String)| from.starts_with(host);
        let (from, to) = own.iter().find(is_its_own).expect("the host");
        let closed = format!("{from}=127.0.0.1:{}", free_port());
        tool.reconfigure(&format!("\"{from}={to}"), &format!("\"{closed}"));
    }
    let found = doctor(&tool).await;
    for (place, host) in ["login-sandbox.procore.com", "sandbox.procore.com"]
        .into_iter()
        .enumerate()
    {
        let finding = &found.json()["findings"][place];
        assert_eq!(finding["code"], "connect", "{found}");
        let summary = finding["summary"].as_str().expect("a sentence");
        assert!(summary.contains(&format!(" {host} ")), "{found}");
    }
}

/// Where the login host knows the pair, a page that does not was reached by another link.
#[tokio::test]
async fn a_page_that_does_not_know_the_app_is_another_links() {
    let (_rig, tool, _) = signed_in().await;
    let words =
        "Client authentication failed due to unknown client, no client authentication included";
    let found = tool.run(&["doctor", "--json", "--page", words]).await;
    let finding = &found.json()["findings"][0];
    let remedy = finding["remedy"].as_str().expect("a sentence");
    let begins = "https://login-sandbox.procore.com/oauth/authorize?";
    assert!(remedy.contains(begins), "{remedy}");
    assert!(remedy.contains(demo_client()), "{remedy}");
    assert_eq!(
        finding["evidence"],
        json!([format!("told with --page: {words}")]),
        "nobody saw a status"
    );
    assert_eq!(verdict(&found, "credentials"), "fine");
}

#[tokio::test]
async fn words_of_a_page_that_nobody_knows_are_not_taken_for_health() {
    let (_rig, tool, _) = signed_in().await;
    let found = tool.run(&["doctor", "--page", "Something odd"]).await;
    found.code_is(5).says("page: these words");
    assert!(!found.out.contains("Nothing is wrong"), "{found}");
}

#[tokio::test]
async fn the_connections_of_which_none_is_named_are_listed() {
    let (_rig, tool) = fresh().await;
    second_connection(&tool);
    let found = doctor(&tool).await;
    found.code_is(3);
    let evidence = &found.json()["findings"][0]["evidence"];
    assert_eq!(*evidence, json!(["connection acme", "connection second"]));
}

#[tokio::test]
async fn the_findings_exit_code_ends_the_process() {
    let (_rig, tool) = fresh().await;
    doctor(&tool).await.code_is(4);
    let tool = tool.with("PROCORE_CLIENT_SECRET", "");
    doctor(&tool).await.code_is(3);
}

#[tokio::test]
async fn a_broken_check_hides_no_other() {
    let (rig, tool, _) = signed_in().await;
    procore_auth_tests::tool::set_mode(&tool.path("state/acme"), 0o755);
    rig.procore
        .reset_client_secret(CredentialPair::Sandbox, "demo-client-sandbox")
        .expect("registered");
    let found = doctor(&tool).await;
    let codes: Vec<String> = found.json()["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| finding["code"].as_str().expect("a code").to_owned())
        .collect();
    assert_eq!(codes, ["insecure-permissions", "invalid_client"], "{found}");
}

#[tokio::test]
async fn what_was_found_before_ctrl_c_is_told() {
    let (rig, tool, _) = signed_in().await;
    procore_auth_tests::tool::set_mode(&tool.path("state/acme"), 0o755);
    let gate = Gate::closed();
    let host = Target::Host("login-sandbox.procore.com".to_owned());
    rig.procore.inject(host, Fault::hold_before(&gate));
    let running = tool.start(&["doctor", "--json"]);
    arrived(&gate).await;
    running.signal("INT").await;
    let found = running.end().await;
    found.code_is(130);
    assert_eq!(first(&found), "insecure-permissions", "{found}");
    assert_eq!(verdict(&found, "the rest"), "not-checked", "{found}");
}

#[tokio::test]
async fn nobody_is_told_that_all_is_well_after_ctrl_c() {
    let (rig, tool, _) = signed_in().await;
    let gate = Gate::closed();
    let host = Target::Host("login-sandbox.procore.com".to_owned());
    rig.procore.inject(host, Fault::hold_before(&gate));
    let running = tool.start(&["doctor"]);
    arrived(&gate).await;
    running.signal("INT").await;
    let found = running.end().await;
    found.code_is(130).says("the rest: interrupted");
    assert!(!found.out.contains("Nothing is wrong"), "{found}");
}

/// Whatever the API does, the login host is asked about the credentials.
#[tokio::test]
async fn an_api_that_is_down_hides_no_wrong_credentials() {
    let (rig, tool, _) = signed_in().await;
    api_answers(&rig, &Reply::gateway_error(503));
    let found = doctor(&tool).await;
    assert_eq!(verdict(&found, "credentials"), "fine", "{found}");
    assert_eq!(verdict(&found, "tokens"), "not-checked", "{found}");
}

/// What doctor opens is exported nowhere, and what it notes is sent to nobody.
#[tokio::test]
async fn no_file_is_exported_and_no_alert_is_delivered() {
    let (_rig, tool, _) = signed_in().await;
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([tool.path("state"), tool.path("elsewhere")])
        .status();
    assert!(copied.expect("cp").success());
    tool.reconfigure("state = \"state\"", "state = \"elsewhere\"");
    let told = tool.path("told");
    let sink = format!("[alerts.ops]\ncommand = [\"touch\", {told:?}]\n\n[network]");
    tool.reconfigure("[network]", &sink);
    tool.reconfigure("grant = ", "export = \"exported.json\"\ngrant = ");
    doctor(&tool).await;
    assert!(!told.exists(), "an alert was delivered");
    assert!(!tool.path("exported.json").exists(), "a token was exported");
    // The alert about the copied store waits for the next verb.
    tool.run(&["tick"]).await;
    assert!(told.exists(), "the alert is lost");
}

#[tokio::test]
async fn a_terminal_of_ascii_gets_ascii() {
    let (_rig, tool) = fresh().await;
    let tool = tool
        .with("LC_ALL", "C")
        .with("LANG", "C")
        .with("TERM", "linux");
    let finished = tool.run(&["doctor"]).await;
    assert!(finished.out.is_ascii(), "{finished}");
}

/// An API that answers everybody like this from now on.
fn api_answers(rig: &Rig, reply: &Reply) {
    let fault = Fault::uncommitted(reply.clone());
    rig.procore.inject_times(20, &Target::Api, &fault);
}

/// A token endpoint that answers everybody like this from now on.
fn token_endpoint_answers(rig: &Rig, reply: &Reply) {
    let fault = Fault::uncommitted(reply.clone());
    rig.procore.inject_times(20, &Target::Token, &fault);
}

/// Configures a connection `second` like the one that is there.
fn second_connection(tool: &Tool) {
    let text = std::fs::read_to_string(tool.path("config.toml")).expect("configured");
    let (_, own) = text.split_once("[connections.acme]").expect("a table");
    let (own, _) = own.split_once("\n[").unwrap_or((own, ""));
    let second = format!("[connections.second]{own}\n");
    tool.write("config.toml", &format!("{text}\n{second}"));
}

/// The service account's configuration on the fake's demo app.
fn demo_client() -> &'static str {
    Options::demo_client_id(CredentialPair::Sandbox)
}
