//! Signing in: through the callback server, by pasting, and without a terminal.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use fake_procore::{Consent, Fault, OUT_OF_BAND, Options, Reply, Target};
use procore_auth_tests::tool::{look_at, visit, visit_with};
use procore_auth_tests::{Rig, Tool};
use url::Url;

use crate::{PROGRAM, arrived, fresh, rig};

/// The state of a socket that listens, as Linux writes it.
const LISTENING: &str = "0A";

/// 127.0.0.1 and ::1, as Linux writes them.
const LOCALHOST: [&str; 2] = ["0100007F", "00000000000000000000000001000000"];

/// Signs the person in and returns the code that Procore shows.
async fn code_shown(rig: &Rig, link: &str) -> String {
    let page = rig.browse(link).await;
    let (_, code) = page.split_once("code=").expect("a code");
    code.to_owned()
}

/// The tool with a redirect URI that has Procore show the code.
async fn out_of_band() -> (Rig, Tool) {
    let rig = rig().await;
    let tool = Tool::on_fake(PROGRAM, &rig);
    let localhost = format!("http://localhost:{}/callback", tool.port());
    tool.reconfigure(&localhost, OUT_OF_BAND);
    (rig, tool)
}

fn with(url: &str, name: &str, value: &str) -> String {
    let mut url = Url::parse(url).expect("a URL");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let pairs = pairs.into_iter().map(|(key, old)| {
        let new = if key == name { value.to_owned() } else { old };
        (key, new)
    });
    let pairs: Vec<_> = pairs.collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.into()
}

