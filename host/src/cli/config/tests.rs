use std::path::Path;
use std::time::Duration;

use procore_auth_host::alerts::Format;
use procore_auth_host::{ConnectionName, Environment, Grant};

use super::{Config, Failure, SinkKind};
use crate::cli::failure::Explained;

const WHOLE: &str = r#"
state = "/var/lib/procore-auth"
default_connection = "acme"

[network]
extra_ca = "ca.pem"
connect_to = ["login-sandbox.procore.com:443=127.0.0.1:8443"]

[connections.acme]
environment = "sandbox"
client_id = "abc"
client_secret = { env = "PATH" }
grant = "authorization-code"
redirect_uri = "http://localhost:9876/callback"
company_id = 123

[connections.acme.policy]
refresh_percent = 70
token_timeout = "20s"
lock_wait = "1m"
parked_age = "3d"

[connections.robot]
environment = "production"
client_id = { env = "PATH" }
client_secret = { file = "robot.secret" }
grant = "client-credentials"
"#;

fn parse(text: &str) -> Result<Config, Box<Explained>> {
    Config::parse(Path::new("/etc/procore-auth/config.toml"), text.to_owned())
        .map_err(Failure::explained)
}

fn name(name: &str) -> ConnectionName {
    name.parse().expect("valid")
}

/// The whole configuration with one line replaced by another.
fn with(line: &str, other: &str) -> Box<Explained> {
    assert!(WHOLE.contains(line), "{line}");
    parse(&WHOLE.replacen(line, other, 1)).expect_err("refused")
}

#[test]
fn a_whole_file_is_read() {
    let config = parse(WHOLE).expect("valid");
    assert_eq!(config.state, Path::new("/var/lib/procore-auth"));
    assert_eq!(
        config.journal,
        Path::new("/var/lib/procore-auth/journal.jsonl")
    );
    assert_eq!(
        config.network.extra_ca.as_deref(),
        Some(Path::new("/etc/procore-auth/ca.pem"))
    );
    let (acme, connection) = config.select(None).expect("the default");
    let settings = connection.settings(acme).expect("readable");
    assert_eq!(settings.environment, Environment::Sandbox);
    assert_eq!(settings.company_id, Some(123));
    assert_eq!(settings.policy.refresh_percent, 70);
    assert_eq!(settings.policy.lock_wait, Duration::from_secs(60));
    assert_eq!(settings.policy.parked_age, Duration::from_secs(3 * 86_400));
    assert_eq!(
        settings.grant,
        Grant::AuthorizationCode {
            redirect_uri: "http://localhost:9876/callback".to_owned()
        }
    );
    assert_eq!(config.select_all(None).expect("both").len(), 2);
}

#[test]
fn an_unknown_key_is_shown_with_its_place() {
    let refused = with("company_id = 123", "compny_id = 123");
    assert!(
        refused
            .summary
            .starts_with("/etc/procore-auth/config.toml:15:1: unknown field `compny_id`"),
        "{}",
        refused.summary
    );
    assert_eq!(
        refused.excerpt.as_deref(),
        Some("   |\n15 | compny_id = ****\n   | ^^^^^^^^^")
    );
    for (table, key) in [
        ("[network]", "proxy = 1"),
        ("[connections.acme.policy]", "retries = 3"),
        ("state = \"/var/lib/procore-auth\"", "states = 1"),
    ] {
        assert!(
            with(table, &format!("{table}\n{key}"))
                .summary
                .contains("unknown field")
        );
    }
}

#[test]
fn a_wrong_value_is_shown_with_a_caret() {
    let refused = with("\"sandbox\"", "\"sandbx\"");
    assert!(refused.summary.contains(":10:15: unknown variant `sandbx`, expected one of `production`, `sandbox`, `monthly-sandbox`, `federal`"), "{}", refused.summary);
    assert_eq!(
        refused.excerpt.as_deref(),
        Some("   |\n10 | environment = \"sandbx\"\n   |               ^^^^^^^^")
    );
}

#[test]
fn an_inline_secret_is_refused_and_never_shown() {
    for written in [
        "client_secret = \"hunter2\"",
        "client_secret = 'hunter2'",
        "client_secret = { value = \"hunter2\" }",
        "client_secret = { env = \"hunter2-is-no-name\" }",
        "client_secret = { env = \"PATH\", file = \"hunter2\" }",
        "client_secret = \"hunter2",
        "client_secret = hunter2",
        "client_secret = [\"hunter2\"]",
        "client_secrets = \"hunter2\"",
    ] {
        let refused = with("client_secret = { env = \"PATH\" }", written);
        assert!(
            !format!("{refused:?}").contains("hunter2"),
            "{written}: {refused:?}"
        );
        assert!(
            refused
                .excerpt
                .as_deref()
                .is_some_and(|e| e.contains("****") || e.contains('[')),
            "{written}: {refused:?}"
        );
    }
    let refused = with(
        "client_secret = { env = \"PATH\" }",
        "client_secret = \"hunter2\"",
    );
    assert!(refused.remedy.contains("{ env = "), "{refused:?}");
    assert_eq!(
        refused.excerpt.as_deref(),
        Some("   |\n12 | client_secret = ****\n   |                 ^^^^")
    );
}

