//! The browser on this machine, where there is one that a person looks at.

use std::env;

/// Returns whether a browser that is opened here would be seen.
pub(crate) fn is_at_hand() -> bool {
    if env::var_os("SSH_CONNECTION").is_some() {
        return false;
    }
    if cfg!(any(target_os = "macos", windows)) {
        return true;
    }
    ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
        .iter()
        .any(|variable| env::var_os(variable).is_some_and(|value| !value.is_empty()))
}

/// Opens the URL. Says why where that does not work.
pub(crate) async fn open(url: &str) -> Result<(), String> {
    let url = url.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let mut options = webbrowser::BrowserOptions::new();
        options.with_suppress_output(true);
        webbrowser::open_browser_with_options(webbrowser::Browser::Default, &url, &options)
    });
    match opened.await {
        Ok(opened) => opened.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
