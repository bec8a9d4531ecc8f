//! The day's loss and its limit: nothing but time and two persons make room for more of it.
use crate::bench::{Bench, fill, id, settings};
use execution_core::{
    Effect, Execution, Fault, Input, PlaceOutcome, Record, Requests, Settings, hard_limits,
};
use portcullis_domain::{Hash, KillCause, KillState, Span, Timestamp, Usd, VenueOrderId};
use portcullis_testkit::seals::NOW;
use proptest::prelude::*;

const DAY: Span = Span::from_secs(24 * 60 * 60);

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn with_limit(limit: &str) -> Settings {
    Settings {
        daily_loss_max: usd(limit),
        ..settings()
    }
}

/// The same journal in a new process with such settings.
fn restarted(bench: Bench, settings: Settings) -> Bench {
    let mut execution = Execution::new(settings, KillState::Armed, bench.now);
    for record in &bench.journal {
        execution.replay(record).unwrap();
    }
    execution.resume(bench.now).unwrap();
    Bench { execution, ..bench }
}

fn tick(bench: &mut Bench) -> Vec<Effect> {
    bench.beat();
    bench.quote("0.49", "0.51");
    bench.step(Input::Tick)
}

fn latched(effects: &[Effect]) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Latch(KillCause::HardLoss, detail) => Some(detail.as_str().to_owned()),
        _ => None,
    })
}

#[test]
fn a_limit_that_was_in_force_stays_for_the_day_whatever_a_restart_brings() {
    let mut bench = Bench::ready();
    tick(&mut bench);
    assert_eq!(bench.status().loss_max, usd("500"));
    let mut bench = restarted(bench, with_limit("300"));
    tick(&mut bench);
    assert_eq!(bench.status().loss_max, usd("300"), "tighter at once");
    let mut bench = restarted(bench, with_limit("900"));
    tick(&mut bench);
    assert_eq!(bench.status().loss_max, usd("300"), "looser not today");
    bench.later(DAY);
    tick(&mut bench);
    assert_eq!(bench.status().loss_max, usd("900"), "looser tomorrow");
    let compiled = usd(&hard_limits::DAILY_LOSS_MAX_USD.to_string());
    let mut bench = restarted(bench, with_limit("5000000"));
    bench.later(DAY);
    tick(&mut bench);
    assert_eq!(
        bench.status().loss_max,
        compiled,
        "never beyond the compiled one"
    );
}

#[test]
fn two_days_on_both_sides_of_midnight_have_one_limit() {
    let mut bench = trading();
    let midnight = Timestamp((NOW.utc_day() + 1) * DAY.0);
    bench.now = midnight.minus(Span::from_secs(3_600));
    tick(&mut bench);
    lose(&mut bench, "e1", "300");
    tick(&mut bench);
    bench.later(Span::from_secs(1));
    tick(&mut bench);
    assert_eq!(bench.status().loss, usd("300"));

    bench.now = midnight.plus(Span::from_secs(3_600));
    tick(&mut bench);
    let status = bench.status();
    assert_eq!(status.loss, usd("0"), "a new day");
    assert_eq!(status.loss_rolling, usd("300"));
    let effects = lose(&mut bench, "e2", "199");
    assert_eq!(latched(&effects), None);
    let effects = lose(&mut bench, "e3", "1");
    let detail = latched(&effects).expect("the limit of 24 hours");
    assert!(detail.contains("24 hours"), "{detail}");
    let again = restarted(bench, settings());
    assert_eq!(
        again.status().loss_rolling,
        usd("500"),
        "and after a restart"
    );
}

/// An execution with an open order, that [`lose`] needs.
fn trading() -> Bench {
    let mut bench = Bench::ready();
    bench.send(1);
    let venue_order = VenueOrderId::new("venue-1").unwrap();
    bench.step(Input::Placed {
        order: id(1),
        outcome: PlaceOutcome::Acknowledged(venue_order),
    });
    tick(&mut bench);
    bench
}

/// Books a fill that costs so much in fees.
fn lose(bench: &mut Bench, execution: &str, amount: &str) -> Vec<Effect> {
    let mut fill = fill(1, execution, "0.000001", "0.5");
    fill.fee = usd(amount);
    bench.step(Input::VenueFill(fill))
}

