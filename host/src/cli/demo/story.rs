//! The story, step by step. To add a step, write a function and name it in [`STORY`].

use std::pin::Pin;

use fake_procore::Options;
use procore_auth_host::{ApiRequest, Event, Health, Outcome};
use tokio::task::JoinSet;

use super::super::failure::Failure;
use super::scene::{Scene, name};
use super::stage::broken;

const ME: &str = "/rest/v1.0/me";
const PROJECTS: &str = "/rest/v1.0/projects";

/// How many callers ask for a token at once, at each agent.
const CALLERS: usize = 10;

/// How many times the keeper comes by while nobody signs in.
const VISITS: u64 = 6;

/// The project that the agent makes.
const PROJECT: &str = "Harbour Bridge";

/// One step.
pub(super) struct Step {
    /// What it shows, in a few words.
    pub(super) title: &'static str,
    /// Does it, tells it and checks it.
    pub(super) play: for<'s> fn(&'s mut Scene<'_>) -> Playing<'s>,
}

type Playing<'s> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 's>>;

/// All steps.
pub(super) const STORY: [Step; 7] = [
    Step {
        title: "A person signs in, once",
        play: |scene| Box::pin(sign_in(scene)),
    },
    Step {
        title: "The agent calls Procore: who am I?",
        play: |scene| Box::pin(who_am_i(scene)),
    },
    Step {
        title: "The token is 80 % through its life: one refresh, whoever asks",
        play: |scene| Box::pin(refresh_once(scene)),
    },
    Step {
        title: "The token dies early: refresh, and send again",
        play: |scene| Box::pin(answer_a_401(scene)),
    },
    Step {
        title: "Saturday, 2 AM: someone revokes the app",
        play: |scene| Box::pin(go_dark(scene)),
    },
    Step {
        title: "Saturday, 9 AM: the admin signs in again",
        play: |scene| Box::pin(recover(scene)),
    },
    Step {
        title: "The agent signs out",
        play: |scene| Box::pin(sign_out(scene)),
    },
];

async fn sign_in(scene: &mut Scene<'_>) -> Result<(), Failure> {
    let agent = scene.stage.agent();
    let login = agent.begin_login().await?;
    scene.tell("link", &login.authorize_url);
    let callback = scene.stage.browse(&login.authorize_url).await?;
    let back = format!("allows the app; back to {}", login.redirect_uri);
    scene.tell("person", back);
    agent.finish_login(callback).await?;
    scene.tell_requests();
    scene.holds_saved_pair().await?;
    scene.counts_token_posts(1);
    Ok(())
}

async fn who_am_i(scene: &mut Scene<'_>) -> Result<(), Failure> {
    let who = scene.stage.agent().verify().await?;
    scene.tell_requests();
    let answer = format!("{} <{}>, user {}", who.name, who.login, who.id);
    scene.tell("answer", answer);
    scene.holds("that is who signed in", who.id == Options::DEMO_USER);
    let executions = scene.executions("GET", ME);
    scene.counts("calls carried out", executions, 1);
    scene.counts_token_posts(0);
    Ok(())
}

async fn refresh_once(scene: &mut Scene<'_>) -> Result<(), Failure> {
    let old = scene.stage.live_refresh_tokens();
    scene.at(72);
    scene.tell("due", "72 of the token's 90 minutes have passed");
    let race = format!("two agents on one store, {CALLERS} callers each, all ask at once");
    scene.tell("race", race);
    let given = ask_at_once(scene).await?;
    scene.tell_requests();
    scene.holds_saved_pair().await?;
    scene.counts_token_posts(1);
    scene.counts("callers with a token", given.len(), 2 * CALLERS);
    let same = given.windows(2).all(|two| two[0] == two[1]);
    scene.holds("all of them got the same one", same);
    let live = scene.stage.live_refresh_tokens();
    for token in old {
        let what = format!("the old refresh token {} is dead", name(&token));
        scene.holds(what, !live.contains(&token));
    }
    Ok(())
}

/// Lets all callers of both agents ask for a token at once, and names what they got.
async fn ask_at_once(scene: &Scene<'_>) -> Result<Vec<String>, Failure> {
    let mut callers = JoinSet::new();
    for agent in &scene.stage.agents {
        for _ in 0..CALLERS {
            let agent = agent.clone();
            callers.spawn(async move { agent.access_token().await });
        }
    }
    let mut given = Vec::new();
    while let Some(asked) = callers.join_next().await {
        let token = asked.map_err(broken)??;
        given.push(name(token.bearer().expose()));
    }
    Ok(given)
}

