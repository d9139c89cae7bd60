//! A connection that the configuration has already: what of the answers it takes, and what it refuses.
//!
//! | flag | where the table says something else |
//! |---|---|
//! | `--environment`, `--grant`, `--client-id` | refused: that is another connection |
//! | `--client-secret -` | replaced where the table says that it is, if that is a file of this account or the keyring, and the login host knows the new one |
//! | `--client-secret WHERE`, `--secret-in` | refused |
//! | `--env` | refused, as the flag for each of its lines would be |
//! | `--redirect-uri` | set |
//! | `--company`, `--export` | set after the sign-in, as for a new connection |
//!
//! Each refusal comes before anything is written, and names the flag, the file and the key.

use procore_auth_host::{ConnectionName, Secret};

use super::super::config::ConnectionConfig;
use super::super::config_edit;
use super::super::context::Context;
use super::super::env_file::EnvFile;
use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::super::open::Opener;
use super::super::report;
use super::super::secret_reference::{SecretReference, Unreadable};
use super::questions::GrantKind;
use super::secret::{self, Keep};
use super::{Arguments, pair, scripts};

/// What stands above `redirect_uri` in the configuration.
const REDIRECT_URI: &str = "Character for character as registered in the developer portal.";

/// The connection as the file has it.
struct Known<'a> {
    opener: &'a Opener,
    name: &'a ConnectionName,
    table: &'a ConnectionConfig,
}

/// What is to be changed.
struct Changes {
    secret: Option<Secret>,
    redirect_uri: Option<String>,
}

/// Applies the answers to the connection, or refuses them. Returns whether there was such a connection.
pub(super) async fn take(
    context: &Context<'_>,
    opener: &Opener,
    name: &ConnectionName,
    arguments: &Arguments,
) -> Result<bool, Failure> {
    let Some(table) = opener.config().get(name) else {
        return Ok(false);
    };
    let known = Known {
        opener,
        name,
        table,
    };
    let changes = known.changes(arguments).await?;
    context.terminal.note(format_args!(
        "{} has the connection {name} already: going on from there.",
        opener.config().path().display()
    ));
    known.apply(context, changes).await?;
    Ok(true)
}

