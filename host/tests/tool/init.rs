//! `init` with a person at a terminal.

#![allow(
    clippy::print_stderr,
    reason = "a skipped test says why, and one tells how long it took"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use fake_procore::{CredentialPair, Options, User, VirtualClock};
use procore_auth_tests::doorkeeper::{self, Doorkeeper, Rotation};
use procore_auth_tests::tool::{OUT_OF_BAND, free_port, issue, register, visit};
use procore_auth_tests::{Rig, Tool};

use crate::person::{CTRL_C, CTRL_U, DOWN, ENTER, Person};
use crate::{PROGRAM, fresh};

/// Leaves what concerns the network, and no connection.
pub(crate) fn without_connection(tool: &Tool) {
    let path = tool.path("config.toml");
    let text = fs::read_to_string(&path).expect("configured");
    let (network, _) = text.split_once("[connections").expect("a connection");
    fs::write(path, network).expect("written");
}

pub(crate) fn config(tool: &Tool) -> String {
    fs::read_to_string(tool.path("config.toml")).expect("there")
}

pub(crate) fn client_id() -> &'static str {
    Options::demo_client_id(CredentialPair::Sandbox)
}

pub(crate) fn client_secret() -> &'static str {
    Options::demo_client_secret(CredentialPair::Sandbox)
}

/// The fake, a home without a connection, and a redirect URI that is registered and free.
pub(crate) async fn empty() -> (Rig, Tool, String) {
    let (rig, tool) = fresh().await;
    let redirect_uri = format!("http://localhost:{}/callback", tool.port());
    without_connection(&tool);
    (rig, tool, redirect_uri)
}

/// The fake with a person who sees two companies.
pub(crate) async fn two_companies() -> (Rig, Tool, String) {
    let mut options = Options::demo();
    options.users = vec![
        User::new(Options::DEMO_USER, "demo@example.com", "Demo User")
            .company(Options::DEMO_COMPANY)
            .company(5002),
    ];
    let rig = Rig::with(options, VirtualClock::at(0)).await;
    let connected = rig
        .procore
        .connect_company(CredentialPair::Sandbox, client_id(), 5002);
    connected.expect("registered");
    let tool = Tool::on_fake(PROGRAM, &rig);
    let redirect_uri = format!("http://localhost:{}/callback", tool.port());
    without_connection(&tool);
    (rig, tool, redirect_uri)
}

/// Answers all questions about a new connection to the sandbox, with a secret that is typed.
async fn answer_all(person: &mut Person, id: &str, secret: &str, redirect_uri: &str) {
    person
        .answers("Environment", &format!("{DOWN}{ENTER}"))
        .await;
    person.answers("Grant", ENTER).await;
    person.answers("Client id", &format!("{id}{ENTER}")).await;
    person
        .answers("Where the client secret is kept", ENTER)
        .await;
    person
        .answers("Client secret", &format!("{secret}{ENTER}"))
        .await;
    person
        .answers("Redirect URI", &format!("{redirect_uri}{ENTER}"))
        .await;
}

/// Takes back what was typed.
fn erase(typed: &str) -> String {
    "\x7f".repeat(typed.len())
}

fn mode(tool: &Tool, name: &str) -> u32 {
    let metadata = tool.path(name).metadata().expect("there");
    metadata.permissions().mode() & 0o777
}

