//! `init` by flags alone, without a terminal.

use std::fs;
use std::time::Duration;

use fake_procore::Environment::Sandbox;
use procore_auth_tests::Tool;
use procore_auth_tests::tool::{issue, visit};
use serde_json::Value;

use crate::init::{client_id, client_secret, config, empty, two_companies};

/// All answers but the secret.
fn answers(redirect_uri: &str) -> Vec<&str> {
    vec![
        "init",
        "--environment",
        "sandbox",
        "--grant",
        "authorization-code",
        "--client-id",
        client_id(),
        "--redirect-uri",
        redirect_uri,
        "--no-browser",
    ]
}

fn with<'a>(answers: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [answers, more].concat()
}

/// Runs it, with the demo user before the browser, and returns the last document.
async fn sign_in(
    rig: &procore_auth_tests::Rig,
    tool: &Tool,
    arguments: &[&str],
    input: &str,
) -> Value {
    let mut init = tool.start(&with(arguments, &["--json"]));
    init.write(input).await;
    init.close();
    let callback = rig.browse(&init.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    init.end().await.code_is(0).json()
}

#[tokio::test]
async fn every_answer_is_a_flag_and_the_secret_is_piped_in() {
    let (rig, tool, redirect_uri) = empty().await;
    let arguments = with(&answers(&redirect_uri), &["--client-secret", "-"]);
    let ready = sign_in(&rig, &tool, &arguments, &format!("{}\n", client_secret())).await;
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["verified"], true);
    assert_eq!(ready["identity"]["login"], "demo@example.com");
    assert_eq!(ready["company"]["id"], 4001, "the only one");
    assert_eq!(
        (&ready["connection"], &ready["questions"]),
        (&"default".into(), &0.into())
    );
    let text = config(&tool);
    assert!(
        text.contains("client_secret = { file = \"default.secret\" }"),
        "{text}"
    );
    assert!(
        text.contains("# The company that calls are for.\ncompany_id = 4001\n"),
        "{text}"
    );
    assert!(!text.contains(client_secret()));
    tool.run(&["call", "/rest/v1.0/projects"]).await.code_is(0);
}

#[tokio::test]
async fn each_place_of_a_secret_works() {
    for place in ["env:PROCORE_CLIENT_SECRET", "file:own.secret"] {
        let (rig, tool, redirect_uri) = empty().await;
        tool.write("own.secret", client_secret());
        let arguments = with(&answers(&redirect_uri), &["--client-secret", place]);
        sign_in(&rig, &tool, &arguments, "").await;
        assert!(!tool.path("default.secret").exists(), "nothing is copied");
        tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    }
}

#[tokio::test]
async fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let (_rig, tool, redirect_uri) = empty().await;
    let arguments = with(
        &answers(&redirect_uri),
        &["--client-secret", client_secret()],
    );
    let refused = tool.run(&arguments).await;
    refused.code_is(1).says("secret-in-arguments");
    assert!(!config(&tool).contains("[connections"));
}

#[tokio::test]
async fn a_missing_answer_names_its_flag() {
    let (rig, tool, redirect_uri) = empty().await;
    let all = with(
        &answers(&redirect_uri),
        &["--client-secret", "env:PROCORE_CLIENT_SECRET"],
    );
    for flag in [
        "--environment",
        "--grant",
        "--client-id",
        "--client-secret",
        "--redirect-uri",
    ] {
        let at = all.iter().position(|word| *word == flag).expect("given");
        let rest = with(&all[..at], &all[at + 2..]);
        let refused = tool.run(&rest).await;
        refused
            .code_is(1)
            .says("init-incomplete")
            .says(&format!("do: Give {flag}"));
    }
    tool.write("procore.env", "PROCORE_CLIENT_ID=x\n");
    tool.run(&all)
        .await
        .code_is(1)
        .says("--no-adopt")
        .says("procore.env");
    assert!(
        !config(&tool).contains("[connections"),
        "nothing is written"
    );
    assert!(rig.procore.requests().is_empty());
}

