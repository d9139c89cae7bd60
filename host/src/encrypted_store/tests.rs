use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::EncryptedStore;
use crate::{
    ConnectionName, EncryptionKey, Entry, FileStore, Key, MemoryStore, Rewritten, Store, Write,
};

const SECRET: &[u8] = b"{\"refresh_token\":\"very-secret-refresh-token\"}";

fn key(text: &str) -> Key {
    Key::new(text).expect("valid")
}

fn name() -> ConnectionName {
    "acme".parse().expect("valid")
}

fn secret(byte: u8) -> EncryptionKey {
    EncryptionKey::new([byte; 32])
}

async fn read(store: &dyn Store, name: &str) -> Entry {
    let entry = store.get(&key(name)).await.expect("readable");
    entry.expect("there")
}

async fn code(store: &dyn Store, name: &str) -> &'static str {
    store.get(&key(name)).await.expect_err("refused").code
}

async fn write(store: &dyn Store, name: &str, value: &[u8]) -> u64 {
    let current = store.get(&key(name)).await.expect("readable");
    let expected = current.map(|entry| entry.revision);
    match store.put(&key(name), value, expected).await {
        Ok(Write::Stored(revision)) => revision,
        other => panic!("{other:?}"),
    }
}

/// A connection's folder.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn plain(&self) -> FileStore {
        FileStore::open(self.0.path(), &name()).expect("a store")
    }

    fn with(&self, byte: u8) -> EncryptedStore<FileStore> {
        EncryptedStore::new(self.plain(), &name(), secret(byte))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("acme").join(file)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).expect("readable");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .map(|name| name.into_string().expect("text"))
            .collect()
    }

    /// The files in which the text is found.
    fn files_with(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path("")).expect("readable") {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("readable");
            if bytes.windows(text.len()).any(|window| window == text) {
                found.push(path.file_name().expect("a name").to_string_lossy().into());
            }
        }
        found
    }

    /// Leaves a plain value everywhere where one can be.
    async fn fill(&self) {
        let plain = self.plain();
        for value in [SECRET, SECRET] {
            write(&plain, "session", value).await;
        }
        write(&plain, "session-aside-1", SECRET).await;
        for (file, text) in [
            ("session.damaged-1", "torn very-secret-refresh-token"),
            (".session.x1y2z3", "cut short very-secret-refresh-token"),
        ] {
            self.write(file, text.as_bytes());
        }
        let parked = [write(&plain, "parked-1", SECRET).await];
        assert_eq!(parked.len(), 1);
        self.write("parked-1.previous", b"torn very-secret-refresh-token");
        assert_eq!(self.files_with(b"very-secret").len(), 7);
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.path(file);
        let _ = fs::remove_file(&path);
        let mut file = crate::private_file::create_new(&path).expect("created");
        std::io::Write::write_all(&mut file, bytes).expect("written");
    }
}

async fn encrypt(store: &EncryptedStore<FileStore>) -> Rewritten {
    let done = store.encrypt_all(Duration::ZERO).await.expect("encrypted");
    done.expect("the lock is free")
}

#[tokio::test]
async fn the_inner_store_sees_no_value() {
    let memory = MemoryStore::new();
    let store = EncryptedStore::new(memory.clone(), &name(), secret(1));
    let revision = write(&store, "session", SECRET).await;
    let inner = read(&memory, "session").await;
    assert!(crate::seal::is_sealed(&inner.value));
    let entry = read(&store, "session").await;
    assert_eq!((entry.revision, &*entry.value), (revision, SECRET));
    assert_eq!(store.list("").await, Ok(vec![key("session")]));
}

#[tokio::test]
async fn a_lost_race_returns_the_winners_value() {
    let store = EncryptedStore::new(MemoryStore::new(), &name(), secret(1));
    let revision = write(&store, "session", SECRET).await;
    for lost in [
        store.put(&key("session"), b"other", None).await,
        store.delete(&key("session"), revision + 1).await,
    ] {
        let Ok(Write::Conflict(Some(winner))) = lost else {
            panic!("{lost:?}");
        };
        assert_eq!((winner.revision, &*winner.value), (revision, SECRET));
    }
}

