//! Calls whose bodies are streamed: the rules of section C, with bodies that are never whole in memory.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fake_procore::{Alteration, Fault, Gate, Recorded, Reply, Role, STRANGER_HOST, Target, bulk};
use procore_auth_host::{
    Connection, Environment, Error, HttpClient, HttpFailure, MemoryStore, RequestBody,
    RequestLimits, ResponseBody, StreamRequest, StreamedResponse,
};
use procore_auth_tests::{
    Rig,
    rig::{SANDBOX, fake},
    stored,
};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

const ME: &str = "/rest/v1.0/me";
/// Larger than what a socket and its buffers hold.
const LARGE: usize = 24 << 20;

async fn signed_in(rig: &Rig) -> (Connection, MemoryStore) {
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    (connection, store)
}

/// A body that differs from place to place.
fn large() -> Vec<u8> {
    (0..LARGE / 4)
        .flat_map(|n| u32::try_from(n).expect("small").to_le_bytes())
        .collect()
}

fn upload(method: &str, body: RequestBody) -> StreamRequest {
    StreamRequest::new(method, bulk::PATH)
        .header("Content-Type", "application/octet-stream")
        .body(body)
}

fn once(body: &[u8]) -> RequestBody {
    RequestBody::once(None, std::io::Cursor::new(body.to_vec()))
}

async fn whole(body: &mut ResponseBody) -> Result<Vec<u8>, Error> {
    let mut read = Vec::new();
    while let Some(piece) = body.chunk().await? {
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

async fn text(mut response: StreamedResponse) -> String {
    let body = whole(&mut response.body).await.expect("whole");
    String::from_utf8(body).expect("text")
}

fn code(response: &StreamedResponse) -> &str {
    let diagnosis = response.diagnosis.as_ref();
    diagnosis.map_or("", |diagnosis| &diagnosis.code)
}

/// Returns what reached the API hosts at this path.
fn seen(rig: &Rig, path: &str) -> Vec<Recorded> {
    let mut requests = rig.procore.requests();
    requests.retain(|r| r.role == Some(Role::Api) && r.path == path);
    requests
}

fn bearer(request: &Recorded) -> &str {
    let header = request.header("authorization").expect("a token");
    header.strip_prefix("Bearer ").expect("a bearer")
}

#[tokio::test]
async fn bodies_of_every_kind_arrive_whole_with_their_size_where_it_is_known() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let body = large();
    let summary = bulk::summary_of(&body);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("body");
    std::fs::write(&path, &body).expect("written");
    let size = body.len() as u64;
    let sized = RequestBody::once(Some(size), std::io::Cursor::new(body.clone()));
    for (body, length) in [
        (RequestBody::bytes(body.clone()), Some(size)),
        (RequestBody::file(path), Some(size)),
        (sized, Some(size)),
        (once(&body), None),
    ] {
        let described = format!("{body:?}");
        let response = connection.stream(upload("POST", body)).await;
        let response = response.expect("answered");
        assert_eq!((response.status, response.attempts), (201, 1));
        assert_eq!(text(response).await, summary, "{described}");
        let requests = seen(&rig, bulk::PATH);
        let last = requests.last().expect("seen");
        let length = length.map(|length| length.to_string());
        assert_eq!(last.header("content-length"), length.as_deref());
        assert_eq!(last.header("procore-company-id"), Some("4001"));
    }
    let request = StreamRequest::get(format!("{}/{LARGE}", bulk::PATH));
    let mut response = connection.stream(request).await.expect("answered");
    let received = whole(&mut response.body).await.expect("whole");
    assert_eq!((response.status, received.len()), (200, LARGE));
}

#[tokio::test]
async fn s32_after_a_401_the_same_body_is_sent_again_with_a_new_token() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let old = stored::access_token(&store).await;
    rig.procore.expire_access_token(fake(SANDBOX), &old);
    let body = large();
    let summary = bulk::summary_of(&body);
    let response = connection.stream(upload("POST", RequestBody::bytes(body)));
    let response = response.await.expect("answered");
    assert_eq!((response.status, response.attempts), (201, 2));
    let requests = seen(&rig, bulk::PATH);
    let [first, second] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(bearer(first), old);
    assert_eq!(bearer(second), stored::access_token(&store).await);
    for request in [first, second] {
        assert_eq!(String::from_utf8_lossy(&request.body), summary);
        let kind = request.header("content-type");
        assert_eq!(kind, Some("application/octet-stream"));
    }
    assert_eq!(rig.procore.executions(&format!("POST {}", bulk::PATH)), 1);
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s29_a_renewed_token_that_works_may_be_renewed_again() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    for posts in 1..=2 {
        let token = stored::access_token(&store).await;
        rig.procore.expire_access_token(fake(SANDBOX), &token);
        let response = connection.stream(upload("POST", RequestBody::bytes("a")));
        assert_eq!(response.await.expect("answered").status, 201);
        assert_eq!(rig.procore.token_posts(), posts);
    }
    assert!(rig.journal.alerts().is_empty());
}

