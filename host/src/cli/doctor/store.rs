//! Whether the store can be used, and who else has written it.

use std::time::Duration;

use procore_auth_host::{FileStore, Key, Provenance, Store, StoreFailure};

use super::check::Check;
use super::configuration::Subject;
use super::finding::{About, Finding};
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::open;

/// How long somebody else may hold the lock before it is told.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The key of the tokens.
const SESSION: &str = "session";

/// What the keys begin with under which a version was kept that two wrote at once.
const CONFLICTS: &str = "session-conflict-";

/// What the keys begin with of everything that was kept aside and may hold tokens.
const ASIDE: [&str; 3] = ["session-conflict-", "session-aside-", "unread-reply-"];

/// Opens the store, takes its lock for a moment, and looks at whose tokens are in it. Reads no token.
pub(super) async fn check(subject: &Subject) -> Check {
    let config = subject.opener.config();
    let check = Check::of("store").seen(config.state.display().to_string());
    let store = match FileStore::open(&config.state, &subject.settings.name) {
        Ok(store) => store,
        Err(failure) => return check.found([unusable(subject, &failure)]),
    };
    match look(check.clone(), &store).await {
        Ok(check) => check,
        Err(failure) => check.found([unusable(subject, &failure)]),
    }
}

fn unusable(subject: &Subject, failure: &StoreFailure) -> Finding {
    let failure: Failure = open::unusable_store(subject.opener.config(), failure);
    Finding::trouble(About::Store, *failure.explained())
}

async fn look(check: Check, store: &FileStore) -> Result<Check, StoreFailure> {
    let check = match store.lock(LOCK_WAIT).await? {
        Some(_) => check.seen("its lock is free"),
        None => check
            .seen("another process holds its lock")
            .found([lock_held()]),
    };
    let check = match store.get(&Key::new(SESSION)?).await? {
        None => check.seen("nobody has signed in"),
        Some(entry) => whose(check, entry.provenance),
    };
    aside(check, store).await
}

fn whose(check: Check, provenance: Provenance) -> Check {
    match provenance {
        Provenance::Newest => check.seen("the tokens are what this installation wrote last"),
        Provenance::Previous => check
            .seen("the newest version of the tokens cannot be used")
            .found([recovered()]),
        Provenance::Copied => check
            .seen("another installation wrote the tokens")
            .found([copied()]),
    }
}

async fn aside(mut check: Check, store: &FileStore) -> Result<Check, StoreFailure> {
    let mut kept = Vec::new();
    for prefix in ASIDE {
        kept.extend(store.list(prefix).await?);
    }
    if kept.is_empty() {
        return Ok(check);
    }
    let names: Vec<&str> = kept.iter().map(Key::as_str).collect();
    let fact = format!("kept aside: {}", names.join(", "));
    check = check.seen(fact.clone());
    let explained = match names.iter().any(|name| name.starts_with(CONFLICTS)) {
        true => written_by_two(),
        false => kept_aside(),
    };
    Ok(check.found([Finding::hint(About::Store, explained.seen(fact))]))
}

fn lock_held() -> Finding {
    let explained = Explained::new(
        Exit::Busy,
        "lock-wait",
        "Another process has held the connection's lock for two seconds.",
        "Wait half a minute and run it again. If it lasts, `lsof` on the store's `.lock` names the process. Never delete the lock file.",
    )
    .because("A refresh is under way, which takes 30 seconds at most; or a process is stopped, or holds tokens that it cannot save.");
    Finding::hint(About::Store, explained)
}

fn copied() -> Finding {
    let explained = Explained::new(
        Exit::AtRisk,
        "store-copied",
        "The tokens come from another installation.",
        "Let only one of them use the tokens, and sign in on the other with `procore-auth login`.",
    )
    .because("The folder was copied from another machine, or restored from a backup. Whichever refreshes first locks the other out.");
    Finding::hint(About::Store, explained)
}

fn recovered() -> Finding {
    let explained = Explained::new(
        Exit::AtRisk,
        "store-recovered",
        "The tokens are an older version than was written last.",
        "See what is wrong with the disk, or who restored a file. A new sign-in may be needed.",
    )
    .because("The newest file cannot be read whole, or an older one was put in its place.");
    Finding::hint(About::Store, explained)
}

fn written_by_two() -> Explained {
    Explained::new(
        Exit::AtRisk,
        "write-without-lock",
        "Two wrote the stored tokens at once.",
        "Move `state` to a local disk, and let only procore-auth write it. Look at what was kept before you delete it.",
    )
    .because("The store's lock excludes nobody, as on some network folders, or a program writes the store without taking it.")
}

fn kept_aside() -> Explained {
    Explained::new(
        Exit::AtRisk,
        "kept-aside",
        "Something that may hold tokens was kept aside.",
        "Look at it before you delete it; `procore-auth logout` deletes it, too.",
    )
    .because("Another sign-in took its place, or a server's reply could not be read.")
}
