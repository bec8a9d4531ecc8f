//! The checks, in their order: the first that fails is the reason of the refusal.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use portcullis_domain::{
    Hash, KillCause, KillState, Order, OrderId, Posture, Reason, Span, TIME_REVERSAL_MAX,
    Timestamp, Venue,
};
use portcullis_venue::bybit::{
    Action, Authority, CANCEL_ON_DISCONNECT_S, RECV_WINDOW_MS, request_of, signed_text,
};
use portcullis_wire::command::OperatorKeys;
use portcullis_wire::messages::{
    Heartbeat, Kill, Notice, Outcome, SignAction, SignRequest, SignatureRecord,
};
use portcullis_wire::{Realm, Received, Signed, Text, Verified, codec, command};
use sha2::{Digest, Sha256};

use crate::ledger::{Ledger, Record, Standing};
use crate::{Answer, Counts, Decision, Effects, EnclosedPermit, Fault, Input};

/// How far the time in a request may be from the signer's.
pub const SKEW_MAX: Span = Span::from_millis(RECV_WINDOW_MS);
/// How long a login to the private stream may be valid.
pub const LOGIN_LIFETIME_MAX: Span = Span::from_secs(60);

/// What the signer is set up with; of all of it only the operators change while it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The deployment.
    pub realm: Realm,
    /// Who may stop everything, with their public keys.
    pub operators: OperatorKeys,
    /// The public name of the API key that may trade.
    pub trading_key: Text,
    /// The public name of the API key that may only read.
    pub reading_key: Text,
    /// The most orders that are signed in a second.
    pub orders_per_second_max: usize,
    /// The most orders that one journal holds; a full one signs no further order.
    pub orders_max: usize,
}

struct Licence {
    heartbeat: Heartbeat,
    place: (u64, u64),
    issued_at: Timestamp,
    received_at: Timestamp,
}

/// The signer.
pub struct Engine {
    config: Config,
    kill: KillState,
    licence: Option<Licence>,
    ledger: Ledger,
    counts: Counts,
    stepped_at: Timestamp,
}

impl Engine {
    /// A signer that knows what it signed before.
    ///
    /// # Errors
    /// [`Fault`] when the journal is not to be trusted.
    pub fn new(config: Config, kill: KillState, records: &[Vec<u8>]) -> Result<Self, Fault> {
        let mut ledger = Ledger::new(config.orders_max, config.orders_per_second_max);
        ledger.replay(records)?;
        Ok(Self {
            config,
            kill,
            licence: None,
            ledger,
            counts: Counts::default(),
            stepped_at: Timestamp(0),
        })
    }

    /// Its kill switch.
    #[must_use]
    pub const fn kill(&self) -> KillState {
        self.kill
    }

