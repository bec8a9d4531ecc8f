//! The way of one order, from what the services say about it.

use portcullis_domain::{Fill, OrderId, OrderStatus, Quantity, Reason, Usd};
use portcullis_wire::messages::{Decision, ExecutionReport, Outcome, Verdict};

/// Where the order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The brain has not answered.
    Unanswered,
    /// It was refused, by whom and why.
    Refused {
        /// Who refused it.
        by: &'static str,
        /// Why.
        reason: Reason,
        /// In words, where somebody gave any.
        detail: String,
    },
    /// It is between the services, or between execution and the venue.
    OnItsWay,
    /// The venue may or may not have it.
    InDoubt,
    /// The venue has it.
    Resting,
    /// Nothing more comes of it.
    Over,
}

/// One step of the way, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who said so.
    pub source: &'static str,
    /// What.
    pub text: String,
}

/// What is known about one order.
#[derive(Clone, Debug)]
pub struct Way {
    order: OrderId,
    answered: bool,
    refusal: Option<(&'static str, Reason, String)>,
    report: Option<ExecutionReport>,
    fills: Vec<Fill>,
}

impl Way {
    /// Of an order that nobody has answered yet.
    pub fn new(order: OrderId) -> Self {
        Self {
            order,
            answered: false,
            refusal: None,
            report: None,
            fills: Vec::new(),
        }
    }

    /// The order's id.
    pub fn order(&self) -> OrderId {
        self.order
    }

    /// The last state that execution reported.
    pub fn status(&self) -> Option<OrderStatus> {
        self.report.as_ref().map(|report| report.status)
    }

    /// How much filled, as execution reported it.
    pub fn filled(&self) -> Option<Quantity> {
        self.report.as_ref().and_then(|report| report.filled)
    }

    /// The fills.
    pub fn fills(&self) -> &[Fill] {
        &self.fills
    }

    /// The brain answered a proposal.
    pub fn decision(&mut self, decision: &Decision) -> Option<Step> {
        if decision.order != self.order {
            return None;
        }
        self.answered = true;
        Some(match decision.outcome {
            Outcome::Passed => step("brain", format!("made order {}", decision.order)),
            Outcome::Refused(reason) => self.refuse("brain", reason, ""),
        })
    }

    /// Risk-guard answered an order.
    pub fn verdict(&mut self, verdict: &Verdict) -> Option<Step> {
        if verdict.order != self.order {
            return None;
        }
        self.answered = true;
        Some(match verdict.outcome {
            Outcome::Passed => step("risk-guard", "permitted it".to_owned()),
            Outcome::Refused(reason) => self.refuse("risk-guard", reason, ""),
        })
    }

    /// Execution said where an order stands.
    pub fn report(&mut self, report: &ExecutionReport) -> Option<Step> {
        // An order that is over stays so, whatever comes late.
        let over = self.status().is_some_and(OrderStatus::is_terminal);
        if report.order != self.order || over {
            return None;
        }
        self.report = Some(report.clone());
        let detail = report.detail.as_str();
        if matches!(report.status, OrderStatus::Refused | OrderStatus::Rejected)
            && let Some(reason) = report.reason
        {
            let by = if report.status == OrderStatus::Refused {
                "execution"
            } else {
                "the venue"
            };
            return Some(self.refuse(by, reason, detail));
        }
        let filled = report.filled.map_or_else(String::new, |filled| {
            format!(", filled {filled} of {}", report.quantity)
        });
        let colon = if detail.is_empty() { "" } else { ": " };
        Some(step(
            "execution",
            format!("{}{filled}{colon}{detail}", report.status),
        ))
    }

    /// An order filled.
    pub fn fill(&mut self, fill: &Fill) -> Option<Step> {
        if fill.order != self.order {
            return None;
        }
        if self
            .fills
            .iter()
            .any(|known| known.execution == fill.execution)
        {
            return None;
        }
        self.fills.push(fill.clone());
        let text = format!(
            "filled {} at {}, fee {} USD",
            fill.quantity, fill.price, fill.fee
        );
        Some(step("fill", text))
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        if let Some((by, reason, detail)) = &self.refusal {
            return Standing::Refused {
                by,
                reason: *reason,
                detail: detail.clone(),
            };
        }
        match self.status() {
            None if !self.answered => Standing::Unanswered,
            None | Some(OrderStatus::Accepted | OrderStatus::Sent) => Standing::OnItsWay,
            Some(OrderStatus::Unknown) => Standing::InDoubt,
            Some(OrderStatus::Open) => Standing::Resting,
            Some(
                OrderStatus::Filled
                | OrderStatus::Cancelled
                | OrderStatus::Rejected
                | OrderStatus::Refused,
            ) => Standing::Over,
        }
    }

    /// Whether there is nothing more to wait for: its end, or for somebody who does not wait for
    /// that, the venue's word that it has it.
    pub fn is_enough(&self, until_over: bool) -> bool {
        match self.standing() {
            Standing::Refused { .. } => true,
            // The fills are told of on their own; the report may come before them.
            Standing::Over => self.is_told_of_all_fills(),
            Standing::Resting => !until_over,
            Standing::Unanswered | Standing::OnItsWay | Standing::InDoubt => false,
        }
    }

    /// The end of an order that is over, in words.
    pub fn result(&self) -> String {
        let Some(report) = &self.report else {
            return "nothing is known".to_owned();
        };
        let fees = self
            .fills
            .iter()
            .try_fold(Usd::ZERO, |sum, fill| sum.plus(fill.fee));
        let fees = fees.map_or_else(|_| String::new(), |fees| format!(", fees {fees} USD"));
        match (report.status, report.filled) {
            (OrderStatus::Filled, _) => format!("filled: {}{fees}", report.quantity),
            (status, Some(filled)) => {
                format!(
                    "{status} after {filled} of {} filled{fees}",
                    report.quantity
                )
            }
            (status, None) => format!("{status}; nothing filled"),
        }
    }

