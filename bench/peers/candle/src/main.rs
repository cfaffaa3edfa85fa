//! candle, with all images in one tensor.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Init, Linear, Module, Optimizer, SGD, VarBuilder, VarMap, loss, ops};
use peer_protocol::{FEATURES, Job, LEARNING_RATE};

fn main() -> Result<()> {
    let job = Job::from_args();
    let device = Device::Cpu; // candle cannot seed its CPU generator
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &device);
    let mut layers = Vec::new();
    for (i, (fan_in, units)) in job.layers().into_iter().enumerate() {
        let bound = (fan_in as f64).sqrt().recip();
        let init = Init::Uniform { lo: -bound, up: bound }; // as in PyTorch; candle's default differs
        let layer = builder.pp(i);
        let weight = layer.get_with_hints((units, fan_in), "weight", init)?;
        layers.push(Linear::new(weight, Some(layer.get_with_hints(units, "bias", init)?)));
    }
    let mut optimizer = SGD::new(variables.all_vars(), f64::from(LEARNING_RATE))?;
    let images = Tensor::from_vec(job.images(), (job.labels.len(), FEATURES), &device)?;
    let labels: Vec<u32> = job.labels.iter().copied().map(u32::from).collect();
    let labels = Tensor::new(labels, &device)?;
    let mut step = |batch: &[u32]| -> Result<f64> {
        let batch = Tensor::new(batch, &device)?;
        let mut x = images.index_select(&batch, 0)?;
        for (i, layer) in layers.iter().enumerate() {
            x = if i == 0 { layer.forward(&x)? } else { layer.forward(&ops::sigmoid(&x)?)? };
        }
        let loss = loss::cross_entropy(&x, &labels.index_select(&batch, 0)?)?;
        optimizer.backward_step(&loss)?;
        Ok(loss.to_scalar::<f32>()?.into())
    };
    job.serve("candle 0.11.1", |order| {
        let losses: Result<Vec<f64>> = order.chunks(job.batch).map(&mut step).collect();
        let losses = losses.expect("a training that candle can do");
        losses.iter().sum::<f64>() / losses.len() as f64
    });
    Ok(())
}
