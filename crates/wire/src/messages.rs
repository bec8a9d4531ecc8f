//! The messages. Structs travel as maps in the order written here; adding or moving a field is a
//! new kind of message.

use alloc::vec::Vec;

use portcullis_domain::{
    BreakerKey, BreakerState, Check, Fill, Hash, KillCause, KillState, Order, OrderId, OrderStatus,
    Posture, Price, PrincipalName, Quantity, Reason, Side, Span, StrategyId, Symbol, TimeInForce,
    Timestamp, Usd, Venue, VenueOrderId,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use crate::account::{
    ExecutionStatus, OpenOrder, Position, StrategyExposure, StrategyLoss, Tally, VenueHalt,
};
pub use crate::permit::Permit;
pub use crate::policy::{
    BreakerPolicy, BreakersPolicy, GroupPolicy, InstrumentPolicy, RiskPolicy, StrategyPolicy,
};
pub use crate::risk::{
    BreakerStatus, Closes, CommandOutcome, HaltStatus, LimitStatus, PendingCommand, RiskAction,
    RiskCommand, RiskStatus,
};
use crate::{Signed, Text};

/// Something that travels in an envelope.
pub trait Message: Serialize + DeserializeOwned {
    /// The kind in the header; at most 31 characters.
    const KIND: &'static str;
}

/// Something that is signed with Ed25519.
pub trait Signable: Serialize + DeserializeOwned {
    /// What the signature says it is.
    const KIND: &'static str;
}

macro_rules! kinds {
    ($($trait:ident: $($type:ty = $kind:literal),* ;)*) => {
        $($(impl $trait for $type { const KIND: &'static str = $kind; })*)*
    };
}

kinds! {
    Message:
        Proposal = "proposal", Order = "order", Permit = "permit", SignRequest = "sign-request",
        SignResponse = "sign-response", Signed<Receipt> = "receipt", Signed<Kill> = "kill",
        Heartbeat = "heartbeat", Decision = "decision", Verdict = "verdict",
        PermitTaken = "permit-taken", ExecutionReport = "execution-report", Fill = "fill",
        SignatureRecord = "signature-record", Notice = "notice",
        ExecutionStatus = "execution-status", ServiceStatus = "service-status",
        Signed<Checkpoint> = "checkpoint", portcullis_domain::Book = "book", Trade = "trade",
        Closes = "closes", RiskStatus = "risk-status", Signed<RiskCommand> = "risk-command";
    Signable: Receipt = "receipt", Kill = "kill", Checkpoint = "checkpoint",
        RiskCommand = "risk-command";
}

/// How much a strategy wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// In units of the base.
    Quantity(Quantity),
    /// By value, at the limit price or else at the book.
    Notional(Usd),
}

/// What a strategy wants done. Its id is the envelope's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// What to trade.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much.
    pub size: Size,
    /// The worst price; without one the brain takes the widest that the profile allows.
    pub limit_price: Option<Price>,
    /// How long it may rest.
    pub time_in_force: TimeInForce,
    /// Whether it may only shrink a position.
    pub reduce_only: bool,
}

/// What execution wants signed. Never bytes: the signer derives them itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SignAction {
    /// Place the order inside this permit (a whole frame).
    Place {
        /// Risk-guard's sealed permit, byte for byte.
        #[serde(with = "serde_bytes")]
        permit: Vec<u8>,
    },
    /// Cancel one order.
    Cancel {
        /// What it trades.
        symbol: Symbol,
        /// Which order.
        order: OrderId,
    },
    /// Cancel every order of an instrument.
    CancelAll {
        /// Which instrument.
        symbol: Symbol,
    },
    /// Cancel one order by the venue's own id of it: an order that is not ours has no other.
    CancelForeign {
        /// What it trades.
        symbol: Symbol,
        /// The venue's id of it.
        venue_order: VenueOrderId,
    },
    /// Have the venue itself cancel everything, once the private stream has been gone for so long.
    CancelOnDisconnect {
        /// For how long, in seconds.
        after_s: u16,
    },
    /// Read one order by its client order id.
    QueryOrder {
        /// What it trades.
        symbol: Symbol,
        /// Which order.
        order: OrderId,
    },
    /// Read all open orders.
    QueryOpenOrders {
        /// Where the last page ended, or empty.
        cursor: Text,
    },
    /// Read the positions.
    QueryPositions {
        /// Where the last page ended, or empty.
        cursor: Text,
    },
    /// Read the fills since a moment.
    QueryExecutions {
        /// The first moment, by the venue's clock.
        since: Timestamp,
        /// Where the last page ended, or empty.
        cursor: Text,
    },
    /// Read the balance.
    QueryWallet,
    /// Read what changed the balance since a moment.
    QueryMovements {
        /// The first moment, by the venue's clock.
        since: Timestamp,
        /// Where the last page ended, or empty.
        cursor: Text,
    },
    /// Log in to the private stream.
    StreamLogin {
        /// Until when the login is valid, in milliseconds since the epoch.
        expires_ms: u64,
    },
}

/// Execution asks for one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    /// What for.
    pub action: SignAction,
    /// The venue's time that the request will carry, in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// The exact text that execution will send: a JSON body or a query string. The signer refuses
    /// when its own derivation differs.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// The signer's answer. The request it answers is the envelope's causation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SignResponse {
    /// The signature, and the public name of the key it was made with.
    Signed {
        /// The venue's API key; not a secret.
        api_key: Text,
        /// The signature as the venue wants it (Bybit: 64 lower-case hexadecimal digits).
        signature: Text,
    },
    /// No signature.
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// Audit's statement that a fact is in the log, on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// SHA-256 of the fact's whole frame.
    pub fact: Hash,
    /// The order it is about.
    pub order: OrderId,
    /// The entry's number in the log, from 0.
    pub index: u64,
    /// The entry's hash, which all later entries build on.
    pub entry: Hash,
}

