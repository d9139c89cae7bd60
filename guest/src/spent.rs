//! The ledger of spent refresh tokens, under the key `spent`: apart from the session, so that an old copy of the session does not
//! bring back what it had forgotten.

use miniserde::{Deserialize, Serialize};

use crate::{json::Text, secret::Digest};

/// The refresh tokens that were spent here, oldest first.
///
/// Each is one line, `DIGEST MILLISECONDS ACTOR`: the whole ledger is read before every refresh, and seldom more than compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentTokens {
    tokens: Vec<String>,
}

/// One spent refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The token.
    pub digest: Digest,
    /// When, in milliseconds since the epoch.
    pub at: u64,
    /// By whom.
    pub by: String,
}

impl SpentTokens {
    /// How many are remembered: a week and more of hourly refreshes.
    const MOST: usize = 200;

    /// Remembers a spent token, and forgets the oldest beyond the limit.
    pub fn add(&mut self, spent: &Spent) {
        let digest = spent.digest.to_text();
        self.tokens.retain(|line| !line.starts_with(&*digest));
        self.tokens
            .push(format!("{digest} {} {}", spent.at, spent.by));
        let excess = self.tokens.len().saturating_sub(Self::MOST);
        self.tokens.drain(..excess);
    }

    /// Returns when and by whom the token was spent, if that is remembered.
    pub fn find(&self, digest: &Digest) -> Option<Spent> {
        let rest = |line: &String| {
            line.strip_prefix(&*digest.to_text())?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        let rest = self.tokens.iter().find_map(rest)?;
        let (at, by) = rest.split_once(' ').unwrap_or((&rest, ""));
        Some(Spent {
            digest: digest.clone(),
            at: at.parse().unwrap_or_default(),
            by: by.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, secret::Secret};

    fn spent(token: &str, at: u64) -> Spent {
        Spent {
            digest: Secret::new(token).digest(),
            at,
            by: "a host/4121".to_owned(),
        }
    }

    #[test]
    fn what_was_spent_is_found_by_its_digest_alone() {
        let mut ledger: SpentTokens = Default::default();
        ledger.add(&spent("r1", 1));
        ledger.add(&spent("r2", 2));
        let ledger: SpentTokens = json::read(&json::write(&ledger)).expect("valid");
        assert_eq!(
            ledger.find(&Secret::new("r1").digest()),
            Some(spent("r1", 1))
        );
        assert_eq!(ledger.find(&Secret::new("r3").digest()), None);
    }

    #[test]
    fn a_token_is_on_record_once_and_the_oldest_are_forgotten() {
        let mut ledger: SpentTokens = Default::default();
        for at in 0..SpentTokens::MOST as u64 + 10 {
            ledger.add(&spent(&format!("r{at}"), at));
            ledger.add(&spent("again", at));
        }
        assert_eq!(ledger.tokens.len(), SpentTokens::MOST);
        assert_eq!(ledger.find(&Secret::new("r0").digest()), None);
        assert!(ledger.find(&Secret::new("r209").digest()).is_some());
        let again = ledger.find(&Secret::new("again").digest()).expect("known");
        assert_eq!(again.at, 209);
    }
}
