//! A token's age as a bar: how much of its life is over, and where its refresh falls due.

use procore_auth_host::TokenTimes;

/// How many pieces its life has.
const PIECES: u64 = 10;

/// Draws the bar of a token: `▰▰▰▰▱▱▱▱┆▱▱`, in ASCII `####....|..`. The mark is the moment of the refresh. A piece is filled when
/// all of it is over, so that a full bar means an expired token.
pub(super) fn bar(token: &TokenTimes, now: u64, unicode: bool) -> String {
    let [over, left, mark] = if unicode {
        ["▰", "▱", "┆"]
    } else {
        ["#", ".", "|"]
    };
    let (over_pieces, due) = (pieces(token, now), pieces(token, token.refresh_at));
    let mut bar = String::new();
    for piece in 0..=PIECES {
        if piece == due {
            bar += mark;
        }
        if piece < PIECES {
            bar += if piece < over_pieces { over } else { left };
        }
    }
    bar
}

/// Returns how many whole pieces of the token's life are over at a moment.
fn pieces(token: &TokenTimes, moment: u64) -> u64 {
    let life = token.expires_at.saturating_sub(token.issued_at).max(1);
    let age = moment.saturating_sub(token.issued_at).min(life);
    age.saturating_mul(PIECES) / life
}

#[cfg(test)]
mod tests {
    use super::super::samples::token;
    use super::bar;

    #[test]
    fn the_bar_fills_with_age_and_marks_the_refresh() {
        // 90 minutes, refreshed at 80 %.
        let token = token(0, 72, 90);
        for (minutes, ascii) in [
            (0, "........|.."),
            (42, "####....|.."),
            (72, "########|.."),
            (89, "########|#."),
            (90, "########|##"),
            (900, "########|##"),
        ] {
            assert_eq!(bar(&token, minutes * 60_000, false), ascii, "{minutes}");
        }
        assert_eq!(bar(&token, 42 * 60_000, true), "▰▰▰▰▱▱▱▱┆▱▱");
    }

    #[test]
    fn absurd_times_draw_a_bar_too() {
        for (issued, refresh, expires) in [(5, 5, 5), (9, 3, 1), (0, 200, 90)] {
            let bar = bar(&token(issued, refresh, expires), 60_000, false);
            assert_eq!(bar.len(), 11, "{bar}");
        }
        let token = token(0, 0, 90);
        assert_eq!(bar(&token, u64::MAX, false), "|##########");
    }
}
