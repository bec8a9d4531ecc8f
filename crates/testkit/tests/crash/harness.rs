//! A stack under load, with wires that can be cut between its services and everything outside.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_domain::Span;
use serde_json::Value;
use tempfile::TempDir;

use crate::accounts::{Agreed, EXCHANGE_RATES, assert_all_agree, settings_for_load};
use crate::feed;
use crate::load::Load;
use crate::proxy::Proxy;
use crate::support::{Setup, Stack, free_port, settings_with_slow_breakers, wait_for};

/// Proposals a second.
const PER_SECOND: u64 = 30;
/// How long anything may take until orders leave again. A doubt alone takes ten seconds.
pub const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// An order lives two seconds from the brain's seal; the rest is what the machine may take.
const ORDER_LIFETIME_MAX: Span = Span::from_millis(2_500);

/// Every part of the stack.
pub const PARTS: [&str; 8] = [
    "brain",
    "risk-guard",
    "execution",
    "signer",
    "audit",
    "market-data",
    "paper-exchange",
    "nats-server",
];

/// The stack, its wires and its load.
pub struct Harness {
    pub stack: Stack,
    /// Between the services and the bus.
    pub bus: Proxy,
    /// Between market-data and execution and the exchange.
    pub venue: Proxy,
    load: Load,
}

impl Harness {
    /// Starts everything and waits until orders leave.
    pub fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (nats, exchange) = (free_port(), free_port());
        let (bus, venue) = (Proxy::start(nats), Proxy::start(exchange));
        let recording = feed::recording(folder.path());
        let mut arguments = vec![
            format!("--feed=replay:{}", recording.display()),
            format!("--nats-port={nats}"),
            format!("--exchange-port={exchange}"),
            format!("--bus-detour={}", bus.port()),
            format!("--exchange-detour={}", venue.port()),
            "--restart-wait-ms-max=0".to_owned(),
        ];
        arguments.extend(EXCHANGE_RATES.map(str::to_owned));
        let config = settings_for_load(folder.path(), settings_with_slow_breakers, &[]);
        let setup = Setup {
            config,
            arguments,
            ..Setup::default()
        };
        let stack = Stack::start_in(folder, setup);
        let identity = stack.folder().join("identity/strategy-sample");
        let load = Load::start(&identity, &stack.bus(), u64::MAX, PER_SECOND);
        let harness = Self {
            stack,
            bus,
            venue,
            load,
        };
        harness.wait_until_orders_leave("the start");
        harness
    }

    /// Waits until orders leave execution from here on.
    pub fn wait_until_orders_leave(&self, after: &str) {
        assert!(
            self.orders_leave_within(3, RECOVERY_MAX),
            "no order left within {RECOVERY_MAX:?} after {after}: {}",
            self.stack.portcullis(&["status"]).1
        );
    }

    /// Waits until so many orders have left from here on.
    pub fn trade(&self, orders: usize) {
        let left = self.orders_leave_within(orders, RECOVERY_MAX);
        assert!(left, "{orders} orders leave within {RECOVERY_MAX:?}");
    }

    /// Whether so many orders leave execution within this time.
    pub fn orders_leave_within(&self, orders: usize, patience: Duration) -> bool {
        let enough = self.venue.placed_count() + orders;
        let begun = std::time::Instant::now();
        while begun.elapsed() < patience {
            if self.venue.placed_count() >= enough {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        false
    }

    /// Orders that rest at the exchange.
    pub fn open_at_exchange(&self) -> usize {
        let orders = self.stack.exchange("/admin/orders");
        let is_open = |order: &&Value| {
            let status = order["orderStatus"].as_str();
            matches!(status, Some("New" | "PartiallyFilled"))
        };
        orders["orders"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_open)
            .count()
    }

    /// Ends the load and everything that is open, and compares all accounts.
    pub fn finish(self, what: &str) -> Agreed {
        let Self {
            mut stack,
            venue,
            load,
            ..
        } = self;
        let proposed = load.proposals();
        let sent = load.stop();
        // Whatever was done last, it is over before anything is compared.
        stack.wait_until_trading(RECOVERY_MAX);
        wait_for("the exchange", RECOVERY_MAX, || {
            stack.try_exchange("/admin/state")
        });
        let agreed = assert_all_agree(&stack, what);
        let mut times = BTreeMap::<&str, u32>::new();
        let placed = venue.placed();
        for (order, _) in &placed {
            *times.entry(order).or_default() += 1;
        }
        times.retain(|_, count| *count > 1);
        assert!(times.is_empty(), "each order is sent once: {times:?}");
        let late: Vec<_> = placed
            .iter()
            // What left late by the clock of this machine is refused by that of the exchange.
            .filter(|(order, _)| agreed.orders.contains(order))
            .filter_map(|(order, at)| Some((order, at.since(proposed.at(order)?))))
            .filter(|(_, took)| *took > ORDER_LIFETIME_MAX)
            .collect();
        assert!(
            late.is_empty(),
            "an order is sent in time or never: {late:?}"
        );
        eprintln!(
            "{what}: {sent} proposals, {} requests to place",
            placed.len()
        );
        eprintln!("{what}: refused: {:?}", agreed.refused);
        stack.stop();
        agreed
    }
}
