//! A convolution as one sum over all taps and channels, without a copy of the windows.

use super::{
    conv::Job,
    conv_kernel::{Line, PANEL, Step, Sum},
};
use rayon::prelude::*;
use std::borrow::Cow;

/// Output rows that go through the panels together.
const ROWS: usize = 192;

/// Lines of a panel that stay in the cache while rows go by (64 KiB), and the length of a sum.
const DEPTH: usize = 512;

/// `[frames, rows, columns, out]`.
pub(super) fn run(job: &Job<'_>) -> Vec<f32> {
    let source = Source::new(job);
    let steps = source.steps(job);
    let pass = Pass {
        job,
        groups: groups(&steps),
        source,
    };
    let output = job.shape.output;
    let rows: usize = job.results.iter().product();
    let panels = output.div_ceil(PANEL);
    let mut out = vec![0.0; rows * output];
    if rows <= ROWS && panels > 1 && rayon::current_num_threads() > 1 {
        // few rows and much weight: a panel is a task
        let starts = pass.starts(0..rows);
        let sums = |panel: usize| pass.sums(panel, &starts, Vec::new());
        let all: Vec<Vec<Line>> = (0..panels).into_par_iter().map(sums).collect();
        for (panel, sums) in all.iter().enumerate() {
            pass.place(&mut out, 0, panel, sums);
        }
        return out;
    }
    let each = |sums: &mut Vec<Line>, (chunk, out): (usize, &mut [f32])| {
        let first = chunk * ROWS;
        let starts = pass.starts(first..first + out.len() / output);
        for panel in 0..panels {
            *sums = pass.sums(panel, &starts, std::mem::take(sums));
            pass.place(out, first, panel, sums);
        }
    };
    out.par_chunks_mut((ROWS * output).max(1))
        .enumerate()
        .for_each_init(Vec::new, each);
    out
}

struct Pass<'a> {
    job: &'a Job<'a>,
    source: Source<'a>,
    groups: Vec<&'a [Step]>,
}

impl Pass<'_> {
    /// Where output rows take their first tap from.
    fn starts(&self, rows: std::ops::Range<usize>) -> Vec<usize> {
        rows.map(|row| self.source.start(self.job, row)).collect()
    }

    /// A panel of the rows that start at `starts`, in the memory of `held`.
    fn sums(&self, panel: usize, starts: &[usize], mut held: Vec<Line>) -> Vec<Line> {
        let depth = self.job.shape.all_taps() * self.job.shape.input;
        let (lines, _) = self.job.weight.as_chunks::<PANEL>();
        held.clear();
        held.resize(starts.len(), self.job.bias_of(panel));
        for steps in &self.groups {
            pulp::Arch::new().dispatch(Sum {
                a: &self.source.values,
                rows: starts,
                steps,
                b: &lines[panel * depth..][..depth],
                out: &mut held,
            });
        }
        held
    }

    /// The sums of a panel into `out`, rows from `first` of all on.
    fn place(&self, out: &mut [f32], first: usize, panel: usize, sums: &[Line]) {
        let output = self.job.shape.output;
        let columns = PANEL.min(output - panel * PANEL);
        for (row, line) in sums.iter().enumerate() {
            let at = row * output + panel * PANEL;
            let out = &mut out[at..at + columns];
            out.copy_from_slice(&line[..columns]);
            if let Some(add) = self.job.add {
                let add = &add[first * output + at..][..columns];
                out.iter_mut().zip(add).for_each(|(out, add)| *out += add);
            }
        }
    }
}

/// The frames with their zeros around, one after another.
struct Source<'a> {
    values: Cow<'a, [f32]>,
    /// Rows and columns of a plane.
    plane: [usize; 2],
}

impl<'a> Source<'a> {
    fn new(job: &Job<'a>) -> Self {
        let [height, width] = job.plane;
        let channels = job.shape.input;
        let [[above, below], [left, right]] = job.path.pad;
        let plane = [above + height + below, left + width + right];
        if let ([Some(frame)], true) = (job.frames.as_slice(), plane == job.plane) {
            return Self {
                values: Cow::Borrowed(frame),
                plane,
            };
        }
        let size = plane[0] * plane[1] * channels;
        let mut values = vec![0.0; job.frames.len() * size];
        values
            .par_chunks_mut(size.max(1))
            .zip(&job.frames)
            .for_each(|(into, frame)| {
                let Some(frame) = frame else { return };
                let line = (width * channels).max(1);
                for (row, pixels) in frame.chunks_exact(line).enumerate() {
                    let at = ((above + row) * plane[1] + left) * channels;
                    into[at..at + pixels.len()].copy_from_slice(pixels);
                }
            });
        Self {
            values: Cow::Owned(values),
            plane,
        }
    }

    /// Where the first tap of an output row lies.
    fn start(&self, job: &Job<'_>, row: usize) -> usize {
        let [_, height, width] = job.results;
        let (line, x) = (row / width, row % width);
        let (frame, y) = (line / height * job.path.every, line % height);
        let stride = job.path.stride;
        ((frame * self.plane[0] + y * stride) * self.plane[1] + x * stride) * job.shape.input
    }

    /// All taps, none longer than fits a group.
    fn steps(&self, job: &Job<'_>) -> Vec<Step> {
        let [time, rows, columns] = job.shape.taps;
        let (channels, dilation) = (job.shape.input, job.path.dilation);
        let mut steps = Vec::new();
        for tap in 0..time * rows * columns {
            let (frame, y, x) = (tap / columns / rows, tap / columns % rows, tap % columns);
            let pixel = (frame * self.plane[0] + y * dilation) * self.plane[1] + x * dilation;
            for from in (0..channels).step_by(DEPTH) {
                steps.push(Step {
                    a: pixel * channels + from,
                    b: tap * channels + from,
                    len: DEPTH.min(channels - from),
                });
            }
        }
        steps
    }
}

/// Steps whose lines fit the cache together.
fn groups(steps: &[Step]) -> Vec<&[Step]> {
    let (mut groups, mut from, mut depth) = (Vec::new(), 0, 0);
    for (index, step) in steps.iter().enumerate() {
        if depth > 0 && depth + step.len > DEPTH {
            groups.push(&steps[from..index]);
            (from, depth) = (index, 0);
        }
        depth += step.len;
    }
    groups.push(&steps[from..]);
    groups
}
