use serde_json::{Value, json};

use super::{Alert, Format, Kind};
use crate::alerts::alert::tests::example;

fn written(format: Format, alert: &Alert) -> Value {
    serde_json::from_slice(&format.write(alert)).expect("JSON")
}

#[test]
fn generic_has_all_there_is() {
    assert_eq!(
        written(Format::Generic, &example(Kind::Alert)),
        json!({
            "id": "00112233445566778899aabbccddeeff",
            "kind": "alert",
            "severity": "alert",
            "at": "2026-11-23T00:00:00.123Z",
            "connection": "acme",
            "environment": "sandbox",
            "code": "invalid_grant",
            "message": "login-sandbox.procore.com does not accept this refresh token any more.",
            "state": "calls still work for 12 min",
            "cause": "The grant was revoked <here> & now.",
            "remedy": "Run `procore-auth login`, or open https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e.",
            "link": "https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e",
            "process": "moby-1/4711",
            "fields": {
                "since": "2026-11-23T00:00:00Z",
                "state": "calls still work for 12 min",
                "cause": "The grant was revoked <here> & now.",
                "remedy": "Run `procore-auth login`, or open https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e.",
                "evidence": "",
            },
        })
    );
}

#[test]
fn slack_is_text_with_its_three_characters_escaped() {
    assert_eq!(
        written(Format::Slack, &example(Kind::Alert)),
        json!({ "text": "🔴 acme (sandbox): login-sandbox.procore.com does not accept this refresh token any more.\n\
            *State:* calls still work for 12 min\n\
            *Since:* 2026-11-23T00:00:00Z\n\
            *Cause:* The grant was revoked &lt;here&gt; &amp; now.\n\
            *Do:* Run `procore-auth login`, or open https://login-sandbox.procore.com/oauth/authorize?a=b&amp;c=d_e.\n\
            invalid_grant · 2026-11-23T00:00:00.123Z · moby-1/4711 · 00112233445566778899aabbccddeeff" })
    );
}

#[test]
fn teams_is_an_adaptive_card_of_text_runs_with_the_link_to_press() {
    let part = |label: &str, text: &str| {
        json!({ "type": "RichTextBlock", "inlines": [
            { "type": "TextRun", "text": label, "weight": "Bolder" },
            { "type": "TextRun", "text": text },
        ] })
    };
    assert_eq!(
        written(Format::Teams, &example(Kind::Alert)),
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
                    "body": [
                        { "type": "RichTextBlock", "inlines": [{
                            "type": "TextRun",
                            "text": "🔴 acme (sandbox): login-sandbox.procore.com does not accept this refresh token any more.",
                            "weight": "Bolder",
                        }] },
                        part("State: ", "calls still work for 12 min"),
                        part("Since: ", "2026-11-23T00:00:00Z"),
                        part("Cause: ", "The grant was revoked <here> & now."),
                        part("Do: ", "Run `procore-auth login`, or open https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e."),
                        { "type": "RichTextBlock", "inlines": [{
                            "type": "TextRun",
                            "text": "invalid_grant · 2026-11-23T00:00:00.123Z · moby-1/4711 · 00112233445566778899aabbccddeeff",
                            "isSubtle": true,
                            "size": "Small",
                        }] },
                    ],
                    "actions": [{
                        "type": "Action.OpenUrl",
                        "title": "Open the link",
                        "url": "https://login-sandbox.procore.com/oauth/authorize?a=b&c=d_e",
                    }],
                },
            }],
        })
    );
}

#[test]
fn recoveries_and_tests_are_told_from_alerts() {
    for (kind, word, mark) in [
        (Kind::Recovery, "recovery", "✅"),
        (Kind::Test, "test", "🔔 TEST"),
    ] {
        let alert = example(kind);
        assert_eq!(written(Format::Generic, &alert)["kind"], word);
        for format in [Format::Slack, Format::Teams] {
            let text = String::from_utf8(format.write(&alert)).expect("UTF-8");
            assert!(text.contains(mark), "{text}");
        }
    }
}

#[test]
fn no_text_is_too_long_and_none_forges_a_line_or_a_mention() {
    let mut alert = example(Kind::Alert);
    alert.message = format!(
        "<!channel>\n*Cause:* forged \u{202e}{}",
        "x".repeat(1 << 20)
    );
    alert.fields.clear();
    let text = written(Format::Slack, &alert)["text"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(text.chars().count() < 2000);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("&lt;!channel&gt; *Cause:*"), "{text}");
    let card = Format::Teams.write(&alert);
    assert!(card.len() < 10_000);
}
