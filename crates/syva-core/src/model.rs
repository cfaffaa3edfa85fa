//! Trained networks and their file: safetensors, with PyTorch's names and layout.
//!
//! ```text
//! "__metadata__"  sha256: digest of all that follows; syva: the description, one JSON text
//! history         f64 [epochs, columns], only in checkpoints: the results of the epochs
//! exp_avg.fc1.weight …   only in checkpoints: what the optimiser remembers of each weight and bias
//! fc1.bias        f32 [256]
//! fc1.weight      f32 [256, 784]
//! …
//! ```
//!
//! `load_state_dict(load_file("model.safetensors"))` fills the chapter's class without renaming a key. The description
//! holds the [`Spec`] with its normalisation, so a model file is complete by itself: it takes raw pixels.
//!
//! **The digest** is the SHA-256 of the weights (in the order of [`State::digest`]), the slots, the history, and the description's
//! text. It is checked whenever a file is read, and a file in which one bit has changed is refused. A file without a
//! digest is still read: PyTorch writes such files, and so did early versions of syva.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::compat::{self, FORMAT, Spec1, Training1, Version};
use crate::container::{self, Entry, Values};
use crate::embedding::Embedding;
use crate::groups::Part;
use crate::recognise::{Family, Format, recognise};
use crate::spec::Spec;
use crate::state::{Matrix, Parameters, Slot, State, hash_layers, hex};
use crate::trainer::{Epoch, Progress};
use crate::training::Training;
use crate::{Error, Result};

/// The description's key in the metadata.
const KEY: &str = "syva";
/// The digest's key in the metadata.
const DIGEST: &str = "sha256";
/// The tensor of a checkpoint that holds the results of the epochs.
const HISTORY: &str = "history";

/// What a reader must know if activations are learned.
const GAINS: &str = "gains";
/// What a reader must know if inputs are made of a table's columns.
const SCHEMA: &str = "schema";
/// What a reader must know if several networks predict together.
const MEMBERS: &str = "members";
/// What a reader must know if inputs are embedded.
const EMBEDDING: &str = "embedding";

/// A network and its weights.
///
/// ```
/// use syva_core::{Activation::Sigmoid, Mlp, Model, State, Training};
/// let spec = Mlp::image(28, 28).hidden(&[16], Sigmoid).classes(10);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// let again = Model::from_bytes(&model.to_bytes()?, "model.safetensors")?;
/// assert_eq!(again, model);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network, with the normalisation of its inputs.
    pub spec: Spec,
    /// Its weights and biases, and the number of steps that they have taken.
    pub state: State,
    /// The weights of further networks of the same kind. The model's predictions are the means of those of all.
    pub members: Vec<State>,
}

/// The description in the metadata. A reader ignores an entry that it does not know, unless `needs` names it.
#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    /// What a reader must know to compute what the network computes.
    #[serde(default)]
    needs: Vec<String>,
    network: Spec,
    step: u64,
    /// The number of further networks.
    #[serde(default, skip_serializing_if = "is_zero")]
    members: usize,
    /// Only in checkpoints: how the network is trained, so that a change of `config.toml` does not go unnoticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training: Option<Training>,
    /// Only in checkpoints: the progress of the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    /// Only in checkpoints: the SHA-256 of the training data, so that other data do not go unnoticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Only in checkpoints: the columns of the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history: Option<Vec<String>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The most networks of a model.
const MOST_MEMBERS: usize = 1000;

/// What the names of the tensors of a further network begin with.
fn member_name(place: usize) -> String {
    format!("member{}", place + 2)
}

/// The description of format 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description1 {
    format: u32,
    spec: Spec1,
    step: u64,
    progress: Option<Progress>,
    training: Option<Training1>,
    data: Option<String>,
    history: Option<Vec<String>>,
}

impl Description {
    /// The names in `needs` that this version knows.
    const KNOWN: &[&str] = &[GAINS, SCHEMA, EMBEDDING, MEMBERS];

