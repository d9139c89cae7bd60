//! `procore-auth demo`: a weekend in the life of an agent, against the bundled stand-in for Procore.
//!
//! Nothing is pretended but the server and the time: it is the real plugin in its real host, over sockets and TLS under
//! Procore's own host names, with a store in files. Each step of the [`story`] checks what it shows against what the server
//! recorded; a step that does not hold ends the demo with an exit code of its own.

mod clock;
mod journal;
mod paint;
mod scene;
mod stage;
mod story;
mod summary;
mod timeline;

use clap::Args;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Explained, Failure};
use super::shutdown::Shutdown;
use super::terminal::Terminal;

use paint::Paint;
use scene::Scene;
use stage::Stage;
use story::{STORY, Step};
use summary::Summary;
use timeline::Timeline;

/// How to run the demo.
#[derive(Args)]
pub(super) struct Arguments {}

/// Runs the demo.
pub(super) async fn run(context: &Context<'_>, _: &Arguments) -> Result<Exit, Failure> {
    let mut summary = Summary::begin();
    let stage = Stage::set_up(fake_procore::Policy::default()).await?;
    let timeline = Timeline::new(&context.terminal, Paint::for_stdout());
    play(&stage, &timeline, &context.shutdown, &mut summary).await
}

/// Plays the story, step by step, until its end or the first step that does not hold.
async fn play(
    stage: &Stage,
    timeline: &Timeline<'_>,
    shutdown: &Shutdown,
    summary: &mut Summary,
) -> Result<Exit, Failure> {
    timeline.open(stage)?;
    for (number, step) in (1..).zip(&STORY) {
        if shutdown.is_requested() {
            return Ok(Exit::Interrupted);
        }
        let mut scene = Scene::begin(stage);
        let mut played = (step.play)(&mut scene).await;
        match scene.check_that_nothing_is_lost().await {
            Ok(lost) => summary.tokens_lost += lost,
            Err(failure) => played = played.and(Err(failure)),
        }
        timeline.show(number, step, &scene)?;
        verdict(number, step, &scene, played)?;
    }
    timeline.close(&summary.complete(stage))?;
    Ok(Exit::Done)
}

/// Fails, and names the step, where it ended early or one of its checks does not hold.
fn verdict(
    number: usize,
    step: &Step,
    scene: &Scene<'_>,
    played: Result<(), Failure>,
) -> Result<(), Failure> {
    let failed: Vec<String> = scene.failed().map(ToString::to_string).collect();
    let ended_early = played.err().map(Failure::explained);
    if failed.is_empty() && ended_early.is_none() {
        return Ok(());
    }
    let mut explained = Explained::new(
        Exit::Internal,
        "demo-step-failed",
        format!("Step {number} does not hold: {}.", step.title),
        "Report this as a defect, with everything that is printed here.",
    );
    if let Some(error) = ended_early {
        explained = explained.because(format!("{} [{}]", error.summary, error.code));
        explained.evidence = error.evidence;
    }
    Err(failed.into_iter().fold(explained, Explained::seen).into())
}

#[cfg(test)]
mod tests {
    use fake_procore::{Policy, Rotation};
    use tokio::sync::watch;

    use super::super::terminal::{Format, Terminal, capture};
    use super::{Exit, Failure, Paint, STORY, Shutdown, Stage, Summary, Timeline, play};

    async fn perform(policy: Policy, terminal: &Terminal) -> (Stage, Result<Exit, Failure>) {
        let stage = Stage::set_up(policy).await.expect("a stage");
        let timeline = Timeline::new(terminal, Paint::PLAIN);
        let (_open, never) = watch::channel(false);
        let shutdown = Shutdown::by(never);
        let end = play(&stage, &timeline, &shutdown, &mut Summary::begin()).await;
        (stage, end)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn prints_no_secret_and_stays_within_the_page() {
        let (terminal, results, notes) = capture::terminal(Format::Text);
        let (stage, end) = perform(Policy::default(), &terminal).await;
        assert_eq!(end.expect("holds"), Exit::Done);
        let text = results.text() + &notes.text();
        assert!(STORY.iter().all(|step| text.contains(step.title)), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        let secrets = stage.procore.secrets_issued();
        assert!(secrets.len() > 8);
        assert!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "{text}"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_the_step_that_does_not_hold() {
        let (terminal, results, _) = capture::terminal(Format::Text);
        let lenient = Policy {
            rotation: Rotation::Grace,
            ..Policy::default()
        };
        // A server that keeps the old refresh token alive for a while: what step 3 shows is not so.
        let (_, end) = perform(lenient, &terminal).await;
        let explained = end.expect_err("does not hold").explained();
        assert_eq!(explained.exit, Exit::Internal);
        assert!(explained.summary.starts_with("Step 3 "), "{explained:?}");
        assert!(explained.summary.contains(STORY[2].title));
        assert!(results.text().contains('✗'));
        assert!(!results.text().contains(STORY[3].title));
    }
}
