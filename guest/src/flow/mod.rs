//! What the exported functions do: the pure modules, driven through the host's capabilities.

mod aside;
mod attempt;
mod call;
mod diagnose;
mod notice;
mod park;
mod queue;
mod replay;
mod sign_in;
mod sign_out;
mod stored;
mod token;
mod upkeep;
mod verify;

pub use attempt::{Answered, CallRequest};
pub use call::{Outcome, send};
pub use diagnose::diagnose;
pub use queue::{Parked, discard, list as parked};
pub use replay::{ReplayReport, Replayed, replay};
pub use sign_in::{adopt, begin as begin_login, finish as finish_login};
pub use sign_out::{forget, revoke};
pub use token::{access_token, renew_rejected};
pub use upkeep::{Visit, status, upkeep};
pub use verify::verify;
