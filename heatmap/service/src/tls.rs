//! The TLS settings of all TCP listeners.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config::Config;

/// The TLS settings of all TCP listeners, which may change while they listen.
pub(super) type Tls = Option<Arc<ArcSwap<rustls::ServerConfig>>>;

/// Reads the TLS settings.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) fn read(config: &Config) -> anyhow::Result<Option<rustls::ServerConfig>> {
    let Some((cert, key)) = &config.tls else { return Ok(None) };
    let unusable = |path: &Path| format!("{}: cannot use as PEM", path.display());
    let certificates = |path: &Path| -> anyhow::Result<Vec<_>> {
        let list: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(path).with_context(|| unusable(path))?.collect();
        let list = list.with_context(|| unusable(path))?;
        if list.is_empty() {
            bail!("{}: has no certificate", path.display());
        }
        Ok(list)
    };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| unusable(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(|| unusable(path))?;
            }
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().with_context(|| unusable(path))?)
        }
    };
    builder
        .with_single_cert(chain, key)
        .with_context(|| format!("{}: does not go with its key", cert.display()))
        .map(Some)
}
