//! The metrics of a profile: each with its networks, opened once and shared.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use omni_perception::{
    Error,
    audio::{
        audiobox::AudioBox,
        dnsmos::Dnsmos,
        embedding::SpeakerEmbedder,
        wavlm::WavLm,
        whisper::{Recognizer, WhisperFiles},
    },
    imagebind::{ImageBind, Tower, text::ClipTokenizer},
    registry::{FileSpec, Located, Registry, Store},
    runtime::{Device, Runtime},
    syncnet::SyncNet,
    vision::{
        self, DetectSettings, FaceDetector, FaceEmbedder, aesthetic::Aesthetic, brisque::Brisque,
        musiq::Musiq,
    },
};

use crate::{
    metric::Metric,
    metrics::{
        av_offset::AvOffset,
        binding::Binding,
        brisque::Natural,
        dnsmos::Listeners,
        face::Faces,
        imagebind::{Together, Towers},
        pictures::Pictures,
        pq::{Production, scales},
        sync::{LipSync, Mode},
        t_sim::{Voice, Voices},
        tf::Tf,
        wer::{Protocol, Wer},
    },
    run::header::{FileUsed, NetworkUsed, UnseenRole},
};

/// Every metric's name, in the order of the paper's table; then our own.
pub const METRICS: &[&str] = &[
    "face",
    "t_sim",
    "sync",
    "ib",
    "aq",
    "iq",
    "tf",
    "wer",
    "pq",
    "av_offset",
    "binding",
    "dnsmos",
    "brisque",
];

/// Why a metric of a profile cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// There is no metric of that name.
    #[error("no metric `{0}`; there are: {list}", list = METRICS.join(", "))]
    Unknown(String),
    /// The profile has no network for a role.
    #[error("`{metric}` needs a network for {role}, and profile `{profile}` has none")]
    NoRole {
        /// The metric.
        metric: String,
        /// The role.
        role: String,
        /// The profile.
        profile: String,
    },
    /// Its weights are not here, or are no such network.
    #[error(transparent)]
    Network(#[from] Error),
}

impl Unavailable {
    /// The fixed word that stands in place of the readings; `None` when somebody should be told instead.
    pub fn word(&self) -> Option<&'static str> {
        match self {
            Unavailable::NoRole { .. } => Some("no_network"),
            Unavailable::Network(Error::NoWeights { .. } | Error::Runtime { .. }) => Some("no_weights"),
            _ => None,
        }
    }
}

/// How readings are made where there is more than one way; each other way has a name of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Which tracks the sync readings are of.
    pub sync: Mode,
    /// By which rules words are compared.
    pub wer: Protocol,
}

/// Opens networks of one profile.
pub struct Networks {
    ways: Ways,
    registry: Registry,
    store: Store,
    profile: String,
    device: Device,
    library: PathBuf,
    runtime: OnceLock<Runtime>,
    opened: Mutex<BTreeMap<String, Located>>,
    detector: OnceLock<Arc<dyn FaceDetector>>,
    recognizer: OnceLock<Arc<Recognizer>>,
}

impl Networks {
    /// Nothing is opened yet; `library` is ONNX Runtime's.
    pub fn new(
        registry: Registry,
        store: Store,
        profile: &str,
        device: Device,
        library: PathBuf,
    ) -> Networks {
        Networks {
            ways: Ways::default(),
            registry,
            store,
            profile: profile.to_owned(),
            device,
            library,
            runtime: OnceLock::new(),
            opened: Mutex::default(),
            detector: OnceLock::new(),
            recognizer: OnceLock::new(),
        }
    }

    /// With other ways of making readings.
    #[must_use]
    pub fn with_ways(mut self, ways: Ways) -> Networks {
        self.ways = ways;
        self
    }