async fn answer_a_401(scene: &mut Scene<'_>) -> Result<(), Failure> {
    scene.at(80);
    let agent = scene.stage.agent();
    let token = agent.access_token().await?;
    scene.stage.revoke_early(token.bearer());
    scene.tell("server", "revokes the access token 82 minutes too early");
    let sent = agent.send(ApiRequest::get(ME)).await?;
    scene.tell_requests();
    scene.holds_saved_pair().await?;
    let retried = scene.statuses(ME) == [401, 200];
    scene.holds("the call was answered 401, then 200", retried);
    let fine = matches!(sent, Outcome::Answered(answer) if answer.status == 200);
    scene.holds("the caller saw the 200 only", fine);
    scene.counts_token_posts(1);
    Ok(())
}

async fn go_dark(scene: &mut Scene<'_>) -> Result<(), Failure> {
    scene.at(100);
    let (stage, agent) = (scene.stage, scene.stage.agent());
    stage.revoke_app()?;
    scene.tell(
        "user",
        "My Connected Apps → Revoke: all tokens are dead at once",
    );
    let sent = agent.send(new_project()).await?;
    scene.tell_requests();
    let alerts = stage.reported.alerts();
    alerts.iter().for_each(|alert| tell_alert(scene, alert));
    scene.counts_token_posts(1);
    let parked = matches!(sent, Outcome::Parked(_)) && agent.parked().await?.len() == 1;
    scene.holds("the POST is parked, not lost", parked);
    wait_for_help(scene).await?;
    scene.counts("alerts", stage.reported.alerts().len(), 1);
    let executions = scene.executions("POST", PROJECTS);
    scene.counts("POSTs carried out", executions, 0);
    Ok(())
}

/// Lets the keeper come by hour by hour, while nobody signs in.
async fn wait_for_help(scene: &mut Scene<'_>) -> Result<(), Failure> {
    let (agent, before) = (scene.stage.agent(), scene.token_posts());
    let mut said = Vec::new();
    for hour in 1..=VISITS {
        scene.at(100 + 60 * hour);
        said.push(agent.upkeep(None).await?.status.health);
    }
    let visits = format!("has come by {VISITS} more times, hour by hour");
    scene.tell("keeper", visits);
    scene.tell_requests();
    let posts = scene.token_posts() - before;
    scene.counts("requests to the token endpoint in these visits", posts, 0);
    let honest = !said.contains(&Health::Healthy);
    scene.holds("no visit calls the connection healthy", honest);
    let plain = said.last() == Some(&Health::SignInRequired);
    scene.holds("the last one says: sign-in required", plain);
    Ok(())
}

fn new_project() -> ApiRequest {
    let mut request = ApiRequest::new("POST", PROJECTS)
        .header("Content-Type", "application/json")
        .body(format!(r#"{{"project": {{"name": "{PROJECT}"}}}}"#));
    request.park = true;
    request
}

/// Tells an alert as the admin reads it.
fn tell_alert(scene: &mut Scene<'_>, alert: &Event) {
    scene.tell("ALERT", &alert.message);
    for (field, label) in [("cause", "cause"), ("remedy", "cure")] {
        let found = alert.fields.iter().find(|(name, _)| name == field);
        if let Some((_, text)) = found {
            scene.tell(label, text);
        }
    }
}

async fn recover(scene: &mut Scene<'_>) -> Result<(), Failure> {
    scene.at(520);
    sign_in(scene).await?;
    let (stage, agent) = (scene.stage, scene.stage.agent());
    let notices = stage.reported.recoveries();
    scene.counts("recovery notices", notices.len(), 1);
    for notice in notices {
        scene.tell("NOTICE", notice.message);
    }
    let replayed = agent.upkeep(None).await?.replayed;
    scene.tell(
        "keeper",
        format!("comes by and finds {replayed} request waiting"),
    );
    scene.tell_requests();
    scene.at(580);
    agent.upkeep(None).await?;
    scene.tell("keeper", "comes by again, and finds nothing to do");
    scene.tell_requests();
    let executions = scene.executions("POST", PROJECTS);
    scene.counts("POSTs carried out", executions, 1);
    let projects = stage.procore.projects();
    let there = projects.iter().filter(|it| it.name == PROJECT).count();
    scene.counts(format!("projects named {PROJECT}"), there, 1);
    scene.counts("requests that still wait", agent.parked().await?.len(), 0);
    Ok(())
}

async fn sign_out(scene: &mut Scene<'_>) -> Result<(), Failure> {
    let stage = scene.stage;
    stage.agent().revoke().await?;
    scene.tell(
        "agent",
        "revokes both tokens at the server, then deletes them",
    );
    scene.tell_requests();
    let saved = stage.saved(&stage.procore.secrets_issued()).await?;
    let (refresh, access) = (stage.live_refresh_tokens(), stage.live_access_tokens());
    scene.counts("refresh tokens alive at the server", refresh.len(), 0);
    scene.counts("access tokens alive at the server", access.len(), 0);
    scene.counts("tokens left in the store", saved.len(), 0);
    Ok(())
}
