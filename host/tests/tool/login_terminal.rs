//! Signing in at a terminal without a browser: the link, the QR code, the time that is left, and the prompt.

use procore_auth_tests::tool::{OUT_OF_BAND, set_mode};
use procore_auth_tests::{Rig, Tool};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::watch::Terminal;
use crate::{PROGRAM, rig};

const ROWS: u16 = 50;

/// Logs would be drawn over the screen.
async fn quiet() -> (Rig, Tool) {
    let rig = rig().await;
    let tool = Tool::on_fake(PROGRAM, &rig).with("PROCORE_AUTH_LOG", "off");
    (rig, tool)
}

/// The link on the screen, where it is wrapped.
fn link(screen: &str) -> Option<String> {
    let (_, rest) = screen.split_once("  https://")?;
    let lines = rest.lines().take_while(|line| !line.trim().is_empty());
    let text: String = lines.map(str::trim_end).collect();
    text.contains("state=").then(|| format!("https://{text}"))
}

fn last_row(terminal: &Terminal) -> String {
    let screen = terminal.screen.screen();
    let (rows, columns) = screen.size();
    screen
        .rows(0, columns)
        .nth(usize::from(rows) - 1)
        .expect("a row")
}

#[tokio::test]
async fn s53_the_time_left_is_redrawn_below_what_is_typed() {
    let (rig, tool) = quiet().await;
    let mut terminal = Terminal::open(&tool, &["login", "--paste", "--no-qr"], (ROWS, 80), |c| c);
    let screen = terminal
        .shows(|screen| screen.contains("left to sign in"))
        .await;
    assert!(screen.contains("Paste the address"), "{screen}");
    assert!(last_row(&terminal).starts_with("9 min "), "{screen}");

    // Longer than a row, and without its end: it stays on the screen as typed while the time goes on.
    let callback = rig.browse(&link(&screen).expect("a link")).await;
    let (typed, rest) = callback.split_at(callback.len() - 10);
    terminal
        .pty
        .write_all(typed.as_bytes())
        .await
        .expect("typed");
    let before = last_row(&terminal);
    let shown = |screen: &str| screen.replace('\n', "").contains(typed);
    terminal.shows(shown).await;
    loop {
        let screen = terminal
            .shows(|screen| !screen.contains(before.trim_end()))
            .await;
        if last_row(&terminal).contains("left to sign in") {
            assert!(shown(&screen), "{screen}");
            break;
        }
    }
    terminal
        .pty
        .write_all(format!("{rest}\r").as_bytes())
        .await
        .expect("typed");
    assert_eq!(terminal.end().await, Some(0));
    let screen = terminal.screen.screen().contents();
    assert!(
        screen.contains("signed in to sandbox as Demo User"),
        "{screen}"
    );
    assert!(
        !screen.contains("left to sign in"),
        "the row is given back\n{screen}"
    );
}

#[tokio::test]
async fn s53_a_phone_gets_a_qr_code_where_it_fits() {
    let (_rig, tool) = quiet().await;
    for (rows, arguments, drawn, word) in [
        (ROWS, &["login", "--paste"][..], true, "Paste"),
        (
            24,
            &["login", "--paste"],
            false,
            "No QR code of the link: it needs a terminal of",
        ),
        (ROWS, &["login", "--paste", "--no-qr"], false, "Paste"),
    ] {
        let mut terminal = Terminal::open(&tool, arguments, (rows, 80), |c| c);
        let screen = terminal
            .shows(|screen| screen.contains(word) && screen.contains("Paste"))
            .await;
        assert_eq!(screen.contains('▀'), drawn, "{screen}");
        terminal.pty.write_all(b"\x03").await.expect("typed");
        assert_eq!(terminal.end().await, Some(130));
    }
}

