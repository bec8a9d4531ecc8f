//! `portcullis audit`: proves that the record is whole, and reads its end. Both read files only: no
//! service and no bus has to run, and nobody has to be trusted but whoever gave the keys.

mod entry;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::log::Problem;
use audit::verify::{Options, Report, VerifyError, entries, verify};
use audit_core::ChainKey;
use clap::Subcommand;
use portcullis_domain::{Hash, PrincipalName};
use portcullis_runtime::Identity;
use portcullis_runtime::identity::Bundle;
use portcullis_runtime::secret::read_hex_key;
use portcullis_wire::Verifying;
use portcullis_wire::principal::Role;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::feed::any_operator;
use crate::folder::Folder;
use crate::output::{Output, Tone, clock_time, rfc3339};

const VERIFY_EXAMPLES: &str = "\
EXAMPLES
  portcullis audit verify                        the log of the development folder
  portcullis audit verify --log COPY --audit-key HEX
                                                 a copy of a log, anywhere, with audit's public key,
                                                 which `portcullis keys show audit` says
  portcullis audit verify --json | jq .entries

The chain of hashes, the order of each source's facts and the envelopes are always checked; the
checkpoints' signatures with audit's public key, and that nobody but audit wrote an entry with its
chain key, which only audit's own machine should have. Across an exchange of audit's keys the present
one is enough: the log names the earlier ones, and the last checkpoint vouches for them. A copy that --log names is judged only by the
keys that are given with it. Without a key a log that somebody wrote anew from its start looks whole.

EXIT CODES
  0 proven whole   1 damaged, or not readable
  8 nothing is wrong, but no key vouches for all of it, or it names facts that are missing";

const TAIL_EXAMPLES: &str = "\
EXAMPLES
  portcullis audit tail
  portcullis audit tail -n 100 --json | jq -r .subject";

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Verify the whole log, offline
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Box<Verify>),
    /// Show the last entries
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
}

/// What to verify, and with what.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Folder of the log [default: that of the development folder]
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
    /// Audit's public key when the log's last checkpoint was signed, 64 hexadecimal digits; the log
    /// names the earlier ones itself. Several while a key is exchanged [default: those that
    /// an operator of the development folder trusts; none with --log]
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    audit_key: Vec<PublicKey>,
    /// File with the chain key, 64 hexadecimal digits [default: that in audit's bundle in the
    /// development folder; none with --log]
    #[arg(long, value_name = "FILE")]
    chain_key: Option<PathBuf>,
}

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Tail {
    /// Folder of the log [default: that of the development folder]
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
    /// How many entries
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
}

/// Audit's public key.
#[derive(Clone, Copy, Debug)]
struct PublicKey(Verifying);

/// How long an audit that is at work may take to finish a write.
const PATIENCE: Duration = Duration::from_secs(2);

fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = Hash::from_hex(text).map_err(|problem| format!("{problem}"))?;
    Verifying::from_bytes(&bytes.0)
        .map(PublicKey)
        .map_err(|_| "is not a public key".to_owned())
}

/// Runs one of them.
///
/// # Errors
/// When the log cannot be read or does not verify.
pub fn run(audit: &Audit, dir: Option<&Path>, output: &Output) -> Outcome {
    match audit {
        Audit::Verify(verify) => run_verify(verify, dir, output),
        Audit::Tail(tail) => run_tail(tail, dir, output),
    }
}

/// Where audit keeps its log in a development folder.
pub fn log_of(folder: &Folder) -> PathBuf {
    folder.state("audit").join("log")
}

