//! The call policy: what to do after an attempt at an API call. One pure function, shared by `api.send` and `api.assess`.
//!
//! | attempt came to | first time | again | at the end | with `park` | a replay |
//! |---|---|---|---|---|---|
//! | any status but those below | deliver | | | | 2xx, 3xx: done; else dead letter |
//! | 401 (*not executed*, whatever the method) | renew the token, resend | deliver | | | stops; stays queued |
//! | 429, 503 (*not executed*, whatever the method) | wait as told, resend | the same, while the time lasts | give up: must wait | queued | stops; stays queued |
//! | 408, other 5xx, idempotent | backoff, resend | the same, 4 attempts in all | give up: failing | queued | may count as a try |
//! | 408, other 5xx, not idempotent | unknown outcome | | | unknown outcome | stops; unknown outcome |
//! | no reply, not sent | backoff, resend | the same, 4 attempts in all | give up: not sent | queued | stops; stays queued |
//! | no reply, sent, idempotent | backoff, resend | the same, 4 attempts in all | give up: failing | queued | may count as a try |
//! | no reply, sent, not idempotent | unknown outcome | | | unknown outcome | stops; unknown outcome |
//! | the host refuses to send it | give up: refused | | | error | dead letter |
//! | no token, busy, or the time is up | | | error | queued | stops; stays queued |
//! | the store fails, or a defect | | | error | error | error |
//!
//! - *As told* is the later of `Retry-After` and `X-Rate-Limit-Reset`; where neither asks for a wait, backoff. That they are not
//!   executed is what Procore documents of 429, and what RFC 9110 (section 15.6.4) says of 503; a 503 of a gateway that did pass
//!   the request on is the one case in which a `POST` could be repeated.
//! - *Backoff* is exponential with full jitter ([`backoff::delay`]).
//! - *Idempotent* is what the caller declares, or else the method (RFC 9110, section 9.2.2).
//! - No wait goes beyond the call's time: what would is the end. One token is renewed for one call at most.
//! - 403 and 404 are delivered: they are never a reason to refresh.
//! - How a request is held back *before* it is sent is in [`crate::pace`].

use crate::{
    backoff,
    diagnosis::{Diagnosis, ErrorKind, PATIENCE},
    environment::Environment,
    explain::{Endpoint, Observation, explain},
    http::Header,
    moment,
    parking::State,
};

/// After how many attempts a passing failure is not answered with another one. Those that the server asked to wait for count too.
const MOST_ATTEMPTS: u32 = 4;

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The method.
    pub method: &'a str,
    /// 1 for the first.
    pub number: u32,
    /// What the caller says about repeating it; `None` decides by the method.
    pub idempotent: Option<bool>,
    /// What came back.
    pub reply: Reply<'a>,
    /// Whether the token was renewed since the first attempt.
    pub renewed: bool,
    /// What is left of the call's time, in milliseconds.
    pub time_left: u64,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub enum Reply<'a> {
    /// An answer.
    Answered {
        /// The status.
        status: u16,
        /// The headers.
        headers: &'a [Header],
        /// The body or its beginning.
        body: &'a [u8],
    },
    /// None.
    Unanswered {
        /// Why.
        code: &'a str,
        /// Whether any byte may have reached the server.
        sent: bool,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Give the answer to the caller.
    Deliver(Option<Diagnosis>),
    /// Send it again after so many milliseconds.
    RetryAfter(u64),
    /// Get another token and send it again.
    RenewAndResend,
    /// It was not executed, or repeating it is safe, and it cannot be done now.
    GiveUp(GiveUp, Diagnosis),
    /// It may have been executed.
    UnknownOutcome(Diagnosis),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// The server asks to wait until then, which is beyond the call's time.
    MustWait {
        /// In milliseconds since the epoch.
        until: u64,
    },
    /// The server could not be reached.
    NotSent,
    /// The server fails at it, or does not answer.
    Failing,
    /// The host does not send it, now or later.
    Refused,
}

impl GiveUp {
    /// Returns who can cure it.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::MustWait { .. } | Self::NotSent | Self::Failing => ErrorKind::Unavailable,
            Self::Refused => ErrorKind::InvalidInput,
        }
    }
}