#[tokio::test]
async fn from_nothing_to_verified_against_doorkeeper_in_under_a_minute() {
    let redirect_uri = format!("http://localhost:{}/callback", free_port());
    let options = doorkeeper::Options {
        redirect_uris: vec![redirect_uri.clone(), OUT_OF_BAND.to_owned()],
        ..doorkeeper::Options::default()
    };
    let server = match Doorkeeper::start(Rotation::Strict, options).await {
        Ok(server) => server,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let tool = Tool::on_doorkeeper(PROGRAM, &server, &redirect_uri);
    fs::remove_file(tool.path("client.secret")).expect("there");
    without_connection(&tool);

    let begun = Instant::now();
    let mut person = Person::start(&tool, &["init"]);
    answer_all(
        &mut person,
        server.client_id(),
        server.client_secret(),
        &redirect_uri,
    )
    .await;
    let link = person.link().await;
    let callback = server.authorize(&link).await.expect("consent");
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    let took = begun.elapsed();
    eprintln!("init: {} questions, {took:?}", person.answered);

    let screen = person.screen();
    for said in [
        "signed in to sandbox as Ada Agent, ada@example.com",
        "for Demo Builders (company 4040)",
        "procore-auth run",
        "tick --next-visit 62m",
    ] {
        assert!(screen.contains(said), "{said:?} is not on\n{screen}");
    }
    let questions = screen.lines().filter(|line| line.starts_with("> ")).count();
    assert_eq!(questions, person.answered as usize, "{screen}");
    assert!(
        questions <= 8 && took < Duration::from_secs(60),
        "{questions} in {took:?}"
    );
    assert!(!person.transcript().contains(server.client_secret()));
    assert_eq!(
        (mode(&tool, "config.toml"), mode(&tool, "default.secret")),
        (0o600, 0o600)
    );

    let status = tool.run(&["status", "--json"]).await.code_is(0).json();
    assert_eq!(status["connections"][0]["health"], "healthy");
    assert_eq!(
        status["connections"][0]["identity"]["login"],
        "ada@example.com"
    );
    tool.run(&["call", "/rest/v1.0/me"])
        .await
        .code_is(0)
        .says("ada@example.com");
}

#[tokio::test]
async fn a_redirect_uri_that_procore_refuses_is_told_with_the_one_to_register_and_asked_again() {
    let (rig, tool, redirect_uri) = empty().await;
    let mut person = Person::start(&tool, &["init"]);
    let lan = "http://192.168.8.124:9876/callback";
    answer_all(&mut person, client_id(), client_secret(), lan).await;
    person
        .sees("Register exactly `http://localhost:9876/callback`")
        .await;
    assert!(
        !config(&tool).contains("[connections"),
        "nothing is written yet"
    );
    person
        .types(&format!("{}{redirect_uri}{ENTER}", erase(lan)))
        .await;
    person
        .sees(&format!("character for character: {redirect_uri}"))
        .await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    assert!(config(&tool).contains(&redirect_uri));
}

#[tokio::test]
async fn ctrl_c_at_any_question_leaves_nothing() {
    let (_rig, tool, _) = empty().await;
    let before = config(&tool);
    let keys = [
        ("Environment", format!("{DOWN}{ENTER}")),
        ("Grant", ENTER.to_owned()),
        ("Client id", format!("abc{ENTER}")),
        ("Where the client secret is kept", ENTER.to_owned()),
        ("Client secret", format!("hunter2{ENTER}")),
        ("Redirect URI", String::new()),
    ];
    for stop in 0..keys.len() {
        let mut person = Person::start(&tool, &["init"]);
        for (what, answer) in &keys[..stop] {
            person.answers(what, answer).await;
        }
        person.answers(keys[stop].0, CTRL_C).await;
        assert_eq!(person.end().await, Some(130), "{}", person.screen());
        assert!(person.screen().contains("before anything was written"));
        assert!(!person.screen.screen().hide_cursor());
        assert_eq!(config(&tool), before);
        assert!(!tool.path("default.secret").exists());
    }
}

#[tokio::test]
async fn a_signal_at_a_question_ends_it_and_leaves_the_terminal_usable() {
    let (_rig, tool, _) = empty().await;
    let mut person = Person::start(&tool, &["init"]);
    person.answers("Environment", "").await;
    person.signal("TERM").await;
    assert_eq!(person.end().await, Some(130), "{}", person.screen());
    assert!(!person.screen.screen().hide_cursor());
}

#[tokio::test]
async fn after_a_failed_sign_in_nothing_is_asked_anew() {
    let (rig, tool, redirect_uri) = empty().await;
    let mut person = Person::start(&tool, &["init"]);
    answer_all(&mut person, client_id(), client_secret(), &redirect_uri).await;
    person.link().await;
    person.types(CTRL_C).await;
    assert_eq!(person.end().await, Some(130));
    for said in [
        "goes on from here",
        "init --connection default --config ",
        "doctor --connection default --config ",
        "/default.secret",
    ] {
        assert!(person.screen().contains(said), "{}", person.screen());
    }
    let written = config(&tool);

    let mut person = Person::start(&tool, &["init"]);
    person.sees("going on from there").await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    assert!(!person.screen().contains("1. "), "{}", person.screen());
    assert!(config(&tool).starts_with(&written), "the company is added");

    // And once more, with everything there.
    let again = tool.run(&["init", "--json"]).await.code_is(0).json();
    assert_eq!(again["verified"], true);
    assert_eq!(again["questions"], 0);
}

#[tokio::test]
async fn one_of_several_companies_is_chosen_after_the_sign_in() {
    let (rig, tool, redirect_uri) = two_companies().await;
    let mut person = Person::start(&tool, &["init"]);
    answer_all(&mut person, client_id(), client_secret(), &redirect_uri).await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    person.answered += 1;
    person.sees(&format!("{}. Company", person.answered)).await;
    person.sees("? Number of the company").await;
    person.types("9\n").await;
    person.sees("A number from 0 to 2.").await;
    person.types("2\n").await;
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    assert!(
        config(&tool).contains("\ncompany_id = 5002\n"),
        "{}",
        config(&tool)
    );
    assert!(person.answered <= 8);
}

#[tokio::test]
async fn a_scripts_files_are_adopted_and_its_token_file_is_kept_fresh() {
    let (rig, tool, _) = empty().await;
    let pair = issue(&rig.procore);
    let (token, _) = tool.script_files(&pair, Duration::from_secs(60));
    let before = fs::read_to_string(&token).expect("there");
    let mut person = Person::start(&tool, &["init"]);
    person
        .answers("Take over an existing script", &format!("{DOWN}{ENTER}"))
        .await;
    // What procore.env says is the default of the others; the secret is not asked for.
    person.answers("Environment", ENTER).await;
    person.answers("Client id", ENTER).await;
    person
        .answers("Where the client secret is kept", ENTER)
        .await;
    person.answers("Redirect URI", ENTER).await;
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    assert!(person.screen().contains("Demo User"), "{}", person.screen());
    assert_eq!(rig.procore.rotations(), 0, "nothing is spent");

    let aside = fs::read_to_string(format!("{token}.taken-over")).expect("moved aside");
    assert_eq!(aside, before, "the refresh token is not destroyed");
    let exported: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&token).expect("there")).expect("JSON");
    assert_eq!(exported["access_token"], pair.access_token);
    assert_eq!(exported.get("refresh_token"), None);
    assert!(!person.transcript().contains(&pair.refresh_token));

    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    let exported = fs::read_to_string(&token).expect("there");
    assert!(
        exported.contains(&tool.token().await),
        "the keeper keeps it fresh"
    );
}

