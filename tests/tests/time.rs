//! Section E: clocks that jump, lifetimes that make no sense, visits that come too rarely.

use std::{sync::Arc, time::Duration};

use fake_procore::{Fault, ReportedExpiry, Target};
use procore_auth_host::{ApiRequest, Connection, MemoryStore};
use procore_auth_tests::{
    Rig, SteppedClock,
    rig::{LIFETIME, SANDBOX, answered, fake},
    stored,
};
use serde_json::json;

const ME: &str = "/rest/v1.0/me";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A signed-in connection whose clock can be wrong.
async fn with_clock(rig: &Rig) -> (Connection, SteppedClock) {
    let clock = SteppedClock::new(&rig.clock);
    let builder = rig.builder(Rig::settings(SANDBOX));
    let builder = builder.clock(Arc::new(clock.clone()));
    let connection = builder.build().expect("complete");
    rig.sign_in(&connection).await;
    connection.access_token().await.expect("a token");
    rig.procore.clear_requests();
    (connection, clock)
}

/// Asserts that what the connection hands out is good at the server.
async fn serves_what_lives(rig: &Rig, connection: &Connection) {
    let token = connection.access_token().await.expect("a token");
    let token = token.bearer().expose();
    assert!(rig.procore.access_token_is_live(fake(SANDBOX), token));
}

#[tokio::test]
async fn s44_after_eight_hours_of_sleep_the_token_is_refreshed_at_once() {
    let rig = Rig::start().await;
    let (connection, clock) = with_clock(&rig).await;
    clock.suspend(8 * HOUR);
    serves_what_lives(&rig, &connection).await;
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s44_a_clock_set_back_never_stretches_a_tokens_life() {
    let rig = Rig::start().await;
    let (connection, clock) = with_clock(&rig).await;
    clock.step_minutes(-10);
    for _ in 0..12 {
        serves_what_lives(&rig, &connection).await;
        assert_eq!(
            answered(connection.send(ApiRequest::get(ME)).await).status,
            200
        );
        rig.advance(10 * MINUTE);
    }
    assert!((1..=4).contains(&rig.procore.token_posts()));
}

#[tokio::test]
async fn s44_a_clock_set_back_late_in_a_tokens_life_never_stretches_it() {
    let rig = Rig::start().await;
    let (connection, clock) = with_clock(&rig).await;
    rig.advance(70 * MINUTE);
    connection.access_token().await.expect("a token");
    clock.step_minutes(-60);
    // By the wall clock it is 10 minutes old; by the other clock it is due.
    rig.advance(21 * MINUTE);
    assert_eq!(
        answered(connection.send(ApiRequest::get(ME)).await).status,
        200
    );
    serves_what_lives(&rig, &connection).await;
}

#[tokio::test]
async fn s44_a_clock_set_forward_costs_one_early_refresh_at_most() {
    for minutes in [10, 80, 600] {
        let rig = Rig::start().await;
        let (connection, clock) = with_clock(&rig).await;
        clock.step_minutes(minutes);
        for _ in 0..6 {
            serves_what_lives(&rig, &connection).await;
            rig.advance(10 * MINUTE);
        }
        let most = 1 + usize::from(minutes == 10);
        assert!(rig.procore.token_posts() <= most, "{minutes}");
    }
}

#[tokio::test]
async fn s45_whatever_expires_in_says_there_is_no_tight_loop() {
    let absurd = [
        ReportedExpiry::Missing,
        ReportedExpiry::Raw(json!(0)),
        ReportedExpiry::Raw(json!(-1)),
        ReportedExpiry::Raw(json!("5400")),
        ReportedExpiry::Raw(json!("soon")),
        ReportedExpiry::Raw(json!(null)),
        ReportedExpiry::Raw(json!(10)),
        ReportedExpiry::Raw(json!(900)),
        ReportedExpiry::Raw(json!(1e12)),
    ];
    for reported in absurd {
        let rig = Rig::start().await;
        rig.procore
            .set_policy(|policy| policy.reported_expiry = reported.clone());
        let connection = rig.signed_in(SANDBOX).await;
        rig.procore.clear_requests();
        for _ in 0..600 {
            connection.access_token().await.expect("a token");
            rig.advance(Duration::from_secs(1));
        }
        let visit = connection.upkeep(None).await.expect("a visit");
        assert!(visit.come_back_at >= rig.clock.now() + 1000);
        // At worst one in 48 s: 80 % of the shortest lifetime that is believed.
        assert!(rig.procore.token_posts() <= 13, "{reported:?}");
    }
}

#[tokio::test]
async fn s45_a_lifetime_that_is_shorter_than_stated_is_dealt_with_by_one_renewal() {
    let rig = Rig::start().await;
    rig.procore.set_policy(|policy| {
        policy.reported_expiry = ReportedExpiry::Raw(json!(1e12));
        policy.lifetime_seconds = 900;
    });
    let connection = rig.signed_in(SANDBOX).await;
    rig.procore.clear_requests();
    for _ in 0..8 {
        assert_eq!(
            answered(connection.send(ApiRequest::get(ME)).await).status,
            200
        );
        rig.advance(15 * MINUTE);
    }
    assert_eq!(rig.procore.token_posts(), 7);
}

#[tokio::test]
async fn s46_a_server_that_returns_the_same_old_token_is_not_spun_on() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(SANDBOX).await;
    rig.procore.clear_requests();
    let same = Fault::same_token();
    rig.procore.inject_times(10_000, &Target::Token, &same);
    rig.advance_to_refresh();
    for _ in 0..18 * 60 {
        connection.access_token().await.expect("a token");
        rig.advance(Duration::from_secs(1));
    }
    // The rest of its life: 864 s on, then 172 s, then at most once in 48 s.
    let posts = rig.procore.token_posts();
    assert!((2..=6).contains(&posts), "{posts} posts");
    rig.procore.clear_faults();
    rig.advance(MINUTE);
    serves_what_lives(&rig, &connection).await;
}

