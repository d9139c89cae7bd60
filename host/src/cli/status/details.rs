//! What stands below the table: for each connection that is not well, what it is, why, and what to do.

use procore_auth_host::{ConnectionName, Health};
use textwrap::{Options, WordSplitter, wrap};

use super::display::Display;
use super::{Known, overwrite, word};
use crate::cli::{report, time};

/// Where the text begins in the lines of a diagnosis, behind their labels: further lines begin there too.
const INDENT: &str = "         ";

/// Tells the troubles of one connection; nothing where it is well.
pub(super) fn details(known: &Known, now: u64) -> String {
    let mut text = String::new();
    if let Some(trouble) = trouble(known, now) {
        text += &format!("\n{}: {trouble}\n", known.name);
    }
    if known.status.as_ref().is_ok_and(|s| s.fallback_in_use) {
        let name = &known.name;
        text += &format!("\n{name}: meanwhile calls are made as the service account (fallback)\n");
    }
    if let Some(note) = known.note(now) {
        text += &format!("\n{}: {note}\n", known.name);
    }
    text
}

fn trouble(known: &Known, now: u64) -> Option<String> {
    match &known.status {
        Ok(status) => match &status.incident {
            Some(incident) => {
                let since = time::relative(incident.since, now);
                Some(format!(
                    "since {since}: {}",
                    report::diagnosis(&incident.diagnosis)
                ))
            }
            None => advice(status.health, &known.name),
        },
        Err(explained) => Some(report::text(explained)),
    }
}

/// Returns what to do where somebody must act and no incident says why.
fn advice(health: Health, name: &ConnectionName) -> Option<String> {
    let acts = matches!(health, Health::SignInRequired | Health::Misconfigured);
    let word = word(health);
    acts.then(|| format!("{word}: `procore-auth token --connection {name}` tells why"))
}

impl Known {
    /// Tells what is special about the environment now.
    pub(super) fn note(&self, now: u64) -> Option<String> {
        let incident = self.status.as_ref().ok().and_then(|s| s.incident.as_ref());
        let since = incident.map(|incident| incident.since);
        overwrite::note(&self.name, self.environment, since, now)
    }
}

/// Breaks lines that are too long for the display between words. What has no space in it, such as a link, stays whole.
pub(super) fn fit(text: &str, display: Display) -> String {
    let Some(width) = display.width() else {
        return text.to_owned();
    };
    let options = Options::new(width.into())
        .subsequent_indent(INDENT)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    let mut fitted = String::new();
    for line in text.lines() {
        for part in wrap(line, &options) {
            fitted += part.trim_end();
            fitted.push('\n');
        }
    }
    fitted
}

#[cfg(test)]
mod tests {
    use procore_auth_host::{Environment, Health};

    use super::super::samples::{MINUTE, broken, healthy, in_trouble, known};
    use super::{Display, advice, details, fit};

    #[test]
    fn where_somebody_must_act_and_nothing_says_why_the_way_to_know_is_told() {
        let name = "acme".parse().expect("valid");
        for health in [Health::SignInRequired, Health::Misconfigured] {
            let advice = advice(health, &name).expect("advice");
            assert!(advice.contains("token --connection acme"), "{advice}");
        }
        assert_eq!(advice(Health::Healthy, &name), None);
        assert_eq!(advice(Health::Unverified, &name), None);
    }

    #[test]
    fn what_is_well_has_no_details() {
        assert_eq!(details(&known("acme", Ok(healthy())), 42 * MINUTE), "");
    }

    #[test]
    fn what_is_not_well_has_its_cause_and_its_cure() {
        let text = details(&known("acme", Ok(in_trouble())), 42 * MINUTE);
        for part in [
            "acme: since 2 min ago: ",
            "code: refresh-token-dead",
            "why: ",
            "do: ",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let text = details(&broken("acme"), 0);
        assert!(text.contains("acme: It is wrong."), "{text}");
    }

    #[test]
    fn s54_on_its_day_the_monthly_sandbox_is_labelled_and_production_is_not() {
        let day = 1_785_758_400_000; // 2026-08-03T12:00:00Z
        let mut monthly = known("acme", Ok(healthy()));
        monthly.environment = Environment::MonthlySandbox;
        assert!(details(&monthly, day).contains("monthly sandbox"));
        let mut production = known("acme", Ok(healthy()));
        production.environment = Environment::Production;
        assert_eq!(details(&production, day), "");
    }

    #[test]
    fn long_lines_are_broken_between_words_and_links_stay_whole() {
        let link = format!("https://login.procore.com/{}", "x".repeat(80));
        let text = format!("    why: {} {link}\n\nnext\n", "some words ".repeat(12));
        let display = Display {
            size: Some((60, 24)),
            ..Display::PLAIN
        };
        let fitted = fit(&text, display);
        assert!(
            fitted.contains(&link) && fitted.ends_with("\n\nnext\n"),
            "{fitted}"
        );
        for line in fitted.lines().filter(|line| !line.contains("https")) {
            assert!(line.len() <= 60, "{fitted}");
        }
        assert!(fitted.contains("\n         words") || fitted.contains("\n         some"));
        assert_eq!(fit(&text, Display::PLAIN), text);
    }
}
