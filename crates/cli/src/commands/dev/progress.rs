//! The steps of a start, of a stop or of a change, one line each.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::exit::Failure;
use crate::output::{Output, Tone};

/// The form of every JSON line of `dev up`.
pub const SCHEMA: &str = "portcullis.up/1";

/// A step that has begun.
pub struct Step<'a> {
    output: &'a Output,
    schema: &'static str,
    name: String,
    since: Instant,
}

impl<'a> Step<'a> {
    /// Begins a step of `dev up`.
    pub fn begin(output: &'a Output, name: impl Into<String>) -> Self {
        Self::of(output, SCHEMA, name)
    }

    /// Begins a step of a command whose JSON lines have this form.
    pub fn of(output: &'a Output, schema: &'static str, name: impl Into<String>) -> Self {
        let step = Self {
            output,
            schema,
            name: name.into(),
            since: Instant::now(),
        };
        step.pending("");
        step
    }

    /// Says what is being waited for; only where the line can be written over.
    pub fn pending(&self, detail: &str) {
        if self.output.is_terminal() {
            let dots = self.output.paint(Tone::Quiet, "…");
            let detail = self.output.paint(Tone::Quiet, detail);
            self.output
                .raw(&format!("\r\x1b[2K  {dots}  {:<38} {detail}", self.name));
        }
    }

    /// It succeeded.
    pub fn succeeded(self, detail: &str) {
        self.end(Tone::Good, "ok", detail);
    }

    /// It did not happen, which is no failure.
    pub fn skipped(self, detail: &str) {
        self.end(Tone::Quiet, "--", detail);
    }

    /// It failed; the failure itself is printed where the command ends.
    pub fn failed(self, failure: Failure) -> Failure {
        self.end(Tone::Bad, "FAILED", "");
        failure
    }

    fn end(self, tone: Tone, word: &str, detail: &str) {
        let took = self.since.elapsed();
        if self.output.is_terminal() {
            self.output.raw("\r\x1b[2K");
        }
        let mark = self.output.paint(tone, &format!("{word:<6}"));
        let after = self.output.paint(Tone::Quiet, detail);
        let line = format!(
            "  {mark} {:<38} {:>7}  {after}",
            self.name,
            milliseconds(took)
        );
        self.output.line(line.trim_end());
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.output.object(
            self.schema,
            json!({
                "event": "step",
                "step": self.name,
                "result": match tone {
                    Tone::Good => "ok",
                    Tone::Bad => "failed",
                    Tone::Attention | Tone::Quiet | Tone::Head => "skipped",
                },
                "ms": ms,
                "detail": detail,
            }),
        );
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}
