//! Values under tags, each in the form that one part of TensorBoard (a "plugin") shows.

use crate::proto::summary::value::Value as Content;
use crate::proto::summary_metadata::PluginData;
use crate::proto::{
    DataClass, DataType, Summary, SummaryMetadata, TensorProto, TensorShapeProto, summary, tensor_shape_proto,
};
use crate::{Error, PrCurve, Result};

/// A value under a tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(pub(crate) summary::Value);

/// Buckets of a histogram. This is TensorFlow's default.
const BUCKETS: usize = 30;

impl Value {
    /// A number, stored as f32 as in TensorBoard.
    #[must_use]
    pub fn scalar(tag: &str, value: f64) -> Self {
        // Without metadata, as PyTorch writes it. TensorBoard takes this for a scalar, and so do all older readers.
        Self(summary::Value { tag: tag.into(), metadata: None, value: Some(Content::SimpleValue(value as f32)) })
    }

    /// Text, shown as Markdown.
    #[must_use]
    pub fn text(tag: &str, markdown: &str) -> Self {
        let tensor = strings(vec![markdown.into()]);
        Self::tensor(tag, "text", Vec::new(), DataClass::Tensor, tensor)
    }

    /// A picture.
    pub fn image(tag: &str, image: &Image) -> Result<Self> {
        let png = image.to_png(tag)?;
        let tensor = strings(vec![image.width.to_string().into(), image.height.to_string().into(), png]);
        Ok(Self::tensor(tag, "images", Vec::new(), DataClass::BlobSequence, tensor))
    }

    /// The distribution of numbers, in 30 buckets of equal width. Numbers that are not finite are left out.
    #[must_use]
    pub fn histogram(tag: &str, values: &[f32]) -> Self {
        let rows = buckets(values);
        let content = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = tensor(DataType::DtDouble, &[rows.len(), 3], content);
        Self::tensor(tag, "histograms", Vec::new(), DataClass::Tensor, tensor)
    }

    /// A precision-recall curve.
    #[must_use]
    pub fn pr_curve(tag: &str, curve: &PrCurve) -> Self {
        let (content, tensor) = curve.encode();
        Self::tensor(tag, "pr_curves", content, DataClass::Tensor, tensor)
    }

    pub(crate) fn tensor(tag: &str, plugin: &str, content: Vec<u8>, class: DataClass, tensor: TensorProto) -> Self {
        let metadata = SummaryMetadata {
            plugin_data: Some(PluginData { plugin_name: plugin.into(), content }),
            data_class: class.into(),
            ..SummaryMetadata::default()
        };
        Self(summary::Value { tag: tag.into(), metadata: Some(metadata), value: Some(Content::Tensor(tensor)) })
    }

    /// Sets the value's heading in TensorBoard's pages, and its description in Markdown.
    #[must_use]
    pub fn described(mut self, name: &str, description: &str) -> Self {
        let metadata = self.0.metadata.get_or_insert_with(|| SummaryMetadata {
            // TensorBoard shows nothing unless metadata says what the value is.
            plugin_data: Some(PluginData { plugin_name: "scalars".into(), content: Vec::new() }),
            data_class: DataClass::Scalar.into(),
            ..SummaryMetadata::default()
        });
        metadata.display_name = name.into();
        metadata.summary_description = description.into();
        self
    }
}

impl FromIterator<Value> for Summary {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self { value: values.into_iter().map(|value| value.0).collect() }
    }
}

/// Shape `[d0, d1, …]`.
pub(crate) fn shape(dims: &[usize]) -> TensorShapeProto {
    let dim = |&size: &usize| tensor_shape_proto::Dim { size: size as i64, name: String::new() };
    TensorShapeProto { dim: dims.iter().map(dim).collect(), unknown_rank: false }
}

pub(crate) fn tensor(dtype: DataType, dims: &[usize], tensor_content: Vec<u8>) -> TensorProto {
    TensorProto { dtype: dtype.into(), tensor_shape: Some(shape(dims)), tensor_content, ..TensorProto::default() }
}

/// A list of strings.
pub(crate) fn strings(string_val: Vec<Vec<u8>>) -> TensorProto {
    let tensor = tensor(DataType::DtString, &[string_val.len()], Vec::new());
    TensorProto { string_val, ..tensor }
}

/// Left edge, right edge and count of each bucket. All three are 0 if there are no numbers.
fn buckets(values: &[f32]) -> Vec<[f64; 3]> {
    let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return vec![[0.0; 3]; BUCKETS];
    }
    if low == high {
        // For a single value, one bucket around it, as in TensorBoard's own writer.
        let mut rows = vec![[low + 0.5, low + 0.5, 0.0]; BUCKETS];
        rows[0] = [low - 0.5, low + 0.5, finite().count() as f64];
        return rows;
    }
    let width = (high - low) / BUCKETS as f64;
    let mut rows: Vec<[f64; 3]> =
        (0..BUCKETS).map(|i| [low + i as f64 * width, low + (i + 1) as f64 * width, 0.0]).collect();
    rows[BUCKETS - 1][1] = high;
    for value in finite() {
        rows[(((value - low) / width) as usize).min(BUCKETS - 1)][2] += 1.0;
    }
    rows
}

/// Pixels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    color: png::ColorType,
    pixels: Vec<u8>,
}

impl Image {
    /// Greys, `[height, width]`.
    #[must_use]
    pub fn gray(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        Self { width, height, color: png::ColorType::Grayscale, pixels }
    }

    /// Red, green, blue: `[height, width, 3]`.
    #[must_use]
    pub fn rgb(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        Self { width, height, color: png::ColorType::Rgb, pixels }
    }

    fn to_png(&self, tag: &str) -> Result<Vec<u8>> {
        let wanted = self.width as usize * self.height as usize * self.color.samples();
        if self.pixels.len() != wanted || wanted == 0 {
            let problem =
                format!("an image of {} × {} has {wanted} bytes, not {}", self.width, self.height, self.pixels.len());
            return Err(Error::value(tag, problem));
        }
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(self.color);
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.pixels));
        written.map_err(|error| Error::value(tag, error.to_string()))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_count_every_finite_value_once() {
        let values = [0.0, 1.0, 2.0, 3.0, 3.0, f32::NAN, f32::INFINITY];
        let rows = buckets(&values);
        assert_eq!(rows.len(), 30);
        assert_eq!(rows.iter().map(|row| row[2]).sum::<f64>(), 5.0);
        assert_eq!((rows[0][0], rows[29][1], rows[29][2]), (0.0, 3.0, 2.0));
        assert!(rows.windows(2).all(|pair| pair[0][1] == pair[1][0]));
        assert_eq!(buckets(&[2.0, 2.0])[0], [1.5, 2.5, 2.0]);
        assert_eq!(buckets(&[]), vec![[0.0; 3]; 30]);
    }

    #[test]
    fn an_image_of_the_wrong_size_is_refused() {
        let error = Value::image("digit", &Image::gray(2, 2, vec![0; 3])).unwrap_err();
        assert_eq!(error.to_string(), "digit: an image of 2 × 2 has 4 bytes, not 3");
    }
}
