//! The ledger of tokens and codes: who holds what, and what kills it.
//!
//! One row is one access token with its refresh token, as in Doorkeeper's table. All of it is per environment: a token that another
//! environment issued is unknown. Times are in milliseconds since the Unix epoch.

use std::collections::HashMap;

use crate::environment::Environment;
use crate::mint::Mint;
use crate::policy::{OldAccessToken, Policy, Rotation};
use crate::registry::AppId;

/// A code lives this long.
pub(crate) const CODE_LIFETIME_MS: u64 = 10 * 60 * 1000;

/// A row's place in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RowId(usize);

/// For whom tokens are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) environment: Environment,
    pub(crate) app: AppId,
    /// The user's id; none for a service account.
    pub(crate) user: Option<u64>,
}

/// Why a known access token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Expired,
    Revoked,
    Unknown,
}

/// How a refresh token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Live,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RefreshToken {
    value: String,
    standing: Standing,
}

/// One access token with its refresh token.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) grant: Grant,
    access: String,
    refresh: Option<RefreshToken>,
    pub(crate) created_at_ms: u64,
    expires_at_ms: u64,
    access_revoked: bool,
    /// In grace mode, the row before this one until this access token is first used.
    previous: Option<RowId>,
    /// The newest row that a refresh of this one brought.
    successor: Option<RowId>,
}

impl Row {
    pub(crate) fn access_token(&self) -> &str {
        &self.access
    }

    pub(crate) fn refresh_token(&self) -> Option<&str> {
        self.refresh.as_ref().map(|token| token.value.as_str())
    }

    /// Whether the access token has outlived its lifetime.
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms <= now_ms
    }

    /// Returns the seconds that remain, rounded up.
    pub(crate) fn remaining_seconds(&self, now_ms: u64) -> u64 {
        self.expires_at_ms.saturating_sub(now_ms).div_ceil(1000)
    }

    fn refresh_is_live(&self) -> bool {
        self.refresh
            .as_ref()
            .is_some_and(|token| token.standing == Standing::Live)
    }

    fn kill_refresh(&mut self) {
        if let Some(token) = &mut self.refresh {
            token.standing = Standing::Dead;
        }
    }
}

/// An authorization code.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) grant: Grant,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    expires_at_ms: u64,
    spent: bool,
}

/// Holds all tokens and codes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rows: Vec<Row>,
    by_access: HashMap<String, RowId>,
    by_refresh: HashMap<String, RowId>,
    codes: HashMap<String, Code>,
}

impl Ledger {
    pub(crate) fn row(&self, id: RowId) -> &Row {
        &self.rows[id.0]
    }

    /// Issues an access token, and a refresh token if asked.
    pub(crate) fn issue(
        &mut self,
        mint: &mut Mint,
        policy: &Policy,
        grant: Grant,
        with_refresh: bool,
        now_ms: u64,
    ) -> RowId {
        let id = RowId(self.rows.len());
        let access = mint.access_token(policy.access_token_bytes);
        let refresh = with_refresh.then(|| RefreshToken {
            value: mint.secret(),
            standing: Standing::Live,
        });
        self.by_access.insert(access.clone(), id);
        if let Some(token) = &refresh {
            self.by_refresh.insert(token.value.clone(), id);
        }
        self.rows.push(Row {
            grant,
            access,
            refresh,
            created_at_ms: now_ms,
            expires_at_ms: now_ms.saturating_add(policy.lifetime_seconds.saturating_mul(1000)),
            access_revoked: false,
            previous: None,
            successor: None,
        });
        id
    }

    /// Issues the successor of a row, and retires that row as the policy says.
    pub(crate) fn rotate(
        &mut self,
        mint: &mut Mint,
        policy: &Policy,
        old: RowId,
        now_ms: u64,
    ) -> RowId {
        let grant = self.row(old).grant;
        let new = self.issue(mint, policy, grant, true, now_ms);
        self.rows[old.0].successor = Some(new);
        match policy.rotation {
            Rotation::Strict => self.retire(old, policy.old_access_token),
            Rotation::Grace => self.rows[new.0].previous = Some(old),
        }
        new
    }

    /// Notes that an access token was used: in grace mode, this retires the row before it.
    pub(crate) fn note_use(&mut self, id: RowId, old_access: OldAccessToken) {
        if let Some(previous) = self.rows[id.0].previous.take() {
            self.retire(previous, old_access);
        }
    }

    fn retire(&mut self, id: RowId, access: OldAccessToken) {
        let row = &mut self.rows[id.0];
        row.kill_refresh();
        row.access_revoked |= access == OldAccessToken::Revoked;
    }

