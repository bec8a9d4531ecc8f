//! Feeds bytes to every reader of the venue's REST answers. White space around an answer changes
//! nothing, lists are bounded, and whatever is said about a bad one can be printed.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{assert_printable, chain_of};
use portcullis_venue::bybit::VenueError;
use portcullis_venue::bybit::reply::{
    Bars, CancelAllAcknowledgement, Execution, InstrumentInfo, LIST_LENGTH_MAX,
    OrderAcknowledgement, OrderInfo, Page, Position, RecentTrade, Reply, ServerTime, Transaction,
    Wallet, read,
};
use serde::de::DeserializeOwned;

fn answer<T: DeserializeOwned + Debug + PartialEq>(bytes: &[u8]) -> Option<Reply<T>> {
    let reply = match read::<T>(bytes) {
        Ok(reply) => reply,
        Err(error) => {
            assert_printable(&chain_of(&error));
            return None;
        }
    };
    let spaced = [b" \r\n\t".as_slice(), bytes, b" \n"].concat();
    assert_eq!(read::<T>(&spaced).ok().as_ref(), Some(&reply));
    if let Err(refused) = &reply.outcome {
        assert_eq!(VenueError::of_code(refused.code), Some(refused.class));
        assert_printable(&refused.to_string());
    }
    Some(reply)
}

fn page<T: DeserializeOwned + Debug + PartialEq>(bytes: &[u8]) {
    if let Some(Reply {
        outcome: Ok(page), ..
    }) = answer::<Page<T>>(bytes)
    {
        assert!(page.list.len() <= LIST_LENGTH_MAX);
        assert!(page.next.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

fuzz_target!(|bytes: &[u8]| {
    answer::<OrderAcknowledgement>(bytes);
    let _ = read::<CancelAllAcknowledgement>(bytes);
    answer::<ServerTime>(bytes);
    page::<OrderInfo>(bytes);
    page::<Position>(bytes);
    page::<Wallet>(bytes);
    page::<Transaction>(bytes);
    page::<InstrumentInfo>(bytes);
    page::<RecentTrade>(bytes);
    if let Some(Reply {
        outcome: Ok(bars), ..
    }) = answer::<Bars>(bytes)
    {
        assert!(bars.list.len() <= LIST_LENGTH_MAX);
    }
    page::<Execution>(bytes);
    let Some(Reply {
        outcome: Ok(page), ..
    }) = answer::<Page<Execution>>(bytes)
    else {
        return;
    };
    // A fill is only made of a trade, with the trade's own price and quantity.
    for execution in page.list.iter() {
        let Some(order) = execution.order else {
            continue;
        };
        if let Some(fill) = execution.fill(order) {
            assert_eq!(Some(fill.price), execution.price);
            assert_eq!(Some(fill.quantity), execution.quantity);
        }
    }
});
