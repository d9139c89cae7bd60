use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::FileStore;
use crate::{
    ConnectionName, Entry, Key, Provenance, Store, StoreFailure, Write, entry_file, file_lock,
};

const LONG: Duration = Duration::from_secs(60);

/// The files of a store without entries.
const OWN: [&str; 3] = [".guard", ".install", ".lock"];

struct Setting {
    root: TempDir,
    store: FileStore,
    key: Key,
}

impl Setting {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("folder");
        let store = open(root.path()).expect("opens");
        Self {
            root,
            store,
            key: key("tokens"),
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("acme")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder())
            .expect("folder")
            .map(|entry| {
                entry
                    .expect("entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        names.sort();
        names
    }

    fn opened_anew(self) -> Self {
        let store = open(self.root.path()).expect("opens");
        Self { store, ..self }
    }

    async fn put(&self, value: &str, expected: Option<u64>) -> u64 {
        stored(self.store.put(&self.key, value.as_bytes(), expected).await)
    }

    async fn get(&self) -> Result<Option<Entry>, StoreFailure> {
        self.store.get(&self.key).await
    }

    async fn entry(&self) -> Entry {
        self.get().await.expect("readable").expect("there")
    }

    async fn failure(&self) -> &'static str {
        self.get().await.expect_err("not readable").code
    }
}

fn open(root: &Path) -> Result<FileStore, StoreFailure> {
    FileStore::open(root, &"acme".parse::<ConnectionName>().expect("valid"))
}

fn key(text: &str) -> Key {
    Key::new(text).expect("valid")
}

fn stored(write: Result<Write, StoreFailure>) -> u64 {
    match write {
        Ok(Write::Stored(revision)) => revision,
        other => panic!("not stored: {other:?}"),
    }
}

#[tokio::test]
async fn what_somebody_keeps_busy_can_be_opened_and_read() {
    let setting = Setting::new();
    let written = setting.store.put(&setting.key, b"token", None).await;
    assert!(matches!(written, Ok(Write::Stored(_))));
    let _kept = file_lock::hold_briefly(&setting.file(".guard")).expect("free");
    let another = open(setting.root.path()).expect("opens");
    let entry = another.get(&setting.key).await.expect("readable");
    assert_eq!(entry.expect("there").value, b"token");
}

#[tokio::test]
async fn a_second_store_reads_what_the_first_wrote() {
    let setting = Setting::new();
    assert_eq!(setting.get().await, Ok(None));
    let revision = setting.put("one", None).await;
    let other = open(setting.root.path()).expect("opens");
    let entry = other
        .get(&setting.key)
        .await
        .expect("readable")
        .expect("there");
    assert_eq!(
        (&*entry.value, entry.revision, entry.provenance),
        (&b"one"[..], revision, Provenance::Newest)
    );
}

#[tokio::test]
async fn of_two_stores_on_one_folder_one_wins_each_race() {
    let setting = Setting::new();
    let other = open(setting.root.path()).expect("opens");
    let mut last = None;
    for _ in 0..20 {
        let (a, b) = tokio::join!(
            setting.store.put(&setting.key, b"a", last),
            other.put(&setting.key, b"b", last)
        );
        let (won, lost, value) = match (a.expect("works"), b.expect("works")) {
            (Write::Stored(won), Write::Conflict(lost)) => (won, lost, b"a"),
            (Write::Conflict(lost), Write::Stored(won)) => (won, lost, b"b"),
            both => panic!("not one winner: {both:?}"),
        };
        let lost = lost.expect("the winner's entry");
        assert_eq!((lost.revision, &*lost.value), (won, &value[..]));
        last = Some(won);
    }
}

#[tokio::test]
async fn a_write_or_delete_at_another_revision_changes_nothing() {
    let setting = Setting::new();
    let store = &setting.store;
    assert_eq!(
        store.put(&setting.key, b"x", Some(1)).await,
        Ok(Write::Conflict(None))
    );
    assert_eq!(
        store.delete(&setting.key, 1).await,
        Ok(Write::Conflict(None))
    );
    let revision = setting.put("one", None).await;
    let current = Ok(Write::Conflict(Some(setting.entry().await)));
    assert_eq!(store.put(&setting.key, b"x", None).await, current);
    assert_eq!(
        store.put(&setting.key, b"x", Some(revision + 1)).await,
        current
    );
    assert_eq!(store.delete(&setting.key, revision + 1).await, current);
    assert_eq!(setting.entry().await.value, b"one");
}

#[tokio::test]
async fn keeps_the_previous_generation() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    assert!(!setting.file("tokens.previous").exists());
    let second = setting.put("two", Some(first)).await;
    setting.put("three", Some(second)).await;
    let previous = fs::read(setting.file("tokens.previous")).expect("there");
    let previous = entry_file::decode(previous).expect("whole");
    assert_eq!((previous.revision, &*previous.value), (second, &b"two"[..]));
    assert_eq!(
        setting.names(),
        [".guard", ".install", ".lock", "tokens", "tokens.previous"]
    );
}

