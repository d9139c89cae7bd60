//! The simulation: connections over weeks, in virtual time, under faults at every capability call.
//!
//! The component is the real one, in its real host. What the host lends is simulated: HTTP, clock, store, journal, randomness.
//! Several actors share one store and one fake Procore. A [`Plan`] determines a run to the last step; [`run()`] runs one, [`shrink()`]
//! makes one that breaks an invariant smaller. `cargo xtask simulate` runs many.
//!
//! # Who takes part
//!
//! | actor | does | dies |
//! |---|---|---|
//! | agent (1 to 3) | asks for a token at the due moment or any other, calls `GET /rest/v1.0/me`, and once more after a 401; has the host execute a `POST` now and then, which may be parked | by faults |
//! | keeper | `upkeep(None)`, comes back when told, as `procore-auth run`; delivers alerts after each visit | by faults |
//! | cron job | `upkeep(Some(60 min))` in a process of its own, once an hour, and delivers alerts | after each visit |
//! | tool | `access_token`, a call and `status` in a process of its own, a few times a day | after each visit |
//! | admin | signs in at the start, and some hours after somebody was told that it takes a person | after each sign-in |
//!
//! They live on one or two machines, each with its own clock. A process that died is started again.
//!
//! # What befalls them
//!
//! | where | fault |
//! |---|---|
//! | any capability call | the process dies before its effect, or after it; it stands still for seconds or minutes, with the lock if it has it |
//! | a read | fails for a moment (S21) |
//! | a write | fails; fails and has happened all the same; is torn by the death of the writer, so that the generation before is served (S20) |
//! | a request | is not sent (S16); is lost; its reply is lost, or comes after the timeout (S17); it arrives after the timeout and is handled then |
//! | a reply | 5xx before or after the commit, HTML, 429 with `Retry-After` (S36); garbled or cut off after the commit (S18) |
//! | the lock | excludes nobody in one of eight seeds, until the calm: a file system without locks, a program that takes none (S5, S7, S11) |
//! | the disk | full, read-only, permission denied for up to 3 h (S19); unreadable for minutes |
//! | a machine | its clock is set, by up to ten minutes or hours; it sleeps; it reaches nobody (S44) |
//! | the alert sink | does not answer for up to 12 h; a try is lost, refused, put off, or taken without an answer |
//! | the server | is down; rotates strictly or with grace; tokens live for 15, 90 or 120 minutes |
//! | operators | the client secret is reset and the configuration follows later (S42); the refresh token is revoked; the app is disconnected; the monthly wipe (S54); yesterday's copy of the session's newest file, of both its generations or of the whole store is put back (S24) |
//!
//! Each fault has a name ([`FaultId`]) and is decided by a stream of randomness of its own, so that it can be left out without
//! shifting the others. The last four hours are calm.
//!
//! # What is checked
//!
//! At every step, with knowledge of both sides: the server's ledger, the durable bytes, and what living processes hold.
//!
//! | invariant | broken where |
//! |---|---|
//! | I1 one refresh | two requests are at the token endpoint at once; a refresh token is sent though its successor was durable; a refresh is neither due nor asked for |
//! | I2 nothing lost | a POST has no durable intent; the newest live refresh token is neither in the store nor on its way there in a living process that holds the lock; a pair is lost to the network or to a death, and no durable intent names what was spent for it |
//! | I3 never silent | a call fails for want of a token and no alert said so since the last refresh, or within a day; an alert has reached nobody at the end; one reaches people again though the sink was heard to take it; one stage or one code told twice in one outage; more than 40 alerts in one; two recovery notices for one alert |
//! | I4 no storms | a refresh token is sent after its refusal became durable; a POST comes before the end of the backoff; more than 60 POSTs in an hour |
//! | I6 secrets stay | an event holds a token, a code or a client secret |
//! | I7 no work lost | a `POST` that was handed over is executed twice; one that was parked is neither executed nor kept at the end; one waits still after a last replay in the calm |
//! | no false death | a refresh token is latched as dead that the server honours; a person is asked to sign in while the store holds a live one |
//! | tokens | a token is served that the server did not issue, that has expired, or that is older than one served or stored before |
//! | liveness | after the calm, and a sign-in where one was needed, an actor gets no token that the API accepts |
//!
//! Not demanded where the lock excludes nobody: one POST at a time, the order of the tokens that are served, one recovery notice,
//! that a request stops which is on its way when another's refusal becomes durable, nor a second alert of a trouble that was told,
//! was called over by another process, and comes back with a session that could not be saved before. Not demanded anywhere: expiry and due moments by
//! the minute where a clock is set wrong; an alert for a call on a store without a sign-in, whose caller is told. What was durable
//! before an older copy of the store was put back, or a generation was torn, says nothing afterwards; of work that was handed over before
//! the whole store was put back, nothing is demanded. A token on record as spent may
//! be called dead though a server with grace would still take it: to ask would be to risk it.
//!
//! # Why a run repeats itself
//!
//! Tokio's clock is paused and jumps to the next wake-up when nothing can run. Every wake-up of the simulation has a millisecond of
//! its own, so one thing runs at a time. The host's epoch ticker counts real time and can make a plugin yield; there is nobody to
//! yield to.
//!
//! # Why it is believed
//!
//! The broken variants ([`Variant`]) are the component on a host that breaks one promise, as other token managers do. Tests demand
//! that each is found.

mod actor;
mod agenda;
mod capabilities;
mod chance;
mod disk;
mod fault;
mod kernel_lock;
mod machine;
mod operator;
mod oracle;
mod plan;
mod process;
mod run;
mod scenario;
mod server;
mod shrink;
mod tally;
mod trace;
mod variant;
mod world;

pub use fault::{FaultId, Hit};
pub use plan::{NoPlan, Plan, Variant};
pub use run::{Outcome, Violation, run, run_with_whole_trace};
pub use shrink::shrink;
pub use tally::{Table, Tally};
