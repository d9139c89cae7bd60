//! The keeper in virtual time: tokio's clock is paused, and moves on to the next timer when all tasks wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{AT_ONCE, Keeper, Visitor};
use crate::{Clock, ConnectionName};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const BEGIN: u64 = 1_795_392_000_000;

/// Tokio's paused clock, with a wall clock beside it that can be set.
struct Wall {
    start: Instant,
    set: AtomicI64,
    asleep: AtomicUsize,
}

impl Wall {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            set: AtomicI64::new(0),
            asleep: AtomicUsize::new(0),
        })
    }

    fn set_by(&self, milliseconds: i64) {
        self.set.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Wall {
    fn now(&self) -> u64 {
        let passed = u64::try_from(self.elapsed().as_millis()).expect("short");
        (BEGIN + passed).saturating_add_signed(self.set.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.asleep.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(duration).await;
    }
}

/// Notes when it came to whom, and comes back after a fixed time.
struct Diary {
    clock: Arc<Wall>,
    every: u64,
    takes: Duration,
    visits: Mutex<BTreeMap<ConnectionName, Vec<u64>>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    pulses: AtomicUsize,
    panics: Mutex<Vec<ConnectionName>>,
}

impl Diary {
    fn new(clock: &Arc<Wall>, every: u64, takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            every,
            takes,
            visits: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            pulses: AtomicUsize::new(0),
            panics: Mutex::default(),
        })
    }

    /// Returns when this connection was visited, in minutes from the beginning.
    fn minutes(&self, connection: &str) -> Vec<u64> {
        let visits = self.visits.lock().expect("not poisoned");
        let moments = visits.get(&name(connection)).cloned().unwrap_or_default();
        moments.iter().map(|at| (at - BEGIN) / MINUTE).collect()
    }
}

#[async_trait]
impl Visitor for Diary {
    async fn visit(&self, name: &ConnectionName) -> u64 {
        let now = self.clock.now();
        {
            let mut visits = self.visits.lock().expect("not poisoned");
            visits.entry(name.clone()).or_default().push(now);
        }
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        assert!(name.as_str() != "panics", "as wished");
        now + self.every
    }

    fn panicked(&self, name: &ConnectionName) {
        self.panics.lock().expect("not poisoned").push(name.clone());
    }

    fn pulse(&self) {
        self.pulses.fetch_add(1, Ordering::SeqCst);
    }
}

fn name(text: &str) -> ConnectionName {
    text.parse().expect("a name")
}

async fn after(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

fn keeper_of(clock: &Arc<Wall>, connections: &[&str]) -> Keeper {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let keeper = Keeper::new(clock, None);
    for connection in connections {
        keeper.add(&name(connection));
    }
    keeper
}

#[tokio::test(start_paused = true)]
async fn each_is_visited_when_its_last_visit_said() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
    let keeper = keeper_of(&clock, &["acme", "other"]);
    keeper.run(diary.clone(), after(3 * HOUR)).await;
    assert_eq!(diary.minutes("acme"), [0, 72, 144]);
    assert_eq!(diary.minutes("other"), [0, 72, 144]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_are_well_cost_no_more_waiting_than_one() {
    let mut waits = Vec::new();
    for size in [1, 1000] {
        let clock = Wall::new();
        let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
        let keeper = keeper_of(&clock, &[]);
        for number in 0..size {
            keeper.add(&name(&format!("c{number}")));
        }
        let first_round = after(MINUTE);
        keeper.run(diary.clone(), first_round).await;
        clock.asleep.store(0, Ordering::SeqCst);
        keeper.run(diary.clone(), after(HOUR)).await;
        waits.push(clock.asleep.load(Ordering::SeqCst));
    }
    assert_eq!(waits[0], waits[1]);
}

#[tokio::test(start_paused = true)]
async fn s48_a_thousand_that_are_due_at_once_are_visited_a_few_at_a_time_and_each_once() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, HOUR, Duration::from_secs(1));
    let keeper = keeper_of(&clock, &[]);
    for number in 0..1000 {
        keeper.add(&name(&format!("c{number}")));
    }
    keeper.run(diary.clone(), after(30 * MINUTE)).await;
    assert_eq!(diary.most_under_way.load(Ordering::SeqCst), AT_ONCE);
    let visits = diary.visits.lock().expect("not poisoned");
    assert_eq!(visits.len(), 1000);
    assert!(visits.values().all(|moments| moments.len() == 1));
    let last = visits.values().flatten().max().expect("visited");
    assert!(*last < BEGIN + MINUTE, "32 at a time, a second each");
}

