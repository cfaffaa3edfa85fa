//! Where a data set lies. Either all of it is on the card, or it passes through two windows: one is filled while steps
//! run on the other.

use cudarc::driver::CudaEvent;
use syva_core::Result;
use syva_core::data::Dataset;

use crate::card::Card;
use crate::kernels::{Data, Stored};
use crate::memory::Samples;

/// Bytes per window, for data that does not fit on the card.
const WINDOW_BYTES: usize = 64 << 20;

/// A data set of a session.
pub(crate) struct Loaded {
    pub(crate) data: Dataset,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    Resident(Samples),
    Streamed(Box<[Window; 2]>),
}

impl Loaded {
    /// Puts the whole data set on the card if that leaves room to work. Otherwise makes windows for it.
    pub(crate) fn new(data: &Dataset, card: &Card) -> Result<Self> {
        let (bytes, free) = (data.samples() * Samples::bytes_each(data), card.free()?);
        let place = if bytes < free / 4 * 3 {
            let mut samples = Samples::room_for(data.samples(), data, card)?;
            samples.put(data, 0..data.samples(), card, &card.stream)?;
            Place::Resident(samples)
        } else {
            let rows = (WINDOW_BYTES.min(free / 8) / Samples::bytes_each(data)).clamp(1, data.samples());
            let windows = Box::new([Window::new(rows, data, card)?, Window::new(rows, data, card)?]);
            // The windows are cleared on `stream` but filled on `copies`, so the clearing has to be finished first.
            card.stream.synchronize().map_err(|error| card.failure(error))?;
            Place::Streamed(windows)
        };
        Ok(Self { data: data.clone(), place })
    }
}

/// Room for a part of a data set.
pub(crate) struct Window {
    samples: Samples,
    pub(crate) rows: usize,
    /// Recorded when the samples have arrived.
    filled: CudaEvent,
    /// Recorded when the steps on them are done.
    done: CudaEvent,
}

impl Window {
    fn new(rows: usize, data: &Dataset, card: &Card) -> Result<Self> {
        let event = || card.stream.context().new_event(None).map_err(|error| card.failure(error));
        Ok(Self { samples: Samples::room_for(rows, data, card)?, rows, filled: event()?, done: event()? })
    }

    /// Fills the window once the steps on its previous samples are done. What is launched next waits until it is full.
    pub(crate) fn fill(
        &mut self,
        data: &Dataset,
        samples: impl Iterator<Item = usize>,
        normalization: Data,
        card: &Card,
    ) -> Result<(Data, Stored)> {
        card.copies.wait(&self.done).map_err(|error| card.failure(error))?;
        self.samples.put(data, samples, card, &card.copies)?;
        let filled = self.filled.record(&card.copies).and_then(|()| card.stream.wait(&self.filled));
        filled.map_err(|error| card.failure(error))?;
        Ok(self.samples.data(normalization, card))
    }

    /// Marks the point after which the window may be filled again: all steps on its samples have been launched.
    pub(crate) fn leave(&self, card: &Card) -> Result<()> {
        self.done.record(&card.stream).map_err(|error| card.failure(error))
    }
}