#[test]
fn a_secret_in_a_table_of_its_own_is_never_shown() {
    let text =
        "state = \"/s\"\n[connections.a]\n[connections.a.client_secret]\nvalue = \"hunter2\"\n";
    let refused = parse(text).expect_err("no reference");
    assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
    assert!(
        refused.summary.contains(":4:1: unknown field `value`"),
        "{refused:?}"
    );
}

#[test]
fn a_missing_key_is_shown_at_its_table() {
    let refused = with("client_id = \"abc\"\n", "");
    assert!(
        refused.summary.contains(":9:1: missing field `client_id`"),
        "{}",
        refused.summary
    );
}

#[test]
fn a_secret_that_cannot_be_read_is_shown_at_its_reference() {
    let config = parse(&WHOLE.replacen(
        "{ env = \"PATH\" }\ngrant",
        "{ env = \"PROCORE_AUTH_UNSET\" }\ngrant",
        1,
    ))
    .expect("valid");
    let (acme, connection) = config.select(None).expect("the default");
    let Err(Failure::Explained(refused)) = connection.settings(acme) else {
        panic!("the variable is not set");
    };
    assert!(
        refused
            .summary
            .contains("config.toml:12:17: the environment variable PROCORE_AUTH_UNSET is not set"),
        "{}",
        refused.summary
    );
}

#[test]
fn the_grant_decides_about_the_redirect_uri() {
    let refused = with("redirect_uri = \"http://localhost:9876/callback\"\n", "");
    assert!(
        refused
            .summary
            .contains(":13:9: the grant authorization-code needs a redirect_uri"),
        "{}",
        refused.summary
    );
    let refused = with("\"authorization-code\"", "\"client-credentials\"");
    assert!(refused.summary.contains(":14:16:"), "{}", refused.summary);
}

#[test]
fn policy_numbers_are_checked() {
    assert!(
        with("refresh_percent = 70", "refresh_percent = 100")
            .summary
            .contains("1 to 99")
    );
    assert!(
        with("lock_wait = \"1m\"", "lock_wait = \"20s\"")
            .summary
            .contains("must be longer than")
    );
    let refused = with("parked_age = \"3d\"", "parked_age = \"3 parsecs\"");
    assert!(refused.summary.contains(":21:14:"), "{}", refused.summary);
    assert!(refused.summary.contains("\"30s\""), "{}", refused.summary);
    assert!(
        with("parked_age = \"3d\"", "parked_age = \"-3d\"")
            .summary
            .contains("\"30s\"")
    );
}

#[test]
fn policy_numbers_have_minimums_that_are_named_at_their_line() {
    let table = "[connections.acme.policy]\nrefresh_percent = 70\ntoken_timeout = \"20s\"";
    for (key, small, least) in [
        ("token_timeout", "\"1ms\"", "\"5s\""),
        ("token_timeout", "\"0s\"", "\"5s\""),
        ("call_timeout", "\"0s\"", "\"1s\""),
        ("parked_count", "0", "1"),
        ("parked_bytes", "1023", "1024"),
        ("parked_age", "\"0s\"", "\"1m\""),
    ] {
        let whole = WHOLE.replacen("parked_age = \"3d\"\n", "", 1);
        let table_with = |value: &str| {
            let line = format!("[connections.acme.policy]\n{key} = {value}");
            parse(&whole.replacen(table, &line, 1))
        };
        let refused = table_with(small).expect_err("too small");
        let summary = &refused.summary;
        assert!(
            summary.contains(&format!(":18:{}: {key} is at least {least}", key.len() + 4)),
            "{summary}"
        );
        table_with(least).expect("the minimum itself is accepted");
    }
    for percent in ["0", "100"] {
        let refused = with(
            "refresh_percent = 70",
            &format!("refresh_percent = {percent}"),
        );
        assert!(refused.summary.contains(":18:19:"), "{}", refused.summary);
    }
}

#[test]
fn a_long_token_timeout_without_a_lock_wait_is_shown_at_its_line() {
    let refused = with(
        "token_timeout = \"20s\"\nlock_wait = \"1m\"",
        "token_timeout = \"2m\"",
    );
    assert!(
        refused.summary.contains(":19:17: lock_wait"),
        "{}",
        refused.summary
    );
}