/// The end of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// How many entries the log has.
    pub size: u64,
    /// The hash of the last one; zeroes for an empty log.
    pub head: Hash,
    /// When it was made.
    pub at: Timestamp,
}

/// Stop everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// The deployment it is meant for.
    pub realm: crate::Realm,
    /// Who says so.
    pub operator: portcullis_domain::PrincipalName,
    /// Why, for the record.
    pub reason: Text,
    /// When it was signed.
    pub at: Timestamp,
}

/// Risk-guard is there, and this is what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its kill switch.
    pub kill: KillState,
    /// What the day's drawdown still allows; in an emergency execution cancels what is open.
    pub posture: Posture,
    /// The digest of the risk policy that it runs.
    pub policy: Hash,
}

impl Heartbeat {
    /// The oldest one that still licenses an order; it comes four times a second.
    pub const AGE_MAX: Span = Span::from_secs(1);
}

/// What became of a proposal at the brain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The sealed proposal, byte for byte.
    #[serde(with = "serde_bytes")]
    pub proposal: Vec<u8>,
    /// The order it became, or would have become.
    pub order: OrderId,
    /// The answer.
    pub outcome: Outcome,
}

/// What risk-guard said to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The sealed order, byte for byte.
    #[serde(with = "serde_bytes")]
    pub order_frame: Vec<u8>,
    /// Its id.
    pub order: OrderId,
    /// The answer.
    pub outcome: Outcome,
    /// The rules that it met, in order, with what they measured; where it was refused, the last one
    /// refused it.
    pub checks: Vec<Check>,
}

/// Yes, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It went on to the next service.
    Passed,
    /// It ended here.
    Refused(Reason),
}

/// Execution took a permit and will act on it once this is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitTaken {
    /// The order in it.
    pub order: OrderId,
    /// The sealed permit, byte for byte.
    #[serde(with = "serde_bytes")]
    pub permit: Vec<u8>,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionReport {
    /// Which order.
    pub order: OrderId,
    /// Whose.
    pub strategy: StrategyId,
    /// What it trades.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much in all.
    pub quantity: Quantity,
    /// How much of it filled so far; `None` for nothing.
    pub filled: Option<Quantity>,
    /// Its state.
    pub status: OrderStatus,
    /// The venue's id, once known.
    pub venue_order: Option<VenueOrderId>,
    /// Why, where it was refused or rejected.
    pub reason: Option<Reason>,
    /// What the venue said, or other evidence, in words.
    pub detail: Text,
}

/// The signer signed or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureRecord {
    /// The order, where it was about one.
    pub order: Option<OrderId>,
    /// What was asked for: `place`, `cancel`, `query` …
    pub action: Text,
    /// SHA-256 of the exact text that was signed, with its time; never the signature itself.
    pub payload: Hash,
    /// The answer.
    pub outcome: Outcome,
}

