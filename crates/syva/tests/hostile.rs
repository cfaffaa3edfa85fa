//! Hostile files: small valid files of every format, damaged at random, go through the public doors that read them. Each
//! gives what it holds or an error that names it. None makes the process panic, abort, or take more than [`LIMIT`] bytes.
//!
//! `SYVA_HOSTILE_SEED` draws other damage, and `SYVA_HOSTILE_ROUNDS` more of it. When a case ends the process, its file stays
//! in the folder that the test names.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use cap::Cap;
use syva::Activation::Relu;
use syva::data::images::ImagesConfig;
use syva::data::tabular::{self, TableConfig, Tables};
use syva::exchange::{ImportOptions, import};
use syva::table::ReadOptions;
use syva::tables::images::{self, decode};
use syva::{ImageShape, Mlp, Model, Normalization, Result, State, Training};

/// Bytes that a small file may take in memory.
const LIMIT: usize = 512 << 20;
/// Cases of each file.
const ROUNDS: u64 = 150;

#[global_allocator]
static MEMORY: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

/// PCG's multiplier and increment; the high bits are the random ones.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    /// A length, as formats write it, that is never true.
    fn length(&mut self) -> Vec<u8> {
        let value = self.huge();
        let width = [1, 2, 4, 8][self.below(4)];
        if self.below(2) == 0 {
            value.to_le_bytes()[..width].to_vec()
        } else {
            value.to_be_bytes()[8 - width..].to_vec()
        }
    }

    fn huge(&mut self) -> u64 {
        let values = [u64::MAX, i64::MAX as u64, 1 << 40, u32::MAX.into(), i32::MAX as u64, 1 << 30, 1 << 26, 1 << 20];
        values[self.below(values.len())].wrapping_sub(self.below(2) as u64)
    }

    /// Puts a huge number into what may be a field of Parquet's metadata, from a place on. In Thrift's compact protocol, a
    /// field begins with a byte whose lower half says its type: an integer, a text, or a list.
    fn claim(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let is_field = |byte: &u8| byte >> 4 > 0 && matches!(byte & 15, 5 | 6 | 8 | 9);
        let Some(field) = bytes[at..].iter().position(is_field).map(|i| at + i) else { return };
        // Integers have their sign in the lowest bit.
        let mut rest = self.huge().min(i64::MAX as u64) << u32::from(bytes[field] & 15 < 8);
        let mut number = Vec::new();
        let mut from = field + 1;
        if bytes[field] & 15 == 9 {
            let Some(&element) = bytes.get(from) else { return };
            number.push(element | 0xf0);
        }
        while rest > 0x7f {
            number.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        number.push(rest as u8);
        while bytes.get(from).is_some_and(|byte| byte & 0x80 != 0) {
            from += 1;
        }
        bytes.splice(field + 1..(from + 1).min(bytes.len()), number);
    }

    /// Damages a file in one to four places.
    fn damage(&mut self, whole: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(10) {
                _ if bytes.is_empty() => {}
                0 | 1 => {
                    let change = [0xff, 1 << self.below(8), self.below(256) as u8][self.below(3)];
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= change;
                    }
                }
                2 => bytes.truncate(at),
                3 => bytes.extend((0..self.below(64)).map(|_| self.below(256) as u8).collect::<Vec<_>>()),
                4 | 5 => {
                    let length = self.length();
                    let end = (at + length.len()).min(bytes.len());
                    bytes.splice(at..end, length);
                }
                6 => {
                    let length = self.length();
                    bytes.splice(at..at, length);
                }
                7 | 8 => self.claim(&mut bytes, at),
                _ => {
                    let from = self.below(other.len());
                    let piece = &other[from..(from + self.below(40)).min(other.len())];
                    let end = (at + self.below(40)).min(bytes.len());
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
        }
        bytes
    }
}

/// A way into the library. It gets the path of a file that is damaged, or that its folder holds.
type Door = fn(&Path) -> Result<()>;

fn table(path: &Path) -> Result<()> {
    let files = [path.to_path_buf()];
    let whole = syva::tables::read(&files, &ReadOptions::default()).map(|_| ());
    let parts = syva::tables::parts(path, &ReadOptions::default()).and_then(Iterator::collect::<Result<Vec<_>>>);
    assert_eq!(whole.is_ok(), parts.is_ok(), "as a whole {whole:?}, in parts {:?}", parts.map(|_| ()));
    whole
}

fn picture(path: &Path) -> Result<()> {
    let picture = decode(path, &std::fs::read(path).unwrap())?;
    assert_eq!(picture.fit(ImageShape { height: 7, width: 5, channels: 3 }).len(), 105);
    Ok(())
}

fn set(path: &Path) -> Result<()> {
    let config = ImagesConfig { path: path.parent().unwrap().into(), ..ImagesConfig::default() };
    images::read(&config, 1).map(|_| ())
}

fn weights(path: &Path) -> Result<()> {
    let options = ImportOptions {
        activation: "relu".parse()?,
        head: None,
        classes: Vec::new(),
        columns: Vec::new(),
        target: Vec::new(),
        image: None,
        normalization: Normalization::None,
    };
    import(&std::fs::read(path).unwrap(), path, &options).map(|_| ())
}

