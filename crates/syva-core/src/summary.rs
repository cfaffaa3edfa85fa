//! The figures of a network: shapes, parameters, bytes, operations.

use std::fmt;

use serde::Serialize;

use crate::memory::readable;
use crate::ops::Nonlinearity;
use crate::spec::Spec;
use crate::text::grouped;
use crate::training::Training;

/// The layers of a network and their cost. `Display` writes the table that `syva summary` prints.
///
/// ```
/// use syva_core::{Activation::Sigmoid, Mlp, Summary, Training};
/// let summary = Summary::new(&Mlp::new(784).hidden(&[256, 128], Sigmoid).classes(10), &Training::default());
/// assert_eq!(summary.parameters, 235_146);
/// assert_eq!(summary.layers[0].parameters, 200_960);
/// println!("{summary}");
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Samples per step.
    pub batch_size: usize,
    /// What is learned of the inputs before the first layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<EmbeddingSummary>,
    /// The linear layers.
    pub layers: Vec<LayerSummary>,
    /// Total number of learned values.
    pub parameters: usize,
    /// Total number of hidden units.
    pub neurons: usize,
    /// Bytes of weights and biases (f32).
    pub weight_bytes: usize,
    /// Bytes of the normalised inputs and all activations of a batch (f32).
    pub activation_bytes: usize,
    /// Bytes of the optimiser's state (0 for SGD).
    pub optimizer_bytes: usize,
    /// Floating-point operations per training step. A fused multiply-add counts as two.
    pub flop_per_step: u64,
}

/// An embedding of inputs in figures. Its operations are not counted.
#[derive(Clone, Debug, Serialize)]
pub struct EmbeddingSummary {
    /// Features.
    pub features: usize,
    /// Outputs, which the first layer reads.
    pub outputs: usize,
    /// Learned values.
    pub parameters: usize,
    /// Bytes of learned values (f32).
    pub weight_bytes: usize,
    /// Bytes of the outputs for a batch (f32).
    pub activation_bytes: usize,
}

/// A linear layer in figures.
#[derive(Clone, Debug, Serialize)]
pub struct LayerSummary {
    /// `fc1`, `fc2`, …: the name of its tensors in the model file.
    pub name: String,
    /// Inputs.
    pub fan_in: usize,
    /// Units.
    pub units: usize,
    /// The activation after it.
    pub activation: Nonlinearity,
    /// Weights and biases.
    pub parameters: usize,
    /// Bytes of weights and biases (f32).
    pub weight_bytes: usize,
    /// Bytes of the activations of a batch (f32).
    pub activation_bytes: usize,
    /// Floating-point operations of this layer per training step, if all products are dense: forward, weight gradient
    /// with update, and input gradient (which the first layer only has behind an embedding).
    pub flop_per_step: u64,
}

