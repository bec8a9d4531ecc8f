//! `portcullis keys` as a process: a realm is made, shown, checked, spoiled in every way that the
//! doctor should name, rotated and revoked; and nothing of it ever prints a key.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

#[path = "keys/partly.rs"]
mod partly;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use portcullis_testkit::bundle;
use serde_json::Value;

const DEAD: &str = "dead";

/// A realm in a folder that vanishes, and everything that any command said about it.
struct World {
    root: tempfile::TempDir,
    said: String,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("config")).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/risk-policy.toml");
        fs::copy(shipped, root.path().join("config/risk-policy.toml")).unwrap();
        let said = String::new();
        Self { root, said }
    }

    /// With a realm `staging` in the folder `realm`, whose keys lie beside what they open.
    fn staging() -> Self {
        let mut world = Self::new();
        let made = world.keys("init --realm staging --dir realm");
        assert_eq!(made.code, 0, "{}", made.text);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("realm/identity").join(name)
    }

    fn keys(&mut self, line: &str) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("keys")
            .args(line.split_whitespace())
            .current_dir(self.root.path())
            .env_remove("PORTCULLIS_REALM_KEY")
            .env_remove("PORTCULLIS_IDENTITY_KEY")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = Said::of(&output);
        self.said.push_str(&said.text);
        said
    }

    fn json(&mut self, line: &str) -> (i32, Value) {
        let said = self.keys(&format!("{line} --json"));
        let last = said.stdout.lines().last().unwrap_or("null");
        (said.code, serde_json::from_str(last).unwrap())
    }

    /// Asserts that the doctor names something, with a next step, and ends so.
    fn doctor(&mut self, code: i32, what: &str, next_step: &str) {
        let (ended, value) = self.json("doctor --dir realm");
        let findings = value["findings"].as_array().unwrap();
        let named = findings.iter().any(|found| {
            found["what"].as_str().unwrap().contains(what)
                && found["next_step"].as_str().unwrap().contains(next_step)
        });
        assert!(named, "no {what:?} with {next_step:?} in {value:#}");
        assert_eq!(ended, code, "{value:#}");
    }

    fn is_clean(&mut self) {
        let (code, value) = self.json("doctor --dir realm");
        assert_eq!(code, 0, "{value:#}");
        assert_eq!(value["findings"].as_array().unwrap().len(), 0, "{value:#}");
    }
}

/// Whatever any test did, no key was printed.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let secrets = bundle::secrets(self.root.path());
        for (path, secret) in secrets {
            assert!(
                !self.said.contains(&secret),
                "{} was printed",
                path.display()
            );
        }
    }
}

