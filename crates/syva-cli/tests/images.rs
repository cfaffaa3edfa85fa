//! Folders of images through the program: from pictures to a model that predicts.

mod common;

use std::io::Cursor;

use common::Place;
use image::{ImageFormat, Rgb, RgbImage};

/// A picture with a square of a colour on black, as PNG. `seed` says where.
fn square(color: [u8; 3], seed: u32) -> Vec<u8> {
    let (x, y) = (seed * 7 % 5, seed * 3 % 5);
    let at = |i, j| if (x..x + 3).contains(&i) && (y..y + 3).contains(&j) { Rgb(color) } else { Rgb([0; 3]) };
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(8, 8, at).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

const COLORS: [(&str, [u8; 3]); 3] =
    [("blue", [20, 20, 250]), ("red", [250, 10, 20]), ("mostly, green", [30, 250, 20])];

/// Squares in three colours, each a class.
fn colors(place: &Place, folder: &str, count: u32) {
    for (class, (name, color)) in COLORS.iter().enumerate() {
        for i in 0..count {
            place.write(&format!("{folder}/{name}/{i:02}.png"), square(*color, i + class as u32));
        }
    }
}

const TRAIN: &str = "--hidden 8 --activation relu --lr 0.2 --batch-size 10 --epochs 8 --quiet";

#[test]
fn colours_are_learned_judged_and_predicted() {
    let place = Place::new();
    colors(&place, "squares", 30);
    let info = place.run("data info --data squares").succeeds().stdout;
    assert!(info.starts_with("squares  192 features (8 × 8 RGB)\n3 classes: blue, mostly, green, red\n"), "{info}");
    place.run(&format!("train --data squares --test 0.2 {TRAIN} --out run")).succeeds();
    let scores = &place.run("eval run --json").succeeds().json()[0];
    assert_eq!((&scores["split"], &scores["samples"], &scores["accuracy"]), (&"test".into(), &18.into(), &1.0.into()));
    assert_eq!(scores["classes"][1], "mostly, green");
    // A single picture, in words and in JSON.
    let line = place.run("predict run squares/red/01.png").succeeds().stdout;
    assert!(line.starts_with("squares/red/01.png: red ") && line.contains("(then "), "{line}");
    let json = &place.run("predict run --json squares/red/01.png").succeeds().json()[0];
    assert_eq!((&json["class"], &json["name"]), (&2.into(), &"red".into()));
    // A folder, as a table; a class's name is in quotes if it has to be.
    let table = place.run("predict run squares").succeeds().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "file,prediction,probability:blue,\"probability:mostly, green\",probability:red");
    assert_eq!(lines.len(), 91);
    for line in &lines[1..] {
        let class = line.trim_start_matches('"').split('/').nth(1).unwrap();
        assert!(line.contains(&format!(",{class},")) || line.contains(&format!(",\"{class}\",")), "{line}");
    }
    let said = place.run("predict run squares -o out.csv").succeeds();
    assert_eq!((place.read("out.csv"), said.stdout.as_str()), (table, ""));
    assert!(said.stderr.contains("wrote the predictions of 90 images to out.csv"), "{}", said.stderr);
    // Pictures of what was learned.
    for what in ["misread", "weights", "confusion", "reliability"] {
        place.run(&format!("plot run --what {what}")).succeeds();
    }
    place.run("report run").succeeds();
    assert!(place.read("run/report.html").contains("mostly, green"));
    assert!(!place.run("eval run").succeeds().stderr.contains("TensorBoard"));
    place.run("data grid --data squares --rows 2 --out grid.png").succeeds();
    place.run("data export --data squares --out idx").fails(1, &["not grey images"]);
}

#[test]
fn a_run_finds_its_images_again() {
    let place = Place::new();
    colors(&place, "squares", 20);
    place.run(&format!("train --data squares --validation 0.3:seed=5 {TRAIN} --out run")).succeeds();
    place.run("resume run --epochs 10 --quiet").succeeds();
    place.run("train --like run --epochs 10 --quiet --out like").succeeds();
    assert_eq!(common::metrics(&place.path("run")), common::metrics(&place.path("like")));
    std::fs::rename(place.path("squares"), place.path("moved")).unwrap();
    place.run("resume run --epochs 11 --quiet").fails(1, &["config.toml (data.images): it names", "--data-dir"]);
    place.run("resume run --epochs 11 --quiet --data-dir moved").succeeds();
    place.run("eval run --data-dir moved").succeeds();
    // Another picture is other data.
    place.write("moved/red/00.png", square([250, 10, 21], 1));
    place.run("resume run --epochs 12 --quiet --data-dir moved").fails(1, &["is not the data of the run"]);
}

