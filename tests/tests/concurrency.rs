//! Section A and its neighbours: many callers, many processes, one refresh.

use std::{path::Path, sync::Arc, time::Duration};

use fake_procore::{Fault, Gate, Target};
use procore_auth_host::{
    ApiRequest, Connection, Error, ErrorKind, Event, FileStore, Key, MemoryStore, Settings, Store,
};
use procore_auth_tests::{
    Padding, RecordingStore, Rig,
    rig::{SANDBOX, answered, fake},
    stored,
};

const CALLERS: usize = 1000;
const PROCESSES: usize = 8;

fn file_store(root: &Path) -> FileStore {
    let settings = Rig::settings(SANDBOX);
    FileStore::open(root, &settings.name).expect("a store")
}

/// Asks for a token on a task of its own, and returns its text.
fn ask(connection: &Connection) -> tokio::task::JoinHandle<Result<String, Error>> {
    let connection = connection.clone();
    tokio::spawn(async move {
        let token = connection.access_token().await?;
        Ok(token.bearer().expose().to_owned())
    })
}

async fn all_of(asked: Vec<tokio::task::JoinHandle<Result<String, Error>>>) -> Vec<String> {
    let mut tokens = vec![];
    for task in asked {
        tokens.push(task.await.expect("no panic").expect("a token"));
    }
    tokens
}

#[tokio::test]
async fn s1_many_processes_at_the_refresh_moment_make_one_post() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| rig.on_store(file_store(folder.path())))
        .collect();
    rig.sign_in(&processes[0]).await;
    let old = stored::access_token(&file_store(folder.path())).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let tokens = all_of(processes.iter().map(ask).collect()).await;
    assert_eq!(rig.procore.token_posts(), 1);
    assert_ne!(tokens[0], old);
    assert!(tokens.iter().all(|token| *token == tokens[0]));
}

#[tokio::test]
async fn s3_a_thousand_callers_with_an_expired_token_make_one_post() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(SANDBOX).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_before(&gate));
    let asked: Vec<_> = (0..CALLERS).map(|_| ask(&connection)).collect();
    gate.arrived(1).await;
    gate.open();
    let tokens = all_of(asked).await;
    assert_eq!(rig.procore.token_posts(), 1);
    assert!(tokens.iter().all(|token| *token == tokens[0]));
}

#[tokio::test]
async fn s3_a_thousand_callers_with_a_fresh_token_touch_no_store() {
    let rig = Rig::start().await;
    let store = RecordingStore::new(MemoryStore::new());
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    connection.access_token().await.expect("a token");
    let (accesses, requests) = (store.accesses(), rig.procore.requests().len());
    all_of((0..CALLERS).map(|_| ask(&connection)).collect()).await;
    assert_eq!(store.accesses(), accesses);
    assert_eq!(rig.procore.requests().len(), requests);
}

#[tokio::test]
async fn s4_s6_processes_that_wait_for_a_slow_refresh_make_no_post_of_their_own() {
    let rig = Rig::start().await;
    let store = RecordingStore::new(MemoryStore::new());
    let processes: Vec<_> = (0..PROCESSES)
        .map(|_| rig.on_store(store.clone()))
        .collect();
    rig.sign_in(&processes[0]).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let (before, after) = (Gate::closed(), Gate::closed());
    let slow = Fault::hold_before(&before).held_after(&after);
    rig.procore.inject(Target::Token, slow);
    let first = ask(&processes[0]);
    before.arrived(1).await;
    let others: Vec<_> = processes[1..].iter().map(ask).collect();
    // One for the sign-in, one for the refresh, one for each that waits.
    store.locks_asked_for(2 + others.len()).await;
    before.open();
    after.arrived(1).await;
    // Committed at the server, not yet saved: nobody else may go.
    assert_eq!(rig.procore.token_posts(), 1);
    assert!(others.iter().all(|task| !task.is_finished()));
    after.open();
    let token = first.await.expect("no panic").expect("a token");
    for other in all_of(others).await {
        assert_eq!(other, token);
    }
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s5_the_loser_of_a_race_adopts_the_winners_pair() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let loser = rig.on_store(store.clone());
    let winner = rig.on_store(RecordingStore::new(store.clone()).without_locks());
    rig.sign_in(&loser).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_before(&gate));
    let losing = ask(&loser);
    gate.arrived(1).await;
    let won = winner.access_token().await.expect("a token");
    gate.open();
    let lost = losing.await.expect("no panic").expect("a token");
    assert_eq!(rig.procore.token_posts(), 2);
    assert_eq!(rig.procore.rotations(), 1);
    assert_eq!(lost, won.bearer().expose());
    assert!(
        rig.journal.alerts().is_empty(),
        "{:?}",
        rig.journal.alerts()
    );
    let refresh_token = stored::refresh_token(&store).await;
    assert!(
        rig.procore
            .refresh_token_is_live(fake(SANDBOX), &refresh_token)
    );
    // Nothing is latched: the next refresh goes through.
    rig.advance_to_expiry();
    loser.access_token().await.expect("a token");
    assert_eq!(rig.procore.rotations(), 2);
}

