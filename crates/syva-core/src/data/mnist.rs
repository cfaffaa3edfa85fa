//! MNIST: 60,000 + 10,000 handwritten digits of 28×28 pixels. Finding its files, checking them, downloading them. What
//! is written for the four files of any such [`Source`] also serves [Fashion-MNIST](super::fashion_mnist).
//!
//! What is loaded is MNIST to the bit or an error: the SHA-256 of each file's uncompressed content is compared with the
//! published one, so two runs that say "mnist" have seen the same pixels.

use super::idx::{self, Kind};
use crate::state::hex;
use crate::{Error, Result, memory, threads};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "network")]
mod download;
#[cfg(feature = "network")]
pub use download::{MIRRORS, Progress, download};

/// Pixel rows, and pixel columns, of an image.
pub const SIDE: usize = 28;

/// Number of classes: the digits 0 to 9.
pub const CLASSES: usize = 10;

/// The environment variable that names the folder with the four files.
pub const DIR_VARIABLE: &str = "SYVA_MNIST_DIR";

/// Both parts of MNIST.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// 60,000 samples.
    pub train: Part,
    /// 10,000 samples, by other writers.
    pub test: Part,
}

/// Images with their labels.
#[derive(Clone, Debug)]
pub struct Part {
    /// Row-major `[samples, 28, 28]`, 0 = background, 255 = ink.
    pub pixels: Vec<u8>,
    /// The digit of each sample, 0 to 9.
    pub labels: Vec<u8>,
}

/// Finds the folder that holds MNIST's four files.
///
/// A place that was named must hold them: `data_dir` if given, otherwise the environment variable `SYVA_MNIST_DIR` if it
/// is set and not empty. Otherwise the first of these that does: [`cache_dir`], `data/MNIST/raw` (where torchvision puts
/// them) and `data/mnist` in the current folder. Only names are looked at; [`load`] checks the content.
///
/// Each file may be plain or gzip, and have any of its usual names: `train-images-idx3-ubyte`,
/// `train-images.idx3-ubyte`, either with `.gz`; likewise `train-labels-idx1-…`, `t10k-images-idx3-…`,
/// `t10k-labels-idx1-…`.
///
/// # Errors
/// [`Error::Setting`] if a named place does not hold all four (it says which are missing); [`Error::Io`] with the kind
/// `NotFound` if nothing was named and no place has them (it lists the places).
///
/// ```
/// use syva_core::{Error, data::mnist};
/// let empty = tempfile::tempdir()?;
/// let error = mnist::find(Some(empty.path())).unwrap_err();
/// assert!(matches!(error, Error::Setting { .. }));
/// assert!(error.to_string().contains("t10k-labels-idx1-ubyte"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn find(data_dir: Option<&Path>) -> Result<PathBuf> {
    Source::MNIST.find(data_dir)
}

/// The folder that downloads go to: `syva/mnist` in the platform's cache folder (`$XDG_CACHE_HOME` or `~/.cache`,
/// `~/Library/Caches`, `%LOCALAPPDATA%`). `None` if the user has no home folder. It need not exist yet.
pub fn cache_dir() -> Option<PathBuf> {
    Source::MNIST.cache_dir()
}

/// Reads the four files in a folder (see [`find`] for their names) and checks them to the bit.
///
/// The files are decoded in parallel (feature `threads`): about 0.1 s with two cores.
///
/// # Errors
/// [`Error::Resource`] if there is not enough memory, [`Error::Setting`] if a file is missing, [`Error::Io`] if one cannot be read, [`Error::File`] if one is not the IDX
/// file it should be, has other dimensions, a label above 9, or not the published SHA-256.
///
/// ```no_run
/// use syva_core::data::mnist;
/// let mnist = mnist::load(&mnist::find(None)?)?;
/// assert_eq!(mnist.train.pixels.len(), 60_000 * 28 * 28);
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn load(dir: &Path) -> Result<Mnist> {
    load_on(threads::cores(), dir)
}

