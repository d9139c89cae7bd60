//! How an alert is written for a webhook.
//!
//! | format | who reads it | source |
//! |---|---|---|
//! | generic | programs; also what a command reads on its standard input | here |
//! | slack | Slack, and what speaks its dialect: Mattermost, Rocket.Chat, Discord (`…/slack`) | <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/>, <https://docs.slack.dev/messaging/formatting-message-text/> |
//! | teams | a Microsoft Teams workflow "When a Teams webhook request is received" | <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using> |
//!
//! Slack gets plain `text` and no blocks: a block that is too long (3000 characters) has Slack refuse the whole message, and the
//! others do not know blocks. Teams gets an Adaptive Card in a message; the older message cards end with the Office 365
//! connectors. What a server may have written, in a message or a cause, is never markup: Slack's three special characters are
//! escaped, and the card's texts are text runs, which know no Markdown.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Alert, Kind};
use crate::{Environment, Severity, json_lines::Fields, time::rfc3339};

/// The longest text of one part: several of them stay within every limit of the services.
const LONGEST: usize = 1500;

/// How a webhook wants its alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// One JSON object with all there is.
    #[default]
    Generic,
    /// Slack's incoming webhooks.
    Slack,
    /// Microsoft Teams' workflows.
    Teams,
}

impl Format {
    /// Writes an alert.
    pub fn write(self, alert: &Alert) -> Vec<u8> {
        let written = match self {
            Self::Generic => serde_json::to_vec(&Document::from(alert)),
            Self::Slack => serde_json::to_vec(&json!({ "text": slack(alert) })),
            Self::Teams => serde_json::to_vec(&teams(alert)),
        };
        // Text with text in it: there is nothing to fail.
        written.unwrap_or_default()
    }
}

/// An alert as JSON. The fields are stable; new ones may be added.
#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    kind: Kind,
    severity: Severity,
    at: String,
    connection: &'a str,
    environment: Option<Environment>,
    code: &'a str,
    message: &'a str,
    state: Option<&'a str>,
    cause: Option<&'a str>,
    remedy: Option<&'a str>,
    link: Option<&'a str>,
    process: &'a str,
    fields: Fields<'a>,
}

impl<'a> From<&'a Alert> for Document<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self {
            id: &alert.id,
            kind: alert.kind,
            severity: alert.severity,
            at: rfc3339(alert.at),
            connection: &alert.connection,
            environment: alert.environment,
            code: &alert.code,
            message: &alert.message,
            state: alert.field("state"),
            cause: alert.field("cause"),
            remedy: alert.field("remedy"),
            link: alert.link(),
            process: &alert.process,
            fields: Fields(&alert.fields),
        }
    }
}

fn slack(alert: &Alert) -> String {
    let escaped = |text: &str| {
        let text = shortened(text);
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let mut text = format!("{} {}", mark(alert.kind), escaped(&headline(alert)));
    for (label, value) in parts(alert) {
        text += &format!("\n*{label}:* {}", escaped(value));
    }
    text + &format!("\n{}", escaped(&footer(alert)))
}

fn teams(alert: &Alert) -> Value {
    let line = |runs: Value| json!({ "type": "RichTextBlock", "inlines": runs });
    let run = |text: &str| json!({ "type": "TextRun", "text": shortened(text) });
    let headline = format!("{} {}", mark(alert.kind), headline(alert));
    let mut body = vec![line(json!([
        { "type": "TextRun", "text": shortened(&headline), "weight": "Bolder" }
    ]))];
    for (label, value) in parts(alert) {
        let label = json!({ "type": "TextRun", "text": format!("{label}: "), "weight": "Bolder" });
        body.push(line(json!([label, run(value)])));
    }
    body.push(line(json!([
        { "type": "TextRun", "text": shortened(&footer(alert)), "isSubtle": true, "size": "Small" }
    ])));
    let link = alert.link().map(|url| {
        let title = "Open the link";
        json!({ "type": "Action.OpenUrl", "title": title, "url": url })
    });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": body,
                "actions": link.into_iter().collect::<Vec<Value>>(),
            },
        }],
    })
}

fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Alert => "🔴",
        Kind::Recovery => "✅",
        Kind::Test => "🔔 TEST",
    }
}

fn headline(alert: &Alert) -> String {
    match alert.environment {
        Some(environment) => format!(
            "{} ({}): {}",
            alert.connection,
            word(environment),
            alert.message
        ),
        None => format!("{}: {}", alert.connection, alert.message),
    }
}

fn word(environment: Environment) -> &'static str {
    match environment {
        Environment::Production => "production",
        Environment::Sandbox => "sandbox",
        Environment::MonthlySandbox => "monthly sandbox",
        Environment::Federal => "federal",
    }
}

/// Returns what a person reads, in this order.
fn parts(alert: &Alert) -> impl Iterator<Item = (&'static str, &str)> {
    const SHOWN: [(&str, &str); 7] = [
        ("State", "state"),
        ("Since", "since"),
        ("Dark at", "dark-at"),
        ("Cause", "cause"),
        ("Do", "remedy"),
        ("Link", "link"),
        ("Over", "was"),
    ];
    SHOWN
        .into_iter()
        .filter_map(|(label, name)| Some((label, alert.field(name)?)))
}

fn footer(alert: &Alert) -> String {
    format!(
        "{} · {} · {} · {}",
        alert.code,
        rfc3339(alert.at),
        alert.process,
        alert.id
    )
}

/// Cuts a text that is too long for a message, and control characters with it.
fn shortened(text: &str) -> String {
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
