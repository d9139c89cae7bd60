//! The command, between `wasi:cli` and the plugin's exports.

use wasi::{
    cli::{environment, stderr, stdout},
    exports::cli::run::Guest,
    io::streams::OutputStream,
};

wit_bindgen::generate!({
    inline: "
        package procore-auth:wasi-command;
        world command {
            import procore:auth/auth@0.1.0;
            import procore:auth/api@0.1.0;
        }
    ",
    path: "../../wit",
    world: "procore-auth:wasi-command/command",
    generate_all,
});

use procore::auth::{
    api::{self, Outcome, Request},
    auth,
    types::{Diagnosis, Error, Header},
};

struct Command;

wasi::cli::command::export!(Command);

const USAGE: &str =
    "usage: token | call METHOD PATH [BODY] | login | finish-login ANSWER | upkeep | status\n";

impl Guest for Command {
    fn run() -> Result<(), ()> {
        let words = environment::get_arguments();
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        match answer(&words) {
            Ok(text) => print(&stdout::get_stdout(), &text),
            Err(text) => {
                print(&stderr::get_stderr(), text.as_bytes())?;
                Err(())
            }
        }
    }
}

fn answer(words: &[&str]) -> Result<Vec<u8>, String> {
    let text = match words {
        ["token"] => {
            auth::access_token()
                .map_err(|error| explain(&error))?
                .bearer
        }
        ["call", method, path] => return call(method, path, ""),
        ["call", method, path, body] => return call(method, path, body),
        ["login"] => {
            auth::begin_login()
                .map_err(|error| explain(&error))?
                .authorize_url
        }
        ["finish-login", answer] => {
            let status = auth::finish_login(answer);
            health(status.map_err(|error| explain(&error))?.health).to_owned()
        }
        ["upkeep"] => {
            let visit = auth::upkeep(None, None).map_err(|error| explain(&error))?;
            visit.come_back_at.to_string()
        }
        ["status"] => {
            let status = auth::status().map_err(|error| explain(&error))?;
            health(status.health).to_owned()
        }
        _ => return Err(USAGE.to_owned()),
    };
    Ok(format!("{text}\n").into_bytes())
}

fn call(method: &str, path: &str, body: &str) -> Result<Vec<u8>, String> {
    let json = Header {
        name: "content-type".to_owned(),
        value: "application/json".to_owned(),
    };
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: if body.is_empty() {
            Vec::new()
        } else {
            vec![json]
        },
        body: body.as_bytes().to_vec(),
        company_id: None,
        timeout: None,
        idempotent: None,
        park: false,
        order_key: None,
        not_before: None,
    };
    match api::send(&request).map_err(|error| explain(&error))? {
        Outcome::Answered(reply) => match reply.diagnosis {
            Some(diagnosis) => Err(explained(&diagnosis)),
            None => Ok(reply.body),
        },
        // It was not asked for.
        Outcome::Parked(kept) => Err(format!("parked: {}\n", kept.request.id)),
    }
}

fn health(health: auth::Health) -> &'static str {
    match health {
        auth::Health::Healthy => "healthy",
        auth::Health::Unverified => "unverified",
        auth::Health::AtRisk => "at-risk",
        auth::Health::Unavailable => "unavailable",
        auth::Health::Misconfigured => "misconfigured",
        auth::Health::SignInRequired => "sign-in-required",
    }
}

fn explain(error: &Error) -> String {
    explained(&error.diagnosis)
}

fn explained(diagnosis: &Diagnosis) -> String {
    let Diagnosis {
        code,
        summary,
        cause,
        remedy,
        ..
    } = diagnosis;
    format!("error: {summary} ({code})\ncause: {cause}\nremedy: {remedy}\n")
}

fn print(stream: &OutputStream, bytes: &[u8]) -> Result<(), ()> {
    // What one call of the stream takes at most.
    for part in bytes.chunks(4096) {
        stream.blocking_write_and_flush(part).map_err(drop)?;
    }
    Ok(())
}