/// Like [`load`], on at most so many threads (there is work for two).
pub fn load_on(threads: usize, dir: &Path) -> Result<Mnist> {
    Source::MNIST.load(threads, dir)
}

/// A digest that names MNIST to the bit: SHA-256 over the published digests of its files, in their order.
#[must_use]
pub fn digest() -> String {
    Source::MNIST.digest()
}

/// Four files to find, check and download: MNIST, or a set in its format. The tests bring small ones.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What messages call it.
    pub title: &'a str,
    /// Its name in `--data`, and that of its folder in the cache.
    pub name: &'a str,
    /// The environment variable that names its folder.
    pub variable: &'a str,
    /// Where else it is looked for, from the current folder on.
    pub places: &'a [&'a str],
    /// In this order: training images, training labels, test images, test labels.
    pub files: [FileSpec<'a>; 4],
    /// Where it is downloaded from unless told otherwise.
    #[cfg(feature = "network")]
    pub mirrors: &'a [&'a str],
    /// What a download may take.
    #[cfg(feature = "network")]
    pub limits: download::Limits,
}

/// One file of a [`Source`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct FileSpec<'a> {
    /// Its name without `.gz`; with it, that on the mirrors.
    pub name: &'a str,
    /// The other name it goes by.
    pub alias: &'a str,
    /// `[count, rows, columns]`, or `[count, 1, 1]` for labels.
    pub shape: [usize; 3],
    /// SHA-256 of the uncompressed file, in lower-case hexadecimal.
    pub sha256: &'a str,
}

