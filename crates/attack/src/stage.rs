//! The running stack with its observers: the exchange, audit's log, and an honest trader.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit::verify::{self, OwnedEntry, read_unsealed};
use portcullis_domain::{
    Hash, OrderId, OrderStatus, Price, Quantity, Side, StrategyId, Symbol, TimeInForce, Timestamp,
};
use portcullis_runtime::nats_config::facts_stream_of;
use portcullis_runtime::policy;
use portcullis_wire::messages::{ExecutionStatus, Proposal, RiskPolicy, Size};
use portcullis_wire::order_id;
use portcullis_wire::principal::Role;
use portcullis_wire::subjects::{BOOK, EXECUTION_STATUS, PROPOSAL};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::puppet::Puppet;
use crate::stack::{Setup, Stack, settings_with_slow_breakers};
use crate::stolen::{Thief, now};
use crate::tail::Tail;
use crate::wire::poll;
pub use crate::witness::fact;

/// How long anything on record may take.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// The strategy of the honest trader.
const TRADER: &str = "trader";
/// What is traded.
pub const SYMBOL: &str = "XRPUSDT";

/// A running stack and what is known about it.
pub struct Stage {
    /// The stack.
    pub stack: Stack,
    /// Audit's log.
    pub tail: Tail,
    /// A strategy that does what it should.
    pub trader: Thief,
    /// The policy that everybody runs.
    pub policy: RiskPolicy,
    /// Its hash.
    pub policy_hash: Hash,
    /// Orders that a pair of thieves could place without a permit, or above the limits: those cells
    /// say so.
    pub excused: BTreeSet<String>,
    /// What was at the exchange when the kill switch was pulled.
    pub killed_at: Option<BTreeSet<String>>,
    /// What goes on until the suite is over.
    pub puppets: Vec<Puppet>,
    loot: TempDir,
}

/// A moment, and how far audit's log was then.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: Timestamp,
    entries: usize,
}

impl Mark {
    /// Milliseconds since.
    #[must_use]
    pub fn ms(&self) -> u64 {
        self.until(now())
    }

    pub(crate) fn until(&self, later: Timestamp) -> u64 {
        later.since(self.at).0.div_ceil(1_000)
    }
}

