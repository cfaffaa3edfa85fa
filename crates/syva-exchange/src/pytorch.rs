//! Writes a network as PyTorch code, to read and to change, which loads its weights from the model file.
//!
//! The module has the layers of this network. The functions for tables are the same for all. The numbers (weights, scales,
//! vocabularies) stay in the model file, so that the two cannot drift apart.

use syva_core::ops::Learned;
use syva_core::schema::Target;
use syva_core::{Activation, Block, Embedding, Error, Head, Layer, Model, Normalization, Result, Spec};

const EMBEDDING: &str = include_str!("pytorch/embedding.py");
const BLEND: &str = include_str!("pytorch/blend.py");
const TABLE: &str = include_str!("pytorch/table.py");
const VALUES: &str = include_str!("pytorch/values.py");

/// PyTorch code for a network. Its function `load` reads the model file, by default the one called `file`; `predict` takes a
/// pandas table, or an array of inputs `[N, features]` for a network that is not on a table, and returns a dict of arrays that
/// are the outputs of [`onnx`](crate::onnx()).
///
/// It needs torch, numpy and safetensors, and pandas for tables.
///
/// # Errors
/// [`Error::Mismatch`] if PyTorch does not have an activation.
///
/// ```
/// use syva_core::{Activation::Relu, Mlp, Model, State, Training};
/// let spec = Mlp::new(4).hidden(&[16], Relu).classes(3);
/// let model = Model::new(spec.clone(), State::initial(&spec, &Training::default())?);
/// let code = syva_exchange::pytorch(&model, "model.safetensors")?;
/// assert!(code.contains("        x = F.relu(self.fc1(x))\n"));
/// # Ok::<(), syva_core::Error>(())
/// ```
pub fn pytorch(model: &Model, file: &str) -> Result<String> {
    if !model.members.is_empty() {
        return Err(crate::several(model));
    }
    let spec = &model.spec;
    spec.validate()?;
    let use_ = if spec.schema.is_some() {
        // Categories are texts, whatever they look like.
        "outputs = predict(network, pd.read_csv(\"new.csv\", dtype=str))"
    } else {
        "outputs = predict(network, inputs)  # an array [N, features]"
    };
    let mut sections = Vec::new();
    if spec.layers.iter().any(|layer| layer.learned == Learned::Blend) {
        sections.push(BLEND.into());
    }
    if spec.input.embedding.is_some() {
        sections.push(EMBEDDING.into());
    }
    sections.push(network(spec)?);
    sections.push(load(spec));
    if let Some(schema) = &spec.schema {
        sections.push(TABLE.into());
        if matches!(schema.target, Target::Values { .. }) {
            sections.push(VALUES.into());
        }
    }
    sections.push(predict(spec));
    let body = sections.join("\n\n");
    let import = |mark: &str, line: &'static str| if body.contains(mark) { line } else { "" };
    Ok(format!(
        "\"\"\"A deep fully connected network for PyTorch, {}, written by syva {}.\n\n    network = load()\n    {use_}\n\"\"\"\n\n\
         {}{}\nimport numpy as np\n{}import torch\n{}from safetensors import safe_open\nfrom torch import Tensor, nn\n\n\
         # The file of the weights.\nMODEL = {}\n\n\n{body}",
        spec.widths(),
        env!("CARGO_PKG_VERSION"),
        import("json.", "import json\n"),
        import("Any", "from typing import Any\n"),
        import("pd.", "import pandas as pd\n"),
        import("F.", "import torch.nn.functional as F\n"),
        // A text of JSON is one of Python, too.
        serde_json::json!(file)
    ))
}

