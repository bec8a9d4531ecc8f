//! The one table of subjects: what travels on each, who publishes it and who reads it.
//!
//! From it come the typed constants that code must use and the server's accounts and permissions.
//! Commands are `cmd.<audience>.<verb>`, facts `evt.<source>.<fact>`, market data
//! `data.<venue>.<instrument>.<kind>`, operator commands `ops.<verb>`. A `*` stands for one name:
//! the strategy that a fact is about, or an instrument.

use alloc::string::String;
use core::marker::PhantomData;

use portcullis_domain::{Book, Fill, Order, PrincipalName, Span, Symbol};

use crate::Signed;
use crate::messages::{
    Checkpoint, Closes, Decision, ExecutionReport, ExecutionStatus, Heartbeat, Kill, Message,
    Notice, Permit, PermitTaken, Proposal, Receipt, RiskCommand, RiskStatus, ServiceStatus,
    SignRequest, SignResponse, SignatureRecord, Trade, Verdict,
};
use crate::principal::{
    Audit, Brain, Execution, MarketData, Operator, Principal, RiskGuard, Role, Signer, Strategy,
};

/// How a subject is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Once, now, to whoever listens: late is worse than never.
    Core,
    /// Also captured by the stream of facts, synced before the acknowledgement.
    Stream,
}

/// How the body of a message is kept, beyond the seals that every message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Sealed, not encrypted, so that it can be looked at on the bus.
    Sealed,
    /// Only its addressees can read it: encrypted with AES-256-GCM under a key of each link.
    Confidential,
    /// Many rely on it, so its author signs it with Ed25519 too: who can check a seal can forge it,
    /// and who has an epoch's root every seal, but nobody else the signature.
    Signed,
}

/// What the variable place of a subject names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// There is none.
    None,
    /// A strategy; of all strategies only that one reads the subject.
    Strategy,
    /// An instrument.
    Symbol,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// The subject, with `*` at its variable place.
    pub pattern: &'static str,
    /// The kind of message.
    pub kind: &'static str,
    /// Who may publish it.
    pub publisher: Role,
    /// Who receives it.
    pub subscribers: &'static [Role],
    /// Who may open it beyond those: it reaches them enclosed in another message.
    pub enclosed_for: &'static [Role],
    /// How it is delivered.
    pub delivery: Delivery,
    /// How its body is kept.
    pub protection: Protection,
    /// What the variable place names.
    pub variable: Variable,
    /// How long a message is valid from its seal.
    pub lifetime: Span,
}

/// A subject with its message and its publisher as types.
#[derive(Debug)]
pub struct Subject<P, M> {
    /// Its line of the table.
    pub row: &'static Row,
    types: PhantomData<fn(P) -> M>,
}

impl Row {
    /// The subject with its variable place filled; `None` unless `name` is given exactly where the
    /// pattern has one and is a name.
    #[must_use]
    pub fn concrete(&self, name: Option<&str>) -> Option<String> {
        match (self.variable, name) {
            (Variable::None, None) => Some(self.pattern.into()),
            (Variable::Strategy | Variable::Symbol, Some(name)) => {
                // A dot would add a place to the subject.
                let single = Symbol::new(name).is_ok() && !name.contains('.');
                single.then(|| self.pattern.replacen('*', name, 1))
            }
            (Variable::None, Some(_)) | (Variable::Strategy | Variable::Symbol, None) => None,
        }
    }

