//! A strict stand-in for Procore's login and API hosts, for tests and the demo.
