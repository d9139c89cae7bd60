//! Requests that a component may not send, through the import that it has: each is refused with a code, and nothing gets out.

use procore_auth_host::Severity;

use crate::{
    hostile::{Hostile, OK, load},
    world::{CLIENT_SECRET, World, connect, quick},
};

const LOGIN: &str = "https://login-sandbox.procore.com/oauth/token";
const API: &str = "https://sandbox.procore.com/rest/v1.0/me";

/// A request as the component asks for it.
#[derive(Clone, Copy)]
struct Request<'a> {
    method: &'a str,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Body<'a>,
}

#[derive(Clone, Copy)]
enum Body<'a> {
    Empty,
    /// A form with the client secret in it.
    Secret,
    /// An entry of the store.
    Stored(&'a str),
}

fn get(url: &str) -> Request<'_> {
    Request {
        method: "GET",
        url,
        headers: &[],
        body: Body::Empty,
    }
}

/// Memory that the component begins with.
struct Image(Vec<u8>);

impl Image {
    const START: usize = 8192;

    fn add(&mut self, bytes: &[u8]) -> (usize, usize) {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = Self::START + self.0.len();
        self.0.extend_from_slice(bytes);
        (at, bytes.len())
    }

    /// Adds records of strings.
    fn add_records(&mut self, records: &[&[&str]]) -> (usize, usize) {
        let mut bytes = Vec::new();
        for text in records.iter().copied().flatten() {
            let (at, length) = self.add(text.as_bytes());
            for word in [at, length] {
                bytes.extend(u32::try_from(word).expect("small").to_le_bytes());
            }
        }
        (self.add(&bytes).0, records.len())
    }

