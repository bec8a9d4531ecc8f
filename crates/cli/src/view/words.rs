//! What services tell, in words.

use portcullis_domain::{KillCause, Reason, Symbol, Venue};
use portcullis_wire::Text;
use portcullis_wire::messages::CommandOutcome;

/// What became of a command, in words.
#[must_use]
pub const fn outcome_words(outcome: CommandOutcome) -> &'static str {
    match outcome {
        CommandOutcome::Done => "done",
        CommandOutcome::AwaitsApproval => "waits for a second person",
        CommandOutcome::Refused => "refused",
        CommandOutcome::Lapsed => "nobody approved it in time",
    }
}

/// What pulled a kill switch, in words.
#[must_use]
pub const fn cause_words(cause: KillCause) -> &'static str {
    match cause {
        KillCause::Operator => "by an operator",
        KillCause::HardLoss => "by the hard daily loss",
        KillCause::Cascade => "by circuit breakers that opened together",
        KillCause::Inconsistent => "its record does not hold",
        KillCause::LatchUnreadable => "its latch file is missing or damaged",
        KillCause::AlreadyLatched => "it already was before the start",
    }
}

/// That nothing new is sent somewhere, or is again.
#[must_use]
pub fn halt_words(
    symbol: Option<Symbol>,
    reason: Reason,
    is_over: bool,
    evidence: &Text,
) -> String {
    let place = symbol.map_or_else(|| "any instrument".to_owned(), |at| at.to_string());
    if is_over {
        format!("{place}, {reason} is over: {evidence}")
    } else {
        format!("nothing new in {place}, {reason}: {evidence}")
    }
}

/// That the venue has confirmed a kill.
#[must_use]
pub fn kill_words(venue: Venue, orders: u64, after_ms: u64) -> String {
    format!(
        "{venue} confirms after {after_ms} ms that nothing is open; {orders} orders were when it was pulled"
    )
}
