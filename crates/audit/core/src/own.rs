//! What audit itself has to say in its log.

use alloc::vec::Vec;

use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::codec::{self, CodecError};
use portcullis_wire::{FRAME_LENGTH_MAX, Text};
use serde::{Deserialize, Serialize};

/// The content of an entry of audit's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Own {
    /// Audit started and took the log over.
    Started {
        /// Its version.
        version: Text,
        /// How many bytes of an unfinished write, never receipted, were cut off before.
        cut: u64,
    },
    /// Facts of a source that neither the bus nor the stream brought.
    Gap {
        /// Whose.
        source: PrincipalName,
        /// Of which start.
        boot: u64,
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
    /// Something was refused that an honest system never sends.
    Violation {
        /// Where it came.
        subject: Text,
        /// Why it was refused.
        code: Text,
        /// SHA-256 of what came.
        frame: Hash,
    },
    /// More was refused than is recorded one by one.
    Suppressed {
        /// How many.
        count: u64,
        /// When the first of them came.
        since: Timestamp,
    },
}

impl Own {
    /// The subject of its entry.
    #[must_use]
    pub const fn subject(&self) -> &'static str {
        match self {
            Self::Started { .. } => "audit.started",
            Self::Gap { .. } => "audit.gap",
            Self::Violation { .. } => "audit.violation",
            Self::Suppressed { .. } => "audit.suppressed",
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// [`CodecError`], which no value of this type has.
    pub fn write(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads the content of an entry of audit's own.
    ///
    /// # Errors
    /// [`CodecError`] when it is none.
    pub fn read(content: &[u8]) -> Result<Self, CodecError> {
        codec::decode(content, FRAME_LENGTH_MAX)
    }
}
