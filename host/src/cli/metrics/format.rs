//! The metrics in Prometheus' text format, version 0.0.4.
//!
//! Every moment is in seconds since 1970-01-01T00:00:00Z. What is not known has no sample: there is no zero for "never".

use std::io;

use procore_auth_host::Health;
use procore_auth_host::alerts::SinkReport;
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder, core::Collector};

use super::board::{Board, Line};
use crate::cli::open::Opener;
use crate::cli::status;

const HEALTHS: [Health; 6] = [
    Health::Healthy,
    Health::Unverified,
    Health::AtRisk,
    Health::Unavailable,
    Health::Misconfigured,
    Health::SignInRequired,
];

/// What stands before each value: whose it is.
const OF: [&str; 2] = ["connection", "environment"];

/// Renders all that is known now.
pub(super) fn exposition(opener: &Opener, now: u64) -> io::Result<String> {
    // Where the outbox cannot be read, nothing is said of it: no false zero.
    let sinks = opener.courier().outbox().report().unwrap_or_default();
    render(opener.board(), &sinks, now).map_err(io::Error::other)
}

fn render(board: &Board, sinks: &[SinkReport], now: u64) -> prometheus::Result<String> {
    let families = Families(Registry::new());
    let build = families.gauge("build_info", "The version that runs.", &["version"])?;
    build
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1.0);
    let began = "When this keeper began to watch.";
    let started = families.gauge("keeper_start_timestamp_seconds", began, &[])?;
    started
        .with_label_values::<&str>(&[])
        .set(seconds(board.since()));
    let lines = board.lines(now);
    keeper(&families, &lines)?;
    connections(&families, &lines)?;
    tokens(&families, &lines, now)?;
    undelivered(&families, sinks)?;
    TextEncoder::new().encode_to_string(&families.0.gather())
}

fn keeper(families: &Families, lines: &[Line]) -> prometheus::Result<()> {
    let name = "keeper_last_visit_timestamp_seconds";
    let visited = families.gauge(name, "When a visit last succeeded.", &OF)?;
    let name = "keeper_next_visit_timestamp_seconds";
    let due = families.gauge(name, "When the next visit is due.", &OF)?;
    let name = "keeper_visits_failing";
    let failing = families.gauge(name, "Whether the last visit failed: 1 or 0.", &OF)?;
    for line in lines {
        let of = line.labels();
        if let Some((at, _)) = line.found {
            visited.with_label_values(&of).set(seconds(at));
        }
        due.with_label_values(&of).set(seconds(line.due));
        failing
            .with_label_values(&of)
            .set(if line.failing.is_some() { 1.0 } else { 0.0 });
    }
    Ok(())
}

fn connections(families: &Families, lines: &[Line]) -> prometheus::Result<()> {
    let name = "health";
    let help = "How well a connection is: 1 for the state it is in, 0 for the others.";
    let health = families.gauge(name, help, &["connection", "environment", "state"])?;
    let help = "Refreshes of the token since the sign-in.";
    let refreshes = families.counter("refreshes_total", help)?;
    let help = "Requests that wait to be replayed.";
    let parked = families.gauge("parked_requests", help, &OF)?;
    let help = "Requests that a person must decide about.";
    let undecided = families.gauge("undecided_requests", help, &OF)?;
    let help = "Whether calls are made as the service account that stands in: 1 or 0.";
    let fallback = families.gauge("fallback_in_use", help, &OF)?;
    let help = "When the present trouble began.";
    let labels = ["connection", "environment", "code"];
    let incident = families.gauge("incident_since_timestamp_seconds", help, &labels)?;
    for line in lines {
        let [name, environment] = line.labels();
        for state in HEALTHS.map(Some).into_iter().chain([None]) {
            let value = if state == line.health { 1.0 } else { 0.0 };
            health
                .with_label_values(&[name, environment, &code(state)])
                .set(value);
        }
        let Some((_, status)) = &line.found else {
            continue;
        };
        let of = [name, environment];
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 refreshes are never reached"
        )]
        refreshes
            .with_label_values(&of)
            .inc_by(status.refreshes as f64);
        parked.with_label_values(&of).set(status.parked.into());
        undecided
            .with_label_values(&of)
            .set(status.undecided.into());
        let in_use = if status.fallback_in_use { 1.0 } else { 0.0 };
        fallback.with_label_values(&of).set(in_use);
        if let Some(trouble) = &status.incident {
            incident
                .with_label_values(&[name, environment, &trouble.diagnosis.code])
                .set(seconds(trouble.since));
        }
    }
    Ok(())
}

fn tokens(families: &Families, lines: &[Line], now: u64) -> prometheus::Result<()> {
    let name = "token_refresh_timestamp_seconds";
    let refresh = families.gauge(name, "When the access token is due for a refresh.", &OF)?;
    let name = "token_expiry_timestamp_seconds";
    let expiry = families.gauge(name, "When the access token expires.", &OF)?;
    let help = "How long calls still work without another refresh; 0 where they do not.";
    let dark = families.gauge("dark_in_seconds", help, &OF)?;
    let name = "last_evidence_timestamp_seconds";
    let help = "When the server last accepted these credentials.";
    let evidence = families.gauge(name, help, &OF)?;
    for line in lines {
        let of = line.labels();
        let Some((_, status)) = &line.found else {
            continue;
        };
        let expires_at = status.token.map_or(0, |token| token.expires_at);
        dark.with_label_values(&of)
            .set(seconds(expires_at.saturating_sub(now)));
        if let Some(token) = status.token {
            refresh
                .with_label_values(&of)
                .set(seconds(token.refresh_at));
            expiry.with_label_values(&of).set(seconds(token.expires_at));
        }
        if let Some(at) = status.last_evidence {
            evidence.with_label_values(&of).set(seconds(at));
        }
    }
    Ok(())
}