#[tokio::test]
async fn keeps_the_previous_generation_without_hard_links() {
    let setting = Setting::new();
    setting.put("one", None).await;
    let bytes = |name: &str| fs::read(setting.file(name)).expect("there");
    let current = entry_file::decode(bytes("tokens")).expect("whole");
    let folder = &setting.store.folder;
    folder
        .copy_previous(&setting.key, &current)
        .expect("copies");
    assert_eq!(bytes("tokens.previous"), bytes("tokens"));
}

/// A write that was cut short after the link and before the rename.
#[tokio::test]
async fn both_generations_may_be_one_file() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    fs::hard_link(setting.file("tokens"), setting.file("tokens.previous")).expect("linked");
    let second = setting.put("two", Some(first)).await;
    assert_eq!(setting.entry().await.revision, second);
    assert_eq!(
        setting.names(),
        [".guard", ".install", ".lock", "tokens", "tokens.previous"]
    );
}

#[tokio::test]
async fn a_write_that_was_cut_short_is_not_seen() {
    let setting = Setting::new();
    let revision = setting.put("one", None).await;
    for name in [".tokens.abcdef", ".tokens.ghijkl"] {
        fs::write(setting.file(name), b"{\"procore-auth\":1,\"rev").expect("written");
    }
    assert_eq!(setting.entry().await.value, b"one");
    assert_eq!(setting.store.list("").await, Ok(vec![setting.key.clone()]));
    setting.put("two", Some(revision)).await;
    assert_eq!(setting.entry().await.value, b"two");
}

/// Lays down what a writer that was killed leaves: `value`, or a part of it, on its way to follow the revision `follows`.
fn cut_short(setting: &Setting, follows: u64, value: &str, part: usize) {
    let bytes = entry_file::encode(follows + 1, None, value.as_bytes());
    let name = format!(".tokens.{follows}.abcdef");
    write_private(&setting.file(&name), &bytes[..bytes.len() - part]);
}

#[tokio::test]
async fn the_next_holder_of_the_lock_finishes_a_write_whose_last_byte_was_there() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    cut_short(&setting, first, "two", 0);
    assert_eq!(setting.entry().await.value, b"one");
    drop(setting.store.lock(LONG).await.expect("works"));
    let entry = setting.entry().await;
    assert_eq!((entry.value, entry.revision), (b"two".to_vec(), first + 1));
    let previous = fs::read(setting.file("tokens.previous")).expect("kept");
    assert!(previous.ends_with(b"one"));
    assert_eq!(
        setting.names(),
        [OWN.as_slice(), &["tokens", "tokens.previous"]].concat()
    );
}

