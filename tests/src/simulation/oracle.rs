//! The oracle: it sees both sides at every step, and says where an invariant is broken.
//!
//! It knows what no process knows: what the server has committed, what is durable, and which process is alive with which tokens
//! in memory. The table of invariants is in [`crate::simulation`].

mod alerts;
mod deliveries;
mod pairs;
mod session;
mod work;

use std::collections::VecDeque;

use procore_auth_host::{Error, ErrorKind, Event};
use serde::de::IgnoredAny;

use self::{
    alerts::Alerts,
    deliveries::Deliveries,
    pairs::{Loss, Pair, Pairs},
    session::Shown,
    work::Work,
};
use super::{
    capabilities::Presented,
    disk::Disk,
    plan::Variant,
    process::Need,
    scenario::{HOUR, MINUTE, Scenario},
    server::{Issued, Server, digest},
    trace::Who,
};

/// The most requests to the token endpoint within an hour. Failures of one kind are far fewer; here they come in all kinds, and
/// processes die of them.
const MOST_POSTS: usize = 60;

/// The key of the session.
const SESSION: &str = "session";

/// An invariant that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    /// Which.
    pub(crate) invariant: &'static str,
    /// How.
    pub(crate) what: String,
}

/// Returns the digest of the refresh token that the stored session calls dead.
pub(crate) fn refused_token(disk: &Disk) -> Option<&str> {
    Shown(disk.text(SESSION)).refused_token()
}

fn broken(invariant: &'static str, what: impl Into<String>) -> Result<(), Breach> {
    Err(Breach {
        invariant,
        what: what.into(),
    })
}

/// An actor came out of the calm without a token that the API accepts.
pub(crate) fn without_token_after_the_calm(what: String) -> Result<(), Breach> {
    broken("liveness", what)
}

/// Both sides, as they are at a step.
pub(crate) struct Sight<'w> {
    pub(crate) now: u64,
    pub(crate) disk: &'w Disk,
    pub(crate) server: &'w Server,
}

impl Sight<'_> {
    fn session(&self) -> Shown<'_> {
        Shown(self.disk.text(SESSION))
    }

    fn stores(&self, pair: &Pair) -> bool {
        self.disk.holds(&pair.refresh)
    }
}

/// Watches one run.
pub(crate) struct Oracle {
    pairs: Pairs,
    alerts: Alerts,
    /// What agents had the host do.
    pub(crate) work: Work,
    pub(crate) deliveries: Deliveries,
    under_way: Vec<Who>,
    posts: VecDeque<u64>,
    /// Whether the store is one that others cannot write meanwhile.
    exclusive: bool,
    honest_clocks: bool,
    /// The pair in the session.
    current: Option<usize>,
    /// Counts the times at which the store went back: what was served before says nothing about what is served now.
    setbacks: u64,
}

/// What a process was served last, and when the store last went back then.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Served {
    number: usize,
    setbacks: u64,
}

impl Oracle {
    pub(crate) fn of(scenario: &Scenario, variant: Variant) -> Self {
        let exclusive = scenario.lock_excludes && variant != Variant::LatchWithoutReread;
        Self {
            pairs: Pairs::default(),
            alerts: Alerts::new(exclusive, scenario.clocks_are_honest()),
            work: Work::default(),
            deliveries: Deliveries::default(),
            under_way: Vec::new(),
            posts: VecDeque::new(),
            exclusive,
            honest_clocks: scenario.clocks_are_honest(),
            current: None,
            setbacks: 0,
        }
    }

    /// Adds a secret that must be seen nowhere.
    pub(crate) fn keep_secret(&mut self, secret: &str) {
        self.alerts.secrets.insert(secret.to_owned());
    }

    /// Returns the newest refresh token, for an operator who revokes it.
    pub(crate) fn newest_refresh_token(&self) -> Option<String> {
        self.pairs.newest().map(|pair| pair.refresh.clone())
    }

    /// Returns how many pairs were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.pairs.lost
    }
}

