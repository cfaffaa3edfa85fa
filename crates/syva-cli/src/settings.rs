//! The settings of a training. They come from flags, from a TOML file of the same names, from another run, and from the
//! defaults. The first of these that has a setting wins.

mod file;
mod fixed;
mod help;
mod recipe;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde::Deserialize;
use syva::data::images::{Channels, ImageSize, ImagesConfig};
use syva::data::source::Source;
use syva::data::tabular::{self, TableConfig, Tables};
use syva::data::{Task, Validation};
use syva::run::{Keep, RunConfig};
use syva::schema::{Scaling, TargetTransform, TaskKind};
use syva::tables::images::Opened;
use syva::{
    Activation, BiasInit, ClassWeights, Error, Factors, Head, Init, Layer, Loss, Nonlinearity, NumberEmbedding,
    Optimizer, Parametrization, Precision, Result, Schedule, Spec, Stop, Training,
};

pub use self::fixed::Fixed;
use self::help::{activations, inits, losses, optimizers, schedules};
pub use self::recipe::Recipe;
pub use self::tables::Above;
use self::tables::names_of;
use crate::data::{self, Talk};
use crate::images;
use crate::tables::{DataArg, Mark, Names, PartArg, YesNo, list_from_file};
use crate::values::{flag, from_file, number, number_from_file, yes_no, yes_no_from_file};

/// Makes [`Settings`] from one list. A setting that is a field of [`Training`] says so, and then comes from there in
/// `--like`, goes there, and is shown by that name.
macro_rules! settings {
    ($($(#[$attribute:meta])* $setting:ident: $type:ty $(= training.$field:ident)?;)+) => {
        /// What can be set, none of it yet resolved.
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[allow(missing_docs, reason = "a setting without a comment has its help from a function")]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[$attribute])* pub $setting: Option<$type>,)+
        }

        impl Settings {
            /// The fields of a training, in the order in which they are shown.
            pub const TRAINING: &[&str] = &[$($(stringify!($field),)?)+];

            /// The names of all settings, in the order in which they are shown.
            pub const NAMES: &[&str] = &[$(stringify!($setting),)+];

            /// These settings. Those that are missing come from `others`.
            fn or(self, others: Self) -> Self {
                // A flag that is not given is `false`.
                let this = Self { exact: self.exact.filter(|&given| given), ..self };
                Self { $($setting: this.$setting.or(others.$setting),)+ }
            }

            /// The settings that make this training.
            fn of(training: &Training) -> Self {
                Self { $($($setting: Some(training.$field.clone()),)?)+ ..Self::default() }
            }

            /// Puts the settings of a training that are given into it.
            fn set(&self, training: &mut Training) {
                $($(if let Some(value) = &self.$setting {
                    training.$field.clone_from(value);
                })?)+
            }
        }
    };
}