#[tokio::test]
async fn the_first_write_of_an_entry_is_finished_too() {
    let setting = Setting::new();
    cut_short(&setting, 0, "one", 0);
    drop(setting.store.lock(LONG).await.expect("works"));
    assert_eq!(setting.entry().await.value, b"one");
    assert_eq!(setting.names(), [OWN.as_slice(), &["tokens"]].concat());
}

#[tokio::test]
async fn the_next_holder_of_the_lock_removes_what_cannot_be_finished() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    let second = setting.put("two", Some(first)).await;
    let whole = entry_file::encode(second + 1, None, b"three");
    for (name, bytes) in [
        // Torn; of a race that was lost; of another version or for another purpose.
        (format!(".tokens.{second}.torn"), &whole[..whole.len() - 1]),
        (format!(".tokens.{first}.late"), &whole),
        (".tokens.0.late".to_owned(), &whole),
        (".tokens.123456".to_owned(), &whole),
        (".tokens.previous.abcdef".to_owned(), &whole),
    ] {
        write_private(&setting.file(&name), bytes);
    }
    drop(setting.store.lock(LONG).await.expect("works"));
    assert_eq!(setting.entry().await.value, b"two");
    assert_eq!(
        setting.names(),
        [OWN.as_slice(), &["tokens", "tokens.previous"]].concat()
    );
}

#[tokio::test]
async fn beside_a_damaged_entry_nothing_is_finished_or_removed() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    setting.put("two", Some(first)).await;
    cut_short(&setting, first, "three", 0);
    let torn = fs::read(setting.file("tokens")).expect("there");
    fs::write(setting.file("tokens"), &torn[..torn.len() - 1]).expect("torn");
    let before = setting.names();
    drop(setting.store.lock(LONG).await.expect("works"));
    assert_eq!(setting.names(), before);
    assert_eq!(setting.entry().await.value, b"one");
}

#[tokio::test]
async fn delete_leaves_nothing_behind() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    let second = setting.put("two", Some(first)).await;
    fs::write(setting.file(".tokens.abcdef"), b"part").expect("written");
    fs::write(setting.file(".tokens-b.abcdef"), b"another key's").expect("written");
    assert_eq!(
        setting.store.delete(&setting.key, second).await,
        Ok(Write::Stored(second))
    );
    assert_eq!(
        setting.names(),
        [".guard", ".install", ".lock", ".tokens-b.abcdef"]
    );
    assert_eq!(setting.get().await, Ok(None));
    let third = setting.put("three", None).await;
    assert!(![first, second].contains(&third));
}

fn damages(whole: &[u8]) -> Vec<Vec<u8>> {
    let mut zeros = whole.to_vec();
    let half = zeros.len() / 2;
    zeros[half..].fill(0);
    vec![
        Vec::new(),
        whole[..1].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [whole, b"x"].concat(),
        zeros,
        b"{\"access_token\":\"not ours\"}".to_vec(),
        b"not JSON".to_vec(),
    ]
}

#[tokio::test]
async fn delete_takes_what_was_set_aside_with_it() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    setting.put("two", Some(first)).await;
    fs::write(setting.file("tokens"), b"torn").expect("written");
    assert!(
        setting
            .get()
            .await
            .expect("served")
            .is_some_and(|entry| entry.provenance == Provenance::Previous)
    );
    assert!(setting.file("tokens.damaged-1").exists());
    let deleted = setting.store.delete(&setting.key, first).await;
    assert_eq!(deleted, Ok(Write::Stored(first)));
    assert!(!setting.file("tokens.damaged-1").exists());
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_previous_generation_served() {
    for number in 0..damages(b"0123456789").len() {
        let setting = Setting::new();
        let first = setting.put("one", None).await;
        let second = setting.put("two", Some(first)).await;
        let damaged =
            damages(&fs::read(setting.file("tokens")).expect("there")).swap_remove(number);
        fs::write(setting.file("tokens"), &damaged).expect("written");

        let expected = Entry {
            value: b"one".to_vec(),
            revision: first,
            provenance: Provenance::Previous,
        };
        assert_eq!(setting.get().await, Ok(Some(expected.clone())));
        assert_eq!(setting.get().await, Ok(Some(expected.clone())), "again");
        assert_eq!(
            fs::read(setting.file("tokens.damaged-1")).expect("kept"),
            damaged
        );
        assert_eq!(setting.store.list("").await, Ok(vec![setting.key.clone()]));
        assert_eq!(
            setting.store.put(&setting.key, b"x", None).await,
            Ok(Write::Conflict(Some(expected)))
        );

        let third = setting.put("three", Some(first)).await;
        assert!(![first, second].contains(&third));
        let entry = setting.entry().await;
        assert_eq!(
            (&*entry.value, entry.provenance),
            (&b"three"[..], Provenance::Newest)
        );
    }
}

