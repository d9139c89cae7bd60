//! Whether the tokens work: what is stored of them, what the login host and the API say of the access token, and what the company lets it do.
//!
//! Nothing is refreshed for it: a token that is due is looked at as it is stored.

use procore_auth_host::{Connection, Endpoint, Environment, Error, Grant, Observation, Status};
use serde::de::IgnoredAny;

use super::check::Check;
use super::configuration::{Subject, failed};
use super::finding::{About, Finding};
use super::network::{LIMITS, unreached};
use crate::cli::companies::{self, Company};
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
    let check = match check.findings().is_empty() {
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
pub(super) async fn company(subject: &Subject, connection: &Connection, status: &Status) -> Check {
    const NAME: &str = "company";
    let soon = time::now().saturating_add(A_WHILE);
    if status.token.is_none_or(|token| token.refresh_at <= soon) {
        return Check::skipped(
            NAME,
            "the access token is due for a refresh, which a check does not make",
        );
    }
    let asked = Asked {
        subject,
        connection,
        api: &status.api_origin,
    };
    let check = Check::of(NAME);
    let checked = match subject.settings.company_id {
        Some(id) => asked.configured(check, id).await,
        None => asked.unconfigured(check).await,
    };
    checked.unwrap_or_else(|error| Check::of(NAME).found([failed(About::Company, error.into())]))
}

struct Asked<'a> {
    subject: &'a Subject,
    connection: &'a Connection,
    api: &'a str,
}

impl Asked<'_> {
    async fn configured(&self, check: Check, id: u64) -> Result<Check, Error> {
        let path = format!("/rest/v1.0/projects?company_id={id}&per_page=1");
        Ok(match self.get(&path, Some(id)).await? {
            Reply::Accepted(body) if is_empty_list(&body) => {
                let check = check.seen(format!("company {id} answers, and shows no project"));
                check.found(self.no_project(id))
            }
            Reply::Accepted(_) => check.seen(format!("company {id} answers")),
            Reply::Refused(finding) => check
                .seen(format!("company {id}: {}", finding.explained.summary))
                .found([*finding]),
            Reply::None(why) => Check::prevented("company", why),
        })
    }

    /// A user may ask for the list without naming a company.
    async fn unconfigured(&self, check: Check) -> Result<Check, Error> {
        let seen = match self.get(companies::PATH, None).await? {
            Reply::Accepted(body) => named(&companies::read(&body).unwrap_or_default()),
            Reply::Refused(finding) => return Ok(check.found([*finding])),
            Reply::None(why) => return Ok(Check::prevented("company", why)),
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
        let Grant::ClientCredentials = self.subject.settings.grant else {
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
            return Ok(Reply::None("the request cannot be made"));
        };
        let response = match self.subject.opener.http().send(request, LIMITS).await {
            Ok(response) => response,
            Err(failure) => {
                let finding = unreached(super::host(self.api), &failure);
                return Ok(Reply::Refused(Box::new(finding)));
            }
        };
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(Reply::Accepted(response.into_body()));
        }
        self.refused(url, status, response.into_body()).await
    }

    async fn refused(&self, url: String, status: u16, body: Vec<u8>) -> Result<Reply, Error> {
        let environment: Environment = self.subject.settings.environment;
        let seen = Observation {
            environment,
            endpoint: Endpoint::Api,
            url: Some(url),
            status,
            headers: Vec::new(),
            body,
        };
        let said = self.subject.opener.advice().explain(seen).await?;
        let about = match about(&said.code) {
            _ if status >= 500 || status == 429 => About::Network,
            about => about,
        };
        Ok(Reply::Refused(Box::new(Finding::diagnosed(about, &said))))
    }
}

enum Reply {
    Accepted(Vec<u8>),
    Refused(Box<Finding>),
    None(&'static str),
}

fn is_empty_list(body: &[u8]) -> bool {
    serde_json::from_slice::<Vec<IgnoredAny>>(body).is_ok_and(|list| list.is_empty())
}

/// Names the first companies of a list.
fn named(list: &[Company]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    let named: Vec<String> = list.iter().take(5).map(Company::to_string).collect();
    match list.len() {
        0..=5 => named.join(", "),
        more => format!("{}, and {} more", named.join(", "), more - 5),
    }
}

#[cfg(test)]
mod tests {
    use super::{companies, is_empty_list, named};

    #[test]
    fn the_first_companies_are_named() {
        let named = |body: &str| named(&companies::read(body.as_bytes()).expect("a list"));
        assert_eq!(named("[]"), "none");
        assert_eq!(
            named(r#"[{"id":7,"name":"Acme"},{"id":8}]"#),
            "Acme (company 7), company 8"
        );
        let many = r#"[{"id":1},{"id":2},{"id":3},{"id":4},{"id":5},{"id":6},{"id":7}]"#;
        assert!(named(many).ends_with("company 5, and 2 more"));
    }

    #[test]
    fn a_list_is_empty_only_where_it_is_one() {
        assert!(is_empty_list(b" [] "));
        for other in ["[{}]", "{}", ""] {
            assert!(!is_empty_list(other.as_bytes()), "{other}");
        }
    }
}
