//! What must hold of docker-compose.yml and of the Kubernetes manifests, checked without an engine and
//! without a cluster. `scripts/test-compose` runs the first for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a check and gives back what it said; fails with it.
#[expect(
    clippy::unwrap_used,
    reason = "only tests call it, and a check that does not run must end them"
)]
fn python(script: &str, arguments: &[&Path]) -> String {
    let python = std::env::var_os("PORTCULLIS_TEST_PYTHON")
        .map_or_else(|| root().join(".tools/venv/bin/python"), PathBuf::from);
    assert!(
        python.exists(),
        "no Python with the pinned checks at {}; run ./scripts/tools test, or point \
         PORTCULLIS_TEST_PYTHON at an interpreter that has scripts/requirements/deploy.txt installed",
        python.display()
    );
    let output = Command::new(python)
        .arg(root().join("deploy/tests").join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}:\n{said}{error}");
    said
}

#[test]
fn containers_are_closed_and_hold_nobody_elses_identity() {
    let said = python("compose.py", &[&root().join("docker-compose.yml")]);
    assert!(said.ends_with("services, 0 findings\n"), "{said}");
}

#[test]
fn pods_are_restricted_and_reach_only_what_they_must() {
    let said = python("kubernetes.py", &[&root().join("deploy/kubernetes")]);
    assert!(said.ends_with("documents, 0 findings\n"), "{said}");
}

/// Where kubectl is installed, what it makes of the overlay is checked as well; the files that it is
/// made from are checked everywhere.
#[test]
fn the_local_overlay_renders_to_the_same() {
    let overlay = root().join("deploy/kubernetes/overlays/local");
    let rendered = match Command::new("kubectl")
        .arg("kustomize")
        .arg(&overlay)
        .output()
    {
        Ok(rendered) => rendered,
        Err(_) => {
            println!("kubectl is not installed: only the files themselves are checked");
            return;
        }
    };
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("local.yaml");
    fs::write(&file, rendered.stdout).unwrap();
    let said = python("kubernetes.py", &[&root().join("deploy/kubernetes"), &file]);
    assert!(said.ends_with("documents, 0 findings\n"), "{said}");
}

#[test]
fn each_of_these_rules_is_seen_when_it_is_broken() {
    let files = [
        root().join("docker-compose.yml"),
        root().join("deploy/kubernetes"),
    ];
    let said = python("mutations.py", &[&files[0], &files[1]]);
    assert!(said.ends_with("rules broken, 0 not seen\n"), "{said}");
}

#[test]
fn settings_for_containers_differ_in_where_plain_text_is_allowed_and_nothing_else() {
    for name in ["execution.toml", "market-data.toml"] {
        let read = |folder: &str| fs::read_to_string(root().join(folder).join(name)).unwrap();
        let (local, containers) = (read("config"), read("deploy/config"));
        let expected = local.replace("plain_text = \"loopback\"", "plain_text = \"anywhere\"");
        assert_ne!(local, expected, "{name} says nothing about plain text");
        assert_eq!(
            containers, expected,
            "deploy/config/{name} has drifted from config/{name}"
        );
    }
}

/// Whoever lists the identities anew must list them for the image as well: a volume without a place
/// in the image belongs to root.
#[test]
fn every_volume_of_the_init_job_has_its_place_in_the_image() {
    let script = fs::read_to_string(root().join("scripts/image")).unwrap();
    let list = |name: &str| {
        let (_, rest) = script.split_once(&format!("readonly {name}=(")).unwrap();
        let (list, _) = rest.split_once(')').unwrap();
        list.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (identities, states) = (list("IDENTITIES"), list("STATES"));
    let compose = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let (_, rest) = compose.split_once("\n  init:\n").unwrap();
    let (init, _) = rest.split_once("\n  nats:\n").unwrap();
    for (kind, names) in [("identity", identities), ("state", states)] {
        let line = |name: &String| format!("      - {kind}-{name}:/portcullis/{kind}/{name}\n");
        for name in &names {
            assert!(
                init.contains(&line(name)),
                "{kind} of {name} is not mounted by the init job"
            );
        }
        let mounted = init.matches(&format!("- {kind}-")).count();
        assert_eq!(mounted, names.len(), "places and mounts of {kind}");
    }
}
