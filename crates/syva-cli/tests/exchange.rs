//! Models from other programs and for them, and trainings that begin with a model's weights.

mod common;

use common::Place;

/// A file that PyTorch wrote.
fn torch(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../syva-exchange/tests/torch");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn weights_of_pytorch_become_a_model_that_predicts_and_is_trained_further() {
    let place = Place::new();
    place.write("net.pt", torch("sequential.pt"));
    place.write("evil.pt", torch("evil.pt"));
    let import =
        "import net.pt --activation relu --columns a,b,c,d --classes blue,green,red --target colour -o net.safetensors";
    let said = place.run(import).succeeds();
    assert_eq!(said.stdout, "net.safetensors: 4-8-5-3 with relu, logits, from the layers 0, 2, 4\n");
    let mut table = "a,b,c,d,colour\n".to_string();
    for i in 0..60 {
        let (a, b, c) = (f64::from(i % 7) - 3.0, f64::from(i % 5), f64::from(i * 13 % 11));
        table += &format!("{a},{b},{c}.5,0.25,{}\n", ["red", "green", "blue"][(i % 3) as usize]);
    }
    place.write("t.csv", &table);
    let rows = place.run("predict net.safetensors t.csv").succeeds().stdout;
    assert!(
        rows.starts_with("a,b,c,d,colour,prediction,probability:blue,probability:green,probability:red\n"),
        "{rows}"
    );
    place.run("eval net.safetensors --data t.csv").succeeds();
    place.run("summary net.safetensors").succeeds();
    // Other columns than those of the model.
    let train = "train --data t.csv --target colour --scaling none --epochs 2 --out run --init-from net.safetensors";
    place.run(train).fails(1, &["the model is 4-8-5-3, the network to train 3-8-5-3"]);
    place.write("t.csv", table.replace("0.25,green", "1.75,green"));
    let said = place.run(train).succeeds().stderr;
    assert!(said.contains("net.safetensors scales columns or targets by other data"), "{said}");
    // The same columns in another order are other inputs.
    place.write("t.csv", table.replace("a,b,c,d,", "b,a,c,d,").replace("0.25,green", "1.75,green"));
    place.run(&train.replace("run", "x")).fails(1, &["input 1 of the model is 'a', and 'b' in the data"]);
    place.run("import evil.pt --activation relu -o evil.safetensors").fails(1, &["posix.system", "could run code"]);
    assert!(!place.path("evil.safetensors").exists());
    place.run("import net.pt --activation relu -o run/model.safetensors").fails(2, &["lies in the folder of a run"]);
    place.run("import net.pt --activation relu -o run/x.bin").fails(2, &["ends in .safetensors"]);
    place.run("import net.pt --activation relu --image 2x3 -o x.safetensors").fails(2, &["does not hold 4 features"]);
    place.run("import net.pt --activation relu --image 2 -o x.safetensors").fails(2, &["write them as 28x28"]);
    place.run("import net.pt -o x.safetensors").fails(2, &["--activation"]);
    place.run("import absent.pt --activation relu -o x.safetensors").fails(1, &["absent.pt"]);
}

/// Plain gradient descent remembers nothing but its weights, so two trainings one after the other are one, but for the order
/// of the samples.
#[test]
fn a_training_begins_with_the_weights_of_a_model() {
    let place = Place::new();
    place.train("--epochs 1 --quiet --seed 5 --out first").succeeds();
    place.write("other.safetensors", std::fs::read(place.path("first/model.safetensors")).unwrap());
    let more = "--epochs 2 --json --init-from first";
    let digest = place.train(&format!("{more} --out whole")).succeeds().digest();
    assert_ne!(place.train("--epochs 2 --json --out drawn").succeeds().digest(), digest);
    let config = place.read("whole/config.toml");
    assert!(config.contains("[init_from]") && config.contains("first/model.safetensors"), "{config}");
    // Stopped, resumed, repeated: the same bits.
    place.train("--epochs 1 --quiet --init-from first --out half").succeeds();
    assert_eq!(place.run("resume half --epochs 2 --json").succeeds().digest(), digest);
    assert_eq!(place.run("train --like whole --epochs 2 --out again --json").succeeds().digest(), digest);
    // Killed before its first checkpoint, a run begins again with these weights, and with no others.
    std::fs::remove_dir_all(place.path("half/checkpoint")).unwrap();
    for file in ["half/model.safetensors", "half/metrics.jsonl"] {
        std::fs::remove_file(place.path(file)).unwrap();
    }
    assert_eq!(place.run("resume half --json").succeeds().digest(), digest);
    place.train("--epochs 3 --force --quiet --out first").succeeds();
    let said = place.run("train --like whole --epochs 2 --out third --json").succeeds();
    assert!(said.stderr.contains("has other weights than those that whole began with"), "{}", said.stderr);
    assert_ne!(said.digest(), digest);
    std::fs::remove_dir_all(place.path("half/checkpoint")).unwrap();
    for file in ["half/model.safetensors", "half/metrics.jsonl"] {
        std::fs::remove_file(place.path(file)).unwrap();
    }
    place.run("resume half").fails(1, &["are not those that the run began with", "restore the file"]);
    place.run("resume whole --init-from other.safetensors").fails(2, &["resuming cannot change this setting"]);
    // What does not fit is said.
    place.train("--epochs 1 --init-from other.safetensors --init he-normal --out x").fails(2, &["has no effect"]);
    place
        .run("train --data digits --hidden 9 --epochs 1 --init-from other.safetensors --out x")
        .fails(1, &["the model is 784-10, the network to train 784-9-10"]);
    place.train("--epochs 1 --init-from absent.safetensors --out x").fails(1, &["absent.safetensors"]);
    place
        .run("lr-find --data digits --init-from other.safetensors")
        .fails(2, &["init-from: the test begins with drawn"]);
    assert!(!place.path("x").exists());
}

#[test]
fn a_model_is_exported_for_onnx_runtime_and_pytorch() {
    let place = Place::new();
    place.finished("digits");
    let said = place.run("export digits -o digits.onnx").succeeds().stdout;
    let bytes = std::fs::read(place.path("digits.onnx")).unwrap();
    assert!(said.starts_with("wrote digits.onnx (") && bytes.windows(10).any(|part| part == b"fc1.weight"), "{said}");
    place.run("export digits/model.safetensors -o digits.py").succeeds();
    let code = place.read("digits.py");
    assert!(code.contains("MODEL = \"model.safetensors\"") && code.contains("self.fc1 = nn.Linear(784, 10)"), "{code}");
    // The same model gives the same files.
    place.run("export digits -o again.onnx").succeeds();
    assert_eq!(std::fs::read(place.path("again.onnx")).unwrap(), bytes);
    place.run("export digits --fast -o fast.onnx").succeeds();
    assert_ne!(std::fs::read(place.path("fast.onnx")).unwrap(), bytes);
    place.run("export digits --fast -o fast.py").fails(2, &["fast: PyTorch code has one arithmetic"]);
    place.run("export digits -o digits.pt").fails(2, &["ends in .onnx or .py"]);
    place.run("export digits -o digits/model.safetensors").fails(2, &["a run's own file"]);
    place.run("export absent -o x.onnx").fails(1, &["absent"]);
    place
        .run("train --data digits --hidden none --optimizer adam --for 0.001s --epochs 200 --quiet --out begun")
        .succeeds();
    place.run("export begun -o x.py").fails(1, &["PyTorch code loads a model file, and this is a checkpoint"]);
    place.run("export begun -o x.onnx").succeeds();
}
