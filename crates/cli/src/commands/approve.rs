//! `portcullis approve`: a second person agrees to exactly what the first one signed.
//!
//! What is shown is hashed here, anew: whoever shows another command than the digest stands for, even
//! risk-guard itself, is found out before anything is signed.

use std::path::Path;

use portcullis_domain::{Hash, PrincipalName, Timestamp};
use portcullis_wire::Signer;
use portcullis_wire::messages::{PendingCommand, RiskAction, RiskStatus};

use super::risk::{ENDS, Post, Why};
use crate::command::key_of;
use crate::confirm::confirm;
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::feed::now;
use crate::output::{Output, rfc3339, span_words};
use crate::view::action_words;

const EXAMPLES: &str = "\
EXAMPLES
  portcullis breakers                                   what awaits approval, with its digest
  portcullis approve 0123456789abcdef --reason \"I looked at it, too\" --operator operator-second
  portcullis approve 0123456789abcdef --reason agreed --operator operator-second --yes

Whoever asked cannot approve. What you approve is shown before anything is signed: its digest is
computed anew from what is shown. Let whoever asked tell you the digest, by another way than this.
";

/// The fewest digits that name a command.
const DIGITS_MIN: usize = 8;
/// The digits of a whole digest.
const DIGITS: usize = 64;

/// Approve another person's command, after it is shown
#[derive(Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n{ENDS}"))]
pub struct Approve {
    /// The digest of the command, or its first digits: 8 at least
    #[arg(value_name = "DIGEST", value_parser = digits)]
    digest: String,
    /// Approve without being asked, where nobody sits at a terminal
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    why: Why,
}

fn digits(text: &str) -> Result<String, String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !hexadecimal || !(DIGITS_MIN..=DIGITS).contains(&text.len()) {
        return Err(format!(
            "is no digest: give {DIGITS_MIN} to {DIGITS} hexadecimal digits"
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Approves it.
///
/// # Errors
/// When no such command waits, the one who asked is the one who approves, or it is not confirmed.
pub async fn run(
    approve: &Approve,
    dir: Option<&Path>,
    bus: Option<&str>,
    output: &Output,
) -> Outcome {
    let mut post = Post::open(&approve.why.by, dir, bus).await?;
    let identity = post.watcher.client().identity();
    let status = post.status().await?;
    let pending = find(status, &approve.digest)?;
    may_approve(pending, identity.name)?;
    is_what_was_signed(pending, key_of(&identity)?)?;
    let digest = pending.digest;
    for line in lines(pending, now()) {
        output.talk(&line);
    }
    let question = format!("approve it as {}?", identity.name);
    confirm(&question, approve.yes, output)?;
    let action = RiskAction::Approve { digest };
    post.command(action, &approve.why.reason, output).await
}

/// The one command that the digits name.
fn find<'a>(status: &'a RiskStatus, digits: &str) -> Result<&'a PendingCommand, Failure> {
    let named = |one: &&PendingCommand| one.digest.to_string().starts_with(digits);
    let mut found = status.pending.iter().filter(named);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Failure::new(
            End::Failed,
            format!("no command whose digest begins with {digits} awaits approval"),
            "see what does: portcullis breakers",
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            End::Usage,
            format!("several digests begin with {digits}"),
            "give more digits: portcullis breakers --json",
        )),
    }
}

/// Risk-guard refuses it too; here nobody has to wait for that.
fn may_approve(pending: &PendingCommand, approver: PrincipalName) -> Result<(), Failure> {
    if pending.command.operator != approver {
        return Ok(());
    }
    Err(Failure::new(
        End::Denied,
        format!("{approver} asked for it: whoever asks does not approve"),
        "let another operator approve it: --operator NAME",
    ))
}

/// A digest is over the content alone, so that anybody's key gives the same.
fn is_what_was_signed(pending: &PendingCommand, key: &Signer) -> Result<(), Failure> {
    let signed = key.sign(&pending.command);
    let signed = signed.or_fail("hash the command", "report this as a defect")?;
    let digest: Hash = signed.digest();
    if digest == pending.digest {
        return Ok(());
    }
    Err(Failure::new(
        End::Failed,
        format!(
            "risk-guard shows a command whose digest is {digest} as {}",
            pending.digest
        ),
        "approve nothing: risk-guard shows another command than was signed, or runs another \
         version; stop everything if you cannot explain it: portcullis kill",
    ))
}

