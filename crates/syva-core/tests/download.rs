//! Downloads from a small server in this file, which serves small fake files and misbehaves in every way we could think
//! of. The mirrors of the real MNIST are never asked.

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use syva_core::data::mnist::{FileSpec, Progress, Source};
use syva_core::random::{Random, Stream};
use syva_core::{Error, Result};
use tempfile::TempDir;

/// Training images, training labels, test images, test labels.
const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
const SHAPES: [[usize; 3]; 4] = [[1100, 16, 16], [1100, 1, 1], [3, 16, 16], [3, 1, 1]];

/// A data set in MNIST's format, of noise, so that the first file has 282 kB when packed too: several reads from the
/// network, and more than one piece for the digest.
struct Fake {
    plain: [Vec<u8>; 4],
    packed: [Vec<u8>; 4],
    digests: [String; 4],
}

impl Fake {
    fn new() -> Self {
        let plain = [0, 1, 2, 3].map(|index| {
            let labels = index % 2 == 1;
            let mut random = Random::new(1, Stream::Digits, index as u64);
            let mut content = vec![0, 0, 8, if labels { 1 } else { 3 }];
            let dimensions = if labels { 1 } else { 3 };
            SHAPES[index][..dimensions].iter().for_each(|&d| content.extend((d as u32).to_be_bytes()));
            let bytes = SHAPES[index].iter().product::<usize>();
            content.extend((0..bytes).map(|_| random.below(if labels { 10 } else { 256 }) as u8));
            content
        });
        let digests = plain.each_ref().map(|content| {
            let bytes: [u8; 32] = Sha256::digest(content).into();
            bytes.map(|byte| format!("{byte:02x}")).concat()
        });
        Self { packed: plain.each_ref().map(|content| gzip(content)), plain, digests }
    }

    fn source(&self) -> Source<'_> {
        let mut limits = Source::MNIST.limits;
        limits.idle = Duration::from_millis(300);
        limits.lock = Duration::from_secs(20);
        let file = |i: usize| FileSpec { name: NAMES[i], alias: NAMES[i], shape: SHAPES[i], sha256: &self.digests[i] };
        Source { files: [0, 1, 2, 3].map(file), limits, ..Source::MNIST }
    }

    fn download(&self, dir: &Path, mirrors: &[&str]) -> Result<()> {
        self.source().download(dir, mirrors, &mut |_| ())
    }

    /// The four files are there, as served, and nothing else but the lock.
    fn assert_complete(&self, dir: &Path) {
        for (name, packed) in NAMES.iter().zip(&self.packed) {
            assert!(&fs::read(dir.join(format!("{name}.gz"))).unwrap() == packed, "{name} differs");
        }
        assert_eq!(fs::read_dir(dir).unwrap().count(), 5, "something is left over");
        let loaded = self.source().load(2, dir).unwrap();
        assert!(loaded.train.pixels == self.plain[0][16..]);
        assert!(loaded.train.labels == self.plain[1][8..]);
        assert!(loaded.test.pixels == self.plain[2][16..]);
        assert!(loaded.test.labels == self.plain[3][8..]);
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// How the server answers a request for a file.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// As a good server does.
    Well,
    /// With everything, whatever range was asked.
    IgnoreRange,
    /// Closes the connection when so many bytes of the body are sent.
    CutAfter(usize),
    /// Falls silent when so many bytes of the body are sent.
    StallAfter(usize),
    /// Falls silent at once.
    Silent,
    /// With this status and no file.
    Status(&'static str),
    /// With a web page, as a hotel's network does.
    Page,
    /// With another file of the same size.
    OtherBytes,
    /// With a range that was not asked.
    OtherRange,
    /// Without saying how long it is.
    NoLength,
    /// Says it has a size beyond any limit.
    Huge,
    /// Does not say how long it is, and goes on and on.
    Endless,
}

/// What a client asked: path, and the first byte of the range if one was given.
type Request = (String, Option<usize>);

/// A server on 127.0.0.1. The first requests are answered in the manners given, all later ones well.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(fake: &Fake, manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mnist/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let manners = Arc::new(Mutex::new(VecDeque::from(manners.to_vec())));
        let (files, log) = (Arc::new(fake.packed.clone()), Arc::clone(&requests));
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (manners, files, log) = (Arc::clone(&manners), Arc::clone(&files), Arc::clone(&log));
                // A client that goes away in the middle is part of the game.
                thread::spawn(move || drop(answer(&stream.unwrap(), &manners, &files, &log)));
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The ranges asked for a file.
    fn ranges(&self, name: &str) -> Vec<Option<usize>> {
        let path = format!("/mnist/{name}.gz");
        self.requests().into_iter().filter(|(asked, _)| *asked == path).map(|(_, range)| range).collect()
    }
}

