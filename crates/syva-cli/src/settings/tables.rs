//! What settings say of a table or of images, and what a table or images of before say as settings.

use std::path::PathBuf;
use std::str::FromStr;

use syva::data::images::ImagesConfig;
use syva::data::tabular::TableConfig;
use syva::schema::{Scaling, TableOptions};
use syva::{Block, Embedding, Error, Head, NumberEmbedding, Result};

use super::{Recipe, Settings};
use crate::images::ImageArgs;
use crate::tables::{DataArg, Mark, Names, PartArg, ReadArgs, YesNo, files};

/// A number of categories, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Above(pub Option<usize>);

impl FromStr for Above {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(Self(None));
        }
        let refuse = |_| {
            let problem = format!("'{text}' is neither a number of categories nor none");
            Error::setting("embed-above", problem, "write a whole number, such as 8, or none")
        };
        text.trim().parse().map(|most| Self(Some(most))).map_err(refuse)
    }
}

impl Settings {
    /// The settings that say of images what this configuration says.
    pub(super) fn of_images(images: &ImagesConfig) -> Self {
        let ImagesConfig { classes, size, channels, test, .. } = images;
        Self {
            classes: (!classes.is_empty()).then(|| Names(classes.clone())),
            image_size: *size,
            channels: *channels,
            test: test.map(PartArg::Part),
            ..Self::default()
        }
    }

    /// The settings that embed inputs as this network does, as far as the network says it.
    pub(super) fn of_embedding(embedding: Option<&Embedding>) -> Self {
        let Some(Embedding { blocks, scaled }) = embedding else {
            return Self {
                embedding: Some(NumberEmbedding::None),
                embed_above: Some(Above(None)),
                input_factors: Some(false),
                ..Self::default()
            };
        };
        let of_numbers = |block: &Block| match *block {
            Block::Periodic { frequencies, outputs, .. } => Some(NumberEmbedding::Periodic { frequencies, outputs }),
            Block::Piecewise { bins, outputs, .. } => Some(NumberEmbedding::Piecewise { bins, outputs }),
            Block::Plain { .. } | Block::Category { .. } => None,
        };
        let size = |block: &Block| if let Block::Category { size, .. } = *block { Some(size) } else { None };
        Self {
            embedding: blocks.iter().find_map(of_numbers),
            embedding_size: blocks.iter().find_map(size),
            input_factors: Some(*scaled),
            ..Self::default()
        }
    }

    /// The settings that say of a table what this configuration says.
    pub(super) fn of_table(table: &TableConfig) -> Self {
        let TableConfig { test_files, test, split_by, read, columns, .. } = table;
        let list = |names: &[String]| (!names.is_empty()).then(|| Names(names.to_vec()));
        Self {
            test: test
                .map(PartArg::Part)
                .or_else(|| (!test_files.is_empty()).then(|| PartArg::Files(names_of(test_files)))),
            split_by: split_by.clone(),
            target: list(&columns.target),
            task: columns.task,
            classes: list(&columns.classes),
            numeric: list(&columns.numeric),
            categorical: list(&columns.categorical),
            ignore: list(&columns.ignore),
            weight: columns.weight.clone(),
            group: columns.group.clone(),
            scaling: Some(columns.scaling),
            target_transform: Some(columns.target_transform),
            clamp: Some(columns.clamp),
            embedding: Some(columns.embedding),
            embed_above: Some(Above(columns.embed_above)),
            embedding_size: Some(columns.embedding_size),
            input_factors: Some(columns.input_factors),
            delimiter: read.delimiter.map(Mark),
            header: read.header.map(YesNo),
            decimal: read.decimal.map(Mark),
            encoding: read.encoding.clone(),
            missing: read.missing.clone().map(Names),
            ..Self::default()
        }
    }

