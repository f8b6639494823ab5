//! Moments of a weight, held in one of three ways: rows of f32, codes of eight bits, or f32 tensors on a card.

use super::{
    adamw::MomentForm,
    narrow::{BLOCK, Narrow, Scale},
};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// A moment of the values of a slice.
pub(super) enum Row {
    Wide(Vec<f32>),
    Narrow(Narrow),
    Placed(Tensor),
}

impl Row {
    pub(super) fn zeros(form: MomentForm, scale: Scale, count: usize, card: Option<&Device>) -> Result<Self> {
        Ok(match (card, form) {
            (Some(device), _) => Self::Placed(Tensor::zeros(count, DType::F32, device)?),
            (None, MomentForm::Wide) => Self::Wide(vec![0.0; count]),
            (None, MomentForm::Narrow) => Self::Narrow(Narrow::zeros(scale, count)),
        })
    }

    /// Takes over the values of a row `[len]` of f32.
    pub(super) fn set(&mut self, row: &Tensor) -> Result<()> {
        if row.dims1()? != self.len() {
            return Err(Error::Input(format!(
                "moments of {} values in place of {}",
                row.dims1()?,
                self.len()
            )));
        }
        match self {
            Self::Placed(own) => *own = row.force_contiguous()?.to_device(own.device())?,
            Self::Wide(own) => *own = row.to_vec1()?,
            Self::Narrow(own) => *own = Narrow::of(own.scale, &row.to_vec1::<f32>()?),
        }
        Ok(())
    }

    /// Its values as f32, on the CPU unless they lie on a card.
    pub(super) fn values(&self) -> Result<Tensor> {
        let row = |values: Vec<f32>| {
            let count = values.len();
            Tensor::from_vec(values, count, &Device::Cpu)
        };
        Ok(match self {
            Self::Wide(values) => row(values.clone())?,
            Self::Narrow(narrow) => row(narrow.wide())?,
            Self::Placed(tensor) => tensor.clone(),
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Wide(row) => row.len(),
            Self::Narrow(row) => row.codes.len(),
            Self::Placed(row) => row.elem_count(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Narrow(row) => row.bytes(),
            _ => 4 * self.len(),
        }
    }
}

/// Both moments of a slice, and in how many steps it had a gradient: the correction of the moments counts those only.
pub(super) struct Moments {
    pub(super) first: Row,
    pub(super) second: Row,
    pub(super) steps: i32,
}

impl Moments {
    pub(super) fn zeros(form: MomentForm, count: usize, card: Option<&Device>) -> Result<Self> {
        Ok(Self {
            first: Row::zeros(form, Scale::Signed, count, card)?,
            second: Row::zeros(form, Scale::Square, count, card)?,
            steps: 0,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.first.bytes() + self.second.bytes()
    }
}

/// Codes `[len]` and factors of the blocks of a row of f32, as a file holds them.
pub(super) fn coded(scale: Scale, row: &Tensor) -> Result<(Tensor, Tensor)> {
    let narrow = Narrow::of(scale, &row.to_vec1::<f32>()?);
    let (codes, factors) = (narrow.codes.len(), narrow.factors.len());
    Ok((
        Tensor::from_vec(narrow.codes, codes, &Device::Cpu)?,
        Tensor::from_vec(narrow.factors, factors, &Device::Cpu)?,
    ))
}

/// The row that [`coded`] made codes of. Fails if codes and factors do not fit each other.
pub(super) fn decoded(scale: Scale, codes: &Tensor, factors: &Tensor) -> Result<Tensor> {
    let narrow = Narrow {
        scale,
        codes: codes.to_vec1()?,
        factors: factors.to_vec1()?,
    };
    if narrow.factors.len() != narrow.codes.len().div_ceil(BLOCK) {
        return Err(Error::Input(format!(
            "{} factors of {} codes",
            narrow.factors.len(),
            narrow.codes.len()
        )));
    }
    let row = narrow.wide();
    let count = row.len();
    Ok(Tensor::from_vec(row, count, &Device::Cpu)?)
}
