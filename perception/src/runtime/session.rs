//! A network that any number of threads may call at once.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{OutputSelector, RunOptions, SessionInputValue};

use super::device::providers;
use super::{Kind, Output, Runtime, Tensor};
use crate::{Error, Network};

/// A value that stays inside ONNX Runtime between calls (a decoder's key and value cache).
pub(crate) type Value = ort::value::DynValue;

/// An input of [`Session::run_kept`]: borrowed elements, or a value that an earlier call returned.
pub(crate) enum Feed<'a> {
    /// Elements of ours.
    Tensor(Tensor<'a>),
    /// A value kept from an earlier call; not copied.
    Kept(&'a Value),
}

/// A declared input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name in the graph.
    pub name: String,
    /// Element type; `None` when it is none of [`Kind`] or no tensor.
    pub kind: Option<Kind>,
    /// Sizes, outermost first; `None` where the graph leaves a size open.
    pub shape: Vec<Option<usize>>,
}

/// What a role expects of one input.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Name, or `None` for networks that are addressed by position.
    pub name: Option<&'a str>,
    /// Element type.
    pub kind: Kind,
    /// Number of dimensions.
    pub rank: usize,
}

/// How often a session ran and how long that took, summed over all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calls {
    /// Finished calls.
    pub count: u64,
    /// Seconds spent inside ONNX Runtime.
    pub seconds: f64,
}

thread_local! {
    /// Nanoseconds that this thread has spent inside ONNX Runtime.
    static INSIDE: Cell<u64> = const { Cell::new(0) };
}

/// Seconds that the calling thread has spent inside ONNX Runtime so far, over all sessions: the difference of two
/// answers is what the networks themselves took of the work between them.
pub fn thread_seconds() -> f64 {
    INSIDE.get() as f64 * 1e-9
}

