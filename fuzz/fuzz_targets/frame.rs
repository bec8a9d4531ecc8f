//! Feeds bytes to the readers of the envelope's outside: frames, headers and key ids. They must agree
//! with each other, and what they read must have that one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_domain::PrincipalName;
use portcullis_fuzz::{frame_in_full, header_in_full};
use portcullis_wire::{Frame, KeyId, Placed, inspect, subjects};

fn key_id(text: &str) {
    if let Ok((link, epoch)) = KeyId::parse(text) {
        assert_eq!(KeyId::new(link, epoch).as_str(), text);
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        key_id(text);
        if let Ok(name) = PrincipalName::new(text) {
            assert_eq!(name.as_str(), text);
        }
        for row in subjects::TABLE {
            if let Some(name) = row.name_in(text) {
                assert_eq!(row.pattern.replacen('*', name, 1), text);
            }
        }
    }
    let frame = Frame::parse(bytes);
    if let Ok(frame) = &frame {
        assert_eq!(frame_in_full(frame), bytes);
        frame.seals.iter().for_each(|(text, _)| key_id(text));
    }
    let placed = Placed::inspect(bytes);
    let Ok((header, body)) = inspect(bytes) else {
        return;
    };
    let frame = frame.expect("what has a header is a frame");
    assert_eq!(frame.body, body);
    assert_eq!(header_in_full(&header), frame.header);
    let placed = placed.expect("what has a header has a place");
    assert_eq!(
        (
            placed.subject,
            placed.source,
            placed.id,
            placed.boot,
            placed.seq
        ),
        (
            header.subject.as_str(),
            header.source.as_str(),
            header.id,
            header.boot,
            header.seq
        )
    );
});
