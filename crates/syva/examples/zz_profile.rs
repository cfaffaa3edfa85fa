use syva::data::tabular::{TableConfig, Tables, task};
use syva::*;
fn main() -> Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let options = syva::table::ReadOptions::default();
    let (train, _) = syva::tables::read(&[std::path::PathBuf::from(&a[1])], &options)?;
    let mut columns =
        schema::TableOptions { target: vec![a[2].clone()], scaling: schema::Scaling::Robust, ..Default::default() };
    if a.get(3).is_some() {
        columns.embedding = "periodic".parse()?;
        columns.embed_above = Some(8);
        columns.input_factors = true;
    }
    let config = TableConfig { columns, ..TableConfig::default() };
    let (task, _) = task("t", Tables { train, ..Tables::default() }, &config, None)?;
    let activation = a.get(4).map_or("parametric-mish", |x| x);
    let spec = task.network(&[256, 256, 256], activation.parse::<Nonlinearity>()?);
    let training = Training {
        dropout: a.get(5).map_or(0.15, |x| x.parse().unwrap()),
        batch_size: 1024,
        learning_rate: 1e-3,
        ..Training::default().optimizer("adamw".parse()?)
    };
    let (engine, device) = engine("cpu", EngineOptions { threads: Some(1), ..Default::default() })?;
    let mut session = engine.open(&device, &spec, &training)?;
    session.load(data::Split::Train, &task.train)?;
    session.set_state(&State::initial(&spec, &training)?)?;
    for epoch in 0..3u64 {
        let order = random::permutation(1, epoch, task.train.samples());
        let steps = order.len().div_ceil(1024);
        let rates = vec![1e-3; steps];
        let span = Span {
            first_step: epoch * steps as u64,
            order: &order,
            batch_size: 1024,
            learning_rate: &rates,
            ..Span::default()
        };
        let start = std::time::Instant::now();
        let (_, b) = session.profile(&span)?;
        if epoch == 2 {
            println!("{} {:.3} s", spec.widths(), start.elapsed().as_secs_f64());
            for p in b.parts {
                if p.seconds > 0.002 {
                    println!(
                        "{:20} {:.3} s {:6.1} GFLOP/s",
                        p.name,
                        p.seconds,
                        2e-9 * p.multiply_adds as f64 / p.seconds
                    );
                }
            }
        }
    }
    Ok(())
}
