//! Replay across realms: with the bundle of the same principal in another deployment.

use anyhow::{Result, ensure};
use audit_core::{BusClient, BusDenial, Own as AuditOwn};
use portcullis_domain::{StrategyId, Symbol};
use portcullis_runtime::identity::make;
use portcullis_runtime::nats_config::{OperatorId, Roster};
use portcullis_wire::Realm;

use super::ways::{How, Own, Scene, forged_heartbeat};
use crate::outcome::{Outcome, Refused};
use crate::stolen::{Transport, now};

/// The other deployment.
const OTHER: &str = "staging";

pub fn attempt(scene: &mut Scene<'_>) -> Result<Outcome> {
    let folder = scene.stage.loot().join(OTHER);
    if !folder.exists() {
        let (strategies, operators) = (["sample", "trader"], ["dev"]);
        let roster = Roster::new(
            Realm::new(OTHER)?,
            strategies
                .map(StrategyId::new)
                .into_iter()
                .collect::<Result<_, _>>()?,
            operators
                .map(OperatorId::new)
                .into_iter()
                .collect::<Result<_, _>>()?,
            vec![Symbol::new("BTCUSDT")?, Symbol::new("XRPUSDT")?],
        )?;
        make::make(&folder, &roster)?;
    }
    let bundle = folder.join(scene.thief.name.as_str());
    let mut refused = vec![not_admitted(scene, &bundle)?];
    let Some(Own { first, reader, .. }) = scene.own(How::InRealm(Realm::new(OTHER)?))? else {
        let beat = forged_heartbeat(scene.stage)?;
        refused.extend(scene.knock_all(&[("replay a heartbeat of staging", &beat)])?);
        return Ok(Outcome::blocked(refused));
    };
    let way = "send with the stolen keys in the name of staging";
    refused.push(read_as(scene, way, &first, reader, "WRONG_REALM")?);

    // The same principal's keys of the other deployment, on this one's bus.
    let keys = portcullis_runtime::Identity::load(&bundle)?;
    let own = std::mem::replace(&mut scene.thief.identity.ring, keys.ring);
    scene.thief.begin();
    let sealed = scene.own(How::At(now()));
    scene.thief.identity.ring = own;
    scene.thief.begin();
    if let Some(Own { first, reader, .. }) = sealed? {
        let way = "send what is sealed with the keys of staging";
        refused.push(read_as(scene, way, &first, reader, "BAD_SEAL")?);
    }
    Ok(Outcome::blocked(refused))
}

fn read_as(
    scene: &mut Scene<'_>,
    way: &str,
    sealed: &portcullis_wire::Sealed,
    reader: &str,
    code: &str,
) -> Result<Refused> {
    let mark = scene.stage.mark()?;
    scene.thief.send(sealed)?;
    scene
        .stage
        .refused_by(mark, way, reader, &sealed.frame, &[code])
}

/// The certificate and the NKey of the other deployment at this one's door.
fn not_admitted(scene: &mut Scene<'_>, bundle: &std::path::Path) -> Result<Refused> {
    let way = "join with the certificate of staging";
    let port = scene.stage.stack.port("nats");
    let ours = Transport::read(&scene.stage.loot().join(scene.thief.name.as_str()))?;
    let mark = scene.stage.mark()?;
    let joined = Transport::read(bundle)?.connect_trusting(port, ours.ca());
    let refused_ms = mark.ms();
    ensure!(joined.is_err(), "{way}: the bus admits it");
    let (entry, ()) = scene
        .stage
        .recorded(mark, way, |entry| match entry.own()? {
            AuditOwn::BusDenied {
                who: BusClient::Stranger,
                what: BusDenial::Handshake,
                ..
            } => Some(()),
            _ => None,
        })?;
    let mut refused = scene
        .stage
        .seen(mark, &entry, way, "mutual TLS", "handshake denied");
    refused.refused_ms = refused_ms;
    Ok(refused.and_seen_by("bus server"))
}
