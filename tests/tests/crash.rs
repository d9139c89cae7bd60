//! Sections A and B with real processes: killed at random moments, hundreds of times. `cargo xtask crash` does it for longer.
#![cfg(unix)]

use std::time::Duration;

use fake_procore::Rotation;
use procore_auth_tests::crash::{self, Plan};

const KILLS: usize = 150;

/// Prints what happened: a seed that fails is worth a longer run.
async fn kill_at_random_moments(rotation: Rotation) {
    let plan = Plan {
        worker: env!("CARGO_BIN_EXE_crash-worker").into(),
        processes: 8,
        kills: KILLS,
        rotation,
        seed: fastrand::u64(..),
        speed: 5000,
        pause: Duration::from_millis(30),
        lifetime: Plan::SHORTEST_LIFETIME,
        lasting: Duration::ZERO,
    };
    match crash::run(plan).await {
        Ok(report) => {
            println!("{report}");
            assert_eq!(report.killed(), KILLS);
            // About one kill in nine does.
            assert!(report.interrupted() > 0, "no kill hit a refresh");
        }
        Err(breach) => panic!("{breach}"),
    }
}

/// Tokens of 90 minutes fall due some 600 times in 30 days; a machine that is slow for so fast a clock comes late to some.
#[tokio::test(flavor = "multi_thread")]
async fn s2_eight_processes_share_one_sign_in_for_30_days() {
    let day = Duration::from_secs(86_400);
    let plan = Plan {
        worker: env!("CARGO_BIN_EXE_crash-worker").into(),
        processes: 8,
        kills: 0,
        rotation: Rotation::Strict,
        seed: fastrand::u64(..),
        speed: 60_000,
        pause: Duration::ZERO,
        lifetime: Duration::from_secs(5400),
        lasting: 30 * day,
    };
    let report = crash::run(plan)
        .await
        .unwrap_or_else(|breach| panic!("{breach}"));
    println!("{report}");
    let soonest = 5400 * 7 / 10;
    let most = usize::try_from(30 * day.as_secs() / soonest).expect("small");
    assert!((100..=most).contains(&report.refreshes), "{report}");
    assert_eq!(report.posts, report.refreshes, "a POST was refused");
    assert_eq!((report.sign_ins, report.lost), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_s9_s15_killed_processes_lose_nothing_but_the_reply_on_its_way() {
    kill_at_random_moments(Rotation::Strict).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_s9_s15_where_procore_has_grace_killed_processes_lose_nothing() {
    kill_at_random_moments(Rotation::Grace).await;
}
