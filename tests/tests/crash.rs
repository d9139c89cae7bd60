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

#[tokio::test(flavor = "multi_thread")]
async fn s1_s9_s15_killed_processes_lose_nothing_but_the_reply_on_its_way() {
    kill_at_random_moments(Rotation::Strict).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_s9_s15_where_procore_has_grace_killed_processes_lose_nothing() {
    kill_at_random_moments(Rotation::Grace).await;
}
