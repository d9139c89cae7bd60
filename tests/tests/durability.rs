//! Section B: what is left after a crash, a lost reply, a damaged file or a restored backup.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fake_procore::{Alteration, Answer, Fault, Gate, Reply, Rotation, Target};
use procore_auth_host::{Connection, Event, FileStore, Health, MemoryStore, Severity};
use procore_auth_tests::{
    RecordingStore, Rig,
    rig::{SANDBOX, fake},
    stored,
};
use tempfile::TempDir;

/// A store in a folder of its own.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn open(&self) -> FileStore {
        let name = Rig::settings(SANDBOX).name;
        FileStore::open(self.0.path(), &name).expect("a store")
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("acme")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Returns what SIGKILL would leave now: the files as they are, and the mark of the same installation.
    fn after_a_crash(&self) -> Self {
        let left = self.copy();
        let mark = fs::read(left.file(".install")).expect("a mark");
        let mark: serde_json::Value = serde_json::from_slice(&mark).expect("JSON");
        // Nothing that would tell that it is another file.
        let mark = serde_json::json!({"procore-auth": 1, "install": mark["install"]});
        fs::write(left.file(".install"), mark.to_string()).expect("marked");
        left
    }

    /// Returns a copy of the folder, as on another machine or in a backup.
    fn copy(&self) -> Self {
        let copy = Self::new();
        drop(copy.open());
        copy_files(&self.folder(), &copy.folder());
        copy
    }
}

fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

async fn signed_in(rig: &Rig, disk: &Disk) -> Connection {
    let connection = rig.on_store(disk.open());
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    connection
}

fn set_rotation(rig: &Rig, rotation: Rotation) {
    rig.procore.set_policy(|policy| policy.rotation = rotation);
}

/// Crashes a process whose refresh the server has committed, and returns the disk that the next process finds.
async fn crash_between_commit_and_save(rig: &Rig) -> Disk {
    let disk = Disk::new();
    let connection = signed_in(rig, &disk).await;
    rig.advance_to_refresh();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let crashing = tokio::spawn(async move { connection.access_token().await });
    gate.arrived(1).await;
    let left = disk.after_a_crash();
    gate.open();
    let _ = crashing.await;
    left
}

#[tokio::test]
async fn s15_after_a_crash_between_commit_and_save_grace_gives_the_replay_a_token() {
    let rig = Rig::start().await;
    set_rotation(&rig, Rotation::Grace);
    let disk = crash_between_commit_and_save(&rig).await;
    rig.procore.clear_requests();
    let restarted = rig.on_store(disk.open());
    rig.advance_to_expiry();
    restarted.access_token().await.expect("a token");
    assert_eq!(rig.procore.token_posts(), 1);
    assert!(
        rig.journal
            .codes()
            .contains(&"interrupted-refresh".to_owned())
    );
    let status = restarted.status().await.expect("a status");
    assert_eq!(status.health, Health::Healthy);
}

/// Returns the codes of the alerts, without those that remind of what was told a day before.
fn told_first(rig: &Rig) -> Vec<String> {
    let mut alerts = rig.journal.alerts();
    let reminds = |(name, value): &(String, String)| name == "told" && value == "reminder";
    alerts.retain(|alert| !alert.fields.iter().any(reminds));
    alerts.into_iter().map(|alert| alert.code).collect()
}

#[tokio::test]
async fn s15_after_a_crash_between_commit_and_save_strict_gives_one_replay_and_one_alert() {
    let rig = Rig::start().await;
    let disk = crash_between_commit_and_save(&rig).await;
    rig.procore.clear_requests();
    let restarted = rig.on_store(disk.open());
    rig.advance_to_expiry();
    for _ in 0..20 {
        let error = restarted.access_token().await.expect_err("dead");
        assert!(error.is_sign_in_required(), "{error}");
        assert_eq!(error.diagnosis().code, "invalid_grant");
        let cause = &error.diagnosis().cause;
        assert!(cause.contains("no known outcome"), "{cause}");
        assert!(error.diagnosis().remedy.contains("procore-auth login"));
        rig.advance_to_expiry();
    }
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(told_first(&rig), ["invalid_grant"]);
    rig.sign_in(&restarted).await;
    restarted.access_token().await.expect("back");
}

