//! Does what the core said: journal first, then facts, signer and venue.

use execution_core::{Effect, Effects, Input};
use portcullis_domain::{Hash, OrderId, Reason, Timestamp};
use portcullis_runtime::{BusError, JournalError, Service, metrics, tracing};
use portcullis_wire::messages::{ExecutionReport, Notice, PermitTaken};
use portcullis_wire::subjects::{EXECUTION_NOTICE, FILL, PERMIT_TAKEN, REPORT};
use portcullis_wire::{Header, Sealed};
use sha2::{Digest, Sha256};

use crate::history::{encode_acknowledged, encode_step, encode_whole, length};
use crate::shell::{Role, Shell, ShellError, Written};

/// The journal is begun anew when it is at least so many bytes long, and
/// [`COMPACT_RATIO`] times as long as the state that it began with.
const COMPACT_LENGTH_MIN: u64 = 64 << 20;
/// See [`COMPACT_LENGTH_MIN`].
const COMPACT_RATIO: u64 = 4;

impl Shell {
    /// Does what the core said: seals the facts, writes the journal entry, and sends what need not wait.
    pub(crate) async fn perform(
        &mut self,
        step: Effects,
        now: Timestamp,
    ) -> Result<(), ShellError> {
        let mut facts: Vec<Sealed> = Vec::new();
        let mut prepared = Vec::new();
        let mut actions = Vec::new();
        for effect in step.effects {
            match effect {
                Effect::Prepare { order, permit } => {
                    let taken = PermitTaken {
                        order: order.id,
                        permit: permit.clone(),
                    };
                    let sealed = self.seal_for(&order.id, |service, cause, trace| {
                        service.seal(&PERMIT_TAKEN, None, &taken, cause, trace)
                    })?;
                    let fact = Hash(Sha256::digest(&sealed.frame).into());
                    self.core.step(
                        now,
                        Input::FactSealed {
                            order: order.id,
                            fact,
                        },
                    )?;
                    prepared.push((facts.len(), order, permit));
                    facts.push(sealed);
                }
                Effect::Report(report) => facts.push(self.report(&report)?),
                Effect::Fill(strategy, fill) => {
                    metrics::counter!("portcullis_execution_fills_total").increment(1);
                    let name = strategy.to_string();
                    facts.push(self.seal_for(&fill.order, |service, cause, trace| {
                        let parent = trace.unwrap_or_default();
                        let mut span = service.telemetry().span("execution.fill", &parent);
                        span.set("order", fill.order.to_string());
                        span.set("execution", fill.execution.to_string());
                        let trace = Some(span.traceparent());
                        service.seal(&FILL, Some(&name), &fill, cause, trace)
                    })?);
                }
                Effect::Notice(notice) => {
                    facts.push(
                        self.service
                            .seal(&EXECUTION_NOTICE, None, &notice, None, None)?,
                    );
                }
                Effect::Place { .. }
                | Effect::CancelAll { .. }
                | Effect::CancelForeign { .. }
                | Effect::Query { .. }
                | Effect::Reconcile
                | Effect::Latch(..) => actions.push(effect),
            }
        }
        if !step.records.is_empty() || !facts.is_empty() {
            let entries = encode_step(&step.records, &facts).map_err(ShellError::Encode)?;
            self.grown(&entries);
            let durable = self.journal.append(entries);
            for sealed in &facts {
                self.acknowledgements.journaled(sealed, self.facts);
                self.facts = self.facts.saturating_add(1);
            }
            // The fact of a permit is handed over at once, and the signer is asked at once: journal,
            // audit and signer work side by side, and the order waits for all three.
            let mut orders = Vec::with_capacity(prepared.len());
            for (index, order, permit) in prepared.into_iter().rev() {
                if index < facts.len() {
                    self.service.fact_sealed(facts.remove(index))?;
                }
                orders.push(order.id);
                self.ask_signature(&order, permit).await?;
            }
            let written = Written {
                durable,
                facts,
                prepared: orders,
            };
            // A disk so slow that this is full cannot carry trading.
            self.written
                .try_send(written)
                .map_err(|_| JournalError::Behind)?;
        }
        for action in actions {
            self.act(action).await?;
        }
        Ok(())
    }

    /// Keeps in the journal how far the stream has the facts.
    pub(crate) fn note_acknowledged(&mut self) -> Result<(), ShellError> {
        let through = *self.service.facts_acknowledged().borrow();
        let reached = self.acknowledgements.through(through);
        if let Some(before) = reached {
            let entry = encode_acknowledged(before).map_err(ShellError::Encode)?;
            self.journal.append_lazy(vec![entry])?;
        }
        Ok(())
    }