struct Said {
    code: i32,
    stdout: String,
    text: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        Self {
            code: output.status.code().unwrap(),
            text: format!("{stdout}{stderr}"),
            stdout,
        }
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_realm_is_shown_and_nothing_is_wrong_with_it() {
    let mut world = World::staging();
    world.is_clean();
    let (code, value) = world.json("show --dir realm");
    assert_eq!((code, &value["realm"]), (0, &Value::from("staging")));
    assert_eq!(value["epoch_hours"], 24);
    assert_eq!(value["epochs"][0]["state"], "sealing");
    assert_eq!(value["epochs"][0]["percent"], 0);
    let principals = value["principals"].as_array().unwrap();
    assert_eq!(principals.len(), 12);
    for principal in principals {
        let nkey = principal["nkeys"][0]["public"].as_str().unwrap();
        assert!(nkey.starts_with('U') && nkey.len() == 56, "{principal}");
    }
    let table = world.keys("show --dir realm").text;
    assert!(
        table.contains("certificate until") && table.contains("strategy-trader"),
        "{table}"
    );

    let one = world.keys("show signer --dir realm").text;
    for expected in [
        "execution > signer",
        "secret `venue`: opens the venue's API keys",
        "evt.signer.signature",
        "cmd.signer.sign",
        "Revoke those at the venue first",
    ] {
        assert!(one.contains(expected), "no {expected:?} in {one}");
    }
    let nobody = world.keys("show nobody --dir realm");
    assert_eq!(nobody.code, 2);
    assert!(
        nobody.text.contains("next step: see who is there"),
        "{}",
        nobody.text
    );
}

#[test]
fn an_existing_realm_is_never_changed_by_init() {
    let mut world = World::staging();
    let before = fs::read(world.path("realm.toml")).unwrap();
    let again = world.keys("init --realm staging --dir realm");
    assert_eq!(again.code, 2);
    assert!(
        again.text.contains("holds a realm already"),
        "{}",
        again.text
    );
    assert_eq!(fs::read(world.path("realm.toml")).unwrap(), before);
}

#[test]
fn the_doctor_names_every_way_in_which_files_are_wrong() {
    let mut world = World::staging();
    let brain = world.path("brain");
    let (sealed, key) = (brain.join("bundle.sealed"), brain.join("bundle.key"));
    let kept = (fs::read(&sealed).unwrap(), fs::read(&key).unwrap());
    for (path, mode, right) in [
        (&sealed, 0o644, 0o600),
        (&key, 0o640, 0o600),
        (&brain, 0o755, 0o700),
    ] {
        chmod(path, mode);
        let what = format!("{} is open to others (mode {mode:04o})", path.display());
        world.doctor(1, &what, &format!("chmod {right:o} {}", path.display()));
        chmod(path, right);
    }
    for path in [&sealed, &key] {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        world.doctor(1, &format!("{} is missing", path.display()), "from a copy");
        fs::write(path, bytes).unwrap();
        chmod(path, 0o600);
    }
    fs::write(&key, DEAD.repeat(16)).unwrap();
    world.doctor(1, "the bundle of brain does not open", "");
    fs::write(&key, &kept.1).unwrap();

    let others = world.path("execution");
    fs::copy(others.join("bundle.sealed"), &sealed).unwrap();
    fs::copy(others.join("bundle.key"), &key).unwrap();
    world.doctor(
        1,
        "is the bundle of execution in realm staging",
        "put the bundle of brain",
    );
    fs::write(&sealed, &kept.0).unwrap();
    fs::write(&key, &kept.1).unwrap();
    world.is_clean();

    let stranger = world.path("mallory");
    fs::create_dir(&stranger).unwrap();
    chmod(&stranger, 0o700);
    world.doctor(8, "belongs to nobody of this realm", "rm -r");
    fs::remove_dir(&stranger).unwrap();

    let left = world.path("brain/bundle.sealed.new");
    fs::write(&left, "half").unwrap();
    chmod(&left, 0o600);
    world.doctor(
        8,
        "was left by a command that was interrupted",
        "run that command again",
    );
    fs::remove_file(&left).unwrap();

    let roots = world.path("roots.key");
    let bytes = fs::read(&roots).unwrap();
    fs::write(&roots, DEAD.repeat(16)).unwrap();
    world.doctor(1, "the roots do not open", "");
    fs::write(&roots, bytes).unwrap();

    let facts = world.path("realm.toml");
    let text = fs::read_to_string(&facts).unwrap();
    fs::write(&facts, "realm = 1").unwrap();
    world.doctor(1, "the facts of the realm are not readable", "");
    fs::write(&facts, text).unwrap();
    world.is_clean();
}

#[test]
fn the_doctor_names_keys_that_do_not_fit_each_other() {
    let mut world = World::staging();
    let brain = world.path("brain");
    let kept = fs::read(brain.join("bundle.sealed")).unwrap();
    let restore = || fs::write(brain.join("bundle.sealed"), &kept).unwrap();

    bundle::change(&brain, |text| {
        let links = text["link"].as_array_mut().unwrap();
        let is_order = |link: &toml::Value| {
            link["source"].as_str() == Some("brain") && link["audience"].as_str() == Some("signer")
        };
        links.retain(|link| !is_order(link));
    });
    world.doctor(
        1,
        "the ends of brain > signer are out of step: brain has no key",
        "keys rotate",
    );
    restore();

    bundle::change(&brain, |text| {
        let links = text["link"].as_array_mut().unwrap();
        links[0]["key"] = DEAD.repeat(16).into();
    });
    world.doctor(1, "are out of step", "keys rotate");
    restore();

    bundle::change(&brain, |text| {
        let links = text["link"].as_array_mut().unwrap();
        let mut foreign = links[0].clone();
        foreign["source"] = "execution".into();
        foreign["audience"] = "signer".into();
        links.push(foreign);
    });
    world.doctor(
        1,
        "holds a key of execution for signer, which is neither",
        "",
    );
    restore();

    bundle::change(&brain, |text| {
        let links = text["link"].as_array_mut().unwrap();
        let mut own = links[0].clone();
        own["source"] = "brain".into();
        own["audience"] = "market-data".into();
        links.push(own);
    });
    world.doctor(
        1,
        "holds keys of brain > market-data, a link that there is not",
        "keys rotate",
    );
    restore();

    let other = world.path("execution");
    bundle::take(&brain, &other, &["nkey_seed"]);
    world.doctor(
        1,
        "the bundle of brain has an NKey that the realm does not know",
        "from a copy",
    );
    restore();

    let config = world.root.path().join("realm/nats/nats.conf");
    let text = fs::read_to_string(&config).unwrap();
    let nkey = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("nkey: "))
        .unwrap();
    let foreign = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    assert_eq!(foreign.len(), nkey.len());
    fs::write(&config, text.replacen(nkey, foreign, 1)).unwrap();
    world.doctor(1, "which no bundle has", "portcullis keys apply");
    world.doctor(
        1,
        "does not admit monitor with its NKey",
        "portcullis keys apply",
    );
    let applied = world.keys("apply --dir realm");
    assert_eq!(applied.code, 0, "{}", applied.text);
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
    world.is_clean();
}

