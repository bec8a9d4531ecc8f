//! A snapshot is the state: what follows from it is what would have followed.
use crate::bench::{Bench, fill, id, settings, venue};
use execution_core::{
    Execution, Fault, Input, Kept, Movement, MovementKind, PlaceOutcome, Record, VenueState,
};
use portcullis_domain::{KillState, Reason, Side, Span, VenueOrderId};
use portcullis_testkit::seals::{NOW, order};
use portcullis_wire::Text;
use proptest::prelude::*;

fn replayed(journal: &[Record], bench: &Bench) -> Execution {
    let mut execution = Execution::new(settings(), KillState::Armed, bench.now);
    for record in journal {
        execution.replay(record).unwrap();
    }
    execution
}

/// What two executions say of themselves, after both resumed at the same moment.
fn told(mut execution: Execution, bench: &Bench) -> String {
    let snapshot = execution.snapshot();
    let effects = execution.resume(bench.now).unwrap();
    let status = execution
        .status(bench.now, execution_core::Requests::default())
        .unwrap();
    format!("{status:#?}\n{effects:#?}\n{snapshot:#?}")
}

/// Orders in every state, fills, funding, days.
fn eventful(steps: &[(u8, u8)]) -> Bench {
    let mut bench = Bench::ready();
    let mut number = 0_u64;
    for (at, (what, which)) in steps.iter().enumerate() {
        bench.later(Span::from_millis(400));
        bench.beat();
        bench.quote("0.49", "0.51");
        let one = u64::from(*which) % number.max(1) + 1;
        match what % 8 {
            0 | 1 => {
                number += 1;
                bench.send(number);
            }
            2 => {
                number += 1;
                let mut order = order(number, bench.now);
                if which % 2 == 0 {
                    order.side = Side::Sell;
                }
                bench.permit(&order);
            }
            3 => drop(bench.step(Input::Placed {
                order: id(one),
                outcome: PlaceOutcome::Unknown(Text::lossy("time-out")),
            })),
            4 => drop(bench.step(Input::Placed {
                order: id(one),
                outcome: PlaceOutcome::Acknowledged(VenueOrderId::new("venue-1").unwrap()),
            })),
            5 => {
                let known = bench
                    .status_of(one)
                    .is_some_and(|status| !status.is_terminal());
                if known {
                    let fill = fill(one, &format!("e{at}"), "1", "0.5");
                    if order(one, NOW).side == fill.side {
                        bench.step(Input::VenueFill(fill));
                    }
                }
            }
            6 => drop(bench.step(Input::Venue(venue(one, VenueState::Cancelled, None)))),
            _ => drop(bench.account_moved(
                &[],
                &[],
                &[],
                &[Movement {
                    id: Text::lossy(&format!("m{at}")),
                    kind: if which % 2 == 0 {
                        MovementKind::Funding
                    } else {
                        MovementKind::Transfer
                    },
                    symbol: None,
                    amount: "-0.25".parse().unwrap(),
                    at: bench.now,
                }],
            )),
        }
        bench.step(Input::Tick);
    }
    bench
}

proptest! {
    /// With a snapshot between: state(replay) = state(live).
    #[test]
    fn a_journal_that_begins_with_a_snapshot_gives_the_same_state(
        before in prop::collection::vec((any::<u8>(), any::<u8>()), 0..60),
        cut in 0..60_usize,
    ) {
        let bench = eventful(&before);
        let whole = replayed(&bench.journal, &bench);
        // The snapshot of a prefix, then the rest of the journal.
        let cut = cut.min(bench.journal.len());
        let (first, rest) = bench.journal.split_at(cut);
        let mut short = replayed(first, &bench).snapshot();
        short.extend(rest.iter().cloned());
        let resumed = replayed(&short, &bench);
        prop_assert_eq!(told(resumed, &bench), told(whole, &bench));
    }
}

#[test]
fn a_snapshot_in_the_middle_of_a_journal_is_refused() {
    let mut bench = Bench::ready();
    bench.step(Input::Tick);
    let mut journal = bench.journal.clone();
    journal.extend(bench.execution.snapshot());
    let mut execution = Execution::new(settings(), KillState::Armed, bench.now);
    let refused = journal
        .iter()
        .try_for_each(|record| execution.replay(record));
    assert_eq!(refused, Err(Fault::Snapshot));
}

#[test]
fn a_snapshot_knows_the_fills_that_were_booked() {
    let mut bench = Bench::ready();
    bench.send(1);
    bench.step(Input::VenueFill(fill(1, "e1", "4", "0.5")));
    bench.step(Input::VenueFill(fill(1, "e2", "6", "0.5")));
    bench.execution = replayed(&bench.execution.snapshot(), &bench);
    let fills = bench.status().fills;
    assert_eq!(fills, 2);
    for execution in ["e1", "e2"] {
        bench.step(Input::VenueFill(fill(1, execution, "4", "0.5")));
    }
    assert_eq!(bench.status().fills, fills, "of an order that is over, too");
    // And it still refuses the same order.
    let order = order(1, bench.now);
    let effects = bench.permit(&order);
    let duplicate = format!("{effects:?}").contains(&format!("{:?}", Reason::DuplicateOrder));
    assert!(duplicate, "{effects:?}");
}

#[test]
fn an_order_of_many_fills_is_kept_in_several_records() {
    let mut bench = Bench::ready();
    bench.send(1);
    for number in 0..1_000 {
        let mut fill = fill(1, &format!("execution-{number:030}"), "0.001", "0.5");
        fill.fee = "0".parse().unwrap();
        bench.step(Input::VenueFill(fill));
    }
    let snapshot = bench.execution.snapshot();
    let longest = snapshot.iter().filter_map(|record| match record {
        Record::Kept(Kept::Executions(executions)) => Some(executions.len()),
        _ => None,
    });
    assert_eq!(longest.max(), Some(16));
    let again = replayed(&snapshot, &bench);
    assert_eq!(again.snapshot(), snapshot);
}