    /// Reads a description of any format. Errors say what is wrong, and what to do.
    fn read(text: &str) -> std::result::Result<Self, (String, &'static str)> {
        const NEWER: &str = "use the version of syva that wrote it, or a newer one";
        let newer = |error: serde_json::Error| (error.to_string(), NEWER);
        let Version { format } = serde_json::from_str(text).map_err(newer)?;
        let from = &mut serde_json::Deserializer::from_str(text);
        match format {
            1 => Ok(compat::read::<Description1, _>(from).0.map_err(newer)?.into()),
            FORMAT => {
                let (found, unknown) = compat::read::<Self, _>(from);
                let found = found.map_err(newer)?;
                if let Some(need) = found.needs.iter().find(|need| !Self::KNOWN.contains(&need.as_str())) {
                    return Err((format!("it needs '{need}', which this syva does not know"), NEWER));
                }
                // What makes the bits of a training must all be known.
                let matters = |place: &&String| place.starts_with("training.") || place.starts_with("progress.");
                match unknown.iter().find(matters) {
                    Some(place) => Err((format!("this syva does not know '{place}'"), NEWER)),
                    None => Ok(found),
                }
            }
            _ => Err((format!("format {format} is unknown (this syva reads 1 to {FORMAT})"), "use a newer syva")),
        }
    }
}

impl From<Description1> for Description {
    fn from(old: Description1) -> Self {
        let Description1 { format, spec, step, progress, training, data, history } = old;
        let (network, training) = match training {
            Some(training) => {
                let (network, training) = spec.split(training);
                (network, Some(training))
            }
            None => (spec.network(), None),
        };
        Self { format, needs: Vec::new(), network, step, members: 0, training, progress, data, history }
    }
}

/// The parts of a checkpoint that a model does not have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    pub training: Training,
    pub progress: Progress,
    /// The SHA-256 of the data. `None` in checkpoints from versions that did not store it.
    pub data: Option<String>,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub model: Model,
    pub checkpoint: Option<Checkpoint>,
    /// Whether a digest proves that the file is unchanged.
    pub sealed: bool,
}

impl Model {
    /// A network with its weights.
    #[must_use]
    pub fn new(spec: Spec, state: State) -> Self {
        Self { spec, state, members: Vec::new() }
    }

    /// The SHA-256 of the weights of all its networks: of one network, that of its state.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        [&self.state].into_iter().chain(&self.members).for_each(|state| state.hash(&mut hash));
        hex(&hash.finalize())
    }

    /// The model as the bytes of a safetensors file. Equal models give equal bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        encode(&self.spec, &self.state, &self.members, None)
    }

    /// Reads the bytes of a safetensors file, which error messages call `name`. A file that has changed since it was
    /// written is refused, by the SHA-256 in its metadata. A file without a SHA-256 is read as it is.
    pub fn from_bytes(bytes: &[u8], name: impl AsRef<Path>) -> Result<Self> {
        Ok(decode(bytes, name.as_ref())?.model)
    }

    /// The state with which a training of the network `spec` begins that goes on from this model's weights: these weights, 0
    /// steps, and fresh slots. Gains of activations that this model does not learn begin as they do in a new network.
    ///
    /// # Errors
    /// [`Error::Mismatch`] that says what does not fit: the widths, learned activations, the names of inputs or classes.
    ///
    /// ```
    /// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
    /// let training = Training::default();
    /// let spec = Mlp::new(4).hidden(&[8], Relu).classes(3);
    /// let model = Model::new(spec.clone(), State::initial(&spec, &training.clone().seed(7))?);
    /// assert_eq!(model.beginning(&model.spec, &training)?.layers, model.state.layers);
    /// let error = model.beginning(&Mlp::new(4).hidden(&[9], Relu).classes(3), &training).unwrap_err();
    /// assert!(error.to_string().starts_with("the model is 4-8-3, the network to train 4-9-3"));
    /// # Ok::<(), syva_core::Error>(())
    /// ```
    pub fn beginning(&self, spec: &Spec, training: &Training) -> Result<State> {
        spec.validate()?;
        let refuse = |problem: String, remedy: &str| Err(Error::mismatch(problem, remedy));
        if self.spec.widths() != spec.widths() {
            let problem = format!("the model is {}, the network to train {}", self.spec.widths(), spec.widths());
            return refuse(problem, "train a network of the model's widths, on data with as many inputs and outputs");
        }
        if let (Some(theirs), Some(ours)) = (&self.spec.schema, &spec.schema) {
            let (before, now) = (theirs.input_names(), ours.input_names());
            if let Some(k) = (0..before.len()).find(|&k| before.get(k) != now.get(k)) {
                let now = now.get(k).map_or("nothing", String::as_str);
                let problem = format!("input {} of the model is '{}', and '{now}' in the data", k + 1, before[k]);
                return refuse(problem, "use data with the same columns and categories");
            }
            if theirs.classes() != ours.classes() {
                let said = |names: Option<&[String]>| names.unwrap_or_default().join(", ");
                let problem =
                    format!("the model's classes are {}, the data's {}", said(theirs.classes()), said(ours.classes()));
                return refuse(problem, "use data with the same classes");
            }
        }
        if !self.members.is_empty() {
            let problem = format!("the model is {} networks", 1 + self.members.len());
            return refuse(problem, "begin with one of them");
        }
        if self.spec.input.embedding != spec.input.embedding {
            let problem = "the model embeds its inputs in another way than the network to train";
            return refuse(
                problem.into(),
                "use the same data, --embedding, --embed-above, --embedding-size and --input-factors",
            );
        }
        let mut state = State { step: 0, ..self.state.clone().for_prediction() };
        for (k, (layer, parameters)) in spec.layers.iter().zip(&mut state.layers).enumerate() {
            if layer.learned == self.spec.layers[k].learned {
                continue;
            }
            if !parameters.gain.is_empty() {
                let (theirs, ours) = (self.spec.layers[k].nonlinearity(), layer.nonlinearity());
                let problem = format!("layer {} of the model has {theirs}, the network to train {ours}", k + 1);
                return refuse(problem, "train a network with the model's activation");
            }
            parameters.gain = vec![layer.learned.initial(layer.activation); layer.gains()];
        }
        state.check(spec)?;
        Ok(state.with_slots(training))
    }

    /// Writes the file atomically.
    #[cfg(feature = "files")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes = self.to_bytes()?;
        crate::files::write_atomically(path.as_ref(), |file| file.write_all(&bytes))
    }

    /// Reads a file that [`Model::save`] wrote, and checks it as [`Model::from_bytes`] does.
    #[cfg(feature = "files")]
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(load(path.as_ref())?.model)
    }

    /// Like [`Model::load`], but also returns whether a SHA-256 in the file proves that it is unchanged. Without a
    /// SHA-256, a damaged weight cannot be told from a trained one.
    #[cfg(feature = "files")]
    pub fn load_sealed(path: impl AsRef<Path>) -> Result<(Self, bool)> {
        let stored = load(path.as_ref())?;
        Ok((stored.model, stored.sealed))
    }
}

