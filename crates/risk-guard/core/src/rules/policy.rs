//! Whoever handles an order runs the same risk policy.

use portcullis_domain::{Hash, Reason};

pub fn check(own: Hash, theirs: Hash) -> Result<(), Reason> {
    if own == theirs {
        Ok(())
    } else {
        Err(Reason::PolicyMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_digest_passes() {
        assert_eq!(check(Hash([1; 32]), Hash([1; 32])), Ok(()));
        assert_eq!(
            check(Hash([1; 32]), Hash([2; 32])),
            Err(Reason::PolicyMismatch)
        );
    }
}
