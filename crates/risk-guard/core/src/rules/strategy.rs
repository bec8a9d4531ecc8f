//! Only orders of configured strategies are judged.

use alloc::collections::BTreeSet;

use portcullis_domain::{Reason, StrategyId};

pub fn check(known: &BTreeSet<StrategyId>, strategy: StrategyId) -> Result<(), Reason> {
    if known.contains(&strategy) {
        Ok(())
    } else {
        Err(Reason::UnknownStrategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_listed_passes() {
        let id = |name: &str| StrategyId::new(name).unwrap();
        let known = BTreeSet::from([id("sample")]);
        assert_eq!(check(&known, id("sample")), Ok(()));
        for other in ["Sample", "sample2", "other"] {
            assert_eq!(
                check(&known, id(other)),
                Err(Reason::UnknownStrategy),
                "{other}"
            );
        }
    }
}
