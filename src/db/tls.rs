//! TLS towards PostgreSQL: rustls, with certificates verified.

use std::sync::Arc;

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::task::spawn_blocking;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{DatabaseUrl, RootCertificates, SslMode};

/// TLS to the server of a URL. Certificates of authorities that are replaced are used by new connections.
#[derive(Clone)]
pub(super) struct Tls(Arc<Inner>);

struct Inner {
    ssl_mode: SslMode,
    from: RootCertificates,
    loaded: Mutex<Loaded>,
}

/// The last certificates that could be used.
struct Loaded {
    certificates: Vec<CertificateDer<'static>>,
    connect: MakeRustlsConnect,
    /// True once it has been logged that those in place now can't be used.
    is_stale: bool,
}

/// Outcome of reading certificates again.
enum Reloaded {
    Unchanged,
    Replaced,
    Unusable(anyhow::Error),
}

impl Tls {
    /// Fails if the certificates of the URL can't be read.
    pub(super) fn new(url: &DatabaseUrl) -> anyhow::Result<Self> {
        let certificates = read(&url.root_certificates)?;
        let connect = connect_with(&url.root_certificates, &certificates, url.ssl_mode)?;
        let loaded = Mutex::new(Loaded { certificates, connect, is_stale: false });
        let from = url.root_certificates.clone();
        Ok(Self(Arc::new(Inner { ssl_mode: url.ssl_mode, from, loaded })))
    }

    /// Returns the settings with the certificates that were last read.
    pub(super) fn last(&self) -> MakeRustlsConnect {
        self.0.loaded.lock().connect.clone()
    }

    /// Returns the settings with the certificates that are in place now, or with the last ones that could be used.
    pub(super) async fn current(&self) -> MakeRustlsConnect {
        if self.0.from != RootCertificates::Web {
            let inner = Arc::clone(&self.0);
            match spawn_blocking(move || inner.reload()).await {
                Ok(Reloaded::Replaced) => tracing::info!("sslrootcert was replaced; new connections use it"),
                Ok(Reloaded::Unusable(error)) => {
                    let reason = format!("{error:#}");
                    tracing::warn!(
                        reason,
                        "can't use the replaced sslrootcert; the former certificates stay in use"
                    );
                }
                Ok(Reloaded::Unchanged) | Err(_) => {}
            }
        }
        self.last()
    }
}

impl Inner {
    fn reload(&self) -> Reloaded {
        let read = read(&self.from);
        let mut loaded = self.loaded.lock();
        let replaced = match read {
            Ok(certificates) if certificates == loaded.certificates => {
                loaded.is_stale = false;
                return Reloaded::Unchanged;
            }
            Ok(certificates) => connect_with(&self.from, &certificates, self.ssl_mode)
                .map(|connect| Loaded { certificates, connect, is_stale: false }),
            Err(error) => Err(error),
        };
        match replaced {
            Ok(replaced) => {
                *loaded = replaced;
                Reloaded::Replaced
            }
            Err(_) if loaded.is_stale => Reloaded::Unchanged,
            Err(error) => {
                loaded.is_stale = true;
                Reloaded::Unusable(error)
            }
        }
    }
}

fn connect_with(
    from: &RootCertificates,
    certificates: &[CertificateDer<'static>],
    ssl_mode: SslMode,
) -> anyhow::Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = Arc::new(roots(from, certificates)?);
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = if ssl_mode == SslMode::VerifyCa {
        let verifier = AnyName(WebPkiServerVerifier::builder_with_provider(roots, provider).build()?);
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    // PostgreSQL 17 demands ALPN of clients that start TLS at once (sslnegotiation=direct).
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

/// Reads certificates; none for Mozilla's list, which is part of the binary.
fn read(from: &RootCertificates) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    match from {
        RootCertificates::Web => Ok(Vec::new()),
        RootCertificates::System => Ok(rustls_native_certs::load_native_certs().certs),
        RootCertificates::File(path) => {
            let shown = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .with_context(|| format!("sslrootcert: {shown} can't be read"))?;
            let certificates: Result<Vec<_>, _> = certificates.collect();
            certificates.with_context(|| format!("sslrootcert: {shown} is not PEM"))
        }
    }
}

fn roots(from: &RootCertificates, certificates: &[CertificateDer<'static>]) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let certificates = certificates.iter().cloned();
    match from {
        RootCertificates::Web => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        RootCertificates::System => {
            store.add_parsable_certificates(certificates);
            ensure!(!store.is_empty(), "sslrootcert=system: this system has no certificate authorities");
        }
        RootCertificates::File(path) => {
            let shown = path.display();
            for certificate in certificates {
                store.add(certificate).with_context(|| format!("sslrootcert: a certificate in {shown}"))?;
            }
            ensure!(!store.is_empty(), "sslrootcert: {shown} holds no certificate");
        }
    }
    Ok(store)
}

/// A verifier of the chain but not of the host name: libpq's `verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // rustls checks the name last, so chain and dates have passed.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
