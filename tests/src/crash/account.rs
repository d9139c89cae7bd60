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
            let still_there = death.look.is_at(&post.token) && !death.look.has_reply();
            if !still_there && others().any(|other| other.at > death.looked_at) {
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
