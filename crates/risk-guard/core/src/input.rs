//! What comes in and what goes out.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use portcullis_domain::{
    Book, Hash, KillCause, KillState, Order, Reason, Span, StrategyId, Timestamp,
};
use portcullis_wire::command::Authorised;
use portcullis_wire::messages::{
    Closes, ExecutionReport, ExecutionStatus, Heartbeat, Notice, Permit, RiskCommand, RiskPolicy,
    Trade, Verdict,
};
use portcullis_wire::{Text, Verified};

use crate::Record;

/// What a guard is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits; free of problems by [`RiskPolicy::problems`].
    pub policy: RiskPolicy,
    /// Their digest.
    pub policy_hash: Hash,
    /// Whose orders are judged at all.
    pub strategies: BTreeSet<StrategyId>,
    /// The most permits in any second.
    pub orders_per_second_max: u32,
    /// The most permits whose outcome execution has not yet accounted for.
    pub orders_pending_max: usize,
    /// The most order ids that are remembered against duplicates.
    pub orders_remembered_max: usize,
    /// The kill switch, as its latch on disk has it.
    pub kill: KillState,
    /// When the process started.
    pub started_at: Timestamp,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The brain asks for a permit.
    Order(Verified<Order>),
    /// A new order book.
    Book(Verified<Book>),
    /// A trade of anybody.
    Trade(Verified<Trade>),
    /// The closes of an instrument's last half hour.
    Closes(Verified<Closes>),
    /// Execution's account of itself.
    Status(Verified<ExecutionStatus>),
    /// Where an order stands.
    Report(Verified<ExecutionReport>),
    /// An operator commands something.
    Command(Authorised<RiskCommand>),
    /// The kill switch is in another state now.
    Kill(KillState),
    /// A quarter of a second passed.
    Tick,
}

/// What to do, in this order.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To be written down. Before anything else is done they must be on disk, if `is_sync` says so;
    /// what only makes the guard stricter may reach the disk a moment later.
    pub records: Vec<Record>,
    /// Whether the records let more through than before, or a person is told that it is done.
    pub is_sync: bool,
    /// The answer to an order: send the permit and record the verdict, or do neither.
    pub judgement: Option<Judgement>,
    /// Why an order got no verdict of its own.
    pub unanswered: Option<Reason>,
    /// To be published at once.
    pub heartbeat: Option<Heartbeat>,
    /// To be published.
    pub notices: Vec<Notice>,
    /// Pull this service's own kill switch: latch it, then say so with [`Input::Kill`].
    pub kill: Option<(KillCause, Text)>,
}

/// The answer to an order.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The order it is about.
    pub order: Verified<Order>,
    /// The answer, for the record.
    pub verdict: Verdict,
    /// Only where the verdict is yes.
    pub permit: Option<Permit>,
}

/// The guard cannot trust its own state. It must stop: a stopped guard permits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The present lies further in the past than clocks are corrected.
    #[error("time ran backwards by {0}")]
    TimeReversed(Span),
}
