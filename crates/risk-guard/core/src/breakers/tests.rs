extern crate std;
use alloc::vec;

use portcullis_domain::{StrategyId, Symbol, Venue};
use portcullis_testkit::{policies, seals};
use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp(1_800_000_000_000_000);

const OPENS: Reduces = Reduces {
    account: false,
    both: false,
};
const REDUCES: Reduces = Reduces {
    account: true,
    both: true,
};

fn fresh() -> Breakers {
    Breakers::new(policies::breakers())
}

fn at(seconds: u64) -> Timestamp {
    START.plus(Span::from_secs(seconds))
}

fn sample() -> StrategyId {
    StrategyId::new("sample").unwrap()
}

fn key(kind: BreakerKind) -> BreakerKey {
    match kind {
        BreakerKind::HsmFailure => BreakerKey::hsm(),
        BreakerKind::SystemError => BreakerKey::system(),
        BreakerKind::Network => BreakerKey::network(Venue::Bybit),
        BreakerKind::ConfirmationTimeout => BreakerKey::confirmation(Venue::Bybit, sample()),
        BreakerKind::TradeFailure => BreakerKey::trade(Venue::Bybit, sample()),
        BreakerKind::MarketVolatility => BreakerKey::volatility(Symbol::new("XRPUSDT").unwrap()),
        BreakerKind::Slippage => BreakerKey::slippage(Venue::Bybit, sample()),
    }
}

fn state(breakers: &Breakers, key: BreakerKey) -> BreakerState {
    let known = breakers.known.get(&key);
    known.map_or(BreakerState::Closed, |breaker| breaker.state())
}

fn outcome(breakers: &mut Breakers, key: BreakerKey, passed: bool, second: u64) {
    let generation = Some(breakers.generation());
    breakers.outcome(key, passed, at(second), at(second), generation);
}

/// Feeds `F` for failures and `s` for successes, one every `every` seconds, and says after how many
/// the breaker was open; `None` if it never was.
fn trips_after(kind: BreakerKind, outcomes: &str, every: u64) -> Option<usize> {
    let mut breakers = fresh();
    for (number, letter) in outcomes.chars().enumerate() {
        outcome(
            &mut breakers,
            key(kind),
            letter == 's',
            number as u64 * every,
        );
        if state(&breakers, key(kind)) == BreakerState::Open {
            return Some(number + 1);
        }
    }
    None
}

#[test]
fn each_kind_trips_by_its_count_its_run_or_its_share() {
    use BreakerKind::*;
    let cases = [
        // By the count within the window, with successes between, so that neither run nor share is
        // reached earlier.
        (TradeFailure, "FsFsFsFsF", 10, Some(9)),
        (TradeFailure, "FsFsFsFsF", 150, None),
        (Network, "FssFssF", 10, Some(7)),
        (Network, "FssFssF", 80, None),
        (HsmFailure, "FsFsF", 10, Some(5)),
        (HsmFailure, "FsFsF", 160, None),
        (Slippage, "FsFsFsFsFsFsFsF", 10, Some(15)),
        (ConfirmationTimeout, "FssFssFssFssF", 60, Some(13)),
        (MarketVolatility, "FsFsFsFsFsFsFsFsFsF", 60, Some(19)),
        (MarketVolatility, "FFFFFFFFFF", 60, Some(10)),
        (MarketVolatility, "FFFFFFFFF", 60, None),
        (
            SystemError,
            "FsssFsssFsssFsssFsssFsssFsssFsssFsssF",
            10,
            Some(37),
        ),
        // By a run.
        (TradeFailure, "FFF", 10, Some(3)),
        (TradeFailure, "FFsF", 10, None),
        (Network, "FF", 10, Some(2)),
        (HsmFailure, "FF", 10, Some(2)),
        (Slippage, "FFFF", 10, Some(4)),
        (SystemError, "FFFFF", 10, Some(5)),
        (ConfirmationTimeout, "FFF", 10, Some(3)),
        // By the share of failures, from the smallest sample on.
        (TradeFailure, "FFsFF", 10, Some(5)),
        (Network, "FsF", 10, Some(3)),
        (Slippage, "FFFsFFsF", 10, Some(8)),
        (SystemError, "FFFFssssss", 10, Some(10)),
        (SystemError, "FFFsssssss", 10, None),
        (ConfirmationTimeout, "FFssF", 10, Some(5)),
    ];
    for (kind, outcomes, every, expected) in cases {
        let got = trips_after(kind, outcomes, every);
        assert_eq!(got, expected, "{kind:?} {outcomes} every {every} s");
    }
}

