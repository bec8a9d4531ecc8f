//! A deployment in memory: every principal with its real link keys, sealer and verifier, so that a
//! test gets its [`Verified`] messages the only way there is.
//!
//! ```text
//!  message ──▶ World::seal ──▶ frame ──▶ World::open ──▶ Verified<message>
//! ```
//!
//! Whatever goes wrong panics with the reason: a test fails by panicking.
#![expect(
    clippy::panic,
    reason = "a test fails by panicking, and this crate serves tests only"
)]

use std::collections::BTreeMap;

use portcullis_domain::{
    EnvelopeId, Hash, Order, OrderId, Price, PrincipalName, RiskProfile, Side, StrategyId, Symbol,
    TimeInForce, Timestamp, Venue,
};
use portcullis_wire::command::OperatorKeys;
use portcullis_wire::messages::{Message, Permit, Signable};
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{self, ORDER, PERMIT, Subject};
use portcullis_wire::{
    ContentKey, Context, Epoch, EpochRoot, Header, KeyRing, Link, Realm, Received, Refusal, Sealed,
    Sealer, Signed, Signer, Verified, Verifier, Verifying,
};

/// A moment that tests may call the present: 2026-09-21T14:13:20Z.
pub const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

/// The strategies of the deployment.
pub const STRATEGIES: [&str; 2] = ["strategy-sample", "strategy-other"];
/// The operators of the deployment.
pub const OPERATORS: [&str; 2] = ["operator-alice", "operator-bob"];

/// The deployment `dev` with every service, two strategies and two operators.
pub struct World {
    realm: Realm,
    root: EpochRoot,
    names: Vec<PrincipalName>,
    sealers: BTreeMap<PrincipalName, Sealer>,
    verifiers: BTreeMap<PrincipalName, Verifier>,
    ids: u64,
}

impl World {
    /// A deployment whose principals all started at `started_at`: what is sealed earlier is refused.
    #[must_use]
    pub fn new(started_at: Timestamp) -> Self {
        Self::in_realm("dev", started_at)
    }

    /// The same in a realm of another name, with the same root secret.
    #[must_use]
    pub fn in_realm(realm: &str, started_at: Timestamp) -> Self {
        let realm = ok(Realm::new(realm), "a realm");
        let services = Role::SERVICES.iter().map(|role| role.name());
        let names: Vec<PrincipalName> = services
            .chain(STRATEGIES)
            .chain(OPERATORS)
            .map(principal)
            .collect();
        let mut world = Self {
            realm,
            root: EpochRoot([0x42; 32]),
            names,
            sealers: BTreeMap::new(),
            verifiers: BTreeMap::new(),
            ids: 0,
        };
        for name in world.names.clone() {
            world.start(name, started_at);
        }
        world
    }

    /// Starts a principal (again), as after a crash: a new boot number, and no memory of what it
    /// sealed or opened before.
    pub fn restart(&mut self, name: &str, started_at: Timestamp) {
        self.start(principal(name), started_at);
    }

    fn start(&mut self, name: PrincipalName, started_at: Timestamp) {
        let ring = self.ring(name);
        let sealer = Sealer::new(self.realm, name, started_at.0, ring.clone());
        self.sealers.insert(name, sealer);
        self.verifiers
            .insert(name, Verifier::new(self.realm, name, started_at, ring));
    }

    /// The realm.
    #[must_use]
    pub const fn realm(&self) -> Realm {
        self.realm
    }

    /// The keys of every link that a principal is on.
    #[must_use]
    pub fn ring(&self, name: PrincipalName) -> KeyRing {
        let mut ring = KeyRing::new();
        for link in self.links() {
            if link.source == name || link.audience == name {
                ring.insert(
                    link,
                    Epoch::lasting(1),
                    &self.root.link_key(self.realm, 1, link),
                );
            }
        }
        ring.sign_with(self.signing(name.as_str()));
        for author in &self.names {
            ring.trust(*author, self.verifying(author.as_str()));
        }
        ring
    }