fn answer(
    stream: &TcpStream,
    manners: &Mutex<VecDeque<Manner>>,
    files: &[Vec<u8>; 4],
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap()?;
    let path = first.split(' ').nth(1).unwrap().to_string();
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("range: bytes=") {
            range = Some(value.strip_suffix('-').unwrap().parse::<usize>().unwrap());
        }
        if line.is_empty() {
            break;
        }
    }
    let index = NAMES.iter().position(|name| path == format!("/mnist/{name}.gz"));
    log.lock().unwrap().push((path, range));
    let manner = manners.lock().unwrap().pop_front().unwrap_or(Manner::Well);
    let Some(index) = index else { return respond(stream, "404 Not Found", "", b"") };
    let file = &files[index];
    let length = file.len();
    match (manner, range) {
        (Manner::Silent, _) => {
            thread::sleep(Duration::from_secs(5));
            Ok(())
        }
        (Manner::Status(status), _) => respond(stream, status, "", b"sorry"),
        (Manner::Page, _) => respond(stream, "200 OK", "", b"<!DOCTYPE html><p>Please log in to use this network"),
        (Manner::OtherBytes, None) => {
            let mut other = file.clone();
            other[length / 2] ^= 0x10;
            respond(stream, "200 OK", "", &other)
        }
        (Manner::Huge, _) => send(stream, "200 OK", "Content-Length: 99999999999\r\n", &file[..10]),
        (Manner::NoLength, None) => send(stream, "200 OK", "", file),
        (Manner::Endless, _) => {
            send(stream, "200 OK", "", b"")?;
            // It does end, after 64 MiB: a client without a limit must fail the test, not fill the disk.
            let (mut stream, garbage) = (stream, vec![0x55; 1 << 20]);
            (0..64).try_for_each(|_| stream.write_all(&garbage))
        }
        (Manner::OtherRange, Some(first)) => {
            let header = format!("Content-Range: bytes {}-{}/{length}\r\n", first + 1, length - 1);
            respond(stream, "206 Partial Content", &header, &file[first + 1..])
        }
        (Manner::IgnoreRange, _) | (_, None) => body(stream, "200 OK", "", file, manner),
        (_, Some(first)) if first >= length => {
            respond(stream, "416 Range Not Satisfiable", &format!("Content-Range: bytes */{length}\r\n"), b"")
        }
        (_, Some(first)) => {
            let header = format!("Content-Range: bytes {first}-{}/{length}\r\n", length - 1);
            body(stream, "206 Partial Content", &header, &file[first..], manner)
        }
    }
}

/// Sends a body to its end, or as far as the manner allows.
fn body(stream: &TcpStream, status: &str, headers: &str, body: &[u8], manner: Manner) -> std::io::Result<()> {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    let sent = match manner {
        Manner::CutAfter(bytes) | Manner::StallAfter(bytes) => bytes.min(body.len()),
        _ => body.len(),
    };
    send(stream, status, &headers, &body[..sent])?;
    if matches!(manner, Manner::StallAfter(_)) {
        thread::sleep(Duration::from_secs(5));
    }
    Ok(())
}

