//! Model files that are missing, damaged or inconsistent: `eval` and `summary` name the file and the place, and never
//! panic.

mod common;

use common::{Place, Ran};

/// The model of a finished run, from which damaged copies are made.
fn model(place: &Place) -> Vec<u8> {
    place.finished("run");
    std::fs::read(place.path("run/model.safetensors")).unwrap()
}

/// The file after an edit of its header as text, with the header's length corrected.
fn edited(model: &[u8], from: &str, to: &str) -> Vec<u8> {
    let n = u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&model[8..8 + n]).unwrap();
    assert!(header.contains(from), "'{from}' is not in {header}");
    let header = header.replacen(from, to, 1);
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &model[8 + n..]].concat()
}

fn refused(place: &Place, says: &[&str]) {
    place.run("summary bad.safetensors").fails(1, &["bad.safetensors (", "; "]).fails(1, says);
    place.run("eval bad.safetensors --data digits").fails(1, says);
}

#[test]
fn a_damaged_model_is_named_with_the_damaged_place() {
    let place = Place::new();
    let good = model(&place);
    let end = good.len();
    let mut not_a_number = good.clone();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut lying = good.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut lying_a_little = good.clone();
    lying_a_little[0] ^= 1;
    let units = r#"{\"units\":18446744073709551615,\"activation\":\"relu\"},"#.repeat(3) + r#"{\"units\":10,"#;
    for (bytes, says) in [
        (Vec::new(), "(header): "),
        (good[..5].to_vec(), "(header): "),
        (good[..end - 1].to_vec(), "(header): "),
        (good[..end / 2].to_vec(), "(header): "),
        ([&good[..], b"x"].concat(), "(header): "),
        (lying, "(header): "),
        (lying_a_little, "(header): "),
        (b"not a model at all, but long enough to have a header".to_vec(), "(header): "),
        (not_a_number, "(fc1.weight): value 7839 is NaN; the training diverged"),
        (edited(&good, "\"fc1.bias\"", "\"fc7.bias\""), "(fc1.bias): the tensor is missing"),
        (edited(&good, "[10,784]", "[784,10]"), "(fc1.weight): its shape is [784, 10], not [10, 784]"),
        (edited(&good, "\"F32\"", "\"I32\""), "its numbers are I32"),
        (edited(&good, "\"syva\"", "\"other\""), "(metadata): there is no entry 'syva'"),
        (edited(&good, r#"\"format\":2"#, r#"\"format\":99"#), "(metadata): format 99 is unknown"),
        (edited(&good, r#"{\"units\":10,"#, &units), "(metadata): hidden: "),
        (edited(&good, r#"\"shape\":[28,28]"#, r#"\"shape\":[9223372036854775808,4]"#), "(metadata): input: "),
        (edited(&good, r#"\"step\":15"#, r#"\"step\":-1"#), "(metadata): "),
    ] {
        place.write("bad.safetensors", bytes);
        refused(&place, &[says]);
    }
}

#[test]
fn a_model_that_is_not_there_is_answered_with_what_to_name() {
    let place = Place::new();
    place.write("empty/notes.txt", "");
    for command in ["eval", "summary"] {
        place
            .run(&format!("{command} absent"))
            .fails(1, &["absent (the model): there is no such", "name a model file"]);
        place
            .run(&format!("{command} empty"))
            .fails(1, &["empty (the model): ", "neither model.safetensors", "name a"]);
    }
    place.write("made/model.safetensors/x", "");
    place.run("summary made").fails(1, &["made/model.safetensors", "not a file"]);
}

#[test]
fn a_model_of_another_shape_than_the_data_is_named() {
    let place = Place::new();
    let good = model(&place);
    // The same bytes as 5 outputs of 1568 features. Without a digest, the edit is not noticed.
    let good = edited(&good, "\"sha256\"", "\"none\"");
    let wide = edited(&good, "[10,784]", "[5,1568]");
    let wide = edited(&wide, "[10]", "[5]");
    let wide = edited(&wide, r#"\"features\":784,\"shape\":[28,28]"#, r#"\"features\":1568"#);
    let wide = edited(&wide, r#"\"units\":10"#, r#"\"units\":5"#);
    // The bias comes first. It is shorter by five numbers, so the data is too.
    let n = u64::from_le_bytes(wide[..8].try_into().unwrap()) as usize;
    let wide = [&wide[..8 + n], &wide[8 + n + 20..]].concat();
    let wide = edited(&wide, "[0,40]", "[0,20]");
    let wide = edited(&wide, "[40,31400]", "[20,31380]");
    place.write("wide.safetensors", wide);
    place.run("summary wide.safetensors").succeeds();
    let says = ["wide.safetensors (metadata): the data has 784 features, the network reads 1568; use the data"];
    place.run("eval wide.safetensors --data digits").fails(1, &says);
    // This is checked before data is looked for, drawn or fetched.
    place.run("eval wide.safetensors --data-dir absent").fails(1, &says);
}

#[test]
fn a_run_is_judged_by_its_last_checkpoint_until_it_is_done() {
    let place = Place::new();
    place.finished("run");
    let digest = |ran: Ran| ran.succeeds().digest();
    let finished = digest(place.run("eval run --json"));
    std::fs::remove_file(place.path("run/model.safetensors")).unwrap();
    assert_eq!(digest(place.run("eval run --json")), finished);
    place.edit("run/config.toml", "\"digits\"", "\"pictures\"");
    place.run("eval run").fails(1, &["run/config.toml (data.source)", "unknown name 'pictures'"]);
}
