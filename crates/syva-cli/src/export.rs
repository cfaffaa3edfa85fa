//! `syva export`: writes a model for other programs.

use syva::files::write_atomically;
use syva::run::Reached;
use syva::text::grouped;
use syva::{Error, Result};

use crate::args::ExportArgs;
use crate::{eval, output};

pub fn export(args: &ExportArgs) -> Result<()> {
    let out = &args.out;
    output::check_out("out", out)?;
    let ending = output::check_ending("out", out, &["onnx", "py"])?;
    if args.fast && ending != "onnx" {
        return Err(Error::setting("fast", "PyTorch code has one arithmetic, PyTorch's", "leave --fast out"));
    }
    let Reached { file, model, finished, .. } = eval::load(&args.model)?;
    let bytes = if ending == "onnx" {
        if args.fast { syva::exchange::onnx_fast(&model) } else { syva::exchange::onnx(&model) }
    } else if finished && model.state.slots.is_empty() {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        syva::exchange::pytorch(&model, &name).map(String::into_bytes)
    } else {
        let problem = "PyTorch code loads a model file, and this is a checkpoint";
        let remedy = "finish the training with `syva resume`, or export an .onnx file";
        return Err(Error::file(&file, "the model", problem, remedy));
    };
    let bytes = bytes.map_err(|error| match error {
        Error::Mismatch { problem, remedy } => Error::file(&file, "the model", problem, remedy),
        other => other,
    })?;
    write_atomically(out, |to| to.write_all(&bytes))?;
    output::line(format_args!("wrote {} ({} bytes)", out.display(), grouped(bytes.len() as u64)));
    Ok(())
}
