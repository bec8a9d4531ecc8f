//! Reads the venue's whole account, of one moment: positions and wallet are the same before and
//! after.

use execution_core::{Movement, MovementKind, VenueOrder};
use portcullis_domain::{Exposure, Fill, Span, Timestamp, Usd};
use portcullis_runtime::tracing;
use portcullis_venue::bybit::Action;
use portcullis_venue::bybit::reply::{
    Execution as VenueExecution, OrderInfo, Page, Position, Transaction, TransactionKind, Wallet,
};
use portcullis_venue::retry::Kind;
use portcullis_wire::Text;
use portcullis_wire::messages::SignAction;

use crate::call::CallError;
use crate::told::{fill_of, open_order};
use crate::venue::{Event, Positions, Venue};

/// The most pages of one list: more is not an account but an attack.
const PAGES_MAX: usize = 400;
/// How often the account is read again when it changed while it was read.
const STABLE_TRIES: usize = 5;
/// What everything is settled in.
const SETTLEMENT_COIN: &str = "USDT";
/// How much of the past one question covers; the venue answers for seven days from its beginning.
const WINDOW: Span = Span::from_secs(7 * 86_400);
/// How far back the venue remembers: two years.
const MEMORY: Span = Span::from_secs(104 * 7 * 86_400);

impl Venue {
    /// Reads the whole account; it comes as an event.
    pub fn read_account(&self, fills_since: Timestamp, movements_since: Timestamp) {
        let venue = self.clone();
        tokio::spawn(async move {
            let event = match venue.account(fills_since, movements_since).await {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "read the account");
                    Event::AccountUnread
                }
            };
            venue.tell_surely(event).await;
        });
    }

    pub(crate) async fn account(
        &self,
        fills_since: Timestamp,
        movements_since: Timestamp,
    ) -> Result<Event, CallError> {
        let mut asked_at = self.now();
        let mut before = self.holdings().await?;
        for _ in 0..STABLE_TRIES {
            let fills = self.fills(fills_since).await?;
            let movements = self.movements(movements_since).await?;
            let open = self.open_orders().await?;
            let after = self.holdings().await?;
            if before == after {
                let (positions, cash) = after;
                return Ok(Event::Account {
                    asked_at,
                    open,
                    fills,
                    positions,
                    cash,
                    movements,
                });
            }
            // Something filled or moved meanwhile: what was read is of two moments.
            asked_at = self.now();
            before = after;
        }
        Err(CallError::Unstable)
    }

    /// The positions, and the cash: the wallet less what they cost.
    async fn holdings(&self) -> Result<(Positions, Usd), CallError> {
        let (positions, cost) = self.positions().await?;
        let cash = self.wallet().await?.minus(cost);
        Ok((positions, cash.map_err(|_| CallError::Amount)?))
    }

    /// The positions that are not flat, and what they cost, signed like them.
    pub(crate) async fn positions(&self) -> Result<(Positions, Usd), CallError> {
        let mut positions = Positions::new();
        let mut cost = Usd::ZERO;
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let action = Action::QueryPositions { cursor: &cursor };
            let sign = SignAction::QueryPositions {
                cursor: Text::lossy(&cursor),
            };
            let page: Page<Position> = self.call_again(Kind::Account, &action, sign).await?;
            let held = page.list.iter();
            for position in held.filter(|position| position.exposure != Exposure::FLAT) {
                positions.push((position.symbol, position.exposure));
                // A position without a price cannot be held against our account.
                let price = position.average_price.ok_or(CallError::Amount)?;
                let paid = price.value(position.exposure);
                cost = paid
                    .and_then(|paid| cost.plus(paid))
                    .map_err(|_| CallError::Amount)?;
            }
            if page.next.is_empty() || page.list.is_empty() {
                positions.sort_unstable();
                return Ok((positions, cost));
            }
            cursor = page.next;
        }
        Err(CallError::Endless)
    }

    /// The balance in the coin that everything is settled in. An account that never held any has
    /// none.
    pub(crate) async fn wallet(&self) -> Result<Usd, CallError> {
        let page: Page<Wallet> = self
            .call_again(Kind::Account, &Action::QueryWallet, SignAction::QueryWallet)
            .await?;
        let mut coins = page.list.iter().flat_map(|wallet| wallet.coins.iter());
        Ok(coins
            .find(|coin| coin.coin.as_str() == SETTLEMENT_COIN)
            .map_or(Usd::ZERO, |coin| coin.balance))
    }

    /// All fills since a moment, the oldest first.
    pub(crate) async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, CallError> {
        let mut fills = Vec::new();
        for start in windows(since, self.venue_now()?) {
            let listed = self.executions(start).await?;
            // The venue lists the newest first.
            fills.extend(listed.iter().rev().filter_map(fill_of));
        }
        Ok(fills)
    }

    async fn executions(&self, since: Timestamp) -> Result<Vec<VenueExecution>, CallError> {
        let mut executions = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let action = Action::QueryExecutions {
                since,
                cursor: &cursor,
            };
            let sign = SignAction::QueryExecutions {
                since,
                cursor: Text::lossy(&cursor),
            };
            let page: Page<VenueExecution> = self.call_again(Kind::Account, &action, sign).await?;
            let ended = page.next.is_empty() || page.list.is_empty();
            executions.extend(page.list);
            if ended {
                return Ok(executions);
            }
            cursor = page.next;
        }
        Err(CallError::Endless)
    }

    /// All movements of the wallet since a moment, the oldest first.
    pub(crate) async fn movements(&self, since: Timestamp) -> Result<Vec<Movement>, CallError> {
        let mut movements = Vec::new();
        for start in windows(since, self.venue_now()?) {
            let listed = self.transactions(start).await?;
            // The venue lists the newest first.
            movements.extend(listed.iter().rev().filter_map(movement_of));
        }
        Ok(movements)
    }

    async fn transactions(&self, since: Timestamp) -> Result<Vec<Transaction>, CallError> {
        let mut transactions = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let action = Action::QueryMovements {
                since,
                cursor: &cursor,
            };
            let sign = SignAction::QueryMovements {
                since,
                cursor: Text::lossy(&cursor),
            };
            let page: Page<Transaction> = self.call_again(Kind::Account, &action, sign).await?;
            let ended = page.next.is_empty() || page.list.is_empty();
            transactions.extend(page.list);
            if ended {
                return Ok(transactions);
            }
            cursor = page.next;
        }
        Err(CallError::Endless)
    }

    pub(crate) async fn open_orders(&self) -> Result<Vec<VenueOrder>, CallError> {
        let mut open = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let action = Action::QueryOpenOrders { cursor: &cursor };
            let sign = SignAction::QueryOpenOrders {
                cursor: Text::lossy(&cursor),
            };
            let page: Page<OrderInfo> = self.call_again(Kind::Account, &action, sign).await?;
            open.extend(page.list.iter().map(open_order));
            if page.next.is_empty() || page.list.is_empty() {
                return Ok(open);
            }
            cursor = page.next;
        }
        Err(CallError::Endless)
    }
}

