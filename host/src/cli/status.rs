//! `procore-auth status`: how the connections are, with the evidence. Sends nothing.

mod undelivered;

use procore_auth_host::{ConnectionName, Diagnosis, Environment, Health, Stage, Status};
use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::report::{self, FailureDocument};
use super::time;

/// Every connection as JSON. The fields are stable.
#[derive(Serialize)]
struct Document<'a> {
    connections: Vec<ConnectionDocument<'a>>,
    alerts: undelivered::Document<'a>,
}

/// A connection as JSON. The fields are stable.
#[derive(Serialize)]
pub(super) struct ConnectionDocument<'a> {
    connection: &'a str,
    environment: Environment,
    #[serde(flatten)]
    found: Found<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Status(Box<StatusDocument<'a>>),
    Error { error: FailureDocument<'a> },
}

#[derive(Serialize)]
struct StatusDocument<'a> {
    health: Health,
    exit_code: u8,
    token: Option<TokenDocument>,
    last_evidence: Option<String>,
    identity: Option<&'a procore_auth_host::Identity>,
    refreshes: u64,
    incident: Option<IncidentDocument<'a>>,
    parked: u32,
    undecided: u32,
}

#[derive(Serialize)]
struct TokenDocument {
    issued_at: String,
    refresh_at: String,
    expires_at: String,
}

#[derive(Serialize)]
struct IncidentDocument<'a> {
    since: String,
    last_told: String,
    stage: Stage,
    dark_at: Option<String>,
    diagnosis: &'a Diagnosis,
}

/// What is known of one connection.
pub(super) struct Known {
    /// Its name.
    pub(super) name: ConnectionName,
    /// Its environment, as configured.
    pub(super) environment: Environment,
    /// Its status, or why there is none.
    pub(super) status: Result<Status, Box<Explained>>,
}

/// Prints the status of every connection, or of the one that is named.
pub(super) async fn run(context: &Context<'_>) -> Result<Exit, Failure> {
    let mut all = Vec::new();
    for (name, environment, open) in context.open_all().await? {
        let status = match open {
            Ok(open) => open.connection.status().await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        all.push(Known {
            name,
            environment,
            status: status.map_err(Failure::explained),
        });
    }
    print(context, &all)
}

/// Prints what is known, of the connections and of their alerts, and returns the exit code of the worst.
pub(super) fn print(context: &Context<'_>, all: &[Known]) -> Result<Exit, Failure> {
    let alerts = context.opened.undelivered();
    if context.terminal.is_json() {
        let connections = all.iter().map(ConnectionDocument::from).collect();
        let alerts = undelivered::Document::from(&alerts);
        context.terminal.json(&Document {
            connections,
            alerts,
        })?;
    } else {
        let now = time::now();
        let text = table(all, now) + &undelivered::text(&alerts, now);
        context.terminal.bytes(text.as_bytes())?;
    }
    let worst = all.iter().map(Known::exit).fold(Exit::Done, Exit::worst);
    Ok(worst.worst(undelivered::exit(&alerts)))
}

impl Known {
    fn exit(&self) -> Exit {
        match &self.status {
            Ok(status) => exit_of(status),
            Err(explained) => explained.exit,
        }
    }
}

/// Returns the exit code that stands for a status.
pub(super) fn exit_of(status: &Status) -> Exit {
    match status.health {
        Health::Healthy if status.parked + status.undecided > 0 => Exit::Parked,
        Health::Healthy => Exit::Done,
        Health::Unverified | Health::AtRisk => Exit::AtRisk,
        Health::Unavailable => Exit::Unavailable,
        Health::Misconfigured => Exit::Configuration,
        Health::SignInRequired => Exit::SignInRequired,
        _ => Exit::Internal,
    }
}

/// Returns the word for a health.
pub(super) fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unverified => "unverified",
        Health::AtRisk => "at risk",
        Health::Unavailable => "unavailable",
        Health::Misconfigured => "misconfigured",
        Health::SignInRequired => "sign-in required",
        _ => "unknown",
    }
}

const HEADINGS: [&str; 7] = [
    "CONNECTION",
    "ENVIRONMENT",
    "HEALTH",
    "TOKEN",
    "LAST EVIDENCE",
    "ACTS AS",
    "PARKED",
];

/// Renders a table, and the troubles below it.
fn table(all: &[Known], now: u64) -> String {
    let rows: Vec<[String; 7]> = std::iter::once(HEADINGS.map(str::to_owned))
        .chain(all.iter().map(|known| row(known, now)))
        .collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    });
    let mut table = String::new();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        table.push_str(line.join("  ").trim_end());
        table.push('\n');
    }
    for known in all {
        table.push_str(&trouble(known, now));
    }
    table
}

