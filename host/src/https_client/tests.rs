use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use super::{HttpsClient, HttpsClientBuilder, HttpsClientError};
use crate::{HttpClient, HttpFailure, RequestLimits};

const LIMITS: RequestLimits = RequestLimits {
    timeout: Duration::from_secs(60),
    reply_size: 1000,
};

/// What a server does with a request.
#[derive(Clone)]
enum Answer {
    Bytes(&'static str),
    /// These bytes, and the end of the connection.
    Last(&'static str),
    /// These bytes, and then the others again and again, as fast as the client takes them.
    Endless(&'static str, &'static str),
    /// These bytes, and then the others again and again, one every 20 ms.
    Drip(&'static str, &'static str),
    /// Nothing, for ever.
    Silence,
}

const OK: Answer = Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

/// Answers the n-th request with the n-th answer, and any further one with the last.
struct Server {
    address: SocketAddr,
    /// Every request with the number of the connection on which it came.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    async fn start(answers: Vec<Answer>, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bound");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                for connection in 0.. {
                    let (stream, _) = listener.accept().await.expect("accepted");
                    let (seen, answers, tls) = (Arc::clone(&seen), answers.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => answer(stream, connection, &seen, &answers).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    answer(stream, connection, &seen, &answers).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        Self { address, seen }
    }

    async fn plain(answers: Vec<Answer>) -> (Self, HttpsClient) {
        let server = Self::start(answers, None).await;
        let client = server.plain_client(HttpsClient::builder());
        (server, client)
    }

    fn plain_client(&self, builder: HttpsClientBuilder) -> HttpsClient {
        let connect_to = format!("login.procore.com:443=http://{}", self.address);
        builder
            .connect_to([connect_to.parse().expect("valid")])
            .build()
            .expect("a client")
    }

    fn seen(&self) -> Vec<(usize, String)> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    seen: &Mutex<Vec<(usize, String)>>,
    answers: &[Answer],
) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut seen = seen.lock().expect("not poisoned");
            seen.push((connection, request));
            seen.len() - 1
        };
        match answers.get(number).or(answers.last()) {
            Some(Answer::Bytes(bytes)) => {
                // The client may have hung up by now.
                let _ = stream.write_all(bytes.as_bytes()).await;
            }
            Some(Answer::Last(bytes)) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Some(Answer::Endless(first, again)) => {
                let _ = stream.write_all(first.as_bytes()).await;
                while stream.write_all(again.as_bytes()).await.is_ok() {}
                return;
            }
            Some(Answer::Drip(first, again)) => {
                let _ = stream.write_all(first.as_bytes()).await;
                let mut drops = tokio::time::interval(Duration::from_millis(20));
                while stream.write_all(again.as_bytes()).await.is_ok() {
                    drops.tick().await;
                }
                return;
            }
            Some(Answer::Silence) | None => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse().expect("a number"));
            if body.len() >= length {
                return Some(text);
            }
        }
        let mut bytes = [0; 1000];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => text += std::str::from_utf8(&bytes[..count]).expect("ASCII"),
        }
    }
}

fn request(method: &str, url: &str, body: &str) -> http::Request<Vec<u8>> {
    http::Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", "Bearer hush")
        .body(body.as_bytes().to_vec())
        .expect("valid")
}

fn post() -> http::Request<Vec<u8>> {
    request(
        "POST",
        "https://login.procore.com/oauth/token?hush=hush",
        "refresh_token=hush",
    )
}

fn get() -> http::Request<Vec<u8>> {
    request(
        "GET",
        "https://login.procore.com/rest/v1.0/me?hush=hush",
        "",
    )
}

/// The code and `sent`, after a look for secrets.
fn facts(outcome: Result<http::Response<Vec<u8>>, HttpFailure>) -> (&'static str, bool) {
    let failure = outcome.expect_err("a failure");
    for text in [failure.to_string(), format!("{failure:?}")] {
        assert!(!text.contains("hush"), "{text}");
        assert!(!text.contains("/oauth"), "{text}");
    }
    (failure.code, failure.sent)
}

