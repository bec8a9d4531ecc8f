//! The venue's account against ours: what differs stops its own scope, says why, and goes on when both
//! agree again.
use crate::bench::{Bench, fill, id, places, reports, settings, venue, xrp};
use execution_core::{
    Effect, Execution, ForeignOrders, Input, Movement, MovementKind, PlaceOutcome, QueryOutcome,
    Record, VenueOrder, VenueState,
};
use portcullis_domain::{
    Exposure, KillCause, KillState, OrderId, Reason, Span, Symbol, Timestamp, Usd, Venue,
    VenueOrderId,
};
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;

/// Where it halts or goes on, as the notices say.
fn halts(effects: &[Effect]) -> Vec<(Option<Symbol>, bool, String)> {
    let said = effects.iter().filter_map(|effect| match effect {
        Effect::Notice(Notice::VenueHalt {
            symbol,
            is_over,
            evidence,
            ..
        }) => Some((*symbol, *is_over, evidence.as_str().to_owned())),
        _ => None,
    });
    said.collect()
}

fn held(quantity: &str) -> (Symbol, Exposure) {
    (xrp(), quantity.parse().unwrap())
}

fn movement(id: &str, kind: MovementKind, amount: &str) -> Movement {
    Movement {
        id: Text::lossy(id),
        kind,
        symbol: None,
        amount: amount.parse().unwrap(),
        at: NOW,
    }
}

fn foreign(symbol: &str) -> VenueOrder {
    VenueOrder {
        order: None,
        symbol: Symbol::new(symbol).unwrap(),
        venue_order: VenueOrderId::new("theirs").unwrap(),
        ..venue(77, VenueState::Open, None)
    }
}

/// Whether an order of `xrp` would be refused, and why.
fn answer(bench: &mut Bench, number: u64) -> Option<Reason> {
    let order = order(number, bench.now);
    let effects = bench.permit(&order);
    reports(&effects).first().and_then(|(_, reason)| *reason)
}

#[test]
fn a_difference_stops_its_instrument_until_both_agree_again() {
    let mut bench = Bench::ready();
    let effects = bench.account(&[], &[], &[held("1")]);
    let evidence = "position of XRPUSDT: 1 at the venue, 0 here".to_owned();
    assert_eq!(halts(&effects), [(Some(xrp()), false, evidence)]);
    assert_eq!(answer(&mut bench, 1), Some(Reason::VenueDiffers));
    let status = bench.status();
    assert!(status.may_trade, "another instrument may be traded");
    assert_eq!(status.halts.len(), 1);

    let again = bench.account(&[], &[], &[held("1")]);
    assert_eq!(halts(&again), [], "said once");
    let over = bench.account(&[], &[], &[]);
    assert!(
        matches!(halts(&over).as_slice(), [(_, true, _)]),
        "{over:?}"
    );
    assert_eq!(answer(&mut bench, 2), None);
}

#[test]
fn an_order_that_is_not_ours_stops_its_instrument_and_is_cancelled_by_policy() {
    for policy in [ForeignOrders::Report, ForeignOrders::Cancel] {
        let mut bench = Bench::ready();
        bench.execution = Execution::new(
            execution_core::Settings {
                foreign_orders: policy,
                ..settings()
            },
            KillState::Armed,
            NOW,
        );
        bench.journal.clear();
        bench.step(Input::Tick);
        bench.step(Input::StreamUp);
        bench.account(&[], &[], &[]);
        bench.quote("0.49", "0.51");
        bench.beat();
        let effects = bench.account(&[foreign("BTCUSDT")], &[], &[]);
        let btc = Symbol::new("BTCUSDT").unwrap();
        let evidence = "order theirs at the venue is not ours".to_owned();
        assert_eq!(halts(&effects), [(Some(btc), false, evidence)]);
        let cancelled = effects.contains(&Effect::CancelForeign {
            symbol: btc,
            venue_order: VenueOrderId::new("theirs").unwrap(),
        });
        assert_eq!(cancelled, policy == ForeignOrders::Cancel);
        assert_eq!(answer(&mut bench, 1), None, "XRP goes on");

        bench.account(&[foreign("XRPUSDT")], &[], &[]);
        assert_eq!(answer(&mut bench, 2), Some(Reason::VenueDiffers));
    }
}

