//! The pages that the callback server shows: one self-contained document each, without scripts.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// Nothing is loaded, run, framed or submitted; the address, which holds a code, is told to nobody and kept nowhere.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONNECTION, "close"),
];

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5a6068; --ground: #f4f5f7; --card: #fff; --line: #dfe2e6;
  --mark: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef1; --soft: #a3a9b2; --ground: #15171a; --card: #1f2226;
  --line: #33373d; } }
.good { --mark: #1a8f4c; } .bad { --mark: #d0402b; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { box-sizing: border-box; width: min(34rem, 100vw - 2rem); margin: 1rem; padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-top: 4px solid var(--mark); border-radius: 10px; }
h1 { margin: 0 0 .75rem; font-size: 1.35rem; line-height: 1.3; overflow-wrap: anywhere; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
dl { margin: 1rem 0 0; } dt { color: var(--soft); font-size: .85rem; } dd { margin: 0 0 .75rem; overflow-wrap: anywhere; }
footer { margin-top: 1.5rem; color: var(--soft); font-size: .85rem; }
";

/// What a page has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    status: StatusCode,
    tone: Tone,
    title: String,
    text: String,
    details: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Bad,
    Neutral,
}

impl Page {
    /// Says that it worked.
    pub(crate) fn good(title: &str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, Tone::Good, title, text)
    }

    /// Says that it did not.
    pub(crate) fn bad(status: StatusCode, title: &str, text: impl Into<String>) -> Self {
        Self::new(status, Tone::Bad, title, text)
    }

    /// Says how things are.
    pub(crate) fn neutral(status: StatusCode, title: &str, text: impl Into<String>) -> Self {
        Self::new(status, Tone::Neutral, title, text)
    }

    /// Adds a labelled detail; an empty one is left out.
    pub(crate) fn detail(mut self, label: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.details.push((label, text));
        }
        self
    }

    fn new(status: StatusCode, tone: Tone, title: &str, text: impl Into<String>) -> Self {
        Self {
            status,
            tone,
            title: title.to_owned(),
            text: text.into(),
            details: Vec::new(),
        }
    }

    fn html(&self) -> String {
        let tone = match self.tone {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Neutral => "neutral",
        };
        let title = escape(&self.title);
        let text = escape(&self.text);
        let details: String = self
            .details
            .iter()
            .map(|(label, text)| format!("<dt>{}</dt><dd>{}</dd>", escape(label), escape(text)))
            .collect();
        let details = if details.is_empty() {
            details
        } else {
            format!("<dl>{details}</dl>")
        };
        format!(
            "<!doctype html><html lang=\"en\" class=\"{tone}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
             <style>{STYLE}</style></head><body><main><h1>{title}</h1><p>{text}</p>{details}\
             <footer>procore-auth on this machine</footer></main></body></html>"
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        (self.status, HEADERS, Html(self.html())).into_response()
    }
}

/// Makes text safe as the content of an element or of a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::Page;

    #[test]
    fn everything_is_escaped() {
        let hostile = "<script>\"'&";
        let html = Page::bad(StatusCode::BAD_REQUEST, hostile, hostile)
            .detail("What to do", hostile)
            .html();
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(
            html.matches("&lt;script&gt;&quot;&#39;&amp;").count(),
            4,
            "{html}"
        );
    }

    #[test]
    fn an_empty_detail_is_left_out() {
        assert!(
            !Page::good("Hello", "x")
                .detail("Cause", "")
                .html()
                .contains("<dl>")
        );
    }
}
