//! Procore's environments: one value from which every URL follows.
//!
//! The hosts are those of `docs/procore-oauth.md`. Mixing environments cannot be expressed with [`Environment`]; for URLs that come from
//! elsewhere, [`check_endpoints`] names the one that stands out.

use std::borrow::Cow;

use fluent_uri::Uri;

use crate::{
    diagnosis::Diagnosis,
    json::{Text, stored_as_text},
    search,
};

/// A Procore environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The live system. An on-demand sandbox is this one with the company id of the sandbox.
    Production,
    /// The developer sandbox.
    Sandbox,
    /// The monthly sandbox: overwritten from production on the first working day of each month.
    MonthlySandbox,
    /// The federal zone.
    Federal,
}

impl Environment {
    /// Every environment, production first.
    pub const ALL: [Self; 4] = [
        Self::Production,
        Self::Sandbox,
        Self::MonthlySandbox,
        Self::Federal,
    ];

    /// Returns the name used in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
            Self::MonthlySandbox => "monthly-sandbox",
            Self::Federal => "federal",
        }
    }

    /// Returns the host of the authorize page and the token endpoint.
    pub fn login_host(self) -> &'static str {
        match self {
            Self::Production => "login.procore.com",
            Self::Sandbox => "login-sandbox.procore.com",
            Self::MonthlySandbox => "login-sandbox-monthly.procore.com",
            Self::Federal => "login.procoregov.com",
        }
    }

    /// Returns the API hosts on record, the default first. There is always one.
    pub fn api_hosts(self) -> &'static [&'static str] {
        match self {
            Self::Production => &["api.procore.com"],
            Self::Sandbox => &["sandbox.procore.com"],
            Self::MonthlySandbox => &["monthly-sandbox.procore.com", "api-monthly.procore.com"],
            Self::Federal => &["api.procoregov.com"],
        }
    }

    /// Returns the default API host.
    pub fn api_host(self) -> &'static str {
        self.api_hosts()[0]
    }

    /// Returns which of the app's credential pairs belongs here, in words.
    pub fn credentials(self) -> &'static str {
        match self {
            Self::Production => "the app's production client id and secret",
            Self::Sandbox => "the app's sandbox client id and secret",
            Self::MonthlySandbox => {
                "the app's production client id and secret (the monthly sandbox shares that pair, but no token)"
            }
            Self::Federal => "the client id and secret of an app registered in the federal zone",
        }
    }

    /// Returns the authorize page's URL, without a query.
    pub fn authorize_url(self) -> String {
        self.login("/oauth/authorize")
    }

    /// Returns the token endpoint's URL.
    pub fn token_url(self) -> String {
        self.login("/oauth/token")
    }

    /// Returns the URL that tells about a token without spending anything.
    pub fn token_info_url(self) -> String {
        self.login("/oauth/token/info")
    }

    /// Returns the URL that revokes a token.
    pub fn revoke_url(self) -> String {
        self.login("/oauth/revoke")
    }

    /// Returns the default API base: scheme and host, without a trailing slash.
    pub fn api_base(self) -> String {
        format!("https://{}", self.api_host())
    }

    fn login(self, path: &str) -> String {
        format!("https://{}{path}", self.login_host())
    }

    fn of_login_host(host: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.login_host() == host)
    }

    fn of_api_host(host: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.api_hosts().contains(&host))
    }
}

impl Text for Environment {
    fn to_text(&self) -> Cow<'_, str> {
        self.name().into()
    }

    fn from_text(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|environment| environment.name() == text)
    }
}

stored_as_text!(Environment);

/// URLs that someone uses together; `None` where one is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSet {
    /// The authorize page.
    pub authorize_url: Option<String>,
    /// The token endpoint.
    pub token_url: Option<String>,
    /// The API base.
    pub api_base: Option<String>,
}

/// Which of the three URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Authorize,
    Token,
    Api,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize URL",
            Self::Token => "token URL",
            Self::Api => "API base",
        }
    }

    /// Returns the environment that `host` belongs to in this role, or why it belongs to none.
    fn environment_of(self, host: &str) -> Result<Environment, String> {
        let (of_role, of_other, other) = match self {
            Self::Api => (
                Environment::of_api_host(host),
                Environment::of_login_host(host),
                "login",
            ),
            _ => (
                Environment::of_login_host(host),
                Environment::of_api_host(host),
                "API",
            ),
        };
        match (of_role, of_other) {
            (Some(environment), _) => Ok(environment),
            (None, Some(environment)) => Err(format!(
                "{host} is the {other} host of {}",
                environment.name()
            )),
            (None, None) => Err(match host {
                "app.procore.com" => {
                    "app.procore.com was login and API host long ago and is neither today"
                        .to_owned()
                }
                "api-sandbox-monthly.procore.com" => {
                    "api-sandbox-monthly.procore.com is the monthly sandbox's web host".to_owned()
                }
                _ => format!("{host} is no Procore login or API host"),
            }),
        }
    }

    fn right_url(self, environment: Environment) -> String {
        match self {
            Self::Authorize => environment.authorize_url(),
            Self::Token => environment.token_url(),
            Self::Api => environment.api_base(),
        }
    }
}

