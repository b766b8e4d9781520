//! TLS towards PostgreSQL: rustls, with certificates verified.

use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::url::{DatabaseUrl, RootCertificates, SslMode};

/// Returns the TLS settings of a URL; fails if its certificates can't be read.
pub(super) fn client_config(url: &DatabaseUrl) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = Arc::new(roots(&url.root_certificates)?);
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = if url.ssl_mode == SslMode::VerifyCa {
        let verifier = AnyName(WebPkiServerVerifier::builder_with_provider(roots, provider).build()?);
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    // PostgreSQL 17 demands ALPN of clients that start TLS at once (sslnegotiation=direct).
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn roots(from: &RootCertificates) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match from {
        RootCertificates::Web => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        RootCertificates::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            ensure!(!store.is_empty(), "sslrootcert=system: this system has no certificate authorities");
        }
        RootCertificates::File(path) => {
            let shown = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .with_context(|| format!("sslrootcert: {shown} can't be read"))?;
            for certificate in certificates {
                let certificate = certificate.with_context(|| format!("sslrootcert: {shown} is not PEM"))?;
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
