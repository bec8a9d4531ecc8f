//! What goes into a step and what comes out.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use portcullis_domain::{Order, OrderId, Reason, Span};
use portcullis_venue::bybit::Authority;
use portcullis_wire::messages::{Heartbeat, Kill, Notice, Permit, SignRequest, SignatureRecord};
use portcullis_wire::{Header, Received, Signed, Text, Verified, codec};

/// The permit inside a request, with both its seals verified for the signer.
#[derive(Clone, Debug)]
pub struct EnclosedPermit {
    /// Risk-guard's permit.
    pub permit: Verified<Permit>,
    /// The brain's order inside it.
    pub order: Verified<Order>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Execution asks for a signature. `permit` is the one inside a request to place, if its seals
    /// hold.
    Request {
        /// The request, and whether it came before.
        request: Received<SignRequest>,
        /// The opened permit.
        permit: Option<Box<EnclosedPermit>>,
    },
    /// Risk-guard is there.
    Heartbeat(Verified<Heartbeat>),
    /// Somebody stops everything.
    Kill(Verified<Signed<Kill>>),
}

/// What to do, in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To be on disk before the answer is given.
    pub records: Vec<Vec<u8>>,
    /// Pull the latch on disk, with these words, before any notice of it.
    pub trigger: Option<Text>,
    /// The answer to execution.
    pub answer: Option<Answer>,
    /// For the record.
    pub notices: Vec<Notice>,
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The envelope that asked.
    pub request: Header,
    /// The answer.
    pub decision: Decision,
    /// The fact for the record; its outcome is that of the decision.
    pub fact: SignatureRecord,
}

/// Whether to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sign exactly this text.
    Sign {
        /// With which of the two API keys.
        authority: Authority,
        /// The text.
        text: String,
        /// Whether it places an order: such a signature does not leave once the switch is pulled.
        places: bool,
    },
    /// Do not.
    Refuse(Reason),
}

/// The signer cannot trust its own state; it must stop.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A record of the journal is not one of this program.
    #[error("read record {index} of the journal")]
    Record {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        cause: codec::CodecError,
    },
    /// The journal says that one order was signed in two ways.
    #[error("the journal has two different texts for order {0}")]
    SignedTwice(OrderId),
    /// A record could not be written as bytes.
    #[error("write a record for the journal")]
    Encode(#[source] codec::CodecError),
    /// The present lies further in the past than clocks are corrected.
    #[error("time ran backwards by {0}")]
    TimeReversed(Span),
}
