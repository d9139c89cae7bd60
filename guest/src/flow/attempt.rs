//! The loop of an API call: token, attempt, decision, until there is an answer or nothing more to do. Fresh and parked requests
//! go through it alike.

use super::{
    stored::{LockedSession, read_session},
    token::obtain,
};
use crate::{
    backoff::LONGEST_WAIT,
    capabilities::Capabilities,
    decision::Need,
    diagnosis::{Diagnosis, Error, ErrorKind},
    http::{Body, Failure, Header, Request, Response, find_header},
    incident::{self, Outlook, Trouble},
    pace::{self, Pace},
    retry::{self, Attempt, Decision, GiveUp, Reply, decide},
    secret::Secret,
    session::Tokens,
    settings::Settings,
    status::api_origin,
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
    pub body: Body,
    /// The company, if not the connection's.
    pub company_id: Option<u64>,
    /// How long it may take, if not the policy's time.
    pub timeout: Option<u64>,
    /// What the caller says about repeating it.
    pub idempotent: Option<bool>,
    /// Whether to park it.
    pub park: bool,
    /// What it must keep its order with among the parked ones.
    pub order_key: Option<String>,
    /// Until when the rate limit lets nothing through, as the last reply told the caller.
    pub not_before: Option<u64>,
}

/// An answer of the API.
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// How many times the request was sent.
    pub attempts: u32,
    /// What a refusal means.
    pub diagnosis: Option<Diagnosis>,
    /// Until when the caller's next request is to wait.
    pub pause_until: Option<u64>,
}

/// Why there is no answer; what came back last, if anything did.
pub(super) struct Unanswered {
    /// The error.
    pub error: Error,
    /// The last answer, where the policy gave up on it.
    pub last: Option<Box<Answered>>,
    /// Why the policy gave up; `None` where it did not come to that.
    pub gave_up: Option<GiveUp>,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self {
            error,
            last: None,
            gave_up: None,
        }
    }
}

/// Runs the loop. The request is lent mutably because its body, which may be large, is moved to where it is sent from; it is back
/// afterwards.
pub(super) fn attempt_until_done(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &mut CallRequest,
) -> std::result::Result<Answered, Unanswered> {
    let mut http = Request {
        method: request.method.clone(),
        url: String::new(),
        headers: Vec::new(),
        body: std::mem::take(&mut request.body),
        timeout: 0,
    };
    let result = attempts(host, settings, request, &mut http);
    request.body = http.body;
    result
}

fn attempts(
    host: &dyn Capabilities,
    settings: &Settings,
    request: &CallRequest,
    http: &mut Request,
) -> std::result::Result<Answered, Unanswered> {
    let deadline = host
        .elapsed()
        .saturating_add(request.timeout.unwrap_or(settings.policy.call_timeout));
    hold_back(host, request.not_before, deadline)?;
    let mut tokens = obtain(host, settings, Need::Use)?.tokens;
    // The path begins with one `/`, so that nothing in it can change the host.
    http.url = format!(
        "{}{}",
        api_origin(read_session(host)?.as_ref(), settings.environment),
        request.path
    );
    let mut renewed = false;
    let mut last = None;
    for number in 1.. {
        let time_left = deadline.saturating_sub(host.elapsed());
        if time_left == 0 {
            return Err(out_of_time(host, last));
        }
        http.headers = headers(request, settings, &tokens.access_token);
        http.timeout = time_left;
        let result = host.send(http);
        let time_left = deadline.saturating_sub(host.elapsed());
        let decision = decide(
            settings.environment,
            &attempt(request, number, &result, renewed, time_left),
            host.now(),
            host.draw(),
        );
        let answered = |diagnosis| {
            result.ok().map(|response| Answered {
                pause_until: pace::pause_until(
                    response.status,
                    &response.headers,
                    host.now(),
                    Pace::Own,
                ),
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
            Decision::GiveUp(why, diagnosis) => {
                let last = answered(Some(diagnosis.clone())).map(Box::new);
                let mut error = Error::new(why.kind(), diagnosis);
                if let GiveUp::MustWait { until } = why {
                    error = error.retry_at(until);
                }
                return Err(Unanswered {
                    error,
                    last,
                    gave_up: Some(why),
                });
            }
            Decision::UnknownOutcome(diagnosis) => {
                let last = answered(Some(diagnosis.clone())).map(Box::new);
                return Err(Unanswered {
                    error: Error::new(ErrorKind::UnknownOutcome, diagnosis),
                    last,
                    gave_up: None,
                });
            }
        }
    }
    Err(out_of_time(host, last))
}

fn out_of_time(host: &dyn Capabilities, last: Option<Box<Answered>>) -> Unanswered {
    Unanswered {
        error: Error::new(ErrorKind::Unavailable, retry::out_of_time(host.now())),
        last,
        gave_up: None,
    }
}

/// Waits until the rate limit lets something through. Where that is after the deadline, nothing is sent. A moment further away
/// than any pause is not believed: the clock was set back since.
fn hold_back(
    host: &dyn Capabilities,
    not_before: Option<u64>,
    deadline: u64,
) -> std::result::Result<(), Unanswered> {
    let now = host.now();
    let wait = not_before.map_or(0, |at| at.saturating_sub(now));
    if wait == 0 || wait > LONGEST_WAIT {
        return Ok(());
    }
    if wait < deadline.saturating_sub(host.elapsed()) {
        host.sleep(wait);
        return Ok(());
    }
    let until = now.saturating_add(wait);
    Err(Unanswered {
        error: Error::new(ErrorKind::Unavailable, pace::held_back()).retry_at(until),
        last: None,
        gave_up: Some(GiveUp::MustWait { until }),
    })
}

fn headers(request: &CallRequest, settings: &Settings, token: &Secret) -> Vec<Header> {
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
    headers
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