#[tokio::test]
async fn s53_over_ssh_the_ways_to_a_browser_are_told() {
    let (_rig, tool) = quiet().await;
    let tool = tool
        .with("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.10 22")
        .with("USER", "ada");
    let port = tool.port();
    let mut login = tool.start(&["login", "--no-browser"]);
    login
        .says(&format!("ssh -N -L {port}:localhost:{port} ada@192.0.2.10"))
        .await;
    login.says("urn:ietf:wg:oauth:2.0:oob").await;
    login.signal("INT").await;
    login.end().await.code_is(130);
}

#[tokio::test]
async fn s53_a_qr_code_is_printed_where_it_is_asked_for() {
    let (_rig, tool) = quiet().await;
    let begun = tool.run(&["login", "--begin", "--qr"]).await;
    begun.code_is(0).says("▀");
    assert!(
        !begun.out.contains('▀'),
        "standard output is the link alone"
    );
}

/// A browser that tells the test when it is opened.
async fn browser(tool: Tool) -> (Tool, TcpListener) {
    let opened = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = opened.local_addr().expect("bound").port();
    let script = format!("#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\n");
    let path = tool.write("browser", &script);
    set_mode(&tool.path("browser"), 0o700);
    let tool = tool.with("DISPLAY", ":0").with("BROWSER", &path);
    (tool, opened)
}

async fn is_opened(opened: &TcpListener) {
    let opened = tokio::time::timeout(std::time::Duration::from_secs(60), opened.accept());
    opened.await.expect("in time").expect("it is opened");
}

#[tokio::test]
async fn s52_no_browser_is_sent_to_a_port_that_another_program_holds() {
    let (_rig, tool) = quiet().await;
    let (tool, opened) = browser(tool).await;
    let other = std::net::TcpListener::bind(("127.0.0.1", tool.port())).expect("free");
    let login = ["login", "--no-qr"];
    let mut terminal = Terminal::open(&tool, &login, (ROWS, 80), |c| c);
    let screen = terminal.shows(|screen| screen.contains("ends on: ")).await;
    for text in ["callback-port-busy", "No browser is opened here"] {
        assert!(screen.contains(text), "{screen}");
    }
    assert!(!screen.contains("A browser opens"), "{screen}");
    terminal.pty.write_all(b"\x03").await.expect("Ctrl-C");
    assert_eq!(terminal.end().await, Some(130));

    // Only who asks for it by name gets it.
    let login = ["login", "--no-qr", "--browser"];
    let mut terminal = Terminal::open(&tool, &login, (ROWS, 80), |c| c);
    terminal.shows(|screen| screen.contains("ends on: ")).await;
    is_opened(&opened).await;
    terminal.pty.write_all(b"\x03").await.expect("Ctrl-C");
    assert_eq!(terminal.end().await, Some(130));

    // Where we listen ourselves, it opens by itself.
    drop(other);
    let login = ["login", "--no-qr"];
    let mut terminal = Terminal::open(&tool, &login, (ROWS, 80), |c| c);
    let screen = terminal.shows(|screen| screen.contains("ends on: ")).await;
    assert!(screen.contains("A browser opens"), "{screen}");
    is_opened(&opened).await;
    terminal.pty.write_all(b"\x03").await.expect("Ctrl-C");
    assert_eq!(terminal.end().await, Some(130));
}

/// Procore shows a code for the out-of-band redirect URI alone.
#[tokio::test]
async fn what_is_to_be_pasted_is_what_the_browser_shows() {
    let (_rig, tool) = quiet().await;
    let localhost = format!("http://localhost:{}/callback", tool.port());
    tool.reconfigure(&localhost, OUT_OF_BAND);
    let mut terminal = Terminal::open(&tool, &["login", "--no-qr"], (ROWS, 80), |c| c);
    let shown = |screen: &str| screen.contains("Paste the code that Procore shows: ");
    terminal.shows(shown).await;
    terminal.pty.write_all(b"\x03").await.expect("Ctrl-C");
    assert_eq!(terminal.end().await, Some(130));
}