    /// Sends a request, and records the status of the reply, or the failure that there was in its place.
    fn send(&mut self, request: Request<'_>) -> String {
        let mut words = Vec::new();
        for text in [request.method, request.url] {
            words.push(self.add(text.as_bytes()));
        }
        let headers: Vec<_> = request.headers.iter().map(|(n, v)| [*n, *v]).collect();
        let headers: Vec<_> = headers.iter().map(<[&str; 2]>::as_slice).collect();
        words.push(self.add_records(&headers));
        let (case, body) = match request.body {
            Body::Empty => (0, (0, 0)),
            Body::Secret => {
                let (name, length) = self.add(b"client_secret");
                let field = [name, length, 1, 0, 0];
                let field = field.map(|word| u32::try_from(word).expect("small").to_le_bytes());
                (2, (self.add(field.as_flattened()).0, 1))
            }
            Body::Stored(key) => (3, self.add(key.as_bytes())),
        };
        let words: String = words
            .iter()
            .map(|(at, length)| format!("(i32.const {at}) (i32.const {length}) "))
            .collect();
        let (answered, length) = self.add(b"answered");
        let (at, count) = body;
        format!(
            "(call $http.send {words} (i32.const {case}) (i32.const {at}) (i32.const {count}) (i64.const 1000) (i32.const 2048))
            (if (i32.load8_u (i32.const 2048))
                (then
                    (if (i32.load8_u (i32.const 2068)) (then unreachable))
                    (call $journal.record (i32.const 1)
                        (i32.load (i32.const 2052)) (i32.load (i32.const 2056))
                        (i32.load (i32.const 2060)) (i32.load (i32.const 2064))
                        (i32.const 0) (i32.const 0)))
                (else
                    (call $journal.record (i32.const 1)
                        (i32.const {answered}) (i32.const {length})
                        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))\n"
        )
    }

    fn data(&self) -> String {
        let bytes: String = self.0.iter().map(|b| format!("\\{b:02x}")).collect();
        format!("(data (i32.const {}) \"{bytes}\")", Self::START)
    }
}

/// Has a component send these requests one after the other. Returns what became of each, by its code.
async fn outcomes(requests: &[Request<'_>]) -> (Vec<String>, std::sync::Arc<World>) {
    let mut image = Image(Vec::new());
    let sends: String = requests.iter().map(|it| image.send(*it)).collect();
    let body = sends + OK;
    let hostile = Hostile {
        fields: &image.data(),
        ..Hostile::new(&[("auth.status", &body)])
    };
    let (connection, world) = connect(&load(&hostile), quick());
    connection
        .status()
        .await
        .expect("refusals are its to deal with");
    let events = world.events();
    assert!(
        events
            .iter()
            .all(|(severity, _)| *severity == Severity::Info)
    );
    // No refusal repeats what it refuses.
    for event in world.journal.lock().expect("unpoisoned").iter() {
        assert!(!event.message.contains("evil"), "{}", event.message);
    }
    (world.codes(), world)
}

/// Expects each of the requests to be refused with this code, and none to get out.
async fn are_refused(requests: &[Request<'_>], code: &str) {
    let (codes, world) = outcomes(requests).await;
    for (request, found) in requests.iter().zip(&codes) {
        assert_eq!(
            found, code,
            "{} {:?} {:?}",
            request.method, request.url, request.headers
        );
    }
    assert_eq!(codes.len(), requests.len());
    assert!(world.sent.lock().expect("unpoisoned").is_empty());
}

#[tokio::test]
async fn s63_what_is_permitted_gets_out() {
    let headers = [("Authorization", "Bearer t"), ("accept", "*/*")];
    let signed = Request {
        headers: &headers,
        ..get(API)
    };
    let exchange = Request {
        method: "POST",
        body: Body::Secret,
        ..get(LOGIN)
    };
    let mixed_case = "HTTPS://Sandbox.PROCORE.com/rest/v1.0/me";
    let (codes, world) = outcomes(&[signed, exchange, get(mixed_case)]).await;
    assert_eq!(codes, ["answered"; 3]);
    let sent = world.sent.lock().expect("unpoisoned");
    assert_eq!(sent[0].headers()["authorization"], "Bearer t");
    assert_eq!(
        sent[1].body(),
        format!("client_secret={CLIENT_SECRET}").as_bytes()
    );
    assert_eq!(sent[2].uri(), API);
}

#[tokio::test]
async fn s63_a_forbidden_origin_is_refused() {
    let requests = [
        "https://evil.example/",
        "https://api.procore.com/rest/v1.0/me",
        "https://login.procore.com/oauth/token/info",
        "https://sandbox.procore.com.evil.example/",
        "https://SANDBOX.PROCORE.COM.EVIL.EXAMPLE/",
        "https://evil.example?https://sandbox.procore.com/",
        "https://localhost/",
        // User information.
        "https://login-sandbox.procore.com@evil.example/",
        "https://login-sandbox.procore.com:443@evil.example/",
        "https://evil.example@login-sandbox.procore.com/",
        "https://@login-sandbox.procore.com/",
        // A trailing dot.
        "https://login-sandbox.procore.com./oauth/token",
        // Addresses.
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        // Ports.
        "https://login-sandbox.procore.com:80/",
        "https://login-sandbox.procore.com:8443/",
        "https://login-sandbox.procore.com:0/",
        // Schemes.
        "http://login-sandbox.procore.com/oauth/token",
        "ftp://login-sandbox.procore.com/",
        "file://login-sandbox.procore.com/etc/passwd",
    ]
    .map(get);
    are_refused(&requests, "origin-not-permitted").await;
}

#[tokio::test]
async fn s63_a_url_that_parsers_read_differently_is_refused() {
    let requests = [
        "",
        "/rest/v1.0/me",
        "//evil.example/",
        "https:evil.example/",
        "https://evil.example\\@sandbox.procore.com/",
        "https://sandbox.procore.com%2eevil.example/",
        "https://sandbox%2eprocore.com/",
        "https://sandbox.procore.com:443:8443/",
        "https://ſandbox.procore.com/",
        "https://sandbox.procore.com/\r\nHost: evil.example\r\n\r\n",
        "https://sandbox.procore.com/\0",
        "https://evil.example#@sandbox.procore.com/",
        "https://sandbox.procore.com/#fragment",
    ]
    .map(get);
    are_refused(&requests, "invalid-request").await;
    let methods = [
        "CONNECT",
        "TRACE",
        "get",
        "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\nGET",
    ];
    let requests = methods.map(|method| Request { method, ..get(API) });
    are_refused(&requests, "invalid-request").await;
}

#[tokio::test]
async fn s63_a_redirect_is_handed_back_and_its_target_refused() {
    let target = "https://evil.example/oauth/token";
    let mut image = Image(Vec::new());
    let body = image.send(get(LOGIN)) + &image.send(get(target)) + OK;
    let hostile = Hostile {
        fields: &image.data(),
        ..Hostile::new(&[("auth.status", &body)])
    };
    let (connection, world) = connect(&load(&hostile), quick());
    let redirect = http::Response::builder()
        .status(302)
        .header("location", target);
    *world.reply.lock().expect("unpoisoned") = redirect.body(vec![]).expect("a reply");
    connection.status().await.expect("no fault");
    assert_eq!(world.codes(), ["answered", "origin-not-permitted"]);
    let sent = world.sent.lock().expect("unpoisoned");
    assert_eq!(sent.len(), 1, "the redirect is not followed");
}

#[tokio::test]
async fn s63_an_injected_header_is_refused() {
    let headers = [
        // Line ends and other controls, in names and in values.
        ("x-a\r\nhost: evil.example\r\nx-b", "a"),
        ("x-a\n", "a"),
        ("x a", "a"),
        ("x-a:", "a"),
        ("", "a"),
        (":authority", "evil.example"),
        ("ｈost", "evil.example"),
        ("x-a", "a\r\nhost: evil.example"),
        ("x-a", "a\nb"),
        ("x-a", "a\rb"),
        ("x-a", "a\0b"),
        ("x-a", "\u{7f}"),
        ("x-a", "a\u{10a}b: c"),
        // What is the host's, or the connection's.
        ("Host", "evil.example"),
        ("host", "login-sandbox.procore.com"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "authorization"),
        ("Keep-Alive", "timeout=1000"),
        ("TE", "trailers"),
        ("Trailer", "host"),
        ("Upgrade", "h2c"),
        ("Expect", "100-continue"),
        ("Proxy-Authorization", "Basic ZXZpbA=="),
        ("Proxy-Connection", "keep-alive"),
        ("User-Agent", "evil"),
    ];
    let headers = headers.map(|header| [header]);
    let requests: Vec<_> = headers
        .iter()
        .map(|headers| Request {
            headers,
            ..get(API)
        })
        .collect();
    are_refused(&requests, "invalid-request").await;
    let twice = [("authorization", "Bearer a"), ("Authorization", "Bearer b")];
    let twice = Request {
        headers: &twice,
        ..get(API)
    };
    are_refused(&[twice], "invalid-request").await;
}

#[tokio::test]
async fn s63_an_authorization_header_of_its_own_goes_to_its_own_hosts_alone() {
    let headers = [("authorization", "Bearer stolen")];
    for host in ["evil.example", "api.procore.com", "login.procore.com"] {
        let url = format!("https://{host}/");
        let request = Request {
            headers: &headers,
            ..get(&url)
        };
        are_refused(&[request], "origin-not-permitted").await;
    }
}

#[tokio::test]
async fn s63_the_client_secret_is_filled_in_for_no_other_host() {
    let with_secret = |url| Request {
        method: "POST",
        body: Body::Secret,
        ..get(url)
    };
    are_refused(&[with_secret(API)], "secret-not-permitted").await;
    let foreign = [
        with_secret("https://evil.example/oauth/token"),
        with_secret("https://login.procore.com/oauth/token"),
        with_secret("https://login-sandbox.procore.com@evil.example/oauth/token"),
        with_secret("http://login-sandbox.procore.com/oauth/token"),
    ];
    are_refused(&foreign, "origin-not-permitted").await;
}

#[tokio::test]
async fn s63_the_client_secret_reaches_no_component() {
    // The secret is in no field of the settings: what the host hands over is searched by the component itself, byte for byte.
    let body = format!(
        "(call $connection.settings (i32.const 2048))
        (i32.store (i32.const 4096) (i32.const 65536))
        (loop
            (if (i64.eq (i64.load (i32.load (i32.const 4096))) (i64.const {}))
                (then unreachable))
            (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))
            (br_if 0 (i32.lt_u (i32.load (i32.const 4096)) (global.get $heap))))
        {OK}",
        i64::from_le_bytes(*CLIENT_SECRET.as_bytes().first_chunk().expect("long"))
    );
    let (connection, _) = connect(&crate::hostile::plugin(&[("auth.status", &body)]), quick());
    connection.status().await.expect("it is not there");
    // A stored body, which the host fills in as well, is no way out for an entry with tokens.
    let stored = |url, key| Request {
        method: "POST",
        body: Body::Stored(key),
        ..get(url)
    };
    let requests = [
        stored(API, "session"),
        stored(API, "body-/../session"),
        stored(LOGIN, "body-1"),
    ];
    let (codes, world) = outcomes(&requests).await;
    assert_eq!(codes, ["invalid-request", "store", "invalid-request"]);
    assert!(world.sent.lock().expect("unpoisoned").is_empty());
}

#[tokio::test]
async fn s63_a_flood_of_requests_ends_before_the_calls_that_are_for_saving() {
    let mut image = Image(Vec::new());
    let send = image.send(get(API));
    let body = format!("(loop {send} (br 0)) unreachable");
    let hostile = Hostile {
        fields: &image.data(),
        ..Hostile::new(&[("auth.status", &body), ("auth.forget", OK)])
    };
    // Every request is followed by an event: of those, the component may record a quarter of its calls.
    let world = crate::world::stops(&load(&hostile), "too-many-host-calls").await;
    assert_eq!(world.sent.lock().expect("unpoisoned").len(), 251);
}