/// The winner's reply is slow; the loser, which knows no locks, is told `invalid_grant` and says so in the store before.
#[tokio::test]
async fn s7_a_received_token_takes_its_place_whatever_others_wrote_meanwhile() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let winner = rig.on_store(RecordingStore::new(store.clone()).without_locks());
    let loser = rig.on_store(RecordingStore::new(store.clone()).without_locks());
    rig.sign_in(&winner).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let winning = ask(&winner);
    gate.arrived(1).await;
    let refused = loser.access_token().await.expect_err("spent");
    assert_eq!(refused.diagnosis().code, "invalid_grant");
    gate.open();
    let won = winning.await.expect("no panic").expect("a token");
    assert_eq!(stored::access_token(&store).await, won);
    let [aside] = &stored::keys(&store, "session-conflict-").await[..] else {
        panic!("what the loser wrote is kept")
    };
    assert!(
        rig.journal
            .codes()
            .contains(&"write-without-lock".to_owned())
    );
    assert!(stored::entry(&store, aside).await.is_some());
    let after = loser.access_token().await.expect("the winner's token");
    assert_eq!(after.bearer().expose(), won);
    assert_eq!(rig.procore.rotations(), 1);
}

fn impatient() -> Settings {
    Rig::settings_with(|settings| settings.policy.lock_wait = Duration::from_millis(20))
}

#[tokio::test]
async fn s10_who_waits_too_long_for_the_lock_is_served_the_old_token_while_it_lives() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.process(impatient(), store.clone());
    rig.sign_in(&connection).await;
    let old = connection.access_token().await.expect("a token");
    rig.procore.clear_requests();
    let held = store.lock(Duration::ZERO).await.expect("works");
    assert!(held.is_some());
    rig.advance_to_refresh();
    let served = connection.access_token().await.expect("the old token");
    assert_eq!(served.bearer(), old.bearer());
    rig.advance_to_expiry();
    let error = connection.access_token().await.expect_err("no token");
    assert!(error.is_busy(), "{error}");
    assert_eq!(error.diagnosis().code, "lock-wait");
    assert_eq!(rig.procore.token_posts(), 0);
    drop(held);
    connection.access_token().await.expect("a token");
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s13_a_process_with_an_old_token_in_memory_uses_what_is_stored() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let (old, other) = (rig.on_store(store.clone()), rig.on_store(store));
    rig.sign_in(&old).await;
    let before = old.access_token().await.expect("a token");
    rig.advance_to_refresh();
    let rotated = other.access_token().await.expect("a token");
    let posts = rig.procore.token_posts();
    let after = old.access_token().await.expect("a token");
    assert_eq!(after.bearer(), rotated.bearer());
    assert_ne!(after.bearer(), before.bearer());
    assert_eq!(rig.procore.token_posts(), posts);
}

