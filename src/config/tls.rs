//! Files for TLS, looked at when the configuration is read: what cannot be used is a problem then,
//! and not when the first connection comes.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::section::Section;

/// TLS on the API's port. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate and what leads to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of which every caller must show a certificate; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// Reads `tls` of the section `server`.
pub(super) fn read(section: &mut Section) -> Option<ServerTls> {
    if !section.has("tls") {
        section.ignore("tls");
        section.show("tls", Value::Null);
        return None;
    }
    let mut child = section.child("tls");
    let certificate = child.read_required("certificate", certificates_at);
    let key = child.read_required("key", key_at);
    let client_ca = child.read_optional("client_ca", authorities_at);
    let tls = certificate.zip(key).map(|(certificate, key)| ServerTls {
        certificate,
        key,
        client_ca,
    });
    if let Some(Err(message)) = tls.as_ref().map(belong_together) {
        child.problem("key", message);
    }
    section.absorb("tls", child);
    tls
}

fn belong_together(tls: &ServerTls) -> Result<(), String> {
    let unreadable = |error: rustls_pki_types::pem::Error| error.to_string();
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(unreadable)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map(drop)
        .map_err(|error| format!("cannot be used with the certificate: {error}"))
}

/// A file with at least one certificate.
pub(super) fn certificates_at(path: &str) -> Result<PathBuf, String> {
    let mut certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("the file {path} cannot be read: {error}"))?;
    match certificates.next() {
        Some(Ok(_)) => Ok(path.into()),
        Some(Err(error)) => Err(format!("the file {path} is not PEM: {error}")),
        None => Err(format!("the file {path} holds no certificate")),
    }
}

/// A file with authorities that certificates can be checked against.
fn authorities_at(path: &str) -> Result<PathBuf, String> {
    certificates_at(path)?;
    let unusable = |error: &dyn std::fmt::Display| format!("the file {path} is of no use: {error}");
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .map_err(|error| unusable(&error))?;
    Ok(path.into())
}

/// A file with a private key.
pub(super) fn key_at(path: &str) -> Result<PathBuf, String> {
    PrivateKeyDer::from_pem_file(path)
        .map(|_| path.into())
        // Not the path: a key that is put in its place by mistake is not to be printed.
        .map_err(|error| format!("names a file with no private key that can be read: {error}"))
}
