//! What can become of an alert on its way, and what a person does about it. It stands in the journal of the outbox's own troubles.

use super::{Alert, SinkName};
use crate::{Event, Severity};

/// One kind of event in the life of an alert.
#[derive(Debug)]
pub(super) struct Fate {
    severity: Severity,
    code: &'static str,
    message: &'static str,
    /// Empty where nothing is to be done.
    remedy: &'static str,
}

pub(super) const DELIVERED: Fate = Fate {
    severity: Severity::Info,
    code: "alert-delivered",
    message: "An alert was delivered.",
    remedy: "",
};

pub(super) const SINK_DOWN: Fate = Fate {
    severity: Severity::Warning,
    code: "alert-sink-down",
    message: "A sink does not take an alert. It is tried again until it does.",
    remedy: "Mend the sink if it lasts; `procore-auth alerts test` tries it out.",
};

pub(super) const REFUSED: Fate = Fate {
    severity: Severity::Warning,
    code: "alert-refused",
    message: "A sink refuses an alert. It is tried again slowly, until the sink is mended.",
    remedy: "Mend the sink, most likely its URL; `procore-auth alerts test` tries it out.",
};

pub(super) const PUT_ASIDE: Fate = Fate {
    severity: Severity::Warning,
    code: "alert-put-aside",
    message: "A sink takes other alerts and not this one. It is tried again every hour.",
    remedy: "Look at it with `procore-auth alerts list`, then delete it with `procore-auth alerts discard`.",
};

pub(super) const NOT_DELETED: Fate = Fate {
    severity: Severity::Warning,
    code: "alert-not-deleted",
    message: "An alert that is done with cannot be deleted. Another process may deliver it again.",
    remedy: "Make the folder of the outbox writable for this account.",
};

pub(super) const NOT_STORED: Fate = Fate {
    severity: Severity::Alert,
    code: "alert-not-stored",
    message: "An alert cannot be stored. It is held in memory, and lost with this process unless it is delivered.",
    remedy: "Make the folder of the outbox writable: room on its disk, a file system that is mounted writable, and a folder of this account alone (mode 700).",
};

pub(super) const OVERFLOW: Fate = Fate {
    severity: Severity::Alert,
    code: "alert-overflow",
    message: "Too many alerts wait for a sink. The oldest was dropped.",
    remedy: "Mend the sink: `procore-auth status` tells why it takes none, `procore-auth alerts test` tries it out. What was dropped stands in the journal.",
};

pub(super) const EXPIRED: Fate = Fate {
    severity: Severity::Alert,
    code: "alert-expired",
    message: "An alert could not be delivered within 7 days, and was dropped.",
    remedy: "Mend the sink; `procore-auth alerts test` tries it out. What was dropped stands in the journal.",
};

pub(super) const DAMAGED: Fate = Fate {
    severity: Severity::Alert,
    code: "alert-damaged",
    message: "A stored alert cannot be read. It was set aside, and is not delivered.",
    remedy: "Find the alert in the journal, or what is left of it in the file; then delete the file. If it happens again, look for errors of the disk in the system's log.",
};

pub(super) const UNUSABLE: Fate = Fate {
    severity: Severity::Alert,
    code: "alert-unreadable",
    message: "A stored alert cannot be read. It stays where it is, and is not delivered; the others are.",
    remedy: "Do what the cause says, as with `chmod 600`; then it is delivered. Or delete it: `procore-auth alerts discard`.",
};

impl Fate {
    /// Makes the event that tells it of an alert.
    pub(super) fn of(&self, sink: &SinkName, alert: &Alert, cause: &str, now: u64) -> Event {
        let of_alert = [("id", alert.id.clone()), ("alert", alert.code.clone())];
        self.event(sink, of_alert, cause, now)
    }

    /// Makes the event that tells it of a file.
    pub(super) fn of_file(&self, sink: &SinkName, file: String, cause: &str, now: u64) -> Event {
        self.event(sink, [("file", file)], cause, now)
    }

    fn event<const N: usize>(
        &self,
        sink: &SinkName,
        subject: [(&str, String); N],
        cause: &str,
        now: u64,
    ) -> Event {
        let explanation = [("cause", cause), ("remedy", self.remedy)];
        let said = explanation.into_iter().filter(|(_, text)| !text.is_empty());
        let fields = std::iter::once(("sink", sink.to_string()))
            .chain(subject)
            .chain(said.map(|(name, text)| (name, text.to_owned())));
        Event {
            at: now,
            severity: self.severity,
            code: self.code.to_owned(),
            message: self.message.to_owned(),
            fields: fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }
}
