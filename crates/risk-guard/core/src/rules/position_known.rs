//! Execution's account of positions and open orders is there, and young.

use portcullis_domain::{Reason, Timestamp};
use portcullis_wire::messages::ExecutionStatus;

use crate::guard::Account;

pub fn check(now: Timestamp, account: Option<&Account>) -> Result<&Account, Reason> {
    account
        .filter(|account| now.since(account.known_at) <= ExecutionStatus::AGE_MAX)
        .ok_or(Reason::PositionUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_young_account_passes() {
        let cases = [
            (None, Err(Reason::PositionUnknown)),
            (Some(10_000_000), Ok(())),
            (Some(9_000_000), Ok(())),
            (Some(8_999_999), Err(Reason::PositionUnknown)),
        ];
        for (known_at, expected) in cases {
            let account = known_at.map(|at| Account::quiet(Timestamp(at)));
            let got = check(Timestamp(10_000_000), account.as_ref()).map(|_| ());
            assert_eq!(got, expected, "{known_at:?}");
        }
    }
}
