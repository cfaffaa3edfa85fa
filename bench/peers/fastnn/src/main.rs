//! FastNN, with all images in one tensor.

use fastnn::nn::Param;
use fastnn::prelude::*;
use peer_protocol::{FEATURES, Job, LEARNING_RATE};

fn main() {
    let job = Job::from_args();
    manual_seed(job.seed.into());
    let mut model = Sequential::new();
    for (i, (fan_in, units)) in job.layers().into_iter().enumerate() {
        if i > 0 {
            model.push(Sigmoid);
        }
        let mut linear = Linear::new(fan_in, units); // the initial bias is PyTorch's, the initial weights are wider
        let bound = (fan_in as f32).sqrt().recip();
        linear.weight = Param::new(Tensor::uniform(&[units, fan_in], -bound, bound));
        model.push(linear);
    }
    let mut optimizer = SGD::new(model.parameters(), LEARNING_RATE);
    let images = Tensor::from_vec(job.images(), &[job.labels.len(), FEATURES]);
    job.serve("fastnn 0.3.3", |order| {
        let mut losses = Vec::new();
        for batch in order.chunks(job.batch) {
            let batch: Vec<usize> = batch.iter().map(|&sample| sample as usize).collect();
            let labels: Vec<usize> = batch.iter().map(|&sample| job.labels[sample].into()).collect();
            let loss = cross_entropy(&model.forward(&images.index_select(&batch)), &labels);
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
            losses.push(f64::from(loss.item()));
        }
        losses.iter().sum::<f64>() / losses.len() as f64
    });
}
