//! What a change of keys has done, what it has not, and what is left to do by hand.

use std::path::Path;

use portcullis_domain::PrincipalName;
use portcullis_runtime::identity::is_production;
use portcullis_runtime::identity::store::{Changed, Facts};

use super::effect::LocalStack;
use super::server;
use crate::feed::now;
use crate::folder::Folder;
use crate::output::{Output, rfc3339};

pub(super) fn epoch_words(changed: &Changed) -> String {
    let epoch = changed.epoch;
    epoch.map_or_else(String::new, |epoch| format!("epoch {epoch}"))
}

pub(super) fn names(changed: &Changed) -> Vec<String> {
    let left = changed.left.iter();
    left.map(|left| left.name.to_string()).collect()
}

pub(super) fn left_words(changed: &Changed) -> String {
    let names = names(changed).join(", ");
    format!("{}; not in the bundle of {names}", epoch_words(changed))
}

/// Says what was not as usual.
pub(super) fn say_how(changed: &Changed, output: &Output) {
    if changed.carried_on {
        output.talk("carried on what an interrupted command had begun");
    }
    if changed.after_another {
        output.talk(
            "an interrupted command had begun another change, or this one in another rhythm or too \
             long ago: that was carried on, and then this one was made",
        );
    }
    for left in &changed.left {
        output.line(&format!("  not done for {}: {}", left.name, left.problem));
    }
}

pub(super) fn say_next(steps: &[String], output: &Output) {
    for line in steps {
        output.line(&format!("next step: {line}"));
    }
}

pub(super) fn key_step(key: &Path, name: PrincipalName) -> String {
    format!(
        "bring {} to the secret store of {name}, before its bundle; where that is a systemd \
         credential, restart the unit after both",
        key.display()
    )
}

/// What is left to do by hand: nothing where everything is done and the stack runs here.
pub(super) fn next_step(folder: &Folder, changed: &Changed, wrote: bool) -> Vec<String> {
    let left = changed.left.iter();
    let again = left.map(|left| {
        format!(
            "for {}: {}, or bring its bundle back from a copy, and run the same command again; or \
             revoke it: portcullis keys revoke {}",
            left.name, left.next_step, left.name
        )
    });
    let mut steps: Vec<_> = again.collect();
    steps.extend(hand_out_steps(folder, changed, wrote));
    steps
}

fn hand_out_steps(folder: &Folder, changed: &Changed, wrote: bool) -> Vec<String> {
    if LocalStack::find(folder).is_some() {
        return Vec::new();
    }
    let path = folder.path();
    let facts = Facts::read(&folder.identities());
    let is_production = facts.is_ok_and(|facts| is_production(facts.realm));
    if path.join("complete").exists() {
        // The authority of a deployment in containers.
        let volumes = path.parent().unwrap_or(path).display();
        let mut steps = vec![format!(
            "hand them out: portcullis container init --config CONFIG --volumes {volumes}; on \
             Kubernetes then scripts/kubernetes-secrets {volumes} | kubectl apply -f -"
        )];
        if changed.server {
            steps.push(
                "reload the bus: docker compose kill -s HUP nats; on Kubernetes kubectl exec -n \
                 portcullis nats-0 -- kill -HUP 1"
                    .to_owned(),
            );
        }
        return steps;
    }
    if !is_production && folder.run().exists() {
        return vec![
            "none: nothing runs from this folder, and the next start uses them".to_owned(),
        ];
    }
    let mut steps = vec![format!(
        "bring each bundle.sealed below {} to the host of its service",
        folder.identities().display()
    )];
    if changed.server && wrote {
        let file = server::file(folder).display().to_string();
        steps.push(format!(
            "bring {file} to the bus and send nats-server SIGHUP"
        ));
        if changed.earlier_until > now() {
            let at = rfc3339(changed.earlier_until);
            let dir = path.display();
            steps.push(format!(
                "after {at} take the earlier NKey out of it: portcullis keys apply --dir {dir}"
            ));
        }
    }
    steps
}