#[tokio::test]
async fn s16_a_refresh_that_was_never_sent_is_simply_tried_again() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_refresh();
    rig.procore.clear_requests();
    rig.procore.refuse_connections(1);
    let old = stored::access_token(&store).await;
    let served = connection.access_token().await.expect("the old token");
    assert_eq!(served.bearer().expose(), old);
    assert!(stored::session(&store).await["intent"].is_null());
    assert_eq!(rig.procore.token_posts(), 0);
    assert!(
        rig.journal.alerts().is_empty(),
        "{:?}",
        rig.journal.alerts()
    );
    rig.advance_to_expiry();
    connection.access_token().await.expect("a new token");
    assert_eq!(rig.procore.token_posts(), 1);
}

/// A refresh whose reply is lost: returns the connection, which has served its old token meanwhile.
async fn lost_reply(rig: &Rig, store: &MemoryStore) -> Connection {
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_refresh();
    rig.procore.clear_requests();
    rig.procore
        .inject(Target::Token, Fault::committed(Answer::Close));
    let old = stored::access_token(store).await;
    let served = connection.access_token().await.expect("the old token");
    assert_eq!(served.bearer().expose(), old);
    connection
}

#[tokio::test]
async fn s17_a_lost_reply_is_told_and_the_old_token_served_on() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = lost_reply(&rig, &store).await;
    let alerts = rig.journal.alerts();
    let [alert] = alerts.as_slice() else {
        panic!("{alerts:?}")
    };
    assert_eq!(alert.code, "refresh-outcome-unknown");
    let state = alert.fields.iter().find(|(name, _)| name == "state");
    let (_, state) = state.expect("the time left");
    assert!(state.contains("18 min"), "{state}");
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::AtRisk);
    assert!(!stored::session(&store).await["intent"].is_null());
}

#[tokio::test]
async fn s17_in_grace_one_careful_replay_brings_the_pair_back() {
    let rig = Rig::start().await;
    set_rotation(&rig, Rotation::Grace);
    let connection = lost_reply(&rig, &MemoryStore::new()).await;
    rig.advance_to_expiry();
    connection.access_token().await.expect("a token");
    assert_eq!(rig.procore.token_posts(), 2);
    assert_eq!(rig.journal.alerts().len(), 1);
    assert_eq!(
        rig.journal.codes().last().map(String::as_str),
        Some("recovered")
    );
}

#[tokio::test]
async fn s17_in_strict_one_careful_replay_and_then_no_more() {
    let rig = Rig::start().await;
    let connection = lost_reply(&rig, &MemoryStore::new()).await;
    for _ in 0..50 {
        rig.advance_to_expiry();
        let error = connection.access_token().await.expect_err("dead");
        assert!(error.is_sign_in_required(), "{error}");
    }
    assert_eq!(rig.procore.token_posts(), 2);
    // The lost reply, then the end.
    assert_eq!(
        told_first(&rig),
        ["refresh-outcome-unknown", "invalid_grant"]
    );
}

#[tokio::test]
async fn s18_a_success_that_cannot_be_parsed_loses_nothing() {
    let rig = Rig::start().await;
    let disk = Disk::new();
    let connection = signed_in(&rig, &disk).await;
    rig.advance_to_refresh();
    rig.procore
        .inject(Target::Token, Fault::altered(Alteration::Garbled));
    connection.access_token().await.expect("the old token");
    let store = disk.open();
    let keys = stored::keys(&store, "unread-reply-").await;
    let [key] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    let kept = stored::entry(&store, key).await.expect("kept");
    let kept = String::from_utf8_lossy(&kept);
    let issued = rig.procore.secrets_issued();
    let is_new = |token: &&String| {
        let access = rig.procore.access_token_is_live(fake(SANDBOX), token);
        access || rig.procore.refresh_token_is_live(fake(SANDBOX), token)
    };
    let new: Vec<_> = issued.iter().filter(is_new).collect();
    assert_eq!(new.len(), 2, "an access token and a refresh token");
    assert!(new.iter().all(|token| kept.contains(token.as_str())));
    assert!(rig.journal.codes().contains(&"kept-aside".to_owned()));
    assert_eq!(unexplained(&rig), Vec::<String>::new());
}

