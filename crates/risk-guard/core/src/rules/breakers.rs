//! No circuit breaker in the order's way is open; a half-open one lets a small order through as its
//! probe.

use portcullis_domain::Reason;

use crate::breakers::Gate;

pub fn check(gate: &Gate) -> Result<(), Reason> {
    match gate {
        Gate::Free | Gate::Probe(_) => Ok(()),
        Gate::Shut(_) => Err(Reason::CircuitBreakerActive),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::BreakerKey;

    use super::*;

    #[test]
    fn only_a_shut_gate_refuses() {
        let key = BreakerKey::hsm();
        let cases = [
            (Gate::Free, Ok(())),
            (Gate::Probe(alloc::vec![key]), Ok(())),
            (Gate::Shut(key), Err(Reason::CircuitBreakerActive)),
        ];
        for (gate, expected) in cases {
            assert_eq!(check(&gate), expected, "{gate:?}");
        }
    }
}