/// SHA-256 of what was sent, as refusals state it.
#[must_use]
pub fn digest(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

impl Stage {
    /// Starts a stack that trades.
    ///
    /// # Errors
    /// When it does not, or the trader cannot join it.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        // What one attack broke would otherwise stop the next: each is to meet every check.
        let config = settings_with_slow_breakers(folder.path(), &[]);
        let (policy, policy_hash) = policy::load(&config.join("risk-policy.toml"))?;
        let setup = Setup {
            config,
            arguments: [
                "--order-rate-per-second=1000",
                "--address-rate-per-5s=100000",
            ]
            .map(|argument| format!("--exchange-argument={argument}"))
            .into(),
            ..Setup::default()
        };
        let stack = Stack::start_in(folder, setup);
        let tail = Tail::new(stack.audit_log());
        let trader = stack.folder().join("identity/strategy-trader");
        let mut trader = Thief::with(&trader, stack.port("nats"))?;
        trader.listen(&format!("data.bybit.{SYMBOL}.book"))?;
        Ok(Self {
            stack,
            tail,
            trader,
            puppets: Vec::new(),
            policy,
            policy_hash,
            excused: BTreeSet::new(),
            killed_at: None,
            loot: TempDir::new()?,
        })
    }

    /// Steals the bundle of a principal: copies its folder away and joins the bus with the copy.
    ///
    /// # Errors
    /// When it cannot be copied or is not taken by the bus.
    pub fn steal(&self, name: &str) -> Result<Thief> {
        let from = self.stack.folder().join("identity").join(name);
        let copy = self.loot.path().join(name);
        if !copy.exists() {
            copy_folder(&from, &copy)?;
        }
        Thief::with(&copy, self.stack.port("nats"))
    }

    /// The folder of stolen things.
    #[must_use]
    pub fn loot(&self) -> &Path {
        self.loot.path()
    }

    /// The present, and the end of audit's log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn mark(&mut self) -> Result<Mark> {
        // The server ends a connection that answers no ping.
        self.trader.forget();
        self.trader.wire.say(b"")?;
        self.tail.follow()?;
        Ok(Mark {
            at: now(),
            entries: self.tail.len(),
        })
    }

    /// The first entry of audit's log since a mark of which `wanted` makes something.
    ///
    /// # Errors
    /// When the log cannot be read, or the entry does not come.
    pub fn recorded<T>(
        &mut self,
        mark: Mark,
        what: &str,
        mut wanted: impl FnMut(&OwnedEntry) -> Option<T>,
    ) -> Result<(Arc<OwnedEntry>, T)> {
        let mut next = mark.entries;
        let found = poll(PATIENCE, || {
            self.tail.follow()?;
            for entry in self.tail.from(next) {
                next = next.saturating_add(1);
                if let Some(found) = wanted(entry) {
                    return Ok(Some((Arc::clone(entry), found)));
                }
            }
            Ok(None)
        })?;
        found.with_context(|| format!("audit's log does not show it: {what}"))
    }

    /// Whether audit's log shows something since a mark, without waiting for it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn shows<T>(
        &mut self,
        mark: Mark,
        wanted: impl FnMut(&OwnedEntry) -> Option<T>,
    ) -> Result<Option<T>> {
        self.tail.follow()?;
        let entries = self.tail.from(mark.entries).iter();
        Ok(entries.map(AsRef::as_ref).find_map(wanted))
    }

    /// The middle of the book, as the trader sees it now.
    ///
    /// # Errors
    /// When no book comes.
    pub fn mid(&mut self) -> Result<Price> {
        self.trader.forget();
        let mid = self.trader.hear(PATIENCE, |heard| {
            let (_, book) = read_unsealed::<portcullis_domain::Book>(&heard.bytes).ok()?;
            (heard.subject == format!("data.bybit.{SYMBOL}.book")).then(|| book.mid())?
        })?;
        mid.context("no book came")
    }

    /// An honest proposal of the trader; gives back the order's id.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn propose(&mut self, side: Side, quantity: &str) -> Result<OrderId> {
        let proposal = proposal(side, quantity)?;
        self.trader.begin();
        let sealed = self.trader.seal(&PROPOSAL, Some(TRADER), &proposal)?;
        self.trader.send(&sealed)?;
        Ok(order_id(StrategyId::new(TRADER)?, sealed.id))
    }

    /// An honest order that has to reach the exchange; gives back its id and how long it took.
    ///
    /// # Errors
    /// When it does not.
    pub fn trade(&mut self, side: Side, quantity: &str) -> Result<(OrderId, u64)> {
        let mark = self.mark()?;
        let id = self.propose(side, quantity)?;
        let (_, report) = self.reported(mark, "an honest order", id)?;
        ensure!(
            matches!(report.status, OrderStatus::Filled | OrderStatus::Cancelled),
            "an honest order ended as {report:?}"
        );
        ensure!(
            self.at_exchange(id)?.is_some(),
            "the exchange lacks order {id}"
        );
        Ok((id, mark.ms()))
    }

    /// Execution's account of itself, as operators read it.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn account(&self) -> Result<ExecutionStatus> {
        let mut operator = self.steal("operator-dev")?;
        operator.listen(EXECUTION_STATUS.row.pattern)?;
        let mut verifier = operator.verifier();
        let account = operator.hear(PATIENCE, |heard| {
            let opened = verifier.open(&EXECUTION_STATUS, &heard.subject, &heard.bytes, now());
            Some(opened.ok()?.either().message().clone())
        })?;
        account.context("execution's account")
    }

    /// An order as the exchange has it.
    ///
    /// # Errors
    /// When the exchange does not answer.
    pub fn at_exchange(&self, id: OrderId) -> Result<Option<Value>> {
        let id = id.to_string();
        let orders = self.exchange_orders()?;
        Ok(orders
            .into_iter()
            .find(|order| text(order, "orderLinkId") == id))
    }

    /// Every order that the exchange ever took.
    ///
    /// # Errors
    /// When the exchange does not answer.
    pub fn exchange_orders(&self) -> Result<Vec<Value>> {
        let answer = self.stack.exchange("/admin/orders");
        let orders = answer.get("orders").and_then(Value::as_array);
        Ok(orders.context("orders of the exchange")?.clone())
    }

    /// How many facts of execution's the stream has.
    ///
    /// # Errors
    /// When the server does not say.
    pub fn facts_in_stream(&mut self) -> Result<u64> {
        let stream = facts_stream_of(Role::Execution);
        let (question, inbox) = (
            format!("$JS.API.STREAM.INFO.{stream}"),
            "_INBOX.provisioner.stage",
        );
        // A connection of its own each time: an idle one is closed by the server.
        let folder = self.stack.folder().join("identity/provisioner");
        let mut provisioner = Thief::with(&folder, self.stack.port("nats"))?;
        provisioner.listen("_INBOX.provisioner.>")?;
        let said = provisioner.publish_for_reply(&question, inbox, b"")?;
        ensure!(said.errors.is_empty(), "{question}: {:?}", said.errors);
        let answer = provisioner.hear(PATIENCE, |heard| {
            let answer: Value = serde_json::from_slice(&heard.bytes).ok()?;
            answer.pointer("/state/messages")?.as_u64()
        })?;
        answer.context("the state of the stream")
    }

    /// What must be so whatever was tried: no order at the exchange without a permit on record that
    /// says the same, none above the limits, none after the kill.
    ///
    /// # Errors
    /// What is not so.
    pub fn check_exchange(&mut self) -> Result<()> {
        for order in self.exchange_orders()? {
            let id = text(&order, "orderLinkId");
            if self.excused.contains(&id) {
                continue;
            }
            if let Some(before) = &self.killed_at {
                ensure!(before.contains(&id), "order {id} came after the kill");
            }
            let known = OrderId::from_hex(&id).ok().context("an order id of ours")?;
            let permitted = poll(PATIENCE, || {
                self.tail.follow()?;
                Ok(self.tail.permits().get(&known).cloned())
            })?;
            let Some(permitted) = permitted else {
                bail!("order {id} is at the exchange, and audit has no permit for it");
            };
            let quantity: Quantity = parse(&order, "qty")?;
            let price: Price = parse(&order, "price")?;
            let side = text(&order, "side").to_lowercase();
            let is_its_price = permitted.allows(price);
            let permitted = permitted.order;
            ensure!(
                permitted.quantity == quantity
                    && is_its_price
                    && permitted.side.to_string() == side
                    && permitted.symbol.as_str() == text(&order, "symbol"),
                "order {id} is not what was permitted: {order}"
            );
            let limits = self.policy.instruments.iter();
            let mut limits = limits.filter(|limits| limits.instrument.symbol == permitted.symbol);
            let limit = limits.next().context("an instrument of the policy")?;
            ensure!(
                price.notional(quantity)? <= limit.order_notional_max,
                "order {id} is above the limit: {order}"
            );
        }
        Ok(())
    }

    /// Ends a service by SIGKILL and waits until it is back: with its own next boot number it takes
    /// its place again from whoever used its keys.
    ///
    /// # Errors
    /// None today; a stack that does not come back ends the suite.
    pub fn reinstate(&mut self, service: &str) -> Result<()> {
        self.restart(service)?;
        self.stack.wait_until_trading(Duration::from_secs(60));
        Ok(())
    }

    /// Ends a service by SIGKILL and waits until its next process does its work.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&mut self, service: &str) -> Result<()> {
        self.stack.kill_and_wait(service);
        self.works(service)
    }

    /// Waits until a service does its work.
    ///
    /// # Errors
    /// When it does not.
    pub fn works(&self, service: &str) -> Result<()> {
        let works = poll(Duration::from_secs(30), || {
            let ready = self.stack.health(service, "/readyz");
            Ok(ready.filter(|ready| ready.status == 200).map(|_| ()))
        })?;
        works.with_context(|| format!("{service} does not come back"))
    }

    /// Stops a service in the middle of its work, so that a thief can take its place.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn freeze(&self, service: &str) -> Result<()> {
        self.signal(service, "-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn thaw(&self, service: &str) -> Result<()> {
        self.signal(service, "-CONT")
    }

    fn signal(&self, service: &str, signal: &str) -> Result<()> {
        let pid = self.stack.pid(service).context("a process id")?.to_string();
        let sent = Command::new("kill").args([signal, &pid]).status()?;
        ensure!(sent.success(), "kill {signal} {service}");
        Ok(())
    }

    /// Checks the whole log, with its chain, places and envelopes.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn check_log(&self) -> Result<verify::Report> {
        let options = verify::Options {
            patience: Duration::from_secs(2),
            ..verify::Options::default()
        };
        verify::verify(&self.stack.audit_log(), &options).context("audit's log does not hold")
    }
}

/// A proposal that would be traded at once.
///
/// # Errors
/// When the quantity is none.
pub fn proposal(side: Side, quantity: &str) -> Result<Proposal> {
    Ok(Proposal {
        symbol: Symbol::new(SYMBOL)?,
        side,
        size: Size::Quantity(quantity.parse()?),
        limit_price: None,
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: false,
    })
}

fn text(value: &Value, key: &str) -> String {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn parse<T: std::str::FromStr>(value: &Value, key: &str) -> Result<T> {
    let found = text(value, key);
    found
        .parse()
        .ok()
        .with_context(|| format!("{key} {found:?} is no amount"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(copied.success(), "copy {}", from.display());
    Ok(())
}

/// The books are for everybody who trades: the subject of one.
#[must_use]
pub fn book_subject() -> String {
    BOOK.row.concrete(Some(SYMBOL)).unwrap_or_default()
}
