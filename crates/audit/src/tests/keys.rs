//! Checkpoints across an exchange of audit's keys. `audit` and `brain` stand for audit's first and
//! second key, `signer` for somebody else's.

use super::*;

use audit_core::Own;
use portcullis_testkit::seals::principal;
use portcullis_wire::Verifying;

/// A log that names audit's first key, with a checkpoint of it over both entries.
fn named() -> Rig {
    let mut rig = Rig::new();
    rig.name_key("audit", 1);
    rig.append(1);
    rig.checkpoint();
    rig
}

impl Rig {
    /// Appends the entry that names a key, as the core does.
    fn name_key(&mut self, of: &str, seq: u64) {
        let key = Hash(self.world.verifying(of).to_bytes());
        let own = Own::Key { key };
        let draft = Draft {
            received_at: NOW,
            kind: Kind::Own,
            subject: own.subject(),
            source: &principal("audit"),
            boot: 1,
            seq,
            id: portcullis_domain::EnvelopeId([0; 16]),
            content: &own.write().unwrap(),
        };
        self.log.append_group(&mut self.chain, &[draft]).unwrap();
    }

    fn checkpoint_of(&mut self, who: &str) {
        let (size, head) = (self.chain.size(), self.chain.head());
        let checkpoint = Checkpoint {
            size,
            head,
            at: NOW,
        };
        let signed = self.world.signed(who, &checkpoint);
        let bytes = codec::encode(&signed).unwrap();
        self.log.append_checkpoint(&bytes).unwrap();
    }

    fn verify_with(&self, keys: &[&str]) -> Result<Report, LogError> {
        let audit_keys: Vec<Verifying> = keys.iter().map(|of| self.world.verifying(of)).collect();
        let options = Options {
            audit_keys,
            ..self.options()
        };
        verify(self.path(), &options)
    }

    fn reopen_with(&self, of: &str) -> Result<Opened, LogError> {
        let public = self.world.verifying(of);
        Log::open(self.path(), SEGMENT, &key(), Some(&public))
    }
}

fn problem<T: std::fmt::Debug>(result: Result<T, LogError>) -> Problem {
    match result.unwrap_err() {
        LogError::Damaged { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_is_continued_and_verified_across_an_exchange() {
    let mut rig = named();
    rig.reopen_with("brain").unwrap();
    rig.name_key("brain", 2);
    rig.append(1);
    rig.checkpoint_of("brain");
    rig.reopen_with("brain").unwrap();
    let report = rig.verify_with(&["brain"]).unwrap();
    assert_eq!((report.checkpoints, report.entries), (2, 4));
    rig.verify_with(&["audit", "brain"]).unwrap();
}

#[test]
fn a_key_that_the_log_names_is_not_one_that_was_given() {
    // Whoever has the chain key could write a log of his own with a key of his own.
    let rig = named();
    assert_eq!(problem(rig.verify_with(&["brain"])), Problem::CheckpointKey);
}

#[test]
fn a_checkpoint_of_a_key_that_is_not_its_times_is_found() {
    for who in ["signer", "audit"] {
        let mut rig = named();
        rig.name_key("brain", 2);
        rig.checkpoint_of(who);
        let keys = ["audit", "brain"];
        assert_eq!(
            problem(rig.verify_with(&keys)),
            Problem::CheckpointSignature,
            "{who}"
        );
        assert_eq!(
            problem(rig.reopen_with("brain")),
            Problem::CheckpointSignature,
            "{who}, at the start"
        );
        // One that follows in order changes nothing for a verifier.
        rig.append(1);
        rig.checkpoint_of("brain");
        assert_eq!(
            problem(rig.verify_with(&keys)),
            Problem::CheckpointSignature,
            "{who}, in the middle"
        );
    }
}
