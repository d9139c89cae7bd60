//! The server over real sockets: hosts and certificates, the ways that replies fail, and the rules of the API.

use std::time::Duration;

use fake_procore::{
    Alteration, Answer, Commit, CredentialPair, Environment, FakeProcore, Fault, Gate,
    NotRegistered, Options, Outcome, RateLimit, Reply, STRANGER_HOST, Target, TokenPair,
    VirtualClock,
};
use reqwest::{Client, Response, StatusCode};

type Tested = Result<(), Box<dyn std::error::Error>>;

const SANDBOX: Environment = Environment::Sandbox;
const CLIENT_ID: &str = "demo-client-sandbox";
const START: u64 = 1_800_000_000_000;

struct Site {
    procore: FakeProcore,
    clock: VirtualClock,
    client: Client,
}

impl Site {
    async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let clock = VirtualClock::at(START);
        let procore = FakeProcore::start(Options {
            time: clock.time_source(),
            ..Options::demo()
        })
        .await?;
        let client = client(&procore)?;
        Ok(Self {
            procore,
            clock,
            client,
        })
    }

    fn pair(&self) -> Result<TokenPair, NotRegistered> {
        self.procore
            .issue_pair(SANDBOX, CLIENT_ID, Options::DEMO_USER)
    }

    async fn refresh(&self, token: &str) -> reqwest::Result<Response> {
        let secret = Options::demo_client_secret(CredentialPair::Sandbox);
        let body = format!(
            "grant_type=refresh_token&refresh_token={token}&client_id={CLIENT_ID}&client_secret={secret}"
        );
        let request = self
            .client
            .post("https://login-sandbox.procore.com/oauth/token")
            .body(body);
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .send()
            .await
    }

    async fn get(&self, host: &str, path: &str, token: &str) -> reqwest::Result<Response> {
        self.client
            .get(format!("https://{host}{path}"))
            .bearer_auth(token)
            .header("Procore-Company-Id", 4001)
            .send()
            .await
    }

    async fn create(&self, token: &str, company: Option<u64>) -> reqwest::Result<Response> {
        let request = self
            .client
            .post("https://sandbox.procore.com/rest/v1.0/projects")
            .bearer_auth(token);
        let request = company.into_iter().fold(request, |request, id| {
            request.header("Procore-Company-Id", id)
        });
        request
            .body(r#"{"project":{"name":"Bridge"}}"#)
            .send()
            .await
    }
}

fn client(procore: &FakeProcore) -> Result<Client, Box<dyn std::error::Error>> {
    // Fails when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(procore.ca_pem().as_bytes())?;
    let mut builder = Client::builder()
        .tls_certs_only([authority])
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    for (host, address) in procore.connect_to() {
        builder = builder.resolve(host.trim_end_matches(":443"), address.parse()?);
    }
    // `resolve` with a port other than 0 overrides the port of the URL.
    Ok(builder.timeout(Duration::from_secs(20)).build()?)
}

fn header<'a>(reply: &'a Response, name: &str) -> &'a str {
    reply
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

async fn json(reply: Response) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&reply.bytes().await?)?)
}

