//! The callback server by raw requests, as browsers and others send them.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{CallbackServer, Failure, Page};

const ANSWER: &str = "GET /callback?code=abc&state=xyz HTTP/1.1\r\nHost: localhost:1\r\n\r\n";

async fn start() -> CallbackServer {
    CallbackServer::start("http://localhost:1/callback", 0, "/callback")
        .await
        .expect("a free port")
}

/// Sends a raw request, and reads to the end of the connection. Goes where it is sent, as a browser does.
fn ask(address: SocketAddr, request: &str) -> JoinHandle<String> {
    let request = request.to_owned();
    tokio::spawn(async move {
        let reply = exchange(address, &request).await;
        match place(&reply) {
            Some(place) => exchange(address, &get(&place)).await,
            None => reply,
        }
    })
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    reply
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
}

/// Where a 303 sends the browser.
fn place(reply: &str) -> Option<String> {
    let head = reply.strip_prefix("HTTP/1.1 303 ")?;
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    Some(line.expect("a place").to_owned())
}

async fn status_of(address: SocketAddr, request: &str) -> String {
    let reply = ask(address, request).await.expect("a reply");
    reply.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_answer_is_handed_over_and_the_outcome_is_shown() {
    let mut server = start().await;
    let browser = ask(server.address(), ANSWER);
    let callback = server.next().await.expect("an answer");
    assert_eq!(
        callback.url.expose(),
        "http://localhost:1/callback?code=abc&state=xyz"
    );
    callback.finish(Page::good("Signed in", "as somebody"));
    let reply = browser.await.expect("a reply");
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.contains("Signed in"),
        "{reply}"
    );
    let head = reply.to_ascii_lowercase();
    for header in [
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
    ] {
        assert!(head.contains(header), "{reply}");
    }
    assert!(!reply.contains("abc"), "the code is not shown");
}

#[tokio::test]
async fn it_listens_on_both_loopback_addresses() {
    let mut server = start().await;
    let port = server.address().port();
    let v6 = tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await;
    if let Err(error) = v6 {
        eprintln!("skipped: no IPv6 here: {error}");
        return;
    }
    let browser = ask((Ipv6Addr::LOCALHOST, port).into(), ANSWER);
    let callback = server.next().await.expect("an answer");
    callback.finish(Page::good("Signed in", ""));
    assert!(browser.await.expect("a reply").contains("Signed in"));
}

#[tokio::test]
async fn what_is_no_answer_does_not_end_the_wait() {
    let mut server = start().await;
    let address = server.address();
    for (request, status) in [
        (
            "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "404",
        ),
        ("GET /callback HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        (
            "GET /callback?state=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "400",
        ),
        (
            "GET /callback/?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "404",
        ),
        (
            "POST /callback?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "405",
        ),
        (
            "HEAD /callback?code=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "405",
        ),
        (
            "GET /callback?code=x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "421",
        ),
        (
            "GET /callback?code=x HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n",
            "421",
        ),
        (
            "GET /callback?code=x HTTP/1.1\r\nHost: localhost:x\r\n\r\n",
            "421",
        ),
        (
            "GET /callback?code=x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "421",
        ),
        ("GET /callback?code=x HTTP/1.0\r\n\r\n", "421"),
        (
            "GET /callback?code=x HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Dest: image\r\n\r\n",
            "403",
        ),
        (
            "GET /callback?code=x HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Dest: iframe\r\n\r\n",
            "403",
        ),
    ] {
        let line = status_of(address, request).await;
        assert!(line.contains(status), "{request:?}: {line}");
    }
    let gone_to = ANSWER.replacen("\r\n\r\n", "\r\nSec-Fetch-Dest: document\r\n\r\n", 1);
    let browser = ask(address, &gone_to);
    let callback = server.next().await.expect("an answer");
    callback.finish(Page::good("Signed in", ""));
    browser.await.expect("a reply");
}

#[tokio::test]
async fn the_outcome_is_shown_at_an_address_without_the_code_and_again_on_reload() {
    let mut server = start().await;
    let address = server.address();
    let sent = exchange(address, ANSWER).await;
    assert!(!sent.contains("abc"), "{sent}");
    let place = place(&sent).expect("a place");
    let callback = server.next().await.expect("an answer");
    let waiting = exchange(address, &get(&place)).await;
    assert!(waiting.contains("\r\nrefresh: 1\r\n"), "{waiting}");
    callback.finish(Page::good("Signed in", ""));
    for request in [get(&place), get(&place), ANSWER.to_owned()] {
        let reply = ask(address, &request).await.expect("a reply");
        assert!(reply.contains("Signed in"), "{reply}");
        assert!(!reply.contains("refresh: "), "{reply}");
    }
    let post = get(&place).replace("GET", "POST");
    assert!(status_of(address, &post).await.contains("405"));
}

#[tokio::test]
async fn another_answer_is_told_that_it_is_done() {
    let mut server = start().await;
    let other = ANSWER.replace("abc", "another");
    let first = ask(server.address(), ANSWER);
    let callback = server.next().await.expect("an answer");
    let reply = ask(server.address(), &other).await.expect("a reply");
    assert!(reply.contains("refresh: 1"), "{reply}");
    callback.finish(Page::good("Signed in", "as somebody"));
    first.await.expect("a reply");
    let reply = ask(server.address(), &other).await.expect("a reply");
    assert!(reply.contains("Already finished"), "{reply}");
    assert!(!reply.contains("somebody"), "{reply}");
}

#[tokio::test]
async fn the_server_waits_for_a_browser_that_has_not_got_its_page() {
    let mut server = start().await;
    let sent = exchange(server.address(), ANSWER).await;
    let callback = server.next().await.expect("an answer");
    callback.finish(Page::good("Signed in", ""));
    let address = server.address();
    let lingering = tokio::spawn(async move {
        server.linger(Duration::from_secs(1)).await;
        server.stop().await;
    });
    let page = get(&place(&sent).expect("a place"));
    assert!(exchange(address, &page).await.contains("Signed in"));
    assert!(
        exchange(address, &page).await.contains("Signed in"),
        "reloaded"
    );
    lingering.await.expect("it ends by itself");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_rejected_answer_leaves_room_for_the_right_one() {
    let mut server = start().await;
    let wrong = ask(
        server.address(),
        "GET /callback?error=access_denied HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let callback = server.next().await.expect("an answer");
    callback.reject(Page::bad(
        axum::http::StatusCode::BAD_REQUEST,
        "Wrong state",
        "",
    ));
    assert!(wrong.await.expect("a reply").contains("Wrong state"));
    let right = ask(server.address(), ANSWER);
    let callback = server.next().await.expect("an answer");
    callback.finish(Page::good("Signed in", ""));
    assert!(right.await.expect("a reply").contains("Signed in"));
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_drops_an_answer_does_not_hang_the_browser() {
    let mut server = start().await;
    let browser = ask(server.address(), ANSWER);
    drop(server.next().await.expect("an answer"));
    assert!(browser.await.expect("a reply").contains("not finished"));
}

#[tokio::test]
async fn a_busy_port_is_named_with_the_way_to_see_who_has_it() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("bound").port();
    let Err(Failure::Explained(explained)) =
        CallbackServer::start("http://localhost:1/callback", port, "/callback").await
    else {
        panic!("the port is taken");
    };
    assert!(explained.summary.contains(&port.to_string()));
    assert!(explained.remedy.contains("--paste"), "{explained:?}");
}
