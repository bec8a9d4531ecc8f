//! `portcullis orders`: what is open or in doubt.

use std::path::Path;
use std::time::Duration;

use portcullis_domain::Timestamp;
use portcullis_wire::messages::ExecutionStatus;
use serde_json::{Value, json};

use crate::exit::{End, Failure, Outcome};
use crate::feed::{AsOperator, Watcher, Where, now};
use crate::output::{Output, Table, rfc3339, span_words};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis orders
  portcullis orders --json | jq '.orders[] | select(.status == \"unknown\")'

An order whose state is UNKNOWN may or may not be at the venue: execution asks the venue until it
knows, and counts the order as open and filled until then. It is never sent again.";

/// List the orders that are open or in doubt
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Orders {
    #[command(flatten)]
    by: AsOperator,
}

/// Execution speaks four times a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Lists the orders.
///
/// # Errors
/// When execution does not say.
pub async fn run(
    orders: &Orders,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    let place = Where::find(dir, bus)?;
    let operator = orders.by.among(&place.folder)?;
    let mut watcher = Watcher::open(&place, &operator).await?;
    watcher
        .watch_until(PATIENCE, |view| view.execution.is_some())
        .await;
    let Some((_, status)) = &watcher.view.execution else {
        return Err(Failure::new(
            End::Unknown,
            format!("execution said nothing for {} s", PATIENCE.as_secs()),
            "look at it: portcullis status",
        ));
    };
    output.object("portcullis.orders/1", to_json(status));
    for line in lines(status, now(), output) {
        output.line(&line);
    }
    Ok(End::Done)
}

fn to_json(status: &ExecutionStatus) -> Value {
    let orders: Vec<_> = status
        .orders
        .iter()
        .map(|open| {
            json!({
                "order": open.order,
                "strategy": open.strategy,
                "symbol": open.symbol,
                "side": open.side,
                "quantity": open.quantity,
                "filled": open.filled,
                "limit_price": open.limit_price,
                "status": open.status,
                "since": rfc3339(open.since),
            })
        })
        .collect();
    json!({
        "orders": orders,
        "orders_open": status.orders_open,
        "orders_unknown": status.orders_unknown,
    })
}

fn lines(status: &ExecutionStatus, present: Timestamp, output: &Output) -> Vec<String> {
    if status.orders.is_empty() && status.orders_open == 0 {
        return vec!["no open orders".to_owned()];
    }
    let heads = [
        "order",
        "strategy",
        "symbol",
        "side",
        ">quantity",
        ">filled",
        ">limit",
        "state",
        ">age",
    ];
    let mut table = Table::new(&heads);
    for open in &status.orders {
        table.row(vec![
            open.order.to_string(),
            open.strategy.to_string(),
            open.symbol.to_string(),
            open.side.to_string(),
            open.quantity.to_string(),
            open.filled
                .map_or_else(|| "0".to_owned(), |filled| filled.to_string()),
            open.limit_price.to_string(),
            open.status.to_string(),
            span_words(present.since(open.since)),
        ]);
    }
    let mut lines = table.lines(output);
    let listed = u64::try_from(status.orders.len()).unwrap_or(u64::MAX);
    if status.orders_open > listed {
        lines.push(format!(
            "and {} more, younger ones",
            status.orders_open - listed
        ));
    }
    if status.orders_unknown > 0 {
        lines.push(format!("in doubt: {}", status.orders_unknown));
    }
    lines
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Hash, OrderId, OrderStatus, Side};
    use portcullis_wire::messages::OpenOrder;

    use super::*;

    fn status() -> ExecutionStatus {
        ExecutionStatus {
            policy: Hash([1; 32]),
            loss_max: "500".parse().unwrap(),
            orders: vec![OpenOrder {
                order: OrderId([0xab; 16]),
                strategy: "trader".parse().unwrap(),
                symbol: "XRPUSDT".parse().unwrap(),
                side: Side::Sell,
                quantity: "10".parse().unwrap(),
                filled: None,
                limit_price: "0.5".parse().unwrap(),
                status: OrderStatus::Unknown,
                since: Timestamp::from_millis(0),
            }],
            orders_open: 3,
            orders_unknown: 1,
            ..portcullis_testkit::accounts::status()
        }
    }

    #[test]
    fn lists_each_order_and_says_how_many_more_there_are() {
        let output = Output::of(false, false, false);
        let lines = lines(&status(), Timestamp::from_millis(125_000), &output);
        assert!(lines[1].starts_with("abababab"), "{lines:?}");
        assert!(lines[1].ends_with("0.5  UNKNOWN  2 min"), "{lines:?}");
        assert_eq!(lines[2..], ["and 2 more, younger ones", "in doubt: 1"]);
    }

    #[test]
    fn an_amount_in_json_is_a_string() {
        let value = to_json(&status());
        assert_eq!(value["orders"][0]["quantity"], json!("10"));
        assert_eq!(value["orders"][0]["status"], json!("unknown"));
        assert_eq!(
            value["orders"][0]["since"],
            json!("1970-01-01T00:00:00.000Z")
        );
    }
}
