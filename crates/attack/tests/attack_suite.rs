//! Every single attacker with every goal: nothing red, and every cell as the page says. The bus server
//! and those who work together take as long again, and are played by `cargo xtask attack`.

use portcullis_attack::stage::Stage;
use portcullis_attack::suite::{ATTACKERS, Selection, run};
use portcullis_attack::{report, stack};

/// Fewer cells would show less than was promised.
const CELLS_MIN: usize = 80;

#[test]
fn attack_suite() {
    let page = std::fs::read_to_string(stack::root().join(report::PATH)).unwrap();
    let mut stage = Stage::start().unwrap();
    let selection = Selection {
        attackers: ATTACKERS
            .iter()
            .map(|attacker| attacker.key.to_owned())
            .collect(),
        ..Selection::default()
    };
    // Only what is not as it should be is said: among two hundred lines nobody would find it.
    let cells = run(&mut stage, &selection, |cell| {
        for line in report::differences(&page, std::slice::from_ref(cell)) {
            eprintln!("not as the page says: {line}");
        }
    })
    .unwrap();
    stage.check_log().unwrap();
    let (shown, red) = report::summary(&cells);
    assert_eq!(red, 0, "red cells");
    assert!(shown >= CELLS_MIN, "{shown} cells are shown");
    let differing = report::differences(&page, &cells);
    assert!(
        differing.is_empty(),
        "the page says something else; write it anew with `cargo xtask attack --write`: {differing:#?}"
    );
}
