//! The table: for people, as the page in `docs`, and for machines.

use crate::goals::GOALS;
use crate::outcome::{Outcome, Refused};
use crate::suite::{ATTACKERS, Cell};

/// Where the report is, below the root of the workspace.
pub const PATH: &str = "docs/attack-report.md";

/// One line about a cell, for whoever watches.
#[must_use]
pub fn line(cell: &Cell) -> String {
    let (attacker, goal) = (&cell.attacker, &cell.goal);
    let word = cell.outcome.word();
    let detail = match &cell.outcome {
        Outcome::Blocked { refused } => ways(refused),
        Outcome::Allowed { what, .. } => what.clone(),
        Outcome::NotApplicable { why } => why.clone(),
        Outcome::Broken { evidence } => evidence.clone(),
    };
    format!(
        "{attacker:<12} {goal:<10} {word:<8} {:>6} ms  {detail}",
        cell.took_ms
    )
}

fn ways(refused: &[Refused]) -> String {
    let mut places: Vec<String> = Vec::new();
    for refused in refused {
        let place = format!("{} {}", refused.at, refused.code);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.join(", ")
}

/// How many cells are shown, and how many are red.
#[must_use]
pub fn summary(cells: &[Cell]) -> (usize, usize) {
    let count = |of: fn(&Outcome) -> bool| cells.iter().filter(|cell| of(&cell.outcome)).count();
    (count(Outcome::is_shown), count(Outcome::is_red))
}

/// Cells that came out otherwise than the page says.
#[must_use]
pub fn differences(page: &str, cells: &[Cell]) -> Vec<String> {
    let differs = |cell: &&Cell| written(page, &cell.attacker, &cell.goal) != cell.outcome.word();
    cells.iter().filter(differs).map(line).collect()
}

/// What the page's matrices say of a cell.
fn written<'a>(page: &'a str, attacker: &str, goal: &str) -> &'a str {
    let begins = format!("| `{goal}`:");
    let mut column = None;
    for line in page.lines() {
        if let Some(names) = line.strip_prefix("| goal |") {
            column = names.split('|').position(|name| name.trim() == attacker);
        } else if let (Some(column), true) = (column, line.starts_with(&begins)) {
            let word = line.split('|').skip(2).nth(column);
            return word.unwrap_or_default().trim();
        }
    }
    ""
}

/// The page without the part about mutations.
#[must_use]
pub fn page(cells: &[Cell]) -> String {
    let (shown, red) = summary(cells);
    let mut out = String::new();
    let mut say = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    say("# Attack report\n");
    say(
        "What somebody can do who has stolen the complete bundle of one principal, and what not.\n",
    );
    say(
        "This page is written by a program: `cargo xtask attack --write` starts the real stack with the \
         paper\nexchange, copies each bundle away, joins the bus with the copy beside the real service, \
         and tries for\neach goal the best that this material allows. A cell says *blocked* only when \
         the refusal was seen and\naudit's log has an entry about it. After every cell the exchange must \
         hold no order that audit has no\npermit for, none that differs from its permit, none above the \
         limits, and none after the kill. The circuit\nbreakers take a thousand failures within a second to trip, so that \
         every attack meets the checks behind them.\nWhat comes out red is played once more on a stack of its own,\n\
         and is red if it is so again. The test `attack_suite` plays all of it that one attacker does alone, and\n\
         compares what came out with this page.\n",
    );
    let total = cells.len();
    say(&format!(
        "{total} cells: {shown} blocked or allowed as written here, {red} red, {} not applicable.\n",
        total.saturating_sub(shown).saturating_sub(red)
    ));
    let attackers = attackers(cells);
    let alone = |name: &&str| ATTACKERS.iter().any(|attacker| attacker.key == *name);
    say("## Matrix\n");
    let (single, teams): (Vec<&str>, Vec<&str>) = attackers.iter().partition(|name| alone(name));
    matrix(cells, &single, &mut say);
    if !teams.is_empty() {
        say("\nThe bus server, and who works together:\n");
        matrix(cells, &teams, &mut say);
    }
    for name in attackers {
        let own: Vec<&Cell> = cells.iter().filter(|cell| cell.attacker == name).collect();
        say(&format!("\n## {name}\n"));
        if let Some(attacker) = ATTACKERS.iter().find(|attacker| attacker.key == name) {
            say(&format!("Holds: {}\n", attacker.holds));
        }
        section(&own, &mut say);
    }
    out
}

