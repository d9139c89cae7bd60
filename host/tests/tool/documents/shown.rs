//! What a command said, beside what a document shows of it.

use procore_auth_tests::tool::Finished;

/// What it said, without the log of its most talkative level.
pub(super) fn short(finished: &Finished) -> String {
    let err = finished.err.lines();
    let err = err.filter(|line| !line.contains("TRACE") && !line.contains("DEBUG"));
    let err: Vec<&str> = err.collect();
    format!(
        "{}\n{}\nexit {:?}",
        finished.out,
        err.join("\n"),
        finished.code
    )
}

/// Returns the first line that the document shows and that no line of the output is like.
pub(super) fn not_shown<'a>(shown: &'a [String], finished: &Finished) -> Option<&'a str> {
    let lines: Vec<&str> = finished.out.lines().chain(finished.err.lines()).collect();
    let is_said = |shown: &str| lines.iter().any(|line| is_like(shown, line));
    shown
        .iter()
        .map(String::as_str)
        .find(|shown| !is_said(shown))
}

/// Whether a line has the words of the one that is shown, in their order. Numbers may be others, bars longer, and `…` stands for
/// anything.
fn is_like(shown: &str, line: &str) -> bool {
    let line = with_one_number(line);
    let mut words = line.split_whitespace();
    with_one_number(shown)
        .split_whitespace()
        .filter(|word| !word.contains(['▰', '▱', '┆']) && *word != "…")
        .all(|shown| words.any(|word| has_pieces(word, shown)))
}

/// Makes all numbers the same.
fn with_one_number(text: &str) -> String {
    let mut same = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if same.ends_with('0') => {}
            '0'..='9' => same.push('0'),
            other => same.push(other),
        }
    }
    same
}

/// Whether a word is the one that is shown, where `…` stands for anything.
fn has_pieces(word: &str, shown: &str) -> bool {
    let mut pieces = shown.split('…');
    let mut rest = match word.strip_prefix(pieces.next().unwrap_or_default()) {
        Some(rest) if shown.contains('…') => rest,
        Some(rest) => return rest.is_empty(),
        None => return false,
    };
    pieces.all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn what_is_shown_is_compared_loosely_and_not_blindly() {
    for (shown, line, alike) in [
        (
            "acme  healthy  ▰▰▱┆  in 34 min",
            "acme   healthy  ##|.  in 1 h 2 min",
            true,
        ),
        ("acme  healthy", "acme   sign-in required", false),
        ("https://a/b?x=…&y=…", "  https://a/b?x=1&y=2", true),
        ("https://a/b?x=…&z=…", "  https://a/b?x=1&y=2", false),
        (
            "acme: done (entries: 3).",
            "acme: done (entries: 12).",
            true,
        ),
        ("acme: done (files: 3).", "acme: done (entries: 3).", false),
        ("one two", "two one", false),
    ] {
        assert_eq!(is_like(shown, line), alike, "{shown:?} and {line:?}");
    }
}
