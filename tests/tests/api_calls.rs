//! Section C, and what concerns calls elsewhere: 401, 403, 404, 429, 5xx, and where the bearer goes.

use std::time::Duration;

use fake_procore::{
    Answer, Commit, Fault, Options, Recorded, Reply, Role, STRANGER_HOST, ServiceAccount, Target,
    VirtualClock,
};
use procore_auth_host::{
    ApiRequest, ApiResponse, Attempt, Connection, Decision, Grant, MemoryStore, ParkedState,
    Reply as AttemptReply,
};
use procore_auth_tests::{
    Rig,
    rig::{SANDBOX, answered, fake, parked},
    stored,
};
use serde_json::json;

const ME: &str = "/rest/v1.0/me";
const PROJECTS: &str = "/rest/v1.0/projects";

fn create(name: &str) -> ApiRequest {
    let body = json!({"project": {"name": name}}).to_string();
    ApiRequest::new("POST", PROJECTS)
        .header("Content-Type", "application/json")
        .body(body)
}

fn code(response: &ApiResponse) -> &str {
    response
        .diagnosis
        .as_ref()
        .map_or("", |diagnosis| &diagnosis.code)
}

/// Returns what reached the API hosts.
fn api_requests(rig: &Rig) -> Vec<Recorded> {
    let mut requests = rig.procore.requests();
    requests.retain(|request| request.role == Some(Role::Api));
    requests
}

fn bearers(requests: &[Recorded]) -> Vec<&str> {
    let headers = requests.iter().filter_map(|r| r.header("authorization"));
    headers
        .map(|header| header.strip_prefix("Bearer ").expect("a bearer"))
        .collect()
}

async fn signed_in(rig: &Rig) -> (Connection, MemoryStore) {
    let store = MemoryStore::new();
    let connection = rig.on_store(store.clone());
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    (connection, store)
}

#[tokio::test]
async fn s29_a_401_while_the_stored_token_is_newer_only_resends() {
    let rig = Rig::start().await;
    let (late, store) = signed_in(&rig).await;
    let rejected = late.access_token().await.expect("a token");
    let other = rig.on_store(store.clone());
    let renewed = other.renew_rejected(rejected.bearer()).await;
    let renewed = renewed.expect("a newer token");
    assert_eq!(rig.procore.token_posts(), 1);
    let mine = late.renew_rejected(rejected.bearer()).await;
    assert_eq!(mine.expect("the stored token").bearer(), renewed.bearer());
    assert_eq!(answered(late.send(ApiRequest::get(ME)).await).status, 200);
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s29_a_401_on_a_locally_valid_token_refreshes_once() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let token = stored::access_token(&store).await;
    rig.procore.revoke_access_token(fake(SANDBOX), &token);
    let response = answered(connection.send(ApiRequest::get(ME)).await);
    assert_eq!((response.status, response.attempts), (200, 2));
    assert_eq!(rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s30_a_second_401_with_a_fresh_token_stops_and_alerts() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let refused = Reply::json(401, &json!({"errors": "unauthorized"}));
    let refused = Fault::uncommitted(refused);
    rig.procore.inject_times(100, &Target::Api, &refused);
    let response = answered(connection.send(ApiRequest::get(ME)).await);
    assert_eq!((response.status, response.attempts), (401, 2));
    let diagnosis = response.diagnosis.expect("a diagnosis");
    assert_eq!(diagnosis.code, "token-rejected");
    let advice = format!("{} {}", diagnosis.cause, diagnosis.remedy);
    assert!(advice.contains("company"), "{advice}");
    assert!(advice.contains("environment") || advice.contains("sandbox.procore.com"));
    assert_eq!(rig.journal.alerts().len(), 1);
    for _ in 0..10 {
        let again = connection.send(ApiRequest::get(ME)).await;
        assert!(again.is_err_and(|error| error.is_configuration()));
    }
    assert_eq!(rig.procore.token_posts(), 1);
    assert_eq!(rig.journal.alerts().len(), 1, "{:?}", rig.journal.alerts());
}

#[tokio::test]
async fn s31_neither_403_nor_404_refreshes() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let missing = answered(connection.send(ApiRequest::get("/rest/v1.0/nothing")).await);
    assert_eq!((missing.status, code(&missing)), (404, "not-found"));
    let pair = fake(SANDBOX).credential_pair();
    rig.procore
        .disconnect_company(pair, Options::demo_client_id(pair), Options::DEMO_COMPANY)
        .expect("registered");
    let refused = answered(connection.send(ApiRequest::get(PROJECTS)).await);
    assert_eq!((refused.status, code(&refused)), (403, "app-not-connected"));
    assert_eq!((missing.attempts, refused.attempts), (1, 1));
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn s31_a_missing_company_header_is_named() {
    for status in [400, 403] {
        let rig = Rig::start().await;
        rig.procore
            .set_policy(|policy| policy.missing_company_status = status);
        let mut settings = Rig::settings(SANDBOX);
        settings.company_id = None;
        let connection = rig.process(settings, MemoryStore::new());
        rig.sign_in(&connection).await;
        let refused = answered(connection.send(ApiRequest::get(PROJECTS)).await);
        assert_eq!(
            (refused.status, code(&refused)),
            (status, "company-id-missing")
        );
        assert_eq!(rig.procore.token_posts(), 1);
    }
}

#[tokio::test]
async fn s32_the_resend_is_the_same_request_with_a_new_token() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let old = stored::access_token(&store).await;
    rig.procore.expire_access_token(fake(SANDBOX), &old);
    let response = answered(connection.send(create("Tower")).await);
    assert_eq!((response.status, response.attempts), (201, 2));
    let requests = api_requests(&rig);
    let [first, second] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!(
        bearers(&requests),
        [old, stored::access_token(&store).await]
    );
    assert_eq!((&first.method, &first.path), (&second.method, &second.path));
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("content-type"), second.header("content-type"));
    assert_eq!(
        first.header("procore-company-id"),
        second.header("procore-company-id")
    );
    let authorizations = |request: &Recorded| {
        let names = request
            .headers
            .iter()
            .filter(|(name, _)| name == "authorization");
        names.count()
    };
    assert_eq!(
        requests.iter().map(authorizations).collect::<Vec<_>>(),
        [1, 1]
    );
    assert_eq!(rig.procore.executions(&format!("POST {PROJECTS}")), 1);
}