settings! {
    /// A named set of settings, over which flags and files win: today (the defaults), chapter-2026 (xavier-uniform weights,
    /// biases of 0), or for tables tabular (RealMLP's tuned defaults), tabular-small (its simple form) or tabular-plain (without
    /// embeddings, for every device) [default: today; tabular for a table]
    #[arg(long, visible_alias = "preset", value_name = "NAME", value_parser = flag::<Recipe>)]
    #[serde(alias = "preset", deserialize_with = "from_file")]
    recipe: Recipe;
    /// Data: auto, mnist, fashion-mnist or digits; a folder of images (a folder of pictures for each class, IDX or CIFAR
    /// files); or the file of a table: CSV, TSV, Parquet, NPY, NPZ or
    /// safetensors; several files of one table are separated by commas or
    /// matched by a pattern, and - is standard input [default: auto]
    #[arg(long, value_name = "NAME|FOLDER|FILE", value_parser = flag::<DataArg>)]
    #[serde(deserialize_with = "list_from_file")]
    data: DataArg;
    /// Folder with the files of MNIST or Fashion-MNIST [default: $SYVA_MNIST_DIR or $SYVA_FASHION_MNIST_DIR, then the cache
    /// folder]
    #[arg(long, value_name = "DIR")]
    #[serde(alias = "data_dir")]
    data_dir: PathBuf;
    /// What the training is judged by: test (the data's own test part), or a share (0.1) or a number (5000) of the
    /// training samples, which then do not train; 0.1:seed=2 draws others; for a table also a file [default: test; 0.1 to 0.2, by
    /// its size, for a table, and for a folder without test images]
    #[arg(long, value_name = "PART|FILE", allow_negative_numbers = true, value_parser = flag::<PartArg>)]
    #[serde(deserialize_with = "from_file")]
    validation: PartArg;
    /// The rows of a table, or the images of a folder, that are set aside for `syva eval`: a share, a number, or for a table a
    /// file [default: none]
    #[arg(long, value_name = "PART|FILE", allow_negative_numbers = true, value_parser = flag::<PartArg>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    test: PartArg;
    /// The column of a table to predict; several for several numbers or labels. A column of a table without names is
    /// column_1, column_2, …
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>, help_heading = TABLES)]
    #[serde(deserialize_with = "list_from_file")]
    target: Names;
    /// What the target is: classification, regression or multi-label [default: found out]
    #[arg(long, value_name = "NAME", value_parser = flag::<TaskKind>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    task: TaskKind;
    /// Columns that are numbers [default: found out]
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>, help_heading = TABLES)]
    #[serde(deserialize_with = "list_from_file")]
    numeric: Names;
    /// Columns that are categories [default: found out]
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>, help_heading = TABLES)]
    #[serde(deserialize_with = "list_from_file")]
    categorical: Names;
    /// Columns that are not used [default: those that number the rows, are the same in all, or differ in nearly all]
    #[arg(long, value_name = "COLUMNS", value_parser = flag::<Names>, help_heading = TABLES)]
    #[serde(deserialize_with = "list_from_file")]
    ignore: Names;
    /// Column of what the rows weigh
    #[arg(long, value_name = "COLUMN", help_heading = TABLES)]
    weight: String;
    /// Column whose equal values stay in one part of the data
    #[arg(long, value_name = "COLUMN", help_heading = TABLES)]
    group: String;
    /// Column of numbers or dates: its last rows are set aside, instead of random ones
    #[arg(long, value_name = "COLUMN", help_heading = TABLES)]
    #[serde(alias = "split_by")]
    split_by: String;
    /// How numbers are scaled: standard (mean 0, deviation 1), robust (by median and quartiles, clipped smoothly), quantile
    /// (to a normal distribution) or none [default: robust; standard with another recipe]
    #[arg(long, value_name = "NAME", value_parser = flag::<Scaling>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    scaling: Scaling;
    /// What numbers to predict go through before they are standardised: none, log or quantile; it is undone in every
    /// prediction [default: none]
    #[arg(long, value_name = "NAME", value_parser = flag::<TargetTransform>, help_heading = TABLES)]
    #[serde(alias = "target_transform", deserialize_with = "from_file")]
    target_transform: TargetTransform;
    /// Whether predicted numbers are held to the range of the training data: yes or no [default: no; yes with tabular]
    #[arg(long, value_name = "YES|NO", value_parser = yes_no, help_heading = TABLES)]
    #[serde(deserialize_with = "yes_no_from_file")]
    clamp: bool;
    /// How numbers are embedded: none, periodic (cosines of learned frequencies, mixed to a few outputs, and the number
    /// itself), as in periodic:frequencies=16,outputs=4, or piecewise (straight pieces between quantiles, likewise), as in
    /// piecewise:bins=16,outputs=4 [default: none; periodic with tabular]
    #[arg(long, value_name = "NAME", value_parser = flag::<NumberEmbedding>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    embedding: NumberEmbedding;
    /// Columns of more categories than this get a learned vector for each category, instead of an input for each; or none
    /// [default: none; 8 with tabular]
    #[arg(long, value_name = "N", value_parser = flag::<Above>, help_heading = TABLES)]
    #[serde(alias = "embed_above", deserialize_with = "from_file")]
    embed_above: Above;
    /// Length of the vectors of categories [default: 8]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>, help_heading = TABLES)]
    #[serde(alias = "embedding_size", deserialize_with = "number_from_file")]
    embedding_size: usize;
    /// Whether each input has a factor that is learned: yes or no [default: no; yes with tabular]
    #[arg(long, value_name = "YES|NO", value_parser = yes_no, help_heading = TABLES)]
    #[serde(alias = "input_factors", deserialize_with = "yes_no_from_file")]
    input_factors: bool;
    /// Standard deviation of the initial frequencies of embedded numbers [default: 0.1]
    #[arg(long, value_name = "DEVIATION", allow_negative_numbers = true, value_parser = number::<f32>, help_heading = TABLES)]
    #[serde(alias = "frequency_spread", deserialize_with = "number_from_file")]
    frequency_spread: f32 = training.frequency_spread;
    /// What separates the cells of a row: a character, or tab [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = flag::<Mark>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    delimiter: Mark;
    /// Whether the first row has the names of the columns: yes or no [default: found out]
    #[arg(long, value_name = "YES|NO", value_parser = flag::<YesNo>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    header: YesNo;
    /// What separates the fraction of numbers: . or , [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = flag::<Mark>, help_heading = TABLES)]
    #[serde(deserialize_with = "from_file")]
    decimal: Mark;
    /// Encoding of the text, such as windows-1252 [default: utf-8, or as its first bytes say]
    #[arg(long, value_name = "NAME", help_heading = TABLES)]
    encoding: String;
    /// Texts that mean that a value is missing, beside empty cells [default: ?, NA, NaN, null and the like]
    #[arg(long, value_name = "TEXTS", value_parser = flag::<Names>, help_heading = TABLES)]
    #[serde(deserialize_with = "list_from_file")]
    missing: Names;
    /// Names of the classes, in the order of the outputs: of a table's target, or of images [default: those that occur,
    /// sorted; as the folders or files of images have them]
    #[arg(long, value_name = "NAMES", value_parser = flag::<Names>, help_heading = TABLES)]
    #[serde(deserialize_with = "list_from_file")]
    classes: Names;
    /// Size that pictures are brought to, such as 32x32 [default: the size that most of them have]
    #[arg(long, value_name = "HxW", value_parser = flag::<ImageSize>, help_heading = IMAGES)]
    #[serde(alias = "image_size", deserialize_with = "from_file")]
    image_size: ImageSize;
    /// Colours that pictures are read in: grey or rgb [default: rgb if any has colours]
    #[arg(long, value_name = "NAME", value_parser = flag::<Channels>, help_heading = IMAGES)]
    #[serde(deserialize_with = "from_file")]
    channels: Channels;
    /// Widths of the hidden layers, such as 300,100, or none [default: 256,128]
    #[arg(long, value_name = "WIDTHS", allow_negative_numbers = true, value_parser = flag::<Hidden>)]
    hidden: Hidden;
    #[arg(long, value_name = "NAME", help = activations(), value_parser = flag::<Nonlinearity>)]
    #[serde(deserialize_with = "from_file")]
    activation: Nonlinearity;
    /// What the outputs are: logits, log-softmax (the same bits), or binary (one logit for two classes); for data with
    /// values regression, poisson, gaussian or multi-label [default: logits]
    #[arg(long, value_name = "NAME", value_parser = flag::<Head>)]
    #[serde(deserialize_with = "from_file")]
    head: Head;
    #[arg(long, value_name = "NAME", help = inits(), value_parser = flag::<Init>)]
    #[serde(deserialize_with = "from_file")]
    init: Init = training.init;
    /// Begin with the weights of a model file or a run, instead of drawn ones; the network is the model's, unless flags say
    /// otherwise
    #[arg(long, value_name = "MODEL")]
    #[serde(alias = "init_from")]
    init_from: PathBuf;
    /// Initial biases: auto (as --init has it: 0, except for pytorch), zeros, pytorch, normal, hyperplanes (each unit's passes
    /// through the training data) or constant:VALUE [default: auto]
    #[arg(long, value_name = "NAME", value_parser = flag::<BiasInit>)]
    #[serde(alias = "bias_init", deserialize_with = "from_file")]
    bias_init: BiasInit = training.bias_init;
    /// Whether the output layer begins with weights and biases of 0: yes or no [default: no]
    #[arg(long, value_name = "YES|NO", value_parser = yes_no)]
    #[serde(alias = "zero_last", deserialize_with = "yes_no_from_file")]
    zero_last: bool = training.zero_last;
    #[arg(long, value_name = "NAME", help = optimizers(), value_parser = flag::<Optimizer>)]
    #[serde(deserialize_with = "from_file")]
    optimizer: Optimizer = training.optimizer;
    /// Learning rate [default: the optimiser's own, which is 0.01 for sgd and 0.001 for adam]
    #[arg(long, visible_alias = "learning-rate", value_name = "RATE", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(alias = "learning-rate", alias = "learning_rate", deserialize_with = "number_from_file")]
    lr: f32 = training.learning_rate;
    #[arg(long, value_name = "NAME", help = schedules(), value_parser = flag::<Schedule>)]
    #[serde(deserialize_with = "from_file")]
    schedule: Schedule = training.schedule;
    #[arg(long, value_name = "NAME", help = losses(), value_parser = flag::<Loss>)]
    #[serde(deserialize_with = "from_file")]
    loss: Loss = training.loss;
    /// What the classes weigh in training: none, balanced, or one number per class, such as 1,2.5 [default: none]
    #[arg(long, value_name = "WEIGHTS", allow_negative_numbers = true, value_parser = flag::<ClassWeights>)]
    #[serde(alias = "class_weights", deserialize_with = "from_file")]
    class_weights: ClassWeights = training.class_weights;
    /// Probability with which an activation of a hidden layer becomes 0 in a training step [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(deserialize_with = "number_from_file")]
    dropout: f32 = training.dropout;
    /// Probability with which a normalised input becomes 0 in a training step [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(alias = "input_dropout", deserialize_with = "number_from_file")]
    input_dropout: f32 = training.input_dropout;
    /// Standard deviation of the noise on normalised inputs in training steps [default: 0]
    #[arg(long, value_name = "DEVIATION", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(alias = "input_noise", deserialize_with = "number_from_file")]
    input_noise: f32 = training.input_noise;
    /// Penalty FACTOR · |w| on weights: the gradient gains FACTOR times their sign [default: 0]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(deserialize_with = "number_from_file")]
    l1: f32 = training.l1;
    /// Penalty FACTOR · w²/2 on weights: the gradient gains FACTOR times the weight [default: 0]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(deserialize_with = "number_from_file")]
    l2: f32 = training.l2;
    /// Largest norm of the gradient of all weights and biases; 0 does not clip [default: 0]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(alias = "clip_norm", deserialize_with = "number_from_file")]
    clip_norm: f32 = training.clip_norm;
    /// Largest magnitude of a gradient; 0 does not clip [default: 0]
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(alias = "clip_value", deserialize_with = "number_from_file")]
    clip_value: f32 = training.clip_value;
    /// Largest norm of a unit's incoming weights; 0 does not limit it [default: 0]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(alias = "max_norm", deserialize_with = "number_from_file")]
    max_norm: f32 = training.max_norm;
    /// Decay of a moving average of the weights, which is evaluated and saved instead of them, such as 0.999; 0 for none
    /// [default: 0]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, value_parser = number::<f32>)]
    #[serde(deserialize_with = "number_from_file")]
    ema: f32 = training.ema;
    /// Factors of the learning rate for groups: biases, gains (what is learned of activations), first and last (layer), and
    /// of embedded inputs numbers, categories and scales, as in biases=0.1,last=2; those of the same weight multiply
    /// [default: none]
    #[arg(long, value_name = "FACTORS", value_parser = flag::<Factors>)]
    #[serde(alias = "lr_factors", deserialize_with = "from_file")]
    lr_factors: Factors = training.lr_factors;
    /// Factors of the optimiser's weight decay for the same groups, as in biases=0 [default: none]
    #[arg(long, value_name = "FACTORS", value_parser = flag::<Factors>)]
    #[serde(alias = "decay_factors", deserialize_with = "from_file")]
    decay_factors: Factors = training.decay_factors;
    /// How weights are learned: standard, or ntk (as weights of variance 1 that the layer divides by the root of its inputs,
    /// with init lecun-normal; it needs a much larger learning rate, so try lr-find) [default: standard]
    #[arg(long, value_name = "NAME", value_parser = flag::<Parametrization>)]
    #[serde(deserialize_with = "from_file")]
    parametrization: Parametrization = training.parametrization;
    /// Multiplies the optimiser's weight decay by a factor from 0 to 1 that follows a schedule, such as flat-cos [default:
    /// constant]
    #[arg(long, value_name = "NAME", value_parser = flag::<Schedule>)]
    #[serde(alias = "decay_schedule", deserialize_with = "from_file")]
    decay_schedule: Schedule = training.decay_schedule;
    /// Multiplies the probabilities of dropout by a factor from 0 to 1 that follows a schedule, such as flat-cos [default:
    /// constant]
    #[arg(long, value_name = "NAME", value_parser = flag::<Schedule>)]
    #[serde(alias = "dropout_schedule", deserialize_with = "from_file")]
    dropout_schedule: Schedule = training.dropout_schedule;
    /// Batches per update: the update takes the mean gradient of all their samples [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    #[serde(deserialize_with = "number_from_file")]
    accumulate: usize = training.accumulate;
    /// Samples per batch [default: 128]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    #[serde(alias = "batch_size", deserialize_with = "number_from_file")]
    batch_size: usize = training.batch_size;
    /// Whether an epoch leaves out its last batch if that is smaller than the others: yes or no [default: no]
    #[arg(long, value_name = "YES|NO", value_parser = yes_no)]
    #[serde(alias = "drop_last", deserialize_with = "yes_no_from_file")]
    drop_last: bool = training.drop_last;
    /// Passes over the training data [default: 100]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u64>)]
    #[serde(deserialize_with = "number_from_file")]
    epochs: u64 = training.epochs;
    /// Seed of the initial weights and of the order of the samples [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<u32>)]
    #[serde(deserialize_with = "number_from_file")]
    seed: u32 = training.seed;
    /// When to end before the last epoch: never, or patience:epochs=10,gain=0.001,metric=val_acc (after 10 epochs in
    /// which none was better by 0.001 or more; the default metric is val_loss, the default gain any) [default: never]
    #[arg(long, value_name = "RULE", value_parser = flag::<Stop>)]
    #[serde(deserialize_with = "from_file")]
    stop: Stop = training.stop;
    /// Which weights become the model: last, or best (those of the epoch with the lowest validation loss, or the best by
    /// another number of metrics.jsonl, as in best:metric=val_acc,ties=last) [default: last; best with --stop]
    #[arg(long, value_name = "WHICH", value_parser = flag::<Keep>)]
    #[serde(deserialize_with = "from_file")]
    keep: Keep;
    /// Device: auto, or one that `syva devices` lists [default: auto]
    #[arg(long, value_name = "NAME")]
    device: String;
    /// CPU threads; the result does not depend on their number [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number::<usize>)]
    #[serde(deserialize_with = "number_from_file")]
    threads: usize;
    /// Compute exactly on a GPU whose own arithmetic is not exact; slower, and no effect on exact devices
    #[arg(long, action = clap::ArgAction::SetTrue)]
    exact: bool;
    /// Precision of the factors of products: f32 (exact), or tf32 or bf16 (not exact; faster for wide networks on
    /// NVIDIA's tensor cores) [default: f32]
    #[arg(long, value_name = "NAME", value_parser = flag::<Precision>)]
    #[serde(deserialize_with = "from_file")]
    precision: Precision;
    /// Folder of the run [default: the first free one of runs/DATA-001, runs/DATA-002, …]
    #[arg(long, value_name = "DIR")]
    out: PathBuf;
}