#[tokio::test]
async fn what_was_set_aside_is_not_overwritten() {
    let setting = Setting::new();
    let mut last = setting.put("one", None).await;
    for damage in ["a", "b", "c"] {
        setting.put("two", Some(last)).await;
        fs::write(setting.file("tokens"), damage).expect("written");
        last = setting.entry().await.revision;
        last = setting.put("one", Some(last)).await;
    }
    for (number, damage) in [(1, "a"), (2, "b"), (3, "c")] {
        let path = setting.file(&format!("tokens.damaged-{number}"));
        assert_eq!(fs::read_to_string(path).expect("kept"), damage);
    }
}

#[tokio::test]
async fn without_a_readable_generation_it_is_corrupt_until_a_person_acts() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    fs::write(setting.file("tokens"), b"").expect("written");
    for previous in [None, Some("torn")] {
        if let Some(previous) = previous {
            write_private(&setting.file("tokens.previous"), previous.as_bytes());
        }
        for _ in 0..2 {
            assert_eq!(setting.failure().await, "corrupt");
        }
        for expected in [None, Some(first)] {
            let refused = setting.store.put(&setting.key, b"x", expected).await;
            assert_eq!(refused.expect_err("corrupt").code, "corrupt");
        }
        let refused = setting.store.delete(&setting.key, first).await;
        assert_eq!(refused.expect_err("corrupt").code, "corrupt");
        assert_eq!(fs::read(setting.file("tokens")).expect("kept"), b"");
    }
    fs::remove_file(setting.file("tokens")).expect("removed");
    assert_eq!(
        setting.failure().await,
        "corrupt",
        "a damaged previous alone"
    );
    fs::remove_file(setting.file("tokens.previous")).expect("removed");
    assert_eq!(setting.get().await, Ok(None));
}

#[tokio::test]
async fn a_removed_file_is_recovered_from_the_previous_generation() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    setting.put("two", Some(first)).await;
    fs::remove_file(setting.file("tokens")).expect("removed");
    let entry = setting.entry().await;
    assert_eq!(
        (entry.revision, entry.provenance),
        (first, Provenance::Previous)
    );
    assert_eq!(
        setting.store.delete(&setting.key, first).await,
        Ok(Write::Stored(first))
    );
    assert_eq!(setting.get().await, Ok(None));
}

#[tokio::test]
async fn s24_an_older_file_that_was_put_back_is_set_aside_and_the_newer_generation_served() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    let backup = fs::read(setting.file("tokens")).expect("there");
    let second = setting.put("two", Some(first)).await;
    let third = setting.put("three", Some(second)).await;
    fs::write(setting.file("tokens"), &backup).expect("restored");
    let refused = setting.store.put(&setting.key, b"x", Some(third)).await;
    assert!(matches!(refused, Ok(Write::Conflict(Some(entry))) if entry.revision == second));
    let entry = setting.entry().await;
    assert_eq!(
        (&*entry.value, entry.provenance),
        (&b"two"[..], Provenance::Previous)
    );
    let aside = fs::read(setting.file("tokens.damaged-1")).expect("kept");
    assert_eq!(aside, backup);
    setting.put("four", Some(second)).await;
    assert_eq!(setting.entry().await.provenance, Provenance::Newest);
}

