//! Downloading: resumable, from several mirrors, and nothing gets its final name before its digest is right.
//!
//! A file grows as `<name>.gz.part`. An attempt takes up what is there with a Range request and ends in one of three
//! ways: the file is whole; the mirror may be asked again (the connection broke but something came, or what had been
//! there before was at fault and is gone); or it need not be asked again. The mirrors are gone through in rounds until
//! none is left. Mirrors serve the same bytes, so one may go on where another stopped; if they do not, the digest says
//! so and the part is dropped.

use super::{FileSpec, Source};
use crate::files::sync_folder;
use crate::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// Where MNIST is downloaded from unless told otherwise: the copies that the `PyTorch` project and the CVDF keep.
pub const MIRRORS: &[&str] =
    &["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"];

/// Rounds through the mirrors for a file; a bound, as each round but the last has brought something.
const ROUNDS: usize = 8;

const NO_NETWORK: &str = "no network: the address was not found";

/// How far a download is. The first call for a file tells what was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes that are there, those of earlier attempts included. It can fall: an attempt may have to start over.
    pub done: u64,
    /// Bytes of the whole file, if the mirror tells.
    pub total: Option<u64>,
    /// The mirror they come from, as it was given.
    pub mirror: &'a str,
}

/// What a download may take.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Finding a server's address; connecting to it.
    pub connect: Duration,
    /// Silence on a connection before it is given up.
    pub idle: Duration,
    /// Waiting for another process that downloads into the same folder.
    pub lock: Duration,
    /// Size of a file as it is sent.
    pub bytes: u64,
}

impl Limits {
    /// A slow line may be slow; a dead one is noticed in seconds. MNIST's largest file has 9.9 MB.
    pub(super) const DEFAULT: Self = Self {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        lock: Duration::from_mins(10),
        bytes: 32 << 20,
    };
}

/// Downloads MNIST's four files into a folder, which is created if need be; [`load`](super::load) reads it then.
///
/// Files that are there and whole are kept. A broken download is taken up where it stopped, by this call or by a later
/// one. `mirrors` (usually [`MIRRORS`]) are addresses of folders that hold `train-images-idx3-ubyte.gz` and so on;
/// they are tried in this order. `progress` is called for every piece that arrives, about 64 KiB. A proxy is taken from
/// the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`). Several processes may download into one folder at once:
/// one does, the others wait for it.
///
/// A file that this function has put in place has the published content (SHA-256 compared) and is on the disk.
///
/// # Errors
/// [`Error::Network`] if no mirror delivered a file: it names each with its reason. [`Error::Io`] if the folder or a
/// file in it cannot be written or locked. [`Error::File`] if a file that would be loaded instead of the downloaded one
/// (another spelling, not compressed) is there but damaged, or another process has held the folder for 10 minutes.
/// [`Error::Setting`] if no mirror was given.
///
/// ```no_run
/// use syva_core::data::mnist;
/// let folder = mnist::cache_dir().expect("a home folder");
/// mnist::download(&folder, mnist::MIRRORS, &mut |p| eprintln!("{} {} of {:?}", p.file, p.done, p.total))?;
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn download(dir: &Path, mirrors: &[&str], progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    Source::MNIST.download(dir, mirrors, progress)
}

impl Source<'_> {
    /// See [`download`].
    #[doc(hidden)]
    pub fn download(&self, dir: &Path, mirrors: &[&str], progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        if mirrors.is_empty() {
            return Err(Error::setting(
                "mirrors",
                format!("there is none to download {} from", self.title),
                "give at least one address",
            ));
        }
        fs::create_dir_all(dir).map_err(Error::io("create folder", dir))?;
        let _lock = lock(dir, self.limits.lock)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(self.limits.connect))
            .timeout_connect(Some(self.limits.connect))
            .timeout_per_read(Some(self.limits.idle))
            .timeout_per_write(Some(self.limits.idle))
            .user_agent(concat!("syva/", env!("CARGO_PKG_VERSION")));
        let agent = config.build().new_agent();
        for file in &self.files {
            let name = format!("{}.gz", file.name);
            let place = dir.join(&name);
            if let Some(present) = file.locate(dir) {
                match file.read(&present, self) {
                    Ok(_) => continue,
                    // Ours, and damaged: the good one will replace it.
                    Err(_) if present == place => {}
                    // The user's, and it would be loaded rather than ours: theirs to delete.
                    Err(error) => return Err(error),
                }
            }
            let part = dir.join(format!("{name}.part"));
            let mut transfer = Transfer { agent: &agent, source: self, file, name: &name, part: &part, progress };
            transfer.run(mirrors)?;
            // The content must be on the disk before it gets the name that says it is whole.
            OpenOptions::new().write(true).open(&part).and_then(|f| f.sync_all()).map_err(Error::io("write", &part))?;
            fs::rename(&part, &place).map_err(Error::io("replace", &place))?;
            sync_folder(dir)?;
        }
        Ok(())
    }
}

