//! `Retry-After` and the rate-limit headers: every wait is bounded, and nothing is sent twice that must not be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use procore_auth_fuzz::{reply, secrets};
use procore_auth_guest::backoff::LONGEST_WAIT;
use procore_auth_guest::environment::Environment;
use procore_auth_guest::pace::{self, Pace};
use procore_auth_guest::retry::{self, Attempt, Decision, GiveUp, Reply};

const NOW: u64 = 1_800_000_000_000;
const TIME_LEFT: u64 = 60_000;

fuzz_target!(|bytes: &[u8]| {
    let Some(response) = reply::read(&secrets::planted(bytes)) else {
        return;
    };
    for pace in [Pace::Own, Pace::Replay] {
        if let Some(until) = pace::pause_until(response.status, &response.headers, NOW, pace) {
            assert!(until > NOW && until <= NOW + LONGEST_WAIT, "{until}");
        }
    }
    for method in ["GET", "POST"] {
        for number in [1, 2, 4, u32::MAX] {
            for draw in [0, u64::MAX] {
                let attempt = Attempt {
                    method,
                    number,
                    idempotent: None,
                    reply: Reply::Answered {
                        status: response.status,
                        headers: &response.headers,
                        body: &response.body,
                    },
                    renewed: number > 1,
                    time_left: TIME_LEFT,
                };
                judge(&attempt, response.status, draw);
            }
        }
    }
});

fn judge(attempt: &Attempt<'_>, status: u16, draw: u64) {
    match retry::decide(Environment::Production, attempt, NOW, draw) {
        Decision::RetryAfter(wait) => {
            assert!((1..TIME_LEFT).contains(&wait), "{wait}");
            let executed = !matches!(status, 429 | 503);
            assert!(
                attempt.method != "POST" || !executed,
                "a POST is sent twice"
            );
        }
        Decision::RenewAndResend => assert!(status == 401 && !attempt.renewed),
        Decision::GiveUp(why, diagnosis) => {
            secrets::check(&diagnosis);
            if let GiveUp::MustWait { until } = why {
                assert!(until > NOW && until <= NOW + LONGEST_WAIT, "{until}");
            }
        }
        Decision::UnknownOutcome(diagnosis) => {
            assert_eq!(attempt.method, "POST");
            secrets::check(&diagnosis);
        }
        Decision::Deliver(Some(diagnosis)) => secrets::check(&diagnosis),
        Decision::Deliver(None) => assert!(status < 400),
    }
}
