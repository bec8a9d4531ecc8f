//! Refusals, with the codes and words of the venue's error page.

use thiserror::Error;

/// Why a request was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("params error: {0}")]
    Parameter(&'static str),
    #[error("paper exchange does not simulate {0}")]
    NotSimulated(&'static str),
    #[error(
        "invalid request, please check your server timestamp or recv_window param. req_timestamp[{request}],server_timestamp[{server}],recv_window[{window}]"
    )]
    Timestamp {
        request: i64,
        server: i64,
        window: i64,
    },
    #[error("API key is invalid.")]
    ApiKey,
    #[error("error sign! Please check your signature generation algorithm.")]
    Signature,
    #[error("Too many visits. Exceeded the API Rate Limit.")]
    RateLimit,
    #[error("Server error: {0}")]
    Internal(&'static str),
    #[error("order not exists or too late to cancel")]
    OrderNotFound,
    #[error("Order price is out of permissible range.")]
    PriceRange,
    #[error("ab not enough for new order")]
    InsufficientBalance,
    #[error("current position is zero, cannot fix reduce-only order qty")]
    ReduceOnly,
    #[error("You have reached the maximum number of active orders")]
    TooManyOrders,
    #[error("leverage not modified")]
    LeverageUnchanged,
    #[error("cannot set leverage gt maxLeverage by risk limit")]
    LeverageTooHigh,
    #[error("The number of contracts modified cannot be less than or equal to the filled quantity")]
    BelowFilled,
    #[error("OrderLinkedID is duplicate")]
    DuplicateLinkId,
    #[error("Order does not meet minimum order value {0}USDT")]
    BelowMinimumValue(String),
}

impl Refusal {
    /// The venue's `retCode`.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Parameter(_) | Self::NotSimulated(_) => 10001,
            Self::Timestamp { .. } => 10002,
            Self::ApiKey => 10003,
            Self::Signature => 10004,
            Self::RateLimit => 10006,
            Self::Internal(_) => 10016,
            Self::OrderNotFound => 110001,
            Self::PriceRange => 110003,
            Self::InsufficientBalance => 110007,
            Self::LeverageTooHigh => 110013,
            Self::ReduceOnly => 110017,
            Self::TooManyOrders => 110020,
            Self::LeverageUnchanged => 110043,
            Self::BelowFilled => 110063,
            Self::DuplicateLinkId => 110072,
            Self::BelowMinimumValue(_) => 110094,
        }
    }
}
