//! The ways in that several goals share.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use audit_core::BusDenial;
use portcullis_domain::{
    Book, Level, Order, OrderId, Price, RiskProfile, Side, StrategyId, Symbol, TimeInForce,
    Timestamp, Venue,
};
use portcullis_runtime::envelope_id;
use portcullis_wire::messages::{
    Heartbeat, Kill, Message, Notice, Permit, Receipt, SignAction, SignRequest, SignResponse,
};
use portcullis_wire::principal::{Principal, Role};
use portcullis_wire::subjects::{
    BOOK, HEARTBEAT, KILL, ORDER, PERMIT, PROPOSAL, RECEIPT, SIGN, SIGNATURE, Subject,
};
use portcullis_wire::{Realm, Sealed, Signer, Text};

use crate::outcome::Refused;
use crate::stage::{SYMBOL, Stage, proposal};
use crate::stolen::{Thief, forge, now};

/// A running stack, and somebody with a stolen bundle.
pub struct Scene<'a> {
    /// The stack and its observers.
    pub stage: &'a mut Stage,
    /// The thief.
    pub thief: Thief,
    /// Services whose place the thief took: their own messages count again after a restart.
    pub taken: BTreeSet<&'static str>,
    /// An order of brain's that the thief captured, byte for byte.
    pub order: Option<Vec<u8>>,
    /// A permit that the thief captured, byte for byte.
    pub permit: Option<Vec<u8>>,
}

impl<'a> Scene<'a> {
    /// Somebody who has captured nothing yet.
    pub const fn new(stage: &'a mut Stage, thief: Thief) -> Self {
        Self {
            stage,
            thief,
            taken: BTreeSet::new(),
            order: None,
            permit: None,
        }
    }
}

/// How a message of the thief's own is sealed.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// In order, at this moment.
    At(Timestamp),
    /// With the stolen keys, in the name of another realm.
    InRealm(Realm),
}

/// A message that the thief may send, and who reads it and says so on record.
pub struct Own {
    /// The first message.
    pub first: Sealed,
    /// The last of them; the same where there is one.
    pub last: Sealed,
    /// Who refuses it if it is not right.
    pub reader: &'static str,
}

