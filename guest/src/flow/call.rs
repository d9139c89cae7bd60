//! An API call as a caller makes it: checked, sent, and parked where that is asked for.

use super::{
    attempt::{Answered, CallRequest, attempt_until_done},
    park::{park, park_behind},
    queue::Parked,
};
use crate::{
    capabilities::Capabilities,
    diagnosis::{Diagnosis, Error, ErrorKind, Result},
    http::find_header,
    parking::State,
    retry,
};

/// What became of a request.
pub enum Outcome {
    /// An answer came.
    Answered(Answered),
    /// It was parked.
    Parked {
        /// As what.
        parked: Parked,
        /// Until when the caller's next request is to wait.
        pause_until: Option<u64>,
    },
}

/// Sends a request, and parks it where that is asked for and it cannot be sent now.
pub fn send(host: &dyn Capabilities, mut request: CallRequest) -> Result<Outcome> {
    let settings = host.settings();
    check(&request)?;
    if let Some(parked) = park_behind(host, &settings, &request)? {
        return Ok(Outcome::Parked {
            parked,
            pause_until: None,
        });
    }
    match attempt_until_done(host, &settings, &mut request) {
        Ok(answered) => Ok(Outcome::Answered(answered)),
        Err(unanswered) => match retry::parks(unanswered.error.kind) {
            Some(state) if request.park => {
                match park(
                    host,
                    &settings,
                    &request,
                    state,
                    &unanswered.error.diagnosis,
                ) {
                    Ok(parked) => Ok(Outcome::Parked {
                        parked,
                        pause_until: unanswered.last.and_then(|last| last.pause_until),
                    }),
                    // What the caller must know first is that it may have been executed.
                    Err(unkept) if state == State::UnknownOutcome => {
                        let mut unknown = unanswered.error;
                        let fact = format!("not parked: {}", unkept.diagnosis.code);
                        unknown.diagnosis = unknown.diagnosis.with_evidence(vec![fact]);
                        Err(unknown)
                    }
                    Err(unkept) => Err(unkept),
                }
            }
            _ => unanswered
                .last
                .map(|last| Outcome::Answered(*last))
                .ok_or(unanswered.error),
        },
    }
}

/// Checks what a caller may not do.
fn check(request: &CallRequest) -> Result<()> {
    let fault = |what: String| {
        Err(Error::new(
            ErrorKind::InvalidInput,
            Diagnosis::new("invalid-request", &what, "", "Correct the request."),
        ))
    };
    let token_character =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if request.method.is_empty()
        || !request.method.bytes().all(token_character)
        || request.method.eq_ignore_ascii_case("CONNECT")
    {
        return fault("The method is no HTTP method that can be used here.".to_owned());
    }
    if !request.path.starts_with('/')
        || request.path.starts_with("//")
        || !request
            .path
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'#')
    {
        return fault("The path must begin with one `/` and hold neither spaces, `#`, `\\` nor characters beyond ASCII (percent-encode them).".to_owned());
    }
    if request
        .order_key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > 256)
    {
        return fault("The order key must have 1 to 256 bytes.".to_owned());
    }
    for own in [
        "authorization",
        "host",
        "content-length",
        "transfer-encoding",
    ] {
        if find_header(&request.headers, own).is_some() {
            return fault(format!("The header {own} is set by procore-auth itself."));
        }
    }
    Ok(())
}