fn row(known: &Known, now: u64) -> [String; 7] {
    let name = known.name.to_string();
    let none = || "-".to_owned();
    let environment = environment(known.environment).to_owned();
    let Ok(status) = &known.status else {
        return [
            name,
            environment,
            "error".to_owned(),
            none(),
            none(),
            none(),
            none(),
        ];
    };
    [
        name,
        environment,
        word(status.health).to_owned(),
        status
            .token
            .map_or_else(none, |token| token_cell(token.expires_at, now)),
        status
            .last_evidence
            .map_or_else(none, |at| time::relative(at, now)),
        status
            .identity
            .as_ref()
            .map_or_else(none, |who| who.login.clone()),
        parked_cell(status),
    ]
}

fn token_cell(expires_at: u64, now: u64) -> String {
    let word = if expires_at > now {
        "expires"
    } else {
        "expired"
    };
    format!("{word} {}", time::relative(expires_at, now))
}

fn parked_cell(status: &Status) -> String {
    match (status.parked, status.undecided) {
        (parked, 0) => parked.to_string(),
        (parked, undecided) => format!("{parked} (+{undecided} to decide)"),
    }
}

fn trouble(known: &Known, now: u64) -> String {
    let text = match &known.status {
        Ok(status) => match &status.incident {
            Some(incident) => {
                let since = time::relative(incident.since, now);
                format!("since {since}: {}", report::diagnosis(&incident.diagnosis))
            }
            None => match advice(status.health, &known.name) {
                Some(advice) => advice,
                None => return String::new(),
            },
        },
        Err(explained) => report::text(explained),
    };
    format!("\n{}: {text}\n", known.name)
}

/// Returns what to do where somebody must act and no incident says why.
fn advice(health: Health, name: &ConnectionName) -> Option<String> {
    let acts = matches!(health, Health::SignInRequired | Health::Misconfigured);
    let word = word(health);
    acts.then(|| format!("{word}: `procore-auth token --connection {name}` tells why"))
}

/// Returns the environment's name in the configuration.
pub(super) fn environment(environment: Environment) -> &'static str {
    match environment {
        Environment::Production => "production",
        Environment::Sandbox => "sandbox",
        Environment::MonthlySandbox => "monthly-sandbox",
        Environment::Federal => "federal",
    }
}

impl<'a> From<&'a Known> for ConnectionDocument<'a> {
    fn from(known: &'a Known) -> Self {
        Self {
            connection: known.name.as_str(),
            environment: known.environment,
            found: match &known.status {
                Ok(status) => Found::Status(Box::new(status.into())),
                Err(explained) => Found::Error {
                    error: (&**explained).into(),
                },
            },
        }
    }
}

impl<'a> From<&'a Status> for StatusDocument<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            health: status.health,
            exit_code: exit_of(status).describe().0,
            token: status.token.map(|token| TokenDocument {
                issued_at: time::rfc3339(token.issued_at),
                refresh_at: time::rfc3339(token.refresh_at),
                expires_at: time::rfc3339(token.expires_at),
            }),
            last_evidence: status.last_evidence.map(time::rfc3339),
            identity: status.identity.as_ref(),
            refreshes: status.refreshes,
            incident: status.incident.as_ref().map(|incident| IncidentDocument {
                since: time::rfc3339(incident.since),
                last_told: time::rfc3339(incident.last_told),
                stage: incident.stage,
                dark_at: incident.dark_at.map(time::rfc3339),
                diagnosis: &incident.diagnosis,
            }),
            parked: status.parked,
            undecided: status.undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, Exit, Explained, Health, Known, advice, table};

    #[test]
    fn where_somebody_must_act_and_nothing_says_why_the_way_to_know_is_told() {
        let name = "acme".parse().expect("valid");
        for health in [Health::SignInRequired, Health::Misconfigured] {
            let advice = advice(health, &name).expect("advice");
            assert!(advice.contains("token --connection acme"), "{advice}");
        }
        assert_eq!(advice(Health::Healthy, &name), None);
        assert_eq!(advice(Health::Unverified, &name), None);
    }

    #[test]
    fn a_connection_that_cannot_be_opened_has_its_row_and_its_reason() {
        let explained = Explained::new(
            Exit::Configuration,
            "config-invalid",
            "It is wrong.",
            "Mend it.",
        );
        let known = Known {
            name: "acme".parse().expect("valid"),
            environment: Environment::Sandbox,
            status: Err(Box::new(explained)),
        };
        assert_eq!(known.exit(), Exit::Configuration);
        let table = table(&[known], 0);
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[0].starts_with("CONNECTION  ENVIRONMENT  HEALTH"),
            "{table}"
        );
        assert!(
            lines[1].starts_with("acme        sandbox      error"),
            "{table}"
        );
        assert!(table.contains("acme: It is wrong."), "{table}");
    }
}
