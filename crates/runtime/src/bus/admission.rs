//! What a connection is admitted with: asked for anew each time that it is made, because keys are
//! exchanged while a process runs.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Auth, AuthError};
use rustls::SignatureScheme;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::identity::{Admission, CurrentTransport, Transport};

/// Which of the keys are tried: those of the present first, and where they are not accepted those
/// that they are exchanged with. Who reloads first, the server or this process, must not matter.
#[derive(Clone)]
pub(super) struct Admitting(Arc<Inner>);

struct Inner {
    current: CurrentTransport,
    /// Whether the next attempt is with the other keys.
    other_is_due: AtomicBool,
    /// What the attempt that is under way uses: certificate and NKey belong together.
    trying: Mutex<Option<Arc<Tried>>>,
}

struct Tried {
    admission: Arc<Admission>,
    other: bool,
}

impl Tried {
    fn transport(&self) -> &Transport {
        let Admission { present, other, .. } = &*self.admission;
        match other {
            Some(other) if self.other => other,
            Some(_) | None => present,
        }
    }
}

impl Admitting {
    pub(super) fn new(current: CurrentTransport) -> Self {
        Self(Arc::new(Inner {
            current,
            other_is_due: AtomicBool::new(false),
            trying: Mutex::new(None),
        }))
    }

    /// How many different keys there are to try.
    pub(super) fn kinds(&self) -> usize {
        1_usize.saturating_add(usize::from(self.0.current.get().other.is_some()))
    }

    /// An attempt has succeeded: the next one begins with the keys of the present again.
    pub(super) fn admitted(&self) {
        self.0.other_is_due.store(false, Ordering::Relaxed);
    }

    /// Says who this is, by signing what the server drew by lot.
    pub(super) fn sign(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let tried = match &*self.trying() {
            Some(tried) => Arc::clone(tried),
            None => Arc::new(Tried {
                admission: self.0.current.get(),
                other: false,
            }),
        };
        let key = nkeys::KeyPair::from_seed(&tried.transport().nkey_seed)
            .map_err(|_| AuthError::new("the NKey is none"))?;
        let signature = key.sign(nonce);
        let signature = signature.map_err(|_| AuthError::new("the NKey does not sign"))?;
        let mut auth = Auth::new();
        auth.nkey = Some(key.public_key());
        auth.signature = Some(signature);
        Ok(auth)
    }

    /// TLS 1.3 only, the deployment's own certificate authority only, with a client certificate.
    pub(super) fn tls_config(&self) -> Result<rustls::ClientConfig, Box<dyn Error + Send + Sync>> {
        let admission = self.0.current.get();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&admission.ca) {
            roots.add(certificate?)?;
        }
        // Said here, with its cause, and not by a handshake that lacks a certificate.
        certified_key(&admission.present)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(self.clone()));
        // A resumed session would go on with the certificate that began it.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn trying(&self) -> std::sync::MutexGuard<'_, Option<Arc<Tried>>> {
        self.0.trying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Admitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admitting(…)")
    }
}

impl ResolvesClientCert for Admitting {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let admission = self.0.current.get();
        let has_other = admission.other.is_some();
        let other = self.0.other_is_due.fetch_xor(true, Ordering::Relaxed) && has_other;
        let tried = Arc::new(Tried { admission, other });
        let key = certified_key(tried.transport()).ok().map(Arc::new);
        *self.trying() = Some(tried);
        key
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified_key(transport: &Transport) -> Result<CertifiedKey, Box<dyn Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(transport.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(transport.key.as_bytes())?;
    let provider = rustls::crypto::ring::default_provider();
    Ok(CertifiedKey::from_der(chain, key, &provider)?)
}
