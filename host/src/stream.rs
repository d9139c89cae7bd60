//! Calls whose bodies are streamed: the loop of `api.send`, with bodies that never enter the plugin and are never whole in memory.
//!
//! The plugin decides: every attempt is told to `assess`, with the first 4 KiB of a refusal. This loop only drives, by the table of
//! `guest/src/retry.rs`. What differs from [`Connection::send`]:
//!
//! | | `send` | `stream` |
//! |---|---|---|
//! | the reply | whole, or an attempt that failed | its head; the body may still break off, which [`ResponseBody::chunk`] tells |
//! | timeout | all attempts with their bodies | until the head of the reply, without the time in which the request's body moves |
//! | a body that stands still | counts for the timeout | ends with the idle timeout |
//! | an answer that should be resent, and the body can be sent once only | | that answer is delivered |
//! | a request that cannot be sent now | may be parked | is never parked |
//!
//! A token that was renewed because of a 401 is proven by [`Connection::verify`] where the second attempt is accepted, one small
//! request more, and reported to `auth.renew-rejected` where it is refused too, which tells people.

mod body;
mod client;
mod progress;
mod request;
mod response;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub use body::{OutgoingBody, RequestBody};
pub use client::{IncomingBody, StreamLimits, StreamingClient};
pub use request::StreamRequest;
pub use response::{ResponseBody, StreamedResponse};

use crate::{
    AccessToken, Attempt, Clock, Connection, Decision, Diagnosis, Error, ErrorKind, HttpFailure,
    Reply, Settings,
    egress::{Destination, Egress, Permit, Refusal},
    time::from_millis,
};

/// How long a body may stand still unless the request says otherwise.
const IDLE: Duration = Duration::from_secs(60);

const COMPANY: HeaderName = HeaderName::from_static("procore-company-id");

impl Connection {
    /// Sends a request as [`Connection::send`] does, with bodies that are streamed: uploads and downloads of any size in constant
    /// memory.
    ///
    /// Returns when the head of the reply is there, be it before the body was sent whole. A caller that drops the future or the
    /// response frees the connection to the server; a refresh on its way goes on. A body that can be sent once only
    /// ([`RequestBody::once`]) is not sent again once its first byte was read: a 401 then renews the token and is delivered, with
    /// the diagnosis `body-used-up`.
    ///
    /// Errors: those of [`Connection::send`]; `InvalidInput` also where the body cannot be read (`body-unreadable`);
    /// `Configuration` where the HTTP client does not stream (`streaming-unsupported`).
    pub async fn stream(&self, request: StreamRequest) -> Result<StreamedResponse, Error> {
        let client = self.lent().http.streaming().ok_or_else(unsupported)?;
        self.stream_through(client, request).await
    }

    /// Sends a request as [`Connection::stream`] does, through another client than the connection's.
    pub(crate) async fn stream_through(
        &self,
        client: &dyn StreamingClient,
        request: StreamRequest,
    ) -> Result<StreamedResponse, Error> {
        let lent = self.lent();
        let time = request
            .timeout
            .unwrap_or(self.settings().policy.call_timeout);
        let mut call = Call {
            connection: self,
            client,
            clock: &*lent.clock,
            line: RequestLine::permitted(&request, self.settings(), &lent.egress, self).await?,
            idle: request.idle_timeout.unwrap_or(IDLE),
            deadline: lent.clock.elapsed().saturating_add(time),
            request: &request,
            acts_as_fallback: false,
        };
        let response = call.attempt_until_done().await?;
        lent.recorder.forget();
        Ok(StreamedResponse {
            acts_as_fallback: call.acts_as_fallback,
            ..response
        })
    }
}

/// Returns the request line if it leads to an API host of the connection's environment.
pub(crate) fn permit_api_call(egress: &Egress, method: &str, url: &str) -> Result<Permit, Error> {
    let permit = egress.permit(method, url, false).map_err(refused)?;
    match permit.destination {
        Destination::Api => Ok(permit),
        _ => Err(refused(Refusal::OtherOrigin)),
    }
}

