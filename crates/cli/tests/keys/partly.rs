//! A change that cannot be made everywhere, a bundle's key that lies elsewhere, and a key that was
//! given where a path belongs.

use super::*;

#[test]
fn a_lost_bundle_stops_a_rotation_and_no_revocation() {
    let mut world = World::staging();
    let lost = world.path("signer/bundle.sealed");
    let kept = world.root.path().join("kept");
    fs::rename(&lost, &kept).unwrap();
    let facts = fs::read(world.path("realm.toml")).unwrap();
    let refused = world.keys("rotate --yes --dir realm");
    assert_eq!(refused.code, 1, "{}", refused.text);
    for expected in ["nothing was changed", "bundle of signer", "from a copy"] {
        assert!(refused.text.contains(expected), "{}", refused.text);
    }
    assert_eq!(fs::read(world.path("realm.toml")).unwrap(), facts);

    let revoked = world.keys("revoke strategy-trader --yes --dir realm");
    assert_eq!(revoked.code, 8, "{}", revoked.text);
    for expected in [
        "not done for signer",
        "next step: for signer: ",
        "portcullis keys revoke signer",
    ] {
        assert!(revoked.text.contains(expected), "{}", revoked.text);
    }
    let (_, trader) = world.json("show strategy-trader --dir realm");
    let nkey = trader["nkeys"][0]["public"].as_str().unwrap().to_owned();
    let config = fs::read_to_string(world.root.path().join("realm/nats/nats.conf")).unwrap();
    assert!(!config.contains(&nkey), "the bus is told all the same");
    world.doctor(1, "a change of keys was interrupted", "the same command");

    let (code, value) = world.json("rotate --emergency --yes --dir realm");
    assert_eq!((code, &value["not_renewed"][0]), (8, &"signer".into()));
    assert_eq!(value["after_another"], true);

    fs::rename(&kept, &lost).unwrap();
    let again = world.keys("rotate --emergency --yes --dir realm");
    assert_eq!(again.code, 0, "{}", again.text);
    assert!(
        again
            .text
            .contains("that was carried on, and then this one"),
        "{}",
        again.text
    );
    world.is_clean();
}

#[test]
fn the_new_key_of_a_bundle_goes_where_it_is_told_to() {
    let mut world = World::new();
    fs::create_dir(world.root.path().join("safe")).unwrap();
    let options = "--bundle-keys safe/keys --realm-key safe/roots.key";
    let made = world.keys(&format!("init --realm prod --dir realm {options}"));
    assert_eq!(made.code, 0, "{}", made.text);
    let key = world.root.path().join("safe/keys/brain.key");
    let (before, facts) = (
        fs::read(&key).unwrap(),
        fs::read(world.path("realm.toml")).unwrap(),
    );
    let rotate = "rotate brain --yes --dir realm --realm-key safe/roots.key";
    let refused = world.keys(rotate);
    assert_eq!(refused.code, 2, "{}", refused.text);
    let next_step = "name the folder that gets it: --bundle-keys FOLDER";
    assert!(refused.text.contains(next_step), "{}", refused.text);
    assert_eq!(fs::read(world.path("realm.toml")).unwrap(), facts);

    let rotated = world.keys(&format!("{rotate} --bundle-keys safe/keys"));
    assert_eq!(rotated.code, 0, "{}", rotated.text);
    let next_step = "next step: bring safe/keys/brain.key to the secret store of brain";
    assert!(rotated.text.contains(next_step), "{}", rotated.text);
    assert_ne!(fs::read(&key).unwrap(), before);
    let doctor = world.keys(&format!("doctor --dir realm {options}"));
    assert_eq!(doctor.code, 0, "{}", doctor.text);
    fs::write(&key, before).unwrap();
    let doctor = world.keys(&format!("doctor --dir realm {options}"));
    assert_eq!(doctor.code, 1, "the old key opens nothing any more");

    fs::copy(
        world.root.path().join("safe/roots.key"),
        world.path("nats/roots.key"),
    )
    .unwrap();
    let inside = world.keys("rotate --yes --dir realm --realm-key realm/identity/nats/roots.key");
    assert_eq!(inside.code, 2, "{}", inside.text);
    assert!(inside.text.contains("outside"), "{}", inside.text);
}

#[test]
fn a_realm_key_in_place_of_its_path_is_never_printed() {
    let world = World::staging();
    let key = fs::read_to_string(world.path("roots.key")).unwrap();
    let key = key.trim();
    let run = |line: &str, in_variable: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .arg("keys")
            .args(line.split_whitespace())
            .current_dir(world.root.path())
            .env_remove("PORTCULLIS_REALM_KEY")
            .stdin(Stdio::null());
        if in_variable {
            command.env("PORTCULLIS_REALM_KEY", key);
        } else if !line.contains("--help") {
            command.args(["--realm-key", key]);
        }
        let said = Said::of(&command.output().unwrap());
        assert!(!said.text.contains(key), "{line}, {in_variable}");
        said
    };
    for in_variable in [false, true] {
        for line in ["rotate --yes", "revoke operator-dev --yes", "doctor"] {
            let said = run(&format!("{line} --dir realm"), in_variable);
            assert_ne!(said.code, 0, "{line}");
            let why = "a key was given where the path of its file belongs";
            assert!(said.text.contains(why), "{line}: {}", said.text);
        }
    }
    for line in ["rotate --help", "revoke --help", "doctor --help"] {
        assert_eq!(run(line, true).code, 0);
    }
    let made = run("init --realm other --dir other", false);
    assert_eq!(made.code, 2, "{}", made.text);
}