#[test]
fn the_beginning_of_the_window_lies_outside_of_it() {
    // Three failures within five minutes: the first at 0 no longer counts at 300 s.
    for (last, expected) in [(299, BreakerState::Open), (300, BreakerState::Closed)] {
        let mut breakers = fresh();
        let network = key(BreakerKind::Network);
        for (passed, second) in [(false, 0), (true, 1), (true, 2), (true, 3), (false, 100)] {
            outcome(&mut breakers, network, passed, second);
        }
        for second in 101..104 {
            outcome(&mut breakers, network, true, second);
        }
        outcome(&mut breakers, network, false, last);
        assert_eq!(state(&breakers, network), expected, "{last}");
    }
}

#[test]
fn what_happened_before_the_window_and_what_lies_ahead_is_put_right() {
    let trade = key(BreakerKind::TradeFailure);
    let mut breakers = fresh();
    for _ in 0..9 {
        breakers.outcome(trade, false, at(0), at(600), Some(0));
    }
    assert_eq!(state(&breakers, trade), BreakerState::Closed, "too old");
    // A time that lies ahead counts as now, so that it does not stay for longer.
    for _ in 0..2 {
        breakers.outcome(trade, false, at(5_000), at(600), Some(0));
    }
    outcome(&mut breakers, trade, true, 1_201);
    assert_eq!(breakers.statuses(at(1_201)), vec![], "forgotten in time");
}

/// An open breaker, tripped at second 0.
fn tripped(kind: BreakerKind) -> Breakers {
    let mut breakers = fresh();
    for _ in 0..10 {
        outcome(&mut breakers, key(kind), false, 0);
    }
    assert_eq!(state(&breakers, key(kind)), BreakerState::Open);
    breakers
}

fn order(number: u64) -> Order {
    seals::order(number, START)
}

fn probe(breakers: &mut Breakers, kind: BreakerKind, number: u64, passed: bool, second: u64) {
    let order = order(number);
    let gate = breakers.gate(&order, OPENS, true);
    assert_eq!(gate, Gate::Probe(vec![key(kind)]));
    breakers.begin_probe(&gate.into_probes(), order.id, at(second));
    assert!(
        matches!(breakers.gate(&self::order(99), OPENS, true), Gate::Shut(_)),
        "one probe at a time"
    );
    breakers.probed(key(kind), order.id, passed, at(second));
}

#[test]
fn three_probes_in_a_row_close_it_and_one_that_fails_opens_it_for_longer() {
    let trade = key(BreakerKind::TradeFailure);
    let mut breakers = tripped(BreakerKind::TradeFailure);
    let minutes = |minutes: u64| minutes * 60;
    breakers.tick(at(minutes(30) - 1));
    assert_eq!(state(&breakers, trade), BreakerState::Open);
    breakers.tick(at(minutes(30)));
    assert_eq!(state(&breakers, trade), BreakerState::HalfOpen);
    probe(
        &mut breakers,
        BreakerKind::TradeFailure,
        1,
        true,
        minutes(30),
    );
    probe(
        &mut breakers,
        BreakerKind::TradeFailure,
        2,
        false,
        minutes(30),
    );
    // Open for twice as long, then four times, and never longer.
    let mut begun = minutes(30);
    for times in [2, 4, 4] {
        assert_eq!(state(&breakers, trade), BreakerState::Open);
        let over = begun + minutes(30) * times;
        breakers.tick(at(over - 1));
        assert_eq!(state(&breakers, trade), BreakerState::Open, "{times}");
        breakers.tick(at(over));
        assert_eq!(state(&breakers, trade), BreakerState::HalfOpen, "{times}");
        probe(&mut breakers, BreakerKind::TradeFailure, times, false, over);
        begun = over;
    }
    breakers.tick(at(begun + minutes(120)));
    for number in 10..13 {
        assert_eq!(state(&breakers, trade), BreakerState::HalfOpen);
        let now = begun + minutes(121);
        probe(&mut breakers, BreakerKind::TradeFailure, number, true, now);
    }
    assert_eq!(state(&breakers, trade), BreakerState::Closed);
    assert_eq!(breakers.gate(&order(20), OPENS, false), Gate::Free);
    assert_eq!(breakers.restricting, 0);
}

#[test]
fn a_probe_without_an_answer_has_failed() {
    let network = key(BreakerKind::Network);
    let mut breakers = tripped(BreakerKind::Network);
    breakers.tick(at(900));
    let gate = breakers.gate(&order(1), OPENS, true);
    breakers.begin_probe(&gate.into_probes(), order(1).id, at(900));
    breakers.tick(at(959));
    assert_eq!(state(&breakers, network), BreakerState::HalfOpen);
    breakers.tick(at(960));
    assert_eq!(state(&breakers, network), BreakerState::Open);
}