impl Summary {
    /// The figures of a network that is trained with batches of `batch_size`. A figure that is too large for its type
    /// is the type's largest value.
    #[must_use]
    pub fn new(spec: &Spec, training: &Training) -> Self {
        let batch_size = training.samples_per_update();
        let layers: Vec<LayerSummary> = (0..spec.layers.len())
            .map(|l| {
                let (fan_in, units) = (spec.fan_in(l), spec.layers[l].units);
                let products = if l == 0 && spec.input.embedding.is_none() { 2 } else { 3 };
                LayerSummary {
                    name: format!("fc{}", l + 1),
                    fan_in,
                    units,
                    activation: spec.layers[l].nonlinearity(),
                    parameters: (fan_in + 1) * units + spec.layers[l].gains(),
                    weight_bytes: 4 * ((fan_in + 1) * units + spec.layers[l].gains()),
                    activation_bytes: units.saturating_mul(4).saturating_mul(batch_size),
                    flop_per_step: (2 * products * fan_in as u64 * units as u64).saturating_mul(batch_size as u64),
                }
            })
            .collect();
        let embedding = spec.input.embedding.as_ref().map(|embedding| EmbeddingSummary {
            features: embedding.features(),
            outputs: embedding.outputs(),
            parameters: embedding.parameters(),
            weight_bytes: 4 * embedding.parameters(),
            activation_bytes: embedding.outputs().saturating_mul(4).saturating_mul(batch_size),
        });
        let inputs = spec.input.features.saturating_mul(4).saturating_mul(batch_size);
        Self {
            batch_size,
            parameters: spec.parameters(),
            neurons: layers.iter().take(layers.len().saturating_sub(1)).map(|layer| layer.units).sum(),
            weight_bytes: 4 * spec.parameters(),
            activation_bytes: layers
                .iter()
                .map(|layer| layer.activation_bytes)
                .chain(embedding.as_ref().map(|embedding| embedding.activation_bytes))
                .fold(inputs, usize::saturating_add),
            optimizer_bytes: 4 * spec.parameters() * training.slots().len(),
            flop_per_step: layers.iter().map(|layer| layer.flop_per_step).fold(0, u64::saturating_add),
            embedding,
            layers,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.layers.iter().map(|layer| layer.activation.to_string().len());
        let width = names.max().unwrap_or(0).max("activation".len());
        let row = |f: &mut fmt::Formatter<'_>, cells: [String; 7]| {
            let [name, shape, activation, parameters, weights, activations, flop] = cells;
            writeln!(
                f,
                "{name:<6} {shape:>13}  {activation:<width$} {parameters:>13} {weights:>11} {activations:>12} {flop:>12}"
            )
        };
        let text = str::to_string;
        row(f, ["layer", "units × in", "activation", "parameters", "weights", "activations", "FLOP/step"].map(text))?;
        let mega = |flop: u64| format!("{:.2} M", flop as f64 / 1e6);
        if let Some(embedding) = &self.embedding {
            let cells = [
                "embed".into(),
                format!("{} × {}", embedding.outputs, embedding.features),
                String::new(),
                grouped(embedding.parameters as u64),
                readable(embedding.weight_bytes as u64),
                readable(embedding.activation_bytes as u64),
                String::new(),
            ];
            row(f, cells)?;
        }
        for layer in &self.layers {
            let shape = format!("{} × {}", layer.units, layer.fan_in);
            let cells = [
                layer.name.clone(),
                shape,
                layer.activation.to_string(),
                grouped(layer.parameters as u64),
                readable(layer.weight_bytes as u64),
                readable(layer.activation_bytes as u64),
                mega(layer.flop_per_step),
            ];
            row(f, cells)?;
        }
        let cells = [
            "total".into(),
            String::new(),
            String::new(),
            grouped(self.parameters as u64),
            readable(self.weight_bytes as u64),
            readable(self.activation_bytes as u64),
            mega(self.flop_per_step),
        ];
        row(f, cells)?;
        write!(
            f,
            "hidden neurons {}; optimiser state {}; figures for training with batches of {},\nforward and backward (the total of activations includes the inputs)",
            grouped(self.neurons as u64),
            readable(self.optimizer_bytes as u64),
            self.batch_size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Block, Embedding, Mlp};

    #[test]
    fn the_rows_add_up_to_the_total() {
        let mut spec = Mlp::new(5).hidden(&[7], Activation::Mish).classes(3);
        let plain = Summary::new(&spec, &Training::default());
        let blocks =
            vec![Block::Periodic { features: 2, frequencies: 4, outputs: 3 }, Block::Category { features: 3, size: 2 }];
        spec.input.embedding = Some(Embedding { blocks, scaled: true });
        let embedded = Summary::new(&spec, &Training::default());
        let row = embedded.embedding.as_ref().unwrap();
        assert_eq!((row.features, row.outputs, row.parameters), (5, 8, 2 * (4 + 4 + 8 + 2) + 6 + 8));
        let all = |summary: &Summary| summary.layers.iter().map(|layer| layer.parameters).sum::<usize>();
        assert_eq!((all(&plain), all(&embedded) + row.parameters), (plain.parameters, embedded.parameters));
        // The first layer passes its gradient on to the embedding.
        let flop = |inputs: u64, products: u64| 2 * products * inputs * 7 * Training::default().batch_size as u64;
        assert_eq!((plain.layers[0].flop_per_step, embedded.layers[0].flop_per_step), (flop(5, 2), flop(8, 3)));
        assert!(embedded.to_string().contains("\nembed          8 × 5"), "{embedded}");
        assert!(!plain.to_string().contains("embed"));
    }
}