#[tokio::test]
async fn plain_http_to_loopback_keeps_the_true_name() {
    let (server, client) = Server::plain(vec![OK]).await;
    let response = client.send(post(), LIMITS).await.expect("a reply");
    assert_eq!(
        (response.status().as_u16(), &**response.body()),
        (200, &b"ok"[..])
    );
    let [(_, seen)] = &server.seen()[..] else {
        panic!("one request");
    };
    let seen = seen.to_ascii_lowercase();
    assert!(
        seen.starts_with("post /oauth/token?hush=hush http/1.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("\r\nhost: login.procore.com\r\n"), "{seen}");
    assert!(
        seen.contains("\r\nauthorization: bearer hush\r\n"),
        "{seen}"
    );
    let agent = format!(
        "\r\nuser-agent: procore-auth/{}\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(seen.contains(&agent), "{seen}");
    assert!(seen.ends_with("\r\n\r\nrefresh_token=hush"), "{seen}");
    for absent in ["cookie", "referer", "accept-encoding", "origin"] {
        assert!(!seen.contains(absent), "{seen}");
    }
}

#[tokio::test]
async fn every_status_is_a_reply_and_redirects_are_not_followed() {
    let (server, client) = Server::plain(vec![
        Answer::Bytes("HTTP/1.1 302 Found\r\nlocation: https://login.procore.com/b\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"),
        Answer::Bytes("HTTP/1.1 503 Later\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
    ])
    .await;
    for status in [302, 503] {
        let response = client.send(get(), LIMITS).await.expect("a reply");
        assert_eq!(response.status(), status);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(!seen[1].1.to_ascii_lowercase().contains("cookie"));
}

#[tokio::test]
async fn posts_get_a_connection_of_their_own_and_gets_share_one() {
    let (server, client) = Server::plain(vec![OK]).await;
    for request in [post(), post(), get(), get(), get(), post()] {
        client.clone().send(request, LIMITS).await.expect("a reply");
    }
    let connections: Vec<_> = server.seen().iter().map(|(number, _)| *number).collect();
    assert_eq!(connections, [0, 1, 2, 2, 2, 3]);
}

#[tokio::test]
async fn a_connection_that_ends_without_a_reply_may_have_delivered_the_request() {
    for (first, request) in [(None, post()), (None, get()), (Some(OK), get())] {
        let reused = first.is_some();
        let (server, client) =
            Server::plain(first.into_iter().chain([Answer::Last(""), OK]).collect()).await;
        if reused {
            client.send(get(), LIMITS).await.expect("a reply");
        }
        let outcome = client.send(request, LIMITS).await;
        assert_eq!(facts(outcome), ("connection-closed", true));
        assert_eq!(
            server.seen().len(),
            1 + usize::from(reused),
            "nothing is resent"
        );
    }
}

#[tokio::test]
async fn a_cut_reply_is_no_reply() {
    let (_server, client) = Server::plain(vec![
        Answer::Last("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        Answer::Last("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        Answer::Last("HTTP/1.1 200 OK\r\ncontent-le"),
    ])
    .await;
    for _ in 0..3 {
        let outcome = client.send(post(), LIMITS).await;
        assert_eq!(facts(outcome), ("connection-closed", true));
    }
}

#[tokio::test]
async fn what_is_not_http_is_an_invalid_reply() {
    let (_server, client) = Server::plain(vec![
        Answer::Last("SSH-2.0-OpenSSH\r\n\r\n"),
        Answer::Last("HTTP/1.1 200 OK\r\ncontent-length: hush\r\n\r\n"),
        Answer::Last("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhush\r\n"),
    ])
    .await;
    for _ in 0..3 {
        let outcome = client.send(post(), LIMITS).await;
        assert_eq!(facts(outcome), ("invalid-reply", true));
    }
}

#[tokio::test]
async fn a_reply_is_read_as_far_as_permitted() {
    let (_server, client) = Server::plain(vec![
        Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour"),
        Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfives"),
        // Endless: only a limit that is enforced while reading ends it.
        Answer::Bytes(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n",
        ),
        Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n"),
    ])
    .await;
    let limits = RequestLimits {
        reply_size: 4,
        ..LIMITS
    };
    let response = client.send(post(), limits).await.expect("a reply");
    assert_eq!(response.body(), b"four");
    for _ in 0..3 {
        let outcome = client.send(post(), limits).await;
        assert_eq!(facts(outcome), ("reply-too-large", true));
    }
}

#[tokio::test]
async fn a_timeout_after_connecting_may_have_delivered_the_request() {
    let limits = RequestLimits {
        timeout: Duration::from_millis(300),
        ..LIMITS
    };
    for answer in [
        Answer::Silence,
        Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
    ] {
        for request in [post(), get()] {
            let (_server, client) = Server::plain(vec![answer.clone()]).await;
            let outcome = client.send(request, limits).await;
            assert_eq!(facts(outcome), ("timeout", true));
        }
    }
}

/// Every byte comes in time; the whole never does.
#[tokio::test]
async fn s63_a_reply_that_drips_ends_with_the_timeout() {
    let limits = RequestLimits {
        timeout: Duration::from_millis(300),
        ..LIMITS
    };
    for answer in [
        Answer::Drip("", "H"),
        Answer::Drip("HTTP/1.1 200 OK\r\n", "x"),
        Answer::Drip("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        Answer::Drip("", "HTTP/1.1 100 Continue\r\n\r\n"),
        Answer::Drip("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", "a"),
        Answer::Drip(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "1\r\na\r\n",
        ),
    ] {
        let (_server, client) = Server::plain(vec![answer]).await;
        let sent = tokio::time::timeout(Duration::from_secs(30), client.send(post(), limits));
        let (code, sent) = facts(sent.await.expect("the client's own timeout"));
        // What begins with `HH` is no HTTP.
        assert!(matches!(code, "timeout" | "invalid-reply"), "{code}");
        assert!(sent);
    }
}

/// Nothing of it is kept beyond what a reply's head may take.
#[tokio::test]
async fn s63_a_head_without_end_is_no_reply() {
    for answer in [
        Answer::Endless("HTTP/1.1 200 OK\r\nx: ", "aaaaaaaaaaaaaaaa"),
        Answer::Endless("HTTP/1.1 200 OK\r\n", "x: aaaaaaaaaaaa\r\n"),
        Answer::Endless("HTTP/1.1 200 ", "aaaaaaaaaaaaaaaa"),
    ] {
        let (_server, client) = Server::plain(vec![answer]).await;
        let outcome = client.send(post(), LIMITS).await;
        assert_eq!(facts(outcome), ("invalid-reply", true));
    }
}

/// A bomb is what it weighs: nothing unpacks it.
#[tokio::test]
async fn s63_a_compressed_reply_is_handed_on_as_it_is() {
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let packed = "\u{1f}packed";
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n{packed}",
            packed.len()
        );
        let (server, client) = Server::plain(vec![Answer::Bytes(reply.leak())]).await;
        let response = client.send(post(), LIMITS).await.expect("a reply");
        assert_eq!(response.body(), packed.as_bytes());
        assert_eq!(response.headers()["content-encoding"], encoding);
        let asked = server.seen()[0].1.to_ascii_lowercase();
        assert!(!asked.contains("accept-encoding"), "{asked}");
    }
}

/// A server that accepts connections and never answers the handshake.
#[tokio::test]
async fn a_timeout_while_connecting_has_sent_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bound");
    let address = listener.local_addr().expect("bound");
    let connect_to = format!("login.procore.com:443={address}")
        .parse()
        .expect("valid");
    let builder = HttpsClient::builder().connect_to([connect_to]);
    let short = Duration::from_millis(100);

    let limits = RequestLimits {
        timeout: short,
        ..LIMITS
    };
    let client = builder.clone().build().expect("a client");
    assert_eq!(facts(client.send(post(), limits).await), ("timeout", false));

    let client = builder.connect_timeout(short).build().expect("a client");
    for request in [post(), get()] {
        assert_eq!(
            facts(client.send(request, LIMITS).await),
            ("timeout", false)
        );
    }
}

#[tokio::test]
async fn a_refused_connection_has_sent_nothing() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bound");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    for target in [format!("http://{address}"), address.to_string()] {
        let connect_to = format!("login.procore.com:443={target}");
        let client = HttpsClient::builder()
            .connect_to([connect_to.parse().expect("valid")])
            .build()
            .expect("a client");
        for request in [post(), get()] {
            assert_eq!(
                facts(client.send(request, LIMITS).await),
                ("connect", false)
            );
        }
    }
}

/// `.invalid` is in no name server (RFC 6761, section 6.4).
#[tokio::test]
async fn an_unknown_name_has_sent_nothing() {
    let client = HttpsClient::new().expect("a client");
    let request = request("POST", "https://login.procore.invalid/", "");
    let proxied = client.inner.proxies.intercept(request.uri()).is_some();
    let code = if proxied { "proxy" } else { "dns" };
    assert_eq!(facts(client.send(request, LIMITS).await), (code, false));
}

#[tokio::test]
async fn only_https_is_sent_and_only_the_overridden_port_is_redirected() {
    let (server, client) = Server::plain(vec![OK]).await;
    for url in [
        "http://login.procore.com/",
        "http://login.procore.com:443/",
        "/",
    ] {
        let outcome = client.send(request("GET", url, ""), LIMITS).await;
        assert_eq!(facts(outcome), ("invalid-request", false));
    }
    let another_port = request("GET", "https://login.procore.com:1/", "");
    let way = client
        .way(super::with_body(another_port), false)
        .expect("acceptable");
    assert_eq!(way.request.url().as_str(), "https://login.procore.com:1/");
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn an_override_of_another_port_keeps_it_in_the_host_header() {
    let server = Server::start(vec![OK], None).await;
    let connect_to = format!("login.procore.com:8443=http://{}", server.address);
    let client = HttpsClient::builder()
        .connect_to([connect_to.parse().expect("valid")])
        .build()
        .expect("a client");
    let url = "https://login.procore.com:8443/a";
    client
        .send(request("GET", url, ""), LIMITS)
        .await
        .expect("a reply");
    let (_, seen) = server.seen().remove(0);
    assert!(
        seen.to_ascii_lowercase()
            .contains("\r\nhost: login.procore.com:8443\r\n"),
        "{seen}"
    );
}

/// A certificate for `login.procore.com` that is its own authority.
fn identity() -> (String, tokio_rustls::TlsAcceptor) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["login.procore.com".to_owned()]).expect("made");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a key that fits");
    (
        cert.pem(),
        tokio_rustls::TlsAcceptor::from(Arc::new(config)),
    )
}

#[tokio::test]
async fn tls_verifies_the_true_name() {
    let (pem, acceptor) = identity();
    let server = Server::start(vec![OK], Some(acceptor)).await;
    let to = |host: &str| {
        let connect_to = format!("{host}:443={}", server.address);
        HttpsClient::builder().connect_to([connect_to.parse().expect("valid")])
    };

    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &pem).expect("written");
    for builder in [
        to("login.procore.com").extra_ca_pem(pem.clone()),
        to("login.procore.com").extra_ca_file(&file),
    ] {
        let client = builder.build().expect("a client");
        let response = client.send(post(), LIMITS).await.expect("a reply");
        assert_eq!(response.status(), 200);
    }
    let trusted = server.seen().len();
    assert_eq!(trusted, 2);

    let untrusting = to("login.procore.com").build().expect("a client");
    assert_eq!(facts(untrusting.send(post(), LIMITS).await), ("tls", false));
    let misdirected = to("api.procore.com")
        .extra_ca_pem(pem)
        .build()
        .expect("a client");
    let api = request("POST", "https://api.procore.com/", "");
    assert_eq!(facts(misdirected.send(api, LIMITS).await), ("tls", false));
    assert_eq!(server.seen().len(), trusted);
}