    /// The table that the data is, if it is one. What only tables have is refused of other data.
    pub fn table(&self) -> Result<Option<TableConfig>> {
        let Some(DataArg::Table(data)) = &self.data else {
            let is_images = matches!(self.data, Some(DataArg::Images(_)));
            for (given, setting) in [
                (self.target.is_some(), "target"),
                (self.task.is_some(), "task"),
                (self.numeric.is_some(), "numeric"),
                (self.categorical.is_some(), "categorical"),
                (self.ignore.is_some(), "ignore"),
                (self.weight.is_some(), "weight"),
                (self.group.is_some(), "group"),
                (self.split_by.is_some(), "split-by"),
                (self.scaling.is_some(), "scaling"),
                (self.target_transform.is_some(), "target-transform"),
                (self.clamp.is_some(), "clamp"),
                (self.embedding.is_some(), "embedding"),
                (self.embed_above.is_some(), "embed-above"),
                (self.embedding_size.is_some(), "embedding-size"),
                (self.input_factors.is_some(), "input-factors"),
                (self.test.is_some() && !is_images, "test"),
                (matches!(self.test, Some(PartArg::Files(_))), "test"),
                (matches!(self.validation, Some(PartArg::Files(_))), "validation"),
                (self.delimiter.is_some(), "delimiter"),
                (self.header.is_some(), "header"),
                (self.decimal.is_some(), "decimal"),
                (self.encoding.is_some(), "encoding"),
                (self.missing.is_some(), "missing"),
            ] {
                if given {
                    let problem = "this is for tables, and --data names none";
                    return Err(Error::setting(setting, problem, "give the file of a table with --data"));
                }
            }
            return Ok(None);
        };
        if self.data_dir.is_some() {
            return Err(Error::setting("data-dir", "it is the folder of MNIST, not of a table", "leave it out"));
        }
        ImageArgs { classes: None, ..self.image_args() }.refuse()?;
        let part_files = |part: &Option<PartArg>| match part {
            Some(PartArg::Files(names)) => files(names),
            _ => Ok(Vec::new()),
        };
        Ok(Some(TableConfig {
            files: files(data)?,
            validation_files: part_files(&self.validation)?,
            test_files: part_files(&self.test)?,
            test: if let Some(PartArg::Part(part)) = self.test { Some(part) } else { None },
            split_by: self.split_by.clone(),
            read: ReadArgs {
                delimiter: self.delimiter,
                header: self.header,
                decimal: self.decimal,
                encoding: self.encoding.clone(),
                missing: self.missing.clone(),
            }
            .options(),
            columns: self.columns()?,
        }))
    }

    /// What the columns of a table are, as far as the settings say it.
    pub(super) fn columns(&self) -> Result<TableOptions> {
        let list = |names: &Option<Names>| names.clone().unwrap_or_default().0;
        let head = self.head.unwrap_or(Head::Regression);
        let recipe = self.recipe.unwrap_or(Recipe::Tabular);
        let is_tabular = recipe == Recipe::Tabular;
        if let Some(size) = self.embedding_size.filter(|size| !(1..=1024).contains(size)) {
            let problem = format!("{size} is no length of a vector");
            return Err(Error::setting("embedding-size", problem, "give 1 to 1024, such as 8"));
        }
        Ok(TableOptions {
            target: list(&self.target),
            task: self.task,
            classes: list(&self.classes),
            numeric: list(&self.numeric),
            categorical: list(&self.categorical),
            ignore: list(&self.ignore),
            weight: self.weight.clone(),
            group: self.group.clone(),
            scaling: self.scaling.unwrap_or(match recipe {
                Recipe::Tabular | Recipe::TabularSmall | Recipe::TabularPlain => Scaling::Robust,
                Recipe::Today | Recipe::Chapter2026 => Scaling::Standard,
            }),
            clamp: self.clamp.unwrap_or(is_tabular),
            embedding: self.embedding.unwrap_or(if is_tabular {
                NumberEmbedding::Periodic { frequencies: 16, outputs: 4 }
            } else {
                NumberEmbedding::None
            }),
            embed_above: self.embed_above.unwrap_or(Above(is_tabular.then_some(8))).0,
            embedding_size: self.embedding_size.unwrap_or(8),
            input_factors: self.input_factors.unwrap_or(is_tabular || recipe == Recipe::TabularSmall),
            target_transform: self.target_transform.unwrap_or_default(),
            // Rates of counts are what they are.
            standardise: head != Head::Poisson,
        })
    }

    /// What the settings say of images.
    pub(super) fn image_args(&self) -> ImageArgs {
        ImageArgs { classes: self.classes.clone(), image_size: self.image_size, channels: self.channels }
    }
}

/// Files as a list of names.
pub(super) fn names_of(files: &[PathBuf]) -> Names {
    Names(files.iter().map(|file| file.display().to_string()).collect())
}