fn respond(stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    send(stream, status, &format!("{headers}Content-Length: {}\r\n", body.len()), body)
}

fn send(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(body)
}

/// An address where nobody listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}/mnist/")
}

/// A fake data set, a server that misbehaves so for the first requests, an empty folder.
fn set_up(manners: &[Manner]) -> (Fake, Server, TempDir) {
    let fake = Fake::new();
    let server = Server::start(&fake, manners);
    (fake, server, tempfile::tempdir().unwrap())
}

/// The message of the network error, which must give the remedy.
fn network_error(result: Result<()>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.starts_with("MNIST could not be downloaded (") && message.contains("--data-dir"), "{message}");
    message
}

const FIRST: &str = NAMES[0];

fn part(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("{FIRST}.gz.part"))
}

#[test]
fn a_whole_download_reports_its_progress_and_is_not_repeated() {
    let (fake, server, dir) = set_up(&[]);
    let inner = dir.path().join("not/yet/there");
    let mut seen: Vec<(String, u64, Option<u64>)> = Vec::new();
    let mut note = |p: Progress<'_>| {
        assert_eq!(p.mirror, server.url);
        seen.push((p.file.into(), p.done, p.total));
    };
    fake.source().download(&inner, &[&server.url], &mut note).unwrap();
    fake.assert_complete(&inner);
    for (name, packed) in NAMES.iter().zip(&fake.packed) {
        let name = format!("{name}.gz");
        let of_file: Vec<_> = seen.iter().filter(|(file, ..)| *file == name).collect();
        let total = packed.len() as u64;
        assert!(of_file.iter().all(|(_, _, t)| *t == Some(total)));
        assert_eq!((of_file[0].1, of_file.last().unwrap().1), (0, total));
        assert!(of_file.is_sorted_by_key(|(_, done, _)| done));
    }
    assert_eq!(server.requests().len(), 4);
    fake.download(&inner, &[&server.url]).unwrap();
    assert_eq!(server.requests().len(), 4, "whole files were asked for again");
}

#[test]
fn a_mirror_may_be_named_without_its_last_slash() {
    let (fake, server, dir) = set_up(&[]);
    fake.download(dir.path(), &[server.url.trim_end_matches('/')]).unwrap();
    fake.assert_complete(dir.path());
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let (fake, server, dir) = set_up(&[Manner::CutAfter(100_000), Manner::CutAfter(50_000)]);
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.ranges(FIRST), [None, Some(100_000), Some(150_000)]);
}

#[test]
fn a_later_call_resumes_what_an_earlier_one_left() {
    let (fake, server, dir) = set_up(&[]);
    fs::write(part(dir.path()), &fake.packed[0][..70_000]).unwrap();
    let mut first = None;
    let mut note = |p: Progress<'_>| {
        first.get_or_insert((p.done, p.total));
    };
    fake.source().download(dir.path(), &[&server.url], &mut note).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.ranges(FIRST), [Some(70_000)]);
    assert_eq!(first, Some((70_000, Some(fake.packed[0].len() as u64))));
}