#[tokio::test]
async fn a_secret_in_a_variable_is_named_and_not_asked_for() {
    let (rig, tool, redirect_uri) = empty().await;
    register(&rig.procore, &redirect_uri);
    let mut person = Person::start(
        &tool,
        &["init", "--environment", "sandbox", "--company", "4001"],
    );
    person.answers("Grant", ENTER).await;
    person
        .answers("Client id", &format!("{}{ENTER}", client_id()))
        .await;
    person
        .answers("Where the client secret is kept", &format!("{DOWN}{ENTER}"))
        .await;
    person
        .answers(
            "Variable with the client secret",
            &format!("UNSET_HERE{ENTER}"),
        )
        .await;
    person.sees("UNSET_HERE is not set").await;
    person
        .types(&format!(
            "{}PROCORE_CLIENT_SECRET{ENTER}",
            erase("UNSET_HERE")
        ))
        .await;
    person
        .answers("Redirect URI", &format!("{redirect_uri}{ENTER}"))
        .await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    assert!(config(&tool).contains("client_secret = { env = \"PROCORE_CLIENT_SECRET\" }"));
    assert!(!tool.path("default.secret").exists());
}

#[tokio::test]
async fn what_is_written_to_the_configuration_between_two_questions_stays() {
    let (rig, tool, redirect_uri) = empty().await;
    let known = ["--environment", "sandbox", "--client-id", client_id()];
    let mut person = Person::start(&tool, &[&["init"], &known[..]].concat());
    person.answers("Grant", ENTER).await;
    let meanwhile = format!("{}\n# written meanwhile\n", config(&tool).trim_end());
    fs::write(tool.path("config.toml"), &meanwhile).expect("written");
    person
        .answers("Where the client secret is kept", ENTER)
        .await;
    person
        .answers("Client secret", &format!("{}{ENTER}", client_secret()))
        .await;
    person
        .answers("Redirect URI", &format!("{redirect_uri}{ENTER}"))
        .await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    let text = config(&tool);
    assert!(text.starts_with(meanwhile.trim_end()), "{text}");
    assert!(text.contains("\n[connections.default]\n"), "{text}");
}

