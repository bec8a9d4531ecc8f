//! A loss or a drawdown ends all trading but what reduces a position once it reaches its limit.

use portcullis_domain::{Figure, Reason, Unit, Usd};

use crate::trail::Finding;

/// `loss` is above zero for a loss; `None` is not known.
pub fn check(loss: Option<Usd>, limit: Figure, reduces: bool, reason: Reason) -> Finding {
    match loss {
        Some(loss) => {
            let used = loss.into();
            Finding::measured(Unit::Usd, used, limit, reduces || used < limit, reason)
        }
        None if reduces => Ok(()).into(),
        None => Finding::unknown(Reason::EquityUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_end_but_for_what_reduces() {
        const REFUSED: Result<(), Reason> = Err(Reason::DailyLoss);
        let cases = [
            (Some("-5"), false, Ok(())),
            (Some("99.99"), false, Ok(())),
            (Some("100"), false, REFUSED),
            (Some("100"), true, Ok(())),
            (None, false, Err(Reason::EquityUnknown)),
            (None, true, Ok(())),
        ];
        for (loss, reduces, expected) in cases {
            let loss = loss.map(|loss: &str| loss.parse().unwrap());
            let limit = "100".parse().unwrap();
            let got = check(loss, limit, reduces, Reason::DailyLoss);
            assert_eq!(got.answer, expected, "{loss:?} {reduces}");
        }
    }
}