    /// What it counted since its start.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many orders were ever signed.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.ledger.orders()
    }

    /// Goes on with these operators' keys: one was exchanged, or is trusted no more.
    pub fn set_operators(&mut self, operators: OperatorKeys) {
        self.config.operators = operators;
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Fault`] when the signer can no longer trust its own state; it must stop then.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Result<Effects, Fault> {
        let reversed = self.stepped_at.since(now);
        if reversed > TIME_REVERSAL_MAX {
            return Err(Fault::TimeReversed(reversed));
        }
        self.stepped_at = now;
        match input {
            Input::Request { request, permit } => self.request(now, &request, permit.as_deref()),
            Input::Heartbeat(heartbeat) => {
                self.heartbeat(now, &heartbeat);
                Ok(Effects::default())
            }
            Input::Kill(kill) => Ok(self.killed(&kill)),
        }
    }

    fn heartbeat(&mut self, now: Timestamp, heartbeat: &Verified<Heartbeat>) {
        let header = heartbeat.header();
        let place = (header.boot, header.seq);
        // One that was overtaken on the way says nothing about the present.
        if self
            .licence
            .as_ref()
            .is_some_and(|held| held.place >= place)
        {
            return;
        }
        self.licence = Some(Licence {
            heartbeat: *heartbeat.message(),
            place,
            issued_at: header.issued_at,
            received_at: now,
        });
    }

    fn killed(&mut self, command: &Verified<Signed<Kill>>) -> Effects {
        match command::verify(command, self.config.realm, &self.config.operators) {
            Ok(kill) => {
                let detail = Text::lossy(&format!("{}: {}", kill.operator, kill.reason));
                // Pulled again, the latch tries its disk again, if that failed before.
                let mut effects = Effects {
                    trigger: Some(detail.clone()),
                    ..Effects::default()
                };
                if self.kill != KillState::Triggered {
                    self.kill = KillState::Triggered;
                    effects.notices.push(Notice::KillSwitch {
                        state: KillState::Triggered,
                        cause: KillCause::Operator,
                        detail,
                    });
                }
                effects
            }
            Err(refusal) => Effects {
                notices: vec![Notice::Violation {
                    subject: Text::lossy(&command.header().subject),
                    code: Text::lossy(refusal.code()),
                    frame: digest(command.frame()),
                }],
                ..Effects::default()
            },
        }
    }

    fn request(
        &mut self,
        now: Timestamp,
        received: &Received<SignRequest>,
        permit: Option<&EnclosedPermit>,
    ) -> Result<Effects, Fault> {
        let (request, fresh) = match received {
            Received::Fresh(request) => (request, true),
            Received::Duplicate(request) => (request, false),
        };
        let judged = self.judge(now, request, permit);
        let (decision, reserve) = match judged {
            Ok(Judged {
                text,
                authority,
                place,
            }) => {
                let reserve = place.filter(|(_, standing)| *standing == Standing::New);
                let hash = digest(text.as_bytes());
                let decision = Decision::Sign {
                    authority,
                    text,
                    places: place.is_some(),
                };
                (decision, reserve.map(|(order, _)| (order, hash)))
            }
            Err(reason) => (Decision::Refuse(reason), None),
        };
        // What came before was answered before: only a signature that was given is given again.
        if !fresh && (reserve.is_some() || matches!(decision, Decision::Refuse(_))) {
            return Ok(Effects::default());
        }
        let mut effects = Effects::default();
        if let Some((order, text)) = reserve {
            let record = Record::Reserved {
                order,
                text,
                at: now,
            };
            effects
                .records
                .push(codec::encode(&record).map_err(Fault::Encode)?);
            self.ledger.reserve(now, order, text);
        }
        let outcome = match &decision {
            Decision::Sign { places, .. } => {
                self.counts.signed(*places);
                Outcome::Passed
            }
            Decision::Refuse(reason) => {
                self.counts.refused(*reason);
                Outcome::Refused(*reason)
            }
        };
        let fact = self.fact(request.message(), permit, outcome);
        effects.answer = Some(Answer {
            request: request.header().clone(),
            decision,
            fact,
        });
        Ok(effects)
    }

    fn judge(
        &mut self,
        now: Timestamp,
        request: &Verified<SignRequest>,
        permit: Option<&EnclosedPermit>,
    ) -> Result<Judged, Reason> {
        let SignRequest {
            action,
            timestamp_ms,
            payload,
        } = request.message();
        let order = match action {
            SignAction::Place { permit: frame } => Some(self.may_place(now, frame, permit)?),
            SignAction::Cancel { .. }
            | SignAction::CancelAll { .. }
            | SignAction::CancelForeign { .. }
            | SignAction::QueryOrder { .. }
            | SignAction::QueryOpenOrders { .. }
            | SignAction::QueryPositions { .. }
            | SignAction::QueryExecutions { .. }
            | SignAction::QueryWallet
            | SignAction::QueryMovements { .. } => None,
            SignAction::CancelOnDisconnect { after_s } => {
                if !CANCEL_ON_DISCONNECT_S.contains(after_s) {
                    return Err(Reason::HardLimit);
                }
                None
            }
            SignAction::StreamLogin { expires_ms } => {
                let expires_at = Timestamp::from_millis(*expires_ms);
                if expires_at <= now || expires_at > now.plus(LOGIN_LIFETIME_MAX) {
                    return Err(Reason::ClockSkew);
                }
                None
            }
        };
        let time = Timestamp::from_millis(*timestamp_ms);
        if time.since(now) > SKEW_MAX || now.since(time) > SKEW_MAX {
            return Err(Reason::ClockSkew);
        }
        let action = venue_action(action, order.as_ref()).ok_or(Reason::OrderSeal)?;
        let derived = request_of(&action).payload;
        if derived.as_bytes() != payload.as_slice() {
            return Err(Reason::BytesDiffer);
        }
        let authority = action.authority();
        let key = self.key(authority);
        let text = signed_text(&action, *timestamp_ms, key.as_str(), &derived);
        let place = match &order {
            None => None,
            Some(order) => {
                let standing = self.ledger.standing(order.id, digest(text.as_bytes()));
                match standing {
                    Standing::New => self.ledger.room(now)?,
                    Standing::Same => {}
                    // Two signatures of one order are two orders, should the venue ever forget one.
                    Standing::Other => return Err(Reason::DuplicateOrder),
                }
                Some((order.id, standing))
            }
        };
        Ok(Judged {
            text,
            authority,
            place,
        })
    }

    /// Why no order at all would be signed now; `None` when one would.
    #[must_use]
    pub fn standstill(&self, now: Timestamp) -> Option<Reason> {
        if self.ledger.is_full() {
            return Some(Reason::TooManyOrders);
        }
        self.licence(now).err()
    }

    /// Whether orders may be signed now; the policy that risk-guard runs, if so.
    fn licence(&self, now: Timestamp) -> Result<Hash, Reason> {
        if !self.kill.may_trade() {
            return Err(Reason::KillSwitch);
        }
        let licence = self.licence.as_ref().ok_or(Reason::GuardSilent)?;
        // By its own clock and by ours, so that neither a delay nor a fast clock prolongs it.
        let age = now
            .since(licence.issued_at)
            .max(now.since(licence.received_at));
        if age > Heartbeat::AGE_MAX {
            return Err(Reason::GuardSilent);
        }
        if !licence.heartbeat.kill.may_trade() {
            return Err(Reason::KillSwitch);
        }
        if licence.heartbeat.posture == Posture::Emergency {
            return Err(Reason::PostureRestricts);
        }
        Ok(licence.heartbeat.policy)
    }

    /// Whether the order inside the permit may be placed at all; if so, the order as it may leave.
    fn may_place(
        &self,
        now: Timestamp,
        frame: &[u8],
        permit: Option<&EnclosedPermit>,
    ) -> Result<Order, Reason> {
        let policy = self.licence(now)?;
        let EnclosedPermit { permit, order } = permit.ok_or(Reason::OrderSeal)?;
        if permit.frame() != frame || permit.message().order != order.frame() {
            return Err(Reason::OrderSeal);
        }
        if permit.message().policy != policy || order.message().policy != policy {
            return Err(Reason::PolicyMismatch);
        }
        if now >= order.header().expires_at || now >= permit.header().expires_at {
            return Err(Reason::Expired);
        }
        match order.message().venue {
            Venue::Bybit => permit.message().tighten(order.message()),
        }
    }

    const fn key(&self, authority: Authority) -> &Text {
        match authority {
            Authority::Trading => &self.config.trading_key,
            Authority::Reading => &self.config.reading_key,
        }
    }

    fn fact(
        &self,
        request: &SignRequest,
        permit: Option<&EnclosedPermit>,
        outcome: Outcome,
    ) -> SignatureRecord {
        let (name, order, authority) = described(&request.action, permit);
        // The text that was asked for, whether or not it is one that would ever be signed.
        let mut hasher = Sha256::new();
        if !matches!(request.action, SignAction::StreamLogin { .. }) {
            hasher.update(request.timestamp_ms.to_string());
            hasher.update(self.key(authority).as_str());
            hasher.update(RECV_WINDOW_MS.to_string());
        }
        hasher.update(&request.payload);
        let payload = Hash(hasher.finalize().into());
        SignatureRecord {
            order,
            action: Text::lossy(name),
            payload,
            outcome,
        }
    }
}

struct Judged {
    text: String,
    authority: Authority,
    place: Option<(OrderId, Standing)>,
}

fn digest(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// What a request is about, in the venue's terms. Only a request to place needs the order.
fn venue_action<'a>(action: &'a SignAction, order: Option<&'a Order>) -> Option<Action<'a>> {
    Some(match action {
        SignAction::Place { .. } => Action::Place(order?),
        SignAction::Cancel { symbol, order } => Action::Cancel {
            symbol: *symbol,
            order: *order,
        },
        SignAction::CancelAll { symbol } => Action::CancelAll { symbol: *symbol },
        SignAction::CancelForeign {
            symbol,
            venue_order,
        } => Action::CancelForeign {
            symbol: *symbol,
            venue_order: *venue_order,
        },
        SignAction::CancelOnDisconnect { after_s } => {
            Action::CancelOnDisconnect { after_s: *after_s }
        }
        SignAction::QueryOrder { symbol, order } => Action::QueryOrder {
            symbol: *symbol,
            order: *order,
        },
        SignAction::QueryOpenOrders { cursor } => Action::QueryOpenOrders {
            cursor: cursor.as_str(),
        },
        SignAction::QueryPositions { cursor } => Action::QueryPositions {
            cursor: cursor.as_str(),
        },
        SignAction::QueryExecutions { since, cursor } => Action::QueryExecutions {
            since: *since,
            cursor: cursor.as_str(),
        },
        SignAction::QueryWallet => Action::QueryWallet,
        SignAction::QueryMovements { since, cursor } => Action::QueryMovements {
            since: *since,
            cursor: cursor.as_str(),
        },
        SignAction::StreamLogin { expires_ms } => Action::StreamLogin {
            expires_ms: *expires_ms,
        },
    })
}

/// The name of an action, the order that it is about, and the key that it needs.
fn described(
    action: &SignAction,
    permit: Option<&EnclosedPermit>,
) -> (&'static str, Option<OrderId>, Authority) {
    let permitted = permit.map(|enclosed| enclosed.order.message());
    let order = match action {
        SignAction::Place { .. } => permitted.map(|order| order.id),
        SignAction::Cancel { order, .. } | SignAction::QueryOrder { order, .. } => Some(*order),
        SignAction::CancelAll { .. }
        | SignAction::CancelForeign { .. }
        | SignAction::CancelOnDisconnect { .. }
        | SignAction::QueryOpenOrders { .. }
        | SignAction::QueryPositions { .. }
        | SignAction::QueryExecutions { .. }
        | SignAction::QueryWallet
        | SignAction::QueryMovements { .. }
        | SignAction::StreamLogin { .. } => None,
    };
    match venue_action(action, permitted) {
        Some(action) => (action.name(), order, action.authority()),
        // A request to place whose permit did not open.
        None => ("place", None, Authority::Trading),
    }
}
