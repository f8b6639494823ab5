//! The pickle inside a PyTorch file, read as data: a stack machine that knows tensors, dictionaries and plain values, and refuses
//! every other name. Nothing is looked up, imported or called.
//!
//! Containers lie in lists and refer to one another by index, so that no nesting, sharing or cycle costs more than its bytes.

use candle_core::DType;
use std::{collections::HashMap, rc::Rc};

/// A tensor: where its values lie in which storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorPlace {
    /// Name of the storage's entry in the archive, below `data/`.
    pub(super) storage: String,
    /// Type of the storage.
    pub(super) dtype: DType,
    /// Values in the storage.
    pub(super) count: usize,
    /// First value.
    pub(super) offset: usize,
    /// Sizes.
    pub(super) shape: Vec<usize>,
    /// Values from one to the next, by dimension.
    pub(super) strides: Vec<usize>,
}

/// The names that a tensor file needs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
}

#[derive(Debug, Clone)]
enum Value {
    Mark,
    /// None, a float, bytes, a list: nothing that a tensor is found by.
    Other,
    Int(i64),
    Text(Rc<str>),
    Tuple(usize),
    Dict(usize),
    Known(Known),
    Storage(usize),
    Tensor(usize),
}

/// What a pickle holds.
#[derive(Default)]
pub(super) struct Pickle {
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<(String, DType, usize)>,
    tensors: Vec<TensorPlace>,
    stack: Vec<Value>,
    memo: HashMap<usize, Value>,
    top: Option<usize>,
}

type Answer<T> = Result<T, String>;

fn known(module: &str, name: &str) -> Answer<Known> {
    Ok(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict") => Known::OrderedDict,
        ("torch", "Size") => Known::Size,
        ("torch._utils", "_rebuild_tensor_v2") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Known::RebuildParameter,
        ("torch", "FloatStorage") => Known::Storage(DType::F32),
        ("torch", "DoubleStorage") => Known::Storage(DType::F64),
        ("torch", "HalfStorage") => Known::Storage(DType::F16),
        ("torch", "BFloat16Storage") => Known::Storage(DType::BF16),
        ("torch", "LongStorage") => Known::Storage(DType::I64),
        ("torch", "ByteStorage") => Known::Storage(DType::U8),
        _ => {
            return Err(format!(
                "it names `{module}.{name}`, which is no part of a tensor; nothing of it was run"
            ));
        }
    })
}

/// The bytes not yet read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Answer<&'a [u8]> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or("it ends in the middle of a value")?;
        self.0 = tail;
        Ok(head)
    }

    /// An unsigned number of `count` bytes, the lowest first.
    fn number(&mut self, count: usize) -> Answer<usize> {
        let bytes = self.take(count)?;
        let value = bytes
            .iter()
            .rev()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| "a number is too large".to_owned())
    }

    fn text(&mut self, count: usize) -> Answer<Rc<str>> {
        let text = std::str::from_utf8(self.take(count)?).map_err(|_| "a text is not UTF-8")?;
        Ok(text.into())
    }

    fn line(&mut self) -> Answer<&'a str> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or("a name does not end")?;
        let line = std::str::from_utf8(self.take(end)?).map_err(|_| "a name is not UTF-8")?;
        self.take(1)?;
        Ok(line)
    }
}

impl Pickle {
    /// Reads a whole pickle. Fails with what it cannot be.
    pub(super) fn read(bytes: &[u8]) -> Answer<Self> {
        let mut pickle = Self::default();
        let mut bytes = Bytes(bytes);
        while pickle.step(&mut bytes)? {}
        match pickle.stack.pop() {
            Some(Value::Dict(top)) => pickle.top = Some(top),
            _ => return Err("it holds no dictionary of tensors".to_owned()),
        }
        Ok(pickle)
    }

    fn pop(&mut self) -> Answer<Value> {
        self.stack
            .pop()
            .ok_or_else(|| "it takes more than it has put down".to_owned())
    }

    fn since_mark(&mut self) -> Answer<Vec<Value>> {
        let place = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let place = place.ok_or("a group has no beginning")?;
        let group = self.stack.split_off(place + 1);
        self.stack.pop();
        Ok(group)
    }

