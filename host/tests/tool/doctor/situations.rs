//! Situations, each with the code that `doctor` must find first: the troubles of an unattended agent, and each row of the tables of
//! errors in `docs/procore-oauth.md`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fake_procore::{
    Answer, CredentialPair, Environment::Sandbox, Fault, Gate, Options, Reply, Target, VirtualClock,
};
use procore_auth_host::{FileStore, Key, Store as _};
#[cfg(target_os = "linux")]
use procore_auth_tests::confined::{self, Confinement};
use procore_auth_tests::tool::{Finished, free_port, set_mode};
use procore_auth_tests::{Rig, Tool};
use serde_json::json;

use super::{api_answers, demo_client, doctor, first, second_connection, token_endpoint_answers};
use crate::{PROGRAM, expired, fresh, signed_in};

macro_rules! situations {
    (
        $($name:ident: $situation:literal => $code:literal,)*;
        $($apart:ident: $rare:literal => $found:literal,)*
    ) => {
        /// Every situation with the code of the first finding; an empty one where nothing is wrong.
        pub(super) const TABLE: &[(&str, &str)] = &[$(($situation, $code),)* $(($rare, $found),)*];

        $(#[tokio::test]
        async fn $name() {
            check(&arranged::$name().await, $code);
        })*

        $(#[cfg(target_os = "linux")]
        #[test]
        fn $apart() {
            confined::run(Confinement::OwnMounts, || async {
                check(&arranged::$apart().await, $found);
            });
        })*
    };
}

/// The first finding is this one, and the process ends with its exit code.
fn check(found: &Finished, code: &str) {
    assert_eq!(first(found), code, "{found}");
    let exit = found.json()["findings"][0]["exit_code"].as_i64();
    assert_eq!(found.code.map(i64::from), exit.or(Some(0)), "{found}");
}

