//! Section D: what people are told of one trouble, from its beginning to its end.

use std::time::Duration;

use fake_procore::{Answer, Fault, Reply, Target};
use procore_auth_host::{
    Connection, Event, Grant, Health, MemoryStore, Secret, Settings, Severity, Stage,
};
use procore_auth_tests::{
    RecordingStore, Rig,
    rig::{LIFETIME, SANDBOX, fake},
    stored,
};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// A connection and the moment of its sign-in.
struct SignedIn {
    rig: Rig,
    connection: Connection,
    store: MemoryStore,
    began: u64,
}

impl SignedIn {
    async fn new(settings: Settings) -> Self {
        let rig = Rig::start().await;
        let store = MemoryStore::new();
        let connection = rig.process(settings, store.clone());
        let login = connection.begin_login().await.expect("a link");
        let answer = if login.redirect_uri == OUT_OF_BAND {
            rig.browse_out_of_band(&login.authorize_url).await
        } else {
            rig.browse(&login.authorize_url).await
        };
        let signed_in = connection.finish_login(Secret::new(answer)).await;
        signed_in.expect("signed in");
        rig.procore.clear_requests();
        let began = rig.clock.now();
        Self {
            rig,
            connection,
            store,
            began,
        }
    }

    /// Has the token endpoint fail from now on.
    fn fail(&self, fault: &Fault) {
        self.rig.procore.inject_times(10_000, &Target::Token, fault);
    }

    /// Kills the refresh token at the server.
    async fn kill(&self) {
        let token = stored::refresh_token(&self.store).await;
        assert!(self.rig.procore.kill_refresh_token(fake(SANDBOX), &token));
    }

    /// Visits at each full hour from `from` to `to`, as cron does.
    async fn tick(&self, from: u64, to: u64) {
        for hour in from..=to {
            self.rig.clock.set(self.began + hour * HOUR);
            let hour = Some(Duration::from_secs(3600));
            self.connection.upkeep(hour).await.expect("a visit");
        }
    }

    /// Visits whenever the last visit said so, as `run` does.
    async fn run(&self, until: u64) {
        loop {
            let visit = self.connection.upkeep(None).await.expect("a visit");
            if visit.come_back_at > self.began + until {
                return self.rig.clock.set(self.began + until);
            }
            self.rig.clock.set(visit.come_back_at);
        }
    }

    /// What people were told: when (in minutes after the sign-in), how bad, why, and what.
    fn told(&self) -> Vec<(u64, String, String, String)> {
        let minute = |event: &Event| (event.at - self.began) / MINUTE;
        let mut events = self.rig.journal.events();
        events.retain(|event| event.severity == Severity::Alert || event.code == "recovered");
        events
            .iter()
            .map(|event| {
                let part = |name| field(event, name).unwrap_or_default().to_owned();
                (
                    minute(event),
                    part("stage"),
                    part("told"),
                    event.code.clone(),
                )
            })
            .collect()
    }
}

fn field<'e>(event: &'e Event, name: &str) -> Option<&'e str> {
    let found = event.fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// Writes down what is expected as [`SignedIn::told`] does.
fn expected(rows: &[(u64, &str, &str, &str)]) -> Vec<(u64, String, String, String)> {
    let own = |text: &str| text.to_owned();
    rows.iter()
        .map(|(minute, stage, told, code)| (*minute, own(stage), own(told), own(code)))
        .collect()
}

fn out_of_band() -> Settings {
    let redirect_uri = OUT_OF_BAND.to_owned();
    Rig::settings_with(|settings| settings.grant = Grant::AuthorizationCode { redirect_uri })
}

#[tokio::test]
async fn s39_an_outage_of_three_days_as_hourly_visits_tell_it() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    kept.fail(&Fault::uncommitted(Reply::gateway_error(502)));
    kept.tick(1, 72).await;
    let mut told = vec![
        // Half an hour is left, and nobody looks before it is over.
        (60, "urgent", "new", "unexpected-html"),
        (120, "dark", "escalated", "unexpected-html"),
        (26 * 60, "dark", "reminder", "unexpected-html"),
        (50 * 60, "dark", "reminder", "unexpected-html"),
    ];
    assert_eq!(kept.told(), expected(&told));
    kept.rig.procore.clear_faults();
    kept.tick(73, 80).await;
    told.push((73 * 60, "", "", "recovered"));
    assert_eq!(kept.told(), expected(&told));
    let events = kept.rig.journal.events();
    let end = events.iter().find(|event| event.code == "recovered");
    let end = end.expect("a notice");
    assert!(end.message.contains("after 72 h"), "{}", end.message);
    assert_eq!(field(end, "was"), Some("unexpected-html"));
}