/// One call, with all its attempts.
struct Call<'a> {
    connection: &'a Connection,
    client: &'a dyn StreamingClient,
    clock: &'a dyn Clock,
    request: &'a StreamRequest,
    line: RequestLine,
    idle: Duration,
    /// By the elapsed time.
    deadline: Duration,
    /// Whether the last attempt had a token of the fallback.
    acts_as_fallback: bool,
}

/// What every attempt begins with, except for the token.
struct RequestLine {
    permit: Permit,
    headers: HeaderMap,
}

/// What one attempt came to.
type Attempted = Result<http::Response<ResponseBody>, HttpFailure>;

impl Call<'_> {
    async fn attempt_until_done(&mut self) -> Result<StreamedResponse, Error> {
        let mut token = self.connection.access_token().await?;
        let mut renewed = false;
        for number in 1.. {
            self.keep_pace().await?;
            if self.time_left().is_zero() {
                return Err(out_of_time());
            }
            let mut attempted = self.attempt(&token).await?;
            let reply = to_reply(&mut attempted, self.time_left()).await;
            let decision = match self.assess(number, reply, renewed).await {
                Ok(decision) => decision,
                Err(error) => return undecided(attempted, number, &error),
            };
            match decision {
                Decision::Deliver(diagnosis) => {
                    if renewed {
                        self.note_verdict_on(&token, &attempted).await;
                    }
                    return delivered(attempted, number, diagnosis);
                }
                Decision::RetryAfter(wait) => {
                    drop(attempted);
                    self.clock.sleep(wait).await;
                    token = self.connection.access_token().await?;
                }
                Decision::RenewAndResend if self.request.body.is_sendable() => {
                    drop(attempted);
                    token = self.connection.renew_rejected(token.bearer()).await?;
                    renewed = true;
                }
                Decision::RenewAndResend => {
                    self.connection.renew_rejected(token.bearer()).await?;
                    return delivered(attempted, number, Some(used_up()));
                }
                Decision::GiveUp(diagnosis) => {
                    return delivered_or(attempted, number, diagnosis, give_up_kind);
                }
                Decision::UnknownOutcome(diagnosis) => {
                    let kind = |_: &Diagnosis| ErrorKind::UnknownOutcome;
                    return delivered_or(attempted, number, diagnosis, kind);
                }
            }
        }
        Err(out_of_time())
    }

    /// Waits until the rate limit lets something through. Where that is after the deadline, nothing is sent.
    async fn keep_pace(&self) -> Result<(), Error> {
        let Some(until) = self.connection.paused_until() else {
            return Ok(());
        };
        let wait = from_millis(until.saturating_sub(self.clock.now()));
        if wait >= self.time_left() {
            return Err(held_back().with_retry_at(until));
        }
        self.clock.sleep(wait).await;
        Ok(())
    }

    /// Sends the request once. A body that cannot be read ends the call.
    async fn attempt(&mut self, token: &AccessToken) -> Result<Attempted, Error> {
        self.acts_as_fallback = token.acts_as_fallback();
        let body = self.request.body.open().await;
        let body = body.map_err(|error| unreadable(&error.to_string()))?;
        let progress = body.progress();
        let limits = StreamLimits {
            head: self.time_left(),
            idle: self.idle,
        };
        let request = self.line.with(token, body)?;
        let attempted = self.client.open(request, limits).await;
        self.deadline = self.deadline.saturating_add(progress.moving());
        if let (Err(_), Some(failure)) = (&attempted, progress.failure()) {
            return Err(unreadable(&failure));
        }
        Ok(attempted
            .map(|reply| reply.map(|rest| ResponseBody::new(rest, self.idle, progress.clone()))))
    }

    /// Asks the plugin what to do. Where the body cannot be sent again no time is left for another attempt.
    async fn assess(&self, number: u32, reply: Reply, renewed: bool) -> Result<Decision, Error> {
        let time_left = if self.request.body.is_sendable() {
            self.time_left()
        } else {
            Duration::ZERO
        };
        let attempt = Attempt {
            method: self.request.method.clone(),
            number,
            idempotent: self.request.idempotent,
            reply,
            renewed,
            time_left,
        };
        self.connection.assess(attempt).await
    }

    /// Has it noted what the API said of a token that replaced a rejected one. Not to have noted it costs one renewal or one alert
    /// more; the call itself is done.
    async fn note_verdict_on(&self, token: &AccessToken, attempted: &Attempted) {
        match attempted {
            Ok(reply) if reply.status() == StatusCode::UNAUTHORIZED => {
                let _ = self.connection.renew_rejected(token.bearer()).await;
            }
            Ok(_) => {
                let _ = self.connection.verify().await;
            }
            Err(_) => {}
        }
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.elapsed())
    }
}