#[tokio::test]
async fn s30_a_second_401_is_delivered_and_told_once() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let refused = Fault::uncommitted(Reply::json(401, &json!({"errors": "unauthorized"})));
    rig.procore.inject_times(100, &Target::Api, &refused);
    let response = connection.stream(upload("POST", RequestBody::bytes("a")));
    let response = response.await.expect("answered");
    assert_eq!((response.status, response.attempts), (401, 2));
    assert_eq!(code(&response), "token-rejected");
    assert_eq!(rig.journal.alerts().len(), 1, "{:?}", rig.journal.alerts());
    for _ in 0..5 {
        let again = connection.stream(StreamRequest::get(ME)).await;
        assert!(again.is_err_and(|error| error.is_configuration()));
    }
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(rig.journal.alerts().len(), 1);
}

#[tokio::test]
async fn s30_streams_that_are_rejected_at_once_share_one_refresh() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let token = stored::access_token(&store).await;
    rig.procore.expire_access_token(fake(SANDBOX), &token);
    let uploads: Vec<_> = (0..8)
        .map(|_| {
            let connection = connection.clone();
            let request = upload("POST", RequestBody::bytes(vec![7; 1 << 20]));
            tokio::spawn(async move { connection.stream(request).await })
        })
        .collect();
    for upload in uploads {
        let response = upload.await.expect("no panic").expect("answered");
        assert_eq!(response.status, 201);
    }
    assert_eq!(rig.procore.token_posts(), 1);
    assert!(rig.journal.alerts().is_empty());
}

#[tokio::test]
async fn s34_429_waits_as_told_and_sends_the_body_again() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let began = rig.clock.now();
    let limited = Fault::uncommitted(Reply::too_many_requests(Some(17), None));
    rig.procore.inject(Target::Api, limited);
    let body = large();
    let summary = bulk::summary_of(&body);
    let response = connection.stream(upload("POST", RequestBody::bytes(body)));
    let response = response.await.expect("answered");
    assert_eq!((response.status, response.attempts), (201, 2));
    assert_eq!(text(response).await, summary);
    assert!(seen(&rig, bulk::PATH)[1].at_ms >= began + 17_000);
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn s36_a_stream_waits_for_the_window_that_an_earlier_reply_used_up() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let reset = rig.clock.now() / 1000 + 20;
    let spent = Reply::json(200, &json!({"id": 1}))
        .header("X-Rate-Limit-Limit", "100")
        .header("X-Rate-Limit-Remaining", "0")
        .header("X-Rate-Limit-Reset", reset.to_string());
    rig.procore.inject(Target::Api, Fault::uncommitted(spent));
    let get = || StreamRequest::new("GET", ME);
    connection.stream(get()).await.expect("answered");
    let until = connection.paused_until().expect("a pause");

    let mut hurried = get();
    hurried.timeout = Some(Duration::from_secs(5));
    let error = connection.stream(hurried).await.expect_err("held back");
    assert_eq!(error.code(), "rate-limited");
    assert!(error.is_unavailable());
    assert!(error.retry_at().expect("a moment").abs_diff(until) < 1000);
    assert_eq!(seen(&rig, ME).len(), 1, "nothing was sent in vain");

    let response = connection.stream(get()).await.expect("answered");
    assert_eq!((response.status, response.attempts), (200, 1));
    // The rig sleeps whole seconds.
    assert!(seen(&rig, ME)[1].at_ms + 1000 >= reset * 1000);
}

#[tokio::test]
async fn s36_a_stream_that_gives_up_on_a_429_holds_back_what_comes_next() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let busy = Fault::uncommitted(Reply::too_many_requests(Some(300), None));
    rig.procore.inject(Target::Api, busy);
    let hurried = || {
        let mut request = StreamRequest::new("GET", ME);
        request.timeout = Some(Duration::from_secs(5));
        request
    };
    let refused = connection.stream(hurried()).await.expect("answered");
    assert_eq!((refused.status, refused.attempts), (429, 1));
    let left = connection.paused_until().expect("a pause") - rig.clock.now();
    assert!((290_000..=300_000).contains(&left), "{left} ms");
    let error = connection.stream(hurried()).await.expect_err("held back");
    assert_eq!(error.code(), "rate-limited");
    assert_eq!(seen(&rig, ME).len(), 1, "nothing was sent in vain");
}

