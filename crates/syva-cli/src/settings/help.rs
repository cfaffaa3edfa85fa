//! The help of the settings whose values have many names.

use syva::names::either;
use syva::{Init, Loss, Nonlinearity, Optimizer, Schedule};

/// The help of `--activation`.
pub(super) fn activations() -> String {
    let names = either(&Nonlinearity::names().collect::<Vec<_>>());
    format!(
        "Activation of the hidden layers: {names}; parameters follow a colon, as in leaky-relu:slope=0.1; parametric-NAME \
         learns for each unit how far it bends [default: sigmoid]"
    )
}

/// The help of `--init`.
pub(super) fn inits() -> String {
    let names = either(&Init::names().collect::<Vec<_>>());
    format!(
        "Initial weights: {names}; parameters follow a colon, as in he-normal:gain=auto (the gain of the layer's activation, \
         or a number), truncated-normal:std=0.02,cut=2, sparse:sparsity=0.9,std=0.01 or constant:0.1 [default: pytorch]"
    )
}

/// The help of `--schedule`.
pub(super) fn schedules() -> String {
    let names = either(&Schedule::names().collect::<Vec<_>>());
    format!(
        "How the learning rate changes: {names}; parameters follow a colon, lengths in epochs, as in \
         step:every=30,gamma=0.1, multi-step:at=30/60/80, cosine:warmup=5, one-cycle:max=0.003 or \
         plateau:patience=5,metric=val_acc [default: constant]"
    )
}

/// The help of `--loss`.
pub(super) fn losses() -> String {
    let names = either(&Loss::names().collect::<Vec<_>>());
    format!(
        "What is minimised: {names}; it has to fit the head; parameters follow a colon, as in \
         cross-entropy:smoothing=0.1 or huber:delta=2, and have PyTorch's names and defaults [default: auto, the head's own]"
    )
}

/// The help of `--optimizer`.
pub(super) fn optimizers() -> String {
    let names = either(&Optimizer::names().collect::<Vec<_>>());
    format!(
        "Optimiser: {names}; parameters follow a colon, as in sgd:momentum=0.9,nesterov=true or adamw:weight_decay=0.05, \
         and have PyTorch's names and defaults [default: sgd]"
    )
}
