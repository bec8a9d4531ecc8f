//! Subjects come from the one table: nobody names another publisher for a line of it.

use core::marker::PhantomData;

use portcullis_wire::messages::Permit;
use portcullis_wire::principal::Brain;
use portcullis_wire::subjects::{PERMIT, Subject};

pub fn own() -> Subject<Brain, Permit> {
    Subject {
        row: PERMIT.row,
        types: PhantomData,
    }
}

fn main() {}
