//! What stages are built with: networks by role, loaded when first used, and the small conversions they share.
//!
//! A plan knows every network's hash without opening one, so a dry run needs no weights.

use crate::services::Hub;
use omni_perception::{
    Error, Network,
    audio::{
        diarize::{DiarizeSettings, Diarizer},
        embedding::SpeakerEmbedder,
        segmentation::SpeakerSegmentation,
        vad::{Vad, VadSettings},
        whisper::{Recognizer, WhisperFiles},
    },
    registry::{Located, Registry, Store},
    runtime::{Device, Runtime},
    vision::{self, DetectSettings, FaceDetector, FaceEmbedder},
};
use omni_pipeline::Fault;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

/// Where networks are found and what they run on.
pub struct KitSettings {
    /// The list of networks.
    pub registry: Registry,
    /// Where their files lie.
    pub store: Store,
    /// The profile that picks one network per role.
    pub profile: String,
    /// What they run on.
    pub device: Device,
    /// ONNX Runtime's library.
    pub library: PathBuf,
}

struct Shared {
    settings: KitSettings,
    runtime: Mutex<Option<Runtime>>,
    asked: Mutex<Asked>,
    hub: OnceLock<Arc<Hub>>,
}

/// Which stage asked for which roles.
#[derive(Default)]
struct Asked {
    stage: String,
    roles: BTreeMap<String, BTreeSet<String>>,
}

/// Hands out networks by role. Cheap to clone.
#[derive(Clone)]
pub struct Kit(Arc<Shared>);

type Load<T> = Box<dyn Fn() -> Result<Arc<T>, Error> + Send + Sync>;

/// A network whose identity is known and which is loaded when first asked for.
pub struct Loaded<T: ?Sized> {
    /// Its id and hash.
    pub network: Network,
    load: Load<T>,
    cell: OnceLock<Arc<T>>,
    loading: Mutex<()>,
}

impl<T: ?Sized> Loaded<T> {
    fn new(network: Network, load: impl Fn() -> Result<Arc<T>, Error> + Send + Sync + 'static) -> Self {
        Self {
            network,
            load: Box::new(load),
            cell: OnceLock::new(),
            loading: Mutex::new(()),
        }
    }

    /// The network; loads it the first time. A missing or broken one ends the run, not the clip.
    pub fn get(&self) -> Result<&T, Fault> {
        if let Some(ready) = self.cell.get() {
            return Ok(ready);
        }
        let _one_at_a_time = self
            .loading
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.cell.get().is_none() {
            let ready = (self.load)().map_err(|error| Fault::Stop(Box::new(error)))?;
            // Only the holder of the lock sets the cell, so it is empty here.
            let _ = self.cell.set(ready);
        }
        self.cell
            .get()
            .map(Arc::as_ref)
            .ok_or_else(|| Fault::Stop("a network was loaded and lost".into()))
    }
}

impl Kit {
    /// A kit that loads nothing yet.
    pub fn new(settings: KitSettings) -> Self {
        Self(Arc::new(Shared {
            settings,
            runtime: Mutex::new(None),
            asked: Mutex::default(),
            hub: OnceLock::new(),
        }))
    }

    /// The same kit with services; the first hub given stays.
    pub fn with_hub(self, hub: Arc<Hub>) -> Self {
        let _ = self.0.hub.set(hub);
        self
    }

    /// The services of this run; `None` when it calls none.
    pub fn hub(&self) -> Option<Arc<Hub>> {
        self.0.hub.get().cloned()
    }

    /// Says which stage is being built, so that [`Kit::check`] can tell whose networks are needed.
    pub fn begin(&self, stage: &str) {
        self.asked().stage = stage.to_owned();
    }

