//! Those without a core: the market and its data, the strategies, the operator.

use portcullis_domain::{Side, TimeInForce, Usd};
use portcullis_wire::Text;
use portcullis_wire::messages::{Closes, Kill, Proposal, Size, Trade};
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{BOOK, CLOSES, KILL, PROPOSAL, TRADE};
use rust_decimal::Decimal;

use crate::cast::Who;
use crate::faults::FILLS_USUAL;
use crate::planted::Bug;
use crate::sure;
use crate::world::{CHAOS_UNTIL, Event, MS, World};

/// Microseconds of a minute.
const MINUTE: u64 = 60_000_000;

impl World {
    pub(crate) fn market(&mut self) {
        self.schedule(100 * MS, Event::Market);
        let venue_time = self.venue_clock();
        for index in 0..self.markets.len() {
            let bps = if self.now < CHAOS_UNTIL {
                self.plan.market_bps
            } else {
                2
            };
            let Some(market) = self.markets.get_mut(index) else {
                return;
            };
            market.walk(&mut self.random, bps);
            let book = market.book(&mut self.random, venue_time);
            let (symbol, last) = (market.symbol(), market.listing.price(market.mid));
            let market = market.clone();
            let fills = if self.now < CHAOS_UNTIL {
                self.plan.fills
            } else {
                FILLS_USUAL
            };
            self.venue
                .trade(venue_time, &market, &mut self.random, fills);
            if !self.seat(Who::MarketData).up {
                continue;
            }
            self.publish(Who::MarketData, &BOOK, Some(symbol.as_str()), &book, None);
            if self.random.chance(200) {
                let trade = Trade {
                    symbol,
                    side: Side::Buy,
                    price: last,
                    quantity: market.listing.quantity(1),
                    venue_time,
                };
                self.publish(Who::MarketData, &TRADE, Some(symbol.as_str()), &trade, None);
                // The half hour before was calm: what moves within a run of a minute is judged by the
                // slippage of each order.
                let minute = (venue_time.0 / MINUTE).saturating_sub(1);
                let closes = Closes {
                    symbol,
                    minute,
                    closes: vec![last; Closes::MINUTES],
                };
                self.publish(
                    Who::MarketData,
                    &CLOSES,
                    Some(symbol.as_str()),
                    &closes,
                    None,
                );
            }
        }
        self.push_stream();
    }

    pub(crate) fn propose(&mut self) {
        if self.now < CHAOS_UNTIL {
            let after = self.random.between(10, 90) * MS;
            self.schedule(after, Event::Propose);
        }
        let who = self.random.pick(&[Who::Sample, Who::Other]);
        let market = self.random.between(0, self.markets.len() as u64 - 1) as usize;
        let Some(market) = self.markets.get(market).cloned() else {
            return;
        };
        let passive = self.random.chance(300);
        let side = self.random.pick(&[Side::Buy, Side::Sell]);
        let sign = if side == Side::Buy { -1 } else { 1 };
        let limit_price = passive.then(|| {
            let away = self.random.between(1, (market.mid / 400).unsigned_abs()) as i64;
            market.listing.price(market.mid + sign * away)
        });
        // After the faults also as small as a half-open breaker lets through.
        let small = self.now >= CHAOS_UNTIL && self.random.chance(300);
        let (least, most) = if small { (6, 9) } else { (50, 1_400) };
        let notional = Decimal::from(self.random.between(least, most));
        let proposal = Proposal {
            symbol: market.symbol(),
            side,
            size: Size::Notional(sure(Usd::new(notional), "an amount")),
            limit_price,
            time_in_force: self.random.pick(&[
                TimeInForce::GoodTillCancel,
                TimeInForce::GoodTillCancel,
                TimeInForce::ImmediateOrCancel,
                TimeInForce::FillOrKill,
                TimeInForce::PostOnly,
            ]),
            reduce_only: self.random.chance(100),
        };
        self.trace.count("proposal made");
        let name = who.name();
        let strategy = name.as_str().strip_prefix(Role::Strategy.name());
        self.publish(who, &PROPOSAL, strategy, &proposal, None);
    }

    pub(crate) fn kill(&mut self) {
        let kill = Kill {
            realm: self.deployment.realm(),
            operator: Who::Alice.name(),
            reason: Text::lossy("simulated"),
            at: self.clock(Who::Alice),
        };
        self.trace.count("fault: kill command");
        self.say(format_args!("alice pulls the kill switch"));
        let signed = self.deployment.signed(Who::Alice.text(), &kill);
        self.publish(Who::Alice, &KILL, None, &signed, None);
        // People press again until they see it work.
        let oracle = &self.oracle;
        let seen = oracle.guard_killed && oracle.signer_killed && oracle.execution_killed;
        if !seen && !self.has(Bug::ForgetsKill) {
            self.schedule(400 * MS, Event::Kill);
        }
    }
}
