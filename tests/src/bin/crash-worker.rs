//! A process that keeps a connection alive until it is killed: see `procore_auth_tests::crash`.

use std::{env, path::PathBuf};

use procore_auth_tests::crash::worker;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().expect("workplace, name, seed");
    let (workplace, name, seed) = (PathBuf::from(next()), next(), next());
    worker::work(&workplace, &name, seed.parse().expect("a seed")).await;
}