#[tokio::test]
async fn s32_all_attempts_share_one_deadline() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let busy = Fault::uncommitted(Reply::unavailable(Some(20)));
    rig.procore.inject_times(100, &Target::Api, &busy);
    let began = rig.clock.now();
    let mut request = ApiRequest::get(ME);
    request.timeout = Some(Duration::from_secs(50));
    let response = answered(connection.send(request).await);
    assert_eq!(response.status, 503);
    assert!(response.attempts > 1);
    assert!(rig.clock.now() - began <= 50_000);
}

#[tokio::test]
async fn s33_a_post_that_may_have_been_executed_is_parked_and_never_sent_again() {
    let lost: [Answer; 3] = [
        Answer::Close,
        Reply::gateway_error(502).into(),
        Reply::gateway_error(504).into(),
    ];
    for answer in lost {
        let rig = Rig::start().await;
        let (connection, _) = signed_in(&rig).await;
        rig.procore
            .inject(Target::Api, Fault::committed(answer.clone()));
        let mut request = create("Tower");
        request.park = true;
        let kept = parked(connection.send(request).await);
        assert_eq!(kept.state, ParkedState::UnknownOutcome, "{answer:?}");
        let report = connection.replay(None).await.expect("a report");
        assert!(report.replayed.is_empty());
        assert_eq!(api_requests(&rig).len(), 1);
        assert_eq!(connection.status().await.expect("a status").undecided, 1);
    }
}

#[tokio::test]
async fn s33_a_post_that_is_not_to_be_parked_fails_with_unknown_outcome() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    rig.procore
        .inject(Target::Api, Fault::committed(Answer::Close));
    let error = connection.send(create("Tower")).await.expect_err("unknown");
    assert!(error.is_unknown_outcome(), "{error}");
    assert_eq!(api_requests(&rig).len(), 1);
}

#[tokio::test]
async fn s33_a_post_that_the_caller_declares_safe_is_sent_again() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let lost = Fault::uncommitted(Reply::gateway_error(502));
    rig.procore.inject(Target::Api, lost);
    let mut request = create("Tower");
    request.idempotent = Some(true);
    let response = answered(connection.send(request).await);
    assert_eq!((response.status, response.attempts), (201, 2));
}

