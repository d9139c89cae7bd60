//! Whether Procore's hosts can be reached, and whether this machine's clock agrees with theirs.
//!
//! Each host gets one request that needs no credentials and changes nothing. Any answer of Procore's own will do, a refusal too.

use std::time::Duration;

use procore_auth_host::{HttpClient, HttpFailure, RequestLimits};

use super::check::Check;
use super::finding::{About, Finding};
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::time;

/// What one request of a check may take.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    timeout: Duration::from_secs(10),
    reply_size: 256 * 1024,
};

/// By how much the clocks may differ before it is told, in milliseconds. A reply's date is in whole seconds.
const DOUBTFUL: u64 = 60_000;

/// From here on a token is served after its end, or refreshed long before it.
const WRONG: u64 = 300_000;

/// The variables that name proxies.
const PROXIES: [&str; 3] = ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// What a host answered.
#[derive(Debug)]
pub(super) struct Answer {
    host: String,
    status: u16,
    is_page: bool,
    /// By how many milliseconds the server's clock is ahead; `None` where it named no time.
    ahead: Option<i64>,
}

/// Asks a host for something that needs a token, without one.
pub(super) async fn ask(
    http: &dyn HttpClient,
    host: &str,
    path: &str,
) -> Result<Answer, (String, HttpFailure)> {
    let failed = |failure| (host.to_owned(), failure);
    let request = http::Request::get(format!("https://{host}{path}"))
        .header("accept", "application/json")
        .body(Vec::new())
        .map_err(|error| {
            failed(HttpFailure::new(
                "invalid-request",
                error.to_string(),
                false,
            ))
        })?;
    let before = time::now();
    let response = http.send(request, LIMITS).await.map_err(failed)?;
    let middle = before.midpoint(time::now());
    Ok(Answer {
        host: host.to_owned(),
        status: response.status().as_u16(),
        is_page: response.body().trim_ascii_start().starts_with(b"<"),
        ahead: date(&response).map(|date| date - i64::try_from(middle).unwrap_or(i64::MAX)),
    })
}

fn date(response: &http::Response<Vec<u8>>) -> Option<i64> {
    let date = response.headers().get(http::header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_millisecond())
}

/// Judges one host by what became of its request.
pub(super) fn judge(name: &'static str, asked: &Result<Answer, (String, HttpFailure)>) -> Check {
    match asked {
        Ok(answer) => {
            let check = Check::of(name).seen(format!("{} answered {}", answer.host, answer.status));
            check.found(misplaced(answer))
        }
        Err((host, failure)) => {
            let finding = unreached(host, failure);
            let evidence = finding.explained.evidence.iter().cloned();
            evidence.fold(Check::of(name), Check::seen).found([finding])
        }
    }
}

/// Names the host before what failed, unless that does so itself.
fn of_host(host: &str, message: &str) -> String {
    if message.starts_with(host) {
        message.to_owned()
    } else {
        format!("{host}: {message}")
    }
}

/// A request that got no answer.
pub(super) fn unreached(host: &str, failure: &HttpFailure) -> Finding {
    let explained = unreachable(host, failure.code).seen(of_host(host, &failure.message));
    let explained = proxies().into_iter().fold(explained, Explained::seen);
    Finding::trouble(About::Network, explained)
}

/// Says which variables name proxies. Their values may hold a password.
fn proxies() -> Vec<String> {
    let is_set = |name: &str| {
        let names = [name.to_owned(), name.to_ascii_lowercase()];
        let mut values = names.iter().filter_map(std::env::var_os);
        values.any(|value| !value.is_empty())
    };
    let set = PROXIES.into_iter().filter(|name| is_set(name));
    set.map(|name| format!("the environment sets {name}"))
        .collect()
}

/// Something other than Procore answered, or Procore is in trouble.
fn misplaced(answer: &Answer) -> Option<Finding> {
    let Answer { host, status, .. } = answer;
    let explained = match status {
        429 => Explained::new(
            Exit::Unavailable,
            "rate-limited",
            format!("{host} takes no more requests for now."),
            "Nothing to do: calls go on when the window resets. If it is frequent, call less often.",
        )
        .because("The app made too many calls within the hour or within ten seconds; failed calls count too."),
        408 | 500..=599 => Explained::new(
            Exit::Unavailable,
            &format!("http-{status}"),
            format!("{host} is in trouble: it answered {status}."),
            "Nothing to do here: it is tried again by itself. If it lasts, look at Procore's status page.",
        )
        .because("The server, or something in front of it, fails. No token is dead because of it."),
        300..=399 => Explained::new(
            Exit::Unavailable,
            "unexpected-redirect",
            format!("Something in the place of {host} sends us elsewhere."),
            "Open the address in a browser from this machine, and sign in to the network where it asks.",
        )
        .because("A captive portal, a firewall or a gateway answers in the server's place."),
        _ if answer.is_page => Explained::new(
            Exit::Unavailable,
            "unexpected-html",
            format!("A web page came from {host} instead of Procore's reply."),
            "Open the address in a browser from this machine, and see who answers there; then have that gateway let the host through.",
        )
        .because("A captive portal, a firewall or a gateway answers in the server's place."),
        _ => return None,
    };
    let explained = explained.seen(format!("{host} answered {status}"));
    Some(Finding::trouble(About::Network, explained))
}

