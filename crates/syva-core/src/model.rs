//! Trained networks and their file: safetensors, with PyTorch's names and layout.
//!
//! ```text
//! 8 bytes   length n of the header, little-endian
//! n bytes   JSON: "__metadata__": { "syva": description }, then for each tensor its dtype, shape, place
//! the rest  fc1.bias [256] f32, fc1.weight [256, 784] f32, …, little-endian
//! ```
//!
//! `load_state_dict(load_file("model.safetensors"))` fills the chapter's class with no key changed. The description (one
//! JSON text, so that the file's bytes are reproducible) holds the [`Spec`] with its normalisation, so a model file needs
//! nothing beside it: it takes raw pixels.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::spec::Spec;
use crate::state::{Matrix, Parameters, State};
use crate::trainer::{Progress, Training};
use crate::{Error, Result};

/// The version of the description in the metadata.
const FORMAT: u32 = 1;
/// The description's key in the metadata.
const KEY: &str = "syva";

/// A network and its weights.
///
/// ```
/// use syva_core::{Activation::Sigmoid, Mlp, Model, State};
/// let spec = Mlp::image(28, 28).hidden(&[16], Sigmoid).classes(10);
/// let model = Model { state: State::initial(&spec, 1)?, spec };
/// let again = Model::from_bytes(&model.to_bytes()?, "model.safetensors")?;
/// assert_eq!(again, model);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the network is, with the normalisation of its inputs.
    pub spec: Spec,
    /// Its weights and biases, and the steps they took.
    pub state: State,
}

/// What the metadata says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    spec: Spec,
    step: u64,
    /// Only in checkpoints: where the training stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    /// Only in checkpoints: how it is trained, so that a change of `config.toml` does not go unnoticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training: Option<Training>,
}

/// What a checkpoint holds beside the model.
pub(crate) type Checkpoint = (Training, Progress);

impl Model {
    /// The model as the bytes of a safetensors file; equal models give equal bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        encode(&self.spec, &self.state, None)
    }

    /// Reads the bytes of a safetensors file; `name` is what error messages call it.
    pub fn from_bytes(bytes: &[u8], name: impl AsRef<Path>) -> Result<Self> {
        Ok(decode(bytes, name.as_ref())?.0)
    }

    /// Writes the file, atomically.
    #[cfg(feature = "files")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes = self.to_bytes()?;
        crate::files::write_atomically(path.as_ref(), |file| file.write_all(&bytes))
    }

    /// Reads a file that [`Model::save`] wrote.
    #[cfg(feature = "files")]
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(load(path.as_ref())?.0)
    }
}

/// More than the largest network's weights: 2^31 parameters of 4 bytes, and a header.
#[cfg(feature = "files")]
const MAX_BYTES: u64 = (1 << 33) + (1 << 27);

#[cfg(feature = "files")]
pub(crate) fn load(path: &Path) -> Result<(Model, Option<Checkpoint>)> {
    decode(&crate::files::read_limited(path, MAX_BYTES)?, path)
}

pub(crate) fn encode(spec: &Spec, state: &State, checkpoint: Option<(&Training, &Progress)>) -> Result<Vec<u8>> {
    state.check(spec)?;
    let (training, progress) = checkpoint.map_or((None, None), |(t, p)| (Some(*t), Some(p.clone())));
    let description = Description { format: FORMAT, spec: spec.clone(), step: state.step, progress, training };
    let description = serde_json::to_string(&description)
        .map_err(|error| Error::mismatch(format!("the model cannot be described: {error}"), "report this"))?;
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors = Vec::new();
    for (l, parameters) in state.layers.iter().enumerate() {
        let shape = vec![parameters.weight.rows(), parameters.weight.columns()];
        tensors.push((format!("fc{}.weight", l + 1), shape, bytes(parameters.weight.values())));
        tensors.push((format!("fc{}.bias", l + 1), vec![parameters.bias.len()], bytes(&parameters.bias)));
    }
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view)))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::mismatch(format!("the model cannot be written: {error}"), "report this"))?;
    // A single entry, so that the order of a hash map cannot change the file's bytes.
    let metadata = HashMap::from([(KEY.to_string(), description)]);
    safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::mismatch(format!("the model cannot be written: {error}"), "report this"))
}

pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<(Model, Option<Checkpoint>)> {
    let refuse = |place: &str, problem: String, remedy: &str| Err(Error::file(path, place, problem, remedy));
    let broken = |error: safetensors::SafeTensorError| {
        let remedy = "it is damaged or no safetensors file; take an undamaged copy, or train again";
        Error::file(path, "header", error.to_string(), remedy)
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
    let Some(description) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY)) else {
        let problem = format!("no entry '{KEY}' says what network this is");
        return refuse("metadata", problem, "only files written by syva can be read");
    };
    let description: Description = match serde_json::from_str(description) {
        Ok(description) => description,
        Err(error) => return refuse("metadata", error.to_string(), "was it written by a newer syva?"),
    };
    if description.format != FORMAT {
        let problem = format!("format {} is unknown (this syva reads {FORMAT})", description.format);
        return refuse("metadata", problem, "use a newer syva");
    }
    let spec = description.spec;
    if let Err(error) = spec.validate() {
        return refuse("metadata", error.to_string(), "take an undamaged copy, or train again");
    }
    let mut layers = Vec::new();
    for l in 0..spec.layers.len() {
        let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
        let weight = tensor(&tensors, path, &format!("fc{}.weight", l + 1), &[units, fan_in])?;
        let bias = tensor(&tensors, path, &format!("fc{}.bias", l + 1), &[units])?;
        layers.push(Parameters { weight: Matrix::new(units, fan_in, weight)?, bias });
    }
    let wanted: HashSet<String> =
        (1..=layers.len()).flat_map(|l| [format!("fc{l}.weight"), format!("fc{l}.bias")]).collect();
    if let Some(extra) = tensors.names().into_iter().find(|name| !wanted.contains(*name)) {
        let problem = format!("the network {} has no such tensor", spec.widths());
        return refuse(extra, problem, "remove it; the metadata and the tensors disagree");
    }
    if let Some(progress) = &description.progress
        && !progress.is_consistent(&spec)
    {
        return refuse("metadata", "the progress does not fit the network".into(), "take an undamaged copy");
    }
    let state = State { step: description.step, layers };
    Ok((Model { spec, state }, description.training.zip(description.progress)))
}

/// A tensor of this shape, all finite.
fn tensor(tensors: &SafeTensors<'_>, path: &Path, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let refuse = |problem: String, remedy: &str| Err(Error::file(path, name, problem, remedy));
    let Ok(view) = tensors.tensor(name) else {
        return refuse("the tensor is missing".into(), "the metadata and the tensors disagree; take an undamaged copy");
    };
    if view.dtype() != Dtype::F32 {
        return refuse(format!("its numbers are {:?}", view.dtype()), "save it as 32-bit floats (.float() in PyTorch)");
    }
    if view.shape() != shape {
        return refuse(format!("its shape is {:?}, not {shape:?}", view.shape()), "is it a model of another network?");
    }
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => refuse(format!("value {i} is {}", values[i]), "training had diverged; use an earlier checkpoint"),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Mlp};

    fn model() -> Model {
        let spec = Mlp::new(3).hidden(&[2], Activation::Tanh).classes(2);
        Model { state: State::initial(&spec, 5).unwrap(), spec }
    }

    fn message(bytes: &[u8]) -> String {
        Model::from_bytes(bytes, "m.safetensors").unwrap_err().to_string()
    }

    /// The bytes of a file whose header was edited as text, its length corrected.
    fn edited(from: &str, to: &str) -> Vec<u8> {
        let bytes = model().to_bytes().unwrap();
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + n]).unwrap().replace(from, to);
        assert_ne!(header.as_bytes(), &bytes[8..8 + n], "'{from}' is in the header");
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + n..]].concat()
    }

    #[test]
    fn every_kind_of_damage_is_named() {
        let good = model().to_bytes().unwrap();
        for end in 0..good.len() {
            assert!(Model::from_bytes(&good[..end], "m").is_err(), "cut at {end}");
        }
        let mut lying = good.clone();
        lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(message(&lying).starts_with("m.safetensors (header)"));
        assert!(message(&edited("fc2.bias", "fc9.bias")).contains("fc2.bias): the tensor is missing"));
        assert!(message(&edited("[2,3]", "[3,2]")).contains("fc1.weight): its shape is [3, 2], not [2, 3]"));
        assert!(message(&edited("\"F32\"", "\"I32\"")).contains("its numbers are I32"));
        assert!(message(&edited("\"syva\"", "\"else\"")).contains("no entry 'syva'"));
        assert!(message(&edited("\\\"format\\\":1", "\\\"format\\\":2")).contains("format 2 is unknown"));
        assert!(message(&edited("\\\"features\\\":3", "\\\"features\\\":0")).contains("0 features"));
        let shape = r#"\"features\":3,\"shape\":[9223372036854775808,4]"#;
        assert!(message(&edited(r#"\"features\":3"#, shape)).contains("does not hold 3 features"));
        let units = r#"{\"units\":18446744073709551615,\"activation\":\"tanh\"},"#;
        assert!(
            message(&edited(r#"{\"units\":2,\"activation\":\"tanh\"},"#, &units.repeat(3))).contains("more than 2^31")
        );
        let mut infinite = good;
        let end = infinite.len();
        infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert!(message(&infinite).contains("is inf"));
    }

    #[test]
    fn an_extra_tensor_is_named() {
        let mut wide = model();
        wide.spec = Mlp::new(3).hidden(&[2, 2], Activation::Tanh).classes(2);
        wide.state = State::initial(&wide.spec, 5).unwrap();
        let bytes = wide.to_bytes().unwrap();
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let layer = r#"{\"units\":2,\"activation\":\"tanh\"},"#;
        let header = std::str::from_utf8(&bytes[8..8 + n]).unwrap().replacen(layer, "", 1);
        let edited = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + n..]].concat();
        assert!(message(&edited).contains("fc3."), "{}", message(&edited));
    }
}