    /// Finds the row of an access token, whatever its state.
    pub(crate) fn find_access(&self, environment: Environment, token: &str) -> Option<RowId> {
        self.by_access
            .get(token)
            .copied()
            .filter(|&id| self.row(id).grant.environment == environment)
    }

    /// Finds the row of a live access token, or tells why it is refused.
    pub(crate) fn accept(
        &self,
        environment: Environment,
        token: &str,
        now_ms: u64,
    ) -> Result<RowId, Refusal> {
        let id = self
            .find_access(environment, token)
            .ok_or(Refusal::Unknown)?;
        let row = self.row(id);
        if row.access_revoked {
            Err(Refusal::Revoked)
        } else if row.expires_at_ms <= now_ms {
            Err(Refusal::Expired)
        } else {
            Ok(id)
        }
    }

    /// Finds the row of a refresh token that can still be used.
    pub(crate) fn find_live_refresh(&self, environment: Environment, token: &str) -> Option<RowId> {
        let id = self.by_refresh.get(token).copied()?;
        let row = self.row(id);
        (row.grant.environment == environment && row.refresh_is_live()).then_some(id)
    }

    /// Returns the newest refresh token of an environment that can still be used.
    pub(crate) fn newest_live_refresh(&self, environment: Environment) -> Option<&str> {
        let live = |row: &&Row| row.grant.environment == environment && row.refresh_is_live();
        self.rows.iter().rfind(live)?.refresh_token()
    }

    /// Returns the refresh token that was issued last in exchange for this one.
    pub(crate) fn successor(&self, environment: Environment, token: &str) -> Option<&str> {
        let id = self.by_refresh.get(token).copied()?;
        let row = Some(self.row(id)).filter(|row| row.grant.environment == environment)?;
        self.row(row.successor?).refresh_token()
    }

    /// Finds the newest row of a grant whose access token still lives.
    pub(crate) fn newest_live(&self, grant: Grant, now_ms: u64) -> Option<RowId> {
        let live =
            |row: &Row| row.grant == grant && !row.access_revoked && row.expires_at_ms > now_ms;
        self.rows.iter().rposition(live).map(RowId)
    }

    /// Revokes both tokens of a row.
    pub(crate) fn revoke(&mut self, id: RowId) {
        self.retire(id, OldAccessToken::Revoked);
    }

    /// Revokes the access token of a row only.
    pub(crate) fn revoke_access(&mut self, id: RowId) {
        self.rows[id.0].access_revoked = true;
    }

    /// Ends the life of an access token now.
    pub(crate) fn expire_access(&mut self, id: RowId, now_ms: u64) {
        self.rows[id.0].expires_at_ms = now_ms;
    }

    /// Kills the refresh token of a row only.
    pub(crate) fn kill_refresh(&mut self, id: RowId) {
        self.rows[id.0].kill_refresh();
    }

    /// Kills every token and every code of the grants that are chosen.
    pub(crate) fn revoke_where(&mut self, chosen: impl Fn(&Grant) -> bool) {
        for row in self.rows.iter_mut().filter(|row| chosen(&row.grant)) {
            row.kill_refresh();
            row.access_revoked = true;
        }
        self.codes.retain(|_, code| !chosen(&code.grant));
    }

    /// Kills the access tokens of an app, and leaves its refresh tokens alone.
    pub(crate) fn revoke_access_of(&mut self, app: AppId) {
        for row in self.rows.iter_mut().filter(|row| row.grant.app == app) {
            row.access_revoked = true;
        }
    }

    /// Issues an authorization code.
    pub(crate) fn issue_code(
        &mut self,
        mint: &mut Mint,
        grant: Grant,
        redirect_uri: &str,
        challenge: Option<&str>,
        now_ms: u64,
    ) -> String {
        let value = mint.secret();
        let code = Code {
            grant,
            redirect_uri: redirect_uri.to_owned(),
            challenge: challenge.map(str::to_owned),
            expires_at_ms: now_ms.saturating_add(CODE_LIFETIME_MS),
            spent: false,
        };
        self.codes.insert(value.clone(), code);
        value
    }

    /// Finds a code that can still be exchanged.
    pub(crate) fn find_live_code(
        &self,
        environment: Environment,
        code: &str,
        now_ms: u64,
    ) -> Option<&Code> {
        self.codes.get(code).filter(|code| {
            code.grant.environment == environment && !code.spent && now_ms < code.expires_at_ms
        })
    }

    /// Marks a code as spent.
    pub(crate) fn spend_code(&mut self, code: &str) {
        if let Some(code) = self.codes.get_mut(code) {
            code.spent = true;
        }
    }
}