#[test]
fn an_order_of_ours_that_was_altered_at_the_venue_stops_its_instrument() {
    type Alter = fn(&mut VenueOrder);
    let cases: [(&str, Alter); 4] = [
        ("quantity", |update| update.quantity = "11".parse().unwrap()),
        ("price", |update| {
            update.limit_price = Some("0.6".parse().unwrap())
        }),
        ("no price", |update| update.limit_price = None),
        ("side", |update| update.side = update.side.opposite()),
    ];
    for (name, alter) in cases {
        let mut bench = Bench::ready();
        bench.send(1);
        let mut update = venue(1, VenueState::Open, None);
        alter(&mut update);
        let effects = bench.step(Input::Venue(update.clone()));
        let said = halts(&effects);
        assert_eq!(said.len(), 1, "{name}");
        assert!(said[0].2.contains("at the venue"), "{name}: {}", said[0].2);
        assert_eq!(answer(&mut bench, 2), Some(Reason::VenueDiffers), "{name}");
        // The next look at the account does not take it for settled.
        bench.later(Span::from_millis(1));
        bench.account(&[update], &[], &[]);
        assert_eq!(answer(&mut bench, 3), Some(Reason::VenueDiffers), "{name}");
    }
}

#[test]
fn an_account_from_before_an_alteration_was_told_does_not_end_its_halt() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.later(Span::from_millis(1));
    let asked_at = bench.now;
    bench.later(Span::from_millis(1));
    let update = venue(1, VenueState::Open, None);
    bench.step(Input::Venue(VenueOrder {
        quantity: "11".parse().unwrap(),
        ..update.clone()
    }));
    let older = bench.step(Input::Account {
        asked_at,
        open: vec![update.clone()],
        fills: vec![],
        positions: vec![],
        cash: bench.cash,
        movements: vec![],
    });
    assert_eq!(halts(&older), [], "it says nothing of what came later");
    assert_eq!(answer(&mut bench, 2), Some(Reason::VenueDiffers));

    // The next one is asked for within a second, not half a minute.
    bench.later(Span::from_secs(1));
    let effects = bench.step(Input::Tick);
    assert!(effects.contains(&Effect::Reconcile), "{effects:?}");
    bench.account(&[update], &[], &[]);
    bench.quote("0.49", "0.51");
    bench.beat();
    assert_eq!(answer(&mut bench, 3), None);
}

#[test]
fn money_that_no_fill_and_no_movement_explains_stops_everything() {
    let mut bench = Bench::ready();
    bench.cash = "-0.02".parse().unwrap();
    let effects = bench.account(&[], &[], &[]);
    let evidence = "cash: -0.02 USD at the venue, 0 here".to_owned();
    assert_eq!(halts(&effects), [(None, false, evidence)]);
    let status = bench.status();
    assert_eq!(status.reason, Some(Reason::VenueDiffers));
    assert!(!status.may_trade);
    bench.cash = "0.01".parse().unwrap();
    bench.account(&[], &[], &[]);
    assert_eq!(bench.status().reason, None, "a cent is rounding");
}

#[test]
fn funding_is_a_loss_and_a_deposit_is_not() {
    let mut bench = Bench::ready();
    let moved = [
        movement("f1", MovementKind::Funding, "-7.5"),
        movement("t1", MovementKind::Transfer, "1000"),
    ];
    bench.account_moved(&[], &[], &[], &moved);
    let status = bench.status();
    assert_eq!(status.loss, "7.5".parse::<Usd>().unwrap());
    assert_eq!(status.reason, None, "the cash agrees: {:?}", status.halts);
    // Told again it is not booked again.
    bench.step(Input::Account {
        asked_at: bench.now,
        open: vec![],
        fills: vec![],
        positions: vec![],
        cash: bench.cash,
        movements: moved.to_vec(),
    });
    let status = bench.status();
    assert_eq!(status.loss, "7.5".parse::<Usd>().unwrap());
    assert_eq!(status.reason, None);
}

#[test]
fn funding_alone_can_reach_the_limit() {
    let mut bench = Bench::ready();
    let moved = [movement("f1", MovementKind::Funding, "-500")];
    let effects = bench.account_moved(&[], &[], &[], &moved);
    let latched = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Latch(KillCause::HardLoss, _)));
    assert!(latched, "{effects:?}");
}