#[tokio::test]
async fn every_host_answers_with_its_own_certificate_name_and_knows_its_own_tokens_only() -> Tested
{
    let site = Site::start().await?;
    let pair = site.pair()?;
    for environment in Environment::ALL {
        for host in environment.api_hosts() {
            let reply = site.get(host, "/rest/v1.0/me", &pair.access_token).await?;
            let expected = if environment == SANDBOX {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            };
            assert_eq!(reply.status(), expected, "{host}");
            assert_eq!(header(&reply, "x-request-id").len(), 36);
            assert_eq!(header(&reply, "date"), "Fri, 15 Jan 2027 08:00:00 GMT");
            assert_eq!(header(&reply, "x-rate-limit-limit"), "3600");
        }
        let host = environment.login_host();
        let info = site
            .get(host, "/oauth/token/info", &pair.access_token)
            .await?;
        assert_eq!(info.status().is_success(), environment == SANDBOX, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn a_person_signs_in_and_the_app_calls() -> Tested {
    let site = Site::start().await?;
    let redirect = "http%3A%2F%2Flocalhost%3A9876%2Fcallback";
    let url = format!(
        "https://login-sandbox.procore.com/oauth/authorize?response_type=code&client_id={CLIENT_ID}&redirect_uri={redirect}&state=s"
    );
    let page = site.client.get(url).send().await?;
    let location = header(&page, "location").to_owned();
    let code = location
        .split("code=")
        .nth(1)
        .and_then(|rest| rest.split('&').next())
        .ok_or("no code")?;
    let secret = Options::demo_client_secret(CredentialPair::Sandbox);
    let body = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={redirect}&client_id={CLIENT_ID}&client_secret={secret}"
    );
    let request = site
        .client
        .post("https://login-sandbox.procore.com/oauth/token")
        .body(body);
    let tokens = json(
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .send()
            .await?,
    )
    .await?;
    assert_eq!(
        (&tokens["expires_in"], &tokens["created_at"]),
        (&5400.into(), &(START / 1000).into())
    );
    let access = tokens["access_token"].as_str().ok_or("no token")?;
    let me = json(
        site.get("sandbox.procore.com", "/rest/v1.0/me", access)
            .await?,
    )
    .await?;
    assert_eq!(me["id"], Options::DEMO_USER);
    for secret in [
        access,
        code,
        tokens["refresh_token"].as_str().ok_or("no refresh token")?,
    ] {
        assert!(
            site.procore
                .secrets_issued()
                .iter()
                .any(|issued| issued == secret)
        );
    }
    assert!(!format!("{:?}", site.procore.requests()).contains(code));
    Ok(())
}

#[tokio::test]
async fn a_reply_lost_after_the_commit_has_spent_the_refresh_token() -> Tested {
    let site = Site::start().await?;
    let pair = site.pair()?;
    site.procore
        .inject(Target::Token, Fault::committed(Answer::Close));
    assert!(site.refresh(&pair.refresh_token).await.is_err());
    assert!(
        !site
            .procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token)
    );
    let lost = &site.procore.requests()[0];
    assert_eq!(
        (lost.outcome, lost.commit),
        (Outcome::Closed, Some(Commit::Rotation))
    );
    assert_eq!(lost.refresh_token(), Some(pair.refresh_token.as_str()));
    assert_eq!(
        (site.procore.token_posts(), site.procore.rotations()),
        (1, 1)
    );
    Ok(())
}

#[tokio::test]
async fn what_fails_before_the_commit_spends_nothing() -> Tested {
    let site = Site::start().await?;
    let pair = site.pair()?;
    for fault in [
        Fault::unread(),
        Fault::uncommitted(Answer::Close),
        Fault::uncommitted(Reply::gateway_error(502)),
        Fault::uncommitted(Reply::captive_portal()),
        Fault::uncommitted(Reply::firewall_block()),
        Fault::uncommitted(Reply::empty(200)),
        Fault::uncommitted(Reply::unavailable(Some(30))),
        Fault::uncommitted(Reply::too_many_requests(Some(30), Some(START / 1000 + 60))),
        Fault::uncommitted(Reply::redirect(
            307,
            &format!("https://{STRANGER_HOST}/catch"),
        )),
        Fault::same_token(),
    ] {
        site.procore.inject(Target::Token, fault.clone());
        let _ = site.refresh(&pair.refresh_token).await;
        assert!(
            site.procore
                .refresh_token_is_live(SANDBOX, &pair.refresh_token),
            "{fault:?}"
        );
    }
    assert_eq!(site.procore.pending_faults(), 0);
    assert_eq!(
        site.refresh(&pair.refresh_token).await?.status(),
        StatusCode::OK
    );
    Ok(())
}

#[tokio::test]
async fn a_truncated_reply_breaks_off_after_its_first_bytes() -> Tested {
    let site = Site::start().await?;
    let pair = site.pair()?;
    site.procore
        .inject(Target::Token, Fault::altered(Alteration::Truncated(40)));
    let mut reply = site.refresh(&pair.refresh_token).await?;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.chunk().await?.map(|chunk| chunk.len()), Some(40));
    assert!(reply.chunk().await.is_err());
    assert!(
        !site
            .procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token)
    );
    Ok(())
}