    /// A metric by its name, with its networks loaded.
    ///
    /// # Errors
    /// [`Unavailable`], saying what is lacking.
    pub fn metric(&self, name: &str) -> Result<Box<dyn Metric>, Unavailable> {
        Ok(match name {
            "tf" => Box::new(Tf),
            "face" => Box::new(Faces::new(self.detector(name)?, self.embedder(name)?)),
            "wer" => Box::new(Wer::new(self.recognizer(name)?).with_protocol(self.ways.wer)),
            "t_sim" => Box::new(Voices::new(self.voice(name)?, self.recognizer(name)?)),
            "binding" => Box::new(Binding::new(
                self.detector(name)?,
                self.embedder(name)?,
                self.recognizer(name)?,
            )),
            "av_offset" => Box::new(AvOffset::new(self.detector(name)?)),
            "iq" => {
                let (runtime, found) = self.locate(name, "image_quality")?;
                Box::new(Pictures::new(Arc::new(Musiq::open(
                    &runtime,
                    &found.first(),
                    found.network(),
                )?)))
            }
            "aq" => {
                let (runtime, found) = self.locate(name, "aesthetic")?;
                Box::new(Pictures::new(Arc::new(Aesthetic::open(
                    &runtime,
                    &found.first(),
                    found.network(),
                )?)))
            }
            "pq" => self.production(name)?,
            "sync" => {
                let (runtime, found) = self.locate(name, "lip_sync")?;
                let (lips, sound) = (
                    found.file("syncnet_v2_lip.onnx"),
                    found.file("syncnet_v2_audio.onnx"),
                );
                let lips = SyncNet::open(&runtime, &lips, &sound, found.network())?;
                let (detector, embedder) = (self.detector(name)?, self.embedder(name)?);
                Box::new(LipSync::new(Arc::new(lips), detector, embedder).with_mode(self.ways.sync))
            }
            "dnsmos" => {
                let (runtime, found) = self.locate(name, "speech_quality")?;
                Box::new(Listeners::new(Arc::new(Dnsmos::open(
                    &runtime,
                    &found.first(),
                    found.network(),
                )?)))
            }
            // A regression over 36 numbers, which no ONNX Runtime is needed for.
            "brisque" => {
                let found = self.find(name, "naturalness")?;
                Box::new(Natural::new(Arc::new(Brisque::open(
                    &found.first(),
                    found.network(),
                )?)))
            }
            "ib" => Box::new(Together::new(Arc::new(self.towers(name)?))),
            other => return Err(Unavailable::Unknown(other.to_owned())),
        })
    }

    /// The profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// What the networks run on, for example `cpu` or `cuda:0`.
    pub fn device(&self) -> String {
        self.device.to_string()
    }

    /// The networks that were asked for so far, by role, with the hashes of their files.
    pub fn opened(&self) -> Vec<NetworkUsed> {
        let paper = self.registry.profile("paper").ok();
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |(role, found): (&String, &Located)| NetworkUsed {
            role: role.clone(),
            id: found.spec.id.clone(),
            files: found.spec.files.iter().zip(found.hashes()).map(file).collect(),
            of_paper: paper.is_some_and(|paper| paper.roles.get(role) == Some(&found.spec.id)),
        };
        opened.iter().map(used).collect()
    }

    /// Roles of the profile whose published weights this project has never run (`run_here` in `models.toml`).
    pub fn unseen(&self) -> Vec<UnseenRole> {
        let roles = self.registry.profile(&self.profile).map(|profile| &profile.roles);
        let unseen = |(role, id): (&String, &String)| {
            let seen = self.registry.spec(id).is_ok_and(|spec| spec.run_here);
            (!seen).then(|| UnseenRole {
                role: role.clone(),
                id: id.clone(),
            })
        };
        roles.into_iter().flatten().filter_map(unseen).collect()
    }

    fn has(&self, role: &str) -> bool {
        let profile = self.registry.profile(&self.profile);
        profile.is_ok_and(|profile| profile.roles.contains_key(role))
    }

    /// The files of a role, which are remembered as used.
    fn find(&self, metric: &str, role: &str) -> Result<Located, Unavailable> {
        if !self.has(role) {
            return Err(Unavailable::NoRole {
                metric: metric.to_owned(),
                role: role.to_owned(),
                profile: self.profile.clone(),
            });
        }
        let found = self.store.locate(&self.registry, &self.profile, role)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.insert(role.to_owned(), found.clone());
        Ok(found)
    }

    /// The files of a role, and what runs them.
    fn locate(&self, metric: &str, role: &str) -> Result<(Runtime, Located), Unavailable> {
        let found = self.find(metric, role)?;
        if let Some(runtime) = self.runtime.get() {
            return Ok((runtime.clone(), found));
        }
        let runtime = Runtime::open(&self.library, self.device.clone())?;
        Ok((self.runtime.get_or_init(|| runtime).clone(), found))
    }

    fn detector(&self, metric: &str) -> Result<Arc<dyn FaceDetector>, Unavailable> {
        if let Some(detector) = self.detector.get() {
            return Ok(detector.clone());
        }
        let (runtime, found) = self.locate(metric, "face_detector")?;
        let settings = DetectSettings::default();
        let detector = vision::face_detector(&runtime, &found.first(), found.network(), &settings)?;
        Ok(self.detector.get_or_init(|| Arc::from(detector)).clone())
    }

