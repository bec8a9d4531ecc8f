//! What may be traded: tick, step, limits and margin of each instrument.

use rust_decimal::Decimal;
use serde::Deserialize;

use crate::decimal;

/// One USDT perpetual, with the filters that the venue publishes for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instrument {
    /// For example `BTCUSDT`.
    pub symbol: String,
    /// Smallest step of a price, in USDT.
    #[serde(with = "rust_decimal::serde::str")]
    pub tick_size: Decimal,
    /// Smallest step of a quantity, in base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub qty_step: Decimal,
    /// Smallest order, in base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub min_qty: Decimal,
    /// Largest limit order, in base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub max_qty: Decimal,
    /// Largest market order, in base coin.
    #[serde(with = "rust_decimal::serde::str")]
    pub max_market_qty: Decimal,
    /// Smallest value of an order, in USDT.
    #[serde(with = "rust_decimal::serde::str")]
    pub min_notional: Decimal,
    /// Highest leverage.
    #[serde(with = "rust_decimal::serde::str")]
    pub max_leverage: Decimal,
    /// Furthest a buy may lie above the mark price, and a sell below it, as a ratio.
    #[serde(with = "rust_decimal::serde::str")]
    pub price_limit_ratio: Decimal,
    /// Where the generator starts, in USDT.
    #[serde(with = "rust_decimal::serde::str")]
    pub start_price: Decimal,
}

impl Instrument {
    /// The instrument as the venue lists it, where this table knows it; round numbers otherwise.
    pub(crate) fn built_in(symbol: &str) -> Self {
        let (tick, step, max, max_market, leverage, start) = match symbol {
            "BTCUSDT" => ("0.1", "0.001", "1190", "500", "100", "60000"),
            "ETHUSDT" => ("0.01", "0.01", "7240", "724", "100", "3000"),
            "SOLUSDT" => ("0.01", "0.1", "79770", "16830", "100", "150"),
            "XRPUSDT" => ("0.0001", "1", "3000000", "500000", "75", "2"),
            _ => ("0.01", "0.01", "100000", "100000", "50", "100"),
        };
        let read = |text: &str| decimal::parse(text).unwrap_or(Decimal::ONE);
        Self {
            symbol: symbol.to_owned(),
            tick_size: read(tick),
            qty_step: read(step),
            min_qty: read(step),
            max_qty: read(max),
            max_market_qty: read(max_market),
            min_notional: read("5"),
            max_leverage: read(leverage),
            price_limit_ratio: read("0.1"),
            start_price: read(start),
        }
    }

    /// What would make the arithmetic of an order meaningless, in words; `None` when all is well.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let positive = [
            self.tick_size,
            self.qty_step,
            self.min_qty,
            self.max_qty,
            self.max_market_qty,
            self.max_leverage,
            self.price_limit_ratio,
            self.start_price,
        ];
        let bound = Decimal::from(1_000_000_000_u64);
        if !symbol_is_valid(&self.symbol) {
            Some("symbol must be 5 to 20 capital letters and digits ending in USDT")
        } else if positive
            .iter()
            .any(|value| *value <= Decimal::ZERO || *value > bound)
        {
            Some("every number must be above 0 and at most 1000000000")
        } else if self.min_notional < Decimal::ZERO {
            Some("min_notional must not be negative")
        } else if self.tick_size.normalize().scale() > 8 || self.qty_step.normalize().scale() > 8 {
            Some("tick_size and qty_step have at most 8 decimals")
        } else {
            None
        }
    }

    /// `BTC` of `BTCUSDT`.
    pub(crate) fn base_coin(&self) -> &str {
        self.symbol.strip_suffix("USDT").unwrap_or(&self.symbol)
    }

    /// Decimals of a price.
    pub(crate) fn price_scale(&self) -> u32 {
        self.tick_size.normalize().scale()
    }

    /// Decimals of a quantity.
    pub(crate) fn qty_scale(&self) -> u32 {
        self.qty_step.normalize().scale()
    }

    /// A price as the venue writes it.
    pub(crate) fn price_text(&self, price: Decimal) -> String {
        decimal::fixed(price, self.price_scale())
    }

    /// A quantity as the venue writes it.
    pub(crate) fn qty_text(&self, qty: Decimal) -> String {
        decimal::fixed(qty, self.qty_scale())
    }

    /// The largest multiple of the tick that is not above `price`.
    pub(crate) fn price_floor(&self, price: Decimal) -> Decimal {
        floor_to(price, self.tick_size)
    }

    /// The largest multiple of the quantity step that is not above `qty`.
    pub(crate) fn qty_floor(&self, qty: Decimal) -> Decimal {
        floor_to(qty, self.qty_step)
    }
}

/// Whether a symbol has the shape this exchange lists.
pub(crate) fn symbol_is_valid(symbol: &str) -> bool {
    (5..=20).contains(&symbol.len())
        && symbol.ends_with("USDT")
        && symbol
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn floor_to(value: Decimal, step: Decimal) -> Decimal {
    match value.checked_rem(step) {
        Some(rest) => value - rest,
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_instrument_is_sound() {
        for symbol in ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ANYUSDT"] {
            assert_eq!(Instrument::built_in(symbol).problem(), None, "{symbol}");
        }
    }

    #[test]
    fn refuses_an_instrument_whose_steps_are_zero() {
        let mut instrument = Instrument::built_in("BTCUSDT");
        instrument.qty_step = Decimal::ZERO;
        assert_eq!(
            instrument.problem(),
            Some("every number must be above 0 and at most 1000000000")
        );
    }
}
