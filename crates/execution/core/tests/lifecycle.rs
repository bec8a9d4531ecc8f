//! The life of an order, told through `step`: what it waits for, what becomes of it, and that every
//! state comes back from the journal.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use execution_core::{
    Effect, Effects, Execution, Input, PlaceOutcome, QueryOutcome, Record, Settings, Ticket,
    VenueOrder, VenueState,
};
use portcullis_domain::{
    Book, Exposure, Fill, Hash, KillCause, KillState, Level, Order, OrderId, OrderStatus, Reason,
    Span, Symbol, Timestamp, VenueExecutionId, VenueOrderId,
};
use portcullis_testkit::World;
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::Text;
use portcullis_wire::messages::{Heartbeat, Receipt};
use portcullis_wire::subjects::{BOOK, HEARTBEAT};

const POLICY: Hash = Hash([7; 32]);
const FACT: Hash = Hash([9; 32]);

/// An execution with its journal, driven by hand.
struct Bench {
    world: World,
    execution: Execution,
    journal: Vec<Record>,
    now: Timestamp,
}

fn settings() -> Settings {
    Settings {
        policy_hash: POLICY,
        daily_loss_max: "500".parse().unwrap(),
        book_age_max: Span::from_secs(2),
    }
}

fn xrp() -> Symbol {
    Symbol::new("XRPUSDT").unwrap()
}

fn id(number: u64) -> OrderId {
    order(number, NOW).id
}

fn fill(number: u64, execution: &str, quantity: &str, price: &str) -> Fill {
    Fill {
        execution: VenueExecutionId::new(execution).unwrap(),
        order: id(number),
        venue_order: VenueOrderId::new("venue-1").unwrap(),
        symbol: xrp(),
        side: order(number, NOW).side,
        price: price.parse().unwrap(),
        quantity: quantity.parse().unwrap(),
        fee: "0".parse().unwrap(),
        venue_time: NOW,
    }
}

fn venue(number: u64, state: VenueState, filled: Option<&str>) -> VenueOrder {
    VenueOrder {
        order: Some(id(number)),
        venue_order: VenueOrderId::new("venue-1").unwrap(),
        symbol: xrp(),
        state,
        filled: filled.map(|text| text.parse().unwrap()),
        detail: Text::lossy(""),
    }
}

fn ticket() -> Ticket {
    Ticket {
        timestamp_ms: NOW.as_millis(),
        api_key: Text::lossy("key"),
        signature: Text::lossy("signature"),
    }
}

impl Bench {
    /// Armed, reconciled with an empty account, priced, and licensed by a heartbeat.
    fn ready() -> Self {
        let mut bench = Self {
            world: World::new(NOW),
            execution: Execution::new(settings(), KillState::Armed, NOW),
            journal: Vec::new(),
            now: NOW,
        };
        bench.step(Input::Tick);
        bench.step(Input::StreamUp);
        bench.account(&[], &[], &[]);
        bench.quote("0.49", "0.51");
        bench.beat();
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let Effects { records, effects } = self.execution.step(self.now, input).unwrap();
        self.journal.extend(records);
        effects
    }

