//! The program on the real MNIST.
//!
//! This has its own main, so that its tests are visibly marked and counted as ignored if SYVA_MNIST_DIR names no
//! folder.

mod common;

use common::{Place, Ran};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let missing = std::env::var_os("SYVA_MNIST_DIR").is_none_or(|dir| dir.is_empty());
    let note = if missing { " (needs SYVA_MNIST_DIR)" } else { "" };
    let found = Trial::test(format!("mnist is found where it is named{note}"), is_found_where_it_is_named);
    libtest_mimic::run(&Arguments::from_args(), vec![found.with_ignored_flag(missing)]).exit();
}

fn is_found_where_it_is_named() -> Result<(), Failed> {
    let dir = std::env::var_os("SYVA_MNIST_DIR").ok_or("SYVA_MNIST_DIR is not set")?;
    let place = Place::new();
    let by_variable = Ran::new(place.syva(["data", "info"]).env("SYVA_MNIST_DIR", &dir).output()?).succeeds();
    let by_flag = Ran::new(place.syva(["data", "info", "--data-dir"]).arg(&dir).output()?).succeeds();
    assert!(by_flag.stdout.starts_with("mnist  784 features"), "{}", by_flag.stdout);
    assert_eq!(by_flag.stdout, by_variable.stdout);
    assert_eq!(by_flag.stderr, "");
    Ok(())
}
