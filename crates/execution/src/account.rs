//! Reads the venue's whole account, of one moment: positions and wallet are the same before and
//! after.

use execution_core::VenueOrder;
use portcullis_domain::{Exposure, Fill, Timestamp, Usd};
use portcullis_runtime::tracing;
use portcullis_venue::bybit::Action;
use portcullis_venue::bybit::reply::{
    Execution as VenueExecution, OrderInfo, Page, Position, Wallet,
};
use portcullis_wire::Text;
use portcullis_wire::messages::SignAction;

use crate::venue::{CallError, Event, Positions, Venue, fill_of, order_of};

/// The most pages of one list: more is not an account but an attack.
const PAGES_MAX: usize = 400;
/// How often the account is read again when it changed while it was read.
const STABLE_TRIES: usize = 5;
/// What everything is settled in.
const SETTLEMENT_COIN: &str = "USDT";

impl Venue {
    /// Reads the whole account; it comes as an event.
    pub fn read_account(&self, fills_since: Timestamp) {
        let venue = self.clone();
        tokio::spawn(async move {
            let event = match venue.account(fills_since).await {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "read the account");
                    Event::AccountUnread
                }
            };
            venue.tell_surely(event).await;
        });
    }

    pub(crate) async fn account(&self, fills_since: Timestamp) -> Result<Event, CallError> {
        let mut asked_at = self.now();
        let mut before = (self.positions().await?, self.wallet().await?);
        for _ in 0..STABLE_TRIES {
            let fills = self.fills(fills_since).await?;
            let open = self.open_orders().await?;
            let after = (self.positions().await?, self.wallet().await?);
            if before == after {
                let (positions, wallet) = after;
                return Ok(Event::Account {
                    asked_at,
                    open,
                    fills,
                    positions,
                    wallet,
                    movements: Vec::new(),
                });
            }
            // Something filled or moved meanwhile: what was read is of two moments.
            asked_at = self.now();
            before = after;
        }
        Err(CallError::Unstable)
    }

    pub(crate) async fn positions(&self) -> Result<Positions, CallError> {
        let mut positions = Positions::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let action = Action::QueryPositions { cursor: &cursor };
            let sign = SignAction::QueryPositions {
                cursor: Text::lossy(&cursor),
            };
            let page: Page<Position> = self.call(&action, sign).await?;
            let held = page
                .list
                .iter()
                .filter(|position| position.exposure != Exposure::FLAT);
            positions.extend(held.map(|position| (position.symbol, position.exposure)));
            if page.next.is_empty() || page.list.is_empty() {
                positions.sort_unstable();
                return Ok(positions);
            }
            cursor = page.next;
        }
        Err(CallError::Endless)
    }

    /// The balance in the coin that everything is settled in. An account that never held any has
    /// none.
    pub(crate) async fn wallet(&self) -> Result<Usd, CallError> {
        let page: Page<Wallet> = self
            .call(&Action::QueryWallet, SignAction::QueryWallet)
            .await?;
        let mut coins = page.list.iter().flat_map(|wallet| wallet.coins.iter());
        Ok(coins
            .find(|coin| coin.coin.as_str() == SETTLEMENT_COIN)
            .map_or(Usd::ZERO, |coin| coin.balance))
    }

    pub(crate) async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, CallError> {
        let mut fills = Vec::new();
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
            let page: Page<VenueExecution> = self.call(&action, sign).await?;
            fills.extend(page.list.iter().filter_map(fill_of));
            if page.next.is_empty() || page.list.is_empty() {
                // The venue lists the newest first.
                fills.reverse();
                return Ok(fills);
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
            let page: Page<OrderInfo> = self.call(&action, sign).await?;
            open.extend(page.list.iter().filter_map(order_of));
            if page.next.is_empty() || page.list.is_empty() {
                return Ok(open);
            }
            cursor = page.next;
        }
        Err(CallError::Endless)
    }
}
