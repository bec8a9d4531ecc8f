//! An order id is judged once.

use portcullis_domain::{OrderId, Reason, Recent, Timestamp};

/// Also remembers the id, whatever the other rules say: an order that was refused is not permitted
/// later under the same id.
pub fn check(seen: &mut Recent<OrderId>, order: OrderId, now: Timestamp) -> Result<(), Reason> {
    seen.forget(now);
    if seen.contains(&order) {
        return Err(Reason::DuplicateOrder);
    }
    // What cannot be remembered could come again.
    seen.remember(order, now).map_err(|_| Reason::TooManyOrders)
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Span;

    use super::*;

    #[test]
    fn an_id_passes_once_and_not_at_all_when_it_cannot_be_remembered() {
        let mut seen = Recent::new(Span(10), 2);
        // order, now
        let cases = [
            (1, 100, Ok(())),
            (1, 101, Err(Reason::DuplicateOrder)),
            (2, 102, Ok(())),
            (3, 103, Err(Reason::TooManyOrders)),
            (3, 111, Ok(())),
            (2, 112, Err(Reason::DuplicateOrder)),
        ];
        for (order, now, expected) in cases {
            let got = check(&mut seen, OrderId([order; 16]), Timestamp(now));
            assert_eq!(got, expected, "order {order} at {now}");
        }
    }
}
