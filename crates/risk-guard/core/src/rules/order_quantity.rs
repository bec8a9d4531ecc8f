//! The size of one order in units is limited, however little they are worth.

use portcullis_domain::{Figure, Quantity, Reason, Unit};

use crate::trail::Finding;

pub fn check(quantity: Quantity, limit: Figure) -> Finding {
    Finding::at_most(Unit::Units, quantity, limit, Reason::OrderQuantity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_may_be_reached_and_not_passed() {
        let limit = "10".parse().unwrap();
        let cases = [
            ("0.1", Ok(())),
            ("10", Ok(())),
            ("10.000000000001", Err(Reason::OrderQuantity)),
        ];
        for (quantity, expected) in cases {
            let got = check(quantity.parse().unwrap(), limit);
            assert_eq!(got.answer, expected, "{quantity}");
        }
    }
}