#[test]
fn the_doctor_names_age_and_a_clock_that_is_behind() {
    let mut world = World::staging();
    let facts = world.path("realm.toml");
    let text = fs::read_to_string(&facts).unwrap();
    let value = |key: &str| {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(&format!("{key} = ")));
        line.unwrap().parse::<u64>().unwrap()
    };
    let (made, life) = (value("made_at"), value("epoch_life"));
    let aged = |by: u64| text.replace(&made.to_string(), &(made - by).to_string());
    // A warning everywhere, an error in a production realm only.
    fs::write(&facts, aged(life / 10 * 9)).unwrap();
    world.doctor(8, "epoch 1 is at 9", "portcullis keys rotate");
    fs::write(&facts, aged(life * 2)).unwrap();
    world.doctor(8, "epoch 1 is at 200 %", "portcullis keys rotate");
    let future = text.replace(&made.to_string(), &(made + life).to_string());
    fs::write(&facts, future).unwrap();
    world.doctor(1, "this machine's clock says", "set the clock");
    fs::write(&facts, &text).unwrap();
    world.is_clean();
}

#[test]
fn a_production_realm_keeps_every_key_away_from_what_it_opens() {
    let mut world = World::new();
    let refused = world.keys("init --realm prod --dir realm");
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .text
            .contains("--bundle-keys FOLDER and --realm-key FILE"),
        "{}",
        refused.text
    );
    assert!(!world.root.path().join("realm/identity").exists());

    let options = "--bundle-keys safe/keys --realm-key safe/roots.key";
    fs::create_dir(world.root.path().join("safe")).unwrap();
    let made = world.keys(&format!(
        "init --realm prod --dir realm --operator alice --operator bob --strategy carry {options}"
    ));
    assert_eq!(made.code, 0, "{}", made.text);
    for (path, _) in bundle_files(&world.path("")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            name != "bundle.key" && name != "roots.key",
            "{}",
            path.display()
        );
    }
    let doctor = world.keys(&format!("doctor --dir realm {options}"));
    assert_eq!(doctor.code, 0, "{}", doctor.text);
    let blind = world.keys("doctor --dir realm");
    assert_eq!(blind.code, 0, "{}", blind.text);
    assert!(
        blind.text.contains("left out the bundle of brain"),
        "{}",
        blind.text
    );

    let beside = world.path("brain/bundle.key");
    fs::copy(world.root.path().join("safe/keys/brain.key"), &beside).unwrap();
    chmod(&beside, 0o600);
    let doctor = world.keys(&format!("doctor --dir realm {options}"));
    assert_eq!(doctor.code, 1);
    let named = "lies beside the bundle that it opens  ->  move it to the secret store of brain";
    assert!(doctor.text.contains(named), "{}", doctor.text);
    fs::remove_file(&beside).unwrap();

    let without = world.keys("rotate --dir realm --yes");
    assert_eq!(without.code, 2);
    assert!(
        without.text.contains("--realm-key FILE"),
        "{}",
        without.text
    );
    let rotated = world.keys("rotate --dir realm --yes --realm-key safe/roots.key");
    assert_eq!(rotated.code, 0, "{}", rotated.text);
    assert!(
        rotated.text.contains("bring each bundle.sealed"),
        "{}",
        rotated.text
    );
    let revoked = world.keys("revoke operator-alice --dir realm --yes --realm-key safe/roots.key");
    assert_eq!(revoked.code, 0, "{}", revoked.text);
    assert!(
        revoked.text.contains("send nats-server SIGHUP"),
        "{}",
        revoked.text
    );
    let doctor = world.keys(&format!("doctor --dir realm {options}"));
    let named = "operator-alice is revoked, and ";
    assert_eq!(doctor.code, 8, "{}", doctor.text);
    assert!(doctor.text.contains(named), "{}", doctor.text);
}

