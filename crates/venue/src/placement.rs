//! What an answer to a placement proves: the one judgement that execution and the simulation share.

use portcullis_domain::{Reason, VenueOrderId};

use crate::bybit::VenueError;

/// How the request to place an order was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The venue says that it took it.
    Acknowledged(VenueOrderId),
    /// The venue says something else, by its code or its HTTP status.
    Refused(VenueError),
    /// No connection came about: nothing left this machine.
    NotSent,
    /// Anything else: time-out, reset, unreadable.
    None,
}

/// What that proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The venue took it.
    Taken(VenueOrderId),
    /// The venue certainly did not take it.
    NotTaken(Reason),
    /// It never left.
    NotSent(Reason),
    /// Nothing: the order is asked about, and never sent again.
    Nothing,
}

impl Answer {
    /// What it proves about the order. Whatever proves nothing leaves the order in doubt.
    #[must_use]
    pub const fn proof(self) -> Proof {
        match self {
            Self::Acknowledged(venue_order) => Proof::Taken(venue_order),
            Self::Refused(error) => match error.refusal_of_order() {
                Some(reason) => Proof::NotTaken(reason),
                None => Proof::Nothing,
            },
            Self::NotSent => Proof::NotSent(Reason::VenueUnreachable),
            Self::None => Proof::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn only_word_of_the_venue_or_no_connection_proves_anything() {
        let id = VenueOrderId::new("v-1").unwrap();
        assert_eq!(Answer::Acknowledged(id).proof(), Proof::Taken(id));
        let unsent = Proof::NotSent(Reason::VenueUnreachable);
        assert_eq!(Answer::NotSent.proof(), unsent);
        assert_eq!(Answer::None.proof(), Proof::Nothing);
        for class in VenueError::ALL {
            let expected = match class {
                VenueError::Duplicate | VenueError::Network | VenueError::Unknown => Proof::Nothing,
                VenueError::InsufficientFunds => Proof::NotTaken(Reason::InsufficientFunds),
                VenueError::SlippageExceeded | VenueError::Invalid | VenueError::NotFound => {
                    Proof::NotTaken(Reason::VenueRejected)
                }
                VenueError::Authentication => Proof::NotTaken(Reason::VenueAuthentication),
                VenueError::ClockSkew => Proof::NotTaken(Reason::ClockSkew),
                VenueError::RateLimited => Proof::NotTaken(Reason::VenueRateLimit),
            };
            assert_eq!(Answer::Refused(*class).proof(), expected, "{class:?}");
        }
    }
}
