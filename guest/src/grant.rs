//! The token endpoint: the forms that go out, and what the replies amount to (RFC 6749, sections 4.1.3, 4.4.2, 5 and 6).

use crate::{
    diagnosis::{Diagnosis, PATIENCE},
    environment::Environment,
    explain::{Endpoint, OAuthError, Observation, explain},
    http::{FieldValue, Form, Header, Response, find_header},
    json::Fields,
    lifetime::Lifetime,
    search,
    secret::Secret,
};

/// What is presented for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// An authorization code, with the redirect URI of the authorize request and the PKCE verifier if one was promised.
    Code {
        /// The code.
        code: Secret,
        /// As in the authorize request, to the letter.
        redirect_uri: String,
        /// The verifier of the challenge (RFC 7636, section 4.5).
        verifier: Option<Secret>,
    },
    /// A refresh token, with the redirect URI that Procore's documentation sends along.
    RefreshToken {
        /// The single-use token.
        token: Secret,
        /// The connection's redirect URI.
        redirect_uri: Option<String>,
    },
    /// The client's own credentials.
    ClientCredentials,
}

impl Presented {
    /// Returns the form. The client's credentials go in the body: Procore documents no other way, and probing for one
    /// could spend a token.
    pub fn form(&self, client_id: &str) -> Form {
        let text = |value: &str| FieldValue::Text(Secret::new(value));
        let mut form: Form = match self {
            Self::Code {
                code,
                redirect_uri,
                verifier,
            } => {
                let mut form = vec![
                    ("grant_type", text("authorization_code")),
                    ("code", FieldValue::Text(code.clone())),
                    ("redirect_uri", text(redirect_uri)),
                ];
                form.extend(
                    verifier
                        .iter()
                        .map(|verifier| ("code_verifier", FieldValue::Text(verifier.clone()))),
                );
                form
            }
            Self::RefreshToken {
                token,
                redirect_uri,
            } => {
                let mut form = vec![
                    ("grant_type", text("refresh_token")),
                    ("refresh_token", FieldValue::Text(token.clone())),
                ];
                form.extend(redirect_uri.iter().map(|uri| ("redirect_uri", text(uri))));
                form
            }
            Self::ClientCredentials => vec![("grant_type", text("client_credentials"))],
        };
        form.push(("client_id", text(client_id)));
        form.push(("client_secret", FieldValue::ClientSecret));
        form
    }

    /// Returns the endpoint that a reply is explained as.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Code { .. } => Endpoint::Exchange,
            Self::RefreshToken { .. } => Endpoint::Refresh,
            Self::ClientCredentials => Endpoint::ClientCredentials,
        }
    }
}

/// What a reply of the token endpoint amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Tokens, or what claims to be: to be saved before it is read with [`Issued::parse`].
    Success,
    /// The presented code or token is not accepted, for good.
    GrantRefused(Diagnosis),
    /// The client is not accepted until its configuration changes. Nothing was spent.
    ClientRefused(Diagnosis),
    /// It may go better later. Whether what was presented is spent is unknown.
    Transient(Diagnosis),
}

impl Answer {
    /// Classifies a reply by its `error` code; without one, only a 2xx that may hold a token is a success.
    pub fn read(environment: Environment, endpoint: Endpoint, response: &Response) -> Self {
        let diagnosis = || {
            explain(&Observation {
                environment,
                endpoint,
                url: None,
                status: response.status,
                headers: &response.headers,
                body: &response.body,
            })
        };
        let error = OAuthError::from_body(&response.body);
        match error.as_ref().map(|error| error.code.as_str()) {
            Some("invalid_grant") => Self::GrantRefused(diagnosis()),
            Some("server_error" | "temporarily_unavailable") => Self::Transient(diagnosis()),
            Some(
                "invalid_client"
                | "unauthorized_client"
                | "unsupported_grant_type"
                | "invalid_request"
                | "invalid_scope",
            ) => Self::ClientRefused(diagnosis()),
            Some(_) if (400..500).contains(&response.status) && response.status != 429 => {
                Self::ClientRefused(diagnosis())
            }
            Some(_) => Self::Transient(diagnosis()),
            None if (200..300).contains(&response.status) && holds_access_token(&response.body) => {
                Self::Success
            }
            None if (200..300).contains(&response.status) => {
                Self::Transient(unusable(&response.headers, &response.body))
            }
            None => Self::Transient(diagnosis()),
        }
    }
}

/// Whether the body may hold a token: whatever is not plainly something else is saved before it is judged.
fn holds_access_token(body: &[u8]) -> bool {
    !matches!(body.trim_ascii_start().first(), None | Some(b'<'))
        && body.windows(12).any(|window| window == b"access_token")
}

fn unusable(headers: &[Header], body: &[u8]) -> Diagnosis {
    let kind = find_header(headers, "content-type").unwrap_or("none");
    // No media type that is met here is longer; a token that a server echoed is.
    let is_type = |kind: &&str| kind.len() <= 32 && kind.bytes().all(|b| b.is_ascii_graphic());
    let kind = kind.split(';').next().filter(is_type);
    let kind = kind.unwrap_or("unusual");
    Diagnosis::new(
        "unusable-reply",
        "The token endpoint answered 200 without a token.",
        "A gateway or a captive portal answered in the server's place, or the reply was cut off.",
        PATIENCE,
    )
    .with_evidence(vec![
        format!("content type: {kind}"),
        format!("{} bytes", body.len()),
    ])
}