#[tokio::test(start_paused = true)]
async fn s44_after_a_suspension_what_fell_due_is_visited_within_a_minute() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
    let keeper = keeper_of(&clock, &["acme"]);
    let stop = async {
        after(10 * MINUTE).await;
        // The monotonic clock stood still meanwhile.
        clock.set_by(i64::try_from(8 * HOUR).expect("small"));
        after(MINUTE).await;
    };
    keeper.run(diary.clone(), stop).await;
    let minutes = diary.minutes("acme");
    assert_eq!(minutes.len(), 2, "{minutes:?}");
    assert!((490..=491).contains(&minutes[1]), "{minutes:?}");
}

#[tokio::test(start_paused = true)]
async fn s44_a_clock_that_was_set_back_delays_no_visit() {
    for minutes in [10, 60] {
        let clock = Wall::new();
        let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
        let keeper = keeper_of(&clock, &["acme"]);
        let stop = async {
            after(70 * MINUTE).await;
            clock.set_by(-minutes * i64::try_from(MINUTE).expect("small"));
            after(MINUTE).await;
        };
        keeper.run(diary.clone(), stop).await;
        assert_eq!(diary.minutes("acme").len(), 2, "{minutes}");
    }
}

#[tokio::test(start_paused = true)]
async fn s44_a_clock_that_is_only_slewed_changes_nothing() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
    let keeper = keeper_of(&clock, &["acme"]);
    let stop = async {
        for _ in 0..60 {
            after(MINUTE).await;
            clock.set_by(-30);
        }
    };
    keeper.run(diary.clone(), stop).await;
    assert_eq!(diary.minutes("acme"), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_visit_that_is_asked_for_comes_at_once_and_a_removed_connection_is_left_alone() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
    let keeper = keeper_of(&clock, &["acme", "gone"]);
    let stop = async {
        after(5 * MINUTE).await;
        keeper.visit_now(&name("acme"));
        keeper.visit_now(&name("stranger"));
        keeper.remove(&name("gone"));
        after(2 * HOUR).await;
    };
    keeper.run(diary.clone(), stop).await;
    assert_eq!(diary.minutes("acme"), [0, 5, 77]);
    assert_eq!(diary.minutes("gone"), [0]);
    assert!(diary.minutes("stranger").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_visit_that_panics_is_made_again_and_stops_nobody() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, 72 * MINUTE, Duration::ZERO);
    let keeper = keeper_of(&clock, &["acme", "panics"]);
    keeper.run(diary.clone(), after(73 * MINUTE)).await;
    assert_eq!(diary.minutes("acme"), [0, 72]);
    let panicked = diary.minutes("panics").len();
    assert!(panicked > 60);
    let told = diary.panics.lock().expect("not poisoned");
    assert_eq!(*told, vec![name("panics"); panicked]);
}

#[tokio::test(start_paused = true)]
async fn s23_the_end_waits_for_the_visits_that_are_under_way() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, HOUR, Duration::from_secs(30));
    let keeper = keeper_of(&clock, &["acme"]);
    keeper.run(diary.clone(), after(1000)).await;
    assert_eq!(diary.under_way.load(Ordering::SeqCst), 0);
    assert_eq!(clock.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn the_loop_shows_that_it_is_alive_while_nothing_is_due_and_while_it_ends() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, HOUR, Duration::from_secs(60));
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let keeper = Keeper::new(shared, Some(Duration::from_secs(10)));
    keeper.run(diary.clone(), after(MINUTE + 1)).await;
    assert_eq!(diary.pulses.load(Ordering::SeqCst), 7);
    keeper.add(&name("acme"));
    keeper.run(diary.clone(), after(1)).await;
    assert_eq!(clock.elapsed().as_secs(), 120);
    assert!(diary.pulses.load(Ordering::SeqCst) >= 13);
}

#[tokio::test(start_paused = true)]
async fn s44_the_loop_shows_that_it_is_alive_as_soon_as_a_suspension_has_ended() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, HOUR, Duration::ZERO);
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let keeper = Keeper::new(shared, Some(Duration::from_secs(300)));
    let stop = async {
        after(MINUTE).await;
        clock.set_by(i64::try_from(8 * HOUR).expect("small"));
        after(MINUTE).await;
    };
    keeper.run(diary.clone(), stop).await;
    assert_eq!(diary.pulses.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn s44_a_clock_that_was_set_back_delays_no_sign_of_life() {
    let clock = Wall::new();
    let diary = Diary::new(&clock, HOUR, Duration::ZERO);
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let keeper = Keeper::new(shared, Some(Duration::from_secs(300)));
    let stop = async {
        after(MINUTE).await;
        clock.set_by(-i64::try_from(8 * HOUR).expect("small"));
        after(4 * MINUTE + 1).await;
    };
    keeper.run(diary.clone(), stop).await;
    assert_eq!(diary.pulses.load(Ordering::SeqCst), 2);
}
