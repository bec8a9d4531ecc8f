//! Parameters of a request, from a query string or a JSON body.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use crate::decimal;
use crate::engine::refusal::Refusal;

/// Most parameters of one request.
const PARAMS_MAX: usize = 64;

/// Named values; JSON `null` and the empty string count as not given.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, Value>);

impl Params {
    /// Reads a query string. A name given twice is refused: two readers could disagree.
    pub(crate) fn query(query: &str) -> Result<Self, Refusal> {
        let mut params = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (percent_decoded(name), percent_decoded(value)) else {
                return Err(Refusal::Parameter("query string invalid"));
            };
            if params.len() >= PARAMS_MAX || params.insert(name, Value::String(value)).is_some() {
                return Err(Refusal::Parameter("query string invalid"));
            }
        }
        Ok(Self(params))
    }

    /// Reads a JSON object.
    pub(crate) fn json(body: &[u8]) -> Result<Self, Refusal> {
        let params: BTreeMap<String, Value> =
            serde_json::from_slice(body).map_err(|_| Refusal::Parameter("body is not JSON"))?;
        if params.len() > PARAMS_MAX {
            return Err(Refusal::Parameter("too many parameters"));
        }
        Ok(Self(params))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .get(name)
            .filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// A text, or `None` when it was not given.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::Parameter(name)),
        }
    }

    /// A decimal; JSON numbers are refused, because they pass through floats on their way.
    pub(crate) fn decimal(&self, name: &'static str) -> Result<Option<Decimal>, Refusal> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => decimal::parse(text)
                .map(Some)
                .ok_or(Refusal::Parameter(name)),
        }
    }

    /// A whole number, as number or text.
    pub(crate) fn integer(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                text.parse().map(Some).map_err(|_| Refusal::Parameter(name))
            }
            Some(value) => value.as_i64().map(Some).ok_or(Refusal::Parameter(name)),
        }
    }

    /// A truth value, as such or as text; `false` when not given.
    pub(crate) fn truth(&self, name: &'static str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(_) => Err(Refusal::Parameter(name)),
        }
    }

    /// `limit` between 1 and `max`.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        match self.integer("limit")? {
            None => Ok(default),
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=max).contains(limit))
                .ok_or(Refusal::Parameter("limit")),
        }
    }

    /// Refuses every category but linear.
    pub(crate) fn linear(&self) -> Result<(), Refusal> {
        match self.text("category")? {
            Some("linear") => Ok(()),
            Some("spot" | "inverse" | "option") => {
                Err(Refusal::NotSimulated("categories other than linear"))
            }
            Some(_) | None => Err(Refusal::Parameter("category")),
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_percent_signs_and_refuses_broken_ones() {
        let params = Params::query("cursor=a%3A1%2C2&x=").unwrap();
        assert_eq!(params.text("cursor"), Ok(Some("a:1,2")));
        assert_eq!(params.text("x"), Ok(None));
        for query in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=1&a=2"] {
            let refused = Params::query(query).err();
            assert_eq!(
                refused,
                Some(Refusal::Parameter("query string invalid")),
                "{query}"
            );
        }
    }

    #[test]
    fn refuses_a_price_that_is_a_json_number() {
        let params = Params::json(br#"{"qty":0.1,"price":"1.5"}"#).unwrap();
        assert_eq!(params.decimal("qty"), Err(Refusal::Parameter("qty")));
        assert_eq!(params.decimal("price"), Ok(Some(Decimal::new(15, 1))));
    }
}
