//! What positions together may be worth is limited: all of them, long against short, or those of a
//! group that moves together. What only reduces a position passes.

use portcullis_domain::{Figure, Reason, Unit, Usd};

use crate::trail::Finding;

pub fn check(used: Usd, limit: Figure, reduces: bool, reason: Reason) -> Finding {
    let used = used.into();
    Finding::measured(Unit::Usd, used, limit, reduces || used <= limit, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_may_be_reached_and_what_reduces_passes() {
        let cases = [
            ("100", false, Ok(())),
            ("100.01", false, Err(Reason::GrossExposure)),
            ("100.01", true, Ok(())),
        ];
        for (used, reduces, expected) in cases {
            let limit = "100".parse().unwrap();
            let got = check(used.parse().unwrap(), limit, reduces, Reason::GrossExposure);
            assert_eq!(got.answer, expected, "{used} {reduces}");
        }
    }
}
