//! The alerts that wait, as `status` tells them.

use std::collections::{BTreeMap, BTreeSet};

use procore_auth_host::alerts::{SinkReport, Unusable, Waiting};
use procore_auth_host::{ConnectionName, StoreFailure};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::open::store_remedy;
use crate::cli::opened::Opened;
use crate::cli::time;

/// What is known of the outbox.
pub(super) struct Undelivered {
    sinks: Result<Vec<SinkReport>, StoreFailure>,
    /// The alerts that wait for any sink, by connection.
    of: BTreeMap<String, BTreeSet<String>>,
}

/// The outbox as JSON. The fields are stable.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    waiting: usize,
    exit_code: u8,
    sinks: Vec<SinkDocument<'a>>,
    error: Option<&'a str>,
    remedy: Option<&'static str>,
}

#[derive(Serialize)]
struct SinkDocument<'a> {
    sink: &'a str,
    configured: bool,
    waiting: usize,
    oldest: Option<String>,
    failures: u32,
    failing_since: Option<String>,
    last_error: Option<&'a str>,
    next_try_at: Option<String>,
    unreadable: Vec<UnusableDocument<'a>>,
}

/// An alert that waits and cannot be read as JSON. The fields are stable.
#[derive(Serialize)]
pub(in crate::cli) struct UnusableDocument<'a> {
    sink: &'a str,
    id: &'a str,
    code: &'static str,
    error: &'a str,
    remedy: &'static str,
}

impl Undelivered {
    /// Looks into the outbox.
    pub(super) fn look(opened: &Opened) -> Self {
        let mut of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        // A failure stands in the report on the sinks.
        for Waiting { alert, .. } in opened.waiting().unwrap_or_default() {
            of.entry(alert.connection).or_default().insert(alert.id);
        }
        Self {
            sinks: opened.undelivered(),
            of,
        }
    }

    /// Nothing waits.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self {
            sinks: Ok(Vec::new()),
            of: BTreeMap::new(),
        }
    }

    /// Returns how many alerts of a connection wait for at least one sink.
    pub(super) fn of(&self, name: &ConnectionName) -> usize {
        self.of.get(name.as_str()).map_or(0, BTreeSet::len)
    }

    /// Returns the exit code that stands for it. An alert that is just on its way is fine.
    pub(super) fn exit(&self) -> Exit {
        match &self.sinks {
            Ok(sinks) if sinks.iter().any(|sink| sink.overdue) => Exit::Undelivered,
            Ok(_) => Exit::Done,
            Err(_) => Exit::Storage,
        }
    }

    /// Tells what waits, sink by sink; nothing where nothing does.
    pub(super) fn text(&self, now: u64) -> String {
        match &self.sinks {
            Ok(sinks) => {
                let waiting = sinks.iter().filter(|sink| sink.waiting > 0);
                let waiting: String = waiting.map(|sink| of_sink(sink, now)).collect();
                waiting + &sinks.iter().map(unusable).collect::<String>()
            }
            Err(failure) => format!(
                "\nalerts: what waits cannot be read\n   code: {}\n    why: {}\n     do: {}\n",
                failure.code,
                failure.message,
                store_remedy(failure.code)
            ),
        }
    }
}

fn of_sink(sink: &SinkReport, now: u64) -> String {
    let oldest = sink.oldest.map_or_else(String::new, |at| {
        format!(", the oldest from {}", time::relative(at, now))
    });
    let mut text = format!("\nalerts: {} for {}{oldest}\n", waiting(sink), sink.sink);
    if let Some(error) = &sink.last_error {
        text += &format!("    why: {error}\n");
    }
    if let Some(at) = sink.next_try_at {
        text += &format!("  again: {}\n", time::relative(at, now));
    }
    if !sink.routed {
        text += "     do: No sink has this name. Configure it again, or `procore-auth alerts discard` them.\n";
    } else if sink.failures > 0 {
        text += "     do: Mend the sink; `procore-auth alerts test` tries it out.\n";
    } else if sink.overdue {
        text += "     do: `procore-auth tick` delivers now; `procore-auth run` always does.\n";
    }
    text
}

/// Tells what waits for a sink and cannot be read, one alert after the other; nothing where there is none.
pub(in crate::cli) fn unusable(sink: &SinkReport) -> String {
    let tell = |unusable: &Unusable| {
        format!(
            "\nalerts: 1 for {} cannot be read, and is not delivered: {}\n   code: {}\n    why: {}\n     do: {UNUSABLE}\n",
            sink.sink, unusable.id, unusable.failure.code, unusable.failure.message
        )
    };
    sink.unusable.iter().map(tell).collect()
}

/// What to do about an alert that cannot be read. How its file is mended stands in the cause, where that is known.
pub(in crate::cli) const UNUSABLE: &str = "Make its file readable for this account alone (mode 600), and it is delivered; or delete it: `procore-auth alerts discard ID`.";

fn waiting(sink: &SinkReport) -> String {
    match sink.waiting {
        1 => "1 waits".to_owned(),
        many => format!("{many} wait"),
    }
}

impl<'a> From<&'a Undelivered> for Document<'a> {
    fn from(undelivered: &'a Undelivered) -> Self {
        let found = &undelivered.sinks;
        let sinks = found.as_deref().unwrap_or_default();
        Self {
            waiting: sinks.iter().map(|sink| sink.waiting).sum(),
            exit_code: undelivered.exit().describe().0,
            sinks: sinks.iter().map(SinkDocument::from).collect(),
            error: found.as_ref().err().map(|failure| &*failure.message),
            remedy: found
                .as_ref()
                .err()
                .map(|failure| store_remedy(failure.code)),
        }
    }
}

impl<'a> From<&'a SinkReport> for SinkDocument<'a> {
    fn from(report: &'a SinkReport) -> Self {
        Self {
            sink: report.sink.as_str(),
            configured: report.routed,
            waiting: report.waiting,
            oldest: report.oldest.map(time::rfc3339),
            failures: report.failures,
            failing_since: report.failing_since.map(time::rfc3339),
            last_error: report.last_error.as_deref(),
            next_try_at: report.next_try_at.map(time::rfc3339),
            unreadable: UnusableDocument::all(report).collect(),
        }
    }
}

impl<'a> UnusableDocument<'a> {
    /// Lists what waits for a sink and cannot be read.
    pub(in crate::cli) fn all(report: &'a SinkReport) -> impl Iterator<Item = Self> {
        report.unusable.iter().map(|unusable| Self {
            sink: report.sink.as_str(),
            id: &unusable.id,
            code: unusable.failure.code,
            error: &unusable.failure.message,
            remedy: UNUSABLE,
        })
    }
}

#[cfg(test)]
mod tests {
    use procore_auth_host::StoreFailure;

    use super::Undelivered;
    use crate::cli::exit::Exit;

    #[test]
    fn what_cannot_be_read_has_its_cause_and_its_cure() {
        let failure = StoreFailure::new("insecure-permissions", ".alerts lets others in");
        let undelivered = Undelivered {
            sinks: Err(failure),
            ..Undelivered::none()
        };
        let text = undelivered.text(0);
        assert!(text.contains("why: .alerts lets others in"), "{text}");
        assert!(text.contains("do: ") && text.contains("mode 700"), "{text}");
        assert_eq!(undelivered.exit(), Exit::Storage);
    }
}
