//! Makes a model of a network's weights as PyTorch stores them.
//!
//! Weights alone do not say what computes with them. What is found out: the linear layers, their order and their widths. What
//! has to be said: the activation, and what the outputs mean if it is not one logit per class, or a single value.

use std::collections::BTreeMap;
use std::path::Path;

use syva_core::ops::Learned;
use syva_core::schema::{Encoding, Feature, NumberEncoding, Scaler, Schema, Target, Transform, ValueTarget};
use syva_core::{
    Error, Head, Input, Layer, Matrix, Model, Nonlinearity, Normalization, Parameters, Result, Spec, State,
};

use crate::checkpoint::{Checkpoint, Tensor};

/// What the weights do not say.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The activation of the hidden layers.
    pub activation: Nonlinearity,
    /// What the outputs mean. By default, a single one is a value, and several are logits of classes.
    pub head: Option<Head>,
    /// The names of the classes or labels, in the order of the outputs.
    pub classes: Vec<String>,
    /// The names of the columns that the inputs are, in their order.
    pub columns: Vec<String>,
    /// The names of the columns that the outputs predict.
    pub target: Vec<String>,
    /// The height and the width of the images that the inputs are.
    pub image: Option<[usize; 2]>,
    /// What the first layer does to its inputs.
    pub normalization: Normalization,
}

/// A model that was made of weights.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// The names of its linear layers in the file.
    pub layers: Vec<String>,
    /// Sentences about what was found out, or may be wrong.
    pub notes: Vec<String>,
}

/// A linear layer of a file.
struct Linear<'a> {
    name: String,
    weight: Tensor<'a>,
    bias: Option<Tensor<'a>>,
}

impl Linear<'_> {
    fn units(&self) -> usize {
        self.weight.shape[0]
    }

    fn fan_in(&self) -> usize {
        self.weight.shape[1]
    }

    fn said(&self) -> String {
        format!("{} ({} → {})", self.name, self.fan_in(), self.units())
    }
}

/// Makes a model of the weights in the bytes of a file, which messages call `path`: safetensors, or what `torch.save` writes
/// for a state dict or a checkpoint that has one.
///
/// # Errors
/// [`Error::File`] if the file is damaged, wants to run code, or has parameters of other layers than linear ones;
/// [`Error::Setting`] if the options do not fit the network.
pub fn import(bytes: &[u8], path: &Path, options: &ImportOptions) -> Result<Imported> {
    let Checkpoint { tensors, ordered, inside, mut notes } = Checkpoint::read(bytes, path)?;
    if let Some(inside) = inside {
        notes.insert(0, format!("the weights are those of '{inside}' in the file"));
    }
    let (layers, slopes) = linear_layers(tensors, path, options)?;
    let layers = in_order(layers, ordered, path)?;
    let hidden = layers.len() - 1;
    if !slopes.is_empty() && slopes.len() != hidden {
        let problem = format!("{} layers of slopes for {hidden} hidden layers", slopes.len());
        return Err(Error::file(path, "the tensors", problem, "give each hidden layer its own PReLU"));
    }
    let mut rounded = 0;
    let mut read = |tensor: &Tensor<'_>| -> Result<Vec<f32>> {
        let (values, count) = tensor.values();
        rounded += count;
        match values.iter().position(|value| !value.is_finite()) {
            Some(i) => {
                let problem = format!("value {i} is {} as a 32-bit number", values[i]);
                Err(Error::file(path, &tensor.name, problem, "use an earlier checkpoint"))
            }
            None => Ok(values),
        }
    };
    let mut parameters = Vec::with_capacity(layers.len());
    for (k, layer) in layers.iter().enumerate() {
        let weight = Matrix::new(layer.units(), layer.fan_in(), read(&layer.weight)?)?;
        let bias = match &layer.bias {
            Some(bias) => read(bias)?,
            None => vec![0.0; layer.units()],
        };
        let gain = match options.activation.learned {
            Learned::Nothing => Vec::new(),
            _ if k == hidden => Vec::new(),
            Learned::Slope if !slopes.is_empty() => {
                let slope = read(&slopes[k])?;
                match slope.len() {
                    1 => vec![slope[0]; layer.units()],
                    count if count == layer.units() => slope,
                    count => {
                        let problem =
                            format!("it has {count} slopes for the {} units of {}", layer.units(), layer.name);
                        return Err(Error::file(path, &slopes[k].name, problem, "give 1, or one per unit"));
                    }
                }
            }
            learned => vec![learned.initial(options.activation.activation); layer.units()],
        };
        parameters.push(Parameters { weight, bias, gain });
    }
    if rounded > 0 {
        notes.push(format!("{rounded} numbers of 64 bits were rounded to 32 bits"));
    }
    let without: Vec<&str> =
        layers.iter().filter(|layer| layer.bias.is_none()).map(|layer| layer.name.as_str()).collect();
    if !without.is_empty() {
        notes.push(format!("{} had no biases; they are 0", without.join(", ")));
    }
    let spec = spec(&layers, options)?;
    let model = Model::new(spec, State { step: 0, embedding: Vec::new(), layers: parameters, slots: Vec::new() });
    Ok(Imported { model, layers: layers.into_iter().map(|layer| layer.name).collect(), notes })
}

