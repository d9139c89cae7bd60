//! Section B on real file systems: the errors here are the kernel's own.
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use fake_procore::{Fault, Gate, Options, Target, VirtualClock};
use procore_auth_host::{Connection, Error, FileStore, Health, Store as _};
use procore_auth_tests::{
    PausedClock, Rig,
    confined::{self, Confinement},
    crash::{look::Look, workplace::Workplace},
    fast_clock::{FastClock, Pace},
    locks_refused,
    rig::{LIFETIME, SANDBOX, fake},
    small_disk::SmallDisk,
    stored,
};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, Signal, getrlimit, setrlimit},
};
use tempfile::TempDir;

/// Where a store is, and how it is broken and mended.
trait Place {
    fn root(&self) -> &Path;
    fn damage(&self);
    fn mend(&self);
    /// What the trouble is called.
    fn code(&self) -> &'static str;

    fn open(&self) -> FileStore {
        let name = Rig::settings(SANDBOX).name;
        FileStore::open(self.root(), &name).expect("a store")
    }

    fn folder(&self) -> PathBuf {
        self.root().join("acme")
    }
}

/// A disk that is full.
struct Full(SmallDisk);

impl Place for Full {
    fn root(&self) -> &Path {
        self.0.root()
    }

    fn damage(&self) {
        self.0.fill();
    }

    fn mend(&self) {
        self.0.make_room();
    }

    fn code(&self) -> &'static str {
        "full"
    }
}

/// A disk that is read-only.
struct ReadOnly(SmallDisk);

impl Place for ReadOnly {
    fn root(&self) -> &Path {
        self.0.root()
    }

    fn damage(&self) {
        self.0.make_read_only();
    }

    fn mend(&self) {
        self.0.make_writable();
    }

    fn code(&self) -> &'static str {
        "read-only"
    }
}

/// A folder in which this account may not write.
struct Forbidden(TempDir);

impl Place for Forbidden {
    fn root(&self) -> &Path {
        self.0.path()
    }

    fn damage(&self) {
        set_mode(&self.folder(), 0o500);
    }

    fn mend(&self) {
        set_mode(&self.folder(), 0o700);
    }

    fn code(&self) -> &'static str {
        "permission-denied"
    }
}

/// A limit on the size of files that cuts a write short.
struct Limited(TempDir);

impl Place for Limited {
    fn root(&self) -> &Path {
        self.0.path()
    }

    fn damage(&self) {
        limit_file_size(Some(1000));
    }

    fn mend(&self) {
        limit_file_size(None);
    }

    fn code(&self) -> &'static str {
        "io"
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn limit_file_size(current: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).expect("below the maximum");
}

/// A signed-in process on the store, and the clock on which it sleeps.
async fn signed_in(rig: &Rig, place: &impl Place) -> (Connection, PausedClock) {
    let clock = PausedClock::new(&rig.clock);
    let connection = rig
        .builder(Rig::settings(SANDBOX))
        .store(Arc::new(place.open()))
        .clock(Arc::new(clock.clone()))
        .build()
        .expect("complete");
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    (connection, clock)
}

async fn bearer(connection: &Connection) -> Result<String, Error> {
    let token = connection.access_token().await?;
    Ok(token.bearer().expose().to_owned())
}

/// The store breaks before a refresh: nothing is sent, the old token is served while it lives, and then the error names the cause.
/// Whoever keeps the connection alive is told at once.
async fn breaks_before_the_post(place: impl Place) {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig, &place).await;
    let old = bearer(&connection).await.expect("a token");
    rig.advance_to_refresh();
    place.damage();
    for _ in 0..3 {
        assert_eq!(bearer(&connection).await.expect("it lives"), old);
    }
    let error = connection.upkeep(None).await.expect_err("nothing is kept");
    assert_eq!(error.diagnosis().code, place.code());
    let evidence = error.diagnosis().evidence.join("; ");
    assert!(
        evidence.contains("calls still work for 18 min"),
        "{evidence}"
    );
    rig.advance(Duration::from_secs(300));
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::AtRisk);
    rig.advance(LIFETIME / 5);
    for _ in 0..3 {
        let error = bearer(&connection).await.expect_err("it has expired");
        assert!(error.is_storage(), "{error}");
        assert_eq!(error.diagnosis().code, place.code());
        let cause = &error.diagnosis().cause;
        assert!(
            cause.contains(place.root().to_str().expect("text")),
            "{cause}"
        );
    }
    assert_eq!(rig.procore.token_posts(), 0);
    place.mend();
    assert_ne!(bearer(&connection).await.expect("a new one"), old);
    assert_eq!(rig.procore.token_posts(), 1);
}

