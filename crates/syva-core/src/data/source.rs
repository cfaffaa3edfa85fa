//! Where data comes from by name: `mnist`, `fashion-mnist`, `digits`, or whichever of `mnist` and `digits` can be had.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::data::{Dataset, Inputs, Targets, Task, digits, fashion_mnist, mnist};
use crate::spec::{Normalization, Spec, names};
use crate::{Error, Result, threads};

/// The mean and standard deviation of MNIST's training pixels (as shares of 255), which the chapter normalises with.
/// `digits` is drawn to have much the same, and is normalised alike so that networks can be tried on both.
pub const MNIST_MEAN_STD: (f64, f64) = (0.1307, 0.3081);

/// A named source of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// MNIST where it is found or can be fetched, else `digits`, with a notice that says why.
    Auto,
    /// The real MNIST, or an error.
    Mnist,
    /// Fashion-MNIST, or an error.
    FashionMnist,
    /// The digits that the program draws itself.
    Digits,
}

names!(Source, "data", Auto = "auto", Mnist = "mnist", FashionMnist = "fashion-mnist", Digits = "digits");

impl Source {
    /// Checks that a network can be trained on, or judged by, this source, before anything is opened: all of them have
    /// images of 28 × 28 pixels in 10 classes.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Mlp, data::source::Source};
    /// assert!(Source::Mnist.check(&Mlp::image(28, 28).hidden(&[8], Relu).classes(10)).is_ok());
    /// let error = Source::Auto.check(&Mlp::new(4).hidden(&[8], Relu).classes(3)).unwrap_err();
    /// assert!(error.to_string().contains("784 features, the network reads 4"));
    /// ```
    pub fn check(self, spec: &Spec) -> Result<()> {
        let targets = Targets::Classes { labels: [0].into(), classes: mnist::CLASSES };
        let features = mnist::SIDE * mnist::SIDE;
        Dataset::new(Inputs::U8(vec![0; features].into()), features, targets)?.check(spec)
    }

    /// The files of this source, if it has any.
    fn files(self) -> Option<mnist::Source<'static>> {
        match self {
            Self::Auto | Self::Mnist => Some(mnist::Source::MNIST),
            Self::FashionMnist => Some(mnist::Source::FASHION_MNIST),
            Self::Digits => None,
        }
    }

    /// The folder with the files of this source: `dir` if it is given, otherwise where it is usually
    /// ([`mnist::find`], [`fashion_mnist::find`]). `None` for digits, which are drawn.
    ///
    /// # Errors
    /// As for [`mnist::find`].
    pub fn find(self, dir: Option<&Path>) -> Result<Option<PathBuf>> {
        self.files().map(|files| files.find(dir)).transpose()
    }
}

/// What happens while data is opened.
#[derive(Debug)]
pub enum Notice<'a> {
    /// MNIST, or Fashion-MNIST, is being downloaded.
    #[cfg(feature = "network")]
    Download(&'a mnist::Progress<'a>),
    /// MNIST could not be had, for this reason; `digits` is used instead.
    Fallback(&'a Error),
}

/// Opens a source: decoded, checked, in memory.
///
/// `dir` names a folder with the four files of MNIST or Fashion-MNIST; it and the environment variables `SYVA_MNIST_DIR` and
/// `SYVA_FASHION_MNIST_DIR` are taken at their word: when the files are not there, or not whole, that is an error, also for
/// [`Source::Auto`].
///
/// ```no_run
/// use syva_core::data::source::{Source, open};
/// let task = open(Source::Auto, None, &mut |notice| eprintln!("{notice:?}"))?;
/// assert_eq!((task.train.samples(), task.validation.samples()), (60_000, 10_000));
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn open(source: Source, dir: Option<&Path>, listener: &mut dyn FnMut(&Notice<'_>)) -> Result<Task> {
    open_on(threads::cores(), source, dir, listener)
}

/// Like [`open`], on at most so many threads; the data does not depend on it.
pub fn open_on(
    threads: usize,
    source: Source,
    dir: Option<&Path>,
    listener: &mut dyn FnMut(&Notice<'_>),
) -> Result<Task> {
    let Some(files) = source.files() else {
        if dir.is_some() {
            return Err(Error::setting("data-dir", "digits are drawn, not read", "leave it out, or use --data mnist"));
        }
        return open_digits(threads);
    };
    match source {
        Source::Auto if !files.is_placed(dir) => match locate(&files, None, listener) {
            Ok(found) => open_files(threads, source, &files, &found),
            Err(error) => {
                listener(&Notice::Fallback(&error));
                open_digits(threads)
            }
        },
        _ => open_files(threads, source, &files, &locate(&files, dir, listener)?),
    }
}

/// The folder with the files; they are downloaded to the cache folder if they are nowhere else.
fn locate(
    files: &mnist::Source<'static>,
    dir: Option<&Path>,
    listener: &mut dyn FnMut(&Notice<'_>),
) -> Result<PathBuf> {
    let missing = match files.find(dir) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if files.is_placed(dir) {
        return Err(missing);
    }
    #[cfg(feature = "network")]
    if let Some(cache) = files.cache_dir() {
        files.download(&cache, files.mirrors, &mut |progress| listener(&Notice::Download(&progress)))?;
        return Ok(cache);
    }
    let _ = listener;
    Err(missing)
}

fn task(name: &str, (mean, std): (f64, f64), train: (Vec<u8>, Vec<u8>), test: (Vec<u8>, Vec<u8>)) -> Result<Task> {
    let dataset = |(pixels, labels): (Vec<u8>, Vec<u8>)| {
        let labels = labels.into_iter().map(u32::from).collect();
        Dataset::new(Inputs::U8(pixels.into()), 784, Targets::Classes { labels, classes: 10 })
    };
    Ok(Task {
        shape: vec![28, 28],
        normalization: Normalization::pixels(mean, std),
        ..Task::new(name, dataset(train)?, dataset(test)?)
    })
}

fn open_files(threads: usize, source: Source, files: &mnist::Source<'_>, dir: &Path) -> Result<Task> {
    let mnist::Mnist { train, test } = files.load(threads, dir)?;
    let (mean_std, class_names) = match source {
        Source::FashionMnist => (fashion_mnist::MEAN_STD, fashion_mnist::CLASS_NAMES.map(String::from).to_vec()),
        Source::Auto | Source::Mnist | Source::Digits => (MNIST_MEAN_STD, Vec::new()),
    };
    let task = task(files.name, mean_std, (train.pixels, train.labels), (test.pixels, test.labels))?;
    Ok(Task { known_digest: Some(files.digest()), class_names, ..task })
}

fn open_digits(threads: usize) -> Result<Task> {
    // Both at once, so that too little memory is said before the first is drawn.
    let (mut pixels, mut labels) = digits::draw_on(threads, digits::SEED, 0, digits::TRAIN + digits::TEST)?;
    let test = (pixels.split_off(digits::TRAIN * 784), labels.split_off(digits::TRAIN));
    pixels.shrink_to_fit();
    task("digits", MNIST_MEAN_STD, (pixels, labels), test)
}
