//! Assembles WGSL: a flavour of arithmetic, the contract's functions, and a kernel with its blanks filled in.

use std::fmt::Write as _;

use syva_core::arithmetic::Number as _;
use syva_core::ops::{self, Dialect, INPUTS, Judging, Nonlinearity, Reads, Rule, SCALARS, Symbol};
use syva_core::random::Stream;
use syva_core::reference::BLOCK;
use syva_core::{Activation, Head};

/// The arithmetic of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// The adapter's own.
    Native,
    /// Floating-point arithmetic made of integers.
    Soft,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kernel {
    /// Gathers inputs (bytes or floats) and targets of a block's rows.
    Gather {
        bytes: bool,
        /// What a step does to its inputs at random, if anything.
        perturbs: Option<Perturbs>,
    },
    /// Computes the first layer's initial sums.
    Start,
    Forward {
        first: bool,
        activation: Activation,
        keeps: Keeps,
        /// Whether the activations are multiplied by factors of dropout.
        drops: bool,
    },
    Loss {
        judging: Judging,
        head: Head,
        /// Outputs per sample.
        outputs: usize,
        /// Whether each sample has a factor of its own.
        weighted: bool,
    },
    Bias {
        /// Whether the gradient is only stored.
        stores: bool,
    },
    /// Computes the input gradient of a layer.
    Backward {
        /// The activation of the layer below.
        activation: Activation,
        /// Whether that layer has dropout.
        drops: bool,
    },
    Update {
        first: bool,
        /// Whether the gradient is only stored.
        stores: bool,
    },
    /// Makes the factors of dropout for a layer.
    Factors,
    /// Makes the activations of a layer whose activation is learned.
    Learn {
        activation: Nonlinearity,
        /// Whether they are multiplied by factors of dropout.
        drops: bool,
    },
    /// Makes the gradient by the z of such a layer, and the terms of the gains' gradients.
    LearnGradient(Nonlinearity),
    /// Sums the squares of each unit's gradients.
    Squares {
        held: Held,
        /// Whether the layer has gains.
        gains: bool,
    },
    /// Makes a factor of all gradients from those sums, for a norm of at most `bound`.
    Norm {
        bound: f32,
    },
    /// Applies an optimiser's rule.
    Rule {
        rule: Rule,
        held: Held,
        /// Whether all gradients have a factor.
        clips: bool,
        tensor: Tensor,
    },
    /// Holds the norms of the weights that lead to each unit to at most `bound`.
    Renorm {
        bound: f32,
    },
    Average(Tensor),
}

/// What a step does to normalised inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Perturbs {
    /// The standard deviation of the noise, or 0.
    pub(crate) deviation: f32,
    /// Whether there is dropout.
    pub(crate) drops: bool,
}

impl Perturbs {
    /// The function `perturbed(x, row, feature)`, with those that it calls.
    fn functions(self) -> String {
        let word = |stream: Stream| format!("{}u", stream as u32);
        let noise =
            format!("value = add(value, noise(philox(counter, vec2(step.seed, {})), feature));", word(Stream::Noise));
        let drop = format!(
            "let words = philox(vec4(counter.xyz, counter.w | {INPUTS:#x}u << 16u), vec2(step.seed, {}));\n    \
             value = dropped(value, from_bits(select(step.input_scale, 0u, words[feature & 3u] < step.input_threshold)));",
            word(Stream::Dropout)
        );
        let blanks = [
            ("deviation", format!("{:#010x}u", self.deviation.to_bits())),
            ("noise", if self.deviation > 0.0 { noise } else { String::new() }),
            ("drop", if self.drops { drop } else { String::new() }),
        ];
        let blanks = blanks.each_ref().map(|(name, text)| (*name, text.as_str()));
        let perturb = fill(include_str!("kernels/perturb.wgsl"), &blanks);
        [PHILOX, &ops::normal_function(Dialect::Wgsl), &update_functions(&["dropped"]), &perturb].join("\n")
    }
}

const PHILOX: &str = include_str!("kernels/philox.wgsl");

/// What a forward product keeps for the derivative, beside the activations that the next layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nothing,
    /// The pre-activations.
    Z,
    /// The activations without dropout.
    H,
}

