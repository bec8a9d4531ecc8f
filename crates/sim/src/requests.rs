//! Requests to the venue: each derived from an action, signed for exactly that, sent once.

use execution_core::{Input, PlaceOutcome, QueryOutcome, Ticket};
use portcullis_domain::{EnvelopeId, Order, OrderId, Reason, Symbol, Timestamp};
use portcullis_venue::bybit::{Action, Request, VenueError, request_of};
use portcullis_venue::placement::{Answer, Proof};
use portcullis_wire::Text;
use portcullis_wire::messages::{SignAction, SignRequest, SignResponse};
use portcullis_wire::subjects::SIGN;

use crate::accounts::Stage;
use crate::cast::Who;
use crate::execution::Waiting;
use crate::faults::Point;
use crate::planted::Bug;
use crate::venue::{Reply, Signature};
use crate::world::{Event, Flight, MS, World};

/// How long the signer may take.
const SIGNATURE_DEADLINE: u64 = 2_000 * MS;
/// How long the venue may take.
const ANSWER_DEADLINE: u64 = 3_000 * MS;

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    Place(Box<Order>, Ticket),
    CancelAll(Symbol),
    Query {
        order: OrderId,
        symbol: Symbol,
        asked_at: Timestamp,
    },
    Read(Stage, Timestamp),
    Login(u64),
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Call {
    purpose: Purpose,
    request: Request,
    timestamp_ms: u64,
    awaits: Await,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    Signature,
    Answer,
}

impl World {
    /// Asks for the signature of an order.
    pub(crate) fn ask_for_order(&mut self, order: &portcullis_domain::Order, permit: Vec<u8>) {
        let Some(timestamp_ms) = self.venue_time_ms() else {
            return self.execution_step(Input::Signed {
                order: order.id,
                answer: Err(Reason::ClockSkew),
            });
        };
        let payload = request_of(&Action::Place(order)).payload;
        let request = SignRequest {
            action: SignAction::Place { permit },
            timestamp_ms,
            payload: payload.into_bytes(),
        };
        let cause = self.story(&order.id);
        let sealed = self.publish(Who::Execution, &SIGN, None, &request, cause.as_ref());
        let waiting = Waiting::Order {
            order: order.id,
            timestamp_ms,
        };
        if let Some(life) = self.execution.as_mut() {
            life.waiting.insert(sealed.id, waiting);
        }
    }

    pub(crate) fn signature(&mut self, request: EnvelopeId, response: SignResponse) {
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        match life.waiting.remove(&request) {
            Some(Waiting::Order {
                order,
                timestamp_ms,
            }) => {
                life.requests.signer.passed += 1;
                let answer = match response {
                    SignResponse::Signed { api_key, signature } => Ok(execution_core::Ticket {
                        timestamp_ms,
                        api_key,
                        signature,
                    }),
                    SignResponse::Refused { .. } => Err(Reason::SignerRefused),
                };
                self.execution_step(Input::Signed { order, answer });
            }
            Some(Waiting::Call(call)) => self.call_signed(call, response),
            None => {}
        }
    }

    /// Sends an order, once.
    pub(crate) fn place(&mut self, order: Order, ticket: Ticket) {
        if self.crash_point(Who::Execution, Point::BeforePlacing) {
            return;
        }
        self.check_placement(&order, &ticket);
        self.trace.count("order placed");
        self.say(format_args!(
            "execution places {} {} {} {} at {}",
            order.id, order.symbol, order.side, order.quantity, order.limit_price
        ));
        let mut request = request_of(&Action::Place(&order));
        if self.has(Bug::TampersWithOrder) {
            request.payload = request.payload.replace("\"Buy\"", "\"Sell\"");
        }
        let call = self.ids_of_calls();
        let timestamp_ms = ticket.timestamp_ms;
        let id = order.id;
        let signature = Signature {
            timestamp_ms,
            api_key: ticket.api_key.clone(),
            signature: ticket.signature.clone(),
        };
        let purpose = Purpose::Place(Box::new(order), ticket);
        let boot = self.seat(Who::Execution).boot;
        let flight = Flight {
            boot,
            call,
            order: Some(id),
            request: request.clone(),
            signature,
        };
        self.keep_call(
            call,
            Call {
                purpose,
                request,
                timestamp_ms,
                awaits: Await::Signature,
            },
        );
        self.dispatch(flight);
        self.crash_point(Who::Execution, Point::AfterPlacing);
    }

    pub(crate) fn cancel_all(&mut self, symbol: Symbol) {
        self.trace.count("cancel all");
        self.oracle.watch.cancelled(symbol, self.now);
        self.ask(Purpose::CancelAll(symbol));
    }

    pub(crate) fn query(&mut self, order: OrderId, symbol: Symbol) {
        self.trace.count("order queried");
        let asked_at = self.clock(Who::Execution);
        self.ask(Purpose::Query {
            order,
            symbol,
            asked_at,
        });
    }

