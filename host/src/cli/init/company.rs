//! The company that calls are for: looked up after the sign-in, and asked for only where there are several.

use super::super::companies::{self, Company};
use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::super::open::Open;
use super::super::typed::{Input, Lines};
use super::ask::{Asker, Question};

/// Lists the companies that the account sees. Where that does not work it is told, and the list is empty.
pub(super) async fn list(context: &Context<'_>, open: &Open) -> Vec<Company> {
    let listed = companies::list(&open.connection, None).await;
    listed.unwrap_or_else(|why| {
        context.terminal.note(format_args!(
            "The companies could not be looked up ({why}). Calls name one with --company, or set company_id in the configuration."
        ));
        Vec::new()
    })
}

/// Returns the only company, or the one that the person chooses; `None` for none. Reads lines, as the sign-in before it does.
pub(super) async fn choose(
    context: &Context<'_>,
    asker: &Asker<'_>,
    companies: &[Company],
) -> Result<Option<Company>, Failure> {
    match companies {
        [] => return Ok(None),
        [only] => return Ok(Some(only.clone())),
        _ if !asker.is_attended() => {
            let ids: Vec<String> = companies.iter().map(|one| one.id.to_string()).collect();
            context.terminal.note(format_args!(
                "There are several companies, and none is chosen: run the same with --company and one of {}.",
                ids.join(", ")
            ));
            return Ok(None);
        }
        _ => {}
    }
    asker.begin(&Question {
        what: "Company",
        help: "The account sees several. Calls are for this one unless they name another.",
        flag: "--company ID",
    })?;
    for (index, company) in companies.iter().enumerate() {
        let number = index + 1;
        context
            .terminal
            .note(format_args!("   {number:>2}  {company}"));
    }
    let mut lines = Lines::read(Input::Standard);
    loop {
        context
            .terminal
            .prompt(format_args!("? Number of the company, 0 for none: "));
        let line = tokio::select! {
            line = lines.next() => line,
            () = context.shutdown.requested() => return Err(stopped()),
        };
        let Some(line) = line else {
            return Ok(None);
        };
        match pick(companies, line.expose()) {
            Some(chosen) => return Ok(chosen),
            None => context
                .terminal
                .note(format_args!("A number from 0 to {}.", companies.len())),
        }
    }
}

/// Understands a number of the list, or a company's id; `None` for anything else.
fn pick(companies: &[Company], answer: &str) -> Option<Option<Company>> {
    let number: u64 = answer.parse().ok()?;
    if number == 0 {
        return Some(None);
    }
    let by_number = usize::try_from(number - 1)
        .ok()
        .and_then(|at| companies.get(at));
    let chosen = by_number.or_else(|| companies.iter().find(|one| one.id == number));
    chosen.cloned().map(Some)
}

fn stopped() -> Failure {
    Explained::new(
        Exit::Interrupted,
        "interrupted",
        "Stopped after the sign-in: no company is chosen.",
        "Run `procore-auth init` again, or set company_id in the configuration.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::{Company, pick};

    #[test]
    fn a_company_is_picked_by_its_number_or_id() {
        let company = |id, name: &str| Company {
            id,
            name: Some(name.to_owned()),
        };
        let all = [company(42, "A"), company(77, "B")];
        for (answer, picked) in [
            ("0", Some(None)),
            ("2", Some(Some(all[1].clone()))),
            ("42", Some(Some(all[0].clone()))),
            ("3", None),
            ("A", None),
        ] {
            assert_eq!(pick(&all, answer), picked, "{answer}");
        }
    }
}
