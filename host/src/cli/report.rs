//! How failures and diagnoses are told.

use std::fmt::Write as _;

use procore_auth_host::{Diagnosis, Error, ErrorKind};
use serde::Serialize;

use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::terminal::Terminal;
use super::{open, time};

/// What is said of a token or an answer that is not the user's.
pub(crate) const FALLBACK: &str = "note: as the service account (fallback): the user must sign in; `procore-auth status` tells why";

/// A failure as JSON. The fields are stable.
#[derive(Serialize)]
pub(crate) struct FailureDocument<'a> {
    code: &'a str,
    exit_code: u8,
    summary: &'a str,
    cause: &'a str,
    remedy: &'a str,
    evidence: &'a [String],
    retry_at: Option<String>,
}

#[derive(Serialize)]
struct Wrapped<'a> {
    error: FailureDocument<'a>,
}

/// Tells a failure, and returns the exit code that stands for it.
pub(crate) fn failure(terminal: &Terminal, failure: &Failure) -> Exit {
    if let Failure::Explained(explained) = failure {
        tell(terminal, explained);
    }
    failure.exit()
}

fn tell(terminal: &Terminal, explained: &Explained) {
    if terminal.is_json() {
        let error = FailureDocument::from(explained);
        // Where even this cannot be written, the exit code has to do.
        let _ = terminal.json(&Wrapped { error });
    } else {
        terminal.note(format_args!("error: {}", text(explained)));
    }
}

/// Renders a failure for a person, over several lines.
pub(crate) fn text(explained: &Explained) -> String {
    let mut text = explained.summary.clone();
    if let Some(excerpt) = &explained.excerpt {
        add(&mut text, excerpt);
    }
    field(&mut text, "code", &explained.code);
    field(&mut text, "why", &explained.cause);
    field(&mut text, "do", &explained.remedy);
    for fact in &explained.evidence {
        field(&mut text, "seen", fact);
    }
    if let Some(at) = explained.retry_at {
        let when = format!(
            "{} ({})",
            time::rfc3339(at),
            time::relative(at, time::now())
        );
        field(&mut text, "again", &when);
    }
    text
}

/// Renders a diagnosis for a person, over several lines.
pub(crate) fn diagnosis(diagnosis: &Diagnosis) -> String {
    text(&explain(Exit::Done, diagnosis))
}

/// Turns a diagnosis into a failure's explanation.
pub(crate) fn explain(exit: Exit, diagnosis: &Diagnosis) -> Explained {
    Explained {
        exit,
        code: diagnosis.code.clone(),
        summary: diagnosis.summary.clone(),
        cause: diagnosis.cause.clone(),
        remedy: diagnosis.remedy.clone(),
        evidence: diagnosis.evidence.clone(),
        excerpt: None,
        retry_at: None,
    }
}

fn field(text: &mut String, label: &str, value: &str) {
    if !value.is_empty() {
        add(text, &format!("{label:>7}: {value}"));
    }
}

fn add(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = write!(text, "\n{line}");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let explained = explain(exit_of(error.kind()), error.diagnosis());
        let remedy = match error.code() {
            // The plugin knows of no encryption.
            code @ ("wrong-key" | "key-unavailable" | "not-encrypted") => {
                open::store_remedy(code).to_owned()
            }
            _ => explained.remedy,
        };
        Explained {
            remedy,
            retry_at: error.retry_at(),
            ..explained
        }
        .into()
    }
}

fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::InvalidInput => Exit::Refused,
        ErrorKind::Configuration => Exit::Configuration,
        ErrorKind::SignInRequired => Exit::SignInRequired,
        ErrorKind::Unavailable => Exit::Unavailable,
        ErrorKind::Busy => Exit::Busy,
        ErrorKind::Storage => Exit::Storage,
        ErrorKind::UnknownOutcome => Exit::UnknownOutcome,
        _ => Exit::Internal,
    }
}

impl<'a> From<&'a Explained> for FailureDocument<'a> {
    fn from(explained: &'a Explained) -> Self {
        Self {
            code: &explained.code,
            exit_code: explained.exit.describe().0,
            summary: &explained.summary,
            cause: &explained.cause,
            remedy: &explained.remedy,
            evidence: &explained.evidence,
            retry_at: explained.retry_at.map(time::rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::terminal::{Format, capture};
    use super::{Exit, Explained, failure};

    fn example() -> Explained {
        let mut explained = Explained::new(Exit::Unavailable, "dns", "No answer.", "Wait.")
            .because("The network is down.")
            .seen("login.procore.com does not resolve");
        explained.retry_at = Some(0);
        explained
    }

    #[test]
    fn a_person_reads_what_why_and_what_to_do() {
        let (terminal, results, notes) = capture::terminal(Format::Text);
        assert_eq!(failure(&terminal, &example().into()), Exit::Unavailable);
        assert!(results.text().is_empty());
        let text = notes.text();
        for line in [
            "error: No answer.\n",
            "   code: dns\n",
            "    why: The network is down.\n",
            "     do: Wait.\n",
            "   seen: login.procore.com does not resolve\n",
            "  again: 1970-01-01T00:00:00Z (",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_program_reads_json() {
        let (terminal, results, notes) = capture::terminal(Format::Json);
        failure(&terminal, &example().into());
        assert!(notes.text().is_empty());
        let json: serde_json::Value = serde_json::from_str(&results.text()).expect("JSON");
        assert_eq!(json["error"]["code"], "dns");
        assert_eq!(json["error"]["exit_code"], 5);
        assert_eq!(json["error"]["retry_at"], "1970-01-01T00:00:00Z");
    }
}