#[tokio::test]
async fn s34_429_waits_for_the_later_of_both_headers_and_refreshes_nothing() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let began = rig.clock.now();
    let reset = began / 1000 + 40;
    let limited = Reply::too_many_requests(Some(10), Some(reset));
    rig.procore.inject(Target::Api, Fault::uncommitted(limited));
    let response = answered(connection.send(create("Tower")).await);
    assert_eq!((response.status, response.attempts), (201, 2));
    let requests = api_requests(&rig);
    assert!(requests[1].at_ms >= began + 40_000, "{requests:?}");
    assert_eq!(rig.procore.token_posts(), 0);
    assert!(rig.journal.alerts().is_empty());
}

#[tokio::test]
async fn s34_503_waits_as_told_and_refreshes_nothing() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let began = rig.clock.now();
    let unavailable = Fault::uncommitted(Reply::unavailable(Some(17)));
    rig.procore.inject(Target::Api, unavailable);
    let response = answered(connection.send(ApiRequest::get(ME)).await);
    assert_eq!((response.status, response.attempts), (200, 2));
    assert!(api_requests(&rig)[1].at_ms >= began + 17_000);
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn s34_a_wait_beyond_the_deadline_parks_the_request() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let began = rig.clock.now();
    let limited = Reply::too_many_requests(Some(3000), None);
    rig.procore.inject(Target::Api, Fault::uncommitted(limited));
    let mut request = create("Tower");
    request.park = true;
    let kept = parked(connection.send(request).await);
    assert_eq!(
        (kept.state, kept.reason.as_str()),
        (ParkedState::Queued, "rate-limited")
    );
    assert_eq!(rig.clock.now(), began);
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn s34_what_parks_a_request_holds_back_the_other_calls_and_the_replays() {
    for refusal in [
        Reply::too_many_requests(Some(600), None),
        Reply::unavailable(Some(600)),
    ] {
        let rig = Rig::start().await;
        let (connection, _) = signed_in(&rig).await;
        rig.procore.inject(Target::Api, Fault::uncommitted(refusal));
        let mut request = create("Tower");
        request.park = true;
        let kept = parked(connection.send(request).await);
        let until = connection.paused_until().expect("a pause");
        assert!(until >= rig.clock.now() + 600_000);
        rig.procore.clear_requests();

        let error = connection
            .send(ApiRequest::get(ME))
            .await
            .expect_err("limited");
        assert_eq!(error.code(), "rate-limited");
        for id in [None, Some(kept.id.as_str())] {
            let report = connection.replay(id).await.expect("a report");
            assert_eq!(report.stopped.expect("why").code, "rate-limited");
            assert_eq!(report.remaining, 1);
        }
        let visit = connection.upkeep(None).await.expect("a visit");
        assert_eq!((visit.replayed, visit.status.parked), (0, 1));
        assert!(api_requests(&rig).is_empty());

        rig.advance(Duration::from_secs(601));
        assert_eq!(
            answered(connection.send(ApiRequest::get(ME)).await).status,
            200
        );
        let visit = connection.upkeep(None).await.expect("a visit");
        assert_eq!((visit.replayed, visit.status.parked), (1, 0));
    }
}

#[tokio::test]
async fn s34_a_replay_that_is_refused_holds_back_the_other_calls() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let refusals = [
        Reply::too_many_requests(Some(600), None),
        Reply::too_many_requests(Some(900), None),
        Reply::unavailable(Some(1200)),
    ];
    let mut refuse = refusals.into_iter().map(Fault::uncommitted);
    let mut request = create("Tower");
    request.park = true;
    rig.procore.inject(Target::Api, refuse.next().expect("one"));
    parked(connection.send(request).await);
    for (wait, refusal) in [(900, refuse.next()), (1200, refuse.next())] {
        rig.advance(Duration::from_secs(1201));
        assert_eq!(connection.paused_until(), None);
        rig.procore.inject(Target::Api, refusal.expect("one"));
        if wait == 900 {
            connection.replay(None).await.expect("a report");
        } else {
            connection.upkeep(None).await.expect("a visit");
        }
        let until = connection.paused_until().expect("a pause");
        assert!(until >= rig.clock.now() + (wait - 1) * 1000);
    }
}

