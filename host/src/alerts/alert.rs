//! What a person is told: one event with everything that is needed to act on it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    Environment, Event, Severity, connection::default_actor, hex::hex, json_lines::Fields,
};

/// The events that take an alert back.
const RECOVERIES: [&str; 5] = [
    "fallback-ended",
    "recovered",
    "visits-recovered",
    "plugin-recovered",
    "tokens-saved",
];

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// A person must act.
    Alert,
    /// What an earlier alert told is over.
    Recovery,
    /// Somebody tries the sink out.
    Test,
}

/// One alert, as it is stored and delivered. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Alert {
    /// The same at every try and for every sink: a receiver that sees it twice may ignore the second.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// The event's severity.
    pub severity: Severity,
    /// When it happened, in milliseconds since 1970-01-01T00:00:00Z.
    pub at: u64,
    /// The connection.
    pub connection: String,
    /// The connection's environment, where it is known.
    pub environment: Option<Environment>,
    /// The machine code.
    pub code: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The event's fields, in their order: `state`, `cause`, `remedy`, `since` and more.
    #[serde(serialize_with = "write_fields", deserialize_with = "read_fields")]
    pub fields: Vec<(String, String)>,
    /// The machine and the process that recorded it.
    pub process: String,
}

impl Alert {
    /// Makes an alert of an event that is for a person; `None` for any other.
    pub(crate) fn of(
        connection: &str,
        environment: Option<Environment>,
        event: &Event,
    ) -> Option<Self> {
        let kind = match event.severity {
            Severity::Alert => Kind::Alert,
            _ if RECOVERIES.contains(&event.code.as_str()) => Kind::Recovery,
            _ => return None,
        };
        Some(Self {
            id: new_id(event),
            kind,
            severity: event.severity,
            at: event.at,
            connection: connection.to_owned(),
            environment,
            code: event.code.clone(),
            message: event.message.clone(),
            fields: event.fields.clone(),
            process: default_actor(),
        })
    }

    /// Makes an alert that says that it is none.
    pub fn test(connection: &str, environment: Option<Environment>, now: u64) -> Self {
        let event = Event {
            at: now,
            severity: Severity::Info,
            code: "test".to_owned(),
            message: "This is a test: alerts of this connection arrive here.".to_owned(),
            fields: vec![
                (
                    "cause".to_owned(),
                    "Somebody tries the sink out.".to_owned(),
                ),
                ("remedy".to_owned(), "Nothing is to be done.".to_owned()),
            ],
        };
        Self {
            id: new_id(&event),
            kind: Kind::Test,
            severity: event.severity,
            at: now,
            connection: connection.to_owned(),
            environment,
            code: event.code,
            message: event.message,
            fields: event.fields,
            process: default_actor(),
        }
    }

    /// Returns a field of the event that is there and not empty.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns the link that cures it, where there is one: the field `link`, or else the first https URL of the remedy.
    pub fn link(&self) -> Option<&str> {
        self.field("link")
            .filter(|link| link.starts_with("https://"))
            .or_else(|| self.field("remedy").and_then(first_link))
    }
}

fn first_link(text: &str) -> Option<&str> {
    let found = &text[text.find("https://")?..];
    let end = found.find(|c: char| c.is_whitespace() || "`\"'<>()".contains(c));
    let link = &found[..end.unwrap_or(found.len())];
    Some(link.trim_end_matches(['.', ',', ';', ':', '!', '?']))
}

/// Random; where the system has no randomness, of what makes this event this one.
fn new_id(event: &Event) -> String {
    use sha2::{Digest, Sha256};
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        let text = format!("{} {} {}", default_actor(), event.at, event.code);
        bytes.copy_from_slice(&Sha256::digest(text)[..16]);
    }
    hex(&bytes)
}

fn write_fields<S: Serializer>(
    fields: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    Fields(fields).serialize(serializer)
}

fn read_fields<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
    struct InOrder;
    impl<'de> de::Visitor<'de> for InOrder {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of strings")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(InOrder)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Alert, Kind};
    use crate::{Environment, Event, Severity};

    pub(crate) fn event(severity: Severity, code: &str) -> Event {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Event {
            at: 1_795_392_000_123,
            severity,
            code: code.to_owned(),
            message: "login-sandbox.procore.com does not accept this refresh token any more."
                .to_owned(),
            fields: vec![
                field("since", "2026-11-23T00:00:00Z"),
                field("state", "calls still work for 12 min"),
                field("cause", "The grant was revoked <here> & now."),
                field(
                    "remedy",
                    "Run `procore-auth login`, or open https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e.",
                ),
                field("evidence", ""),
            ],
        }
    }

    /// An alert of which every part is known.
    pub(crate) fn example(kind: Kind) -> Alert {
        let severity = match kind {
            Kind::Alert => Severity::Alert,
            _ => Severity::Info,
        };
        let code = if kind == Kind::Recovery {
            "recovered"
        } else {
            "invalid_grant"
        };
        let event = event(severity, code);
        let mut alert = Alert::of("acme", Some(Environment::Sandbox), &event)
            .unwrap_or_else(|| Alert::test("acme", Some(Environment::Sandbox), event.at));
        alert.id = "00112233445566778899aabbccddeeff".to_owned();
        alert.process = "moby-1/4711".to_owned();
        alert
    }

    #[test]
    fn alerts_and_recoveries_are_for_a_person_and_nothing_else_is() {
        let kind = |severity, code| {
            Alert::of("acme", None, &event(severity, code)).map(|alert| alert.kind)
        };
        assert_eq!(kind(Severity::Alert, "anything"), Some(Kind::Alert));
        for code in [
            "recovered",
            "visits-recovered",
            "plugin-recovered",
            "tokens-saved",
        ] {
            assert_eq!(kind(Severity::Info, code), Some(Kind::Recovery), "{code}");
        }
        assert_eq!(kind(Severity::Info, "token-refreshed"), None);
        assert_eq!(kind(Severity::Warning, "refresh-failed"), None);
    }

    #[test]
    fn comes_back_from_its_file_with_its_fields_in_order() {
        let alert = example(Kind::Alert);
        let text = serde_json::to_string(&alert).expect("JSON");
        assert_eq!(serde_json::from_str::<Alert>(&text).expect("whole"), alert);
    }

    #[test]
    fn every_alert_has_an_id_of_its_own() {
        let event = event(Severity::Alert, "a");
        let id = || Alert::of("acme", None, &event).expect("an alert").id;
        assert_ne!(id(), id());
        assert_eq!(id().len(), 32);
    }

    #[test]
    fn the_link_is_the_one_to_follow() {
        let mut alert = example(Kind::Alert);
        assert_eq!(
            alert.link(),
            Some("https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e")
        );
        alert
            .fields
            .push(("link".to_owned(), "https://x.example/y".to_owned()));
        assert_eq!(alert.link(), Some("https://x.example/y"));
        alert.fields.clear();
        assert_eq!(alert.link(), None);
    }
}
