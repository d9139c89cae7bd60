//! The connection's settings, from the environment's variables.
//!
//! | variable | content |
//! |---|---|
//! | `PROCORE_AUTH_CONNECTION` | the connection's name, and that of its folder; default `default` |
//! | `PROCORE_ENVIRONMENT` | `production`, `sandbox`, `monthly-sandbox` or `federal` |
//! | `PROCORE_CLIENT_ID` | the OAuth client id |
//! | `PROCORE_CLIENT_SECRET_FILE` | a file in a preopened folder with the client secret, on one line |
//! | `PROCORE_CLIENT_SECRET` | the client secret itself, where there is no such file |
//! | `PROCORE_REDIRECT_URI` | as registered, where a user signs in; without it, client credentials |
//! | `PROCORE_COMPANY_ID` | the company that calls are for, where they name none |
//! | `PROCORE_AUTH_STORE` | the folder of the stores, in a preopened folder; default: the one that is preopened |
//! | `PROCORE_AUTH_JOURNAL` | a file in a preopened folder for the events; default: standard error |

use procore_auth_lending::{Grant, Secret, Settings};

/// The longest file that is read as a client secret.
pub const MAX_SECRET: usize = 4096;

/// The variables of an environment.
#[derive(Clone, Copy)]
pub struct Variables<'a>(pub &'a [(String, String)]);

impl Variables<'_> {
    /// Returns a variable's text; one that is empty is not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str()).filter(|text| !text.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{name} is not set"))
    }
}

/// Makes the settings. `read` reads a file as a whole. The error says which variable is to be changed, and never its content.
pub fn read(
    variables: Variables<'_>,
    read: impl FnOnce(&str) -> Result<Vec<u8>, String>,
) -> Result<Settings, String> {
    let name = variables.get("PROCORE_AUTH_CONNECTION");
    let company = variables.get("PROCORE_COMPANY_ID");
    let mut settings = Settings::new(
        name.unwrap_or("default")
            .parse()
            .map_err(|error| format!("PROCORE_AUTH_CONNECTION: {error}"))?,
        variables
            .required("PROCORE_ENVIRONMENT")?
            .parse()
            .map_err(|error| format!("PROCORE_ENVIRONMENT: {error}"))?,
        variables.required("PROCORE_CLIENT_ID")?,
        client_secret(variables, read)?,
        match variables.get("PROCORE_REDIRECT_URI") {
            Some(uri) => Grant::AuthorizationCode {
                redirect_uri: uri.to_owned(),
            },
            None => Grant::ClientCredentials,
        },
    );
    settings.company_id = company
        .map(str::parse)
        .transpose()
        .map_err(|_| "PROCORE_COMPANY_ID is not a number")?;
    Ok(settings)
}

/// The file goes before the variable: whoever names one wants the secret out of the environment.
fn client_secret(
    variables: Variables<'_>,
    read: impl FnOnce(&str) -> Result<Vec<u8>, String>,
) -> Result<Secret, String> {
    let Some(path) = variables.get("PROCORE_CLIENT_SECRET_FILE") else {
        let secret = variables.required("PROCORE_CLIENT_SECRET");
        return secret
            .map(Secret::new)
            .map_err(|error| format!("{error}, and neither is PROCORE_CLIENT_SECRET_FILE"));
    };
    let at = |why: &str| format!("PROCORE_CLIENT_SECRET_FILE: {why}");
    let text = String::from_utf8(read(path).map_err(|why| at(&why))?)
        .map_err(|_| at("the file is not text"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.contains(['\r', '\n']) {
        return Err(at("the file does not hold one line"));
    }
    Ok(Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    const COMPLETE: [(&str, &str); 3] = [
        ("PROCORE_ENVIRONMENT", "sandbox"),
        ("PROCORE_CLIENT_ID", "id"),
        ("PROCORE_CLIENT_SECRET", "of the variable"),
    ];

    fn settings(more: &[(&str, &str)], file: Result<&str, &str>) -> Result<Settings, String> {
        // The last of one name counts here: the first in the list.
        let all = variables(&[more, &COMPLETE].concat());
        let file = file.map(|text| text.as_bytes().to_vec());
        read(Variables(&all), |_| file.map_err(str::to_owned))
    }

    #[test]
    fn without_a_redirect_uri_no_user_signs_in() {
        let service = settings(&[], Err("not read")).expect("complete");
        assert_eq!(service.grant, Grant::ClientCredentials);
        assert_eq!(service.name.as_str(), "default");
        let user =
            settings(&[("PROCORE_REDIRECT_URI", "http://localhost")], Err("")).expect("complete");
        assert!(matches!(user.grant, Grant::AuthorizationCode { .. }));
    }

    #[test]
    fn the_file_of_the_secret_goes_before_the_variable() {
        let file = [("PROCORE_CLIENT_SECRET_FILE", "/run/secret")];
        let read = settings(&file, Ok("of the file\n")).expect("complete");
        assert_eq!(read.client_secret, Secret::new("of the file"));
        for bad in [Ok(""), Ok("\n"), Ok("two\nlines\n"), Err("no such file")] {
            let error = settings(&file, bad).expect_err("refused");
            assert!(error.starts_with("PROCORE_CLIENT_SECRET_FILE: "), "{error}");
            assert!(!error.contains("two"), "{error}");
        }
    }

    #[test]
    fn an_error_names_the_variable() {
        for (name, value) in [
            ("PROCORE_ENVIRONMENT", "staging"),
            ("PROCORE_ENVIRONMENT", ""),
            ("PROCORE_CLIENT_ID", ""),
            ("PROCORE_CLIENT_SECRET", ""),
            ("PROCORE_COMPANY_ID", "acme"),
            ("PROCORE_AUTH_CONNECTION", "../acme"),
        ] {
            let error = settings(&[(name, value)], Err("not read")).expect_err("refused");
            assert!(error.starts_with(name), "{error}");
        }
    }
}