/// Who attacked, in the order of their first cells.
fn attackers(cells: &[Cell]) -> Vec<&str> {
    let mut attackers: Vec<&str> = Vec::new();
    for cell in cells {
        if !attackers.contains(&cell.attacker.as_str()) {
            attackers.push(&cell.attacker);
        }
    }
    attackers
}

fn matrix(cells: &[Cell], attackers: &[&str], say: &mut impl FnMut(&str)) {
    say(&format!("| goal | {} |", attackers.join(" | ")));
    say(&format!("| --- |{}", " --- |".repeat(attackers.len())));
    for goal in GOALS {
        let words = attackers.iter().map(|attacker| {
            let cell = cells
                .iter()
                .find(|cell| cell.attacker == *attacker && cell.goal == goal.key);
            cell.map_or("", |cell| cell.outcome.word())
        });
        let words: Vec<&str> = words.collect();
        if words.iter().any(|word| !word.is_empty()) {
            let (key, title) = (goal.key, goal.title);
            say(&format!("| `{key}`: {title} | {} |", words.join(" | ")));
        }
    }
}

/// What one attacker could do, and a table of what it could not.
pub fn section(cells: &[&Cell], say: &mut impl FnMut(&str)) {
    let allowed = cells.iter().filter_map(|cell| match &cell.outcome {
        Outcome::Allowed { what, evidence, .. } => Some((what, evidence)),
        Outcome::Blocked { .. } | Outcome::NotApplicable { .. } | Outcome::Broken { .. } => None,
    });
    let allowed: Vec<_> = allowed.collect();
    if allowed.is_empty() {
        say("It could do nothing.\n");
    } else {
        say("It could:\n");
        for (what, evidence) in allowed {
            say(&format!("- {what}. *Seen:* {evidence}."));
        }
        say("");
    }
    say("| goal | way | where it ended | code | seen by | refused after | on record after |");
    say("| --- | --- | --- | --- | --- | --- | --- |");
    for cell in cells {
        let goal = GOALS.iter().find(|goal| goal.key == cell.goal);
        let title = goal.map_or(cell.goal.as_str(), |goal| goal.title);
        for refused in cell.outcome.refused() {
            say(&row(title, refused));
        }
        match &cell.outcome {
            Outcome::NotApplicable { why } => {
                say(&format!("| {title} | {why} | not applicable | | | | |"));
            }
            Outcome::Broken { evidence } => {
                say(&format!(
                    "| {title} | {} | **RED** | | | | |",
                    evidence.replace('|', "/")
                ));
            }
            Outcome::Blocked { .. } | Outcome::Allowed { .. } => {}
        }
    }
}

fn row(title: &str, refused: &Refused) -> String {
    let mut seen_by = refused.seen_by.clone();
    if refused.is_recorded() {
        seen_by.push(format!("audit (`{}`)", refused.entry));
    }
    let recorded = refused
        .recorded_ms
        .map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms"));
    format!(
        "| {title} | {} | {} | `{}` | {} | {} ms | {recorded} |",
        refused.way.replace('|', "/"),
        refused.at,
        refused.code,
        seen_by.join(", "),
        refused.refused_ms,
    )
}

/// What begins the part that this suite does not write.
const MUTATIONS: &str = "\n## Mutations\n";

/// The new page, with the part about mutations that the old one had.
#[must_use]
pub fn replace_page(old: &str, new: &str) -> String {
    match old.find(MUTATIONS) {
        Some(at) => format!("{new}{}", old.get(at..).unwrap_or_default()),
        None => new.to_owned(),
    }
}
