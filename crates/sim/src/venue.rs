//! The simulated venue: takes a request only if its signature covers its exact text, knows each
//! client order id once, fills in parts, and says later what happened, or never.

mod alter;

use std::collections::BTreeMap;

use execution_core::{Movement, VenueOrder, VenueState};
use hmac::{Hmac, KeyInit, Mac};
use portcullis_domain::{
    Exposure, Fill, OrderId, Side, Symbol, Timestamp, Usd, VenueExecutionId, VenueOrderId,
};
use portcullis_venue::bybit::{Method, RECV_WINDOW_MS, Request, VenueError, text_to_sign};
use portcullis_wire::Text;
use rust_decimal::Decimal;
use serde_json::Value;
use sha2::Sha256;

use crate::market::Market;
use crate::random::Random;
use crate::settings::{Listing, READING_SECRET, TRADING_SECRET};
use crate::sure;

/// How far ahead of the venue's clock a request's time may be.
const AHEAD_MS_MAX: u64 = 1_000;

/// What goes beside a request.
#[derive(Clone, Debug)]
pub struct Signature {
    pub timestamp_ms: u64,
    pub api_key: Text,
    pub signature: Text,
}

/// What the venue answers.
#[derive(Clone, Debug)]
pub enum Reply {
    Acknowledged(VenueOrderId),
    Refused(VenueError),
    Done,
    Orders(Vec<VenueOrder>),
    Fills(Vec<Fill>),
    Positions(Vec<(Symbol, Exposure)>),
    Cash(Usd),
    Movements(Vec<Movement>),
}

/// What the venue's stream tells.
#[derive(Clone, Debug)]
pub enum Pushed {
    Order(VenueOrder),
    Fill(Fill),
}

#[derive(Clone, Debug)]
struct Resting {
    id: OrderId,
    venue_order: VenueOrderId,
    symbol: Symbol,
    side: Side,
    steps: i64,
    filled: i64,
    price: i64,
    /// Steps and price as they came, whatever somebody made of them.
    ordered: (i64, i64),
    state: VenueState,
    taken_at: Timestamp,
}

/// The venue.
#[derive(Debug, Default)]
pub struct Venue {
    orders: BTreeMap<VenueOrderId, Resting>,
    by_link: BTreeMap<OrderId, VenueOrderId>,
    pub fills: Vec<Fill>,
    positions: BTreeMap<Symbol, Exposure>,
    /// What was paid and received for fills, and moved without one.
    pub cash: Decimal,
    /// What moved without a fill.
    pub movements: Vec<Movement>,
    /// What the stream has to tell.
    pub pushed: Vec<Pushed>,
    /// How many placements were taken under each client order id.
    pub taken: BTreeMap<OrderId, u64>,
    /// Requests whose signature did not fit: an honest system never sends one.
    pub unsigned: Vec<String>,
    /// Open orders of somebody else.
    foreign: Vec<VenueOrder>,
    numbers: u64,
}

/// HMAC-SHA256 in lower-case hexadecimal, as the venue wants it.
pub fn sign(secret: &[u8], text: &str) -> Text {
    let mut mac = sure(Hmac::<Sha256>::new_from_slice(secret), "a key");
    mac.update(text.as_bytes());
    let tag = mac.finalize().into_bytes();
    let digits: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    Text::lossy(&digits)
}

