//! The venue's stream: tells in order what happened, while it is up.

use execution_core::Input;

use crate::cast::Who;
use crate::planted::Bug;
use crate::venue::{Pushed, Signature};
use crate::world::{Event, MS, World};

impl World {
    pub(crate) fn connect(&mut self, boot: u64, number: u64, text: &str, signature: &Signature) {
        if let Some(life) = self.execution.as_mut() {
            life.calls.remove(&number);
        }
        if !self.venue.login(text, signature) {
            return self.check_venue();
        }
        self.venue_streams += 1;
        let stream = self.venue_streams;
        self.venue_stream = Some((boot, stream));
        let at = self.in_lane();
        self.schedule(at, Event::Connected(boot, stream));
    }

    /// The stream keeps its order.
    fn in_lane(&mut self) -> u64 {
        let slow = self.chaos() && self.random.chance(self.plan.venue / 4);
        let delay = self.random.between(1, if slow { 1_500 } else { 25 }) * MS;
        self.venue_lane = self.venue_lane.max(self.now + delay);
        self.venue_lane - self.now
    }

    /// What the venue has to tell goes to the stream that is up, or nowhere.
    pub(crate) fn push_stream(&mut self) {
        for pushed in std::mem::take(&mut self.venue.pushed) {
            let Some((boot, stream)) = self.venue_stream else {
                self.trace.count("event that no stream told");
                continue;
            };
            let after = self.in_lane();
            self.schedule(after, Event::Push(boot, stream, pushed));
        }
    }

    pub(crate) fn stream_connected(&mut self, boot: u64, stream: u64) {
        if self.lives(Who::Execution, boot) && self.venue_stream == Some((boot, stream)) {
            self.execution_step(Input::StreamUp);
        }
    }

    pub(crate) fn stream_pushed(&mut self, boot: u64, stream: u64, pushed: Pushed) {
        if !self.lives(Who::Execution, boot) || self.venue_stream != Some((boot, stream)) {
            return;
        }
        match pushed {
            Pushed::Order(mut order) => {
                self.hear(&mut order);
                self.execution_step(Input::Venue(order));
            }
            Pushed::Fill(fill) if self.hides(&fill) => {}
            Pushed::Fill(fill) => {
                if self.has(Bug::BooksFillsTwice) {
                    let mut again = fill.clone();
                    let id = format!("{}-again", fill.execution);
                    if let Ok(id) = portcullis_domain::VenueExecutionId::new(&id) {
                        again.execution = id;
                    }
                    self.execution_step(Input::VenueFill(again));
                }
                self.execution_step(Input::VenueFill(fill));
            }
        }
    }

    pub(crate) fn stream_disconnected(&mut self, boot: u64, _stream: u64) {
        if self.lives(Who::Execution, boot) {
            if let Some(life) = self.execution.as_mut() {
                life.requests.network.failed += 1;
            }
            self.execution_step(Input::StreamLost);
            let after = self.random.between(50, 800) * MS;
            self.schedule(after, Event::Login(boot));
        }
    }
}
