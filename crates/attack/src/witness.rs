//! What is on record about an attempt: each refusal with the entry of audit's log that shows it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use audit::verify::{OwnedEntry, read_unsealed};
use audit_core::{BusClient, BusDenial, Own};
use portcullis_domain::{OrderId, OrderStatus, PrincipalName, Reason};
use portcullis_wire::messages::{
    Decision, ExecutionReport, Notice, Outcome as Answer, SignatureRecord, Verdict,
};

use crate::outcome::Refused;
use crate::stage::{Mark, Stage, digest};

impl Stage {
    /// The bus denied it: waits for audit's entry about that.
    ///
    /// # Errors
    /// When there is none.
    pub fn denied_by_bus(
        &mut self,
        mark: Mark,
        refused_ms: u64,
        way: &str,
        who: PrincipalName,
        what: BusDenial,
        subject: &str,
    ) -> Result<Refused> {
        let (entry, ()) = self.recorded(mark, way, |entry| match entry.own()? {
            Own::BusDenied {
                who: BusClient::Principal { name, .. },
                what: denied,
                subject: on,
                ..
            } => (name == who && denied == what && on.as_str() == subject).then_some(()),
            _ => None,
        })?;
        let code = format!("{} denied", what.name());
        Ok(
            seen(mark, &entry, way, "bus permission", &code, Some(refused_ms))
                .and_seen_by("bus server"),
        )
    }

    /// A service refused a frame: waits for the notice about it, with one of these codes.
    ///
    /// # Errors
    /// When there is none, or another.
    pub fn refused_by(
        &mut self,
        mark: Mark,
        way: &str,
        service: &str,
        frame: &[u8],
        codes: &[&str],
    ) -> Result<Refused> {
        let (subject, hash) = (format!("evt.{service}.notice"), digest(frame));
        let what = format!("{way}: a refusal by {service}");
        let (entry, code) = self.recorded(mark, &what, |entry| {
            let (code, refused) = if service == "audit" {
                match entry.own()? {
                    Own::Violation { code, frame, .. } => (code, frame),
                    _ => return None,
                }
            } else {
                match read_unsealed(&entry.content)
                    .ok()
                    .filter(|_| entry.subject == subject)?
                    .1
                {
                    Notice::Violation { code, frame, .. } => (code, frame),
                    _ => return None,
                }
            };
            (refused == hash).then(|| code.as_str().to_owned())
        })?;
        ensure!(
            codes.contains(&code.as_str()),
            "{way}: {service} refused it as {code}, not as {codes:?}"
        );
        let mut checks: Vec<&str> = codes.iter().map(|code| check_of(code)).collect();
        checks.dedup();
        let at = format!("{} at {service}", checks.join(" or "));
        let code = codes.join(" or ");
        Ok(seen(mark, &entry, way, &at, &code, None).and_seen_by(service))
    }

    /// The brain refused a proposal.
    ///
    /// # Errors
    /// When it did not, or for another reason.
    pub fn decided(&mut self, mark: Mark, way: &str, id: OrderId, why: Reason) -> Result<Refused> {
        let (entry, outcome) = self.recorded(mark, way, |entry| {
            fact::<Decision>(entry, "evt.brain.decision.")
                .filter(|decision| decision.order == id)
                .map(|decision| decision.outcome)
        })?;
        answered(mark, &entry, way, "brain", outcome, why)
    }

    /// Risk-guard refused an order.
    ///
    /// # Errors
    /// When it did not, or for another reason.
    pub fn judged(&mut self, mark: Mark, way: &str, id: OrderId, why: Reason) -> Result<Refused> {
        let (entry, outcome) = self.recorded(mark, way, |entry| {
            fact::<Verdict>(entry, "evt.risk-guard.verdict.")
                .filter(|verdict| verdict.order == id)
                .map(|verdict| verdict.outcome)
        })?;
        answered(mark, &entry, way, "risk-guard", outcome, why)
    }