#[tokio::test]
async fn s32_waits_share_one_deadline() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let busy = Fault::uncommitted(Reply::unavailable(Some(20)));
    rig.procore.inject_times(100, &Target::Api, &busy);
    let began = rig.clock.now();
    let mut request = upload("PUT", RequestBody::bytes("a"));
    request.timeout = Some(Duration::from_secs(50));
    let response = connection.stream(request).await.expect("answered");
    assert_eq!(response.status, 503);
    assert!(response.attempts > 1);
    assert!(rig.clock.now() - began <= 50_000);
}

#[tokio::test]
async fn s33_a_post_that_breaks_off_is_of_unknown_outcome_and_not_sent_again() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    rig.procore.inject(Target::Api, Fault::unread());
    let response = connection.stream(upload("POST", RequestBody::bytes(large())));
    let error = response.await.expect_err("unknown");
    assert!(error.is_unknown_outcome(), "{error}");
    assert_eq!(seen(&rig, bulk::PATH).len(), 1);
}

#[tokio::test]
async fn s33_what_is_idempotent_is_sent_again_where_no_answer_began() {
    for request in [
        StreamRequest::get(ME),
        upload("PUT", RequestBody::bytes(large())),
    ] {
        let rig = Rig::start().await;
        let (connection, _) = signed_in(&rig).await;
        rig.procore.inject(Target::Api, Fault::unread());
        let response = connection.stream(request).await.expect("answered");
        assert_eq!((response.status / 100, response.attempts), (2, 2));
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_sent_is_delivered() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let too_large = Reply::json(413, &json!({"errors": "too large"}));
    rig.procore.inject(Target::Api, Fault::early(too_large));
    // It never ends: only an early answer can end the call.
    let endless = RequestBody::repeatable(None, || async { Ok(tokio::io::repeat(b'a')) });
    let response = connection.stream(upload("POST", endless)).await;
    let response = response.expect("answered");
    assert_eq!((response.status, response.attempts), (413, 1));
    assert_eq!(text(response).await, r#"{"errors":"too large"}"#);
}

#[tokio::test]
async fn an_early_401_renews_and_sends_the_body_from_its_beginning() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let refused = Reply::json(401, &json!({"errors": "unauthorized"}));
    rig.procore.inject(Target::Api, Fault::early(refused));
    let body = large();
    let summary = bulk::summary_of(&body);
    let response = connection.stream(upload("POST", RequestBody::bytes(body)));
    let response = response.await.expect("answered");
    assert_eq!((response.status, response.attempts), (201, 2));
    assert_eq!(text(response).await, summary);
}

#[tokio::test]
async fn a_body_that_can_be_sent_once_only_is_not_sent_again() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let old = stored::access_token(&store).await;
    rig.procore.expire_access_token(fake(SANDBOX), &old);
    let response = connection.stream(upload("POST", once(b"abc"))).await;
    let response = response.expect("the 401");
    assert_eq!((response.status, response.attempts), (401, 1));
    assert_eq!(code(&response), "body-used-up");
    assert_eq!(rig.procore.token_posts(), 1, "the token is renewed");

    let limited = Fault::uncommitted(Reply::too_many_requests(Some(1), None));
    rig.procore.inject(Target::Api, limited);
    let response = connection.stream(upload("PUT", once(b"abc"))).await;
    let response = response.expect("the 429");
    assert_eq!((response.status, response.attempts), (429, 1));
    assert_eq!(code(&response), "rate-limited");

    let response = connection.stream(upload("POST", once(b"abc"))).await;
    assert_eq!(response.expect("answered").status, 201);
}

#[tokio::test]
async fn a_body_that_was_never_begun_is_sent_after_all() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    rig.procore.refuse_connections(1);
    let response = connection.stream(upload("POST", once(b"abc"))).await;
    let response = response.expect("answered");
    assert_eq!((response.status, response.attempts), (201, 2));
    assert_eq!(text(response).await, bulk::summary_of(b"abc"));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_no_outcome_in_doubt() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let short = RequestBody::once(Some(10), &b"abc"[..]);
    for body in [RequestBody::file("/nonexistent"), short] {
        let error = connection.stream(upload("POST", body)).await;
        let error = error.expect_err("unreadable");
        assert_eq!(error.code(), "body-unreadable", "{error}");
        assert!(error.is_invalid_input());
    }
    assert_eq!(rig.procore.executions(&format!("POST {}", bulk::PATH)), 0);
}

#[tokio::test]
async fn s59_nothing_leaves_for_another_origin() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    for path in [
        "https://evil.example/",
        "//evil.example/",
        "@evil.example/",
        ".evil.example/",
        "",
        "/a#b",
        "/a b",
        "/a\\b",
    ] {
        let error = connection.stream(StreamRequest::get(path)).await;
        assert!(error.expect_err("refused").is_invalid_input(), "{path:?}");
    }
    for name in [
        "Authorization",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
    ] {
        let request = StreamRequest::get(ME).header(name, "1");
        let error = connection.stream(request).await.expect_err("refused");
        assert!(error.is_invalid_input(), "{name}");
    }
    for method in ["CONNECT", "TRACE", "get", ""] {
        let error = connection.stream(StreamRequest::new(method, ME)).await;
        assert!(error.expect_err("refused").is_invalid_input(), "{method:?}");
    }
    assert!(rig.procore.requests().is_empty());
}

