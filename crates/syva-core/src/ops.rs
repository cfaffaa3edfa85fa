//! What a step does element by element, written once: activations, what losses do per output, and optimisers' rules.
//!
//! Each function is generic over [`Number`](crate::arithmetic::Number). So one definition is the contract (`f32`), the yardstick of its derivative
//! (`f64`), the CPU engine's SIMD loops, and the text of the GPU engines' kernels ([`Symbol`]).

mod activation;
mod functions;
mod learned;
mod loss;
mod muon;
mod optimizer;
mod regularise;
mod symbol;

pub use activation::{Activation, Reads, Specialised};
pub use functions::{
    Function, cuda, functions, log_probability, loss_functions, normal_function, rule_function, update_functions,
};
pub use learned::{Learned, Nonlinearity};
pub use loss::{
    Distance, Judging, Loss, SpecialisedDistance, add_gaussian, gaussian_mean_slope, gaussian_variance_slope,
    labels_guess, smoothed_cross_entropy, variance,
};
pub use muon::{Adjust, Muon};
pub(crate) use optimizer::power;
pub use optimizer::{Optimizer, Rule, SCALARS, SLOTS, SpecialisedRule};
pub use regularise::{
    Dropout, INPUTS, Noise, Perturbation, averaged, box_muller, clipped, dropped, norm_factor, penalised, renorm_factor,
};
pub use symbol::{Dialect, Operation, Recording, Symbol, Truth};

pub(crate) use functions::{cross_entropy, softmax_gradient};
