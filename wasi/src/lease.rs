//! Leases: what stands in for the kernel's locks, which WASI 0.2 has not.
//!
//! A lease is a file, `.lease-N` in the connection's folder: one line of JSON, padded with spaces,
//! `{"procore-auth":1,"holder":"…","at":1795391940000,"until":1795392000000}`. `at` is when it was renewed last and `until` when it
//! ends, in Unix milliseconds; `until` is 0 where it was given back. The one with the greatest `N` counts. One whose content cannot
//! be read is held until a minute after its last change.
//!
//! | step | what it excludes |
//! |---|---|
//! | Whoever finds every lease over creates the next one, exclusively | two that take the same one |
//! | It writes its own, and only then looks whether that is the last one, and whether those before are still over | a holder that renewed meanwhile; another successor |
//! | A holder renews its own, and only then looks whether it is the last one still | a successor that came meanwhile |
//! | Last of all it looks at the clock: the wait must fit into what is left | a program that was stopped between these steps |
//! | Those before are removed, the last one never | a lease that is taken for one of an earlier time |
//!
//! Both write before they look, so that of a holder and a successor one sees the other at least. Nobody writes another's file: there is
//! nothing to steal, and a slow program cannot take a lease that was passed on meanwhile. A holder that overslept has its lease still
//! where nobody followed.
//!
//! | weaker than a lock of the kernel | why |
//! |---|---|
//! | the death of a holder frees it after a minute, not at once | nobody tells of a death |
//! | a holder that is stopped after its last look, for longer than the wait it announced and half a minute, sends all the same | nobody else can stop it; what it writes is compared with what is stored, and it tells (`lock-lost`) |
//! | a clock that jumps during a request counts as time | `until` is compared with the wall clock, which the machines that share a folder must agree on to some seconds |
//! | a native host neither sees a lease nor is seen | its lock is the kernel's |

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use procore_auth_lending::StoreFailure;
use serde::{Deserialize, Serialize};

const PREFIX: &str = ".lease-";

/// How long a lease lasts from its last renewal, beside the wait that is known.
pub(crate) const TERM: Duration = Duration::from_secs(60);

/// What must be left of it beside the wait that is known, when that begins.
const MARGIN: Duration = Duration::from_secs(30);

/// How often a renewal is tried that took longer than it gave.
const RENEWALS: usize = 3;

/// The pauses between two looks at a lease that somebody else has: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The length of the file: a renewal writes in place, and leaves nothing of what was there.
const LENGTH: usize = 128;

/// The folder that leases are in, and the time that they are measured by.
pub(crate) trait Ground {
    /// A file that this program created.
    type File;

    /// Returns the names in the folder.
    fn names(&self) -> Result<Vec<String>, StoreFailure>;
    /// Reads a file; `None` where there is none.
    fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, StoreFailure>;
    /// When a file was changed last, in Unix milliseconds; `None` where that is not known.
    fn changed(&self, name: &str) -> Option<u64>;
    /// Creates a file; `None` where there is one.
    fn create_new(&self, name: &str) -> Result<Option<Self::File>, StoreFailure>;
    /// Writes a file from its beginning, so that every program sees it when this returns.
    fn write(&self, file: &Self::File, bytes: &[u8]) -> Result<(), StoreFailure>;
    /// Removes a file. Does nothing where there is none.
    fn remove(&self, name: &str) -> Result<(), StoreFailure>;
    /// The wall clock, in Unix milliseconds.
    fn now(&self) -> u64;
    /// The time since a fixed point.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn sleep(&self, span: Duration);
    /// Returns a name that no other program has.
    fn nonce(&self) -> String;
}

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(rename = "procore-auth")]
    format: u64,
    holder: String,
    at: u64,
    until: u64,
}

impl Content {
    /// One from further ahead than it promises to last is the mark of a clock that was set back.
    fn is_held(&self, now: u64) -> bool {
        let promise = self.until.saturating_sub(self.at);
        now < self.until && self.at <= now.saturating_add(promise)
    }
}

/// A lease that this program has.
pub(crate) struct Lease<G: Ground> {
    ground: Rc<G>,
    file: G::File,
    number: u64,
    holder: String,
    until: u64,
    /// Whether the one before was not given back: its holder died, or was stopped for long.
    pub(crate) followed_the_dead: bool,
}