#[tokio::test]
async fn a_server_without_tls_fails_the_handshake() {
    for answer in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bound");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).await.expect("a hello");
            stream.write_all(answer.as_bytes()).await.expect("written");
            // Read on to the client's end, so that the system does not reset the connection.
            stream.shutdown().await.expect("shut down");
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let connect_to = format!("login.procore.com:443={address}");
        let client = HttpsClient::builder()
            .connect_to([connect_to.parse().expect("valid")])
            .build()
            .expect("a client");
        assert_eq!(
            facts(client.send(post(), LIMITS).await),
            ("tls", false),
            "{answer:?}"
        );
    }
}

#[test]
fn refuses_unusable_certificates() {
    let build = |builder: HttpsClientBuilder| builder.build().expect_err("refused");
    let missing = HttpsClient::builder().extra_ca_file("/nowhere/ca.pem");
    assert!(matches!(build(missing), HttpsClientError::CaFile { .. }));
    for pem in [
        "",
        "text",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let unusable = HttpsClient::builder().extra_ca_pem(pem);
        assert!(
            matches!(build(unusable), HttpsClientError::CaPem(_)),
            "{pem:?}"
        );
    }
}

#[tokio::test]
async fn plain_http_goes_to_this_machine_alone_and_only_where_that_is_permitted() {
    let server = Server::start(vec![OK], None).await;
    let client = HttpsClient::new().expect("a client");
    let permitted = client.with_plain_loopback();
    let send = async |client: &HttpsClient, url: String| {
        let mut request = http::Request::new(b"{}".to_vec());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = url.parse().expect("a URL");
        client.send(request, LIMITS).await
    };
    let here = format!("http://{}/x", server.address);
    let refused = send(&client, here.clone())
        .await
        .expect_err("not permitted");
    assert_eq!(refused.code, "invalid-request");
    let sent = send(&permitted, here).await.expect("permitted");
    assert_eq!(sent.status(), 200);
    for elsewhere in ["http://login.procore.com/x", "http://192.0.2.1/x"] {
        let refused = send(&permitted, elsewhere.to_owned()).await;
        assert_eq!(refused.expect_err("not here").code, "invalid-request");
    }
}

#[test]
fn a_link_for_programmers_is_no_evidence() {
    let told = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof";
    assert_eq!(
        super::without_manual(told),
        "peer closed connection without sending TLS close_notify"
    );
    assert_eq!(
        super::without_manual("Connection refused"),
        "Connection refused"
    );
}
