//! Whose certificates are believed where a base URL says https.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
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

    /// Any certificate: the server that answers is believed to be the deployment.
    pub fn anybody() -> Self {
        Trust { authorities: Vec::new(), anybody: true }
    }

    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("no TLS here: {error}"))?;
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(|error| format!("a certificate cannot be believed: {error}"))?;
        }
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let usual = usual.build().map_err(|error| format!("no TLS here: {error}"))?;
        let verifier = Arc::new(Verifier { provider, usual, trust: self.clone() });
        let config = config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// Believes what the trust says. That a certificate's holder has its key is checked in every case.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    usual: Arc<WebPkiServerVerifier>,
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trust.anybody {
            return Ok(ServerCertVerified::assertion());
        }
        // One that signed itself is no authority's, and often calls itself an authority, which the usual way refuses.
        if self.trust.authorities.iter().any(|known| known == certificate) {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.usual.verify_server_cert(certificate, others, name, stapled, now)
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