#[tokio::test]
async fn s59_no_redirect_of_the_api_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let rig = Rig::start().await;
        let (connection, _) = signed_in(&rig).await;
        let elsewhere = format!("https://{STRANGER_HOST}/file?signature=x");
        let redirect = Reply::redirect(status, &elsewhere);
        rig.procore
            .inject(Target::Api, Fault::uncommitted(redirect));
        let response = answered(connection.send(ApiRequest::get(ME)).await);
        assert_eq!(response.status, status);
        let strangers = rig.procore.requests();
        assert!(strangers.iter().all(|r| r.role != Some(Role::Stranger)));
    }
}

#[tokio::test]
async fn s59_secret_and_bearer_go_to_their_own_origins_only() {
    let rig = Rig::start().await;
    let connection = rig.signed_in(SANDBOX).await;
    connection.verify().await.expect("verified");
    answered(connection.send(create("Tower")).await);
    rig.advance_to_expiry();
    answered(connection.send(ApiRequest::get(ME)).await);
    connection.diagnose().await.expect("a diagnosis");
    connection.revoke().await.expect("signed out");
    let secret = Options::demo_client_secret(fake(SANDBOX).credential_pair());
    let (mut with_secret, mut with_bearer) = (0, 0);
    for request in rig.procore.requests() {
        let holds_secret = String::from_utf8_lossy(&request.body).contains(secret);
        let login = request.role == Some(Role::Login);
        assert!(!holds_secret || login, "{request:?}");
        assert!(!request.query.contains(secret));
        let bearer = request.header("authorization").is_some();
        let informs = login && request.path == "/oauth/token/info";
        let api = request.role == Some(Role::Api);
        assert!(!bearer || api || informs, "{request:?}");
        assert_eq!(request.environment, Some(fake(SANDBOX)));
        with_secret += usize::from(holds_secret);
        with_bearer += usize::from(bearer);
    }
    assert!(with_secret >= 3 && with_bearer >= 3);
    let revoked = rig.procore.requests();
    assert!(revoked.iter().any(|r| r.commit == Some(Commit::Revocation)));
}

#[tokio::test]
async fn s30_many_callers_whose_token_is_rejected_at_once_make_one_refresh() {
    let rig = Rig::start().await;
    let (connection, store) = signed_in(&rig).await;
    let token = stored::access_token(&store).await;
    rig.procore.revoke_access_token(fake(SANDBOX), &token);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.send(ApiRequest::get(ME)).await })
        })
        .collect();
    for call in calls {
        assert_eq!(answered(call.await.expect("no panic")).status, 200);
    }
    assert_eq!(rig.procore.token_posts(), 1);
}

/// Returns a window of 100 calls that ends in `seconds`, as a reply to `GET /me` tells of it.
fn window(rig: &Rig, remaining: u32, seconds: u64) -> Fault {
    let reset = rig.clock.now() / 1000 + seconds;
    let reply = Reply::json(200, &json!({"id": 1}))
        .header("x-rate-limit-limit", "100")
        .header("x-rate-limit-remaining", remaining.to_string())
        .header("x-rate-limit-reset", reset.to_string());
    Fault::uncommitted(reply)
}

#[tokio::test]
async fn s34_the_next_call_waits_for_a_window_that_is_used_up() {
    for (remaining, wait) in [(100, 0), (25, 0), (10, 3), (0, 40)] {
        let rig = Rig::start().await;
        let (connection, _) = signed_in(&rig).await;
        rig.procore.inject(Target::Api, window(&rig, remaining, 40));
        let began = rig.clock.now();
        answered(connection.send(ApiRequest::get(ME)).await);
        let clone = connection.clone();
        answered(clone.send(ApiRequest::get(ME)).await);
        // The rig sleeps whole seconds.
        let waited = (rig.clock.now() - began) / 1000;
        assert!(
            waited == wait || waited + 1 == wait,
            "{remaining} remain: {waited}"
        );
    }
}

#[tokio::test]
async fn s34_a_window_that_ends_after_the_calls_time_is_told_without_sending() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    rig.procore.inject(Target::Api, window(&rig, 0, 1800));
    answered(connection.send(ApiRequest::get(ME)).await);
    rig.procore.clear_requests();
    let began = rig.clock.now();
    let error = connection.send(create("Tower")).await.expect_err("limited");
    assert_eq!(error.code(), "rate-limited");
    let reset = began / 1000 * 1000 + 1_800_000;
    assert!(error.retry_at().expect("a moment").abs_diff(reset) < 1000);
    let mut request = create("Tower");
    request.park = true;
    let kept = parked(connection.send(request).await);
    assert_eq!(kept.state, ParkedState::Queued);
    assert!(api_requests(&rig).is_empty());
    rig.advance(Duration::from_secs(1800));
    assert_eq!(answered(connection.send(create("Tower")).await).status, 201);
}