/// Returns the state in which a request is parked that came to no answer; `None` where it is not to be parked.
pub fn parks(kind: ErrorKind) -> Option<State> {
    match kind {
        ErrorKind::UnknownOutcome => Some(State::UnknownOutcome),
        ErrorKind::SignInRequired
        | ErrorKind::Configuration
        | ErrorKind::Unavailable
        | ErrorKind::Busy => Some(State::Queued),
        ErrorKind::InvalidInput | ErrorKind::Storage | ErrorKind::Internal => None,
    }
}

/// Whether executing the method twice does the same as once (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}

/// Whether a failure looks as if the server failed at everything, rather than at this request: a gateway's status (502, 503, 504), or a
/// page in place of the API's JSON.
pub fn is_outage(status: u16, body: &[u8]) -> bool {
    matches!(status, 502..=504) || body.trim_ascii_start().first() == Some(&b'<')
}

/// Decides by the table above. `draw` chooses the jitter.
pub fn decide(environment: Environment, attempt: &Attempt<'_>, now: u64, draw: u64) -> Decision {
    match attempt.reply {
        Reply::Answered {
            status,
            headers,
            body,
        } => {
            let meaning = || {
                explain(&Observation {
                    environment,
                    endpoint: Endpoint::Api,
                    url: None,
                    status,
                    headers,
                    body,
                })
            };
            match status {
                ..=399 => Decision::Deliver(None),
                401 if !attempt.renewed => Decision::RenewAndResend,
                429 | 503 => {
                    // A moment that has passed by this machine's clock asks for nothing, and would be a storm.
                    let told = backoff::asked_wait(headers, now).filter(|wait| *wait > 0);
                    let wait = told.map_or_else(
                        || backoff::delay(attempt.number, draw),
                        |wait| wait.saturating_add(draw % 250),
                    );
                    let until = now.saturating_add(wait.min(backoff::LONGEST_WAIT));
                    let otherwise = || Decision::GiveUp(GiveUp::MustWait { until }, meaning());
                    wait_or(attempt, wait, otherwise)
                }
                408 | 500..=599 => failing(attempt, draw, meaning()),
                _ => Decision::Deliver(Some(meaning())),
            }
        }
        Reply::Unanswered { code, .. } if is_refused_by_host(code) => {
            Decision::GiveUp(GiveUp::Refused, refused_by_host(code))
        }
        Reply::Unanswered { code, sent: true } => failing(attempt, draw, unanswered(code, true)),
        Reply::Unanswered { code, sent: false } => retry_or(attempt, draw, || {
            Decision::GiveUp(GiveUp::NotSent, unanswered(code, false))
        }),
    }
}

fn is_refused_by_host(code: &str) -> bool {
    matches!(
        code,
        "origin-not-permitted" | "secret-not-permitted" | "invalid-request" | "no-such-entry"
    )
}

fn failing(attempt: &Attempt<'_>, draw: u64, failure: Diagnosis) -> Decision {
    if attempt
        .idempotent
        .unwrap_or_else(|| is_idempotent(attempt.method))
    {
        retry_or(attempt, draw, || Decision::GiveUp(GiveUp::Failing, failure))
    } else {
        Decision::UnknownOutcome(unknown(&failure))
    }
}

fn retry_or(attempt: &Attempt<'_>, draw: u64, otherwise: impl FnOnce() -> Decision) -> Decision {
    if attempt.number >= MOST_ATTEMPTS {
        return otherwise();
    }
    wait_or(attempt, backoff::delay(attempt.number, draw), otherwise)
}

fn wait_or(attempt: &Attempt<'_>, wait: u64, otherwise: impl FnOnce() -> Decision) -> Decision {
    if wait < attempt.time_left {
        Decision::RetryAfter(wait)
    } else {
        otherwise()
    }
}