    fn later(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    fn beat(&mut self) {
        let beat = Heartbeat {
            kill: KillState::Armed,
            policy: POLICY,
        };
        let beat = self
            .world
            .verified("execution", self.now, &HEARTBEAT, None, &beat);
        self.step(Input::Heartbeat(beat));
    }

    fn quote(&mut self, bid: &str, ask: &str) -> Vec<Effect> {
        let level = |price: &str| Level {
            price: price.parse().unwrap(),
            quantity: "100".parse().unwrap(),
        };
        let book = Book::new(xrp(), vec![level(bid)], vec![level(ask)], 1, self.now).unwrap();
        let book = self
            .world
            .verified("execution", self.now, &BOOK, Some("XRPUSDT"), &book);
        self.step(Input::Book(book))
    }

    fn account(
        &mut self,
        open: &[VenueOrder],
        fills: &[Fill],
        positions: &[(Symbol, Exposure)],
    ) -> Vec<Effect> {
        self.step(Input::Account {
            asked_at: self.now,
            open: open.to_vec(),
            fills: fills.to_vec(),
            positions: positions.to_vec(),
        })
    }

    fn permit(&mut self, order: &Order) -> Vec<Effect> {
        let sealed = self.world.permit(self.now, order);
        let (permit, order) = self
            .world
            .open_permit("execution", self.now, &sealed.frame)
            .unwrap();
        self.step(Input::Permit {
            permit: permit.either(),
            order: order.either(),
        })
    }

    fn receipt(&mut self, number: u64, fact: Hash) -> Vec<Effect> {
        let receipt = Receipt {
            fact,
            order: id(number),
            index: 0,
            entry: Hash([1; 32]),
        };
        self.step(Input::Receipt(receipt))
    }

    /// Permit, journal, receipt and signature: the order leaves.
    fn send(&mut self, number: u64) -> Vec<Effect> {
        let order = order(number, self.now);
        self.permit(&order);
        self.step(Input::FactSealed {
            order: order.id,
            fact: FACT,
        });
        self.step(Input::Durable(order.id));
        self.receipt(number, FACT);
        self.step(Input::Signed {
            order: order.id,
            answer: Ok(ticket()),
        })
    }

    fn status_of(&self, number: u64) -> Option<OrderStatus> {
        let status = self.execution.status(self.now).unwrap();
        status
            .orders
            .iter()
            .find(|order| order.order == id(number))
            .map(|order| order.status)
    }
}

fn reports(effects: &[Effect]) -> Vec<(OrderStatus, Option<Reason>)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Report(report) => Some((report.status, report.reason)),
            _ => None,
        })
        .collect()
}

fn places(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Place { .. }))
        .count()
}

fn refused(reason: Reason) -> Vec<(OrderStatus, Option<Reason>)> {
    vec![(OrderStatus::Refused, Some(reason))]
}

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
            Reason::NotReconciled,
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

    bench.later(Span::from_millis(2_001));
    bench.beat();
    let late = order(3, bench.now);
    assert_eq!(
        reports(&bench.permit(&late)),
        refused(Reason::StaleMarketData)
    );
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
    let status = bench.execution.status(bench.now).unwrap();
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
    let status = bench.execution.status(bench.now).unwrap();
    assert_eq!(
        status.exposures.first().unwrap().position,
        "4".parse().unwrap()
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
    assert_eq!(reports(&bench.permit(&order(2, NOW))), refused(Reason::ShuttingDown));
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
    let status = bench.execution.status(bench.now).unwrap();
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
    let loss = |bench: &Bench| bench.execution.status(bench.now).unwrap().loss;
    assert_eq!(
        loss(&bench),
        "2".parse().unwrap(),
        "10 bought at 0.6, marked at 0.4"
    );
    let day = bench.execution.status(bench.now).unwrap().day;

    bench.later(Span::from_secs(86_400));
    bench.step(Input::Tick);
    assert_eq!(
        loss(&bench),
        "0".parse().unwrap(),
        "a new day measures from where it begins"
    );
    bench.quote("0.29", "0.31");
    bench.now = bench.now.minus(Span::from_secs(2 * 86_400));
    bench.step(Input::Tick);
    assert_eq!(
        bench.execution.status(bench.now).unwrap().day,
        day + 1,
        "never backwards"
    );
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
    let before = bench.execution.status(bench.now).unwrap();

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
    let after = again.status(bench.now).unwrap();
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
    let reason = |bench: &Bench| bench.execution.status(bench.now).unwrap().reason;
    assert_eq!(reason(&bench), Some(Reason::NotReconciled));
    bench.step(Input::StreamUp);
    assert_eq!(reason(&bench), Some(Reason::NotReconciled));
    bench.account(&[], &[], &[]);
    assert_eq!(reason(&bench), None);
}

#[test]
fn an_open_order_that_is_not_ours_stops_new_orders() {
    let mut bench = Bench::ready();
    bench.account(&[venue(77, VenueState::Open, None)], &[], &[]);
    let status = bench.execution.status(bench.now).unwrap();
    assert_eq!(status.reason, Some(Reason::NotReconciled));
}
