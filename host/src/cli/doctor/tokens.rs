//! Whether the tokens work: what is stored of them, what the login host and the API say of the access token, and what the company lets it do.
//!
//! Nothing is refreshed for it: a token that is due is looked at as it is stored.

use procore_auth_host::{Connection, Endpoint, Environment, Error, Grant, Observation, Status};
use serde_json::Value;

use super::check::Check;
use super::configuration::{Patient, failed};
use super::finding::{About, Finding};
use super::network::LIMITS;
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::{login, status, time};

/// Longer than the checks take, in milliseconds: a token that is not due within it is handed out without a request.
const A_WHILE: u64 = 60_000;

/// Has the plugin look at what is stored, and ask `token/info` and `/rest/v1.0/me`.
pub(super) async fn check(connection: &Connection) -> (Check, Option<Status>) {
    let check = Check::of("tokens");
    let status = match connection.status().await {
        Ok(status) => status,
        Err(error) => return (check.found([failed(About::Store, error.into())]), None),
    };
    let now = time::now();
    let check = describe(check, &status, now);
    let check = match connection.diagnose().await {
        Ok(found) => {
            let about_redirects =
                |code: &str| code.starts_with("redirect") || code == "invalid_redirect_uri";
            let found = found.iter().filter(|found| !about_redirects(&found.code));
            check
                .found(found.map(|diagnosis| Finding::diagnosed(about(&diagnosis.code), diagnosis)))
        }
        Err(error) => check.found([failed(About::Tokens, error.into())]),
    };
    let check = match check.findings.is_empty() {
        true => check.found(told(&status).or_else(|| overdue(&status, now))),
        false => check,
    };
    (check, Some(status))
}

/// What the company's admin decides is told with the company.
fn about(code: &str) -> About {
    match code {
        "app-not-connected" | "company-id-missing" | "forbidden" | "not-found" => About::Company,
        _ => About::Tokens,
    }
}

fn describe(check: Check, status: &Status, now: u64) -> Check {
    let check = check.seen(status::word(status.health));
    let check = match status.token {
        None => check.seen("no access token is stored"),
        Some(token) => check.seen(format!(
            "the access token {} {}",
            if token.expires_at > now {
                "expires"
            } else {
                "expired"
            },
            time::relative(token.expires_at, now)
        )),
    };
    let check = match &status.identity {
        Some(identity) => check.seen(format!("acts as {}", login::who(identity))),
        None => check,
    };
    match status.last_evidence {
        Some(at) => check.seen(format!("verified {}", time::relative(at, now))),
        None => check,
    }
}

/// A trouble that people were told of has not ended, though nothing is found now: a pause after a failed refresh is over, for instance.
fn told(status: &Status) -> Option<Finding> {
    let incident = status.incident.as_ref()?;
    Some(Finding::diagnosed(
        about(&incident.diagnosis.code),
        &incident.diagnosis,
    ))
}

/// A token has run out, and nothing else is known to be wrong.
fn overdue(status: &Status, now: u64) -> Option<Finding> {
    let token = status.token.filter(|token| token.expires_at <= now)?;
    let explained = Explained::new(
        Exit::AtRisk,
        "refresh-overdue",
        format!(
            "The access token expired {}, and nobody has refreshed it.",
            time::relative(token.expires_at, now)
        ),
        "Run `procore-auth tick` once to refresh it now, and have `procore-auth run` or a cron job with `procore-auth tick` do so from now on.",
    )
    .because("No keeper runs, and no call has come since. The next call would refresh it; a refresh token does not expire by time.");
    Some(Finding::hint(About::Tokens, explained))
}

/// Asks which companies the account sees, and one thing of the configured one.
pub(super) async fn company(patient: &Patient, connection: &Connection, status: &Status) -> Check {
    const NAME: &str = "company";
    let soon = time::now().saturating_add(A_WHILE);
    if status.token.is_none_or(|token| token.refresh_at <= soon) {
        return Check::skipped(
            NAME,
            "the access token is due for a refresh, which a check does not make",
        );
    }
    let asked = Asked {
        patient,
        connection,
        api: &status.api_origin,
    };
    let check = Check::of(NAME);
    let checked = match patient.settings.company_id {
        Some(id) => asked.configured(check, id).await,
        None => asked.unconfigured(check).await,
    };
    checked.unwrap_or_else(|error| Check::of(NAME).found([failed(About::Company, error.into())]))
}

struct Asked<'a> {
    patient: &'a Patient,
    connection: &'a Connection,
    api: &'a str,
}