#[tokio::test]
async fn a_browser_signs_in_and_sees_who_as() {
    let (rig, tool) = fresh().await;
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = rig.browse(&login.link().await).await;
    let (status, page) = visit(&callback).await;
    assert_eq!(status, 200);
    for text in ["Signed in to Procore", "acme", "sandbox", "Demo User"] {
        assert!(page.contains(text), "{page}");
    }
    login
        .end()
        .await
        .code_is(0)
        .says("acme: signed in to sandbox as Demo User, demo@example.com");
    tool.run(&["status"]).await.code_is(0).says("healthy");
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s52_only_the_answer_to_this_sign_in_ends_the_wait() {
    let (rig, tool) = fresh().await;
    let origin = format!("http://localhost:{}", tool.port());
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = rig.browse(&login.link().await).await;

    assert_eq!(visit(&format!("{origin}/favicon.ico")).await.0, 404);
    assert_eq!(visit(&format!("{origin}/callback")).await.0, 400);
    let foreign = visit_with(&callback, &[("host", "evil.example")]).await;
    assert_eq!(foreign.0, 421);
    assert_eq!(
        visit(&format!("{origin}/callback?code=x")).await.0,
        400,
        "no state"
    );
    let (status, page) = visit(&with(&callback, "state", "another")).await;
    assert_eq!(status, 400);
    assert!(page.contains("did not work"), "{page}");
    assert!(
        page.contains("Use the newest link; the terminal still waits"),
        "{page}"
    );
    assert!(!page.contains("again"), "{page}");
    let image = visit_with(&callback, &[("sec-fetch-dest", "image")]).await;
    assert_eq!(image.0, 403, "a page elsewhere shows it as a picture");
    let denied = format!("{origin}/callback?error=access_denied&state=another");
    assert_eq!(
        visit(&denied).await.0,
        400,
        "no page elsewhere can end a sign-in"
    );
    assert!(login.is_running());
    assert_eq!(rig.procore.token_posts(), 0, "no code was tried");

    assert_eq!(visit(&callback).await.0, 200);
    let finished = login.end().await;
    finished
        .code_is(0)
        .says("The browser brought 2 more that did not belong to this sign-in.");
    let told = finished.err.matches("Still waiting for the right answer.");
    assert_eq!(told.count(), 1, "{finished}");
}

#[tokio::test]
async fn the_link_of_a_sign_in_that_was_given_up_can_still_be_finished() {
    let (rig, tool) = fresh().await;
    let mut login = tool.start(&["login", "--no-browser"]);
    let link = login.link().await;
    login.signal("INT").await;
    login.end().await.code_is(130);
    let callback = rig.browse(&link).await;
    let finish = ["login", "--finish"];
    let finished = tool.run_with_input(&finish, &format!("{callback}\n")).await;
    finished.code_is(0);
}

#[tokio::test]
async fn s52_a_code_that_is_submitted_twice_is_exchanged_once() {
    let (rig, tool) = fresh().await;
    let gate = crate::hold_next_refresh(&rig.procore, fake_procore::Fault::hold_after);
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = rig.browse(&login.link().await).await;
    let first = tokio::spawn({
        let callback = callback.clone();
        async move { visit(&callback).await }
    });
    arrived(&gate).await;
    let waiting = look_at(&callback, &[]).await;
    assert_eq!(waiting.headers()["refresh"], "1");
    let place = waiting.url().clone();
    assert_eq!(place.query(), None, "the address holds no code");
    let page = waiting.text().await.expect("a page");
    assert!(page.contains("<h1>Signing in</h1>"), "{page}");
    let (status, other) = {
        let other = look_at(&with(&callback, "state", "another"), &[]).await;
        (other.status(), other.text().await.expect("a page"))
    };
    assert_eq!(status, 200);
    assert!(other.contains("<h1>Signing in</h1>"), "{other}");

    gate.open();
    assert!(first.await.expect("shown").1.contains("Signed in"));
    for address in [place.as_str(), &callback] {
        let (status, page) = visit(address).await;
        assert_eq!(status, 200);
        assert!(page.contains("Demo User"), "{page}");
    }
    let (_, other) = visit(&with(&callback, "state", "another")).await;
    assert!(other.contains("Already finished"), "{other}");
    assert!(
        !other.contains("Demo User"),
        "who signed in is told to nobody else"
    );
    login.end().await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s52_the_answer_may_come_by_ipv6() {
    if let Err(error) = std::net::TcpListener::bind("[::1]:0") {
        eprintln!("skipped: no IPv6 here: {error}");
        return;
    }
    let (rig, tool) = fresh().await;
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = rig.browse(&login.link().await).await;
    let host = format!("localhost:{}", tool.port());
    let callback = callback.replace("//localhost:", "//[::1]:");
    let (status, _) = visit_with(&callback, &[("host", &host)]).await;
    assert_eq!(status, 200);
    login.end().await.code_is(0);
}

#[tokio::test]
async fn s52_nobody_but_this_machine_reaches_the_callback_server() {
    let (_rig, tool) = fresh().await;
    let mut login = tool.start(&["login", "--no-browser"]);
    login.link().await;
    let listening = std::process::Command::new("cat")
        .args(["/proc/net/tcp", "/proc/net/tcp6"])
        .output()
        .expect("Linux");
    let listening = String::from_utf8_lossy(&listening.stdout).into_owned();
    let port = format!("{:04X}", tool.port());
    let own: Vec<&str> = listening
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (address, own_port) = words.nth(1)?.split_once(':')?;
            let state = words.nth(1)?;
            (own_port == port && state == LISTENING).then_some(address)
        })
        .collect();
    assert!(own.contains(&LOCALHOST[0]), "it listens: {own:?}");
    for address in own {
        assert!(LOCALHOST.contains(&address), "{address}");
    }
    login.signal("INT").await;
    login.end().await.code_is(130);
}

#[tokio::test]
async fn s52_a_busy_port_is_named_with_the_way_around_it() {
    let (_rig, tool) = fresh().await;
    let _other = std::net::TcpListener::bind(("127.0.0.1", tool.port())).expect("free");
    let refused = tool.run(&["login", "--no-browser"]).await;
    refused
        .code_is(1)
        .says("callback-port-busy")
        .says("--paste");
    refused.says(&tool.port().to_string());
}

#[tokio::test]
async fn s52_a_person_who_says_no_is_believed() {
    let (rig, tool) = fresh().await;
    rig.procore
        .set_policy(|policy| policy.consent = Consent::Denied);
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = rig.browse(&login.link().await).await;
    assert_eq!(visit(&callback).await.0, 400);
    login.end().await.code_is(1).says("access_denied");
}

#[tokio::test]
async fn s53_a_code_from_a_phone_is_pasted() {
    let (rig, tool) = out_of_band().await;
    let mut login = tool.start(&["login", "--paste"]);
    login.says("within 10 min").await;
    let code = code_shown(&rig, &login.link().await).await;
    login.write(&format!("{code}\n")).await;
    login.end().await.code_is(0).says("signed in to sandbox");

    let mut again = tool.start(&["login", "--code-from", "-"]);
    again.link().await;
    again.write(&format!("{code}\n")).await;
    again
        .end()
        .await
        .code_is(1)
        .says("This code was used already.");
    tool.run(&["status"]).await.code_is(0);
}

