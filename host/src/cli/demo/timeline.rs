//! How the story is shown: as a timeline for a person, as one JSON object a step for a program.

use serde::Serialize;

use super::super::failure::Failure;
use super::Terminal;
use super::paint::{BAD, BOLD, DIM, GOOD, Paint};
use super::scene::{Check, Fact, Scene};
use super::stage::Stage;
use super::story::Step;
use super::summary::Numbers;

/// The widest line.
const PAGE: usize = 100;
/// The columns: the time, the number of the step, the label of a fact.
const TIME: usize = 8;
const NUMBER: usize = 2;
const LABEL: usize = 7;
/// Between columns.
const GAP: &str = "  ";
/// Where texts begin.
const TEXT: usize = TIME + NUMBER + LABEL + 3 * GAP.len();

/// Shows steps as they are played.
pub(super) struct Timeline<'a> {
    terminal: &'a Terminal,
    paint: Paint,
}

/// A step as JSON. The fields are stable.
#[derive(Serialize)]
struct StepDocument<'a> {
    step: usize,
    title: &'a str,
    minute: u64,
    passed: bool,
    facts: &'a [Fact],
    checks: &'a [Check],
}

#[derive(Serialize)]
struct SummaryDocument<'a> {
    summary: &'a Numbers,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(terminal: &'a Terminal, paint: Paint) -> Self {
        Self { terminal, paint }
    }

    /// Says what is about to be seen.
    pub(super) fn open(&self, stage: &Stage) -> Result<(), Failure> {
        if self.terminal.is_json() {
            return Ok(());
        }
        let title = self
            .paint
            .apply(BOLD, "A night in the life of an unattended agent");
        let preface = format!(
            "The real plugin in its real host, against a stand-in for Procore on {}: true sockets, TLS under Procore's own \
             host names, a store in files. Only the time is virtual, and hours pass at once. A {} is checked against what the \
             server recorded.",
            stage.procore.address(),
            mark(true),
        );
        self.terminal.line(title)?;
        for line in wrap(&preface, PAGE) {
            self.terminal.line(self.paint.apply(DIM, &line))?;
        }
        Ok(())
    }

    /// Shows a step that was played, whether or not it holds.
    pub(super) fn show(
        &self,
        number: usize,
        step: &Step,
        scene: &Scene<'_>,
    ) -> Result<(), Failure> {
        if self.terminal.is_json() {
            return self.terminal.json(&StepDocument {
                step: number,
                title: step.title,
                minute: scene.began,
                passed: scene.failed().next().is_none(),
                facts: &scene.facts,
                checks: &scene.checks,
            });
        }
        self.heading(number, step, scene)?;
        let mut now = scene.began;
        for fact in &scene.facts {
            self.fact(fact, fact.minute != now)?;
            now = fact.minute;
        }
        scene.checks.iter().try_for_each(|check| self.check(check))
    }

    /// Shows the numbers.
    pub(super) fn close(&self, numbers: &Numbers) -> Result<(), Failure> {
        if self.terminal.is_json() {
            return self.terminal.json(&SummaryDocument { summary: numbers });
        }
        let text = format!(
            "All steps hold: token endpoint POSTs {}, tokens lost {}, alerts {}, recovered {}; {} h {} min in {:.1} s.",
            numbers.token_posts,
            numbers.tokens_lost,
            numbers.alerts,
            numbers.recovered,
            numbers.story_minutes / 60,
            numbers.story_minutes % 60,
            numbers.seconds,
        );
        self.terminal.line("")?;
        self.terminal.line(self.paint.apply(BOLD, &text))
    }

    fn heading(&self, number: usize, step: &Step, scene: &Scene<'_>) -> Result<(), Failure> {
        let time = self.paint.apply(BOLD, &time(scene.began));
        let title = self
            .paint
            .apply(BOLD, &format!("{number:NUMBER$}{GAP}{}", step.title));
        self.terminal.line("")?;
        self.terminal.line(format_args!("{time}{GAP}{title}"))
    }

    fn fact(&self, fact: &Fact, time_passed: bool) -> Result<(), Failure> {
        let time = if time_passed {
            time(fact.minute)
        } else {
            String::new()
        };
        let style = match fact.label {
            "ALERT" => BAD,
            "NOTICE" => GOOD,
            _ => DIM,
        };
        let label = self.paint.apply(style, &format!("{:LABEL$}", fact.label));
        self.paragraph(&time, &label, &fact.text)
    }

    fn check(&self, check: &Check) -> Result<(), Failure> {
        let style = if check.passed() { GOOD } else { BAD };
        let label = format!("{:>LABEL$}", mark(check.passed()));
        self.paragraph("", &self.paint.apply(style, &label), &check.to_string())
    }

    /// Prints a text in its column, over as many lines as it needs. The label is padded already.
    fn paragraph(&self, time: &str, label: &str, text: &str) -> Result<(), Failure> {
        let time = self.paint.apply(DIM, &format!("{time:TIME$}"));
        let mut before = format!("{time}{GAP}{:NUMBER$}{GAP}{label}{GAP}", "");
        for line in wrap(text, PAGE - TEXT) {
            self.terminal.line(format_args!("{before}{line}"))?;
            before = " ".repeat(TEXT);
        }
        Ok(())
    }
}

fn time(minute: u64) -> String {
    format!("{:>TIME$}", format!("+{minute} min"))
}

fn mark(passed: bool) -> char {
    if passed { '✓' } else { '✗' }
}

/// Breaks a text between words, and a URL before its parameters, into lines of at most `width` characters. What cannot be
/// broken stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in text.split_inclusive(' ').flat_map(parameters) {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + piece.trim_end().chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(piece);
        }
    }
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// Splits a word before each `&` of a URL.
fn parameters(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest[first.len_utf8()..]
            .find('&')
            .map_or(rest.len(), |at| at + first.len_utf8());
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn texts_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
        assert_eq!(wrap("", 3), [""]);
    }

    #[test]
    fn a_link_is_broken_before_its_parameters() {
        assert_eq!(
            wrap("https://a?b=c&d=e&f=g", 17),
            ["https://a?b=c&d=e", "&f=g"]
        );
    }
}
