//! `portcullis keys show`: who has which keys, how old they are, and what a thief could do with them.

use std::path::{Path, PathBuf};

use portcullis_domain::{PrincipalName, Timestamp};
use portcullis_runtime::identity::Bundle;
use portcullis_runtime::identity::store::{EpochFacts, EpochState, Inventory, PrincipalFacts};
use portcullis_runtime::nats_config::links;
use portcullis_wire::Link;
use serde_json::{Value, json};

use super::powers::{Power, Powers};
use crate::exit::{End, Failure, OrFail as _, Outcome};
use crate::folder::Folder;
use crate::output::{Output, Table, Tone, rfc3339};

const EXAMPLES: &str = "\
EXAMPLES
  portcullis keys show                 every principal, and the epochs of the link keys
  portcullis keys show brain           its links, what its bundle holds, what a thief could do
  portcullis keys show --json | jq '.epochs[].percent'

It needs no key, except for what a bundle holds: that is looked up where its key lies. No key is ever
shown but public ones. Ages are in per cent of what the realm allows: from 80 % it is time, beyond
100 % a production realm refuses to start.";

/// Show every principal's keys, or one principal's; never a secret
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    /// Whose; everybody's without a name
    name: Option<PrincipalName>,
    /// Folder with the bundle keys [default: each beside its bundle]
    #[arg(long, value_name = "FOLDER")]
    bundle_keys: Option<PathBuf>,
}

const SCHEMA: &str = "portcullis.keys/1";
const ONE_SCHEMA: &str = "portcullis.keys-one/1";
/// The secrets that some principals use alone.
const SECRETS: [(&str, &str); 2] = [
    ("chain", "continues the audit log"),
    ("venue", "opens the venue's API keys"),
];

/// Shows them.
///
/// # Errors
/// When there is no realm, or nobody of that name.
pub fn run(show: &Show, dir: Option<&Path>, output: &Output) -> Outcome {
    let folder = Folder::find(dir)?;
    let next_step = "name the folder of a realm: --dir FOLDER";
    let inventory = Inventory::read(&folder.identities()).or_fail("read the realm", next_step)?;
    let links = links_of(&inventory);
    match show.name {
        None => everybody(&inventory, &links, output),
        Some(name) => {
            let principal = inventory.facts.principal(name).ok_or_else(|| {
                Failure::new(
                    End::Usage,
                    format!("there is no {name} in realm {}", inventory.facts.realm),
                    "see who is there: portcullis keys show",
                )
            })?;
            let held = Held::find(show, &folder, principal);
            one(&inventory, principal, &links, &held, output);
        }
    }
    Ok(End::Done)
}

/// Every link of the realm, those of who is revoked left out.
pub fn links_of(inventory: &Inventory) -> Vec<Link> {
    let facts = &inventory.facts;
    let revoked = |name: PrincipalName| {
        let held = facts.principal(name);
        held.is_none_or(|held| held.revoked_at.is_some())
    };
    let mut all = facts
        .roster()
        .map(|roster| links(&roster))
        .unwrap_or_default();
    all.retain(|link| !revoked(link.source) && !revoked(link.audience));
    all
}

fn of(links: &[Link], name: PrincipalName) -> impl Iterator<Item = &Link> {
    links
        .iter()
        .filter(move |link| link.source == name || link.audience == name)
}

/// The epochs of somebody's links that seal or still count.
fn epochs_of(inventory: &Inventory, name: PrincipalName) -> impl Iterator<Item = &EpochFacts> {
    let covers = move |epoch: &&EpochFacts| epoch.only.is_none_or(|only| only == name);
    let held = inventory.facts.epoch.iter().filter(covers);
    held.filter(|epoch| inventory.epoch_state(epoch) != EpochState::Retired)
}

