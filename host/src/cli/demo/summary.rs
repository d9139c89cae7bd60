//! The whole story in numbers.

use std::time::Instant;

use serde::Serialize;

use super::stage::Stage;

/// What is counted while the story is played.
pub(super) struct Summary {
    began: Instant,
    /// How many tokens the server thinks that we have, and we have not.
    pub(super) tokens_lost: usize,
}

/// The numbers at the end. The fields are stable.
#[derive(Debug, Serialize)]
pub(super) struct Numbers {
    pub(super) token_posts: usize,
    pub(super) tokens_lost: usize,
    pub(super) alerts: usize,
    pub(super) recovered: usize,
    pub(super) story_minutes: u64,
    pub(super) seconds: f64,
}

impl Summary {
    /// Begins to count, and to take the time.
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            tokens_lost: 0,
        }
    }

    /// Returns the numbers.
    pub(super) fn complete(&self, stage: &Stage) -> Numbers {
        Numbers {
            token_posts: stage.procore.token_posts(),
            tokens_lost: self.tokens_lost,
            alerts: stage.reported.alerts().len(),
            recovered: stage.reported.recoveries().len(),
            story_minutes: stage.clock.minutes(),
            seconds: (self.began.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        }
    }
}