/// Which of a layer's numbers a kernel works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tensor {
    /// The weights of a part.
    Weights,
    /// The biases of all units.
    Biases,
    /// The gains of all units.
    Gains,
}

impl Tensor {
    /// Its values, in WGSL.
    fn count(self) -> &'static str {
        match self {
            Self::Weights => "layer.part * layer.fan_in",
            Self::Biases | Self::Gains => "layer.units",
        }
    }
}

/// What is done to each gradient before the optimiser's rule. 0 is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) l1: f32,
    pub(crate) l2: f32,
    pub(crate) clip_value: f32,
}

impl Held {
    /// The functions `held_weight(g, w)` and `held(g)`.
    fn functions(self) -> String {
        let Self { l1, l2, clip_value } = self;
        let penalised = format!("penalised(g, w, {}, {})", number(l1), number(l2));
        let weight = if l1 > 0.0 || l2 > 0.0 { &penalised } else { "g" };
        let clipped =
            |g: &str| if clip_value > 0.0 { format!("clipped({g}, {})", number(clip_value)) } else { g.into() };
        format!(
            "{}\nfn held_weight(g: num, w: num) -> num {{ return {}; }}\nfn held(g: num) -> num {{ return {}; }}\n",
            update_functions(&["penalised", "clipped"]),
            clipped(weight),
            clipped("g")
        )
    }
}

/// A constant in WGSL.
fn number(value: f32) -> String {
    format!("from_bits({:#010x}u)", value.to_bits())
}

/// Some of the functions that dropout and updates need.
fn update_functions(names: &[&str]) -> String {
    let wanted = ops::update_functions().iter().filter(|function| names.contains(&function.name));
    wanted.map(|function| function.text(Dialect::Wgsl)).collect::<Vec<_>>().join("\n")
}

impl Flavour {
    /// The WGSL that defines the flavour.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::Native => include_str!("kernels/native.wgsl"),
            Self::Soft => include_str!("kernels/soft.wgsl"),
        }
    }

    /// Roughly how many of the adapter's own multiply-adds one multiply-add costs.
    pub(crate) fn cost(self) -> u64 {
        match self {
            Self::Native => 1,
            Self::Soft => 64,
        }
    }
}

/// The operations on bits that functions are written with.
pub(crate) const BITS: &str = include_str!("kernels/bits.wgsl");

/// The contract's functions. They are left out of kernels that do not call them, because some drivers take long to
/// compile what is not called.
pub(crate) fn functions() -> String {
    ops::functions().iter().map(|function| function.text(Dialect::Wgsl)).collect::<Vec<_>>().join("\n")
}

/// How a product is divided among threads. A group of `across` · `down` threads computes `down · rows` by
/// `across · columns` outputs. Its factors are staged in slabs of `slab` values of k.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    across: usize,
    down: usize,
    rows: usize,
    columns: usize,
    slab: usize,
}

impl Tile {
    pub(crate) fn of(flavour: Flavour, software: bool) -> Self {
        match (flavour, software) {
            (Flavour::Native, true) => Self { across: 8, down: 8, rows: 8, columns: 8, slab: 16 },
            (Flavour::Native, false) => Self { across: 16, down: 16, rows: 4, columns: 4, slab: 16 },
            (Flavour::Soft, _) => Self { across: 16, down: 4, rows: 4, columns: 2, slab: 16 },
        }
    }

    /// The outputs of a group: rows, columns.
    pub(crate) fn size(self) -> (usize, usize) {
        (self.down * self.rows, self.across * self.columns)
    }

