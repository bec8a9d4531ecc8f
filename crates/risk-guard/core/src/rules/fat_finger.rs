//! An order is not many times larger than what is traded at a time. What only reduces a position may
//! be: it is as large as the position.

use portcullis_domain::{Figure, Quantity, Reason, Unit, multiple_of};

use crate::trail::Finding;

/// `limit` is so many times the average.
pub fn check(
    quantity: Quantity,
    average: Option<Quantity>,
    limit: Figure,
    reduces: bool,
) -> Finding {
    let Some(average) = average else {
        return if reduces {
            Ok(()).into()
        } else {
            Finding::unknown(Reason::NoRecentTrades)
        };
    };
    match multiple_of(quantity, average) {
        Ok(times) => {
            let agrees = reduces || times <= limit;
            Finding::measured(Unit::Times, times, limit, agrees, Reason::FatFinger)
        }
        Err(_) => Finding::unknown(Reason::Overflow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_compared_with_the_average_trade() {
        // quantity, average, reduces
        let cases = [
            ("200", Some("10"), false, Ok(())),
            ("200.1", Some("10"), false, Err(Reason::FatFinger)),
            ("200.1", Some("10"), true, Ok(())),
            ("1", None, false, Err(Reason::NoRecentTrades)),
            ("1", None, true, Ok(())),
        ];
        for (quantity, average, reduces, expected) in cases {
            let got = check(
                quantity.parse().unwrap(),
                average.map(|average| average.parse().unwrap()),
                Figure::count(20),
                reduces,
            );
            assert_eq!(got.answer, expected, "{quantity} {average:?} {reduces}");
        }
    }
}
