//! The life of an order, told through `step`: what it waits for and what becomes of it.
use crate::bench::{Bench, FACT, fill, id, places, refused, reports, ticket, venue, xrp};
use execution_core::{Effect, Input, PlaceOutcome, QueryOutcome, Record, VenueState};
use portcullis_domain::{Hash, OrderStatus, Reason, Span, VenueOrderId};
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::Text;

#[test]
fn an_order_leaves_only_with_journal_receipt_and_signature_whatever_their_order() {
    for last in 0..3 {
        let mut bench = Bench::ready();
        let order = order(1, NOW);
        let prepared = bench.permit(&order);
        assert!(matches!(prepared.as_slice(), [Effect::Prepare { .. }]));
        bench.step(Input::FactSealed {
            order: order.id,
            fact: FACT,
        });
        for turn in 1..=3 {
            let effects = match (last + turn) % 3 {
                0 => bench.step(Input::Durable(order.id)),
                1 => bench.receipt(1, FACT),
                _ => bench.step(Input::Signed {
                    order: order.id,
                    answer: Ok(ticket()),
                }),
            };
            assert_eq!(
                places(&effects),
                usize::from(turn == 3),
                "last {last}, turn {turn}"
            );
        }
        assert_eq!(bench.status_of(1), Some(OrderStatus::Sent));
    }
}

#[test]
fn a_receipt_for_another_fact_does_not_count() {
    let mut bench = Bench::ready();
    let order = order(1, NOW);
    bench.permit(&order);
    bench.step(Input::FactSealed {
        order: order.id,
        fact: FACT,
    });
    bench.step(Input::Durable(order.id));
    bench.step(Input::Signed {
        order: order.id,
        answer: Ok(ticket()),
    });
    assert_eq!(places(&bench.receipt(1, Hash([8; 32]))), 0);
    bench.later(Span::from_secs(3));
    bench.beat();
    let effects = bench.step(Input::Tick);
    assert_eq!(reports(&effects), refused(Reason::NoReceipt));
}

#[test]
fn what_is_missing_at_the_deadline_is_the_reason() {
    let missing: [(bool, bool, Reason); 3] = [
        (false, true, Reason::JournalUnwritable),
        (true, false, Reason::NoReceipt),
        (true, true, Reason::NoSignature),
    ];
    for (durable, receipt, reason) in missing {
        let mut bench = Bench::ready();
        let order = order(1, NOW);
        bench.permit(&order);
        bench.step(Input::FactSealed {
            order: order.id,
            fact: FACT,
        });
        if durable {
            bench.step(Input::Durable(order.id));
        }
        if receipt {
            bench.receipt(1, FACT);
        }
        bench.later(Span::from_secs(2));
        assert_eq!(reports(&bench.step(Input::Tick)), refused(reason));
        let late = bench.step(Input::Signed {
            order: order.id,
            answer: Ok(ticket()),
        });
        assert_eq!(places(&late), 0, "a signature after the end is not used");
    }
}

#[test]
fn the_same_order_is_never_taken_twice() {
    let mut bench = Bench::ready();
    bench.send(1);
    let again = bench.permit(&order(1, NOW));
    assert_eq!(places(&again), 0);
    assert!(matches!(again.as_slice(), [Effect::Notice(_)]), "{again:?}");
    let accepted = bench
        .journal
        .iter()
        .filter(|record| matches!(record, Record::Accepted { .. }))
        .count();
    assert_eq!(accepted, 1);
}

#[test]
fn a_time_out_is_a_doubt_that_is_queried_and_never_sent_again() {
    let mut bench = Bench::ready();
    bench.send(1);
    let outcome = PlaceOutcome::Unknown(Text::lossy("timed out"));
    bench.step(Input::Placed {
        order: id(1),
        outcome,
    });
    assert_eq!(bench.status_of(1), Some(OrderStatus::Unknown));

    let other = order(2, bench.now);
    assert_eq!(
        reports(&bench.permit(&other)),
        refused(Reason::OrderInDoubt)
    );

    let effects = bench.step(Input::Tick);
    assert!(effects.contains(&Effect::Query {
        order: id(1),
        symbol: xrp()
    }));
    let found = QueryOutcome::Found(venue(1, VenueState::Open, None));
    let effects = bench.step(Input::Queried {
        order: id(1),
        asked_at: NOW,
        outcome: found,
    });
    assert_eq!(places(&effects), 0);
    assert_eq!(bench.status_of(1), Some(OrderStatus::Open));
}

