//! Many callers at once, each of which begins its next call when the last one is answered.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

/// What the callers saw.
pub(crate) struct Load {
    /// The time that half of the calls took at most, in seconds.
    pub(crate) p50: f64,
    /// Calls a second, of all callers together.
    pub(crate) throughput: f64,
}

/// Has so many callers call for `span`.
pub(crate) async fn run<C, F>(callers: usize, span: Duration, caller: impl Fn() -> C) -> Load
where
    C: Fn() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for _ in 0..callers {
        let call = caller();
        tasks.spawn(async move { call_for(start, span, call).await });
    }
    let seen = tasks.join_all().await;
    let took = start.elapsed().as_secs_f64();
    let mut all = histogram();
    for seen in seen {
        all.add(seen).expect("of the same kind");
    }
    let calls = all.len();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    Load {
        p50: all.value_at_quantile(0.5) as f64 / 1e9,
        throughput: calls as f64 / took,
    }
}

async fn call_for<F>(start: Instant, span: Duration, call: impl Fn() -> F) -> Histogram<u64>
where
    F: Future<Output = ()>,
{
    let mut seen = histogram();
    while start.elapsed() < span {
        let begun = Instant::now();
        call().await;
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        seen.saturating_record(took);
    }
    seen
}

/// Of nanoseconds, up to a minute.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("sound bounds")
}
