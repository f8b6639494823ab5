//! Where networks run, and what a device needs on this machine.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::Error;

/// A device for networks, written `cpu` or `cuda:N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// One core per call.
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = Error;

    /// Reads `cpu`, `cuda:N` or `cuda` (number 0).
    fn from_str(text: &str) -> Result<Device, Error> {
        let number = match text {
            "cpu" => return Ok(Device::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|number| number.parse().ok()),
        };
        number.map(Device::Cuda).ok_or_else(|| Error::Device {
            device: text.to_owned(),
            message: "no such device; write `cpu` or `cuda:0`".to_owned(),
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(out, "cpu"),
            Device::Cuda(number) => write!(out, "cuda:{number}"),
        }
    }
}

/// What ONNX Runtime's CUDA provider (CUDA 13 build) links to, in the order they depend on each other.
const CUDA_LIBRARIES: [&str; 5] = [
    "libcuda.so.1",
    "libcudart.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
];

/// The provider's own libraries; they must lie beside ONNX Runtime.
const PROVIDER_LIBRARIES: [&str; 2] = [
    "libonnxruntime_providers_shared.so",
    "libonnxruntime_providers_cuda.so",
];

/// Finds (and loads) every library that the CUDA provider needs; the error names the first that is missing.
pub(super) fn check_cuda(library: &Path, device: &Device) -> Result<(), Error> {
    let fail = |message: String| Error::Device {
        device: device.to_string(),
        message,
    };
    let folder = library
        .canonicalize()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned));
    let folder = folder.unwrap_or_default();
    for name in PROVIDER_LIBRARIES {
        if !folder.join(name).is_file() {
            return Err(fail(format!(
                "{name} is missing beside ONNX Runtime in {}: the GPU build of ONNX Runtime carries it",
                folder.display()
            )));
        }
    }
    for name in CUDA_LIBRARIES {
        let beside = folder.join(name);
        let found = beside.is_file() && ort::util::preload_dylib(&beside).is_ok();
        if !found && let Err(error) = ort::util::preload_dylib(name) {
            return Err(fail(format!("{name} was not found: {error}")));
        }
    }
    Ok(())
}

/// The execution providers a session on this device registers; registering fails rather than fall back.
pub(super) fn providers(device: &Device) -> Vec<ort::ep::ExecutionProviderDispatch> {
    match device {
        Device::Cpu => Vec::new(),
        Device::Cuda(number) => {
            let number = i32::try_from(*number).unwrap_or(i32::MAX);
            let provider = ort::ep::CUDA::default().with_device_id(number).with_tf32(false);
            vec![provider.build().error_on_failure()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in ["cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
