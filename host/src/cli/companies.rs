//! The companies that an account sees, as `GET /rest/v1.0/companies` lists them.

use std::fmt;
use std::time::Duration;

use procore_auth_host::{ApiRequest, Connection, Outcome};
use serde::{Deserialize, Serialize};

/// Where they are listed. A user needs to name no company for it.
pub(super) const PATH: &str = "/rest/v1.0/companies";

/// A company.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Company {
    pub(super) id: u64,
    /// `None` where Procore did not tell. It moves no terminal's cursor.
    pub(super) name: Option<String>,
}

/// One of the list, as Procore gives it.
#[derive(Deserialize)]
struct Listed {
    id: u64,
    #[serde(default)]
    name: Option<String>,
}

/// Asks for them, in one request that only reads; `patience` is how long that may take, the policy's time for a call where there is none.
///
/// The error says why there is no list.
pub(super) async fn list(
    connection: &Connection,
    patience: Option<Duration>,
) -> Result<Vec<Company>, String> {
    let mut request = ApiRequest::get(PATH);
    request.timeout = patience;
    match connection.send(request).await {
        Ok(Outcome::Answered(reply)) if reply.status == 200 => {
            read(&reply.body).map_err(|error| error.to_string())
        }
        Ok(Outcome::Answered(reply)) => Err(format!("Procore answers {}", reply.status)),
        Ok(_) => Err("the request was not sent".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads Procore's list.
pub(super) fn read(body: &[u8]) -> Result<Vec<Company>, serde_json::Error> {
    let listed: Vec<Listed> = serde_json::from_slice(body)?;
    Ok(listed.into_iter().map(Company::from).collect())
}

impl Company {
    /// Returns the company of this number, by its name if the list has it.
    pub(super) fn in_list(list: &[Self], id: u64) -> Self {
        let named = list.iter().find(|company| company.id == id).cloned();
        named.unwrap_or(Self { id, name: None })
    }
}

impl From<Listed> for Company {
    fn from(Listed { id, name }: Listed) -> Self {
        let name = name.unwrap_or_default();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        Self {
            id,
            name: Some(name).filter(|name| !name.is_empty()),
        }
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

#[cfg(test)]
mod tests {
    use super::{Company, read};

    #[test]
    fn names_are_told_as_far_as_they_are_text() {
        let body = br#"[{"id":1,"name":"One","is_active":true},{"id":2,"name":"T\u001b[2Jwo"},{"id":3,"name":""},{"id":4}]"#;
        let list = read(body).expect("a list");
        for (id, shown) in [
            (1, "One (company 1)"),
            (2, "T[2Jwo (company 2)"),
            (3, "company 3"),
            (4, "company 4"),
            (5, "company 5"),
        ] {
            assert_eq!(Company::in_list(&list, id).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for body in ["{}", r#"[{"name":"no id"}]"#, "<html>"] {
            read(body.as_bytes()).expect_err(body);
        }
    }
}
