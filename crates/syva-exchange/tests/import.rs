//! Weights that PyTorch wrote become models that compute what PyTorch computes with them; what cannot be imported is named.

use std::path::{Path, PathBuf};

use syva_core::reference::Reference;
use syva_core::{Engine, Head, Matrix, Model, Normalization, Training};
use syva_exchange::{ImportOptions, Imported, import};

fn file(name: &str) -> (Vec<u8>, PathBuf) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch").join(name);
    (std::fs::read(&path).unwrap(), name.into())
}

fn options(activation: &str) -> ImportOptions {
    ImportOptions {
        activation: activation.parse().unwrap(),
        head: None,
        classes: Vec::new(),
        columns: Vec::new(),
        target: Vec::new(),
        image: None,
        normalization: Normalization::None,
    }
}

fn imported(name: &str, activation: &str) -> Imported {
    let (bytes, path) = file(name);
    import(&bytes, &path, &options(activation)).unwrap()
}

fn refused(name: &str, options: &ImportOptions) -> String {
    let (bytes, path) = file(name);
    import(&bytes, &path, options).unwrap_err().to_string()
}

fn outputs(model: &Model, inputs: &Matrix) -> Matrix {
    let device = "reference".parse().unwrap();
    let mut session = Reference.open(&device, &model.spec, &Training::default()).unwrap();
    session.set_state(&model.state).unwrap();
    let mut outputs = Matrix::zeros(inputs.rows(), model.spec.outputs());
    session.predict(&inputs.values().to_vec().into(), &mut outputs).unwrap();
    outputs
}

#[test]
fn imported_models_compute_what_pytorch_computes() {
    let golden: serde_json::Value = serde_json::from_slice(&file("golden.json").0).unwrap();
    let numbers = |rows: &serde_json::Value| -> Vec<f32> {
        let of = |row: &serde_json::Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        rows.as_array().unwrap().iter().flat_map(|row| -> Vec<f32> { of(row) }).collect()
    };
    let inputs = Matrix::new(3, 4, numbers(&golden["inputs"])).unwrap();
    let files = golden["files"].as_object().unwrap();
    assert_eq!(files.len(), 12);
    for (name, wanted) in files {
        let model = imported(name, wanted["activation"].as_str().unwrap()).model;
        // What is written is what is read.
        assert_eq!(Model::from_bytes(&model.to_bytes().unwrap(), name).unwrap(), model);
        for (ours, theirs) in outputs(&model, &inputs).values().iter().zip(numbers(&wanted["outputs"])) {
            assert!((ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0), "{name}: {ours}, PyTorch {theirs}");
        }
    }
}

#[test]
fn what_was_found_out_is_said() {
    let checkpoint = imported("checkpoint.pth", "relu");
    assert_eq!(checkpoint.notes, ["the weights are those of 'state_dict' in the file"]);
    assert_eq!(checkpoint.layers[1], "module._orig_mod.net.2");
    assert_eq!((checkpoint.model.spec.widths(), checkpoint.model.spec.head), ("4-8-5-3".into(), Head::Logits));
    let double = imported("double.pt", "relu").notes;
    assert!(double[0].ends_with("numbers of 64 bits were rounded to 32 bits"), "{double:?}");
    let named = imported("named.safetensors", "tanh");
    assert_eq!(named.layers[2..4], ["layers.2", "layers.3"]);
    assert_eq!(named.layers[10..], ["layers.10", "head"]);
    assert_eq!(named.notes, ["head had no biases; they are 0"]);
    assert_eq!(imported("prelu.safetensors", "prelu").model.spec.head, Head::Regression);
}

#[test]
fn what_cannot_be_imported_is_named() {
    let relu = options("relu");
    for (name, says) in [
        ("evil.pt", "evil.pt (data.pkl): the pickle wants to use posix.system, which is not needed"),
        ("whole.pt", "wants to use torch.nn.modules.container.Sequential"),
        ("old.pt", "_use_new_zipfile_serialization=True"),
        ("batchnorm.pt", "batchnorm.pt ('1'): it is a BatchNorm"),
        ("conv.pt", "conv.pt ('0'): it is a convolution"),
        ("prelu.safetensors", "like that of a PReLU; name --activation prelu"),
        ("golden.json", "this is a JSON file"),
    ] {
        let said = refused(name, &relu);
        assert!(said.contains(says), "{name}: {said}");
    }
    assert!(!Path::new("/tmp/syva-was-here").exists());
}

#[test]
fn names_of_columns_and_classes_make_a_schema() {
    let names = |names: &str| names.split(' ').map(String::from).collect::<Vec<_>>();
    let (bytes, path) = file("sequential.pt");
    let with =
        ImportOptions { classes: names("setosa versicolor virginica"), columns: names("a b c d"), ..options("relu") };
    let schema = import(&bytes, &path, &with).unwrap().model.spec.schema.unwrap();
    assert_eq!(schema.input_names(), ["a", "b", "c", "d"]);
    assert_eq!(schema.classes().unwrap()[2], "virginica");
    for (options, says) in [
        (ImportOptions { classes: names("a b"), ..options("relu") }, "classes: 2 names for 3 classes"),
        (ImportOptions { columns: names("a b"), ..options("relu") }, "columns: 2 names for 4 inputs"),
        (ImportOptions { image: Some([3, 2]), ..options("relu") }, "does not hold 4 features"),
        (ImportOptions { head: Some(Head::Binary), ..options("relu") }, "binary needs 1 logit"),
        (
            ImportOptions { head: Some(Head::Regression), target: names("y"), ..options("relu") },
            "1 names for 3 outputs",
        ),
    ] {
        let said = refused("sequential.pt", &options);
        assert!(said.contains(says), "{said}");
    }
}

/// Any byte of a file may be wrong, and any part of its end may be missing.
#[test]
fn damaged_files_are_refused_or_read() {
    for name in ["checkpoint.pth", "protocol4.pt", "views.pt", "prelu.safetensors"] {
        let (bytes, path) = file(name);
        let options = options("prelu");
        for end in 0..bytes.len() {
            assert!(import(&bytes[..end], &path, &options).is_err(), "{name} cut at {end}");
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= flip;
                let _ = import(&bad, &path, &options);
            }
        }
    }
}
