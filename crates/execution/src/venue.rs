//! Asks the venue: every request is derived from a typed action, signed by the signer for exactly
//! that, and sent once.
//!
//! ```text
//!  Action ──▶ payload ──▶ SIGN ══▶ signer ══▶ SIGNATURE ──▶ RestClient ══▶ venue ──▶ Event
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use execution_core::{Movement, PlaceOutcome, QueryOutcome, Requests, Ticket, VenueOrder};
use portcullis_domain::{
    EnvelopeId, Exposure, Fill, Order, OrderId, Reason, Symbol, Timestamp, Usd, VenueOrderId,
};
use portcullis_runtime::telemetry::Span;
use portcullis_runtime::{Service, tracing};
use portcullis_venue::bybit::reply::{OrderAcknowledgement, OrderInfo, Page};
use portcullis_venue::bybit::{self, Action, Request, VenueError, reply};
use portcullis_venue::retry::Kind;
use portcullis_wire::messages::{SignAction, SignRequest, SignResponse};
use portcullis_wire::principal::Execution;
use portcullis_wire::subjects::SIGN;
use portcullis_wire::{Header, Text};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::bybit::{Budget, EndpointClass, Login, Reply, RestClient, SignedHeaders, VenueClock};
use crate::call::CallError;
use crate::config::Config;
use crate::tally::{Counts, Unanswered, is_time};
use crate::told::{judge_placement, order_of};

/// How long the signer may take for a request that is not an order; an order's own life is shorter.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a query may be repeated; the core waits a little longer, and then asks again itself.
const QUERY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a login to the stream is valid.
const LOGIN_LIFETIME_MS: u64 = 10_000;

/// What comes back to the event loop.
#[derive(Debug)]
pub enum Event {
    Durable(Vec<OrderId>),
    Placed {
        order: OrderId,
        outcome: PlaceOutcome,
    },
    Queried {
        order: OrderId,
        asked_at: Timestamp,
        outcome: QueryOutcome,
    },
    Account {
        asked_at: Timestamp,
        open: Vec<VenueOrder>,
        fills: Vec<Fill>,
        positions: Positions,
        cash: Usd,
        movements: Vec<Movement>,
    },
    AccountUnread,
    /// The venue cancels everything once the stream is gone; or why it does not.
    Protected(Result<(), Text>),
}

/// Positions that are not flat.
pub type Positions = Vec<(Symbol, Exposure)>;

/// Who waits for a signature.
enum Waiting {
    Order { order: OrderId, timestamp_ms: u64 },
    Request(oneshot::Sender<SignResponse>),
}

/// A signature that arrived.
pub enum Signed {
    /// For an order.
    Order {
        order: OrderId,
        answer: Result<Ticket, Reason>,
    },
    /// For a request that waited for it, or for nothing that is known.
    Other,
}

/// The venue, as execution reaches it. Clones share everything.
#[derive(Clone)]
pub struct Venue(Arc<Inner>);

struct Inner {
    service: Service<Execution>,
    rest: RestClient,
    clock: VenueClock,
    budget: Mutex<Budget>,
    waiting: Mutex<BTreeMap<EnvelopeId, Waiting>>,
    in_flight: Arc<Semaphore>,
    counts: Counts,
    killed: watch::Sender<bool>,
    events: mpsc::Sender<Event>,
}

