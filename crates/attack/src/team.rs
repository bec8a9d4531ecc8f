//! Attackers that hold more than one bundle, or the bus server itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use portcullis_runtime::identity::{Bundle, BundleLink};

use crate::goals::{Phase, pairs, server as server_goals};
use crate::outcome::Outcome;
use crate::server::Server;
use crate::stage::{Stage, book_subject};
use crate::stolen::Thief;
use crate::suite::{Cell, Selection, afresh};

/// What a name in a team stands for.
const BUNDLES: &[(&str, &str)] = &[
    ("strategy", "strategy-sample"),
    ("operator", "operator-dev"),
];
/// Who has to work before whom.
const STARTING_ORDER: &[&str] = &[
    "audit",
    "market-data",
    "signer",
    "risk-guard",
    "execution",
    "brain",
];
/// The member that is no bundle.
pub const SERVER: &str = "nats-server";

/// A cell of a team.
pub struct TeamCell {
    /// Who, with `+` between them.
    pub attacker: &'static str,
    /// What for, by its short name.
    pub goal: &'static str,
    /// When it is tried.
    pub phase: Phase,
    /// Tries it.
    pub attempt: fn(&mut Team<'_>) -> Result<Outcome>,
}

/// A running stack, and everything that was stolen or taken.
pub struct Team<'a> {
    /// The stack and its observers.
    pub stage: &'a mut Stage,
    server: Option<Server>,
    thieves: BTreeMap<String, Thief>,
    taken: BTreeSet<&'static str>,
}

impl Team<'_> {
    /// The bus server.
    ///
    /// # Errors
    /// When it is not in the team.
    pub fn server(&mut self) -> Result<&mut Server> {
        self.server.as_mut().context("the server is not taken")
    }

    /// Somebody whose bundle was stolen.
    ///
    /// # Errors
    /// When nobody of that name is in the team.
    pub fn thief(&mut self, name: &str) -> Result<&mut Thief> {
        let thief = self.thieves.get_mut(name);
        thief.with_context(|| format!("no bundle of {name} was stolen"))
    }

    /// A thief, and the server or the stage beside it.
    ///
    /// # Errors
    /// As [`Self::thief`].
    pub fn with(&mut self, name: &str) -> Result<(&mut Thief, &mut Stage)> {
        let thief = self.thieves.get_mut(name);
        let thief = thief.with_context(|| format!("no bundle of {name} was stolen"))?;
        Ok((thief, &mut *self.stage))
    }

    /// The stolen keys of one link.
    ///
    /// # Errors
    /// When they are not in that bundle.
    pub fn key(&self, holder: &str, source: &str, audience: &str) -> Result<BundleLink> {
        let bundle = Bundle::open(&self.stage.loot().join(bundle_of(holder)))?;
        let mut links = bundle.links().iter();
        let found = links.find(|held| {
            held.link.source.as_str() == source && held.link.audience.as_str() == audience
        });
        found
            .cloned()
            .with_context(|| format!("{holder} has no key from {source} to {audience}"))
    }

    /// A service whose keys were used has to begin again before it is heard again.
    pub fn took(&mut self, service: &'static str) {
        self.taken.insert(service);
    }

    /// Puts everything back, so that the stack trades.
    ///
    /// # Errors
    /// When it does not.
    pub fn make_honest(&mut self) -> Result<()> {
        if let Some(server) = &mut self.server {
            server.let_pass()?;
            rejoin(self.stage)?;
        }
        let taken = std::mem::take(&mut self.taken);
        let again = STARTING_ORDER
            .iter()
            .filter(|service| taken.contains(*service));
        for service in again {
            self.stage.restart(service)?;
        }
        if !taken.is_empty() {
            self.stage.stack.wait_until_trading(Duration::from_secs(60));
        }
        // The real ones have newer starts now.
        for thief in self.thieves.values_mut() {
            thief.begin();
        }
        Ok(())
    }
}

/// The trader's connection may have ended when the server took another configuration.
///
/// # Errors
/// When it cannot join again.
pub fn rejoin(stage: &mut Stage) -> Result<()> {
    let bundle = stage.stack.folder().join("identity/strategy-trader");
    stage.trader = Thief::with(&bundle, stage.stack.port("nats"))?;
    stage.trader.listen(&book_subject())?;
    Ok(())
}

/// The bundle that a name in a team stands for.
fn bundle_of(name: &str) -> &str {
    let known = BUNDLES.iter().find(|(short, _)| *short == name);
    known.map_or(name, |(_, bundle)| bundle)
}

/// Every cell of a team.
pub fn cells() -> impl Iterator<Item = &'static TeamCell> {
    server_goals::CELLS.iter().chain(pairs::CELLS)
}

/// Who the teams are, in the order of their first cells.
#[must_use]
pub fn teams() -> Vec<&'static str> {
    let mut teams: Vec<&str> = Vec::new();
    for cell in cells() {
        if !teams.contains(&cell.attacker) {
            teams.push(cell.attacker);
        }
    }
    teams
}

/// Whether any cell of a phase is selected.
#[must_use]
pub fn wants(selection: &Selection, phase: Phase) -> bool {
    cells().any(|cell| cell.phase == phase && selection.wants(cell.attacker, cell.goal))
}

/// Runs the selected cells of a phase; `progress` hears of each one when it is done.
///
/// # Errors
/// When the stack itself fails; what an attack does wrong is a red cell.
pub fn run(
    stage: &mut Stage,
    selection: &Selection,
    phase: Phase,
    progress: &mut impl FnMut(&Cell),
) -> Result<Vec<Cell>> {
    let mut done = Vec::new();
    for attacker in teams() {
        let wanted = |cell: &&TeamCell| {
            let fits = cell.attacker == attacker && cell.phase == phase;
            fits && selection.wants(cell.attacker, cell.goal)
        };
        let wanted: Vec<&TeamCell> = cells().filter(wanted).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut team = gather(stage, attacker)?;
        for cell in wanted {
            let mut played = play(&mut team, cell);
            if phase != Phase::Kill && played.outcome.is_red() {
                // As with single attackers: only what is red on a stack of its own too is red.
                drop(team);
                afresh(stage, phase)?;
                team = gather(stage, attacker)?;
                played = play(&mut team, cell);
            }
            progress(&played);
            done.push(played);
        }
        if phase == Phase::Trading {
            team.make_honest()?;
        }
        if let Some(server) = team.server.take() {
            server.give_back()?;
            rejoin(team.stage)?;
        }
    }
    Ok(done)
}

fn play(team: &mut Team<'_>, cell: &TeamCell) -> Cell {
    let begun = Instant::now();
    let outcome = (cell.attempt)(team).and_then(|outcome| {
        team.stage.check_exchange()?;
        Ok(outcome)
    });
    let outcome = outcome.unwrap_or_else(|error| Outcome::Broken {
        evidence: format!("{error:#}"),
    });
    Cell {
        attacker: cell.attacker.into(),
        goal: cell.goal.into(),
        outcome,
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn gather<'a>(stage: &'a mut Stage, attacker: &str) -> Result<Team<'a>> {
    let mut server = None;
    let mut thieves = BTreeMap::new();
    for name in attacker.split('+') {
        if name == SERVER {
            server = Some(Server::take(stage)?);
            rejoin(stage)?;
        } else {
            thieves.insert(name.to_owned(), stage.steal(bundle_of(name))?);
        }
    }
    Ok(Team {
        stage,
        server,
        thieves,
        taken: BTreeSet::new(),
    })
}
