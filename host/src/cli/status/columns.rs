//! Makes the columns of a table narrow enough, by breaking its cells.

use textwrap::core::display_width;
use textwrap::{Options, wrap};

/// The least width of a column: less cannot be read.
const LEAST: usize = 4;

/// Breaks cells over several lines until the columns, with one space between them, fit into a width. The widest column gives way
/// first, at spaces and hyphens; words are cut only where that is not enough.
pub(super) fn fit(rows: &mut [&mut [String]], width: usize) {
    let columns = rows.first().map_or(0, |row| row.len());
    let mut widths = widths(rows, columns, display_width);
    let words = self::widths(rows, columns, longest_word);
    let spaces = columns.saturating_sub(1);
    while widths.iter().sum::<usize>() + spaces > width {
        let of_words = widest(&widths, &words);
        let Some(column) = of_words.or_else(|| widest(&widths, &vec![LEAST; columns])) else {
            break;
        };
        widths[column] -= 1;
    }
    for row in rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            *cell = wrap(cell, *width).join("\n");
        }
    }
}

/// Returns the widest column that is wider than its least.
fn widest(widths: &[usize], least: &[usize]) -> Option<usize> {
    let shrinkable = widths.iter().zip(least).enumerate();
    shrinkable
        .filter(|(_, (width, least))| width > least)
        .max_by_key(|(_, (width, _))| **width)
        .map(|(column, _)| column)
}

fn widths(rows: &[&mut [String]], columns: usize, of: impl Fn(&str) -> usize) -> Vec<usize> {
    let widest = |column: usize| rows.iter().map(|row| of(&row[column])).max();
    (0..columns)
        .map(|column| widest(column).unwrap_or_default())
        .collect()
}

/// Returns the width of the longest part that cannot be broken between words.
fn longest_word(text: &str) -> usize {
    let parts = wrap(text, Options::new(1).break_words(false));
    parts
        .iter()
        .map(|p| display_width(p))
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::fit;

    fn fitted(mut rows: Vec<Vec<String>>, width: usize) -> Vec<Vec<String>> {
        let mut cells: Vec<&mut [String]> = rows.iter_mut().map(|row| &mut **row).collect();
        fit(&mut cells, width);
        rows
    }

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn the_widest_column_gives_way_first_and_only_as_far_as_needed() {
        let rows = vec![row(&["short", "sign-in required"])];
        assert_eq!(fitted(rows.clone(), 22), rows);
        assert_eq!(fitted(rows, 21), [row(&["short", "sign-in\nrequired"])]);
    }

    #[test]
    fn words_are_cut_at_last() {
        let rows = vec![row(&["abcdefgh", "ab cd"])];
        assert_eq!(fitted(rows.clone(), 11), [row(&["abcdefgh", "ab\ncd"])]);
        assert_eq!(fitted(rows.clone(), 9), [row(&["abcdef\ngh", "ab\ncd"])]);
        assert_eq!(fitted(rows, 1).len(), 1, "it ends");
    }
}
