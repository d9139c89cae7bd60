//! What the store keeps for a connection under the key `session`: one JSON document, written whole.
//!
//! A rotation moves through it in three writes, each durable before the next step: the *intent* (before the POST), the raw
//! *reply* (before it is read), the new *tokens* (before they are used). An interruption at any point leaves the old pair,
//! the new pair, or an intent that says exactly what is unknown.

use std::borrow::Cow;

use miniserde::{Deserialize, Serialize};

use crate::{
    diagnosis::Diagnosis,
    environment::Environment,
    json::{Text, stored_as_text},
    lifetime::Times,
    secret::{Digest, Secret},
    settings::{Grant, Settings},
};

/// The layout's version. A document of another one is refused, never overwritten.
pub const FORMAT: u32 = 1;

/// Everything that is known about a connection's sign-in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Clone))]
pub struct Session {
    /// [`FORMAT`].
    pub format: u32,
    /// Where the tokens are from.
    pub environment: Environment,
    /// The client that they were issued to.
    pub client_id: String,
    /// How they were got.
    pub grant: GrantKind,
    /// The current tokens.
    pub tokens: Option<Tokens>,
    /// A request to the token endpoint whose end is not known to have been recorded.
    pub intent: Option<Intent>,
    /// A reply that was received and not yet turned into tokens.
    pub reply: Option<RawReply>,
    /// What the server said for good about these credentials.
    pub verdict: Option<Verdict>,
    /// When the token endpoint may be asked again after passing failures.
    pub backoff: Option<Backoff>,
    /// What people were told and when it began.
    pub incident: Option<Incident>,
    /// Who the tokens act as.
    pub identity: Option<Identity>,
    /// The API host that answered, where the environment has several on record.
    pub api_host: Option<String>,
    /// When the server last accepted these credentials.
    pub last_evidence: Option<u64>,
    /// How many refreshes this sign-in has had.
    pub refreshes: u64,
    /// The authorization code that began this sign-in.
    pub code: Option<Digest>,
}

impl Session {
    /// Starts an empty session for the connection.
    pub fn new(settings: &Settings) -> Self {
        Self {
            format: FORMAT,
            environment: settings.environment,
            client_id: settings.client_id.clone(),
            grant: GrantKind::of(&settings.grant),
            tokens: None,
            intent: None,
            reply: None,
            verdict: None,
            backoff: None,
            incident: None,
            identity: None,
            api_host: None,
            last_evidence: None,
            refreshes: 0,
            code: None,
        }
    }

    /// Whether the session is of the connection as it is configured now.
    pub fn belongs_to(&self, settings: &Settings) -> bool {
        (self.environment, self.grant) == (settings.environment, GrantKind::of(&settings.grant))
            && self.client_id == settings.client_id
    }

    /// Whether this is the current access token.
    pub fn holds(&self, token: &Secret) -> bool {
        let current = self.tokens.as_ref();
        current.is_some_and(|tokens| tokens.access_token == *token)
    }

    /// Returns the tokens if their access token can be used at `now`.
    pub fn live_tokens(&self, now: u64) -> Option<&Tokens> {
        self.tokens
            .as_ref()
            .filter(|tokens| !tokens.rejected && tokens.times.is_live(now))
    }

    /// Returns the verdict if it speaks of the credentials that would be sent now.
    pub fn standing_verdict(&self, settings: &Settings) -> Option<&Verdict> {
        let refresh_token = self
            .tokens
            .as_ref()
            .and_then(|tokens| tokens.refresh_token.as_ref())
            .map(Secret::digest);
        self.verdict
            .as_ref()
            .filter(|verdict| match &verdict.about {
                About::RefreshToken(digest) => refresh_token.as_ref() == Some(digest),
                About::Client(credentials) => *credentials == settings.credentials(),
            })
    }
}

/// How a connection gets its tokens, without the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantKind {
    /// A user signed in.
    #[serde(rename = "authorization-code")]
    AuthorizationCode,
    /// A service account.
    #[serde(rename = "client-credentials")]
    ClientCredentials,
}

impl GrantKind {
    fn of(grant: &Grant) -> Self {
        match grant {
            Grant::AuthorizationCode(_) => Self::AuthorizationCode,
            Grant::ClientCredentials => Self::ClientCredentials,
        }
    }
}

/// An access token, and what came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The bearer token.
    pub access_token: Secret,
    /// The single-use token for the next refresh; service accounts have none.
    pub refresh_token: Option<Secret>,
    /// When it was issued, is due and expires.
    pub times: Times,
    /// Whether a rejection (401) of its predecessor brought it, and no call has succeeded with it yet.
    pub unproven: bool,
    /// Whether the API rejected it (401): it is not used again, however long it was to live.
    pub rejected: bool,
    /// Whether the server of this environment is known to have issued it.
    pub confirmed: bool,
}