situations! {
    all_is_well: "everything works" => "",
    never_signed_in: "nobody has signed in yet" => "not-signed-in",
    wrong_environment: "a sandbox app, configured for production (\"unknown client\")" => "wrong-environment",
    lan_redirect: "the redirect URI is an address in the LAN" => "redirect-uri-refused",
    loopback_redirect: "the redirect URI says 127.0.0.1 instead of localhost" => "redirect-uri-refused",
    unregistered_redirect: "Procore's page says that the redirect URI does not match (`--page`)" => "invalid_redirect_uri",
    unknown_client_page: "Procore's page says \"unknown client\" (`--page`), and the login host knows the pair" => "wrong-link",
    unknown_pair_page: "Procore's page says \"unknown client\" (`--page`), and so does the login host" => "invalid_client",
    denied: "the browser ended on an address with `error=access_denied` (`--page`)" => "access_denied",
    mixed_script: "an old script's URLs are of different environments" => "mixed-environments",
    other_environments_token: "the tokens were got in another environment than is configured now" => "wrong-environment",
    secret_reset: "the client secret was reset (`invalid_client`)" => "invalid_client",
    spent_elsewhere: "another program spent the refresh token (`invalid_grant`)" => "invalid_grant",
    expired_without_keeper: "the access token expired, and nobody refreshes it" => "refresh-overdue",
    token_endpoint_down: "the token endpoint alone is down (503)" => "http-503",
    token_endpoint_limited: "the token endpoint takes no more requests (429)" => "http-429",
    token_endpoint_blocked: "a firewall refuses the token endpoint, in JSON (403)" => "http-403",
    token_endpoint_replaced: "something else answers in the token endpoint's place (200)" => "unexpected-reply",
    codes_refused: "the app may not sign users in (`unauthorized_client`)" => "unauthorized_client",
    no_grant_for_codes: "the login host exchanges no codes (`unsupported_grant_type`)" => "unsupported_grant_type",
    codes_not_needed: "a service account's app may not exchange codes" => "",
    codes_unknown: "the login host exchanges no codes, and a service account is to be checked" => "not-checked",
    incomplete_request: "the token endpoint says `invalid_request`" => "invalid_request",
    no_service_account: "the app has no service account (`unauthorized_client`)" => "unauthorized_client",
    unsupported_grant: "the token endpoint says `unsupported_grant_type`" => "unsupported_grant_type",
    scope_refused: "the token endpoint says `invalid_scope`" => "invalid_scope",
    unavailable: "the token endpoint says `temporarily_unavailable`" => "temporarily_unavailable",
    server_error: "the token endpoint says `server_error`" => "server_error",
    login_page: "a captive portal answers in the login host's place" => "unexpected-html",
    portal_before_api: "a captive portal answers in the API host's place" => "unexpected-html",
    redirected: "a gateway sends us elsewhere" => "unexpected-redirect",
    revoked_access_token: "the access token was revoked (401)" => "token-unknown",
    app_not_installed: "the login host knows the token, and the API does not: the app is not installed (401)" => "token-rejected",
    app_disconnected: "the app is not connected to the company (403)" => "app-not-connected",
    forbidden: "the account may not see the company (403)" => "forbidden",
    company_missing: "no company is configured" => "company-id-missing",
    company_unnamed: "the API misses the company id (400)" => "company-id-missing",
    no_project: "no project is permitted to the service account" => "no-project",
    not_found: "the API finds nothing there, or does not show it (404)" => "not-found",
    rate_limited: "the rate limit is reached (429)" => "rate-limited",
    api_down: "the API is in maintenance (503)" => "http-503",
    api_fails: "the API fails (500)" => "http-500",
    api_slow: "the API gives up on the request (408)" => "http-408",
    bad_gateway: "a gateway of the API has no good answer (502)" => "http-502",
    gateway_timeout: "a gateway of the API gives up (504)" => "http-504",
    connection_refused: "a firewall refuses connections to the login host" => "connect",
    swallowed: "a firewall swallows what is sent to the login host" => "timeout",
    unknown_authority: "a proxy inspects TLS with an authority of its own" => "tls",
    proxy_down: "the proxy does not answer" => "proxy",
    clock_behind: "the machine's clock is 20 minutes behind" => "clock-wrong",
    missing_variable: "the variable with the client secret is not set" => "config-invalid",
    open_secret: "the file with the client secret lets others in" => "config-invalid",
    broken_file: "the configuration has a mistake" => "config-invalid",
    none_named: "there are two connections, and none is named" => "config-ambiguous-connection",
    no_file: "there is no configuration" => "config-missing",
    open_store: "the store's folder lets others in" => "insecure-permissions",
    copied_store: "the store was copied from another machine" => "store-copied",
    lock_held: "a process is stopped while it holds the store's lock" => "lock-wait",
    key_missing: "the store is encrypted, and no key is configured" => "key-unavailable",
    two_writers: "two programs wrote the store without its lock" => "write-without-lock",
    keeper_gone: "the cron job does not run any more" => "keeper-missing",
    undecided: "a request was perhaps carried out, and nobody has decided about it" => "requests-undecided",
    sink_down: "alerts cannot be delivered" => "alert-sink-down",
    ;
    // With mounts of their own.
    unresolvable: "names cannot be resolved" => "dns",
}

/// Brings each about, and runs `doctor`.
mod arranged {
    use super::*;

