//! The bindings: the only file that sees them. Lends the host's capabilities to the flows, and the flows to the host.
#![allow(
    missing_docs,
    reason = "the contract in `wit/` documents what is generated here"
)]

use std::{mem, panic};

use crate::{
    capabilities::{Capabilities, Entry, Provenance, StoreFailure, Write},
    diagnosis, environment, event, explain as explanation, flow,
    http::{Body, Failure, FieldValue, Header, Request, Response},
    lifetime::Times,
    login::PendingLogin,
    pace::{self, Pace},
    parking::State,
    redirect::{Kind, RedirectUri},
    retry,
    secret::Secret,
    session::{Identity, Stage, Tokens},
    settings::{Grant, Policy, Settings},
    status::{Health, Status},
};

wit_bindgen::generate!({ world: "plugin", path: "../wit" });

use exports::procore::auth::{advice, api, auth};
use procore::auth::{clock, connection, http, journal, random, store, types};

/// The plugin.
struct Plugin;

export!(Plugin);

/// The host's capabilities, over the imported functions.
struct Host;

impl Host {
    /// Returns the capabilities, and makes sure that a panic tells the journal before it traps.
    fn new() -> Self {
        panic::set_hook(Box::new(|info| {
            let place = info
                .location()
                .map_or_else(String::new, ToString::to_string);
            let message = info.payload_as_str().unwrap_or("no message");
            journal::record(&journal::Event {
                severity: journal::Severity::Alert,
                code: "panic".to_owned(),
                message: format!("The plugin panicked: {message}"),
                fields: vec![journal::Field {
                    name: "at".to_owned(),
                    value: place,
                }],
            });
        }));
        Self
    }
}

impl Capabilities for Host {
    fn settings(&self) -> Settings {
        connection::settings().into()
    }

    fn send(&self, request: &mut Request) -> Result<Response, Failure> {
        let lent = http::Request {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request
                .headers
                .iter()
                .cloned()
                .map(types::Header::from)
                .collect(),
            body: match &mut request.body {
                Body::Empty => http::Body::Empty,
                Body::Bytes(bytes) => http::Body::Bytes(mem::take(bytes)),
                Body::Form(fields) => http::Body::Form(fields.iter().map(form_field).collect()),
                Body::Stored(key) => http::Body::Stored(key.clone()),
            },
            timeout: request.timeout,
        };
        let sent = http::send(&lent);
        if let (Body::Bytes(bytes), http::Body::Bytes(back)) = (&mut request.body, lent.body) {
            *bytes = back;
        }
        let headers = |headers: Vec<types::Header>| headers.into_iter().map(Header::from).collect();
        sent.map(|response| Response {
            status: response.status,
            headers: headers(response.headers),
            body: response.body,
        })
        .map_err(|failure| Failure {
            code: failure.code,
            message: failure.message,
            sent: failure.sent,
        })
    }

    fn now(&self) -> u64 {
        clock::now()
    }

    fn elapsed(&self) -> u64 {
        clock::elapsed()
    }

    fn sleep(&self, milliseconds: u64) {
        clock::sleep(milliseconds);
    }

