//! A webhook: one `POST` of JSON for each alert.
//!
//! | answer | meaning |
//! |---|---|
//! | 2xx | delivered |
//! | 408, 425, 429, 5xx; none | down: tried again, after `Retry-After` where that is given |
//! | any other; 3xx too, since nothing is followed | refused: tried again slowly |
//!
//! The status line decides, whatever follows it: of a delivered alert no body is read, of any other answer the beginning, in
//! bounded time.
//!
//! The URL is a secret: whoever has it can write to the channel. It is read anew for each alert, so that a changed one needs no
//! restart, and no message has any of it: the host alone can be what makes it one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use url::Url;

use super::{Alert, Format, Sink, SinkName, Undelivered};
use crate::{
    HttpFailure, IncomingBody, OutgoingBody, Secret, StreamLimits, StreamingClient,
    https_client::is_loopback,
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the beginning of a refusal's body may take.
const REFUSAL: Duration = Duration::from_secs(2);

/// The most of it that is read. A word of Slack's is much shorter.
const REFUSAL_SIZE: usize = 1024;

/// Reads the URL, or tells why it cannot be read without repeating any of it.
type ReadUrl = Box<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// A sink that is a webhook.
pub struct Webhook {
    name: SinkName,
    url: ReadUrl,
    format: Format,
    http: Arc<dyn StreamingClient>,
    first_pause: Option<Duration>,
}

impl Webhook {
    /// Makes a sink of a webhook. `url` is read for each alert; https, or http to this machine itself where the client can
    /// (see [`crate::HttpsClient::with_plain_loopback`]).
    pub fn new(
        name: SinkName,
        url: impl Fn() -> Result<Secret, String> + Send + Sync + 'static,
        format: Format,
        http: Arc<dyn StreamingClient>,
    ) -> Self {
        Self {
            name,
            url: Box::new(url),
            format,
            http,
            first_pause: None,
        }
    }

    /// Sets the pause after the first failed try.
    #[must_use]
    pub fn with_first_pause(mut self, first_pause: Duration) -> Self {
        self.first_pause = Some(first_pause);
        self
    }

    /// Returns the request, and the host that no message is to have.
    fn request(&self, alert: &Alert) -> Result<(http::Request<OutgoingBody>, String), Undelivered> {
        let url = (self.url)().map_err(Undelivered::unreachable)?;
        let checked = check(&url).map_err(Undelivered::unreachable)?;
        let mut request = http::Request::new(OutgoingBody::bytes(self.format.write(alert)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = checked
            .as_str()
            .parse()
            .map_err(|_| Undelivered::unreachable(NO_URL))?;
        let headers = request.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Ok(id) = HeaderValue::from_str(&alert.id) {
            headers.insert("idempotency-key", id);
        }
        Ok((request, checked.host_str().unwrap_or_default().to_owned()))
    }
}

const NO_URL: &str = "the webhook's URL is not an https URL (http only to this machine itself)";

/// Checks a URL. The refusal repeats none of it.
fn check(url: &Secret) -> Result<Url, String> {
    let mut url = Url::parse(url.expose().trim()).map_err(|_| NO_URL)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the webhook's URL has a user name in it, which is not supported".to_owned());
    }
    url.set_fragment(None);
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(NO_URL.to_owned()),
    }
}

#[async_trait]
impl Sink for Webhook {
    fn name(&self) -> &SinkName {
        &self.name
    }

    fn first_pause(&self) -> Duration {
        self.first_pause.unwrap_or(super::sink::FIRST_PAUSE)
    }

    async fn deliver(&self, alert: &Alert, timeout: Duration) -> Result<String, Undelivered> {
        let (request, host) = self.request(alert)?;
        let timeout = timeout.min(TIMEOUT);
        let limits = StreamLimits {
            head: timeout,
            idle: timeout,
        };
        let reply = self
            .http
            .open(request, limits)
            .await
            .map_err(|failure| Undelivered::unreachable(without(&host, &failure)))?;
        let (head, body) = reply.into_parts();
        if head.status.is_success() {
            return Ok(format!("HTTP {}", head.status.as_u16()));
        }
        Err(refusal(&head, &beginning(body).await))
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Tells a failure without the host.
fn without(host: &str, failure: &HttpFailure) -> String {
    let message = failure.message.replace(host, "the webhook");
    format!("{}: {message}", failure.code)
}

/// Reads the beginning of a body: what comes in time, and no more than is of use.
async fn beginning(mut body: IncomingBody) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let piece = frame.into_data().unwrap_or_default();
            read.extend_from_slice(&piece[..piece.len().min(REFUSAL_SIZE - read.len())]);
            if read.len() == REFUSAL_SIZE {
                break;
            }
        }
    };
    // What has come by then is enough.
    let _ = tokio::time::timeout(REFUSAL, reading).await;
    read
}

