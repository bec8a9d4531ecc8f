//! Steps the core with what the venue says, and publishes what comes of it.

use std::time::Duration;

use market_data_core::{Effect, Input, MarketData as Core, Request};
use portcullis_runtime::{BusError, ConfigError, Fault, Service, StartError, metrics, tracing};
use portcullis_wire::Text;
use portcullis_wire::messages::{Count, Notice, ServiceStatus};
use portcullis_wire::principal::MarketData;
use portcullis_wire::subjects::{BOOK, CLOSES, TRADE};
use tokio::time::MissedTickBehavior;

use crate::config::{Arguments, Config};
use crate::connector::{Command, Connector, Event, Order, Settings};
use crate::history::{self, History};

/// How often the core hears that time passes: a fifth of the shortest time between two books.
const TICK: Duration = Duration::from_millis(10);
/// How often the status is published.
const STATUS: Duration = Duration::from_secs(1);

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Its settings are not usable.
    #[error("load settings")]
    Config(#[from] ConfigError),
    /// It could not start.
    #[error("start market-data")]
    Start(#[from] StartError),
    /// TLS could not be set up.
    #[error("set up TLS for the venue's stream")]
    Tls(#[from] rustls::Error),
    /// The client of the venue's REST interface could not be set up.
    #[error("set up the client of the venue's REST interface")]
    History(#[from] history::SetupError),
    /// It could not go on.
    #[error("run market-data")]
    Run(#[from] Fault),
}

/// Runs the service until it is asked to end. A venue that is not there does not end it: it is not
/// ready then, says so, and tries again.
///
/// # Errors
/// [`Failure`], which says what to do.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::load(&arguments)?;
    let (service, _state) = Service::<MarketData>::start(&arguments.service).await?;
    service.notice(Notice::Started {
        version: Text::lossy(env!("CARGO_PKG_VERSION")),
        policy: None,
        kill: None,
    });
    let settings = Settings::new(config.stream, config.symbols.clone(), config.depth);
    let connector = Connector::start(settings)?;
    let history = History::start(&history::Settings::new(config.rest))?;
    let mut shell = Shell {
        service,
        connector,
        history,
        core: Core::new(config.symbols),
        connection: 0,
        detail: Text::lossy("not connected to the venue yet"),
        unsent: 0,
    };
    shell.serve().await;
    shell.service.stop().await?;
    Ok(())
}

struct Shell {
    service: Service<MarketData>,
    connector: Connector,
    history: History,
    core: Core,
    /// The number of the connection that the core knows.
    connection: u64,
    /// Why there is no connection, in words.
    detail: Text,
    /// Messages that did not go out because the bus was not there.
    unsent: u64,
}

impl Shell {
    async fn serve(&mut self) {
        let mut shutdown = self.service.shutdown();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut statuses = tokio::time::interval(STATUS);
        statuses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = shutdown.wait() => return,
                _ = ticks.tick() => self.step(Input::Tick),
                _ = statuses.tick() => self.status(),
                event = self.connector.events.recv() => match event {
                    Some(event) => self.heard(event),
                    None => {
                        self.service.fail("the connector has ended");
                        return;
                    }
                },
                answer = self.history.answers.recv() => match answer {
                    Some(input) => self.step(input),
                    None => {
                        self.service.fail("the client of the venue's REST interface has ended");
                        return;
                    }
                },
            }
        }
    }

    fn heard(&mut self, event: Event) {
        self.connection = event.connection;
        if let Input::Disconnected { detail } = &event.input {
            self.detail = detail.clone();
        }
        self.step(event.input);
    }

    fn step(&mut self, input: Input) {
        for effect in self.core.step(self.service.now(), input) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Book(book) => {
                let symbol = book.symbol();
                let sent = self
                    .service
                    .publish(&BOOK, Some(symbol.as_str()), &book, None, None);
                self.sent("book", sent.map(drop));
            }
            Effect::Trade(trade) => {
                let symbol = trade.symbol;
                let sent = self
                    .service
                    .publish(&TRADE, Some(symbol.as_str()), &trade, None, None);
                self.sent("trade", sent.map(drop));
            }
            Effect::Closes(closes) => {
                let symbol = closes.symbol;
                let sent =
                    self.service
                        .publish(&CLOSES, Some(symbol.as_str()), &closes, None, None);
                self.sent("closes", sent.map(drop));
            }
            Effect::Ask(request) => self.ask(request),
            Effect::Resubscribe(symbol) => self.command(Order::Resubscribe(symbol)),
            Effect::Reconnect => self.command(Order::Reconnect),
            Effect::Warning(detail) => {
                tracing::warn!(detail = detail.as_str(), "market data");
                self.service.notice(Notice::Warning { detail });
            }
        }
    }

    /// What does not go out now is not sent later: the next book says more.
    fn sent(&mut self, kind: &'static str, outcome: Result<(), BusError>) {
        match outcome {
            Ok(()) => {
                metrics::counter!("portcullis_market_data_published_total", "kind" => kind)
                    .increment(1);
            }
            Err(error) => {
                self.unsent = self.unsent.saturating_add(1);
                tracing::debug!(%error, kind, "not published");
            }
        }
    }

    /// The core waits for an answer to each request, so one that cannot be made is answered here.
    fn ask(&mut self, request: Request) {
        if !self.history.ask(request) {
            self.step(Input::Unanswered {
                request,
                detail: Text::lossy("too many requests wait for the venue"),
            });
        }
    }

    fn command(&self, order: Order) {
        if !self.connector.command(Command {
            connection: self.connection,
            order,
        }) {
            tracing::warn!(
                ?order,
                "the connection takes no more commands; asked again soon"
            );
        }
    }

    fn status(&mut self) {
        let problems = self.problems();
        let ready = problems.is_empty();
        let detail = Text::lossy(&problems.join("; "));
        self.service.set_ready(ready, detail.as_str());
        let counts = self.counts();
        for (name, value) in &counts {
            metrics::counter!("portcullis_market_data_total", "what" => *name).absolute(*value);
        }
        let counts = counts
            .into_iter()
            .map(|(name, value)| Count {
                name: Text::lossy(name),
                value,
            })
            .collect();
        self.service.status(&ServiceStatus {
            ready,
            detail,
            kill: None,
            policy: None,
            counts,
        });
    }

    /// Why it is not ready, in words.
    fn problems(&self) -> Vec<String> {
        let now = self.service.now();
        let mut problems = Vec::new();
        if self.core.is_connected() {
            let missing: Vec<_> = self
                .core
                .missing(now)
                .map(|symbol| symbol.to_string())
                .collect();
            if !missing.is_empty() {
                problems.push(format!("no order book of {}", missing.join(", ")));
            }
        } else {
            problems.push(format!("no stream of the venue: {}", self.detail));
        }
        let closes = self.core.without_closes(now);
        problems.extend(closes.map(|(symbol, why)| format!("no closes of {symbol}: {why}")));
        problems
    }

    fn counts(&self) -> [(&'static str, u64); 13] {
        let counts = self.core.counts();
        [
            ("updates", counts.updates),
            ("updates_ignored", counts.updates_ignored),
            ("books", counts.books),
            ("trades", counts.trades),
            ("trades_dropped", counts.trades_dropped),
            ("closes", counts.closes),
            ("unanswered", counts.unanswered),
            ("books_flawed", counts.flaws),
            ("resubscriptions", counts.resubscriptions),
            ("disconnections", counts.disconnections),
            ("unreadable", counts.unreadable),
            ("requests_refused", counts.requests_refused),
            ("unsent", self.unsent),
        ]
    }
}