    /// Whether the networks of these stages, and the runtime, are here and right. Fails with the first that is not.
    pub fn check(&self, stages: &[&str]) -> Result<(), Error> {
        let roles: BTreeSet<String> = {
            let asked = self.asked();
            stages
                .iter()
                .filter_map(|stage| asked.roles.get(*stage))
                .flatten()
                .cloned()
                .collect()
        };
        for role in &roles {
            self.locate(role)?;
        }
        if !roles.is_empty() {
            self.runtime()?;
        }
        Ok(())
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.0
            .asked
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Name of the profile.
    pub fn profile(&self) -> &str {
        &self.0.settings.profile
    }

    /// The face detector of the profile.
    pub fn face_detector(&self, detect: DetectSettings) -> Result<Loaded<dyn FaceDetector>, Error> {
        self.role("face_detector", move |kit, found| {
            let runtime = kit.runtime()?;
            Ok(Arc::from(vision::face_detector(
                &runtime,
                &found.first(),
                found.network(),
                &detect,
            )?))
        })
    }

    /// The face embedder of the profile.
    pub fn face_embedder(&self) -> Result<Loaded<dyn FaceEmbedder>, Error> {
        self.role("face_embedder", |kit, found| {
            let runtime = kit.runtime()?;
            Ok(Arc::from(vision::face_embedder(
                &runtime,
                &found.first(),
                found.network(),
            )?))
        })
    }

    /// The speaker embedder of the profile.
    pub fn speaker_embedder(&self) -> Result<Loaded<SpeakerEmbedder>, Error> {
        self.role("speaker_embedder", |kit, found| {
            let runtime = kit.runtime()?;
            Ok(Arc::new(SpeakerEmbedder::open(
                &runtime,
                &found.first(),
                found.network(),
            )?))
        })
    }

    /// The recogniser of the profile.
    pub fn recognizer(&self) -> Result<Loaded<Recognizer>, Error> {
        self.role("asr", |kit, found| {
            let runtime = kit.runtime()?;
            Ok(Arc::new(Recognizer::open(
                &runtime,
                &WhisperFiles::of(&found),
                found.network(),
            )?))
        })
    }

    /// Voice activity, speaker segmentation and speaker embedding of the profile, as one diariser; and their tags.
    pub fn diarizer(&self) -> Result<(Loaded<Diarizer>, Vec<String>), Error> {
        let roles = ["vad", "speaker_segmentation", "speaker_embedder"];
        let networks = roles
            .iter()
            .map(|role| self.network(role))
            .collect::<Result<Vec<_>, _>>()?;
        let tags = networks.iter().map(Network::tag).collect();
        let loaded = self.role("vad", |kit, vad| {
            let runtime = kit.runtime()?;
            let [segmentation, speakers] = [
                kit.locate("speaker_segmentation")?,
                kit.locate("speaker_embedder")?,
            ];
            Ok(Arc::new(Diarizer::new(
                Vad::open(&runtime, &vad.first(), vad.network(), VadSettings::default())?,
                SpeakerSegmentation::open(&runtime, &segmentation.first(), segmentation.network())?,
                SpeakerEmbedder::open(&runtime, &speakers.first(), speakers.network())?,
                DiarizeSettings::default(),
            )))
        })?;
        Ok((loaded, tags))
    }

    /// Identity of the profile's network for a role; opens nothing.
    pub fn network(&self, role: &str) -> Result<Network, Error> {
        let settings = &self.0.settings;
        let mut asked = self.asked();
        let stage = asked.stage.clone();
        asked.roles.entry(stage).or_default().insert(role.to_owned());
        drop(asked);
        Ok(settings.registry.role(&settings.profile, role)?.network())
    }

    fn role<T: ?Sized + 'static>(
        &self,
        role: &'static str,
        load: impl Fn(&Kit, Located) -> Result<Arc<T>, Error> + Send + Sync + 'static,
    ) -> Result<Loaded<T>, Error> {
        let kit = self.clone();
        Ok(Loaded::new(self.network(role)?, move || {
            load(&kit, kit.locate(role)?)
        }))
    }

    fn locate(&self, role: &str) -> Result<Located, Error> {
        let settings = &self.0.settings;
        settings.store.locate(&settings.registry, &settings.profile, role)
    }

    fn runtime(&self) -> Result<Runtime, Error> {
        let mut runtime = self
            .0
            .runtime
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(open) = runtime.as_ref() {
            return Ok(open.clone());
        }
        let open = Runtime::open(&self.0.settings.library, self.0.settings.device.clone())?;
        *runtime = Some(open.clone());
        Ok(open)
    }
}

/// A clip whose media cannot be used is dropped for the media crate's own reason.
pub fn media_fault(error: omni_media::Error) -> Fault {
    Fault::Drop(error.reason().to_owned())
}

/// A network that fails on one input is no property of the clip: the run stops.
pub fn network_fault(error: Error) -> Fault {
    Fault::Stop(Box::new(error))
}

/// Settings as JSON; a settings struct always serialises.
pub fn settings_json<T: serde::Serialize>(settings: &T) -> serde_json::Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// Scales a vector to length 1; a vector without length becomes empty.
pub fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    if length <= f64::EPSILON {
        return Vec::new();
    }
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}
