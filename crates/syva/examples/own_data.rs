//! Data of your own: a table in memory, divided, normalised, trained on until it gets no better, and asked.
//!
//! `cargo run --release --example own_data`

use syva::data::{Dataset, Inputs, Targets, Task};
use syva::prelude::*;

fn main() -> Result<()> {
    // Four measurements of each flower, and its species: read them from wherever you have them.
    let (inputs, labels) = measured(150);
    let data = Dataset::new(Inputs::F32(inputs.into()), 4, Targets::Classes { labels: labels.into(), classes: 3 })?;
    let (train, validation) = data.split(0.2, 1)?;
    // What the columns are scaled by becomes a part of the model, which then takes measurements as they are.
    let task = Task { normalization: Normalization::fit(&train), ..Task::new("flowers", train, validation) };

    let spec = task.network(&[16, 16], Tanh);
    // It ends after 20 epochs without a better validation loss.
    let stop = "patience:20".parse()?;
    let training = Training { epochs: 1000, batch_size: 16, learning_rate: 0.1, stop, ..Training::default() };
    let mut trainer = Trainer::new(&CpuEngine::new()?, &"cpu".parse()?, &spec, &task, &training)?;
    trainer.fit(|epoch| println!("{epoch}"))?;
    if let Some((epoch, loss)) = trainer.progress().best {
        println!("best at epoch {epoch}, with a validation loss of {loss:.4}");
    }

    let nothing = || Error::mismatch("nothing was trained", "train an epoch at least");
    let model = trainer.best_model().ok_or_else(nothing)?;
    let predictor = Predictor::new(&model)?.with_names(["setosa", "versicolor", "virginica"])?;
    for answer in predictor.classify(&vec![5.0, 3.4, 1.5, 0.2, 6.6, 3.0, 5.5, 2.0].into())? {
        println!("{answer}: {:?}", answer.ranked().collect::<Vec<_>>());
    }
    Ok(())
}

/// Stands for a table: three species whose measurements scatter about means of their own.
fn measured(count: u32) -> (Vec<f32>, Vec<u32>) {
    const MEANS: [[f32; 4]; 3] = [[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.5, 2.0]];
    let mut random = syva::random::Random::new(1, syva::random::Stream::Augmentation, 0);
    let labels: Vec<u32> = (0..count).map(|flower| flower % 3).collect();
    let near = |mean: f32| mean + random.uniform(-1.6, 1.6);
    let inputs = labels.iter().flat_map(|&species| MEANS[species as usize]).map(near).collect();
    (inputs, labels)
}
