//! Golden files as they are: JSON, safetensors, pictures, sound.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use omni_media::{Image, Pcm};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Largest golden file that is read, bytes.
const MOST: u64 = 1 << 30;

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A file is missing or cannot be read.
    #[error("{file}: {message}")]
    File {
        /// Its name.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A key is missing or holds something else.
    #[error("`{key}` {message}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A network failed.
    #[error("{0}")]
    Network(#[from] omni_perception::Error),
    /// The product has no answer to the input.
    #[error("{0}")]
    Answer(String),
}

impl Problem {
    pub(super) fn file(file: &str, message: impl ToString) -> Problem {
        Problem::File {
            file: file.to_owned(),
            message: message.to_string(),
        }
    }

    pub(super) fn key(key: &str, message: impl ToString) -> Problem {
        Problem::Key {
            key: key.to_owned(),
            message: message.to_string(),
        }
    }
}

/// A path as it is shown: from the root that was given.
pub(super) fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// The bytes of a file.
pub(super) fn bytes(path: &Path, name: &str) -> Result<Vec<u8>, Problem> {
    let length = std::fs::metadata(path)
        .map_err(|error| Problem::file(name, error))?
        .len();
    if length > MOST {
        return Err(Problem::file(name, "larger than 1 GiB"));
    }
    std::fs::read(path).map_err(|error| Problem::file(name, error))
}

/// A picture file.
pub(super) fn picture(path: &Path, name: &str) -> Result<Image, Problem> {
    omni_media::decode_picture(&bytes(path, name)?).map_err(|error| Problem::file(name, error))
}

/// A sound file with all its channels.
pub(super) fn sound(path: &Path, name: &str) -> Result<Pcm, Problem> {
    omni_media::read_audio_file(path).map_err(|error| Problem::file(name, error))
}

/// A safetensors file that remembers which tensors were asked for.
pub(super) struct Tensors {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Tensors {
    pub(super) fn read(path: &Path, name: &str) -> Result<Tensors, Problem> {
        let bytes = bytes(path, name)?;
        let parsed = SafeTensors::deserialize(&bytes).map_err(|error| Problem::file(name, error))?;
        let names = parsed.names().into_iter().map(str::to_owned).collect();
        Ok(Tensors {
            names,
            bytes,
            asked: RefCell::default(),
        })
    }

    /// All names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Tensors that nobody asked for.
    pub(super) fn unread(&self) -> Vec<String> {
        self.names.difference(&self.asked.borrow()).cloned().collect()
    }

    /// Counts tensors as looked at that a check knows and has no use for.
    pub(super) fn know(&self, name: &str) {
        self.asked.borrow_mut().insert(name.to_owned());
    }

    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>, Problem> {
        self.with(name, |view| Ok(view.shape().to_vec()))
    }

    /// Elements as f64, whatever they are stored as. What is no number is refused: nothing could be held against it.
    pub(super) fn f64s(&self, name: &str) -> Result<Vec<f64>, Problem> {
        let elements = self.elements(name)?;
        match elements.iter().any(|x| x.is_nan()) {
            true => Err(Problem::key(name, "holds NaN")),
            false => Ok(elements),
        }
    }

    fn elements(&self, name: &str) -> Result<Vec<f64>, Problem> {
        self.with(name, |view| {
            let data = view.data();
            Ok(match view.dtype() {
                Dtype::F64 => words(data, f64::from_le_bytes),
                Dtype::F32 => words(data, |b| f64::from(f32::from_le_bytes(b))),
                Dtype::F16 => words(data, |b| f64::from(half(u16::from_le_bytes(b)))),
                Dtype::I64 => words(data, |b| i64::from_le_bytes(b) as f64),
                Dtype::I32 => words(data, |b| f64::from(i32::from_le_bytes(b))),
                Dtype::U8 => data.iter().map(|b| f64::from(*b)).collect(),
                other => return Err(Problem::key(name, format!("has numbers of type {other:?}"))),
            })
        })
    }

    /// Elements as f32.
    pub(super) fn f32s(&self, name: &str) -> Result<Vec<f32>, Problem> {
        Ok(self.f64s(name)?.into_iter().map(|x| x as f32).collect())
    }

    /// Elements as integers; others than whole numbers are refused, not cut.
    pub(super) fn i64s(&self, name: &str) -> Result<Vec<i64>, Problem> {
        let elements = self.f64s(name)?;
        if elements.iter().any(|x| x.fract() != 0.0) {
            return Err(Problem::key(name, "holds a number that is not whole"));
        }
        Ok(elements.into_iter().map(|x| x as i64).collect())
    }

    fn with<T>(
        &self,
        name: &str,
        then: impl FnOnce(safetensors::tensor::TensorView<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.know(name);
        let parsed = SafeTensors::deserialize(&self.bytes).map_err(|error| Problem::key(name, error))?;
        then(
            parsed
                .tensor(name)
                .map_err(|_| Problem::key(name, "is missing"))?,
        )
    }
}

fn words<const N: usize, T>(data: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)).collect()
}

/// IEEE half precision.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2.0_f32.powi(-24),
        31 if fraction > 0.0 => f32::NAN,
        31 => sign * f32::INFINITY,
        _ => sign * (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    }
}