#[tokio::test]
async fn s18_a_reply_whose_token_is_no_text_is_kept_as_it_was_received() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let before = stored::refresh_token(&store).await;
    rig.advance_to_refresh();
    let body = b"{\"access_token\":\"a\",\"refresh_token\":\"r\xff\xfe\"}";
    let reply = Reply::new(200, "application/json", body);
    rig.procore
        .inject(Target::Token, Fault::uncommitted(Answer::Reply(reply)));
    connection.access_token().await.expect("the old token");
    let keys = stored::keys(&store, "unread-reply-").await;
    let [key] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    assert_eq!(stored::entry(&store, key).await, Some(body.to_vec()));
    assert_eq!(stored::refresh_token(&store).await, before);
}

#[tokio::test]
async fn s19_the_store_is_proven_writable_before_the_post() {
    let rig = Rig::start().await;
    let store = RecordingStore::new(MemoryStore::new());
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    store.fail_writes(1000);
    for _ in 0..5 {
        let error = connection.access_token().await.expect_err("no store");
        assert!(error.is_storage(), "{error}");
        assert_eq!(error.diagnosis().code, "full");
    }
    assert_eq!(rig.procore.token_posts(), 0);
    store.fail_writes(0);
    connection.access_token().await.expect("a token");
    assert_eq!(rig.procore.token_posts(), 1);
}

/// A refresh whose reply comes when the disk has just become full. Returns the connection of the process, and its store.
async fn disk_fills_up_after_the_rotation(
    rig: &Rig,
    failures: usize,
) -> (Connection, RecordingStore) {
    let store = RecordingStore::new(MemoryStore::new());
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let refreshing = {
        let connection = connection.clone();
        tokio::spawn(async move { connection.access_token().await })
    };
    gate.arrived(1).await;
    store.fail_writes(failures);
    gate.open();
    refreshing.await.expect("no panic").expect("a token");
    (connection, store)
}

#[tokio::test]
async fn s19_a_disk_that_fills_up_after_the_rotation_costs_an_alert_and_no_token() {
    let rig = Rig::start().await;
    let (connection, store) = disk_fills_up_after_the_rotation(&rig, 100).await;
    connection.saved().await;
    let refresh_token = stored::refresh_token(&store).await;
    assert!(
        rig.procore
            .refresh_token_is_live(fake(SANDBOX), &refresh_token)
    );
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(alerts(&rig), ["tokens-not-saved"]);
    assert!(rig.journal.codes().contains(&"tokens-saved".to_owned()));
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::Healthy);
}

#[tokio::test]
async fn s19_while_the_disk_is_full_the_new_pair_is_served_and_refreshed_and_the_old_one_never_posted()
 {
    let rig = Rig::start().await;
    let (connection, store) = disk_fills_up_after_the_rotation(&rig, usize::MAX).await;
    let token = connection.access_token().await.expect("a token");
    assert!(
        rig.procore
            .access_token_is_live(fake(SANDBOX), token.bearer().expose())
    );
    let status = connection.status().await.expect("a status");
    assert_eq!(status.health, Health::AtRisk);
    // What nobody could save is not risked: no further refresh before it is.
    rig.advance_to_expiry();
    let error = connection.access_token().await.expect_err("no store");
    assert!(error.is_storage(), "{error}");
    assert_eq!(rig.procore.token_posts(), 1);
    store.fail_writes(0);
    connection.saved().await;
    connection.access_token().await.expect("a token");
    assert_eq!(rig.procore.token_posts(), 2);
    assert_eq!(alerts(&rig), ["tokens-not-saved"]);
}