    pub(crate) fn log_in(&mut self) {
        let boot = self.seat(Who::Execution).boot;
        match self.venue_time_ms() {
            Some(now_ms) => self.ask(Purpose::Login(now_ms + 10_000)),
            None => self.schedule(500 * MS, Event::Login(boot)),
        }
    }

    /// Asks the signer first; what follows happens when it answers.
    pub(crate) fn ask(&mut self, purpose: Purpose) {
        let empty = Text::lossy("");
        let (action, sign) = match &purpose {
            Purpose::Place(..) => return,
            Purpose::CancelAll(symbol) => (
                Action::CancelAll { symbol: *symbol },
                SignAction::CancelAll { symbol: *symbol },
            ),
            Purpose::Query { order, symbol, .. } => {
                let (order, symbol) = (*order, *symbol);
                (
                    Action::QueryOrder { symbol, order },
                    SignAction::QueryOrder { symbol, order },
                )
            }
            Purpose::Read(Stage::Before | Stage::After, _) => (
                Action::QueryPositions { cursor: "" },
                SignAction::QueryPositions { cursor: empty },
            ),
            Purpose::Read(Stage::Fills, since) => {
                let since = *since;
                (
                    Action::QueryExecutions { since, cursor: "" },
                    SignAction::QueryExecutions {
                        since,
                        cursor: empty,
                    },
                )
            }
            Purpose::Read(Stage::Open, _) => (
                Action::QueryOpenOrders { cursor: "" },
                SignAction::QueryOpenOrders { cursor: empty },
            ),
            Purpose::Read(Stage::WalletBefore | Stage::WalletAfter, _) => {
                (Action::QueryWallet, SignAction::QueryWallet)
            }
            Purpose::Read(Stage::Movements, since) => {
                let since = *since;
                (
                    Action::QueryMovements { since, cursor: "" },
                    SignAction::QueryMovements {
                        since,
                        cursor: empty,
                    },
                )
            }
            Purpose::Login(expires_ms) => {
                let expires_ms = *expires_ms;
                (
                    Action::StreamLogin { expires_ms },
                    SignAction::StreamLogin { expires_ms },
                )
            }
        };
        let request = request_of(&action);
        let boot = self.seat(Who::Execution).boot;
        let call = self.ids_of_calls();
        let Some(timestamp_ms) = self.venue_time_ms() else {
            self.keep_call(
                call,
                Call {
                    purpose,
                    request,
                    timestamp_ms: 0,
                    awaits: Await::Signature,
                },
            );
            return self.schedule(MS, Event::Deadline(boot, call, Await::Signature));
        };
        let message = SignRequest {
            action: sign,
            timestamp_ms,
            payload: request.payload.clone().into_bytes(),
        };
        let sealed = self.publish(Who::Execution, &SIGN, None, &message, None);
        if let Some(life) = self.execution.as_mut() {
            life.waiting.insert(sealed.id, Waiting::Call(call));
        }
        self.keep_call(
            call,
            Call {
                purpose,
                request,
                timestamp_ms,
                awaits: Await::Signature,
            },
        );
        self.schedule(
            SIGNATURE_DEADLINE,
            Event::Deadline(boot, call, Await::Signature),
        );
    }

    fn keep_call(&mut self, number: u64, call: Call) {
        if let Some(life) = self.execution.as_mut() {
            life.calls.insert(number, call);
        }
    }

    pub(crate) fn call_signed(&mut self, number: u64, response: SignResponse) {
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        let Some(call) = life.calls.get(&number).cloned() else {
            return;
        };
        let SignResponse::Signed { api_key, signature } = response else {
            return self.answered(number, None);
        };
        let signature = Signature {
            timestamp_ms: call.timestamp_ms,
            api_key,
            signature,
        };
        let boot = self.seat(Who::Execution).boot;
        if matches!(call.purpose, Purpose::Login(_)) {
            return self.connect(boot, number, &call.request.payload, &signature);
        }
        self.dispatch(Flight {
            boot,
            call: number,
            order: None,
            request: call.request,
            signature,
        });
    }

    /// The network to the venue: lost, late, twice, or as it should be.
    fn dispatch(&mut self, flight: Flight) {
        let (boot, number) = (flight.boot, flight.call);
        let calls = self.execution.as_mut().map(|life| &mut life.calls);
        if let Some(call) = calls.and_then(|calls| calls.get_mut(&number)) {
            call.awaits = Await::Answer;
        }
        self.schedule(
            ANSWER_DEADLINE,
            Event::Deadline(boot, number, Await::Answer),
        );
        let usual = self.random.between(2, 20) * MS;
        let trouble = self.chaos() && self.random.chance(self.plan.venue);
        let twice = self.has(Bug::VenueTakesTwice);
        if !trouble && !twice {
            return self.schedule(usual, Event::Arrive(flight));
        }
        match if twice { 2 } else { self.random.between(0, 3) } {
            0 => self.trace.count("fault: request lost"),
            1 => {
                self.trace.count("fault: request late");
                let after = self.random.between(100, 6_500) * MS;
                self.schedule(after, Event::Arrive(flight));
            }
            2 => {
                self.trace.count("fault: request arrives twice");
                self.schedule(usual, Event::Arrive(flight.clone()));
                self.schedule(usual + MS, Event::Arrive(flight));
            }
            _ => {
                self.trace.count("fault: venue not reached");
                let (boot, call) = (flight.boot, flight.call);
                self.schedule(
                    usual,
                    Event::Answer(boot, call, Reply::Refused(VenueError::RateLimited)),
                );
            }
        }
    }

