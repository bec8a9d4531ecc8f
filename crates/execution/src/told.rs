//! What the venue's words are to the core.

use execution_core::{PlaceOutcome, VenueOrder, VenueState};
use portcullis_domain::{Fill, OrderStatus};
use portcullis_venue::bybit::reply::{
    self, Execution as VenueExecution, OrderAcknowledgement, OrderInfo,
};
use portcullis_venue::placement::{Answer, Proof};
use portcullis_wire::Text;

use crate::bybit::SendError;
use crate::tally::Unanswered;

/// What an answer to a placement proves. Whatever proves nothing leaves the order in doubt.
pub(crate) fn judge_placement(
    answer: Result<reply::Reply<OrderAcknowledgement>, Unanswered>,
) -> PlaceOutcome {
    let (answer, detail) = match answer.map(|answer| answer.outcome) {
        Ok(Ok(acknowledged)) => (
            Answer::Acknowledged(acknowledged.venue_order),
            String::new(),
        ),
        Ok(Err(refused)) => {
            let detail = format!("{} {}", refused.code, refused.message.as_str());
            (Answer::Refused(refused.class), detail)
        }
        Err(Unanswered::Status(status, error)) => {
            (Answer::Refused(error), format!("HTTP status {status}"))
        }
        Err(Unanswered::Malformed(error)) => (Answer::None, format!("unreadable: {error}")),
        Err(Unanswered::Send(error @ SendError::NotSent(_))) => {
            (Answer::NotSent, error.to_string())
        }
        Err(Unanswered::Send(error @ SendError::Unknown(_))) => (Answer::None, error.to_string()),
    };
    let detail = Text::lossy(&detail);
    match answer.proof() {
        Proof::Taken(venue_order) => PlaceOutcome::Acknowledged(venue_order),
        Proof::NotTaken(reason) => PlaceOutcome::Rejected(reason, detail),
        Proof::NotSent(reason) => PlaceOutcome::NotSent(reason, detail),
        Proof::Nothing => PlaceOutcome::Unknown(detail),
    }
}

/// The venue's account of an order; `None` while its state is a word that is not known.
pub(crate) fn order_of(info: &OrderInfo) -> Option<VenueOrder> {
    let state = match info.status {
        OrderStatus::Open => VenueState::Open,
        OrderStatus::Filled => VenueState::Filled,
        OrderStatus::Cancelled => VenueState::Cancelled,
        OrderStatus::Rejected => VenueState::Rejected,
        OrderStatus::Accepted | OrderStatus::Sent | OrderStatus::Unknown | OrderStatus::Refused => {
            return None;
        }
    };
    Some(order_in(info, state))
}

/// An order in the list of what is open: there it is open whatever its state is called.
pub(crate) fn open_order(info: &OrderInfo) -> VenueOrder {
    order_of(info).unwrap_or_else(|| order_in(info, VenueState::Open))
}

fn order_in(info: &OrderInfo, state: VenueState) -> VenueOrder {
    VenueOrder {
        order: info.order,
        venue_order: info.venue_order,
        symbol: info.symbol,
        side: info.side,
        quantity: info.quantity,
        limit_price: info.price,
        state,
        filled: info.filled,
        detail: Text::lossy(info.reject_reason.as_str()),
    }
}

/// The fill that an execution is, when it is a trade of an order with a client order id.
pub(crate) fn fill_of(execution: &VenueExecution) -> Option<Fill> {
    execution.order.and_then(|order| execution.fill(order))
}
