//! What audit itself has to say in its log.

use alloc::vec::Vec;

use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::codec::{self, CodecError};
use portcullis_wire::{FRAME_LENGTH_MAX, Text};
use serde::{Deserialize, Serialize};

use crate::bus::{BusClient, BusDenial, BusEvent, BusFollowing, BusPlace};

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
    /// Audit signs its checkpoints with this key from here on. A checkpoint over this entry is the
    /// first that the key may sign, and vouches by what it covers for the keys before it.
    Key {
        /// The public key.
        key: Hash,
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
    /// A source that has spoken says nothing any more, and did not say that it ends.
    Silence {
        /// Which.
        source: PrincipalName,
        /// Its newest start that spoke.
        boot: u64,
        /// When it spoke last, or audit's own start where that is later. By audit's clock, or by the
        /// source's own where its last fact was under way for long.
        since: Timestamp,
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
    /// The bus server denied somebody something.
    BusDenied {
        /// Whom.
        who: BusClient,
        /// What.
        what: BusDenial,
        /// On which subject, as the server spelled it; otherwise what the server said.
        subject: Text,
        /// The network address.
        from: Text,
        /// When, by the server's clock.
        at: Timestamp,
        /// Where in the server's log.
        place: BusPlace,
    },
    /// The bus server denied more than is recorded one by one.
    BusSuppressed {
        /// How many.
        count: u64,
        /// When the first of them was read.
        since: Timestamp,
        /// Where in the server's log the last of them is.
        place: BusPlace,
    },
    /// The bus server started, took a configuration, or was asked to end.
    BusServer {
        /// Which of these.
        event: BusEvent,
        /// SHA-256 of its configuration, where it says it.
        config: Option<Hash>,
        /// When, by the server's clock.
        at: Timestamp,
        /// Where in the server's log.
        place: BusPlace,
    },
    /// How the bus server's log is followed.
    BusLog {
        /// From which point on.
        following: BusFollowing,
        /// Which point that is.
        place: BusPlace,
    },
}

impl Own {
    /// The subject of its entry.
    #[must_use]
    pub const fn subject(&self) -> &'static str {
        match self {
            Self::Started { .. } => "audit.started",
            Self::Key { .. } => "audit.key",
            Self::Gap { .. } => "audit.gap",
            Self::Silence { .. } => "audit.silence",
            Self::Violation { .. } => "audit.violation",
            Self::Suppressed { .. } => "audit.suppressed",
            Self::BusDenied { .. } => "audit.bus_denied",
            Self::BusSuppressed { .. } => "audit.bus_suppressed",
            Self::BusServer { .. } => "audit.bus_server",
            Self::BusLog { .. } => "audit.bus_log",
        }
    }

    /// How far the bus server's log is recorded with this entry; `None` when it is about something
    /// else.
    #[must_use]
    pub const fn bus_place(&self) -> Option<BusPlace> {
        match self {
            Self::Started { .. }
            | Self::Key { .. }
            | Self::Gap { .. }
            | Self::Silence { .. }
            | Self::Violation { .. }
            | Self::Suppressed { .. } => None,
            Self::BusDenied { place, .. }
            | Self::BusSuppressed { place, .. }
            | Self::BusServer { place, .. }
            | Self::BusLog { place, .. } => Some(*place),
        }
    }

    /// How many denials of the bus server it states.
    #[must_use]
    pub const fn bus_denied(&self) -> u64 {
        match self {
            Self::BusDenied { .. } => 1,
            Self::BusSuppressed { count, .. } => *count,
            Self::Started { .. }
            | Self::Key { .. }
            | Self::Gap { .. }
            | Self::Silence { .. }
            | Self::Violation { .. }
            | Self::Suppressed { .. }
            | Self::BusServer { .. }
            | Self::BusLog { .. } => 0,
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