/// The token endpoint.
impl Oracle {
    /// A process sends something to the token endpoint.
    pub(crate) fn on_post(
        &mut self,
        sight: &Sight<'_>,
        who: Who,
        presented: &Presented,
        needs: &[Need],
        wall: u64,
    ) -> Result<(), Breach> {
        let alone = self.under_way.is_empty();
        self.under_way.push(who);
        self.count_post(sight.now)?;
        if self.exclusive && !alone {
            return broken(
                "I1 one refresh",
                "two requests to the token endpoint at once",
            );
        }
        let session = sight.session();
        if self.exclusive && !session.intends(&presented.spends) {
            return broken("I2 nothing lost", "a POST without a durable intent");
        }
        let Some(token) = &presented.refresh_token else {
            return Ok(());
        };
        let Some(number) = self.pairs.by_refresh(token) else {
            return broken("tokens", "a refresh token that the server never issued");
        };
        let pair = self.pairs.at(number);
        // Without a lock, one may be on its way already when another's refusal becomes durable.
        if self.exclusive && pair.refused {
            return broken(
                "I4 no storms",
                format!("refresh token {number} is sent again after the server called it dead"),
            );
        }
        if self.exclusive && pair.succeeded {
            return broken(
                "I1 one refresh",
                format!("refresh token {number} is sent again though its successor was durable"),
            );
        }
        if self.exclusive && self.honest_clocks {
            is_in_order(&session, needs, wall)?;
        }
        Ok(())
    }

    fn count_post(&mut self, now: u64) -> Result<(), Breach> {
        self.posts.push_back(now);
        while self.posts.front().is_some_and(|at| at + HOUR < now) {
            self.posts.pop_front();
        }
        if self.posts.len() > MOST_POSTS {
            return broken(
                "I4 no storms",
                format!(
                    "{} requests to the token endpoint within an hour",
                    self.posts.len()
                ),
            );
        }
        Ok(())
    }

    /// The server has issued a pair, whose reply is on its way to `carrier`, if anybody waits for it.
    pub(crate) fn on_commit(
        &mut self,
        sight: &Sight<'_>,
        carrier: Option<Who>,
        presented: &Presented,
        issued: Issued,
    ) -> Result<(), Breach> {
        for secret in [&issued.access, &issued.refresh] {
            self.alerts.secrets.insert(secret.clone());
        }
        let token = presented.refresh_token.as_deref();
        let before = token.and_then(|token| self.pairs.by_refresh(token));
        self.pairs.add(Pair {
            digest: digest(&issued.refresh),
            refresh: issued.refresh,
            access: issued.access,
            spends: presented.spends.clone(),
            before,
            expires_at: sight.server.expiry(sight.now),
            carrier,
            loss: carrier.is_none().then_some(Loss::Network),
            readable: true,
            refused: false,
            stored: false,
            succeeded: false,
        });
        if carrier.is_none() {
            self.pairs.lost += 1;
        }
        Ok(())
    }

    /// A request ends for its sender, with this body; empty where there is none.
    pub(crate) fn on_reply(
        &mut self,
        sight: &Sight<'_>,
        who: Who,
        body: &[u8],
    ) -> Result<(), Breach> {
        if let Some(place) = self.under_way.iter().position(|other| *other == who) {
            self.under_way.swap_remove(place);
        }
        let Some(pair) = self.pairs.carried_by(who) else {
            return Ok(());
        };
        if !String::from_utf8_lossy(body).contains(&pair.refresh) {
            return self.lose(sight, who, Loss::Network);
        }
        // What cannot be read must be kept for a person all the same.
        if serde_json::from_slice::<IgnoredAny>(body).is_err() {
            pair.readable = false;
            self.pairs.lost += 1;
        }
        Ok(())
    }

    /// Notes that what a process carries is lost, where nobody can help it: then an intent says so.
    fn lose(&mut self, sight: &Sight<'_>, who: Who, loss: Loss) -> Result<(), Breach> {
        let Some(pair) = self.pairs.carried_by(who) else {
            return Ok(());
        };
        pair.carrier = None;
        if sight.stores(pair) {
            return Ok(());
        }
        pair.loss = Some(loss);
        let spends = pair.spends.clone();
        self.pairs.lost += 1;
        if self.exclusive && !sight.session().intends(&spends) {
            return broken(
                "I2 nothing lost",
                format!("new tokens are lost ({loss:?}), and no durable intent says so"),
            );
        }
        self.guard(sight)
    }
}

