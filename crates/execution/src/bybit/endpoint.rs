//! The venue's addresses.

use portcullis_runtime::venue_link::PlainText;
use reqwest::Url;
use thiserror::Error;

/// Why a text is not an address that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Not a URL.
    #[error("is not a URL such as https://api.bybit.com or wss://stream.bybit.com")]
    NotAUrl,
    /// Not the right protocol.
    #[error("has the scheme {found}, where {secured} or {plain} belongs")]
    Scheme {
        /// What it has.
        found: String,
        /// What would be right.
        secured: &'static str,
        /// What would be right on this machine.
        plain: &'static str,
    },
    /// Signatures would travel in the clear.
    #[error(
        "is not encrypted and leads off this machine: use TLS, or allow plain text for a simulated \
         exchange on a private network"
    )]
    PlainText,
    /// More than scheme, host and port.
    #[error(
        "has a user, a password, a path, a query or a fragment: only scheme, host and port belong"
    )]
    Extras,
}

/// A checked address: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Checks the base address of the REST interface; a path is not allowed.
    ///
    /// # Errors
    /// [`EndpointError`]: what is wrong with it.
    pub fn rest(text: &str, plain: PlainText) -> Result<Self, EndpointError> {
        let endpoint = Self::parse(text, plain, "https", "http")?;
        if endpoint.0.path() == "/" {
            Ok(endpoint)
        } else {
            Err(EndpointError::Extras)
        }
    }

    /// Checks the address of a stream, path included.
    ///
    /// # Errors
    /// [`EndpointError`]: what is wrong with it.
    pub fn stream(text: &str, plain: PlainText) -> Result<Self, EndpointError> {
        Self::parse(text, plain, "wss", "ws")
    }

    fn parse(
        text: &str,
        plain_text: PlainText,
        secured: &'static str,
        plain: &'static str,
    ) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|_| EndpointError::NotAUrl)?;
        let host = url.host_str().ok_or(EndpointError::NotAUrl)?;
        if url.scheme() == plain {
            if !plain_text.may_reach(host) {
                return Err(EndpointError::PlainText);
            }
        } else if url.scheme() != secured {
            return Err(EndpointError::Scheme {
                found: url.scheme().to_owned(),
                secured,
                plain,
            });
        }
        let bare = url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if bare {
            Ok(Self(url))
        } else {
            Err(EndpointError::Extras)
        }
    }

    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.0.scheme(), "https" | "wss")
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address of one request. `None` when the address would not carry exactly this path and
    /// query: what is sent must be what was signed, byte for byte.
    pub(super) fn request(&self, path: &str, query: Option<&str>) -> Option<Url> {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query(query);
        let exact = url.path() == path && url.query() == query && url.fragment().is_none();
        exact.then_some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_send_signatures_in_the_clear_off_this_machine() {
        for text in [
            "http://127.0.0.1:8080",
            "http://localhost:1",
            "http://[::1]:80",
        ] {
            assert!(Endpoint::rest(text, PlainText::Loopback).is_ok(), "{text}");
        }
        for text in [
            "http://10.0.0.1",
            "http://localhost.example.org",
            "http://127.0.0.1.nip.io",
        ] {
            let refused = Endpoint::rest(text, PlainText::Loopback);
            assert_eq!(refused, Err(EndpointError::PlainText), "{text}");
            assert!(Endpoint::rest(text, PlainText::Anywhere).is_ok(), "{text}");
        }
        assert!(Endpoint::rest("https://api.bybit.com", PlainText::Loopback).is_ok());
    }

    #[test]
    fn refuses_what_is_not_a_bare_address() {
        let rest = |text| Endpoint::rest(text, PlainText::Anywhere);
        assert_eq!(rest("api.bybit.com"), Err(EndpointError::NotAUrl));
        for text in [
            "https://u:p@host",
            "https://host/?a=b",
            "https://host/#x",
            "https://host/v5",
        ] {
            assert_eq!(rest(text), Err(EndpointError::Extras), "{text}");
        }
        assert!(matches!(
            rest("wss://host"),
            Err(EndpointError::Scheme { .. })
        ));
        let stream = |text| Endpoint::stream(text, PlainText::Anywhere);
        assert!(matches!(
            stream("https://host"),
            Err(EndpointError::Scheme { .. })
        ));
        assert_eq!(stream("wss://host/v5/private"), Err(EndpointError::Extras));
        assert!(stream("wss://stream.bybit.com").is_ok());
    }

    #[test]
    fn a_query_that_would_be_rewritten_is_no_request() {
        let endpoint = Endpoint::rest("http://127.0.0.1:1", PlainText::Loopback).unwrap();
        let good = endpoint.request("/v5/order/realtime", Some("category=linear&cursor=a%3Ab"));
        assert_eq!(
            good.map(|url| url.to_string()).as_deref(),
            Some("http://127.0.0.1:1/v5/order/realtime?category=linear&cursor=a%3Ab")
        );
        assert_eq!(endpoint.request("/v5/order/realtime", Some("a=b c")), None);
        assert_eq!(endpoint.request("/v5/../order", Some("a=b")), None);
    }
}
