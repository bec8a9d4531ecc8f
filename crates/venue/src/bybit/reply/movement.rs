//! What changed the balance, as the venue's transaction log tells it.

use portcullis_domain::{Label, Symbol, Timestamp, Usd};
use serde::{Deserialize, Deserializer};

use super::field::{self, Words};

/// The venue's id of an entry (Bybit writes account, instrument and a number; a UUID at times).
pub type TransactionId = Label<80>;

/// What an entry of the log is about.
///
/// Source: the venue's API reference, v5, `enum#typeuta-translog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionKind {
    /// An order filled: the fills tell the same.
    Trade,
    /// Funding of a perpetual, paid or received.
    Funding,
    /// Money came in or went out.
    Transfer,
    /// Anything else, in the venue's word: a liquidation, interest, a bonus, a correction.
    Other(Words),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// The venue's id of it.
    pub id: TransactionId,
    /// What it is about.
    #[serde(rename = "type", deserialize_with = "kind")]
    pub kind: TransactionKind,
    /// The instrument, where it is about one.
    #[serde(default, deserialize_with = "symbol")]
    pub symbol: Option<Symbol>,
    /// Of which coin's balance, such as `USDT`.
    pub currency: Words,
    /// By how much the balance changed: cash flow plus funding minus fee.
    #[serde(deserialize_with = "field::usd")]
    pub change: Usd,
    /// When, by the venue's clock.
    #[serde(rename = "transactionTime", deserialize_with = "field::millis")]
    pub time: Timestamp,
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransactionKind, D::Error> {
    field::with_text(deserializer, "a type of transaction", |text| {
        Ok::<_, &str>(match text {
            "TRADE" => TransactionKind::Trade,
            "SETTLEMENT" => TransactionKind::Funding,
            "TRANSFER_IN" | "TRANSFER_OUT" => TransactionKind::Transfer,
            _ => TransactionKind::Other(Words::new(text)),
        })
    })
}

fn symbol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Symbol>, D::Error> {
    field::with_text(deserializer, "an instrument or nothing", |text| {
        if text.is_empty() {
            Ok(None)
        } else {
            Symbol::new(text).map(Some)
        }
    })
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::{Malformed, Page, read};
    use super::*;

    const FUNDING: &str = r#"{"id":"592324_XRPUSDT_161440249321","symbol":"XRPUSDT","category":"linear",
        "side":"Buy","transactionTime":"1790000000004","type":"SETTLEMENT","qty":"100","size":"100",
        "currency":"USDT","tradePrice":"0.3676","funding":"-0.003676","fee":"0","cashFlow":"0",
        "change":"-0.003676","cashBalance":"5086.55","feeRate":"0.0001","bonusChange":"","tradeId":"t",
        "orderId":"o","orderLinkId":""}"#;

    fn transaction(json: &str) -> Result<Transaction, Malformed> {
        let text = format!(
            r#"{{"retCode":0,"retMsg":"OK","result":{{"list":[{json}],"nextPageCursor":"a%3A1"}},
            "retExtInfo":{{}},"time":1790000000003}}"#
        );
        let page = read::<Page<Transaction>>(text.as_bytes())?;
        Ok(page.outcome.unwrap().list[0].clone())
    }

    #[test]
    fn a_movement_says_what_it_is_and_by_how_much_the_balance_changed() {
        let funding = transaction(FUNDING).unwrap();
        assert_eq!(funding.id.as_str(), "592324_XRPUSDT_161440249321");
        assert_eq!(funding.kind, TransactionKind::Funding);
        assert_eq!(funding.symbol, Some("XRPUSDT".parse().unwrap()));
        assert_eq!(funding.change, "-0.003676".parse().unwrap());
        assert_eq!(funding.time, Timestamp::from_millis(1_790_000_000_004));
        assert_eq!(funding.currency.as_str(), "USDT");
        let cases = [
            ("TRADE", TransactionKind::Trade),
            ("TRANSFER_IN", TransactionKind::Transfer),
            ("TRANSFER_OUT", TransactionKind::Transfer),
            (
                "LIQUIDATION",
                TransactionKind::Other(Words::new("LIQUIDATION")),
            ),
            (
                "transfer_in",
                TransactionKind::Other(Words::new("transfer_in")),
            ),
            ("", TransactionKind::Other(Words::new(""))),
        ];
        for (word, kind) in cases {
            let json = FUNDING.replace("SETTLEMENT", word);
            assert_eq!(transaction(&json).unwrap().kind, kind, "{word:?}");
        }
        let transfer = FUNDING.replace(r#""symbol":"XRPUSDT""#, r#""symbol":"""#);
        assert_eq!(transaction(&transfer).unwrap().symbol, None);
    }

    #[test]
    fn a_movement_that_makes_no_sense_is_refused() {
        for (from, to) in [
            (r#""id":"592324_XRPUSDT_161440249321""#, r#""id":"""#),
            (r#""type":"SETTLEMENT","#, ""),
            (r#""change":"-0.003676","#, ""),
            (r#""change":"-0.003676""#, r#""change":-0.003676"#),
            (r#""change":"-0.003676""#, r#""change":"some""#),
            (
                r#""transactionTime":"1790000000004""#,
                r#""transactionTime":"now""#,
            ),
            (r#""symbol":"XRPUSDT""#, r#""symbol":"XRP USDT""#),
        ] {
            let bad = FUNDING.replace(from, to);
            assert_ne!(bad, FUNDING, "{from} is not there to be replaced");
            assert!(matches!(transaction(&bad), Err(Malformed::Form(_))), "{to}");
        }
    }
}
