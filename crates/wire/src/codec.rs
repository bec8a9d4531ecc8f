//! MessagePack with exactly one encoding for every value.
//!
//! Structs travel as maps with named fields, in the order of their declaration. Whatever decodes is
//! encoded again and must give the same bytes: that one comparison refuses trailing bytes, unknown
//! and duplicate keys, longer-than-needed numbers and every other second spelling.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// More bytes than that kind of message may have.
    #[error("message has {length} bytes, more than the {limit} allowed")]
    TooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Not such a message at all.
    #[error("decode message")]
    Decode(#[source] rmp_serde::decode::Error),
    /// Such a message, in another spelling than the one this system writes.
    #[error("message is not in its one canonical encoding")]
    NotCanonical,
    /// A value that MessagePack cannot express.
    #[error("encode message")]
    Encode(#[source] rmp_serde::encode::Error),
}

/// Encodes a value.
///
/// # Errors
/// [`CodecError::Encode`] for a value that MessagePack cannot express.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    rmp_serde::to_vec_named(value).map_err(CodecError::Encode)
}

/// Decodes a value of at most `limit` bytes.
///
/// # Errors
/// [`CodecError`] when it is too long, not such a value, or not in its canonical encoding.
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong {
            length: bytes.len(),
            limit,
        });
    }
    let value: T = rmp_serde::from_slice(bytes).map_err(CodecError::Decode)?;
    if encode(&value)? == bytes {
        Ok(value)
    } else {
        Err(CodecError::NotCanonical)
    }
}
