//! What `regions` and `explain` say of small networks.

mod common;

use std::fmt::Write;

use common::Place;
use serde_json::Value;

const NETWORK: &str = "--preset tabular-plain --hidden 6,5 --activation relu --epochs 8 --device cpu --quiet";

/// A run on points inside and outside a circle.
fn trained() -> Place {
    let place = Place::new();
    let mut text = "x,y,inside\n".to_string();
    for i in 0..400 {
        let (x, y) = (f64::from(i * 37 % 101) / 25.0 - 2.0, f64::from(i * 53 % 97) / 24.0 - 2.0);
        let _ = writeln!(text, "{x},{y},{}", if x * x + y * y < 1.5 { "yes" } else { "no" });
    }
    place.write("circle.csv", text);
    place.run(&format!("train --data circle.csv --target inside {NETWORK} --out run")).succeeds();
    place
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

#[test]
fn regions_are_counted_and_drawn() {
    let place = trained();
    let found = place.run("regions run --json --out regions.svg").succeeds().json()[0].clone();
    let [regions, edges, vertices] = ["activation_regions", "edges", "vertices"].map(|name| number(&found[name]));
    assert_eq!(vertices + regions, edges + 1, "Euler: {found}");
    let linear = number(&found["linear_regions"]);
    assert!(linear > 1 && linear <= regions, "{found}");
    let at_most: u64 = found["at_most"].as_str().unwrap().parse().unwrap();
    assert!(regions <= at_most && at_most <= 22 * 16, "{found}");
    assert_eq!(found["by_layer"].as_array().unwrap().last().unwrap()["regions"], found["activation_regions"]);
    assert!(found["margin"].as_f64().unwrap() > 0.0);
    // One path per region, or more where the decision boundary passes through.
    assert!(place.read("regions.svg").matches("<path").count() as u64 >= regions);
    // The same picture of the model file, in the same box, but without the data's points.
    let bounds = found["box"].as_array().unwrap();
    let bounds: Vec<String> = bounds.iter().flat_map(|range| [range[0].to_string(), range[1].to_string()]).collect();
    let line = format!("regions run/model.safetensors --json --box {}", bounds.join(","));
    assert_eq!(place.run(&line).succeeds().json()[0], found);
    let text = place.run("regions run").succeeds().stdout;
    assert!(text.contains(&format!("activation regions  {regions} ({edges} edges, {vertices} vertices)")), "{text}");
    // A smaller box has fewer.
    let small = place.run("regions run --box -0.1,0.1,-0.1,0.1 --json").succeeds().json()[0].clone();
    assert!(number(&small["activation_regions"]) < regions);
}

#[test]
fn regions_are_followed_over_a_training() {
    let place = trained();
    let found = place.run("regions run --every 4 --json --out counts.png").succeeds().json()[0].clone();
    let epochs = found["epochs"].as_array().unwrap();
    let numbers: Vec<u64> = epochs.iter().map(|epoch| number(&epoch["epoch"])).collect();
    assert_eq!(numbers, [0, 1, 4, 8]);
    // The training was the run's own: without a choice of epochs, it ends in the run's weights.
    place.run(&format!("train --data circle.csv --target inside {NETWORK} --keep last --out last")).succeeds();
    let again = place.run("regions last --every 4 --json").succeeds().json()[0].clone();
    let model = place.run("eval last --json").succeeds().json()[0]["sha256_of_weights"].clone();
    assert_eq!(again["sha256_of_weights"], model);
    assert!(place.path("counts.png").metadata().unwrap().len() > 1000);
}

#[test]
fn a_line_and_a_plane_go_through_samples() {
    let place = Place::new();
    let network = "--data digits --epochs 1 --activation relu --hidden 12 --device cpu --quiet";
    place.run(&format!("train {network} --out run")).succeeds();
    let line = place.run("regions run --line 0,1 --json").succeeds().json()[0].clone();
    let pieces = line["pieces"].as_array().unwrap();
    assert_eq!(pieces.len() as u64, number(&line["linear_regions"]));
    assert_eq!((&pieces[0]["from"], &pieces[0]["from_exactly"]), (&0.0.into(), &serde_json::json!(["0", "1"])));
    assert_eq!(pieces.last().unwrap()["to"], 1.0);
    for pair in pieces.windows(2) {
        assert_eq!(pair[0]["to"], pair[1]["from"]);
        // The outputs are continuous, and have a kink.
        let at = |piece: &Value, output: usize| {
            piece["gradient"][output].as_f64().unwrap() * pair[1]["from"].as_f64().unwrap()
                + piece["constant"][output].as_f64().unwrap()
        };
        for output in 0..10 {
            let (before, after) = (at(&pair[0], output), at(&pair[1], output));
            assert!((before - after).abs() < 1e-9 * before.abs().max(1.0), "{before} {after}");
        }
        assert_ne!(pair[0]["gradient"], pair[1]["gradient"]);
    }
    let plane = place.run("regions run --plane 0,1,2 --json --out plane.png").succeeds().json()[0].clone();
    assert!(number(&plane["activation_regions"]) >= number(&line["activation_regions"]), "{plane}");
}

#[test]
fn bounds_need_no_model() {
    let place = Place::new();
    let found = place.run("regions --bounds 2,10,10,10 --json").succeeds().json()[0].clone();
    assert_eq!(found, serde_json::json!({ "at_least": "72576", "at_most": "175616" }));
    assert!(place.run("regions --bounds 1,5,5").succeeds().stdout.contains("36 at most, which some weights reach"));
}

#[test]
fn what_has_no_regions_is_refused() {
    let place = trained();
    let curved = "train --data circle.csv --target inside --preset tabular-plain --activation tanh --epochs 1 --quiet";
    place.run(&format!("{curved} --out curved")).succeeds();
    place.run("regions curved").fails(1, &["curved (the model)", "tanh is curved", "use relu"]);
    place.run("train --data circle.csv --target inside --epochs 1 --quiet --out embedded").succeeds();
    place.run("regions embedded").fails(1, &["embeds its inputs", "--preset tabular-plain"]);
    place.run("regions run --box 0,1").fails(2, &["box", "it has 2 numbers", "X0,X1,Y0,Y1"]);
    place.run("regions run --box 1,0,0,1").fails(2, &["box", "1 to 0"]);
    place.run("regions run --line 0").fails(2, &["line", "1 sample", "give 2"]);
    place.run("regions run --plane 0,1,0").fails(2, &["plane", "sample 0 is named twice"]);
    place.run("regions run --plane 0,1,4000").fails(2, &["plane", "no sample 4000"]);
    place.run("regions run/model.safetensors --plane 0,1,2").fails(1, &["where its table is", "folder of its run"]);
    place.run("regions run/model.safetensors --every 2").fails(2, &["every", "no run's folder"]);
    place.run("regions run --out regions.pdf").fails(2, &["out", ".png or .svg"]);
    place.run("regions --bounds 0,2").fails(2, &["bounds", "2,50,50"]);
    place.run("regions").fails(2, &["<MODEL>"]);
}

/// Numbers of a JSON array.
fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn rows(values: &Value) -> Vec<Vec<f64>> {
    values.as_array().unwrap().iter().map(numbers).collect()
}

#[test]
fn an_explanation_is_the_calculation_by_hand() {
    let place = Place::new();
    place.write("xor.csv", format!("a,b,y\n{}", "0,0,no\n0,1,yes\n1,0,yes\n1,1,no\n".repeat(10)));
    place
        .run(
            "train --data xor.csv --target y --numeric a,b --preset tabular-plain --scaling none --hidden 2 \
             --activation sigmoid --epochs 3 --device cpu --quiet --out run",
        )
        .succeeds();
    let found = place.run("explain run --sample 1 --json").succeeds().json()[0].clone();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    // Forward.
    let mut h = numbers(&found["inputs"]);
    let mut inputs = Vec::new();
    for layer in found["layers"].as_array().unwrap() {
        let z = numbers(&layer["pre_activations"]);
        for ((row, bias), z) in rows(&layer["weights"]).iter().zip(numbers(&layer["biases"])).zip(&z) {
            close(row.iter().zip(&h).map(|(w, h)| w * h).sum::<f64>() + bias, *z);
        }
        inputs.push(std::mem::replace(&mut h, numbers(&layer["activations"])));
        if layer["activation"] == "sigmoid" {
            z.iter().zip(&h).for_each(|(z, h)| close(1.0 / (1.0 + (-z).exp()), *h));
        } else {
            assert_eq!(z, h);
        }
    }
    // The loss, and backward.
    let target = number(&found["target"]) as usize;
    let sum: f64 = h.iter().map(|z| z.exp()).sum();
    close(sum.ln() - h[target], found["loss"].as_f64().unwrap());
    let by_outputs: Vec<f64> =
        h.iter().enumerate().map(|(i, z)| z.exp() / sum - if i == target { 1.0 } else { 0.0 }).collect();
    let mut d = by_outputs;
    for (l, layer) in found["layers"].as_array().unwrap().iter().enumerate().rev() {
        numbers(&layer["gradient"]["biases"]).iter().zip(&d).for_each(|(found, d)| close(*found, *d));
        for (row, d) in rows(&layer["gradient"]["weights"]).iter().zip(&d) {
            row.iter().zip(&inputs[l]).for_each(|(found, input)| close(*found, d * input));
        }
        let weights = rows(&layer["weights"]);
        let by_h: Vec<f64> =
            (0..inputs[l].len()).map(|i| weights.iter().zip(&d).map(|(row, d)| row[i] * d).sum()).collect();
        d = by_h.iter().zip(&inputs[l]).map(|(d, h)| d * h * (1.0 - h)).collect();
    }
    // The text has the same numbers.
    let text = place.run("explain run --sample 1").succeeds().stdout;
    let loss = found["loss"].as_f64().unwrap();
    assert!(text.contains(&format!(": {loss}")), "{loss}: {text}");
    assert!(text.contains("z1 = w1,1 · x1 + w1,2 · x2 + b1") && text.contains("∂L/∂h1 = w3,1 · ∂L/∂y1"), "{text}");
    // Another target gives another loss.
    let other = place.run("explain run --sample 1 --target no --json").succeeds().json()[0].clone();
    assert_ne!(other["loss"], found["loss"]);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let place = trained();
    place.run("explain run --sample 4000").fails(2, &["sample", "no sample 4000"]);
    place.run("explain run --input 1,2").fails(2, &["input", "rows of a table", "--sample"]);
    place.run("explain run --target perhaps").fails(2, &["target", "no class 'perhaps'"]);
    place.run("train --data circle.csv --target x --ignore inside --epochs 1 --quiet --out values").succeeds();
    for target in ["many", "1,2", "nan"] {
        place.run(&format!("explain values --json --target {target}")).fails(2, &["target: ", target, "give 1 number"]);
    }
    place.run("explain run/model.safetensors").fails(1, &["where its table is"]);
    place.run("train --data digits --epochs 1 --device cpu --quiet --out digits").succeeds();
    place.run("explain digits").fails(1, &["235146 weights", "--json"]);
    let found = place.run("explain digits --json").succeeds().json()[0].clone();
    assert_eq!(found["layers"][0]["activations"].as_array().unwrap().len(), 256);
    place.run("explain digits --input 1,2 --json").fails(2, &["it has 2 values, and the network 784"]);
}
