//! How much trading the day's drawdown allows.

use portcullis_domain::{Figure, Posture, Usd};

/// From which share of the limit on each posture holds, in percent, the strictest first.
const SHARES: [(u32, Posture); 3] = [
    (100, Posture::Emergency),
    (75, Posture::Defensive),
    (50, Posture::Cautious),
];

/// What a drawdown allows, whatever held before. A limit of zero allows nothing.
pub fn allowed(drawdown: Usd, limit: Figure) -> Posture {
    let reached = SHARES.iter().find(|(percent, _)| {
        let share = Usd::from(limit).percent(*percent);
        share.is_ok_and(|share| drawdown >= share)
    });
    reached.map_or(Posture::Normal, |(_, posture)| *posture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_share_of_the_limit_has_its_posture() {
        let cases = [
            ("0", Posture::Normal),
            ("49.99", Posture::Normal),
            ("50", Posture::Cautious),
            ("74.99", Posture::Cautious),
            ("75", Posture::Defensive),
            ("99.99", Posture::Defensive),
            ("100", Posture::Emergency),
            ("1000000", Posture::Emergency),
        ];
        let limit = "100".parse().unwrap();
        for (drawdown, expected) in cases {
            let got = allowed(drawdown.parse().unwrap(), limit);
            assert_eq!(got, expected, "{drawdown}");
        }
        assert_eq!(allowed(Usd::ZERO, Figure::ZERO), Posture::Emergency);
    }
}