    pub(crate) fn arrive(&mut self, flight: &Flight) {
        let now = self.venue_clock();
        let twice = self.has(Bug::VenueTakesTwice);
        let reply = self.venue.take(
            now,
            &flight.request,
            &flight.signature,
            &self.markets,
            &mut self.random,
            twice,
        );
        if flight.order.is_some() {
            self.say(format_args!(
                "venue answers {:?} to {:?}",
                reply, flight.order
            ));
        }
        self.check_venue();
        self.check_arrival(flight, &reply);
        self.push_stream();
        let (boot, call) = (flight.boot, flight.call);
        let usual = self.random.between(2, 20) * MS;
        if !self.chaos() || !self.random.chance(self.plan.venue) {
            return self.schedule(usual, Event::Answer(boot, call, reply));
        }
        match self.random.between(0, 2) {
            0 => self.trace.count("fault: answer lost"),
            1 => {
                self.trace.count("fault: answer late");
                let after = self.random.between(100, 5_000) * MS;
                self.schedule(after, Event::Answer(boot, call, reply));
            }
            _ => {
                self.trace.count("fault: server error after the fact");
                let reply = Reply::Refused(VenueError::Network);
                self.schedule(usual, Event::Answer(boot, call, reply));
            }
        }
    }

    /// It took too long.
    pub(crate) fn too_late(&mut self, number: u64, awaited: Await) {
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        let found = life.calls.get(&number);
        if found.is_some_and(|call| call.awaits == awaited) {
            match awaited {
                Await::Signature => {}
                Await::Answer => life.requests.network.failed += 1,
            }
            self.answered(number, None);
        }
    }

    /// A request is answered, or never will be.
    pub(crate) fn answered(&mut self, number: u64, reply: Option<Reply>) {
        let Some(life) = self.execution.as_mut() else {
            return;
        };
        let Some(call) = life.calls.remove(&number) else {
            return;
        };
        match &reply {
            // What it waited for in vain is counted already.
            None => self.trace.count("request timed out"),
            Some(Reply::Refused(VenueError::Network)) => life.requests.network.failed += 1,
            Some(_) => life.requests.network.passed += 1,
        }
        match call.purpose {
            Purpose::Place(order, ticket) => {
                let id = order.id;
                if reply.is_none() && self.has(Bug::ResendsOnTimeout) {
                    return self.place(*order, ticket);
                }
                let outcome = placed(reply);
                self.execution_step(Input::Placed { order: id, outcome });
            }
            Purpose::CancelAll(_) => {}
            Purpose::Query {
                order,
                asked_at,
                symbol,
            } => {
                let mut outcome = match reply {
                    Some(Reply::Orders(orders)) => orders
                        .into_iter()
                        .find(|found| found.order == Some(order))
                        .map_or(QueryOutcome::NotFound, QueryOutcome::Found),
                    _ => QueryOutcome::Failed,
                };
                if outcome == QueryOutcome::NotFound && self.has(Bug::GivesUpOnNotFound) {
                    return self.take_for_refused(order, symbol);
                }
                if let QueryOutcome::Found(found) = &mut outcome {
                    self.hear(found);
                }
                self.execution_step(Input::Queried {
                    order,
                    asked_at,
                    outcome,
                });
            }
            Purpose::Read(stage, _) => self.account_read(stage, reply),
            Purpose::Login(_) => {
                let boot = self.seat(Who::Execution).boot;
                self.schedule(500 * MS, Event::Login(boot));
            }
        }
    }
}

/// What an answer to a placement proves.
fn placed(reply: Option<Reply>) -> PlaceOutcome {
    let (answer, detail) = match reply {
        Some(Reply::Acknowledged(venue_order)) => (Answer::Acknowledged(venue_order), ""),
        Some(Reply::Refused(error)) => (Answer::Refused(error), error.code()),
        _ => (Answer::None, "no answer"),
    };
    let detail = Text::lossy(detail);
    match answer.proof() {
        Proof::Taken(venue_order) => PlaceOutcome::Acknowledged(venue_order),
        Proof::NotTaken(reason) => PlaceOutcome::Rejected(reason, detail),
        Proof::NotSent(reason) => PlaceOutcome::NotSent(reason, detail),
        Proof::Nothing => PlaceOutcome::Unknown(detail),
    }
}