#[tokio::test]
async fn s39_an_outage_as_a_keeper_tells_it_to_the_minute() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    kept.fail(&Fault::uncommitted(Reply::gateway_error(502)));
    kept.run(27 * HOUR).await;
    // The refresh fails from minute 72 on; within three minutes it may pass.
    let mut told = kept.told();
    let reminder = told.pop().expect("a reminder");
    let expected = expected(&[
        (75, "urgent", "new", "unexpected-html"),
        (90, "dark", "escalated", "unexpected-html"),
    ]);
    assert_eq!(told, expected);
    assert_eq!(reminder.2, "reminder");
    // A day after it was told, and each within a minute of its moment: many that went dark together are visited apart.
    assert!((90..=91).contains(&(reminder.0 - 24 * 60)), "{reminder:?}");
    let alert = &kept.rig.journal.alerts()[0];
    let state = field(alert, "state").expect("the time left");
    assert!(state.starts_with("calls still work for 1"), "{state}");
    let dark_at = kept.began + 90 * MINUTE;
    let status = kept.connection.status().await.expect("a status");
    let incident = status.incident.expect("an incident");
    assert_eq!(
        (incident.stage, incident.dark_at),
        (Stage::Dark, Some(dark_at))
    );
    assert_eq!((incident.since - kept.began) / MINUTE, 75);
    assert!((0..2 * MINUTE).contains(&(incident.last_told - dark_at - 24 * HOUR)));
}

#[tokio::test]
async fn s39_an_outage_that_ends_in_time_wakes_nobody() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    kept.fail(&Fault::uncommitted(Reply::gateway_error(502)));
    kept.run(75 * MINUTE - 1).await;
    assert!(kept.rig.procore.token_posts() > 0);
    kept.rig.procore.clear_faults();
    kept.run(24 * HOUR).await;
    assert_eq!(kept.told(), []);
}

#[tokio::test]
async fn s39_a_renewed_token_that_is_rejected_late_in_an_outage_is_told() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    let first = kept.connection.access_token().await.expect("a token");
    let renewed = kept.connection.renew_rejected(first.bearer()).await;
    let renewed = renewed.expect("another token");
    kept.fail(&Fault::uncommitted(Reply::gateway_error(502)));
    kept.rig.clock.set(renewed.refresh_at());
    let served = kept
        .connection
        .access_token()
        .await
        .expect("it still lives");
    assert_eq!(served.bearer().expose(), renewed.bearer().expose());
    assert_eq!(kept.told(), [], "calls work");
    let refused = kept.connection.renew_rejected(served.bearer()).await;
    assert_eq!(refused.expect_err("an outage").code(), "unexpected-html");
    let minute = (renewed.refresh_at() - kept.began) / MINUTE;
    let told = [(minute, "dark", "new", "unexpected-html")];
    assert_eq!(kept.told(), expected(&told));
}