fn everybody(inventory: &Inventory, links: &[Link], output: &Output) {
    let facts = &inventory.facts;
    output.line(&format!(
        "realm {}   made {}   epochs last {} h",
        facts.realm,
        day(facts.made_at),
        facts.epoch_life.0 / 3_600_000_000
    ));
    output.line("");
    let mut table = Table::new(&["epoch", "state", "seals from", ">age", "of"]);
    for epoch in &facts.epoch {
        table.row(vec![
            epoch.number.to_string(),
            state_words(inventory.epoch_state(epoch)).to_owned(),
            second(epoch.seals_from),
            format!("{} %", inventory.epoch_percent(epoch)),
            epoch
                .only
                .map_or_else(|| "everybody".to_owned(), |only| format!("links of {only}")),
        ]);
    }
    table
        .lines(output)
        .iter()
        .for_each(|line| output.line(line));
    output.line("");
    let mut table = Table::new(&[
        "principal",
        "NKey",
        "certificate until",
        ">links",
        "epochs",
        "state",
    ]);
    for principal in &facts.principal {
        table.row(row(inventory, principal, links));
    }
    table
        .lines(output)
        .iter()
        .for_each(|line| output.line(line));
    findings(inventory, output);
    let principals: Vec<Value> = facts
        .principal
        .iter()
        .map(|principal| principal_json(inventory, principal, links))
        .collect();
    output.object(
        SCHEMA,
        json!({
            "realm": facts.realm.to_string(),
            "made_at": rfc3339(facts.made_at),
            "epoch_hours": facts.epoch_life.0 / 3_600_000_000,
            "epochs": facts.epoch.iter().map(|epoch| epoch_json(inventory, epoch)).collect::<Vec<_>>(),
            "principals": principals,
            "findings": inventory.findings.iter().map(|found| json!({
                "refused": found.refused, "what": found.what, "next_step": found.next_step,
            })).collect::<Vec<_>>(),
        }),
    );
}

fn findings(inventory: &Inventory, output: &Output) {
    let count = inventory.findings.len();
    if count > 0 {
        output.line("");
        let text = format!("{count} findings: portcullis keys doctor");
        output.line(&output.paint(Tone::Attention, &text));
    }
}

fn row(inventory: &Inventory, principal: &PrincipalFacts, links: &[Link]) -> Vec<String> {
    let name = principal.name;
    if let Some(at) = principal.revoked_at {
        let revoked = format!("REVOKED {}", second(at));
        let none = String::new;
        return vec![
            name.to_string(),
            none(),
            none(),
            "0".into(),
            none(),
            revoked,
        ];
    }
    let nkey = principal.nkey.last();
    let until = principal.certificate.last();
    let epochs: Vec<String> = epochs_of(inventory, name)
        .map(|epoch| epoch.number.to_string())
        .collect();
    let count = of(links, name).count();
    let counting = principal.nkey.iter();
    let counting = counting
        .filter(|key| key.counts_at(inventory.taken_at))
        .count();
    let rotating = counting > 1;
    vec![
        name.to_string(),
        nkey.map_or_else(String::new, |key| key.public.clone()),
        until.map_or_else(String::new, |held| day(held.until)),
        count.to_string(),
        if count == 0 {
            String::new()
        } else {
            epochs.join(", ")
        },
        if rotating {
            "two NKeys until the overlap ends"
        } else {
            ""
        }
        .to_owned(),
    ]
}

fn principal_json(inventory: &Inventory, principal: &PrincipalFacts, links: &[Link]) -> Value {
    let certificate = principal.certificate.last();
    let epochs = epochs_of(inventory, principal.name).map(|epoch| epoch.number);
    json!({
        "name": principal.name.to_string(),
        "revoked_at": principal.revoked_at.map(rfc3339),
        "nkeys": principal.nkey.iter().map(|key| json!({
            "public": key.public, "from": rfc3339(key.from), "until": key.until.map(rfc3339),
        })).collect::<Vec<_>>(),
        "certificate_until": certificate.map(|held| rfc3339(held.until)),
        "certificate_percent": certificate.map(|held| inventory.certificate_percent(held)),
        "signs": !principal.signing.is_empty(),
        "links": of(links, principal.name).count(),
        "epochs": epochs.collect::<Vec<_>>(),
    })
}

fn epoch_json(inventory: &Inventory, epoch: &EpochFacts) -> Value {
    json!({
        "number": epoch.number,
        "state": state_words(inventory.epoch_state(epoch)),
        "made_at": rfc3339(epoch.made_at),
        "seals_from": rfc3339(epoch.seals_from),
        "percent": inventory.epoch_percent(epoch),
        "of": epoch.only.map(|only| only.to_string()),
        "emergency": epoch.emergency,
    })
}

const fn state_words(state: EpochState) -> &'static str {
    match state {
        EpochState::Planned => "planned",
        EpochState::Sealing => "sealing",
        EpochState::Overlapping => "overlapping",
        EpochState::Retired => "retired",
    }
}

/// What is in a bundle, by name.
struct Held {
    things: Vec<String>,
    /// Why nobody looked into it.
    unopened: Option<String>,
}

