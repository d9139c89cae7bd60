//! The command line, and what it leaves in the open.

use std::fs;

use procore_auth_wasi_tests::{World, secret};

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_gives_a_token_and_calls_the_api() {
    let world = World::with_service_account().await;
    let (ok, token, stderr) = world.run(&["token"]).await;
    assert!(ok, "{stderr}");
    assert!(
        world
            .procore
            .secrets_issued()
            .contains(&token.trim_end().to_owned())
    );
    let (ok, me, stderr) = world.run(&["call", "GET", "/rest/v1.0/me"]).await;
    assert!(ok, "{stderr}");
    assert!(me.contains("\"login\""), "{me}");
    assert_eq!(world.procore.token_posts(), 1);

    let (ok, stdout, stderr) = world.run(&["call", "GET", "/nowhere"]).await;
    assert!(!ok && stdout.is_empty());
    assert!(stderr.contains("error: "), "{stderr}");
    let (ok, _, usage) = world.run(&["refresh"]).await;
    assert!(!ok);
    assert!(usage.starts_with("usage: "), "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_where_they_belong() {
    let world = World::with_service_account().await;
    let mut seen = String::new();
    for words in [
        &["token"][..],
        &["call", "GET", "/rest/v1.0/me"],
        &["status"],
        &["upkeep"],
    ] {
        let (ok, _, stderr) = world.run(words).await;
        assert!(ok, "{stderr}");
        seen += &stderr;
    }
    assert!(seen.contains("\"code\":"), "the journal is there: {seen}");
    for hidden in world.procore.secrets_issued() {
        assert!(!seen.contains(&hidden), "a secret stands in the journal");
    }
    for request in world.procore.requests() {
        let mut carried = vec![request.path.clone(), request.query.clone()];
        carried.extend(request.headers.iter().map(|(_, value)| value.clone()));
        if !request.is_token_post() {
            carried.push(String::from_utf8_lossy(&request.body).into_owned());
        }
        assert!(
            carried.iter().all(|text| !text.contains(secret())),
            "{request:?}"
        );
    }
    for file in fs::read_dir(world.folder()).expect("a folder") {
        let bytes = fs::read(file.expect("a file").path()).expect("readable");
        assert!(!String::from_utf8_lossy(&bytes).contains(secret()));
    }
}
