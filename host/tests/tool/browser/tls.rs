//! TLS before a server that speaks plain HTTP: a browser wants it of Procore's hosts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Listens on a port of its own, with a certificate for `host` that nobody signed, and passes everything on. Returns the port.
pub(crate) async fn before(server: SocketAddr, host: &str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let acceptor = acceptor(host);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass_on(acceptor.clone(), stream, server));
        }
    });
    port
}

async fn pass_on(acceptor: TlsAcceptor, stream: TcpStream, server: SocketAddr) {
    // A browser opens connections in advance, and drops them.
    if let (Ok(mut tls), Ok(mut plain)) = (
        acceptor.accept(stream).await,
        TcpStream::connect(server).await,
    ) {
        let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
    }
}

fn acceptor(host: &str) -> TlsAcceptor {
    let certified = rcgen::generate_simple_self_signed([host.to_owned()]).expect("signed");
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certified.cert.der().clone()],
            PrivateKeyDer::Pkcs8(key),
        )
        .expect("a key of its own");
    TlsAcceptor::from(Arc::new(config))
}
