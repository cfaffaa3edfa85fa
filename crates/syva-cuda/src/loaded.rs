//! Where a data set lies: all of it on the card, or passing through two windows, one filled while steps are taken on the
//! other.

use cudarc::driver::CudaEvent;
use syva_core::Result;
use syva_core::data::Dataset;

use crate::card::Card;
use crate::kernels::{Data, Stored};
use crate::memory::Samples;

/// Bytes that come in at a time where the data does not fit on the card.
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
    /// On the card as a whole where that leaves room to work; else with windows for it.
    pub(crate) fn new(data: &Dataset, card: &Card) -> Result<Self> {
        let (bytes, free) = (data.samples() * Samples::bytes_each(data), card.free()?);
        let place = if bytes < free / 4 * 3 {
            let mut samples = Samples::room_for(data.samples(), data, card)?;
            samples.put(data, 0..data.samples(), card, &card.stream)?;
            Place::Resident(samples)
        } else {
            let rows = (WINDOW_BYTES.min(free / 8) / Samples::bytes_each(data)).clamp(1, data.samples());
            let windows = Box::new([Window::new(rows, data, card)?, Window::new(rows, data, card)?]);
            // Memory is cleared on the stream of the work, and filled on the other.
            card.stream.synchronize().map_err(|error| card.failure(error))?;
            Place::Streamed(windows)
        };
        Ok(Self { data: data.clone(), place })
    }
}

/// Room for some samples at a time.
pub(crate) struct Window {
    samples: Samples,
    pub(crate) rows: usize,
    /// Recorded when the samples have come in, and when the steps on them are done.
    filled: CudaEvent,
    done: CudaEvent,
}

impl Window {
    fn new(rows: usize, data: &Dataset, card: &Card) -> Result<Self> {
        let event = || card.stream.context().new_event(None).map_err(|error| card.failure(error));
        Ok(Self { samples: Samples::room_for(rows, data, card)?, rows, filled: event()?, done: event()? })
    }

    /// Fills it as soon as the steps on what it held are done; what is launched next waits until it is full.
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

    /// Says that all steps on what it holds have been launched.
    pub(crate) fn leave(&self, card: &Card) -> Result<()> {
        self.done.record(&card.stream).map_err(|error| card.failure(error))
    }
}
