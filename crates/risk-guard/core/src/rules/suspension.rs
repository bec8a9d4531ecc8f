//! A strategy that repeated itself too often waits for a person; what only reduces a position passes.

use portcullis_domain::Reason;

pub fn check(is_suspended: bool, reduces: bool) -> Result<(), Reason> {
    if is_suspended && !reduces {
        Err(Reason::StrategySuspended)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reduces_passes_while_suspended() {
        const REFUSED: Result<(), Reason> = Err(Reason::StrategySuspended);
        let cases = [
            (false, false, Ok(())),
            (false, true, Ok(())),
            (true, false, REFUSED),
            (true, true, Ok(())),
        ];
        for (is_suspended, reduces, expected) in cases {
            assert_eq!(check(is_suspended, reduces), expected);
        }
    }
}