/// Holds the folder until dropped. The lock is the operating system's, on a file that stays behind (deleting it would
/// let a third process lock a new one while a second still waits for the old): it ends with its process, however that
/// ends.
fn lock(dir: &Path, patience: Duration) -> Result<File> {
    let path = dir.join("download.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::io("create", &path))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => {
                let problem = format!("another process has been downloading here for {} s", patience.as_secs());
                return Err(Error::file(path, "lock", problem, "wait until it is done, or end it, and try again"));
            }
        }
    }
}

/// How an attempt ended that did not bring the file.
enum Failure {
    /// Asking this mirror again may help.
    Again(String),
    /// It will not.
    Never(String),
    /// Not the mirror's fault: the disk's, say.
    Local(Error),
}

/// One file on its way.
struct Transfer<'a> {
    agent: &'a Agent,
    source: &'a Source<'a>,
    file: &'a FileSpec<'a>,
    name: &'a str,
    part: &'a Path,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Transfer<'_> {
    /// Fills the part file until it is whole.
    fn run(&mut self, mirrors: &[&str]) -> Result<()> {
        // An earlier process may have been stopped between the last byte and the rename.
        if self.part.exists() && self.file.read(self.part, self.source).is_ok() {
            return Ok(());
        }
        let mut reasons = vec![String::new(); mirrors.len()];
        let mut left: Vec<usize> = (0..mirrors.len()).collect();
        for _ in 0..ROUNDS {
            for index in std::mem::take(&mut left) {
                match self.attempt(mirrors[index]) {
                    Ok(()) => return Ok(()),
                    Err(Failure::Local(error)) => return Err(error),
                    Err(Failure::Never(reason)) => reasons[index] = reason,
                    Err(Failure::Again(reason)) => {
                        reasons[index] = reason;
                        left.push(index);
                    }
                }
            }
        }
        // Without a network there is nothing to say of each mirror.
        let problem = if reasons.iter().all(|reason| reason == NO_NETWORK) {
            NO_NETWORK.to_string()
        } else {
            let tried =
                mirrors.iter().zip(reasons).map(|(mirror, why)| format!("{}: {why}", address(mirror, self.name)));
            tried.collect::<Vec<_>>().join("; ")
        };
        let Source { title, variable, .. } = self.source;
        let remedy = format!("put its four files into a folder and name it with --data-dir or {variable}");
        Err(Error::Network { what: (*title).into(), problem, remedy })
    }

    /// Asks one mirror once.
    fn attempt(&mut self, mirror: &str) -> Result<(), Failure> {
        let resumed = self.fetch(mirror)?;
        let Err(error) = self.file.read(self.part, self.source) else { return Ok(()) };
        let problem = match error {
            Error::File { problem, place, .. } => format!("what it sent is not the file: {problem} ({place})"),
            other => return Err(Failure::Local(other)),
        };
        self.drop_part()?;
        // If the attempt began with bytes from before, those may be what is wrong; the mirror deserves a clean try.
        Err(if resumed > 0 { Failure::Again(problem) } else { Failure::Never(problem) })
    }

    /// Brings the part file to its full length; how much of it was there before and has been kept.
    fn fetch(&mut self, mirror: &str) -> Result<u64, Failure> {
        let present = fs::metadata(self.part).map_or(0, |metadata| metadata.len());
        let mut request = self.agent.get(address(mirror, self.name)).header("Accept-Encoding", "identity");
        if present > 0 {
            request = request.header("Range", format!("bytes={present}-"));
        }
        let response = request.call().map_err(|error| Failure::Never(self.explain(&error)))?;
        let (start, total) = match response.status() {
            StatusCode::OK => (0, response.body().content_length()),
            StatusCode::PARTIAL_CONTENT if present > 0 => match content_range(&response) {
                Some((start, total)) if start == present => (present, total),
                _ => return self.discard("it answered with another range than was asked"),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if present > 0 => {
                return self.discard("the file there is not longer than what had been downloaded before");
            }
            status => return Err(Failure::Never(format!("it answered {status}"))),
        };
        if total.is_some_and(|total| total > self.source.limits.bytes) {
            return Err(Failure::Never(self.too_large()));
        }
        let mut part = self.open_part()?;
        if start == 0 {
            part.set_len(0).map_err(|error| self.local("write", error))?;
        }
        part.seek(SeekFrom::Start(start)).map_err(|error| self.local("write", error))?;
        self.receive(response.into_body(), &mut part, start, total, mirror)?;
        Ok(start)
    }

    /// Appends a response's body to the part file.
    fn receive(
        &mut self,
        body: Body,
        part: &mut File,
        start: u64,
        total: Option<u64>,
        mirror: &str,
    ) -> Result<(), Failure> {
        let mut done = start;
        let mut body = body.into_reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            (self.progress)(Progress { file: self.name, done, total, mirror });
            let broken = match body.read(&mut buffer) {
                Ok(0) if total.is_none_or(|total| total == done) => return Ok(()),
                Ok(0) => "the connection was closed".to_string(),
                Ok(count) => {
                    done += count as u64;
                    if done > self.source.limits.bytes {
                        self.drop_part()?;
                        return Err(Failure::Never(self.too_large()));
                    }
                    part.write_all(&buffer[..count]).map_err(|error| self.local("write", error))?;
                    continue;
                }
                Err(error) => self.explain(&error.into()),
            };
            let problem = match total {
                Some(total) => format!("{broken} after {done} of {total} bytes"),
                None => format!("{broken} after {done} bytes"),
            };
            return Err(if done > start { Failure::Again(problem) } else { Failure::Never(problem) });
        }
    }

    /// What a request's failure means for a person.
    fn explain(&self, error: &ureq::Error) -> String {
        use ureq::Timeout::{Connect, PerRead, Resolve};
        match error {
            ureq::Error::Timeout(Resolve) => format!("its address was not found in {:?}", self.source.limits.connect),
            ureq::Error::Timeout(Connect) => format!("no connection in {:?}", self.source.limits.connect),
            ureq::Error::Timeout(PerRead) => format!("nothing came for {:?}", self.source.limits.idle),
            ureq::Error::HostNotFound => NO_NETWORK.into(),
            // The system's error for this has no kind of its own.
            ureq::Error::Io(error) if error.to_string().starts_with("failed to lookup address") => NO_NETWORK.into(),
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        }
    }

    fn open_part(&self) -> Result<File, Failure> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.part);
        file.map_err(|error| self.local("create", error))
    }

    fn drop_part(&self) -> Result<(), Failure> {
        fs::remove_file(self.part).map_err(|error| self.local("delete", error))
    }

    /// Drops what was there before, so that the next attempt starts from nothing.
    fn discard(&self, reason: &str) -> Result<u64, Failure> {
        self.drop_part()?;
        Err(Failure::Again(reason.into()))
    }

    fn local(&self, action: &'static str, error: std::io::Error) -> Failure {
        Failure::Local(Error::io(action, PathBuf::from(self.part))(error))
    }

    fn too_large(&self) -> String {
        format!("the file there is larger than the {} bytes that are allowed", self.source.limits.bytes)
    }
}

/// A file's address at a mirror, whose own may end with a slash or not.
fn address(mirror: &str, name: &str) -> String {
    format!("{}/{name}", mirror.trim_end_matches('/'))
}

/// First byte and total length that a `Content-Range: bytes first-last/total` gives (RFC 9110, section 14.4); the total
/// may be `*`, unknown.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get("content-range")?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}