impl Known<'_> {
    async fn changes(&self, arguments: &Arguments) -> Result<Changes, Failure> {
        self.check_identity(arguments)?;
        if let Some(env) = &arguments.env {
            self.check_script(&scripts::settings(env)?)?;
        }
        Ok(Changes {
            redirect_uri: self.redirect_uri(arguments).await?,
            secret: self.secret(arguments)?,
        })
    }

    /// Refuses what makes it another connection.
    fn check_identity(&self, arguments: &Arguments) -> Result<(), Failure> {
        let environment = self.table.environment();
        if arguments.environment.is_some_and(|one| one != environment) {
            let there = format!("is {}", environment.as_str());
            return Err(self.differs("--environment", "environment", &there));
        }
        let (kind, there) = match self.table.redirect_uri() {
            Some(_) => (GrantKind::AuthorizationCode, "is authorization-code"),
            None => (GrantKind::ClientCredentials, "is client-credentials"),
        };
        if arguments.grant.is_some_and(|one| one != kind) {
            return Err(self.differs("--grant", "grant", there));
        }
        if let Some(id) = &arguments.client_id
            && *id != self.table.client_id()?
        {
            return Err(self.differs("--client-id", "client_id", "is another one"));
        }
        if kind == GrantKind::ClientCredentials && arguments.redirect_uri.is_some() {
            return Err(self.differs("--redirect-uri", "grant", there));
        }
        if kind == GrantKind::ClientCredentials && arguments.token.is_some() {
            return Err(super::nothing_to_adopt());
        }
        Ok(())
    }

    /// Refuses a script's settings that are another connection's.
    fn check_script(&self, script: &EnvFile) -> Result<(), Failure> {
        let environment = self.table.environment();
        if script.environment.is_some_and(|one| one != environment) {
            let there = format!("is {}", environment.as_str());
            return Err(self.differs("--env", "environment", &there));
        }
        if let Some(id) = &script.client_id
            && *id != self.table.client_id()?
        {
            return Err(self.differs("--env", "client_id", "is another one"));
        }
        let uri = self.table.redirect_uri();
        if script.redirect_uri.is_some() && script.redirect_uri.as_deref() != uri {
            let there = format!("is {}", uri.unwrap_or("missing"));
            return Err(self.differs("--env", "redirect_uri", &there));
        }
        let kept = || self.table.secret_reference().read().ok();
        if script.client_secret.is_some() && script.client_secret != kept() {
            let place = self.table.secret_reference().place();
            let there = format!("names {place}, with another secret");
            return Err(self.differs("--env", "client_secret", &there));
        }
        Ok(())
    }

    /// Returns the redirect URI that is to be set, by Procore's rules.
    async fn redirect_uri(&self, arguments: &Arguments) -> Result<Option<String>, Failure> {
        let Some(uri) = &arguments.redirect_uri else {
            return Ok(None);
        };
        if self.table.redirect_uri() == Some(uri) {
            return Ok(None);
        }
        let advice = self.opener.advice();
        let redirect = advice.check_redirect_uri(uri, None).await?;
        redirect.map_err(|diagnosis| report::explain(Exit::Refused, &diagnosis))?;
        Ok(Some(uri.clone()))
    }

    /// Returns the secret that is to be written to where the table says that it is.
    fn secret(&self, arguments: &Arguments) -> Result<Option<Secret>, Failure> {
        let place = self.table.secret_reference();
        let differs = |flag| {
            let there = format!("names {}", place.place());
            Err(self.differs(flag, "client_secret", &there))
        };
        let is_there = |keep| match place {
            SecretReference::File(_) => keep == Keep::File,
            SecretReference::Keyring(..) => keep == Keep::Keyring,
            SecretReference::Env(_) => false,
        };
        if arguments.secret_in.is_some_and(|keep| !is_there(keep)) {
            return differs("--secret-in");
        }
        match arguments.client_secret.as_deref() {
            None => Ok(None),
            Some("-") => {
                let secret = secret::piped()?;
                let is_kept = place.read().is_ok_and(|kept| kept == secret);
                if !is_kept && let Err(unreadable) = place.check_replaceable() {
                    return Err(self.not_replaced(unreadable));
                }
                Ok((!is_kept).then_some(secret))
            }
            Some(reference) if secret::parse(reference)?.0.is_at(place) => Ok(None),
            Some(_) => differs("--client-secret"),
        }
    }

    async fn apply(&self, context: &Context<'_>, changes: Changes) -> Result<(), Failure> {
        let config = self.opener.config().path();
        if let Some(secret) = changes.secret {
            let settings = self.table.settings_with(self.name, secret.clone())?;
            if let Some(refusal) = pair::refused(self.opener, &settings).await {
                return Err(refusal.explained.into());
            }
            let place = self.table.secret_reference();
            let replaced = place.replace(&secret);
            replaced.map_err(|unreadable| self.not_replaced(unreadable))?;
            context
                .terminal
                .note(format_args!("The secret is now in {}.", place.place()));
        }
        if let Some(uri) = changes.redirect_uri {
            config_edit::set(config, self.name, "redirect_uri", &uri, REDIRECT_URI)?;
            context.terminal.note(format_args!(
                "`redirect_uri` is now {uri}: register it in the developer portal, character for character."
            ));
        }
        Ok(())
    }

    fn differs(&self, flag: &str, key: &str, there: &str) -> Failure {
        let (config, name) = (self.opener.config().path().display(), self.name);
        Explained::new(
            Exit::Refused,
            "connection-exists",
            format!("{config} has another connection {name}: {flag} says something else than the file, where `{key}` {there}."),
            format!("Leave {flag} out, change `{key}` in [connections.{name}] of that file, or choose another name with --connection."),
        )
        .into()
    }

    fn not_replaced(&self, Unreadable { message, cure }: Unreadable) -> Failure {
        let (config, name) = (self.opener.config().path().display(), self.name);
        Explained::new(
            Exit::Refused,
            "secret-not-replaced",
            format!("{message}. So `client_secret` in [connections.{name}] of {config} says, and --client-secret has another one."),
            format!("Put it there by hand: {cure}."),
        )
        .into()
    }
}