/// Judges an answer that is no success.
fn refusal(head: &http::response::Parts, body: &[u8]) -> Undelivered {
    let status = head.status;
    let message = match word(body) {
        Some(word) => format!("the webhook answered {} ({word})", status.as_u16()),
        None => format!("the webhook answered {}", status.as_u16()),
    };
    let down = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    if down || status.is_server_error() {
        Undelivered::failing(message, retry_after(&head.headers, Timestamp::now()))
    } else if status.is_redirection() {
        Undelivered::refused(format!("{message}, a redirect, which is not followed"))
    } else {
        Undelivered::refused(message)
    }
}

/// Returns an answer that is one word of Slack's, such as `no_service`. Any other may repeat the URL.
fn word(body: &[u8]) -> Option<&str> {
    const WORDS: [&str; 12] = [
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_payload",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "no_text",
        "posting_to_general_channel_denied",
        "rate_limited",
    ];
    let text = std::str::from_utf8(body).ok()?.trim();
    WORDS.into_iter().find(|word| *word == text)
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTimeParser::new().parse_timestamp(value).ok()?;
    Duration::try_from(date.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use async_trait::async_trait;
    use jiff::Timestamp;

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Full};

    use super::{REFUSAL_SIZE, Webhook, beginning, check, refusal, retry_after, without};
    use crate::{
        HttpFailure, IncomingBody, OutgoingBody, Secret, StreamLimits, StreamingClient,
        alerts::{Format, Kind, Reason, Sink as _, Undelivered, alert::tests::example},
    };

    const URL: &str = "https://hooks.slack.com/services/T0/B0/hunter2";

    fn refused(status: u16, body: &str) -> Undelivered {
        let mut reply = http::Response::new(());
        *reply.status_mut() = status.try_into().expect("a status");
        refusal(&reply.into_parts().0, body.as_bytes())
    }

    /// Answers with a status and a body, and notes what was sent.
    struct Fixed {
        status: u16,
        sent: Mutex<Vec<http::Request<Bytes>>>,
        body: fn(&http::Uri) -> IncomingBody,
    }

    impl Fixed {
        fn new(status: u16, body: fn(&http::Uri) -> IncomingBody) -> Arc<Self> {
            Arc::new(Self {
                status,
                sent: Mutex::default(),
                body,
            })
        }
    }

    fn text(text: &str) -> IncomingBody {
        let body = Full::new(Bytes::from(text.to_owned()));
        body.map_err(|never| match never {}).boxed()
    }

    /// A text, and then nothing any more, without an end.
    fn endless(text: &'static str) -> IncomingBody {
        Endless(Some(text)).boxed()
    }

    struct Endless(Option<&'static str>);

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = HttpFailure;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, HttpFailure>>> {
            use std::task::Poll;
            let text = self.0.take();
            text.map_or(Poll::Pending, |text| {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
            })
        }
    }

    #[async_trait]
    impl StreamingClient for Fixed {
        async fn open(
            &self,
            request: http::Request<OutgoingBody>,
            _: StreamLimits,
        ) -> Result<http::Response<IncomingBody>, HttpFailure> {
            let (head, body) = request.into_parts();
            let mut reply = http::Response::new((self.body)(&head.uri));
            *reply.status_mut() = self.status.try_into().expect("a status");
            let body = body.collect().await.expect("in memory").to_bytes();
            let sent = http::Request::from_parts(head, body);
            self.sent.lock().expect("not poisoned").push(sent);
            Ok(reply)
        }
    }

    #[tokio::test]
    async fn posts_json_with_the_id_and_repeats_nothing_of_the_url() {
        let http = Fixed::new(404, |uri| text(&format!("Cannot POST {uri}")));
        let sink = Webhook::new(
            "ops".parse().expect("a name"),
            || Ok(Secret::new(URL)),
            Format::Slack,
            http.clone(),
        );
        let alert = example(Kind::Alert);
        let refused = sink.deliver(&alert, Duration::from_secs(1)).await;
        let refused = refused.expect_err("404");
        assert_eq!(refused.reason, Reason::Refused);
        assert_eq!(refused.message, "the webhook answered 404");
        assert!(!format!("{sink:?}").contains("hunter2"));
        let sent = http.sent.lock().expect("not poisoned");
        assert_eq!(sent[0].uri(), URL);
        assert_eq!(sent[0].method(), "POST");
        assert_eq!(sent[0].headers()["content-type"], "application/json");
        assert_eq!(sent[0].headers()["idempotency-key"], alert.id.as_str());
        assert_eq!(*sent[0].body(), Format::Slack.write(&alert));
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_a_sink_that_is_down() {
        let http = Fixed::new(200, |_| text(""));
        let url = || Err("the environment variable OPS is not set".to_owned());
        let name = "ops".parse().expect("a name");
        let sink = Webhook::new(name, url, Format::Generic, http);
        let down = sink
            .deliver(&example(Kind::Alert), Duration::from_secs(1))
            .await;
        let down = down.expect_err("no URL");
        assert_eq!(down.message, "the environment variable OPS is not set");
        assert!(matches!(
            down.reason,
            Reason::Down {
                answered: false,
                ..
            }
        ));
    }

    #[test]
    fn a_failure_does_not_name_the_host() {
        let failure = HttpFailure::new(
            "tls",
            "ops.example: certificate not valid for name \"ops.example\"",
            false,
        );
        assert_eq!(
            without("ops.example", &failure),
            "tls: the webhook: certificate not valid for name \"the webhook\""
        );
    }

    async fn delivered(http: Arc<Fixed>) -> Result<String, Undelivered> {
        let name = "ops".parse().expect("a name");
        let sink = Webhook::new(name, || Ok(Secret::new(URL)), Format::Generic, http);
        sink.deliver(&example(Kind::Alert), Duration::from_secs(1))
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_decides_whatever_the_body_does() {
        for status in [200, 202, 204] {
            let yes = delivered(Fixed::new(status, |_| endless("ok"))).await;
            assert_eq!(yes, Ok(format!("HTTP {status}")));
        }
        let no = delivered(Fixed::new(404, |_| endless("no_service"))).await;
        let no = no.expect_err("404");
        assert_eq!(no.message, "the webhook answered 404 (no_service)");
    }

    #[tokio::test]
    async fn of_a_refusal_the_beginning_is_read() {
        let long = text(&"x".repeat(REFUSAL_SIZE + 1));
        assert_eq!(beginning(long).await.len(), REFUSAL_SIZE);
    }

    #[test]
    fn refusals_are_judged() {
        for status in [408, 425, 429, 500, 503] {
            let reason = refused(status, "").reason;
            assert!(
                matches!(reason, Reason::Down { answered: true, .. }),
                "{status}"
            );
        }
        for status in [301, 307, 400, 401, 403, 404, 410, 413] {
            assert_eq!(refused(status, "").reason, Reason::Refused, "{status}");
        }
        let known = refused(404, "no_service\n");
        assert_eq!(known.message, "the webhook answered 404 (no_service)");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().expect("a moment");
        let read = |text: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", text.parse().expect("a value"));
            retry_after(&headers, now)
        };
        let minute = Some(Duration::from_secs(60));
        assert_eq!(read("60"), minute);
        assert_eq!(read("Mon, 23 Nov 2026 00:01:00 GMT"), minute);
        assert_eq!(read("Sun, 22 Nov 2026 00:01:00 GMT"), None);
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn only_https_leaves_the_machine() {
        for good in [
            URL,
            " https://hooks.slack.com/x\n",
            "http://localhost:1/x",
            "http://127.0.0.1:1/x",
            "http://[::1]/x",
        ] {
            assert!(check(&Secret::new(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://hooks.slack.com/hunter2",
            "http://192.168.8.124/hunter2",
            "http://localhost.example/hunter2",
            "https://me:hunter2@hooks.example/",
            "ftp://127.0.0.1/hunter2",
            "hunter2",
            "",
        ] {
            let refused = check(&Secret::new(bad)).expect_err(bad);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
