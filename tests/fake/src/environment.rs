//! Procore's environments and their hosts.
//!
//! | environment | login host | API hosts | credential pair |
//! |---|---|---|---|
//! | production | login.procore.com | api.procore.com | production |
//! | sandbox | login-sandbox.procore.com | sandbox.procore.com | sandbox |
//! | monthly sandbox | login-sandbox-monthly.procore.com | monthly-sandbox.procore.com, api-monthly.procore.com | production |
//! | federal zone | login.procoregov.com | api.procoregov.com | federal |

/// Names a host that is not Procore's, and that the fake answers for as well.
///
/// Redirect there to see what a client carries along: nothing that it sends is checked, all of it is recorded.
pub const STRANGER_HOST: &str = "storage.example";

/// Names one of Procore's separate worlds: tokens of one are unknown in all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Environment {
    /// The real one.
    Production,
    /// The developer sandbox, with credentials of its own.
    Sandbox,
    /// The sandbox that is overwritten from production each month. It shares production's credentials, not its tokens.
    Monthly,
    /// The federal zone.
    Federal,
}

/// Names the credentials that Procore gives out for one app: a client id and its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialPair {
    /// Valid in production and in the monthly sandbox.
    Production,
    /// Valid in the developer sandbox.
    Sandbox,
    /// Valid in the federal zone.
    Federal,
}

/// Tells what a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Signs people in and issues tokens.
    Login,
    /// Serves the REST API.
    Api,
    /// Is not Procore's ([`STRANGER_HOST`]).
    Stranger,
}

impl Environment {
    /// Lists every environment.
    pub const ALL: [Self; 4] = [
        Self::Production,
        Self::Sandbox,
        Self::Monthly,
        Self::Federal,
    ];

    /// Returns the host that signs people in and issues tokens.
    #[must_use]
    pub fn login_host(self) -> &'static str {
        match self {
            Self::Production => "login.procore.com",
            Self::Sandbox => "login-sandbox.procore.com",
            Self::Monthly => "login-sandbox-monthly.procore.com",
            Self::Federal => "login.procoregov.com",
        }
    }

    /// Returns the hosts that serve the API; the first is the usual one.
    #[must_use]
    pub fn api_hosts(self) -> &'static [&'static str] {
        match self {
            Self::Production => &["api.procore.com"],
            Self::Sandbox => &["sandbox.procore.com"],
            Self::Monthly => &["monthly-sandbox.procore.com", "api-monthly.procore.com"],
            Self::Federal => &["api.procoregov.com"],
        }
    }

    /// Returns the credentials that are valid here.
    #[must_use]
    pub fn credential_pair(self) -> CredentialPair {
        match self {
            Self::Production | Self::Monthly => CredentialPair::Production,
            Self::Sandbox => CredentialPair::Sandbox,
            Self::Federal => CredentialPair::Federal,
        }
    }
}

/// Lists every host that the fake answers for.
pub(crate) fn hosts() -> impl Iterator<Item = &'static str> {
    Environment::ALL
        .into_iter()
        .flat_map(|environment| {
            std::iter::once(environment.login_host()).chain(environment.api_hosts().iter().copied())
        })
        .chain(std::iter::once(STRANGER_HOST))
}

/// A host of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Login(Environment),
    Api(Environment),
    Stranger,
}

impl Place {
    /// Finds a host by name, whatever its case and port.
    pub(crate) fn find(host: &str) -> Option<Self> {
        let name = host
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if name == STRANGER_HOST {
            return Some(Self::Stranger);
        }
        Environment::ALL.into_iter().find_map(|environment| {
            if environment.login_host() == name {
                Some(Self::Login(environment))
            } else if environment.api_hosts().contains(&name.as_str()) {
                Some(Self::Api(environment))
            } else {
                None
            }
        })
    }

    pub(crate) fn role(self) -> Role {
        match self {
            Self::Login(_) => Role::Login,
            Self::Api(_) => Role::Api,
            Self::Stranger => Role::Stranger,
        }
    }

    pub(crate) fn environment(self) -> Option<Environment> {
        match self {
            Self::Login(environment) | Self::Api(environment) => Some(environment),
            Self::Stranger => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_hosts_whatever_their_case_and_port() {
        assert_eq!(
            Place::find("LOGIN.procore.com:443"),
            Some(Place::Login(Environment::Production))
        );
        assert_eq!(
            Place::find("api-monthly.procore.com"),
            Some(Place::Api(Environment::Monthly))
        );
        assert_eq!(
            Place::find("monthly-sandbox.procore.com"),
            Some(Place::Api(Environment::Monthly))
        );
        assert_eq!(Place::find("us02.procore.com"), None);
        assert_eq!(Place::find("app.procore.com"), None);
    }

    #[test]
    fn lists_each_host_once() {
        let all: std::collections::BTreeSet<_> = hosts().collect();
        assert_eq!(all.len(), hosts().count());
        assert_eq!(all.len(), 10);
    }
}
