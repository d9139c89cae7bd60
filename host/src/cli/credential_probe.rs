//! Asks login hosts whether they know a client id with its secret.
//!
//! The probe is the exchange of a code that nobody was ever given. A server looks at the client first: it says `invalid_client` where it does
//! not know the pair, and something else, `invalid_grant` mostly, where it does. Nothing is spent: no token and no code is in it.
//!
//! | answer | the pair | what is wrong |
//! |---|---|---|
//! | `invalid_grant` | known | nothing |
//! | `unauthorized_client` | known | a user's connection lives by codes, which the app may not exchange; to a service account it is all the same |
//! | `invalid_client` | unknown | the pair, or the environment |
//! | anything else | not known | what the answer says: no refresh gets a better one |
//!
//! The other environments' login hosts are asked where the connection's own does not know the pair, and only then: it shows them the secret.
//! They are Procore's, all of them.

use std::fmt;
use std::time::Duration;

use procore_auth_host::{
    Advice, Diagnosis, Endpoint, Environment, Error, Grant, HttpClient, HttpFailure, Observation,
    RequestLimits, Settings,
};

use super::open::Opener;

/// A code that no server ever gave.
const NO_CODE: &str = "procore-auth-probe";

/// What a service account, which has none, names as its redirect URI.
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// What one request may take.
const LIMITS: RequestLimits = RequestLimits {
    timeout: Duration::from_secs(10),
    reply_size: 256 * 1024,
};

/// What is known of a pair.
pub(super) enum Known {
    /// The login host of its environment knows it.
    Here,
    /// That one does, and exchanges no codes for its app.
    HereWithoutCodes,
    /// That one does not.
    NotHere(Stranger),
    /// That one could not be asked, or said nothing of it.
    Unclear(Unclear),
}

/// Why nothing is known of a pair.
pub(super) enum Unclear {
    /// It is no text that can be sent.
    Unsendable,
    /// There was no answer.
    Unanswered { host: String, failure: HttpFailure },
    /// There was one of another kind.
    Answered { host: String, said: Diagnosis },
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsendable => {
                f.write_str("the client id or its secret is no text that can be sent")
            }
            Self::Unanswered { failure, .. } => f.write_str(&failure.message),
            Self::Answered { said, .. } => f.write_str(&said.summary),
        }
    }
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
    WithoutCodes,
    No(Diagnosis),
    Nothing(Unclear),
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
        Said::WithoutCodes => Known::HereWithoutCodes,
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
            own.as_str()
        )];
        let mut of = None;
        for other in Environment::ALL.into_iter().filter(|other| *other != own) {
            let name = other.as_str();
            match self.ask(other).await? {
                Said::Yes | Said::WithoutCodes => {
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
            return Ok(Said::Nothing(Unclear::Unsendable));
        };
        let host = request.uri().host().unwrap_or_default().to_owned();
        let response = match self.http.send(request, LIMITS).await {
            Ok(response) => response,
            Err(failure) => return Ok(Said::Nothing(Unclear::Unanswered { host, failure })),
        };
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().filter_map(|(name, value)| {
            let value = value.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        let seen = Observation {
            environment,
            endpoint: Endpoint::Exchange,
            url: None,
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body,
        };
        let said = self.explain(seen).await?;
        Ok(match said.code.as_str() {
            "invalid_grant" => Said::Yes,
            "unauthorized_client" => Said::WithoutCodes,
            "invalid_client" => Said::No(said),
            _ => Said::Nothing(Unclear::Answered { host, said }),
        })
    }

    /// Explains an answer to the probe. What was seen is the probe's, the exchange of a code. What is to be done about it is what the same
    /// answer to the connection's own request would ask for: nobody repeats the probe.
    async fn explain(&self, seen: Observation) -> Result<Diagnosis, Error> {
        let own = match self.settings.grant {
            Grant::ClientCredentials => Endpoint::ClientCredentials,
            _ => Endpoint::Refresh,
        };
        let to_its_own = Observation {
            endpoint: own,
            ..seen.clone()
        };
        let mut said = self.advice.explain(seen).await?;
        said.remedy = self.advice.explain(to_its_own).await?.remedy;
        Ok(said)
    }
}

fn request(url: &str, settings: &Settings) -> Result<http::Request<Vec<u8>>, http::Error> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", NO_CODE)
        .append_pair("client_id", &settings.client_id)
        .append_pair("client_secret", settings.client_secret.expose());
    // Without one the request is incomplete, which a server finds out before it looks at the client.
    let redirect_uri = match &settings.grant {
        Grant::AuthorizationCode { redirect_uri } => redirect_uri.as_str(),
        _ => OUT_OF_BAND,
    };
    form.append_pair("redirect_uri", redirect_uri);
    http::Request::post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json")
        .body(form.finish().into_bytes())
}
