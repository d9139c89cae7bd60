//! What people were told.
//!
//! From new tokens to the next ones, or to a recovery notice, is one outage. In it:
//!
//! | rule | excuse |
//! |---|---|
//! | a call that gets no token was preceded by an alert of stage `dark`, a day and five minutes ago at most | clocks that are wrong: for the time alone |
//! | `new` is told once for each code, `escalated` once for each stage and never for one that is no worse than what was told | each death of a process and each write that fails lets three be told again: what one alert told may not have been noted; an older store forgets the codes; a lock that does not exclude |
//! | a `reminder` comes a day after the last alert, an hour less where machines sleep | the same, and clocks that are wrong |
//! | there are no more than 40 alerts of any kind | |
//! | `write-without-lock` comes a day after the last one | three a day, since the plugin and the host each tell it and two can conflict over what was told, too; one for each time that what was told cannot be read or noted; clocks that are wrong |
//! | `recovered` follows an alert, and there is one | a lock that does not exclude |

use std::collections::{HashSet, VecDeque};

use procore_auth_host::{Error, ErrorKind, Event, Severity};

use super::{Breach, Need, Who, broken};
use crate::simulation::scenario::{DAY, HOUR, MINUTE};

/// The most alerts in one outage.
const MOST: u32 = 40;

/// The most alerts within a day that somebody writes without the lock.
const MOST_CONFLICTS: usize = 3;

/// The entries that say what was told of conflicts: the plugin's and the host's.
const CONFLICT_NOTICES: [&str; 2] = ["notices", "conflict-told"];

/// What may come again after one alert that was not noted: its code, and two stages, where it was the first to tell the worst.
const UNNOTED: u32 = 3;

/// From good to bad.
const STAGES: [&str; 3] = ["working", "urgent", "dark"];

/// What people were told in the present outage.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    /// Everything that must be seen nowhere.
    pub(crate) secrets: HashSet<String>,
    any: u32,
    /// The codes that were told as new.
    codes: HashSet<String>,
    /// How many stages were told: the worst one's place, from 1.
    worst: usize,
    /// When the trouble was told last.
    last: Option<u64>,
    /// How many alerts may come again, since it may not have been noted that they were told.
    excuses: u32,
    since_recovery: u32,
    /// When conflicts were told within the last day.
    conflicts: VecDeque<u64>,
    /// How many conflicts may be told beyond the most, since it could not be read or noted that they were.
    conflict_excuses: u32,
    /// Whether the lock excludes. Where it does not, two may tell one trouble, and end it.
    exclusive: bool,
    honest_clocks: bool,
    /// The processes that have tokens which they could not save. A recovery that they tell may be undone by their death.
    unsaved: HashSet<Who>,
}

impl Alerts {
    pub(crate) fn new(exclusive: bool, honest_clocks: bool) -> Self {
        Self {
            exclusive,
            honest_clocks,
            ..Self::default()
        }
    }

    pub(crate) fn on_event(&mut self, now: u64, who: Who, event: &Event) -> Result<(), Breach> {
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
            self.on_trouble(now, event)?;
            if event.code == "write-without-lock" {
                self.on_conflict(now)?;
            }
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
            "recovered" => {
                self.since_recovery = 0;
                self.forget();
            }
            "tokens-not-saved" => drop(self.unsaved.insert(who)),
            "tokens-saved" => drop(self.unsaved.remove(&who)),
            _ => {}
        }
        Ok(())
    }

    /// It is told that somebody writes without the lock.
    fn on_conflict(&mut self, now: u64) -> Result<(), Breach> {
        self.conflicts.retain(|told| told + DAY - HOUR > now);
        self.conflicts.push_back(now);
        if self.honest_clocks && self.conflicts.len() > MOST_CONFLICTS {
            self.conflict_excuses = self.conflict_excuses.checked_sub(1).ok_or_else(|| Breach {
                invariant: "I3 never silent",
                what: format!("{} conflicts are told within a day", self.conflicts.len()),
            })?;
        }
        Ok(())
    }

    /// A trouble of the connection is told.
    fn on_trouble(&mut self, now: u64, event: &Event) -> Result<(), Breach> {
        let field = |name| {
            let found = event.fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let Some(told) = field("told") else {
            return Ok(());
        };
        let stage = STAGES
            .iter()
            .position(|known| Some(*known) == field("stage"));
        let Some(stage) = stage.map(|place| place + 1) else {
            return broken("I3 never silent", "an alert that names no stage");
        };
        let known = self.codes.contains(&event.code);
        let soon = self.last.is_some_and(|last| now < last + DAY - HOUR);
        let again = match told {
            "new" => known,
            "escalated" => stage <= self.worst,
            "reminder" => soon && self.honest_clocks,
            _ => return broken("I3 never silent", format!("an alert is told as {told}")),
        };
        if again && self.exclusive {
            self.excuses = self.excuses.checked_sub(1).ok_or_else(|| Breach {
                invariant: "I3 never silent",
                what: format!("{} is told as {told} once more", event.code),
            })?;
        }
        self.codes.insert(event.code.clone());
        self.worst = self.worst.max(stage);
        self.last = Some(now);
        Ok(())
    }

    /// What was told says nothing about what is told from now on.
    fn forget(&mut self) {
        self.codes.clear();
        self.worst = 0;
        self.excuses = 0;
    }

    /// The session holds new tokens: a trouble from now on is another one.
    pub(crate) fn on_new_tokens(&mut self) {
        self.any = 0;
        self.forget();
    }

    /// What was told may not have been noted.
    pub(crate) fn on_failed_write(&mut self) {
        self.excuses += UNNOTED;
    }

    /// An entry could not be read or written. Where it says what was told of conflicts, one may be told once more.
    pub(crate) fn on_failed_access(&mut self, key: &str) {
        self.conflict_excuses += u32::from(CONFLICT_NOTICES.contains(&key));
    }

    /// The store is older by some versions, which may be all that knew what was told.
    pub(crate) fn on_tear(&mut self) {
        self.codes.clear();
        self.excuses += UNNOTED;
    }

    /// Whether the last trouble that was told is told to be over.
    pub(crate) fn is_quiet(&self) -> bool {
        self.since_recovery == 0
    }

    /// The session of another time is back, with what it knows to have been told.
    pub(crate) fn on_restore(&mut self, now: u64, told_dark: bool) {
        self.on_tear();
        self.any += u32::from(told_dark);
        self.since_recovery += 1;
        if told_dark {
            self.worst = STAGES.len();
            self.last = Some(now);
        }
    }

    pub(crate) fn on_death(&mut self, who: Who) {
        self.excuses += UNNOTED;
        if self.unsaved.remove(&who) {
            self.since_recovery += 1;
        }
    }

    pub(crate) fn on_failed(&mut self, now: u64, need: Need, error: &Error) -> Result<(), Breach> {
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
        if need == Need::Use && self.worst < STAGES.len() {
            return broken(
                "I3 never silent",
                format!(
                    "a call failed with {}, and nobody was told that calls do not work",
                    error.code()
                ),
            );
        }
        let long_ago = self.last.is_some_and(|last| now > last + DAY + 5 * MINUTE);
        if need == Need::Use && self.honest_clocks && long_ago {
            return broken(
                "I3 never silent",
                format!(
                    "a call failed with {}, and nobody was reminded",
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