/// More bytes than the weights of the largest network take: 2^31 parameters of 4 bytes, and a header.
#[cfg(feature = "files")]
const MAX_BYTES: u64 = (1 << 33) + (1 << 27);

#[cfg(feature = "files")]
pub(crate) fn load(path: &Path) -> Result<Stored> {
    decode(&crate::files::read_limited(path, MAX_BYTES)?, path)
}

/// The bytes of a file. `checkpoint` is the settings of the training, its progress, and the SHA-256 of the data.
pub(crate) fn encode(
    spec: &Spec,
    state: &State,
    members: &[State],
    checkpoint: Option<(&Training, &Progress, &str)>,
) -> Result<Vec<u8>> {
    state.check(spec)?;
    members.iter().try_for_each(|member| member.check(spec))?;
    let refuse = |why: &str| Error::mismatch(format!("the model cannot be written: {why}"), "report this");
    let mut description = Description {
        format: FORMAT,
        needs: needs(spec, members),
        members: members.len(),
        network: spec.clone(),
        step: state.step,
        training: None,
        progress: None,
        data: None,
        history: None,
    };
    let mut history = Vec::new();
    // A model does not hold what only the training needs.
    let slots = if checkpoint.is_some() { &state.slots[..] } else { &[] };
    if let Some((training, progress, data)) = checkpoint {
        state.check_slots(training)?;
        history.extend(progress.history.iter().flat_map(row));
        // The history is stored as a tensor, not in the JSON.
        let Progress { epoch, step_in_epoch, loss_sum, best, train_seconds, .. } = *progress;
        let (tally, best_weights) = (progress.tally.clone(), progress.best_weights.clone());
        let history = Vec::new();
        let progress = Progress { epoch, step_in_epoch, loss_sum, tally, best, best_weights, train_seconds, history };
        description.progress = Some(progress);
        description.training = Some(training.clone());
        description.data = Some(data.into());
        description.history = Some(COLUMNS.map(String::from).to_vec());
    }
    let description = serde_json::to_string(&description).map_err(|error| refuse(&error.to_string()))?;
    let digest = digest((state, members), slots, &history, &description);
    let metadata = BTreeMap::from([(KEY, description), (DIGEST, digest)]);
    let mut entries = Vec::new();
    let own = std::iter::once(("", &state.embedding, &state.layers));
    let names: Vec<String> = (0..members.len()).map(member_name).collect();
    let of_members = names.iter().zip(members).map(|(name, state)| (name.as_str(), &state.embedding, &state.layers));
    let of_slots = slots.iter().map(|slot| (slot.name.as_str(), &slot.embedding, &slot.layers));
    let all = own.chain(of_members).chain(of_slots);
    let tensors = spec.input.embedding.as_ref().map(Embedding::tensors).unwrap_or_default();
    for (slot, embedding, layers) in all {
        for (tensor, values) in tensors.iter().zip(embedding) {
            let (name, shape) = (of_slot(slot, &tensor.name()), tensor.shape.clone());
            entries.push(Entry { name, shape, values: Values::F32(values) });
        }
        for (l, parameters) in layers.iter().enumerate() {
            for (part, values) in parameters.parts() {
                let shape = shape(spec, l, part);
                entries.push(Entry { name: name(slot, l, part), shape, values: Values::F32(values) });
            }
        }
    }
    if checkpoint.is_some() {
        let shape = vec![history.len() / COLUMNS.len(), COLUMNS.len()];
        entries.push(Entry { name: HISTORY.into(), shape, values: Values::F64(&history) });
    }
    container::write(&metadata, entries).ok_or_else(|| refuse("its description is too long"))
}