#[tokio::test]
async fn s39_a_trouble_that_cannot_be_noted_in_the_store_is_not_an_alert_at_every_call() {
    let rig = Rig::start().await;
    let store = RecordingStore::new(MemoryStore::new());
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_expiry();
    // The intent is still written; what came of the request is not.
    rig.procore
        .inject(Target::Token, Fault::uncommitted(Answer::Close));
    store.fail_writes_after(1, usize::MAX);
    for _ in 0..10 {
        connection.access_token().await.expect_err("no store");
    }
    assert_eq!(alerts(&rig), ["refresh-outcome-unknown"]);
}

#[tokio::test]
async fn s19_while_the_disk_is_full_no_other_process_posts_the_old_token() {
    let rig = Rig::start().await;
    let (connection, store) = disk_fills_up_after_the_rotation(&rig, usize::MAX).await;
    let wait = Duration::from_millis(50);
    let hasty = Rig::settings_with(|settings| settings.policy.lock_wait = wait);
    let other = rig.process(hasty, store.clone());
    let error = other.access_token().await.expect_err("busy");
    assert!(error.is_busy(), "{error}");
    assert_eq!(rig.procore.token_posts(), 1);
    store.fail_writes(0);
    connection.saved().await;
    other.access_token().await.expect("a token");
    // Time flew while the save was tried again, so the token may be due.
    assert_eq!(rig.procore.token_posts(), rig.procore.rotations());
}

/// Signs in, refreshes, and damages the newest version of the session.
async fn damaged(rig: &Rig, damage: &[u8]) -> Disk {
    let disk = Disk::new();
    let connection = signed_in(rig, &disk).await;
    connection.verify().await.expect("verified");
    let file = disk.file("session");
    let whole = fs::read(&file).expect("a session");
    let torn = if damage.is_empty() {
        whole[..0].to_vec()
    } else if damage == b"torn" {
        whole[..whole.len() / 2].to_vec()
    } else {
        damage.to_vec()
    };
    fs::write(&file, torn).expect("damaged");
    disk
}

#[tokio::test]
async fn s20_a_damaged_file_is_kept_aside_and_the_previous_generation_used() {
    for damage in [&b""[..], b"torn", b"{}", b"\0\0\0\0"] {
        let rig = Rig::start().await;
        let disk = damaged(&rig, damage).await;
        let restarted = rig.on_store(disk.open());
        for _ in 0..2 {
            let status = restarted.status().await.expect("a status");
            assert_ne!(
                status.health,
                Health::Healthy,
                "no evidence for an older version"
            );
        }
        restarted.access_token().await.expect("a token");
        rig.advance_to_expiry();
        restarted.access_token().await.expect("a new token");
        let alerts = rig.journal.alerts().into_iter().map(|alert| alert.code);
        assert_eq!(
            alerts.collect::<Vec<_>>(),
            ["store-recovered"],
            "told once, at the first look"
        );
        let aside = fs::read(disk.file("session.damaged-1")).expect("kept aside");
        assert!(damage == b"torn" || aside == damage);
        assert_eq!(rig.procore.token_posts(), 1);
    }
}

/// Which of the alerts lack a cause or a remedy.
fn unexplained(rig: &Rig) -> Vec<String> {
    let has = |alert: &Event, wanted: &str| {
        let mut fields = alert.fields.iter();
        fields.any(|(name, text)| name == wanted && !text.is_empty())
    };
    let alerts = rig.journal.alerts().into_iter();
    let bare = alerts.filter(|alert| !has(alert, "cause") || !has(alert, "remedy"));
    bare.map(|alert| alert.code).collect()
}

