//! Asking Procore about a token: `token/info` on a login host, `/rest/v1.0/me` on an API host. Both spend nothing.

use super::{stored::LockedSession, token::obtain};
use crate::{
    capabilities::Capabilities,
    decision::Need,
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    environment::Environment,
    event::{Event, Severity},
    explain::{Endpoint, Observation, explain},
    http::{Body, Header, Request, Response},
    incident,
    json::Fields,
    retry,
    secret::Secret,
    session::Identity,
    settings::Settings,
};

/// The cheapest call that tells who a token acts as.
const ME: &str = "/rest/v1.0/me";

/// What `token/info` says.
pub(super) struct TokenInfo {
    /// Seconds left; two names are on record.
    pub expires_in: Option<f64>,
}

impl TokenInfo {
    fn read(body: &[u8]) -> Option<Self> {
        let fields = Fields::read(body)?;
        Some(Self {
            expires_in: fields
                .number("expires_in")
                .or_else(|| fields.number("expires_in_seconds")),
        })
    }
}

/// Asks a login host about a token. An error says what came instead.
pub(super) fn token_info(
    host: &dyn Capabilities,
    settings: &Settings,
    environment: Environment,
    token: &Secret,
) -> std::result::Result<TokenInfo, Diagnosis> {
    let mut request = get(
        environment.token_info_url(),
        token,
        None,
        settings.policy.token_timeout,
    );
    let response = host.send(&mut request).map_err(|failure| {
        retry::unanswered(&failure.code, failure.sent).with_evidence(vec![failure.message])
    })?;
    match TokenInfo::read(&response.body) {
        Some(info) if response.status == 200 => Ok(info),
        _ => Err(explain(&Observation {
            environment,
            endpoint: Endpoint::Refresh,
            url: None,
            status: response.status,
            headers: &response.headers,
            body: &response.body,
        })),
    }
}

fn get(url: String, token: &Secret, company_id: Option<u64>, timeout: u64) -> Request {
    let mut headers = vec![
        Header::new("Authorization", &format!("Bearer {}", token.expose())),
        Header::new("Accept", "application/json"),
    ];
    headers.extend(company_id.map(|id| Header::new("Procore-Company-Id", &id.to_string())));
    Request {
        method: "GET".to_owned(),
        url,
        headers,
        body: Body::Empty,
        timeout,
    }
}

/// Asks who the token acts as, on each API host on record until one accepts it, and keeps what was learnt.
pub fn verify(host: &dyn Capabilities) -> Result<Identity> {
    let settings = host.settings();
    let token = obtain(host, &settings, Need::Use)?.tokens.access_token;
    let mut first_failure = None;
    for api_host in settings.environment.api_hosts() {
        match me(host, &settings, api_host, &token) {
            Ok(identity) => {
                keep_evidence(host, &settings, &token, &identity, api_host)?;
                return Ok(identity);
            }
            Err(error) => first_failure = first_failure.or(Some(error)),
        }
    }
    Err(first_failure.unwrap_or_else(|| {
        Error::new(
            ErrorKind::Internal,
            Diagnosis::new(
                "no-api-host",
                "No API host is known.",
                "This is a defect.",
                "Report it.",
            ),
        )
    }))
}

/// Asks one API host who the token acts as.
pub(super) fn me(
    host: &dyn Capabilities,
    settings: &Settings,
    api_host: &str,
    token: &Secret,
) -> Result<Identity> {
    let url = format!("https://{api_host}{ME}");
    let mut request = get(
        url.clone(),
        token,
        settings.company_id,
        settings.policy.token_timeout,
    );
    let response = host.send(&mut request).map_err(|failure| {
        Error::new(
            ErrorKind::Unavailable,
            retry::unanswered(&failure.code, failure.sent)
                .with_evidence(vec![format!("{api_host}: {}", failure.message)]),
        )
    })?;
    match read_identity(&response.body) {
        Some(identity) if response.status == 200 => Ok(identity),
        _ => Err(refused(settings, &url, &response)),
    }
}

fn read_identity(body: &[u8]) -> Option<Identity> {
    let fields = Fields::read(body)?;
    Some(Identity {
        id: fields.whole("id")?,
        login: fields.text("login")?.to_owned(),
        name: fields.text("name").unwrap_or_default().to_owned(),
    })
}

fn refused(settings: &Settings, url: &str, response: &Response) -> Error {
    let diagnosis = explain(&Observation {
        environment: settings.environment,
        endpoint: Endpoint::Api,
        url: Some(url),
        status: response.status,
        headers: &response.headers,
        body: &response.body,
    });
    match response.status {
        200..=399 => Error::new(
            ErrorKind::Unavailable,
            Diagnosis::new(
                "unexpected-reply",
                "Something other than Procore's API answered.",
                "A gateway or a captive portal stands between, or the API host is another one.",
                "Open the URL in a browser from this machine.",
            )
            .with_evidence(vec![format!("{url} answered {}", response.status)]),
        ),
        408 | 429 | 500..=599 => Error::new(ErrorKind::Unavailable, diagnosis),
        _ => Error::new(ErrorKind::Configuration, diagnosis),
    }
}

fn keep_evidence(
    host: &dyn Capabilities,
    settings: &Settings,
    token: &Secret,
    identity: &Identity,
    api_host: &str,
) -> Result<()> {
    let mut locked = LockedSession::require(host, settings)?;
    let now = host.now();
    let session = &mut locked.session;
    // What was learnt is about this token: others may have come since.
    let Some(recovered) = incident::prove(session, token, now) else {
        return Ok(());
    };
    session.identity = Some(identity.clone());
    session.api_host = Some(api_host.to_owned());
    recovered.iter().for_each(|event| host.record(event));
    if api_host != settings.environment.api_host() {
        host.record(&Event::new(
            Severity::Info,
            "api-host-chosen",
            &format!("{api_host} answered and is used from now on."),
        ));
    }
    locked.save()
}
