//! What execution says of itself while nothing happens, so that a test only sets what it is about.

use portcullis_domain::{Hash, KillState, Usd};
use portcullis_wire::messages::{ExecutionStatus, Tally};

/// Armed, trading, flat, nothing open, nothing won or lost.
#[must_use]
pub fn status() -> ExecutionStatus {
    ExecutionStatus {
        kill: KillState::Armed,
        may_trade: true,
        reason: None,
        policy: Hash([7; 32]),
        day: 1,
        loss: Usd::ZERO,
        loss_rolling: Usd::ZERO,
        loss_max: Usd::ZERO,
        hard_limits: Hash([0x4c; 32]),
        equity: Some(Usd::ZERO),
        drawdown: Usd::ZERO,
        losses: Vec::new(),
        network: Tally::default(),
        signer: Tally::default(),
        exposures: Vec::new(),
        positions: Vec::new(),
        orders: Vec::new(),
        orders_open: 0,
        orders_unknown: 0,
        orders_unconfirmed: 0,
        halts: Vec::new(),
        kill_confirmed_ms: None,
        fills: 0,
    }
}