#[tokio::test]
async fn a_lan_address_is_refused_with_the_string_to_register() {
    let (_rig, tool, _) = empty().await;
    let arguments = answers("http://192.168.8.124:9876/callback");
    let refused = tool
        .run(&with(
            &arguments,
            &["--client-secret", "env:PROCORE_CLIENT_SECRET"],
        ))
        .await;
    refused.code_is(1).says("http://localhost:9876/callback");
    assert!(!config(&tool).contains("[connections"));
}

#[tokio::test]
async fn a_service_account_names_its_company_and_needs_nobody() {
    let (rig, tool, _) = empty().await;
    let mut arguments = vec![
        "init",
        "--environment",
        "sandbox",
        "--grant",
        "client-credentials",
    ];
    arguments.extend([
        "--client-id",
        client_id(),
        "--client-secret",
        "env:PROCORE_CLIENT_SECRET",
    ]);
    tool.run(&arguments).await.code_is(1).says("Give --company");
    arguments.extend(["--company", "4001", "--json"]);
    let ready = tool.run(&arguments).await.code_is(0).json();
    assert_eq!(ready["identity"]["name"], "Service Account");
    assert_eq!(ready["company"]["id"], 4001);
    assert_eq!(rig.procore.token_posts(), 2, "the probe, and the token");
    let text = config(&tool);
    assert!(
        text.contains("company_id = 4001") && !text.contains("redirect_uri"),
        "{text}"
    );
}

#[tokio::test]
async fn several_companies_without_a_terminal_are_listed_and_one_is_set_later() {
    let (rig, tool, redirect_uri) = two_companies().await;
    let arguments = with(
        &answers(&redirect_uri),
        &["--client-secret", "env:PROCORE_CLIENT_SECRET"],
    );
    let ready = sign_in(&rig, &tool, &arguments, "").await;
    assert_eq!(ready["company"], Value::Null);
    assert_eq!(ready["companies"].as_array().map(Vec::len), Some(2));
    let before = config(&tool);
    let later = tool.run(&["init", "--company", "5002", "--json"]).await;
    assert_eq!(later.code_is(0).json()["company"]["id"], 5002);
    assert_eq!(
        config(&tool),
        format!("{before}# The company that calls are for.\ncompany_id = 5002\n")
    );
}

#[tokio::test]
async fn a_second_connection_leaves_every_byte_of_a_commented_file() {
    let (rig, tool) = crate::fresh().await;
    let commented = format!("# mine, by hand\n{}\n# the end  \n", config(&tool));
    fs::write(tool.path("config.toml"), &commented).expect("written");
    let uri = format!("http://localhost:{}/callback", tool.port());
    let mut arguments = with(
        &answers(&uri),
        &["--client-secret", "env:PROCORE_CLIENT_SECRET"],
    );
    arguments.extend(["--connection", "second"]);
    let ready = sign_in(&rig, &tool, &arguments, "").await;
    assert_eq!(ready["connection"], "second");
    let text = config(&tool);
    assert!(text.starts_with(commented.trim_end()), "{text}");
    assert!(text.contains("\n\n[connections.second]\n"), "{text}");
    tool.run(&["token", "--connection", "second"])
        .await
        .code_is(0);

    arguments.extend(["--client-id", "another"]);
    let position = arguments
        .iter()
        .position(|word| *word == client_id())
        .expect("given");
    arguments.drain(position - 1..=position);
    tool.run(&arguments)
        .await
        .code_is(1)
        .says("connection-exists");
}

#[tokio::test]
async fn every_shape_of_a_scripts_token_file_is_taken_over_by_flags() {
    for shape in ["created_at", "saved_at", "expires_at", "none"] {
        let (rig, tool, _) = empty().await;
        let pair = issue(&rig.procore);
        let (token, env) = tool.script_files(&pair, Duration::ZERO);
        let mut saved = pair.to_json();
        let created = saved["created_at"].as_u64().expect("a moment");
        saved
            .as_object_mut()
            .expect("an object")
            .remove("created_at");
        match shape {
            "created_at" | "saved_at" => saved[shape] = created.into(),
            "expires_at" => saved[shape] = (created + pair.expires_in).into(),
            _ => {}
        }
        fs::write(&token, saved.to_string()).expect("written");
        let init = ["init", "--token", &token, "--env", &env, "--json"];
        let ready = tool.run(&init).await.code_is(0).json();
        assert_eq!(
            (&ready["adopted"], &ready["verified"]),
            (&true.into(), &true.into()),
            "{shape}"
        );
        assert_eq!(rig.procore.rotations(), 0, "nothing is spent: {shape}");
        assert!(
            rig.procore
                .refresh_token_is_live(Sandbox, &pair.refresh_token)
        );
        assert_eq!(tool.token().await, pair.access_token, "{shape}");
        assert!(
            fs::read_to_string(&token)
                .expect("left")
                .contains(&pair.refresh_token)
        );
    }
}

