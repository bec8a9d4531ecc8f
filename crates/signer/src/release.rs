//! The way of an answer out of the signer: its record is on disk first, its fact is on the way to
//! audit, the switch is still armed, and only then the signature leaves.
//!
//! ```text
//!  core ──▶ Pending ──▶ wait for the disk ──▶ sign ──▶ fact ──▶ answer
//! ```
//!
//! Answers leave in the order of the decisions, so that a repeated one never overtakes the record
//! of the first.

use std::sync::Arc;
use std::time::Instant;

use portcullis_domain::{OrderId, Reason};
use portcullis_runtime::telemetry::Span;
use portcullis_runtime::{Durable, Latch, Service, metrics, tracing};
use portcullis_wire::Text;
use portcullis_wire::messages::{Outcome, SignResponse};
use portcullis_wire::principal::Signer;
use portcullis_wire::subjects::{SIGNATURE, SIGNED};
use signer::custody::{Custody, CustodyError};
use signer_core::{Answer, Decision};
use tokio::sync::mpsc;

/// A decided answer that waits for the disk.
pub struct Pending {
    /// The answer.
    pub answer: Answer,
    /// When its record is on disk, if it has one.
    pub durable: Option<Durable>,
    /// When the request came.
    pub since: Instant,
    /// The trace.
    pub span: Span,
}

/// What gives answers out.
pub struct Release {
    service: Service<Signer>,
    custody: Arc<Custody>,
    latch: Latch,
    disk_failed: bool,
}

impl Release {
    /// Of this service, with these secrets.
    pub fn new(service: Service<Signer>, custody: Arc<Custody>, latch: Latch) -> Self {
        Self {
            service,
            custody,
            latch,
            disk_failed: false,
        }
    }

    /// Gives out answers until there are no more.
    pub async fn run(mut self, mut pending: mpsc::Receiver<Pending>) {
        while let Some(mut next) = pending.recv().await {
            if let Some(durable) = next.durable.take()
                && let Err(error) = durable.await
            {
                // What was not written may or may not be on disk; no order is signed any more.
                self.disk_failed = true;
                self.service.fail(error);
            }
            self.give(next);
        }
    }

    fn give(&self, pending: Pending) {
        let Pending {
            answer,
            since,
            mut span,
            ..
        } = pending;
        let Answer {
            request,
            decision,
            mut fact,
        } = answer;
        let places = matches!(decision, Decision::Sign { places: true, .. });
        let mut outcome = signature(&self.custody, decision, self.disk_failed, &self.latch)
            .unwrap_or_else(|error| {
                self.service.fail(error);
                Err(Reason::SignerRefused)
            });
        fact.outcome = match &outcome {
            Ok(_) => Outcome::Passed,
            Err(reason) => Outcome::Refused(*reason),
        };
        let traceparent = span.traceparent();
        let recorded = self.service.fact(
            &SIGNED,
            None,
            &fact,
            Some(&request),
            Some(traceparent.clone()),
        );
        if let Err(error) = recorded {
            tracing::error!(%error, action = %fact.action, "signature not recorded");
            // No record, no order; what adds no risk must still go out.
            if places {
                outcome = Err(Reason::JournalUnwritable);
            }
        }
        let result = outcome
            .as_ref()
            .map_or_else(|reason| reason.code(), |_| "signed");
        count(fact.action.as_str(), result, since);
        span.set("action", fact.action.as_str().to_owned());
        span.set("result", result);
        if let Some(order) = fact.order {
            span.set("order", order.to_string());
        }
        log(&fact.action, fact.order, &outcome);
        let response = match outcome {
            Ok((api_key, signature)) => SignResponse::Signed { api_key, signature },
            Err(reason) => SignResponse::Refused { reason },
        };
        let sent = self.service.publish(
            &SIGNATURE,
            None,
            &response,
            Some(&request),
            Some(traceparent),
        );
        if let Err(error) = sent {
            // Execution hears nothing, and does nothing.
            tracing::warn!(%error, action = %fact.action, "answer not sent");
        }
    }
}