impl Asked<'_> {
    async fn configured(&self, check: Check, id: u64) -> Result<Check, Error> {
        let path = format!("/rest/v1.0/projects?company_id={id}&per_page=1");
        Ok(match self.get(&path, Some(id)).await? {
            Reply::Accepted(Value::Array(projects)) if projects.is_empty() => {
                let check = check.seen(format!("company {id} answers, and shows no project"));
                check.found(self.no_project(id))
            }
            Reply::Accepted(_) => check.seen(format!("company {id} answers")),
            Reply::Refused(finding) => check
                .seen(format!("company {id}: {}", finding.explained.summary))
                .found([*finding]),
            Reply::None(why) => Check::skipped("company", why),
        })
    }

    /// A user may ask for the list without naming a company.
    async fn unconfigured(&self, check: Check) -> Result<Check, Error> {
        let seen = match self.get("/rest/v1.0/companies", None).await? {
            Reply::Accepted(list) => companies(&list),
            Reply::Refused(finding) => return Ok(check.found([*finding])),
            Reply::None(why) => return Ok(Check::skipped("company", why)),
        };
        let explained = Explained::new(
            Exit::AtRisk,
            "company-id-missing",
            "No company is configured.",
            "Set `company_id` in the connection's configuration, or pass `--company ID` with each call.",
        )
        .because("Every call but a few names its company in the header Procore-Company-Id.")
        .seen(format!("the account sees {seen}"));
        let check = check.seen(format!("none is configured; the account sees {seen}"));
        Ok(check.found([Finding::hint(About::Company, explained)]))
    }

    /// A company may have no project; that none is permitted is the usual reason with a service account.
    fn no_project(&self, id: u64) -> Option<Finding> {
        let Grant::ClientCredentials = self.patient.settings.grant else {
            return None;
        };
        let explained = Explained::new(
            Exit::AtRisk,
            "no-project",
            format!("The service account sees no project of company {id}."),
            "Have the company's Procore admin permit the projects (Company Admin, App Management, the app, Permitted Projects): \
             again after each reinstall.",
        )
        .because("The token is fine; which projects the app may see is chosen in Procore.");
        Some(Finding::hint(About::Company, explained))
    }

    async fn get(&self, path: &str, company: Option<u64>) -> Result<Reply, Error> {
        let token = self.connection.access_token().await?;
        let url = format!("{}{path}", self.api);
        let mut request = http::Request::get(&url)
            .header(
                "authorization",
                format!("Bearer {}", token.bearer().expose()),
            )
            .header("accept", "application/json");
        if let Some(id) = company {
            request = request.header("procore-company-id", id);
        }
        let Ok(request) = request.body(Vec::new()) else {
            return Ok(Reply::None("the request cannot be made".to_owned()));
        };
        let response = match self.patient.opener.http().send(request, LIMITS).await {
            Ok(response) => response,
            Err(failure) => return Ok(Reply::None(failure.message)),
        };
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            let value = serde_json::from_slice(response.body());
            return Ok(Reply::Accepted(value.unwrap_or_default()));
        }
        self.refused(url, status, response.into_body()).await
    }

    async fn refused(&self, url: String, status: u16, body: Vec<u8>) -> Result<Reply, Error> {
        let environment: Environment = self.patient.settings.environment;
        let seen = Observation {
            environment,
            endpoint: Endpoint::Api,
            url: Some(url),
            status,
            headers: Vec::new(),
            body,
        };
        let said = self.patient.opener.advice().explain(seen).await?;
        let about = match about(&said.code) {
            _ if status >= 500 || status == 429 => About::Network,
            about => about,
        };
        Ok(Reply::Refused(Box::new(Finding::diagnosed(about, &said))))
    }
}

enum Reply {
    Accepted(Value),
    Refused(Box<Finding>),
    None(String),
}

/// Names the companies of a list as Procore gives it.
fn companies(list: &Value) -> String {
    let named: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .take(5)
        .filter_map(|company| {
            let id = company.get("id")?.as_u64()?;
            let name = company.get("name").and_then(Value::as_str);
            Some(format!("{id} ({})", name.unwrap_or("no name")))
        })
        .collect();
    match named.is_empty() {
        true => "none".to_owned(),
        false => named.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::companies;

    #[test]
    fn companies_are_named_with_their_ids() {
        let list = json!([{"id": 7, "name": "Acme"}, {"id": 8}, {"name": "no id"}]);
        assert_eq!(companies(&list), "7 (Acme), 8 (no name)");
        assert_eq!(companies(&json!({})), "none");
    }
}
