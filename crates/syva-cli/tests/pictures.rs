//! `syva plot` and `syva report`, and what a run logs for TensorBoard.

mod common;

use common::Place;
use syva_tensorboard::Log;

/// Width and height of a PNG file.
fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn every_picture_of_a_run_is_drawn_in_both_formats_and_themes() {
    let place = Place::new();
    place.train("--epochs 3 --out run").succeeds();
    for what in ["curves", "confusion", "weights", "misread", "reliability", "network"] {
        place.run(&format!("plot run --what {what}")).succeeds();
        let (width, height) = png_size(&std::fs::read(place.path(format!("run/plots/{what}.png"))).unwrap());
        assert!(width > 200 && height > 150, "{what}: {width} x {height}");
        place.run(&format!("plot run --what {what} --theme dark --out {what}.svg")).succeeds();
        let svg = place.read(&format!("{what}.svg"));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("#16181d"), "{what}");
    }
    assert!(place.read("network.svg").contains("x₇₈₄"));
    assert!(place.read("misread.svg").contains('→'));
    place.run("plot --what network --inputs 2 --hidden 3,3 --outputs 1 --out chapter.svg").succeeds();
    assert!(place.read("chapter.svg").contains("2-3-3-1"));
}

#[test]
fn curves_of_ranges_several_runs_and_event_files() {
    let place = Place::new();
    place.train("--epochs 4 --out a").succeeds();
    place.train("--epochs 4 --seed 2 --out b").succeeds();
    place.run("plot a b --metric acc --from 2 --to 3 --smooth 0.5 --out both.svg").succeeds();
    let svg = place.read("both.svg");
    assert!(svg.contains("a val_acc") && svg.contains("b train_acc") && !svg.contains("loss"), "{svg}");
    // The same curves, from event files, which any program may have written.
    place.run("plot a/tensorboard --metric loss --out events.svg").succeeds();
    let svg = place.read("events.svg");
    assert!(svg.contains("Loss_train_vs_val_train") && !svg.contains("hparam"), "{svg}");
    place.run("plot a --tag training/step_milliseconds --out tag.svg").succeeds();
    let says = ["a: there are no points between --from and --to; give a range within epoch 1 to 4"];
    place.run("plot a --from 9 --out none.png").fails(1, &says);
    place.train("--epochs 2 --out short").succeeds();
    let ran = place.run("plot a short --from 3 --out late.svg").succeeds();
    let wanted = "syva: short train_loss, short val_loss: no values between --from and --to, so they are not drawn";
    assert_eq!(ran.stderr.trim_end(), wanted);
    place.run("plot a --from 3 --to 2").fails(2, &["to: --to 2 is below --from 3"]);
    place.run("plot a --from 3 --to 3 --out one.svg").succeeds();
    let svg = place.read("one.svg");
    assert!(svg.contains("a: loss") && svg.contains("a: accuracy"), "one above the other: {svg}");
    // In the current folder, the file that is replaced may be the user's own.
    for replaced in ["", "syva: replaced curves.png (--out writes to another file)\n"] {
        assert_eq!(place.run("plot a b").succeeds().stderr, replaced);
    }
    std::fs::remove_file(place.path("curves.png")).unwrap();
    std::fs::create_dir(place.path("curves.png")).unwrap();
    let failed = place.run("plot a b").fails(1, &["cannot replace curves.png: it is a folder; name a file"]);
    assert!(!failed.stderr.contains("syva: replaced"), "{}", failed.stderr);
    for (flags, says) in [
        ("a --what network --count 5", "count: it has no effect on --what network; leave it out"),
        ("a --what misread --from 2", "from: it has no effect on --what misread; leave it out"),
        ("a --what weights --data-dir x", "data-dir: it has no effect on --what weights"),
        ("a --what network --inputs 3", "--inputs"),
        ("--hidden 3", "hidden: it has no effect on --what curves"),
        ("a --what misread --count 0", "it is 0; give 1 or more"),
    ] {
        place.run(&format!("plot {flags}")).fails(2, &[says]);
    }
    place.run("plot a --smooth 1").fails(2, &["smooth: 1 is not a smoothing weight"]);
    place.run("plot a --tag nothing").fails(1, &["no curve matches; there are: "]);
    place.run("plot a --out picture.gif").fails(2, &["give a name that ends in .png or .svg"]);
    place.run("plot missing").fails(1, &["missing (the run): there is no such folder"]);
    place.run("plot").fails(2, &["there is nothing to draw"]);
    place.run("plot a b --what confusion").fails(2, &["this plot is of a single model"]);
    let says = "cannot create missing/picture.png: there is no folder missing; create it first";
    place.run("plot a --out missing/picture.png").fails(1, &[says]);
    place.write("empty/notes.txt", "");
    place.run("plot empty").fails(1, &["there are no metrics and no event files in it"]);
    place.run("plot a/model.safetensors").fails(1, &["a/model.safetensors (the run): it is a file", "--what"]);
    place.write("torn/a.tfevents", "no events at all, but long enough");
    place.run("plot torn").fails(1, &["no curve matches"]);
    assert!(!place.path("none.png").exists() && !place.path("picture.gif").exists());
}