    pub(super) async fn all_is_well() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        doctor(&tool).await
    }

    pub(super) async fn never_signed_in() -> Finished {
        let (_rig, tool) = fresh().await;
        doctor(&tool).await
    }

    pub(super) async fn wrong_environment() -> Finished {
        let (_rig, tool) = fresh().await;
        tool.reconfigure("environment = \"sandbox\"", "environment = \"production\"");
        doctor(&tool).await
    }

    async fn redirect(uri: &str) -> Finished {
        let (_rig, tool) = fresh().await;
        let own = format!("http://localhost:{}/callback", tool.port());
        tool.reconfigure(&own, uri);
        doctor(&tool).await
    }

    pub(super) async fn lan_redirect() -> Finished {
        redirect("http://192.168.8.124:9876/callback").await
    }

    pub(super) async fn loopback_redirect() -> Finished {
        redirect("http://127.0.0.1:9876/callback").await
    }

    async fn page(text: &str) -> Finished {
        let (_rig, tool, _) = signed_in().await;
        tool.run(&["doctor", "--json", "--page", text]).await
    }

    pub(super) async fn unregistered_redirect() -> Finished {
        page("The requested redirect uri is malformed or doesn't match client redirect URI.").await
    }

    pub(super) async fn unknown_client_page() -> Finished {
        page("Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.").await
    }

    pub(super) async fn unknown_pair_page() -> Finished {
        let (rig, tool, _) = signed_in().await;
        reset_secret(&rig);
        let page = ["doctor", "--json", "--page", "unknown client"];
        tool.run(&page).await
    }

    pub(super) async fn denied() -> Finished {
        page("http://localhost:9876/callback?error=access_denied&state=x").await
    }

    pub(super) async fn mixed_script() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        tool.write(
            ".credentials/procore.env",
            "PROCORE_AUTH_URL=https://login-sandbox.procore.com/oauth/authorize\nPROCORE_TOKEN_URL=https://login.procore.com/oauth/token\n",
        );
        doctor(&tool).await
    }

    /// An app that is known in both environments under one pair, as in production and the monthly sandbox.
    pub(super) async fn other_environments_token() -> Finished {
        let (rig, tool, _) = signed_in().await;
        let sandbox = rig.procore.change_app(
            CredentialPair::Production,
            Options::demo_client_id(CredentialPair::Production),
            |app| {
                app.client_id = demo_client().to_owned();
                app.client_secret = Options::demo_client_secret(CredentialPair::Sandbox).to_owned();
            },
        );
        sandbox.expect("registered");
        tool.reconfigure("environment = \"sandbox\"", "environment = \"production\"");
        doctor(&tool).await
    }

    pub(super) async fn secret_reset() -> Finished {
        let (rig, tool, _) = signed_in().await;
        reset_secret(&rig);
        doctor(&tool).await
    }

    fn reset_secret(rig: &Rig) {
        let reset = rig
            .procore
            .reset_client_secret(CredentialPair::Sandbox, demo_client());
        reset.expect("registered");
    }

    pub(super) async fn spent_elsewhere() -> Finished {
        let (rig, tool, pair) = expired().await;
        assert!(rig.procore.kill_refresh_token(Sandbox, &pair.refresh_token));
        tool.run(&["token"]).await.code_is(4);
        doctor(&tool).await
    }

    pub(super) async fn expired_without_keeper() -> Finished {
        let (_rig, tool, _) = expired().await;
        doctor(&tool).await
    }

    /// A token endpoint that answers everybody like this; the tokens are good for now.
    async fn token_endpoint(reply: Reply) -> Finished {
        let (rig, tool, _) = signed_in().await;
        token_endpoint_answers(&rig, &reply);
        doctor(&tool).await
    }

    pub(super) async fn token_endpoint_down() -> Finished {
        token_endpoint(Reply::empty(503)).await
    }

    pub(super) async fn token_endpoint_limited() -> Finished {
        token_endpoint(Reply::json(429, &json!({"errors": "Rate limit"}))).await
    }

    pub(super) async fn token_endpoint_blocked() -> Finished {
        token_endpoint(Reply::json(403, &json!({"message": "Forbidden"}))).await
    }

    pub(super) async fn token_endpoint_replaced() -> Finished {
        token_endpoint(Reply::captive_portal()).await
    }

    pub(super) async fn codes_refused() -> Finished {
        token_endpoint(Reply::json(400, &json!({"error": "unauthorized_client"}))).await
    }

    pub(super) async fn no_grant_for_codes() -> Finished {
        token_endpoint(Reply::json(
            400,
            &json!({"error": "unsupported_grant_type"}),
        ))
        .await
    }

    /// A service account whose login host answers the exchange of a code like this.
    async fn without_codes(error: &str) -> Finished {
        let (rig, tool) = fresh().await;
        tool.use_service_account();
        tool.run(&["login"]).await.code_is(0);
        token_endpoint_answers(&rig, &Reply::json(400, &json!({ "error": error })));
        let projects = Target::Path("/rest/v1.0/projects".to_owned());
        let one = Reply::json(200, &json!([{"id": 1}]));
        rig.procore.inject(projects, Fault::uncommitted(one));
        doctor(&tool).await
    }

    pub(super) async fn codes_not_needed() -> Finished {
        without_codes("unauthorized_client").await
    }

    pub(super) async fn codes_unknown() -> Finished {
        without_codes("unsupported_grant_type").await
    }

    /// A refresh that the token endpoint answers like this.
    async fn refresh_answered(reply: Reply) -> Finished {
        let (rig, tool, _) = expired().await;
        rig.procore.inject(Target::Token, Fault::uncommitted(reply));
        assert_ne!(tool.run(&["token"]).await.code, Some(0));
        doctor(&tool).await
    }

    pub(super) async fn incomplete_request() -> Finished {
        refresh_answered(Reply::json(400, &json!({"error": "invalid_request"}))).await
    }

    async fn refresh_refused(error: &str) -> Finished {
        refresh_answered(Reply::json(400, &json!({ "error": error }))).await
    }

    pub(super) async fn unsupported_grant() -> Finished {
        refresh_refused("unsupported_grant_type").await
    }

    pub(super) async fn scope_refused() -> Finished {
        refresh_refused("invalid_scope").await
    }

    pub(super) async fn unavailable() -> Finished {
        let reply = json!({"error": "temporarily_unavailable"});
        refresh_answered(Reply::json(503, &reply)).await
    }

    pub(super) async fn server_error() -> Finished {
        refresh_answered(Reply::json(500, &json!({"error": "server_error"}))).await
    }

    pub(super) async fn no_service_account() -> Finished {
        let (rig, tool) = fresh().await;
        let change = rig
            .procore
            .change_app(CredentialPair::Sandbox, demo_client(), |app| {
                app.service_account = None;
            });
        change.expect("registered");
        tool.use_service_account();
        tool.run(&["token"]).await.code_is(3);
        doctor(&tool).await
    }

    async fn host_answers(host: &str, fault: Fault) -> Finished {
        let (rig, tool, _) = signed_in().await;
        let host = Target::Host(host.to_owned());
        rig.procore.inject_times(20, &host, &fault);
        doctor(&tool).await
    }

    pub(super) async fn login_page() -> Finished {
        let portal = Fault::uncommitted(Reply::captive_portal());
        host_answers("login-sandbox.procore.com", portal).await
    }

    pub(super) async fn portal_before_api() -> Finished {
        let portal = Fault::uncommitted(Reply::captive_portal());
        host_answers("sandbox.procore.com", portal).await
    }

    pub(super) async fn redirected() -> Finished {
        let elsewhere = Fault::uncommitted(Reply::redirect(302, "https://gateway.example/"));
        host_answers("sandbox.procore.com", elsewhere).await
    }

    pub(super) async fn swallowed() -> Finished {
        let never = Gate::closed();
        host_answers("login-sandbox.procore.com", Fault::hold_before(&never)).await
    }

    pub(super) async fn revoked_access_token() -> Finished {
        let (rig, tool, pair) = signed_in().await;
        assert!(rig.procore.revoke_access_token(Sandbox, &pair.access_token));
        doctor(&tool).await
    }

    pub(super) async fn app_not_installed() -> Finished {
        let (rig, tool, _) = signed_in().await;
        let reply = Reply::json(401, &json!({"errors": "App is not installed"}));
        let me = Target::Path("/rest/v1.0/me".to_owned());
        rig.procore
            .inject_times(20, &me, &Fault::uncommitted(reply));
        doctor(&tool).await
    }

    pub(super) async fn app_disconnected() -> Finished {
        let (rig, tool, _) = signed_in().await;
        let cut = rig.procore.disconnect_company(
            CredentialPair::Sandbox,
            demo_client(),
            Options::DEMO_COMPANY,
        );
        cut.expect("registered");
        doctor(&tool).await
    }

    /// The app is connected to a company that the user is not in.
    pub(super) async fn forbidden() -> Finished {
        let (rig, tool, _) = signed_in().await;
        let connected = rig
            .procore
            .connect_company(CredentialPair::Sandbox, demo_client(), 7777);
        connected.expect("registered");
        company(&tool, "company_id = 7777\n");
        doctor(&tool).await
    }

    pub(super) async fn company_missing() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        company(&tool, "");
        doctor(&tool).await
    }

    fn company(tool: &Tool, line: &str) {
        tool.reconfigure(&format!("company_id = {}\n", Options::DEMO_COMPANY), line);
    }

    pub(super) async fn no_project() -> Finished {
        let (rig, tool) = fresh().await;
        let change = rig
            .procore
            .change_app(CredentialPair::Sandbox, demo_client(), |app| {
                let account = app.service_account.get_or_insert_default();
                account.permitted_projects = Some(std::iter::empty().collect());
            });
        change.expect("registered");
        tool.use_service_account();
        tool.run(&["login"]).await.code_is(0);
        doctor(&tool).await
    }

    /// The beginning of the check is answered as usual, and what it asks of the company like this.
    async fn company_answered(reply: Reply) -> Finished {
        let (rig, tool, _) = signed_in().await;
        let projects = Target::Path("/rest/v1.0/projects".to_owned());
        rig.procore.inject(projects, Fault::uncommitted(reply));
        doctor(&tool).await
    }

    pub(super) async fn not_found() -> Finished {
        company_answered(Reply::json(404, &json!({"errors": "not found"}))).await
    }

    pub(super) async fn company_unnamed() -> Finished {
        let words = json!({"errors": "Missing Procore-Company-Id header!"});
        company_answered(Reply::json(400, &words)).await
    }

    async fn api_answering(status: u16) -> Finished {
        let (rig, tool, _) = signed_in().await;
        api_answers(&rig, &Reply::gateway_error(status));
        doctor(&tool).await
    }

    pub(super) async fn rate_limited() -> Finished {
        let (rig, tool, _) = signed_in().await;
        api_answers(&rig, &Reply::json(429, &json!({"errors": "Rate limit"})));
        doctor(&tool).await
    }

    pub(super) async fn api_down() -> Finished {
        api_answering(503).await
    }

    pub(super) async fn api_fails() -> Finished {
        api_answering(500).await
    }

    pub(super) async fn api_slow() -> Finished {
        api_answering(408).await
    }

    pub(super) async fn bad_gateway() -> Finished {
        api_answering(502).await
    }

    pub(super) async fn gateway_timeout() -> Finished {
        api_answering(504).await
    }

    pub(super) async fn connection_refused() -> Finished {
        let (rig, tool, _) = signed_in().await;
        let own = rig.procore.connect_to();
        let (from, to) = own
            .iter()
            .find(|(from, _)| from.starts_with("login-sandbox.procore.com"))
            .expect("a login host");
        let closed = format!("{from}=127.0.0.1:{}", free_port());
        tool.reconfigure(&format!("{from}={to}"), &closed);
        doctor(&tool).await
    }

    pub(super) async fn unknown_authority() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        tool.reconfigure("extra_ca = \"ca.pem\"\n", "");
        doctor(&tool).await
    }

    /// Names are looked up in files alone, and none of Procore's is there.
    #[cfg(target_os = "linux")]
    pub(super) async fn unresolvable() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        direct(&tool);
        let files_alone = tool.write("nsswitch.conf", "hosts: files\n");
        let mounted = std::process::Command::new("mount")
            .args(["--bind", &files_alone, "/etc/nsswitch.conf"])
            .status();
        assert!(mounted.expect("mount").success());
        doctor(&tool).await
    }

    /// Takes away what leads to the fake.
    fn direct(tool: &Tool) {
        let path = tool.path("config.toml");
        let text = std::fs::read_to_string(&path).expect("configured");
        let lines = text.lines().filter(|line| !line.starts_with("connect_to"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(path, text).expect("written");
    }

    pub(super) async fn proxy_down() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        direct(&tool);
        let proxy = format!("http://127.0.0.1:{}", free_port());
        let tool = tool.with("HTTPS_PROXY", &proxy);
        doctor(&tool).await
    }

    pub(super) async fn clock_behind() -> Finished {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now");
        let ahead = now + Duration::from_secs(20 * 60);
        let clock = VirtualClock::at(u64::try_from(ahead.as_millis()).expect("in range"));
        let options = Options {
            time: clock.time_source(),
            ..Options::demo()
        };
        let rig = Rig::with(options, VirtualClock::at(0)).await;
        let tool = Tool::on_fake(PROGRAM, &rig);
        doctor(&tool).await
    }

    pub(super) async fn missing_variable() -> Finished {
        let (_rig, tool) = fresh().await;
        tool.reconfigure("PROCORE_CLIENT_SECRET", "NOT_SET");
        doctor(&tool).await
    }

    pub(super) async fn open_secret() -> Finished {
        let (_rig, tool) = fresh().await;
        tool.write("client.secret", "secret\n");
        set_mode(&tool.path("client.secret"), 0o644);
        let variable = "client_secret = { env = \"PROCORE_CLIENT_SECRET\" }";
        tool.reconfigure(variable, "client_secret = { file = \"client.secret\" }");
        doctor(&tool).await
    }

    pub(super) async fn broken_file() -> Finished {
        let (_rig, tool) = fresh().await;
        tool.reconfigure("environment = \"sandbox\"", "environment = \"staging\"");
        doctor(&tool).await
    }

    pub(super) async fn none_named() -> Finished {
        let (_rig, tool) = fresh().await;
        second_connection(&tool);
        doctor(&tool).await
    }

    pub(super) async fn no_file() -> Finished {
        let (_rig, tool) = fresh().await;
        let tool = tool.with("PROCORE_AUTH_CONFIG", "");
        doctor(&tool).await
    }

    pub(super) async fn open_store() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        set_mode(&tool.path("state/acme"), 0o755);
        doctor(&tool).await
    }

    pub(super) async fn copied_store() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([tool.path("state"), tool.path("elsewhere")])
            .status();
        assert!(copied.expect("cp").success());
        tool.reconfigure("state = \"state\"", "state = \"elsewhere\"");
        doctor(&tool).await
    }

    fn store(tool: &Tool) -> FileStore {
        let name = "acme".parse().expect("a name");
        FileStore::open(&tool.path("state"), &name).expect("a store")
    }

    pub(super) async fn lock_held() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        let held = store(&tool).lock(Duration::ZERO).await.expect("works");
        assert!(held.is_some(), "it was free");
        doctor(&tool).await
    }

    pub(super) async fn key_missing() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        let generate = ["key", "generate", "--file", "store.key"];
        tool.run(&generate).await.code_is(0);
        let table = "[encryption]\nkey = { file = \"store.key\" }\n\n[network]";
        tool.reconfigure("[network]", table);
        tool.run(&["store", "encrypt"]).await.code_is(0);
        tool.reconfigure(table, "[network]");
        doctor(&tool).await
    }

    pub(super) async fn undecided() -> Finished {
        let (rig, tool, _) = signed_in().await;
        rig.procore
            .inject(Target::Api, Fault::committed(Answer::Close));
        let body = r#"{"project":{"name":"perhaps"}}"#;
        let call = ["call", "/rest/v1.0/projects", "-d", body, "--park"];
        tool.run(&call).await.code_is(8);
        doctor(&tool).await
    }

    pub(super) async fn two_writers() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        let store = store(&tool);
        let key = Key::new("session-conflict-0011223344556677").expect("a key");
        store.put(&key, b"{}", None).await.expect("written");
        doctor(&tool).await
    }

    pub(super) async fn keeper_gone() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        tool.run(&["tick"]).await;
        let path = tool.path("state/.keeper/tick.json");
        let text = std::fs::read_to_string(&path).expect("a sign of life");
        let mut beat: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for moment in ["at", "next_by"] {
            beat[moment] = json!(beat[moment].as_u64().expect("a moment") - 86_400_000);
        }
        std::fs::write(&path, beat.to_string()).expect("written");
        doctor(&tool).await
    }

    pub(super) async fn sink_down() -> Finished {
        let (_rig, tool, _) = signed_in().await;
        let url = format!("http://127.0.0.1:{}/hook", free_port());
        tool.write("ops.url", &url);
        tool.reconfigure(
            "[network]",
            "[alerts.ops]\nwebhook = { file = \"ops.url\" }\n\n[network]",
        );
        // A keeper that is missed is told, and cannot be delivered.
        keep_missing(&tool).await;
        tool.run(&["token"]).await.code_is(0);
        std::fs::remove_dir_all(tool.path("state/.keeper")).expect("removed");
        doctor(&tool).await
    }

    async fn keep_missing(tool: &Tool) {
        let beat = json!({"kind": "tick", "who": "host/1", "at": 1, "next_by": 2});
        std::fs::create_dir_all(tool.path("state/.keeper")).expect("a folder");
        set_mode(&tool.path("state/.keeper"), 0o700);
        tool.write("state/.keeper/tick.json", &beat.to_string());
    }
}