/// Tokens as issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The access token; not empty.
    pub access_token: Secret,
    /// The next refresh token; `None` where the reply had none.
    pub refresh_token: Option<Secret>,
    /// How long the access token lives.
    pub lifetime: Lifetime,
}

impl Issued {
    /// Reads the body of a successful reply. Bytes that are no UTF-8 matter in a token alone: it would not be the one that was
    /// issued.
    pub fn parse(body: &[u8]) -> Result<Self, Diagnosis> {
        let fault = |what: &str| unusable(&[], body).with_evidence(vec![what.to_owned()]);
        let fields = Fields::read(String::from_utf8_lossy(body).as_bytes())
            .ok_or_else(|| fault("the body is no JSON object"))?;
        let text = |name: &str| {
            fields
                .text(name)
                .filter(|text| !text.is_empty())
                .map(Secret::new)
        };
        let access_token = text("access_token").ok_or_else(|| fault("it holds no access_token"))?;
        if access_token
            .expose()
            .bytes()
            .any(|byte| !byte.is_ascii_graphic())
        {
            return Err(fault("its access_token has characters that no token has"));
        }
        let refresh_token = text("refresh_token");
        if refresh_token
            .as_ref()
            .is_some_and(|token| search::contains(token.expose(), "\u{fffd}"))
        {
            return Err(fault("its refresh_token is no text"));
        }
        Ok(Self {
            access_token,
            refresh_token,
            lifetime: Lifetime::received(fields.number("expires_in")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Answer {
        let response = Response {
            status,
            headers: vec![],
            body: body.as_bytes().to_vec(),
        };
        Answer::read(Environment::Production, Endpoint::Refresh, &response)
    }

    #[test]
    fn a_content_type_that_is_none_is_not_repeated() {
        for odd in ["a\u{1b}[2J", "text html", "t\u{e9}xt/html"] {
            let headers = [Header::new("content-type", odd)];
            let facts = unusable(&headers, b"").evidence;
            assert_eq!(facts[0], "content type: unusual");
        }
    }

    fn names(form: &Form) -> Vec<&'static str> {
        form.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn s28_credentials_go_in_the_body_and_the_secret_is_the_hosts() {
        let code = Presented::Code {
            code: Secret::new("c"),
            redirect_uri: "http://localhost".to_owned(),
            verifier: None,
        };
        assert_eq!(
            names(&code.form("id")),
            [
                "grant_type",
                "code",
                "redirect_uri",
                "client_id",
                "client_secret"
            ]
        );
        let refresh = Presented::RefreshToken {
            token: Secret::new("r"),
            redirect_uri: None,
        };
        assert_eq!(
            names(&refresh.form("id")),
            ["grant_type", "refresh_token", "client_id", "client_secret"]
        );
        for form in [
            code.form("id"),
            refresh.form("id"),
            Presented::ClientCredentials.form("id"),
        ] {
            assert_eq!(
                form.last(),
                Some(&("client_secret", FieldValue::ClientSecret))
            );
        }
    }

    #[test]
    fn s36_gateways_and_portals_are_transient() {
        for (status, body) in [
            (502, "<html>"),
            (403, "<html>blocked</html>"),
            (200, "<html>Sign in to WiFi</html>"),
            (200, ""),
            (500, ""),
            (429, "{}"),
            (302, ""),
        ] {
            assert!(
                matches!(read(status, body), Answer::Transient(_)),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn s37_a_200_without_a_token_is_no_success() {
        assert!(matches!(
            read(200, r#"{"error":"invalid_grant"}"#),
            Answer::GrantRefused(_)
        ));
        assert!(matches!(read(200, "{}"), Answer::Transient(_)));
        for body in [
            r#"{"access_token":""}"#,
            r#"{"access_token":null}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"x"#,
        ] {
            assert_eq!(
                read(200, body),
                Answer::Success,
                "saved before it is judged: {body}"
            );
            assert!(Issued::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn s42_a_refused_client_is_no_refused_grant() {
        for status in [400, 401] {
            assert!(matches!(
                read(status, r#"{"error":"invalid_client"}"#),
                Answer::ClientRefused(_)
            ));
            assert!(matches!(
                read(status, r#"{"error":"invalid_grant"}"#),
                Answer::GrantRefused(_)
            ));
        }
    }

    #[test]
    fn a_real_reply() {
        let body = r#"{"access_token":"a.b.c","token_type":"Bearer","expires_in":5378,"refresh_token":"r","created_at":1700000000}"#;
        assert_eq!(read(200, body), Answer::Success);
        let issued = Issued::parse(body.as_bytes()).expect("valid");
        assert_eq!(
            (issued.access_token.expose(), issued.lifetime.milliseconds()),
            ("a.b.c", 5_378_000)
        );
        assert_eq!(issued.refresh_token, Some(Secret::new("r")));
    }

    #[test]
    fn bytes_that_are_no_text_matter_in_a_token_alone() {
        let parse = |body: &[u8]| Issued::parse(body);
        let beside = b"{\"access_token\":\"a\",\"refresh_token\":\"r\",\"scope\":\"\xff\"}";
        let issued = parse(beside).expect("whole tokens");
        assert_eq!(issued.refresh_token, Some(Secret::new("r")));
        assert!(parse(b"{\"access_token\":\"a\xff\",\"refresh_token\":\"r\"}").is_err());
        assert!(parse(b"{\"access_token\":\"a\",\"refresh_token\":\"r\xff\"}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_body_gets_an_answer(status in 100u16..600, body in ".{0,80}") {
            let _ = read(status, &body);
            let _ = Issued::parse(body.as_bytes());
        }
    }
}
