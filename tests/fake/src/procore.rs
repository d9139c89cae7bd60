//! The server without the network: a request in, an answer out.

use std::fmt;

use hyper::{Request, Response};

use crate::environment::Place;
use crate::policy::Options;
use crate::reply::Reply;
use crate::request_log::{Commit, Outcome};
use crate::server::{self, Shared};
use crate::token_endpoint::Issuing;
use crate::world::World;

/// What a Procore knows and does, without the network around it. [`FakeProcore`](crate::FakeProcore) is one that listens.
///
/// Methods take no time and wait for nobody: whoever calls them decides when a request arrives and what becomes of its answer.
/// Scripted failures ([`Procore::inject`]) belong to the network, and do nothing here.
pub struct Procore {
    pub(crate) world: Shared,
}

/// What handling one request came to.
pub struct Handled {
    /// The answer, which may yet be lost.
    pub response: Response<Vec<u8>>,
    /// What changed for good, whether or not the answer arrives.
    pub commit: Option<Commit>,
}

impl Procore {
    /// Makes a server that hears nothing but [`Procore::handle`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            world: Shared::new(World::new(options)),
        }
    }

    /// Handles a request to its end, as of now by the server's clock. Its URL names the host, as a proxy is told it.
    #[must_use]
    pub fn handle(&self, request: Request<Vec<u8>>) -> Handled {
        let (parts, body) = request.into_parts();
        let mut world = self.world.lock();
        let mut record = server::head(&parts, None, world.now_ms());
        let place = Place::find(&record.host);
        let (reply, commit) = match place {
            None => (Reply::empty(421), None),
            Some(place) => {
                let request = server::request(place, record.clone(), body);
                record.form = Some(request.form()).filter(|form| form.iter().next().is_some());
                record.body.clone_from(&request.body);
                let handled = world.handle(&request, Issuing::Honest);
                (handled.reply, handled.commit)
            }
        };
        record.outcome = Outcome::Replied(reply.status);
        record.commit = commit;
        world.log.add(record);
        Handled {
            response: server::response(&mut world, reply),
            commit,
        }
    }
}

impl fmt::Debug for Procore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Procore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(form: &str) -> Request<Vec<u8>> {
        Request::post("https://login-sandbox.procore.com/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.as_bytes().to_vec())
            .unwrap()
    }

    #[test]
    fn answers_and_says_what_it_committed() {
        let procore = Procore::new(Options::demo());
        let handled = procore.handle(post(&format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            Options::demo_client_id(crate::CredentialPair::Sandbox),
            Options::demo_client_secret(crate::CredentialPair::Sandbox),
        )));
        assert_eq!(
            (handled.response.status().as_u16(), handled.commit),
            (200, Some(Commit::Issue))
        );
        let refused = procore.handle(post("grant_type=refresh_token&refresh_token=unknown"));
        assert_eq!(
            (refused.response.status().as_u16(), refused.commit),
            (400, None)
        );
        assert_eq!(procore.token_posts(), 2);
    }
}