fn lines(pending: &PendingCommand, present: Timestamp) -> Vec<String> {
    let command = &pending.command;
    vec![
        format!("what     {}", action_words(&command.action)),
        format!(
            "asked    by {} at {}",
            command.operator,
            rfc3339(command.at)
        ),
        format!("why      {}", command.reason),
        format!("realm    {}", command.realm),
        format!("digest   {}", pending.digest),
        format!(
            "lapses   in {}",
            span_words(pending.expires_at.since(present))
        ),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use portcullis_domain::Posture;
    use portcullis_wire::Text;
    use portcullis_wire::messages::RiskCommand;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn key(seed: u8) -> Signer {
        Signer::from_seed(&[seed; 32])
    }

    fn pending(scope: &str) -> PendingCommand {
        let command = RiskCommand {
            realm: "dev".parse().unwrap(),
            operator: "operator-dev".parse().unwrap(),
            action: RiskAction::LiftHalt {
                scope: scope.parse().unwrap(),
            },
            reason: Text::lossy("calm again"),
            at: NOW,
        };
        PendingCommand {
            digest: key(1).sign(&command).unwrap().digest(),
            command,
            expires_at: Timestamp::from_millis(1_600_000),
        }
    }

    fn status(pending: Vec<PendingCommand>) -> RiskStatus {
        RiskStatus {
            posture: Posture::Normal,
            generation: 0,
            breakers: vec![],
            halts: vec![],
            suspended: vec![],
            pending,
            limits: vec![],
            left_out: 0,
        }
    }

    #[test]
    fn the_second_person_hashes_what_is_shown_with_a_key_of_their_own() {
        let shown = pending("all");
        is_what_was_signed(&shown, &key(2)).unwrap();
        let forged = PendingCommand {
            command: pending("strategy:sample").command,
            ..shown
        };
        let refused = is_what_was_signed(&forged, &key(2)).unwrap_err();
        assert_eq!(refused.end, End::Failed);
        assert!(refused.next_step.contains("approve nothing"), "{refused:?}");
    }

    #[test]
    fn whoever_asked_does_not_approve() {
        let pending = pending("all");
        let refused = may_approve(&pending, "operator-dev".parse().unwrap()).unwrap_err();
        assert_eq!(refused.end, End::Denied);
        may_approve(&pending, "operator-second".parse().unwrap()).unwrap();
    }

    #[test]
    fn a_prefix_names_one_command_or_none() {
        let mut first = pending("all");
        let mut second = pending("strategy:sample");
        first.digest = Hash([0xab; 32]);
        second.digest = Hash([0xab; 32]);
        second.digest.0[8] = 0;
        let status = status(vec![first.clone(), second]);
        let whole = first.digest.to_string();
        assert_eq!(find(&status, &whole).unwrap().digest, first.digest);
        assert_eq!(find(&status, "abababab").unwrap_err().end, End::Usage);
        assert_eq!(find(&status, "cdcdcdcd").unwrap_err().end, End::Failed);
    }

    #[test]
    fn what_is_approved_is_said_in_words() {
        let pending = pending("all");
        assert_eq!(
            lines(&pending, NOW),
            [
                "what     lift the halt of all".to_owned(),
                "asked    by operator-dev at 1970-01-01T00:16:40.000Z".to_owned(),
                "why      calm again".to_owned(),
                "realm    dev".to_owned(),
                format!("digest   {}", pending.digest),
                "lapses   in 10 min".to_owned(),
            ]
        );
    }

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        approve: Approve,
    }

    #[test]
    fn a_digest_has_enough_digits_and_a_reason_beside_it() {
        let parse = |line: &str| {
            let words = std::iter::once("approve").chain(line.split_whitespace());
            let line = Line::try_parse_from(words).map_err(|problem| problem.to_string());
            line.map(|line| line.approve.digest)
        };
        assert_eq!(parse("ABCDEF01 --reason x").unwrap(), "abcdef01");
        let long = "0".repeat(65);
        for (line, expected) in [
            ("abcdef0 --reason x".to_owned(), "8 to 64"),
            ("abcdefgh --reason x".to_owned(), "8 to 64"),
            (format!("{long} --reason x"), "8 to 64"),
            ("abcdef01".to_owned(), "--reason"),
        ] {
            let problem = parse(&line).unwrap_err();
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }
}
