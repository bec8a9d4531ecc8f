//! Tells an operator of sources that say nothing any more.

use audit_core::Core;
use portcullis_domain::{PrincipalName, Timestamp};
use portcullis_runtime::{metrics, tracing};

/// What the core recorded.
pub fn alert(source: &PrincipalName, boot: u64, since: Timestamp) {
    tracing::error!(
        %source, boot, since = since.0,
        next_step = "see whether the service runs and is connected; if it does and is, the bus keeps its \
                     facts back",
        "nothing is heard of a source any more, and it did not say that it ends"
    );
}

/// Shows who is silent in the metrics, and in the words of audit's readiness, which it gives.
pub fn show(core: &Core) -> String {
    let mut silent = Vec::new();
    for (source, is_silent) in core.sources() {
        let value = if is_silent { 1.0 } else { 0.0 };
        metrics::gauge!("portcullis_source_silent", "source" => source.to_string()).set(value);
        if is_silent {
            silent.push(source.to_string());
        }
    }
    if silent.is_empty() {
        return "recording".to_owned();
    }
    format!("recording; nothing is heard of {}", silent.join(", "))
}
