//! Faults on request: what shall go wrong, where, and how often.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Most faults that may wait at once.
const FAULTS_MAX: usize = 256;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Kind {
    /// REST: the answer comes this much later (the request is applied at once).
    Delay { delay_ms: u64 },
    /// REST: the request is applied and the connection closes without an answer.
    DropResponse {},
    /// REST: the request is not applied and answered with this HTTP status.
    ErrorBefore {
        #[serde(default = "status_default")]
        status: u16,
    },
    /// REST: the request is applied and answered with this HTTP status.
    ErrorAfter {
        #[serde(default = "status_default")]
        status: u16,
    },
    /// REST: HTTP 403, as over the limit of an address.
    Forbidden {},
    /// REST: HTTP 429.
    TooManyRequests {},
    /// WebSocket: the socket stays open and sends nothing more.
    SilentSocket {},
    /// WebSocket: the connection is cut.
    CutSocket {},
    /// WebSocket: an event is sent twice.
    DuplicateEvent {},
    /// WebSocket: an event is sent after the one that follows it.
    ReorderEvent {},
    /// WebSocket: a book delta is left out, so that `u` has a gap.
    SkipDelta {},
    /// Orders: at most this share of the quantity executes at once.
    PartialFill {
        #[serde(default = "share_default", with = "rust_decimal::serde::str")]
        share: Decimal,
    },
    /// Orders: accepted, then `Rejected` on the stream.
    RejectOrder {},
    /// The server's clock is off by this much until the fault is cleared.
    ClockSkew { skew_ms: i64 },
}

fn status_default() -> u16 {
    500
}

fn share_default() -> Decimal {
    Decimal::new(5, 1)
}

/// One fault as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    #[serde(flatten)]
    pub kind: Kind,
    /// Path of a request or of a socket (`/v5/private`), or a stream's topic (`execution`,
    /// `orderbook.50.BTCUSDT`); a trailing `*` stands for any rest. Everything by default.
    #[serde(default = "scope_default")]
    pub scope: String,
    /// How many times; once by default.
    #[serde(default = "count_default")]
    pub count: u32,
}

fn scope_default() -> String {
    "*".to_owned()
}

fn count_default() -> u32 {
    1
}

impl Fault {
    /// What is wrong with it, in words.
    fn problem(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Delay { delay_ms } if *delay_ms > 600_000 => Some("delay_ms is at most 600000"),
            Kind::ErrorBefore { status } | Kind::ErrorAfter { status }
                if !(500..=599).contains(status) =>
            {
                Some("status lies between 500 and 599")
            }
            Kind::PartialFill { share }
                if *share < Decimal::ZERO || *share >= Decimal::ONE || share.scale() > 4 =>
            {
                Some("share lies between 0 and 1, with at most 4 decimals")
            }
            Kind::ClockSkew { skew_ms } if skew_ms.unsigned_abs() > 86_400_000 => {
                Some("skew_ms is at most a day")
            }
            _ if self.count == 0 => Some("count is at least 1"),
            _ if self.scope.is_empty() || self.scope.len() > 128 => {
                Some("scope has 1 to 128 characters")
            }
            _ => None,
        }
    }

    fn covers(&self, scopes: &[&str]) -> bool {
        match self.scope.strip_suffix('*') {
            Some(prefix) => scopes.iter().any(|scope| scope.starts_with(prefix)),
            None => scopes.contains(&self.scope.as_str()),
        }
    }
}

/// A fault that waits, with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Waiting {
    pub id: u64,
    #[serde(flatten)]
    pub fault: Fault,
    /// How many times are left.
    pub remaining: u32,
}

/// All faults that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    next_id: u64,
    waiting: Vec<Waiting>,
}