fn bundle_files(below: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            found.extend(bundle_files(&entry.path()));
        } else {
            found.push((entry.path(), entry.metadata().unwrap().len()));
        }
    }
    found
}

#[test]
fn rotation_is_confirmed_and_leaves_every_two_ends_in_step() {
    let mut world = World::staging();
    let before = fs::read(world.path("brain/bundle.sealed")).unwrap();
    for line in [
        "rotate",
        "rotate brain",
        "rotate --emergency",
        "revoke strategy-trader",
    ] {
        let asked = world.keys(&format!("{line} --dir realm"));
        assert_eq!(asked.code, 2, "{line}: {}", asked.text);
        assert!(
            asked.text.contains("add --yes if it is meant"),
            "{}",
            asked.text
        );
    }
    assert_eq!(fs::read(world.path("brain/bundle.sealed")).unwrap(), before);

    let (code, value) = world.json("rotate --yes --dir realm --lead-seconds 0");
    assert_eq!((code, &value["epoch"]), (0, &Value::from(2)), "{value:#}");
    world.is_clean();
    let (_, shown) = world.json("show --dir realm");
    assert_eq!(shown["epochs"][0]["state"], "overlapping");
    assert_eq!(shown["epochs"][1]["state"], "sealing");

    let (code, value) = world.json("rotate brain --yes --dir realm");
    assert_eq!(
        (code, &value["principal"]),
        (0, &Value::from("brain")),
        "{value:#}"
    );
    let config = fs::read_to_string(world.root.path().join("realm/nats/nats.conf")).unwrap();
    let (_, brain) = world.json("show brain --dir realm");
    for nkey in brain["nkeys"].as_array().unwrap() {
        assert!(
            config.contains(nkey["public"].as_str().unwrap()),
            "both count: {brain:#}"
        );
    }
    assert_eq!(brain["nkeys"].as_array().unwrap().len(), 2);
    world.is_clean();

    let (code, _) = world.json("rotate --emergency --yes --dir realm");
    assert_eq!(code, 0);
    world.is_clean();

    let (code, _) = world.json("revoke strategy-trader --yes --dir realm");
    assert_eq!(code, 0);
    assert!(!world.path("strategy-trader/bundle.sealed").exists());
    let (_, trader) = world.json("show strategy-trader --dir realm");
    assert!(trader["revoked_at"].is_string(), "{trader:#}");
    let config = fs::read_to_string(world.root.path().join("realm/nats/nats.conf")).unwrap();
    assert!(!config.contains(trader["nkeys"][0]["public"].as_str().unwrap()));
    world.is_clean();
    let again = world.keys("revoke strategy-trader --yes --dir realm");
    assert_eq!(again.code, 2);
    assert!(
        again.text.contains("strategy-trader is revoked"),
        "{}",
        again.text
    );
    let unknown = world.keys("rotate mallory --yes --dir realm");
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.text.contains("there is no mallory in this realm"),
        "{}",
        unknown.text
    );
}

#[test]
fn wrong_use_says_what_would_be_right() {
    let mut world = World::new();
    let cases = [
        ("init", "--realm"),
        ("init --realm Not/One", "--realm"),
        ("init --realm dev --epoch-hours 0", "1..=87600"),
        ("rotate --emergency --lead-seconds 5", "cannot be used with"),
        ("revoke", "<NAME>"),
        ("show --dir nowhere", "holds no development identities"),
    ];
    for (line, expected) in cases {
        let said = world.keys(line);
        assert_eq!(said.code, 2, "{line}: {}", said.text);
        assert!(said.text.contains(expected), "{line}: {}", said.text);
    }
}