/// The store breaks while the server answers: the new token is served, people are told, and the pair is saved once it can be.
async fn breaks_before_the_save(place: impl Place) {
    let rig = Rig::start().await;
    let (connection, clock) = signed_in(&rig, &place).await;
    rig.advance_to_refresh();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let refreshing = tokio::spawn({
        let connection = connection.clone();
        async move { bearer(&connection).await }
    });
    gate.arrived(1).await;
    let before = fs::read(place.folder().join("session")).expect("a session");
    place.damage();
    gate.open();
    let new = refreshing.await.expect("no panic").expect("a token");
    assert!(rig.procore.access_token_is_live(fake(SANDBOX), &new));
    assert_eq!(bearer(&connection).await.expect("the same"), new);
    assert_eq!(alerts(&rig), ["tokens-not-saved"]);
    let after = fs::read(place.folder().join("session")).expect("a session");
    assert_eq!(after, before, "nothing could be written");
    place.mend();
    clock.wake();
    connection.saved().await;
    assert_saved(&rig, &place, &new).await;
}

/// Asserts that the pair of the one refresh is in the store, for a process that comes new.
async fn assert_saved(rig: &Rig, place: &impl Place, access_token: &str) {
    let store = place.open();
    assert_eq!(stored::access_token(&store).await, access_token);
    let refresh_token = stored::refresh_token(&store).await;
    let newest = rig.procore.newest_refresh_token(fake(SANDBOX));
    assert_eq!(Some(refresh_token), newest);
    let restarted = rig.on_store(store);
    assert_eq!(bearer(&restarted).await.expect("a token"), access_token);
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(alerts(rig), ["tokens-not-saved"]);
}

fn alerts(rig: &Rig) -> Vec<String> {
    let alerts = rig.journal.alerts().into_iter();
    alerts.map(|alert| alert.code).collect()
}

#[test]
fn s19_a_full_disk_is_found_out_before_the_post() {
    confined::run(Confinement::OwnMounts, || {
        breaks_before_the_post(Full(SmallDisk::mount()))
    });
}

#[test]
fn s19_a_read_only_disk_is_found_out_before_the_post() {
    confined::run(Confinement::OwnMounts, || {
        breaks_before_the_post(ReadOnly(SmallDisk::mount()))
    });
}

#[test]
fn s19_a_lost_permission_is_found_out_before_the_post() {
    confined::run(Confinement::NoPrivileges, || {
        breaks_before_the_post(Forbidden(folder()))
    });
}

#[test]
fn s19_a_disk_that_fills_up_before_the_save_loses_nothing() {
    confined::run(Confinement::OwnMounts, || {
        breaks_before_the_save(Full(SmallDisk::mount()))
    });
}

#[test]
fn s19_a_disk_that_becomes_read_only_before_the_save_loses_nothing() {
    confined::run(Confinement::OwnMounts, || {
        breaks_before_the_save(ReadOnly(SmallDisk::mount()))
    });
}

#[test]
fn s19_a_permission_that_is_lost_before_the_save_loses_nothing() {
    confined::run(Confinement::NoPrivileges, || {
        breaks_before_the_save(Forbidden(folder()))
    });
}

#[test]
fn s20_a_write_that_a_limit_cuts_short_leaves_the_old_generation_whole() {
    confined::run(Confinement::NoFileSizeSignal, || {
        breaks_before_the_save(Limited(folder()))
    });
}