    /// Every link that the table of subjects asks for.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let with = |role: Role| {
            self.names
                .iter()
                .filter(move |name| Role::of(name) == Some(role))
        };
        let mut links = Vec::new();
        for row in subjects::TABLE {
            for reader in row.subscribers.iter().chain(row.enclosed_for) {
                for source in with(row.publisher) {
                    links.extend(with(*reader).map(|audience| Link {
                        source: *source,
                        audience: *audience,
                    }));
                }
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }

    /// Seals a message that nothing caused, as the one principal of the subject's role, or the
    /// first one where many have it.
    pub fn seal<P: Principal, M: Message>(
        &mut self,
        now: Timestamp,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Sealed {
        let source = self.first(P::ROLE);
        self.seal_as(source.as_str(), now, subject, name, message, None)
    }

    /// Seals a message as a principal of this name, caused by another message or by none.
    pub fn seal_as<P: Principal, M: Message>(
        &mut self,
        source: &str,
        now: Timestamp,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
        cause: Option<&Header>,
    ) -> Sealed {
        let id = self.fresh_id();
        let mut context = match cause {
            Some(cause) => Context::caused_by(now, id, cause),
            None => Context::first(now, id),
        };
        let mut secret = [0xc0; 32];
        secret[..16].copy_from_slice(&id.0);
        context.content_key = Some(ContentKey::from_random(secret));
        let Some(sealer) = self.sealers.get_mut(&principal(source)) else {
            panic!("there is no {source} in this world")
        };
        ok(
            sealer.seal(subject, name, message, context),
            "a sealed message",
        )
    }

    /// Opens a frame as the principal `reader`.
    ///
    /// # Errors
    /// [`Refusal`], as the verifier has it.
    pub fn open<P: Principal, M: Message>(
        &mut self,
        reader: &str,
        now: Timestamp,
        subject: &Subject<P, M>,
        sealed: &Sealed,
    ) -> Result<Received<M>, Refusal> {
        self.verifier(reader)
            .open(subject, &sealed.subject, &sealed.frame, now)
    }

    /// Opens a permit and the order inside it as the principal `reader`.
    ///
    /// # Errors
    /// [`Refusal`], as the verifier has it.
    pub fn open_permit(
        &mut self,
        reader: &str,
        now: Timestamp,
        frame: &[u8],
    ) -> Result<(Received<Permit>, Received<Order>), Refusal> {
        self.verifier(reader).open_permit(frame, now)
    }

    /// Seals a message and opens it as `reader` in the same moment.
    pub fn verified<P: Principal, M: Message>(
        &mut self,
        reader: &str,
        now: Timestamp,
        subject: &Subject<P, M>,
        name: Option<&str>,
        message: &M,
    ) -> Verified<M> {
        let sealed = self.seal(now, subject, name, message);
        ok(
            self.open(reader, now, subject, &sealed),
            "an opened message",
        )
        .either()
    }

    /// The order sealed by the brain inside a permit sealed by risk-guard, which runs the policy
    /// that the order names.
    pub fn permit(&mut self, now: Timestamp, order: &Order) -> Sealed {
        self.permit_with_policy(now, order, order.policy)
    }

    /// The same with a policy of its own.
    pub fn permit_with_policy(&mut self, now: Timestamp, order: &Order, policy: Hash) -> Sealed {
        self.permit_with(now, order, policy, None)
    }

    /// The same with a worst price.
    pub fn permit_at(&mut self, now: Timestamp, order: &Order, worst_price: Price) -> Sealed {
        self.permit_with(now, order, order.policy, Some(worst_price))
    }

    fn permit_with(
        &mut self,
        now: Timestamp,
        order: &Order,
        policy: Hash,
        worst_price: Option<Price>,
    ) -> Sealed {
        let order = self.seal(now, &ORDER, None, order).frame;
        let permit = Permit {
            order,
            policy,
            worst_price,
            generation: 0,
        };
        self.seal(now, &PERMIT, None, &permit)
    }

    /// An id that this world did not give out before.
    pub fn fresh_id(&mut self) -> EnvelopeId {
        self.ids = self.ids.wrapping_add(1);
        EnvelopeId((u128::from(self.ids) | 1 << 127).to_be_bytes())
    }

    /// The Ed25519 key of a principal; the same at every call.
    #[must_use]
    pub fn signing(&self, name: &str) -> Signer {
        let mut seed = [0x5e; 32];
        for (byte, letter) in seed.iter_mut().zip(name.bytes()) {
            *byte = letter;
        }
        Signer::from_seed(&seed)
    }

    /// The public half of [`World::signing`].
    #[must_use]
    pub fn verifying(&self, name: &str) -> Verifying {
        self.signing(name).verifying()
    }

    /// Signs a content with the key of a principal.
    #[must_use]
    pub fn signed<T: Signable>(&self, name: &str, content: &T) -> Signed<T> {
        ok(self.signing(name).sign(content), "a signed content")
    }

    /// The public keys of all operators, one of each.
    #[must_use]
    pub fn operators(&self) -> OperatorKeys {
        OPERATORS
            .iter()
            .map(|name| (principal(name), vec![self.verifying(name)]))
            .collect()
    }

    fn first(&self, role: Role) -> PrincipalName {
        let first = self.names.iter().find(|name| Role::of(name) == Some(role));
        *first.unwrap_or_else(|| panic!("there is no {role} in this world"))
    }

    fn verifier(&mut self, reader: &str) -> &mut Verifier {
        match self.verifiers.get_mut(&principal(reader)) {
            Some(verifier) => verifier,
            None => panic!("there is no {reader} in this world"),
        }
    }
}

/// A principal's name.
#[must_use]
pub fn principal(name: &str) -> PrincipalName {
    ok(PrincipalName::new(name), name)
}

/// An order of the strategy `sample`: buy 10 XRPUSDT at 0.5, good till cancel. `number` makes its
/// id.
#[must_use]
pub fn order(number: u64, now: Timestamp) -> Order {
    Order {
        id: OrderId(u128::from(number).to_be_bytes()),
        strategy: ok(StrategyId::new("sample"), "a strategy"),
        venue: Venue::Bybit,
        symbol: ok(Symbol::new("XRPUSDT"), "a symbol"),
        side: Side::Buy,
        quantity: ok("10".parse(), "a quantity"),
        limit_price: ok("0.5".parse(), "a price"),
        time_in_force: TimeInForce::GoodTillCancel,
        reduce_only: false,
        profile: RiskProfile::Conservative,
        policy: Hash([7; 32]),
        created_at: now,
    }
}

fn ok<T, E: std::fmt::Display>(result: Result<T, E>, what: &str) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_wire::messages::Heartbeat;
    use portcullis_wire::subjects::HEARTBEAT;

    #[test]
    fn a_permit_opens_for_its_two_readers_and_nobody_else() {
        let mut world = World::new(NOW);
        let permit = world.permit(NOW, &order(1, NOW));
        for reader in ["execution", "signer"] {
            let (_, opened) = world.open_permit(reader, NOW, &permit.frame).unwrap();
            assert_eq!(opened.either().message(), &order(1, NOW), "{reader}");
        }
        assert_eq!(
            world.open_permit("brain", NOW, &permit.frame).err(),
            Some(Refusal::NoSeal)
        );
    }

    #[test]
    fn a_restarted_principal_refuses_what_was_sealed_before() {
        let mut world = World::new(NOW);
        let beat = Heartbeat {
            kill: portcullis_domain::KillState::Armed,
            policy: Hash([7; 32]),
            posture: portcullis_domain::Posture::Normal,
        };
        let sealed = world.seal(NOW, &HEARTBEAT, None, &beat);
        world.restart("signer", Timestamp(NOW.0 + 1));
        let refused = world.open("signer", NOW, &HEARTBEAT, &sealed).err();
        assert_eq!(refused, Some(Refusal::BeforeBoot));
    }
}