impl Venue {
    /// Takes one request.
    pub fn take(
        &mut self,
        now: Timestamp,
        request: &Request,
        signature: &Signature,
        markets: &[Market],
        random: &mut Random,
        twice_allowed: bool,
    ) -> Reply {
        let secret = match signature.api_key.as_str() {
            "SIMTRADE" => TRADING_SECRET,
            "SIMREAD" if request.method == Method::Get => READING_SECRET,
            _ => return self.unsigned(request),
        };
        let key = signature.api_key.as_str();
        let text = text_to_sign(signature.timestamp_ms, key, &request.payload);
        if sign(secret, &text) != signature.signature {
            return self.unsigned(request);
        }
        let now_ms = now.as_millis();
        if now_ms > signature.timestamp_ms + RECV_WINDOW_MS
            || signature.timestamp_ms > now_ms + AHEAD_MS_MAX
        {
            return Reply::Refused(VenueError::ClockSkew);
        }
        match (request.path, request.method) {
            ("/v5/order/create", Method::Post) => {
                let placed = self.place(now, &request.payload, markets, random, twice_allowed);
                placed.unwrap_or(Reply::Refused(VenueError::Invalid))
            }
            ("/v5/order/cancel-all", Method::Post) => {
                let body: Value = serde_json::from_str(&request.payload).unwrap_or_default();
                self.cancel_all(
                    body.get("symbol")
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                );
                Reply::Done
            }
            ("/v5/order/realtime", Method::Get) => self.read_orders(now, &request.payload, random),
            ("/v5/position/list", Method::Get) => {
                let held = self.positions().into_iter().collect();
                Reply::Positions(held)
            }
            ("/v5/account/wallet-balance", Method::Get) => {
                Reply::Cash(sure(Usd::new(self.cash), "an amount"))
            }
            ("/v5/execution/list", Method::Get) => {
                let since = since(&request.payload);
                let fills = self.fills.iter().filter(|fill| fill.venue_time >= since);
                Reply::Fills(fills.cloned().collect())
            }
            ("/v5/account/transaction-log", Method::Get) => {
                let since = since(&request.payload);
                let movements = self.movements.iter();
                Reply::Movements(
                    movements
                        .filter(|moved| moved.at >= since)
                        .cloned()
                        .collect(),
                )
            }
            _ => Reply::Refused(VenueError::Invalid),
        }
    }

    /// Whether a login to the stream is signed as it must be.
    pub fn login(&mut self, text: &str, signature: &Signature) -> bool {
        let fits = signature.api_key.as_str() == "SIMREAD"
            && sign(READING_SECRET, text) == signature.signature;
        if !fits {
            self.unsigned.push(text.to_owned());
        }
        fits
    }

    /// Positions that are not flat.
    pub fn positions(&self) -> BTreeMap<Symbol, Exposure> {
        let held = self.positions.iter();
        held.filter(|(_, position)| **position != Exposure::FLAT)
            .map(|(symbol, position)| (*symbol, *position))
            .collect()
    }

    /// What the open orders may still fill, by instrument and side.
    pub fn open(&self) -> BTreeMap<OrderId, (Symbol, Side, Decimal)> {
        let open = self.orders.values().filter(|order| order.is_open());
        open.map(|order| {
            let left = Decimal::new(
                order.steps - order.filled,
                listing(order.symbol).step_places,
            );
            (order.id, (order.symbol, order.side, left.normalize()))
        })
        .collect()
    }

    /// Whether an order may still fill.
    pub fn rests(&self, order: &OrderId) -> bool {
        let found = self.by_link.get(order).and_then(|id| self.orders.get(id));
        found.is_some_and(Resting::is_open)
    }

    /// Somebody trades on the account who is not execution.
    pub fn shift(&mut self, symbol: Symbol, by: Decimal) {
        let held = self.positions.entry(symbol).or_insert(Exposure::FLAT);
        *held = sure(Exposure::new(held.get() + by), "a position");
    }

    /// Somebody else's order rests on the account.
    pub fn place_foreign(&mut self, symbol: Symbol) {
        self.numbers += 1;
        self.foreign.push(VenueOrder {
            order: None,
            venue_order: sure(VenueOrderId::new(&format!("f{}", self.numbers)), "an id"),
            symbol,
            side: Side::Buy,
            quantity: listing(symbol).quantity(20),
            limit_price: Some(listing(symbol).price(listing(symbol).mid_ticks / 2)),
            state: VenueState::Open,
            filled: None,
            detail: Text::lossy(""),
        });
    }

    pub fn foreign_gone(&mut self, symbol: Symbol) {
        self.foreign.retain(|order| order.symbol != symbol);
    }

    /// The venue cancels an order by itself.
    pub fn end_one(&mut self, random: &mut Random) -> Option<OrderId> {
        let open: Vec<(OrderId, VenueOrderId)> = self
            .orders
            .values()
            .filter(|order| order.is_open())
            .map(|order| (order.id, order.venue_order))
            .collect();
        let (order, id) = (!open.is_empty()).then(|| random.pick(&open))?;
        self.end(id, VenueState::Cancelled);
        Some(order)
    }

