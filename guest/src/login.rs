//! A sign-in by authorization code (RFC 6749, section 4.1): the link that goes out, and what comes back.

use miniserde::{Deserialize, Serialize};

use crate::{
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    environment::Environment,
    event::Event,
    explain::{Endpoint, Observation, explain},
    grant::Presented,
    json,
    redirect::{Kind, RedirectUri},
    search,
    secret::{Secret, code_challenge, random_text},
    settings::{Grant, Settings},
};

/// How long a link stays acceptable, in milliseconds: an hour, since it may have to reach an admin first. The code that it
/// brings lives 10 minutes from its issue.
pub const LIFETIME: u64 = 3_600_000;

/// How long a link in an alert stays acceptable, in milliseconds: three days, since it may be read after a weekend. The next alert
/// of the same trouble has the same link, and prolongs it.
pub const ALERT_LIFETIME: u64 = 72 * 3_600_000;

/// A sign-in that was begun; stored under the key `login`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLogin {
    /// Binds what comes back to what was sent out (RFC 6749, section 10.12).
    pub state: Secret,
    /// The PKCE verifier, where a challenge was sent.
    pub verifier: Option<Secret>,
    /// As sent; the exchange repeats it.
    pub redirect_uri: String,
    /// Where it was begun: a change of the configuration in between voids it.
    pub environment: Environment,
    /// For which client.
    pub client_id: String,
    /// When it was begun.
    pub begun_at: u64,
    /// When it stops being acceptable, where that is not an hour after its beginning.
    pub prolonged_until: Option<u64>,
}

impl PendingLogin {
    /// Begins a sign-in. `random` is 64 bytes: half for the state, half for the verifier.
    pub fn begin(settings: &Settings, random: &[u8], now: u64) -> Result<Self> {
        let redirect_uri = redirect_uri(settings)?;
        let (state, verifier) = random.split_at(random.len() / 2);
        Ok(Self {
            state: random_text(state),
            verifier: settings.policy.pkce.then(|| random_text(verifier)),
            redirect_uri: redirect_uri.as_str().to_owned(),
            environment: settings.environment,
            client_id: settings.client_id.clone(),
            begun_at: now,
            prolonged_until: None,
        })
    }

    /// Makes it acceptable for as long as an alert with its link may lie unread.
    pub fn prolong(&mut self, now: u64) {
        self.prolonged_until = Some(now.saturating_add(ALERT_LIFETIME));
    }

    /// Returns the link to open. It holds no secret but the state, which is worth nothing without this store.
    pub fn authorize_url(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("response_type", "code");
        query.append_pair("client_id", &self.client_id);
        query.append_pair("redirect_uri", &self.redirect_uri);
        query.append_pair("state", self.state.expose());
        if let Some(verifier) = &self.verifier {
            query.append_pair("code_challenge", &code_challenge(verifier));
            query.append_pair("code_challenge_method", "S256");
        }
        format!("{}?{}", self.environment.authorize_url(), query.finish())
    }

    /// Returns when the sign-in stops being acceptable.
    pub fn expires_at(&self) -> u64 {
        let usual = self.begun_at.saturating_add(LIFETIME);
        self.prolonged_until.unwrap_or(usual)
    }

    /// Whether it is of the connection as it is configured now, and not too old.
    pub fn is_current(&self, settings: &Settings, now: u64) -> bool {
        self.environment == settings.environment
            && self.client_id == settings.client_id
            && now < self.expires_at()
    }

    /// Reads what came back and returns what to present at the token endpoint.
    pub fn accept(&self, callback: &str) -> Result<Presented> {
        let code = match Callback::read(callback) {
            Callback::Code(code) if is_out_of_band(&self.redirect_uri) => code,
            Callback::Code(_) => return Err(invalid(state_missing())),
            Callback::Answer { code, state, error } => {
                if !state
                    .as_ref()
                    .is_some_and(|state| self.state.matches(state.expose()))
                    && !is_out_of_band(&self.redirect_uri)
                {
                    return Err(invalid(if state.is_some() {
                        state_mismatch()
                    } else {
                        state_missing()
                    }));
                }
                if let Some(error) = error {
                    return Err(self.refused(&error));
                }
                code.ok_or_else(|| invalid(no_code()))?
            }
        };
        Ok(Presented::Code {
            code,
            redirect_uri: self.redirect_uri.clone(),
            verifier: self.verifier.clone(),
        })
    }