/// Data, and what makes it again.
pub struct OpenData {
    pub task: Task,
    /// What of it validates.
    pub validation: Validation,
    /// The table that it is.
    pub table: Option<TableConfig>,
    /// The images that it is.
    pub images: Option<ImagesConfig>,
    /// Sentences about what was found out of a table.
    pub notes: Vec<String>,
}

impl Settings {
    /// These settings. Those that are missing come from a TOML file, and then from the recipe that one of them names.
    pub fn or_from_file(self, path: Option<&Path>) -> Result<Self> {
        let all = match path {
            Some(path) => self.or(Self::from_file(path)?),
            None => self,
        };
        let recipe = all.recipe.map(Recipe::settings).unwrap_or_default();
        Ok(all.or(recipe))
    }

    /// These settings. Those that are missing come from the run in the folder `run`, except for its folder.
    pub fn or_like(self, run: &Path, config: &RunConfig, talk: Talk) -> Result<Self> {
        // A run's configuration says where its own data is, but not where other data is.
        let data_dir = match self.data {
            None if self.data_dir.is_none() => data::place(run, &config.data, talk)?,
            _ => None,
        };
        let of_table = config.data.table.as_ref().map(Self::of_table).unwrap_or_default();
        // What was found out of one folder says nothing of another.
        let images = config.data.images.as_ref().filter(|_| self.data.is_none());
        let of_images = images.map(Self::of_images).unwrap_or_default();
        let (network, training) = (&config.network, &config.training);
        let hidden = &network.layers[..network.layers.len() - 1];
        let activation = hidden.first().map(Layer::nonlinearity);
        if self.change_network()
            && self.activation.is_none()
            && hidden.iter().any(|l| Some(l.nonlinearity()) != activation)
        {
            let problem = format!("the hidden layers of {} have different activations", run.display());
            return Err(Error::setting("like", problem, "choose one for all of them with --activation"));
        }
        Ok(self.or(Self {
            data: Some(match (&config.data.table, &config.data.images) {
                (Some(table), _) => DataArg::Table(names_of(&table.files)),
                (None, Some(images)) => DataArg::Images(images.path.clone()),
                (None, None) => DataArg::Named(data::source_of(run, &config.data)?),
            }),
            data_dir,
            validation: Some(match &config.data.table {
                Some(table) if !table.validation_files.is_empty() => PartArg::Files(names_of(&table.validation_files)),
                _ => PartArg::Part(config.data.validation),
            }),
            hidden: Some(Hidden(hidden.iter().map(|layer| layer.units).collect())),
            activation,
            head: Some(network.head),
            keep: Some(config.keep),
            init_from: config.init_from.as_ref().map(|from| from.file.clone()),
            device: Some(config.device.clone()),
            exact: Some(config.exact),
            precision: Some(config.precision),
            ..Self::of(&training.clone().without_lengths()).or(of_table).or(of_images)
        }))
    }

