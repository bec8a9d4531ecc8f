//! What the bus server says in its log.

use super::*;

fn place(file: u8, end: u64) -> BusPlace {
    BusPlace {
        began: Timestamp(u64::from(file)),
        file: portcullis_domain::Hash([file; 32]),
        end,
    }
}

fn denied(subject: &str) -> BusSaid {
    BusSaid::Denied {
        who: BusClient::Stranger,
        what: BusDenial::Publish,
        subject: Text::lossy(subject),
        from: Text::lossy("127.0.0.1:1"),
        at: NOW,
    }
}

fn read(rig: &mut Rig, subject: &str, place: BusPlace) -> Effects {
    let said = denied(subject);
    rig.step(Input::Bus { said, place })
}

#[test]
fn every_entry_says_how_far_the_servers_log_is_recorded() {
    let mut rig = Rig::new();
    assert_eq!(rig.core.bus_place(), None);
    let begins = BusSaid::Following(BusFollowing::Begins);
    rig.step(Input::Bus {
        said: begins,
        place: place(1, 0),
    });
    rig.notices(1).iter().for_each(|sealed| {
        rig.live(sealed);
    });
    let effects = read(&mut rig, "a", place(1, 90));
    assert_eq!(
        effects.alerts,
        [Alert::BusDenied {
            who: BusClient::Stranger,
            what: BusDenial::Publish,
            subject: Text::lossy("a"),
            from: Text::lossy("127.0.0.1:1"),
        }]
    );
    rig.step(Input::Bus {
        said: BusSaid::Server {
            event: BusEvent::Stopped,
            config: None,
            at: NOW,
        },
        place: place(1, 120),
    });
    let said = ["bus log Begins", "brain 1", "publish a", "server Stopped"];
    assert_eq!(rig.said(), said);
    let rig = rig.restarted();
    assert_eq!(rig.core.bus_place(), Some(place(1, 120)));
    assert_eq!(rig.core.counts().bus_denied, 1);
}

#[test]
fn a_line_that_is_recorded_is_not_recorded_again() {
    let mut rig = Rig::new();
    read(&mut rig, "a", place(1, 90));
    read(&mut rig, "b", place(1, 180));
    let mut rig = rig.restarted();
    for (subject, end) in [("a", 90), ("b", 180), ("c", 270)] {
        read(&mut rig, subject, place(1, end));
    }
    assert_eq!(rig.said(), ["publish a", "publish b", "publish c"]);
    // The same byte of another file is another line.
    read(&mut rig, "d", place(2, 90));
    assert_eq!(rig.said()[3], "publish d");
    assert_eq!(rig.core.counts().bus_denied, 4);
}

#[test]
fn a_flood_of_denials_is_counted_and_the_count_stands_before_what_follows() {
    let mut rig = Rig::new();
    for number in 1..=10 {
        read(&mut rig, "a", place(1, number));
    }
    assert_eq!(rig.said(), ["publish a"; 3]);
    // What is only counted is not recorded yet: a restart reads it again.
    assert_eq!(rig.core.bus_place(), Some(place(1, 3)));
    rig.now = rig.now.plus(Span::from_millis(1_000));
    let effects = read(&mut rig, "b", place(1, 11));
    assert_eq!(effects.alerts[1], Alert::BusSuppressed { count: 7 });
    assert_eq!(rig.said()[3..], ["bus suppressed 7", "publish b"]);
    for number in 12..=20 {
        read(&mut rig, "c", place(1, number));
    }
    let effects = rig.tick_after(1_000);
    assert_eq!(effects.alerts, [Alert::BusSuppressed { count: 7 }]);
    let rig = rig.restarted();
    assert_eq!(rig.core.bus_place(), Some(place(1, 20)));
    assert_eq!(rig.core.counts().bus_denied, 20);
}

#[test]
fn a_flood_on_the_bus_takes_no_room_from_refused_messages() {
    let mut rig = Rig::new();
    for number in 1..=10 {
        read(&mut rig, "a", place(1, number));
    }
    rig.step(Input::Refused {
        subject: "evt.brain.notice".into(),
        code: "BAD_SEAL",
        bytes: b"forged".to_vec(),
        path: Path::Live,
    });
    assert_eq!(rig.said()[3], "violation BAD_SEAL");
}

#[test]
fn lines_that_are_gone_are_alerted_and_named() {
    let mut rig = Rig::new();
    read(&mut rig, "a", place(1, 90));
    let said = BusSaid::Following(BusFollowing::Lost);
    let place = place(3, 0);
    let effects = rig.step(Input::Bus { said, place });
    assert_eq!(effects.alerts, [Alert::BusLogLost]);
    assert_eq!(rig.said()[1], "bus log Lost");
    assert_eq!(rig.restarted().core.bus_place(), Some(place));
}