#[tokio::test]
async fn s14_a_copied_folder_is_known_for_a_copy_until_it_is_written() {
    let setting = Setting::new();
    let first = setting.put("one", None).await;
    setting.put("two", Some(first)).await;
    let copy = Setting::new();
    for name in setting.names() {
        fs::remove_file(copy.file(&name)).unwrap_or_default();
        fs::copy(setting.file(&name), copy.file(&name)).expect("copied");
    }
    let copy = copy.opened_anew();
    let entry = copy.entry().await;
    assert_eq!(
        (&*entry.value, entry.provenance),
        (&b"two"[..], Provenance::Copied)
    );
    copy.put("three", Some(entry.revision)).await;
    assert_eq!(copy.entry().await.provenance, Provenance::Newest);
    assert_eq!(setting.entry().await.provenance, Provenance::Newest);
}

#[tokio::test]
async fn a_later_format_is_left_alone() {
    let setting = Setting::new();
    let later = b"{\"procore-auth\":2}\n";
    write_private(&setting.file("tokens"), later);
    assert_eq!(setting.failure().await, "newer-format");
    let refused = setting.store.put(&setting.key, b"x", None).await;
    assert_eq!(refused.expect_err("refused").code, "newer-format");
    assert_eq!(fs::read(setting.file("tokens")).expect("kept"), later);
}

#[tokio::test]
async fn refuses_a_value_that_it_would_not_read_back() {
    let setting = Setting::new();
    let value = vec![0; super::MAX_VALUE + 1];
    let refused = setting.store.put(&setting.key, &value, None).await;
    assert_eq!(refused.expect_err("too large").code, "too-large");
    stored(setting.store.put(&setting.key, &value[1..], None).await);
    assert_eq!(setting.entry().await.value.len(), super::MAX_VALUE);
}

#[tokio::test]
async fn a_store_whose_folder_is_gone_is_not_empty() {
    let setting = Setting::new();
    setting.put("one", None).await;
    fs::rename(setting.folder(), setting.root.path().join("away")).expect("renamed");
    assert_eq!(setting.failure().await, "io");
    fs::rename(setting.root.path().join("away"), setting.folder()).expect("renamed");
    assert_eq!(setting.entry().await.value, b"one");
}

#[tokio::test]
async fn lists_by_prefix_in_order() {
    let setting = Setting::new();
    for name in ["parked-2", "parked-10", "tokens"] {
        stored(setting.store.put(&key(name), b"", None).await);
    }
    fs::write(setting.file("README.txt"), b"no key").expect("written");
    assert_eq!(
        setting.store.list("parked-").await,
        Ok(vec![key("parked-10"), key("parked-2")])
    );
    assert_eq!(setting.store.list("").await.map(|keys| keys.len()), Ok(3));
}

#[tokio::test]
async fn keys_named_like_the_stores_own_files_are_just_keys() {
    let setting = Setting::new();
    for name in ["lock", "guard", "previous", "damaged-1"] {
        stored(setting.store.put(&key(name), name.as_bytes(), None).await);
    }
    let held = setting.store.lock(LONG).await.expect("works");
    assert!(held.is_some());
    let entry = setting.store.get(&key("lock")).await.expect("readable");
    assert_eq!(entry.expect("there").value, b"lock");
}

#[tokio::test]
async fn the_lock_is_exclusive_and_handed_over() {
    let setting = Setting::new();
    let other = open(setting.root.path()).expect("opens");
    let held = setting.store.lock(Duration::ZERO).await.expect("works");
    assert!(held.is_some());
    let short = Duration::from_millis(20);
    for wait in [Duration::ZERO, short] {
        assert!(other.lock(wait).await.expect("works").is_none());
    }
    // Reading and writing go on: they have a lock of their own.
    setting.put("one", None).await;
    let waiting = tokio::spawn(async move { other.lock(LONG).await });
    tokio::task::yield_now().await;
    drop(held);
    let handed_over = waiting.await.expect("no panic").expect("works");
    assert!(handed_over.is_some());
    assert!(
        setting
            .store
            .lock(Duration::ZERO)
            .await
            .expect("works")
            .is_none()
    );
}

