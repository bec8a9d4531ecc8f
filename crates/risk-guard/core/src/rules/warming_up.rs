//! Nothing passes until what an earlier run of this guard permitted is either accounted for by
//! execution or can no longer be taken: one order lifetime after the start, and with an account
//! that execution issued after that.

use portcullis_domain::{Reason, Timestamp};
use portcullis_wire::subjects::ORDER_LIFETIME;

use crate::guard::Account;

pub fn check(
    now: Timestamp,
    started_at: Timestamp,
    account: Option<&Account>,
) -> Result<(), Reason> {
    let warm_at = started_at.plus(ORDER_LIFETIME);
    let account_may_lack = account.is_some_and(|account| account.issued_at < warm_at);
    if now < warm_at || account_may_lack {
        Err(Reason::WarmingUp)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_lifetime_and_an_account_issued_after_it() {
        let start = Timestamp(10_000_000);
        // now, account issued at, both in microseconds after the start
        let cases = [
            (0, None, Err(Reason::WarmingUp)),
            (1_999_999, Some(1_999_999), Err(Reason::WarmingUp)),
            (2_000_000, Some(1_999_999), Err(Reason::WarmingUp)),
            (2_000_000, Some(2_000_000), Ok(())),
            (9_000_000, Some(1_000_000), Err(Reason::WarmingUp)),
            // No account at all is for the rule that asks for one.
            (2_000_000, None, Ok(())),
        ];
        for (now, issued_at, expected) in cases {
            let account = issued_at.map(|issued_at| Account::quiet(Timestamp(start.0 + issued_at)));
            let got = check(Timestamp(start.0 + now), start, account.as_ref());
            assert_eq!(got, expected, "{now} {issued_at:?}");
        }
    }
}
