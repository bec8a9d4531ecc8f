//! What the day's drawdown still allows: everything, orders of half the size, only what reduces a
//! position, or nothing.

use portcullis_domain::{Figure, Posture, Reason, Unit, Usd};

use crate::trail::Finding;

/// `notional` is what the order may be worth, `limit` what an order may be worth in normal times.
pub fn check(posture: Posture, notional: Usd, limit: Figure, reduces: bool) -> Finding {
    match posture {
        Posture::Normal => Ok(()).into(),
        Posture::Cautious => match Usd::from(limit).percent(50) {
            Ok(half) => {
                let (used, half) = (notional.into(), half.into());
                let agrees = reduces || used <= half;
                Finding::measured(Unit::Usd, used, half, agrees, Reason::PostureRestricts)
            }
            Err(_) => Finding::unknown(Reason::Overflow),
        },
        Posture::Defensive if reduces => Ok(()).into(),
        Posture::Defensive | Posture::Emergency => Finding::unknown(Reason::PostureRestricts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_posture_allows_less() {
        const REFUSED: Result<(), Reason> = Err(Reason::PostureRestricts);
        // posture, notional, reduces; an order may be worth 100
        let cases = [
            (Posture::Normal, "100", false, Ok(())),
            (Posture::Cautious, "50", false, Ok(())),
            (Posture::Cautious, "50.01", false, REFUSED),
            (Posture::Cautious, "50.01", true, Ok(())),
            (Posture::Defensive, "1", false, REFUSED),
            (Posture::Defensive, "100", true, Ok(())),
            (Posture::Emergency, "1", false, REFUSED),
            (Posture::Emergency, "1", true, REFUSED),
        ];
        for (posture, notional, reduces, expected) in cases {
            let limit = "100".parse().unwrap();
            let got = check(posture, notional.parse().unwrap(), limit, reduces);
            assert_eq!(got.answer, expected, "{posture} {notional} {reduces}");
        }
    }
}
