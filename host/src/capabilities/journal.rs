//! What happened.

use super::CallState;
use crate::{
    Severity,
    bindings::procore::auth::journal::{Event, Host, Severity as ContractSeverity},
    limits::EVENT,
    stopped::Stopped,
};

/// The most bytes of a code and of a field's name.
const NAME: usize = 64;
/// The most bytes of a message and of a field's value.
const TEXT: usize = 2048;
/// The most fields of an event.
const FIELDS: usize = 32;

impl Host for CallState {
    fn record(&mut self, event: Event) -> wasmtime::Result<()> {
        let _pause = self.enter()?;
        let code = shortened(event.code, NAME);
        let message = shortened(event.message, TEXT);
        let fields = event.fields.into_iter().take(FIELDS);
        let fields: Vec<_> = fields
            .map(|field| (shortened(field.name, NAME), shortened(field.value, TEXT)))
            .collect();
        self.events_left = self
            .events_left
            .checked_sub(size(&code, &message, &fields).max(EVENT))
            .ok_or(Stopped::TooManyEvents)?;
        let severity = event.severity.into();
        let recorder = &self.lent.recorder;
        recorder.record_of_plugin(severity, code, message, fields);
        Ok(())
    }
}

fn size(code: &str, message: &str, fields: &[(String, String)]) -> usize {
    let fields = fields.iter().map(|(name, value)| name.len() + value.len());
    code.len() + message.len() + fields.sum::<usize>()
}

impl From<ContractSeverity> for Severity {
    fn from(severity: ContractSeverity) -> Self {
        match severity {
            ContractSeverity::Debug => Self::Debug,
            ContractSeverity::Info => Self::Info,
            ContractSeverity::Warning => Self::Warning,
            ContractSeverity::Alert => Self::Alert,
        }
    }
}

fn shortened(mut text: String, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - MARK.len()));
        text.push_str(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn shortens_between_characters() {
        assert_eq!(shortened("abc".to_owned(), 3), "abc");
        assert_eq!(shortened("aäöü".to_owned(), 6), "aä…");
        assert_eq!(shortened("ä".repeat(4000), 2048).len(), 2047);
    }
}