/// The store.
impl Oracle {
    /// An entry was written or deleted. `before` is the digest of the token that the session called dead until now.
    pub(crate) fn on_write(
        &mut self,
        sight: &Sight<'_>,
        key: &str,
        before: Option<&str>,
    ) -> Result<(), Breach> {
        if matches!(key, "login" | "spent") {
            return Ok(());
        }
        self.note_durable(sight);
        self.guard(sight)?;
        let session = sight.session();
        let tokens = session.access_token();
        let tokens = tokens.and_then(|token| self.pairs.by_access(token));
        if tokens != self.current {
            self.current = tokens;
            self.alerts.on_new_tokens();
        }
        match session.refused_token() {
            Some(digest) if before != Some(digest) => self.on_verdict(sight, digest),
            _ => Ok(()),
        }
    }

    /// Somebody latched a refresh token as dead.
    fn on_verdict(&mut self, sight: &Sight<'_>, digest: &str) -> Result<(), Breach> {
        let Some(number) = self.pairs.by_digest(digest) else {
            return broken(
                "tokens",
                "a verdict on a refresh token that was never issued",
            );
        };
        let known_spent = sight.disk.text("spent").contains(digest);
        let pair = self.pairs.at_mut(number);
        pair.refused = true;
        if sight.server.is_live(&pair.refresh) && !known_spent {
            return broken(
                "no false death",
                format!("refresh token {number} is latched as dead, and the server honours it"),
            );
        }
        Ok(())
    }

    /// Whichever pair is durable now has a predecessor that must not be sent again.
    fn note_durable(&mut self, sight: &Sight<'_>) {
        self.pairs.note_stored(|pair| sight.stores(pair));
        let Some(newest) = self.pairs.newest() else {
            return;
        };
        if let Some(before) = newest.before
            && newest.readable
            && sight.stores(newest)
        {
            self.pairs.at_mut(before).succeeded = true;
        }
    }

    /// The newest pair that is not lost is durable, or on its way there in a living process.
    fn guard(&self, sight: &Sight<'_>) -> Result<(), Breach> {
        let Some(pair) = self.pairs.guarded() else {
            return Ok(());
        };
        if pair.carrier.is_some() || !sight.server.is_live(&pair.refresh) || sight.stores(pair) {
            return Ok(());
        }
        broken(
            "I2 nothing lost",
            "the newest live refresh token is neither in the store nor on its way there",
        )
    }

    /// A process frees the lock.
    pub(crate) fn on_unlock(&mut self, sight: &Sight<'_>, who: Who) -> Result<(), Breach> {
        let Some(pair) = self.pairs.carried_by(who) else {
            return Ok(());
        };
        pair.carrier = None;
        // What was durable may be gone all the same: a copy was put back, or a lock excludes nobody.
        if sight.server.is_live(&pair.refresh) && !pair.stored && !sight.stores(pair) {
            return broken(
                "I2 nothing lost",
                "the lock was freed while received tokens were in memory alone",
            );
        }
        Ok(())
    }

    /// The newest generation of an entry was torn: what counted on it does so no more.
    pub(crate) fn on_tear(&mut self) {
        self.setbacks += 1;
        self.pairs.forget_durability();
        self.alerts.on_tear();
    }

    /// A read has failed.
    pub(crate) fn on_failed_read(&mut self, key: &str) {
        self.alerts.on_failed_access(key);
    }

    /// A write has failed, and changed nothing.
    pub(crate) fn on_failed_write(&mut self, key: &str) {
        self.alerts.on_failed_write();
        self.alerts.on_failed_access(key);
    }

    /// An older copy was put back.
    pub(crate) fn on_restore(&mut self, sight: &Sight<'_>, everything: bool) -> Result<(), Breach> {
        self.setbacks += 1;
        if everything {
            self.pairs.forget_durability();
            self.work.on_restore();
        } else {
            let spent = sight.disk.text("spent").to_owned();
            self.pairs.forget_what_is_not_in(&spent);
        }
        self.pairs.lose_what(|pair| !sight.stores(pair));
        let session = sight.session();
        let tokens = session.access_token();
        self.current = tokens.and_then(|token| self.pairs.by_access(token));
        self.alerts.on_restore(sight.now, session.is_told_dark());
        Ok(())
    }
}