    fn tuple(&mut self, values: Vec<Value>) {
        self.tuples.push(values);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    /// Puts pairs into the dictionary on top; into anything else nothing, since nothing else is looked into.
    fn insert(&mut self, pairs: &[Value]) {
        if let Some(Value::Dict(dict)) = self.stack.last() {
            let (pairs, _) = pairs.as_chunks::<2>();
            self.dicts[*dict].extend(pairs.iter().cloned().map(|[key, value]| (key, value)));
        }
    }

    /// One instruction; false at the end.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Answer<bool> {
        let code = bytes.number(1)?;
        match u8::try_from(code).unwrap_or_default() {
            b'.' => return Ok(false),
            0x80 => drop(bytes.take(1)?),
            0x95 => drop(bytes.take(8)?),
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'c' => {
                let (module, name) = (bytes.line()?, bytes.line()?);
                self.stack.push(Value::Known(known(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(name), Value::Text(module)) = (name, module) else {
                    return Err("a name is not a text".to_owned());
                };
                self.stack.push(Value::Known(known(&module, &name)?));
            }
            code @ (b'q' | b'r' | 0x94 | b'h' | b'j') => self.memory(code, bytes)?,
            code @ (b'R' | 0x81 | b'b' | b'Q') => self.build(code)?,
            code @ (b')' | b't' | 0x85..=0x87 | b'}' | b'd' | b's' | b'u') => self.container(code)?,
            code @ (b']' | b'l' | b'a' | b'e' | 0x8f | 0x90) => self.list(code)?,
            code => self.literal(code, bytes)?,
        }
        Ok(true)
    }

    fn memory(&mut self, code: u8, bytes: &mut Bytes<'_>) -> Answer<()> {
        let place = match code {
            b'q' | b'h' => bytes.number(1)?,
            b'r' | b'j' => bytes.number(4)?,
            _ => self.memo.len(),
        };
        if matches!(code, b'h' | b'j') {
            let value = self.memo.get(&place).ok_or("it recalls what it has not kept")?;
            self.stack.push(value.clone());
        } else {
            let value = self.stack.last().ok_or("it keeps what is not there")?;
            self.memo.insert(place, value.clone());
        }
        Ok(())
    }

    fn container(&mut self, code: u8) -> Answer<()> {
        match code {
            b')' => self.tuple(Vec::new()),
            b't' => {
                let group = self.since_mark()?;
                self.tuple(group);
            }
            0x85..=0x87 => {
                let place = self.stack.len().checked_sub(usize::from(code - 0x84));
                let group = self.stack.split_off(place.ok_or("a group is not there")?);
                self.tuple(group);
            }
            b'}' => self.dict(),
            b'd' => {
                let group = self.since_mark()?;
                self.dict();
                self.insert(&group);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value]);
            }
            _ => {
                let group = self.since_mark()?;
                self.insert(&group);
            }
        }
        Ok(())
    }

    /// Lists and sets: their items are dropped.
    fn list(&mut self, code: u8) -> Answer<()> {
        match code {
            b']' | 0x8f => self.stack.push(Value::Other),
            b'l' => {
                self.since_mark()?;
                self.stack.push(Value::Other);
            }
            b'a' => drop(self.pop()?),
            _ => drop(self.since_mark()?),
        }
        Ok(())
    }