/// From when on to ask, so that the answers leave no gap between `since` and now.
fn windows(since: Timestamp, now: Timestamp) -> Vec<Timestamp> {
    let first = since.max(now.minus(MEMORY));
    let later = std::iter::successors(Some(first.plus(WINDOW)), |start| Some(start.plus(WINDOW)));
    std::iter::once(first)
        .chain(later.take_while(|start| *start <= now))
        .collect()
}

/// The movement that an entry of the venue's log is; `None` for a trade, which the fills tell, and
/// for what changes nothing.
fn movement_of(transaction: &Transaction) -> Option<Movement> {
    let kind = match &transaction.kind {
        TransactionKind::Trade => return None,
        TransactionKind::Funding => MovementKind::Funding,
        TransactionKind::Transfer => MovementKind::Transfer,
        TransactionKind::Other(_) if transaction.change == Usd::ZERO => return None,
        // Interest, a liquidation, a correction: whatever it is, the money is gone or there.
        TransactionKind::Other(word) => {
            tracing::warn!(kind = word.as_str(), "an unknown kind of transaction");
            MovementKind::Other
        }
    };
    if transaction.currency.as_str() != SETTLEMENT_COIN {
        return None;
    }
    Some(Movement {
        id: Text::lossy(transaction.id.as_str()),
        kind,
        symbol: transaction.symbol,
        amount: transaction.change,
        at: transaction.time,
    })
}

#[cfg(test)]
mod tests {
    use portcullis_venue::bybit::reply::Words;

    use super::*;

    fn transaction(kind: TransactionKind, currency: &str, change: &str) -> Transaction {
        Transaction {
            id: "1_XRPUSDT_2".parse().unwrap(),
            kind,
            symbol: None,
            currency: Words::new(currency),
            change: change.parse().unwrap(),
            time: Timestamp::from_millis(5),
        }
    }

    #[test]
    fn what_moves_the_settlement_coin_without_a_trade_is_a_movement() {
        let movement = |kind, currency, change| {
            let movement = movement_of(&transaction(kind, currency, change));
            movement.map(|movement| (movement.kind, movement.amount.to_string()))
        };
        let funding = movement(TransactionKind::Funding, "USDT", "-0.5");
        assert_eq!(funding, Some((MovementKind::Funding, "-0.5".to_owned())));
        let transfer = movement(TransactionKind::Transfer, "USDT", "100");
        assert_eq!(transfer, Some((MovementKind::Transfer, "100".to_owned())));
        assert_eq!(movement(TransactionKind::Trade, "USDT", "-0.01"), None);
        assert_eq!(movement(TransactionKind::Transfer, "BTC", "1"), None);
        let other = TransactionKind::Other(Words::new("BONUS"));
        assert_eq!(movement(other, "USDT", "0"), None);
    }

    #[test]
    fn money_that_nobody_can_explain_is_moved_all_the_same() {
        for word in ["LIQUIDATION", "INTEREST", "NEW_WORD"] {
            let kind = TransactionKind::Other(Words::new(word));
            let movement = movement_of(&transaction(kind, "USDT", "-0.01")).unwrap();
            assert_eq!(movement.kind, MovementKind::Other, "{word}");
        }
    }

    #[test]
    fn the_past_is_asked_for_without_a_gap() {
        let day = Span::from_secs(86_400);
        let since = Timestamp::from_millis(1_790_000_000_000);
        let after = |days: u64| since.plus(Span(day.0 * days));
        assert_eq!(windows(since, since), [since]);
        assert_eq!(windows(since, after(6)), [since]);
        assert_eq!(windows(since, after(7)), [since, after(7)]);
        assert_eq!(windows(since, after(15)), [since, after(7), after(14)]);
        // A clock that is behind asks all the same.
        assert_eq!(windows(after(1), since), [after(1)]);
        assert_eq!(windows(Timestamp(0), since).len(), 105);
    }
}
