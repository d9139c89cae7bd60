//! The lock and the files of a store in WASI.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use procore_auth_lending::entry_file;
use procore_auth_wasi_tests::{
    Instance, World,
    lent::{
        Lent,
        exports::procore::auth::{
            http::{Body, Request},
            store::{Entry, Failure, Provenance, Write},
        },
    },
};

const MINUTE: Duration = Duration::from_secs(60);

async fn lock(it: &mut Instance<Lent>) -> bool {
    let store = it.given.procore_auth_store();
    store
        .call_lock(&mut it.store, 0)
        .await
        .expect("no trap")
        .expect("works")
}

async fn unlock(it: &mut Instance<Lent>) {
    let store = it.given.procore_auth_store();
    store.call_unlock(&mut it.store).await.expect("no trap");
}

async fn get(it: &mut Instance<Lent>, key: &str) -> Result<Option<Entry>, Failure> {
    let store = it.given.procore_auth_store();
    store.call_get(&mut it.store, key).await.expect("no trap")
}

async fn put(
    it: &mut Instance<Lent>,
    value: &[u8],
    expected: Option<u64>,
) -> Result<Write, Failure> {
    let store = it.given.procore_auth_store();
    store
        .call_put(&mut it.store, "k", value, expected)
        .await
        .expect("no trap")
}