fn model(path: &Path) -> Result<()> {
    Model::load(path).map(|_| ())
}

/// A number in the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Damages a file in many ways and reads each. `others` lie beside it.
fn attack(name: &str, bytes: &[u8], repair: fn(&mut [u8]), others: &[(&str, Vec<u8>)], door: Door) {
    let (seed, rounds) = (number("SYVA_HOSTILE_SEED", 1), number("SYVA_HOSTILE_ROUNDS", ROUNDS));
    let place = tempfile::Builder::new().prefix("hostile-").tempdir().unwrap();
    let folder = place.path();
    let path = folder.join(name);
    for (name, bytes) in others {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let run = |case: &str, bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        MEMORY.set_limit(MEMORY.allocated() + LIMIT).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| door(&path)));
        MEMORY.set_limit(usize::MAX).unwrap();
        let outcome = outcome.unwrap_or_else(|_| {
            let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{seed}-{case}-{name}"));
            std::fs::write(&kept, bytes).unwrap();
            panic!("{name}, seed {seed}, case {case}: see {}", kept.display())
        });
        if let Err(error) = &outcome {
            let said = error.to_string();
            let named = said.contains(name) || said.contains(folder.to_str().unwrap());
            assert!(named, "{name}, seed {seed}, case {case} does not name the file: {said}");
        }
        outcome
    };
    run("whole", bytes).unwrap();
    let mut random = Random(seed ^ name.bytes().fold(0, |sum, byte| sum << 5 ^ sum ^ u64::from(byte)));
    for round in 0..rounds {
        let mut damaged = random.damage(bytes, bytes);
        if random.below(4) > 0 {
            repair(&mut damaged);
        }
        let _ = run(&round.to_string(), &damaged);
    }
}

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn nothing(_: &mut [u8]) {}

/// Gives a Parquet file its end back, with the length of a footer that begins where it seems to.
fn parquet_end(bytes: &mut [u8]) {
    if bytes.len() < 12 {
        return;
    }
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(b"PAR1");
    // A footer begins with the version, as a field of an i32 with the number 1 or 2, and the list of columns.
    let footer = bytes.windows(3).rposition(|found| found[0] == 0x15 && found[1] <= 4 && found[2] == 0x19);
    if let Some(footer) = footer.filter(|&footer| footer + 8 < bytes.len()) {
        let length = (bytes.len() - 8 - footer) as u32;
        let end = bytes.len() - 8;
        bytes[end..end + 4].copy_from_slice(&length.to_le_bytes());
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Gives the chunks of a PNG checksums that fit.
fn png_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let (Some(end), true) = (at.checked_add(8 + length), length < bytes.len()) else { return };
        let Some(content) = bytes.get(at + 4..end) else { return };
        let sum = crc(content).to_be_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&sum);
        at = end + 4;
    }
}

/// Gives the members of an archive that are not packed checksums that fit, in the local headers and in the directory.
fn zip_checksums(bytes: &mut [u8]) {
    let u16_at = |bytes: &[u8], at: usize| bytes.get(at..at + 2).map(|b| usize::from(b[0]) | usize::from(b[1]) << 8);
    let u32_at = |bytes: &[u8], at| u16_at(bytes, at)?.checked_add(u16_at(bytes, at + 2)? << 16);
    let entries: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, found)| found == b"PK\x01\x02").map(|(at, _)| at).collect();
    for entry in entries {
        let mut mend = || {
            let (method, size) = (u16_at(bytes, entry + 10)?, u32_at(bytes, entry + 20)?);
            let local = u32_at(bytes, entry + 42)?;
            let start = local + 30 + u16_at(bytes, local + 26)? + u16_at(bytes, local + 28)?;
            let sum = crc(bytes.get(start..start.checked_add(size)?)?).to_le_bytes();
            if method == 0 {
                bytes.get_mut(entry + 16..entry + 20)?.copy_from_slice(&sum);
                bytes.get_mut(local + 14..local + 18)?.copy_from_slice(&sum);
            }
            Some(())
        };
        let _ = mend();
    }
}

