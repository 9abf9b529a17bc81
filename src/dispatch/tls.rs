//! TLS towards one participant: whom to trust, and who to be.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::ClientTls;

use super::DispatchError;

/// The TLS configuration of `participant`. The system's authorities are looked up only where none
/// are configured.
pub(super) fn client_config(
    participant: &str,
    tls: Option<&ClientTls>,
) -> Result<ClientConfig, DispatchError> {
    let unusable = |source| DispatchError::Tls {
        participant: participant.to_owned(),
        source,
    };
    let roots = match tls.and_then(|tls| tls.ca.as_deref()) {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(unusable)?;
            }
            roots
        }
        None => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    match tls.and_then(|tls| tls.identity.as_ref()) {
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|source| {
                DispatchError::TlsFile {
                    path: identity.key.clone(),
                    source,
                }
            })?;
            builder
                .with_client_auth_cert(certificates(&identity.certificate)?, key)
                .map_err(unusable)
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DispatchError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| DispatchError::TlsFile {
            path: path.to_owned(),
            source,
        })
}

fn system_roots() -> Result<RootCertStore, DispatchError> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A store of a system may hold certificates that rustls cannot read; the others will do.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(DispatchError::NoSystemAuthorities {
            source: found.errors.pop(),
        });
    }
    Ok(roots)
}
