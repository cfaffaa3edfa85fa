//! `syva predict`: images of all kinds, and what are none.

mod common;

use common::Place;

/// A grey BMP of 24 bits a pixel: `[height, width]`, the last row first, rows padded to four bytes.
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

/// A one in dark ink on light paper.
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

/// What the framing was not made for is answered with a doubt.
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
    place.run("predict run folder").fails(1, &["folder (the image): it is a folder; name the images in it"]);
    let ran = place.run("predict run empty.png one.bmp page.html blank.bmp cut.bmp missing.png");
    assert!(ran.stdout.contains("one.bmp: ") && ran.stdout.lines().count() == 1, "{}", ran.stdout);
    ran.fails(1, &["empty.png (the image)", "page.html (the image)", "there is no ink", "cut.bmp", "missing.png"]);
    place.write("one/model.txt", "");
    place.run("predict one one.bmp").fails(1, &["neither model.safetensors nor"]);
    place.run("predict run").fails(2, &["FILE"]);
}
