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
    use portcullis_testkit::policies;

    use super::*;

    #[test]
    fn only_what_is_listed_passes() {
        let symbol = Symbol::new("XRPUSDT").unwrap();
        let limits = policies::wide(policies::xrp());
        let allowed = BTreeMap::from([(symbol, limits.clone())]);
        assert_eq!(check(&allowed, symbol), Ok(&limits));
        for other in ["BTCUSDT", "xrpusdt", "XRPUSDT.P"] {
            let got = check(&allowed, Symbol::new(other).unwrap());
            assert_eq!(got, Err(Reason::InstrumentNotAllowed), "{other}");
        }
    }
}
