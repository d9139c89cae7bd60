use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Outbox, OutboxBuilder, Route, SinkName};
use crate::{Clock, Environment, Event, Journal, Severity, alerts::alert::tests::event};

/// A clock that stands where it is put.
pub(crate) struct Hands(pub(crate) AtomicU64);

#[async_trait::async_trait]
impl Clock for Hands {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending::<()>().await;
    }
}

/// A journal that remembers.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<Event>>);

impl Told {
    pub(crate) fn codes(&self) -> Vec<String> {
        let told = self.0.lock().expect("not poisoned");
        told.iter().map(|event| event.code.clone()).collect()
    }

    /// Checks that this was told as an alert, with its cause and what to do.
    pub(crate) fn explains(&self, code: &str) {
        let told = self.0.lock().expect("not poisoned");
        let event = told.iter().find(|event| event.code == code).expect(code);
        assert_eq!(event.severity, Severity::Alert, "{event:?}");
        for wanted in ["cause", "remedy"] {
            let field = event.fields.iter().find(|(name, _)| name == wanted);
            let (_, text) = field.unwrap_or_else(|| panic!("{wanted}: {event:?}"));
            assert!(!text.is_empty(), "{wanted}: {event:?}");
        }
    }
}

impl Journal for Told {
    fn record(&self, _: &str, event: &Event) {
        self.0.lock().expect("not poisoned").push(event.clone());
    }
}

pub(crate) const NOW: u64 = 1_795_392_000_123;

/// An outbox with its clock and its journal.
pub(crate) struct Setting {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<Hands>,
    pub(crate) told: Arc<Told>,
}

impl Setting {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(Hands(AtomicU64::new(NOW))),
            told: Arc::default(),
        }
    }

    /// Returns the outbox of one more process.
    pub(crate) fn outbox(&self, configure: impl Fn(OutboxBuilder) -> OutboxBuilder) -> Arc<Outbox> {
        let builder = Outbox::builder(self.path("outbox"))
            .clock(self.clock.clone())
            .journal(self.told.clone());
        configure(builder).build()
    }

    pub(crate) fn to_ops(&self) -> Arc<Outbox> {
        self.outbox(|builder| builder.route(Route::to(sink("ops"))))
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn step(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).expect("short");
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }
}

pub(crate) fn sink(name: &str) -> SinkName {
    name.parse().expect("a name")
}

pub(crate) fn alert(code: &str) -> Event {
    event(Severity::Alert, code)
}

fn codes(outbox: &Outbox, name: &str) -> Vec<String> {
    let pending = outbox.pending(&sink(name)).expect("readable");
    pending.into_iter().map(|p| p.alert.code).collect()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_recorded_is_there_for_another_process_in_order() {
    let setting = Setting::new();
    let outbox = setting.to_ops();
    for code in ["a", "b", "c"] {
        outbox.record("acme", &alert(code));
    }
    outbox.record("acme", &event(Severity::Warning, "refresh-failed"));
    outbox.record("acme", &event(Severity::Info, "recovered"));
    assert_eq!(
        codes(&setting.to_ops(), "ops"),
        ["a", "b", "c", "recovered"]
    );
    assert_eq!(*outbox.recorded().borrow(), 4);
}

#[test]
fn a_clock_that_is_set_back_does_not_change_the_order() {
    let setting = Setting::new();
    setting.to_ops().record("acme", &alert("a"));
    setting.clock.0.store(0, Ordering::SeqCst);
    setting.to_ops().record("acme", &alert("b"));
    setting.clock.0.store(u64::MAX, Ordering::SeqCst);
    setting.to_ops().record("acme", &alert("c"));
    setting.to_ops().record("acme", &alert("d"));
    assert_eq!(codes(&setting.to_ops(), "ops"), ["a", "b", "c", "d"]);
}

#[test]
fn each_sink_gets_the_connections_that_it_is_for() {
    let setting = Setting::new();
    let outbox = setting.outbox(|builder| {
        builder
            .route(Route::to(sink("all")))
            .route(Route::to(sink("one")).only(["acme".parse().expect("a name")]))
    });
    outbox.record("acme", &alert("a"));
    outbox.record("other", &alert("b"));
    assert_eq!(codes(&outbox, "all"), ["a", "b"]);
    assert_eq!(codes(&outbox, "one"), ["a"]);
    let waiting = outbox.waiting().expect("readable");
    assert_eq!(waiting.len(), 3);
    assert_eq!(
        waiting[0].alert.id, waiting[2].alert.id,
        "one id for all sinks"
    );
    assert_eq!(outbox.discard(&waiting[0].alert.id).expect("works"), 2);
    assert_eq!(codes(&outbox, "all"), ["b"]);
}

#[test]
fn an_outbox_without_routes_writes_nothing() {
    let setting = Setting::new();
    setting
        .outbox(|builder| builder)
        .record("acme", &alert("a"));
    assert!(!setting.path("outbox").exists());
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let setting = Setting::new();
    setting.to_ops().record("acme", &alert("a"));
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let folder = setting.path("outbox/ops");
    assert_eq!(mode(&setting.path("outbox")), 0o700);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join(&files(&folder)[0])), 0o600);
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_read_is_not_used_and_nothing_is_lost() {
    use std::os::unix::fs::PermissionsExt as _;
    let setting = Setting::new();
    fs::create_dir(setting.path("outbox")).expect("created");
    let set = |mode| {
        fs::set_permissions(setting.path("outbox"), fs::Permissions::from_mode(mode)).expect("set");
    };
    set(0o755);
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    assert_eq!(setting.told.codes(), ["alert-not-stored"]);
    setting.told.explains("alert-not-stored");
    assert_eq!(codes(&outbox, "ops"), ["a"], "held in memory");
    assert!(codes(&setting.to_ops(), "ops").is_empty());
    set(0o700);
    outbox.store_held(&sink("ops"));
    assert_eq!(codes(&setting.to_ops(), "ops"), ["a"]);
    assert_eq!(codes(&outbox, "ops"), ["a"], "once");
}