#[tokio::test]
async fn s39_an_older_version_is_told_once_though_the_disk_is_full() {
    let rig = Rig::start().await;
    let disk = damaged(&rig, b"torn").await;
    let store = RecordingStore::new(disk.open());
    store.fail_writes(usize::MAX);
    // Each as a process of its own: what is known lives in the store alone.
    for _ in 0..3 {
        let restarted = rig.on_store(store.clone());
        let status = restarted.status().await.expect("a status");
        assert_ne!(status.health, Health::Healthy, "no evidence for it");
        restarted.access_token().await.expect("it lives");
        restarted.upkeep(None).await.expect("a visit");
    }
    rig.advance_to_refresh();
    let restarted = rig.on_store(store.clone());
    restarted.access_token().await.expect("it lives");
    assert_eq!(rig.procore.token_posts(), 0);
    assert_eq!(alerts(&rig), Vec::<String>::new());
    assert!(rig.journal.codes().contains(&"store-recovered".to_owned()));
    store.fail_writes(0);
    for _ in 0..3 {
        restarted.access_token().await.expect("a new token");
        restarted.status().await.expect("a status");
    }
    assert_eq!(alerts(&rig), ["store-recovered"]);
    assert_eq!(unexplained(&rig), Vec::<String>::new());
}

/// There is no room for the note, and then there is for the intent.
#[tokio::test]
async fn s39_an_older_version_is_told_by_whatever_write_makes_it_the_newest() {
    let rig = Rig::start().await;
    let disk = damaged(&rig, b"torn").await;
    let store = RecordingStore::new(disk.open());
    let restarted = rig.on_store(store.clone());
    rig.advance_to_expiry();
    // The note of the look without the lock, and of the one under it.
    store.fail_writes(2);
    restarted.access_token().await.expect("a new token");
    restarted.access_token().await.expect("the same");
    assert_eq!(alerts(&rig), ["store-recovered"]);
}

#[tokio::test]
async fn s20_without_a_previous_generation_a_damaged_file_is_refused_and_left_alone() {
    for damage in [&b""[..], b"torn", b"{}"] {
        let rig = Rig::start().await;
        let disk = damaged(&rig, damage).await;
        fs::remove_file(disk.file("session.previous")).expect("removed");
        let before = fs::read(disk.file("session")).expect("damaged");
        let restarted = rig.on_store(disk.open());
        for _ in 0..3 {
            let error = restarted.access_token().await.expect_err("damaged");
            assert!(error.is_storage(), "{error}");
            assert_eq!(error.diagnosis().code, "corrupt");
        }
        assert!(restarted.upkeep(None).await.is_err());
        assert_eq!(fs::read(disk.file("session")).expect("there"), before);
        assert_eq!(rig.procore.token_posts(), 0);
    }
}

/// Signs in, takes a backup of the connection's folder, and refreshes some times. Returns the disk and the backup.
async fn moved_on_since_a_backup(rig: &Rig) -> (Disk, Disk) {
    let disk = Disk::new();
    let connection = signed_in(rig, &disk).await;
    connection.verify().await.expect("verified");
    let backup = disk.copy();
    for _ in 0..3 {
        rig.advance_to_refresh();
        connection.access_token().await.expect("a token");
    }
    rig.procore.clear_requests();
    rig.advance_to_expiry();
    (disk, backup)
}

fn alerts(rig: &Rig) -> Vec<String> {
    let alerts = rig.journal.alerts().into_iter();
    alerts.map(|alert| alert.code).collect()
}

#[tokio::test]
async fn s24_an_older_session_file_that_was_put_back_costs_an_alert_and_no_token() {
    let rig = Rig::start().await;
    let (disk, backup) = moved_on_since_a_backup(&rig).await;
    fs::copy(backup.file("session"), disk.file("session")).expect("restored");
    let restarted = rig.on_store(disk.open());
    restarted.access_token().await.expect("a token");
    assert_eq!(
        (rig.procore.token_posts(), rig.procore.rotations()),
        (1, 1),
        "the newest pair was still there"
    );
    assert_eq!(alerts(&rig), ["store-recovered"]);
}

#[tokio::test]
async fn s24_a_restored_backup_is_recognised_and_its_spent_token_not_posted() {
    let rig = Rig::start().await;
    let (disk, backup) = moved_on_since_a_backup(&rig).await;
    for name in ["session", "session.previous"] {
        fs::copy(backup.file(name), disk.file(name)).expect("restored");
    }
    let restarted = rig.on_store(disk.open());
    for _ in 0..5 {
        let error = restarted.access_token().await.expect_err("spent");
        assert!(error.is_sign_in_required(), "{error}");
        assert_eq!(error.diagnosis().code, "restored-backup");
        let cause = &error.diagnosis().cause;
        assert!(cause.contains("2026 01:12:00 GMT by test/1"), "{cause}");
    }
    assert_eq!(rig.procore.token_posts(), 0);
    assert_eq!(alerts(&rig), ["restored-backup"]);
}