    fn random(&self, count: u32) -> Vec<u8> {
        random::bytes(count)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, StoreFailure> {
        store::get(key)
            .map(|entry| entry.map(Entry::from))
            .map_err(StoreFailure::from)
    }

    fn put(&self, key: &str, value: &[u8], expected: Option<u64>) -> Result<Write, StoreFailure> {
        store::put(key, value, expected)
            .map(Write::from)
            .map_err(StoreFailure::from)
    }

    fn hold(&self, key: &str, value: &[u8], expected: Option<u64>) -> u64 {
        store::hold(key, value, expected)
    }

    fn delete(&self, key: &str, expected: u64) -> Result<Write, StoreFailure> {
        store::delete(key, expected)
            .map(Write::from)
            .map_err(StoreFailure::from)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreFailure> {
        store::list(prefix).map_err(StoreFailure::from)
    }

    fn lock(&self, wait: u64) -> Result<bool, StoreFailure> {
        store::lock(wait).map_err(StoreFailure::from)
    }

    fn unlock(&self) {
        store::unlock();
    }

    fn record(&self, event: &event::Event) {
        journal::record(&journal::Event {
            severity: match event.severity {
                event::Severity::Info => journal::Severity::Info,
                event::Severity::Warning => journal::Severity::Warning,
                event::Severity::Alert => journal::Severity::Alert,
            },
            code: event.code.clone(),
            message: event.message.clone(),
            fields: event
                .fields
                .iter()
                .map(|(name, value)| journal::Field {
                    name: (*name).to_owned(),
                    value: value.clone(),
                })
                .collect(),
        });
    }
}

fn form_field((name, value): &(&'static str, FieldValue)) -> http::FormField {
    let value = match value {
        FieldValue::Text(text) => http::FieldValue::Text(text.expose().to_owned()),
        FieldValue::ClientSecret => http::FieldValue::ClientSecret,
    };
    http::FormField {
        name: (*name).to_owned(),
        value,
    }
}

impl auth::Guest for Plugin {
    fn begin_login() -> Result<auth::Login, types::Error> {
        let pending = flow::begin_login(&Host::new())?;
        Ok(pending.into())
    }

    fn finish_login(callback: String) -> Result<auth::ConnectionStatus, types::Error> {
        let host = Host::new();
        #[cfg(feature = "panics")]
        crate::panics::on_demand(&callback);
        let status = flow::finish_login(&host, &callback)?;
        Ok(status.into())
    }

    fn access_token() -> Result<auth::Token, types::Error> {
        let tokens = flow::access_token(&Host::new())?;
        Ok(tokens.into())
    }

    fn renew_rejected(rejected: String) -> Result<auth::Token, types::Error> {
        let tokens = flow::renew_rejected(&Host::new(), &Secret::new(rejected))?;
        Ok(tokens.into())
    }

    fn verify() -> Result<types::Identity, types::Error> {
        let identity = flow::verify(&Host::new())?;
        Ok(identity.into())
    }

    fn revoke() -> Result<(), types::Error> {
        Ok(flow::revoke(&Host::new())?)
    }

    fn forget() -> Result<(), types::Error> {
        Ok(flow::forget(&Host::new())?)
    }

    fn adopt(reply: Vec<u8>, replace: bool) -> Result<auth::ConnectionStatus, types::Error> {
        let status = flow::adopt(&Host::new(), &reply, replace)?;
        Ok(status.into())
    }

    fn status() -> Result<auth::ConnectionStatus, types::Error> {
        let status = flow::status(&Host::new())?;
        Ok(status.into())
    }

    fn upkeep(
        next_visit: Option<u64>,
        not_before: Option<u64>,
    ) -> Result<auth::Visit, types::Error> {
        let visit = flow::upkeep(&Host::new(), next_visit, not_before)?;
        Ok(auth::Visit {
            refreshed: visit.refreshed,
            replayed: visit.replayed,
            come_back_at: visit.come_back_at,
            pause_until: visit.pause_until,
            status: visit.status.into(),
        })
    }
}

impl api::Guest for Plugin {
    fn send(request: api::Request) -> Result<api::Outcome, types::Error> {
        let request = flow::CallRequest {
            method: request.method,
            path: request.path,
            headers: request.headers.into_iter().map(Header::from).collect(),
            body: if request.body.is_empty() {
                Body::Empty
            } else {
                Body::Bytes(request.body)
            },
            company_id: request.company_id,
            timeout: request.timeout,
            idempotent: request.idempotent,
            park: request.park,
            order_key: request.order_key,
            not_before: request.not_before,
        };
        Ok(match flow::send(&Host::new(), request)? {
            flow::Outcome::Answered(answered) => api::Outcome::Answered(api::Response {
                status: answered.response.status,
                headers: answered
                    .response
                    .headers
                    .into_iter()
                    .map(types::Header::from)
                    .collect(),
                body: answered.response.body,
                attempts: answered.attempts,
                diagnosis: answered.diagnosis.map(types::Diagnosis::from),
                pause_until: answered.pause_until,
            }),
            flow::Outcome::Parked {
                parked,
                pause_until,
            } => api::Outcome::Parked(api::Kept {
                request: parked.into(),
                pause_until,
            }),
        })
    }

    fn assess(attempt: api::Attempt) -> api::Decision {
        let host = Host::new();
        let headers: Vec<Header>;
        let mut pause_until = None;
        let now = host.now();
        let reply = match &attempt.reply {
            api::Reply::Answered(line) => {
                headers = line.headers.iter().cloned().map(Header::from).collect();
                pause_until = pace::pause_until(line.status, &headers, now, Pace::Own);
                retry::Reply::Answered {
                    status: line.status,
                    headers: &headers,
                    body: &line.body,
                }
            }
            api::Reply::Unanswered(none) => retry::Reply::Unanswered {
                code: &none.code,
                sent: none.sent,
            },
        };
        let attempt = retry::Attempt {
            method: &attempt.method,
            number: attempt.number,
            idempotent: attempt.idempotent,
            reply,
            renewed: attempt.renewed,
            time_left: attempt.time_left,
        };
        match retry::decide(host.settings().environment, &attempt, now, host.draw()) {
            retry::Decision::Deliver(meaning) => api::Decision::Deliver(api::Delivery {
                diagnosis: meaning.map(types::Diagnosis::from),
                pause_until,
            }),
            retry::Decision::RetryAfter(wait) => api::Decision::RetryAfter(wait),
            retry::Decision::RenewAndResend => api::Decision::RenewAndResend,
            retry::Decision::GiveUp(_, diagnosis) => api::Decision::GiveUp(api::Obstacle {
                diagnosis: diagnosis.into(),
                pause_until,
            }),
            retry::Decision::UnknownOutcome(diagnosis) => {
                api::Decision::UnknownOutcome(diagnosis.into())
            }
        }
    }

    fn parked() -> Result<Vec<api::ParkedRequest>, types::Error> {
        let parked = flow::parked(&Host::new())?;
        Ok(parked.into_iter().map(api::ParkedRequest::from).collect())
    }

    fn replay(
        id: Option<String>,
        not_before: Option<u64>,
    ) -> Result<api::ReplayReport, types::Error> {
        let report = flow::replay(&Host::new(), id.as_deref(), not_before)?;
        let replayed = report.replayed.into_iter().map(|replayed| api::Replayed {
            id: replayed.id,
            status: replayed.status,
        });
        Ok(api::ReplayReport {
            replayed: replayed.collect(),
            remaining: report.remaining,
            stopped: report.stopped.map(types::Diagnosis::from),
            pause_until: report.pause_until,
        })
    }

    fn discard(id: String) -> Result<(), types::Error> {
        Ok(flow::discard(&Host::new(), &id)?)
    }
}

impl advice::Guest for Plugin {
    fn endpoints(environment: types::Environment) -> advice::EndpointUrls {
        let environment = environment::Environment::from(environment);
        advice::EndpointUrls {
            authorize_url: environment.authorize_url(),
            token_url: environment.token_url(),
            token_info_url: environment.token_info_url(),
            revoke_url: environment.revoke_url(),
            api_base: environment.api_base(),
            api_alternates: environment.api_hosts()[1..]
                .iter()
                .map(|host| format!("https://{host}"))
                .collect(),
            credentials: environment.credentials().to_owned(),
        }
    }

    fn check_endpoints(urls: advice::EndpointSet) -> Result<types::Environment, types::Diagnosis> {
        let urls = environment::EndpointSet {
            authorize_url: urls.authorize_url,
            token_url: urls.token_url,
            api_base: urls.api_base,
        };
        environment::check_endpoints(&urls)
            .map(types::Environment::from)
            .map_err(types::Diagnosis::from)
    }

    fn check_redirect_uri(
        uri: String,
        registered: Option<String>,
    ) -> Result<advice::Redirect, types::Diagnosis> {
        let parsed = RedirectUri::parse(&uri)?;
        if let Some(registered) = registered {
            parsed.check_registered(&registered)?;
        }
        let register = parsed.as_str().to_owned();
        Ok(match parsed.kind() {
            Kind::Localhost { port, path } => advice::Redirect {
                kind: advice::RedirectKind::Localhost,
                register,
                port: Some(*port),
                path: path.clone(),
            },
            Kind::Https { path } => advice::Redirect {
                kind: advice::RedirectKind::Https,
                register,
                port: None,
                path: path.clone(),
            },
            Kind::OutOfBand => advice::Redirect {
                kind: advice::RedirectKind::OutOfBand,
                register,
                port: None,
                path: String::new(),
            },
        })
    }

    fn explain(observation: advice::Observation) -> types::Diagnosis {
        let headers: Vec<Header> = observation.headers.into_iter().map(Header::from).collect();
        let diagnosis = explanation::explain(&explanation::Observation {
            environment: observation.environment.into(),
            endpoint: match observation.endpoint {
                advice::Endpoint::Authorize => explanation::Endpoint::Authorize,
                advice::Endpoint::Exchange => explanation::Endpoint::Exchange,
                advice::Endpoint::Refresh => explanation::Endpoint::Refresh,
                advice::Endpoint::ClientCredentials => explanation::Endpoint::ClientCredentials,
                advice::Endpoint::Api => explanation::Endpoint::Api,
            },
            url: observation.url.as_deref(),
            status: observation.status,
            headers: &headers,
            body: &observation.body,
        });
        diagnosis.into()
    }

    fn diagnose() -> Result<Vec<types::Diagnosis>, types::Error> {
        let findings = flow::diagnose(&Host::new())?;
        Ok(findings.into_iter().map(types::Diagnosis::from).collect())
    }
}

impl From<types::Environment> for environment::Environment {
    fn from(environment: types::Environment) -> Self {
        match environment {
            types::Environment::Production => Self::Production,
            types::Environment::Sandbox => Self::Sandbox,
            types::Environment::MonthlySandbox => Self::MonthlySandbox,
            types::Environment::Federal => Self::Federal,
        }
    }
}

impl From<environment::Environment> for types::Environment {
    fn from(environment: environment::Environment) -> Self {
        match environment {
            environment::Environment::Production => Self::Production,
            environment::Environment::Sandbox => Self::Sandbox,
            environment::Environment::MonthlySandbox => Self::MonthlySandbox,
            environment::Environment::Federal => Self::Federal,
        }
    }
}

impl From<connection::ConnectionSettings> for Settings {
    fn from(settings: connection::ConnectionSettings) -> Self {
        let policy = settings.policy;
        Self {
            name: settings.name,
            environment: settings.environment.into(),
            client_id: settings.client_id,
            secret_fingerprint: settings.secret_fingerprint,
            grant: match settings.grant {
                connection::Grant::AuthorizationCode(redirect_uri) => {
                    Grant::AuthorizationCode(redirect_uri)
                }
                connection::Grant::ClientCredentials => Grant::ClientCredentials,
            },
            company_id: settings.company_id,
            actor: settings.actor,
            policy: Policy {
                refresh_percent: policy.refresh_percent,
                refresh_jitter: policy.refresh_jitter,
                token_timeout: policy.token_timeout,
                lock_wait: policy.lock_wait,
                call_timeout: policy.call_timeout,
                parked_count: policy.parked_count,
                parked_bytes: policy.parked_bytes,
                parked_age: policy.parked_age,
                pkce: policy.pkce,
            },
        }
    }
}

impl From<types::Header> for Header {
    fn from(header: types::Header) -> Self {
        Self {
            name: header.name,
            value: header.value,
        }
    }
}

impl From<Header> for types::Header {
    fn from(header: Header) -> Self {
        Self {
            name: header.name,
            value: header.value,
        }
    }
}

impl From<store::Entry> for Entry {
    fn from(entry: store::Entry) -> Self {
        Self {
            value: entry.value,
            revision: entry.revision,
            provenance: match entry.provenance {
                store::Provenance::Newest => Provenance::Newest,
                store::Provenance::Previous => Provenance::Previous,
                store::Provenance::Copied => Provenance::Copied,
            },
        }
    }
}

impl From<store::Write> for Write {
    fn from(write: store::Write) -> Self {
        match write {
            store::Write::Stored(revision) => Self::Stored(revision),
            store::Write::Conflict(current) => Self::Conflict(current.map(Entry::from)),
        }
    }
}

impl From<store::Failure> for StoreFailure {
    fn from(failure: store::Failure) -> Self {
        Self {
            code: failure.code,
            message: failure.message,
        }
    }
}

impl From<diagnosis::Diagnosis> for types::Diagnosis {
    fn from(diagnosis: diagnosis::Diagnosis) -> Self {
        let diagnosis::Diagnosis {
            code,
            summary,
            cause,
            remedy,
            evidence,
        } = diagnosis;
        Self {
            code,
            summary,
            cause,
            remedy,
            evidence,
        }
    }
}

impl From<diagnosis::Error> for types::Error {
    fn from(error: diagnosis::Error) -> Self {
        let kind = match error.kind {
            diagnosis::ErrorKind::InvalidInput => types::ErrorKind::InvalidInput,
            diagnosis::ErrorKind::Configuration => types::ErrorKind::Configuration,
            diagnosis::ErrorKind::SignInRequired => types::ErrorKind::SignInRequired,
            diagnosis::ErrorKind::Unavailable => types::ErrorKind::Unavailable,
            diagnosis::ErrorKind::Busy => types::ErrorKind::Busy,
            diagnosis::ErrorKind::Storage => types::ErrorKind::Storage,
            diagnosis::ErrorKind::UnknownOutcome => types::ErrorKind::UnknownOutcome,
            diagnosis::ErrorKind::Internal => types::ErrorKind::Internal,
        };
        Self {
            kind,
            diagnosis: error.diagnosis.into(),
            retry_at: error.retry_at,
        }
    }
}

impl From<PendingLogin> for auth::Login {
    fn from(pending: PendingLogin) -> Self {
        let (authorize_url, expires_at) = (pending.authorize_url(), pending.expires_at());
        Self {
            authorize_url,
            redirect_uri: pending.redirect_uri,
            expires_at,
        }
    }
}

impl From<Tokens> for auth::Token {
    fn from(tokens: Tokens) -> Self {
        let Times {
            refresh_at,
            expires_at,
            ..
        } = tokens.times;
        Self {
            bearer: tokens.access_token.expose().to_owned(),
            refresh_at,
            expires_at,
        }
    }
}

impl From<Identity> for types::Identity {
    fn from(identity: Identity) -> Self {
        Self {
            id: identity.id,
            login: identity.login,
            name: identity.name,
        }
    }
}

impl From<Status> for auth::ConnectionStatus {
    fn from(status: Status) -> Self {
        Self {
            health: match status.health {
                Health::Healthy => auth::Health::Healthy,
                Health::Unverified => auth::Health::Unverified,
                Health::AtRisk => auth::Health::AtRisk,
                Health::Unavailable => auth::Health::Unavailable,
                Health::Misconfigured => auth::Health::Misconfigured,
                Health::SignInRequired => auth::Health::SignInRequired,
            },
            token: status.token.map(
                |Times {
                     issued_at,
                     refresh_at,
                     expires_at,
                 }| auth::TokenTimes {
                    issued_at,
                    refresh_at,
                    expires_at,
                },
            ),
            last_evidence: status.last_evidence,
            identity: status.identity.map(types::Identity::from),
            api_origin: status.api_origin,
            refreshes: status.refreshes,
            incident: status.incident.map(|incident| auth::Incident {
                since: incident.since,
                last_told: incident.told_at(),
                stage: match status.stage {
                    Stage::Working => auth::Stage::Working,
                    Stage::Urgent => auth::Stage::Urgent,
                    Stage::Dark => auth::Stage::Dark,
                },
                dark_at: status.dark_at,
                diagnosis: incident.diagnosis.into(),
            }),
            parked: status.parked,
            undecided: status.undecided,
        }
    }
}

impl From<flow::Parked> for api::ParkedRequest {
    fn from(parked: flow::Parked) -> Self {
        let id = parked.id.clone();
        let state = match parked.state() {
            State::Queued | State::Sending { .. } => api::ParkedState::Queued,
            State::UnknownOutcome => api::ParkedState::UnknownOutcome,
            State::DeadLetter => api::ParkedState::DeadLetter,
        };
        match parked.content {
            Ok(request) => Self {
                id,
                state,
                size: request.body_size(),
                method: request.method,
                path: request.path,
                parked_at: request.parked_at,
                replays: request.replays,
                reason: request.reason,
                order_key: request.order_key,
            },
            Err(unreadable) => Self {
                id,
                state,
                method: String::new(),
                path: String::new(),
                size: unreadable.size,
                parked_at: 0,
                replays: 0,
                reason: unreadable.error.diagnosis.code,
                order_key: None,
            },
        }
    }
}