/// Processes.
impl Oracle {
    /// A process has died.
    pub(crate) fn on_death(&mut self, sight: &Sight<'_>, who: Who) -> Result<(), Breach> {
        self.under_way.retain(|other| *other != who);
        self.alerts.on_death(who);
        self.lose(sight, who, Loss::Death)
    }

    /// An event was recorded.
    pub(crate) fn on_event(
        &mut self,
        sight: &Sight<'_>,
        who: Who,
        event: &Event,
    ) -> Result<(), Breach> {
        // What was held knows nothing of what another process told meanwhile, where the lock excludes nobody.
        if !self.exclusive && event.code == "tokens-saved" {
            let told_dark = sight.session().is_told_dark();
            self.alerts.on_restore(sight.now, told_dark);
        }
        self.alerts.on_event(sight.now, who, event)
    }

    /// A call for a token begins. Returns what must be served at least, by a process that remembers nothing.
    pub(crate) fn stored_now(&self, sight: &Sight<'_>) -> Served {
        let session = sight.session();
        let tokens = session.access_token();
        let number = tokens.and_then(|token| self.pairs.by_access(token));
        Served {
            number: number.unwrap_or_default(),
            setbacks: self.setbacks,
        }
    }

    /// A call for a token has served one. `least` is what must have been served at least, and becomes what was.
    pub(crate) fn on_served(
        &mut self,
        sight: &Sight<'_>,
        token: &str,
        least: &mut Served,
    ) -> Result<(), Breach> {
        let Some(number) = self.pairs.by_access(token) else {
            return broken("tokens", "an access token that the server never issued");
        };
        let pair = self.pairs.at(number);
        if self.honest_clocks && pair.expires_at <= sight.now {
            let ago = (sight.now - pair.expires_at) / MINUTE;
            return broken(
                "tokens",
                format!("a token was served that expired {ago} min ago"),
            );
        }
        // Where two had the lock at once, a server with grace has given each a pair, and both are good.
        if self.exclusive && least.setbacks == self.setbacks && number < least.number {
            return broken(
                "tokens",
                format!("token {number} was served after token {}", least.number),
            );
        }
        *least = Served {
            number,
            setbacks: self.setbacks,
        };
        Ok(())
    }

    /// A call has failed.
    pub(crate) fn on_failed(
        &mut self,
        sight: &Sight<'_>,
        need: Need,
        error: &Error,
    ) -> Result<(), Breach> {
        if error.kind() == ErrorKind::SignInRequired
            && let Some(pair) = self.pairs.newest()
            && sight.server.is_live(&pair.refresh)
            && sight.session().0.contains(&pair.refresh)
            && !sight.disk.text("spent").contains(&pair.digest)
        {
            return broken(
                "no false death",
                "a person is asked to sign in while the store holds a live refresh token",
            );
        }
        // Where the lock excludes nobody, one may tell a recovery while another, who knows of the outage, has yet to fail.
        if !self.exclusive && self.alerts.is_quiet() && sight.session().is_told_dark() {
            self.alerts.on_restore(sight.now, true);
        }
        self.alerts.on_failed(sight.now, need, error)
    }
}

/// Whether a refresh is due, or asked for.
fn is_in_order(session: &Shown<'_>, needs: &[Need], wall: u64) -> Result<(), Breach> {
    if let Some(not_before) = session.not_before()
        && wall < not_before
        && not_before - wall <= 2 * HOUR
    {
        return broken(
            "I4 no storms",
            format!(
                "a POST {} ms before the end of the backoff",
                not_before - wall
            ),
        );
    }
    let due = session.refresh_at().is_none_or(|at| wall >= at) || session.is_rejected();
    let wanted = needs.iter().any(|need| match need {
        Need::Renew => true,
        Need::Ahead(span) => session
            .expires_at()
            .is_none_or(|at| at <= wall + span + 3 * MINUTE),
        Need::Use | Need::Nothing => false,
    });
    if due || wanted {
        Ok(())
    } else {
        broken(
            "I1 one refresh",
            "a refresh that is not due and that nobody asked for",
        )
    }
}
