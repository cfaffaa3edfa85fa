//! `syva predict`: images of all kinds, and files that are not images.

mod common;

use common::Place;

/// A grey BMP with 24 bits per pixel: `[height, width]`, the last row first, rows padded to four bytes.
fn bmp(width: usize, height: usize, pixel: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let stride = (3 * width).next_multiple_of(4);
    let size = 54 + stride * height;
    let mut bytes = b"BM".to_vec();
    for word in [size as u32, 0, 54, 40, width as u32, height as u32, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for y in (0..height).rev() {
        let mut row: Vec<u8> = (0..width).flat_map(|x| [pixel(x, y); 3]).collect();
        row.resize(stride, 0);
        bytes.extend(row);
    }
    bytes
}

/// The digit one in dark ink on light paper.
fn one(x: usize, y: usize) -> u8 {
    if (60..72).contains(&x) && (30..130).contains(&y) { 30 } else { 220 }
}

#[test]
fn a_scan_is_framed_and_read() {
    let place = Place::new();
    place.run("train --data digits --hidden 32 --epochs 3 --lr 0.3 --out run").succeeds();
    place.write("one.bmp", bmp(150, 160, one));
    let text = place.run("predict run one.bmp --show").succeeds().stdout;
    assert!(text.contains("one.bmp: 1 ") && text.contains("██"), "{text}");
    let rows = text.lines().filter(|line| line.contains('█')).count();
    assert!((18..=20).contains(&rows), "{text}");
    let json = place.run("predict run/model.safetensors one.bmp --json").succeeds().json();
    assert_eq!((json.len(), json[0]["class"].as_u64()), (1, Some(1)));
    let sum: f64 = json[0]["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-12);
}

#[test]
fn idx_files_are_read_as_they_are_and_as_eval_reads_them() {
    let place = Place::new();
    place.train("--epochs 1 --out run").succeeds();
    place.run("data export --data digits --out data").succeeds();
    place.run("eval run --predictions predictions.csv").succeeds();
    let read = place.run("predict run data/t10k-images-idx3-ubyte --json").succeeds().json();
    let table = place.read("predictions.csv");
    let guesses: Vec<Option<u64>> = table.lines().skip(1).map(|l| l.split(',').nth(2)?.parse().ok()).collect();
    assert_eq!(read.iter().map(|line| line["class"].as_u64()).collect::<Vec<_>>(), guesses);
}

/// Each kind of outputs is told as what it is. No data is there to judge them by.
#[test]
fn outputs_of_every_head_are_told() {
    use syva::{Activation, Mlp, Model, State, Training};
    let place = Place::new();
    place.write("one.bmp", bmp(150, 160, one));
    let mlp =
        || Mlp::image(28, 28).hidden(&[4], Activation::Relu).normalized(syva::Normalization::pixels(0.1307, 0.3081));
    let heads = [
        ("regression", mlp().values(3), "values", 3),
        ("poisson", mlp().counts(2), "values", 2),
        ("gaussian", mlp().gaussian(2), "values", 4),
        ("multi-label", mlp().labels(3), "probabilities", 3),
        ("binary", mlp().binary(), "probabilities", 2),
    ];
    for (name, spec, key, count) in heads {
        let model = Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap());
        let file = format!("{name}.safetensors");
        model.save(place.path(&file)).unwrap();
        let json = place.run(&format!("predict {file} one.bmp --json")).succeeds().json();
        let values: Vec<f64> = json[0][key].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(values.len(), count, "{name}");
        match name {
            "poisson" => assert!(values.iter().all(|&rate| rate > 0.0), "{values:?}"),
            "gaussian" => assert!(values[1] > 0.0 && values[3] > 0.0, "{values:?}"),
            "multi-label" => {
                let likely = (0..3).filter(|&label| values[label] > 0.5).count();
                assert_eq!(json[0]["labels"].as_array().unwrap().len(), likely);
            }
            _ => {}
        }
        assert!(place.run(&format!("predict {file} one.bmp")).succeeds().stdout.starts_with("one.bmp: "));
        let refused = place.run(&format!("eval {file} --data digits"));
        refused.fails(1, &["the data has 10 classes", &format!("with head {name}")]);
    }
}

/// Pictures that the framing was not made for get a doubt.
#[test]
fn several_digits_and_crossed_lines_are_doubted() {
    let place = Place::new();
    place.finished("run");
    place.write("one.bmp", bmp(150, 160, one));
    place.write("two.bmp", bmp(150, 160, |x, y| one(x, y).min(one(x.saturating_sub(50), y))));
    place.write("lines.bmp", bmp(150, 160, |x, y| if y % 40 < 2 { 60 } else { one(x, y) }));
    assert_eq!(place.run("predict run one.bmp").succeeds().stderr, "");
    let ran = place.run("predict run one.bmp two.bmp lines.bmp --json").succeeds();
    assert!(ran.stderr.contains("two.bmp: 2 separate pieces of ink stand side by side"), "{}", ran.stderr);
    assert!(ran.stderr.contains("lines.bmp: ink reaches from edge to edge") && ran.stderr.contains("--show"));
    let doubts: Vec<_> = ran.json().iter().map(|line| line["doubts"].as_array().unwrap().len()).collect();
    assert_eq!(doubts, [0, 1, 1]);
}

/// Grey paper, boards, rims: these were once read backwards, or not at all.
#[test]
fn the_digit_is_found_on_any_paper() {
    let place = Place::new();
    place.run("train --data digits --hidden 32 --epochs 3 --lr 0.3 --out run").succeeds();
    let ink = |x, y| one(x, y) == 30;
    place.write("dim.bmp", bmp(150, 160, |x, y| if ink(x, y) { 20 } else { 127 }));
    place.write("board.bmp", bmp(150, 160, |x, y| if ink(x, y) { 240 } else { 135 }));
    place.write("rim.bmp", bmp(150, 160, |x, y| if x == 0 || y == 0 || x == 149 || y == 159 { 40 } else { one(x, y) }));
    place.write("table.bmp", bmp(150, 160, |x, y| if x < 16 || y > 143 { 60 } else { one(x, y) }));
    place.write(
        "line.bmp",
        bmp(150, 160, |x, y| if (144..147).contains(&y) && (20..130).contains(&x) { 40 } else { one(x, y) }),
    );
    place.write("small.bmp", bmp(28, 28, |x, y| if (13..15).contains(&x) && (5..23).contains(&y) { 5 } else { 60 }));
    let ran = place.run("predict run dim.bmp board.bmp rim.bmp table.bmp line.bmp small.bmp --json").succeeds();
    let classes: Vec<_> = ran.json().iter().map(|line| line["class"].as_u64()).collect();
    assert_eq!(classes, [Some(1); 6]);
    assert!(ran.stderr.contains("table.bmp: 1") && ran.stderr.contains("comes in from the edge"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

/// In all three ways: framed, as it is, and from an IDX file.
#[test]
fn where_nothing_is_to_be_seen_nothing_is_read() {
    let place = Place::new();
    place.finished("run");
    place.write("black.bmp", bmp(28, 28, |_, _| 0));
    place.write("gray.bmp", bmp(28, 28, |_, _| 50));
    place.write("white.bmp", bmp(300, 300, |_, _| 255));
    place.write("one.bmp", bmp(150, 160, one));
    let ran = place.run("predict run black.bmp gray.bmp white.bmp");
    assert_eq!(ran.stdout, "");
    ran.fails(
        1,
        &["black.bmp (the image): no digit was found", "gray.bmp (the image): no digit was found", "white.bmp (the"],
    );
    place.run("predict run --as-is white.bmp").fails(1, &["white.bmp (the image): it is blank"]);
    place.run("predict run --as-is one.bmp").succeeds();
    let mut idx = [&[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 28, 0, 0, 0, 28][..], &[0; 784 * 2], &[9; 784]].concat();
    idx[16 + 784 + 400..16 + 784 + 410].fill(255);
    place.write("three-idx3", idx);
    let ran = place.run("predict run three-idx3");
    assert!(ran.stdout.starts_with("three-idx3#1: ") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    ran.fails(1, &["three-idx3#0: it is blank", "three-idx3#2: it is blank"]);
}

/// A picture in each format, made by the crate that reads them. If a file has several pictures, the first is read, with
/// a note.
#[test]
fn formats_are_read_by_their_content() {
    use image::{DynamicImage, Frame, GrayImage, ImageFormat, Luma, Rgba, RgbaImage, codecs::gif::GifEncoder};
    let place = Place::new();
    place.run("train --data digits --hidden 32 --epochs 3 --lr 0.3 --out run").succeeds();
    let gray = GrayImage::from_fn(150, 160, |x, y| Luma([one(x as usize, y as usize)]));
    let formats =
        [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Pnm, ImageFormat::Bmp];
    let mut names = String::new();
    for (i, format) in formats.into_iter().enumerate() {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let picture = DynamicImage::from(gray.clone());
        let picture = if format == ImageFormat::Pnm { picture } else { picture.to_rgba8().into() };
        picture.write_to(&mut bytes, format).unwrap();
        place.write(&format!("{i}.picture"), bytes.into_inner());
        names += &format!(" {i}.picture");
    }
    // White, yellow and black strokes on a transparent picture. As on a canvas, transparent pixels are black.
    for (i, colour) in [[255, 255, 255], [255, 235, 60], [0, 0, 0]].into_iter().enumerate() {
        let [r, g, b] = colour;
        let pixel = |x, y| if one(x as usize, y as usize) == 30 { Rgba([r, g, b, 255]) } else { Rgba([0; 4]) };
        let mut bytes = std::io::Cursor::new(Vec::new());
        RgbaImage::from_fn(150, 160, pixel).write_to(&mut bytes, ImageFormat::Png).unwrap();
        place.write(&format!("clear{i}.png"), bytes.into_inner());
        names += &format!(" clear{i}.png");
    }
    let ran = place.run(&format!("predict run{names} --json")).succeeds();
    assert_eq!(ran.json().iter().map(|line| line["class"].as_u64()).collect::<Vec<_>>(), [Some(1); 9]);
    assert_eq!(ran.stderr, "");

    let mut bytes = Vec::new();
    let frame = || Frame::new(DynamicImage::from(gray.clone()).to_rgba8());
    GifEncoder::new(&mut bytes).encode_frames([frame(), frame()]).unwrap();
    place.write("moving.gif", bytes);
    let ran = place.run("predict run moving.gif").succeeds();
    assert!(ran.stderr.contains("it is animated; only its first picture was read"), "{}", ran.stderr);
}

#[test]
fn what_else_a_file_is_gets_its_name() {
    let place = Place::new();
    place.finished("run");
    let files: [(&str, &[u8], &str); 9] = [
        (
            "photo.heic",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "it is a HEIC picture (as telephones take); save it as JPEG",
        ),
        ("photo.avif", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "an AVIF picture; save it as PNG"),
        ("scan.pdf", b"%PDF-1.7\n%\xe2\xe3", "a PDF document; save it"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing; save it"),
        ("x.npy", b"\x93NUMPY\x01\0v\0{'descr': '|u1'", "a NumPy array; give a PNG"),
        (
            "f32-idx3",
            b"\0\0\x0d\x03\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\0",
            "the images are 1 × 1, but the network reads 28 × 28",
        ),
        ("noise.bin", &[7, 200, 3, 250], "its format is not known"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0", "it begins like a PNG picture, but it is truncated; copy"),
        ("cut.pgm", b"P5\n28 28\n255\n\0\0", "but it is truncated; copy the file again"),
    ];
    for (name, content, says) in files {
        place.write(name, content);
        place.run(&format!("predict run {name}")).fails(1, &[name, says]);
    }
    place.run("predict run run/model.safetensors").fails(1, &["a safetensors file; name the model first"]);
}

/// Files that claim huge dimensions cost neither memory nor time.
#[test]
fn bombs_are_refused() {
    let place = Place::new();
    place.finished("run");
    place.write("bomb.pgm", "P5 100000 100000 255\n");
    let mut gif = b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    gif.extend(b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;");
    place.write("bomb.gif", gif);
    let mut bomb = bmp(1, 1, |_, _| 0);
    bomb[18..26].copy_from_slice(&[0x20, 0x4e, 0, 0, 0x20, 0x4e, 0, 0]);
    place.write("bomb.bmp", bomb);
    for name in ["bomb.pgm", "bomb.gif", "bomb.bmp"] {
        place.run(&format!("predict run {name}")).fails(1, &[name, "are more than"]);
    }
}

#[cfg(unix)]
#[test]
fn standard_input_and_pipes_are_read() {
    let place = Place::new();
    place.finished("run");
    place.write("one.bmp", bmp(150, 160, one));
    place.run("data export --data digits --out data").succeeds();
    let ran = place.sh("$SYVA predict run - <one.bmp && cat one.bmp | $SYVA predict run /dev/stdin").succeeds();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0] == lines[1] && lines[0].starts_with("standard input: "), "{}", ran.stdout);
    let ran = place.sh("$SYVA predict run - <data/t10k-images-idx3-ubyte | tail -1").succeeds();
    assert!(ran.stdout.starts_with("standard input#9999: "), "{}", ran.stdout);
    place.sh("mkfifo pipe; cat one.bmp >pipe & $SYVA predict run pipe").succeeds();
    place.sh("$SYVA predict run - </dev/null").fails(1, &["it is empty"]);
    place.sh("$SYVA predict run /dev/zero").fails(1, &["neither a file nor a pipe"]);
}

/// A picture of 18 million pixels packs to 18 kB, but a decoder needs the pixels.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_for_a_picture_is_refused() {
    let place = Place::new();
    place.finished("run");
    place.write("one.bmp", bmp(6000, 1000, one));
    let ran = |kilobytes| place.sh(&format!("ulimit -v {kilobytes}; \"$SYVA\" predict run one.bmp --threads 1"));
    let least = (20_000..2_000_000).step_by(10_000).find(|&kilobytes| ran(kilobytes).code == Some(0)).unwrap();
    ran(least - 10_000).fails(1, &["memory: one.bmp: 6000 × 1000 pixels need 51.5 MiB", "make the picture smaller"]);
}

#[test]
fn what_is_no_image_is_told_and_the_rest_is_read() {
    let place = Place::new();
    place.finished("run");
    place.write("one.bmp", bmp(150, 160, one));
    place.write("empty.png", "");
    place.write("page.html", "<html>no image</html>");
    place.write("blank.bmp", bmp(50, 50, |_, _| 230));
    place.write("cut.bmp", &bmp(150, 160, one)[..3000]);
    std::fs::create_dir(place.path("folder")).unwrap();
    place.run("predict run folder").fails(1, &["folder (the folder): there are no pictures in it, by their names"]);
    let ran = place.run("predict run empty.png one.bmp page.html blank.bmp cut.bmp missing.png");
    assert!(ran.stdout.contains("one.bmp: ") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    ran.fails(1, &["empty.png (the image)", "page.html (the image)", "no digit was found", "cut.bmp", "missing.png"]);
    place.write("one/model.txt", "");
    place.run("predict one one.bmp").fails(1, &["neither model.safetensors nor"]);
    place.run("predict run").fails(2, &["FILE"]);
    place.run("predict run one.bmp --show --json").fails(2, &["'--show' cannot be used with '--json'"]);
}
