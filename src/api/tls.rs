//! TLS on the API's port: TLS 1.2 and 1.3, a certificate asked of every caller where an authority
//! for them is configured. The files are read again when they change, so that certificates are
//! renewed without a restart; what cannot be used leaves those in force as they are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServerTls;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("the file {} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not PEM.
    #[error("a file for TLS is not PEM")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The certificate cannot be used with its key.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The authorities of callers cannot be used.
    #[error("the authorities of callers cannot be used")]
    Authorities(#[from] VerifierBuilderError),
}

/// The TLS of the API's port. What it needs to do beside runs as one of `tasks` until `stop`.
///
/// # Errors
/// When the files cannot be used.
pub fn server_config(
    tls: &ServerTls,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let files = Files::read(tls)?;
    let in_force = Arc::new(InForce {
        certificate: RwLock::new(files.certificate(&provider)?),
        callers: RwLock::new(files.callers(&provider)?),
        provider,
    });
    let builder = ServerConfig::builder_with_provider(Arc::clone(&in_force.provider))
        .with_safe_default_protocol_versions()?;
    let mut config = match tls.client_ca {
        Some(_) => {
            let verifier: Arc<dyn ClientCertVerifier> = Arc::<InForce>::clone(&in_force);
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(Arc::<InForce>::clone(&in_force));
    if tls.client_ca.is_some() {
        // A session that is taken up again is not asked for its certificate, which may be of an
        // authority that is gone.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    let watch = watch(tls.clone(), files, in_force);
    tasks.spawn(stop.clone().run_until_cancelled_owned(watch));
    Ok(config)
}

/// What is in the files.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn read(tls: &ServerTls) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::File {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read(&tls.certificate)?,
            key: read(&tls.key)?,
            client_ca: tls.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn certificate(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)?;
        Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
    }

    /// What callers' certificates are checked with.
    fn callers(&self, provider: &Arc<CryptoProvider>) -> Result<Option<Callers>, TlsError> {
        let Some(client_ca) = &self.client_ca else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(client_ca) {
            roots.add(authority?)?;
        }
        let provider = Arc::clone(provider);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        Ok(Some(verifier.build()?))
    }
}

/// What callers' certificates are checked with.
type Callers = Arc<dyn ClientCertVerifier>;

/// The certificate and the authorities in force.
struct InForce {
    certificate: RwLock<Arc<CertifiedKey>>,
    callers: RwLock<Option<Callers>>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for InForce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InForce")
    }
}

impl InForce {
    fn put(&self, files: &Files) -> Result<(), TlsError> {
        let certificate = files.certificate(&self.provider)?;
        let callers = files.callers(&self.provider)?;
        *self.certificate.write() = certificate;
        *self.callers.write() = callers;
        Ok(())
    }

    fn callers(&self) -> Result<Callers, rustls::Error> {
        let callers = self.callers.read().clone();
        callers.ok_or_else(|| rustls::Error::General("callers have no authority".to_owned()))
    }
}

impl ResolvesServerCert for InForce {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.certificate.read()))
    }
}

impl ClientCertVerifier for InForce {
    /// No hints: the authorities may change, and a caller knows which certificate is for us.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.callers()?
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.callers()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.callers()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Puts what is in the files in force whenever it changes.
async fn watch(tls: ServerTls, mut files: Files, in_force: Arc<InForce>) {
    let mut is_told = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let from = tls.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || Files::read(&from)).await else {
            return;
        };
        let put = match read {
            Ok(read) if read == files => continue,
            Ok(read) => in_force.put(&read).map(|()| read),
            Err(error) => Err(error),
        };
        match put {
            Ok(read) => {
                tracing::info!("the certificate of the API's port was renewed");
                (files, is_told) = (read, false);
            }
            // A certificate and its key are not renewed in one moment: it may fit the next time.
            Err(_) if is_told => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the files for TLS changed and cannot be used; those in force stay"
                );
                is_told = true;
            }
        }
    }
}