#[tokio::test]
async fn replies_of_success_can_be_spoiled() -> Tested {
    let site = Site::start().await?;
    let mut refresh = site.pair()?.refresh_token;
    let empty = Alteration::With("access_token".into(), "".into());
    for alteration in [
        empty,
        Alteration::Without("access_token".into()),
        Alteration::With("error".into(), "server_error".into()),
    ] {
        site.procore
            .inject(Target::Token, Fault::altered(alteration));
        let reply = json(site.refresh(&refresh).await?).await?;
        assert!(
            reply["access_token"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
                || reply.get("error").is_some()
        );
        refresh = reply["refresh_token"]
            .as_str()
            .ok_or("no refresh token")?
            .to_owned();
    }
    site.procore
        .inject(Target::Token, Fault::altered(Alteration::Garbled));
    let garbled = site.refresh(&refresh).await?.text().await?;
    assert!(serde_json::from_str::<serde_json::Value>(&garbled).is_err());
    assert!(garbled.contains("refresh_token"));
    Ok(())
}

#[tokio::test]
async fn a_giant_reply_goes_on_and_on() -> Tested {
    let site = Site::start().await?;
    site.procore
        .inject(Target::Api, Fault::uncommitted(Reply::giant(3_000_000)));
    let reply = site
        .get("sandbox.procore.com", "/rest/v1.0/me", "any")
        .await?;
    assert_eq!(reply.content_length(), None);
    assert_eq!(reply.bytes().await?.len(), 3_000_000);
    Ok(())
}

#[tokio::test]
async fn a_request_held_at_a_gate_is_handled_even_if_the_client_has_gone() -> Tested {
    let site = Site::start().await?;
    let pair = site.pair()?;
    let (before, after) = (Gate::closed(), Gate::closed());
    site.procore.inject(
        Target::Token,
        Fault::none().held_before(&before).held_after(&after),
    );
    {
        let refresh = site.refresh(&pair.refresh_token);
        tokio::select! {
            _ = refresh => return Err("answered while held".into()),
            () = before.arrived(1) => {}
        }
    }
    assert!(
        site.procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token)
    );
    before.open();
    after.arrived(1).await;
    assert!(
        !site
            .procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token)
    );
    assert_eq!(site.procore.requests()[0].outcome, Outcome::Pending);
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_carries_no_request() -> Tested {
    let site = Site::start().await?;
    let pair = site.pair()?;
    site.procore.refuse_connections(1);
    let error = site
        .refresh(&pair.refresh_token)
        .await
        .err()
        .ok_or("connected")?;
    assert!(error.is_connect(), "{error:?}");
    assert!(site.procore.requests().is_empty());
    assert_eq!(
        site.refresh(&pair.refresh_token).await?.status(),
        StatusCode::OK
    );
    Ok(())
}

#[tokio::test]
async fn access_tokens_die_of_age_revocation_and_a_reset_secret() -> Tested {
    let site = Site::start().await?;
    let me = |token: String| {
        let site = &site;
        async move {
            let reply = site
                .get("sandbox.procore.com", "/rest/v1.0/me", &token)
                .await?;
            Ok::<_, reqwest::Error>((
                reply.status().as_u16(),
                header(&reply, "www-authenticate").to_owned(),
            ))
        }
    };
    let old = site.pair()?;
    site.clock.advance_seconds(5399);
    assert_eq!(me(old.access_token.clone()).await?.0, 200);
    site.clock.advance_seconds(1);
    assert!(
        me(old.access_token.clone())
            .await?
            .1
            .contains("The access token expired")
    );
    assert!(
        site.procore
            .refresh_token_is_live(SANDBOX, &old.refresh_token)
    );

    let reset = site.pair()?;
    let secret = site
        .procore
        .reset_client_secret(CredentialPair::Sandbox, CLIENT_ID)?;
    assert!(site.procore.secrets_issued().contains(&secret));
    assert!(
        me(reset.access_token.clone())
            .await?
            .1
            .contains("The access token was revoked")
    );
    let refused = site.refresh(&reset.refresh_token).await?;
    assert_eq!(json(refused).await?["error"], "invalid_client");
    assert!(
        site.procore
            .refresh_token_is_live(SANDBOX, &reset.refresh_token)
    );

    site.procore
        .revoke_grant(SANDBOX, CLIENT_ID, Options::DEMO_USER)?;
    assert!(
        !site
            .procore
            .refresh_token_is_live(SANDBOX, &reset.refresh_token)
    );
    assert!(
        me("unknown".to_owned())
            .await?
            .1
            .contains("The access token is invalid")
    );
    Ok(())
}