    /// These settings. Those that are missing and describe the network come from a model.
    pub(crate) fn or_model(self, network: &Spec) -> Self {
        let hidden = &network.layers[..network.layers.len() - 1];
        let embedding = match (&self.data, &network.input.embedding) {
            // Other data has no such settings.
            (Some(DataArg::Table(_)), embedding) => Self::of_embedding(embedding.as_ref()),
            _ => Self::default(),
        };
        self.or(Self {
            hidden: Some(Hidden(hidden.iter().map(|layer| layer.units).collect())),
            activation: hidden.first().map(Layer::nonlinearity),
            head: Some(network.head),
            ..embedding
        })
    }

    /// The named set that the data is, if it is one.
    pub fn source(&self) -> Option<Source> {
        match self.data {
            None => Some(Source::Auto),
            Some(DataArg::Named(source)) => Some(source),
            Some(DataArg::Table(_) | DataArg::Images(_)) => None,
        }
    }

    /// Opens the data: what the settings name, or these tables.
    pub fn open(&self, tables: Option<Tables>, talk: Talk) -> Result<OpenData> {
        let part = if let Some(PartArg::Part(part)) = self.validation { Some(part) } else { None };
        if let Some(tables) = tables {
            let test = if let Some(PartArg::Part(part)) = self.test { Some(part) } else { None };
            let (split_by, columns) = (self.split_by.clone(), self.columns()?);
            let config = TableConfig { test, split_by, columns, ..TableConfig::default() };
            let (task, notes) = tabular::task("table", tables, &config, part)?;
            let rows = task.train.samples() + task.validation.samples();
            let validation = part.unwrap_or_else(|| tabular::default_validation(rows));
            return Ok(OpenData { task, validation, table: Some(config), images: None, notes });
        }
        if let Some(config) = self.table()? {
            let opened = crate::tables::open(config, part, talk)?;
            let rows = opened.task.train.samples() + opened.task.validation.samples();
            let validation = part.unwrap_or_else(|| tabular::default_validation(rows));
            let (task, table, notes) = (opened.task, Some(opened.config), opened.notes);
            return Ok(OpenData { task, validation, table, images: None, notes });
        }
        if let Some(DataArg::Images(path)) = &self.data {
            if self.data_dir.is_some() {
                let problem = "it is the folder of MNIST, and --data names another folder";
                return Err(Error::setting("data-dir", problem, "leave it out"));
            }
            let test = if let Some(PartArg::Part(part)) = self.test { Some(part) } else { None };
            let config = ImagesConfig { test, ..self.image_args().config(path)? };
            let Opened { task, config, validation, .. } = images::open(&config, part, self.threads, talk)?;
            return Ok(OpenData { task, validation, table: None, images: Some(config), notes: Vec::new() });
        }
        self.image_args().refuse()?;
        let validation = part.unwrap_or_default();
        let source = self.source().unwrap_or(Source::Auto);
        let task = data::open(source, self.data_dir.as_deref(), self.threads, talk)?.validated_by(validation)?;
        Ok(OpenData { task, validation, table: None, images: None, notes: Vec::new() })
    }

