//! `syva import`: makes a model of PyTorch's weights.

use std::path::Path;
use std::str::FromStr;

use syva::exchange::{ImportOptions, import as import_weights};
use syva::files::read_limited;
use syva::{Error, Normalization, Result};

use crate::args::ImportArgs;
use crate::output;
use crate::tables::Names;

/// More bytes than the weights of the largest network take in 64 bits each, with what an optimiser remembers of them.
const MOST_BYTES: u64 = 1 << 36;

/// The height and the width of an image.
#[derive(Clone, Copy, Debug)]
pub struct Sides(pub [usize; 2]);

impl FromStr for Sides {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let sides = text.split_once(['x', 'X', '×']).and_then(|(height, width)| {
            Some([height.trim().parse().ok()?, width.trim().parse().ok()?]).filter(|sides| !sides.contains(&0))
        });
        let problem = || Error::setting("image", format!("'{text}' is no height and width"), "write them as 28x28");
        sides.map(Self).ok_or_else(problem)
    }
}

pub fn import(args: &ImportArgs) -> Result<()> {
    check_model_out(&args.out)?;
    let list = |names: &Option<Names>| names.clone().unwrap_or_default().0;
    let options = ImportOptions {
        activation: args.activation,
        head: args.head,
        classes: list(&args.classes),
        columns: list(&args.columns),
        target: list(&args.target),
        image: args.image.map(|sides| sides.0),
        normalization: if args.image.is_some() { pixels(args)? } else { Normalization::None },
    };
    let bytes = read_limited(&args.weights, MOST_BYTES)?;
    let imported = import_weights(&bytes, &args.weights, &options)?;
    imported.model.save(&args.out)?;
    for note in &imported.notes {
        output::note(format_args!("syva: {note}"));
    }
    let spec = &imported.model.spec;
    output::line(format_args!(
        "{}: {} with {}, {}, from the layers {}",
        args.out.display(),
        spec.widths(),
        args.activation,
        spec.head,
        imported.layers.join(", ")
    ));
    Ok(())
}

/// What was done to pixels before the network saw them.
fn pixels(args: &ImportArgs) -> Result<Normalization> {
    let (mean, std) = (args.mean.unwrap_or(0.0), args.std.unwrap_or(1.0));
    if !(mean.is_finite() && std.is_finite() && std > 0.0) {
        let problem = format!("a mean of {mean} and a deviation of {std} are not those of pixels");
        return Err(Error::setting("std", problem, "give finite numbers, and a deviation above 0"));
    }
    Ok(Normalization::pixels(mean, std))
}

/// Refuses to write a model over a run's own.
fn check_model_out(out: &Path) -> Result<()> {
    output::check_ending("out", out, &["safetensors"])?;
    let folder = out.parent().unwrap_or(Path::new(""));
    let is_own = [folder, folder.parent().unwrap_or(folder)].iter().any(|folder| folder.join("config.toml").is_file());
    if is_own {
        let problem = format!("'{}' lies in the folder of a run", out.display());
        return Err(Error::setting("out", problem, "choose another place"));
    }
    Ok(())
}
