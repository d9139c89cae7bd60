//! The loop of an API call: token, attempt, decision, until there is an answer or nothing more to do. Fresh and parked requests
//! go through it alike.

use super::{
    stored::{LockedSession, read_session},
    token::obtain,
    verify::api_base,
};
use crate::{
    capabilities::Capabilities,
    decision::Need,
    diagnosis::{Diagnosis, Error, ErrorKind},
    http::{Body, Failure, Header, Request, Response, find_header},
    incident::{self, Outlook, Trouble},
    retry::{self, Attempt, Decision, Reply, decide},
    secret::Secret,
    session::Tokens,
    settings::Settings,
};

/// An API request, as a caller makes it.
#[derive(Clone)]
pub struct CallRequest {
    /// The method.
    pub method: String,
    /// The absolute path with its query.
    pub path: String,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
    /// The company, if not the connection's.
    pub company_id: Option<u64>,
    /// How long it may take, if not the policy's time.
    pub timeout: Option<u64>,
    /// What the caller says about repeating it.
    pub idempotent: Option<bool>,
    /// Whether to park it.
    pub park: bool,
}

/// An answer of the API.
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// How many times the request was sent.
    pub attempts: u32,
    /// What a refusal means.
    pub diagnosis: Option<Diagnosis>,
}

/// Why there is no answer; what came back last, if anything did.
pub(super) struct Unanswered {
    /// The error.
    pub error: Error,
    /// The last answer, where the policy gave up on it.
    pub last: Option<Box<Answered>>,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self { error, last: None }
    }
}

/// Runs the loop.
pub(super) fn attempt_until_done(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
) -> std::result::Result<Answered, Unanswered> {
    let deadline = host
        .elapsed()
        .saturating_add(request.timeout.unwrap_or(settings.policy.call_timeout));
    let mut tokens = obtain(host, settings, Need::Use)?.tokens;
    // The path begins with one `/`, so that nothing in it can change the host.
    let url = format!(
        "{}{}",
        api_base(read_session(host)?.as_ref(), settings.environment),
        request.path
    );
    let mut renewed = false;
    let mut last = None;
    for number in 1.. {
        let time_left = deadline.saturating_sub(host.elapsed());
        if time_left == 0 {
            let error = Error::new(ErrorKind::Unavailable, retry::out_of_time(host.now()));
            return Err(Unanswered { error, last });
        }
        let result = host.send(&to_http(
            request,
            settings,
            &url,
            &tokens.access_token,
            time_left,
        ));
        let time_left = deadline.saturating_sub(host.elapsed());
        let decision = decide(
            settings.environment,
            &attempt(request, number, &result, renewed, time_left),
            host.now(),
            host.draw(),
        );
        let answered = |diagnosis| {
            result.ok().map(|response| Answered {
                response,
                attempts: number,
                diagnosis,
            })
        };
        match decision {
            Decision::Deliver(diagnosis) => {
                if let Some(answer) = answered(diagnosis) {
                    note_verdict_on_token(host, settings, &tokens, &answer);
                    return Ok(answer);
                }
            }
            Decision::RetryAfter(wait) => {
                last = answered(None).map(Box::new);
                host.sleep(wait);
                tokens = obtain(host, settings, Need::Use)?.tokens;
            }
            Decision::RenewAndResend => {
                let rejected = tokens.access_token.clone();
                tokens = obtain(host, settings, Need::Replace(&rejected))?.tokens;
                renewed = true;
            }
            Decision::GiveUp(diagnosis) => {
                let last = answered(Some(diagnosis.clone())).map(Box::new);
                let error = Error::new(give_up_kind(&diagnosis), diagnosis);
                return Err(Unanswered { error, last });
            }
            Decision::UnknownOutcome(diagnosis) => {
                let last = answered(Some(diagnosis.clone())).map(Box::new);
                let error = Error::new(ErrorKind::UnknownOutcome, diagnosis);
                return Err(Unanswered { error, last });
            }
        }
    }
    Err(Unanswered {
        error: Error::new(ErrorKind::Unavailable, retry::out_of_time(host.now())),
        last,
    })
}

fn give_up_kind(diagnosis: &Diagnosis) -> ErrorKind {
    match diagnosis.code.as_str() {
        "origin-not-permitted" | "secret-not-permitted" | "invalid-request" => {
            ErrorKind::InvalidInput
        }
        _ => ErrorKind::Unavailable,
    }
}

fn to_http(
    request: &CallRequest,
    settings: &Settings,
    url: &str,
    token: &Secret,
    timeout: u64,
) -> Request {
    let mut headers = request.headers.clone();
    headers.push(Header::new(
        "Authorization",
        &format!("Bearer {}", token.expose()),
    ));
    let company = request
        .company_id
        .or(settings.company_id)
        .filter(|_| find_header(&request.headers, "procore-company-id").is_none());
    headers.extend(company.map(|id| Header::new("Procore-Company-Id", &id.to_string())));
    let body = if request.body.is_empty() {
        Body::Empty
    } else {
        Body::Bytes(request.body.clone())
    };
    Request {
        method: request.method.clone(),
        url: url.to_owned(),
        headers,
        body,
        timeout,
    }
}

fn attempt<'a>(
    request: &'a CallRequest,
    number: u32,
    result: &'a std::result::Result<Response, Failure>,
    renewed: bool,
    time_left: u64,
) -> Attempt<'a> {
    let reply = match result {
        Ok(response) => Reply::Answered {
            status: response.status,
            headers: &response.headers,
            body: &response.body,
        },
        Err(failure) => Reply::Unanswered {
            code: &failure.code,
            sent: failure.sent,
        },
    };
    Attempt {
        method: &request.method,
        number,
        idempotent: request.idempotent,
        reply,
        renewed,
        time_left,
    }
}

/// Notes what the API said of a token that replaced a rejected one: that it works, so that the next 401 may renew again, or
/// that it is rejected too, which people are told. Writes only then.
fn note_verdict_on_token(
    host: &dyn Capabilities,
    settings: &Settings,
    tokens: &Tokens,
    answer: &Answered,
) {
    if !tokens.unproven {
        return;
    }
    let Ok(Some(mut locked)) = LockedSession::acquire(host, settings) else {
        return;
    };
    let now = host.now();
    let session = &mut locked.session;
    let token = &tokens.access_token;
    let refusal = answer.diagnosis.as_ref();
    let event = match refusal.filter(|_| answer.response.status == 401) {
        Some(diagnosis) => session
            .holds(token)
            .then(|| incident::raise(session, Trouble::Lasting, diagnosis, Outlook::at(now))),
        None => incident::prove(session, token, now),
    };
    // Others may have come since.
    let Some(event) = event else { return };
    event.iter().for_each(|event| host.record(event));
    // Not to have noted it costs one renewal or one alert more; the call itself is done.
    let _ = locked.save();
}