/// What a reader must know to compute what the network computes.
fn needs(spec: &Spec, members: &[State]) -> Vec<String> {
    let gains = spec.layers.iter().any(|layer| layer.gains() > 0);
    let embeds = spec.input.embedding.is_some();
    [(gains, GAINS), (spec.schema.is_some(), SCHEMA), (embeds, EMBEDDING), (!members.is_empty(), MEMBERS)]
        .into_iter()
        .filter(|&(needed, _)| needed)
        .map(|(_, name)| name.into())
        .collect()
}

/// The name of a layer's tensor, as in PyTorch's state dict of the chapter's class; a learned activation is a module
/// `act1`, as `torch.nn.PReLU` is. Those of a slot follow its name.
fn name(slot: &str, layer: usize, part: Part) -> String {
    let (module, tensor) = match part {
        Part::Weights => ("fc", "weight"),
        Part::Biases => ("fc", "bias"),
        Part::Gains => ("act", "weight"),
    };
    of_slot(slot, &format!("{module}{}.{tensor}", layer + 1))
}

/// The name of a tensor, or of what a slot remembers of it.
fn of_slot(slot: &str, name: &str) -> String {
    if slot.is_empty() { name.into() } else { format!("{slot}.{name}") }
}

/// The shape of a layer's tensor.
fn shape(spec: &Spec, layer: usize, part: Part) -> Vec<usize> {
    let units = spec.layers[layer].units;
    match part {
        Part::Weights => vec![units, spec.fan_in(layer)],
        Part::Biases | Part::Gains => vec![units],
    }
}

/// The digest that is stored in a file.
fn digest((state, members): (&State, &[State]), slots: &[Slot], history: &[f64], description: &str) -> String {
    let mut hash = Sha256::new();
    state.hash(&mut hash);
    for member in members {
        member.hash(&mut hash);
    }
    for slot in slots {
        hash_layers(&slot.embedding, &slot.layers, &mut hash);
    }
    for value in history {
        hash.update(value.to_le_bytes());
    }
    hash.update(description);
    hex(&hash.finalize())
}

/// The columns of the history.
const COLUMNS: [&str; 10] = [
    "epoch",
    "train_loss",
    "train_acc",
    "val_loss",
    "val_acc",
    "train_balanced_acc",
    "val_balanced_acc",
    "learning_rate",
    "train_seconds",
    "eval_seconds",
];

/// A row of the history. Values that an epoch does not have are NaN.
fn row(epoch: &Epoch) -> [f64; COLUMNS.len()] {
    let some = |share: Option<f64>| share.unwrap_or(f64::NAN);
    [
        epoch.epoch as f64,
        epoch.train_loss,
        some(epoch.train_acc),
        epoch.val_loss,
        some(epoch.val_acc),
        some(epoch.train_balanced_acc),
        some(epoch.val_balanced_acc),
        f64::from(epoch.learning_rate),
        epoch.train_seconds,
        epoch.eval_seconds,
    ]
}

/// The epoch in a row of the history.
fn epoch_of(row: &[f64; COLUMNS.len()]) -> Epoch {
    let [epoch, train_loss, train_acc, val_loss, val_acc, train_balanced, val_balanced, rate, train, eval] = *row;
    let some = |share: f64| Some(share).filter(|share| !share.is_nan());
    Epoch {
        epoch: epoch as u64,
        train_loss,
        train_acc: some(train_acc),
        val_loss,
        val_acc: some(val_acc),
        train_balanced_acc: some(train_balanced),
        val_balanced_acc: some(val_balanced),
        learning_rate: rate as f32,
        train_seconds: train,
        eval_seconds: eval,
    }
}

pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Stored> {
    let refuse = |place: &str, problem: String, remedy: &str| Error::file(path, place, problem, remedy);
    let undamaged = "use an undamaged copy, or train again";
    let (tensors, metadata) = container::read(bytes).map_err(|problem| unreadable(bytes, path, problem))?;
    let Some(text) = metadata.get(KEY) else {
        let problem = format!("there is no entry '{KEY}' that describes the network; it holds {}", listed(&tensors));
        let remedy = "make a model of weights from elsewhere with `syva import`";
        return Err(refuse("metadata", problem, remedy));
    };
    let Description { network: spec, step, members: others, progress, training, data, history: columns, .. } =
        Description::read(text).map_err(|(problem, remedy)| refuse("metadata", problem, remedy))?;
    spec.validate().map_err(|error| refuse("metadata", error.to_string(), undamaged))?;
    let mut wanted = Vec::new();
    let learned = spec.input.embedding.as_ref().map(Embedding::tensors).unwrap_or_default();
    let mut layers = |slot: &str| -> Result<(Vec<Vec<f32>>, Vec<Parameters>)> {
        let mut embedding = Vec::new();
        for of in &learned {
            let name = of_slot(slot, &of.name());
            embedding.push(tensor(&tensors, path, &name, &of.shape)?);
            wanted.push(name);
        }
        let mut layers = Vec::new();
        for (l, layer) in spec.layers.iter().enumerate() {
            let mut read = |part: Part| {
                let name = name(slot, l, part);
                let values = tensor(&tensors, path, &name, &shape(&spec, l, part))?;
                wanted.push(name);
                Ok::<_, Error>(values)
            };
            let weight = Matrix::new(layer.units, spec.fan_in(l), read(Part::Weights)?)?;
            let bias = read(Part::Biases)?;
            let gain = if layer.gains() > 0 { read(Part::Gains)? } else { Vec::new() };
            layers.push(Parameters { weight, bias, gain });
        }
        Ok((embedding, layers))
    };
    let ((embedding, weights), mut slots) = (layers("")?, Vec::new());
    if others > MOST_MEMBERS {
        return Err(refuse("metadata", format!("it has {others} further networks"), undamaged));
    }
    let mut members = Vec::new();
    for place in 0..others {
        let (embedding, layers) = layers(&member_name(place))?;
        members.push(State { step, embedding, layers, slots: Vec::new() });
    }
    if let Some(training) = &training {
        training.validate().map_err(|error| refuse("metadata", error.to_string(), undamaged))?;
        for name in training.slots() {
            let (embedding, layers) = layers(name)?;
            slots.push(Slot { name: name.into(), embedding, layers });
        }
    }
    if columns.is_some() {
        wanted.push(HISTORY.into());
    }
    let names = tensors.names().into_iter().map(String::from).collect::<std::collections::BTreeSet<_>>();
    if let Some(extra) = names.iter().find(|name| !wanted.contains(name)) {
        let problem = format!("the network {} has no such tensor", spec.widths());
        return Err(refuse(extra, problem, "remove it from the file, or correct the metadata"));
    }
    let state = State { step, embedding, layers: weights, slots };
    let history = columns.map_or(Ok(Vec::new()), |columns| history(&tensors, path, &columns))?;
    let found = metadata.get(DIGEST);
    if found.is_some_and(|found| *found != digest((&state, &members), &state.slots, &history, text)) {
        let problem = "the file has changed since it was written: at least one bit is different";
        let remedy = "use an undamaged copy, or train again (to change weights on purpose, remove 'sha256')";
        return Err(refuse("sha256", problem.into(), remedy));
    }
    let checkpoint = match training.zip(progress) {
        Some((training, mut progress)) => {
            progress.history = history.as_chunks().0.iter().map(epoch_of).collect();
            if !progress.is_consistent(&spec) {
                return Err(refuse("metadata", "the progress does not fit the network".into(), undamaged));
            }
            Some(Checkpoint { training, progress, data })
        }
        None => None,
    };
    Ok(Stored { model: Model { spec, state, members }, checkpoint, sealed: found.is_some() })
}

/// The error for a file that is not a safetensors file, or that is a damaged one.
fn unreadable(bytes: &[u8], path: &Path, problem: String) -> Error {
    // A safetensors file begins with a length, which can look like anything, and a brace.
    let format = if bytes.get(8) == Some(&b'{') { None } else { recognise(bytes) };
    let Some(Format { name, family }) = format else {
        let remedy = "use an undamaged safetensors file, or train again";
        return Error::file(path, "header", problem, remedy);
    };
    let remedy = match family {
        Family::Network => {
            "make a model of a PyTorch file with `syva import`; of others, save the weights as safetensors first"
        }
        Family::StandIn => "fetch the file itself, for which this is only a placeholder",
        Family::Picture | Family::Document => "name the model first, then the picture",
        Family::Packed => "unpack it first",
        _ => "name a model file, such as runs/mnist-001/model.safetensors",
    };
    Error::file(path, "header", format!("this is {name}, not a safetensors file"), remedy)
}