fn run_verify(asked: &Verify, dir: Option<&Path>, output: &Output) -> Outcome {
    // A log from elsewhere is not judged by this folder's keys.
    let own = if asked.log.is_none() {
        Some(Folder::find(dir)?)
    } else {
        None
    };
    let log = match (&asked.log, &own) {
        (Some(log), _) => log.clone(),
        (None, Some(folder)) => log_of(folder),
        (None, None) => PathBuf::new(),
    };
    let given = asked.audit_key.iter().map(|PublicKey(key)| *key);
    let audit_keys: Vec<Verifying> = match &own {
        Some(folder) if asked.audit_key.is_empty() => {
            let identity = Identity::load(&folder.identity(&any_operator(folder)));
            let next_step = "make the development identities anew, or give --audit-key";
            let identity = identity.or_fail("read the keys that an operator trusts", next_step)?;
            let name = PrincipalName::new(Role::Audit.name());
            let name = name.or_fail("name audit", next_step)?;
            identity.trust.keys_of(&name).collect()
        }
        Some(_) | None => given.collect(),
    };
    let next_step = "give another with --chain-key, or a log without one with --log";
    let chain_key = match (&asked.chain_key, &own) {
        (Some(file), _) => Some(read_hex_key(file).or_fail("read the chain key", next_step)?),
        (None, Some(folder)) => {
            let bundle = Bundle::open(&folder.identity("audit"));
            let bundle = bundle.or_fail("read audit's chain key", next_step)?;
            bundle.secret("chain").map(|key| Zeroizing::new(*key))
        }
        (None, None) => None,
    };
    let chain_key = match chain_key {
        Some(bytes) => Some(ChainKey::from_bytes(&bytes).or_fail("use the chain key", next_step)?),
        None => None,
    };
    let options = Options {
        chain_key,
        audit_keys,
        patience: PATIENCE,
    };
    let report = verify(&log, &options).map_err(|cause| {
        let action = format!("verify {}", log.display());
        let is_unknown_key = matches!(
            cause,
            VerifyError::Damaged {
                problem: Problem::CheckpointKey,
                ..
            }
        );
        let next_step = if is_unknown_key {
            "give the key that audit had when the log was last written, which those who verify it \
             got from elsewhere, with --audit-key; if there is none such, somebody else wrote it"
        } else if matches!(cause, VerifyError::Damaged { .. }) {
            "keep trading stopped and the folder as it is, and compare with a copy or with the \
             checkpoints that others saw; what to do stands in docs/audit-log.md, After a crash"
        } else {
            "name the folder with the segments: --log FOLDER"
        };
        Failure::caused(End::Failed, action, cause, next_step)
    })?;
    output.object("portcullis.audit-verify/1", to_json(&report, &log));
    for line in lines(&report, &log, output) {
        output.line(&line);
    }
    Ok(if report.gaps == 0 && unvouched(&report) == 0 {
        End::Done
    } else {
        End::Partial
    })
}

/// How many entries no key vouches for. A MAC vouches for its entry, a signed checkpoint for all
/// that it covers; the chain alone holds for whatever anybody wrote from its start.
fn unvouched(report: &Report) -> u64 {
    if report.macs_checked {
        return 0;
    }
    let signed = match &report.last_checkpoint {
        Some(last) if report.signatures_checked => last.size,
        Some(_) | None => 0,
    };
    report.entries.saturating_sub(signed)
}

fn to_json(report: &Report, log: &Path) -> Value {
    let checkpoint = report
        .last_checkpoint
        .map(|last| json!({ "size": last.size, "head": last.head, "at": rfc3339(last.at) }));
    json!({
        "log": log.display().to_string(),
        "verified": unvouched(report) == 0,
        "unvouched": unvouched(report),
        "entries": report.entries,
        "bytes": report.bytes,
        "head": report.head,
        "checkpoints": report.checkpoints,
        "last_checkpoint": checkpoint,
        "macs_checked": report.macs_checked,
        "signatures_checked": report.signatures_checked,
        "gaps": report.gaps,
        "gaps_listed": report.gaps_listed,
        "violations": report.violations,
        "bus_denied": report.bus_denied,
        "subjects": report.subjects,
        "sources": report.sources,
    })
}

fn lines(report: &Report, log: &Path, output: &Output) -> Vec<String> {
    let checked = |yes: bool, with: &str| {
        if yes {
            "checked".to_owned()
        } else {
            format!("not checked: no {with} was given")
        }
    };
    let checkpoints = match &report.last_checkpoint {
        Some(last) => format!(
            "{}, the last over {} entries",
            report.checkpoints, last.size
        ),
        None => "none yet".to_owned(),
    };
    let mut lines = vec![
        format!("log          {}", log.display()),
        format!(
            "entries      {} ({} bytes): chain and envelopes hold",
            report.entries, report.bytes
        ),
        format!("MACs         {}", checked(report.macs_checked, "chain key")),
        format!("checkpoints  {checkpoints}"),
        format!(
            "signatures   {}",
            checked(report.signatures_checked, "public key of audit")
        ),
        format!("head         {}", report.head),
    ];
    if report.violations > 0 {
        let text = format!("{} recorded", report.violations);
        lines.push(format!(
            "violations   {}",
            output.paint(Tone::Attention, &text)
        ));
    }
    if report.bus_denied > 0 {
        let text = format!("{} by the bus server recorded", report.bus_denied);
        lines.push(format!(
            "denials      {}",
            output.paint(Tone::Attention, &text)
        ));
    }
    for gap in &report.gaps_listed {
        let text = format!(
            "entry {} names facts {} to {} of {} (start {}) as missing",
            gap.entry, gap.from, gap.to, gap.source, gap.boot
        );
        lines.push(format!(
            "gap          {}",
            output.paint(Tone::Attention, &text)
        ));
    }
    lines.push(match (unvouched(report), report.gaps) {
        (0, 0) => output.paint(
            Tone::Good,
            "VERIFIED: nothing is missing and nothing was changed",
        ),
        (0, gaps) => {
            let text = format!("VERIFIED, with {gaps} gaps that the log itself names");
            output.paint(Tone::Attention, &text)
        }
        (unvouched, _) => {
            let text = format!(
                "NOT PROVEN: nothing is wrong, but no key vouches for the last {unvouched} entries"
            );
            output.paint(Tone::Attention, &text)
        }
    });
    if !report.macs_checked && !report.signatures_checked {
        lines.push("next step: give audit's public key (--audit-key) or its chain key".to_owned());
    }
    lines
}