impl Source<'static> {
    /// The original, with the published digests.
    #[doc(hidden)]
    pub const MNIST: Self = Self {
        title: "MNIST",
        name: "mnist",
        variable: DIR_VARIABLE,
        // The first is torchvision's.
        places: &["data/MNIST/raw", "data/mnist"],
        files: [
            FileSpec {
                name: "train-images-idx3-ubyte",
                alias: "train-images.idx3-ubyte",
                shape: [60_000, SIDE, SIDE],
                sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            },
            FileSpec {
                name: "train-labels-idx1-ubyte",
                alias: "train-labels.idx1-ubyte",
                shape: [60_000, 1, 1],
                sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            },
            FileSpec {
                name: "t10k-images-idx3-ubyte",
                alias: "t10k-images.idx3-ubyte",
                shape: [10_000, SIDE, SIDE],
                sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            },
            FileSpec {
                name: "t10k-labels-idx1-ubyte",
                alias: "t10k-labels.idx1-ubyte",
                shape: [10_000, 1, 1],
                sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
        ],
        #[cfg(feature = "network")]
        mirrors: MIRRORS,
        #[cfg(feature = "network")]
        limits: download::Limits::DEFAULT,
    };

    /// Fashion-MNIST, which has MNIST's names and sizes. The digests are those of the files in Debian's package
    /// `dataset-fashion-mnist` 0.0~git20200523.55506a9-1, which packs the project's own. With the name and the time
    /// (1504176606 for training, 1504176627 for testing) put back into the gzip headers that the package strips of them,
    /// the packed files have the MD5 that the project's README publishes.
    #[doc(hidden)]
    pub const FASHION_MNIST: Self = {
        let [a, b, c, d] = Self::MNIST.files;
        Self {
            title: "Fashion-MNIST",
            name: "fashion-mnist",
            variable: super::fashion_mnist::DIR_VARIABLE,
            // The first is torchvision's, the last that of Debian's package.
            places: &["data/FashionMNIST/raw", "data/fashion-mnist", "/usr/share/datasets/fashion-mnist"],
            files: [
                FileSpec { sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", ..a },
                FileSpec { sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", ..b },
                FileSpec { sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", ..c },
                FileSpec { sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", ..d },
            ],
            #[cfg(feature = "network")]
            mirrors: super::fashion_mnist::MIRRORS,
            ..Self::MNIST
        }
    };

    /// The sets whose files are known.
    const KNOWN: [Self; 2] = [Self::MNIST, Self::FASHION_MNIST];

    /// The known set that a file of labels with this SHA-256 (uncompressed) is of.
    #[doc(hidden)]
    pub fn of_labels(sha256: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|source| [1, 3].into_iter().any(|i| source.files[i].sha256 == sha256))
    }
}

impl Source<'_> {
    /// See [`find`].
    #[doc(hidden)]
    pub fn find(&self, data_dir: Option<&Path>) -> Result<PathBuf> {
        self.find_among(data_dir, std::env::var_os(self.variable), self.cache_dir(), Path::new(""))
    }

    /// See [`cache_dir`].
    #[doc(hidden)]
    pub fn cache_dir(&self) -> Option<PathBuf> {
        Some(choose_native_strategy().ok()?.cache_dir().join("syva").join(self.name))
    }

    /// See [`digest`].
    #[doc(hidden)]
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.files.map(|file| file.sha256).concat()))
    }

    /// Whether someone said where it is. An empty variable says nothing, as in [`find`].
    pub(super) fn is_placed(&self, data_dir: Option<&Path>) -> bool {
        data_dir.is_some() || std::env::var_os(self.variable).is_some_and(|value| !value.is_empty())
    }

    /// See [`load_on`].
    #[doc(hidden)]
    pub fn load(&self, threads: usize, dir: &Path) -> Result<Mnist> {
        let bytes = self.files.iter().map(|file| file.shape.iter().product::<usize>() as u64).sum();
        memory::ask(bytes, &format!("{}'s images", self.title), "end other programs, or raise the limit")?;
        let read = |file: &FileSpec| match file.locate(dir) {
            Some(path) => file.read(&path, self),
            None => Err(self.incomplete(dir.display().to_string(), dir, &[file.name])),
        };
        // In their order, the training images first: these take four fifths of the time.
        let contents = self.files.map(|_| Mutex::new(Ok(Vec::new())));
        threads::share(threads.min(2), self.files.iter().zip(&contents), |(file, content)| {
            *content.lock().unwrap_or_else(PoisonError::into_inner) = read(file);
        });
        let [first, second, third, fourth] =
            contents.map(|content| content.into_inner().unwrap_or_else(PoisonError::into_inner));
        // Of two bad files the first is always the one that is named.
        Ok(Mnist { train: Part { pixels: first?, labels: second? }, test: Part { pixels: third?, labels: fourth? } })
    }

    /// [`find`] with everything it takes from its surroundings as arguments.
    fn find_among(
        &self,
        data_dir: Option<&Path>,
        variable: Option<OsString>,
        cache: Option<PathBuf>,
        current: &Path,
    ) -> Result<PathBuf> {
        let variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = match (data_dir, variable) {
            (Some(dir), _) => Some((format!("--data-dir {}", dir.display()), dir.to_path_buf())),
            (None, Some(dir)) => Some((format!("{}={}", self.variable, dir.display()), dir)),
            (None, None) => None,
        };
        if let Some((setting, dir)) = named {
            let missing = self.missing(&dir);
            return if missing.is_empty() { Ok(dir) } else { Err(self.incomplete(setting, &dir, &missing)) };
        }
        let mut looked = Vec::new();
        for place in cache.into_iter().chain(self.places.iter().map(|place| current.join(place))) {
            let missing = self.missing(&place);
            match missing.len() {
                0 => return Ok(place),
                4 => looked.push(place.display().to_string()),
                _ => looked.push(format!("{} (which lacks {})", place.display(), missing.join(", "))),
            }
        }
        let reason = format!(
            "looked in {}; put its four files into a folder and name it with --data-dir or {}",
            looked.join(", "),
            self.variable
        );
        Err(Error::io("find", self.title)(io::Error::new(io::ErrorKind::NotFound, reason)))
    }

    /// The error for a folder that was named, as `setting` says, but lacks files.
    fn incomplete(&self, setting: String, dir: &Path, missing: &[&str]) -> Error {
        if !dir.is_dir() {
            return Error::setting(
                setting,
                "there is no such folder",
                format!("name the folder that holds {}'s four files", self.title),
            );
        }
        // People name torchvision's root folder, or the one above.
        let nested = ["MNIST/raw", "FashionMNIST/raw", "raw", self.name, "MNIST"].map(|inner| dir.join(inner));
        let remedy = match nested.into_iter().find(|inner| self.missing(inner).is_empty()) {
            Some(inner) => format!("they are in {}: name that folder", inner.display()),
            None => "put all four there, plain or as .gz, or name the folder that holds them".into(),
        };
        Error::setting(
            setting,
            format!("{} is not complete there, missing: {}", self.title, missing.join(", ")),
            remedy,
        )
    }

    /// Names of the files that a folder does not have.
    fn missing(&self, dir: &Path) -> Vec<&str> {
        self.files.iter().filter(|file| file.locate(dir).is_none()).map(|file| file.name).collect()
    }
}