impl<G: Ground> Lease<G> {
    /// Waits for the lease of a folder; `None` where somebody else had it for longer than `wait`.
    pub(crate) fn acquire(ground: &Rc<G>, wait: Duration) -> Result<Option<Self>, StoreFailure> {
        let deadline = ground.elapsed().saturating_add(wait);
        let mut pause = FIRST_PAUSE;
        loop {
            let lease = Self::try_acquire(ground)?;
            let left = deadline.saturating_sub(ground.elapsed());
            if lease.is_some() || left.is_zero() {
                return Ok(lease);
            }
            ground.sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn try_acquire(ground: &Rc<G>) -> Result<Option<Self>, StoreFailure> {
        let before = leases(&**ground)?;
        if before.values().any(|state| *state == State::Held) {
            return Ok(None);
        }
        let last = before.last_key_value();
        let number = last.map_or(1, |(number, _)| number.saturating_add(1));
        let Some(file) = ground.create_new(&name(number))? else {
            return Ok(None);
        };
        let mut lease = Self {
            ground: Rc::clone(ground),
            file,
            number,
            holder: ground.nonce(),
            until: 0,
            followed_the_dead: last.is_some_and(|(_, state)| *state == State::RunOut),
        };
        if let Err(failure) = lease.write(ground.now(), TERM) {
            // An empty one would keep everybody waiting.
            let _ = ground.remove(&name(number));
            return Err(failure);
        }
        Ok(lease.is_to_be_had()?.then_some(lease))
    }

    /// Whether nobody else has one, now that everybody can see this one. Removes those before.
    fn is_to_be_had(&self) -> Result<bool, StoreFailure> {
        let mut others = leases(&*self.ground)?;
        let (last, _) = others.pop_last().unwrap_or((0, State::Held));
        if last != self.number || others.values().any(|state| *state == State::Held) {
            return Ok(false);
        }
        for number in others.into_keys() {
            self.ground.remove(&name(number))?;
        }
        Ok(true)
    }

    /// Makes it last for a wait of `span` that is about to begin. Returns whether it is this program's still.
    pub(crate) fn extend(&mut self, span: Duration) -> Result<bool, StoreFailure> {
        let needed = millis(span.saturating_add(MARGIN));
        for _ in 0..RENEWALS {
            let now = self.ground.now();
            if self.until < now.saturating_add(needed) {
                if !self.is_ours()? {
                    return Ok(false);
                }
                self.write(now, span.saturating_add(TERM))?;
            }
            if !self.is_ours()? {
                return Ok(false);
            }
            if self.ground.now().saturating_add(needed) <= self.until {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nobody followed.
    pub(crate) fn is_ours(&self) -> Result<bool, StoreFailure> {
        let bytes = self.ground.read(&name(self.number), LENGTH)?;
        let content = bytes.and_then(|bytes| serde_json::from_slice::<Content>(&bytes).ok());
        Ok(content.is_some_and(|content| content.holder == self.holder) && self.is_last()?)
    }

    fn is_last(&self) -> Result<bool, StoreFailure> {
        let names = self.ground.names()?;
        let last = names.iter().filter_map(|name| number(name)).max();
        Ok(last == Some(self.number))
    }

    fn write(&mut self, at: u64, span: Duration) -> Result<(), StoreFailure> {
        let until = at.saturating_add(millis(span));
        self.ground
            .write(&self.file, &line(&self.holder, at, until))?;
        self.until = until;
        Ok(())
    }
}

impl<G: Ground> Drop for Lease<G> {
    fn drop(&mut self) {
        if self.until != 0 {
            // Nobody else writes this file: where another one is the last by now, it harms nobody. Where this fails, the lease ends by itself.
            let _ = self.ground.write(&self.file, &line(&self.holder, 0, 0));
        }
    }
}

/// What became of a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    GivenBack,
    /// Nobody gave it back.
    RunOut,
}

/// Reads all leases, by their numbers.
fn leases<G: Ground>(ground: &G) -> Result<BTreeMap<u64, State>, StoreFailure> {
    let names = ground.names()?;
    let numbers = names.iter().filter_map(|name| number(name));
    numbers
        .map(|number| Ok((number, state(ground, number)?)))
        .collect()
}

fn state<G: Ground>(ground: &G, number: u64) -> Result<State, StoreFailure> {
    let name = name(number);
    let Some(bytes) = ground.read(&name, LENGTH)? else {
        return Ok(State::GivenBack);
    };
    let now = ground.now();
    let is_held = match serde_json::from_slice::<Content>(&bytes) {
        Ok(content) if content.until == 0 => return Ok(State::GivenBack),
        Ok(content) => content.is_held(now),
        Err(_) => {
            let changed = ground.changed(&name).unwrap_or(0);
            now < changed.saturating_add(millis(TERM))
        }
    };
    Ok(if is_held { State::Held } else { State::RunOut })
}

fn line(holder: &str, at: u64, until: u64) -> Vec<u8> {
    let content = Content {
        format: 1,
        holder: holder.to_owned(),
        at,
        until,
    };
    let mut line = serde_json::to_vec(&content).unwrap_or_default();
    line.resize(LENGTH - 1, b' ');
    line.push(b'\n');
    line
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod model;
