//! What every connection to a venue obeys: whose certificates count, and where plain text may go.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

/// Where a venue may be spoken to without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainText {
    /// Only on this machine itself, where the simulated exchange listens.
    Loopback,
    /// Anywhere: for a simulated exchange on a private network of containers. A real venue needs
    /// TLS, and has no other door.
    Anywhere,
}

impl PlainText {
    /// Whether what is sent to a host (a name, or an address as a URL has it) may travel without
    /// TLS. A name counts as this machine only if it is `localhost`: any other could lead anywhere.
    #[must_use]
    pub fn may_reach(self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        self == Self::Anywhere
            || host == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

/// TLS towards a venue, with ring and the roots that Mozilla's programme trusts, compiled in:
/// neither the machine's certificate store nor its environment can add one.
///
/// # Errors
/// When the library does not take its own default versions of the protocol.
pub fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_machine_unless_it_is_allowed_anywhere() {
        for host in ["127.0.0.1", "127.8.9.10", "localhost", "[::1]", "::1"] {
            assert!(PlainText::Loopback.may_reach(host), "{host}");
        }
        for host in [
            "",
            "10.0.0.1",
            "paper-exchange",
            "localhost.example.org",
            "127.0.0.1.nip.io",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!PlainText::Loopback.may_reach(host), "{host}");
            assert!(PlainText::Anywhere.may_reach(host), "{host}");
        }
    }
}
