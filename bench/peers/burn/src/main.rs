//! burn on its own CPU backend, flex, with all images in one tensor.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::prelude::*;
use burn::tensor::{TensorData, activation::sigmoid};
use peer_protocol::{FEATURES, Job, LEARNING_RATE};

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(if i == 0 { x } else { sigmoid(x) });
        }
        x
    }
}

fn main() {
    let job = Job::from_args();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    device.seed(job.seed.into());
    // Linear has the same initial weights as PyTorch's.
    let layers = job.layers().into_iter().map(|(fan_in, units)| LinearConfig::new(fan_in, units).init(&device));
    // Taken out for each step and put back, because a clone would keep the optimiser from working in place.
    let mut kept = Some(Mlp { layers: layers.collect() });
    let mut optimizer = SgdConfig::new().init();
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let samples = job.labels.len();
    let images = Tensor::<2>::from_data(TensorData::new(job.images(), [samples, FEATURES]), &device);
    let labels: Vec<i32> = job.labels.iter().copied().map(i32::from).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [samples]), &device);
    job.serve("burn 0.22.1 (flex)", |order| {
        let mut losses = Vec::new();
        let mut model = kept.take().expect("the model is put back");
        for batch in order.chunks(job.batch) {
            let batch: Vec<i32> = batch.iter().map(|&sample| sample as i32).collect();
            let count = batch.len();
            let batch = Tensor::<1, Int>::from_data(TensorData::new(batch, [count]), &device);
            let logits = model.forward(images.clone().select(0, batch.clone()));
            let loss = cross_entropy.forward(logits, labels.clone().select(0, batch));
            losses.push(f64::from(loss.clone().into_scalar::<f32>()));
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(f64::from(LEARNING_RATE), model, gradients);
        }
        kept = Some(model);
        losses.iter().sum::<f64>() / losses.len() as f64
    });
}
