//! Where and how exactly the networks run.

use crate::{Error, Result};
use candle_core::{DType, Device};

/// How numbers of the backbone are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits of small range.
    F16,
}

impl Precision {
    /// From its word: f32, bf16, f16.
    pub fn parse(word: &str) -> Result<Self> {
        match word {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            other => Err(Error::Config(format!(
                "--dtype {other}: there are f32, bf16, f16"
            ))),
        }
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// A device and a precision. Text encoder, codec, latents and solvers are f32 everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `cpu`, or `cuda:0`, `cuda:1`...
    pub device: String,
    /// Of the backbone.
    pub precision: Precision,
}

impl Place {
    /// Checks the names; `precision` is f32 on the CPU and bf16 elsewhere unless given. Fails on a device that is unknown or
    /// that this build cannot use.
    pub fn parse(device: &str, precision: Option<&str>) -> Result<Self> {
        let cuda = match device {
            "cpu" => false,
            other => match other.strip_prefix("cuda:").map(str::parse::<usize>) {
                Some(Ok(_)) => true,
                _ => {
                    return Err(Error::Config(format!(
                        "--device {other}: there are cpu and cuda:N"
                    )));
                }
            },
        };
        if cuda && !candle_core::utils::cuda_is_available() {
            return Err(Error::Device(format!(
                "--device {device}: this `omni` was built without CUDA; use --device cpu"
            )));
        }
        let precision = match precision {
            Some(word) => Precision::parse(word)?,
            None if cuda => Precision::Bf16,
            None => Precision::F32,
        };
        Ok(Self {
            device: device.to_owned(),
            precision,
        })
    }

    pub(super) fn device(&self) -> Result<Device> {
        match self.device.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(number)) => Device::new_cuda(number)
                .map_err(|error| Error::Device(format!("--device {}: {error}", self.device))),
            _ => Ok(Device::Cpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_types_are_checked_by_name() {
        assert_eq!(Place::parse("cpu", None).unwrap().precision, Precision::F32);
        assert_eq!(
            Place::parse("cpu", Some("bf16")).unwrap().precision,
            Precision::Bf16
        );
        let said = |device: &str, dtype: Option<&str>| Place::parse(device, dtype).unwrap_err().to_string();
        assert!(said("gpu", None).contains("cpu and cuda:N"));
        assert!(said("cuda:x", None).contains("cpu and cuda:N"));
        assert!(said("cpu", Some("int8")).contains("f32, bf16, f16"));
        if !candle_core::utils::cuda_is_available() {
            assert!(said("cuda:0", None).contains("without CUDA"));
        }
    }
}
