//! What comes back from the venue, by its answers and by its stream, on its way to the core.

use execution_core::Input;
use portcullis_runtime::{metrics, tracing};
use portcullis_wire::Text;
use portcullis_wire::messages::Notice;

use crate::bybit::StreamEvent;
use crate::shell::{Shell, ShellError};
use crate::told::{fill_of, order_of};
use crate::venue::Event;

impl Shell {
    pub(crate) async fn event(&mut self, event: Event) -> Result<(), ShellError> {
        match event {
            Event::Durable(orders) => {
                for order in orders {
                    self.step(Input::Durable(order)).await?;
                }
                Ok(())
            }
            Event::Placed { order, outcome } => self.step(Input::Placed { order, outcome }).await,
            Event::Queried {
                order,
                asked_at,
                outcome,
            } => {
                self.step(Input::Queried {
                    order,
                    asked_at,
                    outcome,
                })
                .await
            }
            Event::Account {
                asked_at,
                open,
                fills,
                positions,
                cash,
                movements,
            } => {
                self.reading_account = false;
                self.step(Input::Account {
                    asked_at,
                    open,
                    fills,
                    positions,
                    cash,
                    movements,
                })
                .await
            }
            Event::Protected(set) => self.protected(set).await,
            Event::AccountUnread => {
                self.reading_account = false;
                Ok(())
            }
        }
    }

    /// The venue cancels everything once the stream is gone, or does not. Trading goes on without it:
    /// it is the last of several nets, and most accounts cannot have it.
    async fn protected(&mut self, set: Result<(), Text>) -> Result<(), ShellError> {
        metrics::gauge!("portcullis_execution_disconnect_cancel")
            .set(f64::from(u8::from(set.is_ok())));
        match set {
            Ok(()) => {
                self.protection_refused = false;
                Ok(())
            }
            // A notice for every reconnection would only fill the log.
            Err(_) if std::mem::replace(&mut self.protection_refused, true) => Ok(()),
            Err(refusal) => {
                let detail =
                    format!("the venue will not cancel once the stream is gone: {refusal}");
                let detail = Text::lossy(&detail);
                self.notice(Notice::Warning { detail }).await
            }
        }
    }

    pub(crate) async fn streamed(&mut self, event: StreamEvent) -> Result<(), ShellError> {
        match event {
            StreamEvent::Connected => {
                tracing::info!("the venue's stream is up");
                self.streaming = true;
                self.step(Input::StreamUp).await
            }
            StreamEvent::Disconnected { detail } => {
                tracing::warn!(detail = detail.as_str(), "the venue's stream is lost");
                // Another attempt that failed loses nothing more.
                if std::mem::take(&mut self.streaming) {
                    self.venue.lost_stream();
                }
                self.step(Input::StreamLost).await
            }
            StreamEvent::Watched(Ok(())) => {
                if let Some(after_s) = self.disconnect_cancel_s {
                    self.venue.cancel_on_disconnect(after_s);
                }
                Ok(())
            }
            StreamEvent::Watched(Err(refusal)) => self.protected(Err(refusal)).await,
            StreamEvent::Malformed { detail } => {
                tracing::warn!(detail = detail.as_str(), "unreadable on the venue's stream");
                // It may have been an event: what it said has to be found out another way.
                self.venue.lost_stream();
                self.step(Input::StreamLost).await?;
                self.step(Input::StreamUp).await
            }
            StreamEvent::Order(info) => match order_of(&info) {
                Some(update) => self.step(Input::Venue(update)).await,
                None => Ok(()),
            },
            StreamEvent::Execution(execution) => match fill_of(&execution) {
                Some(fill) => self.step(Input::VenueFill(fill)).await,
                None => Ok(()),
            },
        }
    }
}