    fn is_told_of_all_fills(&self) -> bool {
        let mut told: Option<Quantity> = None;
        for fill in &self.fills {
            told = match told {
                None => Some(fill.quantity),
                Some(sum) => sum.plus(fill.quantity).ok(),
            };
        }
        told == self.filled()
    }

    fn refuse(&mut self, by: &'static str, reason: Reason, detail: &str) -> Step {
        if self.refusal.is_none() {
            self.refusal = Some((by, reason, detail.to_owned()));
        }
        step(by, format!("refused it: {reason}"))
    }
}

fn step(source: &'static str, text: String) -> Step {
    Step { source, text }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Side, Timestamp, VenueExecutionId, VenueOrderId};
    use portcullis_wire::Text;

    use super::*;

    const ORDER: OrderId = OrderId([2; 16]);

    fn decision(outcome: Outcome) -> Decision {
        Decision {
            proposal: vec![],
            order: ORDER,
            outcome,
        }
    }

    fn verdict(outcome: Outcome) -> Verdict {
        Verdict {
            order_frame: vec![],
            order: ORDER,
            outcome,
            checks: vec![],
        }
    }

    fn report(
        status: OrderStatus,
        filled: Option<&str>,
        reason: Option<Reason>,
    ) -> ExecutionReport {
        ExecutionReport {
            order: ORDER,
            strategy: "trader".parse().unwrap(),
            symbol: "XRPUSDT".parse().unwrap(),
            side: Side::Buy,
            quantity: "10".parse().unwrap(),
            filled: filled.map(|filled| filled.parse().unwrap()),
            status,
            venue_order: None,
            reason,
            detail: Text::lossy(""),
        }
    }

    fn fill(execution: &str, quantity: &str) -> Fill {
        Fill {
            execution: VenueExecutionId::new(execution).unwrap(),
            order: ORDER,
            venue_order: VenueOrderId::new("v").unwrap(),
            symbol: "XRPUSDT".parse().unwrap(),
            side: Side::Buy,
            price: "0.5".parse().unwrap(),
            quantity: quantity.parse().unwrap(),
            fee: "0.01".parse().unwrap(),
            venue_time: Timestamp(0),
        }
    }

    #[test]
    fn an_order_is_followed_to_its_last_fill() {
        let mut way = Way::new(ORDER);
        assert_eq!(way.standing(), Standing::Unanswered);
        assert!(way.decision(&decision(Outcome::Passed)).is_some());
        way.verdict(&verdict(Outcome::Passed));
        way.report(&report(OrderStatus::Sent, None, None));
        assert_eq!(way.standing(), Standing::OnItsWay);
        way.report(&report(OrderStatus::Filled, Some("10"), None));
        assert_eq!(way.standing(), Standing::Over);
        way.fill(&fill("a", "4"));
        assert!(way.fill(&fill("a", "4")).is_none(), "a fill counts once");
        assert!(!way.is_enough(false), "4 of 10 were told of");
        way.fill(&fill("b", "6"));
        assert!(way.is_enough(true));
        assert_eq!(way.result(), "filled: 10, fees 0.02 USD");
    }

    #[test]
    fn somebody_elses_answer_changes_nothing() {
        let mut way = Way::new(ORDER);
        let refused = decision(Outcome::Refused(Reason::RateLimit));
        let other = Decision {
            order: OrderId([9; 16]),
            ..refused
        };
        assert_eq!(way.decision(&other), None);
        assert_eq!(way.standing(), Standing::Unanswered);
    }

    #[test]
    fn facts_may_overtake_each_other() {
        let mut way = Way::new(ORDER);
        way.report(&report(OrderStatus::Cancelled, Some("4"), None));
        way.fill(&fill("a", "4"));
        way.decision(&decision(Outcome::Passed));
        assert_eq!(way.standing(), Standing::Over);
        assert_eq!(
            way.result(),
            "cancelled after 4 of 10 filled, fees 0.01 USD"
        );
        way.report(&report(OrderStatus::Open, None, None));
        assert_eq!(way.standing(), Standing::Over, "what is over stays so");
    }

    #[test]
    fn a_refusal_names_who_and_why() {
        let refused = |by, reason| Standing::Refused {
            by,
            reason,
            detail: String::new(),
        };
        let mut way = Way::new(ORDER);
        way.decision(&decision(Outcome::Refused(Reason::BudgetExceeded)));
        assert_eq!(way.standing(), refused("brain", Reason::BudgetExceeded));

        let mut way = Way::new(ORDER);
        way.decision(&decision(Outcome::Passed));
        way.verdict(&verdict(Outcome::Refused(Reason::PriceCollar)));
        assert_eq!(way.standing(), refused("risk-guard", Reason::PriceCollar));

        let mut way = Way::new(ORDER);
        way.decision(&decision(Outcome::Passed));
        way.report(&report(
            OrderStatus::Rejected,
            None,
            Some(Reason::InsufficientFunds),
        ));
        assert_eq!(
            way.standing(),
            refused("the venue", Reason::InsufficientFunds)
        );
        assert!(way.is_enough(false));
    }

    #[test]
    fn doubt_is_neither_success_nor_failure() {
        let mut way = Way::new(ORDER);
        way.decision(&decision(Outcome::Passed));
        way.report(&report(OrderStatus::Unknown, None, None));
        assert_eq!(way.standing(), Standing::InDoubt);
        assert!(!way.is_enough(false));
        way.report(&report(OrderStatus::Open, None, None));
        assert_eq!(way.standing(), Standing::Resting);
        assert!(way.is_enough(false) && !way.is_enough(true));
    }
}
