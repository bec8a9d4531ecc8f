//! The live summary of a running stack, and what is left when it has stopped.

use std::time::Instant;

use portcullis_wire::messages::ExecutionStatus;
use serde_json::{Value, json};

use super::progress::SCHEMA;
use crate::feed::now;
use crate::output::{Output, Tone};
use crate::view::{Processes, View, short};

/// How the summary is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Painted over itself.
    Screen,
    /// A line each time.
    Lines,
    /// Only asked for by scripts.
    Json,
    /// Not at all.
    None,
}

/// The summary.
pub struct Summary<'a> {
    output: &'a Output,
    form: Form,
    painted: usize,
    since: Instant,
}

impl<'a> Summary<'a> {
    /// In the form that fits where it goes.
    pub fn new(output: &'a Output, headless: bool) -> Self {
        let form = match (headless, output.is_json(), output.is_terminal()) {
            (true, _, _) => Form::None,
            (false, true, _) => Form::Json,
            (false, false, true) => Form::Screen,
            (false, false, false) => Form::Lines,
        };
        Self {
            output,
            form,
            painted: 0,
            since: Instant::now(),
        }
    }

    /// Shows how it is now.
    pub fn show(&mut self, view: &View, processes: &Processes) {
        let present = now();
        match self.form {
            Form::None => {}
            Form::Lines => self.output.line(&view.line(present, processes)),
            Form::Json => {
                let mut value = view.json(present, processes);
                if let Value::Object(fields) = &mut value {
                    fields.insert("event".to_owned(), json!("summary"));
                }
                self.output.object(SCHEMA, value);
            }
            Form::Screen => {
                let up = self.since.elapsed().as_secs();
                let mut lines = view.screen(present, processes, self.output);
                let hint = format!("running for {up} s · Ctrl-C stops everything in order");
                lines.push(self.output.paint(Tone::Quiet, &hint));
                self.output.raw(&repaint(self.painted, &lines));
                self.painted = lines.len();
            }
        }
    }
}

/// Moves to the first of the lines painted before and writes over them. Lines do not wrap, so that
/// as many are painted as there are.
fn repaint(painted: usize, lines: &[String]) -> String {
    let mut text = String::from("\x1b[?7l");
    if painted > 0 {
        text.push_str(&format!("\x1b[{painted}A"));
    }
    text.push_str("\r\x1b[J");
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("\x1b[?7h");
    text
}

/// Says what is still open now that everything has stopped.
pub fn left_open(output: &Output, view: Option<&View>, killed: &[&str]) {
    let status = view
        .and_then(|view| view.execution.as_ref())
        .map(|(_, status)| status);
    for line in left_open_lines(status) {
        output.line(&line);
    }
    if !killed.is_empty() {
        let names = killed.join(", ");
        output.line(&format!(
            "killed, because they did not stop in time: {names}"
        ));
    }
    output.object(
        SCHEMA,
        json!({
            "event": "stopped",
            "known": status.is_some(),
            "orders_open": status.map(|status| status.orders_open),
            "orders_unknown": status.map(|status| status.orders_unknown),
            "orders": status.map(|status| &status.orders),
            "positions": status.map(|status| &status.positions),
            "killed": killed,
        }),
    );
}

fn left_open_lines(status: Option<&ExecutionStatus>) -> Vec<String> {
    let Some(status) = status else {
        return vec![
            "stopped. Execution never said what is open; `portcullis orders` tells after a start."
                .to_owned(),
        ];
    };
    let held: Vec<_> = status
        .positions
        .iter()
        .filter(|held| held.position.size().is_some())
        .collect();
    if status.orders_open == 0 && status.orders_unknown == 0 && held.is_empty() {
        return vec!["stopped. Nothing is left open.".to_owned()];
    }
    let mut lines = vec!["stopped. Left open at the exchange:".to_owned()];
    for open in &status.orders {
        lines.push(format!(
            "  order {} of {}: {} {} {} at {} ({})",
            short(open.order),
            open.strategy,
            open.side,
            open.quantity,
            open.symbol,
            open.limit_price,
            open.status
        ));
    }
    let listed = u64::try_from(status.orders.len()).unwrap_or(u64::MAX);
    if status.orders_open > listed {
        lines.push(format!(
            "  and {} more open orders",
            status.orders_open - listed
        ));
    }
    if status.orders_unknown > 0 {
        lines.push(format!("  {} orders in doubt", status.orders_unknown));
    }
    for held in held {
        lines.push(format!("  position {} {}", held.symbol, held.position));
    }
    lines.push("The next start goes on from there.".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Hash, OrderId, OrderStatus, Side, Timestamp};
    use portcullis_wire::messages::{OpenOrder, Position};

    use super::*;

    fn status() -> ExecutionStatus {
        ExecutionStatus {
            policy: Hash([1; 32]),
            loss_max: "500".parse().unwrap(),
            ..portcullis_testkit::accounts::status()
        }
    }

    #[test]
    fn names_every_order_and_position_that_stays() {
        assert_eq!(
            left_open_lines(Some(&status())),
            ["stopped. Nothing is left open."]
        );
        let mut left = status();
        left.orders_open = 3;
        left.orders_unknown = 1;
        left.orders = vec![OpenOrder {
            order: OrderId([0xab; 16]),
            strategy: "trader".parse().unwrap(),
            symbol: "XRPUSDT".parse().unwrap(),
            side: Side::Sell,
            quantity: "10".parse().unwrap(),
            filled: None,
            limit_price: "0.5".parse().unwrap(),
            status: OrderStatus::Open,
            since: Timestamp(0),
        }];
        let position = |symbol: &str, amount: &str| Position {
            symbol: symbol.parse().unwrap(),
            position: amount.parse().unwrap(),
            average_price: None,
            mark: None,
        };
        left.positions = vec![position("XRPUSDT", "-5.5"), position("BTCUSDT", "0")];
        assert_eq!(
            left_open_lines(Some(&left)),
            [
                "stopped. Left open at the exchange:",
                "  order abababab of trader: sell 10 XRPUSDT at 0.5 (open)",
                "  and 2 more open orders",
                "  1 orders in doubt",
                "  position XRPUSDT -5.5",
                "The next start goes on from there.",
            ]
        );
        assert!(left_open_lines(None)[0].contains("never said"));
    }

    #[test]
    fn a_repaint_covers_exactly_what_was_painted() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(repaint(0, &lines), "\x1b[?7l\r\x1b[Ja\nb\n\x1b[?7h");
        assert_eq!(repaint(2, &lines), "\x1b[?7l\x1b[2A\r\x1b[Ja\nb\n\x1b[?7h");
    }
}
