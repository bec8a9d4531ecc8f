//! Short human text that is safe to print.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// At most 200 bytes of text without control characters, so that it can neither fill a log nor
/// forge a line of one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

impl Text {
    /// The most bytes.
    pub const LENGTH_MAX: usize = 200;

    /// Checks a text.
    ///
    /// # Errors
    /// What is wrong with it, when it is too long or has control characters.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.len() > Self::LENGTH_MAX {
            return Err("is longer than 200 bytes");
        }
        if text.chars().any(char::is_control) {
            return Err("has control characters");
        }
        Ok(Self(text.into()))
    }

    /// Makes any text fit: control characters become spaces, what is too long is cut off.
    #[must_use]
    pub fn lossy(text: &str) -> Self {
        let mut fitting = String::new();
        for character in text.chars() {
            if fitting.len().saturating_add(character.len_utf8()) > Self::LENGTH_MAX {
                break;
            }
            fitting.push(if character.is_control() {
                ' '
            } else {
                character
            });
        }
        Self(fitting)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::new(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_forge_or_fill_a_log() {
        assert_eq!(Text::new("a\nb"), Err("has control characters"));
        assert_eq!(Text::new(&"a".repeat(201)), Err("is longer than 200 bytes"));
        assert_eq!(Text::lossy("a\nb").as_str(), "a b");
        assert_eq!(Text::lossy(&"ü".repeat(150)).as_str().len(), 200);
    }
}