    fn embedder(&self, metric: &str) -> Result<Arc<dyn FaceEmbedder>, Unavailable> {
        let (runtime, found) = self.locate(metric, "face_embedder")?;
        Ok(Arc::from(vision::face_embedder(
            &runtime,
            &found.first(),
            found.network(),
        )?))
    }

    fn recognizer(&self, metric: &str) -> Result<Arc<Recognizer>, Unavailable> {
        if let Some(recognizer) = self.recognizer.get() {
            return Ok(recognizer.clone());
        }
        let (runtime, found) = self.locate(metric, "asr")?;
        let recognizer = Recognizer::open(&runtime, &WhisperFiles::of(&found), found.network())?;
        Ok(self.recognizer.get_or_init(|| Arc::new(recognizer)).clone())
    }

    /// The network that was trained to compare voices, where the profile has one; else its speaker embedder.
    fn voice(&self, metric: &str) -> Result<Arc<Voice>, Unavailable> {
        if self.has("speaker_similarity") {
            let (runtime, found) = self.locate(metric, "speaker_similarity")?;
            let network = WavLm::open(&runtime, &found.first(), found.network())?;
            return Ok(Arc::new(Voice::WavLm(network)));
        }
        let (runtime, found) = self.locate(metric, "speaker_embedder")?;
        let network = SpeakerEmbedder::open(&runtime, &found.first(), found.network())?;
        Ok(Arc::new(Voice::Bank(network)))
    }

    fn production(&self, metric: &str) -> Result<Box<dyn Metric>, Unavailable> {
        let (runtime, found) = self.locate(metric, "audio_quality")?;
        let network = AudioBox::open(&runtime, &found.first(), found.network())?;
        let sidecar = found.first().with_extension("json");
        let text = std::fs::read(&sidecar).map_err(|source| Error::Io {
            path: sidecar.clone(),
            source,
        })?;
        let scales = serde_json::from_slice(&text).ok().as_ref().and_then(scales);
        let scales = scales.ok_or_else(|| {
            let message = "it names no mean and deviation (`target_transform`) for each of CE, CU, PC and PQ";
            Error::Input(format!("{}: {message}", sidecar.display()))
        })?;
        Ok(Box::new(Production::new(Arc::new(network), scales)))
    }

    fn towers(&self, metric: &str) -> Result<Towers, Unavailable> {
        let tower = |role: &str, kind| -> Result<(ImageBind, Located), Unavailable> {
            let (runtime, found) = self.locate(metric, role)?;
            Ok((
                ImageBind::open(&runtime, &found.first(), found.network(), kind)?,
                found,
            ))
        };
        let (text, found) = tower("imagebind_text", Tower::Text)?;
        let vocabulary = found.file("bpe_simple_vocab_16e6.txt.gz");
        let bytes = std::fs::read(&vocabulary).map_err(|source| Error::Io {
            path: vocabulary,
            source,
        })?;
        Ok(Towers {
            vision: tower("imagebind_vision", Tower::Vision)?.0,
            audio: tower("imagebind_audio", Tower::Audio)?.0,
            text,
            tokenizer: ClipTokenizer::new(&bytes)?,
        })
    }
}

fn file((file, hash): (&FileSpec, &String)) -> FileUsed {
    FileUsed {
        name: file.name.clone(),
        sha256: hash.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(profile: &str) -> Networks {
        let store = Store::new("/nowhere");
        Networks::new(
            Registry::builtin(),
            store,
            profile,
            Device::Cpu,
            "/nowhere/lib.so".into(),
        )
    }

    #[test]
    fn what_is_lacking_is_said() {
        assert_eq!(networks("open").metric("tf").unwrap().name(), "tf");
        let lacks = |profile: &str, metric: &str| networks(profile).metric(metric).err().unwrap();
        assert_eq!(lacks("open", "iq").word(), Some("no_network"));
        assert!(lacks("open", "iq").to_string().contains("image_quality"));
        assert_eq!(lacks("open", "wer").word(), Some("no_weights"));
        assert_eq!(lacks("paper", "iq").word(), Some("no_weights"));
        assert!(matches!(lacks("open", "fid"), Unavailable::Unknown(_)));
        for name in METRICS.iter().filter(|name| **name != "tf") {
            assert!(lacks("paper", name).word().is_some(), "{name}");
        }
    }
}
