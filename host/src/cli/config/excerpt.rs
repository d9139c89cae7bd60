//! The line of the configuration with a mistake in it, without what may be a secret in the wrong place.

use procore_auth_host::ConnectionName;

/// Keys whose values may be shown. What stands behind any other key may be a secret in the wrong place.
const SHOWN_KEYS: [&str; 23] = [
    "state",
    "journal",
    "plugin",
    "default_connection",
    "extra_ca",
    "connect_to",
    "environment",
    "client_id",
    "grant",
    "redirect_uri",
    "company_id",
    "refresh_percent",
    "refresh_jitter",
    "token_timeout",
    "lock_wait",
    "call_timeout",
    "parked_count",
    "parked_bytes",
    "parked_age",
    "pkce",
    "format",
    "connections",
    "retry",
];

/// What stands in place of something that is not shown.
const MASK: &str = "****";

/// How much of a line may be shown.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    /// The key, and the value where it is a harmless key's and nothing else is in the line.
    Harmless,
    /// The key.
    KeyAlone,
}

/// One line of the text that is being shown, and where in it the mistake is. All counts start at 1.
pub(super) struct Position<'a> {
    pub(super) number: usize,
    pub(super) column: usize,
    pub(super) width: usize,
    pub(super) line: &'a str,
}

impl Position<'_> {
    /// Renders the line with a caret under the mistake.
    pub(super) fn excerpt(&self, shown: Shown) -> String {
        let Self {
            number,
            column,
            width,
            ..
        } = self;
        let (line, longest) = masked(self.line, shown);
        // A tab is known to terminals as a distance, whatever else is a command there.
        let line = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
        let indent = " ".repeat(number.to_string().len());
        // Beyond a masked value there is nothing to point at: point at its beginning.
        let column = (*column).min(longest.max(1));
        let width = (*width).min((line.chars().count() + 1).saturating_sub(column).max(1));
        let before: String = line
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!(
            "{indent} |\n{number} | {line}\n{indent} | {before}{}",
            "^".repeat(width)
        )
    }
}

/// Tells whether a key can be no secret: it is short, and of lower-case letters and `_`.
pub(super) fn is_key(key: &str) -> bool {
    const LONGEST: usize = 32;
    (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Returns the line as it may be shown, and the last column that a caret may point at.
fn masked(line: &str, shown: Shown) -> (String, usize) {
    let code = Code::of(line);
    if let Some(header) = code.as_ref().and_then(Code::header) {
        return (header.to_owned(), usize::MAX);
    }
    let Some((key, _)) = line.split_once('=') else {
        return (mask(line), 1);
    };
    if !key.trim().split('.').all(is_key) {
        return (format!("{MASK} = {MASK}"), 1);
    }
    match (shown, code.as_ref().and_then(Code::assignment)) {
        (Shown::Harmless, Some(whole)) if SHOWN_KEYS.contains(&key.trim()) => {
            (whole.to_owned(), usize::MAX)
        }
        _ => (format!("{key}= {MASK}"), key.chars().count() + 3),
    }
}

fn mask(line: &str) -> String {
    let text = if line.trim().is_empty() { "" } else { MASK };
    text.to_owned()
}

/// A line without its comment.
struct Code<'a> {
    text: &'a str,
    /// How many `=` are in it outside of strings.
    equals: usize,
}

impl<'a> Code<'a> {
    /// Cuts the comment off; `None` where a string does not end in the line.
    fn of(line: &'a str) -> Option<Self> {
        let (mut quote, mut escaped, mut equals) = (None, false, 0);
        for (at, c) in line.char_indices() {
            match (quote, c) {
                (Some(_), _) if escaped => escaped = false,
                (Some('"'), '\\') => escaped = true,
                (Some(open), _) if open == c => quote = None,
                (Some(_), _) => {}
                (None, '#') => return Some(Self::new(&line[..at], equals)),
                (None, '"' | '\'') => quote = Some(c),
                (None, _) => equals += usize::from(c == '='),
            }
        }
        quote.is_none().then(|| Self::new(line, equals))
    }

    fn new(text: &'a str, equals: usize) -> Self {
        let text = text.trim_end();
        Self { text, equals }
    }

    /// Returns the whole line where it is `key = value`.
    fn assignment(&self) -> Option<&'a str> {
        (self.equals == 1).then_some(self.text)
    }

    /// Returns the whole line where it is the header of a table, with names that can be no secret.
    fn header(&self) -> Option<&'a str> {
        let names = self
            .text
            .trim_start()
            .strip_prefix('[')?
            .strip_suffix(']')?;
        let connection = names
            .strip_prefix("connections.")
            .or_else(|| names.strip_prefix("alerts."));
        let (name, tables) = connection.map_or(("", names), |rest| {
            rest.split_once('.').unwrap_or((rest, "policy"))
        });
        let shown = name.parse::<ConnectionName>().is_ok() || connection.is_none();
        (shown && tables.split('.').all(is_key)).then_some(self.text)
    }
}