    /// Begins the journal anew with the state as it is, when it has grown to a multiple of that.
    pub(crate) fn compact(&mut self) -> Result<(), ShellError> {
        let most = self.state_length.saturating_mul(COMPACT_RATIO);
        if self.journal_length < most.max(COMPACT_LENGTH_MIN) {
            return Ok(());
        }
        // What the stream may lack goes into the new journal. Facts of an earlier start are not among the
        // copies, and need not be: they were sent again before the first fact of this start, which has no
        // copy either, so that copies are complete only once all of these are acknowledged.
        let Some(unacknowledged) = self.acknowledgements.copies() else {
            return Ok(());
        };
        let count = u64::try_from(unacknowledged.len()).unwrap_or(u64::MAX);
        let state = self.core.snapshot();
        let entries = encode_whole(&state, self.facts.saturating_sub(count), &unacknowledged);
        let entries = entries.map_err(ShellError::Encode)?;
        tracing::info!(
            before = self.journal_length,
            records = state.len(),
            "the journal is begun anew"
        );
        self.journal_length = 0;
        self.grown(&entries);
        self.state_length = self.journal_length;
        let written = Written {
            durable: self.journal.replace(entries),
            facts: Vec::new(),
            prepared: Vec::new(),
        };
        self.written
            .try_send(written)
            .map_err(|_| JournalError::Behind.into())
    }

    fn grown(&mut self, entries: &[Vec<u8>]) {
        let added = entries.iter().map(|entry| length(entry));
        self.journal_length = added.fold(self.journal_length, u64::saturating_add);
    }

    /// Puts a sign of life on record when one is due; by way of the journal, as everything else.
    pub(crate) async fn show_life(&mut self) -> Result<(), ShellError> {
        if self.service.is_sign_of_life_due() {
            self.notice(Notice::Alive).await?;
        }
        Ok(())
    }

    pub(crate) async fn ask_signature(
        &mut self,
        order: &portcullis_domain::Order,
        permit: Vec<u8>,
    ) -> Result<(), ShellError> {
        let story = self.stories.get(&order.id);
        let cause = story.map(|story| &story.cause);
        let trace = story.map(|story| story.traceparent.clone());
        match self.venue.ask_for_order(order, permit, cause, trace) {
            Ok(()) => Ok(()),
            Err(reason) => {
                let input = Input::Signed {
                    order: order.id,
                    answer: Err(reason),
                };
                Box::pin(self.step(input)).await
            }
        }
    }

    pub(crate) async fn act(&mut self, action: Effect) -> Result<(), ShellError> {
        match action {
            Effect::Place { order, ticket } => {
                let parent = self
                    .stories
                    .get(&order.id)
                    .map(|story| story.traceparent.clone());
                let mut span = self
                    .service
                    .telemetry()
                    .span("execution.send", parent.as_deref().unwrap_or_default());
                span.set("order", order.id.to_string());
                metrics::counter!("portcullis_execution_sent_total").increment(1);
                self.venue.place(order, ticket, span);
                Ok(())
            }
            Effect::CancelAll { symbol } => {
                self.venue.cancel_all(symbol);
                Ok(())
            }
            Effect::CancelForeign {
                symbol,
                venue_order,
            } => {
                self.venue.cancel_foreign(symbol, venue_order);
                Ok(())
            }
            Effect::Query { order, symbol } => {
                self.venue.query(order, symbol);
                Ok(())
            }
            Effect::Reconcile => {
                if !self.reading_account {
                    self.reading_account = true;
                    self.venue
                        .read_account(self.core.fills_since(), self.core.movements_since());
                }
                Ok(())
            }
            Effect::Latch(cause, detail) => Box::pin(self.pull(cause, detail)).await,
            Effect::Prepare { .. } | Effect::Report(_) | Effect::Fill(..) | Effect::Notice(_) => {
                Ok(())
            }
        }
    }

    pub(crate) fn report(&mut self, report: &ExecutionReport) -> Result<Sealed, ShellError> {
        let status = report.status.to_string();
        metrics::counter!("portcullis_execution_reports_total", "status" => status).increment(1);
        if let Some(reason) = report.reason {
            let reason = reason.code();
            metrics::counter!("portcullis_refusals_total", "reason" => reason).increment(1);
        }
        tracing::debug!(
            order = %report.order, status = %report.status,
            reason = report.reason.map(|reason| reason.code()), "order"
        );
        let name = report.strategy.to_string();
        let sealed = self.seal_for(&report.order, |service, cause, trace| {
            service.seal(&REPORT, Some(&name), report, cause, trace)
        })?;
        if report.status.is_terminal() {
            self.stories.remove(&report.order);
            let time_ran_out = matches!(
                report.reason,
                Some(Reason::NoSignature | Reason::NoReceipt | Reason::JournalUnwritable)
            );
            self.venue.forget(&report.order, time_ran_out);
        }
        Ok(sealed)
    }

    /// Seals something about an order, with what its messages have in common.
    pub(crate) fn seal_for(
        &self,
        order: &OrderId,
        seal: impl FnOnce(&Service<Role>, Option<&Header>, Option<String>) -> Result<Sealed, BusError>,
    ) -> Result<Sealed, ShellError> {
        let story = self.stories.get(order);
        let cause = story.map(|story| &story.cause);
        let trace = story.map(|story| story.traceparent.clone());
        Ok(seal(&self.service, cause, trace)?)
    }
}
