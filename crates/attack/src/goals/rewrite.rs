//! Write another history with audit's stolen chain key.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit::verify::{Options, verify};
use audit_core::{Chain, ChainKey, Draft, RECORD_HEAD_LENGTH};
use portcullis_runtime::identity::Bundle;
use portcullis_wire::codec;
use portcullis_wire::messages::Checkpoint;

use super::ways::Scene;

/// Changes one entry in a copy of the log, makes everything after it fit, and has it verified.
pub fn history(scene: &mut Scene<'_>) -> Result<String> {
    let bundle = Bundle::open(&scene.stage.loot().join("audit"))?;
    let secret = *bundle.secret("chain").context("the chain key")?;
    let key = || ChainKey::from_bytes(&secret).context("a chain key");
    let honest = scene.stage.check_log()?;
    let stated = honest.last_checkpoint.context("a checkpoint")?;

    scene.stage.tail.follow()?;
    let mut chain = Chain::new(key()?);
    let (mut records, mut head_then, mut changed) = (Vec::new(), None, false);
    for entry in scene.stage.tail.from(0) {
        let mut content = entry.content.clone();
        if !changed
            && entry.subject == "audit.bus_denied"
            && let Some(byte) = content.last_mut()
        {
            // Another place in the server's log: something small is enough.
            *byte ^= 1;
            changed = true;
        }
        let draft = Draft {
            received_at: entry.received_at,
            kind: entry.kind,
            subject: &entry.subject,
            source: &entry.source,
            boot: entry.boot,
            seq: entry.seq,
            id: entry.id,
            content: &content,
        };
        let begins = records.len();
        chain.append(&draft, &mut records)?;
        make_fit(records.get_mut(begins..).unwrap_or_default())?;
        if chain.size() == stated.size {
            head_then = Some(chain.head());
        }
    }
    ensure!(changed, "there is nothing to change");
    let folder = scene.stage.loot().join("rewritten");
    std::fs::create_dir(&folder)?;
    // A segment ends with zeroes.
    records.extend([0; 64]);
    std::fs::write(folder.join(format!("segment-{:020}.log", 0)), records)?;
    // Nothing keeps whoever has the signing seed from stating the new end too.
    let at = stated.at;
    let (size, head) = (chain.size(), chain.head());
    let signing = scene.thief.identity.signing.as_ref();
    let signing = signing.context("audit's signing seed")?;
    let checkpoint = codec::encode(&signing.sign(&Checkpoint { size, head, at })?)?;
    let mut file = u32::try_from(checkpoint.len())?.to_be_bytes().to_vec();
    file.extend([0; 4]);
    file.extend(checkpoint);
    make_fit(&mut file)?;
    std::fs::write(folder.join("checkpoints.log"), file)?;
    let options = Options {
        audit_keys: vec![signing.verifying()],
        chain_key: Some(key()?),
        patience: Duration::ZERO,
    };
    verify(&folder, &options).context("verify the rewritten log")?;
    ensure!(
        head_then.is_some_and(|head| head != stated.head),
        "the checkpoint fits the rewritten log"
    );
    Ok("a copy of the log with one entry changed and a checkpoint of its own verifies with the chain \
        key and audit's public key, and does not fit the checkpoint that was published before"
        .into())
}

/// The checksum of the file layer.
fn make_fit(record: &mut [u8]) -> Result<()> {
    let (head, payload) = record
        .split_at_mut_checked(RECORD_HEAD_LENGTH)
        .context("a record")?;
    let (length, sum) = head.split_at_mut_checked(4).context("a head")?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(length), payload);
    sum.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}