#[test]
fn another_mirror_goes_on_where_one_stalled() {
    let (fake, stalling, dir) = set_up(&[Manner::StallAfter(100_000)]);
    let other = Server::start(&fake, &[]);
    let start = Instant::now();
    fake.download(dir.path(), &[&stalling.url, &other.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(other.ranges(FIRST), [Some(100_000)]);
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_silent_server_is_given_up_and_what_came_is_kept() {
    let (fake, server, dir) = set_up(&[Manner::StallAfter(100_000), Manner::Silent]);
    let start = Instant::now();
    let message = network_error(fake.download(dir.path(), &[&server.url]));
    assert!(message.contains("nothing came for 300ms"), "{message}");
    assert!(start.elapsed() < Duration::from_secs(4), "took {:?}", start.elapsed());
    assert_eq!(fs::read(part(dir.path())).unwrap(), fake.packed[0][..100_000]);
}

#[test]
fn a_server_that_ignores_ranges_sends_it_all_again() {
    let (fake, server, dir) = set_up(&[Manner::CutAfter(100_000), Manner::IgnoreRange]);
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.ranges(FIRST), [None, Some(100_000)]);
}

/// The part is longer than what the server, which ignores the range, sends: its end must go.
#[test]
fn starting_over_leaves_nothing_of_a_longer_part() {
    let (fake, server, dir) = set_up(&[Manner::IgnoreRange]);
    fs::write(part(dir.path()), vec![7; fake.packed[0].len() + 1000]).unwrap();
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_range_that_was_not_asked_is_not_appended() {
    let (fake, server, dir) = set_up(&[Manner::CutAfter(100_000), Manner::OtherRange]);
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.ranges(FIRST), [None, Some(100_000), None]);
}

#[test]
fn a_wrong_digest_leads_to_the_next_mirror() {
    let (fake, bad, dir) = set_up(&[Manner::OtherBytes]);
    let good = Server::start(&fake, &[]);
    fake.download(dir.path(), &[&bad.url, &good.url]).unwrap();
    fake.assert_complete(dir.path());
    // From nothing, and the bad mirror is not asked a second time for this file.
    assert_eq!((bad.ranges(FIRST), good.ranges(FIRST)), (vec![None], vec![None]));
}

/// A valid file of the right shape, of which only the digest knows that it is another.
#[test]
fn content_with_another_digest_never_gets_the_final_name() {
    let (fake, _, dir) = set_up(&[]);
    let mut other = Fake::new();
    other.plain[0][500] ^= 1;
    other.packed[0] = gzip(&other.plain[0]);
    let server = Server::start(&other, &[]);
    let message = network_error(fake.download(dir.path(), &[&server.url]));
    assert!(message.contains("SHA-256") && message.contains(&fake.digests[0]), "{message}");
    assert!(!part(dir.path()).exists() && !dir.path().join(format!("{FIRST}.gz")).exists());
}

#[test]
fn a_garbage_part_is_dropped_and_the_same_mirror_asked_anew() {
    let (fake, server, dir) = set_up(&[]);
    fs::write(part(dir.path()), vec![0x55; 70_000]).unwrap();
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.ranges(FIRST), [Some(70_000), None]);
}

#[test]
fn a_part_longer_than_the_file_is_dropped() {
    let (fake, server, dir) = set_up(&[]);
    let length = fake.packed[0].len() + 1;
    fs::write(part(dir.path()), vec![0x55; length]).unwrap();
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert_eq!(server.ranges(FIRST), [Some(length), None]);
}

/// A process that was killed after the last byte and before the rename.
#[test]
fn a_whole_part_needs_no_request() {
    let (fake, server, dir) = set_up(&[]);
    fs::write(part(dir.path()), &fake.packed[0]).unwrap();
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
    assert!(server.ranges(FIRST).is_empty());
}

#[test]
fn every_mirror_is_named_with_its_reason() {
    let (fake, missing, dir) = set_up(&[Manner::Status("404 Not Found")]);
    let (failing, page) =
        (Server::start(&fake, &[Manner::Status("503 Service Unavailable")]), Server::start(&fake, &[Manner::Page]));
    let nobody = nobody();
    let mirrors = [&missing.url, &failing.url, &page.url, &nobody].map(String::as_str);
    let message = network_error(fake.download(dir.path(), &mirrors));
    for (mirror, reason) in mirrors.iter().zip(["404 Not Found", "503 Service", "HTML", "refused"]) {
        let place = message.find(&format!("{mirror}{FIRST}.gz")).unwrap_or_else(|| panic!("{mirror}: {message}"));
        let end = message[place..].find(';').unwrap() + place;
        assert!(message[place..end].contains(reason), "{reason}: {message}");
    }
    // One file's failure is enough, and none of these is asked twice.
    assert_eq!([&missing, &failing, &page].map(|server| server.requests().len()), [1; 3]);
    assert!(!part(dir.path()).exists());
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    for manner in [Manner::Huge, Manner::Endless] {
        let (fake, server, dir) = set_up(&[manner]);
        let mut source = fake.source();
        source.limits.bytes = 1 << 20;
        let message = network_error(source.download(dir.path(), &[&server.url], &mut |_| ()));
        assert!(message.contains("larger than the 1048576 bytes"), "{message}");
        let left = fs::metadata(part(dir.path())).map_or(0, |m| m.len());
        assert!(left <= 1 << 20, "{left} bytes are left");
    }
}

#[test]
fn a_body_of_unknown_length_is_taken() {
    let (fake, server, dir) = set_up(&[Manner::NoLength]);
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());
}