fn undelivered(families: &Families, sinks: &[SinkReport]) -> prometheus::Result<()> {
    let help = "Alerts that wait to be delivered to a sink.";
    let family = families.gauge("undelivered_alerts", help, &["sink"])?;
    for sink in sinks {
        // What cannot be read waits too.
        let waiting = sink.waiting + sink.unusable.len();
        let count = u32::try_from(waiting).unwrap_or(u32::MAX);
        family
            .with_label_values(&[sink.sink.as_str()])
            .set(count.into());
    }
    Ok(())
}

/// Returns the word for a health as in JSON; `unknown` where no visit has told.
fn code(health: Option<Health>) -> String {
    health.map_or("unknown", status::word).replace(' ', "-")
}

impl Line {
    fn labels(&self) -> [&str; 2] {
        [self.name.as_str(), self.environment.as_str()]
    }
}

/// The metrics of one moment, each under the name of this program.
struct Families(Registry);

impl Families {
    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(options(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<CounterVec> {
        self.add(CounterVec::new(options(name, help), &OF)?)
    }

    fn add<C: Collector + Clone + 'static>(&self, family: C) -> prometheus::Result<C> {
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("procore_auth_{name}"), help)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this age are exact"
)]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use procore_auth_host::Health;
    use procore_auth_host::internals::made;
    use prometheus_parse::{Scrape, Value};

    use super::super::board::{Board, tests as boards};
    use super::render;

    fn scrape(board: &Board, now: u64) -> Scrape {
        let text = render(board, &[], now).expect("rendered");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().expect("a name");
            for what in ["HELP", "TYPE"] {
                assert!(text.contains(&format!("# {what} {name} ")), "{what} {name}");
            }
        }
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("parsed")
    }

    fn value(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let name = format!("procore_auth_{name}");
        let found = scrape.samples.iter().find(|sample| {
            sample.metric == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(key) == Some(value))
        });
        match found?.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => Some(value),
            _ => None,
        }
    }

    #[test]
    fn an_independent_parser_reads_what_is_told() {
        let (board, now) = boards::healthy();
        let scrape = scrape(&board, now + 1000);
        let acme = [("connection", "acme"), ("environment", "sandbox")];
        assert_eq!(
            value(&scrape, "build_info", &[("version", "0.1.0")]),
            Some(1.0)
        );
        let state = |state| value(&scrape, "health", &[acme[0], acme[1], ("state", state)]);
        assert_eq!(state("healthy"), Some(1.0));
        for other in ["unverified", "at-risk", "sign-in-required", "unknown"] {
            assert_eq!(state(other), Some(0.0), "{other}");
        }
        assert_eq!(value(&scrape, "refreshes_total", &acme), Some(0.0));
        assert_eq!(value(&scrape, "dark_in_seconds", &acme), Some(5399.0));
        let expiry = value(&scrape, "token_expiry_timestamp_seconds", &acme);
        assert_eq!(expiry, Some(super::seconds(now + 5_400_000)));
        let evidence = value(&scrape, "last_evidence_timestamp_seconds", &acme);
        assert_eq!(evidence, Some(super::seconds(now)));
        assert_eq!(
            value(&scrape, "incident_since_timestamp_seconds", &acme),
            None
        );
        assert_eq!(value(&scrape, "keeper_visits_failing", &acme), Some(0.0));
    }

    #[test]
    fn trouble_is_told_with_its_code_and_any_code_can_be_read() {
        let mut status = made::status(Health::SignInRequired);
        let diagnosis = made::diagnosis("odd\"code\\\n", "", "", "");
        status.incident = Some(made::incident(2000, diagnosis));
        (status.parked, status.undecided) = (3, 1);
        let now = crate::cli::time::now();
        let scrape = scrape(&boards::board(status, now), now);
        assert_eq!(value(&scrape, "parked_requests", &[]), Some(3.0));
        assert_eq!(value(&scrape, "undecided_requests", &[]), Some(1.0));
        assert_eq!(value(&scrape, "dark_in_seconds", &[]), Some(0.0));
        let since = value(&scrape, "incident_since_timestamp_seconds", &[]);
        assert_eq!(since, Some(2.0));
        assert_eq!(value(&scrape, "token_expiry_timestamp_seconds", &[]), None);
    }

    #[test]
    fn s40_old_evidence_makes_no_healthy_metric() {
        let (board, now) = boards::healthy();
        let scrape = scrape(&board, now + 5_400_000);
        let healthy = value(&scrape, "health", &[("state", "healthy")]);
        assert_eq!(healthy, Some(0.0));
        let unverified = value(&scrape, "health", &[("state", "unverified")]);
        assert_eq!(unverified, Some(1.0));
    }
}