    /// Whether any of the settings changes the network or its input.
    pub fn change_network(&self) -> bool {
        let network = self.hidden.is_some() || self.activation.is_some() || self.head.is_some() || self.data.is_some();
        let inputs = self.scaling.is_some() || self.embedding.is_some() || self.embed_above.is_some();
        network || inputs || self.embedding_size.is_some() || self.input_factors.is_some()
    }

    /// How to train: the given settings, with the chapter's defaults.
    pub fn training(&self) -> Result<Training> {
        let mut training = Training::default();
        self.set(&mut training);
        if self.lr.is_none() {
            training.learning_rate = self.optimizer.map_or(training.learning_rate, Optimizer::default_rate);
        }
        // What is shown as the learning rate is the one that is used.
        if let Some(highest) = training.schedule.highest() {
            if self.lr.is_some_and(|lr| lr != highest) {
                let problem =
                    format!("{} has a highest rate of its own, so the learning rate has no effect", training.schedule);
                return Err(Error::setting(
                    "lr",
                    problem,
                    "leave --lr out, or max: --schedule one-cycle rises to --lr",
                ));
            }
            training.learning_rate = highest;
        }
        training.validate()?;
        // A run that is given more epochs later keeps the rates of its first ones.
        Ok(training.with_lengths())
    }