#[tokio::test]
async fn a_value_is_refused_at_another_key_and_connection() {
    let memory = MemoryStore::new();
    let store = EncryptedStore::new(memory.clone(), &name(), secret(1));
    write(&store, "session", SECRET).await;
    let moved = read(&memory, "session").await.value;
    write(&memory, "login", &moved).await;
    assert_eq!(code(&store, "login").await, "corrupt");
    let other = "other".parse().expect("valid");
    let other = EncryptedStore::new(memory, &other, secret(1));
    assert_eq!(code(&other, "session").await, "corrupt");
}

#[tokio::test]
async fn a_wrong_key_overwrites_nothing() {
    let folder = Folder::new();
    write(&folder.with(1), "session", SECRET).await;
    let before = fs::read(folder.path("session")).expect("there");
    let wrong = folder.with(2);
    assert_eq!(code(&wrong, "session").await, "wrong-key");
    let put = wrong.put(&key("session"), b"{}", None).await;
    assert_eq!(put.expect_err("refused").code, "wrong-key");
    let all = wrong.encrypt_all(Duration::ZERO).await;
    assert_eq!(all.expect_err("refused").code, "wrong-key");
    assert_eq!(fs::read(folder.path("session")).expect("there"), before);
    assert_eq!(read(&folder.with(1), "session").await.value, SECRET);
}

#[tokio::test]
async fn a_plain_value_is_refused_until_everything_is_encrypted() {
    let folder = Folder::new();
    write(&folder.plain(), "session", SECRET).await;
    let store = folder.with(1);
    assert_eq!(code(&store, "session").await, "not-encrypted");
    let before = read(&folder.plain(), "session").await.revision;
    encrypt(&store).await;
    let entry = read(&store, "session").await;
    assert_eq!(entry.value, SECRET);
    assert!(
        entry.revision > before,
        "who read the plain one loses the race"
    );
    // Slipped in later.
    folder.write("login", &fs::read(folder.path("session")).expect("there"));
    assert_eq!(code(&store, "login").await, "corrupt");
    let plain = crate::entry_file::encode(entry.revision + 1, None, SECRET);
    folder.write("session", &plain);
    assert_eq!(code(&store, "session").await, "not-encrypted");
}

#[tokio::test]
async fn no_plain_text_is_left_anywhere() {
    let folder = Folder::new();
    folder.fill().await;
    folder.write("session.bak", b"a person's copy");
    let store = folder.with(1);
    let done = encrypt(&store).await;
    assert_eq!(folder.files_with(b"very-secret"), Vec::<String>::new());
    assert_eq!(
        (done.entries, done.files, done.foreign),
        (3, 6, vec!["session.bak".to_owned()])
    );
    for name in ["session", "session-aside-1", "parked-1"] {
        assert_eq!(read(&store, name).await.value, SECRET);
    }
    assert_eq!(encrypt(&store).await.files, 0, "again changes nothing");
    // The previous generation serves as ever.
    folder.write("session", b"torn");
    let entry = read(&store, "session").await;
    assert!(entry.provenance == crate::Provenance::Previous && entry.value == SECRET);
    // What was torn after it was sealed stays as it is.
    assert_eq!(encrypt(&store).await.files, 1, "the torn one is sealed");
    let entry = read(&store, "session").await;
    assert_eq!(entry.provenance, crate::Provenance::Previous, "still told");
}