    fn refused(&self, error: &str) -> Error {
        let body = json::write(&Refusal {
            error: error.to_owned(),
        });
        let seen = Observation {
            environment: self.environment,
            endpoint: Endpoint::Authorize,
            url: None,
            status: 302,
            headers: &[],
            body: &body,
        };
        let kind = if error == "access_denied" {
            ErrorKind::InvalidInput
        } else {
            ErrorKind::Configuration
        };
        Error::new(kind, explain(&seen))
    }
}

/// Returns the connection's redirect URI, checked.
pub fn redirect_uri(settings: &Settings) -> Result<RedirectUri> {
    match &settings.grant {
        Grant::AuthorizationCode(uri) => RedirectUri::parse(uri)
            .map_err(|diagnosis| Error::new(ErrorKind::Configuration, diagnosis)),
        Grant::ClientCredentials => Err(Error::new(
            ErrorKind::Configuration,
            Diagnosis::new(
                "no-sign-in-needed",
                "A service account signs in by itself.",
                "The connection's grant is client-credentials: there is no browser step.",
                "Ask for a token directly: `procore-auth token`.",
            ),
        )),
    }
}

/// The answer of the authorize page, in the form of the token endpoint's: it is explained alike.
#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// Adds to an alert how to sign in: the link, where the sign-in can be finished with a code that any device shows, or else the
/// command. The link holds no secret.
pub fn ask(mut alert: Event, settings: &Settings, pending: Option<&PendingLogin>) -> Event {
    let name = &settings.name;
    let remedy = alert.fields.iter_mut().find(|(name, _)| *name == "remedy");
    let Some((_, remedy)) = remedy else {
        return alert;
    };
    match pending {
        Some(pending) => {
            *remedy = format!(
                "Open the link on any device, sign in, and give the code that Procore shows to `procore-auth login --finish --connection {name}`."
            );
            alert.with("link", &pending.authorize_url())
        }
        None => {
            let command = format!("procore-auth login --connection {name}`");
            *remedy = remedy.replace("procore-auth login`", &command);
            alert
        }
    }
}

/// Whether Procore shows the code on a page.
pub fn is_out_of_band(redirect_uri: &str) -> bool {
    RedirectUri::parse(redirect_uri).is_ok_and(|uri| *uri.kind() == Kind::OutOfBand)
}

/// Returns the code in what came back, whatever sign-in it belongs to.
pub fn code_of(callback: &str) -> Option<Secret> {
    match Callback::read(callback) {
        Callback::Code(code) => Some(code),
        Callback::Answer { code, .. } => code,
    }
}

/// What a person or a browser brought back.
#[derive(Debug, PartialEq, Eq)]
enum Callback {
    /// A code alone.
    Code(Secret),
    /// The parameters of a callback URL.
    Answer {
        code: Option<Secret>,
        state: Option<Secret>,
        error: Option<String>,
    },
}

impl Callback {
    /// Reads a whole URL, its query, or a code.
    fn read(text: &str) -> Self {
        let text = text.trim();
        let is_query = || {
            ["code=", "state=", "error="]
                .iter()
                .any(|name| search::contains(text, name))
        };
        let query = match text.split_once('?') {
            Some((_, query)) => query,
            None if search::contains(text, "://") => "",
            None if is_query() => text,
            None => return Self::Code(Secret::new(text)),
        };
        let query = query.split('#').next().unwrap_or_default();
        let parameter = |name: &str| {
            let found = form_urlencoded::parse(query.as_bytes())
                .find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.into_owned())
        };
        Self::Answer {
            code: parameter("code").map(Secret::new),
            state: parameter("state").map(Secret::new),
            error: parameter("error"),
        }
    }
}

