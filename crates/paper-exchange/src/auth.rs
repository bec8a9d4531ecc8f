//! Who is asking: the HMAC-SHA256 signatures of REST requests and of the WebSocket login.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::accounts::{Accounts, Credential};
use crate::clock::TimeMs;
use crate::engine::refusal::Refusal;

/// The venue's default receive window, in milliseconds.
const RECV_WINDOW_DEFAULT: i64 = 5_000;

/// Largest receive window, in milliseconds.
const RECV_WINDOW_MAX: i64 = 60_000;

/// How far a request may come from the future, in milliseconds.
const FUTURE_MS: i64 = 1_000;

/// The four `X-BAPI-*` headers, as sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub key: Option<&'a str>,
    pub timestamp: Option<&'a str>,
    pub signature: Option<&'a str>,
    pub recv_window: Option<&'a str>,
}

/// Checks a REST request; `payload` is the query string or the body, byte for byte.
///
/// The rule for times is the venue's: `server - window <= timestamp < server + 1000`.
pub(crate) fn check_request<'a>(
    accounts: &'a Accounts,
    now: TimeMs,
    signed: Signed<'_>,
    payload: &[u8],
) -> Result<&'a Credential, Refusal> {
    let key = signed
        .key
        .filter(|key| !key.is_empty())
        .ok_or(Refusal::ApiKey)?;
    let credential = accounts.by_key(key).ok_or(Refusal::ApiKey)?;
    let timestamp_text = signed
        .timestamp
        .ok_or(Refusal::Parameter("X-BAPI-TIMESTAMP missing"))?;
    let timestamp: i64 = timestamp_text
        .parse()
        .map_err(|_| Refusal::Parameter("X-BAPI-TIMESTAMP invalid"))?;
    let window_text = signed.recv_window.unwrap_or_default();
    let window: i64 = if window_text.is_empty() {
        RECV_WINDOW_DEFAULT
    } else {
        window_text
            .parse()
            .map_err(|_| Refusal::Parameter("X-BAPI-RECV-WINDOW invalid"))?
    };
    if !(1..=RECV_WINDOW_MAX).contains(&window) {
        return Err(Refusal::Parameter("X-BAPI-RECV-WINDOW invalid"));
    }
    let early = timestamp < now.saturating_sub(window);
    let late = timestamp >= now.saturating_add(FUTURE_MS);
    if early || late {
        return Err(Refusal::Timestamp {
            request: timestamp,
            server: now,
            window,
        });
    }
    let signature = signed.signature.ok_or(Refusal::Signature)?;
    let parts: [&[u8]; 4] = [
        timestamp_text.as_bytes(),
        key.as_bytes(),
        window_text.as_bytes(),
        payload,
    ];
    if verify(credential.secret(), &parts, signature) {
        Ok(credential)
    } else {
        Err(Refusal::Signature)
    }
}

/// Checks the `auth` operation of a private WebSocket.
pub(crate) fn check_login<'a>(
    accounts: &'a Accounts,
    now: TimeMs,
    key: &str,
    expires: i64,
    signature: &str,
) -> Result<&'a Credential, Refusal> {
    let credential = accounts.by_key(key).ok_or(Refusal::ApiKey)?;
    if expires <= now {
        return Err(Refusal::Timestamp {
            request: expires,
            server: now,
            window: 0,
        });
    }
    let text = format!("GET/realtime{expires}");
    if verify(credential.secret(), &[text.as_bytes()], signature) {
        Ok(credential)
    } else {
        Err(Refusal::Signature)
    }
}

/// Compares in constant time.
fn verify(secret: &[u8], parts: &[&[u8]], signature: &str) -> bool {
    let Some(claimed) = unhex(signature) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return false;
    };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(&claimed).is_ok()
}

/// 32 bytes from 64 lower-case hex digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0_u8; 32];
    let mut digits = text.bytes();
    for byte in &mut bytes {
        let high = digit(digits.next()?)?;
        let low = digit(digits.next()?)?;
        *byte = (high << 4) | low;
    }
    digits.next().is_none().then_some(bytes)
}