impl Venue {
    pub fn new(
        service: Service<Execution>,
        rest: RestClient,
        config: &Config,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self(Arc::new(Inner {
            service,
            rest,
            clock: VenueClock::new(config.clock),
            budget: Mutex::new(Budget::new(config.budget)),
            waiting: Mutex::default(),
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            counts: Counts::default(),
            killed: watch::Sender::new(false),
            events,
        }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.service.now()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<EnvelopeId, Waiting>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.0.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn venue_now(&self) -> Result<Timestamp, CallError> {
        self.venue_now_ms().map(Timestamp::from_millis)
    }

    fn venue_now_ms(&self) -> Result<u64, CallError> {
        self.0
            .clock
            .venue_now_ms(self.now())
            .ok_or(CallError::Clock)
    }

    /// How requests went so far.
    pub fn requests(&self) -> Requests {
        self.0.counts.requests()
    }

    /// The private stream told events, and was lost.
    pub fn lost_stream(&self) {
        self.0.counts.network.add(false);
    }

    /// Measures the venue's clock when that is due.
    pub async fn keep_time(&self) {
        if !self.0.clock.is_due(self.now()) {
            return;
        }
        let measured = self.0.clock.measure(&self.0.rest, || self.now()).await;
        self.0.counts.network.add(is_time(&measured));
        if let Err(error) = measured {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "measure the venue's clock"
            );
        }
    }

    fn ask(
        &self,
        action: SignAction,
        timestamp_ms: u64,
        payload: String,
        waiting: Waiting,
        cause: Option<&Header>,
        traceparent: Option<String>,
    ) -> Result<(), CallError> {
        let request = SignRequest {
            action,
            timestamp_ms,
            payload: payload.into_bytes(),
        };
        let service = &self.0.service;
        let sealed = service
            .seal(&SIGN, None, &request, cause, traceparent)
            .map_err(CallError::Bus)?;
        let id = sealed.id;
        // Before it is sent: the answer may be faster than the next line.
        self.waiting().insert(id, waiting);
        service.send(sealed).map_err(|error| {
            self.waiting().remove(&id);
            CallError::Bus(error)
        })
    }

    /// Asks for the signature of an order. The answer comes through [`Self::signed`].
    ///
    /// # Errors
    /// Why there will be none.
    pub fn ask_for_order(
        &self,
        order: &Order,
        permit: Vec<u8>,
        cause: Option<&Header>,
        traceparent: Option<String>,
    ) -> Result<(), Reason> {
        let timestamp_ms = self.venue_now_ms().map_err(|_| Reason::ClockSkew)?;
        let payload = bybit::request_of(&Action::Place(order)).payload;
        let waiting = Waiting::Order {
            order: order.id,
            timestamp_ms,
        };
        let action = SignAction::Place { permit };
        self.ask(action, timestamp_ms, payload, waiting, cause, traceparent)
            .map_err(|_| Reason::NoSignature)
    }

    /// Takes the signer's answer to the request `id`.
    pub fn signed(&self, id: EnvelopeId, response: SignResponse) -> Signed {
        match self.waiting().remove(&id) {
            Some(Waiting::Order {
                order,
                timestamp_ms,
            }) => {
                self.0.counts.signer.add(true);
                let answer = match response {
                    SignResponse::Signed { api_key, signature } => Ok(Ticket {
                        timestamp_ms,
                        api_key,
                        signature,
                    }),
                    SignResponse::Refused { reason } => {
                        tracing::warn!(%order, %reason, "the signer refused an order");
                        Err(Reason::SignerRefused)
                    }
                };
                Signed::Order { order, answer }
            }
            Some(Waiting::Request(sender)) => {
                // Whoever asked may have given up. It counts neither way: a signer that is started
                // again while nothing is traded trips no breaker.
                let _ = sender.send(response);
                Signed::Other
            }
            None => Signed::Other,
        }
    }

    /// Forgets that an order waits for its signature, as it is over. That counts against the signer
    /// where the order's time ran out; what ended it before says nothing about the signer.
    pub fn forget(&self, over: &OrderId, time_ran_out: bool) {
        self.waiting().retain(|_, waiting| {
            let waits = matches!(waiting, Waiting::Order { order, .. } if order == over);
            if waits && time_ran_out {
                self.0.counts.signer.add(false);
            }
            !waits
        });
    }

    async fn sign(
        &self,
        action: SignAction,
        timestamp_ms: u64,
        payload: String,
    ) -> Result<SignedHeaders, CallError> {
        let (sender, receiver) = oneshot::channel();
        self.ask(
            action,
            timestamp_ms,
            payload,
            Waiting::Request(sender),
            None,
            None,
        )?;
        let answer = tokio::time::timeout(SIGNATURE_TIMEOUT, receiver).await;
        match answer {
            Ok(Ok(SignResponse::Signed { api_key, signature })) => Ok(SignedHeaders {
                api_key: api_key.as_str().into(),
                timestamp_ms,
                signature: signature.as_str().into(),
            }),
            Ok(Ok(SignResponse::Refused { reason })) => Err(CallError::Refused(reason)),
            Ok(Err(_)) | Err(_) => {
                self.waiting().retain(
                    |_, waiting| !matches!(waiting, Waiting::Request(sender) if sender.is_closed()),
                );
                Err(CallError::Silent)
            }
        }
    }

    /// Signs and sends one request, and reads its answer.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        action: &Action<'_>,
        sign: SignAction,
    ) -> Result<T, CallError> {
        let class = EndpointClass::of(action).ok_or(CallError::Endpoint)?;
        self.budget()
            .may_send(class, self.now())
            .map_err(CallError::Budget)?;
        let timestamp_ms = self.venue_now_ms()?;
        let request = bybit::request_of(action);
        let headers = self
            .sign(sign, timestamp_ms, request.payload.clone())
            .await?;
        let answer = self.exchange::<T>(class, &request, &headers).await?;
        answer.outcome.map_err(|refused| {
            self.heed(class, refused.class);
            CallError::Venue(refused.class, refused.message.as_str().into())
        })
    }

    /// The kill switch is pulled: requests that wait to be sent again are dropped, unless they take risk
    /// away or see it.
    pub fn killed(&self) {
        self.0.killed.send_replace(true);
    }

    /// Hears of the kill switch.
    pub(crate) fn kill_switch(&self) -> watch::Receiver<bool> {
        self.0.killed.subscribe()
    }

    /// Sends a signed request, once, reads what answers it, and counts whether anything did.
    async fn exchange<T: DeserializeOwned>(
        &self,
        class: EndpointClass,
        request: &Request,
        headers: &SignedHeaders,
    ) -> Result<reply::Reply<T>, Unanswered> {
        let sent = self.0.rest.send(request, headers).await;
        let answer = sent.map_err(Unanswered::Send).and_then(|reply| {
            self.note(class, &reply);
            match VenueError::of_http(reply.http_status) {
                Some(error) => Err(Unanswered::Status(reply.http_status, error)),
                None => reply::read(&reply.body).map_err(Unanswered::Malformed),
            }
        });
        let answered = match &answer {
            Ok(_) => true,
            Err(unanswered) => unanswered.is_word_of_venue(),
        };
        self.0.counts.network.add(answered);
        answer
    }

    fn note(&self, class: EndpointClass, reply: &Reply) {
        let now = self.now();
        let venue_now_ms = self.0.clock.venue_now_ms(now);
        self.budget().note(class, now, venue_now_ms, reply);
    }

    /// Learns from a refusal what concerns more than the one request.
    fn heed(&self, class: EndpointClass, error: VenueError) {
        match error {
            VenueError::ClockSkew => self.0.clock.doubt(),
            VenueError::RateLimited => self.budget().exceeded(class, self.now()),
            VenueError::InsufficientFunds
            | VenueError::SlippageExceeded
            | VenueError::Invalid
            | VenueError::Authentication
            | VenueError::Duplicate
            | VenueError::Network
            | VenueError::Unknown
            | VenueError::NotFound => {}
        }
    }

    /// Sends an order, once; the outcome comes as an event. `span` ends with the answer.
    pub fn place(&self, order: Order, ticket: Ticket, mut span: Span) {
        let venue = self.clone();
        let Ok(permit) = Arc::clone(&self.0.in_flight).try_acquire_owned() else {
            let detail = Text::lossy("too many requests are under way");
            let outcome = PlaceOutcome::NotSent(Reason::VenueRateLimit, detail);
            self.tell(Event::Placed {
                order: order.id,
                outcome,
            });
            return;
        };
        tokio::spawn(async move {
            let outcome = venue.place_now(&order, &ticket).await;
            if !matches!(outcome, PlaceOutcome::Acknowledged(_)) {
                span.fail(format!("{outcome:?}"));
            }
            drop((permit, span));
            venue
                .tell_surely(Event::Placed {
                    order: order.id,
                    outcome,
                })
                .await;
        });
    }

    async fn place_now(&self, order: &Order, ticket: &Ticket) -> PlaceOutcome {
        let class = EndpointClass::Place;
        if self.budget().may_send(class, self.now()).is_err() {
            return PlaceOutcome::NotSent(Reason::VenueRateLimit, Text::lossy("budget used up"));
        }
        let request = bybit::request_of(&Action::Place(order));
        let headers = SignedHeaders {
            api_key: ticket.api_key.as_str().into(),
            timestamp_ms: ticket.timestamp_ms,
            signature: ticket.signature.as_str().into(),
        };
        let outcome = judge_placement(self.exchange(class, &request, &headers).await);
        if let PlaceOutcome::Rejected(Reason::ClockSkew, _) = outcome {
            self.heed(class, VenueError::ClockSkew);
        }
        outcome
    }

    /// Cancels everything of an instrument; whether it worked only the venue's stream tells.
    pub fn cancel_all(&self, symbol: Symbol) {
        let venue = self.clone();
        tokio::spawn(async move {
            let sign = SignAction::CancelAll { symbol };
            let called = venue
                .cancel::<reply::CancelAllAcknowledgement>(&Action::CancelAll { symbol }, sign)
                .await;
            if let Err(error) = called {
                tracing::warn!(%symbol, error = &error as &dyn std::error::Error, "cancel all");
            }
        });
    }

    /// Cancels one order that is not ours; whether it worked only the venue tells.
    pub fn cancel_foreign(&self, symbol: Symbol, venue_order: VenueOrderId) {
        let venue = self.clone();
        tokio::spawn(async move {
            let action = Action::CancelForeign {
                symbol,
                venue_order,
            };
            let sign = SignAction::CancelForeign {
                symbol,
                venue_order,
            };
            match venue.cancel::<OrderAcknowledgement>(&action, sign).await {
                // Over already is as good as cancelled.
                Ok(_) | Err(CallError::Venue(VenueError::NotFound, _)) => {}
                Err(error) => tracing::warn!(
                    %symbol, %venue_order, error = &error as &dyn std::error::Error,
                    "cancel an order that is not ours"
                ),
            }
        });
    }

    /// Has the venue cancel everything once the stream has been gone for so long; whether it will
    /// comes as an event.
    pub fn cancel_on_disconnect(&self, after_s: u16) {
        let venue = self.clone();
        tokio::spawn(async move {
            let action = Action::CancelOnDisconnect { after_s };
            let sign = SignAction::CancelOnDisconnect { after_s };
            let set = venue
                .call_again::<reply::Done>(Kind::Account, &action, sign)
                .await;
            let set = set.map(drop).map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "have the venue cancel once the stream is gone"
                );
                Text::lossy(&error.to_string())
            });
            venue.tell_surely(Event::Protected(set)).await;
        });
    }

    /// Asks about one order; the answer comes as an event.
    pub fn query(&self, order: OrderId, symbol: Symbol) {
        let venue = self.clone();
        tokio::spawn(async move {
            let asked_at = venue.now();
            let sign = SignAction::QueryOrder { symbol, order };
            let action = Action::QueryOrder { symbol, order };
            let asked = venue.call_again::<Page<OrderInfo>>(Kind::Query, &action, sign);
            let page = tokio::time::timeout(QUERY_TIMEOUT, asked).await;
            let outcome = match page.unwrap_or(Err(CallError::Late)) {
                Ok(page) => page
                    .list
                    .iter()
                    .find(|info| info.order == Some(order))
                    .map_or(QueryOutcome::NotFound, |info| {
                        order_of(info).map_or(QueryOutcome::Failed, QueryOutcome::Found)
                    }),
                Err(CallError::Venue(VenueError::NotFound, _)) => QueryOutcome::NotFound,
                Err(error) => {
                    tracing::warn!(
                        %order, error = &error as &dyn std::error::Error, "ask about an order"
                    );
                    QueryOutcome::Failed
                }
            };
            venue
                .tell_surely(Event::Queried {
                    order,
                    asked_at,
                    outcome,
                })
                .await;
        });
    }

    /// Obtains a login for the private stream.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn login(&self) -> Result<Login, String> {
        let log_in = async {
            let now_ms = self.venue_now_ms()?;
            let expires_ms = now_ms.saturating_add(LOGIN_LIFETIME_MS);
            let action = SignAction::StreamLogin { expires_ms };
            let payload = bybit::request_of(&Action::StreamLogin { expires_ms }).payload;
            let headers = self.sign(action, now_ms, payload).await?;
            Ok::<_, CallError>(Login {
                api_key: headers.api_key,
                expires_ms,
                signature: headers.signature,
            })
        };
        log_in.await.map_err(|error| error.to_string())
    }

    fn tell(&self, event: Event) {
        let venue = self.clone();
        tokio::spawn(async move { venue.tell_surely(event).await });
    }

    pub(crate) async fn tell_surely(&self, event: Event) {
        // The loop is gone only when the process ends.
        let _ = self.0.events.send(event).await;
    }
}