/// Why there was no answer, and what to do.
fn unreachable(host: &str, code: &'static str) -> Explained {
    let (summary, cause, remedy) = match code {
        "dns" => (
            format!("The name {host} cannot be resolved."),
            "This machine has no working DNS, or is not permitted to resolve names outside.",
            format!("Try `getent hosts {host}`. Mend /etc/resolv.conf, or name a proxy in HTTPS_PROXY."),
        ),
        "connect" => (
            format!("No connection to {host} can be made."),
            "A firewall lets nothing through to port 443, or the server is down.",
            format!("Have the firewall permit {host}, port 443; or name a proxy in HTTPS_PROXY."),
        ),
        "tls" => (
            format!("{host} does not show a certificate that this machine trusts."),
            "A proxy of the company inspects the traffic and signs with an authority of its own; or the machine's authorities or its clock are out of date.",
            "Put the company's authority into a PEM file and name it as `extra_ca` in [network]. Never switch the check off.".to_owned(),
        ),
        "proxy" => (
            format!("The proxy makes no tunnel to {host}."),
            "The proxy is down, wants a password, or does not permit the host.",
            "Check HTTPS_PROXY and NO_PROXY in the environment of this process; have the proxy permit the host.".to_owned(),
        ),
        "timeout" => (
            format!("{host} did not answer in time."),
            "A firewall swallows the packets, or the network or the server is slow.",
            format!("Have the firewall permit {host}, port 443. If it passes by itself, nothing is to be done."),
        ),
        _ => (
            format!("There is no usable answer from {host}."),
            "The connection ended early, or what answers does not speak HTTP.",
            "See what stands between this machine and the server.".to_owned(),
        ),
    };
    Explained::new(Exit::Unavailable, code, summary, remedy).because(cause)
}

/// Compares the clocks by the answers' dates.
pub(super) fn clock(answers: &[&Answer]) -> Check {
    let measured = answers.iter().filter_map(|a| Some((&a.host, a.ahead?)));
    // The least difference is the most believable one: a cache or a gateway may name another time.
    let Some((host, ahead)) = measured.min_by_key(|(_, ahead)| ahead.unsigned_abs()) else {
        return match answers {
            [] => Check::skipped("clock", "no server can be asked"),
            _ => Check::prevented("clock", "no server told the time"),
        };
    };
    let apart = Duration::from_millis(ahead.unsigned_abs() / 1000 * 1000);
    let fact = match ahead {
        _ if ahead.unsigned_abs() < 2_000 => format!("agrees with {host}"),
        0.. => format!("{} behind that of {host}", time::rough(apart)),
        _ => format!("{} ahead of that of {host}", time::rough(apart)),
    };
    let check = Check::of("clock").seen(fact.clone());
    let explained = Explained::new(
        Exit::Configuration,
        "clock-wrong",
        "This machine's clock is wrong.",
        "Set it, and have it kept right: `timedatectl set-ntp true`.",
    )
    .because("Tokens are served and refreshed by this clock: with a wrong one they are used after their end, or refreshed too often.")
    .seen(format!("the clock is {fact}"));
    match ahead.unsigned_abs() {
        WRONG.. => check.found([Finding::trouble(About::Clock, explained)]),
        DOUBTFUL.. => check.found([Finding::hint(About::Clock, explained)]),
        _ => check,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::{Answer, clock, judge};
    use procore_auth_host::HttpFailure;

    fn answer(status: u16, is_page: bool, ahead: Option<i64>) -> Answer {
        Answer {
            host: "login.procore.com".to_owned(),
            status,
            is_page,
            ahead,
        }
    }

    fn first_code(check: &super::Check) -> Option<&str> {
        Some(check.findings().first()?.explained.code.as_str())
    }

    #[test]
    fn any_answer_of_procores_own_will_do() {
        for (status, is_page, code) in [
            (401, false, None),
            (403, false, None),
            (200, true, Some("unexpected-html")),
            (403, true, Some("unexpected-html")),
            (302, true, Some("unexpected-redirect")),
            (502, true, Some("http-502")),
            (429, false, Some("rate-limited")),
        ] {
            let check = judge("login host", &Ok(answer(status, is_page, None)));
            assert_eq!(first_code(&check), code, "{status}");
        }
    }

    #[test]
    fn every_failure_of_the_network_is_explained() {
        for code in [
            "dns",
            "connect",
            "tls",
            "proxy",
            "timeout",
            "connection-closed",
        ] {
            let failure = HttpFailure::new(code, "why", false);
            let check = judge("API host", &Err(("api.procore.com".to_owned(), failure)));
            assert_eq!(first_code(&check), Some(code));
            assert_eq!(check.verdict(), Verdict::Wrong);
        }
    }

    #[test]
    fn the_host_is_named_once() {
        for message in ["api.procore.com: Connection refused", "Connection refused"] {
            let failure = HttpFailure::new("connect", message, false);
            let check = judge("API host", &Err(("api.procore.com".to_owned(), failure)));
            assert_eq!(check.evidence[0], "api.procore.com: Connection refused");
        }
    }

    #[test]
    fn clocks_are_compared_with_room_for_the_network() {
        let judged = |ahead| clock(&[&answer(401, false, Some(ahead))]).verdict();
        for (ahead, verdict) in [
            (0, Verdict::Fine),
            (-30_000, Verdict::Fine),
            (90_000, Verdict::Doubtful),
            (-600_000, Verdict::Wrong),
            (i64::MIN, Verdict::Wrong),
        ] {
            assert_eq!(judged(ahead), verdict, "{ahead}");
        }
        let none = clock(&[&answer(401, false, None)]);
        assert_eq!(none.verdict(), Verdict::NotChecked);
        assert!(none.is_prevented());
        assert!(!clock(&[]).is_prevented(), "that nobody answers is told");
    }

    #[test]
    fn of_several_dates_the_nearest_counts() {
        let cached = answer(200, false, Some(-7_200_000));
        let fresh = answer(401, false, Some(500));
        assert_eq!(clock(&[&cached, &fresh]).verdict(), Verdict::Fine);
    }
}
