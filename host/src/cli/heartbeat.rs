//! Whether somebody keeps a connection alive, as the clients of the store see it: a keeper that is missing is told, once.

use procore_auth_host::{Beat, ConnectionName, KeeperKind, Keeping};
use serde::Serialize;

use super::exit::Exit;
use super::failure::Explained;
use super::open::Opener;
use super::status::Known;
use super::{time, trouble};

/// The code of the alert for a keeper that is missing. The next visit of any keeper ends it.
const MISSING: &str = "keeper-missing";

/// A connection's keeper as JSON. The fields are stable.
#[derive(Serialize)]
pub(super) struct KeeperDocument<'a> {
    /// `alive`, `overdue`, `stopped` (on purpose), `unknown` (its sign cannot be read) or `never` (none was seen).
    state: &'static str,
    kind: Option<KeeperKind>,
    who: Option<&'a str>,
    last_seen: Option<String>,
    next_by: Option<String>,
}

/// Looks for the keeper of a connection, and tells people where it is missing, unless they know.
pub(super) fn check(opener: &Opener, name: &ConnectionName) {
    let now = time::now();
    if let Some(missing) = missing(&opener.heartbeat().of(name, now), now) {
        trouble::begin(opener, name, &missing);
    }
}

/// Returns the trouble that a good visit does not end: a keeper that is missing, where the visit was not its own.
pub(super) fn lasting(keeping: &Keeping) -> &'static [&'static str] {
    if keeping.is_missing() {
        &[MISSING]
    } else {
        &[]
    }
}

/// Explains that a keeper is missing, or may be; `None` where it is not.
pub(super) fn missing(keeping: &Keeping, now: u64) -> Option<Explained> {
    match keeping {
        Keeping::Overdue(beat) => Some(overdue(beat, now)),
        Keeping::Unknown { kind, why } => Some(unknown(*kind, why)),
        Keeping::Never | Keeping::Alive(_) | Keeping::Stopped(_) => None,
    }
}

fn overdue(beat: &Beat, now: u64) -> Explained {
    Explained::new(
        Exit::AtRisk,
        MISSING,
        "Nobody keeps this connection alive any more: its keeper has not come when it should have.",
        remedy(beat.kind),
    )
    .because(format!(
        "`procore-auth {}` ({}) was there {}, and was to come again by {}.",
        verb(beat.kind),
        beat.who,
        time::relative(beat.at, now),
        time::rfc3339(beat.next_by),
    ))
}

fn unknown(kind: KeeperKind, why: &str) -> Explained {
    Explained::new(
        Exit::AtRisk,
        MISSING,
        format!(
            "Whether anybody keeps this connection alive is not known: the sign of life of `procore-auth {}` cannot be read.",
            verb(kind)
        ),
        format!(
            "Look whether it is there: it writes its sign anew when it comes. Where it is not: {}",
            remedy(kind)
        ),
    )
    .because(format!("{why}."))
}

fn remedy(kind: KeeperKind) -> &'static str {
    match kind {
        KeeperKind::Run => {
            "Start it again, as with `systemctl start procore-auth`, and look at why it ended: `journalctl -u procore-auth`. Where it is not to come back, delete `.keeper` in `state`."
        }
        KeeperKind::Tick => {
            "Look at the crontab or the timer that starts it. Where it comes less often now, tell it with --next-visit."
        }
    }
}

fn verb(kind: KeeperKind) -> &'static str {
    match kind {
        KeeperKind::Run => "run",
        KeeperKind::Tick => "tick",
    }
}

/// Says of every keeper, in a line each, when it was seen; nothing where none ever was.
pub(super) fn text(all: &[Known], now: u64) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for known in all {
        let Some(line) = sentence(&known.keeper, now) else {
            continue;
        };
        let name = known.name.as_str();
        match lines.iter_mut().find(|(same, _)| *same == line) {
            Some((_, names)) => names.push(name),
            None => lines.push((line, vec![name])),
        }
    }
    let line = |(line, names): &(String, Vec<&str>)| {
        if names.len() == all.len() {
            format!("keeper: {line}\n")
        } else {
            format!("keeper of {}: {line}\n", names.join(", "))
        }
    };
    lines.iter().map(line).collect()
}

/// Says when the keeper was seen; `None` where none ever was.
pub(super) fn sentence(keeping: &Keeping, now: u64) -> Option<String> {
    let seen = |beat: &Beat| {
        let keeper = format!("`procore-auth {}` ({})", verb(beat.kind), beat.who);
        (keeper, time::relative(beat.at, now))
    };
    Some(match keeping {
        Keeping::Never => return None,
        Keeping::Alive(beat) => {
            let (keeper, seen) = seen(beat);
            format!("{keeper}, seen {seen}")
        }
        Keeping::Overdue(beat) => {
            let (keeper, seen) = seen(beat);
            format!("missing; {keeper} was last seen {seen}")
        }
        Keeping::Stopped(beat) => {
            let (keeper, seen) = seen(beat);
            format!("{keeper} was stopped {seen}")
        }
        Keeping::Unknown { kind, why } => format!(
            "not known; the sign of life of `procore-auth {}` cannot be read: {why}",
            verb(*kind)
        ),
    })
}

/// Returns the word for it in JSON.
pub(super) fn word(keeping: &Keeping) -> &'static str {
    match keeping {
        Keeping::Never => "never",
        Keeping::Alive(_) => "alive",
        Keeping::Overdue(_) => "overdue",
        Keeping::Stopped(_) => "stopped",
        Keeping::Unknown { .. } => "unknown",
    }
}

/// Returns the exit code that stands for it.
pub(super) fn exit_of(keeping: &Keeping) -> Exit {
    if keeping.is_missing() {
        Exit::AtRisk
    } else {
        Exit::Done
    }
}

impl<'a> From<&'a Keeping> for KeeperDocument<'a> {
    fn from(keeping: &'a Keeping) -> Self {
        let beat = keeping.beat();
        Self {
            state: word(keeping),
            kind: match keeping {
                Keeping::Unknown { kind, .. } => Some(*kind),
                _ => beat.map(|beat| beat.kind),
            },
            who: beat.map(|beat| beat.who.as_str()),
            last_seen: beat.map(|beat| time::rfc3339(beat.at)),
            next_by: beat
                .filter(|beat| !beat.stopped)
                .map(|beat| time::rfc3339(beat.next_by)),
        }
    }
}
