//! `portcullis posture`: two persons let more through again after a drawdown.

use std::path::Path;

use clap::Subcommand;
use portcullis_wire::messages::RiskAction;

use super::risk::{ENDS, Why, command};
use crate::exit::Outcome;
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis posture raise --reason \"the loss is understood, and the position closed\"

The posture falls by itself as the day's drawdown grows (CAUTIOUS from half of its limit, DEFENSIVE
from three quarters, EMERGENCY at the limit) and never rises by itself. It rises to what the present
drawdown allows, once a second person approves it.
";

/// What can be done with the posture.
#[derive(Debug, Subcommand)]
pub enum Posture {
    /// Go back to the posture that the present drawdown allows; takes a second person
    #[command(after_help = format!("{EXAMPLES}\n{ENDS}"))]
    Raise(Why),
}

/// Asks for it.
///
/// # Errors
/// When it cannot be sent, or nobody answers.
pub async fn run(
    posture: &Posture,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    let Posture::Raise(why) = posture;
    command(RiskAction::RaisePosture, why, dir, bus, output).await
}
