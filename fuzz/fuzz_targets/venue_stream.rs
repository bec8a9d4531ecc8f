//! Feeds bytes to both readers of the venue's streams. White space around a message changes nothing,
//! lists are bounded, and whatever is said about a bad one can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{assert_printable, chain_of};
use portcullis_venue::bybit::reply::{
    LIST_LENGTH_MAX, Malformed, PrivateMessage, PublicMessage, read_private, read_public,
};

fn spaced(bytes: &[u8]) -> Vec<u8> {
    [b" \r\n\t".as_slice(), bytes, b" \n"].concat()
}

fn said(error: &Malformed) {
    assert_printable(&chain_of(error));
}

fuzz_target!(|bytes: &[u8]| {
    match read_public(bytes) {
        Ok(message) => {
            assert_eq!(read_public(&spaced(bytes)).ok().as_ref(), Some(&message));
            match message {
                PublicMessage::Answered { message, .. } => assert_printable(message.as_str()),
                PublicMessage::Depth(depth) => {
                    assert!(depth.bids.len() <= LIST_LENGTH_MAX);
                    assert!(depth.asks.len() <= LIST_LENGTH_MAX);
                    // After its restart the venue counts from one, and sends whole books.
                    assert!(depth.snapshot || depth.update != 1);
                }
                PublicMessage::Trades(trades) => assert!(trades.len() <= LIST_LENGTH_MAX),
            }
        }
        Err(error) => said(&error),
    }
    match read_private(bytes) {
        Ok(message) => {
            assert_eq!(read_private(&spaced(bytes)).ok().as_ref(), Some(&message));
            let length = match &message {
                PrivateMessage::Answered { message, .. } => {
                    assert_printable(message.as_str());
                    0
                }
                PrivateMessage::Orders(pushed) => pushed.data.len(),
                PrivateMessage::Executions(pushed) => pushed.data.len(),
                PrivateMessage::Positions(pushed) => pushed.data.len(),
                PrivateMessage::Wallets(pushed) => pushed.data.len(),
                PrivateMessage::CancelOnDisconnect => 0,
            };
            assert!(length <= LIST_LENGTH_MAX);
        }
        Err(error) => said(&error),
    }
});
