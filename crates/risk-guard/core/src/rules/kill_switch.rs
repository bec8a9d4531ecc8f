//! Nothing passes unless the kill switch is armed.

use portcullis_domain::{KillState, Reason};

pub fn check(kill: KillState) -> Result<(), Reason> {
    if kill.may_trade() {
        Ok(())
    } else {
        Err(Reason::KillSwitch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_armed_passes() {
        let cases = [
            (KillState::Armed, Ok(())),
            (KillState::Triggered, Err(Reason::KillSwitch)),
            (KillState::RecoveryPending, Err(Reason::KillSwitch)),
            (KillState::Maintenance, Err(Reason::KillSwitch)),
        ];
        for (kill, expected) in cases {
            assert_eq!(check(kill), expected, "{kill}");
        }
    }
}