#[test]
fn what_comes_late_neither_closes_a_half_open_breaker_nor_opens_it() {
    let trade = key(BreakerKind::TradeFailure);
    let mut breakers = tripped(BreakerKind::TradeFailure);
    let before = breakers.clone();
    for passed in [true, false, true] {
        outcome(&mut breakers, trade, passed, 10);
    }
    assert_eq!(breakers, before, "while open nothing counts");
    breakers.tick(at(1_800));
    for passed in [true, true, true, true, false, false, false] {
        breakers.outcome(trade, passed, at(1_801), at(1_801), Some(0));
        breakers.probed(trade, order(7).id, passed, at(1_801));
    }
    assert_eq!(state(&breakers, trade), BreakerState::HalfOpen);
}

#[test]
fn a_success_from_before_the_last_change_ends_no_run_of_failures() {
    let trade = key(BreakerKind::TradeFailure);
    let mut breakers = tripped(BreakerKind::TradeFailure);
    breakers.tick(at(1_800));
    for number in 1..4 {
        probe(
            &mut breakers,
            BreakerKind::TradeFailure,
            number,
            true,
            1_800,
        );
    }
    assert_eq!(state(&breakers, trade), BreakerState::Closed);
    outcome(&mut breakers, trade, false, 1_801);
    outcome(&mut breakers, trade, false, 1_802);
    breakers.outcome(trade, true, at(1_803), at(1_803), Some(0));
    outcome(&mut breakers, trade, false, 1_804);
    assert_eq!(state(&breakers, trade), BreakerState::Open);
}

#[test]
fn volatility_closes_by_ten_calm_minutes_in_a_row_and_lets_no_probe_through() {
    let volatility = key(BreakerKind::MarketVolatility);
    let mut breakers = tripped(BreakerKind::MarketVolatility);
    breakers.tick(at(3_600));
    assert_eq!(
        breakers.gate(&order(1), OPENS, true),
        Gate::Shut(volatility)
    );
    for minute in 0..9 {
        outcome(&mut breakers, volatility, true, 3_600 + minute * 60);
    }
    assert_eq!(state(&breakers, volatility), BreakerState::HalfOpen);
    outcome(&mut breakers, volatility, true, 4_200);
    assert_eq!(state(&breakers, volatility), BreakerState::Closed);
}

#[test]
fn the_hsm_waits_for_two_persons_and_never_before_its_recovery_is_over() {
    let hsm = key(BreakerKind::HsmFailure);
    let mut breakers = tripped(BreakerKind::HsmFailure);
    assert!(!breakers.half_open(hsm, at(3_599)));
    breakers.tick(at(10_000));
    assert_eq!(state(&breakers, hsm), BreakerState::Open, "not by itself");
    assert!(breakers.half_open(hsm, at(10_000)));
    assert_eq!(
        state(&breakers, hsm),
        BreakerState::HalfOpen,
        "never closed"
    );
    assert!(!breakers.half_open(hsm, at(10_001)), "it is no longer open");
}

#[test]
fn one_that_was_opened_by_hand_does_not_recover_by_itself() {
    let slippage = key(BreakerKind::Slippage);
    let mut breakers = fresh();
    breakers.force_open(slippage);
    breakers.tick(at(1_000_000));
    assert_eq!(state(&breakers, slippage), BreakerState::ForcedOpen);
    assert_eq!(breakers.gate(&order(1), OPENS, true), Gate::Shut(slippage));
    assert!(breakers.half_open(slippage, at(1_000_000)));
}

#[test]
fn what_reduces_passes_all_but_the_breakers_over_our_own_parts() {
    for kind in BreakerKind::ALL {
        let breakers = tripped(*kind);
        let own = matches!(kind, BreakerKind::HsmFailure | BreakerKind::SystemError);
        let expected = if own {
            Gate::Shut(key(*kind))
        } else {
            Gate::Free
        };
        assert_eq!(
            breakers.gate(&order(1), REDUCES, false),
            expected,
            "{kind:?}"
        );
        let shut = Gate::Shut(key(*kind));
        assert_eq!(breakers.gate(&order(1), OPENS, true), shut, "{kind:?}");
    }
}

