//! Signing in over ssh: the browser is on another machine, and its `localhost` is not ours.

use std::env;

/// Tells how to sign in from here, where this is a session over ssh.
pub(super) fn advice(port: u16) -> Option<String> {
    let connection = env::var("SSH_CONNECTION").ok()?;
    let user = env::var("USER").or_else(|_| env::var("LOGNAME")).ok();
    Some(advise(&connection, user.as_deref(), port))
}

/// `connection` holds the addresses and ports of the client and of this server, in that order, with spaces between.
fn advise(connection: &str, user: Option<&str>, port: u16) -> String {
    let target = target(connection, user);
    format!(
        "You are here over ssh: a browser on your own machine does not reach localhost:{port} of this one. One of these does:\n\
         \x20 - Open the link all the same. The browser ends on a page that it cannot load: paste its address here.\n\
         \x20 - First run this on your own machine, and then open the link there:\n\
         \x20     ssh -N -L {port}:localhost:{port} {target}\n\
         \x20 - Register and configure the redirect URI urn:ietf:wg:oauth:2.0:oob: Procore then shows a code to paste, on any device.\n"
    )
}

fn target(connection: &str, user: Option<&str>) -> String {
    let mut words = connection.split_whitespace().skip(2);
    let (host, ssh_port) = (words.next().unwrap_or("HOST"), words.next());
    let user = user.map_or_else(String::new, |user| format!("{user}@"));
    let ssh_port = match ssh_port {
        None | Some("22") => String::new(),
        Some(other) => format!("-p {other} "),
    };
    format!("{ssh_port}{user}{host}")
}

#[cfg(test)]
mod tests {
    use super::advise;

    #[test]
    fn s53_the_command_is_ready_to_run() {
        for (connection, user, command) in [
            (
                "198.51.100.7 50000 192.0.2.10 22",
                Some("ada"),
                "ssh -N -L 9876:localhost:9876 ada@192.0.2.10\n",
            ),
            (
                "2001:db8::1 50000 2001:db8::2 2222",
                None,
                "ssh -N -L 9876:localhost:9876 -p 2222 2001:db8::2\n",
            ),
            ("", None, "ssh -N -L 9876:localhost:9876 HOST\n"),
        ] {
            let advice = advise(connection, user, 9876);
            assert!(advice.contains(command), "{advice}");
        }
    }
}
