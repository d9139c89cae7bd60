use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};

use super::{Courier, LONGEST_PAUSE, Sink, SinkName, Undelivered};
use crate::{
    Journal as _, Severity,
    alerts::{
        Alert, Outbox,
        alert::tests::event,
        outbox::tests::{Setting, alert, sink},
    },
};

type Answer = Result<String, Undelivered>;

/// Answers as its script says, and takes everything after that.
struct Scripted {
    name: SinkName,
    answers: Mutex<VecDeque<Answer>>,
    refuses: Mutex<Option<String>>,
    tried: Mutex<Vec<Alert>>,
    taken: Mutex<Vec<Alert>>,
    heard: Notify,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self {
            name: sink("ops"),
            answers: Mutex::new(answers.into_iter().collect()),
            refuses: Mutex::default(),
            tried: Mutex::default(),
            taken: Mutex::default(),
            heard: Notify::new(),
        })
    }

    fn refuse(&self, code: Option<&str>) {
        *self.refuses.lock().expect("not poisoned") = code.map(str::to_owned);
    }

    fn tries(&self) -> usize {
        self.tried.lock().expect("not poisoned").len()
    }

    fn taken(&self) -> Vec<String> {
        let taken = self.taken.lock().expect("not poisoned");
        taken.iter().map(|alert| alert.code.clone()).collect()
    }
}

#[async_trait]
impl Sink for Scripted {
    fn name(&self) -> &SinkName {
        &self.name
    }

    async fn deliver(&self, alert: &Alert, _: Duration) -> Answer {
        self.tried.lock().expect("not poisoned").push(alert.clone());
        self.heard.notify_one();
        let refused = self.refuses.lock().expect("not poisoned").clone();
        if refused.as_ref() == Some(&alert.code) {
            return Err(Undelivered::refused("refused"));
        }
        let scripted = self.answers.lock().expect("not poisoned").pop_front();
        let answer = scripted.unwrap_or_else(|| Ok("ok".to_owned()));
        if answer.is_ok() {
            self.taken.lock().expect("not poisoned").push(alert.clone());
        }
        answer
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

fn courier(outbox: &Arc<Outbox>, sink: &Arc<Scripted>) -> Courier {
    Courier::new(Arc::clone(outbox), [Arc::clone(sink) as Arc<dyn Sink>])
}

fn down() -> Answer {
    Err(Undelivered::unreachable("no connection"))
}

fn failing() -> Answer {
    Err(Undelivered::failing("answered 500", None))
}

#[tokio::test]
async fn s39_a_sink_that_is_down_gets_each_alert_once_when_it_is_back() {
    let setting = Setting::new();
    let sink = Scripted::new([down(), down(), down()]);
    setting.to_ops().record("acme", &alert("a"));
    setting
        .to_ops()
        .record("acme", &event(Severity::Info, "recovered"));
    for failures in 1..=3 {
        // Another process each time.
        let outbox = setting.to_ops();
        courier(&outbox, &sink).drain(PATIENCE).await;
        let report = outbox.report().expect("readable").remove(0);
        assert_eq!((report.waiting, report.failures), (2, failures));
        assert_eq!(report.last_error.as_deref(), Some("no connection"));
        assert!(report.overdue && report.next_try_at.is_some());
        courier(&outbox, &sink).drain(PATIENCE).await;
        assert_eq!(sink.tries(), failures as usize, "the pause counts for all");
        setting.step(Duration::from_secs(30));
    }
    let outbox = setting.to_ops();
    for _ in 0..2 {
        courier(&outbox, &sink).drain(PATIENCE).await;
    }
    assert_eq!(sink.taken(), ["a", "recovered"], "once, in order");
    assert_eq!(sink.tries(), 5);
    let report = outbox.report().expect("readable").remove(0);
    assert_eq!(
        (report.waiting, report.failures, report.overdue),
        (0, 0, false)
    );
    assert_eq!(
        setting.told.codes(),
        ["alert-sink-down", "alert-delivered", "alert-delivered"],
        "an outage of the sink is told once"
    );
    let tried = sink.tried.lock().expect("not poisoned");
    assert!(tried[..4].iter().all(|alert| alert.id == tried[0].id));
}

#[tokio::test]
async fn what_the_sink_asks_for_is_honoured() {
    let setting = Setting::new();
    let hour = Some(Duration::from_secs(3600));
    let sink = Scripted::new([Err(Undelivered::failing("answered 429", hour))]);
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    courier(&outbox, &sink).drain(PATIENCE).await;
    setting.step(Duration::from_secs(3599));
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.tries(), 1);
    setting.step(Duration::from_secs(1));
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["a"]);
}

#[tokio::test]
async fn a_sink_that_refuses_everything_is_asked_slowly_and_told_once() {
    let setting = Setting::new();
    let sink = Scripted::new((0..4).map(|_| Err(Undelivered::refused("answered 404"))));
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    outbox.record("acme", &alert("b"));
    for _ in 0..2 {
        courier(&outbox, &sink).drain(PATIENCE).await;
        courier(&outbox, &sink).drain(PATIENCE).await;
        setting.step(LONGEST_PAUSE);
    }
    assert_eq!(sink.tries(), 4, "the first and one more each time");
    assert_eq!(setting.told.codes(), ["alert-refused"]);
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["a", "b"]);
}

#[tokio::test]
async fn a_refused_alert_does_not_hold_up_one_that_comes_later() {
    let setting = Setting::new();
    let sink = Scripted::new([]);
    sink.refuse(Some("poison"));
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("poison"));
    courier(&outbox, &sink).drain(PATIENCE).await;
    setting.step(Duration::from_secs(1));
    outbox.record("acme", &alert("critical"));
    setting.step(sink.first_pause());
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["critical"]);
    assert_eq!(
        sink.tries(),
        3,
        "the sink works: the refused one is tried too"
    );
}