#[test]
fn names_are_checked() {
    assert!(
        with("[connections.robot]", "[connections.\"../robot\"]")
            .summary
            .contains(":23:14: a connection name is")
    );
    assert!(
        with(
            "default_connection = \"acme\"",
            "default_connection = \"acne\""
        )
        .remedy
        .contains("acme, robot")
    );
    let config = parse(WHOLE).expect("valid");
    assert!(config.select(Some(&name("robot"))).is_ok());
    assert!(config.select(Some(&name("other"))).is_err());
}

#[test]
fn without_a_default_the_only_connection_is_taken() {
    let (_, rest) = WHOLE.split_once("[connections.robot]").expect("there");
    let one = format!("state = \"/s\"\n[connections.robot]{rest}");
    assert!(parse(&one).expect("valid").select(None).is_ok());
    let two = WHOLE.replacen("default_connection = \"acme\"", "", 1);
    assert!(parse(&two).expect("valid").select(None).is_err());
    let none = parse("state = \"/s\"").expect("valid");
    assert!(none.select(None).is_err() && none.select_all(None).is_err());
}

#[test]
fn a_line_is_shown_without_what_terminals_obey() {
    let refused = parse("plugin\u{c}\u{c} = {\n").expect_err("refused");
    let excerpt = refused.excerpt.expect("a line");
    assert!(excerpt.contains("plugin\u{fffd}\u{fffd} = "), "{excerpt:?}");
}

#[test]
fn a_secret_in_a_line_with_a_harmless_key_is_never_shown() {
    let line = "client_id = \"abc\"";
    for (written, key) in [
        (
            "client_id = \"x\", client_secret = \"HUNTER2\"",
            "client_id = ****",
        ),
        (
            "client_id = \"x\" client_id = \"HUNTER2\"",
            "client_id = ****",
        ),
        (
            "client_id = \"abc\"\nclient_id = \"HUNTER2\"",
            "client_id = ****",
        ),
        ("client_id = HUNTER2", "client_id = ****"),
        ("client_id = { env = \"HUNTER2 \" }", "client_id = ****"),
        ("client_id = {\nfile = \"HUNTER2\" }", "client_id = {"),
        ("client_id = \"\" # HUNTER2 = it", "client_id = \"\""),
        ("client_id = { env = 1, HUNTER2 = 2 }", "client_id = ****"),
        ("\"HUNTER2\" = 1", "**** = ****"),
        ("\"a=HUNTER2\" = 1", "**** = ****"),
        ("HUNTER2 = 1", "**** = ****"),
        ("'hunter2, expected HUNTER2' = 1", "**** = ****"),
        ("HUNTER2", "****"),
        ("[HUNTER2]", "****"),
        ("[connections.\"HUNTER2\"]", "****"),
        ("[connections.acme] # HUNTER2", "[connections.acme]"),
    ] {
        let refused = with(line, written);
        let excerpt = refused.excerpt.as_deref().unwrap_or_default();
        assert!(
            !format!("{refused:?}").contains("HUNTER2"),
            "{written}: {refused:?}"
        );
        assert!(
            excerpt.contains(&format!(" | {key}\n")),
            "{written}: {refused:?}"
        );
    }
}

#[test]
fn a_value_of_another_type_is_not_repeated() {
    for (line, written) in [
        (
            "client_secret = { env = \"PATH\" }\ngrant",
            "client_secret = { env = 73501 }\ngrant",
        ),
        (
            "client_secret = { env = \"PATH\" }\ngrant",
            "client_secret = { 73501 = 73501 }\ngrant",
        ),
    ] {
        let refused = with(line, written);
        assert!(!format!("{refused:?}").contains("73501"), "{refused:?}");
    }
}

#[test]
fn an_unknown_key_is_named_where_it_can_be_no_secret() {
    assert!(
        with("company_id = 123", "compny_id = 1")
            .summary
            .contains("unknown field `compny_id`, expected one of")
    );
    let refused = with("company_id = 123", "Zk3QvPmX8sLw = 1");
    assert!(
        refused
            .summary
            .contains(":15:1: unknown field, expected one of `environment`"),
        "{refused:?}"
    );
    assert_eq!(refused.remedy, "correct the key, or remove it");
}