impl RequestLine {
    /// Checks the request by the connection's egress policy, before anything is sent.
    async fn permitted(
        request: &StreamRequest,
        settings: &Settings,
        egress: &Egress,
        connection: &Connection,
    ) -> Result<Self, Error> {
        let headers = headers(request, settings, egress).map_err(refused)?;
        // The path begins with one `/`, so that nothing in it can change the host.
        if !request.path.starts_with('/') || request.path.starts_with("//") {
            return Err(refused(Refusal::Malformed));
        }
        let origin = match egress.only_api_origin() {
            Some(origin) => origin,
            None => connection.status().await?.api_origin,
        };
        let url = format!("{origin}{}", request.path);
        let permit = permit_api_call(egress, &request.method, &url)?;
        Ok(Self { permit, headers })
    }

    fn with(
        &self,
        token: &AccessToken,
        body: OutgoingBody,
    ) -> Result<http::Request<OutgoingBody>, Error> {
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.bearer().expose()));
        let mut bearer = bearer.map_err(|_| refused(Refusal::HeaderValue))?;
        bearer.set_sensitive(true);
        let mut request = http::Request::new(body);
        *request.method_mut() = self.permit.method.clone();
        *request.uri_mut() = self.permit.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        Ok(request)
    }
}

/// Returns what the caller asks for and may, and the company. The token is no caller's to set.
fn headers(
    request: &StreamRequest,
    settings: &Settings,
    egress: &Egress,
) -> Result<HeaderMap, Refusal> {
    let given = request.headers.iter();
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut headers = egress.permit_headers(given)?;
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal::ReservedHeader);
    }
    let company = request.company_id.or(settings.company_id);
    if let Some(id) = company.filter(|_| !headers.contains_key(COMPANY)) {
        headers.insert(COMPANY, id.into());
    }
    Ok(headers)
}

