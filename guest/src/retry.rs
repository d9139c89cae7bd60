//! The call policy: what to do after an attempt at an API call. One pure function, shared by `api.send` and `api.assess`.
//!
//! | attempt came to | first time | again |
//! |---|---|---|
//! | any status but those below | deliver | deliver |
//! | 401 (*not executed*, whatever the method) | renew the token and resend | deliver |
//! | 429, 503 (*not executed*) | wait as told, resend | as before, while the time lasts |
//! | 408, other 5xx, idempotent | backoff, resend | as before, 4 attempts in all |
//! | 408, other 5xx, not idempotent | unknown outcome | |
//! | no reply, not sent | backoff, resend | as before, 4 attempts in all |
//! | no reply, sent, idempotent | backoff, resend | as before, 4 attempts in all |
//! | no reply, sent, not idempotent | unknown outcome | |
//!
//! 403 and 404 are delivered: they are never a reason to refresh.

use crate::{
    backoff,
    diagnosis::{Diagnosis, PATIENCE},
    environment::Environment,
    explain::{Endpoint, Observation, explain},
    http::Header,
    moment,
};

/// How many attempts passing failures get, without those that the server asked to wait for.
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
    /// It was not executed and cannot be now.
    GiveUp(Diagnosis),
    /// It may have been executed.
    UnknownOutcome(Diagnosis),
}

/// Whether executing the method twice does the same as once (RFC 9110, section 9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
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
                    let wait = backoff::asked_wait(headers, now)
                        .unwrap_or_else(|| backoff::delay(attempt.number, draw));
                    wait_or(
                        attempt,
                        wait.saturating_add(draw % 250),
                        Decision::GiveUp(meaning()),
                    )
                }
                408 | 500..=599 => passing(attempt, draw, meaning()),
                _ => Decision::Deliver(Some(meaning())),
            }
        }
        Reply::Unanswered { code, sent } => passing_unless_unsent(attempt, draw, code, sent),
    }
}

fn passing_unless_unsent(attempt: &Attempt<'_>, draw: u64, code: &str, sent: bool) -> Decision {
    if matches!(
        code,
        "origin-not-permitted" | "secret-not-permitted" | "invalid-request"
    ) {
        return Decision::GiveUp(refused_by_host(code));
    }
    if sent {
        passing(attempt, draw, unanswered(code, true))
    } else {
        retry_or(attempt, draw, Decision::GiveUp(unanswered(code, false)))
    }
}

fn passing(attempt: &Attempt<'_>, draw: u64, failure: Diagnosis) -> Decision {
    if attempt
        .idempotent
        .unwrap_or_else(|| is_idempotent(attempt.method))
    {
        retry_or(attempt, draw, Decision::GiveUp(failure))
    } else {
        Decision::UnknownOutcome(unknown(&failure))
    }
}

fn retry_or(attempt: &Attempt<'_>, draw: u64, otherwise: Decision) -> Decision {
    if attempt.number >= MOST_ATTEMPTS {
        return otherwise;
    }
    wait_or(attempt, backoff::delay(attempt.number, draw), otherwise)
}

fn wait_or(attempt: &Attempt<'_>, wait: u64, otherwise: Decision) -> Decision {
    if wait < attempt.time_left {
        Decision::RetryAfter(wait)
    } else {
        otherwise
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
        "It would leave the connection's two hosts, or is no valid request.",
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
            Decision::GiveUp(_) => "give up",
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
            "give up"
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
