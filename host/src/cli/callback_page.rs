//! The pages that the callback server shows: one self-contained document each, without scripts.
//!
//! They read well by ear as by eye: one heading that says it all, real headings and lists below it, colours with a contrast of at
//! least 4.5 to 1 in light and dark, and nothing that moves where the system asks for less motion.

use std::sync::LazyLock;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

/// The address, which may hold a code, is told to nobody and kept nowhere; no other page frames this one or keeps a hold on it.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::CONNECTION, "close"),
];

/// Nothing is loaded, run, framed or submitted. The one style is known by its hash; the icon stands in the page.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

const STYLE: &str = include_str!("callback_page.css");

/// The heading of what stands out: what a person is to do.
pub(crate) const CURE: &str = "What to do";

/// What a page has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    status: StatusCode,
    tone: Tone,
    title: String,
    text: String,
    sections: Vec<(&'static str, String)>,
    facts: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Good,
    Bad,
    Neutral,
    Waiting,
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

    /// Says what is under way. The browser asks for the page again after a second.
    pub(crate) fn waiting(title: &str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, Tone::Waiting, title, text)
    }

    /// Adds a paragraph with a heading; an empty one is left out. What stands in backticks is shown as code.
    pub(crate) fn section(mut self, heading: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.sections.push((heading, text));
        }
        self
    }

    /// Adds a labelled fact; an empty one is left out.
    pub(crate) fn fact(mut self, label: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.facts.push((label, text));
        }
        self
    }

    fn new(status: StatusCode, tone: Tone, title: &str, text: impl Into<String>) -> Self {
        Self {
            status,
            tone,
            title: title.to_owned(),
            text: text.into(),
            sections: Vec::new(),
            facts: Vec::new(),
        }
    }

    fn html(&self) -> String {
        let Look { class, role, icon } = self.tone.look();
        let title = escape(&self.title);
        let text = prose(&self.text);
        let facts: String = self.facts.iter().map(fact).collect();
        let facts = if facts.is_empty() {
            facts
        } else {
            format!("<dl>{facts}</dl>")
        };
        let sections: String = self.sections.iter().map(section).collect();
        format!(
            "<!doctype html><html lang=\"en\" class=\"{class}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{title} – procore-auth</title>\
             <link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body><main>\
             <svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\" focusable=\"false\">{icon}</svg>\
             <h1>{title}</h1><p class=\"lead\"{role}>{text}</p>{facts}{sections}</main>\
             <footer>procore-auth, on this machine</footer></body></html>"
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let refresh = (self.tone == Tone::Waiting).then_some([(header::REFRESH, "1")]);
        (
            self.status,
            HEADERS,
            [(header::CONTENT_SECURITY_POLICY, POLICY.as_str())],
            refresh.map(axum::response::AppendHeaders),
            Html(self.html()),
        )
            .into_response()
    }
}

/// Sends the browser to another path of this server.
pub(crate) fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, HEADERS, [(header::LOCATION, path)]).into_response()
}

/// How a tone is seen and heard.
struct Look {
    class: &'static str,
    role: &'static str,
    icon: &'static str,
}

impl Tone {
    fn look(self) -> Look {
        let (class, role, icon) = match self {
            Self::Good => (
                "good",
                " role=\"status\"",
                "<circle cx=\"12\" cy=\"12\" r=\"10.5\"/><path d=\"m7.4 12.4 3.1 3.1 6.2-6.6\"/>",
            ),
            Self::Bad => (
                "bad",
                " role=\"alert\"",
                "<circle cx=\"12\" cy=\"12\" r=\"10.5\"/><path d=\"M12 6.8v6.4M12 16.6v.2\"/>",
            ),
            Self::Neutral => (
                "neutral",
                " role=\"status\"",
                "<circle cx=\"12\" cy=\"12\" r=\"10.5\"/><path d=\"M12 11v6.2M12 7.2v.2\"/>",
            ),
            Self::Waiting => (
                "waiting",
                " role=\"status\"",
                "<circle class=\"track\" cx=\"12\" cy=\"12\" r=\"10.5\"/><path class=\"turns\" d=\"M12 1.5A10.5 10.5 0 0 1 22.5 12\"/>",
            ),
        };
        Look { class, role, icon }
    }
}

fn fact((label, text): &(&'static str, String)) -> String {
    format!(
        "<div><dt>{}</dt><dd>{}</dd></div>",
        escape(label),
        prose(text)
    )
}

fn section((heading, text): &(&'static str, String)) -> String {
    let class = if *heading == CURE {
        " class=\"cure\""
    } else {
        ""
    };
    let (heading, text) = (escape(heading), prose(text));
    format!("<section{class}><h2>{heading}</h2><p>{text}</p></section>")
}

/// Makes text safe, and shows what stands in backticks as code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some((before, code, after)) = next_code(rest) {
        html.push_str(&escape(before));
        html.push_str(&format!("<code>{}</code>", escape(code)));
        rest = after;
    }
    html + &escape(rest)
}

fn next_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
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
    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse as _;

    use super::Page;

    #[test]
    fn everything_is_escaped() {
        let hostile = "<script>\"'&`<b>`";
        let html = Page::bad(StatusCode::BAD_REQUEST, hostile, hostile)
            .section("What to do", hostile)
            .fact("Code", hostile)
            .html();
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert_eq!(
            html.matches("&lt;script&gt;&quot;&#39;&amp;").count(),
            5,
            "{html}"
        );
        assert_eq!(html.matches("<code>&lt;b&gt;</code>").count(), 3, "{html}");
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let html = Page::good("Hello", "x")
            .fact("Code", "")
            .section("Why", "")
            .html();
        assert!(!html.contains("<dl>") && !html.contains("<h2>"), "{html}");
    }

    #[test]
    fn only_a_page_that_waits_asks_again() {
        for (page, asks) in [
            (Page::waiting("Signing in", ""), true),
            (Page::good("Signed in", ""), false),
        ] {
            let reply = page.into_response();
            assert_eq!(reply.headers().contains_key(header::REFRESH), asks);
        }
    }
}
