//! What a person or a script reads: data on stdout, talk on stderr, colours where they help.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_domain::{Span, Timestamp};
use serde_json::{Value, json};

use crate::exit::Failure;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set or the terminal is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a piece of text means; never told by its colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Attention,
    /// Wrong, or stopped.
    Bad,
    /// Less important than the rest.
    Quiet,
    /// The head of a table or a section.
    Head,
}

/// Where a command writes.
#[derive(Debug)]
pub struct Output {
    json: bool,
    colour: bool,
    terminal: bool,
    closed: AtomicBool,
}

impl Output {
    /// Decides by the options, the environment and what stdout is.
    #[must_use]
    pub fn new(json: bool, colour: Colour) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !set("NO_COLOR") && !dumb,
        };
        Self::of(json, colour && !json, terminal && !dumb)
    }

    /// With everything decided; for tests.
    #[must_use]
    pub const fn of(json: bool, colour: bool, terminal: bool) -> Self {
        Self {
            json,
            colour,
            terminal,
            closed: AtomicBool::new(false),
        }
    }

    /// Whether a script reads this.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the cursor can be moved.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.terminal && !self.json
    }

    /// Whether nobody reads stdout any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Marks a text by what it means.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Attention => "33",
            Tone::Bad => "1;31",
            Tone::Quiet => "2",
            Tone::Head => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// One line of data, for people.
    pub fn line(&self, text: &str) {
        if !self.json {
            self.write(text, "\n");
        }
    }

    /// Data without an end of line: what moves the cursor.
    pub fn raw(&self, text: &str) {
        if !self.json {
            self.write(text, "");
        }
    }

    /// One JSON object on a line, for scripts. `schema` names its form: `portcullis.<what>/1`.
    pub fn object(&self, schema: &str, mut value: Value) {
        if !self.json {
            return;
        }
        if let Value::Object(fields) = &mut value {
            fields.insert("schema".to_owned(), Value::String(schema.to_owned()));
        }
        self.write(&value.to_string(), "\n");
    }

    /// Talk: progress and warnings, on stderr; not for scripts.
    pub fn talk(&self, text: &str) {
        // With a stderr that is gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Says what failed and what to do next; the only place where errors are printed.
    pub fn failure(&self, failure: &Failure) {
        self.object(
            "portcullis.error/1",
            json!({
                "exit_code": failure.end.code(),
                "error": failure.to_string(),
                "next_step": failure.next_step,
            }),
        );
        let (head, body) = (self.paint(Tone::Bad, "error:"), failure.to_string());
        self.talk(&format!("{head} {body}\nnext step: {}", failure.next_step));
    }

    fn write(&self, text: &str, end: &str) {
        let mut stdout = io::stdout().lock();
        let written = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
        if written.is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }
}

/// Columns under their heads; a column of numbers is set to the right.
#[derive(Debug)]
pub struct Table {
    heads: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A head that begins with `>` belongs to a column of numbers.
    #[must_use]
    pub fn new(heads: &[&'static str]) -> Self {
        Self {
            heads: heads
                .iter()
                .map(|head| head.trim_start_matches('>'))
                .collect(),
            right: heads.iter().map(|head| head.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, the head first.
    #[must_use]
    pub fn lines(&self, output: &Output) -> Vec<String> {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| width_of(head)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(width_of(cell));
            }
        }
        let joined = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, width), right) in cells.zip(&widths).zip(&self.right) {
                let fill = " ".repeat(width.saturating_sub(width_of(cell)));
                // Writing to a String does not fail.
                let _ = if *right {
                    write!(line, "{fill}{cell}  ")
                } else {
                    write!(line, "{cell}{fill}  ")
                };
            }
            line.trim_end().to_owned()
        };
        let head = joined(&mut self.heads.iter().copied());
        let mut lines = vec![output.paint(Tone::Head, &head)];
        for row in &self.rows {
            lines.push(joined(&mut row.iter().map(String::as_str)));
        }
        lines
    }
}

/// How many places a cell takes on a screen: what colours it takes none.
fn width_of(cell: &str) -> usize {
    let mut colour = false;
    let visible = cell.chars().filter(|character| match character {
        '\x1b' => {
            colour = true;
            false
        }
        'm' if colour => {
            colour = false;
            false
        }
        _ => !colour,
    });
    visible.count()
}

/// A length of time for people, to a whole unit: `42 s`, `3 min`, `2 h`.
#[must_use]
pub fn span_words(span: Span) -> String {
    let seconds = span.as_millis() / 1_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// A moment as RFC 3339 has it, by UTC, to the millisecond.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let millis = at.as_millis();
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The time of the day by UTC, to the second.
#[must_use]
pub fn clock_time(at: Timestamp) -> String {
    rfc3339(at).get(11..19).unwrap_or_default().to_owned()
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
/// Counted from 0000-03-01 in eras of 400 years, so that the leap day is the last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, in_era) = (shifted / 146_097, shifted % 146_097);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_046_400_000, "2026-11-19T00:00:00.000Z"),
        ];
        for (millis, expected) in cases {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), expected);
        }
        assert_eq!(
            clock_time(Timestamp::from_millis(1_709_251_199_999)),
            "23:59:59"
        );
    }

    #[test]
    fn a_table_lines_its_columns_up() {
        let mut table = Table::new(&["symbol", ">quantity"]);
        table.row(vec!["XRPUSDT".into(), "1.5".into()]);
        table.row(vec!["BTC".into(), "100".into()]);
        let lines = table.lines(&Output::of(false, false, false));
        assert_eq!(
            lines,
            [
                "symbol   quantity",
                "XRPUSDT       1.5",
                "BTC           100"
            ]
        );
    }

    #[test]
    fn a_colour_takes_no_place_in_a_column() {
        let coloured = Output::of(false, true, true);
        let mut table = Table::new(&["a", "b"]);
        table.row(vec![coloured.paint(Tone::Bad, "long"), "x".into()]);
        table.row(vec!["mm".into(), "y".into()]);
        let lines = table.lines(&Output::of(false, false, false));
        assert_eq!(lines[1..], ["\x1b[1;31mlong\x1b[0m  x", "mm    y"]);
    }

    #[test]
    fn nothing_is_coloured_without_leave() {
        assert_eq!(Output::of(false, false, true).paint(Tone::Bad, "x"), "x");
        assert_eq!(
            Output::of(false, true, true).paint(Tone::Bad, "x"),
            "\x1b[1;31mx\x1b[0m"
        );
    }
}