impl Scene<'_> {
    /// Publishes where the thief may not.
    ///
    /// # Errors
    /// When the bus does not deny it, or audit does not hear of it.
    pub fn knock(&mut self, way: &str, subject: &str, bytes: &[u8]) -> Result<Refused> {
        let mark = self.stage.mark()?;
        let said = self.thief.publish(subject, bytes)?;
        let refused_ms = mark.ms();
        let name = self.thief.name;
        ensure!(
            said.denial(subject).is_some(),
            "{way}: the bus lets {name} publish on {subject}"
        );
        let what = BusDenial::Publish;
        self.stage
            .denied_by_bus(mark, refused_ms, way, name, what, subject)
    }

    /// Listens where the thief may not.
    ///
    /// # Errors
    /// When the bus does not deny it, or audit does not hear of it.
    pub fn eavesdrop(&mut self, way: &str, subject: &str) -> Result<Refused> {
        let mark = self.stage.mark()?;
        let said = self.thief.listen(subject)?;
        let refused_ms = mark.ms();
        let name = self.thief.name;
        ensure!(
            said.denial(subject).is_some(),
            "{way}: the bus lets {name} listen on {subject}"
        );
        let what = BusDenial::Subscribe;
        self.stage
            .denied_by_bus(mark, refused_ms, way, name, what, subject)
    }

    /// Publishes each where the thief may not; what it may publish is left out.
    ///
    /// # Errors
    /// As [`Self::knock`].
    pub fn knock_all(&mut self, ways: &[(&str, &Sealed)]) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for (way, sealed) in ways {
            if !self.thief.may_publish(&sealed.subject) {
                refused.push(self.knock(way, &sealed.subject, &sealed.frame)?);
            }
        }
        Ok(refused)
    }

    /// Publishes foreign bytes where the thief may, naming the target as the subject for the answer:
    /// the server publishes answers unchecked.
    ///
    /// # Errors
    /// When they reach the target, or nobody says on record that it refused them.
    pub fn inject(&mut self, target: &str, victim: &str, bytes: &[u8]) -> Result<Option<Refused>> {
        let Some((carrier, reader)) = self.carrier() else {
            return Ok(None);
        };
        let way = format!("have an answer delivered into {target}");
        let mark = self.stage.mark()?;
        let said = self.thief.publish_for_reply(&carrier, target, bytes)?;
        ensure!(said.errors.is_empty(), "{way}: {:?}", said.errors);
        let is_frame = portcullis_wire::Frame::parse(bytes).is_ok();
        let codes = [if is_frame {
            "NO_SEAL"
        } else {
            "MALFORMED_FRAME"
        }];
        let refused = self.stage.refused_by(mark, &way, reader, bytes, &codes)?;
        let hash = crate::stage::digest(bytes);
        let reached = self.stage.shows(mark, |entry| {
            match crate::stage::fact(entry, &format!("evt.{victim}.notice"))? {
                Notice::Violation { subject, frame, .. } => {
                    (frame == hash && subject.as_str() == target).then_some(())
                }
                _ => None,
            }
        })?;
        ensure!(reached.is_none(), "{way}: it reached {victim}");
        Ok(Some(refused))
    }

    /// A subject on which the thief may send anything, and who reads it on record.
    fn carrier(&self) -> Option<(String, &'static str)> {
        Some(match self.thief.role? {
            Role::Strategy => ("cmd.brain.propose.sample".into(), "brain"),
            Role::Operator => ("ops.kill".into(), "signer"),
            // It publishes nothing that the stream captures, or that anybody answers.
            Role::Audit => return None,
            role @ (Role::Brain
            | Role::RiskGuard
            | Role::Execution
            | Role::Signer
            | Role::MarketData) => (format!("evt.{role}.notice"), "audit"),
        })
    }

    /// The service whose keys these are took harm: it has to begin again before an honest order.
    pub fn took(&mut self, service: &'static str) {
        self.taken.insert(service);
    }

    /// Puts every service whose place was taken back, so that the stack trades.
    ///
    /// # Errors
    /// When it does not trade again.
    pub fn make_honest(&mut self) -> Result<()> {
        for service in std::mem::take(&mut self.taken) {
            self.stage.reinstate(service)?;
            // The real one's boot number is the higher one again.
            self.thief.begin();
        }
        Ok(())
    }

    /// The name of the real service whose bundle was stolen.
    #[must_use]
    pub fn service(&self) -> &'static str {
        match self.thief.role {
            Some(Role::Brain) => "brain",
            Some(Role::RiskGuard) => "risk-guard",
            Some(Role::Execution) => "execution",
            Some(Role::Signer) => "signer",
            Some(Role::Audit) => "audit",
            Some(Role::MarketData) => "market-data",
            Some(Role::Strategy | Role::Operator) | None => "",
        }
    }

    /// A message that the thief may send; `None` for those who may send nothing.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn own(&mut self, how: How) -> Result<Option<Own>> {
        self.own_many(how, 1)
    }

    /// So many of them, one after the other.
    ///
    /// # Errors
    /// As [`Self::own`].
    pub fn own_many(&mut self, how: How, count: usize) -> Result<Option<Own>> {
        let Some(role) = self.thief.role else {
            return Ok(None);
        };
        let (thief, stage) = (&mut self.thief, &mut *self.stage);
        let ((first, last), reader) = match role {
            Role::Strategy => {
                // Refused for its size, should it ever be opened.
                let large = proposal(Side::Buy, "1000000")?;
                (
                    make(thief, (how, count), &PROPOSAL, Some("sample"), &large)?,
                    "brain",
                )
            }
            Role::Brain => {
                let order = made_up_order(stage, "2500000")?;
                (
                    make(thief, (how, count), &ORDER, None, &order)?,
                    "risk-guard",
                )
            }
            Role::RiskGuard => {
                let permit = forged_permit(stage, "100")?;
                let (_, permit) = audit::verify::read_unsealed::<Permit>(&permit.frame)?;
                (
                    make(thief, (how, count), &PERMIT, None, &permit)?,
                    "execution",
                )
            }
            Role::Execution => (
                make(thief, (how, count), &SIGN, None, &wallet()?)?,
                "signer",
            ),
            Role::Signer => {
                let answer = SignResponse::Refused {
                    reason: portcullis_domain::Reason::KillSwitch,
                };
                (
                    make(thief, (how, count), &SIGNATURE, None, &answer)?,
                    "execution",
                )
            }
            Role::Audit => {
                let signing = thief.identity.signing.as_ref();
                let receipt = made_up_receipt(OrderId([0; 16]));
                let signed = signing.context("audit's signing seed")?.sign(&receipt)?;
                (
                    make(thief, (how, count), &RECEIPT, None, &signed)?,
                    "execution",
                )
            }
            Role::MarketData => {
                let book = book_around(stage.mid()?)?;
                (
                    make(thief, (how, count), &BOOK, Some(SYMBOL), &book)?,
                    "brain",
                )
            }
            Role::Operator => {
                let signing = thief.identity.signing.as_ref();
                let kill = kill_of(thief, "not meant")?;
                let signed = signing
                    .context("the operator's signing seed")?
                    .sign(&kill)?;
                (make(thief, (how, count), &KILL, None, &signed)?, "signer")
            }
        };
        Ok(Some(Own {
            first,
            last,
            reader,
        }))
    }
}

fn make<P: Principal, M: Message>(
    thief: &mut Thief,
    (how, count): (How, usize),
    subject: &Subject<P, M>,
    name: Option<&str>,
    message: &M,
) -> Result<(Sealed, Sealed)> {
    let mut one = || match how {
        How::At(at) => thief.seal_at(at, subject, name, message),
        How::InRealm(realm) => thief.seal_in_realm(realm, subject, name, message),
    };
    let first = one()?;
    let mut last = first.clone();
    for _ in 1..count {
        last = one()?;
    }
    Ok((first, last))
}

