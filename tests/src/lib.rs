//! Scenarios: the real component in its real host.