#[test]
fn the_most_urgent_one_is_told_and_another_strategys_is_none_of_its_business() {
    let mut breakers = fresh();
    let other = StrategyId::new("other").unwrap();
    breakers.force_open(BreakerKey::slippage(Venue::Bybit, other));
    breakers.force_open(BreakerKey::volatility(Symbol::new("BTCUSDT").unwrap()));
    assert_eq!(breakers.gate(&order(1), OPENS, false), Gate::Free);
    breakers.force_open(key(BreakerKind::Slippage));
    breakers.force_open(key(BreakerKind::Network));
    let shut = Gate::Shut(key(BreakerKind::Network));
    assert_eq!(breakers.gate(&order(1), OPENS, false), shut);
    assert_eq!(breakers.open_count(), 4);
}

#[test]
fn a_restart_changes_nothing_where_the_clock_ran_on_and_begins_anew_where_it_may_not_have() {
    let mut live = tripped(BreakerKind::TradeFailure);
    outcome(&mut live, key(BreakerKind::Network), false, 5);
    let mut again = fresh();
    for (key, saved) in live.take_dirty() {
        again.restore(key, &saved);
    }
    assert_eq!(again.statuses(at(100)), live.statuses(at(100)));
    assert_eq!(again.generation(), live.generation());
    let mut once_more = fresh();
    for (key, saved) in again.begin_anew(at(1_000)) {
        once_more.restore(key, &saved);
    }
    assert_eq!(once_more.statuses(at(1_000)), again.statuses(at(1_000)));
    again.tick(at(1_800));
    let trade = key(BreakerKind::TradeFailure);
    assert_eq!(state(&again, trade), BreakerState::Open, "all of it again");
    again.tick(at(1_000 + 1_800));
    assert_eq!(state(&again, trade), BreakerState::HalfOpen);
    outcome(&mut again, key(BreakerKind::Network), false, 1_001);
    let network = key(BreakerKind::Network);
    assert_eq!(
        state(&again, network),
        BreakerState::Open,
        "still two in a row"
    );
}

#[test]
fn a_probe_that_was_under_way_at_a_crash_has_failed() {
    let trade = key(BreakerKind::TradeFailure);
    let mut live = tripped(BreakerKind::TradeFailure);
    live.tick(at(1_800));
    let gate = live.gate(&order(1), OPENS, true);
    live.begin_probe(&gate.into_probes(), order(1).id, at(1_800));
    let mut again = fresh();
    for (key, saved) in live.take_dirty() {
        again.restore(key, &saved);
    }
    again.tick(at(1_801));
    assert_eq!(state(&again, trade), BreakerState::Open);
}

proptest! {
    /// More failures never make more pass.
    #[test]
    fn failures_never_close_a_breaker(
        outcomes in prop::collection::vec((any::<bool>(), 0_u64..400), 0..60),
        at_which in any::<prop::sample::Index>(),
        kind in prop::sample::select(BreakerKind::ALL),
    ) {
        let run = |extra: Option<usize>| {
            let mut breakers = fresh();
            let mut second = 0;
            for (number, (passed, wait)) in outcomes.iter().enumerate() {
                second += wait;
                if extra == Some(number) {
                    outcome(&mut breakers, key(kind), false, second);
                }
                // Only while it is closed: afterwards the times of recovery differ.
                if state(&breakers, key(kind)) != BreakerState::Closed {
                    break;
                }
                outcome(&mut breakers, key(kind), *passed, second);
            }
            state(&breakers, key(kind))
        };
        let extra = (!outcomes.is_empty()).then(|| at_which.index(outcomes.len()));
        let (without, with) = (run(None), run(extra));
        prop_assert!(without == BreakerState::Closed || with == BreakerState::Open);
    }

    /// What is written down is all that counts, after every single step.
    #[test]
    fn replaying_the_records_gives_the_same_states(
        steps in prop::collection::vec((0_u8..5, 0_u64..2_000), 0..80),
    ) {
        let mut live = fresh();
        let mut again = fresh();
        let mut second = 0;
        let trade = key(BreakerKind::TradeFailure);
        for (number, (step, wait)) in steps.into_iter().enumerate() {
            second += wait;
            match step {
                0 | 1 => outcome(&mut live, trade, false, second),
                2 => outcome(&mut live, trade, true, second),
                3 => live.tick(at(second)),
                _ => {
                    let order = order(number as u64);
                    let gate = live.gate(&order, OPENS, true);
                    let probes = gate.into_probes();
                    live.begin_probe(&probes, order.id, at(second));
                    for key in probes {
                        live.probed(key, order.id, number % 3 != 0, at(second));
                    }
                }
            }
            for (key, saved) in live.take_dirty() {
                again.restore(key, &saved);
            }
            prop_assert_eq!(state(&live, trade), state(&again, trade));
            prop_assert_eq!(live.generation(), again.generation());
            prop_assert_eq!(live.restricting, again.restricting);
        }
    }
}