#[test]
fn a_fill_that_comes_while_the_account_is_read_is_no_difference() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::Venue(venue(1, VenueState::Open, None)));
    bench.later(Span::from_secs(31));
    bench.beat();
    bench.quote("0.49", "0.51");
    let asked = bench.step(Input::Tick);
    assert!(asked.contains(&Effect::Reconcile));
    let before = bench.cash;
    // The venue reads its account, then the order fills, and the stream is faster than the answer.
    bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    let answered = |cash, positions: &[(Symbol, Exposure)], fills| Input::Account {
        asked_at: NOW.plus(Span::from_secs(31)),
        open: vec![venue(1, VenueState::Open, None)],
        fills,
        positions: positions.to_vec(),
        cash,
        movements: vec![],
    };
    let effects = bench.step(answered(before, &[], vec![]));
    assert_eq!(halts(&effects), [], "an account from before the fill");
    assert_eq!(bench.status().reason, None);

    bench.later(Span::from_secs(31));
    bench.step(Input::Tick);
    bench.step(Input::VenueFill(fill(1, "e2", "1", "0.5")));
    let cash = bench.cash;
    let fills = vec![fill(1, "e1", "4", "0.5"), fill(1, "e2", "1", "0.5")];
    let effects = bench.step(answered(cash, &[held("5")], fills));
    assert_eq!(halts(&effects), [], "an account from after it");
}

#[test]
fn a_kill_is_confirmed_only_by_a_venue_with_nothing_open() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::Venue(venue(1, VenueState::Open, None)));
    bench.later(Span::from_millis(100));
    let killed_at = bench.now;
    bench.step(Input::Killed {
        cause: KillCause::Operator,
        detail: Text::lossy("drill"),
    });
    let confirmed = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Notice(Notice::KillConfirmed {
                venue,
                orders,
                after_ms,
            }) => Some((*venue, *orders, *after_ms)),
            _ => None,
        })
    };
    let asked = bench.step(Input::Tick);
    assert!(asked.contains(&Effect::Reconcile), "at once");
    let open = bench.account(&[venue(1, VenueState::Open, None)], &[], &[]);
    assert_eq!(confirmed(&open), None);
    bench.step(Input::Venue(venue(1, VenueState::Cancelled, None)));
    assert!(bench.execution.is_idle());
    assert_eq!(
        bench.status().kill_confirmed_ms,
        None,
        "our word is not the venue's"
    );
    // An account from before the kill proves nothing.
    let input = |asked_at: Timestamp| Input::Account {
        asked_at,
        open: vec![],
        fills: vec![],
        positions: vec![],
        cash: Usd::ZERO,
        movements: vec![],
    };
    let old = bench.step(input(killed_at.minus(Span(1))));
    assert_eq!(confirmed(&old), None);
    bench.later(Span::from_millis(250));
    let now = bench.now;
    let proven = bench.step(input(now));
    assert_eq!(confirmed(&proven), Some((Venue::Bybit, 1, 250)));
    assert_eq!(bench.status().kill_confirmed_ms, Some(250));
    let again = bench.step(input(now));
    assert_eq!(confirmed(&again), None, "said once");
}

#[test]
fn a_kill_cancels_what_is_open_there_whoever_placed_it() {
    let mut bench = Bench::ready();
    bench.step(Input::Killed {
        cause: KillCause::Operator,
        detail: Text::lossy("drill"),
    });
    let effects = bench.account(&[foreign("BTCUSDT")], &[], &[]);
    let symbol = Symbol::new("BTCUSDT").unwrap();
    assert!(
        effects.contains(&Effect::CancelAll { symbol }),
        "{effects:?}"
    );
    assert_eq!(bench.status().kill_confirmed_ms, None);
}

/// A large order that the venue acknowledged: the first of 3 confirmations within 5 minutes.
fn large(bench: &mut Bench) -> OrderId {
    let mut order = order(1, bench.now);
    order.quantity = "20000".parse().unwrap();
    bench.permit(&order);
    assert_eq!(places(&bench.finish(&order)), 1);
    bench.step(Input::Placed {
        order: order.id,
        outcome: PlaceOutcome::Acknowledged(VenueOrderId::new("venue-1").unwrap()),
    });
    order.id
}

fn about_large(state: VenueState) -> VenueOrder {
    VenueOrder {
        quantity: "20000".parse().unwrap(),
        ..venue(1, state, None)
    }
}

fn asks(effects: &[Effect]) -> bool {
    let symbol = xrp();
    effects.contains(&Effect::Query {
        order: id(1),
        symbol,
    })
}

