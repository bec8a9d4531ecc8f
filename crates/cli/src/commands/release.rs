//! `portcullis release`: a person lets a strategy go on that repeated itself.

use std::path::Path;

use portcullis_domain::StrategyId;
use portcullis_wire::messages::RiskAction;

use super::risk::{ENDS, Why, command};
use crate::exit::Outcome;
use crate::output::Output;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis release sample --reason \"the signal was real, I looked at each fill\"

Risk-guard suspends a strategy whose orders fill one way over and over, until a designated person lets
it go on (Commission Delegated Regulation (EU) 2017/589, article 15(3)). `portcullis breakers` lists
the suspended ones.
";

/// Let a strategy go on that was suspended for repeating itself
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n{ENDS}"))]
pub struct Release {
    /// The strategy, such as sample
    strategy: StrategyId,
    #[command(flatten)]
    why: Why,
}

/// Releases it.
///
/// # Errors
/// When it cannot be sent, or nobody answers.
pub async fn run(
    release: &Release,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    let strategy = release.strategy;
    command(
        RiskAction::Release { strategy },
        &release.why,
        dir,
        bus,
        output,
    )
    .await
}
