//! The token logic of procore-auth.
