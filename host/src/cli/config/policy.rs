//! `[connections.NAME.policy]`: every number within the bounds in which the connection survives.

use std::ops::Range;
use std::time::Duration;

use procore_auth_host::Policy;
use toml::Spanned;

use super::shape::{PolicyTable, Span};
use super::source::{Mistake, Source};
use crate::cli::failure::Failure;

/// A refresh token is spent by a request whose answer nobody waits for.
const LEAST_TOKEN_TIMEOUT: Duration = Duration::from_secs(5);
const LEAST_CALL_TIMEOUT: Duration = Duration::from_secs(1);
const LEAST_PARKED_COUNT: u32 = 1;
const LEAST_PARKED_BYTES: u64 = 1024;
const LEAST_PARKED_AGE: Duration = Duration::from_secs(60);

/// Reads the table. What it does not say is as the defaults have it.
pub(super) fn read(source: &Source, table: &PolicyTable) -> Result<Policy, Failure> {
    check_percent(source, table)?;
    check_minimums(source, table)?;
    let policy = with_defaults(table);
    check_lock_wait(source, table, &policy)?;
    Ok(policy)
}

fn with_defaults(table: &PolicyTable) -> Policy {
    let mut policy = Policy::default();
    set(&mut policy.refresh_percent, number(&table.refresh_percent));
    set(
        &mut policy.refresh_jitter,
        table.refresh_jitter.map(|span| span.0),
    );
    set(&mut policy.token_timeout, span(&table.token_timeout));
    set(&mut policy.lock_wait, span(&table.lock_wait));
    set(&mut policy.call_timeout, span(&table.call_timeout));
    set(&mut policy.parked_count, number(&table.parked_count));
    set(&mut policy.parked_bytes, number(&table.parked_bytes));
    set(&mut policy.parked_age, span(&table.parked_age));
    set(&mut policy.pkce, table.pkce);
    policy
}

fn set<T>(number: &mut T, written: Option<T>) {
    if let Some(written) = written {
        *number = written;
    }
}

fn number<T: Copy>(written: &Option<Spanned<T>>) -> Option<T> {
    written.as_ref().map(|number| *number.get_ref())
}

fn span(written: &Option<Spanned<Span>>) -> Option<Duration> {
    written.as_ref().map(|span| span.get_ref().0)
}

fn check_percent(source: &Source, table: &PolicyTable) -> Result<(), Failure> {
    match &table.refresh_percent {
        Some(percent) if !(1..=99).contains(percent.get_ref()) => {
            let mistake = Mistake {
                message: "refresh_percent is a number from 1 to 99".to_owned(),
                cure: "80 is the default: refresh when 80 % of the token's lifetime is over"
                    .to_owned(),
            };
            Err(source.refuse(percent.span(), mistake))
        }
        _ => Ok(()),
    }
}

fn check_minimums(source: &Source, table: &PolicyTable) -> Result<(), Failure> {
    let spans = [
        (
            "token_timeout",
            &table.token_timeout,
            LEAST_TOKEN_TIMEOUT,
            "5s",
        ),
        (
            "call_timeout",
            &table.call_timeout,
            LEAST_CALL_TIMEOUT,
            "1s",
        ),
        ("parked_age", &table.parked_age, LEAST_PARKED_AGE, "1m"),
    ];
    for (key, written, least, shown) in spans {
        if let Some(span) = written.as_ref().filter(|span| span.get_ref().0 < least) {
            return Err(too_small(source, span.span(), key, &format!("{shown:?}")));
        }
    }
    at_least(
        source,
        "parked_count",
        table.parked_count.as_ref(),
        LEAST_PARKED_COUNT,
    )?;
    at_least(
        source,
        "parked_bytes",
        table.parked_bytes.as_ref(),
        LEAST_PARKED_BYTES,
    )
}

fn at_least<T: Copy + Ord + std::fmt::Display>(
    source: &Source,
    key: &str,
    written: Option<&Spanned<T>>,
    least: T,
) -> Result<(), Failure> {
    match written {
        Some(number) if *number.get_ref() < least => {
            Err(too_small(source, number.span(), key, &least.to_string()))
        }
        _ => Ok(()),
    }
}

fn too_small(source: &Source, span: Range<usize>, key: &str, least: &str) -> Failure {
    let mistake = Mistake {
        message: format!("{key} is at least {least}"),
        cure: format!("set {key} = {least} or more, or remove the line for the default"),
    };
    source.refuse(span, mistake)
}

/// A waiter must outlast the holder's request to the token endpoint, or it gives up on a refresh that is about to succeed.
fn check_lock_wait(source: &Source, table: &PolicyTable, policy: &Policy) -> Result<(), Failure> {
    if policy.lock_wait > policy.token_timeout {
        return Ok(());
    }
    let mistake = Mistake {
        message: format!(
            "lock_wait ({:?}) must be longer than token_timeout ({:?})",
            policy.lock_wait, policy.token_timeout
        ),
        cure: format!(
            "set lock_wait = \"{}s\" or more",
            policy.token_timeout.as_secs().saturating_add(15)
        ),
    };
    let written = table.lock_wait.as_ref().or(table.token_timeout.as_ref());
    let span = written.map(Spanned::span).unwrap_or_default();
    Err(source.refuse(span, mistake))
}