#[tokio::test]
async fn s47_an_hourly_tick_leaves_no_dark_window() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let tick = rig.on_store(store.clone());
    rig.sign_in(&tick).await;
    rig.procore.clear_requests();
    let hours = 48;
    for _ in 0..hours {
        let visit = tick.upkeep(Some(HOUR)).await.expect("a visit");
        let times = visit.status.token.expect("a token");
        assert!(times.expires_at > rig.clock.now() + 3_600_000);
        for _ in 0..60 {
            rig.advance(MINUTE);
            let token = stored::access_token(&store).await;
            let live = rig.procore.access_token_is_live(fake(SANDBOX), &token);
            assert!(live, "dark at {}", rig.clock.now());
        }
    }
    assert_eq!(rig.procore.token_posts(), hours - 1);
}

#[tokio::test]
async fn s47_ticks_that_are_too_rare_for_the_lifetime_are_told() {
    let rig = Rig::start().await;
    rig.procore
        .set_policy(|policy| policy.lifetime_seconds = 900);
    let connection = rig.signed_in(SANDBOX).await;
    let visit = connection.upkeep(Some(HOUR)).await.expect("a visit");
    let codes = rig.journal.codes();
    assert!(codes.contains(&"visits-too-rare".to_owned()), "{codes:?}");
    assert!(visit.come_back_at < rig.clock.now() + 900_000);
    // Callers refresh by themselves meanwhile.
    rig.advance(30 * MINUTE);
    serves_what_lives(&rig, &connection).await;
}

#[tokio::test]
async fn s47_a_keeper_that_comes_when_it_is_told_refreshes_once_per_lifetime() {
    let rig = Rig::start().await;
    let keeper = rig.signed_in(SANDBOX).await;
    rig.procore.clear_requests();
    let day = rig.clock.now() + 24 * 3_600_000;
    let mut visits = 0;
    while rig.clock.now() < day {
        let visit = keeper.upkeep(None).await.expect("a visit");
        assert!(visit.come_back_at > rig.clock.now());
        rig.clock.set(visit.come_back_at);
        visits += 1;
    }
    let due = 24 * 3600 * 10 / (LIFETIME.as_secs() * 8);
    assert_eq!(rig.procore.token_posts() as u64, due - 1);
    assert!(visits <= due + 1);
}