/// Written before a request to the token endpoint: what is about to be spent, when and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What is sent.
    pub spends: Spends,
    /// When it was written.
    pub at: u64,
    /// Who wrote it.
    pub by: String,
    /// How many requests with this token have an unknown outcome, this one included until it is answered.
    pub attempt: u32,
}

/// What a request to the token endpoint spends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spends {
    /// An authorization code: the reply begins a new sign-in.
    Code(Digest),
    /// A refresh token.
    RefreshToken(Digest),
    /// Nothing: client credentials.
    Nothing,
}

impl Text for Spends {
    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Code(code) => format!("code:{}", code.to_text()).into(),
            Self::RefreshToken(token) => format!("refresh-token:{}", token.to_text()).into(),
            Self::Nothing => "nothing".into(),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("code", code)) => Digest::from_text(code).map(Self::Code),
            Some(("refresh-token", token)) => Digest::from_text(token).map(Self::RefreshToken),
            None if text == "nothing" => Some(Self::Nothing),
            _ => None,
        }
    }
}

stored_as_text!(Spends);

/// A reply of the token endpoint, as received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawReply {
    /// The body, whatever it holds: a secret.
    body: Secret,
    /// `latin1` where the body is no UTF-8: a document holds text alone, and in Latin-1 every byte is a character.
    encoding: Option<Encoding>,
    /// When the request was started.
    pub requested_at: u64,
}

/// How the bytes of a reply that is no UTF-8 stand in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Encoding {
    /// One character for each byte.
    #[serde(rename = "latin1")]
    Latin1,
}

impl RawReply {
    /// Keeps a body to the byte.
    pub fn new(body: &[u8], requested_at: u64) -> Self {
        let (body, encoding) = match str::from_utf8(body) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (latin1(body), Some(Encoding::Latin1)),
        };
        Self {
            body: Secret::new(body),
            encoding,
            requested_at,
        }
    }

    /// Returns the body as it was received.
    pub fn bytes(&self) -> Vec<u8> {
        let text = self.body.expose();
        match self.encoding {
            None => text.as_bytes().to_vec(),
            Some(Encoding::Latin1) => text.chars().map(|character| character as u8).collect(),
        }
    }
}

fn latin1(bytes: &[u8]) -> String {
    let mut text = String::new();
    bytes.iter().for_each(|byte| text.push(char::from(*byte)));
    text
}

/// What a verdict is about: it is void once that is no longer what would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// This refresh token.
    RefreshToken(Digest),
    /// The client's credentials, as `Settings::credentials` names them.
    Client(String),
}

impl Text for About {
    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::RefreshToken(token) => format!("refresh-token:{}", token.to_text()).into(),
            Self::Client(credentials) => format!("client:{credentials}").into(),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("refresh-token", token) => Digest::from_text(token).map(Self::RefreshToken),
            ("client", credentials) => Some(Self::Client(credentials.to_owned())),
            _ => None,
        }
    }
}

stored_as_text!(About);

/// A final answer of the server: nothing is sent again until the credentials change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it is about.
    pub about: About,
    /// When it was given.
    pub since: u64,
    /// What it means.
    pub diagnosis: Diagnosis,
}

/// Passing failures of the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// How many in a row.
    pub failures: u32,
    /// When the next request may be made.
    pub not_before: u64,
    /// The last one.
    pub diagnosis: Diagnosis,
}

/// How bad a trouble is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Calls work, and there is time.
    #[serde(rename = "working")]
    Working,
    /// Calls work, and stop soon.
    #[serde(rename = "urgent")]
    Urgent,
    /// No token lives.
    #[serde(rename = "dark")]
    Dark,
}

impl Stage {
    /// Returns its name in alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Urgent => "urgent",
            Self::Dark => "dark",
        }
    }
}

/// A trouble that people were told about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When it began.
    pub since: u64,
    /// When they were told last. Earlier versions wrote none.
    told_at: Option<u64>,
    /// The worst that they were told. Earlier versions wrote none.
    stage: Option<Stage>,
    /// Whether that is [`Stage::Dark`]: what earlier versions wrote instead, and cannot read a session without.
    dark: bool,
    /// What it is.
    pub diagnosis: Diagnosis,
    /// The codes of what it was before.
    earlier: Option<Vec<String>>,
}

impl Incident {
    /// Begins an incident that is told now.
    pub fn new(now: u64, stage: Stage, diagnosis: Diagnosis) -> Self {
        Self {
            since: now,
            told_at: Some(now),
            stage: Some(stage),
            dark: stage == Stage::Dark,
            diagnosis,
            earlier: None,
        }
    }

    /// Notes that it is told once more.
    pub fn told_again(self, now: u64, stage: Stage, diagnosis: Diagnosis) -> Self {
        let stage = stage.max(self.stage());
        let mut earlier = self.earlier.unwrap_or_default();
        if !earlier.contains(&self.diagnosis.code) {
            earlier.push(self.diagnosis.code);
        }
        Self {
            since: self.since,
            earlier: Some(earlier),
            ..Self::new(now, stage, diagnosis)
        }
    }

