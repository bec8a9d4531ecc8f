//! What comes in and what goes out.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use portcullis_domain::{Book, Hash, KillState, Order, Reason, Span, StrategyId, Timestamp};
use portcullis_wire::Verified;
use portcullis_wire::messages::{
    ExecutionReport, ExecutionStatus, Heartbeat, Notice, Permit, RiskPolicy, Verdict,
};

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
    /// Execution's account of itself.
    Status(Verified<ExecutionStatus>),
    /// Where an order stands.
    Report(Verified<ExecutionReport>),
    /// The kill switch is in another state now.
    Kill(KillState),
    /// A quarter of a second passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The answer to an order: send the permit and record the verdict, or do neither.
    pub judgement: Option<Judgement>,
    /// Why an order got no verdict of its own.
    pub unanswered: Option<Reason>,
    /// To be published at once.
    pub heartbeat: Option<Heartbeat>,
    /// To be published.
    pub notices: Vec<Notice>,
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
