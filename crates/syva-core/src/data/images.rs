//! Images from files: what a run says of them. The crate `syva-data` reads them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Validation;
use crate::spec::{ImageShape, Spec, names};
use crate::{Error, Result};

/// Which files have the images, and what is wanted of them: all that it takes to make the same task again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ImagesConfig {
    /// A folder with a folder of pictures for each class, with IDX files, or with CIFAR's binary files; or one IDX file of a
    /// set.
    pub path: PathBuf,
    /// The names of the classes in the order of the outputs. Empty: as the files have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// The size that pictures are brought to. `None`: the size that most of them have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<ImageSize>,
    /// Whether they are read as grey or as RGB. `None`: as RGB if any has colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// The part that is for testing, if there are no test images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Validation>,
}

impl ImagesConfig {
    /// The images in this place, as a network reads them: of its size, and with its classes.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the network does not read images, or does not tell classes.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Mlp, data::images::{Channels, ImagesConfig}};
    /// let config = ImagesConfig::of(&Mlp::rgb(32, 48).hidden(&[8], Relu).classes(2), "photos")?;
    /// assert_eq!(config.size.unwrap().to_string(), "32x48");
    /// assert_eq!((config.channels, config.classes), (Some(Channels::Rgb), vec!["0".into(), "1".into()]));
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn of(spec: &Spec, path: impl Into<PathBuf>) -> Result<Self> {
        let Some(image) = ImageShape::of(&spec.input.shape) else {
            let problem = format!("the network reads {} values per sample, not images", spec.input.features);
            return Err(Error::mismatch(problem, "use a model that was trained on images"));
        };
        if spec.classes() == 0 {
            let problem = "the network predicts values, and these images have classes";
            return Err(Error::mismatch(problem, "use the data that the model is for"));
        }
        let numbers = || (0..spec.classes()).map(|class| class.to_string()).collect();
        Ok(Self {
            path: path.into(),
            classes: spec.named_classes().map_or_else(numbers, <[String]>::to_vec),
            size: Some(ImageSize { height: image.height, width: image.width }),
            channels: Some(if image.channels == 3 { Channels::Rgb } else { Channels::Grey }),
            test: None,
        })
    }
}

/// The colours of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// One value per pixel.
    Grey,
    /// Red, green and blue.
    Rgb,
}

names!(Channels, "channels", Grey = "grey", Rgb = "rgb");

/// The size of images in pixels; as text `HEIGHTxWIDTH`, such as `32x48`.
///
/// ```
/// use syva_core::data::images::ImageSize;
/// assert_eq!("32x48".parse::<ImageSize>()?, ImageSize { height: 32, width: 48 });
/// assert_eq!("64".parse::<ImageSize>()?.to_string(), "64x64");
/// assert!("64x".parse::<ImageSize>().unwrap_err().to_string().contains("such as 28x28"));
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageSize {
    /// Pixel rows.
    pub height: usize,
    /// Pixel columns.
    pub width: usize,
}

/// The largest side of the images that a network reads. Layers have at most 2³¹ weights.
const MAX_SIDE: usize = 16_384;

impl FromStr for ImageSize {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (height, width) = text.split_once(['x', 'X', '×']).unwrap_or((text, text));
        let side = |text: &str| text.trim().parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
        side(height).zip(side(width)).map(|(height, width)| Self { height, width }).ok_or_else(|| {
            let problem = format!("'{text}' is no size of images");
            let remedy = format!("write HEIGHTxWIDTH, such as 28x28, each from 1 to {MAX_SIDE}");
            Error::setting("image-size", problem, remedy)
        })
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.height, self.width))
    }
}

impl TryFrom<String> for ImageSize {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ImageSize> for String {
    fn from(size: ImageSize) -> Self {
        size.to_string()
    }
}