#[test]
fn a_model_judges_and_reads_pictures_of_any_size_as_it_was_trained() {
    let place = Place::new();
    colors(&place, "squares", 12);
    place.run(&format!("train --data squares --image-size 4x6 --channels grey {TRAIN} --out run")).succeeds();
    let config = place.read("run/config.toml");
    assert!(config.contains("size = \"4x6\"") && config.contains("shape = [4, 6]"), "{config}");
    // Other pictures of fewer classes are brought to the model's size.
    place.write("others/red/1.png", square([250, 10, 20], 4));
    place.write("others/blue/1.png", square([20, 20, 250], 4));
    let scores = &place.run("eval run/model.safetensors --data others --json").succeeds().json()[0];
    assert_eq!((&scores["samples"], &scores["data"]), (&2.into(), &"others".into()));
    place.run("eval run/model.safetensors").fails(2, &["nothing says where such data is", "a folder of images"]);
    place.write("others/pink/1.png", square([250, 10, 20], 4));
    place.run("eval run --data others").fails(1, &["others/pink/1.png", "none of the classes blue"]);
    place.run("predict run others/red/1.png --show").succeeds();
    place.run("predict run others --show").fails(2, &["show: a table has no pictures"]);
    // A broken picture is named, and the others are read.
    place.write("others/red/0.png", "no picture");
    let ran = place.run("predict run others");
    assert_eq!(ran.stdout.lines().count(), 4);
    ran.fails(1, &["others/red/0.png (the image): it is a text file"]);
    place.run("train --data others").fails(1, &["others/red/0.png (the image)"]);
    // A table's model and one of images do not take each other's data.
    place.write("table.csv", "x,y\n1,a\n5,b\n1.5,a\n6,b\n1,a\n5,b\n1.5,a\n7,b\n2,a\n7,b\n");
    place.run("eval run --data table.csv").fails(2, &["was not trained on a table"]);
    place.run("train --data table.csv --target y --epochs 1 --quiet --out table").succeeds();
    place.run("eval table --data squares").fails(2, &["this model was trained on a table"]);
}

#[test]
fn what_is_for_other_data_is_refused() {
    let place = Place::new();
    colors(&place, "squares", 3);
    for (args, says) in [
        ("--data squares --target x", "target: this is for tables"),
        ("--data squares --test table.csv", "test: this is for tables"),
        ("--data squares --data-dir squares", "data-dir: it is the folder of MNIST"),
        ("--data squares --recipe tabular", "tabular is for tables"),
        ("--data digits --image-size 8x8", "image-size: this is for images"),
        ("--data digits --classes a,b", "classes: this is for images"),
        ("--data squares --classes red,red", "'red' is there twice"),
        ("--data squares --image-size 8", "leaves a part empty"),
        ("--data squares --image-size 0x8", "it is no size of images; write HEIGHTxWIDTH, such as 28x28"),
        ("--data squares --channels cmyk", "use grey or rgb"),
        ("--data squares --validation test", "the data has no test images"),
        ("--data square", "or a folder of images"),
        ("--data digits --test 0.1", "test: this is for tables"),
    ] {
        let args = if says.contains("leaves a part") { format!("{args} --validation 0.01") } else { args.into() };
        place.run(&format!("train {args}")).fails(2, &[says]);
    }
    std::fs::create_dir(place.path("empty")).unwrap();
    place.run("train --data empty").fails(1, &["no pictures in folders of it"]);
    place.finished("digits");
    place.run("predict digits squares/red").succeeds();
    place.run("predict digits --frame squares/red").succeeds();
    place.run("predict digits --frame --as-is squares/red").fails(2, &["cannot be used with"]);
    place.run("predict digits squares --json --out x.csv").fails(2, &["out: the file would have a table"]);
    place.run("data download digits").fails(2, &["syva draws them"]);
}

#[test]
fn a_settings_file_can_name_a_folder() {
    let place = Place::new();
    colors(&place, "squares", 10);
    place.write(
        "settings.toml",
        "data = \"squares\"\nclasses = [\"red\", \"mostly, green\", \"blue\"]\nimage-size = \"8x8\"\nchannels = \"rgb\"\n\
         epochs = 1\nhidden = \"none\"\nout = \"run\"\n",
    );
    place.run("train --config settings.toml --quiet").succeeds();
    assert!(place.read("run/config.toml").contains("classes = [\"red\", \"mostly, green\", \"blue\"]"));
}

#[test]
fn exported_digits_are_a_folder_of_idx_files() {
    let place = Place::new();
    place.run("data export --data digits --out idx").succeeds();
    place.run("train --data idx --hidden none --batch-size 4096 --epochs 1 --quiet --out run").succeeds();
    assert!(place.read("run/config.toml").contains("source = \"idx\""));
    // Its classes have no names, so digits are found in pictures as for MNIST.
    place.run("predict run idx/t10k-images-idx3-ubyte --json").succeeds();
    let eval = place.run("eval run --data idx/t10k-labels-idx1-ubyte --json").succeeds().json();
    assert_eq!(eval[0]["samples"], 10_000);
    place.run("resume run --epochs 2 --quiet").succeeds();
}