    /// What was filled before an order was cancelled is told only now.
    pub fn fill_late(&mut self, now: Timestamp, random: &mut Random) -> Option<OrderId> {
        let cancelled: Vec<(OrderId, VenueOrderId, i64, i64)> = self
            .orders
            .values()
            .filter(|order| order.state == VenueState::Cancelled && order.fillable() > 0)
            .map(|order| (order.id, order.venue_order, order.fillable(), order.price))
            .collect();
        let (order, id, left, price) = (!cancelled.is_empty()).then(|| random.pick(&cancelled))?;
        let steps = random.between(1, left.unsigned_abs()) as i64;
        self.fill(now, id, steps, price);
        Some(order)
    }

    /// The market moves: what crosses fills, and what rests fills so many times in a thousand.
    pub fn trade(&mut self, now: Timestamp, market: &Market, random: &mut Random, fills: u64) {
        let symbol = market.symbol();
        let open: Vec<VenueOrderId> = self
            .orders
            .values()
            .filter(|order| order.symbol == symbol && order.is_open())
            .map(|order| order.venue_order)
            .collect();
        for id in open {
            let Some(order) = self.orders.get(&id) else {
                continue;
            };
            let crossed = match order.side {
                Side::Buy => order.price >= market.ask(),
                Side::Sell => order.price <= market.bid(),
            };
            if crossed || random.chance(fills) {
                let left = order.fillable();
                if left < 1 {
                    continue;
                }
                let part = random.between(1, left.unsigned_abs()) as i64;
                let price = order.price;
                self.fill(now, id, if random.chance(400) { left } else { part }, price);
            }
        }
    }

    fn unsigned(&mut self, request: &Request) -> Reply {
        self.unsigned.push(request.payload.clone());
        Reply::Refused(VenueError::Authentication)
    }

    fn place(
        &mut self,
        now: Timestamp,
        payload: &str,
        markets: &[Market],
        random: &mut Random,
        twice_allowed: bool,
    ) -> Option<Reply> {
        let body: Value = serde_json::from_str(payload).ok()?;
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        if text("category")? != "linear" || text("orderType")? != "Limit" {
            return None;
        }
        let id = OrderId::from_hex(text("orderLinkId")?).ok()?;
        let market = markets
            .iter()
            .find(|market| Some(market.listing.symbol) == text("symbol"))?;
        let side = match text("side")? {
            "Buy" => Side::Buy,
            "Sell" => Side::Sell,
            _ => return None,
        };
        let units = |name: &str, places: u32| {
            let value = Decimal::from_str_exact(text(name)?).ok()?;
            Listing::units(value, places).filter(|units| *units > 0)
        };
        let steps = units("qty", market.listing.step_places)?;
        let price = units("price", market.listing.tick_places)?;
        if self.by_link.contains_key(&id) && !twice_allowed {
            return Some(Reply::Refused(VenueError::Duplicate));
        }
        if body.get("reduceOnly")?.as_bool()? && !self.reduces(market.symbol(), side) {
            return Some(Reply::Refused(VenueError::Invalid));
        }
        self.numbers += 1;
        let venue_order = sure(VenueOrderId::new(&format!("v{}", self.numbers)), "an id");
        *self.taken.entry(id).or_default() += 1;
        self.by_link.insert(id, venue_order);
        self.orders.insert(
            venue_order,
            Resting {
                id,
                venue_order,
                symbol: market.symbol(),
                side,
                steps,
                filled: 0,
                price,
                ordered: (steps, price),
                state: VenueState::Open,
                taken_at: now,
            },
        );
        let (crosses, at) = match side {
            Side::Buy => (price >= market.ask(), market.ask()),
            Side::Sell => (price <= market.bid(), market.bid()),
        };
        let part = random.between(1, steps.unsigned_abs()) as i64;
        match text("timeInForce")? {
            "PostOnly" if crosses => self.end(venue_order, VenueState::Cancelled),
            "GTC" if crosses => {
                self.push_order(venue_order);
                self.fill(now, venue_order, part, at);
            }
            "FOK" if crosses => self.fill(now, venue_order, steps, at),
            "IOC" if crosses => {
                self.fill(now, venue_order, part, at);
                self.end(venue_order, VenueState::Cancelled);
            }
            "FOK" | "IOC" => self.end(venue_order, VenueState::Cancelled),
            _ => self.push_order(venue_order),
        }
        Some(Reply::Acknowledged(venue_order))
    }

