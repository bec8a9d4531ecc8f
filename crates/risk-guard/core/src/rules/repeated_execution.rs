//! A strategy that trades one way again and again waits for a person.
//!
//! Source: Commission Delegated Regulation (EU) 2017/589, article 15(3), the repeated automated
//! execution throttle.

use portcullis_domain::{Figure, Reason, Unit};

use crate::trail::Finding;

/// `fills` are those of the window so far: at its limit the next order is one too many.
pub fn check(fills: u64, limit: Figure, reduces: bool) -> Finding {
    let used = Figure::count(fills);
    let agrees = reduces || used < limit;
    Finding::measured(Unit::Count, used, limit, agrees, Reason::StrategySuspended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_fills_is_the_end_but_for_what_reduces() {
        let cases = [
            (4, false, Ok(())),
            (5, false, Err(Reason::StrategySuspended)),
            (5, true, Ok(())),
        ];
        for (fills, reduces, expected) in cases {
            let got = check(fills, Figure::count(5), reduces);
            assert_eq!(got.answer, expected, "{fills} {reduces}");
        }
    }
}
