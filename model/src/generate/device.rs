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
        if cuda {
            card::usable()
                .map_err(|why| Error::Device(format!("--device {device}: {why}; use --device cpu")))?;
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

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        self.device == "cpu"
    }

    /// Bytes that the card may still give; `None` on the processor, and where the card does not say.
    pub fn free_memory(&self) -> Option<u64> {
        (!self.is_cpu())
            .then(|| self.device().ok())?
            .and_then(|device| card::free(&device))
    }

    /// Fails where there is no such card.
    pub(crate) fn device(&self) -> Result<Device> {
        match self.device.strip_prefix("cuda:").map(str::parse) {
            Some(Ok(number)) => Device::new_cuda(number)
                .map_err(|error| Error::Device(format!("--device {}: {error}", self.device))),
            _ => Ok(Device::Cpu),
        }
    }
}

/// A build with CUDA. Its libraries are looked for when they are first used, and what uses one that is not there panics: so
/// they are asked for before.
#[cfg(feature = "cuda")]
mod card {
    use candle_core::{Device, cuda_backend::cudarc};

    /// Fails with what is missing on this machine.
    #[cfg(feature = "dynamic-loading")]
    pub fn usable() -> Result<(), String> {
        // SAFETY: each call opens a library by its name and closes it again; nothing in it is called.
        #[allow(unsafe_code)]
        let missing = unsafe {
            [
                (
                    "libcuda.so.1 (the driver)",
                    cudarc::driver::sys::is_culib_present(),
                ),
                ("libcublas.so.13", cudarc::cublas::sys::is_culib_present()),
                ("libcublasLt.so.13", cudarc::cublaslt::sys::is_culib_present()),
                ("libcurand.so.10", cudarc::curand::sys::is_culib_present()),
                ("libnvrtc.so.13", cudarc::nvrtc::sys::is_culib_present()),
            ]
        };
        let missing: Vec<&str> = missing
            .into_iter()
            .filter(|(_, here)| !here)
            .map(|(name, _)| name)
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "this machine lacks {}: install NVIDIA's driver and CUDA 13, or put their folder into LD_LIBRARY_PATH",
                missing.join(", ")
            )),
        }
    }

    /// Linked libraries are there, or the program would not have begun.
    #[cfg(not(feature = "dynamic-loading"))]
    pub fn usable() -> Result<(), String> {
        Ok(())
    }

    pub fn free(device: &Device) -> Option<u64> {
        let stream = device.as_cuda_device().ok()?.cuda_stream();
        let (free, _) = stream.context().mem_get_info().ok()?;
        u64::try_from(free).ok()
    }
}

#[cfg(not(feature = "cuda"))]
mod card {
    use candle_core::Device;

    pub fn usable() -> Result<(), String> {
        Err("this `omni` was built without CUDA (docs/install.md: `--features model,cuda`)".to_owned())
    }

    pub fn free(_: &Device) -> Option<u64> {
        None
    }
}

/// Where the parts of a clip's making run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Where the backbone runs.
    pub place: Place,
    /// Text encoder, phoneme encoder, VAEs and vocoder run on the processor, so that the card holds the backbone alone. Nothing
    /// changes where the backbone runs on the processor, too.
    pub offload: bool,
}

impl Layout {
    /// Where everything but the backbone runs.
    pub(super) fn side(&self) -> Result<Device> {
        if self.offload {
            Ok(Device::Cpu)
        } else {
            self.place.device()
        }
    }
}

impl From<&Place> for Layout {
    fn from(place: &Place) -> Self {
        Self {
            place: place.clone(),
            offload: false,
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
        #[cfg(not(feature = "cuda"))]
        assert!(said("cuda:0", None).contains("without CUDA"));
        // a build with CUDA on a machine without its libraries: told, not a panic
        #[cfg(feature = "dynamic-loading")]
        if let Err(error) = Place::parse("cuda:0", None) {
            assert!(error.to_string().contains("this machine lacks lib"), "{error}");
        }
    }
}
