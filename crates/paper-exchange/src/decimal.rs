//! Decimals as the venue writes them: JSON strings without exponent.

use rust_decimal::Decimal;

/// Longest decimal a client or a feed may send, in characters.
pub(crate) const CHARACTERS_MAX: usize = 32;

/// Largest magnitude accepted from outside. Products of two such values stay inside `Decimal`.
const MAGNITUDE_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// Most decimals after the point accepted from outside.
const SCALE_MAX: u32 = 10;

/// Reads a non-negative decimal from outside, or `None` when it is malformed or out of bounds.
pub(crate) fn parse(text: &str) -> Option<Decimal> {
    let plain = text.len() <= CHARACTERS_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.ends_with(|last: char| last.is_ascii_digit());
    if !plain {
        return None;
    }
    let value = Decimal::from_str_exact(text).ok()?;
    (value <= MAGNITUDE_MAX && value.normalize().scale() <= SCALE_MAX).then_some(value)
}

/// The shortest text of a value: no trailing zeros.
pub(crate) fn text(value: Decimal) -> String {
    let value = value.normalize();
    if value.is_zero() {
        "0".to_owned()
    } else {
        value.to_string()
    }
}

/// The text of a value with at least `scale` decimals; never rounds.
pub(crate) fn fixed(value: Decimal, scale: u32) -> String {
    let mut value = value.normalize();
    if value.scale() < scale {
        value.rescale(scale);
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_plain_bounded_decimal() {
        for text in [
            "",
            "-1",
            "+1",
            "1e5",
            ".5",
            "NaN",
            "1_000",
            "0x1",
            "1000000001",
            " 1",
            "1 ",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(
            parse("0.00000000001"),
            None,
            "more decimals than any instrument has"
        );
        assert_eq!(
            parse("1.").or(parse("1.50")),
            Decimal::from_str_exact("1.5").ok()
        );
    }

    #[test]
    fn writes_prices_with_their_tick_and_amounts_without_zeros() {
        let value = Decimal::new(16_493_500, 3);
        assert_eq!(text(value), "16493.5");
        assert_eq!(fixed(value, 2), "16493.50");
        assert_eq!(fixed(value, 0), "16493.5");
        assert_eq!(text(Decimal::new(0, 3)), "0");
    }
}