#[test]
fn the_oldest_is_dropped_and_told_where_too_many_wait() {
    let setting = Setting::new();
    let few = |builder: OutboxBuilder| builder.route(Route::to(sink("ops"))).most(2);
    let outbox = setting.outbox(few);
    for code in ["a", "b", "c"] {
        outbox.record("acme", &alert(code));
    }
    assert_eq!(codes(&outbox, "ops"), ["b", "c"]);
    setting.told.explains("alert-overflow");
    let told = setting.told.0.lock().expect("not poisoned");
    assert_eq!(told.len(), 1);
    assert!(
        told[0]
            .fields
            .contains(&("alert".to_owned(), "a".to_owned()))
    );
}

#[test]
fn too_many_in_memory_are_dropped_and_told_too() {
    let setting = Setting::new();
    // A file in place of the folder: nothing can be stored, whoever asks.
    fs::write(setting.path("outbox"), "").expect("written");
    let few = |builder: OutboxBuilder| builder.route(Route::to(sink("ops"))).most(2);
    let outbox = setting.outbox(few);
    for code in ["a", "b", "c"] {
        outbox.record("acme", &alert(code));
    }
    setting.told.explains("alert-overflow");
    fs::remove_file(setting.path("outbox")).expect("removed");
    assert_eq!(codes(&outbox, "ops"), ["b", "c"]);
}

#[test]
fn a_damaged_file_is_set_aside_and_told_once() {
    let setting = Setting::new();
    let outbox = setting.to_ops();
    for code in ["a", "b"] {
        outbox.record("acme", &alert(code));
    }
    let folder = setting.path("outbox/ops");
    let first = folder.join(&files(&folder)[0]);
    let whole = fs::read(&first).expect("readable");
    fs::write(&first, &whole[..whole.len() / 2]).expect("torn");
    for _ in 0..2 {
        assert_eq!(codes(&outbox, "ops"), ["b"]);
    }
    assert_eq!(setting.told.codes(), ["alert-damaged"]);
    setting.told.explains("alert-damaged");
    assert!(
        files(&folder)
            .iter()
            .any(|name| name.starts_with("damaged-"))
    );
}

