//! What goes into the core and what comes out of it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use portcullis_domain::{Hash, OrderId, PrincipalName, Timestamp};
use portcullis_wire::messages::{Checkpoint, Notice, PermitTaken, Receipt};
use portcullis_wire::{Header, Text, Verified};

use crate::bus::{BusClient, BusDenial, BusEvent, BusPlace, BusSaid};
use crate::chain::ChainError;

/// A verified fact. Only a [`Verified`] message becomes one.
#[derive(Clone, Debug)]
pub struct Fact {
    pub(crate) header: Box<Header>,
    pub(crate) frame: Vec<u8>,
    pub(crate) order: Option<OrderId>,
    /// Whether its source says with it that it ends.
    pub(crate) is_last: bool,
}

impl Fact {
    /// A fact that is recorded and no more.
    #[must_use]
    pub fn new<M>(verified: Verified<M>) -> Self {
        let (header, _, frame) = verified.into_parts();
        Self {
            header: Box::new(header),
            frame,
            order: None,
            is_last: false,
        }
    }

    /// A notice: one of them says that its source ends in order, and its silence is none then.
    #[must_use]
    pub fn notice(verified: Verified<Notice>) -> Self {
        let is_last = *verified.message() == Notice::Stopped;
        Self {
            is_last,
            ..Self::new(verified)
        }
    }

    /// The fact that execution waits for a receipt of.
    #[must_use]
    pub fn permit_taken(verified: Verified<PermitTaken>) -> Self {
        let (header, message, frame) = verified.into_parts();
        Self {
            header: Box::new(header),
            frame,
            order: Some(message.order),
            is_last: false,
        }
    }
}

/// Which way something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// At once, from the bus. Anything may be lost.
    Live,
    /// From the stream, in its order. It comes again until it is acknowledged.
    Stream {
        /// The shell's name for the acknowledgement that is due.
        token: u64,
    },
}

/// What the shell tells the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// Audit started. Comes first and once.
    Started {
        /// Its version.
        version: Text,
        /// How many bytes of an unfinished write were cut off the log.
        cut: u64,
    },
    /// The key that audit signs its checkpoints with at present. Comes before the first checkpoint,
    /// and as often as it pleases.
    Key {
        /// The public key.
        key: Hash,
    },
    /// A fact whose envelope holds.
    Fact {
        /// The fact.
        fact: Fact,
        /// Which way it came.
        path: Path,
    },
    /// Something whose envelope does not hold.
    Refused {
        /// Where it came.
        subject: String,
        /// Why it was refused.
        code: &'static str,
        /// What came.
        bytes: Vec<u8>,
        /// Which way it came.
        path: Path,
    },
    /// The next line of the bus server's log.
    Bus {
        /// What it says.
        said: BusSaid,
        /// Where it stands.
        place: BusPlace,
    },
    /// The log is on disk up to its entry number `size - 1`.
    Durable {
        /// How many entries are on disk.
        size: u64,
    },
    /// Time passed; comes several times a second.
    Tick,
    /// Audit ends in order, and all that can be is on disk.
    Ending,
}

/// A receipt that may go out now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptDue {
    /// What it states.
    pub receipt: Receipt,
    /// The envelope of the fact that it answers.
    pub cause: Box<Header>,
}

/// Something that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Facts are missing, and a gap is recorded.
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
    /// A fact came that was recorded as missing.
    Late {
        /// Whose.
        source: PrincipalName,
        /// Of which start.
        boot: u64,
        /// Which.
        seq: u64,
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
    /// A violation is recorded.
    Violation {
        /// Where it came.
        subject: Text,
        /// Why it was refused.
        code: Text,
    },
    /// More was refused than is recorded one by one.
    Suppressed {
        /// How many.
        count: u64,
    },
    /// A denial of the bus server is recorded.
    BusDenied {
        /// Whom it denied.
        who: BusClient,
        /// What.
        what: BusDenial,
        /// On which subject, or what the server said.
        subject: Text,
        /// The network address.
        from: Text,
    },
    /// The bus server denied more than is recorded one by one.
    BusSuppressed {
        /// How many.
        count: u64,
    },
    /// Something happened to the bus server.
    BusServer {
        /// What.
        event: BusEvent,
    },
    /// Lines of the bus server's log are gone.
    BusLogLost,
}

/// What the shell does next: first the records, then everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Whole records to append to the log, in order.
    pub records: Vec<u8>,
    /// Receipts to send; their entries are on disk.
    pub receipts: Vec<ReceiptDue>,
    /// Acknowledgements to give to the stream; what they are about is on disk.
    pub acknowledge: Vec<u64>,
    /// A checkpoint to sign, keep and publish; its entries are on disk.
    pub checkpoint: Option<Checkpoint>,
    /// What to tell the operator.
    pub alerts: Vec<Alert>,
}

/// The core cannot trust its own state; the process must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An entry does not fit the log.
    #[error("append an entry")]
    Append(#[source] ChainError),
    /// An entry of audit's own does not encode.
    #[error("encode an entry of audit's own")]
    Own,
    /// The log claims to hold on disk what was never appended, or less than before.
    #[error("log says that {said} entries are on disk, after {before} of {appended}")]
    Durable {
        /// What it says.
        said: u64,
        /// What it said before.
        before: u64,
        /// How many were appended.
        appended: u64,
    },
}
