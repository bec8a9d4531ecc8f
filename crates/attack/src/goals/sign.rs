//! Get a signature for other bytes.

use anyhow::Result;
use portcullis_domain::Reason;
use portcullis_wire::messages::{SignAction, SignRequest};
use portcullis_wire::principal::Role;

use super::intended::answer_wrongly;
use super::ways::{Scene, forged_permit, forged_request, wallet};
use crate::outcome::Outcome;
use crate::venue;

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    match scene.thief.role {
        Some(Role::Execution) => of_the_signer(scene),
        // It is the signer, but the keys are not in the bundle.
        Some(Role::Signer) => Ok(Outcome::blocked(vec![answer_wrongly(scene)?])),
        Some(
            Role::Strategy
            | Role::Brain
            | Role::RiskGuard
            | Role::Audit
            | Role::MarketData
            | Role::Operator,
        )
        | None => {
            let permit = forged_permit(scene.stage, "10")?;
            let request = forged_request(permit.frame)?;
            Ok(Outcome::blocked(
                scene.knock_all(&[("ask the signer", &request)])?,
            ))
        }
    }
}

/// Requests that execution may make, with bytes that do not belong to them.
fn of_the_signer(scene: &mut Scene<'_>) -> Result<Outcome> {
    let withdrawal = SignRequest {
        payload: br#"{"coin":"USDT","chain":"TRX","address":"T0","amount":"1000"}"#.to_vec(),
        ..wallet()?
    };
    let late = SignRequest {
        timestamp_ms: venue::now_ms().saturating_add(3_600_000),
        ..wallet()?
    };
    let expires_ms = venue::now_ms().saturating_add(86_400_000);
    let login = SignRequest {
        action: SignAction::StreamLogin { expires_ms },
        timestamp_ms: expires_ms,
        payload: format!("GET/realtime{expires_ms}").into_bytes(),
    };
    let ways = [
        (
            "have a withdrawal signed as a look at the balance",
            withdrawal,
            Reason::BytesDiffer,
        ),
        (
            "have a request signed for an hour ahead",
            late,
            Reason::ClockSkew,
        ),
        (
            "have a login signed that lasts a day",
            login,
            Reason::ClockSkew,
        ),
    ];
    let mut refused = Vec::new();
    for (way, request, why) in ways {
        scene.took("execution");
        let mark = scene.stage.mark()?;
        super::alter::ask(scene, &request)?;
        refused.push(scene.stage.unsigned(mark, way, None, why)?);
    }
    Ok(Outcome::blocked(refused))
}
