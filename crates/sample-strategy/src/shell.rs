//! Listens, asks [`Reversion`], proposes; never faster than it may.

use std::collections::BTreeMap;

use portcullis_domain::{OrderId, Span, StrategyId, Symbol, TimeInForce, Timestamp};
use portcullis_runtime::config::ConfigError;
use portcullis_runtime::{BusError, Client, Ending, Raw, StartError};
use portcullis_wire::messages::{Outcome, Proposal, Size};
use portcullis_wire::principal::{Role, Strategy};
use portcullis_wire::subjects::{BOOK, DECISION, FILL, PROPOSAL, REPORT, Row, VERDICT};
use portcullis_wire::{Received, order_id};
use tokio::signal::unix::{SignalKind, signal};

use crate::Arguments;
use crate::config;
use crate::reversion::{Intent, Reversion};

/// How many messages may wait.
const QUEUE_LENGTH: usize = 4_096;

/// Why the strategy ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error("read the settings")]
    Config(#[from] ConfigError),
    /// The bus does not let it in.
    #[error("join the bus")]
    Start(#[from] StartError),
    /// It cannot listen.
    #[error("listen on the bus")]
    Listen(#[source] BusError),
    /// The identity is not that of a strategy.
    #[error("{0} is not the name of a strategy")]
    Name(String),
    /// Signals cannot be listened for.
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    /// The connection ended for good.
    #[error("connection to the bus has ended")]
    Ended,
    /// The bus denied something that a strategy needs.
    #[error("bus denied a permission")]
    Denied(#[source] portcullis_runtime::Fault),
}

/// Trades until it is told to stop, or has made as many proposals as it was asked for.
pub async fn run(arguments: Arguments) -> Result<(), Error> {
    let instruments = config::load(&arguments.config)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let client: Client<Strategy> = Client::connect(&arguments.identity, &arguments.bus).await?;
    let name = client.identity().name;
    let strategy = name
        .as_str()
        .strip_prefix(Role::Strategy.name())
        .and_then(|id| StrategyId::new(id).ok())
        .ok_or_else(|| Error::Name(name.to_string()))?;
    let mut subjects: Vec<(&'static Row, Option<&str>)> = vec![
        (DECISION.row, Some(strategy.as_str())),
        (VERDICT.row, Some(strategy.as_str())),
        (REPORT.row, Some(strategy.as_str())),
        (FILL.row, Some(strategy.as_str())),
    ];
    subjects.extend(
        instruments
            .keys()
            .map(|symbol| (BOOK.row, Some(symbol.as_str()))),
    );
    let mut inbox = client
        .listen(&subjects, QUEUE_LENGTH)
        .await
        .map_err(Error::Listen)?;
    tracing::info!(%strategy, instruments = instruments.len(), "trading");
    let reversions = instruments
        .into_iter()
        .map(|(symbol, settings)| (symbol, Reversion::new(settings)))
        .collect();
    let mut trader = Trader {
        client,
        strategy,
        reversions,
        orders: BTreeMap::new(),
        pace: Pace::new(arguments.per_second),
        proposals: 0,
    };
    let mut shutdown = trader.client.shutdown();
    while arguments.count.is_none_or(|count| trader.proposals < count) {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            ending = shutdown.wait() => match ending {
                Ending::Asked => break,
                Ending::Fault(fault) => return Err(Error::Denied(fault)),
            },
            raw = inbox.recv() => trader.take(&raw.ok_or(Error::Ended)?),
        }
    }
    // What was proposed last has left before the connection ends; if it has not, it expires.
    if let Err(error) = trader.client.flush().await {
        tracing::warn!(%error, "the last proposals may not have left");
    }
    trader.client.close().await;
    tracing::info!(proposals = trader.proposals, "stopped");
    Ok(())
}

struct Trader {
    client: Client<Strategy>,
    strategy: StrategyId,
    reversions: BTreeMap<Symbol, Reversion>,
    /// Which instrument an order is of: refusals do not say.
    orders: BTreeMap<OrderId, (Symbol, Timestamp)>,
    pace: Pace,
    proposals: u64,
}

/// An order that is older than this is forgotten.
const ORDER_REMEMBERED: Span = Span::from_secs(600);
/// The most orders that are remembered.
const ORDERS_MAX: usize = 4_096;

impl Trader {
    fn take(&mut self, raw: &Raw) {
        let now = self.client.now();
        if raw.is(&BOOK) {
            let book = self.client.open(&BOOK, raw).and_then(Received::fresh);
            let Some(book) = book else { return };
            let symbol = book.message().symbol();
            let Some(reversion) = self.reversions.get_mut(&symbol) else {
                return;
            };
            let intent = reversion.book(now, book.message());
            if let Some(intent) = intent.filter(|_| self.pace.allows(now)) {
                self.propose(now, symbol, intent);
            }
        } else if raw.is(&DECISION) {
            let decision = self.client.open(&DECISION, raw).and_then(Received::fresh);
            let Some(decision) = decision else { return };
            self.answered(now, decision.message().order, decision.message().outcome);
        } else if raw.is(&VERDICT) {
            let verdict = self.client.open(&VERDICT, raw).and_then(Received::fresh);
            let Some(verdict) = verdict else { return };
            self.answered(now, verdict.message().order, verdict.message().outcome);
        } else if raw.is(&REPORT) {
            let report = self.client.open(&REPORT, raw).and_then(Received::fresh);
            let Some(report) = report else { return };
            let report = report.message();
            if let Some(reversion) = self.reversions.get_mut(&report.symbol) {
                reversion.report(now, report);
            }
        } else if raw.is(&FILL) {
            let fill = self.client.open(&FILL, raw).and_then(Received::fresh);
            let Some(fill) = fill else { return };
            let fill = fill.message();
            if let Some(reversion) = self.reversions.get_mut(&fill.symbol) {
                reversion.fill(fill);
                tracing::info!(
                    order = %fill.order, symbol = %fill.symbol, side = %fill.side,
                    quantity = %fill.quantity, price = %fill.price,
                    position = %reversion.position(), "filled"
                );
            }
        }
    }

    fn propose(&mut self, now: Timestamp, symbol: Symbol, intent: Intent) {
        let proposal = Proposal {
            symbol,
            side: intent.side,
            size: Size::Quantity(intent.quantity),
            limit_price: Some(intent.limit_price),
            time_in_force: TimeInForce::ImmediateOrCancel,
            reduce_only: false,
        };
        let span = self.client.telemetry().span("propose", "");
        let sent = self.client.publish(
            &PROPOSAL,
            Some(self.strategy.as_str()),
            &proposal,
            None,
            Some(span.traceparent()),
        );
        match sent {
            Ok(sealed) => {
                let order = order_id(self.strategy, sealed.id);
                self.proposals = self.proposals.saturating_add(1);
                self.pace.took(now);
                self.remember(now, order, symbol);
                if let Some(reversion) = self.reversions.get_mut(&symbol) {
                    reversion.proposed(now, order, intent);
                }
                let Intent {
                    side,
                    quantity,
                    limit_price,
                } = intent;
                tracing::info!(%order, %symbol, %side, %quantity, %limit_price, "proposed");
            }
            // Nothing was kept for later: the next book is a new chance.
            Err(error) => tracing::warn!(%error, %symbol, "proposal not sent"),
        }
    }

    fn answered(&mut self, now: Timestamp, order: OrderId, outcome: Outcome) {
        let Some((symbol, _)) = self.orders.get(&order) else {
            return;
        };
        let symbol = *symbol;
        let Some(reversion) = self.reversions.get_mut(&symbol) else {
            return;
        };
        match outcome {
            Outcome::Passed => reversion.passed(order),
            Outcome::Refused(reason) => {
                reversion.refused(now, order);
                tracing::info!(%order, %symbol, %reason, "refused");
            }
        }
    }

    fn remember(&mut self, now: Timestamp, order: OrderId, symbol: Symbol) {
        if self.orders.len() >= ORDERS_MAX {
            self.orders
                .retain(|_, (_, at)| now.since(*at) < ORDER_REMEMBERED);
        }
        if self.orders.len() < ORDERS_MAX {
            self.orders.insert(order, (symbol, now));
        }
    }
}

/// Evenly spaced proposals.
#[derive(Debug)]
struct Pace {
    interval: Span,
    next: Timestamp,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        let interval = Span(1_000_000 / u64::from(per_second.max(1)));
        Self {
            interval,
            next: Timestamp(0),
        }
    }

    fn allows(&self, now: Timestamp) -> bool {
        now >= self.next
    }

    fn took(&mut self, now: Timestamp) {
        self.next = now.plus(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_keep_their_distance() {
        let mut pace = Pace::new(2);
        let start = Timestamp::from_millis(10_000);
        assert!(pace.allows(start));
        pace.took(start);
        assert!(!pace.allows(start.plus(Span::from_millis(499))));
        assert!(pace.allows(start.plus(Span::from_millis(500))));
    }
}