#[tokio::test]
async fn s53_the_address_that_the_browser_ended_on_is_pasted() {
    let (rig, tool) = fresh().await;
    let mut login = tool.start(&["login", "--paste"]);
    let callback = rig.browse(&login.link().await).await;
    login
        .write("http://localhost/callback?code=x&state=another\n")
        .await;
    login.says("Still waiting").await;
    login.write(&format!("{callback}\n")).await;
    login.end().await.code_is(0);
}

#[tokio::test]
async fn a_sign_in_is_begun_in_one_process_and_finished_in_another() {
    let (rig, tool) = out_of_band().await;
    let begun = tool.run(&["login", "--begin"]).await;
    let link = begun.code_is(0).out.trim().to_owned();
    begun.says("login --finish");
    let code = code_shown(&rig, &link).await;
    tool.run_with_input(&["login", "--finish"], &format!("{code}\n"))
        .await
        .code_is(0);
    tool.run(&["token"]).await.code_is(0);
}

#[tokio::test]
async fn nothing_waits_for_a_person_where_there_is_none() {
    let (rig, tool) = fresh().await;
    tool.run(&["login"])
        .await
        .code_is(4)
        .says("no-terminal")
        .says("--begin");
    tool.run(&["login", "--paste"])
        .await
        .code_is(1)
        .says("no-answer");
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn a_program_follows_a_sign_in_by_json() {
    let (rig, tool) = fresh().await;
    let mut login = tool.start(&["login", "--no-browser", "--json"]);
    let callback = rig.browse(&login.link().await).await;
    assert_eq!(visit(&callback).await.0, 200);
    let document = login.end().await.code_is(0).json();
    assert_eq!(document["event"], "signed-in");
    assert_eq!(document["identity"]["login"], "demo@example.com");
    let company = format!("Company {}", Options::DEMO_COMPANY);
    assert_eq!(document["company"]["id"], Options::DEMO_COMPANY);
    assert_eq!(document["company"]["name"], company.as_str());
}

#[tokio::test]
async fn a_company_whose_name_is_not_told_is_named_by_its_id() {
    let (rig, tool) = fresh().await;
    let companies = || Target::Path("/rest/v1.0/companies".to_owned());
    for _ in 0..5 {
        let down = Reply::json(503, &serde_json::json!({}));
        rig.procore.inject(companies(), Fault::uncommitted(down));
    }
    let mut login = tool.start(&["login", "--no-browser"]);
    let callback = rig.browse(&login.link().await).await;
    let (status, page) = visit(&callback).await;
    let company = format!("company {}", Options::DEMO_COMPANY);
    assert_eq!(status, 200);
    assert!(page.contains(&company), "{page}");
    let finished = login.end().await;
    finished.code_is(0).says(&format!(", for {company}."));
}

#[tokio::test]
async fn a_service_account_signs_in_by_itself() {
    let (rig, tool) = fresh().await;
    tool.use_service_account();
    tool.run(&["login"])
        .await
        .code_is(0)
        .says("signed in to sandbox");
    tool.run(&["tick", "--next-visit", "120m"]).await.code_is(0);
    assert_eq!(rig.procore.token_posts(), 2);
}

#[tokio::test]
async fn an_unregistered_redirect_uri_shows_its_mistake_before_any_wait() {
    let (_rig, tool) = fresh().await;
    tool.reconfigure("http://localhost:", "http://127.0.0.1:");
    let refused = tool.run(&["login", "--no-browser"]).await;
    refused
        .code_is(3)
        .says("config.toml:")
        .says("http://localhost:")
        .says("^^^");
}

#[tokio::test]
async fn a_service_account_has_nothing_to_begin() {
    let (rig, tool) = fresh().await;
    tool.use_service_account();
    let refused = tool.run(&["login", "--begin"]).await;
    refused.code_is(1).says("nothing-to-begin");
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn a_file_without_an_answer_is_named_before_any_link() {
    let (_rig, tool) = fresh().await;
    for finish in [&[][..], &["--finish"]] {
        let login = [&["login", "--code-from", "/nonexistent"][..], finish].concat();
        let refused = tool.run(&login).await;
        refused.code_is(1).says("Cannot read /nonexistent");
    }
}