    fn reduces(&self, symbol: Symbol, side: Side) -> bool {
        self.positions.get(&symbol).is_some_and(|held| match side {
            Side::Buy => held.is_short(),
            Side::Sell => held.is_long(),
        })
    }

    fn cancel_all(&mut self, symbol: &str) {
        let open: Vec<VenueOrderId> = self
            .orders
            .values()
            .filter(|order| order.symbol.as_str() == symbol && order.is_open())
            .map(|order| order.venue_order)
            .collect();
        for id in open {
            self.end(id, VenueState::Cancelled);
        }
        self.foreign.retain(|order| order.symbol.as_str() != symbol);
    }

    fn read_orders(&self, now: Timestamp, query: &str, random: &mut Random) -> Reply {
        let Some(link) = argument(query, "orderLinkId") else {
            let open = self.orders.values().filter(|order| order.is_open());
            let ours = open.map(Resting::told);
            return Reply::Orders(ours.chain(self.foreign.iter().cloned()).collect());
        };
        let found = OrderId::from_hex(link)
            .ok()
            .and_then(|id| self.by_link.get(&id))
            .and_then(|id| self.orders.get(id));
        match found {
            // What was taken a moment ago is not always there to be read yet.
            Some(order) if now.since(order.taken_at).as_millis() > 500 || random.chance(500) => {
                Reply::Orders(vec![order.told()])
            }
            Some(_) | None => Reply::Orders(Vec::new()),
        }
    }

    fn fill(&mut self, now: Timestamp, id: VenueOrderId, steps: i64, ticks: i64) {
        let Some(order) = self.orders.get_mut(&id) else {
            return;
        };
        let listing = listing(order.symbol);
        let quantity = listing.quantity(steps);
        let price = listing.price(ticks);
        let notional = sure(price.notional(quantity), "a notional");
        let fee = (notional.get() * Decimal::new(55, 5))
            .round_dp(8)
            .normalize();
        order.filled += steps;
        self.numbers += 1;
        let fill = Fill {
            execution: sure(
                VenueExecutionId::new(&format!("x{}", self.numbers)),
                "an id",
            ),
            order: order.id,
            venue_order: id,
            symbol: order.symbol,
            side: order.side,
            price,
            quantity,
            fee: sure(Usd::new(fee), "a fee"),
            // The venue's times are whole milliseconds.
            venue_time: Timestamp::from_millis(now.as_millis()),
        };
        let position = self.positions.entry(order.symbol).or_insert(Exposure::FLAT);
        *position = sure(order.side.applied(*position, quantity), "a position");
        let whole = order.filled == order.steps;
        self.cash -= fee;
        match fill.side {
            Side::Buy => self.cash -= notional.get(),
            Side::Sell => self.cash += notional.get(),
        }
        self.fills.push(fill.clone());
        self.pushed.push(Pushed::Fill(fill));
        if whole {
            self.end(id, VenueState::Filled);
        } else {
            self.push_order(id);
        }
    }

    fn end(&mut self, id: VenueOrderId, state: VenueState) {
        if let Some(order) = self.orders.get_mut(&id)
            && order.is_open()
        {
            order.state = state;
            self.push_order(id);
        }
    }

    fn push_order(&mut self, id: VenueOrderId) {
        if let Some(order) = self.orders.get(&id) {
            self.pushed.push(Pushed::Order(order.told()));
        }
    }
}

impl Resting {
    const fn is_open(&self) -> bool {
        matches!(self.state, VenueState::Open)
    }

    fn told(&self) -> VenueOrder {
        VenueOrder {
            order: Some(self.id),
            venue_order: self.venue_order,
            symbol: self.symbol,
            side: self.side,
            quantity: listing(self.symbol).quantity(self.steps),
            limit_price: Some(listing(self.symbol).price(self.price)),
            state: self.state,
            filled: (self.filled > 0).then(|| listing(self.symbol).quantity(self.filled)),
            detail: Text::lossy(""),
        }
    }
}

fn listing(symbol: Symbol) -> Listing {
    let found = crate::settings::LISTINGS
        .iter()
        .find(|listing| listing.symbol == symbol.as_str());
    sure(found.copied().ok_or(symbol), "a listed instrument")
}

/// From when on it is asked.
fn since(query: &str) -> Timestamp {
    let since = argument(query, "startTime").and_then(|text| text.parse::<u64>().ok());
    Timestamp::from_millis(since.unwrap_or(0))
}

fn argument<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}
