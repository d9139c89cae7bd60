//! The callback server: takes the browser's answer to a sign-in, on this machine only.
//!
//! | request | answer | ends the wait |
//! |---|---|---|
//! | `GET` of the redirect URI's path with `code` or `error` | 303 to the answer's place, an address without the code | as the caller says |
//! | the answer's place | the outcome; until it is known, a page that asks again by itself | no |
//! | the same answer again | 303 to the same place | no |
//! | another answer, while or after the first is dealt with | that page again, or "already finished" | no |
//! | the path without either | what is missing | no |
//! | any other path (`/favicon.ico`) | 404 | no |
//! | any other method | 405 | no |
//! | a `Host` other than `localhost` | 421: some page tries to reach us through DNS | no |
//!
//! It listens on 127.0.0.1 and, where there is one, on ::1: browsers try either for `localhost`. Whether `state` matches is for
//! the plugin to judge: the caller gets the whole callback URL, and says what the page shows.

mod answers;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use procore_auth_host::Secret;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::answers::{Answers, Reception, Turn};
use super::callback_page::{self, CURE, Page};
use super::exit::Exit;
use super::failure::{Explained, Failure};

/// How long a browser is kept waiting for the outcome before it gets a page that says so and asks again.
const HOLD: Duration = Duration::from_secs(1);

/// How long a browser that was sent to the outcome may take to come for it.
const FETCH: Duration = Duration::from_secs(3);

/// A running callback server.
pub(crate) struct CallbackServer {
    address: SocketAddr,
    callbacks: mpsc::Receiver<Callback>,
    shown: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    serving: JoinSet<io::Result<()>>,
}

/// A browser's answer. Dropping it shows an error page and lets the wait go on.
pub(crate) struct Callback {
    /// The whole callback URL: holds the code.
    pub(crate) url: Secret,
    turn: Turn,
}

#[derive(Clone)]
struct Shared {
    redirect_uri: Arc<str>,
    path: Arc<str>,
    answers: Answers,
    callbacks: mpsc::Sender<Callback>,
    /// Whether a browser has got an outcome.
    shown: watch::Sender<bool>,
}

impl CallbackServer {
    /// Listens at the redirect URI's port, and answers at its path.
    pub(crate) async fn start(redirect_uri: &str, port: u16, path: &str) -> Result<Self, Failure> {
        let (address, listeners) = listen(port).await.map_err(|error| busy(port, &error))?;
        let (sender, callbacks) = mpsc::channel(1);
        let (stop, _) = watch::channel(false);
        let (sender_of_shown, shown) = watch::channel(false);
        let shared = Shared {
            redirect_uri: redirect_uri.into(),
            path: if path.is_empty() { "/" } else { path }.into(),
            answers: Answers::default(),
            callbacks: sender,
            shown: sender_of_shown,
        };
        let mut serving = JoinSet::new();
        for listener in listeners {
            let app = Router::new().fallback(answer).with_state(shared.clone());
            let mut stopped = stop.subscribe();
            serving.spawn(
                axum::serve(listener, app)
                    .with_graceful_shutdown(async move {
                        // An error means that the server object is gone: the same.
                        let _ = stopped.wait_for(|stop| *stop).await;
                    })
                    .into_future(),
            );
        }
        Ok(Self {
            address,
            callbacks,
            shown,
            stop,
            serving,
        })
    }

    /// Returns the port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the IPv4 address that it listens on.
    #[cfg(test)]
    fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next answer of a browser. May be cancelled.
    pub(crate) async fn next(&mut self) -> Option<Callback> {
        self.callbacks.recv().await
    }

    /// Waits until the browser has the outcome, and then as long as the page is to be there for a reload. May be cancelled.
    pub(crate) async fn linger(&mut self, reload: Duration) {
        let fetched = tokio::time::timeout(FETCH, self.shown.wait_for(|shown| *shown));
        if fetched.await.is_ok_and(|shown| shown.is_ok()) {
            tokio::time::sleep(reload).await;
        }
    }

    /// Delivers what is being sent, and stops listening.
    pub(crate) async fn stop(mut self) {
        tracing::debug!(address = %self.address, "callback server stops");
        let _ = self.stop.send(true);
        let delivered = async { while self.serving.join_next().await.is_some() {} };
        // A browser that keeps its connection open does not keep us.
        let _ = tokio::time::timeout(Duration::from_secs(2), delivered).await;
    }
}

impl Callback {
    /// Shows the page; further answers are told that it is done.
    pub(crate) fn finish(self, page: Page) {
        self.turn.finish(page);
    }

    /// Shows the page, and lets the wait go on: this was not the answer to our sign-in.
    pub(crate) fn reject(self, page: Page) {
        self.turn.reject(page);
    }
}

