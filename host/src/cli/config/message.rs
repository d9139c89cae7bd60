//! What serde and the TOML parser say about a mistake, without what the file has there: it may be a secret in the wrong place.

use super::excerpt::is_key;
use super::source::Mistake;

/// Rewords a message, and adds the cure.
pub(super) fn reword(message: &str) -> Mistake {
    let message = message.trim().replace('\n', ", ");
    let cure = if message.starts_with("unknown field") {
        "correct the key, or remove it"
    } else if message.starts_with("missing field") {
        "add the key to this table"
    } else {
        "correct the value"
    };
    Mistake {
        message: without_content(message),
        cure: cure.to_owned(),
    }
}

/// Takes out what the message repeats from the file.
fn without_content(message: String) -> String {
    for kind in ["unknown field", "unknown variant"] {
        if let Some(rest) = message.strip_prefix(kind) {
            return without_name(kind, rest);
        }
    }
    if message.starts_with("invalid value: integer") {
        return "this number is out of range".to_owned();
    }
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        return without_value(&message);
    }
    message
}

/// Leaves a name out that may be a secret. `rest` is the name in backticks, and what is expected.
fn without_name(kind: &str, rest: &str) -> String {
    // What is expected comes last, and has no such text in it.
    let (name, expected) = rest.rsplit_once("`, expected ").unwrap_or_default();
    let name = name.trim_start_matches([' ', '`']);
    if is_key(&name.replace('-', "_")) {
        format!("{kind} `{name}`, expected {expected}")
    } else {
        format!("{kind}, expected {expected}")
    }
}

/// Tells what is expected in place of a value, in the words of the file's author.
fn without_value(message: &str) -> String {
    let expected = match message.rsplit_once(", expected ").unwrap_or_default().1 {
        "u8" | "u32" | "u64" => "a whole number, without quotes,",
        "a boolean" => "true or false, without quotes,",
        "a string" | "path string" => "a text in quotes",
        "" => "another value",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    format!("{expected} is expected here")
}
