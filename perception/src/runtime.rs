//! ONNX Runtime behind plain Rust types: one environment per process, sessions that grow with their callers.
//!
//! Every network runs with one thread per call, in sequence, with full graph optimisation: the same input
//! gives the same numbers, and parallelism comes from the callers (one clip per core). Nothing here knows
//! what a network computes; `vision`, `audio` and `text` do. No type of the `ort` crate is public.

mod device;
mod session;
mod tensor;
#[cfg(test)]
pub(crate) mod testing;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use device::Device;
pub use session::{Calls, Expect, Port, Session, thread_seconds};
pub(crate) use session::{Feed, Value};
pub use tensor::{Data, Kind, Output, Tensor};

use crate::Error;

/// The one environment of this process and the library it came from.
static OPENED: Mutex<Option<(PathBuf, ort::environment::Environment)>> = Mutex::new(None);

/// An opened ONNX Runtime library together with the device that sessions are made for. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    environment: ort::environment::Environment,
    device: Device,
}

impl Runtime {
    /// Opens the ONNX Runtime library at `library` (a `libonnxruntime.so*` of version 1.24 or later).
    ///
    /// A process has one environment: asking again with the same file returns the same one, asking with
    /// another file fails. With [`Device::Cuda`], the provider library and the CUDA libraries it needs are
    /// looked for first, and the first one missing is named; the CPU never stands in silently.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the library cannot be opened or another one already is; [`Error::Device`].
    pub fn open(library: &Path, device: Device) -> Result<Runtime, Error> {
        let environment = environment(library)?;
        if let Device::Cuda(_) = device {
            device::check_cuda(library, &device)?;
        }
        Ok(Runtime {
            inner: Arc::new(Inner { environment, device }),
        })
    }

    /// The device that sessions of this runtime are made for.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    pub(crate) fn environment(&self) -> &ort::environment::Environment {
        &self.inner.environment
    }
}

fn environment(library: &Path) -> Result<ort::environment::Environment, Error> {
    let fail = |message: String| Error::Runtime {
        path: library.to_owned(),
        message,
    };
    let path = library.canonicalize().map_err(|error| fail(error.to_string()))?;
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*opened {
        Some((earlier, environment)) if *earlier == path => return Ok(environment.clone()),
        Some((earlier, _)) => {
            return Err(fail(format!("this process already uses {}", earlier.display())));
        }
        None => {}
    }
    let environment = ort::init_from(&path)
        .map_err(|error| fail(error.to_string()))?
        .with_name("omni")
        .with_telemetry(false)
        .build()
        .map_err(|error| fail(error.to_string()))?;
    environment.set_log_level(ort::logging::LogLevel::Fatal);
    *opened = Some((path, environment.clone()));
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_names_it() {
        let Err(error) = Runtime::open(Path::new("/nowhere/libonnxruntime.so"), Device::Cpu) else {
            panic!("opened a library that does not exist");
        };
        assert!(
            error.to_string().contains("/nowhere/libonnxruntime.so"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"not an ELF file").unwrap();
        assert!(matches!(
            Runtime::open(file.path(), Device::Cpu),
            Err(Error::Runtime { .. })
        ));
    }

    #[test]
    fn a_second_library_in_one_process_is_refused() {
        let Some(runtime) = testing::runtime() else { return };
        assert_eq!(runtime.device(), &Device::Cpu);
        let other = tempfile::NamedTempFile::new().unwrap();
        let Err(error) = Runtime::open(other.path(), Device::Cpu) else {
            panic!("opened twice")
        };
        assert!(error.to_string().contains("already uses"), "{error}");
    }

    #[test]
    fn cuda_without_its_libraries_names_what_is_missing() {
        let Some(library) = testing::library() else { return };
        match Runtime::open(&library, Device::Cuda(0)) {
            Err(Error::Device { device, message }) => {
                assert_eq!(device, "cuda:0");
                assert!(message.contains("lib") && message.contains(".so"), "{message}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => println!("CUDA is here: nothing to check"),
        }
    }
}
