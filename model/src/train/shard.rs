//! ZeRO-1: which values of a weight a rank keeps moments, averages and f32 masters of. Gradients are summed into the slices of
//! their owners, moved weights are gathered from them.

use super::collective::Collective;
use crate::Result;
use candle_core::Tensor;

/// The slice of a weight's values, in order, that belongs to a rank. All slices are of one size, the last ones cut off or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    /// Values of the weight.
    pub(super) count: usize,
    /// Values of a slice.
    pub(super) size: usize,
    /// Where the own slice begins.
    pub(super) start: usize,
    /// How many values the own slice has.
    pub(super) len: usize,
}

impl Shard {
    /// That of `rank` of `world`; slices begin at multiples of `align`.
    pub(super) fn of(count: usize, align: usize, (rank, world): (usize, usize)) -> Self {
        let size = match world {
            1 => count,
            _ => count.div_ceil(world).next_multiple_of(align),
        };
        let start = (rank * size).min(count);
        Self {
            count,
            size,
            start,
            len: size.min(count - start),
        }
    }

    /// The own slice of a whole row `[count]`: a view.
    pub(super) fn own(&self, row: &Tensor) -> Result<Tensor> {
        Ok(row.narrow(0, self.start, self.len)?)
    }

    /// The sum over all ranks of rows `[count]`, and of that the own slice `[len]`.
    pub(super) fn reduce(&self, row: &Tensor, ranks: &dyn Collective) -> Result<Tensor> {
        if ranks.world() == 1 {
            return Ok(row.clone());
        }
        let all = filled(row, self.size * ranks.world())?;
        Ok(ranks.reduce_scatter(&all)?.narrow(0, 0, self.len)?)
    }

    /// The whole row `[count]` from the slices `[len]` of all ranks.
    pub(super) fn gather(&self, own: &Tensor, ranks: &dyn Collective) -> Result<Tensor> {
        if ranks.world() == 1 {
            return Ok(own.clone());
        }
        let all = ranks.all_gather(&filled(own, self.size)?)?;
        Ok(all.narrow(0, 0, self.count)?)
    }
}

/// A copy of a row with zeros behind it up to `count` values; a copy, since other ranks may read it while the row moves on.
fn filled(row: &Tensor, count: usize) -> Result<Tensor> {
    let zeros = |count: usize| Tensor::zeros(count, row.dtype(), row.device());
    Ok(match row.dims1()? {
        0 => zeros(count)?,
        own if own == count => row.force_contiguous()?,
        own => Tensor::cat(&[row, &zeros(count - own)?], 0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_a_weight_once() {
        for (count, align, world) in [
            (10, 1, 4),
            (64, 256, 4),
            (1000, 256, 3),
            (4096, 256, 4),
            (5, 1, 8),
        ] {
            let all: Vec<Shard> = (0..world)
                .map(|rank| Shard::of(count, align, (rank, world)))
                .collect();
            let mut next = 0;
            for shard in &all {
                assert!(shard.start == next && shard.len <= shard.size, "{all:?}");
                assert!(shard.len == 0 || shard.start.is_multiple_of(align), "{all:?}");
                next += shard.len;
            }
            assert_eq!(next, count, "{all:?}");
        }
        let alone = Shard::of(1000, 256, (0, 1));
        assert_eq!((alone.start, alone.len, alone.size), (0, 1000, 1000));
    }
}
