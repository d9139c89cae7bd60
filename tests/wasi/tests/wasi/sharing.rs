//! One store, several programs: instances in WASI, and native hosts.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use procore_auth_host::{Heartbeat, KeeperKind};
use procore_auth_wasi_tests::{Instance, LIFETIME, NAME, World, given::Given};

type Token = procore_auth_wasi_tests::given::exports::procore::auth::auth::Token;
type Error = procore_auth_wasi_tests::given::procore::auth::types::Error;

async fn ask(it: &mut Instance<Given>) -> Result<Token, Error> {
    let auth = it.given.procore_auth_auth();
    auth.call_access_token(&mut it.store)
        .await
        .expect("no trap")
}

/// Asks a fresh instance.
async fn token(world: &World) -> Result<Token, Error> {
    ask(&mut world.instance().await).await
}

pub(crate) async fn bearer(world: &World) -> String {
    token(world).await.expect("a token").bearer
}

pub(crate) async fn bearer_of_native(world: &World) -> String {
    let token = world.native().access_token().await.expect("a token");
    token.bearer().expose().to_owned()
}

pub(crate) async fn sign_in(world: &World) {
    let mut it = world.instance().await;
    let auth = it.given.procore_auth_auth();
    let login = auth
        .call_begin_login(&mut it.store)
        .await
        .expect("no trap")
        .expect("a link");
    let callback = world.browse(&login.authorize_url).await;
    // The sign-in outlives the instance that began it.
    let mut it = world.instance().await;
    let auth = it.given.procore_auth_auth();
    let status = auth
        .call_finish_login(&mut it.store, &callback)
        .await
        .expect("no trap");
    status.expect("signed in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_host_goes_on_with_the_store_and_gives_it_back() {
    let world = World::with_user().await;
    sign_in(&world).await;
    let first = bearer(&world).await;
    assert_eq!(bearer_of_native(&world).await, first);
    assert_eq!(world.procore.rotations(), 0);

    world.advance(LIFETIME * 9 / 10);
    let second = bearer_of_native(&world).await;
    assert_ne!(second, first);
    assert_eq!(bearer(&world).await, second);
    assert_eq!(world.procore.rotations(), 1);

    world.advance(LIFETIME * 9 / 10);
    let third = bearer(&world).await;
    assert_ne!(third, second);
    assert_eq!(bearer_of_native(&world).await, third);
    assert_eq!(world.procore.rotations(), 2);

    // A native host refuses files that let others in.
    for file in fs::read_dir(world.folder()).expect("a folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_instances_at_the_moment_of_refresh_send_one_request() {
    let world = World::with_user().await;
    sign_in(&world).await;
    let first = bearer(&world).await;
    for round in 1..=5 {
        world.advance(LIFETIME * 9 / 10);
        let mut asked = Vec::new();
        for _ in 0..10 {
            let mut it = world.instance().await;
            asked.push(tokio::spawn(async move { (ask(&mut it).await, it) }));
        }
        let (mut bearers, mut journals) = (Vec::new(), String::new());
        for asked in asked {
            let (token, it) = asked.await.expect("no panic");
            bearers.push(token.expect("a token").bearer);
            journals += &it.stderr();
        }
        bearers.dedup();
        let requests = world.procore.rotations();
        assert_eq!((requests, bearers.len()), (round, 1), "{journals}");
        assert_ne!(bearers[0], first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_keeper_that_is_alive_is_left_to_refresh() {
    let world = World::with_user().await;
    sign_in(&world).await;
    let first = bearer(&world).await;
    let signs = Heartbeat::beside(world.stores.path());
    let day = Duration::from_secs(86_400);
    let beaten = signs.beat(KeeperKind::Run, None, world.clock.now(), day);
    beaten.expect("a sign");

    world.advance(LIFETIME * 9 / 10);
    assert_eq!(bearer(&world).await, first, "it is due, and still good");
    world.advance(LIFETIME);
    let error = token(&world).await.expect_err("nobody has refreshed it");
    assert_eq!(error.diagnosis.code, "busy");
    assert!(
        error
            .diagnosis
            .cause
            .contains("keeps this connection alive"),
        "{error:?}"
    );
    assert_eq!(world.procore.rotations(), 0);

    let name = NAME.parse().expect("a name");
    signs
        .stop(KeeperKind::Run, None, world.clock.now())
        .expect("a sign");
    assert!(!matches!(
        signs.of(&name, world.clock.now()),
        procore_auth_host::Keeping::Alive(_)
    ));
    assert_ne!(bearer(&world).await, first);
    assert_eq!(world.procore.rotations(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_encrypted_is_refused_and_left_alone() {
    let world = World::with_user().await;
    sign_in(&world).await;
    let file = world.folder().join("session");
    let bytes = fs::read(&file).expect("there");
    let revision = procore_auth_lending::entry_file::revision(&bytes).expect("a header");
    let sealed = procore_auth_lending::entry_file::encode(revision, None, b"\0sealed\0 and more");
    fs::write(&file, &sealed).expect("written");
    let error = token(&world).await.expect_err("no key");
    assert_eq!(error.diagnosis.code, "key-unavailable");
    assert_eq!(fs::read(&file).expect("there"), sealed);
}
