//! Exposure is limited to a share of the equity: gross exposure by the leverage, one instrument by
//! the concentration. Without equity nothing may be opened.

use portcullis_domain::{Bps, Figure, Reason, Unit, Usd};

use crate::trail::Finding;

/// `limit` is in basis points of the equity; the figures are in dollars, for people.
pub fn check(
    exposure: Usd,
    equity: Option<Usd>,
    limit: Bps,
    reduces: bool,
    reason: Reason,
) -> Finding {
    if reduces {
        return Ok(()).into();
    }
    let Some(equity) = equity else {
        return Finding::unknown(Reason::EquityUnknown);
    };
    match equity.max(Usd::ZERO).share(limit) {
        Ok(most) => Finding::at_most(Unit::Usd, exposure, Figure::from(most), reason),
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_is_bounded_by_a_share_of_the_equity() {
        const REFUSED: Result<(), Reason> = Err(Reason::Leverage);
        // exposure, equity, reduces; the limit is twice the equity
        let cases = [
            ("200", Some("100"), false, Ok(())),
            ("200.01", Some("100"), false, REFUSED),
            ("200.01", Some("100"), true, Ok(())),
            ("0.01", Some("0"), false, REFUSED),
            ("0.01", Some("-50"), false, REFUSED),
            ("1", None, false, Err(Reason::EquityUnknown)),
            ("1", None, true, Ok(())),
        ];
        for (exposure, equity, reduces, expected) in cases {
            let got = check(
                exposure.parse().unwrap(),
                equity.map(|equity| equity.parse().unwrap()),
                Bps::new(20_000).unwrap(),
                reduces,
                Reason::Leverage,
            );
            assert_eq!(got.answer, expected, "{exposure} {equity:?} {reduces}");
        }
    }
}