/// Something worth knowing about a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    /// It started.
    Started {
        /// Its version.
        version: Text,
        /// The digest of the risk policy that it runs, where it runs one.
        policy: Option<Hash>,
        /// Its kill switch, where it has one.
        kill: Option<KillState>,
    },
    /// It stopped in order.
    Stopped,
    /// It lives, and had nothing else to put on record for a while: whoever hears nothing any more
    /// knows that something is kept back.
    Alive,
    /// Its kill switch changed.
    KillSwitch {
        /// What it is now.
        state: KillState,
        /// What did it.
        cause: KillCause,
        /// In words; for an operator's command, the reason given.
        detail: Text,
    },
    /// A message was refused.
    Violation {
        /// Where it came.
        subject: Text,
        /// The refusal's code.
        code: Text,
        /// SHA-256 of what came.
        frame: Hash,
    },
    /// A message or a state was refused for a reason that is no attack.
    Refused {
        /// Why.
        reason: Reason,
        /// In words.
        detail: Text,
    },
    /// Execution has compared itself with the venue.
    Reconciled {
        /// Orders that are open at the venue.
        open: u64,
        /// Orders whose state changed by it.
        changed: u64,
        /// Fills that were not known before.
        fills: u64,
    },
    /// Execution sends nothing new somewhere, or does again.
    VenueHalt {
        /// In which instrument; `None` in all of them.
        symbol: Option<Symbol>,
        /// Why: the venue's account contradicts ours, or an order was not confirmed in time.
        reason: Reason,
        /// Whether that is over.
        is_over: bool,
        /// What both say, or which order it is.
        evidence: Text,
    },
    /// After a kill the venue confirmed that no order is open.
    KillConfirmed {
        /// Which venue.
        venue: Venue,
        /// How many orders were open, under way or in doubt when the kill was acted on.
        orders: u64,
        /// How long after that the venue was asked and said so, in milliseconds.
        after_ms: u64,
    },
    /// A UTC day began, with the equity that its loss is measured from.
    DayBegan {
        /// Days since the epoch.
        day: u64,
        /// That equity.
        baseline: Usd,
        /// SHA-256 over this day and all before it: the beginning of a day is written once.
        chain: Hash,
    },
    /// Another service runs another risk policy than it did, or than it must.
    Policy {
        /// Which service.
        service: Text,
        /// The digest of the policy that it runs.
        runs: Hash,
        /// The digest of the policy of the one who gives notice.
        own: Hash,
    },
    /// A circuit breaker changed.
    Breaker {
        /// Which.
        breaker: BreakerKey,
        /// What it was.
        from: BreakerState,
        /// What it is.
        to: BreakerState,
        /// How often any breaker changed, this change included.
        generation: u64,
        /// Why, in words.
        detail: Text,
    },
    /// What the day's drawdown allows changed.
    Posture {
        /// What it was.
        from: Posture,
        /// What it is.
        to: Posture,
        /// Why, in words.
        detail: Text,
    },
    /// An operator commanded something of risk-guard.
    Commanded {
        /// Who.
        operator: PrincipalName,
        /// SHA-256 of what that person signed.
        digest: Hash,
        /// What became of it.
        outcome: CommandOutcome,
        /// What was commanded and why, or why it was refused, in words.
        detail: Text,
    },
    /// Something an operator should look at.
    Warning {
        /// In words.
        detail: Text,
    },
}

/// A number that a service counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// What of, such as `proposals` or `refused.PRICE_COLLAR`.
    pub name: Text,
    /// How many since the start.
    pub value: u64,
}

/// How a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceStatus {
    /// Whether it does its work.
    pub ready: bool,
    /// If not, why, in words.
    pub detail: Text,
    /// Its kill switch, where it has one.
    pub kill: Option<KillState>,
    /// The digest of the risk policy that it runs, where it runs one.
    pub policy: Option<Hash>,
    /// What it counted since its start; at most 64 numbers.
    pub counts: Vec<Count>,
}

/// A trade at the venue, between anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    /// Of what.
    pub symbol: Symbol,
    /// Which way the one went who took.
    pub side: Side,
    /// At what price.
    pub price: Price,
    /// How much.
    pub quantity: Quantity,
    /// When, by the venue's clock.
    pub venue_time: Timestamp,
}
