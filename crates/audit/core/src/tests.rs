//! The core from outside: facts in, log content and effects out.

extern crate std;

mod boots;
mod bus;
mod holes;
mod interleaving;
mod keys;
mod receipts;
mod silence;
mod violations;

use alloc::string::String;
use alloc::vec::Vec;
use std::{format, vec};

use portcullis_domain::{PrincipalName, Span, Timestamp};
use portcullis_testkit::seals::{NOW, World, principal};
use portcullis_wire::messages::{Message, Notice};
use portcullis_wire::principal::Principal;
use portcullis_wire::subjects::{BRAIN_NOTICE, PERMIT_TAKEN, SIGNER_NOTICE, Subject};
use portcullis_wire::{Sealed, Text, Verified, Verifier};

use crate::*;

const SETTINGS: Settings = Settings {
    held_facts_max: 8,
    held_bytes_max: 16_384,
    hole_timeout: Span::from_secs(5),
    silence_timeout: Span::from_secs(60),
    checkpoint_interval: Span::from_secs(1),
    violations_each_second: 3,
};
/// Audit's own start.
const BOOT: u64 = NOW.0;

fn key() -> ChainKey {
    ChainKey::from_bytes(&[1; 32]).unwrap()
}

/// A core with everybody's keys around it, and the log that it writes.
struct Rig {
    world: World,
    core: Core,
    log: Vec<u8>,
    now: Timestamp,
    token: u64,
}

impl Rig {
    fn new() -> Self {
        let chain = Chain::new(key());
        let core = Core::new(
            SETTINGS,
            principal("audit"),
            BOOT,
            chain,
            Recovery::default(),
        );
        let (world, core) = (World::new(NOW), core.unwrap());
        Self {
            world,
            core,
            log: Vec::new(),
            now: NOW,
            token: 0,
        }
    }

    /// The same log with a new process on it.
    fn restarted(self) -> Self {
        self.restarted_as(BOOT + 1)
    }

    fn restarted_as(self, boot: u64) -> Self {
        let (mut follower, mut recovery) = (Follower::new(Some(key())), Recovery::default());
        for payload in payloads(&self.log) {
            let (entry, hash) = follower.follow(payload).unwrap();
            recovery.observe(&entry, hash).unwrap();
        }
        let chain = follower.into_chain(key());
        let core = Core::new(SETTINGS, principal("audit"), boot, chain, recovery).unwrap();
        Self {
            core,
            token: 0,
            ..self
        }
    }

    /// `count` sealed notices of the brain, in the order of their places.
    fn notices(&mut self, count: usize) -> Vec<Sealed> {
        (0..count)
            .map(|number| notice(&mut self.world, number))
            .collect()
    }

    fn step(&mut self, input: Input) -> Effects {
        let effects = self.core.step(self.now, input).unwrap();
        self.log.extend_from_slice(&effects.records);
        effects
    }

    fn fact(&mut self, fact: Fact, path: Path) -> Effects {
        self.step(Input::Fact { fact, path })
    }

    fn live(&mut self, sealed: &Sealed) -> Effects {
        let fact = Fact::new(open(&self.world, &BRAIN_NOTICE, sealed));
        self.fact(fact, Path::Live)
    }

    /// Gives a fact from the stream; its acknowledgement has the number that is returned.
    fn stream(&mut self, sealed: &Sealed) -> (Effects, u64) {
        self.token += 1;
        let fact = Fact::new(open(&self.world, &BRAIN_NOTICE, sealed));
        (
            self.fact(fact, Path::Stream { token: self.token }),
            self.token,
        )
    }

    /// All that was appended is on disk.
    fn sync(&mut self) -> Effects {
        let size = self.core.counts().entries;
        self.step(Input::Durable { size })
    }

    fn tick_after(&mut self, millis: u64) -> Effects {
        self.now = self.now.plus(Span::from_millis(millis));
        self.step(Input::Tick)
    }

    /// The log as short texts, such as `brain 1` or `gap brain 2-3`.
    fn said(&self) -> Vec<String> {
        let mut follower = Follower::new(Some(key()));
        let mut positions = Positions::default();
        let mut said = Vec::new();
        for payload in payloads(&self.log) {
            let (entry, _) = follower.follow(payload).unwrap();
            said.push(match positions.observe(&entry).unwrap() {
                None => format!("{} {}", entry.source, entry.seq),
                Some(Own::Started { .. }) => "started".into(),
                Some(Own::Key { key }) => format!("key {}", key.0[0]),
                Some(Own::Gap {
                    source, from, to, ..
                }) => format!("gap {source} {from}-{to}"),
                Some(Own::Silence { source, since, .. }) => {
                    format!("silent {source} since {}", since.since(NOW).0 / 1_000)
                }
                Some(Own::Violation { code, .. }) => format!("violation {code}"),
                Some(Own::Suppressed { count, .. }) => format!("suppressed {count}"),
                Some(Own::BusDenied { what, subject, .. }) => format!("{} {subject}", what.name()),
                Some(Own::BusSuppressed { count, .. }) => format!("bus suppressed {count}"),
                Some(Own::BusServer { event, .. }) => format!("server {event:?}"),
                Some(Own::BusLog { following, .. }) => format!("bus log {following:?}"),
            });
        }
        said
    }
}

fn notice(world: &mut World, number: usize) -> Sealed {
    let detail = Text::lossy(&format!("notice {number}"));
    world.seal(NOW, &BRAIN_NOTICE, None, &Notice::Warning { detail })
}