#[test]
fn a_value_of_another_type_is_told_in_plain_words() {
    for (line, written, expected) in [
        (
            "company_id = 123",
            "company_id = \"12\"",
            "a whole number, without quotes, is expected here",
        ),
        (
            "company_id = 123",
            "company_id = 1.5",
            "a whole number, without quotes, is expected here",
        ),
        (
            "company_id = 123",
            "company_id = -1",
            "this number is out of range",
        ),
        (
            "refresh_percent = 70",
            "refresh_percent = 700",
            "this number is out of range",
        ),
        (
            "refresh_percent = 70",
            "pkce = \"true\"",
            "true or false, without quotes, is expected here",
        ),
        (
            "lock_wait = \"1m\"",
            "lock_wait = 60",
            "a text in quotes is expected here",
        ),
        (
            "state = \"/var/lib/procore-auth\"",
            "state = 1",
            "a text in quotes is expected here",
        ),
    ] {
        let refused = with(line, written);
        assert!(
            refused.summary.ends_with(&format!(": {expected}")),
            "{written}: {refused:?}"
        );
    }
}

#[test]
fn an_empty_state_folder_is_refused() {
    for written in ["state = \"\"", "state = \" \""] {
        let refused = with("state = \"/var/lib/procore-auth\"", written);
        assert!(
            refused
                .summary
                .contains(":2:9: the path of the state folder is empty"),
            "{refused:?}"
        );
    }
}

#[test]
fn sinks_are_read_with_their_secrets_by_reference() {
    let text = format!(
        "{WHOLE}\n[alerts.ops]\nwebhook = {{ env = \"OPS_WEBHOOK\" }}\nformat = \"slack\"\nconnections = [\"acme\"]\n\
         \n[alerts.pager]\ncommand = [\"/usr/local/bin/page\", \"--now\"]\nretry = \"1m\"\n"
    );
    let config = parse(&text).expect("valid");
    let [ops, pager] = &config.alerts[..] else {
        panic!("{:?}", config.alerts);
    };
    assert_eq!(ops.connections, Some(vec![name("acme")]));
    assert!(matches!(
        &ops.kind,
        SinkKind::Webhook {
            format: Format::Slack,
            ..
        }
    ));
    assert_eq!(pager.retry, Some(Duration::from_secs(60)));
    let SinkKind::Command { program, arguments } = &pager.kind else {
        panic!("{pager:?}");
    };
    assert_eq!(
        (program.as_str(), arguments.len()),
        ("/usr/local/bin/page", 1)
    );
    assert_eq!(config.secret_variables(), ["PATH", "OPS_WEBHOOK"]);
}

#[test]
fn the_url_of_a_webhook_is_never_shown() {
    for written in [
        "webhook = \"https://hooks.slack.com/services/hunter2\"",
        "webhook = { url = \"https://hooks.slack.com/services/hunter2\" }",
        "webhook = { env = \"https://hooks.slack.com/services/hunter2\" }",
        "webhok = \"https://hooks.slack.com/services/hunter2\"",
        "command = \"curl https://hooks.slack.com/services/hunter2\"",
        "command = [\"curl\", 1, \"https://hooks.slack.com/services/hunter2\"]",
    ] {
        let refused = parse(&format!("{WHOLE}\n[alerts.ops]\n{written}\n"));
        let refused = refused.expect_err("refused");
        let told = format!("{refused:?}");
        assert!(!told.contains("hunter2"), "{written}: {told}");
    }
}

#[test]
fn metrics_go_to_a_file_and_to_a_loopback_port() {
    let metrics = |lines: &str| parse(&format!("state = \"/s\"\n[metrics]\n{lines}\n"));
    let config = metrics("file = \"m/procore.prom\"\nlisten = \"[::1]:9464\"").expect("valid");
    let path = config.metrics.file.as_deref().expect("a file");
    assert!(path.is_absolute() && path.ends_with("m/procore.prom"));
    assert_eq!(config.metrics.listen, "[::1]:9464".parse().ok());
    assert_eq!(
        parse("state = \"/s\"\n").expect("valid").metrics,
        super::Metrics::default()
    );
    for (lines, says) in [
        (
            "listen = \"0.0.0.0:9464\"",
            ":3:10: metrics are served to this machine only",
        ),
        ("listen = \"192.168.8.124:9464\"", "no loopback address"),
        ("listen = \"9464\"", "no address with a port"),
        (
            "listen = \"127.0.0.1:0\"",
            ":3:10: this is no port: the system would choose",
        ),
        ("file = \"\"", ":3:8: this names no file"),
        ("", "names no place"),
        ("port = 9464", "unknown field"),
    ] {
        let refused = metrics(lines).expect_err("refused");
        assert!(refused.summary.contains(says), "{refused:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_everybody_may_write_is_refused() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, "state = \"/s\"\n").expect("written");
    for (mode, is_read) in [(0o644, true), (0o664, true), (0o666, false), (0o602, false)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
        assert_eq!(super::Config::load(&path).is_ok(), is_read, "{mode:o}");
    }
}
