//! Visits that fail: told when that begins and when it ends, not at every visit between.

/// The code that the last visit failed with, if it failed.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// Notes that a visit failed. Returns whether that is news: the first failure, or the first with another code.
    pub(super) fn is_news(&mut self, code: &str) -> bool {
        let before = self.0.replace(code.to_owned());
        before.as_deref() != Some(code)
    }

    /// Notes that a visit worked. Returns the code of the trouble that this ends.
    pub(super) fn end(&mut self) -> Option<String> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::Trouble;

    #[test]
    fn trouble_that_lasts_is_told_once_and_so_is_its_end() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.end(), None);
        assert!(trouble.is_news("full"));
        assert!(!trouble.is_news("full"));
        assert!(trouble.is_news("io"));
        assert!(!trouble.is_news("io"));
        assert_eq!(trouble.end().as_deref(), Some("io"));
        assert_eq!(trouble.end(), None);
        assert!(trouble.is_news("io"));
    }
}
