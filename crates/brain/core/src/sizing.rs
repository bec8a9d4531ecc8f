//! The price and the size of an order: at the venue's filters, rounded towards less exposure.

use portcullis_domain::{
    Bps, Instrument, InstrumentError, Price, Quantity, Reason, RiskProfile, Side, Usd,
};
use portcullis_wire::messages::{InstrumentPolicy, Proposal, Size};

use crate::known::Quote;

/// The worst price of an order: what the strategy asks for, if its profile allows it, or else the
/// widest that profile and collar allow.
pub fn limit_price(
    proposal: &Proposal,
    profile: RiskProfile,
    limits: &InstrumentPolicy,
    mid: Price,
) -> Result<Price, Reason> {
    let slippage = Bps::new(profile.slippage_bps_max()).map_err(|_| Reason::Overflow)?;
    let price = match proposal.limit_price {
        Some(asked) => {
            let widest = away(proposal.side, mid, slippage)?;
            let beyond = match proposal.side {
                Side::Buy => asked > widest,
                Side::Sell => asked < widest,
            };
            if beyond {
                return Err(Reason::PriceCollar);
            }
            asked
        }
        None => away(proposal.side, mid, slippage.min(limits.collar))?,
    };
    limits
        .instrument
        .round_price(proposal.side, price)
        .map_err(reason)
}

fn away(side: Side, mid: Price, by: Bps) -> Result<Price, Reason> {
    match side {
        Side::Buy => mid.raised(by),
        Side::Sell => mid.lowered(by),
    }
    .map_err(|_| Reason::Overflow)
}

/// How much to trade. What is asked for by value is never more than that at any price that the
/// order can fill at now: a buyer pays its limit at most; a seller gets the best bid if that is
/// above its limit.
pub fn quantity(
    proposal: &Proposal,
    limit_price: Price,
    quote: &Quote,
    instrument: &Instrument,
) -> Result<Quantity, Reason> {
    let wanted = match (proposal.size, proposal.side) {
        (Size::Quantity(quantity), _) => quantity,
        (Size::Notional(value), Side::Buy) => units(value, limit_price)?,
        (Size::Notional(value), Side::Sell) => units(value, limit_price.max(quote.best_bid))?,
    };
    let rounded = instrument.round_quantity(wanted).map_err(reason)?;
    let notional = limit_price
        .notional(rounded)
        .map_err(|_| Reason::Overflow)?;
    if notional < instrument.notional_min {
        Err(Reason::OrderTooSmall)
    } else {
        Ok(rounded)
    }
}

fn units(value: Usd, price: Price) -> Result<Quantity, Reason> {
    if value <= Usd::ZERO {
        return Err(Reason::OrderTooSmall);
    }
    value.quantity_at(price).map_err(|error| match error {
        portcullis_domain::AmountError::NotPositive => Reason::OrderTooSmall,
        portcullis_domain::AmountError::NotANumber
        | portcullis_domain::AmountError::TooLarge
        | portcullis_domain::AmountError::TooFine => Reason::Overflow,
    })
}

fn reason(error: InstrumentError) -> Reason {
    match error {
        InstrumentError::TooSmall => Reason::OrderTooSmall,
        InstrumentError::TooLarge => Reason::OrderTooLarge,
        InstrumentError::Price => Reason::VenueFilters,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Symbol, TimeInForce};
    use portcullis_testkit::policies;

    use super::*;

    fn limits() -> InstrumentPolicy {
        InstrumentPolicy {
            collar: Bps::new(150).unwrap(),
            ..policies::wide(Instrument {
                tick_size: "0.01".parse().unwrap(),
                quantity_min: "0.2".parse().unwrap(),
                quantity_max: "1000".parse().unwrap(),
                ..policies::xrp()
            })
        }
    }

    fn proposal(side: Side, size: Size, limit_price: Option<&str>) -> Proposal {
        Proposal {
            symbol: Symbol::new("XRPUSDT").unwrap(),
            side,
            size,
            limit_price: limit_price.map(|price| price.parse().unwrap()),
            time_in_force: TimeInForce::ImmediateOrCancel,
            reduce_only: false,
        }
    }

    #[test]
    fn a_price_is_asked_for_within_the_profile_or_else_the_widest_allowed() {
        use RiskProfile::{Aggressive, Conservative, Moderate};
        let one = Size::Quantity("1".parse().unwrap());
        // The middle is 100; the collar is 1.5 %.
        let cases = [
            (Side::Buy, Conservative, None, Ok("100.5")),
            (Side::Buy, Moderate, None, Ok("101")),
            (Side::Buy, Aggressive, None, Ok("101.5")),
            (Side::Sell, Conservative, None, Ok("99.5")),
            (Side::Sell, Aggressive, None, Ok("98.5")),
            (Side::Buy, Conservative, Some("100.5"), Ok("100.5")),
            (
                Side::Buy,
                Conservative,
                Some("100.51"),
                Err(Reason::PriceCollar),
            ),
            (Side::Sell, Conservative, Some("99.5"), Ok("99.5")),
            (
                Side::Sell,
                Conservative,
                Some("99.49"),
                Err(Reason::PriceCollar),
            ),
            (Side::Buy, Conservative, Some("42"), Ok("42")),
            (Side::Buy, Conservative, Some("99.999"), Ok("99.99")),
            (Side::Sell, Conservative, Some("100.001"), Ok("100.01")),
            (
                Side::Buy,
                Conservative,
                Some("0.001"),
                Err(Reason::VenueFilters),
            ),
        ];
        for (side, profile, asked, expected) in cases {
            let proposal = proposal(side, one, asked);
            let got = limit_price(&proposal, profile, &limits(), "100".parse().unwrap());
            assert_eq!(
                got,
                expected.map(|price| price.parse().unwrap()),
                "{side} {asked:?}"
            );
        }
    }

    #[test]
    fn a_size_is_never_more_than_asked_for() {
        let units = |text: &str| Size::Quantity(text.parse().unwrap());
        let value = |text: &str| Size::Notional(text.parse().unwrap());
        // side, size, limit price; the best bid is 99
        let cases = [
            (Side::Buy, units("1.29"), "100", Ok("1.2")),
            (Side::Buy, units("0.19"), "100", Err(Reason::OrderTooSmall)),
            (
                Side::Buy,
                units("1000.1"),
                "100",
                Err(Reason::OrderTooLarge),
            ),
            (Side::Buy, units("0.2"), "24", Err(Reason::OrderTooSmall)),
            (Side::Buy, value("50"), "100", Ok("0.5")),
            (Side::Buy, value("59"), "100", Ok("0.5")),
            (Side::Buy, value("50"), "50", Ok("1")),
            (Side::Sell, value("99"), "90", Ok("1")),
            (Side::Sell, value("110"), "110", Ok("1")),
            (Side::Buy, value("0"), "100", Err(Reason::OrderTooSmall)),
            (Side::Buy, value("-50"), "100", Err(Reason::OrderTooSmall)),
            (
                Side::Buy,
                value("0.000000000001"),
                "100",
                Err(Reason::OrderTooSmall),
            ),
            (
                Side::Buy,
                value("1000000000000000"),
                "0.01",
                Err(Reason::Overflow),
            ),
        ];
        let quote = Quote::of("100", "99");
        for (side, size, price, expected) in cases {
            let proposal = proposal(side, size, Some(price));
            let got = quantity(
                &proposal,
                price.parse().unwrap(),
                &quote,
                &limits().instrument,
            );
            assert_eq!(
                got,
                expected.map(|text| text.parse().unwrap()),
                "{side} {size:?} {price}"
            );
        }
    }
}
