//! The brain as a whole, fed with messages that were really sealed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod budgets;
mod decisions;
mod scene;
