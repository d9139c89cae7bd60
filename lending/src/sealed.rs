//! How a value that is encrypted begins. The whole format is that of the host's `EncryptedStore`.

/// What every sealed value begins with, and no other value does.
pub const MAGIC: &[u8; 8] = b"\0sealed\0";

/// Tells whether a value is sealed, whatever the key.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}