async fn stored(it: &mut Instance<Lent>, value: &[u8], expected: Option<u64>) -> u64 {
    match put(it, value, expected).await.expect("works") {
        Write::Stored(revision) => revision,
        Write::Conflict(found) => panic!("{found:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_has_the_lock() {
    let world = World::with_service_account().await;
    let (mut one, mut two) = (world.adapter().await, world.adapter().await);
    for _ in 0..3 {
        assert!(lock(&mut one).await);
        assert!(!lock(&mut two).await);
        unlock(&mut one).await;
        assert!(lock(&mut two).await);
        assert!(!lock(&mut one).await);
        unlock(&mut two).await;
    }
    let names = fs::read_dir(world.folder()).expect("a folder");
    let leases = names.filter(|name| {
        let name = name.as_ref().expect("a name").file_name();
        name.to_string_lossy().starts_with(".lease-")
    });
    assert_eq!(leases.count(), 1, "those before are removed");
}

/// A runtime looks at each file that it lists, and what is gone by then it reports as an error.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_and_go_disturb_nobody() {
    let world = World::with_service_account().await;
    let mut it = world.adapter().await;
    assert!(lock(&mut it).await);
    unlock(&mut it).await;
    let (folder, over) = (world.folder(), AtomicBool::new(false));
    let passing: Vec<_> = (0..100)
        .map(|n| folder.join(format!("passing-{n}")))
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for file in &passing {
                    fs::write(file, b"").expect("written");
                }
                for file in &passing {
                    fs::remove_file(file).expect("removed");
                }
            }
        });
        let locked = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let store = it.given.procore_auth_store().clone();
                for _ in 0..50 {
                    let locked = store.call_lock(&mut it.store, 0).await.expect("no trap");
                    let listed = store.call_list(&mut it.store, "").await.expect("no trap");
                    store.call_unlock(&mut it.store).await.expect("no trap");
                    if !matches!((&locked, &listed), (Ok(true), Ok(_))) {
                        return Err((locked, listed));
                    }
                }
                Ok(())
            })
        });
        over.store(true, Ordering::Relaxed);
        locked.expect("files of others are nobody's business");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_are_waited_for_and_the_sleeping_send_nothing() {
    let world = World::with_service_account().await;
    let (mut sleeping, mut next) = (world.adapter().await, world.adapter().await);
    assert!(lock(&mut sleeping).await);
    world.advance(MINUTE - Duration::from_secs(1));
    assert!(!lock(&mut next).await);
    world.advance(Duration::from_secs(2));
    assert!(lock(&mut next).await);

    let request = Request {
        method: "GET".to_owned(),
        url: "https://sandbox.procore.com/rest/v1.0/me".to_owned(),
        headers: Vec::new(),
        body: Body::Empty,
        timeout: 1000,
    };
    let http = sleeping.given.procore_auth_http();
    let sent = http
        .call_send(&mut sleeping.store, &request)
        .await
        .expect("no trap");
    let failure = sent.expect_err("its lock is another's");
    assert_eq!((failure.code.as_str(), failure.sent), ("lock-lost", false));
    assert!(sleeping.stderr().contains("\"code\":\"lock-lost\""));
    assert!(next.stderr().contains("\"code\":\"lock-taken-over\""));
    // And it does not free what is not its own.
    unlock(&mut sleeping).await;
    assert!(!lock(&mut sleeping).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_request_keeps_the_lock() {
    let world = World::with_service_account().await;
    let (mut waiting, mut other) = (world.adapter().await, world.adapter().await);
    assert!(lock(&mut waiting).await);
    let request = Request {
        method: "GET".to_owned(),
        url: "https://sandbox.procore.com/rest/v1.0/me".to_owned(),
        headers: Vec::new(),
        body: Body::Empty,
        timeout: 300_000,
    };
    let http = waiting.given.procore_auth_http();
    let sent = http
        .call_send(&mut waiting.store, &request)
        .await
        .expect("no trap");
    sent.expect("a reply");
    world.advance(5 * MINUTE);
    assert!(!lock(&mut other).await);
    world.advance(MINUTE);
    assert!(lock(&mut other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_comes_late_is_a_conflict() {
    let world = World::with_service_account().await;
    let (mut one, mut two) = (world.adapter().await, world.adapter().await);
    let first = stored(&mut one, b"one", None).await;
    let second = stored(&mut two, b"two", Some(first)).await;
    for late in [None, Some(first)] {
        let Write::Conflict(Some(current)) = put(&mut one, b"late", late).await.expect("works")
        else {
            panic!("it was stored")
        };
        assert_eq!((current.revision, &*current.value), (second, &b"two"[..]));
    }
    let previous = fs::read(world.folder().join("k.previous")).expect("kept");
    assert_eq!(entry_file::revision(&previous), Some(first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_cut_short_is_finished_by_the_next_holder() {
    let world = World::with_service_account().await;
    let mut it = world.adapter().await;
    let first = stored(&mut it, b"one", None).await;
    let written = entry_file::encode(first + 1, None, b"received");
    fs::write(world.folder().join(format!(".k.{first}.wasi")), written).expect("written");
    fs::write(world.folder().join(".k.7.wasi"), b"torn").expect("written");
    assert!(lock(&mut it).await);
    let entry = get(&mut it, "k").await.expect("works").expect("there");
    assert_eq!(
        (entry.revision, &*entry.value),
        (first + 1, &b"received"[..])
    );
    assert!(!world.folder().join(".k.7.wasi").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_set_aside_and_the_previous_generation_served() {
    let world = World::with_service_account().await;
    let mut it = world.adapter().await;
    let first = stored(&mut it, b"one", None).await;
    stored(&mut it, b"two", Some(first)).await;
    fs::write(world.folder().join("k"), b"torn").expect("written");
    let entry = get(&mut it, "k").await.expect("works").expect("there");
    assert_eq!(
        (entry.revision, entry.provenance),
        (first, Provenance::Previous)
    );
    let third = stored(&mut it, b"three", Some(first)).await;
    assert_eq!(
        fs::read(world.folder().join("k.damaged-1")).expect("kept"),
        b"torn"
    );

    let store = it.given.procore_auth_store();
    let deleted = store
        .call_delete(&mut it.store, "k", third)
        .await
        .expect("no trap");
    assert!(matches!(deleted, Ok(Write::Stored(_))));
    let left = fs::read_dir(world.folder()).expect("a folder");
    assert_eq!(left.count(), 0, "no older version stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_stored_is_stored_before_the_lock_is_free() {
    let world = World::with_service_account().await;
    let (mut it, mut other) = (world.adapter().await, world.adapter().await);
    assert!(lock(&mut it).await);
    let first = stored(&mut it, b"one", None).await;
    // What a writer that died leaves stands in the way of the next one.
    let blocker = world.folder().join(format!(".k.{first}.wasi"));
    fs::write(&blocker, b"").expect("written");
    let refused = put(&mut it, b"received", Some(first))
        .await
        .expect_err("refused");
    assert_eq!(refused.code, "busy");
    let store = it.given.procore_auth_store();
    let held = store
        .call_hold(&mut it.store, "k", b"received", Some(first))
        .await
        .expect("no trap");
    let entry = get(&mut it, "k").await.expect("works").expect("held");
    assert_eq!((entry.revision, &*entry.value), (held, &b"received"[..]));
    assert!(it.stderr().contains("\"code\":\"tokens-not-saved\""));

    fs::remove_file(&blocker).expect("removed");
    unlock(&mut it).await;
    let entry = get(&mut other, "k").await.expect("works").expect("stored");
    assert_eq!(entry.value, b"received");
    assert!(lock(&mut other).await);
    assert!(it.stderr().contains("\"code\":\"tokens-saved\""));
}