/// Says why there is no answer.
pub fn unanswered(code: &str, sent: bool) -> Diagnosis {
    let (cause, remedy) = match code {
        _ if sent => (
            "The server or the network between was too slow or broke off.",
            PATIENCE,
        ),
        "dns" => (
            "The host's name could not be resolved.",
            "Check this machine's DNS and whether it is online.",
        ),
        "tls" => (
            "The server's certificate was not accepted: a proxy that inspects traffic, or a clock that is far off.",
            "Set `network.extra_ca` to the proxy's CA certificate, or set the clock.",
        ),
        "proxy" => (
            "The proxy refused or did not answer.",
            "Check HTTPS_PROXY and NO_PROXY.",
        ),
        _ => (
            "The host could not be reached.",
            "Check whether this machine is online and may reach the host.",
        ),
    };
    let summary = if sent {
        "No answer came to a request that was sent."
    } else {
        "Procore could not be reached; nothing was sent."
    };
    Diagnosis::new(code, summary, cause, remedy)
}

fn refused_by_host(code: &str) -> Diagnosis {
    Diagnosis::new(
        code,
        "The host refused to send the request.",
        "It would leave the connection's two hosts, is no valid request, or its stored body is gone.",
        "Check the path, the method and the headers.",
    )
}

fn unknown(failure: &Diagnosis) -> Diagnosis {
    Diagnosis::new(
        "unknown-outcome",
        "The request was sent, and it is not known whether it was executed.",
        &failure.summary,
        "Look in Procore whether it took effect. Where repeating it is safe, send it again, or declare it idempotent.",
    )
    .with_evidence(vec![format!("last failure: {}", failure.code)])
    .with_evidence(failure.evidence.clone())
}