#[tokio::test]
async fn s22_a_caller_that_gives_up_does_not_cut_its_refresh_in_half() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    let old = stored::refresh_token(&store).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let caller = ask(&connection);
    gate.arrived(1).await;
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()));
    gate.open();
    // Taking the lock waits for the refresh to end.
    let held = store.lock(Duration::from_secs(30)).await.expect("works");
    assert!(held.is_some());
    drop(held);
    let new = stored::refresh_token(&store).await;
    assert_ne!(new, old);
    assert!(rig.procore.refresh_token_is_live(fake(SANDBOX), &new));
    let restarted = rig.on_store(store);
    restarted.access_token().await.expect("a token");
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s22_a_call_that_is_dropped_mid_refresh_still_saves() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let mut sending = Box::pin(connection.send(ApiRequest::get("/rest/v1.0/me")));
    tokio::select! {
        _ = &mut sending => panic!("held"),
        () = gate.arrived(1) => {}
    }
    drop(sending);
    gate.open();
    let held = store.lock(Duration::from_secs(30)).await.expect("works");
    drop(held.expect("freed"));
    let new = stored::refresh_token(&store).await;
    assert!(rig.procore.refresh_token_is_live(fake(SANDBOX), &new));
    let response = answered(connection.send(ApiRequest::get("/rest/v1.0/me")).await);
    assert_eq!(response.status, 200);
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s22_tokens_that_a_trapped_plugin_received_are_kept_and_told() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    rig.sign_in(&rig.on_store(store.clone())).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let padding = Padding {
        http: rig.another_client(),
        under: "/oauth/token",
    };
    let mut settings = Rig::settings(SANDBOX);
    settings.policy.parked_bytes = 1024;
    let connection = rig
        .builder(settings)
        .http(Arc::new(padding))
        .store(Arc::new(store.clone()))
        .limits(Padding::limits())
        .build()
        .expect("complete");
    let error = connection.access_token().await.expect_err("trapped");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(rig.procore.token_posts(), 1);
    let kept = store.list("unread-reply-").await.expect("readable");
    let [kept] = kept.as_slice() else {
        panic!("{kept:?}");
    };
    let kept = store.get(kept).await.expect("readable").expect("there");
    let newest = rig.procore.newest_refresh_token(fake(SANDBOX));
    let newest = newest.expect("the server rotated");
    assert!(String::from_utf8_lossy(&kept.value).contains(&newest));
    let told = rig.journal.alerts();
    assert!(
        told.iter().any(|alert| alert.code == "kept-aside"),
        "{told:?}"
    );
    let held = store.lock(Duration::ZERO).await.expect("works");
    assert!(held.is_some(), "the lock is free");
}

#[tokio::test]
async fn s26_after_a_restart_the_expiry_comes_from_the_store() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let before = rig.on_store(store.clone());
    rig.sign_in(&before).await;
    let token = before.access_token().await.expect("a token");
    rig.advance(Duration::from_secs(1000));
    rig.procore.clear_requests();
    let restarted = rig.on_store(store.clone());
    let same = restarted.access_token().await.expect("a token");
    assert_eq!(same, token);
    assert_eq!(rig.procore.token_posts(), 0);
    rig.advance_to_refresh();
    let late = rig.on_store(store);
    let new = late.access_token().await.expect("a token");
    assert_ne!(new.bearer(), token.bearer());
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s27_the_first_request_after_a_refresh_uses_the_new_token() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    answered(connection.send(ApiRequest::get("/rest/v1.0/me")).await);
    let old = stored::access_token(&store).await;
    rig.advance_to_refresh();
    rig.procore.clear_requests();
    let response = answered(connection.send(ApiRequest::get("/rest/v1.0/me")).await);
    assert_eq!((response.status, response.attempts), (200, 1));
    let new = stored::access_token(&store).await;
    assert_ne!(new, old);
    let requests = rig.procore.requests();
    let sent: Vec<_> = requests
        .iter()
        .filter_map(|r| r.header("authorization"))
        .collect();
    assert_eq!(sent, [format!("Bearer {new}")]);
}