fn invalid(diagnosis: Diagnosis) -> Error {
    Error::new(ErrorKind::InvalidInput, diagnosis)
}

const AGAIN: &str = "Run `procore-auth login` again and use the newest link, once.";

fn state_mismatch() -> Diagnosis {
    Diagnosis::new(
        "state-mismatch",
        "This answer belongs to another sign-in.",
        "Its `state` is not the one of the link that was given out last: an older link was used, or somebody else made this link.",
        AGAIN,
    )
}

fn state_missing() -> Diagnosis {
    Diagnosis::new(
        "state-missing",
        "The answer has no `state`, so it cannot be told which sign-in it belongs to.",
        "Only the code was pasted, or the address was cut off.",
        "Paste the whole address that the browser ended on, from https:// or http:// to its end.",
    )
}

fn no_code() -> Diagnosis {
    Diagnosis::new(
        "no-code",
        "The answer holds no code.",
        "The address was cut off, or it is not the one after the sign-in.",
        AGAIN,
    )
}

/// The code was presented before.
pub fn code_used() -> Diagnosis {
    Diagnosis::new(
        "code-already-used",
        "This code was used already.",
        "A code works once. The page was reloaded, or the code was pasted twice.",
        "If `procore-auth status` shows the connection signed in, nothing is to be done. Otherwise run `procore-auth login` again.",
    )
}