type Signature = (Text, Text);

/// Signs, if the decision still holds at this moment. The error is one of the custody itself.
fn signature(
    custody: &Custody,
    decision: Decision,
    disk_failed: bool,
    latch: &Latch,
) -> Result<Result<Signature, Reason>, CustodyError> {
    let (authority, text) = match decision {
        Decision::Refuse(reason) => return Ok(Err(reason)),
        Decision::Sign { places: true, .. } if disk_failed => {
            return Ok(Err(Reason::JournalUnwritable));
        }
        // Pulled while the record was on its way to the disk.
        Decision::Sign { places: true, .. } if !latch.state().may_trade() => {
            return Ok(Err(Reason::KillSwitch));
        }
        Decision::Sign {
            authority, text, ..
        } => (authority, text),
    };
    let signature = custody.sign(authority, &text)?;
    Ok(Ok((custody.name(authority).clone(), signature)))
}

fn count(action: &str, result: &'static str, since: Instant) {
    let action = action.to_owned();
    metrics::counter!("portcullis_signatures_total", "action" => action, "result" => result)
        .increment(1);
    metrics::histogram!("portcullis_sign_seconds").record(since.elapsed());
}

fn log(action: &Text, order: Option<OrderId>, outcome: &Result<Signature, Reason>) {
    let order = order.map(|order| order.to_string()).unwrap_or_default();
    match outcome {
        Ok(_) => tracing::debug!(%action, order, "signed"),
        Err(reason) => tracing::warn!(%action, order, %reason, "refused to sign"),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::KillCause;
    use portcullis_runtime::StateDir;
    use portcullis_venue::bybit::Authority;
    use signer::custody::ApiKey;

    use super::*;

    fn custody() -> Custody {
        let key = |name: &str| {
            let secret = format!("secret-of-the-test-key-{name}").into_bytes();
            ApiKey::new(name, secret.into()).unwrap()
        };
        Custody::new(key("TRADE"), key("READ")).unwrap()
    }

    fn sign(places: bool) -> Decision {
        Decision::Sign {
            authority: Authority::Trading,
            text: "text".into(),
            places,
        }
    }

    fn refusal(decision: Decision, disk_failed: bool, latch: &Latch) -> Option<Reason> {
        signature(&custody(), decision, disk_failed, latch)
            .unwrap()
            .err()
    }

    #[test]
    fn an_order_that_lost_its_record_or_its_licence_on_the_way_is_not_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        Latch::arm_new(&path).unwrap();
        let latch = Latch::open(&StateDir::open(&path).unwrap());
        assert_eq!(refusal(sign(true), false, &latch), None);
        assert_eq!(
            refusal(sign(true), true, &latch),
            Some(Reason::JournalUnwritable)
        );
        assert_eq!(
            refusal(sign(false), true, &latch),
            None,
            "a cancel needs no journal"
        );
        latch.trigger(KillCause::Operator, "stop").unwrap();
        assert_eq!(refusal(sign(true), false, &latch), Some(Reason::KillSwitch));
        assert_eq!(
            refusal(sign(false), false, &latch),
            None,
            "a cancel goes out"
        );
        let refused = Decision::Refuse(Reason::BytesDiffer);
        assert_eq!(refusal(refused, false, &latch), Some(Reason::BytesDiffer));
    }

    #[test]
    fn the_answer_names_the_key_that_signed() {
        let folder = tempfile::tempdir().unwrap();
        let latch = Latch::open(&StateDir::open(&folder.path().join("state")).unwrap());
        let decision = Decision::Sign {
            authority: Authority::Reading,
            text: "text".into(),
            places: false,
        };
        let (name, made) = signature(&custody(), decision, false, &latch)
            .unwrap()
            .unwrap();
        assert_eq!(name.as_str(), "READ");
        assert_eq!(made, custody().sign(Authority::Reading, "text").unwrap());
    }
}
