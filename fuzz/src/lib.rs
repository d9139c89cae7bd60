//! What the targets share: how bytes become a reply, and how a secret is looked for.

pub mod reply;
pub mod secrets;
pub mod settings;
