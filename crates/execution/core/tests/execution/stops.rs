//! What stops trading, and what a restart and a reconciliation bring back.
use crate::bench::{
    Bench, POLICY, fill, id, places, refused, reports, settings, ticket, venue, xrp,
};
use execution_core::{Effect, Execution, Input, PlaceOutcome, Record, Requests, VenueState};
use portcullis_domain::{Hash, KillCause, KillState, OrderStatus, Reason, Span, VenueOrderId};
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::Text;
use portcullis_wire::messages::Heartbeat;
use portcullis_wire::subjects::HEARTBEAT;

#[test]
fn refuses_a_permit_when_it_may_not_trade() {
    type Arrange = fn(&mut Bench);
    let cases: [(&str, Arrange, Reason); 6] = [
        (
            "silent guard",
            |bench| bench.later(Span::from_millis(1_001)),
            Reason::GuardSilent,
        ),
        (
            "killed",
            |bench| {
                let detail = Text::lossy("drill");
                bench.step(Input::Killed {
                    cause: KillCause::Operator,
                    detail,
                });
            },
            Reason::KillSwitch,
        ),
        (
            "killed guard",
            |bench| {
                let beat = Heartbeat {
                    kill: KillState::Triggered,
                    policy: POLICY,
                    posture: portcullis_domain::Posture::Normal,
                };
                let beat = bench
                    .world
                    .verified("execution", NOW, &HEARTBEAT, None, &beat);
                bench.step(Input::Heartbeat(beat));
            },
            Reason::KillSwitch,
        ),
        (
            "other policy at the guard",
            |bench| {
                let beat = Heartbeat {
                    kill: KillState::Armed,
                    policy: Hash([1; 32]),
                    posture: portcullis_domain::Posture::Normal,
                };
                let beat = bench
                    .world
                    .verified("execution", NOW, &HEARTBEAT, None, &beat);
                bench.step(Input::Heartbeat(beat));
            },
            Reason::PolicyMismatch,
        ),
        (
            "lost stream",
            |bench| drop(bench.step(Input::StreamLost)),
            Reason::NotReconciled,
        ),
        (
            "position that differs",
            |bench| drop(bench.account(&[], &[], &[(xrp(), "1".parse().unwrap())])),
            Reason::VenueDiffers,
        ),
    ];
    for (name, arrange, reason) in cases {
        let mut bench = Bench::ready();
        arrange(&mut bench);
        let order = order(1, bench.now);
        let effects = bench.permit(&order);
        assert_eq!(reports(&effects), refused(reason), "{name}");
        assert!(
            bench
                .journal
                .iter()
                .all(|record| !matches!(record, Record::Accepted { .. }))
        );
    }
}

#[test]
fn refuses_a_stale_book_a_foreign_policy_and_an_order_above_the_hard_limit() {
    let mut bench = Bench::ready();
    let mut other = order(1, NOW);
    other.policy = Hash([1; 32]);
    assert_eq!(
        reports(&bench.permit(&other)),
        refused(Reason::PolicyMismatch)
    );

    let mut large = order(2, NOW);
    large.quantity = "100001".parse().unwrap();
    assert_eq!(reports(&bench.permit(&large)), refused(Reason::HardLimit));

    let mut cheap = order(4, NOW);
    cheap.side = portcullis_domain::Side::Sell;
    cheap.limit_price = "0.0001".parse().unwrap();
    cheap.quantity = "100001".parse().unwrap();
    assert_eq!(
        reports(&bench.permit(&cheap)),
        refused(Reason::HardLimit),
        "a seller's limit price hides what the order is worth"
    );

    bench.later(Span::from_millis(2_001));
    bench.beat();
    let late = order(3, bench.now);
    assert_eq!(
        reports(&bench.permit(&late)),
        refused(Reason::StaleMarketData)
    );
}

#[test]
fn a_fill_that_contradicts_the_record_is_booked_and_stops_trading() {
    let mut bench = Bench::ready();
    bench.send(1);
    let effects = bench.step(Input::VenueFill(fill(1, "e1", "11", "0.5")));
    let latched = |effect: &Effect| matches!(effect, Effect::Latch(KillCause::Inconsistent, _));
    assert!(effects.iter().any(latched), "{effects:?}");
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Fill(..)))
    );

    let mut bench = Bench::ready();
    let effects = bench.step(Input::VenueFill(fill(9, "e1", "1", "0.5")));
    assert!(
        effects.iter().any(latched),
        "a fill of an order that was never accepted"
    );
}

#[test]
fn a_flood_of_kills_is_acted_on_once_a_second() {
    let mut bench = Bench::ready();
    bench.send(1);
    let kill = |bench: &mut Bench| {
        let detail = Text::lossy("flood");
        let cause = KillCause::Operator;
        bench.step(Input::Killed { cause, detail })
    };
    assert!(kill(&mut bench).contains(&Effect::CancelAll { symbol: xrp() }));
    for _ in 0..100 {
        assert!(kill(&mut bench).is_empty(), "no record, no request");
    }
    bench.later(Span::from_secs(1));
    assert!(kill(&mut bench).contains(&Effect::CancelAll { symbol: xrp() }));
}