#[tokio::test]
async fn what_is_no_token_file_is_told_before_anything_is_written() {
    let (_rig, tool, _) = empty().await;
    let token = tool.write("t.json", "{}");
    tool.run(&["init", "--token", &token])
        .await
        .code_is(1)
        .says("not-a-token-reply");
    assert!(!config(&tool).contains("[connections"));
}

#[tokio::test]
async fn a_secret_file_of_another_connection_is_left_alone() {
    let (_rig, tool, redirect_uri) = empty().await;
    let other = tool.write("default.secret", "another");
    let arguments = with(&answers(&redirect_uri), &["--client-secret", "-"]);
    let refused = tool.run_with_input(&arguments, client_secret()).await;
    refused.code_is(1).says("secret-file-exists");
    assert_eq!(fs::read_to_string(other).expect("there"), "another");
    assert!(!config(&tool).contains("[connections"));
}

#[tokio::test]
async fn a_pair_that_the_login_host_does_not_know_leaves_nothing_behind() {
    let (_rig, tool, redirect_uri) = empty().await;
    let before = config(&tool);
    let mut arguments = with(&answers(&redirect_uri), &["--client-secret", "-"]);
    let refused = tool.run_with_input(&arguments, "another secret").await;
    refused.code_is(1).says("invalid_client");
    arguments[2] = "production";
    let refused = tool.run_with_input(&arguments, client_secret()).await;
    refused
        .code_is(1)
        .says("wrong-environment")
        .says("--environment sandbox");
    assert_eq!(config(&tool), before);
    assert!(!tool.path("default.secret").exists());
}

#[tokio::test]
async fn a_login_host_that_cannot_be_asked_keeps_nobody_from_being_configured() {
    let (rig, tool, redirect_uri) = empty().await;
    rig.procore
        .inject(fake_procore::Target::Token, fake_procore::Fault::unread());
    let arguments = with(&answers(&redirect_uri), &["--client-secret", "-"]);
    let ready = sign_in(&rig, &tool, &arguments, client_secret()).await;
    assert_eq!(ready["verified"], true);
}

/// Configures a connection whose secret is in the file `default.secret`, and signs nobody in.
async fn configured(tool: &Tool, redirect_uri: &str) {
    let mut arguments = with(&answers(redirect_uri), &["--client-secret", "-"]);
    arguments.retain(|word| *word != "--no-browser");
    let unattended = tool.run_with_input(&arguments, client_secret()).await;
    unattended
        .code_is(4)
        .says("init --connection default")
        .says("doctor --connection default")
        .says("/default.secret");
}

#[tokio::test]
async fn a_corrected_secret_goes_where_the_configuration_says_that_it_is() {
    let (rig, tool, redirect_uri) = empty().await;
    configured(&tool, &redirect_uri).await;
    let text = config(&tool);
    let secret = tool.write("default.secret", "wrong");
    let arguments = with(&answers(&redirect_uri), &["--client-secret", "-"]);
    let refused = tool.run_with_input(&arguments, "wrong as well").await;
    refused.code_is(1).says("invalid_client");
    assert_eq!(fs::read_to_string(&secret).expect("there"), "wrong");

    sign_in(&rig, &tool, &arguments, client_secret()).await;
    let written = fs::read_to_string(&secret).expect("there");
    assert_eq!(written.trim_end(), client_secret());
    assert!(config(&tool).starts_with(&text), "the company is added");
}

#[tokio::test]
async fn another_redirect_uri_is_set() {
    let (rig, tool, redirect_uri) = empty().await;
    configured(&tool, "http://localhost:9876/callback").await;
    let arguments = ["init", "--redirect-uri", &redirect_uri, "--no-browser"];
    sign_in(&rig, &tool, &arguments, "").await;
    let text = config(&tool);
    assert_eq!(text.matches("redirect_uri").count(), 1, "{text}");
    assert!(text.contains(&redirect_uri), "{text}");
}