#[tokio::test]
async fn s30_many_401s_on_one_token_make_one_refresh() {
    let rig = Rig::start().await;
    let store: Arc<MemoryStore> = Arc::default();
    let processes: Vec<_> = (0..4).map(|_| rig.on_store((*store).clone())).collect();
    rig.sign_in(&processes[0]).await;
    for process in &processes {
        process.access_token().await.expect("a token");
    }
    let token = stored::access_token(&*store).await;
    rig.procore.expire_access_token(fake(SANDBOX), &token);
    rig.procore.clear_requests();
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let process = processes[n % processes.len()].clone();
            tokio::spawn(async move { process.send(ApiRequest::get("/rest/v1.0/me")).await })
        })
        .collect();
    for call in calls {
        assert_eq!(answered(call.await.expect("no panic")).status, 200);
    }
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s7_what_a_stranger_wrote_meanwhile_is_kept_beside_the_received_pair() {
    let rig = Rig::start().await;
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_after(&gate));
    let asked = ask(&connection);
    gate.arrived(1).await;
    // Somebody who knows no locks writes.
    let key = Key::new("session").expect("a key");
    let entry = store.get(&key).await.expect("readable").expect("there");
    let mut theirs = stored::session(&store).await;
    theirs["api_host"] = "sandbox.procore.com".into();
    let theirs = theirs.to_string().into_bytes();
    let write = store.put(&key, &theirs, Some(entry.revision)).await;
    write.expect("written");
    gate.open();
    let token = asked.await.expect("no panic").expect("a token");
    assert_eq!(stored::access_token(&store).await, token);
    let newest = rig.procore.newest_refresh_token(fake(SANDBOX));
    assert_eq!(Some(stored::refresh_token(&store).await), newest);
    let aside = stored::keys(&store, "session-conflict-").await;
    let [aside] = aside.as_slice() else {
        panic!("{aside:?}")
    };
    assert_eq!(stored::entry(&store, aside).await, Some(theirs));
    let alerts = rig.journal.alerts();
    let told = |alert: &Event| alert.code == "write-without-lock" && alert.message.contains(aside);
    assert!(alerts.iter().any(told), "{alerts:?}");
}

/// Tries the lock of a store from another process, and tells whether it was free.
#[cfg(unix)]
fn is_free(folder: &Path) -> bool {
    let lock = folder.join("acme/.lock");
    let tried = std::process::Command::new("flock")
        .arg("--nonblock")
        .arg(lock)
        .arg("true")
        .status();
    tried.expect("util-linux").success()
}

#[cfg(unix)]
#[tokio::test]
async fn s8_only_its_owner_frees_a_lock() {
    let folder = tempfile::tempdir().expect("a folder");
    let owner = file_store(folder.path());
    let held = owner.lock(Duration::ZERO).await.expect("works");
    assert!(held.is_some());
    // Not another handle of the same process, be it asked or dropped.
    for other in [file_store(folder.path()), owner.clone()] {
        assert!(other.lock(Duration::ZERO).await.expect("works").is_none());
        drop(other);
        assert!(!is_free(folder.path()));
    }
    // Not another process that opens the file, unlocks it and closes it.
    let status = std::process::Command::new("sh")
        .args(["-c", "exec 9<>\"$0\" && flock --unlock 9"])
        .arg(folder.path().join("acme/.lock"))
        .status();
    assert!(status.expect("util-linux").success());
    assert!(!is_free(folder.path()));
    drop(held);
    assert!(is_free(folder.path()));
}

#[cfg(unix)]
#[tokio::test]
async fn s8_a_call_that_waited_in_vain_frees_nobody_elses_lock() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let owner = rig.on_store(file_store(folder.path()));
    rig.sign_in(&owner).await;
    rig.advance_to_expiry();
    rig.procore.clear_requests();
    let gate = Gate::closed();
    rig.procore.inject(Target::Token, Fault::hold_before(&gate));
    let refreshing = ask(&owner);
    gate.arrived(1).await;
    let other = rig.process(impatient(), file_store(folder.path()));
    for _ in 0..3 {
        let error = other.access_token().await.expect_err("busy");
        assert!(error.is_busy(), "{error}");
        assert!(!is_free(folder.path()));
    }
    gate.open();
    refreshing.await.expect("no panic").expect("a token");
    assert!(is_free(folder.path()));
    assert_eq!(rig.procore.token_posts(), 1);
}