#[test]
fn kill_refuses_what_waits_and_cancels_what_is_open_until_nothing_is() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.permit(&order(2, NOW));
    let detail = Text::lossy("drill");
    let effects = bench.step(Input::Killed {
        cause: KillCause::Operator,
        detail,
    });
    assert!(reports(&effects).contains(&(OrderStatus::Refused, Some(Reason::KillSwitch))));
    assert!(effects.contains(&Effect::CancelAll { symbol: xrp() }));
    let signed = bench.step(Input::Signed {
        order: id(2),
        answer: Ok(ticket()),
    });
    assert_eq!(places(&signed), 0);

    bench.later(Span::from_secs(1));
    assert!(
        bench
            .step(Input::Tick)
            .contains(&Effect::CancelAll { symbol: xrp() }),
        "again"
    );
    bench.step(Input::Venue(venue(1, VenueState::Cancelled, None)));
    bench.later(Span::from_secs(1));
    assert!(
        !bench
            .step(Input::Tick)
            .contains(&Effect::CancelAll { symbol: xrp() })
    );
}

#[test]
fn stopping_cancels_what_is_open_and_takes_nothing_new() {
    let mut bench = Bench::ready();
    bench.send(1);
    assert!(!bench.execution.is_idle());
    let effects = bench.step(Input::Stop);
    assert!(effects.contains(&Effect::CancelAll { symbol: xrp() }));
    assert_eq!(
        reports(&bench.permit(&order(2, NOW))),
        refused(Reason::ShuttingDown)
    );
    bench.step(Input::Venue(venue(1, VenueState::Cancelled, None)));
    assert!(bench.execution.is_idle());
}

#[test]
fn silence_cancels_what_is_open_after_five_seconds() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.later(Span::from_secs(5));
    assert!(
        !bench
            .step(Input::Tick)
            .contains(&Effect::CancelAll { symbol: xrp() })
    );
    bench.later(Span::from_millis(1));
    assert!(
        bench
            .step(Input::Tick)
            .contains(&Effect::CancelAll { symbol: xrp() })
    );
}

#[test]
fn the_daily_loss_latches_and_a_new_day_does_not_unlatch_it() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "10", "51")));
    assert!(
        bench.quote("50.9", "51.1").is_empty(),
        "a small loss does nothing"
    );
    let effects = bench.quote("0.9", "1");
    let latch = |effect: &Effect| matches!(effect, Effect::Latch(KillCause::HardLoss, _));
    assert!(
        effects.iter().any(latch),
        "10 bought at 51 and marked at 0.95: more than 500"
    );
    bench.step(Input::Killed {
        cause: KillCause::HardLoss,
        detail: Text::lossy(""),
    });
    bench.later(Span::from_secs(86_400));
    bench.step(Input::Tick);
    bench.beat();
    let status = bench.status();
    assert_eq!(status.reason, Some(Reason::KillSwitch));
}

#[test]
fn the_day_rolls_forward_only_and_from_the_recorded_equity() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "10", "0.6")));
    bench.quote("0.39", "0.41");
    bench.later(Span::from_secs(2));
    bench.step(Input::Tick);
    let loss = |bench: &Bench| bench.status().loss;
    assert_eq!(
        loss(&bench),
        "2".parse().unwrap(),
        "10 bought at 0.6, marked at 0.4"
    );
    let day = bench.status().day;

    bench.later(Span::from_secs(86_400));
    bench.step(Input::Tick);
    assert_eq!(
        loss(&bench),
        "2".parse().unwrap(),
        "one clock begins no day"
    );
    bench.beat();
    bench.step(Input::Tick);
    assert_eq!(
        loss(&bench),
        "0".parse().unwrap(),
        "a new day measures from where it begins"
    );
    bench.quote("0.29", "0.31");
    bench.now = bench.now.minus(Span::from_secs(2 * 86_400));
    bench.step(Input::Tick);
    assert_eq!(bench.status().day, day + 1, "never backwards");
    assert_eq!(
        loss(&bench),
        "1".parse().unwrap(),
        "and with the same baseline"
    );
}

#[test]
fn a_restart_puts_what_was_in_flight_in_doubt_and_keeps_the_totals() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    bench.send(2);
    bench.permit(&order(3, NOW));
    let before = bench.status();

    let mut again = Execution::new(settings(), KillState::Armed, bench.now);
    for record in &bench.journal {
        again.replay(record).unwrap();
    }
    let resumed = again.resume(bench.now).unwrap();
    let doubts = resumed
        .records
        .iter()
        .filter(|r| matches!(r, Record::InDoubt { .. }))
        .count();
    assert_eq!(doubts, 2, "sent, and accepted only");
    let after = again.status(bench.now, Requests::default()).unwrap();
    assert_eq!(after.exposures, before.exposures);
    assert_eq!(
        (after.fills, after.orders_open),
        (before.fills, before.orders_open)
    );
    assert_eq!(after.reason, Some(Reason::NotReconciled));
    assert_eq!(places(&resumed.effects), 0);
}

#[test]
fn an_order_that_the_venue_no_longer_has_open_is_asked_about() {
    let mut bench = Bench::ready();
    bench.send(1);
    let venue_order = VenueOrderId::new("venue-1").unwrap();
    bench.step(Input::Placed {
        order: id(1),
        outcome: PlaceOutcome::Acknowledged(venue_order),
    });
    bench.later(Span::from_millis(1));
    let effects = bench.account(&[], &[], &[]);
    assert!(effects.contains(&Effect::Query {
        order: id(1),
        symbol: xrp()
    }));
}

#[test]
fn an_account_taken_without_the_stream_does_not_reconcile() {
    let mut bench = Bench::ready();
    bench.step(Input::StreamLost);
    bench.account(&[], &[], &[]);
    let reason = |bench: &Bench| bench.status().reason;
    assert_eq!(reason(&bench), Some(Reason::NotReconciled));
    bench.step(Input::StreamUp);
    assert_eq!(reason(&bench), Some(Reason::NotReconciled));
    bench.account(&[], &[], &[]);
    assert_eq!(reason(&bench), None);
}