/// The module.
fn network(spec: &Spec) -> Result<String> {
    let (features, outputs) = (spec.input.features, spec.outputs());
    let mut init = String::new();
    let mut forward = String::new();
    match spec.input.normalization {
        Normalization::None => {}
        Normalization::Uniform { scale, shift } => {
            let sign = if shift < 0.0 { '-' } else { '+' };
            forward += &format!("        x = x * {scale:?} {sign} {:?}\n", shift.abs());
        }
        Normalization::PerFeature { .. } => {
            for name in ["scale", "shift"] {
                init +=
                    &format!("        self.register_buffer(\"{name}\", torch.zeros({features}), persistent=False)\n");
            }
            forward += "        x = x * self.scale + self.shift\n";
        }
    }
    if let Some(embedding) = &spec.input.embedding {
        let (modules, line) = embedded(embedding);
        init += &modules;
        forward += &line;
    }
    for (l, layer) in spec.layers.iter().enumerate() {
        let (n, units) = (l + 1, layer.units);
        init += &format!("        self.fc{n} = nn.Linear({}, {units})\n", spec.fan_in(l));
        match layer.learned {
            Learned::Nothing => {}
            Learned::Slope => init += &format!("        self.act{n} = nn.PReLU({units})\n"),
            Learned::Blend => init += &format!("        self.act{n} = Blend({units})\n"),
        }
        forward += &activated(n, layer)?;
    }
    Ok(format!(
        "class Network(nn.Module):\n    \"\"\"Raw inputs [N, {features}] to outputs [N, {outputs}].\"\"\"\n\n    def __init__(self) -> None:\n        \
         super().__init__()\n{init}\n    def forward(self, x: Tensor) -> Tensor:\n{forward}        return x\n"
    ))
}

/// The modules of an embedding, and the line that applies them.
fn embedded(embedding: &Embedding) -> (String, String) {
    let (mut init, mut parts) = (String::new(), Vec::new());
    for (n, placed) in embedding.placed().enumerate().map(|(n, placed)| (n + 1, placed)) {
        let slice = format!("x[:, {}:{}]", placed.features.start, placed.features.end);
        match placed.block {
            Block::Plain { .. } => parts.push(slice),
            Block::Periodic { features, frequencies, outputs } => {
                init += &format!("        self.embed{n} = Periodic({features}, {frequencies}, {outputs})\n");
                parts.push(format!("self.embed{n}({slice})"));
            }
            Block::Piecewise { features, bins, outputs } => {
                init += &format!("        self.embed{n} = Piecewise({features}, {bins}, {outputs})\n");
                parts.push(format!("self.embed{n}({slice})"));
            }
            Block::Category { features, size } => {
                init += &format!("        self.embed{n} = Vectors({features}, {size})\n");
                parts.push(format!("self.embed{n}({slice})"));
            }
        }
    }
    let mut forward = format!("        x = torch.cat([{}], dim=1)\n", parts.join(", "));
    if embedding.scaled {
        init += &format!("        self.factors = Factors({})\n", embedding.outputs());
        forward += "        x = self.factors(x)\n";
    }
    (init, forward)
}

/// The lines of layer n.
fn activated(n: usize, layer: &Layer) -> Result<String> {
    let linear = format!("self.fc{n}(x)");
    if layer.learned == Learned::Slope {
        return Ok(format!("        x = self.act{n}({linear})\n"));
    }
    if layer.learned == Learned::Blend {
        return Ok(format!("        z = {linear}\n        x = self.act{n}(z, {})\n", function(layer.activation, "z")?));
    }
    Ok(format!("        x = {}\n", function(layer.activation, &linear)?))
}

/// An activation of z.
fn function(activation: Activation, z: &str) -> Result<String> {
    Ok(match activation {
        Activation::Identity => z.into(),
        Activation::Relu => format!("F.relu({z})"),
        Activation::Sigmoid => format!("torch.sigmoid({z})"),
        Activation::Tanh => format!("torch.tanh({z})"),
        Activation::LeakyRelu(slope) => format!("F.leaky_relu({z}, {slope:?})"),
        Activation::Elu(alpha) => format!("F.elu({z}, {alpha:?})"),
        Activation::Selu => format!("F.selu({z})"),
        Activation::Gelu => format!("F.gelu({z})"),
        Activation::GeluTanh => format!("F.gelu({z}, approximate=\"tanh\")"),
        Activation::Silu => format!("F.silu({z})"),
        Activation::Mish => format!("F.mish({z})"),
        Activation::Softplus(beta) => format!("F.softplus({z}, beta={beta:?})"),
        Activation::HardSwish => format!("F.hardswish({z})"),
        Activation::HardSigmoid => format!("F.hardsigmoid({z})"),
        other => return Err(Error::mismatch(format!("PyTorch has no {other}"), "use another activation")),
    })
}