/// A syva run's epochs and another program's steps are not silently put on one axis.
#[test]
fn steps_are_not_called_epochs() {
    let place = Place::new();
    place.train("--epochs 3 --out run").succeeds();
    let mut writer = syva_tensorboard::Writer::create(place.path("theirs")).unwrap();
    (0..300).for_each(|step| writer.scalar("Loss/train", step, 1.0 / (1.0 + step as f64)).unwrap());
    drop(writer);
    place.run("plot theirs --out theirs.svg").succeeds();
    let svg = place.read("theirs.svg");
    assert!(svg.contains(">step<") && !svg.contains("epoch"), "{svg}");
    let ran = place.run("plot run theirs --out both.svg").succeeds();
    assert!(ran.stderr.contains("some of these curves are in epochs and others in steps"), "{}", ran.stderr);
    assert!(place.read("both.svg").contains("epoch or step"));
    place.run("plot run --tag Loss/train_batch --out batch.svg").succeeds();
    let svg = place.read("batch.svg");
    assert!(svg.contains(">step<") && svg.contains(">run<") && !svg.contains(">tensorboard<"), "{svg}");
    place.run("plot theirs run --tag nothing").fails(1, &["no curve matches; there are: Loss/train;"]);
}

#[test]
fn curves_are_told_apart_by_one_rule() {
    let place = Place::new();
    place.train("--epochs 2 --no-tensorboard --out run").succeeds();
    let dashed = |line: &str, out: &str| {
        place.run(&format!("plot {line} --out {out}.svg")).succeeds();
        place.read(&format!("{out}.svg")).matches("stroke-dasharray=\"6 5\"").count()
    };
    // Each counts twice: in the chart and in the legend.
    assert_eq!(dashed("run", "both"), 2 * 2, "accuracy beside loss");
    assert_eq!(dashed("run --metric loss", "loss"), 0, "colours are enough");
    assert_eq!(dashed("run run", "several"), 2 * 2, "training");
    // When the colours are used up, runs get other dashes.
    place.run(&format!("plot {} --out many.svg", "run ".repeat(7))).succeeds();
    assert!(place.read("many.svg").contains("stroke-dasharray=\"12 3 2 3\""));
    let smooth = place.run("plot run --smooth 0.6 --out smooth.svg").succeeds();
    assert_eq!(smooth.stderr, "");
    assert!(place.read("smooth.svg").contains("loss and accuracy, smoothed 0.6"));
}

/// If the model holds the weights of another epoch, the last epoch's figures are not taken for the model's.
#[test]
fn a_report_says_of_which_epoch_the_model_is() {
    let place = Place::new();
    place.train("--epochs 9 --lr 20 --seed 2 --keep best --out run").succeeds();
    place.train("--epochs 2 --out other").succeeds();
    place.edit("other/config.toml", "device = \"cpu\"", "device = \"<script>\"");
    place.run("report run other --out both.html").succeeds();
    let page = place.read("both.html");
    // For each run: the epoch whose weights the model holds, and the number of epochs.
    for part in ["<td data-v=8e0>8</td><td data-v=9e0>9 of 9</td>", "<td data-v=2e0>2</td><td data-v=2e0>2 of 2</td>"] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["<tr><td>accuracy</td>", "best of these", "&lt;script&gt;"] {
        assert!(page.contains(part), "{part}");
    }
    let networks = "<h2>Network of <bdi>other</bdi>, <bdi>run</bdi></h2>";
    assert_eq!(page.matches(networks).count(), 1, "the same network, once");
    let digest = place.run("eval run --json").succeeds().digest();
    assert!(page.contains(&digest), "whole digests");
    place.run("report run --out run/model.safetensors").fails(2, &["is the name of a run's own file"]);
    place.run("eval run --predictions run/config.toml").fails(2, &["is the name of a run's own file"]);
}

