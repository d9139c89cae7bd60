//! The questions about a new connection, in their order. A flag answers a question before it is asked; what a script's files say
//! is the default of the others.

use procore_auth_host::{Advice, ConnectionName, Diagnosis, Environment, Grant, Settings};
use tokio::runtime::Handle;

use super::super::config_edit::SecretPlace;
use super::super::context::Context;
use super::super::env_file::EnvFile;
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::{browser, report};
use super::Arguments;
use super::ask::{Asker, Choice, Question};
use super::secret;

/// The redirect URI that a callback server here answers.
const LOCALHOST: &str = "http://localhost:9876/callback";

/// Procore shows the code on a page.
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// Who asks, and what is known before anybody is asked.
pub(super) struct Questions<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) asker: &'a Asker<'a>,
    pub(super) advice: Advice,
    pub(super) arguments: &'a Arguments,
    /// What a script's files say.
    pub(super) script: &'a EnvFile,
    /// Whether a person's tokens are taken over.
    pub(super) adopts_tokens: bool,
}

/// A kind of grant, before its details are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum GrantKind {
    /// A person signs in once, in a browser
    AuthorizationCode,
    /// A service account of the app; no browser
    ClientCredentials,
}

impl Questions<'_> {
    /// Returns the settings, and where the secret goes. Writes nothing.
    pub(super) async fn answers(
        &self,
        name: &ConnectionName,
    ) -> Result<(Settings, SecretPlace), Failure> {
        let environment = self.environment().await?;
        let kind = self.grant_kind().await?;
        let client_id = self.client_id(environment).await?;
        let (client_secret, place) = secret::ask(self, name).await?;
        let (grant, company_id) = match kind {
            GrantKind::AuthorizationCode => {
                let redirect_uri = self.redirect_uri().await?;
                let company = self.arguments.company.or(self.script.company_id);
                (Grant::AuthorizationCode { redirect_uri }, company)
            }
            GrantKind::ClientCredentials => (Grant::ClientCredentials, Some(self.company().await?)),
        };
        let mut settings =
            Settings::new(name.clone(), environment, client_id, client_secret, grant);
        settings.company_id = company_id;
        Ok((settings, place))
    }

    /// Asks again for what the login host did not know, each with the former answer as its default. A secret that is kept elsewhere
    /// stays.
    pub(super) async fn pair_again(
        &self,
        settings: &mut Settings,
        place: &SecretPlace,
        first: Environment,
    ) -> Result<(), Failure> {
        settings.environment = self.ask_environment(first).await?;
        let id = Some(settings.client_id.clone());
        settings.client_id = self.ask_client_id(settings.environment, id).await?;
        if !matches!(place, SecretPlace::There(_)) {
            settings.client_secret = secret::again(self.asker, &settings.client_secret).await?;
        }
        Ok(())
    }

    async fn environment(&self) -> Result<Environment, Failure> {
        if let Some(environment) = self.arguments.environment {
            return Ok(environment);
        }
        let said = self.said_environment().await?;
        if let (Some(said), false) = (said, self.asker.is_attended()) {
            return Ok(said);
        }
        self.ask_environment(said.unwrap_or(Environment::Production))
            .await
    }

    /// Asks for the environment, the cursor on `first`.
    async fn ask_environment(&self, first: Environment) -> Result<Environment, Failure> {
        let mut choices = Vec::new();
        for environment in Environment::ALL {
            let urls = self.advice.endpoints(environment).await?;
            let host = |url: &str| {
                let bare = url.trim_start_matches("https://");
                bare.split('/').next().unwrap_or_default().to_owned()
            };
            choices.push(Choice {
                value: environment,
                label: format!(
                    "{:<16} {}, {}",
                    environment.as_str(),
                    host(&urls.authorize_url),
                    host(&urls.api_base)
                ),
            });
        }
        let first = Environment::ALL.iter().position(|one| *one == first);
        let question = Question {
            what: "Environment",
            help: "Where the data is. Production and the monthly sandbox take the app's production credentials, the sandbox its own; federal \
                   needs an app of its own. All URLs follow from this.",
            flag: "--environment NAME",
        };
        self.asker
            .choose(&question, choices, first.unwrap_or(0))
            .await
    }

    /// Returns the environment of a script's words or URLs. URLs that do not belong together say nothing, and that is told.
    async fn said_environment(&self) -> Result<Option<Environment>, Failure> {
        if self.script.url_names.is_empty() {
            return Ok(self.script.environment);
        }
        let checked = self
            .advice
            .check_endpoints(self.script.urls.clone())
            .await?;
        match checked {
            Ok(by_urls) if self.script.environment.is_none_or(|said| said == by_urls) => {
                Ok(Some(by_urls))
            }
            Ok(_) => Ok(None),
            Err(diagnosis) => {
                self.context.terminal.note(report::diagnosis(&diagnosis));
                Ok(None)
            }
        }
    }

    async fn grant_kind(&self) -> Result<GrantKind, Failure> {
        if let Some(kind) = self.arguments.grant {
            return Ok(kind);
        }
        if self.adopts_tokens {
            return Ok(GrantKind::AuthorizationCode);
        }
        let question = Question {
            what: "Grant",
            help: "A service account (DMSA) removes the browser sign-in for good. It acts as itself, by the permissions of the app's manifest; \
                   an admin permits its projects, again after each reinstall.",
            flag: "--grant authorization-code or --grant client-credentials",
        };
        let choices = vec![
            Choice {
                value: GrantKind::AuthorizationCode,
                label: "a person signs in once, in a browser".to_owned(),
            },
            Choice {
                value: GrantKind::ClientCredentials,
                label: "a service account of the app; no browser".to_owned(),
            },
        ];
        self.asker.choose(&question, choices, 0).await
    }

    async fn client_id(&self, environment: Environment) -> Result<String, Failure> {
        if let Some(id) = &self.arguments.client_id {
            return Ok(id.trim().to_owned());
        }
        let said = self.script.client_id.clone();
        if let (Some(said), false) = (&said, self.asker.is_attended()) {
            return Ok(said.clone());
        }
        self.ask_client_id(environment, said).await
    }

    async fn ask_client_id(
        &self,
        environment: Environment,
        default: Option<String>,
    ) -> Result<String, Failure> {
        let urls = self.advice.endpoints(environment).await?;
        let question = Question {
            what: "Client id",
            help: &format!(
                "On the app's page in Procore's developer portal. This environment goes with {}.",
                urls.credentials
            ),
            flag: "--client-id ID",
        };
        self.asker
            .line(&question, default, |answer| {
                let is_one = !answer.is_empty() && !answer.contains(char::is_whitespace);
                is_one
                    .then_some(())
                    .ok_or_else(|| "one word, as copied from the page".to_owned())
            })
            .await
    }

    async fn redirect_uri(&self) -> Result<String, Failure> {
        let given = self.arguments.redirect_uri.clone();
        let said = self.script.redirect_uri.clone();
        let unasked = given.or_else(|| said.clone().filter(|_| !self.asker.is_attended()));
        let uri = match unasked {
            Some(uri) => uri,
            None => self.ask_redirect_uri(said).await?,
        };
        let redirect = self.advice.check_redirect_uri(&uri, None).await?;
        let redirect = redirect.map_err(|d| report::explain(Exit::Refused, &d))?;
        self.context.terminal.note(format_args!(
            "   Register this in the developer portal, character for character: {}",
            redirect.register
        ));
        Ok(uri)
    }

    async fn ask_redirect_uri(&self, said: Option<String>) -> Result<String, Failure> {
        let usual = if browser::is_at_hand() {
            LOCALHOST
        } else {
            OUT_OF_BAND
        };
        let question = Question {
            what: "Redirect URI",
            help: "Where Procore sends the browser with its answer; it must be registered on the app's page. http://localhost:9876/callback \
                   for a browser on this machine, urn:ietf:wg:oauth:2.0:oob for a code to paste.",
            flag: "--redirect-uri URI",
        };
        let (advice, runtime) = (self.advice.clone(), Handle::current());
        // Called on a thread for blocking work, as prompts are.
        let check = move |uri: &str| match runtime.block_on(advice.check_redirect_uri(uri, None)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(diagnosis)) => Err(refusal(&diagnosis)),
            Err(error) => Err(error.to_string()),
        };
        let default = said.unwrap_or_else(|| usual.to_owned());
        self.asker.line(&question, Some(default), check).await
    }

    async fn company(&self) -> Result<u64, Failure> {
        if let Some(company) = self.arguments.company {
            return Ok(company);
        }
        let said = self.script.company_id;
        if let (Some(said), false) = (said, self.asker.is_attended()) {
            return Ok(said);
        }
        let question = Question {
            what: "Company id",
            help: "A service account names its company in every call. The number stands in the address of the company's pages, behind \
                   /companies/ or /c/.",
            flag: "--company ID",
        };
        let default = said.map(|id| id.to_string());
        let answer = self
            .asker
            .line(&question, default, |answer| number(answer).map(|_| ()))
            .await?;
        // It was checked as it was typed.
        Ok(number(&answer).unwrap_or_default())
    }
}

fn number(answer: &str) -> Result<u64, String> {
    let number = answer.parse().ok();
    let number = number.filter(|number| super::COMPANIES.contains(number));
    number.ok_or_else(|| "a number, such as 1234".to_owned())
}

/// In a line: what is wrong, and what to register instead.
fn refusal(diagnosis: &Diagnosis) -> String {
    format!("{} {}", diagnosis.summary, diagnosis.remedy)
}
