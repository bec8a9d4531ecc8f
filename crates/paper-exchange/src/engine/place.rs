//! Placing an order: the venue's checks, then acceptance and matching.

use rust_decimal::Decimal;

use super::order::{Ending, Order, OrderType, Side, Status, TimeInForce};
use super::refusal::Refusal;
use super::{Effects, Engine, Event, Notice, ORDERS_MAX, uuid};
use crate::clock::TimeMs;
use crate::decimal;
use crate::instrument::Instrument;

/// Longest client order id.
const LINK_ID_MAX: usize = 36;

/// An order as a client asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlaceRequest {
    pub symbol: String,
    pub side: Side,
    pub order_type: OrderType,
    pub time_in_force: TimeInForce,
    /// In base coin.
    pub qty: Decimal,
    /// Of a limit order, in USDT.
    pub price: Option<Decimal>,
    /// Empty when the client gives none.
    pub link_id: String,
    pub reduce_only: bool,
}

/// What a fault wants to happen to this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceFaults {
    /// Execute at most this share of the quantity at once, as a ratio.
    pub fill_at_most: Option<Decimal>,
    /// Accept, then reject on the stream.
    pub reject: bool,
}

impl Engine {
    /// Places an order; answers the venue's id. All checks come before the first change.
    pub(crate) fn place(
        &mut self,
        now: TimeMs,
        account: &str,
        request: &PlaceRequest,
        faults: PlaceFaults,
        effects: &mut Effects,
    ) -> Result<String, Refusal> {
        let order = self.checked(now, account, request)?;
        let (seq, order_id) = (order.seq, order.order_id.clone());
        let cap = faults.fill_at_most.and_then(|share| {
            let market = self.markets.get(&order.symbol)?;
            Some(market.instrument.qty_floor(order.qty * share))
        });
        self.emit(
            Event::Accepted {
                order: Box::new(order.clone()),
            },
            effects,
        );
        effects.notices.push(Notice::Order(Box::new(order)));
        if faults.reject {
            self.close(now, seq, Status::Rejected, Ending::Rejected, effects);
        } else {
            self.match_incoming(now, seq, cap, effects);
        }
        Ok(order_id)
    }

    fn checked(
        &self,
        now: TimeMs,
        account: &str,
        request: &PlaceRequest,
    ) -> Result<Order, Refusal> {
        let market = self
            .markets
            .get(&request.symbol)
            .ok_or(Refusal::Parameter("symbol invalid"))?;
        let held = self.accounts.get(account).ok_or(Refusal::ApiKey)?;
        self.check_link_id(account, &request.link_id)?;
        let instrument = &market.instrument;
        check_quantity(instrument, request.order_type, request.qty)?;
        let mark = market.mark();
        let price = match request.order_type {
            OrderType::Limit => {
                let price = request.price.ok_or(Refusal::Parameter("Price invalid"))?;
                check_price(instrument, request.side, price, mark)?;
                price
            }
            OrderType::Market => self.market_cap(instrument, request.side, mark),
        };
        if !request.reduce_only && price * request.qty < instrument.min_notional {
            return Err(Refusal::BelowMinimumValue(decimal::text(
                instrument.min_notional,
            )));
        }
        let position = held
            .positions
            .get(&request.symbol)
            .cloned()
            .unwrap_or_default();
        if request.reduce_only && position.closable(request.side).is_zero() {
            return Err(Refusal::ReduceOnly);
        }
        let open = held
            .open_count
            .get(&request.symbol)
            .copied()
            .unwrap_or_default();
        if open >= self.rules.open_orders_max {
            return Err(Refusal::TooManyOrders);
        }
        if self.orders.len() >= ORDERS_MAX {
            return Err(Refusal::Internal(
                "order history is full; start with a new state directory",
            ));
        }
        if !request.reduce_only {
            let mut after = position.clone();
            after.open_mut(request.side).add(request.qty, price);
            let margin = after.order_margin() - position.order_margin();
            let fee = if margin > Decimal::ZERO {
                price * request.qty * self.rules.taker_fee
            } else {
                Decimal::ZERO
            };
            if margin + fee > Decimal::ZERO && margin + fee > self.available(held) {
                return Err(Refusal::InsufficientBalance);
            }
        }
        let seq = self.order_seq.saturating_add(1);
        Ok(Order {
            seq,
            priority: self.priority.saturating_add(1),
            account: account.to_owned(),
            order_id: uuid(1, seq),
            link_id: request.link_id.clone(),
            symbol: request.symbol.clone(),
            side: request.side,
            order_type: request.order_type,
            time_in_force: match request.order_type {
                OrderType::Limit => request.time_in_force,
                OrderType::Market => TimeInForce::ImmediateOrCancel,
            },
            price,
            qty: request.qty,
            reduce_only: request.reduce_only,
            status: Status::New,
            ending: Ending::None,
            filled_qty: Decimal::ZERO,
            filled_value: Decimal::ZERO,
            fee: Decimal::ZERO,
            last_price_on_created: market.last().unwrap_or_default(),
            created_ms: now,
            updated_ms: now,
        })
    }

    fn check_link_id(&self, account: &str, link_id: &str) -> Result<(), Refusal> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if link_id.len() > LINK_ID_MAX || !link_id.bytes().all(allowed) {
            return Err(Refusal::Parameter("orderLinkId invalid"));
        }
        let key = (account.to_owned(), link_id.to_owned());
        if !link_id.is_empty() && self.by_link_id.contains_key(&key) {
            return Err(Refusal::DuplicateLinkId);
        }
        Ok(())
    }

    /// The price beyond which a market order does not go.
    fn market_cap(&self, instrument: &Instrument, side: Side, mark: Option<Decimal>) -> Decimal {
        let mark = mark.unwrap_or(instrument.start_price);
        let ratio = match side {
            Side::Buy => Decimal::ONE + self.rules.market_cap_ratio,
            Side::Sell => Decimal::ONE - self.rules.market_cap_ratio,
        };
        instrument
            .price_floor(mark * ratio)
            .max(instrument.tick_size)
    }
}

/// Step and bounds of a quantity.
pub(super) fn check_quantity(
    instrument: &Instrument,
    order_type: OrderType,
    qty: Decimal,
) -> Result<(), Refusal> {
    let max = match order_type {
        OrderType::Limit => instrument.max_qty,
        OrderType::Market => instrument.max_market_qty,
    };
    if qty < instrument.min_qty || qty != instrument.qty_floor(qty) {
        return Err(Refusal::Parameter("Qty invalid"));
    }
    if qty > max {
        return Err(Refusal::Parameter(
            "The number of contracts exceeds maximum limit allowed: too large",
        ));
    }
    Ok(())
}

/// Tick and bounds of a price.
pub(super) fn check_price(
    instrument: &Instrument,
    side: Side,
    price: Decimal,
    mark: Option<Decimal>,
) -> Result<(), Refusal> {
    if price < instrument.tick_size || price != instrument.price_floor(price) {
        return Err(Refusal::Parameter("Price invalid"));
    }
    let Some(mark) = mark else { return Ok(()) };
    let too_far = match side {
        Side::Buy => price > mark * (Decimal::ONE + instrument.price_limit_ratio),
        Side::Sell => price < mark * (Decimal::ONE - instrument.price_limit_ratio),
    };
    if too_far {
        Err(Refusal::PriceRange)
    } else {
        Ok(())
    }
}