    /// Which weights to keep. A training that may stop because it gets no better keeps the best ones.
    pub fn keep(&self) -> Keep {
        let by_stop = self.stop.and_then(Stop::metric).map_or(Keep::Last, Keep::best_by);
        self.keep.unwrap_or(by_stop)
    }

    /// The network for a task: the given settings, with the chapter's defaults.
    pub fn network(&self, task: &Task) -> Result<Spec> {
        let hidden = self.hidden.clone().unwrap_or(Hidden(vec![256, 128]));
        let activation = self.activation.unwrap_or(Activation::Sigmoid.into());
        let head = self.head.unwrap_or(task.network(&[], activation).head);
        let spec = task.network_with_head(&hidden.0, activation, head)?;
        // The loss and the weights have to fit the head.
        let training = self.training()?;
        training.check(&spec)?;
        training.check_effects(&spec)?;
        Ok(spec)
    }
}

/// The heading of the flags that are for tables.
const TABLES: &str = "Tables";
/// The heading of the flags that are for folders of images.
const IMAGES: &str = "Images";

/// Widths of hidden layers: `256,128` or `none`; in a file also an array.
#[derive(Clone, Debug, PartialEq)]
pub struct Hidden(pub Vec<usize>);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer).map_err(|_| {
            <D::Error as serde::de::Error>::custom("hidden: a width is out of range; use narrower layers")
        })?;
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Array(widths) if widths.is_empty() => "none".into(),
            toml::Value::Array(widths) => widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Hidden {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self(Vec::new()));
        }
        let widths: std::result::Result<Vec<usize>, _> = text.split(',').map(|width| width.trim().parse()).collect();
        match widths {
            Ok(widths) if widths.iter().all(|&width| width > 0) => Ok(Self(widths)),
            _ => {
                let problem = format!("'{text}' is not a list of widths");
                let remedy = "write positive numbers separated by commas, such as 256,128, or none";
                Err(Error::setting("hidden", problem, remedy))
            }
        }
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.pad(if widths.is_empty() { "none".into() } else { widths.join(",") }.as_str())
    }
}
