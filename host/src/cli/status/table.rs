//! The table: one line a connection.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, Row, Table};
use procore_auth_host::{Health, Status};
use textwrap::core::display_width;

use super::bar::bar;
use super::columns;
use super::display::Display;
use super::undelivered::Undelivered;
use super::{Known, word};
use crate::cli::{terminal::harmless, time};

/// How long a refresh may be due before it is late, in milliseconds: a keeper needs a moment.
const LATE: u64 = 60_000;

const NONE: &str = "-";

/// The last one is left out where the lines would not fit.
const HEADINGS: [&str; 9] = [
    "CONNECTION",
    "ENVIRONMENT",
    "STATE",
    "TOKEN",
    "REFRESH",
    "VERIFIED",
    "PARKED",
    "ALERTS",
    "ACTS AS",
];

/// The columns that have the colour of the state.
const COLOURED: [usize; 2] = [2, 3];

/// One line, and its colour.
struct Line {
    cells: Vec<String>,
    colour: Option<Color>,
}

/// Renders the table. Where the lines would not fit, the last column is left out and cells are broken between words.
pub(super) fn table(all: &[Known], alerts: &Undelivered, display: Display, now: u64) -> String {
    let headings = Line {
        cells: HEADINGS.map(str::to_owned).into(),
        colour: None,
    };
    let rows = all.iter().map(|known| line(known, alerts, display, now));
    let mut lines: Vec<Line> = std::iter::once(headings).chain(rows).collect();
    let whole = render(&lines, 2, display);
    let widest = whole.lines().map(display_width).max().unwrap_or_default();
    match display.width().map(usize::from) {
        Some(width) if widest > width => {
            lines.iter_mut().for_each(|line| drop(line.cells.pop()));
            let mut cells: Vec<&mut [String]> =
                lines.iter_mut().map(|line| &mut *line.cells).collect();
            columns::fit(&mut cells, width);
            render(&lines, 1, display)
        }
        _ => whole,
    }
}

fn render(lines: &[Line], padding: u16, display: Display) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.add_rows(lines.iter().map(|line| row(line, display)));
    for column in table.column_iter_mut() {
        column.set_padding((0, padding));
    }
    if display.colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.trim_fmt() + "\n"
}

fn row(line: &Line, display: Display) -> Row {
    let cells = line.cells.iter().enumerate().map(|(column, text)| {
        let colour = line.colour.filter(|_| COLOURED.contains(&column));
        match colour.filter(|_| display.colours) {
            Some(colour) => Cell::new(text).fg(colour),
            None => Cell::new(text),
        }
    });
    cells.collect::<Vec<_>>().into()
}

fn line(known: &Known, alerts: &Undelivered, display: Display, now: u64) -> Line {
    let undelivered = alerts.of(&known.name);
    let name = known.name.to_string();
    let environment = known.environment.to_string();
    let none = || NONE.to_owned();
    let (cells, colour) = match &known.status {
        Err(_) => (
            vec![
                name,
                environment,
                "error".to_owned(),
                none(),
                none(),
                none(),
                none(),
                alerts_text(None, undelivered),
                none(),
            ],
            Color::Red,
        ),
        Ok(status) => (
            vec![
                name,
                environment,
                word(status.health).to_owned(),
                token(status, display, now),
                refresh(status, now),
                verified(status, now),
                parked(status),
                alerts_text(
                    status.incident.as_ref().map(|i| &*i.diagnosis.code),
                    undelivered,
                ),
                status
                    .identity
                    .as_ref()
                    .map_or_else(none, |who| who.login.clone()),
            ],
            colour(status.health),
        ),
    };
    Line {
        cells: cells.iter().map(harmless).collect(),
        colour: Some(colour),
    }
}

fn colour(health: Health) -> Color {
    match health {
        Health::Healthy => Color::Green,
        Health::Unverified | Health::AtRisk => Color::Yellow,
        _ => Color::Red,
    }
}

fn token(status: &Status, display: Display, now: u64) -> String {
    match &status.token {
        None => NONE.to_owned(),
        Some(token) if token.expires_at <= now => "expired".to_owned(),
        Some(token) => bar(token, now, display.unicode),
    }
}

/// Where a person must sign in, no refresh is to come.
fn refresh(status: &Status, now: u64) -> String {
    let due = status.token.map(|token| token.refresh_at);
    match due.filter(|_| status.health != Health::SignInRequired) {
        None => NONE.to_owned(),
        Some(at) if now < at => time::relative(at, now),
        Some(at) if now - at < LATE => "due now".to_owned(),
        Some(at) => format!("overdue {}", time::span(at, now)),
    }
}