#[tokio::test]
async fn s39_a_reply_that_was_lost_is_told_at_each_stage() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    kept.fail(&Fault::uncommitted(Answer::Close));
    kept.run(26 * HOUR).await;
    let told: Vec<_> = kept
        .told()
        .into_iter()
        .map(|told| (told.1, told.2))
        .collect();
    let own = |stage: &str, told: &str| (stage.to_owned(), told.to_owned());
    let expected = [
        own("working", "new"),
        own("urgent", "escalated"),
        own("dark", "escalated"),
        own("dark", "reminder"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn s35_a_dead_grant_is_told_at_each_stage_and_daily_and_posted_once() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    kept.kill().await;
    kept.run(74 * HOUR).await;
    let day = 24 * 60;
    let told = [
        (72, "working", "new", "invalid_grant"),
        (75, "urgent", "escalated", "invalid_grant"),
        (90, "dark", "escalated", "invalid_grant"),
        (90 + day, "dark", "reminder", "invalid_grant"),
        (90 + 2 * day, "dark", "reminder", "invalid_grant"),
        (90 + 3 * day, "dark", "reminder", "invalid_grant"),
    ];
    assert_eq!(kept.told(), expected(&told));
    assert_eq!(kept.rig.procore.token_posts(), 1);
    for alert in kept.rig.journal.alerts() {
        let remedy = field(&alert, "remedy").expect("a remedy");
        assert!(
            remedy.contains("`procore-auth login --connection acme`"),
            "{remedy}"
        );
        assert_eq!(field(&alert, "link"), None);
    }
    kept.rig.sign_in(&kept.connection).await;
    kept.run(80 * HOUR).await;
    let told = kept.told();
    assert_eq!(told.len(), 7, "{told:?}");
    assert_eq!(told[6].3, "recovered");
}

#[tokio::test]
async fn s38_calls_that_are_served_the_old_token_tell_that_its_time_runs_out() {
    let kept = SignedIn::new(Rig::settings(SANDBOX)).await;
    let other = kept.rig.on_store(kept.store.clone());
    kept.kill().await;
    // No keeper runs.
    for minute in 0..200 {
        kept.rig.clock.set(kept.began + minute * MINUTE);
        for caller in [&kept.connection, &other] {
            let served = caller.access_token().await.is_ok();
            assert_eq!(served, minute < LIFETIME.as_secs() / 60, "{minute}");
        }
    }
    let told = [
        (72, "working", "new", "invalid_grant"),
        (75, "urgent", "escalated", "invalid_grant"),
        (90, "dark", "escalated", "invalid_grant"),
    ];
    assert_eq!(kept.told(), expected(&told));
    assert_eq!(kept.rig.procore.token_posts(), 1);
}

#[tokio::test]
async fn s39_an_alert_at_night_has_the_link_that_an_admin_signs_in_with_in_the_morning() {
    for pkce in [false, true] {
        let mut settings = out_of_band();
        settings.policy.pkce = pkce;
        let kept = SignedIn::new(settings).await;
        kept.kill().await;
        kept.tick(1, 30).await;
        let alerts = kept.rig.journal.alerts();
        assert_eq!(alerts.len(), 3, "{alerts:?}");
        let link = field(&alerts[0], "link").expect("a link").to_owned();
        for alert in &alerts {
            assert_eq!(field(alert, "link"), Some(&*link));
            let remedy = field(alert, "remedy").expect("a remedy");
            assert!(
                remedy.contains("`procore-auth login --finish --connection acme`"),
                "{remedy}"
            );
        }
        let code = kept.rig.browse_out_of_band(&link).await;
        let status = kept.connection.finish_login(Secret::new(code)).await;
        assert_eq!(status.expect("signed in").health, Health::Healthy);
        let told = kept.told();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[3].3, "recovered");
    }
}

#[tokio::test]
async fn s39_an_alert_takes_the_link_that_somebody_was_given_already() {
    let kept = SignedIn::new(out_of_band()).await;
    kept.kill().await;
    kept.rig.advance_to_refresh();
    let login = kept.connection.begin_login().await.expect("a link");
    kept.connection.access_token().await.expect("the old token");
    let alerts = kept.rig.journal.alerts();
    assert_eq!(field(&alerts[0], "link"), Some(&*login.authorize_url));
    // It is good for longer than it was.
    kept.rig.advance(Duration::from_secs(71 * 3600));
    let code = kept.rig.browse_out_of_band(&login.authorize_url).await;
    let status = kept.connection.finish_login(Secret::new(code)).await;
    assert_eq!(status.expect("signed in").health, Health::Healthy);
}

#[tokio::test]
async fn s39_where_nobody_ever_signed_in_the_first_visit_gives_the_link() {
    let rig = Rig::start().await;
    let connection = rig.process(out_of_band(), MemoryStore::new());
    for _ in 0..5 {
        connection.upkeep(None).await.expect("a visit");
    }
    let alerts = rig.journal.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let link = field(&alerts[0], "link").expect("a link");
    let code = rig.browse_out_of_band(link).await;
    let status = connection.finish_login(Secret::new(code)).await;
    assert_eq!(status.expect("signed in").health, Health::Healthy);
    assert_eq!(
        rig.journal.codes().last().map(String::as_str),
        Some("recovered")
    );
}

/// Somebody signs in between a visit's look at the tokens and its word about them.
#[tokio::test]
async fn s39_a_trouble_that_a_sign_in_ends_during_a_visit_is_told_no_more() {
    let it = SignedIn::new(Rig::settings(SANDBOX)).await;
    it.kill().await;
    it.rig.advance(LIFETIME);
    it.connection.upkeep(None).await.expect("a visit");
    assert_eq!(it.rig.journal.alerts().len(), 1, "the end of the sign-in");

    let keepers = RecordingStore::new(it.store.clone());
    keepers.hold_up_locks();
    let keeper = it.rig.on_store(keepers.clone());
    let visit = tokio::spawn(async move { keeper.upkeep(None).await });
    keepers.locks_asked_for(1).await;
    it.rig.sign_in(&it.connection).await;
    keepers.let_locks_go_on();
    let visit = visit.await.expect("no panic").expect("a visit");
    assert_eq!(it.rig.journal.alerts().len(), 1, "it is over");
    assert!(visit.status.incident.is_none());
    assert_eq!(visit.status.health, Health::Healthy);
    let soon = it.rig.clock.now() + 1000;
    assert!(visit.come_back_at <= soon, "and looks again at once");
}
