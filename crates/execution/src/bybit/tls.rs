//! TLS towards the venue.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// A configuration with ring and the roots that Mozilla's programme trusts, compiled in: neither the
/// machine's certificate store nor its environment can add one.
pub fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
