//! The company that a connection is for, by its name.

use std::fmt;
use std::time::Duration;

use procore_auth_host::{ApiRequest, Outcome};
use serde::{Deserialize, Serialize};

use crate::cli::open::Open;

/// A name is not worth a longer wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// The company that a connection is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Company {
    id: u64,
    /// `None` where Procore did not tell.
    name: Option<String>,
}

/// One of `GET /rest/v1.0/companies`: those that the account belongs to.
#[derive(Deserialize)]
struct Listed {
    id: u64,
    name: String,
}

impl Company {
    /// Asks for the name of the connection's company, in one request that only reads. `None` where the connection has none.
    pub(super) async fn of(open: &Open) -> Option<Self> {
        let id = open.connection.settings().company_id?;
        let name = name(open, id).await;
        Some(Self { id, name })
    }
}

impl fmt::Display for Company {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (company {})", self.id),
            None => write!(f, "company {}", self.id),
        }
    }
}

async fn name(open: &Open, id: u64) -> Option<String> {
    let mut request = ApiRequest::get("/rest/v1.0/companies");
    request.timeout = Some(PATIENCE);
    let answered = tokio::time::timeout(PATIENCE, open.connection.send(request)).await;
    let Ok(Ok(Outcome::Answered(response))) = answered else {
        tracing::debug!("the company's name could not be asked for");
        return None;
    };
    name_in(&response.body, id).filter(|_| response.status == 200)
}

fn name_in(body: &[u8], id: u64) -> Option<String> {
    let listed: Vec<Listed> = serde_json::from_slice(body).ok()?;
    let company = listed.into_iter().find(|company| company.id == id)?;
    // It is shown in a terminal: nothing in it moves the cursor.
    let name: String = company.name.chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Company, name_in};

    #[test]
    fn the_name_is_found_among_those_of_the_account() {
        let body = br#"[{"id":1,"name":"One","is_active":true},{"id":2,"name":"T\u001b[2Jwo"},{"id":3,"name":""}]"#;
        assert_eq!(name_in(body, 1).as_deref(), Some("One"));
        assert_eq!(name_in(body, 2).as_deref(), Some("T[2Jwo"));
        for absent in [3, 4] {
            assert_eq!(name_in(body, absent), None);
        }
        assert_eq!(name_in(b"{}", 1), None);
    }

    #[test]
    fn without_a_name_the_id_must_do() {
        let mut company = Company { id: 7, name: None };
        assert_eq!(company.to_string(), "company 7");
        company.name = Some("Seven".to_owned());
        assert_eq!(company.to_string(), "Seven (company 7)");
    }
}
