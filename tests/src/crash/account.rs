//! Who sent which refresh token when, and who was killed when: what the two say about double refreshes.

use std::collections::HashMap;

use super::look::Look;

/// A refresh token that reached the server.
#[derive(Debug, Clone)]
pub struct Post {
    /// Which process sent it.
    pub by: String,
    /// The refresh token.
    pub token: String,
    /// When it arrived.
    pub at: u64,
    /// Whether it was spent by this.
    pub committed: bool,
}

/// A process that was killed.
pub struct Death {
    /// A moment shortly before.
    pub at: u64,
    /// Until when nobody wrote: the look was over.
    pub looked_at: u64,
    /// What it left.
    pub look: Look,
}

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// How many refresh tokens were spent by a process that died before the reply was durable.
    pub windows: usize,
    /// What should not have been sent.
    pub double_refreshes: Vec<String>,
}

/// Judges all posts of a run. A token may be sent again only where all who sent it before were killed by then, and had left the
/// store as it was when they sent it.
pub fn settle(posts: &[Post], deaths: &HashMap<String, Death>) -> Account {
    let mut by_token: HashMap<&str, Vec<&Post>> = HashMap::new();
    for post in posts {
        by_token.entry(&post.token).or_default().push(post);
    }
    let mut account = Account::default();
    for posts in by_token.into_values() {
        for post in &posts {
            let Some(death) = deaths.get(&post.by) else {
                continue;
            };
            let others = || posts.iter().filter(|other| other.by != post.by);
            let replayed = others().any(|other| death.at <= other.at);
            account.windows += usize::from(post.committed && replayed);
            let had_saved = !death.look.stands_before(&post.token);
            if had_saved && others().any(|other| other.at > death.looked_at) {
                account.double_refreshes.push(format!(
                    "{} had saved what it got for a token that was sent again",
                    post.by
                ));
            }
        }
        account
            .double_refreshes
            .extend(living_pairs(&posts, deaths));
    }
    account
}

/// Finds posts of one token neither of whose senders was killed before the other sent it.
fn living_pairs(posts: &[&Post], deaths: &HashMap<String, Death>) -> Vec<String> {
    let killed_before = |post: &Post, other: &Post| {
        let death = deaths.get(&post.by);
        post.by != other.by && death.is_some_and(|death| death.at <= other.at)
    };
    let mut found = Vec::new();
    for (index, post) in posts.iter().enumerate() {
        for other in &posts[index + 1..] {
            if !killed_before(post, other) && !killed_before(other, post) {
                found.push(format!(
                    "{} at {} and {} at {} sent one token",
                    post.by, post.at, other.by, other.at
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "r1";

    fn post(by: &str, at: u64, committed: bool) -> Post {
        Post {
            by: by.to_owned(),
            token: TOKEN.to_owned(),
            at,
            committed,
        }
    }

    /// The death of a process at a moment, after which the store held this.
    fn death(by: &str, at: u64, session: serde_json::Value) -> (String, Death) {
        let death = Death {
            at,
            looked_at: at + 1,
            look: Look::of(session),
        };
        (by.to_owned(), death)
    }

    fn before() -> serde_json::Value {
        serde_json::json!({"tokens": {"refresh_token": TOKEN}, "reply": null})
    }

    fn after() -> serde_json::Value {
        serde_json::json!({"tokens": {"refresh_token": "r2"}, "reply": null})
    }

    #[test]
    fn one_post_a_token_is_no_double_refresh() {
        assert_eq!(
            settle(&[post("a", 1, true)], &HashMap::new()),
            Account::default()
        );
    }

    #[test]
    fn two_living_processes_may_not_send_one_token() {
        let posts = [post("a", 1, true), post("b", 2, false)];
        assert_eq!(settle(&posts, &HashMap::new()).double_refreshes.len(), 1);
        // Nor does it help that one of them is killed later.
        let deaths = [death("a", 3, after())].into();
        assert_eq!(settle(&posts, &deaths).double_refreshes.len(), 1);
        let posts = [post("a", 1, true), post("a", 2, false)];
        assert_eq!(settle(&posts, &HashMap::new()).double_refreshes.len(), 1);
    }

    #[test]
    fn who_died_before_the_reply_was_saved_is_replaced() {
        let deaths = [death("a", 2, before())].into();
        let account = settle(&[post("a", 1, true), post("b", 4, false)], &deaths);
        assert_eq!((account.windows, account.double_refreshes.len()), (1, 0));
        let account = settle(&[post("a", 1, false), post("b", 4, true)], &deaths);
        assert_eq!((account.windows, account.double_refreshes.len()), (0, 0));
    }

    #[test]
    fn what_was_saved_may_not_be_asked_for_again() {
        let deaths = [death("a", 2, after())].into();
        let account = settle(&[post("a", 1, true), post("b", 4, false)], &deaths);
        assert_eq!(account.double_refreshes.len(), 1);
    }
}
