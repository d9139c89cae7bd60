//! Section E: clocks that jump, lifetimes that make no sense, visits that come too rarely.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use fake_procore::{Fault, Options, Reply, ReportedExpiry, Target};
use procore_auth_host::{ApiRequest, Connection, MemoryStore, Policy};
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

/// Many connections, each with a store of its own, that have refreshed at least once: in one and the same minute.
async fn crowd(rig: &Rig, size: usize) -> Vec<Connection> {
    let settings = Rig::settings_with(|settings| settings.policy = Policy::default());
    let mut crowd = Vec::new();
    for _ in 0..size {
        let connection = rig.builder(settings.clone()).build().expect("complete");
        let pair = rig
            .procore
            .issue_pair(fake(SANDBOX), &settings.client_id, Options::DEMO_USER);
        let reply = pair.expect("registered").to_json().to_string();
        let adopted = connection.adopt(reply.into_bytes(), false).await;
        adopted.expect("taken over");
        crowd.push(connection);
    }
    crowd
}

/// Lets each connection's keeper come when it is told, until `end`.
async fn keep_all(rig: &Rig, crowd: &[Connection], due: &mut Due, end: u64) {
    while due.peek().is_some_and(|Reverse((at, _))| *at < end) {
        let Some(Reverse((at, who))) = due.pop() else {
            break;
        };
        rig.clock.set(at);
        let visit = crowd[who].upkeep(None).await.expect("a visit");
        due.push(Reverse((visit.come_back_at, who)));
    }
    rig.clock.set(end);
}

/// Whose visit is next.
type Due = BinaryHeap<Reverse<(u64, usize)>>;

/// Counts the most events in any second.
fn most_in_a_second(moments: &[u64]) -> usize {
    let mut seconds: HashMap<u64, usize> = HashMap::new();
    for moment in moments {
        *seconds.entry(moment / 1000).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or_default()
}

#[tokio::test]
async fn s48_a_thousand_connections_come_back_from_an_outage_without_a_herd() {
    const CROWD: usize = 1000;
    let rig = Rig::start().await;
    let crowd = crowd(&rig, CROWD).await;
    let outage = rig.clock.now() + milliseconds(LIFETIME * 8 / 10 - MINUTE);
    let mut due: Due = (0..CROWD).map(|who| Reverse((outage, who))).collect();
    rig.procore.clear_requests();

    let down = Fault::uncommitted(Reply::empty(503));
    rig.procore.inject_times(100 * CROWD, &Target::Token, &down);
    let back = outage + milliseconds(3 * MINUTE);
    keep_all(&rig, &crowd, &mut due, back).await;
    let tried = posts(&rig);
    assert!(
        tried.len() > CROWD && tried.len() < 5 * CROWD,
        "{}",
        tried.len()
    );
    assert!(most_in_a_second(&tried) < CROWD / 10);

    rig.procore.clear_faults();
    rig.procore.clear_requests();
    keep_all(&rig, &crowd, &mut due, back + milliseconds(6 * MINUTE)).await;
    let refreshed = posts(&rig);
    assert_eq!(refreshed.len(), CROWD, "one each");
    assert_eq!(rig.procore.rotations(), CROWD);
    assert!(most_in_a_second(&refreshed) < CROWD / 10);
}

/// Returns when requests for tokens came.
fn posts(rig: &Rig) -> Vec<u64> {
    let requests = rig.procore.requests().into_iter();
    let posts = requests.filter(fake_procore::Recorded::is_token_post);
    posts.map(|request| request.at_ms).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("short")
}
