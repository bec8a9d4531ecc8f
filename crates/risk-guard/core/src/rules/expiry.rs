//! An order lives one lifetime, by its envelope and by what the brain says in it.

use portcullis_domain::{Reason, Span, Timestamp};
use portcullis_wire::subjects::ORDER_LIFETIME;

/// How far ahead of ours the brain's clock may be.
const SKEW_MAX: Span = Span::from_secs(2);

pub fn check(now: Timestamp, created_at: Timestamp, expires_at: Timestamp) -> Result<(), Reason> {
    let lives = now < expires_at && now.since(created_at) < ORDER_LIFETIME;
    let plausible = created_at <= now.plus(SKEW_MAX);
    if lives && plausible {
        Ok(())
    } else {
        Err(Reason::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_lives_from_its_making_to_its_end() {
        let now = 10_000_000;
        let cases = [
            (now, now + 1, Ok(())),
            (now, now, Err(Reason::Expired)),
            (now - 1_999_999, now + 1, Ok(())),
            (now - 2_000_000, now + 1, Err(Reason::Expired)),
            (now + 2_000_000, now + 1, Ok(())),
            (now + 2_000_001, now + 1, Err(Reason::Expired)),
        ];
        for (created_at, expires_at, expected) in cases {
            let got = check(Timestamp(now), Timestamp(created_at), Timestamp(expires_at));
            assert_eq!(got, expected, "{created_at} {expires_at}");
        }
    }
}