/// One network, loaded from one file: a pool that grows to the number of callers at work at the same time.
pub struct Session {
    runtime: Runtime,
    network: Network,
    file: PathBuf,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    free: Mutex<Vec<ort::session::Session>>,
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Session {
    /// Loads the graph in `file`; `network` names it in errors and in results.
    ///
    /// # Errors
    /// [`Error::Network`] when the file is no graph that this ONNX Runtime reads; [`Error::Device`] when the
    /// runtime's device refuses.
    pub fn open(runtime: &Runtime, file: &Path, network: Network) -> Result<Session, Error> {
        let first = create(runtime, file, &network)?;
        Ok(Session {
            runtime: runtime.clone(),
            inputs: first.inputs().iter().map(port).collect(),
            outputs: first.outputs().iter().map(port).collect(),
            network,
            file: file.to_owned(),
            free: Mutex::new(vec![first]),
            count: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
        })
    }

    /// The network this session runs.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Declared inputs, in the graph's order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// Declared outputs, in the graph's order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Calls and seconds so far, over all threads.
    pub fn calls(&self) -> Calls {
        let seconds = self.nanos.load(Ordering::Relaxed) as f64 * 1e-9;
        Calls {
            count: self.count.load(Ordering::Relaxed),
            seconds,
        }
    }

    /// An [`Error::Network`] about this network.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::Network {
            network: self.network.id.clone(),
            message: message.into(),
        }
    }

    /// Checks that the graph declares these inputs (by name, or by position where no name is given).
    ///
    /// # Errors
    /// [`Error::Network`] naming the input and what it was found to be.
    pub fn expect_inputs(&self, expected: &[Expect<'_>]) -> Result<(), Error> {
        for (position, expect) in expected.iter().enumerate() {
            let port = match expect.name {
                Some(name) => self.inputs.iter().find(|port| port.name == name),
                None => self.inputs.get(position),
            };
            let name = expect
                .name
                .map_or_else(|| format!("number {position}"), |name| format!("`{name}`"));
            let port =
                port.ok_or_else(|| self.error(format!("it has no input {name}: is this another network?")))?;
            if port.kind != Some(expect.kind) || port.shape.len() != expect.rank {
                return Err(self.error(format!(
                    "input {name} should be {:?} with {} dimensions, the file has {:?} with shape {:?}",
                    expect.kind, expect.rank, port.kind, port.shape
                )));
            }
        }
        Ok(())
    }

    /// Checks the number of declared outputs.
    ///
    /// # Errors
    /// [`Error::Network`] with both numbers.
    pub fn expect_outputs(&self, count: usize) -> Result<(), Error> {
        if self.outputs.len() == count {
            return Ok(());
        }
        Err(self.error(format!(
            "it should have {count} outputs, the file has {}",
            self.outputs.len()
        )))
    }

    /// Runs the network once; outputs come in the graph's order. Safe to call from many threads.
    ///
    /// # Errors
    /// [`Error::Network`] with ONNX Runtime's own words.
    pub fn run(&self, inputs: &[(&str, Tensor<'_>)]) -> Result<Vec<Output>, Error> {
        let mut values = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            values.push((
                *name,
                tensor
                    .view()
                    .map_err(|error| self.error(format!("input `{name}`: {error}")))?,
            ));
        }
        let names: Vec<&str> = self.outputs.iter().map(|port| port.name.as_str()).collect();
        self.with_session(values, &names, |name, value| Output::of(name, &value))
    }

    /// Runs the network and leaves the outputs whose names are `wanted` inside ONNX Runtime, to be inputs of a later
    /// call; the memory of the others (attention maps of tens of megabytes, often) is used again within the call.
    pub(crate) fn run_kept(
        &self,
        inputs: &[(&str, Feed<'_>)],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, Value)>, Error> {
        let mut values = Vec::with_capacity(inputs.len());
        for (name, feed) in inputs {
            let value = match feed {
                Feed::Tensor(tensor) => tensor
                    .view()
                    .map_err(|error| self.error(format!("input `{name}`: {error}")))?,
                Feed::Kept(value) => SessionInputValue::from(*value),
            };
            values.push((*name, value));
        }
        let names = self.outputs.iter().map(|port| port.name.as_str());
        let names: Vec<&str> = names.filter(|name| wanted(name)).collect();
        self.with_session(values, &names, |name, value| Ok((name.to_owned(), value)))
    }

    /// Reads a kept value.
    pub(crate) fn read(&self, name: &str, value: &Value) -> Result<Output, Error> {
        Output::of(name, value).map_err(|error| self.error(error))
    }

    fn with_session<T>(
        &self,
        values: Vec<(&str, SessionInputValue<'_>)>,
        outputs: &[&str],
        mut each: impl FnMut(&str, Value) -> Result<T, String>,
    ) -> Result<Vec<T>, Error> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = match free {
            Some(session) => session,
            None => create(&self.runtime, &self.file, &self.network)?,
        };
        let wanted = outputs
            .iter()
            .fold(OutputSelector::no_default(), |all, name| all.with(*name));
        let options = RunOptions::new().map_err(|error| self.error(error.to_string()))?;
        let options = options.with_outputs(wanted);
        let start = Instant::now();
        let result = match session.run_with_options(values, &options) {
            Ok(outputs) => {
                self.count_call(start);
                outputs
                    .into_iter()
                    .map(|(name, value)| each(name, value))
                    .collect()
            }
            Err(error) => Err(error.to_string()),
        };
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
        result.map_err(|error| self.error(error))
    }

    fn count_call(&self, start: Instant) {
        let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        INSIDE.set(INSIDE.get().saturating_add(nanos));
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(
    clippy::result_large_err,
    reason = "the errors of ort's builder carry the builder"
)]
/// One more session of the same file: one thread, in sequence, all graph optimisations, reproducible sums.
fn create(runtime: &Runtime, file: &Path, network: &Network) -> Result<ort::session::Session, Error> {
    let fail = |error: String| Error::Network {
        network: network.id.clone(),
        message: format!("{} could not be loaded: {error}", file.display()),
    };
    let builder = ort::session::Session::builder(runtime.environment())
        .map_err(|error| fail(error.to_string()))?
        .with_intra_threads(1)
        .and_then(|builder| builder.with_inter_threads(1))
        .and_then(|builder| builder.with_parallel_execution(false))
        .and_then(|builder| builder.with_optimization_level(GraphOptimizationLevel::All))
        .and_then(|builder| builder.with_deterministic_compute(true))
        .and_then(|builder| builder.with_log_level(ort::logging::LogLevel::Fatal))
        .map_err(|error| fail(error.to_string()))?;
    let mut builder = builder
        .with_execution_providers(providers(runtime.device()))
        .map_err(|error| Error::Device {
            device: runtime.device().to_string(),
            message: error.to_string(),
        })?;
    builder
        .commit_from_file(file)
        .map_err(|error| fail(error.to_string()))
}

fn port(outlet: &ort::value::Outlet) -> Port {
    let (kind, shape) = match outlet.dtype() {
        ort::value::ValueType::Tensor { ty, shape, .. } => (
            Kind::of(*ty),
            shape.iter().map(|&size| usize::try_from(size).ok()).collect(),
        ),
        _ => (None, Vec::new()),
    };
    Port {
        name: outlet.name().to_owned(),
        kind,
        shape,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn open(file: &Path) -> Option<Session> {
        let runtime = testing::runtime()?;
        Some(Session::open(&runtime, file, testing::network("tiny")).unwrap())
    }

    #[test]
    fn a_graph_runs_with_names_shapes_and_counts() {
        let file = testing::doubling_graph();
        let Some(session) = open(file.path()) else { return };
        let shape = vec![None, Some(2)];
        assert_eq!(
            session.inputs(),
            [Port {
                name: "x".into(),
                kind: Some(Kind::F32),
                shape
            }]
        );
        let out = session
            .run(&[("x", Tensor::f32(&[2, 2], &[1.0, -2.0, 0.5, 4.0]))])
            .unwrap();
        assert_eq!(out.len(), 1);
        assert_eq!(
            (out[0].name.as_str(), out[0].shape.as_slice()),
            ("y", &[2, 2][..])
        );
        assert_eq!(out[0].f32s().unwrap(), [2.0, -4.0, 1.0, 8.0]);
        assert_eq!(session.calls().count, 1);
        assert!(session.calls().seconds > 0.0);
        // The calling thread's own clock: nobody else called in it, and another thread has been nowhere.
        assert_eq!(thread_seconds(), session.calls().seconds);
        assert_eq!(std::thread::spawn(thread_seconds).join().unwrap(), 0.0);
    }

    #[test]
    fn kept_outputs_are_inputs_of_the_next_call() {
        let file = testing::doubling_graph();
        let Some(session) = open(file.path()) else { return };
        let mut kept = session
            .run_kept(&[("x", Feed::Tensor(Tensor::f32(&[1, 2], &[1.0, 3.0])))], |_| {
                true
            })
            .unwrap();
        for _ in 0..3 {
            kept = session
                .run_kept(&[("x", Feed::Kept(&kept[0].1))], |name| name == "y")
                .unwrap();
        }
        let none = session.run_kept(&[("x", Feed::Kept(&kept[0].1))], |name| name == "z");
        assert!(none.is_err(), "a call that wants nothing");
        assert_eq!(
            session.read("y", &kept[0].1).unwrap().f32s().unwrap(),
            [16.0, 48.0]
        );
    }

    #[test]
    fn an_empty_tensor_is_a_value_like_any_other() {
        let file = testing::doubling_graph();
        let Some(session) = open(file.path()) else { return };
        let out = session.run(&[("x", Tensor::f32(&[0, 2], &[]))]).unwrap();
        assert_eq!(out[0].shape, [0, 2]);
    }

    #[test]
    fn wrong_inputs_are_errors_that_name_the_network() {
        let file = testing::doubling_graph();
        let Some(session) = open(file.path()) else { return };
        for (name, shape) in [("x", &[2, 3][..]), ("x", &[1, 2]), ("z", &[3, 2]), ("x", &[6])] {
            let error = session.run(&[(name, Tensor::f32(shape, &[0.0; 6]))]).unwrap_err();
            assert!(error.to_string().contains("tiny"), "{error}");
        }
        assert!(session.run(&[]).is_err());
        assert!(
            session
                .expect_inputs(&[Expect {
                    name: Some("x"),
                    kind: Kind::F32,
                    rank: 2
                }])
                .is_ok()
        );
        assert!(
            session
                .expect_inputs(&[Expect {
                    name: None,
                    kind: Kind::I64,
                    rank: 2
                }])
                .is_err()
        );
        assert!(
            session
                .expect_inputs(&[Expect {
                    name: None,
                    kind: Kind::F32,
                    rank: 4
                }])
                .is_err()
        );
        assert!(
            session
                .expect_inputs(&[Expect {
                    name: Some("w"),
                    kind: Kind::F32,
                    rank: 2
                }])
                .is_err()
        );
        assert!(session.expect_outputs(1).is_ok() && session.expect_outputs(2).is_err());
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let Some(runtime) = testing::runtime() else { return };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\x08\x08:\xffnonsense").unwrap();
        assert!(Session::open(&runtime, file.path(), testing::network("broken")).is_err());
        assert!(Session::open(&runtime, Path::new("/nowhere/x.onnx"), testing::network("none")).is_err());
    }

    #[test]
    fn many_threads_share_one_session() {
        let file = testing::doubling_graph();
        let Some(session) = open(file.path()) else { return };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let session = &session;
                scope.spawn(move || {
                    for call in 0..50 {
                        let value = (thread * 100 + call) as f32;
                        let out = session
                            .run(&[("x", Tensor::f32(&[1, 2], &[value, 1.0]))])
                            .unwrap();
                        assert_eq!(out[0].f32s().unwrap(), [2.0 * value, 2.0]);
                    }
                });
            }
        });
        assert_eq!(session.calls().count, 200);
        assert!(session.free.lock().unwrap().len() <= 4);
    }
}