#[test]
fn a_run_logs_to_tensorboard_unless_told_not_to() {
    let place = Place::new();
    let logged = place.train("--epochs 3 --out run").succeeds();
    let silent = place.train("--epochs 3 --out silent --no-tensorboard").succeeds();
    let digest = |text: &str| text.split("sha256 of the weights").nth(1).map(str::to_string);
    assert!(digest(&logged.stdout).is_some() && digest(&logged.stdout) == digest(&silent.stdout));
    assert!(!place.path("silent/tensorboard").exists());
    let mut log = Log::new(place.path("run/tensorboard"));
    assert!(log.refresh().unwrap().is_empty());
    let epochs = place.read("run/metrics.jsonl");
    for (name, group) in [("loss", "Loss"), ("acc", "Accuracy")] {
        for series in ["train", "val"] {
            let points =
                &log.runs()[&format!("{group}_train_vs_val_{series}")].scalars[&format!("{group}/train_vs_val")];
            let logged: Vec<(i64, f32)> = points.iter().map(|point| (point.step, point.value as f32)).collect();
            let metrics = epochs.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let wanted: Vec<(i64, f32)> = metrics
                .map(|m| (m["epoch"].as_i64().unwrap(), m[format!("{series}_{name}")].as_f64().unwrap() as f32))
                .collect();
            assert_eq!(logged, wanted);
        }
    }
    let main = &log.runs()[""].scalars;
    assert_eq!(main["Loss/train_batch"].len(), 1);
    assert_eq!(main["hparam/final_val_loss"].len(), 1);
    assert_eq!(main["hparam/epochs"].iter().map(|point| point.value).collect::<Vec<_>>(), [3.0]);

    // A resumed run adds to the log, and counts nothing twice.
    place.run("resume run --epochs 5").succeeds();
    let mut log = Log::new(place.path("run/tensorboard"));
    log.refresh().unwrap();
    let steps = |run: &str, tag: &str| log.runs()[run].scalars[tag].iter().map(|p| p.step).collect::<Vec<_>>();
    assert_eq!(steps("Loss_train_vs_val_val", "Loss/train_vs_val"), [1, 2, 3, 4, 5]);
    assert_eq!(steps("", "training/learning_rate"), [15, 30, 45, 60, 75]);
    assert_eq!(steps("", "Loss/train_batch"), [0, 50]);
    let epochs = &log.runs()[""].scalars["hparam/epochs"];
    assert_eq!(epochs.last().map(|point| point.value), Some(5.0), "renewed");
}

#[test]
fn a_log_that_cannot_be_written_is_warned_of_once_and_stops_nothing() {
    let place = Place::new();
    place.train("--epochs 1 --out run").succeeds();
    std::fs::remove_dir_all(place.path("run/tensorboard")).unwrap();
    place.write("run/tensorboard", "a file where a folder should be");
    let ran = place.run("resume run --epochs 4");
    let warnings = ran.stderr.matches("TensorBoard's log is incomplete").count();
    assert_eq!(warnings, 1, "{}", ran.stderr);
    ran.succeeds();
    assert_eq!(place.read("run/metrics.jsonl").lines().count(), 4);
}

