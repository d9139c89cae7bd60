//! URLs with ASCII hosts.
//!
//! The crate is built without Unicode tables (they would double the component), so a host that needs them is refused here,
//! before the URL parser sees it.

use url::Url;

/// Parses an absolute URL whose host, if it has one, is ASCII and written without percent signs.
pub fn parse(text: &str) -> Result<Url, String> {
    // The parser skips these wherever they stand, so they must not end the host here.
    let text = text.replace(['\t', '\n', '\r'], "");
    let rest = text.split_once(':').map_or(&*text, |(_, rest)| rest);
    let authority = rest
        .trim_start_matches(['/', '\\'])
        .split(['/', '\\', '?', '#'])
        .next()
        .unwrap_or_default();
    if !authority.is_ascii() || authority.contains('%') {
        return Err("its host is not plain ASCII".to_owned());
    }
    Url::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ascii_hosts() {
        assert!(parse("https://api.procore.com/caf%C3%A9?x=é").is_ok());
        for bad in [
            "https://A¡/",
            "https:A¡",
            "https:/\\A¡",
            "https://%41%C2%A1.example/",
            "https://user@A¡/",
            "",
            "no url",
            "\u{9}https://é",
            "https://\r/A¡",
            "https:/\n/\t/A¡",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "(https?)?[:\\s]{0,2}[/\\\\\\s]{0,4}.{0,30}") {
            let _ = parse(&text);
        }
    }
}
