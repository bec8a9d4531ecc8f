//! Reads one-minute bars from CSV, plain or compressed.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use portcullis_domain::Price;

/// The most that is unpacked: a few years of bars, and no archive that fills the memory.
const BYTES_MAX: u64 = 256 << 20;
/// The first bytes of a gzip file (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The last price of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Minutes since the epoch.
    pub minute: u64,
    /// The price.
    pub close: Price,
}

/// Reads all bars, the oldest first; a heading says which column is which.
pub fn read(bytes: &[u8]) -> Result<Vec<Bar>> {
    let text = unpacked(bytes)?;
    let mut lines = text.lines().enumerate();
    let (_, heading) = lines.next().context("the file is empty")?;
    let column = |name: &str| {
        heading
            .split(',')
            .position(|of| of.trim() == name)
            .with_context(|| format!("the heading has no column `{name}`"))
    };
    let (timestamp, close) = (column("timestamp")?, column("close")?);
    let mut bars: Vec<Bar> = Vec::new();
    for (index, line) in lines {
        let bar = bar(line, timestamp, close).with_context(|| format!("line {}", index + 1))?;
        super::ensure_later(bar.minute, bars.last().map(|bar| bar.minute), index + 1)?;
        bars.push(bar);
    }
    Ok(bars)
}

fn unpacked(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    let read = if bytes.starts_with(GZIP) {
        MultiGzDecoder::new(bytes)
            .take(BYTES_MAX + 1)
            .read_to_string(&mut text)
    } else {
        bytes.take(BYTES_MAX + 1).read_to_string(&mut text)
    };
    let length = read.context("unpack as UTF-8 text")?;
    ensure!(
        u64::try_from(length)? <= BYTES_MAX,
        "the text is longer than {BYTES_MAX} bytes"
    );
    Ok(text)
}

fn bar(line: &str, timestamp: usize, close: usize) -> Result<Bar> {
    let field = |index| line.split(',').nth(index).context("a column is missing");
    let close = field(close)?;
    Ok(Bar {
        minute: minute(field(timestamp)?)?,
        close: close.parse().with_context(|| format!("price {close:?}"))?,
    })
}

/// Reads `2022-01-31 23:59:00`, with or without a `T`, places of the second and a `Z`.
fn minute(text: &str) -> Result<u64> {
    let wrong = || format!("{text:?} is no time such as 2022-01-31 23:59:00");
    let number = |from: usize, to: usize| -> Result<u64> {
        let digits = text
            .get(from..to)
            .filter(|of| of.bytes().all(|b| b.is_ascii_digit()));
        digits.with_context(wrong)?.parse().with_context(wrong)
    };
    let separator = |at: usize, of: &[&str]| text.get(at..=at).is_some_and(|s| of.contains(&s));
    let shaped = separator(4, &["-"])
        && separator(7, &["-"])
        && separator(10, &[" ", "T"])
        && separator(13, &[":"])
        && separator(16, &[":"]);
    let rest = text.get(19..).with_context(wrong)?;
    if !shaped || !rest.bytes().all(|b| matches!(b, b'.' | b'0' | b'Z')) || number(17, 19)? != 0 {
        bail!("{}, or does not start a minute", wrong());
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    ensure!(
        year >= 1970
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60,
        wrong()
    );
    Ok((days(year, month, day) * 24 + hour) * 60 + minute)
}

/// Days since 1970-01-01: years run from March, so that the leap day comes last
/// (Hinnant, `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, read::GzEncoder};

    const CSV: &str = "timestamp,open,close\n\
                       2021-12-31 23:59:00.000000,1,46377.0\n\
                       2022-01-01T00:00:00Z,1,46411.5\n";

    #[test]
    fn plain_and_packed_bars_are_the_same() {
        let plain = read(CSV.as_bytes()).unwrap();
        assert_eq!(plain.len(), 2);
        assert_eq!(plain[1].minute, 1_640_995_200 / 60);
        assert_eq!(plain[0].minute + 1, plain[1].minute);
        assert_eq!(plain[1].close, "46411.5".parse().unwrap());
        let mut packed = Vec::new();
        GzEncoder::new(CSV.as_bytes(), Compression::fast())
            .read_to_end(&mut packed)
            .unwrap();
        assert_eq!(read(&packed).unwrap(), plain);
    }

    #[test]
    fn days_follow_the_calendar() {
        let cases = [
            ("1970-01-01 00:00:00", 0),
            ("2000-02-29 00:00:00", 951_782_400),
            ("2000-03-01 00:00:00", 951_868_800),
            ("2022-02-01 05:31:00", 1_643_693_460),
        ];
        for (text, seconds) in cases {
            assert_eq!(minute(text).unwrap(), seconds / 60, "{text}");
        }
    }

    #[test]
    fn bars_that_could_mean_something_else_are_refused() {
        let cases = [
            ("", "the file is empty"),
            ("time,close\n", "no column `timestamp`"),
            ("timestamp,close\n2022-01-01 00:00:00\n", "line 2"),
            ("timestamp,close\n2022-01-01 00:00:30,1\n", "line 2"),
            ("timestamp,close\n2022-13-01 00:00:00,1\n", "line 2"),
            ("timestamp,close\n2022-01-01 00:00:00+01,1\n", "line 2"),
            ("timestamp,close\n2022-01-01 00:00:00,0\n", "line 2"),
            (
                "timestamp,close\n2022-01-01 00:00:00,1\n2022-01-01 00:00:00,1\n",
                "line 3: the bar is not later",
            ),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", read(text.as_bytes()).unwrap_err());
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
