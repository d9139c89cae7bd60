//! What the component weighs.

use std::fs;

use procore_auth_tests::component;

use super::Bench;
use crate::{
    table::{Aim, Row, Unit},
    turns::Figures,
};

/// As in the test that enforces it.
const BUDGET: f64 = 300_000.0;

pub(crate) fn measure(_: &Bench) -> anyhow::Result<Vec<Row>> {
    component::assert_current();
    let bytes = fs::metadata(component::path())?.len();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let size = bytes as f64;
    Ok(vec![Row {
        what: "the component's size".to_owned(),
        ours: format!("{bytes} bytes"),
        baseline: "–".to_owned(),
        result: Figures::of([size]),
        unit: Unit::Bytes,
        aim: Some(Aim::AtMost(BUDGET)),
    }])
}
