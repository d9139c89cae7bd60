//! The token's whole life in WASI.

use procore_auth_wasi_tests::{LIFETIME, World, given::exports::procore::auth::api};

fn get(path: &str) -> api::Request {
    api::Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        company_id: None,
        timeout: None,
        idempotent: None,
        park: false,
        order_key: None,
        not_before: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_gets_a_token_and_calls_the_api_with_it() {
    let world = World::with_service_account().await;
    let mut it = world.instance().await;
    let auth = it.given.procore_auth_auth();
    let token = auth
        .call_access_token(&mut it.store)
        .await
        .expect("no trap")
        .expect("a token");
    let api = it.given.procore_auth_api();
    let outcome = api
        .call_send(&mut it.store, &get("/rest/v1.0/me"))
        .await
        .expect("no trap")
        .expect("an outcome");
    let api::Outcome::Answered(reply) = outcome else {
        panic!("parked: {outcome:?}")
    };
    assert_eq!(reply.status, 200);
    let requests = world.procore.requests();
    assert_eq!(world.procore.token_posts(), 1);
    let bearer = format!("Bearer {}", token.bearer);
    let call = requests
        .iter()
        .find(|request| request.path == "/rest/v1.0/me")
        .expect("called");
    assert_eq!(call.header("authorization"), Some(bearer.as_str()));
    // A due moment later: one refresh, and no second one.
    world.advance(LIFETIME * 9 / 10);
    for _ in 0..2 {
        let mut later = world.instance().await;
        let auth = later.given.procore_auth_auth();
        let renewed = auth
            .call_access_token(&mut later.store)
            .await
            .expect("no trap")
            .expect("a token");
        assert_ne!(renewed.bearer, token.bearer);
    }
    assert_eq!(world.procore.token_posts(), 2);
}