/// The names and shapes of the first tensors, for messages.
fn listed(tensors: &SafeTensors<'_>) -> String {
    const MOST: usize = 4;
    let mut names = tensors.names();
    names.sort_unstable();
    let shown = |name: &&str| match tensors.tensor(name) {
        Ok(view) => format!("{name:.60} {:?}", view.shape()),
        Err(_) => format!("{name:.60}"),
    };
    let first: Vec<String> = names.iter().take(MOST).map(shown).collect();
    match names.len() {
        0 => "no tensors".into(),
        count if count > MOST => format!("{} and {} more", first.join(", "), count - MOST),
        _ => first.join(", "),
    }
}

/// The values of the history.
fn history(tensors: &SafeTensors<'_>, path: &Path, columns: &[String]) -> Result<Vec<f64>> {
    let refuse = |problem: String, remedy: &str| Err(Error::file(path, HISTORY, problem, remedy));
    if columns != COLUMNS {
        return refuse(
            format!("its columns are {}", columns.join(", ")),
            "use the version of syva that wrote it, or a newer one",
        );
    }
    let Ok(view) = tensors.tensor(HISTORY) else {
        return refuse("the tensor is missing".into(), "use an undamaged copy");
    };
    if view.dtype() != Dtype::F64 || view.shape().len() != 2 || view.shape()[1] != COLUMNS.len() {
        return refuse(format!("it is {:?} {:?}", view.dtype(), view.shape()), "use an undamaged copy");
    }
    Ok(view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
}

/// A tensor, which must have this shape and be finite.
fn tensor(tensors: &SafeTensors<'_>, path: &Path, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let refuse = |problem: String, remedy: &str| Err(Error::file(path, name, problem, remedy));
    let Ok(view) = tensors.tensor(name) else {
        let problem = format!("the tensor is missing; there are {}", listed(tensors));
        let names = tensors.names();
        let prefix = names.iter().find_map(|found| found.strip_suffix(name).filter(|prefix| prefix.ends_with('.')));
        let remedy = match prefix {
            // torch.compile and DataParallel add such prefixes.
            Some(prefix) => format!("remove the prefix '{prefix:.60}' from the names before saving"),
            None => "name the tensors as PyTorch does for the chapter's class (fc1.weight, fc1.bias, …), or use an \
                     undamaged copy"
                .into(),
        };
        return refuse(problem, &remedy);
    };
    if view.dtype() != Dtype::F32 {
        return refuse(format!("its numbers are {:?}", view.dtype()), "save it as 32-bit floats (.float() in PyTorch)");
    }
    if view.shape() != shape {
        return refuse(
            format!("its shape is {:?}, not {shape:?}", view.shape()),
            "use a file whose tensors fit its metadata",
        );
    }
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => refuse(format!("value {i} is {}", values[i]), "the training diverged; use an earlier checkpoint"),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Mlp};

    fn model() -> Model {
        let spec = Mlp::new(3).hidden(&[2], Activation::Tanh).classes(2);
        Model::new(spec.clone(), State::initial(&spec, &Training::default().seed(5)).unwrap())
    }

    fn message(bytes: &[u8]) -> String {
        Model::from_bytes(bytes, "m.safetensors").unwrap_err().to_string()
    }

    /// The bytes of a file after an edit of its header as text. The header's length is corrected.
    fn edited(from: &str, to: &str) -> Vec<u8> {
        edit(&model().to_bytes().unwrap(), from, to)
    }

    fn edit(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + n]).unwrap().replace(from, to);
        assert_ne!(header.as_bytes(), &bytes[8..8 + n], "'{from}' is in the header");
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + n..]].concat()
    }

    #[test]
    fn names_of_classes_and_the_layout_of_images_are_in_the_file() {
        let names = || vec!["no".to_string(), "yes".into()];
        let mut spec = Mlp::rgb(1, 2).hidden(&[2], Activation::Relu).classes(2);
        spec.class_names = names();
        let model = Model::new(spec.clone(), State::initial(&spec, &Training::default()).unwrap());
        let bytes = model.to_bytes().unwrap();
        let again = Model::from_bytes(&bytes, "m.safetensors").unwrap();
        assert_eq!((again.spec.named_classes(), &again.spec.input.shape[..]), (Some(&names()[..]), &[3, 1, 2][..]));
        let said = message(&edit(&bytes, r#"[\"no\",\"yes\"]"#, r#"[\"no\"]"#));
        assert!(said.contains("1 names for 2 classes"), "{said}");
        // Without names, the file is as it was before there were any.
        assert!(!String::from_utf8_lossy(&self::model().to_bytes().unwrap()).contains("class_names"));
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
        assert!(message(&edited("\\\"format\\\":2", "\\\"format\\\":3")).contains("format 3 is unknown"));
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

    fn checkpoint() -> Vec<u8> {
        let model = model();
        let epoch = |number, val_acc| Epoch {
            epoch: number,
            train_loss: 0.1 + 1.0 / number as f64,
            train_acc: None,
            val_loss: 0.3,
            val_acc,
            train_balanced_acc: Some(0.5),
            val_balanced_acc: None,
            learning_rate: 0.1,
            train_seconds: 1e-9,
            eval_seconds: 0.0,
        };
        let mut progress = Progress { epoch: 2, tally: crate::Tally::new(2), ..Progress::default() };
        progress.best = Some((1, 0.3));
        progress.best_weights = Some("ab".repeat(32));
        progress.history = vec![epoch(1, None), epoch(2, Some(0.75))];
        encode(&model.spec, &model.state, &[], Some((&Training::default(), &progress, "cd"))).unwrap()
    }

    #[test]
    fn a_checkpoint_remembers_the_epochs_to_the_bit() {
        let stored = decode(&checkpoint(), Path::new("last")).unwrap();
        let found = stored.checkpoint.unwrap();
        assert_eq!((stored.sealed, found.data.as_deref()), (true, Some("cd")));
        let history = &found.progress.history;
        assert_eq!((history[0].train_loss, history[0].val_acc), (0.1 + 1.0, None));
        assert_eq!((history[1].learning_rate, history[1].val_acc), (0.1, Some(0.75)));
        let again =
            encode(&stored.model.spec, &stored.model.state, &[], Some((&found.training, &found.progress, "cd")));
        assert_eq!(again.unwrap(), checkpoint());
    }

    /// Flips every bit of a model and of a checkpoint.
    #[test]
    fn a_flipped_bit_is_refused_or_without_effect() {
        for good in [model().to_bytes().unwrap(), checkpoint()] {
            let whole = decode(&good, Path::new("m")).unwrap();
            let n = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
            let mut harmless = Vec::new();
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                match decode(&bad, Path::new("m")) {
                    Ok(stored) => {
                        assert_eq!((&stored.model, &stored.checkpoint), (&whole.model, &whole.checkpoint), "bit {bit}");
                        harmless.push(bit / 8);
                    }
                    Err(error) => assert!(error.to_string().starts_with("m ("), "{error}"),
                }
            }
            // A flip in the name of the digest leaves a file without one.
            let name = good.windows(6).position(|bytes| bytes == b"sha256").unwrap();
            assert!(harmless.iter().all(|at| (name..name + 6).contains(at)), "{harmless:?} of a header of {n}");
        }
    }

    /// The same at random, on the files of a real run: its model, its last checkpoint and its best model.
    /// `SYVA_RUN=runs/mnist-001 cargo test --release -p syva-core -- --ignored --nocapture random_bit_flips`
    #[test]
    #[ignore = "needs a run (SYVA_RUN), and takes a minute"]
    fn random_bit_flips_of_a_run_are_refused_or_without_effect() {
        const FLIPS: u32 = 10_000;
        let run = std::path::PathBuf::from(std::env::var_os("SYVA_RUN").expect("SYVA_RUN names a run"));
        let seed = std::env::var("SYVA_FLIP_SEED").map_or_else(|_| std::process::id(), |seed| seed.parse().unwrap());
        println!("SYVA_FLIP_SEED={seed}");
        let mut random = crate::random::Random::new(seed, crate::random::Stream::Augmentation, 0);
        for name in ["model.safetensors", "checkpoint/last.safetensors", "checkpoint/best.safetensors"] {
            let good = std::fs::read(run.join(name)).unwrap();
            let whole = decode(&good, Path::new(name)).unwrap();
            assert!(whole.sealed);
            let n = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
            let (mut refused, mut harmless) = (0, 0);
            for flip in 0..FLIPS {
                // A tenth of the flips hit the header, which is short.
                let bytes = if flip % 10 == 0 { 8 + n } else { good.len() };
                let bit = random.below(8 * bytes as u64) as usize;
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                match decode(&bad, Path::new(name)) {
                    Err(_) => refused += 1,
                    Ok(stored) => {
                        assert_eq!((&stored.model, &stored.checkpoint), (&whole.model, &whole.checkpoint), "bit {bit}");
                        harmless += 1;
                    }
                }
            }
            println!("{name}, {} bytes: {FLIPS} flips, {refused} refused, {harmless} without effect", good.len());
        }
    }

    #[test]
    fn what_is_no_model_is_named_for_what_it_is() {
        for (bytes, says) in [
            (&b"PK\x03\x04\x14\0\0\0\0\0\0\0"[..], "this is "),
            (b"\x89HDF\r\n\x1a\n and so on", "this is an HDF5 file"),
            (b"\x89PNG\r\n\x1a\n and so on", "this is a PNG picture, not a safetensors file; name the model first"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "this is a Git LFS pointer, not a safetensors file; fetch",
            ),
            (b"\x93NUMPY and so on", "this is a NumPy array"),
        ] {
            assert!(message(bytes).contains(says), "{says}: {}", message(bytes));
        }
        let none = message(&edited("\"syva\"", "\"else\""));
        assert!(none.contains("it holds fc1.bias [2], fc1.weight [2, 3], fc2.bias [2], fc2.weight [2, 2]; "), "{none}");
        let compiled = message(&edited("\"fc1.", "\"_orig_mod.fc1."));
        assert!(compiled.contains("remove the prefix '_orig_mod.' from the names"), "{compiled}");
        let sequential = message(&edited("\"fc1.", "\"0."));
        assert!(sequential.contains("there are 0.bias [2], 0.weight [2, 3], fc2.bias [2], fc2.weight"), "{sequential}");
    }

    #[test]
    fn a_file_without_a_digest_is_read_and_known_as_such() {
        let bytes = model().to_bytes().unwrap();
        let header = String::from_utf8_lossy(&bytes[8..]).into_owned();
        let digest = header.split("\"sha256\":\"").nth(1).unwrap()[..64].to_string();
        let without = edited(&format!("\"sha256\":\"{digest}\","), "");
        let stored = decode(&without, Path::new("m")).unwrap();
        assert_eq!((stored.sealed, stored.model), (false, model()));
        assert!(
            message(&edited(&digest, &"0".repeat(64)))
                .contains("m.safetensors (sha256): the file has changed since it was written")
        );
    }

    /// What a later version may add to a file of this format.
    #[test]
    fn what_a_reader_must_know_is_named_and_the_rest_is_ignored() {
        let undigested = |bytes: &[u8]| {
            let header = String::from_utf8_lossy(&bytes[8..]).into_owned();
            let digest = header.split("\"sha256\":\"").nth(1).unwrap()[..64].to_string();
            edit(bytes, &format!("\"sha256\":\"{digest}\","), "")
        };
        let model_file = undigested(&model().to_bytes().unwrap());
        let noted = edit(&model_file, r#"\"step\":"#, r#"\"note\":\"a cat\",\"step\":"#);
        assert_eq!(Model::from_bytes(&noted, "m").unwrap(), model());
        let layer = edit(&model_file, r#"{\"units\":2,"#, r#"{\"colour\":\"red\",\"units\":2,"#);
        assert_eq!(Model::from_bytes(&layer, "m").unwrap(), model());
        let needy = edit(&model_file, r#"\"needs\":[]"#, r#"\"needs\":[\"embeddings\"]"#);
        let says =
            "(metadata): it needs 'embeddings', which this syva does not know; use the version of syva that wrote it";
        assert!(message(&needy).contains(says), "{}", message(&needy));
        let trained = edit(&undigested(&checkpoint()), r#"\"epochs\":100"#, r#"\"epochs\":100,\"dropin\":0.5"#);
        assert!(message(&trained).contains("does not know 'training.dropin'"), "{}", message(&trained));
    }

    #[test]
    fn an_extra_tensor_is_named() {
        let mut wide = model();
        wide.spec = Mlp::new(3).hidden(&[2, 2], Activation::Tanh).classes(2);
        wide.state = State::initial(&wide.spec, &Training::default().seed(5)).unwrap();
        let bytes = wide.to_bytes().unwrap();
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let layer = r#"{\"units\":2,\"activation\":\"tanh\"},"#;
        let header = std::str::from_utf8(&bytes[8..8 + n]).unwrap().replacen(layer, "", 1);
        let edited = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + n..]].concat();
        assert!(message(&edited).contains("fc3."), "{}", message(&edited));
    }
}