/// The caller's time ran out before an attempt.
pub fn out_of_time(now: u64) -> Diagnosis {
    Diagnosis::new(
        "deadline",
        "The call's time ran out.",
        "Getting a token or waiting for the rate limit took the time that the caller allowed.",
        "Allow more time, or let the request be parked.",
    )
    .with_evidence(vec![format!("at {}", moment::text(now))])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn attempt<'a>(method: &'a str, reply: Reply<'a>) -> Attempt<'a> {
        Attempt {
            method,
            number: 1,
            idempotent: None,
            reply,
            renewed: false,
            time_left: 60_000,
        }
    }

    fn answered(status: u16) -> Reply<'static> {
        Reply::Answered {
            status,
            headers: &[],
            body: b"",
        }
    }

    fn name(attempt: &Attempt<'_>) -> &'static str {
        match decide(Environment::Sandbox, attempt, NOW, 0) {
            Decision::Deliver(None) => "deliver",
            Decision::Deliver(Some(_)) => "deliver with diagnosis",
            Decision::RetryAfter(_) => "retry",
            Decision::RenewAndResend => "renew",
            Decision::GiveUp(GiveUp::MustWait { .. }, _) => "must wait",
            Decision::GiveUp(GiveUp::NotSent, _) => "not sent",
            Decision::GiveUp(GiveUp::Failing, _) => "failing",
            Decision::GiveUp(GiveUp::Refused, _) => "refused",
            Decision::UnknownOutcome(_) => "unknown",
        }
    }

    #[test]
    fn the_table() {
        let (sent, unsent) = (
            Reply::Unanswered {
                code: "timeout",
                sent: true,
            },
            Reply::Unanswered {
                code: "connect",
                sent: false,
            },
        );
        for (method, reply, decision) in [
            ("GET", answered(200), "deliver"),
            ("GET", answered(304), "deliver"),
            ("POST", answered(401), "renew"),
            ("GET", answered(403), "deliver with diagnosis"),
            ("GET", answered(404), "deliver with diagnosis"),
            ("POST", answered(422), "deliver with diagnosis"),
            ("POST", answered(429), "retry"),
            ("POST", answered(503), "retry"),
            ("GET", answered(500), "retry"),
            ("GET", answered(408), "retry"),
            ("POST", answered(500), "unknown"),
            ("PATCH", answered(504), "unknown"),
            ("GET", sent, "retry"),
            ("PUT", sent, "retry"),
            ("POST", sent, "unknown"),
            ("POST", unsent, "retry"),
            ("get", sent, "unknown"),
        ] {
            assert_eq!(
                name(&attempt(method, reply)),
                decision,
                "{method} {reply:?}"
            );
        }
    }

    #[test]
    fn s62_an_outage_is_told_from_a_failure_at_one_request() {
        for status in [502, 503, 504] {
            assert!(is_outage(status, b"{}"));
        }
        assert!(is_outage(500, b" <html>"));
        assert!(!is_outage(500, b"{}"));
        assert!(!is_outage(408, b""));
    }

    #[test]
    fn the_end_of_the_table() {
        let unanswered = |code, sent| Reply::Unanswered { code, sent };
        for (method, reply, decision, parked) in [
            ("POST", answered(429), "must wait", Some(State::Queued)),
            ("POST", answered(503), "must wait", Some(State::Queued)),
            ("GET", answered(500), "failing", Some(State::Queued)),
            (
                "GET",
                unanswered("timeout", true),
                "failing",
                Some(State::Queued),
            ),
            (
                "POST",
                unanswered("dns", false),
                "not sent",
                Some(State::Queued),
            ),
            ("POST", unanswered("no-such-entry", false), "refused", None),
        ] {
            let last = Attempt {
                number: MOST_ATTEMPTS,
                time_left: 0,
                ..attempt(method, reply)
            };
            assert_eq!(name(&last), decision, "{method} {reply:?}");
            let Decision::GiveUp(why, _) = decide(Environment::Sandbox, &last, NOW, 0) else {
                panic!("{method} {reply:?}")
            };
            assert_eq!(parks(why.kind()), parked, "{method} {reply:?}");
        }
        assert_eq!(
            parks(ErrorKind::UnknownOutcome),
            Some(State::UnknownOutcome)
        );
        assert_eq!(parks(ErrorKind::Storage), None);
    }

    #[test]
    fn s34_a_reset_that_has_passed_is_no_reason_to_hurry() {
        let headers = [Header::new("X-Rate-Limit-Reset", "1")];
        let limited = Reply::Answered {
            status: 429,
            headers: &headers,
            body: b"",
        };
        let decision = decide(Environment::Sandbox, &attempt("GET", limited), NOW, 0);
        assert_eq!(decision, Decision::RetryAfter(backoff::delay(1, 0)));
    }

    #[test]
    fn s30_a_second_401_is_delivered() {
        assert_eq!(
            name(&Attempt {
                renewed: true,
                number: 2,
                ..attempt("GET", answered(401))
            }),
            "deliver with diagnosis"
        );
    }

    #[test]
    fn s33_the_caller_may_declare_it_safe() {
        assert_eq!(
            name(&Attempt {
                idempotent: Some(true),
                ..attempt("POST", answered(500))
            }),
            "retry"
        );
        assert_eq!(
            name(&Attempt {
                idempotent: Some(false),
                ..attempt("GET", answered(500))
            }),
            "unknown"
        );
    }

    #[test]
    fn s34_waits_as_told_and_not_beyond_the_callers_time() {
        let headers = [Header::new("Retry-After", "7")];
        let limited = Reply::Answered {
            status: 429,
            headers: &headers,
            body: b"",
        };
        assert_eq!(
            decide(Environment::Sandbox, &attempt("POST", limited), NOW, 0),
            Decision::RetryAfter(7_000)
        );
        assert_eq!(
            name(&Attempt {
                time_left: 6_000,
                ..attempt("POST", limited)
            }),
            "must wait"
        );
    }

    proptest! {
        #[test]
        fn what_may_have_been_executed_is_not_repeated_unless_idempotent(
            status in 100u16..600, number in 1u32..10, renewed: bool, time_left in 0u64..100_000, draw: u64, sent: bool, answers: bool,
        ) {
            let reply = if answers { answered(status) } else { Reply::Unanswered { code: "timeout", sent } };
            let attempt = Attempt { number, renewed, time_left, ..attempt("POST", reply) };
            let decision = decide(Environment::Production, &attempt, NOW, draw);
            let repeats = matches!(decision, Decision::RetryAfter(_) | Decision::RenewAndResend);
            let executed = if answers { !matches!(status, 401 | 429 | 503) } else { sent };
            prop_assert!(!(repeats && executed));
            if let Decision::RetryAfter(wait) = decision {
                prop_assert!(wait < time_left);
            }
        }
    }
}
