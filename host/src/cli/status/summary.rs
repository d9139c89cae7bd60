//! The connections in a sentence, for where not each of them has room: how many there are of each state, and which are the worst.

use textwrap::{Options, WordSeparator, WordSplitter, wrap};

use super::display::Display;
use super::undelivered::Undelivered;
use super::{Known, word};
use crate::cli::exit::Exit;
use crate::cli::terminal::harmless;

/// How many of the worst are named.
const NAMED: usize = 3;

/// A space at which no line is broken.
const GLUE: char = '\u{a0}';

/// Orders connections by how much they need a person. Those that need one as much stay in their order.
pub(super) fn worst_first(all: &mut [Known]) {
    all.sort_by_key(|known| std::cmp::Reverse(known.exit().urgency()));
}

/// Counts the states of connections that are [ordered](worst_first), and names the worst where they are not well.
pub(super) fn summary(all: &[Known], alerts: &Undelivered, display: Display) -> String {
    let mut states: Vec<(&str, Vec<&str>)> = Vec::new();
    for known in all {
        let (state, name) = (state(known), known.name.as_str());
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, names)) => names.push(name),
            None => states.push((state, vec![name])),
        }
    }
    let is_well = all.first().is_none_or(|worst| worst.exit() == Exit::Done);
    let mut parts: Vec<String> = states
        .iter()
        .enumerate()
        .map(|(place, (state, names))| match place {
            0 if !is_well => format!("{} {state}: {}", names.len(), named(names)),
            _ => format!("{} {state}", names.len()),
        })
        .collect();
    if alerts.exit() != Exit::Done {
        parts.push("alerts wait".to_owned());
    }
    fit(&harmless(&parts.join("; ")), display)
}

/// Returns the word for a state, and for what is not well though the connection is.
fn state(known: &Known) -> &'static str {
    match &known.status {
        Err(_) => "error",
        Ok(status) if status.health != procore_auth_host::Health::Healthy => word(status.health),
        Ok(_) => match known.exit() {
            Exit::Parked => "with parked requests",
            Exit::AtRisk => "without a keeper",
            _ => "healthy",
        },
    }
}

fn named(names: &[&str]) -> String {
    match names.len() {
        0..=NAMED => names.join(", "),
        more => format!("{} and {} more", names[..NAMED].join(", "), more - NAMED),
    }
}

/// Breaks it into lines between its parts, and keeps a number with what it counts.
fn fit(text: &str, display: Display) -> String {
    let glued = text
        .split("; ")
        .map(|part| match part.split_once(": ") {
            Some((count, names)) => format!("{}: {names}", glue(count)),
            None => glue(part),
        })
        .collect::<Vec<_>>()
        .join("; ");
    let lines: Vec<String> = match display.width() {
        None => vec![glued],
        Some(width) => {
            let options = Options::new(width.into())
                .word_separator(WordSeparator::AsciiSpace)
                .word_splitter(WordSplitter::NoHyphenation);
            wrap(&glued, options)
                .into_iter()
                .map(std::borrow::Cow::into_owned)
                .collect()
        }
    };
    lines.join("\n").replace(GLUE, " ") + "\n"
}

fn glue(text: &str) -> String {
    text.replace(' ', &GLUE.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{broken, healthy, in_trouble, known};
    use super::{Display, Undelivered, summary, worst_first};

    fn told(mut all: Vec<super::Known>, display: Display) -> String {
        worst_first(&mut all);
        summary(&all, &Undelivered::none(), display)
    }

    #[test]
    fn the_worst_are_named_and_all_are_counted() {
        let names = ["a", "b", "c", "d"].map(|name| known(name, Ok(in_trouble())));
        let mut all = vec![known("fine", Ok(healthy()))];
        all.extend(names);
        assert_eq!(
            told(all, Display::PLAIN),
            "4 sign-in required: a, b, c and 1 more; 1 healthy\n"
        );
        let all = vec![known("acme", Ok(in_trouble())), broken("bolt")];
        assert_eq!(
            told(all, Display::PLAIN),
            "1 error: bolt; 1 sign-in required\n"
        );
        let all = vec![known("acme", Ok(healthy())), known("bolt", Ok(healthy()))];
        assert_eq!(told(all, Display::PLAIN), "2 healthy\n");
    }

    #[test]
    fn a_number_stays_with_what_it_counts() {
        let display = Display {
            size: Some((20, 5)),
            ..Display::PLAIN
        };
        let all = vec![
            known("acme", Ok(healthy())),
            known("bolt", Ok(in_trouble())),
        ];
        assert_eq!(told(all, display), "1 sign-in required:\nbolt; 1 healthy\n");
    }
}
