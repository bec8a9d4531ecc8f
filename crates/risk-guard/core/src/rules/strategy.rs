//! Only orders of configured strategies are judged.

use portcullis_domain::{Reason, StrategyId};

use crate::strategies::Strategies;

pub fn check(known: &Strategies, strategy: StrategyId) -> Result<(), Reason> {
    if known.has(strategy) {
        Ok(())
    } else {
        Err(Reason::UnknownStrategy)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_testkit::policies;

    use super::*;

    #[test]
    fn only_who_is_listed_passes() {
        let id = |name: &str| StrategyId::new(name).unwrap();
        let policy = policies::policy(alloc::vec![]).strategy;
        let known = Strategies::new(&[id("sample")].into(), &policy);
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