    /// What stands at the variable place of a concrete subject; `None` when it is not of this
    /// pattern or the pattern has no such place.
    #[must_use]
    pub fn name_in<'a>(&self, concrete: &'a str) -> Option<&'a str> {
        let (before, after) = self.pattern.split_once('*')?;
        let name = concrete.strip_prefix(before)?.strip_suffix(after)?;
        let single = !name.is_empty() && !name.contains('.');
        single.then_some(name)
    }

    /// Whether a concrete subject is of this pattern.
    #[must_use]
    pub fn matches(&self, concrete: &str) -> bool {
        match self.variable {
            Variable::None => self.pattern == concrete,
            Variable::Strategy | Variable::Symbol => self.name_in(concrete).is_some(),
        }
    }

    /// Whether a principal may open what is sealed for a concrete subject.
    #[must_use]
    pub fn may_read(&self, principal: &PrincipalName, concrete: &str) -> bool {
        let Some(role) = Role::of(principal) else {
            return false;
        };
        let addressed = self.subscribers.contains(&role) || self.enclosed_for.contains(&role);
        addressed && self.is_own(principal, concrete)
    }

    /// Whether a principal may publish on a concrete subject.
    #[must_use]
    pub fn may_publish(&self, principal: &PrincipalName, concrete: &str) -> bool {
        Role::of(principal) == Some(self.publisher)
            && self.matches(concrete)
            && self.is_own(principal, concrete)
    }

    /// A strategy has a part only in what names it, where the subject names a strategy at all.
    fn is_own(&self, principal: &PrincipalName, concrete: &str) -> bool {
        if Role::of(principal) != Some(Role::Strategy) || self.variable != Variable::Strategy {
            return true;
        }
        let own = principal.as_str().strip_prefix(Role::Strategy.name());
        own.is_some() && own == self.name_in(concrete)
    }

    /// The channel in which a source counts this subject: the commands to one service, all facts of
    /// the source, or, where a loss has no consequence, the subject alone.
    #[must_use]
    pub fn channel<'a>(&self, concrete: &'a str) -> &'a str {
        let places = match (concrete.starts_with("cmd."), self.delivery) {
            (true, _) => 2,
            (false, Delivery::Stream) => 1,
            (false, Delivery::Core) => usize::MAX,
        };
        let end = concrete
            .match_indices('.')
            .nth(places.saturating_sub(1))
            .map(|(at, _)| at);
        end.and_then(|end| concrete.get(..end)).unwrap_or(concrete)
    }
}

