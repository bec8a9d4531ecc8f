//! What attackers want, each with the attempts that the stolen material allows.

mod alter;
mod delay;
mod erase;
mod facts;
mod flood;
mod heartbeat;
mod intended;
pub mod kill;
mod limit;
mod loosen;
pub mod pairs;
mod permit;
mod place;
mod read;
mod realm;
mod receipt;
mod reorder;
mod restart;
mod rewrite;
pub mod server;
mod sign;
pub mod ways;

use anyhow::Result;

use crate::outcome::Outcome;
use ways::Scene;

/// When a goal is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// While the stack trades.
    Trading,
    /// Around the one kill, at the end.
    Kill,
    /// After it.
    Killed,
}

/// Something that an attacker wants.
pub struct Goal {
    /// Its short name.
    pub key: &'static str,
    /// What it is, as a verb.
    pub title: &'static str,
    /// When it is tried.
    pub phase: Phase,
    /// Tries it with the material in the scene.
    pub attempt: fn(&mut Scene) -> Result<Outcome>,
}

const fn goal(
    key: &'static str,
    title: &'static str,
    phase: Phase,
    attempt: fn(&mut Scene) -> Result<Outcome>,
) -> Goal {
    Goal {
        key,
        title,
        phase,
        attempt,
    }
}

/// Every goal, in the order in which they are tried.
pub const GOALS: &[Goal] = &[
    goal(
        "use",
        "use it as it is meant to be used",
        Phase::Trading,
        intended::attempt,
    ),
    goal(
        "place",
        "place an order that nobody permitted",
        Phase::Trading,
        place::attempt,
    ),
    goal("limit", "exceed a limit", Phase::Trading, limit::attempt),
    goal(
        "price",
        "alter the price on the way",
        Phase::Trading,
        alter::price,
    ),
    goal(
        "side",
        "alter the side on the way",
        Phase::Trading,
        alter::side,
    ),
    goal(
        "quantity",
        "alter the quantity on the way",
        Phase::Trading,
        alter::quantity,
    ),
    goal("permit", "reuse a permit", Phase::Trading, permit::attempt),
    goal(
        "sign",
        "get a signature for other bytes",
        Phase::Trading,
        sign::attempt,
    ),
    goal(
        "read",
        "read what is another link's",
        Phase::Trading,
        read::attempt,
    ),
    goal(
        "erase",
        "delete or rewrite the stream",
        Phase::Trading,
        erase::attempt,
    ),
    goal(
        "receipt",
        "forge a receipt",
        Phase::Trading,
        receipt::attempt,
    ),
    goal(
        "heartbeat",
        "forge a heartbeat",
        Phase::Trading,
        heartbeat::attempt,
    ),
    goal("loosen", "loosen a limit", Phase::Trading, loosen::attempt),
    goal(
        "delay",
        "delay beyond expiry",
        Phase::Trading,
        delay::attempt,
    ),
    goal(
        "realm",
        "replay across realms",
        Phase::Trading,
        realm::attempt,
    ),
    goal("reorder", "reorder", Phase::Trading, reorder::attempt),
    goal(
        "restart",
        "replay across a restart",
        Phase::Trading,
        restart::attempt,
    ),
    goal(
        "drop",
        "drop facts unnoticed",
        Phase::Trading,
        facts::attempt,
    ),
    goal("flood", "flood", Phase::Trading, flood::attempt),
    goal("mute", "mute a kill", Phase::Kill, kill::mute),
    goal("resume", "resume after a kill", Phase::Killed, kill::resume),
];