/// Beside an entry whose newest generation is lost, and served from the one before.
#[tokio::test]
async fn a_write_that_was_cut_short_beside_a_lost_entry_is_finished() {
    for lost in [&b""[..], b"torn"] {
        let folder = Folder::new();
        let plain = folder.plain();
        write(&plain, "session", b"one").await;
        let second = write(&plain, "session", b"two").await;
        let received = crate::entry_file::encode(second + 2, None, SECRET);
        let part = crate::entry_file::encode(second + 3, None, b"three");
        folder.write(&format!(".session.{second}.abcdef"), &received);
        folder.write(&format!(".session.{second}.torn"), &part[..part.len() - 1]);
        let late = crate::entry_file::encode(second + 1, None, b"two and a half");
        folder.write(&format!(".session.{second}.late"), &late);
        if lost.is_empty() {
            fs::remove_file(folder.path("session")).expect("removed");
        } else {
            folder.write("session", lost);
        }
        let store = folder.with(1);
        encrypt(&store).await;
        let entry = read(&store, "session").await;
        assert_eq!(
            (&*entry.value, entry.provenance),
            (SECRET, crate::Provenance::Newest)
        );
        assert_eq!(folder.files_with(b"very-secret"), Vec::<String>::new());
        assert!(
            !folder
                .names()
                .iter()
                .any(|name| name.starts_with(".session"))
        );
    }
}

/// It may hold what a server has issued, and this version cannot tell.
#[tokio::test]
async fn a_write_of_a_later_version_that_was_cut_short_stops_it_and_is_left_alone() {
    let folder = Folder::new();
    let revision = write(&folder.plain(), "session", SECRET).await;
    let file = format!(".session.{revision}.abcdef");
    folder.write(&file, b"{\"procore-auth\":2}\n");
    let all = folder.with(1).encrypt_all(Duration::ZERO).await;
    assert_eq!(all.expect_err("refused").code, "newer-format");
    assert!(folder.path(&file).exists());
}

#[tokio::test]
async fn a_new_key_replaces_the_old_one_everywhere() {
    let folder = Folder::new();
    folder.fill().await;
    encrypt(&folder.with(1)).await;
    let rotating = folder.with(2).old_keys([secret(1)]);
    assert_eq!(read(&rotating, "session").await.value, SECRET);
    let done = encrypt(&rotating).await;
    assert_eq!((done.entries, done.files), (3, 6));
    let id = secret(1).id().0;
    assert_eq!(folder.files_with(&id), Vec::<String>::new());
    assert_eq!(read(&folder.with(2), "session").await.value, SECRET);
    assert_eq!(code(&folder.with(1), "session").await, "wrong-key");
}

#[tokio::test]
async fn decrypting_gives_back_what_there_was() {
    let folder = Folder::new();
    folder.fill().await;
    encrypt(&folder.with(1)).await;
    let store = folder.with(1);
    store.decrypt_all(Duration::ZERO).await.expect("decrypted");
    assert_eq!(read(&folder.plain(), "session").await.value, SECRET);
    assert_eq!(
        fs::read(folder.path("session.damaged-1")).expect("there"),
        b"torn very-secret-refresh-token"
    );
    assert_eq!(code(&store, "session").await, "not-encrypted");
}

#[tokio::test]
async fn nothing_is_rewritten_while_another_holds_the_lock() {
    let folder = Folder::new();
    write(&folder.plain(), "session", SECRET).await;
    let held = folder.plain().lock(Duration::ZERO).await.expect("works");
    let store = folder.with(1);
    assert_eq!(store.encrypt_all(Duration::ZERO).await, Ok(None));
    drop(held);
    encrypt(&store).await;
}

#[tokio::test]
async fn a_damaged_entry_without_a_spare_stops_it_and_is_left_alone() {
    let folder = Folder::new();
    write(&folder.plain(), "session", SECRET).await;
    folder.write("session", b"torn");
    let all = folder.with(1).encrypt_all(Duration::ZERO).await;
    assert_eq!(all.expect_err("refused").code, "corrupt");
    let left = fs::read(folder.path("session")).expect("there");
    assert_eq!(left, b"torn");
}

#[cfg(unix)]
#[tokio::test]
async fn s58_rewritten_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.fill().await;
    encrypt(&folder.with(1)).await;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for entry in fs::read_dir(folder.path("")).expect("readable") {
        assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
    }
}