/// The network of these layers.
fn spec(layers: &[Linear<'_>], options: &ImportOptions) -> Result<Spec> {
    let outputs = layers[layers.len() - 1].units();
    let head = options.head.unwrap_or(if outputs > 1 {
        Head::Logits
    } else if options.classes.is_empty() {
        Head::Regression
    } else {
        Head::Binary
    });
    let hidden = layers[..layers.len() - 1].iter().map(|layer| Layer::new(layer.units(), options.activation));
    let input = Input {
        shape: options.image.map_or(Vec::new(), |image| image.to_vec()),
        normalization: options.normalization.clone(),
        ..Input::new(layers[0].fan_in())
    };
    let output = Layer::new(outputs, syva_core::Activation::Identity);
    let layers = hidden.chain([output]).collect();
    let mut spec = Spec { input, layers, head, schema: None, class_names: Vec::new() };
    // The network by itself, before names are given to its inputs and outputs.
    spec.validate()?;
    spec.schema = schema(&spec, options)?.map(Into::into);
    spec.validate()?;
    Ok(spec)
}

/// The schema that names columns and classes, if any are named.
fn schema(spec: &Spec, options: &ImportOptions) -> Result<Option<Schema>> {
    let ImportOptions { classes, columns, target, image, .. } = options;
    if classes.is_empty() && columns.is_empty() && target.is_empty() {
        return Ok(None);
    }
    if image.is_some() {
        let problem = "names are those of a table's columns and classes, and the inputs are images";
        return Err(Error::setting("image", problem, "leave out --classes, --columns and --target, or --image"));
    }
    let features = spec.input.features;
    if !columns.is_empty() && columns.len() != features {
        let problem = format!("{} names for {features} inputs", columns.len());
        return Err(Error::setting("columns", problem, "name one column for each input"));
    }
    let name = |k: usize| columns.get(k).cloned().unwrap_or_else(|| format!("x{}", k + 1));
    let number = NumberEncoding {
        median: 0.0,
        scaler: Scaler::Affine { centre: 0.0, factor: 1.0, clip: false },
        indicator: None,
    };
    let features =
        (0..features).map(|k| Feature { column: name(k), encoding: Encoding::Number(number.clone()) }).collect();
    let counted = |setting: &str, names: usize, count: usize, of: &str| {
        if names == count {
            return Ok(());
        }
        Err(Error::setting(setting, format!("{names} names for {count} {of}"), format!("name each of the {of}")))
    };
    let target = match spec.head {
        Head::Binary | Head::Logits | Head::LogSoftmax => {
            let column = match &target[..] {
                [] => "class".to_string(),
                [one] => one.clone(),
                _ => return Err(Error::setting("target", "classes are in one column", "name one")),
            };
            let numbers = || (0..spec.classes()).map(|class| class.to_string()).collect();
            let classes = if classes.is_empty() { numbers() } else { classes.clone() };
            counted("classes", classes.len(), spec.classes(), "classes")?;
            Target::Classes { column, classes }
        }
        Head::MultiLabel => {
            let names = if classes.is_empty() { target } else { classes };
            counted("classes", names.len(), spec.targets(), "labels")?;
            Target::Labels { columns: names.clone() }
        }
        Head::Regression | Head::Poisson | Head::Gaussian => {
            if !classes.is_empty() {
                let problem = format!("a network with the head {} has no classes", spec.head);
                return Err(Error::setting("classes", problem, "leave --classes out, or name another --head"));
            }
            let numbered = || match spec.targets() {
                1 => vec!["y".to_string()],
                count => (1..=count).map(|k| format!("y{k}")).collect(),
            };
            let names = if target.is_empty() { numbered() } else { target.clone() };
            counted("target", names.len(), spec.targets(), "outputs")?;
            let value = |column| ValueTarget { column, transform: Transform::None, mean: 0.0, std: 1.0, range: None };
            Target::Values { columns: names.into_iter().map(value).collect() }
        }
    };
    Ok(Some(Schema { features, target }))
}

/// The linear layers of a file, and the slopes of its PReLUs, both in the order of the file.
fn linear_layers<'a>(
    tensors: Vec<Tensor<'a>>,
    path: &Path,
    options: &ImportOptions,
) -> Result<(Vec<Linear<'a>>, Vec<Tensor<'a>>)> {
    // The tensors of a module have its name, and then their own.
    let mut modules: Vec<(String, BTreeMap<String, Tensor<'a>>)> = Vec::new();
    for tensor in tensors {
        let (module, own) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
        let (module, own) = (module.to_string(), own.to_string());
        match modules.iter_mut().find(|(name, _)| *name == module) {
            Some((_, there)) => drop(there.insert(own, tensor)),
            None => modules.push((module, BTreeMap::from([(own, tensor)]))),
        }
    }
    let refuse = |place: &str, problem: String, remedy: &str| Err(Error::file(path, place, problem, remedy));
    let (mut layers, mut slopes) = (Vec::new(), Vec::new());
    for (name, mut own) in modules {
        let place = if name.is_empty() { "the tensors".to_string() } else { format!("'{name:.80}'") };
        let kind = other_layer(&own);
        let Some(weight) = own.remove("weight") else {
            let names: Vec<&str> = own.keys().map(String::as_str).take(4).collect();
            let problem =
                kind.unwrap_or_else(|| format!("it has {}, but no weight of a linear layer", names.join(", ")));
            return refuse(&place, problem, "only networks of linear layers and activations can be imported");
        };
        let bias = own.remove("bias");
        if let Some(kind) = kind {
            let remedy = if kind.contains("BatchNorm") {
                "fold it into the layer before it, with torch.nn.utils.fusion.fuse_linear_bn_eval"
            } else {
                "only networks of linear layers and activations can be imported"
            };
            return refuse(&place, kind, remedy);
        }
        if !weight.element.is_real() || bias.as_ref().is_some_and(|bias| !bias.element.is_real()) {
            return refuse(&place, "its numbers are not floating-point numbers".into(), "save it as .float()");
        }
        if weight.shape.len() == 1 && bias.is_none() {
            if options.activation.learned != Learned::Slope {
                let problem = format!("its weight is a vector {:?}, like that of a PReLU", weight.shape);
                return refuse(&place, problem, "name --activation prelu, if it is one");
            }
            slopes.push(weight);
            continue;
        }
        match (&weight.shape[..], bias.as_ref().map(|bias| &bias.shape[..])) {
            (&[units, fan_in], bias) if units > 0 && fan_in > 0 && bias.is_none_or(|shape| shape == [units]) => {}
            (shape, bias) => {
                let with = bias.map_or(String::new(), |bias| format!(" with a bias {bias:?}"));
                let problem = format!("its weight {shape:?}{with} is not that of a linear layer");
                return refuse(&place, problem, "only networks of linear layers and activations can be imported");
            }
        }
        layers.push(Linear { name, weight, bias });
    }
    if layers.is_empty() {
        return refuse("the tensors", "it has no linear layers".into(), "name a file of a network's weights");
    }
    // Modules by number: those of a file without an order come as texts do, 10 before 2.
    slopes.sort_by_cached_key(|slope| natural(&slope.name));
    Ok((layers, slopes))
}

/// What kind of layer a module is that is not linear, by its tensors.
fn other_layer(own: &BTreeMap<String, Tensor<'_>>) -> Option<String> {
    let dimensions = own.get("weight").map(|weight| weight.shape.len());
    if own.contains_key("running_mean") || own.contains_key("num_batches_tracked") {
        return Some("it is a BatchNorm".into());
    }
    if own.keys().any(|name| name.starts_with("weight_ih") || name.starts_with("in_proj")) {
        return Some("it is a recurrent layer, or one of attention".into());
    }
    if own.keys().any(|name| matches!(name.as_str(), "weight_g" | "weight_v" | "weight_orig" | "original0")) {
        return Some("its weight is parametrised (weight_norm, spectral_norm or pruning)".into());
    }
    match dimensions {
        Some(3..=5) => Some(format!("it is a convolution (its weight has {} dimensions)", dimensions.unwrap_or(0))),
        Some(1) if own.contains_key("bias") => Some("it is a norm of its inputs (LayerNorm or the like)".into()),
        _ => own
            .keys()
            .find(|name| !matches!(name.as_str(), "weight" | "bias"))
            .filter(|_| dimensions.is_some())
            .map(|other| format!("it has a tensor '{other:.40}' beside weight and bias")),
    }
}

/// A name by which modules are sorted: texts, and numbers as numbers.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts: Vec<(u64, String)> = Vec::new();
    let mut digits = false;
    for c in name.chars() {
        if parts.is_empty() || c.is_ascii_digit() != digits {
            parts.push((0, String::new()));
            digits = c.is_ascii_digit();
        }
        if let Some((number, text)) = parts.last_mut() {
            match c.to_digit(10) {
                Some(digit) => *number = number.saturating_mul(10).saturating_add(digit.into()),
                None => text.push(c),
            }
        }
    }
    parts
}

