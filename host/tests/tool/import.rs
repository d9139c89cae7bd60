//! Taking over the files of the script that came before.

use std::time::Duration;

use fake_procore::Environment::Sandbox;
use procore_auth_tests::tool::issue;

use crate::{fresh, signed_in};

/// Leaves what concerns the network, and no connection.
fn without_connection(tool: &procore_auth_tests::Tool) {
    let path = tool.path("config.toml");
    let text = std::fs::read_to_string(&path).expect("configured");
    let (network, _) = text.split_once("[connections").expect("a connection");
    std::fs::write(path, network).expect("written");
}

#[tokio::test]
async fn the_files_of_the_log_are_taken_over_and_nothing_is_spent() {
    let (rig, tool) = fresh().await;
    without_connection(&tool);
    let pair = issue(&rig.procore);
    let (token, env) = tool.script_files(&pair, Duration::from_secs(600));
    let import = ["import", "--token", &token, "--env", &env, "--write"];
    let taken = tool.run(&import).await;
    taken
        .code_is(0)
        .says("took over the tokens of sandbox as Demo User")
        .says("works once");
    assert_eq!(rig.procore.token_posts(), 0);
    assert!(
        rig.procore
            .refresh_token_is_live(Sandbox, &pair.refresh_token)
    );

    assert_eq!(tool.token().await, pair.access_token);
    tool.run(&["tick", "--next-visit", "2h"]).await.code_is(0);
    assert_ne!(tool.token().await, pair.access_token);
    tool.run(&import).await.code_is(1).says("already-signed-in");
}

#[tokio::test]
async fn a_secret_and_an_id_alone_need_two_options_more() {
    let (rig, tool) = fresh().await;
    without_connection(&tool);
    let (token, env) = tool.script_files(&issue(&rig.procore), Duration::ZERO);
    let text = std::fs::read_to_string(&env).expect("written");
    let bare: String = text
        .lines()
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&env, bare).expect("written");
    let mut import = vec!["import", "--token", &token, "--env", &env, "--json"];
    tool.run(&import).await.code_is(1).says("--environment");
    import.extend(["--environment", "sandbox"]);
    tool.run(&import).await.code_is(1).says("--redirect-uri");
    import.extend(["--redirect-uri", "http://localhost:9876/callback"]);
    let document = tool.run(&import).await.code_is(0).json();
    assert_eq!(document["written"], false);
    assert!(
        document["add_to_config"]
            .as_str()
            .is_some_and(|toml| toml.contains("[connections.default]"))
    );
}

#[tokio::test]
async fn s49_mixed_urls_are_refused_by_the_name_of_the_odd_one() {
    for (odd, name) in [
        ("https://login.procore.com/oauth/token", "token"),
        ("https://api.procore.com", "API"),
    ] {
        let (rig, tool) = fresh().await;
        let (token, env) = tool.script_files(&issue(&rig.procore), Duration::ZERO);
        let text = std::fs::read_to_string(&env).expect("written");
        let right = if name == "API" {
            "https://sandbox.procore.com"
        } else {
            "https://login-sandbox.procore.com/oauth/token"
        };
        std::fs::write(&env, text.replace(right, odd)).expect("written");
        let refused = tool
            .run(&["import", "--token", &token, "--env", &env])
            .await;
        refused.code_is(1).says(
            odd.trim_start_matches("https://")
                .split('/')
                .next()
                .expect("a host"),
        );
        refused.says("login-sandbox.procore.com").says(name);
        assert!(rig.procore.requests().is_empty(), "nothing was sent");
    }
}

#[tokio::test]
async fn another_environment_than_the_urls_say_is_refused() {
    let (rig, tool) = fresh().await;
    let (token, env) = tool.script_files(&issue(&rig.procore), Duration::ZERO);
    let import = [
        "import",
        "--token",
        &token,
        "--env",
        &env,
        "--environment",
        "production",
    ];
    tool.run(&import)
        .await
        .code_is(1)
        .says("mixed-environments");
    assert!(rig.procore.requests().is_empty());
}

#[tokio::test]
async fn tokens_that_are_there_are_replaced_only_when_told() {
    let (rig, tool, _) = signed_in().await;
    let newer = issue(&rig.procore);
    let (token, env) = tool.script_files(&newer, Duration::ZERO);
    let mut import = vec![
        "import",
        "--token",
        &token,
        "--env",
        &env,
        "--connection",
        "acme",
    ];
    tool.run(&import).await.code_is(1).says("already-signed-in");
    import.push("--replace");
    tool.run(&import).await.code_is(0);
    assert_eq!(tool.token().await, newer.access_token);
}

#[tokio::test]
async fn the_advice_to_run_the_same_with_write_works() {
    for (age, options) in [(0, &["--write"][..]), (5000, &["--write", "--replace"])] {
        let (rig, tool) = fresh().await;
        without_connection(&tool);
        let pair = issue(&rig.procore);
        let (token, env) = tool.script_files(&pair, Duration::from_secs(age));
        if age > 0 {
            rig.procore.expire_access_token(Sandbox, &pair.access_token);
        }
        let mut import = vec!["import", "--token", &token, "--env", &env];
        let first = tool.run(&import).await;
        first.says(&format!("run the same with {}:", options.join(" ")));
        import.extend(options);
        tool.run(&import).await.says("has the connection now");
        assert_eq!(rig.procore.token_posts(), 0, "nothing is spent");
        tool.run(&["token"]).await.code_is(0);
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_said_before_anything_is_taken_over() {
    let (rig, tool) = fresh().await;
    without_connection(&tool);
    let (token, env) = tool.script_files(&issue(&rig.procore), Duration::ZERO);
    let secret = tool.write("default.secret", "another");
    let import = ["import", "--token", &token, "--env", &env, "--write"];
    tool.run(&import)
        .await
        .code_is(1)
        .says("secret-file-exists");
    assert!(rig.procore.requests().is_empty(), "nothing was taken over");
    std::fs::remove_file(secret).expect("there");
    tool.run(&import).await.code_is(0);
}

#[tokio::test]
async fn a_value_that_is_not_what_its_name_says_is_named() {
    let (rig, tool) = fresh().await;
    without_connection(&tool);
    let (token, env) = tool.script_files(&issue(&rig.procore), Duration::ZERO);
    let text = std::fs::read_to_string(&env).expect("written");
    let import = ["import", "--token", &token, "--env", &env];
    std::fs::write(&env, text.replace("COMPANY_ID=", "COMPANY_ID=no")).expect("written");
    let refused = tool.run(&import).await;
    refused.code_is(1).says("PROCORE_COMPANY_ID").says(":4:");
    let bare: String = text
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&env, bare + "PROCORE_ENVIRONMENT=staging\n").expect("written");
    let refused = tool.run(&import).await;
    refused
        .code_is(1)
        .says("\"staging\"")
        .says("production, sandbox, monthly-sandbox or federal");
    assert!(rig.procore.requests().is_empty());
}
