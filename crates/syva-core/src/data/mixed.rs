//! Inputs of tables: numbers, and categories by their codes.

use crate::{Error, Result};

/// Numbers and categories of samples. To a network, each category of a column is a feature of its own, which is 1 if the
/// sample has it and 0 otherwise (one-hot). Stored is its code alone.
///
/// The features are the numbers, and then the categories of each column in turn.
///
/// ```
/// use syva_core::data::Mixed;
/// // Two samples of one number, a column of 2 categories and one of 3. The second sample has none of the latter.
/// let mixed = Mixed::new(1, vec![0.5, -1.0], &[2, 3], vec![1, 0, 0, Mixed::NONE])?;
/// assert_eq!((mixed.samples(), mixed.features()), (2, 6));
/// let mut row = [0.0; 6];
/// mixed.copy_row(0, &mut row);
/// assert_eq!(row, [0.5, 0.0, 1.0, 1.0, 0.0, 0.0]);
/// mixed.copy_row(1, &mut row);
/// assert_eq!(row, [-1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), syva_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    samples: usize,
    /// Numbers per sample.
    count: usize,
    /// `[samples, count]`.
    numbers: Vec<f32>,
    /// `[samples, columns]`.
    codes: Vec<u32>,
    /// The first feature of each column, and the number of all features.
    first: Vec<usize>,
}

impl Mixed {
    /// The code of a cell that has none of its column's categories.
    pub const NONE: u32 = u32::MAX;

    /// Of numbers `[samples, count]`, and codes `[samples, columns]`, each below its column's number of categories or
    /// [`Mixed::NONE`].
    ///
    /// # Errors
    /// If the numbers and the codes are not of as many samples, or a code is too large.
    pub fn new(count: usize, numbers: Vec<f32>, categories: &[usize], codes: Vec<u32>) -> Result<Self> {
        let refuse = |problem: String, remedy: &str| Err(Error::mismatch(problem, remedy));
        let samples = numbers.len().checked_div(count).unwrap_or(codes.len() / categories.len().max(1));
        if samples * count != numbers.len() || samples * categories.len() != codes.len() {
            let problem = format!("{} numbers and {} codes do not make whole samples", numbers.len(), codes.len());
            return refuse(problem, "give as many of each for every sample");
        }
        let columns = categories.len().max(1);
        if let Some(i) =
            (0..codes.len()).find(|&i| codes[i] != Self::NONE && codes[i] as usize >= categories[i % columns])
        {
            let (sample, column) = (i / columns, i % columns);
            let problem = format!(
                "sample {sample} has code {} in column {column}, which has {} categories",
                codes[i], categories[column]
            );
            return refuse(problem, "give codes below the number of categories");
        }
        let mut first = vec![count];
        first.extend(categories.iter().scan(count, |at, &categories| {
            *at += categories;
            Some(*at)
        }));
        Ok(Self { samples, count, numbers, codes, first })
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of features: of numbers, and of categories of all columns.
    #[must_use]
    pub fn features(&self) -> usize {
        self.first.last().copied().unwrap_or(self.count)
    }

    /// The numbers, `[samples, count]`.
    #[must_use]
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// The codes, `[samples, columns]`.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The first feature of each column of categories, and behind them the number of all features.
    #[must_use]
    pub fn first(&self) -> &[usize] {
        &self.first
    }

    /// The numbers of a sample.
    #[inline]
    #[must_use]
    pub fn numbers_of(&self, sample: usize) -> &[f32] {
        &self.numbers[sample * self.count..][..self.count]
    }

    /// The features of a sample's categories, in ascending order.
    #[inline]
    pub fn categories_of(&self, sample: usize) -> impl Iterator<Item = usize> {
        let columns = self.first.len() - 1;
        let codes = &self.codes[sample * columns..][..columns];
        codes
            .iter()
            .zip(&self.first)
            .filter(|(code, _)| **code != Self::NONE)
            .map(|(&code, first)| first + code as usize)
    }

    /// The value of a feature of a sample.
    #[must_use]
    pub fn get(&self, sample: usize, feature: usize) -> f32 {
        match self.numbers_of(sample).get(feature) {
            Some(&number) => number,
            None => f32::from(u8::from(self.categories_of(sample).any(|on| on == feature))),
        }
    }

    /// Copies all features of a sample.
    pub fn copy_row(&self, sample: usize, to: &mut [f32]) {
        let (numbers, categories) = to.split_at_mut(self.count);
        numbers.copy_from_slice(self.numbers_of(sample));
        categories.fill(0.0);
        self.categories_of(sample).for_each(|feature| categories[feature - self.count] = 1.0);
    }

    /// The samples with these indices.
    pub(super) fn select(&self, samples: &[usize]) -> Self {
        let columns = self.first.len() - 1;
        Self {
            samples: samples.len(),
            count: self.count,
            numbers: samples.iter().flat_map(|&sample| self.numbers_of(sample)).copied().collect(),
            codes: samples.iter().flat_map(|&sample| &self.codes[sample * columns..][..columns]).copied().collect(),
            first: self.first.clone(),
        }
    }
}