/// The layers in the order in which they follow each other: that of the file, if it has one; that of their names; or the only
/// one in which the widths of differently named parts fit.
fn in_order<'a>(mut layers: Vec<Linear<'a>>, ordered: bool, path: &Path) -> Result<Vec<Linear<'a>>> {
    let chains = |layers: &[Linear<'_>]| layers.windows(2).all(|pair| pair[0].units() == pair[1].fan_in());
    if ordered && chains(&layers) {
        return Ok(layers);
    }
    layers.sort_by_cached_key(|layer| natural(&layer.name));
    if chains(&layers) {
        return Ok(layers);
    }
    let said = layers.iter().map(Linear::said).collect::<Vec<_>>().join(", ");
    let refuse = |problem: String| {
        let remedy =
            "rename the layers in their order (0, 1, 2, …), and leave out those that are not one after the other";
        Err(Error::file(path, "the tensors", problem, remedy))
    };
    // Layers whose names differ in numbers alone follow each other by these.
    let series = |layer: &Linear<'_>| layer.name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let (mut rest, mut groups) = (layers.into_iter().peekable(), Vec::<Vec<Linear<'a>>>::new());
    while let Some(first) = rest.next() {
        let name = series(&first);
        let mut group = vec![first];
        while let Some(next) =
            rest.next_if(|next| series(next) == name && group[group.len() - 1].units() == next.fan_in())
        {
            group.push(next);
        }
        groups.push(group);
    }
    let ends = |group: &Vec<Linear<'_>>| (group[0].fan_in(), group[group.len() - 1].units());
    match &orders(&groups.iter().map(ends).collect::<Vec<_>>())[..] {
        [] => refuse(format!("its layers do not follow each other: {said}")),
        [order] => Ok(order.iter().flat_map(|&k| std::mem::take(&mut groups[k])).collect()),
        _ => refuse(format!("its layers can follow each other in several ways: {said}")),
    }
}

/// The most steps in which orders are looked for.
const MOST_STEPS: usize = 100_000;

/// Up to two orders in which parts of a network with these (inputs, outputs) follow each other.
fn orders(widths: &[(usize, usize)]) -> Vec<Vec<usize>> {
    fn extend(widths: &[(usize, usize)], order: &mut Vec<usize>, found: &mut Vec<Vec<usize>>, steps: &mut usize) {
        *steps += 1;
        if found.len() > 1 || *steps > MOST_STEPS {
            return;
        }
        if order.len() == widths.len() {
            found.push(order.clone());
            return;
        }
        let end = order.last().map(|&k| widths[k].1);
        for k in 0..widths.len() {
            if !order.contains(&k) && end.is_none_or(|end| widths[k].0 == end) {
                order.push(k);
                extend(widths, order, found, steps);
                order.pop();
            }
        }
    }
    let (mut found, mut steps) = (Vec::new(), 0);
    // A network has few layers, and a deep one has names in order.
    if widths.len() <= 64 {
        extend(widths, &mut Vec::new(), &mut found, &mut steps);
    }
    // Not all orders were tried.
    if steps > MOST_STEPS && found.len() == 1 {
        found.clear();
    }
    found
}