#[test]
fn an_order_is_confirmed_by_answer_stream_and_query_as_its_value_asks() {
    let mut bench = Bench::ready();
    let order = large(&mut bench);
    bench.step(Input::Venue(about_large(VenueState::Open)));
    assert_eq!(bench.status().orders_unconfirmed, 1);
    bench.later(Span::from_secs(2));
    assert!(asks(&bench.step(Input::Tick)), "the third is asked for");
    bench.step(Input::Queried {
        order,
        asked_at: bench.now,
        outcome: QueryOutcome::Found(about_large(VenueState::Open)),
    });
    assert_eq!(bench.status().orders_unconfirmed, 0);

    // A small one needs one, by whichever way.
    let mut bench = Bench::ready();
    bench.send(1);
    assert_eq!(bench.status().orders_unconfirmed, 1);
    bench.step(Input::Venue(venue(1, VenueState::Open, None)));
    assert_eq!(bench.status().orders_unconfirmed, 0);
}

#[test]
fn an_order_that_is_not_confirmed_in_time_stops_its_instrument_until_it_is() {
    let mut bench = Bench::ready();
    let order = large(&mut bench);
    let mut said = Vec::new();
    for second in 0..301_u64 {
        bench.later(Span::from_secs(1));
        bench.beat();
        bench.quote("0.49", "0.51");
        let effects = bench.step(Input::Tick);
        if asks(&effects) {
            said.push(second + 1);
        }
        let overdue = reports(&effects)
            .iter()
            .any(|(_, reason)| *reason == Some(Reason::Unconfirmed));
        assert_eq!(overdue, second == 299, "at {second} s");
        if overdue {
            assert!(matches!(halts(&effects).as_slice(), [(Some(_), false, _)]));
        }
    }
    assert_eq!(said, [2, 75, 150, 300]);
    // The account lists it: that is the second.
    bench.account(&[about_large(VenueState::Open)], &[], &[]);
    assert_eq!(answer(&mut bench, 2), Some(Reason::Unconfirmed));
    let effects = bench.step(Input::Queried {
        order,
        asked_at: bench.now,
        outcome: QueryOutcome::Found(about_large(VenueState::Open)),
    });
    assert!(matches!(halts(&effects).as_slice(), [(Some(_), true, _)]));
    assert_eq!(answer(&mut bench, 3), None);
}

#[test]
fn what_was_refused_needs_no_confirmation() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::Placed {
        order: id(1),
        outcome: PlaceOutcome::Rejected(Reason::InsufficientFunds, Text::lossy("")),
    });
    assert_eq!(bench.status().orders_unconfirmed, 0);
}

#[test]
fn the_cash_of_before_is_taken_once_and_survives_a_restart() {
    let mut bench = Bench::ready();
    let begun = |record: &&Record| matches!(record, Record::CashBegan(_));
    assert_eq!(bench.journal.iter().filter(begun).count(), 1);
    let mut again = Execution::new(settings(), KillState::Armed, bench.now);
    for record in &bench.journal {
        again.replay(record).unwrap();
    }
    bench.execution = again;
    bench.step(Input::StreamUp);
    bench.beat();
    bench.cash = "-3".parse().unwrap();
    bench.account(&[], &[], &[]);
    assert_eq!(bench.status().reason, Some(Reason::VenueDiffers));
}

#[test]
fn an_account_that_cannot_be_read_any_more_stops_everything() {
    let mut bench = Bench::ready();
    bench.later(Span::from_secs(90));
    bench.quote("0.49", "0.51");
    bench.beat();
    assert_eq!(bench.status().reason, None);
    bench.later(Span(1));
    bench.beat();
    bench.quote("0.49", "0.51");
    assert_eq!(bench.status().reason, Some(Reason::NotReconciled));
}

#[test]
fn an_order_that_is_over_here_and_open_there_stops_its_instrument() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::Placed {
        order: id(1),
        outcome: PlaceOutcome::Rejected(Reason::VenueRateLimit, Text::lossy("")),
    });
    let open = [venue(1, VenueState::Open, None)];
    bench.later(Span::from_secs(1));
    let effects = bench.account(&open, &[], &[]);
    assert_eq!(halts(&effects), [], "the venue's lists lag");
    bench.later(Span::from_secs(5));
    let effects = bench.account(&open, &[], &[]);
    let said = halts(&effects);
    assert!(
        said[0].2.contains("is over here and open at the venue"),
        "{said:?}"
    );
    bench.step(Input::Killed {
        cause: KillCause::Operator,
        detail: Text::lossy("drill"),
    });
    let effects = bench.account(&open, &[], &[]);
    assert!(effects.contains(&Effect::CancelAll { symbol: xrp() }));
}

