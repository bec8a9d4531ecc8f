//! The topics that can be subscribed to.

use crate::instrument::symbol_is_valid;

/// Book depths that linear has.
pub(crate) const DEPTHS: [usize; 4] = [1, 50, 200, 500];

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Book {
        depth: usize,
        symbol: String,
    },
    Trades {
        symbol: String,
    },
    Ticker {
        symbol: String,
    },
    Order,
    OrderLinear,
    Execution,
    ExecutionLinear,
    Position,
    PositionLinear,
    Wallet,
    /// Says nothing: whoever subscribes to it wants the account's orders cancelled once it is gone.
    Protection,
}

impl Topic {
    /// A topic of the public socket.
    pub(crate) fn public(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (kind, rest, last) = (parts.next()?, parts.next()?, parts.next());
        let topic = match (kind, last) {
            ("orderbook", Some(symbol)) => {
                let depth = rest.parse().ok().filter(|depth| DEPTHS.contains(depth))?;
                Self::Book {
                    depth,
                    symbol: symbol.to_owned(),
                }
            }
            ("publicTrade", None) => Self::Trades {
                symbol: rest.to_owned(),
            },
            ("tickers", None) => Self::Ticker {
                symbol: rest.to_owned(),
            },
            _ => return None,
        };
        topic.symbol().is_some_and(symbol_is_valid).then_some(topic)
    }

    /// A topic of the private socket.
    pub(crate) fn private(text: &str) -> Option<Self> {
        Some(match text {
            "order" => Self::Order,
            "order.linear" => Self::OrderLinear,
            "execution" => Self::Execution,
            "execution.linear" => Self::ExecutionLinear,
            "position" => Self::Position,
            "position.linear" => Self::PositionLinear,
            "wallet" => Self::Wallet,
            "dcp.future" => Self::Protection,
            _ => return None,
        })
    }

    /// The symbol of a public topic.
    pub(crate) fn symbol(&self) -> Option<&str> {
        match self {
            Self::Book { symbol, .. } | Self::Trades { symbol } | Self::Ticker { symbol } => {
                Some(symbol)
            }
            Self::Order
            | Self::OrderLinear
            | Self::Execution
            | Self::ExecutionLinear
            | Self::Position
            | Self::PositionLinear
            | Self::Wallet
            | Self::Protection => None,
        }
    }

    /// As the client writes it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Book { depth, symbol } => format!("orderbook.{depth}.{symbol}"),
            Self::Trades { symbol } => format!("publicTrade.{symbol}"),
            Self::Ticker { symbol } => format!("tickers.{symbol}"),
            Self::Order => "order".to_owned(),
            Self::OrderLinear => "order.linear".to_owned(),
            Self::Execution => "execution".to_owned(),
            Self::ExecutionLinear => "execution.linear".to_owned(),
            Self::Position => "position".to_owned(),
            Self::PositionLinear => "position.linear".to_owned(),
            Self::Wallet => "wallet".to_owned(),
            Self::Protection => "dcp.future".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_refuses_the_rest() {
        for text in [
            "orderbook.50.BTCUSDT",
            "publicTrade.BTCUSDT",
            "tickers.BTCUSDT",
        ] {
            assert_eq!(
                Topic::public(text).map(|topic| topic.text()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "order",
            "order.linear",
            "execution",
            "position.linear",
            "wallet",
            "dcp.future",
        ] {
            assert_eq!(
                Topic::private(text).map(|topic| topic.text()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "orderbook.7.BTCUSDT",
            "orderbook.50.btcusdt",
            "tickers.",
            "x",
            "wallet",
        ] {
            assert_eq!(Topic::public(text), None, "{text}");
        }
        assert_eq!(Topic::private("order.spot"), None);
    }
}
