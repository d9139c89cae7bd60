//! `[metrics]`: where the keeper tells Prometheus how the connections are.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::locate;
use super::shape::MetricsTable;
use super::source::{Mistake, Source};
use crate::cli::failure::Failure;

/// Where the metrics go; nowhere where neither is set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// A file for node_exporter's textfile collector.
    pub(crate) file: Option<PathBuf>,
    /// A loopback address to serve them at.
    pub(crate) listen: Option<SocketAddr>,
}

/// Reads the table.
pub(super) fn read(
    source: &Source,
    folder: &Path,
    table: Option<Spanned<MetricsTable>>,
) -> Result<Metrics, Failure> {
    let Some(table) = table else {
        return Ok(Metrics::default());
    };
    let span = table.span();
    let table = table.into_inner();
    if table.file.is_none() && table.listen.is_none() {
        let mistake = Mistake {
            message: "[metrics] names no place for them".to_owned(),
            cure: "add `file`, `listen` or both, or remove the table".to_owned(),
        };
        return Err(source.refuse(span, mistake));
    }
    Ok(Metrics {
        file: table
            .file
            .map(|written| file(source, folder, &written))
            .transpose()?,
        listen: table.listen.map(|at| address(source, &at)).transpose()?,
    })
}

fn file(source: &Source, folder: &Path, written: &Spanned<PathBuf>) -> Result<PathBuf, Failure> {
    if written.get_ref().as_os_str().is_empty() {
        let mistake = Mistake {
            message: "this names no file".to_owned(),
            cure: "write its path: file = \"/var/lib/node_exporter/procore-auth.prom\"; or remove the line"
                .to_owned(),
        };
        return Err(source.refuse(written.span(), mistake));
    }
    Ok(locate::resolve(folder, written.get_ref()))
}

/// Metrics are not for the network: they name connections and their troubles, and nobody is asked for a password.
fn address(source: &Source, written: &Spanned<String>) -> Result<SocketAddr, Failure> {
    let refuse = |message: &str| {
        let mistake = Mistake {
            message: message.to_owned(),
            cure: "write a loopback address with its port: listen = \"127.0.0.1:9464\"".to_owned(),
        };
        source.refuse(written.span(), mistake)
    };
    match written.get_ref().parse::<SocketAddr>() {
        Err(_) => Err(refuse("this is no address with a port")),
        Ok(address) if !address.ip().is_loopback() => Err(refuse(
            "metrics are served to this machine only, and this is no loopback address",
        )),
        Ok(address) if address.port() == 0 => Err(refuse(
            "this is no port: the system would choose another one at each start",
        )),
        Ok(address) => Ok(address),
    }
}
