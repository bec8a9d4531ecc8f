//! Who may propose what.

use alloc::collections::BTreeSet;

use portcullis_domain::{
    EnvelopeId, PrincipalName, RateLimit, Reason, Recent, RiskProfile, Span, StrategyId, Symbol,
    Timestamp, Usd,
};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::PROPOSAL;

/// How long a proposal's id is remembered: a replayed one is expired long before.
const REMEMBERED_FOR: Span = Span(PROPOSAL.row.lifetime.0.saturating_mul(3));
/// [`REMEMBERED_FOR`] in seconds, and one more for the second that has begun.
const SECONDS_REMEMBERED: u32 = 7;

/// One strategy of the registry. Its principal on the bus is `strategy-<id>`.
#[derive(Clone, Debug)]
pub struct Strategy {
    /// The instruments that it may trade.
    pub instruments: BTreeSet<Symbol>,
    /// Its largest order by value, at the worse of limit price and middle of the book.
    pub order_notional_max: Usd,
    /// Its largest position in one instrument by value, at the middle of the book, whichever of
    /// its open orders fill.
    pub position_notional_max: Usd,
    /// The most proposals in any second.
    pub proposals_per_second_max: u32,
    /// How much slippage it tolerates.
    pub profile: RiskProfile,
}

/// How the beginning of a proposal's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is to be decided.
    Admitted,
    /// It is to be refused for this reason.
    Refused(Reason),
    /// It was answered before.
    Duplicate,
    /// It is not to be answered at all.
    Flood,
}

/// A strategy with what the brain remembers of it.
#[derive(Clone, Debug)]
pub struct Registered {
    pub settings: Strategy,
    seen: Recent<EnvelopeId>,
    rate: RateLimit,
    // So that a flood of proposals is not a flood of records.
    refusals: RateLimit,
    unanswered: u64,
}

impl Registered {
    pub fn new(settings: Strategy) -> Self {
        let per_second = settings.proposals_per_second_max;
        let remembered = per_second.saturating_mul(SECONDS_REMEMBERED);
        let capacity = usize::try_from(remembered).unwrap_or(usize::MAX);
        Self {
            settings,
            seen: Recent::new(REMEMBERED_FOR, capacity),
            rate: RateLimit::new(per_second),
            refusals: RateLimit::new(per_second),
            unanswered: 0,
        }
    }

    /// Counts a proposal. Only one that fits the rate is remembered: the memory holds as many as
    /// can fit, so that nobody can fill it.
    pub fn admit(&mut self, proposal: EnvelopeId, now: Timestamp) -> Admission {
        self.seen.forget(now);
        if self.seen.contains(&proposal) {
            return Admission::Duplicate;
        }
        if !self.rate.take(now) || self.seen.remember(proposal, now).is_err() {
            if self.refusals.take(now) {
                return Admission::Refused(Reason::RateLimit);
            }
            self.unanswered = self.unanswered.saturating_add(1);
            return Admission::Flood;
        }
        Admission::Admitted
    }

    /// How many proposals got no answer since the last time this was asked.
    pub fn take_unanswered(&mut self) -> u64 {
        core::mem::take(&mut self.unanswered)
    }
}

/// The strategy that a principal is; `None` for a name that no strategy can have.
pub fn strategy_of(principal: PrincipalName) -> Option<StrategyId> {
    let id = principal.as_str().strip_prefix(Role::Strategy.name())?;
    StrategyId::new(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(per_second: u32) -> Registered {
        Registered::new(Strategy {
            instruments: BTreeSet::new(),
            order_notional_max: Usd::ZERO,
            position_notional_max: Usd::ZERO,
            proposals_per_second_max: per_second,
            profile: RiskProfile::Conservative,
        })
    }

    #[test]
    fn a_flood_is_refused_at_its_own_rate_and_then_only_counted() {
        let mut strategy = registered(2);
        let now = Timestamp(1_000_000_000);
        let answers = [1, 2, 3, 4, 5, 6].map(|id| strategy.admit(EnvelopeId([id; 16]), now));
        assert_eq!(
            answers,
            [
                Admission::Admitted,
                Admission::Admitted,
                Admission::Refused(Reason::RateLimit),
                Admission::Refused(Reason::RateLimit),
                Admission::Flood,
                Admission::Flood,
            ]
        );
        assert_eq!(
            (strategy.take_unanswered(), strategy.take_unanswered()),
            (2, 0)
        );
        let later = now.plus(Span::from_secs(1));
        assert_eq!(
            strategy.admit(EnvelopeId([7; 16]), later),
            Admission::Admitted
        );
    }

    #[test]
    fn a_proposal_is_answered_once_for_longer_than_it_lives() {
        let mut strategy = registered(2);
        let now = Timestamp(1_000_000_000);
        let id = EnvelopeId([1; 16]);
        assert_eq!(strategy.admit(id, now), Admission::Admitted);
        let later = now.plus(REMEMBERED_FOR);
        assert_eq!(strategy.admit(id, later), Admission::Duplicate);
    }

    #[test]
    fn a_strategy_at_its_full_rate_never_fills_its_memory() {
        let mut strategy = registered(3);
        let mut now = Timestamp(1_000_000_000);
        for number in 0..300_u64 {
            let id = EnvelopeId(u128::from(number).to_be_bytes());
            assert_eq!(
                strategy.admit(id, now),
                Admission::Admitted,
                "proposal {number}"
            );
            now = now.plus(Span(333_334));
        }
    }

    #[test]
    fn only_the_name_of_a_strategy_names_one() {
        let of = |name: &str| strategy_of(PrincipalName::new(name).unwrap());
        assert_eq!(of("strategy-sample"), Some("sample".parse().unwrap()));
        assert_eq!(of("operator-sample"), None);
        assert_eq!(of("strategy-"), None);
        assert_eq!(of("strategy-123456789012345678901"), None);
    }
}