fn load(spec: &Spec) -> String {
    let mut rest = String::new();
    if matches!(spec.input.normalization, Normalization::PerFeature { .. }) {
        rest += "    normalization = description[\"input\"][\"normalization\"][\"per-feature\"]\n    \
                 network.scale = torch.tensor(normalization[\"scale\"])\n    \
                 network.shift = torch.tensor(normalization[\"shift\"])\n";
    }
    if spec.schema.is_some() {
        rest += "    network.schema = description[\"schema\"]\n";
    }
    let description =
        if rest.is_empty() { "" } else { "        description = json.loads(file.metadata()[\"syva\"])[\"network\"]\n" };
    format!(
        "def load(path: str = MODEL) -> Network:\n    \"\"\"The network with the weights of a model file.\"\"\"\n    network = Network()\n    \
         with safe_open(path, framework=\"pt\") as file:\n        \
         network.load_state_dict({{name: file.get_tensor(name) for name in network.state_dict()}})\n{description}{rest}    \
         return network.eval()\n"
    )
}

fn predict(spec: &Spec) -> String {
    let on_table = spec.schema.is_some();
    let (given, inputs) = if on_table {
        ("table: pd.DataFrame", "encode(table, network.schema)")
    } else {
        ("inputs: np.ndarray", "np.asarray(inputs, np.float32)")
    };
    let decoded =
        |values: &str| if on_table { format!("decode({values}, network.schema)") } else { values.to_string() };
    let before = match spec.head {
        Head::Logits | Head::LogSoftmax => "    probabilities = torch.softmax(z, 1).numpy()\n",
        Head::Binary => "    probabilities = torch.cat([torch.sigmoid(-z), torch.sigmoid(z)], 1).numpy()\n",
        Head::MultiLabel => "    probabilities = torch.sigmoid(z).numpy()\n",
        Head::Gaussian if on_table => {
            "    stds = np.array([target[\"std\"] for target in network.schema[\"target\"][\"columns\"]])\n    \
             deviation = (F.softplus(z[:, 1::2]) + 1e-6).sqrt().numpy() * stds\n"
        }
        Head::Gaussian => "    deviation = (F.softplus(z[:, 1::2]) + 1e-6).sqrt().numpy()\n",
        Head::Regression | Head::Poisson => "",
    };
    let outputs = match spec.head {
        Head::Logits | Head::LogSoftmax | Head::Binary => {
            let class = if on_table {
                "np.array(network.schema[\"target\"][\"classes\"])[probabilities.argmax(1)]"
            } else {
                "probabilities.argmax(1)"
            };
            format!("\"prediction\": {class}, \"probabilities\": probabilities")
        }
        Head::MultiLabel => {
            "\"prediction\": (probabilities > 0.5).astype(int), \"probabilities\": probabilities".into()
        }
        Head::Regression => format!("\"prediction\": {}", decoded("z.numpy()")),
        Head::Poisson => format!("\"prediction\": {}", decoded("z.exp().numpy()")),
        Head::Gaussian => {
            format!("\"prediction\": {}, \"deviation\": deviation", decoded("z[:, 0::2].numpy()"))
        }
    };
    format!(
        "@torch.no_grad()\ndef predict(network: Network, {given}) -> dict[str, np.ndarray]:\n    \
         \"\"\"What the network predicts, for each row.\"\"\"\n    z = network(torch.from_numpy({inputs})).double()\n{before}    \
         return {{{outputs}}}\n"
    )
}