#[tokio::test]
async fn s24_a_folder_that_was_restored_whole_is_named_before_its_token_is_tried() {
    let rig = Rig::start().await;
    let (_, backup) = moved_on_since_a_backup(&rig).await;
    let restarted = rig.on_store(backup.open());
    for _ in 0..5 {
        let error = restarted.access_token().await.expect_err("spent");
        assert_eq!(error.diagnosis().code, "invalid_grant");
        assert!(error.diagnosis().cause.contains("copy of the store"));
    }
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(alerts(&rig), ["store-copied", "invalid_grant"]);
    assert_eq!(unexplained(&rig), Vec::<String>::new());
}

#[tokio::test]
async fn s14_a_copied_store_is_named_as_such_on_the_second_machine() {
    let rig = Rig::start().await;
    let disk = Disk::new();
    let original = signed_in(&rig, &disk).await;
    let copy = disk.copy();
    let copied = rig.on_store(copy.open());
    for _ in 0..2 {
        let status = copied.status().await.expect("a status");
        assert_ne!(status.health, Health::Healthy, "no evidence for a copy");
    }
    assert_eq!(
        alerts(&rig),
        ["store-copied"],
        "told once, at the first look"
    );
    rig.advance_to_refresh();
    original.access_token().await.expect("a token");
    assert_eq!(
        alerts(&rig),
        ["store-copied"],
        "nothing is wrong with the original"
    );
    rig.advance_to_expiry();
    let error = copied.access_token().await.expect_err("spent");
    assert!(
        error.diagnosis().cause.contains("copy of the store"),
        "{error:?}"
    );
    assert_eq!(rig.procore.token_posts(), 2);
    original.access_token().await.expect("the original goes on");
}

/// A daemon goes on with the folder that was put in the place of its own; others open it anew.
#[tokio::test]
async fn s14_a_folder_that_is_replaced_under_a_running_process_is_told_once() {
    let rig = Rig::start().await;
    let disk = Disk::new();
    let running = signed_in(&rig, &disk).await;
    let copy = disk.copy();
    fs::remove_dir_all(disk.folder()).expect("removed");
    fs::rename(copy.folder(), disk.folder()).expect("put in its place");
    for _ in 0..4 {
        let visitor = rig.on_store(disk.open());
        visitor.status().await.expect("a status");
        rig.advance_to_refresh();
        running.access_token().await.expect("a token");
        visitor.verify().await.expect("verified");
    }
    assert_eq!(alerts(&rig), ["store-copied"]);
}

#[tokio::test]
async fn s14_a_moved_store_goes_on_without_a_word() {
    let rig = Rig::start().await;
    let disk = Disk::new();
    drop(signed_in(&rig, &disk).await);
    let elsewhere = Disk::new();
    fs::rename(disk.folder(), elsewhere.folder()).expect("moved");
    let moved = rig.on_store(elsewhere.open());
    rig.advance_to_refresh();
    moved.access_token().await.expect("a token");
    assert!(alerts(&rig).is_empty());
}

#[tokio::test]
async fn s25_a_reply_without_a_refresh_token_keeps_the_old_one() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let first = stored::refresh_token(&store).await;
    rig.procore
        .inject(Target::Token, Fault::access_token_only());
    rig.advance_to_refresh();
    connection.access_token().await.expect("a token");
    assert_eq!(stored::refresh_token(&store).await, first);
    rig.advance_to_refresh();
    connection.access_token().await.expect("a token");
    let rotated = stored::refresh_token(&store).await;
    assert_ne!(rotated, first);
    assert!(rig.procore.refresh_token_is_live(fake(SANDBOX), &rotated));
    let events = rig.journal.events();
    assert!(events.iter().all(|event| event.severity < Severity::Alert));
}
