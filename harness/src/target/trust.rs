//! Whose certificates are believed where a base URL says https.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_rustls::TlsConnector;

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Authorities besides Mozilla's, which are believed whatever the machine trusts.
    authorities: Vec<CertificateDer<'static>>,
    anybody: bool,
}

impl Trust {
    /// The authorities of a PEM file, besides the public ones.
    pub fn authorities_of(file: &Path) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{} holds no certificates: {error}", file.display());
        let read = CertificateDer::pem_file_iter(file).map_err(|error| told(&error))?;
        let authorities = read.collect::<Result<Vec<_>, _>>().map_err(|error| told(&error))?;
        if authorities.is_empty() {
            return Err(told(&"there is no BEGIN CERTIFICATE in it"));
        }
        Ok(Trust { authorities, anybody: false })
    }

    /// Any certificate: whoever answers is believed to be the deployment.
    pub fn anybody() -> Self {
        Trust { authorities: Vec::new(), anybody: true }
    }

    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("no TLS here: {error}"))?;
        let config = if self.anybody {
            config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        } else {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            for authority in &self.authorities {
                roots.add(authority.clone()).map_err(|error| format!("a certificate cannot be believed: {error}"))?;
            }
            config.with_root_certificates(roots)
        };
        Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
    }
}

/// Believes every certificate; that its holder has the key is still checked.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