#[test]
fn not_found_ends_a_doubt_only_when_the_request_can_no_longer_arrive() {
    let mut bench = Bench::ready();
    bench.send(1);
    let outcome = PlaceOutcome::Unknown(Text::lossy("timed out"));
    bench.step(Input::Placed {
        order: id(1),
        outcome,
    });
    let not_found = |bench: &mut Bench| {
        let asked_at = bench.now;
        bench.step(Input::Queried {
            order: id(1),
            asked_at,
            outcome: QueryOutcome::NotFound,
        })
    };
    bench.later(Span::from_secs(8));
    assert_eq!(reports(&not_found(&mut bench)), [], "it may still arrive");
    bench.later(Span::from_secs(2));
    assert_eq!(
        reports(&not_found(&mut bench)),
        [],
        "its fills were not fetched since"
    );
    bench.later(Span::from_secs(1));
    bench.account(&[], &[], &[]);
    let ended = not_found(&mut bench);
    assert_eq!(
        reports(&ended),
        [(OrderStatus::Rejected, Some(Reason::NeverArrived))]
    );
}

#[test]
fn the_reconciliation_that_a_doubt_waits_for_is_asked_for_until_it_comes() {
    let mut bench = Bench::ready();
    bench.send(1);
    let outcome = PlaceOutcome::Unknown(Text::lossy("timed out"));
    bench.step(Input::Placed {
        order: id(1),
        outcome,
    });
    bench.later(Span::from_secs(10));
    bench.beat();
    let asked_at = bench.now;
    bench.step(Input::Queried {
        order: id(1),
        asked_at,
        outcome: QueryOutcome::NotFound,
    });
    // The first one may fail, or not begin because another is under way.
    for second in 0..3 {
        let effects = bench.step(Input::Tick);
        assert!(effects.contains(&Effect::Reconcile), "after {second} s");
        let effects = bench.step(Input::Tick);
        assert!(!effects.contains(&Effect::Reconcile), "once a second");
        bench.later(Span::from_secs(1));
        bench.beat();
    }
    bench.account(&[], &[], &[]);
    let effects = bench.step(Input::Tick);
    assert!(!effects.contains(&Effect::Reconcile), "it came");
}

#[test]
fn a_missing_order_is_asked_about_until_its_end_is_known() {
    let mut bench = Bench::ready();
    bench.send(1);
    let outcome = PlaceOutcome::Acknowledged(VenueOrderId::new("v").unwrap());
    bench.step(Input::Placed {
        order: id(1),
        outcome,
    });
    let query = Effect::Query {
        order: id(1),
        symbol: xrp(),
    };
    for second in 0..3 {
        bench.later(Span::from_secs(1));
        let asked = bench.account(&[], &[], &[]);
        assert!(asked.contains(&query), "after {second} s");
        // The query fails, and nothing else would ever speak of the order again.
        bench.step(Input::Queried {
            order: id(1),
            asked_at: bench.now,
            outcome: QueryOutcome::Failed,
        });
        // Neither does the next reconciliation succeed at once.
        for attempt in 0..2 {
            bench.later(Span::from_secs(1));
            let effects = bench.step(Input::Tick);
            assert!(effects.contains(&Effect::Reconcile), "{second}, {attempt}");
        }
    }
}

#[test]
fn a_fill_counts_once_and_the_last_one_ends_the_order() {
    let mut bench = Bench::ready();
    bench.send(1);
    let venue_order = VenueOrderId::new("venue-1").unwrap();
    bench.step(Input::Placed {
        order: id(1),
        outcome: PlaceOutcome::Acknowledged(venue_order),
    });
    bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    let again = bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    assert_eq!(again, []);
    let last = bench.step(Input::VenueFill(fill(1, "e2", "6", "0.5")));
    assert_eq!(reports(&last), [(OrderStatus::Filled, None)]);
    let status = bench.status();
    assert_eq!((status.fills, status.orders_open), (2, 0));
    let exposure = status.exposures.first().unwrap();
    assert_eq!(exposure.position, "10".parse().unwrap());
    assert_eq!((exposure.open_buy, exposure.open_sell), (None, None));
}

#[test]
fn a_cancelled_order_waits_for_its_fills_before_it_ends() {
    let mut bench = Bench::ready();
    bench.send(1);
    let early = bench.step(Input::Venue(venue(1, VenueState::Cancelled, Some("4"))));
    assert_eq!(
        reports(&early),
        [(OrderStatus::Open, None)],
        "4 of it are not booked yet"
    );
    bench.later(Span::from_secs(3));
    bench.beat();
    assert!(
        bench.step(Input::Tick).contains(&Effect::Reconcile),
        "late fills are fetched"
    );
    let done = bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    assert!(
        reports(&done).contains(&(OrderStatus::Cancelled, None)),
        "{done:?}"
    );
}

#[test]
fn a_late_fill_of_an_ended_order_is_still_booked() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::Venue(venue(1, VenueState::Cancelled, None)));
    assert_eq!(bench.status_of(1), None);
    bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    let status = bench.status();
    assert_eq!(
        status.exposures.first().unwrap().position,
        "4".parse().unwrap()
    );
}