#[tokio::test]
async fn s34_a_pause_that_a_caller_with_its_own_client_sees_is_kept_by_all() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let reset = rig.clock.now() / 1000 + 20;
    let headers = [
        ("X-Rate-Limit-Remaining".to_owned(), "0".to_owned()),
        ("X-Rate-Limit-Reset".to_owned(), reset.to_string()),
    ];
    let attempt = Attempt {
        method: "GET".to_owned(),
        number: 1,
        idempotent: None,
        reply: AttemptReply::Answered {
            status: 200,
            headers: headers.to_vec(),
            body: Vec::new(),
        },
        renewed: false,
        time_left: Duration::from_secs(60),
    };
    let decision = connection.assess(attempt).await.expect("a decision");
    assert_eq!(decision, Decision::Deliver(None));
    let until = connection.paused_until().expect("a pause");
    assert!(until.abs_diff(reset * 1000) < 1000);
    answered(connection.send(ApiRequest::get(ME)).await);
    // The rig sleeps whole seconds.
    assert!(api_requests(&rig)[0].at_ms + 1000 >= reset * 1000);
}

#[tokio::test]
async fn s55_an_app_that_is_disconnected_from_the_company_is_named_with_who_can_cure_it() {
    let rig = Rig::start().await;
    let (connection, _) = signed_in(&rig).await;
    let pair = fake(SANDBOX).credential_pair();
    rig.procore
        .disconnect_company(pair, Options::demo_client_id(pair), Options::DEMO_COMPANY)
        .expect("registered");
    let refused = answered(connection.send(create("Tower")).await);
    assert_eq!((refused.status, code(&refused)), (403, "app-not-connected"));
    let remedy = refused.diagnosis.expect("a diagnosis").remedy;
    assert!(remedy.contains("admin"), "{remedy}");
    assert_eq!(rig.procore.token_posts(), 0);
}

#[tokio::test]
async fn s55_a_call_without_its_company_is_told_so() {
    let rig = Rig::start().await;
    let settings = Rig::settings_with(|settings| settings.company_id = None);
    let connection = rig.process(settings, MemoryStore::new());
    rig.sign_in(&connection).await;
    rig.procore.clear_requests();
    for status in [400, 403] {
        rig.procore
            .set_policy(|policy| policy.missing_company_status = status);
        let refused = answered(connection.send(create("Tower")).await);
        assert_eq!(
            (refused.status, code(&refused)),
            (status, "company-id-missing")
        );
        let remedy = refused.diagnosis.expect("a diagnosis").remedy;
        assert!(remedy.contains("company_id"), "{remedy}");
    }
    assert_eq!(
        (rig.procore.token_posts(), api_requests(&rig).len()),
        (0, 2)
    );
    assert!(rig.journal.alerts().is_empty(), "the sign-in is well");
}

#[tokio::test]
async fn s55_a_service_account_without_permission_to_a_project_is_told_so() {
    let clock = VirtualClock::at(1_795_392_000_000);
    let mut options = Options {
        time: clock.time_source(),
        ..Options::demo()
    };
    for app in &mut options.apps {
        app.service_account = Some(ServiceAccount {
            permitted_projects: Some([].into()),
        });
    }
    let rig = Rig::with(options, clock).await;
    let closed = rig
        .procore
        .add_project(fake(SANDBOX), Options::DEMO_COMPANY, "Tower");
    let settings = Rig::settings_with(|settings| settings.grant = Grant::ClientCredentials);
    let connection = rig.process(settings, MemoryStore::new());
    let request = ApiRequest::get(format!("{PROJECTS}/{closed}"));
    let refused = answered(connection.send(request).await);
    assert_eq!((refused.status, code(&refused)), (403, "forbidden"));
    let remedy = refused.diagnosis.expect("a diagnosis").remedy;
    assert!(remedy.contains("permitted projects"), "{remedy}");
    assert_eq!(rig.procore.token_posts(), 1, "its token is fine");
}
