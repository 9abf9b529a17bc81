//! TLS: whom a participant's calls trust, and who they are.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::config::{ClientIdentity, ClientTls};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `localhost` and its key.
fn issued_by(authority: &Authority) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

/// A server on `https://localhost` that answers every connection once, and asks for a certificate
/// of `clients` when there is one.
fn server(authority: &Authority, clients: Option<&Authority>) -> String {
    let (certificate, key) = issued_by(authority);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = Arc::new(
        builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(connection, stream.unwrap());
            // Clients that are not trusted, or do not trust, end here.
            if tls.read(&mut [0; 4_096]).is_ok_and(|read| read > 0) {
                tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42")
                    .unwrap();
                tls.conn.send_close_notify();
                tls.flush().unwrap();
            }
        }
    });
    url
}

fn written(directory: &Path, name: &str, pem: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, pem).unwrap();
    path
}

async fn call(url: &str, tls: Option<ClientTls>) -> Outcome {
    reaching(HttpTransport {
        tls,
        ..transport(url)
    })
    .unwrap()
    .call(&attempt(), NOW)
    .await
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let url = server(&ours, None);
    let ca = |authority: &Authority| {
        let ca = Some(written(directory.path(), "ca.pem", &authority.pem()));
        Some(ClientTls { ca, identity: None })
    };
    assert_eq!(call(&url, ca(&ours)).await, succeeded(json!(42)));
    for untrusting in [ca(&other), None] {
        let outcome = call(&url, untrusting).await;
        assert_eq!(transient_code(&outcome), "connection_failed");
        assert!(
            format!("{outcome:?}").contains("invalid peer certificate"),
            "{outcome:?}"
        );
    }
    let elsewhere = url.replace("localhost", "127.0.0.1");
    assert_eq!(
        transient_code(&call(&elsewhere, ca(&ours)).await),
        "connection_failed"
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, clients) = (authority(), authority());
    let url = server(&ours, Some(&clients));
    let ca = written(directory.path(), "ca.pem", &ours.pem());
    let identity = |authority: &Authority| {
        let (certificate, key) = issued_by(authority);
        Some(ClientIdentity {
            certificate: written(directory.path(), "client.pem", &certificate.pem()),
            key: written(directory.path(), "key.pem", &key.serialize_pem()),
        })
    };
    let tls = |identity| {
        Some(ClientTls {
            ca: Some(ca.clone()),
            identity,
        })
    };
    assert_eq!(
        call(&url, tls(identity(&clients))).await,
        succeeded(json!(42))
    );
    for stranger in [None, identity(&ours)] {
        let outcome = call(&url, tls(stranger)).await;
        assert!(matches!(outcome, Outcome::Transient { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn tls_towards_plain_http_is_connection_failed() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let outcome = call(&url, None).await;
    assert_eq!(transient_code(&outcome), "connection_failed");
}

#[test]
fn files_that_cannot_be_used_end_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let made = authority();
    let ca = written(directory.path(), "ca.pem", &made.pem());
    let (certificate, _) = issued_by(&made);
    let (_, other_key) = issued_by(&made);
    let identity = ClientIdentity {
        certificate: written(directory.path(), "client.pem", &certificate.pem()),
        key: written(directory.path(), "key.pem", &other_key.serialize_pem()),
    };
    let new = |tls| {
        reaching(HttpTransport {
            tls: Some(tls),
            ..transport("https://localhost")
        })
    };
    let missing = ClientTls {
        ca: Some("/no/such".into()),
        identity: None,
    };
    assert!(matches!(
        new(missing).unwrap_err(),
        DispatchError::TlsFile { .. }
    ));
    let mismatched = ClientTls {
        ca: Some(ca),
        identity: Some(identity),
    };
    assert!(matches!(
        new(mismatched).unwrap_err(),
        DispatchError::Tls { .. }
    ));
}
