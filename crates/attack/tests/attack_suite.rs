//! Every single attacker with every goal: nothing red, and every cell as the page says. The bus server
//! and those who work together take as long again, and are played by `cargo xtask attack`.

use portcullis_attack::stage::Stage;
use portcullis_attack::suite::{ATTACKERS, Selection, run};
use portcullis_attack::{report, stack};

/// Fewer cells would show less than was promised.
const CELLS_MIN: usize = 80;

#[test]
fn attack_suite() {
    let mut stage = Stage::start().unwrap();
    let selection = Selection {
        attackers: ATTACKERS
            .iter()
            .map(|attacker| attacker.key.to_owned())
            .collect(),
        ..Selection::default()
    };
    let cells = run(&mut stage, &selection, |cell| {
        eprintln!("{}", report::line(cell));
    })
    .unwrap();
    stage.check_log().unwrap();
    let (shown, red) = report::summary(&cells);
    assert_eq!(red, 0, "red cells");
    assert!(shown >= CELLS_MIN, "{shown} cells are shown");
    let page = std::fs::read_to_string(stack::root().join(report::PATH)).unwrap();
    let differing = report::differences(&page, &cells);
    assert!(
        differing.is_empty(),
        "the page says something else; write it anew with `cargo xtask attack --write`: {differing:#?}"
    );
}