#[tokio::test]
async fn ctrl_u_clears_what_was_typed_even_where_it_is_not_shown() {
    let (rig, tool, redirect_uri) = empty().await;
    let mut person = Person::start(&tool, &["init"]);
    let corrected = |wrong: &str, right: &str| format!("{wrong}{CTRL_U}{right}");
    answer_all(
        &mut person,
        &corrected("wrong", client_id()),
        &corrected("wrong", client_secret()),
        &corrected("http://wrong", &redirect_uri),
    )
    .await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    let uri = format!("redirect_uri = \"{redirect_uri}\"");
    assert!(config(&tool).contains(&uri), "{}", config(&tool));
    let secret = fs::read_to_string(tool.path("default.secret")).expect("there");
    assert_eq!(secret.trim_end(), client_secret());
}

#[tokio::test]
async fn the_pair_of_another_environment_is_told_and_asked_for_again_before_anything_is_written() {
    let (rig, tool, redirect_uri) = empty().await;
    let before = config(&tool);
    let mut person = Person::start(&tool, &["init", "--grant", "authorization-code"]);
    person.answers("Environment", ENTER).await;
    person
        .answers("Client id", &format!("{}{ENTER}", client_id()))
        .await;
    person
        .answers("Where the client secret is kept", ENTER)
        .await;
    person
        .answers("Client secret", &format!("{}x{ENTER}", client_secret()))
        .await;
    person
        .answers("Redirect URI", &format!("{redirect_uri}{ENTER}"))
        .await;
    // No login host knows this one.
    person.sees("code: invalid_client").await;
    person.answers("Environment", ENTER).await;
    person.answers("Client id", ENTER).await;
    person
        .answers("Client secret", &format!("{}{ENTER}", client_secret()))
        .await;
    // And this one is the sandbox's, which is proposed now.
    person
        .sees("The client id and secret are those of sandbox, and not of production.")
        .await;
    assert_eq!(config(&tool), before);
    assert!(!tool.path("default.secret").exists());
    person.answers("Environment", ENTER).await;
    person.answers("Client id", ENTER).await;
    person.answers("Client secret", ENTER).await;
    let callback = rig.browse(&person.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    assert_eq!(person.end().await, Some(0), "{}", person.screen());
    assert!(config(&tool).contains("environment = \"sandbox\""));
    assert!(!person.transcript().contains(client_secret()));
}