#[test]
fn the_loss_of_a_day_that_ended_is_gone_a_day_later() {
    let mut bench = trading();
    lose(&mut bench, "e1", "300");
    for _ in 0..(26 * 4) {
        bench.later(Span::from_secs(15 * 60));
        tick(&mut bench);
    }
    let status = bench.status();
    assert!(status.loss_rolling < usd("1"), "{}", status.loss_rolling);
}

#[test]
fn the_beginning_of_a_day_is_written_once_and_cannot_be_changed_or_left_out() {
    let mut bench = Bench::ready();
    tick(&mut bench);
    for _ in 0..2 {
        bench.later(DAY);
        tick(&mut bench);
    }
    let days: Vec<usize> = (0..bench.journal.len())
        .filter(|at| matches!(bench.journal[*at], Record::DayBegan { .. }))
        .collect();
    assert_eq!(days.len(), 3);
    let replayed = |journal: &[Record]| {
        let mut execution = Execution::new(settings(), KillState::Armed, bench.now);
        journal
            .iter()
            .try_for_each(|record| execution.replay(record))
    };
    assert_eq!(replayed(&bench.journal), Ok(()));

    let mut changed = bench.journal.clone();
    if let Record::DayBegan { baseline, .. } = &mut changed[days[1]] {
        *baseline = usd("-1000");
    }
    assert!(matches!(replayed(&changed), Err(Fault::Day(_))));
    let mut left_out = bench.journal.clone();
    left_out.remove(days[1]);
    assert!(matches!(replayed(&left_out), Err(Fault::Day(_))));
    let mut twice = bench.journal.clone();
    twice.push(bench.journal[days[2]].clone());
    assert!(matches!(replayed(&twice), Err(Fault::Day(_))));
    let mut forged = bench.journal.clone();
    if let Record::DayBegan { chain, .. } = &mut forged[days[2]] {
        *chain = Hash([0; 32]);
    }
    assert!(matches!(replayed(&forged), Err(Fault::Day(_))));
}

proptest! {
    /// Restarts, clocks set by up to a day either way and other settings neither hide a loss
    /// nor give it room again within the day.
    #[test]
    fn a_loss_survives_restarts_clocks_and_settings(
        steps in prop::collection::vec((0..4_u8, 1..100_u64), 1..40),
    ) {
        let mut bench = trading();
        let (day, mut lost, mut limit) = (bench.status().day, usd("0"), usd("500"));
        for (number, (what, amount)) in steps.into_iter().enumerate() {
            match what {
                0 => {
                    let fee = amount.to_string();
                    lose(&mut bench, &format!("e{number}"), &fee);
                    lost = lost.plus(usd(&fee)).unwrap();
                }
                1 => {
                    let configured = amount * 10;
                    limit = limit.min(usd(&configured.to_string()));
                    bench = restarted(bench, with_limit(&configured.to_string()));
                    bench.step(Input::Tick);
                }
                2 => {
                    // This clock alone goes on to the next day; risk-guard's stays.
                    let now = bench.now;
                    bench.now = now.plus(DAY);
                    bench.step(Input::Tick);
                    bench.now = now;
                }
                _ => {
                    let now = bench.now;
                    bench.now = now.minus(Span(DAY.0 * amount / 100));
                    bench.step(Input::Tick);
                    bench.now = now;
                }
            }
            bench.quote("0.49", "0.51");
            let status = bench.status();
            prop_assert_eq!(status.day, day);
            let difference = status.loss.minus(lost).unwrap().abs();
            prop_assert!(difference < usd("0.01"), "{} and {lost}", status.loss);
            prop_assert_eq!(status.loss_max, limit);
            if status.loss >= limit {
                prop_assert!(!status.may_trade);
            }
        }
    }
}

#[test]
fn the_status_names_the_compiled_limits() {
    let bench = Bench::ready();
    let status = bench
        .execution
        .status(bench.now, Requests::default())
        .unwrap();
    assert_eq!(status.hard_limits, hard_limits::digest());
    assert_ne!(status.hard_limits, Hash([0; 32]));
}