/// An IDX file.
fn array(kind: u8, shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// A model of a table, without the checksum that would refuse any change of it.
fn table_model() -> Vec<u8> {
    let rows = (0..60).map(|i| format!("{}.5,k{},2024-0{}-11,{}\n", i % 17, i % 5, i % 9 + 1, ["no", "yes"][i % 2]));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-model.csv");
    std::fs::write(&path, format!("x,kind,day,y\n{}", rows.collect::<String>())).unwrap();
    let (train, _) = syva::tables::read(std::slice::from_ref(&path), &ReadOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut config = TableConfig::default();
    config.columns.target = vec!["y".into()];
    let (task, _) = tabular::task("t", Tables { train, validation: None, test: None }, &config, None).unwrap();
    let mut spec = Mlp::new(task.train.features()).hidden(&[4], Relu).binary();
    spec.schema.clone_from(&task.schema);
    let state = State::initial(&spec, &Training::default()).unwrap();
    without_digest(Model::new(spec, state).to_bytes().unwrap())
}

fn without_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let key = b"\"sha256\"";
    let at = bytes.windows(key.len()).position(|found| found == key).expect("a model has a checksum");
    bytes[at..at + key.len()].copy_from_slice(b"\"sha25_\"");
    bytes
}

/// Files that are made for it, rather than damaged at random, promise much more than they hold.
fn promises() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8], problem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        MEMORY.set_limit(MEMORY.allocated() + LIMIT).unwrap();
        let said = table(&path).map_err(|error| error.to_string());
        MEMORY.set_limit(usize::MAX).unwrap();
        assert!(said.as_ref().is_err_and(|said| said.contains(name) && said.contains(problem)), "{name}: {said:?}");
    };
    // Each of the rows would have a cell in each of the columns.
    let header: Vec<String> = (0..50_000).map(|i| format!("x{i}")).collect();
    let text = header.join(",") + &"\n".repeat(100_000) + &"\n1".repeat(100_000);
    refused("wide.csv", text.as_bytes(), "there are 1 cells, and there should be 50000");
    // 600 MiB of nothing, in 600 KiB.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"x,y\n").unwrap();
    let line = [&b"1".repeat((1 << 20) - 3)[..], b",2\n"].concat();
    for _ in 0..600 {
        gz.write_all(&line).unwrap();
    }
    refused("bomb.csv.gz", &gz.finish().unwrap(), "more than is available");
}

/// One test, because the limit of memory is that of the process.
#[test]
fn damaged_files_are_read_or_refused() {
    // Written to the stream itself, because the harness keeps what a test prints.
    let (seed, folder) = (number("SYVA_HOSTILE_SEED", 1), std::env::temp_dir());
    let _ = writeln!(std::io::stderr(), "hostile files: seed {seed}, in {}/hostile-*", folder.display());
    promises();
    let parquet = [
        "types",
        "int96",
        "snappy",
        "gzip",
        "zstd",
        "lz4",
        "brotli",
        "none",
        "v2",
        "delta_binary_packed",
        "byte_stream_split",
    ];
    for name in parquet {
        let file = format!("{name}.parquet");
        attack(&file, &golden(&format!("syva-data/tests/golden/{file}")), parquet_end, &[], table);
    }
    for name in ["matrix.npy", "fortran.npy", "big-endian.npy", "vector.npy", "types.safetensors"] {
        attack(name, &golden(&format!("syva-data/tests/golden/{name}")), nothing, &[], table);
    }
    for name in ["plain.npz", "packed.npz"] {
        attack(name, &golden(&format!("syva-data/tests/golden/{name}")), zip_checksums, &[], table);
    }
    let rows = (0..40).map(|i| format!("{i};\"t{}\";{},5;2024-01-{:02}\r\n", i % 3, i * 7, i % 28 + 1));
    let text = format!("n;\"the \"\"name\"\"\";x;day\r\n{}", rows.collect::<String>()).into_bytes();
    attack("text.csv", &text, nothing, &[], table);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&text).unwrap();
    attack("text.csv.gz", &gz.finish().unwrap(), nothing, &[], table);
    attack("text.csv.zst", &zstd::encode_all(&text[..], 3).unwrap(), nothing, &[], table);

    for name in ["alpha", "colour", "grey", "palette", "sixteen"] {
        let file = format!("{name}.png");
        attack(&file, &golden(&format!("syva-data/tests/golden/pictures/{file}")), png_checksums, &[], picture);
    }
    for name in ["photo.jpg", "turned.jpg"] {
        attack(name, &golden(&format!("syva-data/tests/golden/pictures/{name}")), nothing, &[], picture);
    }
    let values: Vec<u8> = (0..24).collect();
    let (images, labels) = (array(8, &[4, 2, 3], &values), array(8, &[4], &[0, 1, 1, 0]));
    let (images_name, labels_name) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    attack(images_name, &images, nothing, &[(labels_name, labels.clone())], set);
    attack(labels_name, &labels, nothing, &[(images_name, images)], set);
    let record = |label| [&[label][..], &[7; 3072]].concat();
    let batches = ["data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"];
    let batches = batches.map(|name| (name, record(3)));
    attack("data_batch_1.bin", &[record(1), record(2)].concat(), nothing, &batches, set);

    let torch = ["sequential.pt", "double.pt", "half.pt", "bfloat16.pt", "checkpoint.pth", "views.pt", "named.pt"];
    for name in torch {
        attack(name, &golden(&format!("syva-exchange/tests/torch/{name}")), zip_checksums, &[], weights);
    }
    for name in ["sequential.safetensors", "named.safetensors"] {
        attack(name, &golden(&format!("syva-exchange/tests/torch/{name}")), nothing, &[], weights);
    }
    attack("model.safetensors", &table_model(), nothing, &[], model);
    let old = golden("syva-cli/tests/format-1/adam/model.safetensors");
    attack("old.safetensors", &without_digest(old), nothing, &[], model);
}
