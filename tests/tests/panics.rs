//! A panic in the plugin's own sources, built once more with a panic on demand, in the real host.

use std::{fs, sync::Arc};

use procore_auth_host::{JsonLinesJournal, Secret, Severity, TracingJournal};
use procore_auth_tests::{Rig, component::panicking_plugin, rig::SANDBOX};

/// What a sign-in brings when things go wrong: a message for the panic, and a code that it must not repeat.
const CALLBACK: &str = "panic:a broken invariant?code=callers-code-5d1e";

#[tokio::test]
async fn s65_a_panic_reaches_the_journal_with_its_message_and_without_secrets() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.jsonl");
    let journal = JsonLinesJournal::open(&file).expect("a journal");
    let connection = rig
        .builder_on(&panicking_plugin(), Rig::settings(SANDBOX))
        .journal(Arc::new(journal))
        .journal(Arc::new(TracingJournal))
        .build()
        .expect("complete");

    let panicked = connection.finish_login(Secret::new(CALLBACK)).await;
    let error = panicked.expect_err("stopped");
    assert_eq!(
        (error.code(), error.is_internal()),
        ("plugin-trapped", true)
    );

    let events = rig.journal.events();
    let told: Vec<_> = events.iter().map(|e| (e.severity, &*e.code)).collect();
    let alert = Severity::Alert;
    assert_eq!(told, [(alert, "panic"), (alert, "plugin-trapped")]);
    assert_eq!(
        events[0].message,
        "The plugin panicked: a broken invariant: ****"
    );
    let [(name, place)] = &events[0].fields[..] else {
        panic!("one field: {:?}", events[0].fields)
    };
    assert_eq!(name, "at");
    assert!(place.contains("guest/src/panics.rs:"), "{place}");
    let written = fs::read_to_string(&file).expect("events");
    assert!(written.contains("a broken invariant"), "{written}");
    for text in [&written, &format!("{events:?}"), &format!("{error:?}")] {
        assert!(!text.contains("callers-code-5d1e"), "{text}");
    }

    rig.sign_in(&connection).await;
    connection
        .access_token()
        .await
        .expect("the next call works");
    assert!(rig.journal.codes().contains(&"plugin-recovered".to_owned()));
}

#[tokio::test]
async fn s65_the_component_that_is_shipped_does_not_panic_on_demand() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(SANDBOX).await;
    let refused = connection.finish_login(Secret::new(CALLBACK)).await;
    let error = refused.expect_err("no callback");
    assert!(error.is_invalid_input(), "{error}");
    assert!(!rig.journal.codes().contains(&"panic".to_owned()));
}