fn verified(status: &Status, now: u64) -> String {
    let at = status.last_evidence;
    at.map_or_else(|| "never".to_owned(), |at| time::relative(at, now))
}

fn parked(status: &Status) -> String {
    match (status.parked, status.undecided) {
        (parked, 0) => parked.to_string(),
        (parked, undecided) => format!("{parked} (+{undecided} undecided)"),
    }
}

fn alerts_text(code: Option<&str>, undelivered: usize) -> String {
    let undelivered = (undelivered > 0).then(|| format!("{undelivered} undelivered"));
    match (code, undelivered) {
        (None, None) => NONE.to_owned(),
        (Some(code), None) => code.to_owned(),
        (None, Some(undelivered)) => undelivered,
        (Some(code), Some(undelivered)) => format!("{code}, {undelivered}"),
    }
}

#[cfg(test)]
mod tests {
    use procore_auth_host::Health;
    use textwrap::core::display_width;

    use super::super::samples::{MINUTE, broken, healthy, in_trouble, known};
    use super::{Display, Undelivered, table};

    fn rendered(all: &[super::Known], display: Display) -> String {
        table(all, &Undelivered::none(), display, 42 * MINUTE)
    }

    #[test]
    fn a_healthy_connection_takes_one_line() {
        let table = rendered(&[known("acme", Ok(healthy()))], Display::PLAIN);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "CONNECTION  ENVIRONMENT  STATE    TOKEN        REFRESH    VERIFIED  PARKED  ALERTS  ACTS AS",
                "acme        sandbox      healthy  ####....|..  in 30 min  5 s ago   0       -       demo@example.com",
            ]
        );
    }

    #[test]
    fn trouble_shows_in_each_column() {
        let mut status = in_trouble();
        (status.parked, status.undecided) = (3, 1);
        status.last_evidence = None;
        let mut expired = healthy();
        expired.health = Health::Unavailable;
        expired.token = Some(super::super::samples::token(0, 20, 40));
        let table = rendered(
            &[
                known("acme", Ok(status)),
                known("bolt", Ok(expired)),
                broken("cole"),
            ],
            Display::PLAIN,
        );
        for part in [
            "never",
            "3 (+1 undecided)",
            "refresh-token-dead",
            "sign-in required",
            "expired  overdue 22 min",
            "cole        sandbox      error",
        ] {
            assert!(table.contains(part), "{part:?} in\n{table}");
        }
    }

    #[test]
    fn a_refresh_that_has_just_fallen_due_is_not_late() {
        let mut status = healthy();
        status.token = Some(super::super::samples::token(0, 42, 50));
        let table = rendered(&[known("acme", Ok(status))], Display::PLAIN);
        assert!(table.contains("due now"), "{table}");
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_and_no_word_is_cut() {
        let mut status = in_trouble();
        (status.parked, status.undecided) = (3, 1);
        let all = [
            known("acme", Ok(status)),
            known("west-coast", Ok(healthy())),
        ];
        for width in [80, 100, 120] {
            let display = Display {
                size: Some((width, 24)),
                unicode: true,
                colours: true,
            };
            let table = rendered(&all, display);
            for line in table.lines() {
                assert!(display_width(line) <= width.into(), "{width}:\n{table}");
            }
            for word in [
                "west-coast",
                "required",
                "undecided)",
                "ENVIRONMENT",
                "▰▰▰▰▱▱▱▱┆▱▱",
            ] {
                assert!(table.contains(word), "{word} at {width}:\n{table}");
            }
        }
    }

    #[test]
    fn a_code_is_broken_at_its_hyphens() {
        let display = Display {
            size: Some((80, 24)),
            ..Display::PLAIN
        };
        let table = rendered(&[known("acme", Ok(in_trouble()))], display);
        assert!(table.lines().count() > 2, "{table}");
        assert!(
            table.contains("sign-in ") && table.contains("refresh-"),
            "{table}"
        );
        assert!(!table.contains("ACTS AS"), "{table}");
    }

    #[test]
    fn colours_are_used_where_wanted_only() {
        let all = [known("acme", Ok(healthy()))];
        assert!(!rendered(&all, Display::PLAIN).contains('\u{1b}'));
        let colours = Display {
            colours: true,
            ..Display::PLAIN
        };
        assert!(rendered(&all, colours).contains("\u{1b}["));
    }
}