impl Held {
    fn find(show: &Show, folder: &Folder, principal: &PrincipalFacts) -> Self {
        let name = principal.name;
        let key = show
            .bundle_keys
            .as_ref()
            .map(|keys| keys.join(format!("{name}.key")));
        if principal.revoked_at.is_some() {
            return Self {
                things: Vec::new(),
                unopened: Some("it is revoked".to_owned()),
            };
        }
        let opened = Bundle::open_with(&folder.identity(name.as_str()), key.as_deref());
        match opened {
            Ok(bundle) => Self {
                things: things(&bundle),
                unopened: None,
            },
            Err(cause) => Self {
                things: Vec::new(),
                unopened: Some(format!("{:#}", anyhow::Error::from(cause))),
            },
        }
    }
}

fn things(bundle: &Bundle) -> Vec<String> {
    let links = bundle.links().len();
    let mut things = vec![
        "NKey seed: who it is on the bus".to_owned(),
        "certificate and its key: admission to the bus".to_owned(),
        "certificate of the authority".to_owned(),
    ];
    if links > 0 {
        things.push(format!("{links} link keys: seal and verify messages"));
    }
    if bundle.signing_seed().is_some() {
        things.push("signing seed: what many verify".to_owned());
    }
    for (name, what) in SECRETS {
        if bundle.secret(name).is_some() {
            things.push(format!("secret `{name}`: {what}"));
        }
    }
    things
}

fn one(
    inventory: &Inventory,
    principal: &PrincipalFacts,
    links: &[Link],
    held: &Held,
    output: &Output,
) {
    let name = principal.name;
    let powers = Powers::of(&name);
    let head = |text: &str| output.line(&output.paint(Tone::Head, text));
    head(&format!("{name} in realm {}", inventory.facts.realm));
    if let Some(at) = principal.revoked_at {
        output.line(&output.paint(Tone::Bad, &format!("REVOKED {}", second(at))));
    }
    for key in &principal.nkey {
        let until = key.until.map(|at| format!(", counts until {}", second(at)));
        let from = second(key.from);
        let until = until.unwrap_or_default();
        output.line(&format!(
            "NKey          {}, used from {from}{until}",
            key.public
        ));
    }
    for certificate in &principal.certificate {
        let percent = inventory.certificate_percent(certificate);
        let until = day(certificate.until);
        let serial = &certificate.serial;
        output.line(&format!(
            "certificate   {serial}, until {until} ({percent} % of its life)"
        ));
    }
    for key in &principal.signing {
        output.line(&format!("signs with    {}", key.public));
    }
    for epoch in epochs_of(inventory, name).filter(|_| of(links, name).next().is_some()) {
        let (state, percent) = (
            state_words(inventory.epoch_state(epoch)),
            inventory.epoch_percent(epoch),
        );
        output.line(&format!(
            "epoch         {}, {state}, {percent} % of its life",
            epoch.number
        ));
    }
    let list = |title: &str, lines: &[String]| {
        output.line("");
        head(title);
        for line in lines {
            output.line(&format!("  {line}"));
        }
    };
    let mine: Vec<String> = of(links, name).map(link_words).collect();
    list(&format!("links ({})", mine.len()), &mine);
    match &held.unopened {
        None => list("its bundle holds", &held.things),
        Some(why) => list("its bundle", &[format!("was not opened: {why}")]),
    }
    list(
        "if it were stolen, a thief could",
        &[powers.in_short.to_owned()],
    );
    list(
        "publish",
        &powers.publishes.iter().map(power_words).collect::<Vec<_>>(),
    );
    list(
        "read",
        &powers.reads.iter().map(power_words).collect::<Vec<_>>(),
    );
    output.line("");
    output.line(&format!(
        "then: portcullis keys revoke {name}, or rotate {name} --emergency if it must go on"
    ));
    let mut value = principal_json(inventory, principal, links);
    if let Value::Object(fields) = &mut value {
        fields.insert("link_list".into(), json!(mine));
        fields.insert("bundle".into(), json!(held.things));
        fields.insert("bundle_unopened".into(), json!(held.unopened));
        fields.insert("if_stolen".into(), powers.json());
    }
    output.object(ONE_SCHEMA, value);
}

fn link_words(link: &Link) -> String {
    format!("{} > {}", link.source, link.audience)
}

fn power_words(power: &Power) -> String {
    let remark = match power.remark {
        "" => String::new(),
        remark => format!("  ({remark})"),
    };
    format!("{:<36} {}{remark}", power.subject, power.kind)
}

fn day(at: Timestamp) -> String {
    rfc3339(at).get(..10).unwrap_or_default().to_owned()
}

fn second(at: Timestamp) -> String {
    let text = rfc3339(at);
    format!("{}Z", text.get(..19).unwrap_or_default().replace('T', " "))
}