#[tokio::test]
async fn a_revocation_kills_the_pair_unless_it_has_expired() -> Tested {
    let site = Site::start().await?;
    let revoke = |token: String| {
        let secret = Options::demo_client_secret(CredentialPair::Sandbox);
        let body = format!("token={token}&client_id={CLIENT_ID}&client_secret={secret}");
        let request = site
            .client
            .post("https://login-sandbox.procore.com/oauth/revoke")
            .body(body);
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .send()
    };
    let pair = site.pair()?;
    site.procore
        .expire_access_token(SANDBOX, &pair.access_token);
    assert_eq!(
        revoke(pair.access_token.clone()).await?.status(),
        StatusCode::OK
    );
    assert!(
        site.procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token)
    );
    assert_eq!(
        revoke(pair.refresh_token.clone()).await?.status(),
        StatusCode::OK
    );
    assert!(
        site.procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token),
        "an expired pair cannot be revoked, whichever token is named"
    );

    let pair = site.pair()?;
    assert_eq!(
        revoke(pair.refresh_token.clone()).await?.status(),
        StatusCode::OK
    );
    assert!(
        !site
            .procore
            .refresh_token_is_live(SANDBOX, &pair.refresh_token)
    );
    assert_eq!(revoke("unknown".to_owned()).await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn companies_are_named_in_a_header_and_apps_connected_to_them() -> Tested {
    let site = Site::start().await?;
    let token = site.pair()?.access_token;
    let missing = site.create(&token, None).await?;
    assert_eq!(missing.status(), StatusCode::BAD_REQUEST);
    assert!(
        missing
            .text()
            .await?
            .contains("Missing Procore-Company-Id header!")
    );
    let other = site.create(&token, Some(5005)).await?;
    assert_eq!(other.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        other.text().await?,
        r#"{"errors":["App is not connected to this company."]}"#
    );
    assert_eq!(
        site.create(&token, Some(4001)).await?.status(),
        StatusCode::CREATED
    );
    site.procore
        .disconnect_company(CredentialPair::Sandbox, CLIENT_ID, 4001)?;
    assert_eq!(
        site.create(&token, Some(4001)).await?.status(),
        StatusCode::FORBIDDEN
    );
    assert!(site.procore.access_token_is_live(SANDBOX, &token));
    assert_eq!(site.procore.executions("POST /rest/v1.0/projects"), 1);
    Ok(())
}

#[tokio::test]
async fn a_project_is_created_though_the_reply_is_lost_and_a_repeat_shows() -> Tested {
    let site = Site::start().await?;
    let token = site.pair()?.access_token;
    let creation = Target::Call("POST".into(), "/rest/v1.0/projects".into());
    site.procore
        .inject(creation, Fault::committed(Reply::gateway_error(504)));
    assert_eq!(
        site.create(&token, Some(4001)).await?.status(),
        StatusCode::GATEWAY_TIMEOUT
    );
    assert_eq!(
        site.create(&token, Some(4001)).await?.status(),
        StatusCode::CREATED
    );
    assert_eq!(site.procore.executions("POST /rest/v1.0/projects"), 2);
    let id = site.procore.projects()[1].id;
    let path = format!("/rest/v1.0/projects/{id}");
    assert_eq!(
        json(site.get("sandbox.procore.com", &path, &token).await?).await?["name"],
        "Bridge"
    );
    let delete = site
        .client
        .delete(format!("https://sandbox.procore.com{path}"))
        .bearer_auth(&token);
    assert_eq!(
        delete
            .header("Procore-Company-Id", 4001)
            .send()
            .await?
            .status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        site.get("sandbox.procore.com", &path, &token)
            .await?
            .status(),
        StatusCode::NOT_FOUND
    );
    Ok(())
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_the_window_to_end() -> Tested {
    let site = Site::start().await?;
    let token = site.pair()?.access_token;
    site.procore.set_policy(|policy| {
        policy.rate_limit = RateLimit {
            hourly: 1,
            ten_seconds: u32::MAX,
        }
    });
    assert_eq!(
        site.create(&token, Some(4001)).await?.status(),
        StatusCode::CREATED
    );
    let refused = site.create(&token, Some(4001)).await?;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        header(&refused, "x-rate-limit-reset"),
        (START / 1000 + 3600).to_string()
    );
    site.clock.advance_seconds(3600);
    assert_eq!(
        site.create(&token, Some(4001)).await?.status(),
        StatusCode::CREATED
    );
    Ok(())
}

#[tokio::test]
async fn a_host_that_contradicts_the_server_name_is_nobodys() -> Tested {
    let site = Site::start().await?;
    let request = site
        .client
        .get("https://sandbox.procore.com/rest/v1.0/me")
        .header("host", "api.procore.com");
    assert_eq!(
        request.send().await?.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    assert_eq!(site.procore.requests()[0].role, None);
    Ok(())
}

#[tokio::test]
async fn refuses_to_register_what_procore_would_not() {
    let app = fake_procore::App::new(CredentialPair::Sandbox, "id", "secret")
        .redirect_uri("http://192.168.8.124:9876/callback");
    let refused = FakeProcore::start(Options {
        apps: vec![app],
        ..Options::default()
    })
    .await;
    assert_eq!(
        refused.err().map(|error| error.kind()),
        Some(std::io::ErrorKind::InvalidInput)
    );
}

#[tokio::test]
async fn one_seed_issues_the_same_tokens() -> Tested {
    let start = || {
        FakeProcore::start(Options {
            seed: 3,
            time: VirtualClock::at(START).time_source(),
            ..Options::demo()
        })
    };
    let (one, two) = (start().await?, start().await?);
    let issue = |procore: &FakeProcore| procore.issue_pair(SANDBOX, CLIENT_ID, Options::DEMO_USER);
    assert_eq!(issue(&one)?, issue(&two)?);
    Ok(())
}

#[tokio::test]
async fn stops_and_closes_its_connections_when_dropped() -> Tested {
    let site = Site::start().await?;
    let url = "https://sandbox.procore.com/rest/v1.0/me";
    assert_eq!(
        site.client.get(url).send().await?.status(),
        StatusCode::UNAUTHORIZED
    );
    drop(site.procore);
    assert!(site.client.get(url).send().await.is_err());
    Ok(())
}
