//! What a store holds, read as a person with an editor would.

use procore_auth_host::{Key, Store};
use serde_json::Value;

/// Returns the stored session.
pub async fn session(store: &dyn Store) -> Value {
    let bytes = entry(store, "session").await.expect("a session");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Returns the bytes of an entry; `None` where there is none.
pub async fn entry(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    let key = Key::new(key).expect("a key");
    let entry = store.get(&key).await.expect("readable");
    entry.map(|entry| entry.value)
}

/// Returns the stored access token.
pub async fn access_token(store: &dyn Store) -> String {
    token(store, "access_token").await
}

/// Returns the stored refresh token.
pub async fn refresh_token(store: &dyn Store) -> String {
    token(store, "refresh_token").await
}

async fn token(store: &dyn Store, name: &str) -> String {
    let session = session(store).await;
    let token = session["tokens"][name].as_str();
    token.expect("a token").to_owned()
}

/// Returns the keys that begin with `prefix`.
pub async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let keys = store.list(prefix).await.expect("readable");
    keys.iter().map(|key| key.as_str().to_owned()).collect()
}
