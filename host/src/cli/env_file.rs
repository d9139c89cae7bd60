//! `procore.env`: the `KEY=VALUE` lines that scripts read.

use procore_auth_host::{EndpointSet, Environment, Secret};

/// What a script's environment file says about Procore.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvFile {
    /// `PROCORE_CLIENT_ID`.
    pub(crate) client_id: Option<String>,
    /// `PROCORE_CLIENT_SECRET`.
    pub(crate) client_secret: Option<Secret>,
    /// A redirect URI, under whatever name.
    pub(crate) redirect_uri: Option<String>,
    /// `PROCORE_COMPANY_ID`.
    pub(crate) company_id: Option<u64>,
    /// `PROCORE_ENVIRONMENT` or `PROCORE_ENV`.
    pub(crate) environment: Option<Environment>,
    /// The environment's line where its word is not known: a script may have words of its own.
    pub(crate) unknown_environment: Option<Unknown>,
    /// The URLs of Procore's servers.
    pub(crate) urls: EndpointSet,
    /// The names behind [`EnvFile::urls`], for messages.
    pub(crate) url_names: Vec<String>,
}

/// A value that cannot be what its name says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The name as written.
    pub(crate) name: String,
    /// The value as written. The names that this stands for have no secrets.
    pub(crate) value: String,
    /// What may stand there.
    pub(crate) expected: &'static str,
}

/// The words for an environment.
pub(crate) const ENVIRONMENTS: &str = "production, sandbox, monthly-sandbox or federal";

impl EnvFile {
    /// Reads the lines; what is not about Procore is passed over.
    pub(crate) fn parse(text: &str) -> Result<Self, Unknown> {
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate() {
            let Some((name, value)) = assignment(line) else {
                continue;
            };
            if let Err(expected) = file.take(name, value.clone()) {
                file.unknown(Unknown {
                    line: index + 1,
                    name: name.to_owned(),
                    value,
                    expected,
                })?;
            }
        }
        Ok(file)
    }

    /// Another place may say the environment; nothing else says the company.
    fn unknown(&mut self, unknown: Unknown) -> Result<(), Unknown> {
        if unknown.expected != ENVIRONMENTS {
            return Err(unknown);
        }
        self.unknown_environment = Some(unknown);
        Ok(())
    }

