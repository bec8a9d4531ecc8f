//! What risk-guard limits and stops, in words and figures.

use portcullis_domain::{BreakerState, Figure, Posture, Rule, Timestamp, Unit};
use portcullis_wire::messages::{BreakerStatus, RiskAction, RiskStatus};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::{Value, json};

use super::render::seconds;
use super::{SILENT_AFTER, View};
use crate::output::{Output, Tone, rfc3339};

impl View {
    /// What restricts trading, on one line; `None` when nothing does.
    pub(super) fn risk_line(&self, now: Timestamp, output: &Output) -> Option<String> {
        let (at, status) = self.risk.as_ref()?;
        let mut parts = Vec::new();
        if status.posture > Posture::Normal {
            parts.push(output.paint(posture_tone(status.posture), status.posture.code()));
        }
        let open = open(status);
        if let Some(first) = open.first() {
            let more = match open.len() {
                1 => String::new(),
                count => format!(" and {} more", count.saturating_sub(1)),
            };
            let text = format!("breakers {} open ({}{more})", open.len(), first.breaker);
            parts.push(output.paint(Tone::Bad, &text));
        }
        let counted = [
            ("halts", status.halts.len()),
            ("suspended", status.suspended.len()),
            ("awaiting approval", status.pending.len()),
        ];
        for (name, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
            parts.push(output.paint(Tone::Attention, &format!("{name} {count}")));
        }
        let age = now.since(*at);
        if !parts.is_empty() && age >= SILENT_AFTER {
            parts.push(output.paint(Tone::Bad, &format!("STALE: {} old", seconds(age))));
        }
        (!parts.is_empty()).then(|| parts.join(" · "))
    }

    /// The same for scripts.
    pub(super) fn risk_json(&self) -> Value {
        let Some((at, status)) = &self.risk else {
            return Value::Null;
        };
        let open = open(status);
        let open: Vec<_> = open.iter().map(|one| one.breaker.to_string()).collect();
        let halts: Vec<_> = status
            .halts
            .iter()
            .map(|halt| halt.scope.to_string())
            .collect();
        json!({
            "at": rfc3339(*at),
            "posture": status.posture,
            "breakers_open": open,
            "halts": halts,
            "suspended": status.suspended,
            "awaiting_approval": status.pending.len(),
        })
    }
}

/// The breakers that let nothing or only probes through.
fn open(status: &RiskStatus) -> Vec<&BreakerStatus> {
    let breakers = status.breakers.iter();
    breakers
        .filter(|one| one.state != BreakerState::Closed)
        .collect()
}

fn posture_tone(posture: Posture) -> Tone {
    match posture {
        Posture::Normal => Tone::Good,
        Posture::Cautious => Tone::Attention,
        Posture::Defensive | Posture::Emergency => Tone::Bad,
    }
}

/// A posture and what it lets through.
#[must_use]
pub fn posture_words(posture: Posture, output: &Output) -> String {
    let words = match posture {
        Posture::Normal => "everything within the limits",
        Posture::Cautious => "orders of half the size",
        Posture::Defensive => "only what reduces a position",
        Posture::Emergency => "nothing; execution cancels what is open",
    };
    format!(
        "{}: {words}",
        output.paint(posture_tone(posture), posture.code())
    )
}

/// What an operator wants of risk-guard, in words.
#[must_use]
pub fn action_words(action: &RiskAction) -> String {
    match action {
        RiskAction::Halt { scope, until: None } => format!("halt {scope} until that is lifted"),
        RiskAction::Halt {
            scope,
            until: Some(until),
        } => {
            format!("halt {scope} until {}", rfc3339(*until))
        }
        RiskAction::LiftHalt { scope } => format!("lift the halt of {scope}"),
        RiskAction::OpenBreaker { breaker } => format!("open circuit breaker {breaker}"),
        RiskAction::CloseBreaker { breaker } => {
            format!("let probes through circuit breaker {breaker} (HALF_OPEN)")
        }
        RiskAction::SetLimit { rule, scope, value } => {
            format!(
                "set the limit {rule} of {scope} to {value}: {}",
                rule.words()
            )
        }
        RiskAction::RaisePosture => "raise the posture to what the drawdown allows".to_owned(),
        RiskAction::Release { strategy } => format!("let strategy {strategy} go on"),
        RiskAction::Approve { digest } => format!("approve {digest}"),
    }
}

/// A figure with its unit, for reading only.
#[must_use]
pub fn amount(unit: Unit, figure: Figure) -> String {
    let figure = figure.get();
    match unit {
        Unit::Usd => format!("{:.2} USD", figure.round_dp(2)),
        Unit::Units | Unit::Count => figure.normalize().to_string(),
        Unit::Bps => format!("{} bps", figure.round_dp(2).normalize()),
        Unit::Millis => format!("{} ms", figure.round_dp(0).normalize()),
        Unit::Times => format!("{} x", figure.round_dp(4).normalize()),
    }
}

/// What is left of a limit; negative when more is used than it allows.
#[must_use]
pub fn left_of(rule: Rule, limit: Figure, used: Figure) -> Option<Figure> {
    if is_floor(rule) {
        return None;
    }
    let left = limit.get().checked_sub(used.get())?;
    Figure::new(left).ok()
}

/// How much of a limit is used, in whole percent; `None` for what is no share of its limit.
#[must_use]
pub fn used_of(rule: Rule, limit: Figure, used: Figure) -> Option<u64> {
    if is_floor(rule) {
        return None;
    }
    percent(used.get(), limit.get())
}

/// Whether an order must have at least the limit, and not at most.
const fn is_floor(rule: Rule) -> bool {
    matches!(rule, Rule::OrderNotionalMin)
}

