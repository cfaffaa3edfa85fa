//! Losses, predictions, and the gradient of the batch's mean loss by the outputs (rules 6 and 7), for some samples at a
//! time.

use syva_core::Head;
use syva_core::arithmetic::{Real, binary_cross_entropy};

use crate::buffer::HALF;

/// Samples whose losses are computed together, and which pass through the caches together.
pub(crate) const JUDGED: usize = 64;

/// The samples whose losses are computed.
pub(crate) struct LossRows<'a> {
    pub(crate) head: Head,
    /// Outputs per sample.
    pub(crate) outputs: usize,
    /// Samples in the whole batch.
    pub(crate) batch: usize,
    /// The outputs, `[samples, stride]`, where stride is `outputs` rounded up to 16. They are replaced by d.
    pub(crate) z: &'a mut [f32],
    /// The targets of each sample.
    pub(crate) targets: RowTargets<'a>,
    /// Receives the loss of each sample.
    pub(crate) losses: &'a mut [f32],
    /// Receives the predicted class of each sample. Not used for regression.
    pub(crate) guesses: &'a mut [u32],
}

/// The targets of the samples.
pub(crate) enum RowTargets<'a> {
    Labels(&'a [u32]),
    /// `[samples, outputs]`
    Values(&'a [f32]),
}

/// The distance from one sample's outputs to the next sample's, in values.
pub(crate) fn stride(outputs: usize) -> usize {
    outputs.next_multiple_of(HALF)
}

#[inline(always)]
pub(crate) fn judge_rows<T: Real + From<f32> + Into<f32>>(rows: &mut LossRows<'_>) {
    let of = T::from;
    let (outputs, stride, batch) = (rows.outputs, stride(rows.outputs), rows.batch as f32);
    match rows.targets {
        RowTargets::Values(targets) => {
            let mean = 2.0 / (rows.batch * outputs) as f32;
            let samples = rows.z.chunks_exact_mut(stride).zip(targets.chunks_exact(outputs));
            for ((z, t), loss) in samples.zip(rows.losses.iter_mut()) {
                let mut sum = 0.0_f32;
                for (z, &t) in z.iter_mut().zip(t) {
                    let error = *z - t;
                    sum = of(error).fma(of(error), of(sum)).into();
                    *z = error * mean;
                }
                *loss = sum / outputs as f32;
            }
        }
        RowTargets::Labels(labels) if rows.head == Head::Binary => {
            let mean = 1.0 / batch;
            for (i, z) in rows.z.chunks_exact_mut(stride).enumerate() {
                let (value, y) = (z[0], labels[i] as f32);
                let probability: f32 = of(value).sigmoid().into();
                z[0] = (probability - y) * mean;
                rows.losses[i] = binary_cross_entropy(of(value), of(y)).into();
                rows.guesses[i] = u32::from(value > 0.0);
            }
        }
        RowTargets::Labels(labels) => {
            let mean = 1.0 / batch;
            // These keep what the losses still need, so that one loop can compute all logarithms.
            let mut sums = [0.0_f32; JUDGED];
            let mut rests = [0.0_f32; JUDGED];
            for (i, z) in rows.z.chunks_exact_mut(stride).enumerate() {
                let label = labels[i] as usize;
                let (mut max, mut argmax) = (z[0], 0);
                for (j, &z) in z[..outputs].iter().enumerate().skip(1) {
                    if z > max {
                        (max, argmax) = (z, j);
                    }
                }
                rests[i] = z[label] - max;
                // Sixteen at a time. The values in the padding do not matter.
                for chunk in z.as_chunks_mut::<HALF>().0 {
                    for z in chunk {
                        *z = of(*z - max).exp().into();
                    }
                }
                let mut sum = 0.0;
                for &e in &z[..outputs] {
                    sum += e;
                }
                let at_label = (z[label] / sum - 1.0) * mean;
                for chunk in z.as_chunks_mut::<HALF>().0 {
                    for z in chunk {
                        *z = *z / sum * mean;
                    }
                }
                z[label] = at_label;
                sums[i] = sum;
                rows.guesses[i] = argmax as u32;
            }
            for (loss, (&sum, &rest)) in rows.losses.iter_mut().zip(sums.iter().zip(&rests)) {
                let log: f32 = of(sum).log().into();
                *loss = log - rest;
            }
        }
    }
}