#[test]
fn a_damaged_file_of_ours_is_replaced_and_one_of_the_users_is_left_to_them() {
    let (fake, server, dir) = set_up(&[]);
    fs::write(dir.path().join(format!("{FIRST}.gz")), b"damaged").unwrap();
    fake.download(dir.path(), &[&server.url]).unwrap();
    fake.assert_complete(dir.path());

    let users = dir.path().join(FIRST);
    fs::write(&users, b"damaged").unwrap();
    let error = fake.download(dir.path(), &[&server.url]).unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == users), "{error:?}");
    assert_eq!(fs::read(users).unwrap(), b"damaged");
}

#[test]
fn two_downloads_at_once_share_the_work() {
    // Stalls a little in the middle, so that both are surely at it together.
    let (fake, server, dir) = set_up(&[Manner::StallAfter(100_000)]);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| fake.download(dir.path(), &[&server.url]).unwrap());
        }
    });
    fake.assert_complete(dir.path());
    assert_eq!(server.requests().len(), 5, "{:?}", server.requests());
}

#[test]
fn waiting_for_another_process_has_an_end() {
    let (fake, server, dir) = set_up(&[]);
    let other = fs::File::create(dir.path().join("download.lock")).unwrap();
    other.lock().unwrap();
    let mut source = fake.source();
    source.limits.lock = Duration::from_millis(100);
    let error = source.download(dir.path(), &[&server.url], &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(server.requests().is_empty());
    drop(other);
    source.download(dir.path(), &[&server.url], &mut |_| ()).unwrap();
}

#[test]
fn no_mirrors_and_an_unusable_folder_are_errors() {
    let (fake, server, dir) = set_up(&[]);
    assert!(matches!(fake.download(dir.path(), &[]), Err(Error::Setting { .. })));
    let file = dir.path().join("a-file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(fake.download(&file, &[&server.url]), Err(Error::Io { .. })));
    assert!(server.requests().is_empty());
}

#[test]
fn loading_names_the_first_bad_file() {
    let (fake, server, dir) = set_up(&[]);
    fake.download(dir.path(), &[&server.url]).unwrap();
    let load = |name: &str, content: &[u8]| {
        fs::write(dir.path().join(format!("{name}.gz")), content).unwrap();
        fake.source().load(1, dir.path()).unwrap_err().to_string()
    };
    let mut labels = fake.plain[3].clone();
    labels[8 + 1] = 10;
    let message = load(NAMES[3], &labels);
    assert!(message.contains(NAMES[3]) && message.contains("byte 9") && message.contains("label 10"), "{message}");
    let mut images = fake.plain[2].clone();
    images[100] ^= 1;
    let message = load(NAMES[2], &images);
    assert!(message.contains(NAMES[2]) && message.contains(&fake.digests[2]), "{message}");
    let message = load(NAMES[1], &fake.plain[3]);
    assert!(message.contains("3 labels where 1100 labels belong"), "{message}");
    fs::remove_file(dir.path().join(format!("{FIRST}.gz"))).unwrap();
    let message = fake.source().load(1, dir.path()).unwrap_err().to_string();
    assert!(message.contains("missing: train-images-idx3-ubyte"), "{message}");
}
