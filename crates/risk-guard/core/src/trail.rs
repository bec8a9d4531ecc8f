//! The rules that one order met, with what they measured.

use alloc::vec::Vec;

use portcullis_domain::{Check, Figure, Measure, Quantity, Reason, Rule, Unit, Usd};

/// What a rule found: whether it agrees, and what it measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Yes, or why not.
    pub answer: Result<(), Reason>,
    /// Its figures, where it has any.
    pub measure: Option<Measure>,
}

impl From<Result<(), Reason>> for Finding {
    fn from(answer: Result<(), Reason>) -> Self {
        Self {
            answer,
            measure: None,
        }
    }
}

impl Finding {
    /// A limit that may be reached and not passed.
    pub fn at_most(
        unit: Unit,
        used: impl Into<Amount>,
        limit: impl Into<Amount>,
        reason: Reason,
    ) -> Self {
        let (Amount(used), Amount(limit)) = (used.into(), limit.into());
        Self::measured(unit, used, limit, used <= limit, reason)
    }

    /// Figures beside an answer that was found otherwise.
    pub fn measured(unit: Unit, used: Figure, limit: Figure, agrees: bool, reason: Reason) -> Self {
        Self {
            answer: if agrees { Ok(()) } else { Err(reason) },
            measure: Some(Measure { unit, limit, used }),
        }
    }

    /// What cannot be established is denied.
    pub const fn unknown(reason: Reason) -> Self {
        Self {
            answer: Err(reason),
            measure: None,
        }
    }
}

/// A figure of any unit, on its way into a [`Measure`].
pub struct Amount(Figure);

impl From<Figure> for Amount {
    fn from(figure: Figure) -> Self {
        Self(figure)
    }
}

impl From<Usd> for Amount {
    fn from(usd: Usd) -> Self {
        Self(Figure::from(usd))
    }
}

impl From<Quantity> for Amount {
    fn from(quantity: Quantity) -> Self {
        Self(Figure::from(quantity))
    }
}

impl From<u64> for Amount {
    fn from(count: u64) -> Self {
        Self(Figure::count(count))
    }
}

/// Collects what an order meets.
#[derive(Debug)]
pub struct Trail {
    checks: Vec<Check>,
}

impl Trail {
    /// An order that met nothing yet.
    pub fn new() -> Self {
        Self {
            checks: Vec::with_capacity(Rule::ALL.len()),
        }
    }

    /// Notes what a rule found, and gives its answer.
    pub fn note(&mut self, rule: Rule, finding: impl Into<Finding>) -> Result<(), Reason> {
        let Finding { answer, measure } = finding.into();
        self.checks.push(Check { rule, measure });
        answer
    }

    /// Everything that it met, in order.
    pub fn into_checks(self) -> Vec<Check> {
        self.checks
    }
}