/// The kill command of an operator.
///
/// # Errors
/// When the reason is no text.
pub fn kill_of(thief: &Thief, reason: &str) -> Result<Kill> {
    Ok(Kill {
        realm: thief.identity.realm,
        operator: thief.name,
        reason: Text::lossy(reason),
        at: now(),
    })
}

/// A request that moves nothing.
///
/// # Errors
/// None in practice.
pub fn wallet() -> Result<SignRequest> {
    let action = portcullis_venue::bybit::Action::QueryWallet;
    Ok(SignRequest {
        action: SignAction::QueryWallet,
        timestamp_ms: now().0 / 1_000,
        payload: portcullis_venue::bybit::request_of(&action)
            .payload
            .into_bytes(),
    })
}

/// A receipt for a fact that nobody recorded.
#[must_use]
pub const fn made_up_receipt(order: OrderId) -> Receipt {
    Receipt {
        fact: portcullis_domain::Hash([0x11; 32]),
        order,
        index: 1,
        entry: portcullis_domain::Hash([0x22; 32]),
    }
}

/// An order that nobody proposed.
///
/// # Errors
/// When the quantity is none.
pub fn made_up_order(stage: &mut Stage, quantity: &str) -> Result<Order> {
    let price = tick(stage.mid()?)?;
    Ok(Order {
        id: OrderId(envelope_id()?.0),
        strategy: StrategyId::new("sample")?,
        venue: Venue::Bybit,
        symbol: Symbol::new(SYMBOL)?,
        side: Side::Buy,
        quantity: quantity.parse()?,
        limit_price: price,
        time_in_force: TimeInForce::ImmediateOrCancel,
        reduce_only: false,
        profile: RiskProfile::Moderate,
        policy: stage.policy_hash,
        created_at: now(),
    })
}

/// A price on the venue's tick of four decimals.
///
/// # Errors
/// When it is none.
pub fn tick(price: Price) -> Result<Price> {
    let text = price.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction: String = fraction.chars().take(4).collect();
    Ok(format!("{whole}.{fraction:0<4}").parse()?)
}

/// An order with seals of made-up keys.
///
/// # Errors
/// When it cannot be sealed.
pub fn forged_order(stage: &mut Stage, quantity: &str) -> Result<Sealed> {
    let order = made_up_order(stage, quantity)?;
    forge("brain", &ORDER, None, &order)
}

/// A permit around such an order, with seals of made-up keys.
///
/// # Errors
/// When it cannot be sealed.
pub fn forged_permit(stage: &mut Stage, quantity: &str) -> Result<Sealed> {
    let order = forged_order(stage, quantity)?.frame;
    permit_around(stage, order)
}

/// The permit around these bytes that risk-guard gives before any breaker changed, with no worst price.
pub const fn plain_permit(order: Vec<u8>, policy: portcullis_domain::Hash) -> Permit {
    Permit {
        order,
        policy,
        worst_price: None,
        generation: 0,
    }
}

/// A permit around these bytes, with seals of made-up keys.
///
/// # Errors
/// When it cannot be sealed.
pub fn permit_around(stage: &Stage, order: Vec<u8>) -> Result<Sealed> {
    let policy = stage.policy_hash;
    forge("risk-guard", &PERMIT, None, &plain_permit(order, policy))
}

/// A request to sign, with seals of made-up keys.
///
/// # Errors
/// When it cannot be sealed.
pub fn forged_request(permit: Vec<u8>) -> Result<Sealed> {
    let request = SignRequest {
        action: SignAction::Place { permit },
        timestamp_ms: now().0 / 1_000,
        payload: b"{}".to_vec(),
    };
    forge("execution", &SIGN, None, &request)
}

/// A heartbeat that says armed, with seals of made-up keys.
///
/// # Errors
/// When it cannot be sealed.
pub fn forged_heartbeat(stage: &Stage) -> Result<Sealed> {
    forge("risk-guard", &HEARTBEAT, None, &armed(stage))
}

/// What risk-guard says when all is well.
#[must_use]
pub const fn armed(stage: &Stage) -> Heartbeat {
    Heartbeat {
        kill: portcullis_domain::KillState::Armed,
        policy: stage.policy_hash,
        posture: portcullis_domain::Posture::Normal,
    }
}

/// A receipt with a signature and seals of made-up keys.
///
/// # Errors
/// When it cannot be sealed.
pub fn forged_receipt(order: OrderId) -> Result<Sealed> {
    let signed = Signer::from_seed(&[0x77; 32]).sign(&made_up_receipt(order))?;
    forge("audit", &RECEIPT, None, &signed)
}

/// A book around a price.
///
/// # Errors
/// When it is none.
pub fn book_around(mid: Price) -> Result<Book> {
    let level = |price: Price| -> Result<Level> {
        Ok(Level {
            price: tick(price)?,
            quantity: "5000".parse()?,
        })
    };
    let basis_points = portcullis_domain::Bps::new(2)?;
    let bids = vec![level(mid.lowered(basis_points)?)?];
    let asks = vec![level(mid.raised(basis_points)?)?];
    let symbol = Symbol::new(SYMBOL)?;
    Ok(Book::new(symbol, bids, asks, 1, now())?)
}