macro_rules! subjects {
    ($($(#[$doc:meta])* $constant:ident: $publisher:ident => $message:ty, $pattern:literal,
        to [$($subscriber:ident),*], enclosed for [$($reader:ident),*],
        $delivery:ident, $protection:ident, $variable:ident, $lifetime:expr;)*) => {
        $(
            $(#[$doc])*
            pub const $constant: Subject<$publisher, $message> = Subject {
                row: &Row {
                    pattern: $pattern,
                    kind: <$message as Message>::KIND,
                    publisher: <$publisher as Principal>::ROLE,
                    subscribers: &[$(Role::$subscriber),*],
                    enclosed_for: &[$(Role::$reader),*],
                    delivery: Delivery::$delivery,
                    protection: Protection::$protection,
                    variable: Variable::$variable,
                    lifetime: $lifetime,
                },
                types: PhantomData,
            };
        )*

        /// Every subject there is.
        pub const TABLE: &[&Row] = &[$($constant.row),*];
    };
}

/// An order lives at most this long from the brain's seal.
pub const ORDER_LIFETIME: Span = Span::from_secs(2);
/// A fact may be recorded late, after an outage of the recorder.
const FACT_LIFETIME: Span = Span::from_secs(30 * 86_400);
/// What is published again within a second need not live long.
const LIVE: Span = Span::from_secs(5);

subjects! {
    /// A strategy proposes, on a subject of its own, so that one strategy's flood is not another's.
    PROPOSAL: Strategy => Proposal, "cmd.brain.propose.*",
        to [Brain], enclosed for [], Core, Sealed, Strategy, ORDER_LIFETIME;
    /// The brain's order, for risk-guard to judge.
    ORDER: Brain => Order, "cmd.risk-guard.evaluate",
        to [RiskGuard], enclosed for [Execution, Signer], Core, Sealed, None, ORDER_LIFETIME;
    /// Risk-guard's permit around the brain's order.
    PERMIT: RiskGuard => Permit, "cmd.execution.execute",
        to [Execution], enclosed for [Signer], Core, Sealed, None, ORDER_LIFETIME;
    /// Execution asks for one signature.
    SIGN: Execution => SignRequest, "cmd.signer.sign",
        to [Signer], enclosed for [], Core, Sealed, None, ORDER_LIFETIME;
    /// The signer's answer.
    SIGNATURE: Signer => SignResponse, "cmd.execution.signature",
        to [Execution], enclosed for [], Core, Sealed, None, ORDER_LIFETIME;
    /// Audit's proof that a permit is on record.
    RECEIPT: Audit => Signed<Receipt>, "cmd.execution.receipt",
        to [Execution], enclosed for [], Core, Sealed, None, ORDER_LIFETIME;
    /// An operator stops everything.
    KILL: Operator => Signed<Kill>, "ops.kill",
        to [RiskGuard, Execution, Signer], enclosed for [], Core, Sealed, None, Span::from_secs(60);

    /// An operator commands risk-guard: halts, breakers, limits, approvals.
    RISK_COMMAND: Operator => Signed<RiskCommand>, "ops.risk",
        to [RiskGuard], enclosed for [], Core, Sealed, None, Span::from_secs(60);

    /// Risk-guard's licence to trade: older than 1 s means no new order, older than 5 s means
    /// cancel everything.
    HEARTBEAT: RiskGuard => Heartbeat, "evt.risk-guard.heartbeat",
        to [Execution, Signer, Brain, Operator], enclosed for [], Core, Signed, None, LIVE;
    /// What became of a proposal.
    DECISION: Brain => Decision, "evt.brain.decision.*",
        to [Audit, Operator, Strategy], enclosed for [], Stream, Sealed, Strategy, FACT_LIFETIME;
    /// What risk-guard said to an order.
    VERDICT: RiskGuard => Verdict, "evt.risk-guard.verdict.*",
        to [Audit, Brain, Operator, Strategy], enclosed for [], Stream, Sealed, Strategy, FACT_LIFETIME;
    /// Execution took a permit; audit answers with a receipt.
    PERMIT_TAKEN: Execution => PermitTaken, "evt.execution.permit",
        to [Audit], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;
    /// Where an order stands.
    REPORT: Execution => ExecutionReport, "evt.execution.report.*",
        to [Audit, RiskGuard, Brain, Operator, Strategy], enclosed for [], Stream, Sealed, Strategy,
        FACT_LIFETIME;
    /// An order filled, wholly or in part.
    FILL: Execution => Fill, "evt.execution.fill.*",
        to [Audit, RiskGuard, Brain, Operator, Strategy], enclosed for [], Stream, Sealed, Strategy,
        FACT_LIFETIME;
    /// The signer signed or refused.
    SIGNED: Signer => SignatureRecord, "evt.signer.signature",
        to [Audit, Operator], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;

    /// Something worth knowing about the brain.
    BRAIN_NOTICE: Brain => Notice, "evt.brain.notice",
        to [Audit, Operator], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;
    /// Something worth knowing about risk-guard.
    RISK_GUARD_NOTICE: RiskGuard => Notice, "evt.risk-guard.notice",
        to [Audit, Operator], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;
    /// Something worth knowing about execution.
    EXECUTION_NOTICE: Execution => Notice, "evt.execution.notice",
        to [Audit, Operator], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;
    /// Something worth knowing about the signer.
    SIGNER_NOTICE: Signer => Notice, "evt.signer.notice",
        to [Audit, Operator], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;
    /// Something worth knowing about market-data.
    MARKET_DATA_NOTICE: MarketData => Notice, "evt.market-data.notice",
        to [Audit, Operator], enclosed for [], Stream, Sealed, None, FACT_LIFETIME;

    /// Positions, open orders and the day's loss, four times a second, for its addressees' eyes only.
    EXECUTION_STATUS: Execution => ExecutionStatus, "evt.execution.status",
        to [RiskGuard, Brain, Operator], enclosed for [], Core, Confidential, None, LIVE;
    /// How the brain is, once a second.
    BRAIN_STATUS: Brain => ServiceStatus, "evt.brain.status",
        to [Operator], enclosed for [], Core, Sealed, None, LIVE;
    /// How risk-guard is, once a second.
    RISK_GUARD_STATUS: RiskGuard => ServiceStatus, "evt.risk-guard.status",
        to [Operator], enclosed for [], Core, Sealed, None, LIVE;
    /// Limits and what is used of them, breakers and halts, once a second.
    RISK_STATUS: RiskGuard => RiskStatus, "evt.risk-guard.risk",
        to [Operator], enclosed for [], Core, Confidential, None, LIVE;
    /// How the signer is, once a second.
    SIGNER_STATUS: Signer => ServiceStatus, "evt.signer.status",
        to [Operator], enclosed for [], Core, Sealed, None, LIVE;
    /// How audit is, once a second.
    AUDIT_STATUS: Audit => ServiceStatus, "evt.audit.status",
        to [Operator], enclosed for [], Core, Sealed, None, LIVE;
    /// How market-data is, once a second.
    MARKET_DATA_STATUS: MarketData => ServiceStatus, "evt.market-data.status",
        to [Operator], enclosed for [], Core, Sealed, None, LIVE;
    /// The end of the audit log, signed.
    CHECKPOINT: Audit => Signed<Checkpoint>, "evt.audit.checkpoint",
        to [Execution, Operator], enclosed for [], Core, Sealed, None, LIVE;

    /// The top of an order book.
    BOOK: MarketData => Book, "data.bybit.*.book",
        to [Brain, RiskGuard, Execution, Strategy], enclosed for [], Core, Sealed, Symbol, LIVE;
    /// Trades at the venue.
    TRADE: MarketData => Trade, "data.bybit.*.trade",
        to [RiskGuard, Execution, Strategy], enclosed for [], Core, Sealed, Symbol, LIVE;
    /// The closes of the last half hour, once a second.
    CLOSES: MarketData => Closes, "data.bybit.*.closes",
        to [RiskGuard], enclosed for [], Core, Sealed, Symbol, LIVE;
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_lines_share_a_subject_and_each_names_its_publisher() {
        let patterns: BTreeSet<_> = TABLE.iter().map(|row| row.pattern).collect();
        assert_eq!(patterns.len(), TABLE.len());
        for row in TABLE {
            if let Some(rest) = row.pattern.strip_prefix("evt.") {
                assert!(rest.starts_with(row.publisher.name()), "{}", row.pattern);
            }
            if let Some(rest) = row.pattern.strip_prefix("cmd.") {
                let audience = row.subscribers.first().unwrap();
                assert!(rest.starts_with(audience.name()), "{}", row.pattern);
                assert_eq!(row.subscribers.len(), 1, "{}", row.pattern);
            }
            assert_eq!(row.pattern.contains('*'), row.variable != Variable::None);
        }
    }

    #[test]
    fn only_risk_guard_reaches_execution_with_a_permit_and_brain_reaches_nobody_else() {
        let brains: BTreeSet<_> = TABLE
            .iter()
            .filter(|row| row.publisher == Role::Brain && row.pattern.starts_with("cmd."))
            .map(|row| row.pattern)
            .collect();
        assert_eq!(brains, BTreeSet::from(["cmd.risk-guard.evaluate"]));
    }

    #[test]
    fn a_strategy_reads_only_what_is_its_own() {
        let own = PrincipalName::new("strategy-a").unwrap();
        assert!(FILL.row.may_read(&own, "evt.execution.fill.a"));
        assert!(!FILL.row.may_read(&own, "evt.execution.fill.b"));
        assert!(BOOK.row.may_read(&own, "data.bybit.BTCUSDT.book"));
        assert!(!PERMIT.row.may_read(&own, "cmd.execution.execute"));
    }

    #[test]
    fn a_strategy_proposes_in_its_own_name_alone() {
        let own = PrincipalName::new("strategy-a").unwrap();
        assert!(PROPOSAL.row.may_publish(&own, "cmd.brain.propose.a"));
        assert!(!PROPOSAL.row.may_publish(&own, "cmd.brain.propose.b"));
        assert!(!PROPOSAL.row.may_publish(&own, "cmd.brain.propose"));
    }

    #[test]
    fn positions_are_for_their_addressees_alone() {
        let confidential = TABLE
            .iter()
            .filter(|row| row.protection == Protection::Confidential);
        let patterns: BTreeSet<_> = confidential.map(|row| row.pattern).collect();
        assert_eq!(
            patterns,
            BTreeSet::from(["evt.execution.status", "evt.risk-guard.risk"])
        );
    }

    #[test]
    fn a_name_cannot_add_a_place() {
        assert_eq!(FILL.row.concrete(Some("a.b")), None);
        assert_eq!(FILL.row.concrete(Some("*")), None);
        assert_eq!(FILL.row.concrete(None), None);
        assert_eq!(PERMIT.row.concrete(Some("a")), None);
        assert!(!FILL.row.matches("evt.execution.fill.a.b"));
        assert!(!FILL.row.matches("evt.execution.fill."));
    }

    #[test]
    fn channels_are_commands_to_one_service_and_facts_of_one_source() {
        assert_eq!(PERMIT.row.channel("cmd.execution.execute"), "cmd.execution");
        assert_eq!(FILL.row.channel("evt.execution.fill.a"), "evt");
        assert_eq!(
            HEARTBEAT.row.channel("evt.risk-guard.heartbeat"),
            "evt.risk-guard.heartbeat"
        );
    }
}
