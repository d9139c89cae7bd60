//! What browsers brought to the callback server, and what became of it.
//!
//! An answer that is taken in gets an address of its own, its *place*: random, without the code, and told to nobody but who
//! brought the answer. There the browser waits for the outcome, and finds it again after a reload.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use procore_auth_host::{Random as _, Secret, SystemRandom};
use tokio::sync::watch;

use crate::cli::callback_page::{CURE, Page};

/// How many outcomes are kept. More than one comes only from older tabs and from pages that try their luck.
const KEPT: usize = 16;

/// The answers so far. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Answers(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    phase: Phase,
    kept: VecDeque<Answer>,
}

struct Answer {
    url: Secret,
    place: Arc<str>,
    outcome: watch::Receiver<Option<Page>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Waiting,
    Working,
    Done,
}

/// What is to be done about an answer.
pub(super) enum Reception {
    /// It is the first, or the one before was not ours: somebody has to look at it.
    New(Turn),
    /// It was brought before: what became of it is found at its place.
    Known(Arc<str>),
    /// Another one is being looked at.
    Busy,
    /// Another one has ended the sign-in.
    Over,
}

/// The right to say what became of an answer. Dropped, it says that nothing did.
pub(super) struct Turn {
    answers: Answers,
    /// Where its outcome will be found.
    pub(super) place: Arc<str>,
    outcome: watch::Sender<Option<Page>>,
}

impl Answers {
    /// Takes an answer in.
    pub(super) fn receive(&self, url: &Secret) -> Reception {
        let mut list = self.list();
        if let Some(known) = list.kept.iter().find(|answer| answer.url == *url) {
            return Reception::Known(Arc::clone(&known.place));
        }
        match list.phase {
            Phase::Working => Reception::Busy,
            Phase::Done => Reception::Over,
            Phase::Waiting => {
                list.phase = Phase::Working;
                Reception::New(self.keep(&mut list, url))
            }
        }
    }

    /// Returns what becomes of the answer at this place; `None` where there is none.
    pub(super) fn outcome(&self, place: &str) -> Option<watch::Receiver<Option<Page>>> {
        let list = self.list();
        let found = list.kept.iter().find(|answer| *answer.place == *place)?;
        Some(found.outcome.clone())
    }

    fn keep(&self, list: &mut List, url: &Secret) -> Turn {
        let (sender, outcome) = watch::channel(None);
        let place = new_place();
        list.kept.truncate(KEPT - 1);
        list.kept.push_front(Answer {
            url: url.clone(),
            place: Arc::clone(&place),
            outcome,
        });
        Turn {
            answers: self.clone(),
            place,
            outcome: sender,
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Says what became of the answer, and ends the sign-in.
    pub(super) fn finish(self, page: Page) {
        self.say(Phase::Done, page);
    }

    /// Says that the answer was not ours: the next one is taken in.
    pub(super) fn reject(self, page: Page) {
        self.say(Phase::Waiting, page);
    }

    fn say(&self, phase: Phase, page: Page) {
        self.answers.list().phase = phase;
        self.outcome.send_replace(Some(page));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.outcome.borrow().is_none() {
            self.say(Phase::Waiting, unfinished());
        }
    }
}

/// What is shown where nobody said what became of an answer.
pub(super) fn unfinished() -> Page {
    Page::bad(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The sign-in was not finished",
        "procore-auth stopped before it knew the outcome.",
    )
    .section(CURE, "Look at the terminal where procore-auth runs.")
}

/// Cannot be guessed: the outcome names a person, and other accounts of the machine reach this server too.
fn new_place() -> Arc<str> {
    let mut random = [0; 16];
    SystemRandom.fill(&mut random);
    format!("/sign-in/{:032x}", u128::from_be_bytes(random)).into()
}

#[cfg(test)]
mod tests {
    use super::{Answers, KEPT, Page, Reception, Secret, Turn};

    fn new(answers: &Answers, url: &str) -> Turn {
        match answers.receive(&Secret::new(url)) {
            Reception::New(turn) => turn,
            _ => panic!("{url} is new"),
        }
    }

    #[test]
    fn one_answer_is_looked_at_at_a_time_and_one_ends_it() {
        let answers = Answers::default();
        let first = new(&answers, "first");
        let place = first.place.clone();
        assert!(matches!(
            answers.receive(&Secret::new("second")),
            Reception::Busy
        ));
        assert!(
            matches!(answers.receive(&Secret::new("first")), Reception::Known(known) if known == place)
        );
        first.finish(Page::good("Signed in", ""));
        assert!(matches!(
            answers.receive(&Secret::new("second")),
            Reception::Over
        ));
        let outcome = answers.outcome(&place).expect("kept");
        assert!(outcome.borrow().is_some());
        assert!(answers.outcome("/sign-in/0").is_none());
    }

    #[test]
    fn an_answer_that_nobody_looked_at_leaves_room_for_the_next() {
        let answers = Answers::default();
        let dropped = new(&answers, "first").place.clone();
        let outcome = answers.outcome(&dropped).expect("kept");
        assert_eq!(*outcome.borrow(), Some(super::unfinished()));
        new(&answers, "second");
    }

    #[test]
    fn rejected_answers_do_not_pile_up() {
        let answers = Answers::default();
        for number in 0..100 {
            new(&answers, &number.to_string()).reject(Page::good("", ""));
        }
        assert_eq!(answers.list().kept.len(), KEPT);
        assert!(matches!(
            answers.receive(&Secret::new("99")),
            Reception::Known(_)
        ));
    }
}
