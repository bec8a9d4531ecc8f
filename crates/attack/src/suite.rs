//! Runs the cells: every attacker, every goal.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::goals::ways::Scene;
use crate::goals::{GOALS, Goal, Phase, kill};
use crate::outcome::Outcome;
use crate::stage::Stage;
use crate::team;

/// Somebody with a stolen bundle.
#[derive(Clone, Copy, Debug)]
pub struct Attacker {
    /// Its short name.
    pub key: &'static str,
    /// Whose bundle it is.
    pub bundle: &'static str,
    /// What is in it, and where it stands.
    pub holds: &'static str,
}

/// Every attacker that works alone.
pub const ATTACKERS: &[Attacker] = &[
    Attacker {
        key: "strategy",
        bundle: "strategy-sample",
        holds: "NKey and certificate of `strategy-sample`; link keys to brain, and from brain, \
                risk-guard, execution and market-data. It hears books, trades and what becomes of its \
                own proposals, with the sealed orders inside.",
    },
    Attacker {
        key: "brain",
        bundle: "brain",
        holds: "NKey and certificate; link keys to risk-guard, execution, signer, audit and every \
                strategy and operator: it seals orders. It hears proposals, verdicts, reports, fills and \
                execution's account.",
    },
    Attacker {
        key: "risk-guard",
        bundle: "risk-guard",
        holds: "NKey and certificate; link keys to execution, signer and brain: it seals permits and \
                heartbeats. It hears orders, sealed for itself, execution and the signer.",
    },
    Attacker {
        key: "execution",
        bundle: "execution",
        holds: "NKey and certificate; link keys to the signer, risk-guard, brain and audit; the way to \
                the venue. It hears permits, signatures and receipts. No venue key.",
    },
    Attacker {
        key: "signer",
        bundle: "signer",
        holds: "NKey and certificate; link keys to execution and audit. It hears requests with the \
                permits inside. Without the HSM: without the venue's keys.",
    },
    Attacker {
        key: "audit",
        bundle: "audit",
        holds: "NKey and certificate; link keys to execution and operators; its signing seed, chain \
                key, log folder, and the stream's one consumer. It hears every fact.",
    },
    Attacker {
        key: "market-data",
        bundle: "market-data",
        holds: "NKey and certificate; link keys to all who read books and trades.",
    },
    Attacker {
        key: "operator",
        bundle: "operator-dev",
        holds: "NKey and certificate; link keys to risk-guard, execution and signer; a signing seed. \
                It hears what operators may know, positions among it.",
    },
    Attacker {
        key: "provisioner",
        bundle: "provisioner",
        holds: "NKey and certificate of the account that owns the stream. No link key.",
    },
    Attacker {
        key: "monitor",
        bundle: "monitor",
        holds: "NKey and certificate of the system account. No link key.",
    },
];

/// One cell of the matrix.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Who.
    pub attacker: String,
    /// What for.
    pub goal: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took in all.
    pub took_ms: u64,
}

/// Which cells to run; nothing means all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Attackers by their short names.
    pub attackers: Vec<String>,
    /// Goals by their short names.
    pub goals: Vec<String>,
    /// Cells as ATTACKER/GOAL.
    pub cells: Vec<String>,
}

impl Selection {
    fn has(list: &[String], key: &str) -> bool {
        list.is_empty() || list.iter().any(|wanted| wanted == key)
    }

    /// Whether this cell is wanted.
    #[must_use]
    pub fn wants(&self, attacker: &str, goal: &str) -> bool {
        Self::has(&self.attackers, attacker)
            && Self::has(&self.goals, goal)
            && Self::has(&self.cells, &format!("{attacker}/{goal}"))
    }
}

