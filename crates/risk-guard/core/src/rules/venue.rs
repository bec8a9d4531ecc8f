//! Only venues that the policy lists are traded on.

use portcullis_domain::{Reason, Venue};

pub fn check(allowed: &[Venue], venue: Venue) -> Result<(), Reason> {
    if allowed.contains(&venue) {
        Ok(())
    } else {
        Err(Reason::VenueNotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_passes() {
        assert_eq!(check(&[Venue::Bybit], Venue::Bybit), Ok(()));
        assert_eq!(check(&[], Venue::Bybit), Err(Reason::VenueNotAllowed));
    }
}