/// Tells the plugin what came back, with as much of the beginning of a refusal's body as comes in time.
async fn to_reply(attempted: &mut Attempted, within: Duration) -> Reply {
    match attempted {
        Ok(reply) => Reply::Answered {
            status: reply.status().as_u16(),
            headers: texts(reply.headers()),
            body: if reply.status().as_u16() < 400 {
                Vec::new()
            } else {
                reply.body_mut().beginning(within).await
            },
        },
        Err(failure) => Reply::Unanswered {
            code: failure.code.to_owned(),
            sent: failure.sent,
        },
    }
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

fn delivered(
    attempted: Attempted,
    attempts: u32,
    diagnosis: Option<Diagnosis>,
) -> Result<StreamedResponse, Error> {
    let (head, body) = attempted
        .map_err(|failure| undeliverable(&failure))?
        .into_parts();
    Ok(StreamedResponse {
        status: head.status.as_u16(),
        headers: texts(&head.headers),
        attempts,
        diagnosis,
        acts_as_fallback: false,
        body,
    })
}

/// Delivers the answer on which the policy gave up; an error where there is none.
fn delivered_or(
    attempted: Attempted,
    attempts: u32,
    mut diagnosis: Diagnosis,
    kind: impl FnOnce(&Diagnosis) -> ErrorKind,
) -> Result<StreamedResponse, Error> {
    match attempted {
        Ok(_) => delivered(attempted, attempts, Some(diagnosis)),
        Err(failure) => {
            diagnosis.evidence.push(failure.message);
            Err(Error::new(kind(&diagnosis), diagnosis))
        }
    }
}

/// Tells what is known where the plugin could not decide: the answer that came, or that the request may have been executed.
fn undecided(
    attempted: Attempted,
    attempts: u32,
    error: &Error,
) -> Result<StreamedResponse, Error> {
    let sent = attempted.as_ref().is_err_and(|failure| failure.sent);
    let kind = if sent {
        ErrorKind::UnknownOutcome
    } else {
        error.kind()
    };
    delivered_or(attempted, attempts, error.diagnosis().clone(), |_| kind)
}

fn give_up_kind(diagnosis: &Diagnosis) -> ErrorKind {
    match diagnosis.code.as_str() {
        "origin-not-permitted" | "secret-not-permitted" | "invalid-request" => {
            ErrorKind::InvalidInput
        }
        _ => ErrorKind::Unavailable,
    }
}

fn diagnosis(code: &str, summary: &str, cause: &str, remedy: &str) -> Diagnosis {
    Diagnosis {
        code: code.to_owned(),
        summary: summary.to_owned(),
        cause: cause.to_owned(),
        remedy: remedy.to_owned(),
        evidence: Vec::new(),
    }
}

fn refused(refusal: Refusal) -> Error {
    let mut diagnosis = diagnosis(
        refusal.code(),
        "The host refused to send the request.",
        "It would leave the connection's API host, or is no valid request.",
        "Check the path, the method and the headers.",
    );
    diagnosis.evidence.push(refusal.to_string());
    Error::new(ErrorKind::InvalidInput, diagnosis)
}

fn unreadable(why: &str) -> Error {
    let mut diagnosis = diagnosis(
        "body-unreadable",
        "The request's body could not be read to its end.",
        "The file or the stream that it comes from failed, or changed meanwhile. What the server may have got is an incomplete \
         request, which it must not take for a whole one (RFC 9112, section 8).",
        "Check the file, and send the request again.",
    );
    diagnosis.evidence.push(why.to_owned());
    Error::new(ErrorKind::InvalidInput, diagnosis)
}

fn used_up() -> Diagnosis {
    diagnosis(
        "body-used-up",
        "The access token was rejected and has been renewed; the request was not executed.",
        "Its body can be read once only, and had begun to be sent.",
        "Send the request again, with its body from the beginning.",
    )
}

fn unsupported() -> Error {
    Error::new(
        ErrorKind::Configuration,
        diagnosis(
            "streaming-unsupported",
            "The HTTP client of this connection does not stream bodies.",
            "The program lends a client of its own, and that one offers no `StreamingClient`.",
            "Use `Connection::send`, or give the client `HttpClient::streaming`.",
        ),
    )
}

fn out_of_time() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        diagnosis(
            "deadline",
            "The call's time ran out.",
            "Getting a token or waiting for the rate limit took the time that the caller allowed.",
            "Allow more time.",
        ),
    )
}

fn held_back() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        diagnosis(
            "rate-limited",
            "The rate limit is used up; the request was not sent.",
            "Procore's last reply said that the window has no calls left, and the window ends after the call's time.",
            "Nothing to do: calls go on when the window resets. If it is frequent, call less often.",
        ),
    )
}

/// The plugin said to deliver what is not there.
fn undeliverable(failure: &HttpFailure) -> Error {
    Error::internal(
        "no-answer",
        format!(
            "the plugin delivers an answer where none came ({})",
            failure.code
        ),
        "a defect of the plugin",
        "report it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_in_doubt_where_the_plugin_cannot_decide() {
        for (sent, kind) in [
            (true, ErrorKind::UnknownOutcome),
            (false, ErrorKind::Internal),
        ] {
            let failure = HttpFailure::new("connection-closed", "gone", sent);
            let defect = Error::internal("plugin-trapped", "it trapped".to_owned(), "", "");
            let error = undecided(Err(failure), 1, &defect).expect_err("no answer");
            assert_eq!((error.kind(), error.code()), (kind, "plugin-trapped"));
            assert_eq!(error.diagnosis().evidence, ["gone"]);
        }
    }
}