    /// Notes that calls work again, though it is not over: that they stop is news once more.
    pub fn ease(&mut self) {
        self.stage = Some(Stage::Working);
        self.dark = false;
    }

    /// Returns when people were told last.
    pub fn told_at(&self) -> u64 {
        self.told_at.unwrap_or(self.since)
    }

    /// Returns the worst that people were told.
    pub fn stage(&self) -> Stage {
        self.stage.unwrap_or(match self.dark {
            true => Stage::Dark,
            false => Stage::Working,
        })
    }

    /// Whether it is or was this trouble.
    pub fn has_been(&self, code: &str) -> bool {
        let earlier = self.earlier.iter().flatten();
        self.diagnosis.code == code || earlier.into_iter().any(|known| known == code)
    }
}

/// Who the tokens act as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Procore's user id.
    pub id: u64,
    /// The account's e-mail address.
    pub login: String,
    /// The display name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::tests::settings, json};

    #[test]
    fn a_full_session_survives() {
        let digest = Secret::new("r0").digest();
        let diagnosis = Diagnosis::new("code", "summary", "cause", "remedy \"quoted\"")
            .with_evidence(vec!["a fact".to_owned()]);
        let mut session = Session::new(&settings());
        session.tokens = Some(Tokens {
            access_token: Secret::new("a"),
            refresh_token: Some(Secret::new("r")),
            times: Times {
                issued_at: 1,
                refresh_at: 2,
                expires_at: u64::MAX,
            },
            unproven: true,
            rejected: false,
            confirmed: false,
        });
        session.reply = Some(RawReply::new("{\"a\": \"\u{e9}\n\"}".as_bytes(), 3));
        session.backoff = Some(Backoff {
            failures: 4,
            not_before: 5,
            diagnosis: diagnosis.clone(),
        });
        let incident = Incident::new(6, Stage::Working, diagnosis.clone());
        session.incident = Some(incident.told_again(7, Stage::Urgent, diagnosis.clone()));
        session.identity = Some(Identity {
            id: 7,
            login: "l".to_owned(),
            name: String::new(),
        });
        session.code = Some(digest.clone());
        for spends in [
            Spends::Code(digest.clone()),
            Spends::RefreshToken(digest.clone()),
            Spends::Nothing,
        ] {
            for about in [
                About::RefreshToken(digest.clone()),
                About::Client(settings().credentials()),
            ] {
                session.intent = Some(Intent {
                    spends: spends.clone(),
                    at: 8,
                    by: "b".to_owned(),
                    attempt: 9,
                });
                session.verdict = Some(Verdict {
                    about,
                    since: 10,
                    diagnosis: diagnosis.clone(),
                });
                assert_eq!(json::read(&json::write(&session)), Some(session.clone()));
            }
        }
    }

    #[test]
    fn s18_a_reply_survives_to_the_byte() {
        let every_byte: Vec<u8> = (0..=255).collect();
        for body in [&every_byte[..], "\u{e9}\u{fffd}\0".as_bytes(), b"\xc3", b""] {
            let reply = RawReply::new(body, 1);
            let stored: RawReply = json::read(&json::write(&reply)).expect("valid");
            assert_eq!(stored.bytes(), body);
        }
        // As earlier versions wrote it.
        let text = "{\"body\":\"\u{e9}\",\"requested_at\":1}";
        let stored: RawReply = json::read(text.as_bytes()).expect("valid");
        assert_eq!(stored.bytes(), "\u{e9}".as_bytes());
    }

    #[test]
    fn s39_an_incident_as_earlier_versions_wrote_it() {
        for (dark, stage) in [(true, Stage::Dark), (false, Stage::Working)] {
            let text = format!(
                r#"{{"since":6,"dark":{dark},"diagnosis":{{"code":"c","summary":"","cause":"","remedy":"","evidence":[]}}}}"#
            );
            let incident: Incident = json::read(text.as_bytes()).expect("valid");
            assert_eq!((incident.told_at(), incident.stage()), (6, stage));
            assert!(incident.has_been("c") && !incident.has_been("d"));
            // They read what is written now, too: they want this field.
            let again = incident.told_again(7, Stage::Dark, Diagnosis::new("d", "", "", ""));
            assert!(
                json::write(&again)
                    .windows(11)
                    .any(|part| part == b"\"dark\":true")
            );
            assert!(again.has_been("c") && again.has_been("d"));
        }
    }

    #[test]
    fn an_empty_session_as_others_write_it() {
        let text = br#"{"format":1,"environment":"monthly-sandbox","client_id":"id","grant":"client-credentials","refreshes":0,"unknown":[{}]}"#;
        let session: Session = json::read(text).expect("valid");
        assert_eq!(
            (session.environment, session.grant, session.tokens),
            (
                Environment::MonthlySandbox,
                GrantKind::ClientCredentials,
                None
            )
        );
        let other = String::from_utf8_lossy(text).replace("monthly-sandbox", "moon");
        assert_eq!(json::read::<Session>(other.as_bytes()), None);
    }
}
