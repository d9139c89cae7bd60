//! What is refused before it runs.

use procore_auth_host::{Environment, LoadError, Plugin};
use wit_parser::Resolve;

use crate::hostile::{Hostile, plugin};

#[tokio::test]
async fn advice_reaches_nothing() {
    // Settings are lent, for there is nothing in them; the store says no.
    let body = r#"(call $store.get (i32.const 0) (i32.const 0) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then unreachable))
        (i32.const 1024)"#;
    let plugin = plugin(&[("advice.endpoints", body)]);
    let advice = plugin.advice();
    let urls = advice.endpoints(Environment::Federal).await;
    assert_eq!(urls.expect("no trap").token_url, "");
}

fn refusal(wit: &str) -> LoadError {
    let mut resolve = Resolve::default();
    let package = resolve.push_source("plugin.wit", wit).expect("a contract");
    Plugin::from_bytes(&Hostile::new(&[]).encoded_for(&resolve, package)).expect_err("refused")
}

#[test]
fn s64_another_version_of_the_contract_is_refused_with_both_versions() {
    let error = refusal(
        "package procore:auth@0.2.0; interface auth { ping: func(); } world plugin { export auth; }",
    );
    assert!(
        matches!(error, LoadError::ContractVersion { .. }),
        "{error}"
    );
    let message = error.to_string();
    assert!(
        message.contains("0.2.0") && message.contains("0.1.0"),
        "{message}"
    );
}

#[test]
fn an_import_beyond_the_contract_is_refused_by_name() {
    let error = refusal(
        "package procore:auth@0.1.0; interface auth { ping: func(); }
        package wasi:sockets@1.0.0 { interface tcp { connect: func(); } }
        world plugin { import wasi:sockets/tcp@1.0.0; export auth; }",
    );
    assert!(matches!(error, LoadError::ForeignImport { .. }), "{error}");
    assert!(
        error.to_string().contains("wasi:sockets/tcp@1.0.0"),
        "{error}"
    );
}

#[test]
fn a_component_that_lacks_an_export_is_refused() {
    let error = refusal(
        "package procore:auth@0.1.0; interface auth { ping: func(); } world plugin { export auth; }",
    );
    assert!(matches!(error, LoadError::Contract { .. }), "{error}");
}

#[test]
fn what_is_no_component_is_refused() {
    let error = Plugin::from_bytes(b"no component").expect_err("refused");
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}
