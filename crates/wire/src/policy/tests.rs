extern crate std;
use std::vec;

use super::*;

fn breaker() -> BreakerPolicy {
    BreakerPolicy {
        failures: 3,
        window_s: 600,
        consecutive: Some(2),
        percent: None,
        recovery_s: 60,
    }
}

fn sound() -> RiskPolicy {
    RiskPolicy {
        hard_limits: Hash([0x4c; 32]),
        venues: vec![Venue::Bybit],
        clock_error_ms_max: 2_000,
        drawdown_max: "50".parse().unwrap(),
        capital: "1000".parse().unwrap(),
        gross_exposure_max: "400".parse().unwrap(),
        net_exposure_max: "400".parse().unwrap(),
        leverage_max: Bps::new(20_000).unwrap(),
        concentration_max: Bps::new(10_000).unwrap(),
        probe_notional_max: "10".parse().unwrap(),
        strategy: StrategyPolicy {
            orders_open_max: 10,
            orders_per_second_max: 10,
            messages_per_second_max: 20,
            cancels_per_minute_max: 30,
            position_notional_max: "200".parse().unwrap(),
            daily_loss_max: "50".parse().unwrap(),
            repeated_fills_max: 100,
            repeated_window_ms: 60_000,
            same_order_ms: 50,
        },
        breakers: BreakersPolicy {
            hsm_failure: breaker(),
            system_error: breaker(),
            network: breaker(),
            confirmation_timeout: breaker(),
            trade_failure: breaker(),
            market_volatility: breaker(),
            slippage: breaker(),
        },
        groups: vec![GroupPolicy {
            name: Label::new("majors").unwrap(),
            instruments: vec![Symbol::new("XRPUSDT").unwrap()],
            exposure_max: "300".parse().unwrap(),
        }],
        instruments: vec![InstrumentPolicy {
            instrument: Instrument {
                symbol: Symbol::new("XRPUSDT").unwrap(),
                tick_size: "0.0001".parse().unwrap(),
                quantity_step: "0.1".parse().unwrap(),
                quantity_min: "0.1".parse().unwrap(),
                quantity_max: "1000".parse().unwrap(),
                notional_min: "5".parse().unwrap(),
            },
            order_quantity_max: "500".parse().unwrap(),
            order_notional_min: "5".parse().unwrap(),
            order_notional_max: "100".parse().unwrap(),
            orders_open_max: 10,
            last_collar: Bps::new(500).unwrap(),
            fat_finger_max: 20,
            volatility_max: Bps::new(15_000).unwrap(),
            position_notional_max: "200".parse().unwrap(),
            collar: Bps::new(50).unwrap(),
        }],
        book_age_ms_max: 1_000,
        orders_open_max: 10,
        daily_loss_max: "50".parse().unwrap(),
    }
}

#[test]
fn a_sound_policy_has_no_problems() {
    assert_eq!(sound().problems(), Vec::<String>::new());
}