/// Checks that the URLs belong to one environment, each in its own role, and returns that environment.
///
/// Where they do not, the diagnosis names the URL that stands out and what belongs there: the odd one of three, or, of two
/// that disagree, the later in the order authorize, token, API.
pub fn check_endpoints(urls: &EndpointSet) -> Result<Environment, Diagnosis> {
    let given = [
        (Role::Authorize, urls.authorize_url.as_deref()),
        (Role::Token, urls.token_url.as_deref()),
        (Role::Api, urls.api_base.as_deref()),
    ];
    let cells: Vec<_> = given
        .into_iter()
        .filter_map(|(role, url)| Some((role, url?)))
        .map(|(role, url)| Cell::read(role, url))
        .collect();
    let Some(environment) = majority(&cells) else {
        return Err(match cells.first() {
            Some(cell) => unknown_host(cell, None, &cells),
            None => Diagnosis::new(
                "no-urls",
                "No URL was given.",
                "There is nothing to compare.",
                "Give at least one URL.",
            ),
        });
    };
    match cells
        .iter()
        .find(|cell| cell.environment.as_ref() != Ok(&environment))
    {
        None => Ok(environment),
        Some(cell) => Err(match &cell.environment {
            Ok(other) => mixed(cell, *other, environment, &cells),
            Err(_) => unknown_host(cell, Some(environment), &cells),
        }),
    }
}

/// One URL, and what it turned out to be.
struct Cell {
    role: Role,
    url: String,
    environment: Result<Environment, String>,
}

impl Cell {
    fn read(role: Role, url: &str) -> Self {
        Self {
            role,
            url: without_secrets(url).to_owned(),
            environment: host_of(url).and_then(|host| role.environment_of(&host)),
        }
    }
}

