//! Fashion-MNIST: 60,000 + 10,000 grey pictures of clothes, 28×28 pixels, in MNIST's format (Xiao, Rasul, Vollgraf 2017).
//!
//! As with [`mnist`](super::mnist), what is loaded is the set to the bit or an error.

use std::path::{Path, PathBuf};

use super::mnist::{Mnist, Source};
use crate::{Result, threads};

#[cfg(feature = "network")]
use super::mnist::Progress;

/// The environment variable that names the folder with the four files.
pub const DIR_VARIABLE: &str = "SYVA_FASHION_MNIST_DIR";

/// The names of the classes, in the order of the labels.
pub const CLASS_NAMES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// The mean and standard deviation of the training pixels, as shares of 255.
pub const MEAN_STD: (f64, f64) = (0.2860, 0.3530);

/// Where it is downloaded from unless told otherwise: the publisher's own server, and the copies that the publisher's
/// repository and Keras keep. The files are compared with their SHA-256, so the first need not be encrypted.
#[cfg(feature = "network")]
pub const MIRRORS: &[&str] = &[
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
];

/// Finds the folder that holds the four files, as [`mnist::find`](super::mnist::find) does: `data_dir` if given, otherwise
/// the environment variable `SYVA_FASHION_MNIST_DIR`, otherwise the first of these that has them: [`cache_dir`],
/// `data/FashionMNIST/raw` (where torchvision puts them) and `data/fashion-mnist` in the current folder, and
/// `/usr/share/datasets/fashion-mnist` (of Debian's package `dataset-fashion-mnist`).
///
/// # Errors
/// As for [`mnist::find`](super::mnist::find).
pub fn find(data_dir: Option<&Path>) -> Result<PathBuf> {
    Source::FASHION_MNIST.find(data_dir)
}

/// The folder that downloads go to: `syva/fashion-mnist` in the platform's cache folder. `None` if the user has no home
/// folder. It need not exist yet.
pub fn cache_dir() -> Option<PathBuf> {
    Source::FASHION_MNIST.cache_dir()
}

/// Reads the four files in a folder and checks them to the bit.
///
/// # Errors
/// As for [`mnist::load`](super::mnist::load).
///
/// ```no_run
/// use syva_core::data::fashion_mnist;
/// let sets = fashion_mnist::load(&fashion_mnist::find(None)?)?;
/// assert_eq!(fashion_mnist::CLASS_NAMES[usize::from(sets.train.labels[0])], "Ankle boot");
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn load(dir: &Path) -> Result<Mnist> {
    load_on(threads::cores(), dir)
}

/// Like [`load`], on at most so many threads (there is work for two).
pub fn load_on(threads: usize, dir: &Path) -> Result<Mnist> {
    Source::FASHION_MNIST.load(threads, dir)
}

/// A digest that names the set to the bit: SHA-256 over the digests of its files, in their order.
#[must_use]
pub fn digest() -> String {
    Source::FASHION_MNIST.digest()
}

/// Downloads the four files into a folder, as [`mnist::download`](super::mnist::download) does.
///
/// # Errors
/// As for [`mnist::download`](super::mnist::download).
#[cfg(feature = "network")]
pub fn download(dir: &Path, mirrors: &[&str], progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    Source::FASHION_MNIST.download(dir, mirrors, progress)
}
