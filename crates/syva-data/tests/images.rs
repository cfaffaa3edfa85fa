//! Sets of images: pictures as Pillow reads them (`golden/make_images.py`), IDX and CIFAR files, and damaged ones.
#![cfg(feature = "images")]

use std::fs;
use std::path::{Path, PathBuf};

use syva_core::data::images::{Channels, ImageSize, ImagesConfig};
use syva_core::data::{Dataset, Inputs, Targets};
use syva_core::{ImageShape, Normalization};
use syva_data::images::{Set, decode, read, task};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// An IDX file.
fn array(kind: u8, shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut content = vec![0, 0, kind, shape.len() as u8];
    content.extend(shape.iter().flat_map(|d| d.to_be_bytes()));
    content.extend(bytes);
    content
}

/// A grey or RGB picture, as PNM.
fn pnm(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    let magic = if pixels.len() == width * height { "P5" } else { "P6" };
    [format!("{magic} {width} {height} 255\n").as_bytes(), pixels].concat()
}

fn config(folder: &TempDir) -> ImagesConfig {
    ImagesConfig { path: folder.path().into(), ..ImagesConfig::default() }
}

#[track_caller]
fn set(folder: &TempDir) -> Set {
    read(&config(folder), 2).unwrap()
}

#[track_caller]
fn says(config: &ImagesConfig, words: &[&str]) {
    let said = task(config, None, 2).map(|_| ()).unwrap_err().to_string();
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn bytes(data: &Dataset) -> &[u8] {
    let Inputs::U8(values) = data.inputs() else { panic!("not bytes") };
    values
}

fn labels(data: &Dataset) -> (&[u32], usize) {
    let Targets::Classes { labels, classes } = data.targets() else { panic!("no classes") };
    (labels, *classes)
}

#[test]
fn pictures_are_what_pillow_makes_of_them() {
    let expected: serde_json::Value = serde_json::from_slice(&fs::read(golden("pictures.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    assert_eq!(expected.len(), 7);
    for (name, expected) in expected {
        let path = golden(&format!("pictures/{name}"));
        let picture = decode(&path, &fs::read(&path).unwrap()).unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
        let size: Vec<usize> = expected["size"].as_array().unwrap().iter().map(number).collect();
        assert_eq!([picture.image.height() as usize, picture.image.width() as usize], size[..], "{name}");
        let near = |found: &[u8], expected: &serde_json::Value, most: usize| {
            let expected: Vec<usize> = expected.as_array().unwrap().iter().map(number).collect();
            assert_eq!(found.len(), expected.len(), "{name}");
            let worst = found.iter().zip(&expected).map(|(&a, &b)| usize::from(a).abs_diff(b)).max().unwrap();
            assert!(worst <= most, "{name} differs by {worst}");
        };
        // Decoders of JPEG may round differently.
        let decoding = if name.ends_with("jpg") { 3 } else { 0 };
        let whole = picture.fit(ImageShape { height: size[0], width: size[1], channels: 3 });
        near(&whole.iter().step_by(11).copied().collect::<Vec<_>>(), &expected["whole"], decoding);
        let small = picture.fit(ImageShape { height: 5, width: 9, channels: 3 });
        near(&small, &expected["small"], decoding + 1);
    }
}

#[test]
fn a_folder_of_folders_is_a_set_with_the_names_of_its_classes() {
    let folder = folder();
    write(&folder, "cats/a.pgm", pnm(2, 1, &[1, 2]));
    write(&folder, "cats/deeper/b.PGM", pnm(2, 1, &[3, 4]));
    write(&folder, "ants/c.pgm", pnm(2, 1, &[5, 6]));
    write(&folder, "ants/.hidden.png", "no picture");
    write(&folder, "ants/list.txt", "no picture");
    write(&folder, "empty/.keep", "");
    let set = set(&folder);
    assert_eq!((set.shape, set.class_names), (vec![1, 2], vec!["ants".to_string(), "cats".into()]));
    let train = set.train.unwrap();
    assert_eq!((bytes(&train), labels(&train)), (&[5, 6, 1, 2, 3, 4][..], (&[0, 1, 1][..], 2)));
    assert!(set.notes[0].contains("ants/list.txt is no picture by its name"), "{:?}", set.notes);
    // What was found out makes the same set again, and the classes can be in another order.
    assert_eq!((set.config.size, set.config.channels), ("1x2".parse().ok(), Some(Channels::Grey)));
    let config = ImagesConfig { classes: vec!["cats".into(), "ants".into(), "dogs".into()], ..set.config };
    let other = read(&config, 1).unwrap().train.unwrap();
    assert_eq!(labels(&other), (&[1, 0, 0][..], 3));
    says(&ImagesConfig { classes: vec!["ants".into()], ..config }, &["cats/a.pgm", "none of the classes ants"]);
}

#[test]
fn parts_have_their_folders() {
    let folder = folder();
    for (part, value) in [("train", 10), ("valid", 20), ("Test", 30)] {
        for class in 0..12 {
            write(&folder, &format!("{part}/{class}/x.pgm"), pnm(1, 1, &[value + class]));
        }
    }
    let opened = task(&config(&folder), None, 2).unwrap();
    let task = &opened.task;
    // Numbers are in the order of numbers.
    assert_eq!(task.class_names[9..], ["9", "10", "11"]);
    assert_eq!((bytes(&task.train)[0], bytes(&task.validation)[0]), (10, 20));
    // Their pictures are in the order of their paths: 0, 1, 10, 11, 2, …
    assert_eq!((bytes(task.test.as_ref().unwrap())[3], labels(&task.train).0[3]), (41, 11));
    // Each mean and deviation is that of the training images alone.
    let Normalization::Uniform { scale, shift } = task.normalization else { panic!("{:?}", task.normalization) };
    let (mean, std) = (15.5, (143.0f64 / 12.0).sqrt());
    assert!((f64::from(scale) - 1.0 / std).abs() < 1e-7 && (f64::from(shift) + mean / std).abs() < 1e-6);
    says(&ImagesConfig { test: "0.5".parse().ok(), ..config(&folder) }, &["test images of its own"]);
    fs::remove_dir_all(folder.path().join("train")).unwrap();
    says(&config(&folder), &["no training images"]);
}

#[test]
fn pictures_of_trains_are_no_training_data() {
    let folder = folder();
    write(&folder, "train/x.pgm", pnm(1, 1, &[1]));
    write(&folder, "bus/x.pgm", pnm(1, 1, &[2]));
    assert_eq!(set(&folder).class_names, ["bus", "train"]);
}

#[test]
fn without_test_images_a_part_is_drawn() {
    let folder = folder();
    for i in 0..100u8 {
        write(&folder, &format!("{}/{i:03}.pgm", i % 2), pnm(1, 1, &[i]));
    }
    let opened = task(&config(&folder), None, 2).unwrap();
    assert_eq!((opened.validation.to_string(), opened.task.test.is_none()), ("0.2".into(), true));
    assert_eq!((opened.task.train.samples(), opened.task.validation.samples()), (80, 20));
    let config = ImagesConfig { test: "0.1".parse().ok(), ..config(&folder) };
    let opened = task(&config, "10".parse().ok(), 2).unwrap();
    let Some(test) = &opened.task.test else { panic!("no test images") };
    let parts = [&opened.task.train, &opened.task.validation, test];
    assert_eq!(parts.map(Dataset::samples), [80, 10, 10]);
    let mut all: Vec<u8> = parts.iter().flat_map(|part| bytes(part)).copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<u8>>());
    let none = ImagesConfig { test: None, ..config.clone() };
    let said = task(&none, "test".parse().ok(), 2).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("validation: the data has no test images"), "{said}");
    says(&ImagesConfig { test: "0.999".parse().ok(), ..config }, &["leaves a part empty"]);
}

#[test]
fn colours_and_sizes_are_found_out_or_said() {
    let folder = folder();
    write(&folder, "a/1.ppm", pnm(1, 2, &[9, 9, 9, 7, 7, 7]));
    write(&folder, "b/2.ppm", pnm(1, 2, &[1, 1, 1, 2, 2, 2]));
    write(&folder, "b/3.pgm", pnm(1, 1, &[5]));
    let grey = set(&folder);
    assert_eq!((&grey.shape[..], bytes(grey.train.as_ref().unwrap())), (&[2, 1][..], &[9, 7, 1, 2, 5, 5][..]));
    assert!(grey.notes.iter().any(|note| note == "1 of 3 pictures have another size than 2x1: stretched to it"));
    assert!(grey.notes.iter().any(|note| note.starts_with("all pictures are grey")), "{:?}", grey.notes);
    let rgb = read(&ImagesConfig { channels: Some(Channels::Rgb), ..config(&folder) }, 1).unwrap();
    assert_eq!(
        (&rgb.shape[..], bytes(rgb.train.as_ref().unwrap())[..6].to_vec()),
        (&[3, 2, 1][..], vec![9, 7, 9, 7, 9, 7])
    );
    // One pixel of another colour, and they are RGB: first all red values, then green, then blue.
    write(&folder, "a/1.ppm", pnm(1, 2, &[1, 2, 3, 4, 5, 6]));
    let rgb = set(&folder);
    assert_eq!(
        (&rgb.shape[..], bytes(rgb.train.as_ref().unwrap())[..6].to_vec()),
        (&[3, 2, 1][..], vec![1, 4, 2, 5, 3, 6])
    );
    // No size that most of them have.
    write(&folder, "b/2.ppm", pnm(2, 2, &[0; 12]));
    says(&config(&folder), &["image-size: the pictures have 3 different sizes", "--image-size 32x32"]);
    let small = ImagesConfig { size: Some(ImageSize { height: 1, width: 1 }), ..config(&folder) };
    assert_eq!(read(&small, 1).unwrap().shape, [3, 1, 1]);
}

/// By its Exif data this picture lies on its side: 24 rows are stored, and 36 columns.
#[test]
fn the_size_of_a_turned_picture_is_that_of_the_upright_one() {
    let folder = folder();
    for name in ["a/1.jpg", "b/2.jpg"] {
        write(&folder, name, fs::read(golden("pictures/turned.jpg")).unwrap());
    }
    assert_eq!(set(&folder).shape, [3, 36, 24]);
}

#[test]
fn what_a_folder_lacks_or_has_wrong_is_named() {
    let folder = folder();
    says(&config(&folder), &["no pictures in folders of it", "a folder of pictures for each class"]);
    says(&ImagesConfig { path: "/no/such/place".into(), ..config(&folder) }, &["there is no folder or file"]);
    write(&folder, "a/1.pgm", pnm(1, 1, &[1]));
    says(&config(&folder), &["images of 1 class", "two classes"]);
    for i in 0..9 {
        write(&folder, &format!("b/2{i}.pgm"), pnm(1, 1, &[1]));
    }
    says(&config(&folder), &["all training images are of one and the same colour"]);
    write(&folder, "b/3.png", "no picture");
    says(&config(&folder), &["b/3.png (the image): it is a text file"]);
    // The size is refused before anything is decoded.
    write(&folder, "b/3.png", "P5 100000 100000 255\n");
    says(&config(&folder), &["b/3.png (the image): 100000 × 100000 pixels are more than"]);
    write(&folder, "b/3.png", pnm(1, 1, &[]));
    says(&config(&folder), &["b/3.png (the image): it begins like a PNM picture, but it is truncated"]);
}

#[test]
fn idx_files_of_any_type_and_shape_are_sets() {
    let folder = folder();
    let floats: Vec<u8> = (0..4 * 6).flat_map(|i| (i as f32 / 2.0).to_be_bytes()).collect();
    write(&folder, "train-images-idx3-float", array(0x0d, &[4, 2, 3], &floats));
    write(
        &folder,
        "train-labels-idx1-int",
        array(0x0c, &[4], &[0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff]),
    );
    let of = set(&folder);
    assert_eq!((&of.shape[..], &of.class_names[..]), (&[2, 3][..], &["-1".to_string(), "7".into(), "9".into()][..]));
    let train = of.train.unwrap();
    assert_eq!((train.inputs().get(7), labels(&train).0), (3.5, &[2, 1, 2, 0][..]));
    // Labels from 0 on without gaps have no names, unless some are given.
    write(&folder, "train-labels-idx1-int", array(0x08, &[4], &[1, 0, 1, 2]));
    assert_eq!((set(&folder).class_names.len(), set(&folder).config.classes.len()), (0, 0));
    let named = ImagesConfig { classes: ["o", "ki", "su"].map(String::from).into(), ..config(&folder) };
    assert_eq!(read(&named, 1).unwrap().class_names, ["o", "ki", "su"]);
    says(
        &ImagesConfig { classes: vec!["o".into(), "ki".into()], ..named },
        &["label 2 of image 3 is none of the classes o, ki"],
    );
    let size = ImagesConfig { size: "28x28".parse().ok(), ..config(&folder) };
    says(&size, &["images of 2 × 3, and images of 28 × 28 are wanted"]);
}

#[test]
fn rgb_and_vectors_in_idx_files() {
    let folder = folder();
    write(&folder, "mine-train-images.idx4-ubyte", array(8, &[2, 1, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    write(&folder, "mine-train-labels.idx1-ubyte", array(8, &[2], &[0, 1]));
    let rgb = set(&folder);
    assert_eq!((rgb.name.as_str(), &rgb.shape[..]), ("mine", &[3, 1, 2][..]));
    assert_eq!(bytes(rgb.train.as_ref().unwrap())[..6], [1, 4, 2, 5, 3, 6]);
    write(&folder, "mine-train-images.idx4-ubyte", array(8, &[2, 3], &[1, 2, 3, 4, 5, 6]));
    assert!(set(&folder).shape.is_empty());
    write(&folder, "mine-train-images.idx4-ubyte", array(8, &[2, 2, 2, 4], &[0; 32]));
    says(&config(&folder), &["[2, 2, 4], which are neither grey nor RGB images"]);
}

/// `emnist-letters` has labels from 1 on, and stores columns as rows.
#[test]
fn emnist_is_turned_upright_and_its_letters_are_named() {
    let folder = folder();
    let image = |content: &[u8]| array(8, &[2, 2, 2], content);
    for part in ["train", "test"] {
        write(&folder, &format!("emnist-letters-{part}-images-idx3-ubyte"), image(&[1, 2, 3, 4, 5, 6, 7, 8]));
        write(&folder, &format!("emnist-letters-{part}-labels-idx1-ubyte"), array(8, &[2], &[1, 26]));
    }
    let set = set(&folder);
    let train = set.train.unwrap();
    assert_eq!((bytes(&train), labels(&train)), (&[1, 3, 2, 4, 5, 7, 6, 8][..], (&[0, 25][..], 26)));
    assert_eq!(
        (set.name.as_str(), set.class_names[0].as_str(), set.class_names[25].as_str()),
        ("emnist-letters", "A", "Z")
    );
    assert!(set.notes[0].contains("transposed") && set.notes[1].contains("A to Z"), "{:?}", set.notes);
    let path = folder.path().join("emnist-letters-test-images-idx3-ubyte");
    let (shape, Inputs::U8(values)) = syva_data::images::read_idx(&path).unwrap() else { panic!("not bytes") };
    assert_eq!((shape, &values[..4]), (vec![2, 2], &[1, 3, 2, 4][..]));
    // Of several sets in a folder, one is named by any of its files.
    write(&folder, "emnist-balanced-train-images-idx3-ubyte", image(&[0; 8]));
    write(&folder, "emnist-balanced-train-labels-idx1-ubyte", array(8, &[2], &[0, 46]));
    says(&config(&folder), &["it has 2 sets: emnist-balanced, emnist-letters"]);
    let one = ImagesConfig { path: folder.path().join("emnist-balanced-train-labels-idx1-ubyte"), ..config(&folder) };
    assert_eq!(read(&one, 1).unwrap().class_names[46], "t");
}

#[test]
fn idx_files_that_do_not_belong_together_are_refused() {
    let folder = folder();
    write(&folder, "train-images-idx3-ubyte", array(8, &[2, 1, 1], &[1, 2]));
    says(&config(&folder), &["train-images-idx3-ubyte", "the labels of its training part are missing"]);
    write(&folder, "train-labels-idx1-ubyte", array(8, &[3], &[0, 1, 0]));
    says(&config(&folder), &["it has 2 images, and", "has 3 labels"]);
    write(&folder, "train-labels-idx1-ubyte", array(8, &[2, 2], &[0, 1, 0, 1]));
    says(&config(&folder), &["2 numbers for each image"]);
    let halves = [0.5f32, 1.0].map(f32::to_be_bytes).concat();
    write(&folder, "train-labels-idx1-ubyte", array(0x0d, &[2], &halves));
    says(&config(&folder), &["label 0 is 0.5, which is no whole number"]);
    write(&folder, "train-labels-idx1-ubyte", array(8, &[2], &[0, 1]));
    write(&folder, "t10k-images-idx3-ubyte", array(8, &[1, 1, 2], &[1, 2]));
    write(&folder, "t10k-labels-idx1-ubyte", array(8, &[1], &[0]));
    says(&config(&folder), &["its images are [1, 1], and those of another part [1, 2]"]);
    fs::remove_file(folder.path().join("t10k-images-idx3-ubyte")).unwrap();
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
    write(&folder, "train-images-idx3-ubyte", array(0x0d, &[2, 1, 1], &[0x7f, 0xc0, 0, 0, 0, 0, 0, 0]));
    says(&config(&folder), &["a value of sample 0 is not finite"]);
}

/// A record of CIFAR, whose pixels all have this value.
fn record(labels: &[u8], value: u8) -> Vec<u8> {
    [labels, &[value; 3072]].concat()
}

#[test]
fn cifar_is_read_from_its_binary_files() {
    let folder = folder();
    for i in 1..=5u8 {
        let content = [record(&[i], 10 * i), record(&[0], 1)].concat();
        write(&folder, &format!("cifar-10-batches-bin/data_batch_{i}.bin"), content);
    }
    write(&folder, "cifar-10-batches-bin/test_batch.bin", record(&[9], 90));
    let names = "airplane automobile bird cat deer dog frog horse ship truck".replace(' ', "\n") + "\n\n";
    write(&folder, "cifar-10-batches-bin/batches.meta.txt", &names);
    // The folder around it is good enough.
    let opened = task(&config(&folder), None, 2).unwrap();
    assert_eq!((opened.task.name.as_str(), &opened.task.shape[..]), ("cifar-10", &[3, 32, 32][..]));
    assert_eq!(labels(&opened.task.train).0, [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    assert_eq!((bytes(&opened.task.train)[4 * 3072], labels(&opened.task.validation).0), (30, &[9][..]));
    assert_eq!(opened.task.class_names[9], "truck");
    let mut classes = opened.config.classes.clone();
    classes.swap(0, 9);
    let swapped = read(&ImagesConfig { classes, ..config(&folder) }, 1).unwrap();
    assert_eq!(labels(swapped.test.as_ref().unwrap()).0, [0]);
    write(&folder, "cifar-10-batches-bin/data_batch_3.bin", record(&[10], 0));
    says(&config(&folder), &["data_batch_3.bin (byte 0): image 0 has label 10, beyond the 10 classes"]);
    write(&folder, "cifar-10-batches-bin/data_batch_3.bin", &record(&[1], 0)[1..]);
    says(&config(&folder), &["its 3072 bytes are not whole images of 3073 bytes"]);
    fs::remove_file(folder.path().join("cifar-10-batches-bin/data_batch_3.bin")).unwrap();
    says(&config(&folder), &["cifar-10 is not complete there, missing: data_batch_3.bin"]);
}

#[test]
fn cifar_100_has_fine_labels_and_its_pickles_are_refused() {
    let folder = folder();
    write(&folder, "train.bin", [record(&[3, 99], 7), record(&[0, 5], 8)].concat());
    let set = set(&folder);
    assert_eq!((set.name.as_str(), labels(set.train.as_ref().unwrap())), ("cifar-100", (&[99, 5][..], 100)));
    let pickled = self::folder();
    write(&pickled, "data_batch_1", "\u{80}");
    says(&config(&pickled), &["pickles, and reading a pickle can run code", "binary version"]);
}