    /// Refuses with what may stand there instead.
    fn take(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        let upper = name.to_ascii_uppercase();
        match upper.trim_start_matches("PROCORE_") {
            "CLIENT_ID" => self.client_id = Some(value),
            "CLIENT_SECRET" => self.client_secret = Some(Secret::new(value)),
            "COMPANY_ID" => {
                let id = value.parse();
                self.company_id = Some(id.map_err(|_| "the company's number")?);
            }
            "ENVIRONMENT" | "ENV" => match environment(&value) {
                Some(environment) => self.environment = Some(environment),
                None => return Err(ENVIRONMENTS),
            },
            other if other.contains("REDIRECT") || other.contains("CALLBACK") => {
                self.redirect_uri = Some(value);
            }
            other if value.starts_with("https://") || value.starts_with("http://") => {
                self.take_url(name, other, value);
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells by the path, then the host, then the name what a URL is for.
    fn take_url(&mut self, name: &str, bare: &str, value: String) {
        let Ok(url) = url::Url::parse(&value) else {
            return;
        };
        let host = url.host_str().unwrap_or_default();
        let role = if url.path().ends_with("/oauth/authorize") {
            &mut self.urls.authorize_url
        } else if url.path().contains("/oauth/") || bare.contains("TOKEN") {
            &mut self.urls.token_url
        } else if host.starts_with("login") || bare.contains("AUTH") || bare.contains("LOGIN") {
            &mut self.urls.authorize_url
        } else if host.contains("procore") || bare.contains("API") || bare.contains("BASE") {
            &mut self.urls.api_base
        } else {
            return;
        };
        *role = Some(value);
        self.url_names.push(name.to_owned());
    }
}

/// Returns the environment of that name.
pub(crate) fn environment(name: &str) -> Option<Environment> {
    match name.trim().to_ascii_lowercase().replace('_', "-").as_str() {
        "prod" => Some(Environment::Production),
        "monthly" => Some(Environment::MonthlySandbox),
        name => name.parse().ok(),
    }
}

/// Parses `KEY=VALUE`, `export KEY=VALUE` and quoted values; comments and anything else are `None`.
fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let value = unquote(value.trim());
    (!name.is_empty() && !value.is_empty()).then(|| (name, value.to_owned()))
}

/// Takes the quotes off, or the comment behind a value without quotes.
fn unquote(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| quoted(value, quote))
        .unwrap_or_else(|| without_comment(value))
}

/// Returns what stands between quotes; a comment may follow them.
fn quoted(value: &str, quote: char) -> Option<&str> {
    let inner = value.strip_prefix(quote)?;
    let commented = inner.split_once(quote).filter(|(_, rest)| {
        rest.starts_with(char::is_whitespace) && rest.trim_start().starts_with('#')
    });
    commented
        .map(|(inner, _)| inner)
        .or_else(|| inner.strip_suffix(quote))
}

/// A `#` begins a comment at the beginning and after a blank; elsewhere it belongs to the value.
fn without_comment(value: &str) -> &str {
    let comment = value.char_indices().find(|&(at, letter)| {
        letter == '#'
            && value[..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    });
    comment.map_or(value, |(at, _)| value[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use procore_auth_host::Environment;

    use super::EnvFile;

    fn parse(text: &str) -> EnvFile {
        EnvFile::parse(text).expect("every value is known")
    }

    #[test]
    fn the_lines_of_the_script_are_read() {
        let file = parse(
            "# sandbox\nPROCORE_CLIENT_ID=abc\nexport PROCORE_CLIENT_SECRET='s=1'\n\nPROCORE_COMPANY_ID=42\r\nOTHER=1\nnonsense\n",
        );
        assert_eq!(file.client_id.as_deref(), Some("abc"));
        assert_eq!(
            file.client_secret
                .as_ref()
                .map(procore_auth_host::Secret::expose),
            Some("s=1")
        );
        assert_eq!(file.company_id, Some(42));
        assert!(!format!("{file:?}").contains("s=1"));
    }

    #[test]
    fn urls_find_their_role() {
        let file = parse(
            "PROCORE_AUTH_URL=https://login.procore.com/oauth/authorize\nPROCORE_TOKEN_URL=\"https://login-sandbox.procore.com/oauth/token\"\nPROCORE_API_BASE=https://sandbox.procore.com\nPROCORE_REDIRECT_URI=http://localhost:9876/callback\nPROXY=http://proxy:3128\n",
        );
        assert_eq!(
            file.urls.authorize_url.as_deref(),
            Some("https://login.procore.com/oauth/authorize")
        );
        assert_eq!(
            file.urls.token_url.as_deref(),
            Some("https://login-sandbox.procore.com/oauth/token")
        );
        assert_eq!(
            file.urls.api_base.as_deref(),
            Some("https://sandbox.procore.com")
        );
        assert_eq!(
            file.redirect_uri.as_deref(),
            Some("http://localhost:9876/callback")
        );
        assert_eq!(file.url_names.len(), 3);
    }

    #[test]
    fn a_bare_login_host_is_the_sign_in_page() {
        let file = parse(
            "PROCORE_LOGIN=https://login.procore.com\nPROCORE_URL=https://api.procore.com/rest/v1.0\n",
        );
        assert!(file.urls.authorize_url.is_some() && file.urls.api_base.is_some());
    }

    #[test]
    fn the_environment_is_read_by_its_name() {
        let file = parse("PROCORE_ENV=monthly_sandbox");
        assert_eq!(file.environment, Some(Environment::MonthlySandbox));
    }

    #[test]
    fn a_comment_behind_a_value_is_no_part_of_it() {
        for (written, value) in [
            ("abc # prod", "abc"),
            ("abc\t# prod", "abc"),
            ("abc#prod", "abc#prod"),
            ("\"abc # prod\"", "abc # prod"),
            ("'abc' # it's prod", "abc"),
            ("\"abc\" # \"prod\"", "abc"),
            ("'it's'", "it's"),
        ] {
            let file = parse(&format!("PROCORE_CLIENT_ID={written}"));
            assert_eq!(file.client_id.as_deref(), Some(value), "{written}");
        }
        assert_eq!(parse("PROCORE_CLIENT_ID= # none yet").client_id, None);
    }

    #[test]
    fn a_value_that_is_not_what_its_name_says_is_refused() {
        let file = parse("\nPROCORE_ENVIRONMENT=staging");
        let refused = file.unknown_environment.expect("unknown");
        assert_eq!((refused.line, refused.value.as_str()), (2, "staging"));
        assert!(refused.expected.contains("monthly-sandbox"));
        let refused = EnvFile::parse("PROCORE_COMPANY_ID=12a").expect_err("no number");
        assert_eq!(refused.name, "PROCORE_COMPANY_ID");
    }
}