impl FileSpec<'_> {
    /// The file in a folder, under the first of its names that is there. Uncompressed ones come first: they load faster.
    /// (A folder of that name is passed over: archives from Kaggle have one around each file.)
    fn locate(&self, dir: &Path) -> Option<PathBuf> {
        let names = [self.name.into(), self.alias.into(), format!("{}.gz", self.name), format!("{}.gz", self.alias)];
        names.into_iter().map(|name| dir.join(name)).find(|path| path.is_file())
    }

    /// The file's data, once it is known to be exactly what this describes. `of` is the set that it is a part of.
    fn read(&self, path: &Path, of: &Source) -> Result<Vec<u8>> {
        let kind = if self.shape[1..] == [1, 1] { Kind::Labels } else { Kind::Images };
        let mut hasher = Sha256::new();
        let (_, data) = idx::read(path, kind, Some(self.shape), &mut |piece| hasher.update(piece))?;
        // The digest would catch such a label too, but this says more: another data set with more classes.
        let bad = data.iter().position(|&label| usize::from(label) >= CLASSES).filter(|_| kind == Kind::Labels);
        if let Some(index) = bad {
            let problem = format!("label {} where {} has 0 to 9", data[index], of.title);
            let remedy = format!("{}'s own file belongs here; train on other data with --data FOLDER", of.title);
            return Err(Error::file(path, format!("byte {}", 8 + index), problem, remedy));
        }
        let found = hex(&hasher.finalize());
        if found == self.sha256 { Ok(data) } else { Err(self.refuse(path, &found, of)) }
    }

    /// What is said of a file whose SHA-256 is another's.
    fn refuse(&self, path: &Path, found: &str, of: &Source) -> Error {
        let other = Source::KNOWN.into_iter().find(|source| source.files.iter().any(|file| file.sha256 == found));
        if let Some(Source { title, name, .. }) = other {
            let problem = format!("it is a file of {title}, not of {}", of.title);
            let remedy = format!("train on it with --data {name}, or name a folder with the files of {}", of.title);
            return Error::file(path, "whole content", problem, remedy);
        }
        let problem =
            format!("its SHA-256 (uncompressed) is {found}, but the published one of {} is {}", self.name, self.sha256);
        let remedy = format!(
            "if it is another data set in MNIST's format, train on it with --data FOLDER; if it should be {}, it is damaged: \
             download it again",
            of.title
        );
        Error::file(path, "whole content", problem, remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder with (empty) files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        dir
    }

    const PLAIN: [&str; 4] =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
    const MIXED: [&str; 4] = [
        "train-images-idx3-ubyte.gz",
        "train-labels.idx1-ubyte",
        "t10k-images.idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ];

    #[test]
    fn fashion_mnist_is_named_and_nobody_is_told_to_delete_it() {
        let (file, of) = (&Source::MNIST.files[0], &Source::MNIST);
        for fashion in Source::FASHION_MNIST.files {
            let text = file.refuse("a".as_ref(), fashion.sha256, of).to_string();
            assert!(text.contains("--data fashion-mnist") && !text.contains("download"), "{text}");
        }
        let text = file.refuse("a".as_ref(), Source::MNIST.files[0].sha256, &Source::FASHION_MNIST).to_string();
        assert!(text.contains("it is a file of MNIST, not of Fashion-MNIST; train on it with --data mnist"), "{text}");
        let text = file.refuse("a".as_ref(), &"0".repeat(64), of).to_string();
        assert!(text.contains("download it again") && !text.contains("Fashion"), "{text}");
    }

    #[test]
    fn find_prefers_the_argument_then_the_variable_then_the_cache_then_the_current_folder() {
        let (argument, variable, cache, current) = (folder(&PLAIN), folder(&MIXED), folder(&MIXED), folder(&[]));
        let (raw, small) = (current.path().join("data/MNIST/raw"), current.path().join("data/mnist"));
        for place in [&raw, &small] {
            fs::create_dir_all(place).unwrap();
            for name in PLAIN {
                fs::write(place.join(name), b"").unwrap();
            }
        }
        let find =
            |argument, variable, cache| Source::MNIST.find_among(argument, variable, cache, current.path()).unwrap();
        let value = || Some(OsString::from(variable.path()));
        let cached = || Some(cache.path().to_path_buf());
        assert_eq!(find(Some(argument.path()), value(), cached()), argument.path());
        assert_eq!(find(None, value(), cached()), variable.path());
        assert_eq!(find(None, Some(OsString::new()), cached()), cache.path());
        assert_eq!(find(None, None, None), raw);
        fs::remove_file(raw.join(PLAIN[3])).unwrap();
        assert_eq!(find(None, None, None), small);
    }

    #[test]
    fn a_named_folder_that_lacks_files_is_an_error_even_if_the_cache_has_them() {
        let (named, cache) = (folder(&PLAIN[..3]), folder(&PLAIN));
        let cached = Some(cache.path().to_path_buf());
        let by_argument =
            Source::MNIST.find_among(Some(named.path()), None, cached.clone(), named.path()).unwrap_err().to_string();
        assert!(by_argument.starts_with("--data-dir ") && by_argument.contains(PLAIN[3]), "{by_argument}");
        assert!(!by_argument.contains(PLAIN[0]), "{by_argument}");
        let by_variable =
            Source::MNIST.find_among(None, Some(named.path().into()), cached, named.path()).unwrap_err().to_string();
        assert!(by_variable.starts_with("SYVA_MNIST_DIR=") && by_variable.contains(PLAIN[3]), "{by_variable}");
        let absent =
            Source::MNIST.find_among(Some(Path::new("/no/such")), None, None, named.path()).unwrap_err().to_string();
        assert!(absent.contains("no such folder"), "{absent}");
    }

    #[test]
    fn naming_the_folder_above_is_answered_with_the_right_one() {
        let root = folder(&[]);
        fs::create_dir_all(root.path().join("MNIST/raw")).unwrap();
        for name in PLAIN {
            fs::write(root.path().join("MNIST/raw").join(name), b"").unwrap();
        }
        let error = Source::MNIST.find_among(Some(root.path()), None, None, root.path()).unwrap_err().to_string();
        let raw = root.path().join("MNIST/raw").display().to_string();
        assert!(error.contains(&format!("they are in {raw}")), "{error}");
    }

    #[test]
    fn finding_nothing_lists_every_place() {
        let (cache, current) = (folder(&PLAIN[1..]), folder(&[]));
        let error = Source::MNIST.find_among(None, None, Some(cache.path().into()), current.path()).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(&format!("{} (which lacks {})", cache.path().display(), PLAIN[0])), "{message}");
        for place in ["data/MNIST/raw", "data/mnist"] {
            assert!(message.contains(&current.path().join(place).display().to_string()), "{message}");
        }
    }

    #[test]
    fn a_folder_that_has_a_files_name_is_passed_over() {
        let dir = folder(&["train-images.idx3-ubyte"]);
        fs::create_dir(dir.path().join("train-images-idx3-ubyte")).unwrap();
        let found = Source::MNIST.files[0].locate(dir.path());
        assert_eq!(found, Some(dir.path().join("train-images.idx3-ubyte")));
    }
}