#[tokio::test]
async fn the_longest_wait_is_accepted() {
    let setting = Setting::new();
    assert!(
        setting
            .store
            .lock(Duration::MAX)
            .await
            .expect("works")
            .is_some()
    );
}

#[tokio::test]
async fn connections_do_not_share_a_lock() {
    let setting = Setting::new();
    let other = FileStore::open(setting.root.path(), &"other".parse().expect("valid"));
    let _held = setting
        .store
        .lock(LONG)
        .await
        .expect("works")
        .expect("free");
    let other = other.expect("opens");
    assert!(other.lock(Duration::ZERO).await.expect("works").is_some());
}

#[cfg(unix)]
#[tokio::test]
async fn two_spellings_of_a_path_share_one_lock_and_one_content() {
    let setting = Setting::new();
    let aliases = tempfile::tempdir().expect("folder");
    let link = aliases.path().join("link");
    std::os::unix::fs::symlink(setting.root.path(), &link).expect("linked");
    let dotted = setting.folder().join("..").join(".");
    setting.put("one", None).await;
    let held = setting.store.lock(LONG).await.expect("works");
    for alias in [link, dotted] {
        let store = open(&alias).expect("opens");
        assert!(std::sync::Arc::ptr_eq(&store.lock, &setting.store.lock));
        assert!(store.lock(Duration::ZERO).await.expect("works").is_none());
        let entry = store.get(&setting.key).await.expect("readable");
        assert_eq!(entry, setting.get().await.expect("readable"));
    }
    drop(held);
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
    #[cfg(unix)]
    set_mode(path, 0o600);
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).expect("there").mode() & 0o777
}

#[cfg(unix)]
mod on_unix {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn only_this_account_can_read_it() {
        let parent = tempfile::tempdir().expect("folder");
        let root = parent.path().join("a/b");
        let store = open(&root).expect("opens");
        let first = stored(store.put(&key("tokens"), b"one", None).await);
        stored(store.put(&key("tokens"), b"two", Some(first)).await);
        let folder = root.join("acme");
        for path in [&parent.path().join("a"), &root, &folder] {
            assert_eq!(mode(path), 0o700, "{path:?}");
        }
        for name in ["tokens", "tokens.previous", ".lock", ".guard", ".install"] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn refuses_files_that_others_can_read() {
        let setting = Setting::new();
        setting.put("one", None).await;
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            set_mode(&setting.file("tokens"), mode);
            assert_eq!(setting.failure().await, "insecure-permissions");
        }
        set_mode(&setting.file("tokens"), 0o600);
        assert_eq!(setting.entry().await.value, b"one");
        for name in [".guard", ".install", ".lock"] {
            set_mode(&setting.file(name), 0o666);
            let refused = open(setting.root.path()).expect_err("refused");
            assert_eq!(refused.code, "insecure-permissions", "{name}");
            set_mode(&setting.file(name), 0o600);
        }
    }

    #[test]
    fn refuses_a_folder_that_others_can_enter() {
        let setting = Setting::new();
        for mode in [0o755, 0o710, 0o701] {
            set_mode(&setting.folder(), mode);
            let refused = open(setting.root.path()).expect_err("refused");
            assert_eq!(refused.code, "insecure-permissions");
            assert!(refused.message.contains("chmod 700"), "{refused}");
        }
    }

