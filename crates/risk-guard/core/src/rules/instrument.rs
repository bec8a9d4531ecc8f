//! Only instruments that the policy lists are traded.

use alloc::collections::BTreeMap;

use portcullis_domain::{Reason, Symbol};
use portcullis_wire::messages::InstrumentPolicy;

pub fn check(
    allowed: &BTreeMap<Symbol, InstrumentPolicy>,
    symbol: Symbol,
) -> Result<&InstrumentPolicy, Reason> {
    allowed.get(&symbol).ok_or(Reason::InstrumentNotAllowed)
}

#[cfg(test)]
mod tests {
    use portcullis_domain::{Bps, Instrument};

    use super::*;

    #[test]
    fn only_what_is_listed_passes() {
        let symbol = Symbol::new("XRPUSDT").unwrap();
        let limits = InstrumentPolicy {
            instrument: Instrument {
                symbol,
                tick_size: "0.0001".parse().unwrap(),
                quantity_step: "0.1".parse().unwrap(),
                quantity_min: "0.1".parse().unwrap(),
                quantity_max: "1000".parse().unwrap(),
                notional_min: "5".parse().unwrap(),
            },
            order_notional_max: "100".parse().unwrap(),
            position_notional_max: "200".parse().unwrap(),
            collar: Bps::new(50).unwrap(),
        };
        let allowed = BTreeMap::from([(symbol, limits.clone())]);
        assert_eq!(check(&allowed, symbol), Ok(&limits));
        for other in ["BTCUSDT", "xrpusdt", "XRPUSDT.P"] {
            let got = check(&allowed, Symbol::new(other).unwrap());
            assert_eq!(got, Err(Reason::InstrumentNotAllowed), "{other}");
        }
    }
}
