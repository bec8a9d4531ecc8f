//! Real files, as the server and those who rotate logs leave them.

use std::fs::OpenOptions;
use std::io::Write as _;

use audit_core::BusDenial;

use super::*;

/// A folder with a log in it, and what was read of it.
struct Rig {
    folder: tempfile::TempDir,
    follower: Follower,
    said: Vec<String>,
    place: Option<BusPlace>,
}

impl Rig {
    /// A folder with a log that has a line which is older than anybody who follows it.
    fn new() -> Self {
        let rig = Self::empty();
        rig.write(&first(1));
        rig.write(&denied("old"));
        rig
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::new(&folder.path().join("nats.log"), Accounts::default(), None);
        Self {
            folder,
            follower,
            said: Vec::new(),
            place: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        self.write_to("nats.log", text);
    }

    fn write_to(&self, name: &str, text: &str) {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Reads all there is.
    fn look(&mut self) -> Look {
        loop {
            let mut said = Vec::new();
            let look = self.follower.look(&mut said).unwrap();
            for (said, place) in said {
                self.place = Some(place);
                self.said.push(match said {
                    BusSaid::Denied {
                        what: BusDenial::Publish,
                        subject,
                        ..
                    } => subject.as_str().to_owned(),
                    BusSaid::Denied { what, .. } => format!("{what:?}"),
                    BusSaid::Server { event, .. } => format!("{event:?}"),
                    BusSaid::Following(following) => format!("{following:?}"),
                });
            }
            if look != Look::More {
                return look;
            }
        }
    }

    /// Another process, which knows what the last one recorded.
    fn restarted(mut self) -> Self {
        self.follower = Follower::new(&self.path("nats.log"), Accounts::default(), self.place);
        self
    }
}

/// The first line of a file that the server began at this second.
fn first(second: u32) -> String {
    format!("[1] 2026/11/22 07:44:{second:02}.000000 [INF] Starting nats-server\n")
}

fn denied(subject: &str) -> String {
    format!(
        "[1] 2026/11/22 07:45:00.000000 [ERR] 127.0.0.1:1 - cid:1 - Publish Violation - Subject \
         \"{subject}\"\n"
    )
}

#[test]
fn what_was_there_before_the_first_start_is_old_and_everything_after_it_is_read() {
    let mut rig = Rig::new();
    assert_eq!(rig.look(), Look::UpToDate);
    assert_eq!(rig.said, ["Begins"]);
    rig.write(&(denied("a") + &denied("b")));
    rig.look();
    assert_eq!(rig.said, ["Begins", "a", "b"]);
    assert_eq!(rig.look(), Look::UpToDate);
    assert_eq!(rig.said.len(), 3, "nothing twice");
}

#[test]
fn what_is_written_while_nobody_follows_is_read_afterwards_and_once() {
    let mut rig = Rig::new();
    rig.look();
    rig.write(&denied("a"));
    rig.look();
    rig.write(&denied("b"));
    let mut rig = rig.restarted();
    rig.look();
    assert_eq!(rig.said, ["Begins", "a", "b"]);
}

#[test]
fn a_log_that_comes_later_is_read_from_its_start() {
    let mut rig = Rig::empty();
    assert_eq!(rig.look(), Look::Missing);
    rig.write("[1] 2026/11/22 07:44");
    assert_eq!(rig.look(), Look::Foreign, "not a whole line");
    rig.write(&(":01.000000 [INF] Starting\n".to_owned() + &denied("a")));
    assert_eq!(rig.look(), Look::UpToDate);
    assert_eq!(rig.said, ["Begins", "a"]);
    let place = rig.place.unwrap();
    assert_eq!(place.end, fs::metadata(rig.path("nats.log")).unwrap().len());
}

#[test]
fn half_a_line_waits_for_its_other_half() {
    let mut rig = Rig::new();
    rig.look();
    let line = denied("a");
    for (at, byte) in line.char_indices() {
        assert_eq!(rig.said, ["Begins"], "at byte {at}");
        rig.write(&byte.to_string());
        rig.look();
    }
    assert_eq!(rig.said, ["Begins", "a"]);
    // Nor is half a line taken for old at the first start.
    let mut rig = Rig::new();
    let (half, other) = line.split_at(70);
    rig.write(half);
    rig.look();
    rig.write(other);
    rig.look();
    assert_eq!(rig.said, ["Begins", "a"]);
}

#[test]
fn a_rotated_log_is_read_to_its_end_and_then_the_next() {
    let mut rig = Rig::new();
    rig.look();
    rig.write(&denied("a"));
    rig.rename("nats.log", "nats.log.2026.11.22.07.44.02.000000000");
    assert_eq!(rig.look(), Look::Missing, "between two files");
    assert_eq!(rig.said, ["Begins", "a"]);
    rig.write("");
    rig.look();
    rig.write_to("nats.log.2026.11.22.07.44.02.000000000", &denied("b"));
    rig.write(&(first(2) + &denied("c")));
    assert_eq!(rig.look(), Look::UpToDate);
    assert_eq!(rig.said, ["Begins", "a", "b", "NextFile", "c"]);
}

#[test]
fn every_rotation_between_two_looks_is_read_in_its_order() {
    let mut rig = Rig::new();
    rig.look();
    rig.write(&denied("a"));
    for number in [2, 3, 4] {
        let name = format!("nats.log.2026.11.22.07.44.0{number}.000000000");
        rig.rename("nats.log", &name);
        rig.write(&(first(number) + &denied(&format!("file{number}"))));
    }
    // The position is in a file that has another name now, also for another process.
    let mut rig = rig.restarted();
    rig.look();
    let expected = [
        "Begins", "a", "NextFile", "file2", "NextFile", "file3", "NextFile", "file4",
    ];
    assert_eq!(rig.said, expected);
    let mut rig = rig.restarted();
    rig.look();
    assert_eq!(rig.said, expected, "nothing twice");
}

#[test]
fn what_was_deleted_before_it_was_read_is_named_as_lost() {
    let mut rig = Rig::new();
    rig.look();
    rig.write_to("nats.log.0", &(first(0) + &denied("older")));
    let mut rig = rig.restarted();
    fs::remove_file(rig.path("nats.log")).unwrap();
    assert_eq!(rig.look(), Look::Missing);
    rig.write_to("nats.log.2", &(first(2) + &denied("b")));
    rig.write(&(first(3) + &denied("c")));
    rig.look();
    assert_eq!(rig.said, ["Begins", "Lost", "b", "NextFile", "c"]);
}

#[test]
fn a_log_that_was_cut_off_is_read_from_its_start_and_said_to_be_lost() {
    let mut rig = Rig::new();
    rig.look();
    rig.write(&denied("a"));
    rig.look();
    // Cut off and filled again beyond the place where it was.
    let again = first(2) + &denied("b").repeat(20);
    fs::write(rig.path("nats.log"), &again).unwrap();
    rig.look();
    assert_eq!(rig.said[..4], ["Begins", "a", "Lost", "b"]);
    assert_eq!(rig.said.len(), 3 + 20);
    // Cut off to nothing, and later to less than before.
    fs::write(rig.path("nats.log"), "").unwrap();
    assert_eq!(rig.look(), Look::Missing);
    rig.write(&(first(3) + &denied("c")));
    rig.look();
    assert_eq!(rig.said[23..], ["Lost", "c"]);
    // Shorter, though it begins as before.
    fs::write(rig.path("nats.log"), first(3)).unwrap();
    rig.look();
    rig.write(&denied("d"));
    rig.look();
    assert_eq!(rig.said[25..], ["Lost", "d"]);
}

#[test]
fn nothing_is_lost_when_a_log_is_copied_before_it_is_cut_off() {
    let mut rig = Rig::new();
    rig.look();
    rig.write(&denied("a"));
    fs::copy(rig.path("nats.log"), rig.path("nats.log.1")).unwrap();
    fs::write(rig.path("nats.log"), "").unwrap();
    rig.look();
    rig.write(&(first(2) + &denied("b")));
    rig.look();
    assert_eq!(rig.said, ["Begins", "a", "NextFile", "b"]);
}

#[test]
fn a_log_that_begins_with_a_very_long_line_is_one() {
    let mut rig = Rig::new();
    rig.look();
    fs::write(rig.path("nats.log"), "").unwrap();
    let hostile = r"\xff".repeat(4_000);
    rig.write(&denied(&hostile));
    rig.write(&denied("b"));
    rig.look();
    assert_eq!(rig.said[..2], ["Begins", "Lost"]);
    assert!(rig.said[2].starts_with(r"\xff\xff") && rig.said[2].ends_with('…'));
    assert_eq!(rig.said[3..], ["b"]);
}

#[test]
fn a_line_without_an_end_is_not_kept_and_what_follows_is_read() {
    let mut rig = Rig::new();
    rig.look();
    let endless = denied(&"x".repeat(1 << 20));
    let (half, other) = endless.split_at(300_000);
    rig.write(half);
    rig.look();
    assert!(rig.follower.buffer.len() <= CHUNK_LENGTH);
    let place = rig.place.unwrap();
    rig.write(other);
    rig.write(&denied("a"));
    rig.look();
    assert_eq!(rig.said, ["Begins", "Other", "a"]);
    // Whoever ended in the middle of it reads it again.
    rig.place = Some(place);
    let mut rig = rig.restarted();
    rig.look();
    assert_eq!(rig.said[3..], ["Other", "a"]);
}

#[test]
fn a_file_that_is_no_log_of_the_server_is_not_followed() {
    let mut rig = Rig::empty();
    rig.write("127.0.0.1 - - [22/Nov/2026] GET /\n");
    assert_eq!(rig.look(), Look::Foreign);
    fs::remove_file(rig.path("nats.log")).unwrap();
    fs::create_dir(rig.path("nats.log")).unwrap();
    assert_ne!(rig.look(), Look::UpToDate);
    assert!(rig.said.is_empty());
}

#[test]
fn a_log_that_may_not_be_read_is_an_error_and_is_followed_when_it_may() {
    let mut rig = Rig::new();
    rig.look();
    rig.write(&denied("a"));
    let moved = rig.path("elsewhere");
    fs::create_dir(&moved).unwrap();
    // A name that leads in a circle cannot be opened, whoever tries.
    rig.rename("nats.log", "elsewhere/nats.log");
    std::os::unix::fs::symlink(rig.path("nats.log"), rig.path("nats.log")).unwrap();
    let mut rig = rig.restarted();
    assert!(rig.follower.look(&mut Vec::new()).is_err());
    fs::remove_file(rig.path("nats.log")).unwrap();
    rig.rename("elsewhere/nats.log", "nats.log");
    rig.look();
    assert_eq!(rig.said, ["Begins", "a"]);
}

/// A line may be written, and the file put aside, between reading to the end and seeing the next.
#[test]
fn nothing_is_lost_or_doubled_while_the_server_writes_and_rotates() {
    const FILES: u32 = 150;
    const LINES: u32 = 3;
    let mut rig = Rig::new();
    rig.look();
    let begins = |number: u32| {
        let (second, micros) = (number / 1_000, number % 1_000);
        format!("[1] 2026/11/22 08:00:{second:02}.{micros:06} [INF] Starting\n")
    };
    let (path, folder) = (rig.path("nats.log"), rig.folder.path().to_owned());
    let server = std::thread::spawn(move || {
        for number in 0..FILES {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            for line in 0..LINES {
                let text = denied(&format!("{number}.{line}"));
                file.write_all(text.as_bytes()).unwrap();
            }
            fs::rename(&path, folder.join(format!("nats.log.{number:06}"))).unwrap();
            fs::write(&path, begins(number)).unwrap();
        }
    });
    while !server.is_finished() {
        rig.look();
    }
    server.join().unwrap();
    rig.look();
    let said: Vec<_> = rig.said.iter().filter(|said| said.contains('.')).collect();
    let expected: Vec<_> = (0..FILES)
        .flat_map(|number| (0..LINES).map(move |line| format!("{number}.{line}")))
        .collect();
    assert!(said.iter().copied().eq(&expected), "{} lines", said.len());
}
