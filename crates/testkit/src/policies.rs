//! A risk policy whose limits are so wide that a test only sets those it is about.

use portcullis_domain::{Bps, Hash, Instrument, Quantity, Symbol, Usd, Venue};
use portcullis_wire::messages::{
    BreakerPolicy, BreakersPolicy, InstrumentPolicy, RiskPolicy, StrategyPolicy,
};
use std::str::FromStr;

/// The instrument `XRPUSDT` as tests trade it: 0.1 units at least, on a tick of 0.0001.
#[must_use]
pub fn xrp() -> Instrument {
    Instrument {
        symbol: of("XRPUSDT"),
        tick_size: of("0.0001"),
        quantity_step: of("0.1"),
        quantity_min: of("0.1"),
        quantity_max: of("100000"),
        notional_min: of("5"),
    }
}

/// Limits of an instrument that stop nothing that is sound.
#[must_use]
pub fn wide(instrument: Instrument) -> InstrumentPolicy {
    let most: Quantity = instrument.quantity_max;
    InstrumentPolicy {
        order_quantity_max: most,
        order_notional_min: instrument.notional_min,
        instrument,
        order_notional_max: of("1000000"),
        position_notional_max: of("10000000"),
        orders_open_max: 100_000,
        collar: bps(100),
        last_collar: bps(9_000),
        fat_finger_max: 1_000_000,
        volatility_max: bps(1_000_000),
    }
}

/// A policy for these instruments that stops nothing that is sound.
#[must_use]
pub fn policy(instruments: Vec<InstrumentPolicy>) -> RiskPolicy {
    let most: Usd = of("1000000000");
    RiskPolicy {
        hard_limits: Hash([0x4c; 32]),
        venues: vec![Venue::Bybit],
        book_age_ms_max: 1_000,
        clock_error_ms_max: 5_000,
        orders_open_max: 100_000,
        daily_loss_max: of("1000000"),
        drawdown_max: of("1000000"),
        capital: most,
        gross_exposure_max: most,
        net_exposure_max: most,
        leverage_max: bps(1_000_000),
        concentration_max: bps(1_000_000),
        probe_notional_max: of("10"),
        strategy: StrategyPolicy {
            orders_open_max: 100_000,
            orders_per_second_max: 2_000,
            messages_per_second_max: 2_000,
            cancels_per_minute_max: 10_000,
            position_notional_max: most,
            daily_loss_max: of("1000000"),
            repeated_fills_max: 10_000,
            repeated_window_ms: 60_000,
            same_order_ms: 1,
        },
        breakers: deaf_breakers(),
        groups: vec![],
        instruments,
    }
}

/// Circuit breakers with the figures of the policy that comes with the product.
#[must_use]
pub fn breakers() -> BreakersPolicy {
    let minutes = |minutes: u64| minutes * 60;
    let breaker = |failures, window, consecutive, percent, recovery| BreakerPolicy {
        failures,
        window_s: minutes(window),
        consecutive,
        percent,
        recovery_s: minutes(recovery),
    };
    BreakersPolicy {
        hsm_failure: breaker(3, 10, Some(2), None, 60),
        system_error: breaker(10, 20, Some(5), Some(40), 30),
        network: breaker(3, 5, Some(2), Some(60), 15),
        confirmation_timeout: breaker(5, 30, Some(3), Some(50), 60),
        trade_failure: breaker(5, 10, Some(3), Some(80), 30),
        market_volatility: breaker(10, 30, None, None, 60),
        slippage: breaker(8, 15, Some(4), Some(70), 45),
    }
}

/// Circuit breakers that take a thousand failures within a second to trip.
#[must_use]
pub fn deaf_breakers() -> BreakersPolicy {
    let deaf = BreakerPolicy {
        failures: 1_000,
        window_s: 1,
        consecutive: None,
        percent: None,
        recovery_s: 60,
    };
    BreakersPolicy {
        hsm_failure: deaf.clone(),
        system_error: deaf.clone(),
        network: deaf.clone(),
        confirmation_timeout: deaf.clone(),
        trade_failure: deaf.clone(),
        market_volatility: deaf.clone(),
        slippage: deaf,
    }
}

fn bps(value: u32) -> Bps {
    Bps::new(value).unwrap_or_else(|error| panic!("{value} basis points: {error}"))
}

fn of<T: FromStr<Err: std::fmt::Display>>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|error| panic!("{text:?} {error}"))
}

/// An instrument of that name with the filters of [`xrp`].
#[must_use]
pub fn like_xrp(symbol: &str) -> Instrument {
    Instrument {
        symbol: of::<Symbol>(symbol),
        ..xrp()
    }
}
