//! Single fields as the venue spells them: numbers in strings, `""` and `"0"` for nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::str::FromStr;

use portcullis_domain::{AmountError, OrderId, Side, Timestamp, Usd};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The most items of a list.
pub const LIST_LENGTH_MAX: usize = 1_000;
/// The longest cursor, in bytes.
const CURSOR_LENGTH_MAX: usize = 512;
/// The longest number, in characters.
const NUMBER_LENGTH_MAX: usize = 64;
/// The most decimal places of an amount of this system.
const PLACES_MAX: usize = 12;

/// Words of the venue, made safe to print: at most 200 bytes, no control characters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    const LENGTH_MAX: usize = 200;

    /// Cuts a text to what is safe to print.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut words = String::new();
        for character in text.chars() {
            if words.len().saturating_add(character.len_utf8()) > Self::LENGTH_MAX {
                break;
            }
            words.push(if character.is_control() {
                ' '
            } else {
                character
            });
        }
        Self(words)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        with_text(deserializer, "a text", |text| {
            Ok::<_, &str>(Self::new(text))
        })
    }
}

/// A list of at most [`LIST_LENGTH_MAX`] items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = alloc::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {LIST_LENGTH_MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    if list.len() >= LIST_LENGTH_MAX {
                        return Err(de::Error::invalid_length(list.len(), &self));
                    }
                    list.push(item);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

/// An amount above zero; anything else is an error.
pub(super) fn amount<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = AmountError>,
{
    with_text(deserializer, "a decimal number above zero", |text| {
        plain(text).parse()
    })
}

/// An exact amount above zero; `""` and zero are `None`.
pub(super) fn amount_or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = AmountError>,
{
    with_text(deserializer, "a decimal number, not negative", |text| {
        if is_nothing(text) {
            Ok(None)
        } else {
            plain(text).parse().map(Some)
        }
    })
}

/// A calculated amount above zero, cut after the twelfth decimal place; `""` and zero are `None`.
pub(super) fn average_or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = AmountError>,
{
    with_text(deserializer, "a decimal number, not negative", |text| {
        let text = cut(text)?;
        if is_nothing(text) {
            Ok(None)
        } else {
            text.parse().map(Some)
        }
    })
}

/// A sum of money with either sign, cut after the twelfth decimal place; `""` is zero.
pub(super) fn usd<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
    with_text(deserializer, "a decimal number", |text| {
        if text.is_empty() {
            Ok(Usd::ZERO)
        } else {
            cut(text)?.parse()
        }
    })
}

/// Milliseconds since the epoch, as a number or as a string of digits.
pub(super) fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    struct Millis;
    impl Visitor<'_> for Millis {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("milliseconds since the epoch")
        }

        fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Timestamp, E> {
            Ok(Timestamp::from_millis(millis))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
            let millis = digits(text).ok_or_else(|| E::custom("is not a number of digits"))?;
            Ok(Timestamp::from_millis(millis))
        }
    }
    deserializer.deserialize_any(Millis)
}

/// The venue's word for a side.
pub(super) fn side<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Side, D::Error> {
    with_text(deserializer, "Buy or Sell", |text| match text {
        "Buy" => Ok(Side::Buy),
        "Sell" => Ok(Side::Sell),
        _ => Err("is neither Buy nor Sell"),
    })
}

/// A client order id, where it is one of ours: `None` for an order that somebody else placed.
pub(super) fn client_order<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OrderId>, D::Error> {
    with_text(deserializer, "a client order id", |text| {
        // Capital letters are another id to the venue.
        let ours = !text.bytes().any(|b| b.is_ascii_uppercase());
        Ok::<_, &str>(OrderId::from_hex(text).ok().filter(|_| ours))
    })
}

/// Where a list goes on.
pub(super) fn cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    with_text(deserializer, "a cursor", |text| {
        let fits = text.len() <= CURSOR_LENGTH_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(String::from(text))
        } else {
            Err("is no cursor")
        }
    })
}

/// A number of digits and nothing else.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

fn is_nothing(text: &str) -> bool {
    text.len() <= NUMBER_LENGTH_MAX && text.bytes().all(|b| matches!(b, b'0' | b'.'))
}

/// A number without the zeroes that end its decimal places: `1.50000000` is `1.5`.
fn plain(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

fn cut(text: &str) -> Result<&str, AmountError> {
    if text.len() > NUMBER_LENGTH_MAX {
        return Err(AmountError::NotANumber);
    }
    let end = text
        .find('.')
        .map(|dot| dot.saturating_add(PLACES_MAX).saturating_add(1));
    let rest = end.and_then(|end| text.get(end..)).unwrap_or_default();
    if !rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AmountError::NotANumber);
    }
    Ok(plain(end.and_then(|end| text.get(..end)).unwrap_or(text)))
}

pub(super) fn with_text<'de, D, T, E, F>(
    deserializer: D,
    expected: &'static str,
    read: F,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
    F: FnOnce(&str) -> Result<T, E>,
{
    struct TextVisitor<F>(&'static str, F);
    impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for TextVisitor<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<X: de::Error>(self, text: &str) -> Result<T, X> {
            (self.1)(text).map_err(X::custom)
        }
    }
    deserializer.deserialize_str(TextVisitor(expected, read))
}
