//! What people were told.

use std::collections::HashSet;

use procore_auth_host::{Error, ErrorKind, Event, Severity};

use super::{Breach, Need, Who, broken};

/// The most alerts between two refreshes that succeed. Each trouble is told once, and once more when calls stop working; a
/// process that dies before it has noted that it told leaves the next one to tell it again.
const MOST: u32 = 40;

/// What people were told since a refresh last succeeded.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    /// Everything that must be seen nowhere.
    pub(crate) secrets: HashSet<String>,
    any: u32,
    /// Whether they were told that calls do not work.
    dark: bool,
    since_recovery: u32,
    /// Whether the lock excludes. Where it does not, two may end one trouble.
    exclusive: bool,
    /// The processes that have tokens which they could not save. A recovery that they tell may be undone by their death.
    unsaved: HashSet<Who>,
}

impl Alerts {
    pub(crate) fn new(exclusive: bool) -> Self {
        Self {
            exclusive,
            ..Self::default()
        }
    }

    pub(crate) fn on_event(&mut self, who: Who, event: &Event) -> Result<(), Breach> {
        let fields = event.fields.iter().map(|(_, value)| value);
        for text in fields.chain([&event.message, &event.code]) {
            if self.gives_away(text) {
                return broken(
                    "I6 secrets stay",
                    format!("{who} records a secret in an event {}", event.code),
                );
            }
        }
        if event.severity == Severity::Alert {
            self.any += 1;
            self.since_recovery += 1;
            let state = event.fields.iter().find(|(name, _)| name == "state");
            self.dark |= state.is_some_and(|(_, state)| state == "calls do not work");
            if self.any > MOST {
                return broken(
                    "I3 never silent",
                    format!("{} alerts in one outage", self.any),
                );
            }
        }
        match event.code.as_str() {
            "recovered" if self.since_recovery == 0 && self.exclusive => {
                return broken("I3 never silent", "two recovery notices for one alert");
            }
            "recovered" => self.since_recovery = 0,
            "tokens-not-saved" => drop(self.unsaved.insert(who)),
            "tokens-saved" => drop(self.unsaved.remove(&who)),
            _ => {}
        }
        Ok(())
    }

    /// The session holds new tokens: a trouble from now on is another one.
    pub(crate) fn on_new_tokens(&mut self) {
        self.any = 0;
        self.dark = false;
    }

    /// The session of another time is back, with what it knows to have been told.
    pub(crate) fn on_restore(&mut self, told_dark: bool) {
        self.any += u32::from(told_dark);
        self.since_recovery += 1;
        self.dark |= told_dark;
    }

    pub(crate) fn on_death(&mut self, who: Who) {
        if self.unsaved.remove(&who) {
            self.since_recovery += 1;
        }
    }

    pub(crate) fn on_failed(&mut self, need: Need, error: &Error) -> Result<(), Breach> {
        let of_the_connection = matches!(
            error.kind(),
            ErrorKind::SignInRequired | ErrorKind::Configuration | ErrorKind::Unavailable
        );
        // Where nothing is stored there is no trouble to note: the caller is told, and people by the keeper.
        if !of_the_connection || error.code() == "not-signed-in" {
            return Ok(());
        }
        if self.any == 0 {
            return broken(
                "I3 never silent",
                format!("a call failed with {}, and nobody was told", error.code()),
            );
        }
        if need == Need::Use && !self.dark {
            return broken(
                "I3 never silent",
                format!(
                    "a call failed with {}, and nobody was told that calls do not work",
                    error.code()
                ),
            );
        }
        Ok(())
    }

    /// Whether a word of the text is a secret.
    fn gives_away(&self, text: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        text.split(|c| !is_part(c))
            .filter(|word| word.len() >= 20)
            .any(|word| self.secrets.contains(word.trim_end_matches('.')))
    }
}