    /// The product kernel, with a kernel's own functions. `Chains` says whether an output's terms are one chain.
    fn product(self, own: &str, chains: Chains) -> String {
        let (tile_rows, tile_columns) = self.size();
        let (chains, first, last) = match chains {
            Chains::One => ("{ let first_k = 0u; let end_k = size.z;", "", ""),
            Chains::Blocks => (
                "for (var first_k = 0u; first_k < size.z; first_k = chain_end(first_k)) {\n    \
                 let end_k = chain_end(first_k);",
                ", first_k",
                ", end_k",
            ),
        };
        let (mut begin, mut multiply, mut end) = (String::new(), String::new(), String::new());
        for i in 0..self.rows {
            let _ = writeln!(multiply, "            let a{i} = slab_a[k * {tile_rows}u + m + {i}u];");
        }
        for j in 0..self.columns {
            let at = j * self.across;
            let _ = writeln!(multiply, "            let b{j} = slab_b[k * {tile_columns}u + n + {at}u];");
        }
        for (i, j) in (0..self.rows).flat_map(|i| (0..self.columns).map(move |j| (i, j))) {
            let output = format!("row + m + {i}u, column + n + {}u", j * self.across);
            let inside = format!("if row + m + {i}u < size.x && column + n + {}u < size.y", j * self.across);
            let _ = writeln!(
                begin,
                "    var c{i}_{j} = from_bits(0u);\n    {inside} {{ c{i}_{j} = begin({output}{first}); }}"
            );
            let _ = writeln!(multiply, "            c{i}_{j} = fused(a{i}, b{j}, c{i}_{j});");
            let _ = writeln!(end, "    {inside} {{ end({output}, c{i}_{j}{last}); }}");
        }
        let number = |n: usize| n.to_string();
        fill(
            include_str!("kernels/product.wgsl"),
            &[
                ("own", own),
                ("chains", chains),
                ("begin", &begin),
                ("multiply", &multiply),
                ("end", &end),
                ("threads", &number(self.across * self.down)),
                ("across", &number(self.across)),
                ("tile_rows", &number(tile_rows)),
                ("tile_columns", &number(tile_columns)),
                ("rows", &number(self.rows)),
                ("columns", &number(self.columns)),
                ("slab", &number(self.slab)),
                ("slab_a", &number(self.slab * tile_rows)),
                ("slab_b", &number(self.slab * tile_columns)),
            ],
        )
    }
}

/// The chains of multiply-adds that make an output.
#[derive(Clone, Copy)]
enum Chains {
    One,
    /// One per block of samples (rule 3).
    Blocks,
}