/// Returns the host of a URL, which may lack its scheme, as people write it.
fn host_of(url: &str) -> Result<String, String> {
    let absolute = if search::contains(url, "://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    let parsed = Uri::parse(&*absolute).map_err(|error| format!("it is no URL ({error})"))?;
    let scheme = parsed.scheme().as_str();
    if !scheme.eq_ignore_ascii_case("https") {
        // Not repeated: what stands before a colon may be a secret.
        return Err("Procore speaks https only, and its scheme is another one".to_owned());
    }
    let authority = parsed
        .authority()
        .filter(|authority| !authority.host().is_empty())
        .ok_or("it has no host")?;
    if authority
        .port()
        .is_some_and(|port| !matches!(port.as_str(), "" | "443"))
    {
        return Err("it names a port, and Procore has none but that of https".to_owned());
    }
    Ok(authority.host().to_ascii_lowercase())
}

/// Returns the part of a URL that holds no secret.
pub fn without_secrets(url: &str) -> &str {
    let text = url.split(['?', '#']).next().unwrap_or_default();
    // What stands before an `@` may hold a password, wherever a parser would look for one.
    text.rsplit('@').next().unwrap_or_default()
}

/// Returns the environment that most URLs belong to; of equally many, the first.
fn majority(cells: &[Cell]) -> Option<Environment> {
    let count = |environment: Environment| {
        cells
            .iter()
            .filter(|cell| cell.environment.as_ref() == Ok(&environment))
            .count()
    };
    let known = cells
        .iter()
        .filter_map(|cell| cell.environment.as_ref().ok().copied());
    known.rev().max_by_key(|environment| count(*environment))
}

fn evidence(cells: &[Cell]) -> Vec<String> {
    let line = |cell: &Cell| match &cell.environment {
        Ok(environment) => format!(
            "{}: {} ({})",
            cell.role.name(),
            cell.url,
            environment.name()
        ),
        Err(why) => format!("{}: {} ({why})", cell.role.name(), cell.url),
    };
    cells.iter().map(line).collect()
}

fn mixed(cell: &Cell, found: Environment, expected: Environment, cells: &[Cell]) -> Diagnosis {
    let role = cell.role.name();
    Diagnosis::new(
        "mixed-environments",
        &format!("The {role} is of {}, the rest is of {}.", found.name(), expected.name()),
        "Tokens and credentials of one environment are unknown in every other, and the server says so in misleading words.",
        &format!(
            "Change the {role} to {}; or, if {} is meant, change the other URLs and use {}.",
            cell.role.right_url(expected),
            found.name(),
            found.credentials()
        ),
    )
    .with_evidence(evidence(cells))
}

fn unknown_host(cell: &Cell, expected: Option<Environment>, cells: &[Cell]) -> Diagnosis {
    let role = cell.role.name();
    let why = cell.environment.as_ref().err().map_or("", String::as_str);
    let remedy = match expected {
        Some(environment) => format!("Change the {role} to {}.", cell.role.right_url(environment)),
        None => {
            let mut choices = vec![];
            for environment in Environment::ALL {
                let url = cell.role.right_url(environment);
                choices.push(format!("{url} ({})", environment.name()));
            }
            format!(
                "Change the {role} to the one of your environment: {}.",
                choices.join("; ")
            )
        }
    };
    Diagnosis::new(
        "wrong-host",
        &format!("The {role} is not usable: {why}."),
        "Each URL has its own host in each environment.",
        &remedy,
    )
    .with_evidence(evidence(cells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(authorize: &str, token: &str, api: &str) -> EndpointSet {
        let some = |url: &str| Some(url.to_owned()).filter(|url| !url.is_empty());
        EndpointSet {
            authorize_url: some(authorize),
            token_url: some(token),
            api_base: some(api),
        }
    }

    #[test]
    fn each_environment_agrees_with_itself() {
        for environment in Environment::ALL {
            for api in environment.api_hosts() {
                let urls = set(&environment.authorize_url(), &environment.token_url(), api);
                assert_eq!(check_endpoints(&urls), Ok(environment));
            }
        }
    }

    #[test]
    fn a_port_is_no_procores() {
        let urls = |port: &str| {
            set(
                "",
                &format!("https://login.procore.com:{port}/oauth/token"),
                "",
            )
        };
        for port in ["8443", "900008080", "80"] {
            assert!(check_endpoints(&urls(port)).is_err(), "{port}");
        }
        for port in ["443", ""] {
            assert_eq!(check_endpoints(&urls(port)), Ok(Environment::Production));
        }
    }

    /// S49: every cell of environment × {authorize, token, API}, put in the place of another environment's.
    #[test]
    fn s49_every_wrong_cell_is_named_with_its_fix() {
        for right in Environment::ALL {
            for wrong in Environment::ALL.into_iter().filter(|wrong| *wrong != right) {
                let good = [right.authorize_url(), right.token_url(), right.api_base()];
                let bad = [wrong.authorize_url(), wrong.token_url(), wrong.api_base()];
                for (index, role) in ["authorize URL", "token URL", "API base"]
                    .into_iter()
                    .enumerate()
                {
                    let mut urls = good.clone();
                    urls[index].clone_from(&bad[index]);
                    let diagnosis =
                        check_endpoints(&set(&urls[0], &urls[1], &urls[2])).expect_err("mixed");
                    assert_eq!(diagnosis.code, "mixed-environments");
                    assert!(diagnosis.summary.contains(role), "{}", diagnosis.summary);
                    assert!(
                        diagnosis
                            .remedy
                            .contains(&format!("Change the {role} to {};", good[index])),
                        "{}",
                        diagnosis.remedy
                    );
                }
            }
        }
    }

    #[test]
    fn the_logs_first_day_is_named() {
        let log = set(
            "https://login.procore.com/oauth/authorize",
            "https://login-sandbox.procore.com/oauth/token",
            "https://sandbox.procore.com",
        );
        let diagnosis = check_endpoints(&log).expect_err("mixed");
        assert!(diagnosis.remedy.starts_with(
            "Change the authorize URL to https://login-sandbox.procore.com/oauth/authorize"
        ));
    }

    #[test]
    fn a_host_in_the_wrong_role_is_named() {
        let diagnosis = check_endpoints(&set("", "https://sandbox.procore.com/oauth/token", ""))
            .expect_err("wrong role");
        assert_eq!(diagnosis.code, "wrong-host");
        assert!(
            diagnosis
                .summary
                .contains("sandbox.procore.com is the API host of sandbox"),
            "{}",
            diagnosis.summary
        );
    }

    #[test]
    fn near_misses_are_no_procore_hosts() {
        for host in [
            "login.procore.com.evil.example",
            "login-procore.com",
            "login.procore.com.",
            "https://user@evil.example",
            "http://login.procore.com",
        ] {
            assert!(check_endpoints(&set("", host, "")).is_err(), "{host}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_not_repeated() {
        let diagnosis = check_endpoints(&set(
            "",
            "https://me:hunter2@evil.example/oauth/token?code=hunter3",
            "",
        ))
        .expect_err("foreign");
        let text = format!("{diagnosis:?}");
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn a_password_is_not_repeated_however_the_url_is_written() {
        for url in [
            "https://me@a.example:hunter2@evil.example/",
            "me:hunter2@evil.example",
            "me:hunter2@https://evil.example",
            "x://https://me:hunter2@evil.example",
            "https:/me:hunter2@login.procore.com",
        ] {
            let told = format!("{:?}", check_endpoints(&set("", url, "")));
            assert!(told.contains("Err") && !told.contains("hunter2"), "{told}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gets_an_answer(a in ".{0,40}", b in ".{0,40}", c in ".{0,40}") {
            let _ = check_endpoints(&set(&a, &b, &c));
        }
    }
}