async fn listen(port: u16) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = v4.local_addr()?;
    let mut listeners = vec![v4];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
        Ok(v6) => listeners.push(v6),
        // A machine without IPv6. Somebody else on that port is another matter: a browser might talk to them.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            tracing::debug!(%error, "no callback server on ::1");
        }
        Err(error) => return Err(error),
    }
    Ok((address, listeners))
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    if !is_for_localhost(&request) {
        return Page::bad(
            StatusCode::MISDIRECTED_REQUEST,
            "Not for this server",
            "This server answers to the name localhost only.",
        )
        .into_response();
    }
    let path = request.uri().path();
    let outcome = shared.answers.outcome(path);
    if path != &*shared.path && outcome.is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    if request.method() != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    match (outcome, request.uri().query()) {
        (Some(outcome), _) => shared.show(outcome).await.into_response(),
        (None, Some(query)) if is_answer(query) => shared.take_in(query).await,
        (None, _) => Page::bad(
            StatusCode::BAD_REQUEST,
            "This is not the answer of a sign-in",
            "There is neither a code nor an error in the address.",
        )
        .section(
            CURE,
            "Open the link that `procore-auth login` printed, and sign in there.",
        )
        .into_response(),
    }
}

impl Shared {
    /// Hands the answer to the caller, and sends the browser to the place without the code where the outcome will be.
    async fn take_in(&self, query: &str) -> Response {
        let url = Secret::new(format!("{}?{query}", self.redirect_uri));
        match self.answers.receive(&url) {
            Reception::New(turn) => {
                let place = Arc::clone(&turn.place);
                // Where nobody waits any more, the answer is dropped, and its place is gone: the server is about to end.
                let _ = self.callbacks.send(Callback { url, turn }).await;
                callback_page::see_other(&place)
            }
            Reception::Known(place) => callback_page::see_other(&place),
            Reception::Busy => working().into_response(),
            Reception::Over => Page::neutral(
                StatusCode::OK,
                "Already finished",
                "This sign-in has ended. You can close this tab.",
            )
            .section(CURE, "To sign in anew, run `procore-auth login` again.")
            .into_response(),
        }
    }

    /// Returns the page that the caller wants shown, or one that asks again where that takes long.
    async fn show(&self, mut outcome: watch::Receiver<Option<Page>>) -> Page {
        let known = outcome.wait_for(Option::is_some);
        let page = match tokio::time::timeout(HOLD, known).await {
            Err(_) => return working(),
            Ok(page) => page.ok().and_then(|page| page.clone()),
        };
        self.shown.send_replace(true);
        page.unwrap_or_else(answers::unfinished)
    }
}

fn working() -> Page {
    Page::waiting(
        "Signing in",
        "Procore has answered. procore-auth exchanges the answer for tokens and asks who signed in.",
    )
    .section(
        CURE,
        "Nothing: this page shows the outcome by itself.",
    )
}

/// Whether the query is Procore's answer: it brings a code or an error.
fn is_answer(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "code" || name == "error")
}

/// A page in the browser can make its own name resolve to 127.0.0.1; it cannot make the browser send `Host: localhost` then.
fn is_for_localhost(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (
        hosts.next().and_then(|host| host.to_str().ok()),
        hosts.next(),
    ) else {
        return false;
    };
    let name = match host.split_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost")
}

fn busy(port: u16, error: &io::Error) -> Failure {
    let paste = "or sign in without the callback server: `procore-auth login --paste`";
    let explained = match error.kind() {
        io::ErrorKind::AddrInUse => Explained::new(
            Exit::Refused,
            "callback-port-busy",
            format!("Port {port} of the redirect URI is in use by another program."),
            format!(
                "See who has it with `{}`, end that program, {paste}.",
                who_listens(port)
            ),
        ),
        io::ErrorKind::PermissionDenied => Explained::new(
            Exit::Refused,
            "callback-port-forbidden",
            format!("This user may not listen on port {port} of the redirect URI."),
            format!(
                "Register a redirect URI with a port above 1023, such as http://localhost:9876/callback, {paste}."
            ),
        ),
        _ => Explained::new(
            Exit::Refused,
            "callback-port",
            format!("Cannot listen on port {port} of the redirect URI: {error}."),
            format!("Check the machine's loopback interface, {paste}."),
        ),
    };
    explained
        .because("The redirect URI names the port, so the browser will call this one and no other.")
        .into()
}

fn who_listens(port: u16) -> String {
    if cfg!(target_os = "linux") {
        format!("ss -ltnp 'sport = :{port}'")
    } else if cfg!(windows) {
        format!("netstat -ano | findstr :{port}")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

#[cfg(test)]
mod tests {
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
        if tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
            .await
            .is_err()
        {
            return; // no IPv6 here
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
        ] {
            let line = status_of(address, request).await;
            assert!(line.contains(status), "{request:?}: {line}");
        }
        let browser = ask(address, ANSWER);
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
}