impl Faults {
    /// Adds a fault; answers its number, or why it was refused.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<u64, &'static str> {
        if let Some(problem) = fault.problem() {
            return Err(problem);
        }
        if self.waiting.len() >= FAULTS_MAX {
            return Err("too many faults wait; clear some with DELETE /admin/faults");
        }
        self.next_id = self.next_id.saturating_add(1);
        let remaining = fault.count;
        self.waiting.push(Waiting {
            id: self.next_id,
            fault,
            remaining,
        });
        Ok(self.next_id)
    }

    /// Everything that waits.
    pub(crate) fn list(&self) -> &[Waiting] {
        &self.waiting
    }

    /// Clears one fault, or all.
    pub(crate) fn clear(&mut self, id: Option<u64>) -> usize {
        let before = self.waiting.len();
        self.waiting
            .retain(|waiting| id.is_some_and(|id| id != waiting.id));
        before.saturating_sub(self.waiting.len())
    }

    /// Takes one use of the first fault that `wants` and that covers one of the scopes.
    pub(crate) fn take<T>(
        &mut self,
        scopes: &[&str],
        wants: impl Fn(&Kind) -> Option<T>,
    ) -> Option<T> {
        let index = self.waiting.iter().position(|waiting| {
            waiting.fault.covers(scopes) && wants(&waiting.fault.kind).is_some()
        })?;
        let waiting = self.waiting.get_mut(index)?;
        let taken = wants(&waiting.fault.kind);
        waiting.remaining = waiting.remaining.saturating_sub(1);
        if waiting.remaining == 0 {
            self.waiting.remove(index);
        }
        taken
    }

    /// The skew that waits; it lasts until it is cleared.
    pub(crate) fn skew_ms(&self) -> i64 {
        self.waiting
            .iter()
            .rev()
            .find_map(|waiting| match waiting.fault.kind {
                Kind::ClockSkew { skew_ms } => Some(skew_ms),
                _ => None,
            })
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        serde_json::from_str(text).unwrap()
    }

    fn drops(kind: &Kind) -> Option<()> {
        matches!(kind, Kind::DropResponse {}).then_some(())
    }

    #[test]
    fn is_taken_as_often_as_asked_and_only_within_its_scope() {
        let mut faults = Faults::default();
        faults
            .add(fault(
                r#"{"kind":"drop_response","scope":"/v5/order/create","count":2}"#,
            ))
            .unwrap();
        assert_eq!(faults.take(&["/v5/order/cancel"], drops), None);
        assert_eq!(faults.take(&["/v5/order/create"], drops), Some(()));
        assert_eq!(faults.list()[0].remaining, 1);
        assert_eq!(faults.take(&["/v5/order/create"], drops), Some(()));
        assert_eq!(faults.take(&["/v5/order/create"], drops), None);
    }

    #[test]
    fn a_star_covers_any_rest() {
        let mut faults = Faults::default();
        faults
            .add(fault(r#"{"kind":"drop_response","scope":"/v5/order/*"}"#))
            .unwrap();
        assert_eq!(faults.take(&["/v5/position/list"], drops), None);
        assert_eq!(faults.take(&["/v5/order/amend"], drops), Some(()));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let mut faults = Faults::default();
        for (text, reason) in [
            (
                r#"{"kind":"drop_response","count":0}"#,
                "count is at least 1",
            ),
            (
                r#"{"kind":"error_after","status":200}"#,
                "status lies between 500 and 599",
            ),
            (
                r#"{"kind":"partial_fill","share":"1"}"#,
                "share lies between 0 and 1, with at most 4 decimals",
            ),
            (
                r#"{"kind":"clock_skew","skew_ms":-86400001}"#,
                "skew_ms is at most a day",
            ),
        ] {
            assert_eq!(faults.add(fault(text)), Err(reason), "{text}");
        }
    }

    #[test]
    fn the_skew_lasts_until_cleared() {
        let mut faults = Faults::default();
        let id = faults
            .add(fault(r#"{"kind":"clock_skew","skew_ms":-2000}"#))
            .unwrap();
        assert_eq!(faults.skew_ms(), -2_000);
        assert_eq!(faults.clear(Some(id)), 1);
        assert_eq!(faults.skew_ms(), 0);
    }
}
