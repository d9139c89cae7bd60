//! A strict stand-in for Procore's login and API hosts, for tests and the demo.
//!
//! One TLS port on the loopback interface plays every login and API host of every [`Environment`]. It signs people in, hands out and
//! rotates tokens, and serves a small piece of the REST API. Where Procore is strict it is strict: redirect URIs match exactly, codes
//! and refresh tokens are single-use, an environment knows only its own apps and tokens.
//!
//! Three things make it useful in tests: the time is the caller's ([`VirtualClock`]), every failure can be scripted ([`Fault`]), and
//! everything that reached it can be read back ([`Recorded`]).
//!
//! [`Procore`] is the same server without the network: a simulation hands it requests and gets answers, in virtual time.
//!
//! It does not promise to be Procore: what Procore leaves undocumented follows Doorkeeper, the OAuth server whose messages Procore's
//! are, and can mostly be set in [`Policy`]. Nobody who can reach the port is kept out; it binds to 127.0.0.1 only.
//!
//! ```no_run
//! use fake_procore::{FakeProcore, Fault, Options, Answer, Target};
//!
//! # async fn example() -> std::io::Result<()> {
//! let procore = FakeProcore::start(Options::demo()).await?;
//! // The next refresh rotates the token, and the reply is lost.
//! procore.inject(Target::Token, Fault::committed(Answer::Close));
//! // … point a client at `procore.connect_to()`, trusting `procore.ca_pem()` …
//! assert_eq!(procore.token_posts(), 1);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod api;
mod authorize;
mod bearer;
pub mod bulk;
mod clock;
mod environment;
mod fake;
mod fault;
mod form;
mod gate;
mod ledger;
mod mint;
mod oauth_error;
mod payload;
mod policy;
mod procore;
mod projects;
mod rate_limit;
mod registry;
mod reply;
mod request;
mod request_log;
mod revoke;
mod server;
mod tls;
mod token_endpoint;
mod token_info;
mod world;

pub use clock::{TimeSource, VirtualClock, system_time};
pub use environment::{CredentialPair, Environment, Role, STRANGER_HOST};
pub use fake::{FakeProcore, NotRegistered, TokenPair};
pub use fault::{Alteration, Answer, Fault, Target};
pub use form::Form;
pub use gate::Gate;
pub use policy::{
    Consent, Dialect, OldAccessToken, Options, Pkce, Policy, RateLimit, ReportedExpiry, Rotation,
};
pub use procore::{Handled, Procore};
pub use projects::Project;
pub use registry::{App, GrantType, OUT_OF_BAND, ServiceAccount, User};
pub use reply::Reply;
pub use request_log::{Commit, Outcome, Recorded};