/// Typed access to JSON, with the key in every error.
pub(super) trait Json {
    fn at(&self, key: &str) -> Result<&Value, Problem>;
    fn number(&self, key: &str) -> Result<f64, Problem>;
    fn count(&self, key: &str) -> Result<usize, Problem>;
    fn text(&self, key: &str) -> Result<&str, Problem>;
    fn list(&self, key: &str) -> Result<&Vec<Value>, Problem>;
    /// A list that is not empty: of none nothing would be compared.
    fn cases(&self, key: &str) -> Result<&Vec<Value>, Problem>;
    /// Deserialises what stands under the key.
    fn read<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, Problem>;
}

impl Json for Value {
    fn at(&self, key: &str) -> Result<&Value, Problem> {
        self.get(key).ok_or_else(|| Problem::key(key, "is missing"))
    }

    fn number(&self, key: &str) -> Result<f64, Problem> {
        self.at(key)?
            .as_f64()
            .ok_or_else(|| Problem::key(key, "is no number"))
    }

    fn count(&self, key: &str) -> Result<usize, Problem> {
        let number = self
            .at(key)?
            .as_u64()
            .ok_or_else(|| Problem::key(key, "is no count"))?;
        usize::try_from(number).map_err(|error| Problem::key(key, error))
    }

    fn text(&self, key: &str) -> Result<&str, Problem> {
        self.at(key)?
            .as_str()
            .ok_or_else(|| Problem::key(key, "is no text"))
    }

    fn list(&self, key: &str) -> Result<&Vec<Value>, Problem> {
        self.at(key)?
            .as_array()
            .ok_or_else(|| Problem::key(key, "is no list"))
    }

    fn cases(&self, key: &str) -> Result<&Vec<Value>, Problem> {
        match self.list(key)? {
            list if list.is_empty() => Err(Problem::key(key, EMPTY)),
            list => Ok(list),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, Problem> {
        T::deserialize(self.at(key)?).map_err(|error| Problem::key(key, error))
    }
}

/// Said of a list of cases without any.
const EMPTY: &str = "is empty: nothing would be compared";

/// The cases of a file that is a list of them.
pub(super) fn listed(value: &Value) -> Result<Vec<Value>, Problem> {
    match whole::<Vec<Value>>(value)? {
        list if list.is_empty() => Err(Problem::key("the file", EMPTY)),
        list => Ok(list),
    }
}

/// A value as a list or an object, for files without an outermost key.
pub(super) fn whole<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    T::deserialize(value).map_err(|error| Problem::key("the file", error))
}

/// A path of a file named in another one: it may lie in this folder or in the one above, and nowhere else.
pub(super) fn beside(folder: &Path, name: &str) -> Result<PathBuf, Problem> {
    let relative = Path::new(name);
    let plain = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(Problem::file(name, "is no name of a file beside this one"));
    }
    let above = folder.parent().map(|parent| parent.join(relative));
    let here = folder.join(relative);
    Ok(above
        .filter(|above| !here.exists() && above.exists())
        .unwrap_or(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_by_hand() {
        assert_eq!(half(0x3C00), 1.0);
        assert_eq!(half(0xC100), -2.5);
        assert_eq!(half(0x0001), 2.0_f32.powi(-24));
        assert!(half(0x7E00).is_nan() && half(0x7C00).is_infinite());
    }

    #[test]
    fn names_do_not_lead_out_of_the_folder() {
        for name in ["../../etc/passwd", "/etc/passwd", "", "a/../b"] {
            assert!(beside(Path::new("/x/y"), name).is_err(), "{name}");
        }
        assert_eq!(
            beside(Path::new("/x/y"), "a.png").unwrap(),
            Path::new("/x/y/a.png")
        );
    }
}