fn run_tail(tail: &Tail, dir: Option<&Path>, output: &Output) -> Outcome {
    let log = match &tail.log {
        Some(log) => log.clone(),
        None => log_of(&Folder::find(dir)?),
    };
    let next_step = "verify it: portcullis audit verify";
    let action = || format!("read {}", log.display());
    let count = usize::try_from(tail.count).unwrap_or(usize::MAX);
    let mut last = VecDeque::with_capacity(count.min(1_024));
    for next in entries(&log).or_fail(action(), next_step)? {
        if last.len() == count {
            last.pop_front();
        }
        last.push_back(next.or_fail(action(), next_step)?);
    }
    for known in &last {
        let text = entry::describe(known);
        output.object(
            "portcullis.audit-entry/1",
            json!({
                "index": known.index,
                "hash": known.hash,
                "received_at": rfc3339(known.received_at),
                "subject": known.subject,
                "source": known.source,
                "boot": known.boot,
                "seq": known.seq,
                "id": known.id,
                "own": known.own(),
                "text": text,
            }),
        );
        let time = output.paint(Tone::Quiet, &clock_time(known.received_at));
        output.line(&format!(
            "{:>8} {time} {:<36} {text}",
            known.index, known.subject
        ));
    }
    Ok(End::Done)
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Timestamp;
    use portcullis_wire::messages::Checkpoint;

    use super::*;

    #[test]
    fn a_public_key_is_one_or_is_refused() {
        let key = portcullis_wire::Signer::from_seed(&[7; 32]).verifying();
        let text = Hash(key.to_bytes()).to_string();
        assert_eq!(public_key(&text).unwrap().0, key);
        assert!(public_key("ab").unwrap_err().contains("hexadecimal"));
    }

    fn report() -> Report {
        Report {
            entries: 3,
            bytes: 900,
            head: Hash([1; 32]),
            checkpoints: 0,
            last_checkpoint: None,
            macs_checked: false,
            signatures_checked: false,
            gaps: 0,
            gaps_listed: vec![],
            violations: 0,
            bus_denied: 0,
            subjects: Default::default(),
            sources: vec![],
        }
    }

    #[test]
    fn what_was_not_checked_is_said() {
        let output = Output::of(false, false, false);
        let denied = Report {
            bus_denied: 7,
            ..report()
        };
        let text = lines(&denied, Path::new("/l"), &output).join("\n");
        assert!(
            text.contains("denials      7 by the bus server recorded"),
            "{text}"
        );
        assert!(
            text.contains("MACs         not checked: no chain key was given"),
            "{text}"
        );
        assert!(
            text.contains("signatures   not checked: no public key of audit"),
            "{text}"
        );
        assert!(!text.contains("VERIFIED"), "{text}");
        assert!(text.contains("NOT PROVEN"), "{text}");
    }

    #[test]
    fn a_key_vouches_for_what_it_covers_and_no_more() {
        let checkpoint = |size| Checkpoint {
            size,
            head: Hash([1; 32]),
            at: Timestamp::from_millis(1),
        };
        // MACs and signatures checked, the size of the last checkpoint, and what is left over.
        let cases = [
            (true, true, Some(2), 0),
            (true, false, None, 0),
            (false, true, Some(3), 0),
            (false, true, Some(2), 1),
            (false, true, None, 3),
            (false, false, Some(3), 3),
        ];
        for (macs_checked, signatures_checked, size, expected) in cases {
            let report = Report {
                macs_checked,
                signatures_checked,
                last_checkpoint: size.map(checkpoint),
                ..report()
            };
            assert_eq!(unvouched(&report), expected, "{report:?}");
        }
    }
}