/// Runs the selected cells on one stack; `progress` hears of each one when it is done.
///
/// # Errors
/// When the stack itself fails; what an attack does wrong is a red cell.
pub fn run(
    stage: &mut Stage,
    selection: &Selection,
    mut progress: impl FnMut(&Cell),
) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    for phase in [Phase::Trading, Phase::Kill, Phase::Killed] {
        if phase == Phase::Killed && GOALS.iter().any(|goal| later(goal, selection)) {
            kill(stage, &mut cells);
        }
        for attacker in ATTACKERS {
            let wanted =
                |goal: &&Goal| goal.phase == phase && selection.wants(attacker.key, goal.key);
            let goals: Vec<&'static Goal> = GOALS.iter().filter(wanted).collect();
            if goals.is_empty() {
                continue;
            }
            let mut goals = goals.into_iter().peekable();
            while goals.peek().is_some() {
                let failed = play(stage, attacker, &mut goals, &mut cells, &mut progress)?;
                let Some(goal) = failed else { break };
                // Too slow a machine looks like this, and so does a stack that an earlier cell left
                // in disorder: only what is red on a stack of its own too is red.
                afresh(stage, goal.phase)?;
                let thief = stage.steal(attacker.bundle)?;
                let again = cell(&mut Scene::new(&mut *stage, thief), attacker, goal);
                progress(&again);
                cells.push(again);
            }
        }
        if phase == Phase::Trading && !cells.is_empty() && team::wants(selection, phase) {
            // A stack of their own: a supervisor restarts more slowly what ended often.
            stage.check_log()?;
            *stage = Stage::start()?;
        }
        cells.extend(team::run(stage, selection, phase, &mut progress)?);
    }
    Ok(cells)
}

/// Another stack, as it is in this phase.
///
/// # Errors
/// When it does not start, or the kill is not obeyed.
pub fn afresh(stage: &mut Stage, phase: Phase) -> Result<()> {
    *stage = Stage::start()?;
    if phase == Phase::Killed {
        kill::pull(stage)?;
    }
    Ok(())
}

/// Plays the goals of one attacker, with one theft, until they are over or one comes out red; that one
/// is given back, and is not among the cells.
fn play(
    stage: &mut Stage,
    attacker: &Attacker,
    goals: &mut impl Iterator<Item = &'static Goal>,
    cells: &mut Vec<Cell>,
    progress: &mut impl FnMut(&Cell),
) -> Result<Option<&'static Goal>> {
    let thief = stage.steal(attacker.bundle)?;
    let mut scene = Scene::new(stage, thief);
    let mut trading = false;
    for goal in goals {
        trading = goal.phase == Phase::Trading;
        let cell = cell(&mut scene, attacker, goal);
        // The one kill of this stack judges who could mute it.
        if goal.phase != Phase::Kill && cell.outcome.is_red() {
            return Ok(Some(goal));
        }
        progress(&cell);
        cells.push(cell);
    }
    if trading {
        scene.make_honest()?;
    }
    Ok(None)
}

/// Whether the kill is needed for a goal.
fn later(goal: &Goal, selection: &Selection) -> bool {
    let named = |cell: &String| {
        cell.rsplit_once('/')
            .is_some_and(|(_, named)| named == goal.key)
    };
    let wanted = selection.cells.is_empty() || selection.cells.iter().any(named);
    goal.phase != Phase::Trading && wanted && Selection::has(&selection.goals, goal.key)
}

/// The one kill. That it was muted by nobody shows only now.
fn kill(stage: &mut Stage, cells: &mut [Cell]) {
    let pulled = kill::pull(stage);
    for cell in cells.iter_mut().filter(|cell| is_muting(cell)) {
        match (&pulled, &mut cell.outcome) {
            (Ok(_), Outcome::Blocked { refused }) => {
                for refused in refused {
                    refused.seen_by.push("all three latches".into());
                }
            }
            (Err(error), outcome) => {
                *outcome = Outcome::Broken {
                    evidence: format!("the kill did not come through: {error:#}"),
                };
            }
            (Ok(_), _) => {}
        }
    }
}

fn is_muting(cell: &Cell) -> bool {
    GOALS
        .iter()
        .any(|goal| goal.key == cell.goal && goal.phase == Phase::Kill)
}

/// Runs one cell, and then looks at the exchange.
pub fn cell(scene: &mut Scene<'_>, attacker: &Attacker, goal: &Goal) -> Cell {
    let begun = Instant::now();
    let outcome = (goal.attempt)(scene).and_then(|outcome| {
        scene.stage.check_exchange()?;
        Ok(outcome)
    });
    let outcome = outcome.unwrap_or_else(|error| Outcome::Broken {
        evidence: format!("{error:#}"),
    });
    Cell {
        attacker: attacker.key.into(),
        goal: goal.key.into(),
        outcome,
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
