//! A signer at work in a small deployment.
#![expect(dead_code, reason = "each test binary uses its own part")]

use portcullis_domain::{Hash, KillState, Order, Posture, Price, Reason, Span, Timestamp};
use portcullis_testkit::World;
use portcullis_testkit::seals::{self, NOW};
use portcullis_venue::bybit::{self, Action};
use portcullis_wire::messages::{Heartbeat, Kill, SignAction, SignRequest};
use portcullis_wire::subjects::{HEARTBEAT, KILL, SIGN};
use portcullis_wire::{Sealed, Text};
use signer_core::{Config, Decision, Effects, EnclosedPermit, Engine, Input};

/// The policy that everybody runs.
pub const POLICY: Hash = Hash([7; 32]);

pub struct Desk {
    pub world: World,
    pub engine: Engine,
    pub now: Timestamp,
}

pub fn config(world: &World) -> Config {
    Config {
        realm: world.realm(),
        operators: world.operators(),
        trading_key: Text::new("TRADE").unwrap(),
        reading_key: Text::new("READ").unwrap(),
        orders_per_second_max: 3,
        orders_max: 5,
    }
}

impl Desk {
    /// A signer that is armed and has just heard from risk-guard.
    pub fn open() -> Self {
        Self::with_records(KillState::Armed, &[])
    }

    pub fn with_records(kill: KillState, records: &[Vec<u8>]) -> Self {
        let world = World::new(Timestamp(NOW.0 - 10_000_000));
        let engine = Engine::new(config(&world), kill, records).unwrap();
        let mut desk = Self {
            world,
            engine,
            now: NOW,
        };
        desk.beat(KillState::Armed, POLICY);
        desk
    }

    /// Time passes.
    pub fn wait(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    pub fn beat(&mut self, kill: KillState, policy: Hash) {
        self.beat_in(Posture::Normal, kill, policy);
    }

    pub fn beat_in(&mut self, posture: Posture, kill: KillState, policy: Hash) {
        let beat = Heartbeat {
            kill,
            policy,
            posture,
        };
        let beat = self
            .world
            .verified("signer", self.now, &HEARTBEAT, None, &beat);
        self.engine.step(self.now, Input::Heartbeat(beat)).unwrap();
    }

    pub fn order(&self, number: u64) -> Order {
        seals::order(number, self.now)
    }

    /// What an honest execution would ask for.
    pub fn ask(&mut self, order: &Order) -> SignRequest {
        let permit = self.world.permit(self.now, order);
        SignRequest {
            action: SignAction::Place {
                permit: permit.frame,
            },
            timestamp_ms: self.now.as_millis(),
            payload: bybit::place(order).payload.into_bytes(),
        }
    }

    /// A permit that tightens the order, and the request for these bytes.
    pub fn ask_at(&mut self, order: &Order, worst: &str, bytes_of: &Order) -> SignRequest {
        let worst: Price = worst.parse().unwrap();
        let permit = self.world.permit_at(self.now, order, worst);
        SignRequest {
            action: SignAction::Place {
                permit: permit.frame,
            },
            timestamp_ms: self.now.as_millis(),
            payload: bybit::place(bytes_of).payload.into_bytes(),
        }
    }

    /// What an honest execution would ask for, other than to place an order.
    pub fn ask_other(&self, action: SignAction, same: &Action<'_>) -> SignRequest {
        SignRequest {
            action,
            timestamp_ms: self.now.as_millis(),
            payload: bybit::request_of(same).payload.into_bytes(),
        }
    }

    pub fn seal(&mut self, request: &SignRequest) -> Sealed {
        self.world.seal(self.now, &SIGN, None, request)
    }

    /// Brings a sealed request to the signer, as its shell does.
    pub fn bring(&mut self, sealed: &Sealed) -> Effects {
        let received = self.world.open("signer", self.now, &SIGN, sealed).unwrap();
        let permit = match &received.clone().either().message().action {
            SignAction::Place { permit } => self
                .world
                .open_permit("signer", self.now, permit)
                .ok()
                .map(|(permit, order)| EnclosedPermit {
                    permit: permit.either(),
                    order: order.either(),
                }),
            _ => None,
        };
        self.engine
            .step(
                self.now,
                Input::Request {
                    request: received,
                    permit: permit.map(Box::new),
                },
            )
            .unwrap()
    }

    pub fn send(&mut self, request: &SignRequest) -> Effects {
        let sealed = self.seal(request);
        self.bring(&sealed)
    }

    pub fn place(&mut self, order: &Order) -> Effects {
        let request = self.ask(order);
        self.send(&request)
    }

    pub fn kill(&mut self, claimed: &str, signer: &str, realm: &str) -> Effects {
        let kill = Kill {
            realm: realm.parse().unwrap(),
            operator: seals::principal(claimed),
            reason: Text::new("fire in the server room").unwrap(),
            at: self.now,
        };
        let signed = self.world.signed(signer, &kill);
        let kill = self
            .world
            .verified("signer", self.now, &KILL, None, &signed);
        self.engine.step(self.now, Input::Kill(kill)).unwrap()
    }
}

pub fn decision(effects: &Effects) -> &Decision {
    &effects.answer.as_ref().expect("an answer").decision
}

pub fn refusal(effects: &Effects) -> Option<Reason> {
    match decision(effects) {
        Decision::Sign { .. } => None,
        Decision::Refuse(reason) => Some(*reason),
    }
}

pub fn text(effects: &Effects) -> &str {
    match decision(effects) {
        Decision::Sign { text, .. } => text,
        Decision::Refuse(reason) => panic!("refused: {reason}"),
    }
}
