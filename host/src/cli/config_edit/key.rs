//! Sets a key of a connection's table.

use std::path::Path;

use procore_auth_host::ConnectionName;

use super::Edit;
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};

/// Sets a key of a connection's table, and leaves every other byte of the file as it is.
pub(crate) fn set(
    path: &Path,
    name: &ConnectionName,
    key: &str,
    value: impl Into<toml_edit::Value>,
    comment: &str,
) -> Result<Edit, Failure> {
    super::edit(path, |now| {
        edited(now.text(), name, key, value.into(), comment)
            .ok_or_else(|| uneditable(path, name, key))
    })
}

/// Returns the text with the key, under its comment where the table has lines; `None` where there is no such table, or line ends are
/// mixed: the library that edits knows one kind.
fn edited(
    text: &str,
    name: &ConnectionName,
    key: &str,
    value: toml_edit::Value,
    comment: &str,
) -> Option<String> {
    let windows = text.matches("\r\n").count();
    if windows == 0 {
        return edited_lines(text, name, key, value, comment);
    }
    let edited = edited_lines(&text.replace("\r\n", "\n"), name, key, value, comment)?;
    (windows == text.matches('\n').count()).then(|| edited.replace('\n', "\r\n"))
}

fn edited_lines(
    text: &str,
    name: &ConnectionName,
    key: &str,
    value: toml_edit::Value,
    comment: &str,
) -> Option<String> {
    let mut document: toml_edit::DocumentMut = text.parse().ok()?;
    let connections = document.get_mut("connections")?.as_table_like_mut()?;
    let table = connections.get_mut(name.as_str())?;
    let is_inline = table.is_inline_table();
    let table = table.as_table_like_mut()?;
    if let Some(known) = table.get_mut(key) {
        let known = known.as_value_mut()?;
        let around = known.decor().clone();
        *known = value;
        *known.decor_mut() = around;
        return Some(document.to_string());
    }
    table.insert(key, toml_edit::value(value));
    // A comment within an inline table would take what follows with it.
    if !is_inline {
        let mut key = table.key_mut(key)?;
        key.leaf_decor_mut().set_prefix(format!("# {comment}\n"));
    }
    Some(document.to_string())
}

fn uneditable(path: &Path, name: &ConnectionName, key: &str) -> Failure {
    Explained::new(
        Exit::Refused,
        "config-not-edited",
        format!(
            "{} has no table of {name} that `{key}` could be added to.",
            path.display()
        ),
        format!("Add `{key}` to [connections.{name}] by hand."),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::edited;

    #[test]
    fn a_key_is_added_and_every_other_byte_stays() {
        let before = "# mine\nstate = '/s'   # here\n\n[connections.acme] # it\nclient_id = \"a\"\n\n[connections.acme.policy]\npkce=false\n";
        let name = "acme".parse().expect("valid");
        let after = edited(before, &name, "company_id", 7.into(), "The company.").expect("edited");
        let added = "client_id = \"a\"\n# The company.\ncompany_id = 7\n";
        assert_eq!(after, before.replace("client_id = \"a\"\n", added));
        let again = edited(&after, &name, "company_id", 8.into(), "The company.").expect("edited");
        assert_eq!(again, after.replace("= 7", "= 8"));
        let noted = after.replace("= 7", "=  7   # ours");
        let again = edited(&noted, &name, "company_id", 8.into(), "").expect("edited");
        assert_eq!(again, noted.replace("7", "8"));
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        let before = "# mine\r\n[connections.acme]\r\nclient_id = \"a\"\r\n";
        let name = "acme".parse().expect("valid");
        let after = edited(before, &name, "company_id", 7.into(), "The company.").expect("edited");
        assert_eq!(
            after,
            format!("{before}# The company.\r\ncompany_id = 7\r\n")
        );
        let mixed = before.replacen("\r\n", "\n", 1);
        assert_eq!(edited(&mixed, &name, "company_id", 7.into(), ""), None);
    }

    #[test]
    fn a_key_is_added_to_an_inline_table_too() {
        let before = "[connections]\nacme = { client_id = \"a\" } # it\n";
        let name = "acme".parse().expect("valid");
        let after = edited(before, &name, "company_id", 7.into(), "The company.").expect("edited");
        let parsed: toml::Table = after.parse().expect("valid");
        assert_eq!(
            parsed["connections"]["acme"]["company_id"].as_integer(),
            Some(7),
            "{after}"
        );
        let other = "other".parse().expect("valid");
        assert_eq!(edited(before, &other, "company_id", 7.into(), ""), None);
    }
}