#[tokio::test]
async fn a_flag_that_the_configuration_contradicts_is_refused_by_name() {
    let (rig, tool, redirect_uri) = empty().await;
    configured(&tool, &redirect_uri).await;
    let (before, asked) = (config(&tool), rig.procore.requests().len());
    let other_env = tool.write("other.env", "PROCORE_CLIENT_ID=another\n");
    for (flag, value, key) in [
        ("--environment", "production", "environment"),
        ("--grant", "client-credentials", "grant"),
        ("--client-id", "another", "client_id"),
        (
            "--client-secret",
            "env:PROCORE_CLIENT_SECRET",
            "client_secret",
        ),
        ("--secret-in", "keyring", "client_secret"),
        ("--env", &other_env, "client_id"),
    ] {
        let refused = tool.run(&["init", flag, value]).await;
        refused
            .code_is(1)
            .says("connection-exists")
            .says(flag)
            .says(&format!("`{key}`"))
            .says("config.toml");
    }
    assert_eq!(config(&tool), before);
    assert_eq!(rig.procore.requests().len(), asked);
    tool.write("default.secret", "wrong");
    fs::rename(tool.path("default.secret"), tool.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(tool.path("elsewhere"), tool.path("default.secret")).expect("made");
    let refused = tool
        .run_with_input(&["init", "--client-secret", "-"], client_secret())
        .await;
    refused
        .code_is(1)
        .says("secret-not-replaced")
        .says("default.secret");
}

#[tokio::test]
async fn flags_that_contradict_each_other_are_refused_before_anything_else() {
    let (_rig, tool, _) = empty().await;
    let token = tool.write("t.json", "{}");
    for (flags, code) in [
        (
            ["--client-secret", "env:NONE", "--secret-in", "file"],
            "init-contradiction",
        ),
        (
            ["--grant", "client-credentials", "--redirect-uri", "urn:x"],
            "init-contradiction",
        ),
        (
            ["--grant", "client-credentials", "--token", &token],
            "nothing-to-adopt",
        ),
    ] {
        let refused = tool.run(&with(&["init"], &flags)).await;
        refused.code_is(1).says(code);
    }
    for id in ["0", "9223372036854775808"] {
        tool.run(&["init", "--company", id]).await.code_is(2);
    }
}

#[tokio::test]
async fn an_export_without_a_token_is_said_to_come_with_the_next_refresh() {
    let (rig, tool, _) = empty().await;
    let pair = issue(&rig.procore);
    assert!(rig.procore.expire_access_token(Sandbox, &pair.access_token));
    let (token, env) = tool.script_files(&pair, crate::LONG_AGO);
    // The same file, by another of its names.
    let other_name = format!(
        "{}/../.credentials/procore_token.json",
        tool.path(".credentials").display()
    );
    let init = [
        "init",
        "--token",
        &token,
        "--env",
        &env,
        "--export",
        &other_name,
    ];
    let told = tool.run(&init).await;
    told.code_is(11)
        .says("is written for scripts at the next refresh");
    assert!(!tool.path(".credentials/procore_token.json").exists());
    tool.run(&["tick"]).await.code_is(0);
    let exported = fs::read_to_string(&token).expect("written");
    assert!(exported.contains(&tool.token().await) && !exported.contains("refresh_token"));
}

#[tokio::test]
async fn an_export_that_fails_leaves_everything_as_it_was() {
    let (rig, tool, _) = empty().await;
    let (token, env) = tool.script_files(&issue(&rig.procore), Duration::ZERO);
    let before = fs::read_to_string(&token).expect("there");
    tool.write(".credentials/procore_token.json.taken-over", "in the way");
    let init = ["init", "--token", &token, "--env", &env, "--export", &token];
    let failed = tool.run(&init).await;
    failed.code_is(1).says("procore_token.json.taken-over");
    assert_eq!(fs::read_to_string(&token).expect("left"), before);
    assert!(!config(&tool).contains("export"), "{}", config(&tool));
    assert!(!failed.out.contains("kept fresh"), "{}", failed.out);
}
