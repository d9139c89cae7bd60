//! A component that misbehaves costs its caller one typed error, and harms nothing else. `docs/security.md` has the list of attacks.

mod computing;
mod egress;
mod host_calls;
mod hostile;
mod loading;
mod sharing;
mod sizes;
mod world;