/// There is no sign-in that the answer could belong to.
pub fn no_pending() -> Diagnosis {
    Diagnosis::new(
        "no-pending-login",
        "No sign-in is under way.",
        "None was begun, it was finished, its link is too old, or the configuration changed since.",
        AGAIN,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::tests::settings, event::Severity, redirect::OUT_OF_BAND};

    const NOW: u64 = 1_800_000_000_000;

    fn pending(redirect_uri: &str, pkce: bool) -> PendingLogin {
        let mut settings = settings();
        settings.grant = Grant::AuthorizationCode(redirect_uri.to_owned());
        settings.policy.pkce = pkce;
        let random: Vec<u8> = (0..64).collect();
        PendingLogin::begin(&settings, &random, NOW).expect("valid")
    }

    fn code(result: Result<Presented>) -> String {
        match result {
            Ok(Presented::Code { code, .. }) => code.expose().to_owned(),
            Ok(_) => "?".to_owned(),
            Err(error) => format!("! {}", error.diagnosis.code),
        }
    }

    #[test]
    fn the_link() {
        let pending = pending("http://localhost:9876/callback", false);
        let url = pending.authorize_url();
        assert!(url.starts_with("https://login-sandbox.procore.com/oauth/authorize?response_type=code&client_id=id&redirect_uri=http%3A%2F%2Flocalhost%3A9876%2Fcallback&state="));
        assert!(!url.contains("code_challenge"));
        assert_eq!(pending.state.expose().len(), 43);
    }

    #[test]
    fn pkce_is_opt_in() {
        let pending = pending(OUT_OF_BAND, true);
        let challenge = code_challenge(pending.verifier.as_ref().expect("verifier"));
        assert!(pending.authorize_url().ends_with(&format!(
            "&code_challenge={challenge}&code_challenge_method=S256"
        )));
    }

    #[test]
    fn s52_what_comes_back() {
        let pending = pending("http://localhost:9876/callback", false);
        let state = pending.state.expose();
        for (callback, result) in [
            (
                format!("http://localhost:9876/callback?code=c1&state={state}"),
                "c1",
            ),
            (
                format!("  http://localhost:9876/callback?state={state}&code=c1#_=_ \n"),
                "c1",
            ),
            (format!("/callback?code=c1&state={state}"), "c1"),
            (format!("code=c%2B1&state={state}"), "c+1"),
            (
                "http://localhost:9876/callback?code=c1&state=other".to_owned(),
                "! state-mismatch",
            ),
            (
                "http://localhost:9876/callback?code=c1".to_owned(),
                "! state-missing",
            ),
            ("c1".to_owned(), "! state-missing"),
            (
                format!("http://localhost:9876/callback?state={state}"),
                "! no-code",
            ),
            (
                format!("http://localhost:9876/callback?error=access_denied&state={state}"),
                "! access_denied",
            ),
            (
                "http://localhost:9876/callback?error=access_denied".to_owned(),
                "! state-missing",
            ),
            (
                "http://localhost:9876/callback".to_owned(),
                "! state-missing",
            ),
        ] {
            assert_eq!(code(pending.accept(&callback)), result, "{callback}");
        }
    }

    #[test]
    fn s53_out_of_band_takes_the_code_alone() {
        let pending = pending(OUT_OF_BAND, false);
        assert_eq!(code(pending.accept(" c1\n")), "c1");
        assert_eq!(
            code(
                pending.accept("https://login-sandbox.procore.com/oauth/authorize/native?code=c1")
            ),
            "c1"
        );
    }

    #[test]
    fn a_service_account_has_no_sign_in() {
        let settings = Settings {
            grant: Grant::ClientCredentials,
            ..settings()
        };
        assert_eq!(
            PendingLogin::begin(&settings, &[0; 64], NOW)
                .expect_err("no sign-in")
                .diagnosis
                .code,
            "no-sign-in-needed"
        );
    }

    #[test]
    fn a_sign_in_ends_with_its_hour_and_its_configuration() {
        let pending = pending(OUT_OF_BAND, false);
        assert!(
            pending.is_current(&settings(), NOW + LIFETIME - 1)
                && !pending.is_current(&settings(), NOW + LIFETIME)
        );
        let other = Settings {
            environment: Environment::Production,
            ..settings()
        };
        assert!(!pending.is_current(&other, NOW));
    }

    #[test]
    fn s39_a_link_in_an_alert_outlives_a_weekend() {
        let mut pending = pending(OUT_OF_BAND, false);
        pending.prolong(NOW + LIFETIME / 2);
        let end = NOW + LIFETIME / 2 + 72 * 3_600_000;
        assert!(pending.is_current(&settings(), end - 1) && !pending.is_current(&settings(), end));
        // As earlier versions wrote it.
        let stored = String::from_utf8(json::write(&pending)).expect("text");
        let (earlier, _) = stored.split_once(",\"prolonged_until\"").expect("a field");
        let read: PendingLogin = json::read(format!("{earlier}}}").as_bytes()).expect("valid");
        assert_eq!(read.expires_at(), NOW + LIFETIME);
    }

    #[test]
    fn s39_an_alert_names_the_connection_in_the_one_command() {
        let alert = |remedy| Event::new(Severity::Alert, "c", "m").explained("why", remedy);
        let asked = ask(alert("Run `procore-auth login`."), &settings(), None);
        assert_eq!(asked, alert("Run `procore-auth login --connection acme`."));
        let pending = pending(OUT_OF_BAND, true);
        let asked = ask(
            alert("Run `procore-auth login`."),
            &settings(),
            Some(&pending),
        );
        let link = ("link", pending.authorize_url());
        assert!(asked.fields.contains(&link));
        let verifier = pending.verifier.expect("a verifier");
        assert!(!format!("{asked:?}").contains(verifier.expose()));
    }

    proptest::proptest! {
        #[test]
        fn any_callback_gets_an_answer_and_without_the_state_never_a_code(callback in ".{0,80}") {
            let pending = pending("http://localhost:9876/callback", false);
            proptest::prop_assert!(pending.accept(&callback).is_err());
        }

        #[test]
        fn codes_survive_the_way(raw in "[!-~]{1,60}") {
            let pending = pending("http://localhost:9876/callback", false);
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", &raw).append_pair("state", pending.state.expose()).finish();
            proptest::prop_assert_eq!(code(pending.accept(&format!("http://localhost:9876/callback?{query}"))), raw);
        }
    }
}
