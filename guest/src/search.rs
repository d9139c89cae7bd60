//! Looking for a short text in another. The standard library's way is made for long ones, and costs 3 kB of the component.

/// Returns where `part` begins in `text` for the first time, in bytes. `part` is not empty.
pub fn find(text: &str, part: &str) -> Option<usize> {
    let mut windows = text.as_bytes().windows(part.len());
    windows.position(|window| window == part.as_bytes())
}

/// Whether `part` occurs in `text`. `part` is not empty.
pub fn contains(text: &str, part: &str) -> bool {
    find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_the_standard_library_does(text in "[ab\u{e4}]{0,12}", part in "[ab\u{e4}]{1,3}") {
            prop_assert_eq!(find(&text, &part), text.find(&part));
            prop_assert_eq!(contains(&text, &part), text.contains(&part));
        }
    }
}