/// Lets others read the file of the oldest alert; returns its path.
#[cfg(unix)]
fn open_to_others(setting: &Setting) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = setting.path("outbox/ops");
    let first = folder.join(&files(&folder)[0]);
    fs::set_permissions(&first, fs::Permissions::from_mode(0o644)).expect("set");
    first
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_stays_and_the_others_go_on() {
    let setting = Setting::new();
    let outbox = setting.to_ops();
    for code in ["a", "b"] {
        outbox.record("acme", &alert(code));
    }
    let first = open_to_others(&setting);
    assert_eq!(codes(&outbox, "ops"), ["b"]);
    let report = outbox.report().expect("readable").remove(0);
    assert_eq!((report.waiting, report.overdue), (1, true));
    let unusable = &report.unusable[0];
    assert_eq!(unusable.failure.code, "insecure-permissions");
    for _ in 0..2 {
        outbox.tell_of_unusable(&sink("ops")).expect("listed");
    }
    assert_eq!(setting.told.codes(), ["alert-unreadable"]);
    setting.told.explains("alert-unreadable");

    let without = setting.outbox(|builder| builder);
    let orphan = without.report().expect("readable").remove(0);
    assert_eq!(orphan.unusable.len(), 1, "of a sink without a route too");
    assert_eq!(outbox.discard(&unusable.id).expect("works"), 1);
    assert!(!first.exists());
    assert_eq!(codes(&outbox, "ops"), ["b"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_can_be_read_again_is_delivered() {
    use std::os::unix::fs::PermissionsExt as _;
    let setting = Setting::new();
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    let first = open_to_others(&setting);
    assert!(codes(&outbox, "ops").is_empty());
    fs::set_permissions(first, fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(codes(&outbox, "ops"), ["a"]);
}

#[test]
fn a_damaged_file_is_set_aside_and_told_where_too_many_wait_too() {
    let setting = Setting::new();
    let outbox = setting.outbox(|builder| builder.route(Route::to(sink("ops"))).most(2));
    for code in ["a", "b"] {
        outbox.record("acme", &alert(code));
    }
    let folder = setting.path("outbox/ops");
    let first = folder.join(&files(&folder)[0]);
    fs::write(&first, "{\"id\":").expect("torn");
    outbox.record("acme", &alert("c"));
    assert_eq!(setting.told.codes(), ["alert-damaged"]);
    assert_eq!(codes(&outbox, "ops"), ["b", "c"]);
}

#[test]
fn what_was_delivered_is_deleted_once_that_works_and_never_delivered_again() {
    let setting = Setting::new();
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    let delivered = outbox.pending(&sink("ops")).expect("readable").remove(0);
    // The disk did not let it be deleted then.
    outbox.memory().note_delivered(&sink("ops"), &delivered);
    assert!(codes(&outbox, "ops").is_empty());
    assert_eq!(codes(&setting.to_ops(), "ops"), ["a"]);
    outbox.delete_delivered(&sink("ops"));
    assert!(codes(&setting.to_ops(), "ops").is_empty());
    assert!(outbox.memory().delivered(&sink("ops")).is_empty());
}

#[test]
fn an_alert_names_the_environment_that_was_told_last() {
    let setting = Setting::new();
    let acme = "acme".parse().expect("a name");
    let outbox = setting.outbox(|builder| {
        let builder = builder.route(Route::to(sink("ops")));
        builder.environment(&acme, Environment::Sandbox)
    });
    outbox.record("acme", &alert("a"));
    outbox.set_environment(&acme, Environment::Production);
    outbox.record("acme", &alert("b"));
    let pending = outbox.pending(&sink("ops")).expect("readable");
    let named: Vec<_> = pending.iter().map(|p| p.alert.environment).collect();
    assert_eq!(
        named,
        [Some(Environment::Sandbox), Some(Environment::Production)]
    );
}

#[test]
fn what_a_writer_left_that_died_is_no_alert_and_goes_after_a_while() {
    let setting = Setting::new();
    let outbox = setting.to_ops();
    outbox.record("acme", &alert("a"));
    let folder = setting.path("outbox/ops");
    let left = folder.join(".tmp-abc");
    fs::write(&left, "{\"id\":").expect("written");
    assert_eq!(codes(&outbox, "ops"), ["a"]);
    outbox.tidy(&sink("ops"));
    assert!(left.exists(), "its writer may be alive");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    let file = fs::File::options().write(true).open(&left).expect("there");
    file.set_modified(long_ago).expect("set");
    outbox.tidy(&sink("ops"));
    assert!(!left.exists());
}

#[test]
fn the_report_tells_what_waits_and_whether_that_is_wrong() {
    let setting = Setting::new();
    let outbox = setting.to_ops();
    let report = || outbox.report().expect("readable").remove(0);
    assert_eq!((report().waiting, report().overdue), (0, false));
    outbox.record("acme", &alert("a"));
    assert_eq!(
        (report().waiting, report().overdue),
        (1, false),
        "on its way"
    );
    setting.step(Duration::from_secs(121));
    assert!(report().overdue, "nobody has tried");
    assert_eq!(report().oldest, Some(NOW));
    let without = setting.outbox(|builder| builder);
    let orphan = without.report().expect("readable").remove(0);
    assert_eq!((orphan.waiting, orphan.routed), (1, false));
}