/// Opens as audit's shell does.
fn open<P: Principal, M: Message>(
    world: &World,
    subject: &Subject<P, M>,
    sealed: &Sealed,
) -> Verified<M> {
    let audit: PrincipalName = principal("audit");
    let verifier = Verifier::new(world.realm(), audit, NOW, world.ring(audit));
    verifier
        .open_fact(subject, &sealed.subject, &sealed.frame)
        .unwrap()
}

fn payloads(log: &[u8]) -> Vec<&[u8]> {
    let mut rest = log;
    let mut payloads = vec![];
    while let Some((head, later)) = rest.split_first_chunk::<RECORD_HEAD_LENGTH>() {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap());
        let (payload, later) = later.split_at(usize::try_from(length).unwrap());
        payloads.push(payload);
        rest = later;
    }
    assert!(rest.is_empty());
    payloads
}

#[test]
fn facts_are_recorded_as_they_come_byte_for_byte() {
    let mut rig = Rig::new();
    let sealed = rig.notices(3);
    for one in &sealed {
        rig.live(one);
    }
    assert_eq!(rig.said(), ["brain 1", "brain 2", "brain 3"]);
    let frames: Vec<_> = payloads(&rig.log)
        .into_iter()
        .map(|payload| {
            Entry::read(&payload[..payload.len() - HASHES_LENGTH])
                .unwrap()
                .content
        })
        .collect();
    let sent: Vec<_> = sealed.iter().map(|one| one.frame.as_slice()).collect();
    assert_eq!(frames, sent);
}

#[test]
fn the_start_is_recorded_with_what_was_cut_off() {
    let mut rig = Rig::new();
    let effects = rig.step(Input::Started {
        version: Text::lossy("1"),
        cut: 7,
    });
    let payload = payloads(&effects.records)[0];
    let entry = Entry::read(&payload[..payload.len() - HASHES_LENGTH]).unwrap();
    let own = Own::Started {
        version: Text::lossy("1"),
        cut: 7,
    };
    assert_eq!(
        (entry.subject, Own::read(entry.content).unwrap()),
        ("audit.started", own)
    );
}

#[test]
fn checkpoints_cover_only_what_is_on_disk_and_only_when_it_grew() {
    let mut rig = Rig::new();
    for one in rig.notices(2) {
        rig.live(&one);
    }
    assert_eq!(rig.tick_after(0).checkpoint, None, "nothing is on disk");
    rig.step(Input::Durable { size: 1 });
    let first = rig.tick_after(0).checkpoint.unwrap();
    let mut follower = Follower::new(None);
    let (_, hash) = follower.follow(payloads(&rig.log)[0]).unwrap();
    assert_eq!((first.size, first.head, first.at), (1, hash, rig.now));
    rig.step(Input::Durable { size: 2 });
    assert_eq!(rig.tick_after(999).checkpoint, None, "too early");
    assert_eq!(rig.tick_after(1).checkpoint.unwrap().size, 2);
    assert_eq!(rig.tick_after(5_000).checkpoint, None, "nothing new");
}

#[test]
fn a_restart_does_not_state_again_what_was_stated() {
    let mut rig = Rig::new();
    let notices = rig.notices(2);
    rig.live(&notices[0]);
    rig.sync();
    assert_eq!(rig.tick_after(1_000).checkpoint.unwrap().size, 1);
    let mut rig = rig.restarted();
    assert_eq!(
        rig.tick_after(5_000).checkpoint,
        None,
        "the log did not grow"
    );
    rig.live(&notices[1]);
    rig.sync();
    assert_eq!(rig.tick_after(1_000).checkpoint.unwrap().size, 2);
}

#[test]
fn the_end_is_covered_by_a_checkpoint_however_soon_it_follows_the_last() {
    let mut rig = Rig::new();
    for one in rig.notices(2) {
        rig.live(&one);
    }
    rig.step(Input::Durable { size: 1 });
    rig.tick_after(0);
    rig.sync();
    assert_eq!(rig.step(Input::Ending).checkpoint.unwrap().size, 2);
    assert_eq!(rig.step(Input::Ending).checkpoint, None, "nothing new");
}

#[test]
fn a_log_that_claims_what_was_never_appended_stops_the_core() {
    let mut rig = Rig::new();
    for one in rig.notices(2) {
        rig.live(&one);
    }
    rig.sync();
    for said in [3, 1] {
        let fault = rig
            .core
            .step(NOW, Input::Durable { size: said })
            .unwrap_err();
        assert_eq!(
            fault,
            Fault::Durable {
                said,
                before: 2,
                appended: 2
            }
        );
    }
}

#[test]
fn a_start_of_audit_that_the_log_already_has_is_refused() {
    let mut rig = Rig::new();
    rig.step(Input::Started {
        version: Text::lossy("1"),
        cut: 0,
    });
    let mut recovery = Recovery::default();
    let mut follower = Follower::new(None);
    let (entry, hash) = follower.follow(payloads(&rig.log)[0]).unwrap();
    recovery.observe(&entry, hash).unwrap();
    let error = Core::new(
        SETTINGS,
        principal("audit"),
        BOOT,
        Chain::new(key()),
        recovery,
    );
    assert_eq!(
        error.err(),
        Some(RecoveryError::Boot {
            found: BOOT,
            boot: BOOT
        })
    );
}