#[tokio::test]
async fn new_alerts_to_a_sink_that_refuses_everything_are_tried_ever_more_rarely() {
    let setting = Setting::new();
    let sink = Scripted::new((0..1000).map(|_| Err(Undelivered::refused("answered 404"))));
    let outbox = setting.to_ops();
    for _ in 0..600 {
        outbox.record("acme", &alert("a"));
        courier(&outbox, &sink).drain(PATIENCE).await;
        setting.step(Duration::from_secs(1));
    }
    assert!(sink.tries() <= 20, "{}", sink.tries());
}

#[tokio::test]
async fn an_alert_that_the_sink_never_takes_steps_aside_and_keeps_nobody_waiting() {
    let setting = Setting::new();
    let sink = Scripted::new([]);
    sink.refuse(Some("poison"));
    let outbox = setting.to_ops();
    for code in ["poison", "b", "c"] {
        outbox.record("acme", &alert(code));
    }
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["b", "c"]);
    outbox.record("acme", &alert("d"));
    for _ in 0..3 {
        courier(&outbox, &sink).drain(PATIENCE).await;
        setting.step(Duration::from_secs(3600));
    }
    assert_eq!(sink.taken(), ["b", "c", "d"]);
    let report = outbox.report().expect("readable").remove(0);
    assert!(report.overdue, "it is not forgotten");
    let told = setting.told.codes();
    let count = |code: &str| told.iter().filter(|told| *told == code).count();
    assert_eq!(
        (count("alert-refused"), count("alert-put-aside")),
        (1, 1),
        "{told:?}"
    );
    sink.refuse(None);
    setting.step(Duration::from_secs(3600));
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["b", "c", "d", "poison"]);
}

#[tokio::test]
async fn a_command_that_fails_on_one_alert_alone_gets_the_next_after_five_failures() {
    let setting = Setting::new();
    let sink = Scripted::new((0..5).map(|_| failing()));
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    outbox.record("acme", &alert("b"));
    for _ in 0..4 {
        courier(&outbox, &sink).drain(PATIENCE).await;
        setting.step(LONGEST_PAUSE);
    }
    assert_eq!(
        (sink.tries(), sink.taken().len()),
        (4, 0),
        "in order until then"
    );
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["b"]);
}

#[tokio::test]
async fn an_alert_that_nobody_takes_for_a_week_is_dropped_and_told() {
    let setting = Setting::new();
    let sink = Scripted::new((0..10).map(|_| failing()));
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    setting.step(Duration::from_secs(100 * 365 * 24 * 3600));
    for tries in 1..10 {
        courier(&outbox, &sink).drain(PATIENCE).await;
        let waiting = outbox.waiting().expect("readable");
        assert_eq!(
            waiting[0].tries, tries,
            "a clock that was set drops nothing"
        );
        setting.step(LONGEST_PAUSE);
    }
    courier(&outbox, &sink).drain(PATIENCE).await;
    assert!(outbox.waiting().expect("readable").is_empty());
    setting.told.explains("alert-expired");
}

#[tokio::test]
async fn a_test_that_arrives_makes_what_waits_due_at_once() {
    let setting = Setting::new();
    let sink = Scripted::new([Err(Undelivered::refused("answered 404"))]);
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    let courier = courier(&outbox, &sink);
    courier.drain(PATIENCE).await;
    courier.works_again(sink.name()).await;
    courier.drain(PATIENCE).await;
    assert_eq!(sink.taken(), ["a"]);
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_stored_is_delivered_all_the_same() {
    let setting = Setting::new();
    // A file in place of the folder: nothing can be stored, whoever asks.
    let sink = Scripted::new([]);
    let outbox = setting.to_ops();
    std::fs::create_dir(setting.path("outbox")).expect("created");
    std::fs::write(setting.path("outbox/ops"), "").expect("written");
    outbox.record("acme", &alert("a"));
    std::fs::remove_file(setting.path("outbox/ops")).expect("removed");
    std::os::unix::fs::symlink(setting.path("nowhere"), setting.path("outbox/ops"))
        .expect("linked");
    for _ in 0..2 {
        courier(&outbox, &sink).drain(PATIENCE).await;
    }
    assert_eq!(sink.taken(), ["a"]);
}

#[tokio::test]
async fn two_processes_do_not_deliver_twice() {
    let setting = Setting::new();
    let sink = Scripted::new([]);
    for number in 0..20 {
        setting
            .to_ops()
            .record("acme", &alert(&format!("a{number:02}")));
    }
    let [one, two] = [setting.to_ops(), setting.to_ops()].map(|outbox| courier(&outbox, &sink));
    tokio::join!(one.drain(PATIENCE), two.drain(PATIENCE));
    let taken = sink.taken();
    assert_eq!(taken.len(), 20, "{taken:?}");
    assert!(taken.is_sorted());
}

#[tokio::test]
async fn a_running_courier_delivers_at_once_and_ends_when_told() {
    let setting = Setting::new();
    let sink = Scripted::new([]);
    let outbox = setting.to_ops();
    let running = courier(&outbox, &sink);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        running.run(async { _ = stopped.await }).await;
    });
    for number in 1..=3 {
        outbox.record("acme", &alert("a"));
        // The clock of this test never moves: only the record can wake it.
        let heard = tokio::time::timeout(PATIENCE, sink.heard.notified()).await;
        heard.expect("at once");
        assert_eq!(sink.tries(), number);
    }
    drop(stop);
    let ended = tokio::time::timeout(PATIENCE, running).await;
    ended.expect("in time").expect("no panic");
    assert!(outbox.waiting().expect("readable").is_empty());
}