/// How much of a limit is used, in whole percent, rounded down; `None` for a limit of nothing.
#[must_use]
pub fn percent(used: Decimal, limit: Decimal) -> Option<u64> {
    let hundredfold = used.max(Decimal::ZERO).checked_mul(Decimal::ONE_HUNDRED)?;
    hundredfold.checked_div(limit)?.trunc().to_u64()
}

/// A share as a bar of so many places, with its number.
#[must_use]
pub fn bar(percent: u64, width: u64, output: &Output) -> String {
    let full = percent.min(100).saturating_mul(width).div_ceil(100);
    let bar: String = (0..width)
        .map(|at| if at < full { '#' } else { '.' })
        .collect();
    let tone = match percent {
        0..50 => Tone::Good,
        50..80 => Tone::Attention,
        80.. => Tone::Bad,
    };
    output.paint(tone, &format!("[{bar}] {percent} %"))
}

#[cfg(test)]
pub(crate) mod tests {
    use portcullis_domain::Span;
    use portcullis_wire::Text;
    use portcullis_wire::messages::HaltStatus;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    /// Nothing to tell.
    pub(crate) fn quiet() -> RiskStatus {
        RiskStatus {
            posture: Posture::Normal,
            generation: 0,
            breakers: vec![],
            halts: vec![],
            suspended: vec![],
            pending: vec![],
            limits: vec![],
            left_out: 0,
        }
    }

    fn breaker(name: &str, state: BreakerState) -> BreakerStatus {
        BreakerStatus {
            breaker: name.parse().unwrap(),
            state,
            failures: 1,
            outcomes: 2,
            consecutive: 1,
            recovers_at: None,
            probes_passed: 0,
        }
    }

    fn line(status: RiskStatus, now: Timestamp) -> Option<String> {
        let mut view = View::default();
        view.risk(NOW, status);
        view.risk_line(now, &Output::of(false, false, false))
    }

    #[test]
    fn the_dashboard_says_what_restricts_trading_and_nothing_when_nothing_does() {
        assert_eq!(line(quiet(), NOW), None);
        let closed = breaker("network:bybit", BreakerState::Closed);
        let failing = RiskStatus {
            breakers: vec![closed],
            ..quiet()
        };
        assert_eq!(
            line(failing, NOW),
            None,
            "a breaker that counts is closed still"
        );
        let halt = HaltStatus {
            scope: "all".parse().unwrap(),
            until: None,
            operator: "operator-dev".parse().unwrap(),
            reason: Text::lossy("drill"),
        };
        let mut status = RiskStatus {
            posture: Posture::Cautious,
            breakers: vec![breaker("slippage:bybit/sample", BreakerState::Open), closed],
            halts: vec![halt],
            ..quiet()
        };
        assert_eq!(
            line(status.clone(), NOW).unwrap(),
            "CAUTIOUS · breakers 1 open (slippage:bybit/sample) · halts 1"
        );
        status
            .breakers
            .push(breaker("hsm_failure", BreakerState::HalfOpen));
        assert_eq!(
            line(status, NOW.plus(Span::from_secs(4))).unwrap(),
            "CAUTIOUS · breakers 2 open (slippage:bybit/sample and 1 more) · halts 1 · \
             STALE: 4.0 s old"
        );
    }

    #[test]
    fn a_figure_carries_its_unit() {
        let cases = [
            (Unit::Usd, "1000", "1000.00 USD"),
            (Unit::Units, "0.500", "0.5"),
            (Unit::Count, "12", "12"),
            (Unit::Bps, "50", "50 bps"),
            (Unit::Millis, "1500", "1500 ms"),
            (Unit::Times, "2.50", "2.5 x"),
        ];
        for (unit, figure, expected) in cases {
            assert_eq!(amount(unit, figure.parse().unwrap()), expected);
        }
    }

    #[test]
    fn what_is_left_goes_below_zero_and_a_floor_has_nothing_left() {
        let figure = |text: &str| text.parse::<Figure>().unwrap();
        let (limit, over) = (figure("100"), figure("150"));
        let rule = Rule::OrderNotional;
        assert_eq!(left_of(rule, limit, over), Some(figure("-50")));
        assert_eq!(used_of(rule, limit, over), Some(150));
        assert_eq!(used_of(rule, figure("0"), over), None);
        assert_eq!(left_of(Rule::OrderNotionalMin, limit, over), None);
        assert_eq!(used_of(Rule::OrderNotionalMin, limit, over), None);
    }

    #[test]
    fn a_bar_is_never_longer_than_its_place() {
        let plain = Output::of(false, false, false);
        assert_eq!(bar(0, 10, &plain), "[..........] 0 %");
        assert_eq!(bar(1, 10, &plain), "[#.........] 1 %");
        assert_eq!(bar(250, 10, &plain), "[##########] 250 %");
    }

    #[test]
    fn every_action_is_said_in_words() {
        let scope = "strategy:sample".parse().unwrap();
        let halt = |until| RiskAction::Halt { scope, until };
        let until = Some(Timestamp::from_millis(60_000));
        let set = RiskAction::SetLimit {
            rule: Rule::OrderNotional,
            scope,
            value: "50".parse().unwrap(),
        };
        let cases = [
            (halt(None), "halt strategy:sample until that is lifted"),
            (
                halt(until),
                "halt strategy:sample until 1970-01-01T00:01:00.000Z",
            ),
            (
                set,
                "set the limit order_notional of strategy:sample to 50: the value of one order, \
                 at most",
            ),
        ];
        for (action, expected) in cases {
            assert_eq!(action_words(&action), expected);
        }
    }
}