#[test]
fn names_what_is_wrong_with_a_policy() {
    type Breaks = fn(&mut RiskPolicy);
    let cases: [(Breaks, &str); 40] = [
        (|p| p.instruments.clear(), "at least one"),
        (|p| p.book_age_ms_max = 0, "book_age_ms_max"),
        (|p| p.book_age_ms_max = 5_001, "book_age_ms_max"),
        (|p| p.orders_open_max = 0, "orders_open_max"),
        (|p| p.daily_loss_max = Usd::ZERO, "daily_loss_max"),
        (
            |p| p.instruments.push(p.instruments[0].clone()),
            "XRPUSDT: is listed twice",
        ),
        (
            |p| p.instruments[0].order_notional_max = Usd::ZERO,
            "order_notional_max: must be",
        ),
        (
            |p| p.instruments[0].position_notional_max = Usd::ZERO,
            "XRPUSDT: position_notional_max: must",
        ),
        (
            |p| p.instruments[0].order_notional_max = "4".parse().unwrap(),
            "order_notional_max is below order_notional_min",
        ),
        (|p| p.venues.clear(), "venues: there must"),
        (
            |p| p.breakers.network.failures = 0,
            "breakers: network: failures",
        ),
        (
            |p| p.breakers.slippage.percent = Some(101),
            "breakers: slippage: percent",
        ),
        (
            |p| p.breakers.trade_failure.consecutive = Some(0),
            "breakers: trade_failure: consecutive",
        ),
        (
            |p| p.breakers.hsm_failure.recovery_s = 86_401,
            "breakers: hsm_failure: recovery_s",
        ),
        (|p| p.clock_error_ms_max = 5_001, "clock_error_ms_max"),
        (
            |p| p.strategy.orders_per_second_max = 2_001,
            "strategy: orders_per_second_max",
        ),
        (|p| p.drawdown_max = Usd::ZERO, "drawdown_max"),
        (|p| p.capital = Usd::ZERO, "capital"),
        (|p| p.gross_exposure_max = Usd::ZERO, "gross_exposure_max"),
        (|p| p.net_exposure_max = Usd::ZERO, "net_exposure_max"),
        (|p| p.leverage_max = Bps::new(0).unwrap(), "leverage_max"),
        (
            |p| p.concentration_max = Bps::new(0).unwrap(),
            "concentration_max",
        ),
        (
            |p| p.probe_notional_max = "4".parse().unwrap(),
            "above probe_notional_max",
        ),
        (
            |p| p.strategy.messages_per_second_max = 0,
            "strategy: messages_per_second_max",
        ),
        (
            |p| p.strategy.cancels_per_minute_max = 0,
            "strategy: cancels_per_minute_max",
        ),
        (
            |p| p.strategy.repeated_window_ms = 0,
            "strategy: repeated_window_ms",
        ),
        (
            |p| p.strategy.same_order_ms = 60_001,
            "strategy: same_order_ms",
        ),
        (
            |p| p.strategy.daily_loss_max = Usd::ZERO,
            "strategy: daily_loss_max",
        ),
        (|p| p.groups[0].instruments.clear(), "has no instrument"),
        (
            |p| p.groups.push(p.groups[0].clone()),
            "XRPUSDT is in a group already",
        ),
        (
            |p| p.groups[0].instruments = vec![Symbol::new("ETHUSDT").unwrap()],
            "ETHUSDT is not in instruments",
        ),
        (
            |p| p.groups[0].exposure_max = Usd::ZERO,
            "group majors: exposure_max",
        ),
        (
            |p| p.instruments[0].order_notional_min = "4".parse().unwrap(),
            "order_notional_min is below the venue's",
        ),
        (
            |p| p.instruments[0].order_quantity_max = "0.01".parse().unwrap(),
            "order_quantity_max is below",
        ),
        (
            |p| p.instruments[0].volatility_max = Bps::new(0).unwrap(),
            "volatility_max",
        ),
        (|p| p.instruments[0].collar = Bps::new(0).unwrap(), "collar"),
        (
            |p| p.instruments[0].collar = Bps::new(1_000).unwrap(),
            "collar",
        ),
        (
            |p| p.instruments[0].instrument.quantity_max = "0.01".parse().unwrap(),
            "quantity_min",
        ),
        (
            |p| p.instruments[0].instrument.notional_min = "-1".parse().unwrap(),
            "notional_min",
        ),
        (
            |p| p.instruments[0].instrument.symbol = Symbol::new("A.B").unwrap(),
            "dot",
        ),
    ];
    for (index, (breaks, part)) in cases.into_iter().enumerate() {
        let mut policy = sound();
        breaks(&mut policy);
        let problems = policy.problems();
        let named = problems.iter().any(|problem| problem.contains(part));
        assert!(
            named,
            "case {index}: {problems:?} does not mention {part:?}"
        );
    }
}