    #[tokio::test]
    async fn refuses_symbolic_links() {
        let setting = Setting::new();
        let elsewhere = tempfile::tempdir().expect("folder");
        setting.put("one", None).await;
        let moved = elsewhere.path().join("tokens");
        fs::copy(setting.file("tokens"), &moved).expect("copied");
        fs::remove_file(setting.file("tokens")).expect("removed");
        symlink(&moved, setting.file("tokens")).expect("linked");
        assert_eq!(setting.failure().await, "insecure-permissions");
        let refused = setting.store.put(&setting.key, b"x", None).await;
        assert_eq!(refused.expect_err("refused").code, "insecure-permissions");

        symlink("nowhere", setting.file("dangling")).expect("linked");
        let dangling = setting.store.get(&key("dangling")).await;
        assert_eq!(dangling.expect_err("refused").code, "insecure-permissions");

        for name in [".guard", ".install", ".lock"] {
            fs::remove_file(setting.file(name)).expect("removed");
            symlink(elsewhere.path().join("target"), setting.file(name)).expect("linked");
            let refused = open(setting.root.path()).expect_err("refused");
            assert_eq!(refused.code, "insecure-permissions");
            fs::remove_file(setting.file(name)).expect("removed");
        }
        assert!(!elsewhere.path().join("target").exists());

        let root = tempfile::tempdir().expect("folder");
        symlink(elsewhere.path(), root.path().join("acme")).expect("linked");
        let refused = open(root.path()).expect_err("refused");
        assert_eq!(refused.code, "insecure-permissions");
    }

    #[tokio::test]
    async fn refuses_what_is_no_file_without_hanging() {
        let setting = Setting::new();
        fs::create_dir(setting.file("folder")).expect("created");
        let refused = setting.store.get(&key("folder")).await;
        assert_eq!(refused.expect_err("refused").code, "insecure-permissions");
        let pipe = setting.file("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("made");
        let refused = setting.store.get(&key("pipe")).await;
        assert_eq!(refused.expect_err("refused").code, "insecure-permissions");
    }

    /// Needs the right to give files away, which only root has.
    #[tokio::test]
    async fn refuses_what_belongs_to_another_account() {
        let setting = Setting::new();
        setting.put("one", None).await;
        if std::os::unix::fs::chown(setting.file("tokens"), Some(12345), None).is_err() {
            assert!(!rustix::process::geteuid().is_root());
            return;
        }
        assert_eq!(setting.failure().await, "insecure-permissions");
        std::os::unix::fs::chown(setting.folder(), Some(12345), None).expect("root");
        let refused = open(setting.root.path()).expect_err("refused");
        assert_eq!(refused.code, "insecure-permissions");
    }

    /// Root may write anywhere, so this tells something for other accounts only.
    #[tokio::test]
    async fn a_write_that_fails_leaves_the_old_generation() {
        let setting = Setting::new();
        let first = setting.put("one", None).await;
        set_mode(&setting.folder(), 0o500);
        let write = setting.store.put(&setting.key, b"two", Some(first)).await;
        set_mode(&setting.folder(), 0o700);
        if rustix::process::geteuid().is_root() {
            stored(write);
        } else {
            assert_eq!(write.expect_err("refused").code, "permission-denied");
            assert_eq!(setting.entry().await.revision, first);
            assert_eq!(setting.names(), [".guard", ".install", ".lock", "tokens"]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_put_is_got(
        name in "[a-z0-9-]{1,64}",
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..4),
    ) {
        let setting = Setting::new();
        let key = key(&name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        runtime.block_on(async {
            let mut last = None;
            for value in &values {
                let revision = stored(setting.store.put(&key, value, last).await);
                prop_assert!(last.is_none_or(|last| last < revision));
                let entry = setting.store.get(&key).await.expect("readable").expect("there");
                prop_assert_eq!((&entry.value, entry.revision), (value, revision));
                last = Some(revision);
            }
            prop_assert_eq!(setting.store.list("").await, Ok(vec![key.clone()]));
            Ok(())
        })?;
    }
}