#[test]
fn eval_prints_the_report_and_writes_the_predictions() {
    let place = Place::new();
    place.train("--epochs 2 --out run").succeeds();
    let text = place.run("eval run --predictions predictions.csv").succeeds().stdout;
    for part in ["precision", "macro avg", "weighted avg", "top-2 accuracy", "Brier score", "confusion matrix"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let table = place.read("predictions.csv");
    assert_eq!(table.lines().count(), 10_001);
    assert_eq!(table.lines().next(), Some("sample,label,guess,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9"));
    let json: serde_json::Value = serde_json::from_str(&place.run("eval run --json").succeeds().stdout).unwrap();
    let hits = table.lines().skip(1).filter(|line| line.split(',').nth(1) == line.split(',').nth(2)).count();
    assert_eq!(json["accuracy"].as_f64(), Some(hits as f64 / 10_000.0));
    place.run("eval run --predictions missing/predictions.csv").fails(1, &["cannot create"]);
}

#[test]
fn a_dashboard_wants_a_terminal() {
    let place = Place::new();
    place.train("--epochs 1 --tui --out run").fails(2, &["tui: standard output is not a terminal"]);
    assert!(!place.path("run").exists());
    place.finished("run");
    place.run("top run").fails(2, &["top: standard output is not a terminal; run it"]);
}

#[test]
fn a_report_is_one_file_that_needs_nothing_else() {
    let place = Place::new();
    place.train("--epochs 3 --out a").succeeds();
    place.train("--epochs 3 --seed 2 --out b&<i>").succeeds();
    let out = place.run("report a").succeeds().stdout;
    assert_eq!(out.trim(), "a/report.html");
    let page = place.read("a/report.html");
    for part in
        ["class by class", "macro average", "val accuracy", "SHA-256 of the weights", "data:image/png;base64,", "drag"]
    {
        assert!(page.to_lowercase().contains(&part.to_lowercase()), "{part}");
    }
    assert!(!page.contains("src=\"http") && !page.contains("href="), "it must not ask the network");
    place.run("report a b&<i> --out both.html").succeeds();
    let page = place.read("both.html");
    assert!(page.contains("b&amp;&lt;i&gt;") && !page.contains("b&<i>"), "names are text, also in the data");
    assert!(page.contains("<bdi>b&amp;&lt;i&gt;</bdi>"), "and turn nothing around them");
    place.run("report missing").fails(1, &["missing (the run folder): there is no such folder"]);
    place.run("report a --out a.pdf").fails(2, &["out: 'a.pdf' is not", "give a name that ends in .html or .htm"]);
    assert!(!place.path("a.pdf").exists());
    place.write("foreign/config.toml", "a = 1");
    place.run("report foreign").fails(1, &["config.toml"]);
    place.run("report a --out missing/report.html").fails(1, &["cannot create"]);
}

/// If one run cannot be shown, for example one that was stopped, the others still are.
#[test]
fn a_report_leaves_out_what_cannot_be_shown_and_says_so() {
    let place = Place::new();
    place.train("--epochs 1 --out runs/good").succeeds();
    place.finished("runs/early");
    // Like a run that was stopped in its first epoch, before there was anything to save.
    for file in ["metrics.jsonl", "model.safetensors"] {
        std::fs::remove_file(place.path(format!("runs/early/{file}"))).unwrap();
    }
    std::fs::remove_dir_all(place.path("runs/early/checkpoint")).unwrap();
    place.write("runs/notes/todo.txt", "");
    place.write("runs/broken/config.toml", "a = 1");
    place.write("file", "");
    let ran = place.run("report runs/good runs/early runs/notes runs/broken file missing --out r.html").succeeds();
    for name in ["runs/early", "runs/notes", "runs/broken", "file", "missing"] {
        let line = ran.stderr.lines().find(|line| line.starts_with(&format!("syva: left out of the report: {name}")));
        assert!(line.is_some_and(|line| line.contains("; ")), "{name} and a remedy: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("syva: 1 of 6 runs shown"), "{}", ran.stderr);
    let page = place.read("r.html");
    assert!(page.contains("<summary>5 runs left out</summary>") && page.contains("it has not finished an epoch"));
    place.run("report runs/early runs/notes --out none.html").fails(1, &["none of the 2 folders holds a run"]);
    assert!(!place.path("none.html").exists());
}

/// A folder of runs stands for the runs in it.
#[test]
fn a_folder_of_runs_stands_for_them() {
    let place = Place::new();
    for run in ["runs/s2", "runs/s10"] {
        place.finished(run);
    }
    place.write("runs/notes/todo.txt", "");
    place.run("report runs --out r.html").succeeds();
    let page = place.read("r.html");
    let (first, second) = (page.find("<bdi>s2</bdi>").unwrap(), page.find("<bdi>s10</bdi>").unwrap());
    assert!(first < second && !page.contains("left out"));
    place.run("plot runs --out all.svg").succeeds();
    place.run("plot runs/s2 runs/s10 --out both.svg").succeeds();
    assert_eq!(place.read("all.svg"), place.read("both.svg"));
    // If one of them cannot be drawn, the others still are.
    place.write("runs/broken/config.toml", "a = 1");
    let ran = place.run("plot runs --out all.svg").succeeds();
    assert!(ran.stderr.starts_with("syva: left out of the plot: runs/broken/config.toml (line 1)"), "{}", ran.stderr);
    let named = place.run("plot runs/broken runs/s2 runs/s10 --out both.svg").succeeds();
    assert_eq!(named.stderr, ran.stderr);
    assert_eq!(place.read("all.svg"), place.read("both.svg"));
    assert!(place.read("both.svg").contains(">s2, s10: loss<"), "what is left out is not named");
    place.run("plot runs/broken").fails(1, &["syva: runs/broken/config.toml (line 1)"]);
    place.run("plot runs/broken runs/notes").fails(1, &["none of the 2 runs can be drawn"]);
    std::fs::remove_dir_all(place.path("runs/s2")).unwrap();
    std::fs::remove_dir_all(place.path("runs/s10")).unwrap();
    place.run("plot runs").fails(1, &["syva: runs/broken/config.toml (line 1)"]);
}

/// Each folder of event files is read once, however many links lead to it.
#[cfg(unix)]
#[test]
fn links_in_circles_are_walked_once() {
    let place = Place::new();
    place.train("--epochs 2 --quiet --out run").succeeds();
    for link in ["a", "b", "c", "d"] {
        std::os::unix::fs::symlink(".", place.path("run/tensorboard").join(link)).unwrap();
    }
    place.run("plot run/tensorboard --out circles.svg").succeeds();
    assert!(!place.read("circles.svg").contains("a/"));
}

#[test]
fn a_picture_that_no_memory_has_room_for_is_refused() {
    let place = Place::new();
    let deep = vec!["1"; 10_000].join(",");
    place.run(&format!("plot --what network --hidden {deep} --out n.png")).fails(2, &["is too large", ".svg"]);
    place.run(&format!("plot --what network --hidden {deep} --out n.svg")).succeeds();
}

/// The data of a report's curves.
fn series(page: &str) -> serde_json::Value {
    let data = page.split("id=data>").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
    serde_json::from_str(data).unwrap()
}

#[test]
fn a_report_puts_runs_together_that_differ_only_in_seed() {
    let place = Place::new();
    for seed in [10, 2, 1] {
        place.train(&format!("--epochs 3 --seed {seed} --no-tensorboard --quiet --out s{seed}")).succeeds();
    }
    place.train("--epochs 3 --seed 1 --init he-normal --no-tensorboard --quiet --out he").succeeds();
    place.train("--epochs 2 --seed 4 --no-tensorboard --quiet --out short").succeeds();
    // The same seed and the same folder once more: neither is another sample.
    place.train("--epochs 3 --seed 1 --no-tensorboard --quiet --out s1again").succeeds();
    place.run("report s10 s2 s1 he short s1again ./s1 --out r.html").succeeds();
    let page = place.read("r.html");
    let series = series(&page);
    let names: Vec<_> = series
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["n"].as_u64().unwrap()))
        .collect();
    assert_eq!(names, [("he-normal, epochs 3", 1), ("pytorch, epochs 3", 3), ("pytorch, epochs 2", 1)]);
    let together = &series[1];
    assert_eq!(together["runs"], serde_json::json!(["s1", "s2", "s10"]), "in the order that people count in");
    let losses: Vec<Vec<f64>> = ["s1", "s2", "s10"]
        .iter()
        .map(|run| {
            let text = place.read(&format!("{run}/metrics.jsonl"));
            let loss =
                |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["val_loss"].as_f64().unwrap();
            text.lines().map(loss).collect()
        })
        .collect();
    for epoch in 0..3 {
        let values: Vec<f64> = losses.iter().map(|run| run[epoch]).collect();
        let mean = values.iter().sum::<f64>() / 3.0;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        for (name, wanted) in [("val_loss", mean), ("val_loss_sd", deviation)] {
            let found = together[name][epoch].as_f64().unwrap();
            assert!((found / wanted - 1.0).abs() < 1e-5, "{name} {epoch}: {found}, {wanted}");
        }
    }
    assert!(page.contains("<td data-v=3e0>3</td>") && page.contains(" ± "), "a table of groups");
    // The table has columns for the settings that differ, and for no others.
    // There is no column of names that only repeat the settings.
    assert!(page.contains("<thead><tr><th>init</th><th>epochs</th><th>seeds</th>"));
    place.run("report s10 s2 --out named.html").succeeds();
    assert!(place.read("named.html").contains("<thead><tr><th></th><th>seeds</th>"));
    for (head, there) in
        [("init", true), ("seed", true), ("batch size", false), ("optimizer", false), ("hidden", false)]
    {
        assert_eq!(page.contains(&format!("<th>{head}</th>")), there, "{head}");
    }
    assert!(page.contains("optimizer <b>sgd</b>"), "what is the same is said once");
}

/// With many runs, the page stays small, has no sentences about each, and lays out only what is opened.
#[test]
fn a_report_of_many_runs_is_small_and_says_how_far_it_is() {
    let place = Place::new();
    place.train("--epochs 1 --no-tensorboard --quiet --out a-run-with-a-name-1").succeeds();
    for copy in 2..=12 {
        for file in ["config.toml", "metrics.jsonl", "model.safetensors", "checkpoint/last.safetensors"] {
            let bytes = std::fs::read(place.path(format!("a-run-with-a-name-1/{file}"))).unwrap();
            place.write(&format!("a-run-with-a-name-{copy}/{file}"), bytes);
        }
    }
    let runs: Vec<String> = (1..=12).map(|run| format!("a-run-with-a-name-{run}")).collect();
    let runs = runs.join(" ");
    let ran = place.run(&format!("report {runs} --out r.html")).succeeds();
    assert!(ran.stderr.contains("syva: 10 of 12 runs read"), "{}", ran.stderr);
    let page = place.read("r.html");
    assert!(page.contains("<h1><bdi>12 runs</bdi></h1>"));
    assert!(page.len() < 12 * 150_000, "{} bytes a run", page.len() / 12);
    // What the browser lays out at once: everything but the sections that open.
    let at_once: String = page.split("<noscript>").map(|part| part.split("</noscript>").last().unwrap()).collect();
    assert!(!at_once.contains("val loss was lowest in the last epoch") && !at_once.contains("data:image"), "{at_once}");
    assert!(page.contains("data:image/png;base64,") && page.contains("val loss was lowest in the last epoch"));
}

/// Names control neither the terminal nor the direction of the text around them.
#[cfg(unix)]
#[test]
fn names_from_outside_are_shown_harmless() {
    let place = Place::new();
    let name = "z\u{1b}]0;x\u{7}\u{202e}abc $a$b";
    place.finished("run");
    std::fs::rename(place.path("run"), place.path(name)).unwrap();
    for args in [vec!["report", name, "--out", "r.html"], vec!["plot", name, "--out", "p.svg"]] {
        common::Ran::new(place.syva(args).output().unwrap()).succeeds();
    }
    for file in ["r.html", "p.svg"] {
        let text = place.read(file);
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{file}");
        assert!(text.contains("z\u{fffd}]0;x\u{fffd}\u{fffd}abc $a$b"), "{file}: {text}");
    }
}

#[test]
fn weights_are_numbered_and_those_of_classes_say_so() {
    let place = Place::new();
    place.finished("flat");
    place.run("plot flat --what weights --out flat.svg").succeeds();
    let svg = place.read("flat.svg");
    assert!(svg.contains(">class 0<") && svg.contains(">class 9<") && svg.contains("each class (all 10)"), "{svg}");
    let deep =
        ["train", "--data", "digits", "--hidden", "12", "--batch-size", "4096", "--epochs", "1", "--out", "deep"];
    common::Ran::new(place.syva(deep).output().unwrap()).succeeds();
    place.run("plot deep --what weights --count 11 --out deep.svg").succeeds();
    let svg = place.read("deep.svg");
    assert!(svg.contains(">1<") && svg.contains(">11<") && svg.contains("first layer (11 of 12)"), "{svg}");
}

/// Numbers of any size stay readable. Axes once had labels of 39 digits.
#[test]
fn huge_numbers_are_short_in_pictures_and_lines() {
    let place = Place::new();
    let mut writer = syva_tensorboard::Writer::create(place.path("theirs")).unwrap();
    (0..30).for_each(|step| writer.scalar("loss", step, 1.2198e31 / (1.0 + step as f64)).unwrap());
    drop(writer);
    place.run("plot theirs --out p.svg").succeeds();
    let svg = place.read("p.svg");
    let longest =
        svg.split("</text>").filter_map(|text| text.rsplit('>').next()).map(|text| text.chars().count()).max();
    assert!(longest.unwrap() < 14 && svg.contains("e31<"), "{svg}");
    let wild = place.train("--epochs 1 --lr 1e30 --no-tensorboard --out wild");
    assert!(!wild.stdout.contains("0000000"), "{}", wild.stdout);
}

/// A run that was killed between two checkpoints. Its curves are ahead of its weights.
#[test]
fn a_report_says_if_its_details_are_of_older_weights_than_its_curves() {
    let place = Place::new();
    let args = ["train", "--epochs", "1000000", "--checkpoint-seconds", "1000", "--quiet", "--out", "run"];
    let mut running = place.syva(args.into_iter().chain(common::SMALL)).spawn().unwrap();
    common::wait_for("two epochs", || {
        std::fs::read_to_string(place.path("run/metrics.jsonl")).is_ok_and(|text| text.lines().count() >= 2)
    });
    running.kill().unwrap();
    running.wait().unwrap();
    place.run("report run").succeeds();
    let page = place.read("run/report.html");
    let says = "<p class=nothing>the run is not finished, and this is about its last checkpoint, after 0 steps: the \
                untrained weights, from before the epochs of the curves</p>";
    assert!(page.contains(says), "{page}");
    assert!(page.contains("<td>model of epoch</td><td>checkpoint after<br>0 steps, not finished</td>"), "{page}");
    assert!(!page.contains("nothing learned"), "{page}");
    // The figures in the table are those of the same weights.
    let judged = place.run("eval run --json").succeeds();
    let accuracy = format!("{:.2} %", 100.0 * judged.json()[0]["accuracy"].as_f64().unwrap());
    assert!(page.contains(&format!("<td>val accuracy</td><td><b>{accuracy}</b></td>")), "{accuracy}: {page}");
    assert!(judged.json()[0]["warnings"] == serde_json::json!([]) && !judged.stderr.contains("nothing learned"));
}

/// The report on a run that learned nothing says so, and not when its loss was lowest.
#[test]
fn a_report_says_of_a_run_that_it_learned_nothing() {
    let place = Place::new();
    place.train("--epochs 1 --no-tensorboard --quiet --out good").succeeds();
    place.train("--epochs 1 --lr 1e-30 --init zeros --no-tensorboard --quiet --out nothing").succeeds();
    place.run("report good nothing --out r.html").succeeds();
    let page = place.read("r.html");
    assert!(page.contains("<bdi>nothing</bdi><br><span class=nothing>learned nothing</span>"), "{page}");
    assert_eq!(page.matches("class=nothing>").count(), 1);
    assert!(page.contains("<p><bdi>nothing</bdi>: nothing learned so far: "), "{page}");
    assert!(page.contains("<p><bdi>good</bdi>: val loss was lowest in the last epoch"), "{page}");
}

/// More event files than files may be open at a time.
#[cfg(unix)]
#[test]
fn any_number_of_event_files_can_be_drawn() {
    let place = Place::new();
    place.finished("run");
    let from = "run/tensorboard/Loss_train_vs_val_train";
    let name = place.names(from).remove(0);
    for number in 0..150 {
        place.write(&format!("logs/{number}/{name}"), std::fs::read(place.path(from).join(&name)).unwrap());
    }
    let all = place.run("plot logs --tag Loss/train_vs_val --out all.svg").succeeds();
    let few = place.sh("ulimit -n 40; \"$SYVA\" plot logs --tag Loss/train_vs_val --out few.svg").succeeds();
    assert!(few.stderr == all.stderr && !few.stderr.contains("cannot read"), "{}", few.stderr);
    assert_eq!(place.read("few.svg"), place.read("all.svg"));
}

/// A picture without the points of a file that could not be read would be wrong.
#[cfg(unix)]
#[test]
fn an_event_file_that_cannot_be_read_is_no_picture() {
    let place = Place::new();
    place.finished("run");
    place.write("logs/b/events.out.tfevents.2", "");
    place.sh("cp run/tensorboard/events* logs").succeeds();
    // Reading its memory from the beginning fails, for root as well.
    place.sh("ln -s /proc/self/mem logs/events.out.tfevents.1").succeeds();
    place.run("plot logs --out x.svg").fails(1, &["cannot read logs/events.out.tfevents.1: "]);
    assert!(!place.path("x.svg").exists());
}
