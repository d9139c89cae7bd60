//! Asks login hosts whether they know a client id with its secret.
//!
//! The probe is the exchange of a code that nobody was ever given. A server looks at the client first: it says `invalid_client` where it does
//! not know the pair, and something else, `invalid_grant` mostly, where it does. Nothing is spent: no token and no code is in it.
//!
//! The other environments' login hosts are asked where the connection's own does not know the pair, and only then: it shows them the secret.
//! They are Procore's, all of them.

use std::time::Duration;

use procore_auth_host::{
    Advice, Diagnosis, Endpoint, Environment, Error, Grant, HttpClient, Observation, RequestLimits,
    Settings,
};

use super::open::Opener;
use super::status;

const ENVIRONMENTS: [Environment; 4] = [
    Environment::Production,
    Environment::Sandbox,
    Environment::MonthlySandbox,
    Environment::Federal,
];

/// A code that no server ever gave.
const NO_CODE: &str = "procore-auth-probe";

/// What one request may take.
const LIMITS: RequestLimits = RequestLimits {
    timeout: Duration::from_secs(10),
    reply_size: 256 * 1024,
};

/// What is known of a pair.
pub(super) enum Known {
    /// The login host of its environment knows it.
    Here,
    /// That one does not.
    NotHere(Stranger),
    /// That one could not be asked, or said nothing of use.
    Unclear(String),
}

/// A pair that the login host of its environment does not know.
pub(super) struct Stranger {
    /// What its refusal means.
    pub(super) refused: Diagnosis,
    /// The environment whose login host knows it, if one does.
    pub(super) of: Option<Environment>,
    /// What each login host said.
    pub(super) evidence: Vec<String>,
}

/// What one login host says of the pair.
enum Said {
    Yes,
    No(Diagnosis),
    Nothing(String),
}

struct Probe<'a> {
    advice: Advice,
    http: &'a dyn HttpClient,
    settings: &'a Settings,
}

/// Asks the login host of the pair's environment, and where that does not know it, the others.
pub(super) async fn ask(opener: &Opener, settings: &Settings) -> Result<Known, Error> {
    let probe = Probe {
        advice: opener.advice(),
        http: opener.http(),
        settings,
    };
    Ok(match probe.ask(settings.environment).await? {
        Said::Yes => Known::Here,
        Said::Nothing(why) => Known::Unclear(why),
        Said::No(refused) => Known::NotHere(probe.elsewhere(refused).await?),
    })
}

impl Probe<'_> {
    /// Finds out whose pair it is.
    async fn elsewhere(&self, refused: Diagnosis) -> Result<Stranger, Error> {
        let own = self.settings.environment;
        let mut evidence = vec![format!(
            "the login host of {} does not know this client id with this secret",
            status::environment(own)
        )];
        let mut of = None;
        for other in ENVIRONMENTS.into_iter().filter(|other| *other != own) {
            let name = status::environment(other);
            match self.ask(other).await? {
                Said::Yes => {
                    evidence.push(format!("the login host of {name} knows it"));
                    of = Some(other);
                    break;
                }
                Said::No(_) => evidence.push(format!("nor does that of {name}")),
                Said::Nothing(why) => evidence.push(format!("{name}: {why}")),
            }
        }
        Ok(Stranger {
            refused,
            of,
            evidence,
        })
    }

    async fn ask(&self, environment: Environment) -> Result<Said, Error> {
        let urls = self.advice.endpoints(environment).await?;
        let Ok(request) = request(&urls.token_url, self.settings) else {
            return Ok(Said::Nothing(
                "the client id is no text that can be sent".to_owned(),
            ));
        };
        let response = match self.http.send(request, LIMITS).await {
            Ok(response) => response,
            Err(failure) => return Ok(Said::Nothing(failure.message)),
        };
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        let seen = Observation {
            environment,
            // What it means for refreshes is asked, and not for the probe, which nobody repeats.
            endpoint: Endpoint::Refresh,
            url: None,
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body,
        };
        let said = self.advice.explain(seen).await?;
        Ok(match said.code.as_str() {
            "invalid_client" => Said::No(said),
            "invalid_grant" | "unauthorized_client" | "unsupported_grant_type" => Said::Yes,
            _ => Said::Nothing(format!(
                "the login host says nothing of it: {}",
                said.summary
            )),
        })
    }
}

fn request(url: &str, settings: &Settings) -> Result<http::Request<Vec<u8>>, http::Error> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", NO_CODE)
        .append_pair("client_id", &settings.client_id)
        .append_pair("client_secret", settings.client_secret.expose());
    if let Grant::AuthorizationCode { redirect_uri } = &settings.grant {
        form.append_pair("redirect_uri", redirect_uri);
    }
    http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form.finish().into_bytes())
}
