//! Who keeps the connection alive, what waits to be sent, and whether people can be told.

use procore_auth_host::Status;

use super::check::Check;
use super::configuration::Subject;
use super::finding::{About, Finding};
use crate::cli::exit::Exit;
use crate::cli::failure::Explained;
use crate::cli::status::undelivered::UNUSABLE;
use crate::cli::{heartbeat, time};

/// Looks for the keeper's last sign of life.
pub(super) fn keeper(subject: &Subject) -> Check {
    let now = time::now();
    let keeping = subject.opener.heartbeat().of(&subject.settings.name, now);
    let check = Check::of("keeper");
    let check = match heartbeat::sentence(&keeping, now) {
        Some(sentence) => check.seen(sentence),
        None => check.seen("none was ever seen: tokens are refreshed when something asks for one"),
    };
    let missing = heartbeat::missing(&keeping, now);
    check.found(missing.map(|missing| Finding::hint(About::Upkeep, missing)))
}

/// Counts the requests that wait.
pub(super) fn parked(status: &Status) -> Check {
    let check = Check::of("parked requests").seen(format!(
        "{} wait, {} a person must decide about",
        status.parked, status.undecided
    ));
    if status.undecided == 0 {
        return check;
    }
    let explained = Explained::new(
        Exit::Parked,
        "requests-undecided",
        "Requests were not carried out, or perhaps were, and a person must decide about them.",
        "`procore-auth parked list`, look in Procore what they did, then `parked replay ID` or `parked discard ID`.",
    )
    .because("They were refused, tried too often, or sent and not answered.");
    check.found([Finding::hint(About::Upkeep, explained)])
}

/// Looks at what waits for the sinks. Sends nothing to them.
pub(super) fn alerts(subject: &Subject) -> Check {
    let check = Check::of("alerts");
    let sinks = match subject.opener.courier().outbox().report() {
        Ok(sinks) => sinks,
        Err(failure) => {
            let explained = Explained::new(
                Exit::Storage,
                failure.code,
                format!("What waits for people cannot be read: {}.", failure.message),
                crate::cli::open::store_remedy(failure.code),
            );
            return check.found([Finding::trouble(About::Store, explained)]);
        }
    };
    if sinks.is_empty() {
        return check.seen("no sink is configured: alerts stand in the journal alone");
    }
    let check = sinks.iter().fold(check, |check, sink| {
        check.seen(format!("{}: {} wait", sink.sink, sink.waiting))
    });
    let late = sinks.iter().filter(|sink| sink.overdue && sink.waiting > 0);
    let findings = late.map(|sink| {
        let error = sink.last_error.as_deref();
        let explained = Explained::new(
            Exit::Undelivered,
            "alert-sink-down",
            format!(
                "{} has not taken {} of the alerts.",
                sink.sink, sink.waiting
            ),
            "Mend the sink; `procore-auth alerts test` tries it out.",
        )
        .because(
            error.unwrap_or("Nobody has tried to deliver them: neither `run` nor `tick` runs."),
        );
        Finding::hint(About::Upkeep, explained)
    });
    let check = check.found(findings.collect::<Vec<_>>());
    let unusable = sinks.iter().flat_map(|sink| &sink.unusable);
    let findings = unusable.map(|unusable| {
        let explained = Explained::new(
            Exit::Undelivered,
            "alert-unreadable",
            format!(
                "The alert {} cannot be read, and is not delivered.",
                unusable.id
            ),
            UNUSABLE,
        )
        .because(unusable.failure.message.clone());
        Finding::hint(About::Upkeep, explained)
    });
    check.found(findings.collect::<Vec<_>>())
}
