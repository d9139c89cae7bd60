//! A request as the endpoints see it.

use crate::environment::Place;
use crate::form::Form;

/// A request whose body was read in full.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) place: Place,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the parameters of the body, or none if it is not a form.
    pub(crate) fn form(&self) -> Form {
        let is_form = self.header("content-type").is_some_and(|kind| {
            kind.split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        if is_form {
            Form::parse(&self.body)
        } else {
            Form::default()
        }
    }

    pub(crate) fn query_form(&self) -> Form {
        Form::parse(self.query.as_bytes())
    }

    /// Returns the bearer token (RFC 6750, section 2.1).
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }
}

#[cfg(test)]
impl Request {
    /// Describes a request for tests of the endpoints.
    pub(crate) fn to(place: Place, method: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            place,
            method: method.into(),
            path: path.into(),
            query: query.into(),
            headers: vec![],
            body: vec![],
        }
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn with_form(self, parameters: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        Self {
            body: body.into_bytes(),
            ..self.with_header("content-type", "application/x-www-form-urlencoded")
        }
    }
}
