//! What comes in and what goes out.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use portcullis_domain::{AmountError, Book, Hash, Order, Span, StrategyId, Timestamp};
use portcullis_wire::Verified;
use portcullis_wire::messages::{
    Decision, ExecutionReport, ExecutionStatus, Heartbeat, Notice, Proposal, RiskPolicy, Verdict,
};

use crate::Strategy;

/// What a brain is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits; free of problems by [`RiskPolicy::problems`].
    pub policy: RiskPolicy,
    /// Their digest.
    pub policy_hash: Hash,
    /// Who may propose what.
    pub strategies: BTreeMap<StrategyId, Strategy>,
    /// The most orders whose outcome execution has not yet accounted for.
    pub orders_pending_max: usize,
    /// When the process started.
    pub started_at: Timestamp,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A strategy proposes.
    Proposal(Verified<Proposal>),
    /// A new order book.
    Book(Verified<Book>),
    /// Execution's account of itself.
    Status(Verified<ExecutionStatus>),
    /// Where an order stands.
    Report(Verified<ExecutionReport>),
    /// What risk-guard said to an order.
    Verdict(Verified<Verdict>),
    /// Risk-guard is there.
    Heartbeat(Verified<Heartbeat>),
    /// A second passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The answer to a proposal: send the order and record the decision, or do neither.
    pub decided: Option<Decided>,
    /// Why a proposal got no answer.
    pub ignored: Option<Ignored>,
    /// To be published.
    pub notices: Vec<Notice>,
}

/// The answer to a proposal.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What it is about.
    pub proposal: Verified<Proposal>,
    /// Who proposed it.
    pub strategy: StrategyId,
    /// The answer, for the record.
    pub decision: Decision,
    /// Only where the decision is yes.
    pub order: Option<Order>,
}

/// Why a proposal got no answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It was answered before.
    Duplicate,
    /// So far beyond the strategy's rate that even its refusals are no longer recorded one by one;
    /// a notice says how many they were.
    Flood,
    /// Nobody in the registry proposed it; a notice says who did.
    UnknownStrategy,
}

/// The brain cannot trust its own state. It must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The present lies further in the past than clocks are corrected.
    #[error("time ran backwards by {0}")]
    TimeReversed(Span),
    /// The sums of what is open lack an order that was added to them.
    #[error("take back a reservation")]
    Exposure(#[source] AmountError),
}
