//! syva, through its library: the session that a trainer drives, without the evaluation, because the peers do not
//! evaluate. It runs on the device that SYVA_PEER_DEVICE names, with the optimiser that SYVA_PEER_OPTIMIZER names.

use peer_protocol::{CLASSES, FEATURES, Job, MEAN_STD};
use syva::data::{Dataset, Inputs, Split, Targets};
use syva::{Activation, Mlp, Normalization, Optimizer, Result, Session, Span, State, Training};

fn main() -> Result<()> {
    let job = Job::from_args();
    let normalization = Normalization::pixels(MEAN_STD.0.into(), MEAN_STD.1.into());
    let spec = Mlp::new(FEATURES).normalized(normalization).hidden(&job.hidden, Activation::Sigmoid).classes(CLASSES);
    let labels = job.labels.iter().copied().map(u32::from).collect();
    let data =
        Dataset::new(Inputs::U8(job.pixels.clone().into()), FEATURES, Targets::Classes { labels, classes: CLASSES })?;
    let device = std::env::var("SYVA_PEER_DEVICE").unwrap_or_else(|_| "cpu".into());
    let (engine, device) = syva::engine(&device, syva::EngineOptions::default())?;
    let optimizer = std::env::var("SYVA_PEER_OPTIMIZER").map_or(Ok(Optimizer::SGD), |name| name.parse())?;
    let (seed, learning_rate) = (job.seed, optimizer.default_rate());
    let training = Training { optimizer, learning_rate, batch_size: job.batch, seed, ..Training::default() };
    let mut session = engine.open(&device, &spec, &training)?;
    session.load(Split::Train, &data)?;
    session.set_state(&State::initial(&spec, &training)?)?;
    let mut step = 0;
    job.serve("syva, this commit", |order| {
        train(session.as_mut(), order, &training, &mut step).expect("a finite training")
    });
    Ok(())
}

fn train(session: &mut dyn Session, order: &[u32], training: &Training, step: &mut u64) -> Result<f64> {
    let batch_size = training.batch_size;
    let learning_rate = &vec![training.learning_rate; order.len().div_ceil(batch_size)][..];
    let report = session.train(&Span { first_step: *step, order, batch_size, learning_rate, ..Span::default() })?;
    *step += report.losses.len() as u64;
    Ok(report.losses.iter().sum::<f64>() / report.losses.len() as f64)
}
