//! `syva data`, and where data comes from.

mod common;

use common::{Place, Ran};

#[test]
fn exported_digits_are_not_taken_for_mnist() {
    let place = Place::new();
    place.run("data export --data digits --out idx").succeeds();
    assert_eq!(place.names("idx").len(), 4);
    let says = ["idx/train-images-idx3-ubyte", "SHA-256", "ba891046e6505d7a", "download it again"];
    for command in ["data info --data mnist --data-dir idx", "train --data-dir idx --out run"] {
        place.run(command).fails(1, &says);
        assert_eq!(place.names(""), ["idx"]);
    }
    let by_variable =
        place.syva(["train", "--out", "other"]).env("SYVA_MNIST_DIR", place.path("idx")).output().unwrap();
    Ran::new(by_variable).fails(1, &says);
}

#[test]
fn export_replaces_no_file() {
    let place = Place::new();
    place.write("idx/t10k-labels-idx1-ubyte", "mine");
    place.run("data export --data digits --out idx").fails(1, &["idx/t10k-labels-idx1-ubyte", "name another folder"]);
    assert_eq!(place.names("idx"), ["t10k-labels-idx1-ubyte"]);
    assert_eq!(place.read("idx/t10k-labels-idx1-ubyte"), "mine");
    place.run("data export --data digits --out idx/t10k-labels-idx1-ubyte").fails(1, &["cannot create folder"]);
}

#[test]
fn the_grid_is_a_picture_of_the_size_asked() {
    let place = Place::new();
    place.run("data grid --data digits --rows 3 --out grid.png").succeeds();
    let png = std::fs::read(place.path("grid.png")).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    // Across: ten digits of 3 · 28 pixels, with gaps of 8. Down: a heading of 34, and three digits.
    assert_eq!((number(16), number(20)), (10 * (84 + 8) + 8, 34 + 3 * (84 + 8) + 8));
    assert_eq!(&png[png.len() - 8..png.len() - 4], b"IEND");
    for (rows, out, code, says) in [
        ("0", "x.png", 2, "rows: 0 rows are not possible; give 1 to 200"),
        ("201", "x.png", 2, "rows: 201 rows"),
        ("-1", "x.png", 2, "--rows"),
        ("1", "absent/x.png", 1, "there is no folder absent; create it first"),
        ("1", "home.png", 1, "home.png: it is a folder; name a file"),
        ("1", "x.jpg", 2, "out: 'x.jpg' is not the name of such a file; give a name that ends in .png"),
    ] {
        std::fs::create_dir_all(place.path("home.png")).unwrap();
        place.run(&format!("data grid --data digits --rows {rows} --out {out}")).fails(code, &[says]);
        assert!(!place.path("x.png").exists());
    }
    assert_eq!(place.names(""), ["grid.png", "home.png"]);
}

#[test]
fn a_named_folder_without_mnist_is_an_error_and_no_fallback() {
    let place = Place::new();
    for args in
        ["train --data-dir absent --out run", "data info --data-dir absent", "data info --data mnist --data-dir absent"]
    {
        place.run(args).fails(2, &["--data-dir absent", "no such folder", "name the folder"]);
    }
    let by_variable = place.syva(["data", "info"]).env("SYVA_MNIST_DIR", "absent").output().unwrap();
    Ran::new(by_variable).fails(2, &["SYVA_MNIST_DIR=absent"]);
    assert!(place.names("").is_empty());
}

/// Only those commands are told to take other data that can.
#[test]
fn without_a_network_the_remedy_fits_the_command() {
    let place = Place::new();
    place.finished("run");
    place.edit("run/config.toml", "source = \"digits\"", "source = \"mnist\"");
    let offline = |line: &str| {
        // A proxy that nobody listens to.
        let mut command = place.syva(line.split(' '));
        command.env_remove("NO_PROXY").env_remove("no_proxy").env("ALL_PROXY", "http://127.0.0.1:9");
        Ran::new(command.output().unwrap())
    };
    let says = ["MNIST could not be downloaded (", "; put its four files into a folder and name it with --data-dir"];
    for line in ["train --data mnist --out new", "train --like run --out new", "data info --data mnist"] {
        offline(line).fails(1, &says).fails(1, &["or use --data digits"]);
    }
    for line in ["resume run --epochs 2", "plot run --what confusion", "eval run", "data download"] {
        let ran = offline(line).fails(1, &says);
        assert!(!ran.stderr.contains("--data digits"), "{line}: {}", ran.stderr);
    }
}