/// Replaces each `{{name}}`.
pub(crate) fn fill(template: &str, blanks: &[(&str, &str)]) -> String {
    blanks.iter().fold(template.to_string(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// The whole text of a kernel.
pub(crate) fn source(kernel: Kernel, flavour: Flavour, software: bool) -> String {
    let tile = Tile::of(flavour, software);
    let (step, layer) = (include_str!("kernels/step.wgsl"), include_str!("kernels/layer.wgsl"));
    let tree = fill(include_str!("kernels/tree.wgsl"), &[("block", &format!("{BLOCK}u"))]);
    let with_layer = |text: &str| format!("{layer}\n{text}");
    let body = match kernel {
        Kernel::Gather { bytes, perturbs } => gather(bytes, perturbs),
        Kernel::Start => with_layer(include_str!("kernels/start.wgsl")),
        Kernel::Bias { stores } => {
            let renew =
                "if completes(next) && stopped[0] == 0u { bias[j] = fused(from_bits(step.descent), sum, bias[j]); }";
            let renew = if stores { "" } else { renew };
            with_layer(&format!("{tree}\n{}", fill(include_str!("kernels/bias.wgsl"), &[("renew", renew)])))
        }
        Kernel::Loss { judging, head, outputs, weighted } => {
            let (binding, factor) = if weighted {
                ("@group(0) @binding(8) var<storage, read> factors: array<num>;", "factors[step.at + row]")
            } else {
                ("", "from_bits(step.mean)")
            };
            let factor = format!("fn factor(row: u32) -> num {{ return {factor}; }}");
            let judge = judge(judging, head, outputs);
            let blanks = [("factors", binding), ("factor", factor.as_str()), ("judge", judge.as_str())];
            with_layer(&fill(include_str!("kernels/loss.wgsl"), &blanks))
        }
        Kernel::Forward { first, activation, keeps, drops } => {
            with_layer(&tile.product(&forward(first, activation, keeps, drops), Chains::One))
        }
        Kernel::Backward { activation, drops } => {
            let mut functions =
                Dialect::Wgsl.function("derivative", ["read", "dx"], |[read, dx]| activation.backward(read, dx));
            let (mut binding, mut sum) = ("", "sum");
            if drops {
                functions += &update_functions(&["dropped"]);
                binding = "@group(0) @binding(6) var<storage, read> factors: array<num>;";
                sum = "dropped(sum, factors[i])";
            }
            let blanks = [("derivative", functions.as_str()), ("binding", binding), ("sum", sum)];
            with_layer(&tile.product(&fill(include_str!("kernels/backward.wgsl"), &blanks), Chains::One))
        }
        Kernel::Update { first, stores } => {
            let (bindings, gradient) = if first {
                let bindings = "@group(0) @binding(7) var<storage, read> shift: array<num>;\n\
                                @group(0) @binding(8) var<storage, read> bias_sums: array<num>;";
                (bindings, "plus_zero(fused(shift[column], bias_sums[layer.unit + row], sum))")
            } else {
                ("", "sum")
            };
            let renewed = if stores { "g" } else { "fused(from_bits(step.descent), g, weight[i])" };
            let blanks = [("bindings", bindings), ("gradient", gradient), ("renewed", renewed)];
            let own = format!("{tree}\n{}", fill(include_str!("kernels/update.wgsl"), &blanks));
            with_layer(&tile.product(&own, Chains::Blocks))
        }
        Kernel::Factors => {
            let stream = format!("{}u", Stream::Dropout as u32);
            let factors = fill(include_str!("kernels/factors.wgsl"), &[("stream", &stream)]);
            with_layer(&format!("{PHILOX}\n{factors}"))
        }
        Kernel::Learn { activation, drops } => with_layer(&learn(activation, drops)),
        Kernel::LearnGradient(activation) => with_layer(&learn_gradient(activation)),
        Kernel::Squares { held, gains } => {
            let (mut binding, mut more) = ("", "");
            if gains {
                binding = "@group(0) @binding(6) var<storage, read> gain_sums: array<num>;";
                more = "let of_gain = held(gain_sums[j]);\n    sum = fused(of_gain, of_gain, sum);";
            }
            let functions = held.functions();
            let blanks = [("binding", binding), ("held", functions.as_str()), ("gain", more)];
            with_layer(&fill(include_str!("kernels/squares.wgsl"), &blanks))
        }
        Kernel::Norm { bound } => {
            let (functions, bound) = (update_functions(&["norm_factor"]), format!("{:#010x}u", bound.to_bits()));
            let blanks = [("functions", functions.as_str()), ("bound", &bound)];
            with_layer(&fill(include_str!("kernels/norm.wgsl"), &blanks))
        }
        Kernel::Rule { rule, held, clips, tensor } => with_layer(&rule_kernel(rule, held, clips, tensor)),
        Kernel::Renorm { bound } => {
            let (functions, bound) = (update_functions(&["renorm_factor"]), format!("{:#010x}u", bound.to_bits()));
            let blanks = [("functions", functions.as_str()), ("bound", &bound)];
            with_layer(&fill(include_str!("kernels/renorm.wgsl"), &blanks))
        }
        Kernel::Average(tensor) => {
            let blanks = [("functions", &*update_functions(&["averaged"])), ("count", tensor.count())];
            with_layer(&fill(include_str!("kernels/average.wgsl"), &blanks))
        }
    };
    format!("{}\n{BITS}\n{step}\n{body}", flavour.source())
}

/// The kernel that gathers inputs and targets.
fn gather(bytes: bool, perturbs: Option<Perturbs>) -> String {
    let byte = "return of_int(i32((inputs[index >> 2u] >> ((index & 3u) * 8u)) & 0xffu));";
    let input = if bytes { byte } else { "return from_bits(inputs[index]);" };
    let (mut binding, mut functions, mut value) = ("", String::new(), "value");
    if let Some(perturbs) = perturbs {
        binding = "@group(0) @binding(8) var<storage, read> shift: array<num>;";
        functions = perturbs.functions();
        value = "perturbed(add(value, shift[k]), row, k)";
    }
    let blanks = [("input", input), ("binding", binding), ("functions", &functions), ("value", value)];
    fill(include_str!("kernels/gather.wgsl"), &blanks)
}

/// The forward product's own functions.
fn forward(first: bool, activation: Activation, keeps: Keeps, drops: bool) -> String {
    let z = if first { "plus_zero(sum)" } else { "sum" };
    let mut bindings = String::new();
    let mut bind = |at: usize, access: &str, name: &str| {
        let _ = writeln!(bindings, "@group(0) @binding({at}) var<storage, {access}> {name}: array<num>;");
    };
    match keeps {
        Keeps::Nothing => {}
        Keeps::Z => bind(6, "read_write", "pre_activations"),
        Keeps::H => bind(6, "read_write", "undropped"),
    }
    if drops {
        bind(if keeps == Keeps::Nothing { 6 } else { 7 }, "read", "factors");
    }
    let keep = match keeps {
        Keeps::Nothing => "let a = activation(z);",
        Keeps::Z => "let a = activation(z);\n    pre_activations[i] = z;",
        Keeps::H => "let a = activation(z);\n    undropped[i] = a;",
    };
    let finish = if drops { "h[i] = dropped(a, factors[i]);" } else { "h[i] = a;" };
    let mut functions = Dialect::Wgsl.function("activation", ["z"], |[z]| activation.forward(z));
    if drops {
        functions += &update_functions(&["dropped"]);
    }
    let blanks =
        [("activation", functions.as_str()), ("z", z), ("bindings", &bindings), ("keep", keep), ("finish", finish)];
    fill(include_str!("kernels/forward.wgsl"), &blanks)
}

/// The kernel that makes learned activations.
fn learn(Nonlinearity { activation, learned }: Nonlinearity, drops: bool) -> String {
    let mut functions =
        Dialect::Wgsl.function("learned", ["z", "p"], |[z, p]| learned.forward(z, activation.forward(z), p));
    let (mut binding, mut value) = ("", "learned(z[i], gains[j])");
    if drops {
        functions += &update_functions(&["dropped"]);
        binding = "@group(0) @binding(5) var<storage, read> factors: array<num>;";
        value = "dropped(learned(z[i], gains[j]), factors[i])";
    }
    let body = format!("h[i] = {value};");
    let bindings = format!("@group(0) @binding(4) var<storage, read_write> h: array<num>;\n{binding}");
    let blanks = [("access", "read"), ("bindings", &*bindings), ("functions", &functions), ("body", &body)];
    fill(include_str!("kernels/learn.wgsl"), &blanks)
}

/// The kernel of their derivatives.
fn learn_gradient(Nonlinearity { activation, learned }: Nonlinearity) -> String {
    let derivatives = Dialect::Wgsl.function_of_several("derivatives", ["z", "dh", "p"], "Pair", |[z, dh, p]| {
        let f = activation.forward(z);
        let df = activation.backward(if activation.reads() == Reads::H { f } else { z }, dh);
        let (by_z, by_gain) = learned.backward((z, f), (dh, df), p);
        [by_z, by_gain]
    });
    let functions = format!("struct Pair {{ a: num, b: num }}\n\n{derivatives}");
    let body = "let by = derivatives(z[i], d[i], gains[j]);\n            d[i] = by.a;\n            z[i] = by.b;";
    let bindings = "@group(0) @binding(4) var<storage, read_write> d: array<num>;";
    let blanks = [("access", "read_write"), ("bindings", bindings), ("functions", &*functions), ("body", body)];
    fill(include_str!("kernels/learn.wgsl"), &blanks)
}

/// The kernel of an optimiser's rule, with only the buffers that the rule needs.
fn rule_kernel(rule: Rule, held: Held, clips: bool, tensor: Tensor) -> String {
    let mut bindings = String::new();
    let mut at = 6;
    let mut bind = |access: &str, name: &str| {
        let _ = writeln!(bindings, "@group(0) @binding({at}) var<storage, {access}> {name}: array<num>;");
        at += 1;
    };
    if clips {
        bind("read", "factor");
    }
    let names = ["a", "b", "c"];
    let slots = &names[..rule.slots().len()];
    for name in slots {
        bind("read_write", &format!("slot_{name}"));
    }
    let (which, gradient) = match tensor {
        Tensor::Weights => ("0u", "held_weight(gradient[i], w)"),
        Tensor::Biases => ("1u", "held(gradient[i])"),
        Tensor::Gains => ("2u", "held(gradient[i])"),
    };
    let gradient = if clips { format!("mul({gradient}, factor[0])") } else { gradient.to_string() };
    let arguments = (0..SCALARS).map(|n| format!("scalars[s + {n}u]")).chain(["g", "w"].map(String::from)).chain(
        names
            .iter()
            .enumerate()
            .map(|(n, name)| if n < slots.len() { format!("slot_{name}[i]") } else { "from_bits(ZERO)".to_string() }),
    );
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    let stored =
        slots.iter().map(|name| format!("slot_{name}[i] = updated.{name};")).collect::<Vec<_>>().join("\n        ");
    fill(
        include_str!("kernels/rule.wgsl"),
        &[
            ("bindings", &*bindings),
            ("rule", &ops::rule_function(Dialect::Wgsl, "apply_rule", rule)),
            ("held", &held.functions()),
            ("which", which),
            ("scalars", &SCALARS.to_string()),
            ("count", tensor.count()),
            ("gradient", &gradient),
            ("arguments", &arguments),
            ("slots", &stored),
        ],
    )
}

/// The function `judge` of a loss, with those that it calls.
fn judge(judging: Judging, head: Head, outputs: usize) -> String {
    match judging {
        Judging::Each(distance, parameter) => {
            let p = || Symbol::from_f64(parameter);
            let add = Dialect::Wgsl.function("add_loss", ["sum", "z", "t"], |[sum, z, t]| distance.add(sum, z, t, p()));
            let slope = Dialect::Wgsl.function("loss_slope", ["z", "t"], |[z, t]| distance.slope(z, t, p()));
            // Right ones below, wrong ones above: see `labels_guess`.
            let labels = "if above(x, from_bits(ZERO)) { guess += select(0x10000u, 1u, above(t, from_bits(ZERO))); }";
            let rows = match head {
                Head::Binary => include_str!("kernels/judge_label.wgsl").to_string(),
                Head::MultiLabel => fill(include_str!("kernels/judge_values.wgsl"), &[("guess", labels)]),
                Head::Regression | Head::Poisson | Head::Gaussian | Head::Logits | Head::LogSoftmax => {
                    fill(include_str!("kernels/judge_values.wgsl"), &[("guess", "")])
                }
            };
            [add, slope, rows].join("\n")
        }
        Judging::Gaussian => format!("{}\n{}", loss_functions(), include_str!("kernels/judge_pairs.wgsl")),
        Judging::Classes { smoothing } => {
            let parameters = judging.parameters(outputs).map(|parameter| parameter as f32);
            let [on, off] = [parameters[0] + parameters[1], parameters[1]].map(|y| format!("{:#010x}u", y.to_bits()));
            let plain = "let loss = cross_entropy(sum, z[first + label], largest);".to_string();
            let loss = if smoothing == 0.0 {
                plain
            } else {
                let [on, off] = parameters.map(|parameter| format!("from_bits({:#010x}u)", parameter.to_bits()));
                format!(
                    "var rest = from_bits(ZERO);\n    for (var j = 0u; j < outputs; j++) {{ rest = add(rest, sub(z[first + j], \
                     largest)); }}\n    let loss = smoothed_cross_entropy(sum, z[first + label], largest, rest, {on}, {off});"
                )
            };
            let blanks = [("loss", loss.as_str()), ("on", &on), ("off", &off)];
            let rows = fill(include_str!("kernels/judge_classes.wgsl"), &blanks);
            let more = if smoothing == 0.0 { String::new() } else { loss_functions() };
            [functions(), more, rows].join("\n")
        }
    }
}

/// What losses need beyond [`functions`].
fn loss_functions() -> String {
    ops::loss_functions().iter().map(|function| function.text(Dialect::Wgsl)).collect::<Vec<_>>().join("\n")
}
