//! Identifiers: fixed size, printable, cheap to copy and to order.

use core::fmt;
use core::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text or a byte string is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// Nothing between the delimiters.
    Empty,
    /// More than this many characters or bytes.
    TooLong(usize),
    /// A character outside `A-Z a-z 0-9 . _ -`.
    Character,
    /// Not the exact number of hexadecimal digits.
    Hexadecimal,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong(limit) => write!(f, "is longer than {limit} characters"),
            Self::Character => f.write_str("has a character outside A-Z a-z 0-9 . _ -"),
            Self::Hexadecimal => f.write_str("is not the right number of hexadecimal digits"),
        }
    }
}

impl core::error::Error for IdError {}

/// A printable name of 1 to `N` characters of `A-Z a-z 0-9 . _ -`, kept inline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<const N: usize> {
    // Unused bytes are zero, so that the derived order is the order of the texts.
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Label<N> {
    /// Builds a label from a text.
    ///
    /// # Errors
    /// [`IdError`] when the text is empty, longer than `N`, or has another character.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        let length = u8::try_from(text.len()).map_err(|_| IdError::TooLong(N))?;
        let mut bytes = [0; N];
        bytes
            .get_mut(..text.len())
            .ok_or(IdError::TooLong(N))?
            .copy_from_slice(text.as_bytes());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !text.bytes().all(allowed) {
            return Err(IdError::Character);
        }
        Ok(Self { bytes, length })
    }

    /// The text it was built from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self
            .bytes
            .get(..usize::from(self.length))
            .unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Display for Label<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Label<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl<const N: usize> FromStr for Label<N> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl<const N: usize> Serialize for Label<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

struct LabelVisitor<const N: usize>;

impl<const N: usize> Visitor<'_> for LabelVisitor<N> {
    type Value = Label<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of 1 to {N} characters of A-Z a-z 0-9 . _ -")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Label<N>, E> {
        Label::new(text).map_err(E::custom)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Label<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(LabelVisitor)
    }
}

/// The name of somebody on the bus: a service, `strategy-…` or `operator-…`; at most 32 characters.
pub type PrincipalName = Label<32>;
/// The name of a strategy in the registry of `brain`; at most 20 characters, so that
/// `strategy-` and the id together still are a [`PrincipalName`].
pub type StrategyId = Label<20>;
/// A venue's name of an instrument, such as `BTCUSDT`; at most 20 characters.
pub type Symbol = Label<20>;
/// The venue's own id of an order; at most 40 characters (Bybit: a UUID).
pub type VenueOrderId = Label<40>;
/// The venue's own id of a fill (Bybit: `execId`); at most 40 characters.
pub type VenueExecutionId = Label<40>;

macro_rules! binary_id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Lower-case hexadecimal, two digits a byte.
            ///
            /// # Errors
            /// [`IdError::Hexadecimal`] unless it is exactly that many hexadecimal digits.
            pub fn from_hex(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $length];
                let mut pairs = text.as_bytes().chunks_exact(2);
                for byte in &mut bytes {
                    let pair = pairs.next().ok_or(IdError::Hexadecimal)?;
                    let pair = core::str::from_utf8(pair).map_err(|_| IdError::Hexadecimal)?;
                    if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return Err(IdError::Hexadecimal);
                    }
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| IdError::Hexadecimal)?;
                }
                if pairs.next().is_some() || !pairs.remainder().is_empty() {
                    return Err(IdError::Hexadecimal);
                }
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Bytes;
                impl Visitor<'_> for Bytes {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} bytes", $length)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        let exact = <[u8; $length]>::try_from(bytes)
                            .map_err(|_| E::invalid_length(bytes.len(), &self))?;
                        Ok($name(exact))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::from_hex(text).map_err(E::custom)
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Bytes)
                } else {
                    deserializer.deserialize_bytes(Bytes)
                }
            }
        }
    };
}

binary_id! {
    /// An order, from the proposal to the venue. Its 32 hexadecimal digits are the client order id
    /// at the venue (Bybit `orderLinkId`, at most 36 characters).
    OrderId, 16
}
binary_id! {
    /// One message on the bus.
    EnvelopeId, 16
}
binary_id! {
    /// A SHA-256 digest.
    Hash, 32
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_label_refuses_what_is_not_a_name() {
        let cases = [
            ("", IdError::Empty),
            ("a b", IdError::Character),
            ("a*", IdError::Character),
            ("ü", IdError::Character),
            ("123456789012345678901", IdError::TooLong(20)),
        ];
        for (text, expected) in cases {
            assert_eq!(Symbol::new(text), Err(expected), "{text:?}");
        }
        assert_eq!(
            Symbol::new("BTCUSDT").map(|s| s.to_string()),
            Ok("BTCUSDT".to_string())
        );
    }

    #[test]
    fn labels_order_as_their_texts_do() {
        let (short, long) = (Symbol::new("AB").unwrap(), Symbol::new("ABC").unwrap());
        assert!(short < long);
        assert!(Symbol::new("B").unwrap() > long);
    }

    #[test]
    fn an_order_id_survives_its_text_form_and_refuses_others() {
        let id = OrderId([0xab; 16]);
        assert_eq!(OrderId::from_hex(&id.to_string()), Ok(id));
        for bad in ["", "ab", "zz", "+1", &"ab".repeat(17), &"a".repeat(31)] {
            assert_eq!(OrderId::from_hex(bad), Err(IdError::Hexadecimal), "{bad:?}");
        }
    }
}