    fn literal(&mut self, code: u8, bytes: &mut Bytes<'_>) -> Answer<()> {
        let value = match code {
            b'N' => Value::Other,
            0x88 => Value::Int(1),
            0x89 => Value::Int(0),
            b'G' => {
                bytes.take(8)?;
                Value::Other
            }
            b'K' => Value::Int(i64::try_from(bytes.number(1)?).unwrap_or_default()),
            b'M' => Value::Int(i64::try_from(bytes.number(2)?).unwrap_or_default()),
            b'J' => Value::Int(signed(bytes.take(4)?)),
            0x8a => {
                let count = bytes.number(1)?;
                match bytes.take(count)? {
                    few if few.len() <= 8 => Value::Int(signed(few)),
                    _ => Value::Other,
                }
            }
            0x8c => {
                let count = bytes.number(1)?;
                Value::Text(bytes.text(count)?)
            }
            b'X' => {
                let count = bytes.number(4)?;
                Value::Text(bytes.text(count)?)
            }
            0x8d => {
                let count = bytes.number(8)?;
                Value::Text(bytes.text(count)?)
            }
            b'C' | b'U' => {
                let count = bytes.number(1)?;
                bytes.take(count)?;
                Value::Other
            }
            b'B' | b'T' => {
                let count = bytes.number(4)?;
                bytes.take(count)?;
                Value::Other
            }
            code => {
                return Err(format!(
                    "it holds the instruction {code:#04x}, which no tensor file needs"
                ));
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// What the known names make of their arguments, and references to storages.
    fn build(&mut self, code: u8) -> Answer<()> {
        let argument = self.pop()?;
        if code == b'Q' {
            let storage = self.storage(&argument)?;
            self.stack.push(storage);
            return Ok(());
        }
        if code == b'b' {
            // attributes of the object below (a state dict's versions); the object stays
            return Ok(());
        }
        let Value::Known(callable) = self.pop()? else {
            return Err("it calls what is not a name".to_owned());
        };
        match callable {
            Known::OrderedDict => self.dict(),
            Known::Size => self.stack.push(argument),
            Known::RebuildTensor => {
                let place = self.tensor(&argument)?;
                self.tensors.push(place);
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            Known::RebuildParameter => {
                let first = self.items(&argument)?.first().cloned();
                self.stack.push(first.ok_or("a parameter without a tensor")?);
            }
            Known::Storage(_) => return Err("a storage that does not lie in the archive".to_owned()),
        }
        Ok(())
    }

    fn items(&self, value: &Value) -> Answer<&[Value]> {
        match value {
            Value::Tuple(place) => Ok(&self.tuples[*place]),
            _ => Err("arguments are not a group".to_owned()),
        }
    }

    fn sizes(&self, value: &Value) -> Answer<Vec<usize>> {
        self.items(value)?.iter().map(whole).collect()
    }

    /// ("storage", its type, its name, device, number of values).
    fn storage(&mut self, value: &Value) -> Answer<Value> {
        let [
            _,
            Value::Known(Known::Storage(dtype)),
            Value::Text(name),
            _,
            count,
        ] = self.items(value)?
        else {
            return Err("a storage is not told as torch tells it".to_owned());
        };
        let storage = (name.to_string(), *dtype, whole(count)?);
        self.storages.push(storage);
        Ok(Value::Storage(self.storages.len() - 1))
    }

    /// (storage, offset, sizes, strides, ...).
    fn tensor(&self, arguments: &Value) -> Answer<TensorPlace> {
        let [Value::Storage(storage), offset, shape, strides, ..] = self.items(arguments)? else {
            return Err("a tensor is not told as torch tells it".to_owned());
        };
        let (name, dtype, count) = &self.storages[*storage];
        let place = TensorPlace {
            storage: name.clone(),
            dtype: *dtype,
            count: *count,
            offset: whole(offset)?,
            shape: self.sizes(shape)?,
            strides: self.sizes(strides)?,
        };
        if place.strides.len() != place.shape.len() || !place.fits() {
            return Err(format!(
                "a tensor of {:?} reaches beyond its storage of {count}",
                place.shape
            ));
        }
        Ok(place)
    }

    /// The tensors of a dictionary, by name: the one at the top, or below it along `path`.
    pub(super) fn tensors(&self, path: &[&str]) -> Option<Vec<(String, TensorPlace)>> {
        let mut dict = self.top?;
        for key in path {
            let below = self.dicts[dict]
                .iter()
                .rev()
                .find(|(name, _)| matches!(name, Value::Text(name) if **name == **key));
            let Some((_, Value::Dict(next))) = below else {
                return None;
            };
            dict = *next;
        }
        let named = |(key, value): &(Value, Value)| match (key, value) {
            (Value::Text(key), Value::Tensor(place)) => Some((key.to_string(), self.tensors[*place].clone())),
            _ => None,
        };
        Some(self.dicts[dict].iter().filter_map(named).collect())
    }
}

fn whole(value: &Value) -> Answer<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).map_err(|_| "a size is negative".to_owned()),
        _ => Err("a size is not a number".to_owned()),
    }
}

/// Two's complement, the lowest byte first; at most eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes
        .iter()
        .rev()
        .fold(start, |value: i64, byte| value << 8 | i64::from(*byte))
}

impl TensorPlace {
    /// Number of values; `None` if no machine could hold them.
    pub(super) fn elements(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1usize, |count, size| count.checked_mul(*size))
    }

    /// Whether the last value lies within the storage.
    fn fits(&self) -> bool {
        let reach = |last: usize, (size, stride): (&usize, &usize)| {
            last.checked_add(size.checked_sub(1)?.checked_mul(*stride)?)
        };
        match self.elements() {
            Some(0) => true,
            // no more values than the storage has: strides of zero must not make much of little
            Some(count) if count <= self.count => {
                let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, reach);
                last.is_some_and(|last| last < self.count)
            }
            _ => false,
        }
    }

    /// The tensor's values in order, from the bytes of its storage.
    pub(super) fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let size = self.dtype.size_in_bytes();
        let mut order = vec![self.offset];
        for (count, stride) in self.shape.iter().zip(&self.strides) {
            order = order
                .iter()
                .flat_map(|start| (0..*count).map(move |index| start + index * stride))
                .collect();
        }
        order
            .iter()
            .flat_map(|place| &storage[place * size..][..size])
            .copied()
            .collect()
    }

    /// Whether the values lie in order.
    pub(super) fn in_order(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        })
    }
}