    /// The signer refused a signature; `order` is none where it could not even open the permit.
    ///
    /// # Errors
    /// When it did not, or for another reason.
    pub fn unsigned(
        &mut self,
        mark: Mark,
        way: &str,
        order: Option<OrderId>,
        why: Reason,
    ) -> Result<Refused> {
        let (entry, outcome) = self.recorded(mark, way, |entry| {
            fact::<SignatureRecord>(entry, "evt.signer.signature")
                .filter(|record| record.order == order)
                .map(|record| record.outcome)
                .filter(|outcome| *outcome != Answer::Passed)
        })?;
        answered(mark, &entry, way, "signer", outcome, why)
    }

    /// What execution reported last of an order, once it is over.
    ///
    /// # Errors
    /// When it reports nothing.
    pub fn reported(
        &mut self,
        mark: Mark,
        way: &str,
        id: OrderId,
    ) -> Result<(Arc<OwnedEntry>, ExecutionReport)> {
        self.recorded(mark, way, |entry| {
            fact::<ExecutionReport>(entry, "evt.execution.report.")
                .filter(|report| report.order == id && report.status.is_terminal())
        })
    }

    /// Execution's gate refused an order.
    ///
    /// # Errors
    /// When it did not, or for another reason.
    pub fn gated(&mut self, mark: Mark, way: &str, id: OrderId, why: Reason) -> Result<Refused> {
        let (entry, report) = self.reported(mark, way, id)?;
        ensure!(
            report.status == OrderStatus::Refused && report.reason == Some(why),
            "{way}: execution reported {report:?}"
        );
        let at = "execution's gate";
        Ok(seen(mark, &entry, way, at, why.code(), None).and_seen_by("execution"))
    }

    /// What the venue answered, which audit does not see.
    #[must_use]
    pub fn refused_by_venue(&self, mark: Mark, way: &str, code: &str) -> Refused {
        Refused {
            way: way.into(),
            at: "the venue".into(),
            code: code.into(),
            entry: String::new(),
            index: None,
            seen_by: vec!["the venue".into()],
            refused_ms: mark.ms(),
            recorded_ms: None,
        }
    }

    /// A refusal that stands in an entry.
    #[must_use]
    pub fn seen(&self, mark: Mark, entry: &OwnedEntry, way: &str, at: &str, code: &str) -> Refused {
        seen(mark, entry, way, at, code, None)
    }
}

/// The message of a fact on a subject that begins so.
#[must_use]
pub fn fact<M: portcullis_wire::messages::Message>(entry: &OwnedEntry, begins: &str) -> Option<M> {
    let fits = entry.subject.starts_with(begins);
    fits.then(|| read_unsealed(&entry.content).ok())?
        .map(|(_, message)| message)
}

fn answered(
    mark: Mark,
    entry: &OwnedEntry,
    way: &str,
    who: &str,
    outcome: Answer,
    why: Reason,
) -> Result<Refused> {
    ensure!(
        outcome == Answer::Refused(why),
        "{way}: {who} answered {outcome:?}, not {why:?}"
    );
    Ok(seen(mark, entry, way, who, why.code(), None).and_seen_by(who))
}

fn seen(
    mark: Mark,
    entry: &OwnedEntry,
    way: &str,
    at: &str,
    code: &str,
    refused_ms: Option<u64>,
) -> Refused {
    let recorded_ms = mark.until(entry.received_at);
    Refused {
        way: way.into(),
        at: at.into(),
        code: code.into(),
        entry: entry.subject.clone(),
        index: Some(entry.index),
        seen_by: Vec::new(),
        // The refusing service says it in the same breath as it refuses.
        refused_ms: refused_ms.unwrap_or(recorded_ms),
        recorded_ms: Some(recorded_ms),
    }
}

/// Which check a code belongs to.
fn check_of(code: &str) -> &'static str {
    match code {
        "NO_SEAL" | "UNKNOWN_KEY" | "BAD_SEAL" | "RETIRED_KEY" => "seal",
        "WRONG_REALM" => "realm",
        "WRONG_SUBJECT" | "WRONG_ADDRESSEE" => "binding to subject and reader",
        "EXPIRED" | "SEALED_IN_FUTURE" => "expiry",
        "SEALED_BEFORE_BOOT" => "start",
        "EARLIER_START" | "REPLAY" | "SEQUENCE_CONFLICT" => "replay window",
        "BAD_SIGNATURE" | "UNKNOWN_OPERATOR" | "WRONG_OPERATOR" => "signature",
        _ => "format",
    }
}