#[test]
fn an_id_that_is_open_twice_is_ours_once() {
    let mut bench = Bench::ready();
    bench.send(1);
    let open = venue(1, VenueState::Open, None);
    let effects = bench.account(&[open.clone(), open], &[], &[]);
    assert_eq!(halts(&effects).len(), 1);
}

#[test]
fn money_that_is_missed_beside_a_position_that_differs_stops_everything_when_it_stays_so() {
    let mut bench = Bench::ready();
    bench.cash = "-50".parse().unwrap();
    let first = bench.account(&[], &[], &[held("1")]);
    assert!(matches!(halts(&first).as_slice(), [(Some(_), false, _)]));
    let second = bench.account(&[], &[], &[held("1")]);
    assert!(matches!(halts(&second).as_slice(), [(None, false, _)]));
}

#[test]
fn what_the_stream_tells_moves_no_window() {
    let mut bench = Bench::ready();
    let since = bench.execution.fills_since();
    bench.send(1);
    let mut late = fill(1, "e1", "1", "0.5");
    late.venue_time = NOW.plus(Span::from_secs(1_000_000));
    bench.step(Input::VenueFill(late));
    assert_eq!(bench.execution.fills_since(), since);
    bench.later(Span::from_secs(30));
    bench.account(&[venue(1, VenueState::Open, Some("1"))], &[], &[held("1")]);
    let moved = bench.execution.fills_since();
    assert_eq!(moved, since.plus(Span::from_secs(30)));
    // After a restart it is what both last agreed on, on record.
    let mut again = Execution::new(
        settings(),
        KillState::Armed,
        bench.now.plus(Span::from_secs(9_999)),
    );
    for record in &bench.journal {
        again.replay(record).unwrap();
    }
    assert_eq!(again.fills_since(), since);
}

#[test]
fn a_fill_of_an_order_that_was_forgotten_long_ago_is_no_contradiction() {
    let mut bench = Bench::ready();
    let mut old = fill(9, "e1", "1", "0.5");
    old.venue_time = NOW.minus(Span::from_secs(11));
    let effects = bench.step(Input::VenueFill(old));
    assert_eq!(effects, []);
    let effects = bench.step(Input::VenueFill(fill(9, "e2", "1", "0.5")));
    let latched = |effect: &Effect| matches!(effect, Effect::Latch(KillCause::Inconsistent, _));
    assert!(effects.iter().any(latched));
}

#[test]
fn a_second_kill_is_proven_anew() {
    let mut bench = Bench::ready();
    let kill = || Input::Killed {
        cause: KillCause::Operator,
        detail: Text::lossy("drill"),
    };
    bench.step(kill());
    bench.account(&[], &[], &[]);
    assert_eq!(bench.status().kill_confirmed_ms, Some(0));
    bench.account(&[foreign("BTCUSDT")], &[], &[]);
    assert_eq!(
        bench.status().kill_confirmed_ms,
        None,
        "somebody placed another"
    );
    bench.account(&[], &[], &[]);
    bench.later(Span::from_secs(2));
    bench.step(kill());
    assert_eq!(bench.status().kill_confirmed_ms, None);
}

#[test]
fn an_overdue_order_that_never_arrived_lets_its_instrument_go_on() {
    let mut bench = Bench::ready();
    bench.send(1);
    for _ in 0..61 {
        bench.later(Span::from_secs(1));
        bench.beat();
        bench.step(Input::Tick);
    }
    let overdue = bench.status();
    assert_eq!(overdue.halts[0].reason, Reason::Unconfirmed);
    assert!(
        overdue.halts[0]
            .evidence
            .as_str()
            .contains(&id(1).to_string())
    );
    bench.account(&[], &[], &[]);
    let mut effects = Vec::new();
    for _ in 0..2 {
        bench.later(Span::from_secs(1));
        effects = bench.step(Input::Queried {
            order: id(1),
            asked_at: bench.now,
            outcome: QueryOutcome::NotFound,
        });
        bench.later(Span::from_secs(1));
        bench.account(&[], &[], &[]);
    }
    assert!(
        matches!(halts(&effects).as_slice(), [(Some(_), true, _)]),
        "{effects:?}"
    );
    assert_eq!(bench.status().halts, []);
}
