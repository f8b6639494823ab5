//! Power spectra of real frames, two frames per complex transform.

use std::sync::Arc;

use rustfft::{Fft, FftPlanner, num_complex::Complex32};

/// A planned transform of one size.
#[derive(Clone)]
pub(super) struct Spectrum {
    fft: Arc<dyn Fft<f32>>,
}

impl Spectrum {
    pub(super) fn new(size: usize) -> Self {
        Spectrum {
            fft: FftPlanner::new().plan_fft_forward(size),
        }
    }

    /// Bins 0 to half the size.
    pub(super) fn bins(&self) -> usize {
        self.fft.len() / 2 + 1
    }

    /// Squared magnitudes of `frames` frames. `fill(i, k)` gives sample `k` of frame `i`; `each(i, power)`
    /// takes the spectrum of frame `i`, in order.
    pub(super) fn powers(
        &self,
        frames: usize,
        fill: impl Fn(usize, usize) -> f32,
        mut each: impl FnMut(usize, &[f32]),
    ) {
        let size = self.fft.len();
        let mut buffer = vec![Complex32::default(); size];
        let mut scratch = vec![Complex32::default(); self.fft.get_inplace_scratch_len()];
        let (mut first, mut second) = (vec![0.0; self.bins()], vec![0.0; self.bins()]);
        for pair in (0..frames).step_by(2) {
            let both = pair + 1 < frames;
            for (k, slot) in buffer.iter_mut().enumerate() {
                *slot = Complex32::new(fill(pair, k), if both { fill(pair + 1, k) } else { 0.0 });
            }
            self.fft.process_with_scratch(&mut buffer, &mut scratch);
            for k in 0..first.len() {
                let (z, mirror) = (buffer[k], buffer[(size - k) % size].conj());
                first[k] = (z + mirror).norm_sqr() * 0.25;
                second[k] = (z - mirror).norm_sqr() * 0.25;
            }
            each(pair, &first);
            if both {
                each(pair + 1, &second);
            }
        }
    }
}

/// A bank of triangular filters, each stored from its first non-zero bin.
#[derive(Clone)]
pub(super) struct Bank {
    filters: Vec<(usize, Vec<f32>)>,
}

impl Bank {
    /// From the weight of filter `m` at bin `k`.
    pub(super) fn new(filters: usize, bins: usize, weight: impl Fn(usize, usize) -> f64) -> Self {
        let one = |m: usize| {
            let row: Vec<f32> = (0..bins).map(|k| weight(m, k) as f32).collect();
            let start = row.iter().position(|w| *w > 0.0).unwrap_or(0);
            let end = row.iter().rposition(|w| *w > 0.0).map_or(start, |last| last + 1);
            (start, row[start..end].to_vec())
        };
        Bank {
            filters: (0..filters).map(one).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.filters.len()
    }

    /// Energy of filter `m`.
    pub(super) fn energy(&self, m: usize, power: &[f32]) -> f32 {
        let (start, weights) = &self.filters[m];
        weights.iter().zip(&power[*start..]).map(|(w, p)| w * p).sum()
    }

    /// Row-major weights of every filter at every bin.
    pub(super) fn dense(&self, bins: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.filters.len() * bins];
        for (m, (start, weights)) in self.filters.iter().enumerate() {
            out[m * bins + start..][..weights.len()].copy_from_slice(weights);
        }
        out
    }
}