#[tokio::test]
async fn s59_no_redirect_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let rig = Rig::start().await;
        let (connection, _) = signed_in(&rig).await;
        let elsewhere = format!("https://{STRANGER_HOST}/file?signature=x");
        let redirect = Fault::uncommitted(Reply::redirect(status, &elsewhere));
        rig.procore.inject(Target::Api, redirect);
        let response = connection.stream(StreamRequest::get(ME)).await;
        assert_eq!(response.expect("answered").status, status);
        let requests = rig.procore.requests();
        assert!(requests.iter().all(|r| r.role != Some(Role::Stranger)));
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_is_an_error_after_what_arrived() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let broken = Fault::altered(Alteration::Truncated(100_000));
    rig.procore.inject(Target::Api, broken);
    let request = StreamRequest::get(format!("{}/200000", bulk::PATH));
    let mut response = connection.stream(request).await.expect("answered");
    let mut received = 0;
    let error = loop {
        match response.body.chunk().await {
            Ok(piece) => received += piece.expect("not whole").len(),
            Err(error) => break error,
        }
    };
    assert_eq!(received, 100_000);
    assert_eq!(error.code(), "connection-closed");
    assert!(error.is_unavailable());
    let again = response.body.chunk().await.expect_err("it stays broken");
    assert_eq!(again.code(), "connection-closed");
}

#[tokio::test]
async fn an_upload_that_stands_still_ends_with_the_idle_time() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let (body, mut source) = tokio::io::duplex(1000);
    source.write_all(b"abc").await.expect("written");
    let mut request = upload("POST", RequestBody::once(None, body));
    request.idle_timeout = Some(Duration::from_millis(200));
    let error = connection.stream(request).await.expect_err("idle");
    assert!(error.is_unknown_outcome(), "{error}");
    let evidence = error.diagnosis().evidence.join(" ");
    assert!(evidence.contains("timeout"), "{evidence}");
}

#[tokio::test]
async fn an_answer_that_does_not_begin_ends_with_the_timeout() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let gate = Gate::closed();
    rig.procore.inject(Target::Api, Fault::hold_before(&gate));
    let mut request = upload("POST", RequestBody::bytes("a"));
    request.timeout = Some(Duration::from_millis(300));
    let error = connection.stream(request).await.expect_err("silent");
    assert!(error.is_unknown_outcome(), "{error}");
    gate.open();
}

#[tokio::test]
async fn a_caller_that_drops_the_body_frees_the_connection() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let request = StreamRequest::get(format!("{}/{}", bulk::PATH, 1_u64 << 40));
    let mut response = connection.stream(request).await.expect("answered");
    response.body.chunk().await.expect("a piece");
    drop(response);
    let me = connection.stream(StreamRequest::get(ME)).await;
    assert_eq!(me.expect("answered").status, 200);
}

#[tokio::test]
async fn s49_calls_go_to_the_api_host_that_answered() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(Environment::MonthlySandbox).await;
    let gone = Fault::uncommitted(Reply::empty(404));
    let default = Target::Host("monthly-sandbox.procore.com".to_owned());
    rig.procore.inject(default, gone);
    connection.verify().await.expect("the other host answers");
    let origin = connection.status().await.expect("a status").api_origin;
    assert_eq!(origin, "https://api-monthly.procore.com");
    rig.procore.clear_requests();
    let me = connection.stream(StreamRequest::get(ME)).await;
    assert_eq!(me.expect("answered").status, 200);
    assert_eq!(seen(&rig, ME)[0].host, "api-monthly.procore.com");
}

/// A client of an embedder's that knows whole replies only.
struct Whole(procore_auth_host::HttpsClient);

#[async_trait]
impl HttpClient for Whole {
    async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: RequestLimits,
    ) -> Result<http::Response<Vec<u8>>, HttpFailure> {
        self.0.send(request, limits).await
    }
}

#[tokio::test]
async fn a_client_without_streams_is_told_apart() {
    let rig = Rig::start().await;
    let builder = rig.builder(Rig::settings(SANDBOX));
    let builder = builder.http(Arc::new(Whole(rig.http.clone())));
    let connection = builder.build().expect("complete");
    let error = connection.stream(StreamRequest::get(ME)).await;
    let error = error.expect_err("unsupported");
    assert_eq!(error.code(), "streaming-unsupported");
    assert!(error.is_configuration());
}