/// Longer than what a process says before its first refresh, shorter than a session.
const SHORT: u64 = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_process_that_is_killed_in_the_middle_of_a_write_leaves_the_old_generation_whole() {
    let pace = Pace::start(5000);
    let options = Options {
        time: pace.time_source(),
        ..Options::demo()
    };
    let rig = Rig::with(options, VirtualClock::at(0)).await;
    let home = folder();
    let (workplace, file) = Workplace::prepare(home.path(), &rig, pace);
    let process = |actor: &str| {
        let builder = rig.builder(Rig::settings(SANDBOX)).actor(actor);
        let builder = builder.store(Arc::new(workplace.open_store()));
        let builder = builder.clock(Arc::new(FastClock::new(pace)));
        builder.build().expect("complete")
    };
    rig.sign_in(&process("person")).await;
    let files = workplace.store.join("acme");
    let before = fs::read(files.join("session")).expect("a session");
    let mut worker = Command::new("prlimit")
        .arg(format!("--fsize={SHORT}"))
        .arg(env!("CARGO_BIN_EXE_crash-worker"))
        .arg(&file)
        .args(["worker", "1"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("util-linux");
    // While its input is open it would never end of its own accord.
    let _input = worker.stdin.take();
    let signal = worker.wait().expect("ours").signal();
    assert_eq!(signal, Some(Signal::XFSZ.as_raw()));
    let torn = || Look::at(&files).map(|look| look.leftovers);
    assert_eq!(torn(), Ok(1));
    let after = fs::read(files.join("session")).expect("a session");
    assert_eq!(after, before);
    let next = process("next");
    bearer(&next).await.expect("a token");
    assert_eq!(torn(), Ok(0), "cleared away");
}

#[test]
fn s11_a_file_system_that_refuses_locks_is_refused() {
    confined::run(Confinement::Alone, || async {
        let (root, name) = (folder(), Rig::settings(SANDBOX).name);
        locks_refused::refuse_locks(Errno::NOLCK);
        let refused = FileStore::open(root.path(), &name).expect_err("no locks");
        assert_eq!(refused.code, "locks-unsupported");
        assert!(refused.message.contains("local disk"), "{refused}");
    });
}

#[test]
fn s11_a_file_system_that_grants_every_lock_is_refused() {
    confined::run(Confinement::Alone, || async {
        let (root, name) = (folder(), Rig::settings(SANDBOX).name);
        locks_refused::grant_locks_to_everybody();
        let refused = FileStore::open(root.path(), &name).expect_err("no locks");
        assert_eq!(refused.code, "locks-unsupported");
        assert!(refused.message.contains("two holders"), "{refused}");
    });
}

#[test]
fn s11_locks_that_are_gone_later_stop_a_refresh() {
    confined::run(Confinement::Alone, || async {
        let rig = Rig::start().await;
        let place = Limited(folder());
        let (connection, _) = signed_in(&rig, &place).await;
        rig.advance_to_expiry();
        locks_refused::refuse_locks(Errno::NOLCK);
        let error = bearer(&connection).await.expect_err("no lock, no refresh");
        assert_eq!(error.diagnosis().code, "locks-unsupported");
        assert_eq!(rig.procore.token_posts(), 0);
    });
}

#[test]
fn s12_a_folder_that_is_mounted_twice_has_one_lock() {
    confined::run(Confinement::OwnMounts, || async {
        let rig = Rig::start().await;
        let (here, there) = (Full(SmallDisk::mount()), Forbidden(folder()));
        here.0.show_at(there.root());
        let (first, _) = signed_in(&rig, &here).await;
        let second = rig.on_store(there.open());
        rig.advance_to_expiry();
        let gate = Gate::closed();
        rig.procore.inject(Target::Token, Fault::hold_after(&gate));
        let refreshing = tokio::spawn(async move { bearer(&first).await });
        gate.arrived(1).await;
        let lock = there.open().lock(Duration::ZERO).await.expect("works");
        assert!(lock.is_none(), "held under the other name");
        let waiting = tokio::spawn(async move { bearer(&second).await });
        gate.open();
        let token = refreshing.await.expect("no panic").expect("a token");
        assert_eq!(waiting.await.expect("no panic").expect("a token"), token);
        assert_eq!(rig.procore.token_posts(), 1);
    });
}

#[test]
fn s21_a_store_that_cannot_be_read_for_a_moment_is_not_logged_out() {
    confined::run(Confinement::NoPrivileges, || async {
        let rig = Rig::start().await;
        let place = Forbidden(folder());
        drop(signed_in(&rig, &place).await);
        let before = fs::read(place.folder().join("session")).expect("a session");
        let restarted = rig.on_store(place.open());
        for hidden in [place.folder().join("session"), place.folder()] {
            set_mode(&hidden, 0o000);
            for error in [
                restarted.status().await.expect_err("unknown"),
                bearer(&restarted).await.expect_err("unknown"),
                restarted.upkeep(None).await.expect_err("unknown"),
            ] {
                assert!(
                    error.is_storage() && !error.is_sign_in_required(),
                    "{error}"
                );
                assert_eq!(error.diagnosis().code, "permission-denied");
                let remedy = &error.diagnosis().remedy;
                assert!(!remedy.contains("login"), "{remedy}");
            }
            set_mode(
                &hidden,
                if hidden == place.folder() {
                    0o700
                } else {
                    0o600
                },
            );
        }
        let after = fs::read(place.folder().join("session")).expect("a session");
        assert_eq!(after, before, "nothing was wiped");
        bearer(&restarted).await.expect("a token");
        assert_eq!(rig.procore.token_posts(), 0);
        assert!(!alerts(&rig).iter().any(|code| code == "not-signed-in"));
    });
}
