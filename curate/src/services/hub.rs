//! Where stages get their transports: live, or from a recording; one gate, log and budget for the whole process.

use super::gemini;
use omni_net::service::{
    Auth, Budget, Cached, Counts, Gate, Http, HttpSettings, Limits, Money, Price, Rates, Recorded, Replay,
    ReplyLog, Retry, Secret, ServiceError, Share, Transport, UploadSettings, Uploads, Usage,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Address, key, rates and prices of a service: keys of a recipe that change no result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Scheme, host and port, for example `http://127.0.0.1:8000`.
    pub url: String,
    /// Name of the environment variable that holds the key; empty: no key.
    pub key_env: String,
    /// File that holds the key and nothing else; empty: none.
    pub key_file: String,
    /// Calls in flight.
    pub in_flight: usize,
    /// Calls a minute; 0: no bound.
    pub requests_per_minute: f64,
    /// Tokens a minute, in and out; 0: no bound.
    pub tokens_per_minute: f64,
    /// Time for one exchange, seconds.
    pub deadline: f64,
    /// When nobody was answered for so long the endpoint is given up for this run, seconds; its clips stay pending.
    pub patience: f64,
    /// US dollars for a million tokens sent.
    pub usd_per_million_in: f64,
    /// US dollars for a million tokens made.
    pub usd_per_million_out: f64,
    /// US dollars for an hour of sound made or heard.
    pub usd_per_hour: f64,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            key_env: String::new(),
            key_file: String::new(),
            in_flight: 16,
            requests_per_minute: 0.0,
            tokens_per_minute: 0.0,
            deadline: 300.0,
            patience: 180.0,
            usd_per_million_in: 0.0,
            usd_per_million_out: 0.0,
            usd_per_hour: 0.0,
        }
    }
}

impl Endpoint {
    /// The first key with a value that nothing can be done with, and why.
    pub fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let amounts = [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("usd_per_million_in", self.usd_per_million_in),
            ("usd_per_million_out", self.usd_per_million_out),
            ("usd_per_hour", self.usd_per_hour),
        ];
        if let Some((key, _)) = amounts.iter().find(|(_, amount)| !(0.0..=1e9).contains(amount)) {
            return Some((key, "must lie in 0..=1e9"));
        }
        if !(0.1..=86_400.0).contains(&self.deadline) {
            return Some(("deadline", "must be seconds, 0.1 to 86400"));
        }
        if !(0.0..=86_400.0).contains(&self.patience) {
            return Some(("patience", "must be seconds, 0 to 86400"));
        }
        (!(1..=1024).contains(&self.in_flight)).then_some(("in_flight", "must lie in 1..=1024"))
    }

    /// The price of a call that uses at most so much.
    pub fn price(&self, most: Usage, read: fn(&[u8]) -> Option<Usage>) -> Price {
        Price {
            rates: Rates {
                input_per_million: self.usd_per_million_in,
                output_per_million: self.usd_per_million_out,
                per_hour: self.usd_per_hour,
            },
            most,
            read: Some(read),
        }
    }
}

/// Where answers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The services, and the log of what they answered before.
    Live,
    /// A recording alone.
    Replay(PathBuf),
}

/// Reads a key from the environment; libraries do not look there themselves.
pub type KeyOf = Box<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// What the binary knows of a run's services.
pub struct HubSettings {
    /// Where answers come from.
    pub mode: Mode,
    /// Folder of the reply log.
    pub replies: PathBuf,
    /// A name that no other process has.
    pub worker: String,
    /// This worker among its like.
    pub share: Share,
    /// The sum that all workers together never pass.
    pub budget: Option<Money>,
    /// Reads a key from the environment.
    pub key_of: KeyOf,
    /// Addresses that stand in for the recipe's, by service (the loopback server).
    pub addresses: BTreeMap<&'static str, String>,
    /// Whether those addresses are test servers with canned answers: then nothing that comes of them may ever be taken
    /// for a result of the real services.
    pub canned: bool,
    /// Whether the run should end.
    pub interrupted: Option<fn() -> bool>,
}

/// One line of the estimate: what a stage may ask for a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The stage.
    pub stage: &'static str,
    /// The service.
    pub service: &'static str,
    /// Calls for a clip, as a rule.
    pub calls: f64,
    /// The most that one call may use.
    pub most: Usage,
    /// The most that one call may cost.
    pub price: Money,
}

struct Open {
    log: Arc<ReplyLog>,
    budget: Arc<Budget>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    transports: BTreeMap<(&'static str, String), Arc<dyn Transport>>,
    estimate: Vec<Line>,
}

/// See the module. Opens nothing before the first call.
pub struct Hub {
    settings: HubSettings,
    state: Mutex<State>,
}

impl Hub {
    /// A hub for one run.
    pub fn new(settings: HubSettings) -> Hub {
        Hub {
            settings,
            state: Mutex::default(),
        }
    }

    /// What stages put into their settings, and so into their fingerprints, when answers are canned.
    pub fn mark(&self, settings: &mut serde_json::Value) {
        if self.settings.canned {
            settings["answers"] = "canned".into();
        }
    }

    /// The name of this run where services are really asked; none when answers come from a recording.
    pub fn live(&self) -> Option<&str> {
        match self.settings.mode {
            Mode::Live => Some(&self.settings.worker),
            Mode::Replay(_) => None,
        }
    }

    /// Notes what a stage may ask, for the estimate of a dry run.
    pub fn announce(&self, line: Line) {
        self.state().estimate.push(line);
    }

    /// What the stages may ask.
    pub fn estimate(&self) -> Vec<Line> {
        self.state().estimate.clone()
    }

    /// What was sent, answered and found so far; nothing before the first live call.
    pub fn counts(&self) -> Option<(Counts, Money)> {
        let state = self.state();
        let open = state.open.as_ref()?;
        Some((open.log.counts(), open.budget.taken()))
    }

    /// The transport to an endpoint; one for all who name the same address.
    ///
    /// # Errors
    /// When the address, the key or the log cannot be used.
    pub fn transport(
        &self,
        service: &'static str,
        endpoint: &Endpoint,
    ) -> Result<Arc<dyn Transport>, ServiceError> {
        let url = self
            .settings
            .addresses
            .get(service)
            .unwrap_or(&endpoint.url)
            .clone();
        let mut state = self.state();
        if let Some(known) = state.transports.get(&(service, url.clone())) {
            return Ok(known.clone());
        }
        let made: Arc<dyn Transport> = match &self.settings.mode {
            Mode::Replay(folder) => Arc::new(Replay::open(folder)?),
            Mode::Live => self.stack(&mut state, service, endpoint, &url)?,
        };
        state.transports.insert((service, url), made.clone());
        Ok(made)
    }

    fn stack(
        &self,
        state: &mut State,
        service: &'static str,
        endpoint: &Endpoint,
        url: &str,
    ) -> Result<Arc<dyn Transport>, ServiceError> {
        if url.is_empty() {
            let what =
                format!("no address for the service {service}: set the key `endpoint.url` of its stage");
            return Err(ServiceError::Setup(what));
        }
        let settings = HttpSettings {
            auth: self.auth(service, endpoint)?,
            deadline: Duration::from_secs_f64(endpoint.deadline),
            read_timeout: Duration::from_secs_f64(endpoint.deadline),
            interrupted: self.settings.interrupted,
            // A loopback server is never behind a proxy.
            system_proxy: !self.settings.addresses.contains_key(service),
            ..HttpSettings::new(service, url)
        };
        let http = || Http::new(settings.clone());
        let limits = Limits {
            in_flight: endpoint.in_flight,
            requests_per_minute: endpoint.requests_per_minute,
            tokens_per_minute: endpoint.tokens_per_minute,
            patience: Duration::from_secs_f64(endpoint.patience),
        };
        let interrupted = self.settings.interrupted;
        let gate = || Gate::new(service, limits, Arc::new(omni_net::SystemClock), interrupted);
        let (log, budget) = self.open(state)?;
        let recorded = Recorded::new(http()?, log.clone(), budget);
        let asking = Retry::new(recorded, omni_net::Retry::default(), gate());
        if service != gemini::SERVICE {
            return Ok(Arc::new(Cached::new(asking, log)));
        }
        // Uploads are neither booked nor recorded, so they have a way of their own.
        let files = Retry::new(http()?, omni_net::Retry::default(), gate());
        let clock = Arc::new(omni_net::SystemClock);
        let uploads = Uploads::new(asking, files, UploadSettings::default(), clock, interrupted);
        Ok(Arc::new(Cached::new(uploads, log)))
    }

    fn open(&self, state: &mut State) -> Result<(Arc<ReplyLog>, Arc<Budget>), ServiceError> {
        let settings = &self.settings;
        if state.open.is_none() {
            let log = ReplyLog::open(&settings.replies, &settings.worker, settings.share)?;
            let budget = match settings.budget {
                None => Budget::unlimited(),
                Some(limit) => Budget::new(limit, settings.share.world, log.spent()),
            };
            state.open = Some(Open {
                log: Arc::new(log),
                budget: Arc::new(budget),
            });
        }
        match &state.open {
            Some(open) => Ok((open.log.clone(), open.budget.clone())),
            None => Err(ServiceError::Setup("the reply log is not open".into())),
        }
    }

    fn auth(&self, service: &'static str, endpoint: &Endpoint) -> Result<Auth, ServiceError> {
        // A test server on this machine wants no key, and a try with canned answers needs none.
        if self.settings.addresses.contains_key(service) {
            return Ok(Auth::None);
        }
        let secret = match (endpoint.key_env.as_str(), endpoint.key_file.as_str()) {
            ("", "") => return Ok(Auth::None),
            ("", file) => Secret::from_file(file.as_ref())?,
            (name, _) => (self.settings.key_of)(name)
                .filter(|secret| !secret.is_empty())
                .ok_or_else(|| {
                    ServiceError::Setup(format!("{service}: the environment variable {name} holds no key"))
                })?,
        };
        Ok(match service {
            gemini::SERVICE => Auth::Header("x-goog-api-key", secret),
            _ => Auth::Bearer(secret),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(mode: Mode, folder: &std::path::Path) -> Hub {
        Hub::new(HubSettings {
            mode,
            replies: folder.join("replies"),
            worker: "test".into(),
            share: Share::default(),
            budget: None,
            key_of: Box::new(|name| (name == "KNOWN").then(|| Secret::new("sk-x"))),
            addresses: BTreeMap::new(),
            canned: false,
            interrupted: None,
        })
    }

    #[test]
    fn a_missing_address_and_a_missing_key_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let hub = hub(Mode::Live, dir.path());
        let error = |endpoint: Endpoint| hub.transport("qwen", &endpoint).err().unwrap().to_string();
        assert!(error(Endpoint::default()).contains("endpoint.url"));
        let with_key = |name: &str| Endpoint {
            url: "http://127.0.0.1:9".into(),
            key_env: name.into(),
            ..Endpoint::default()
        };
        assert!(error(with_key("UNKNOWN")).contains("UNKNOWN"));
        assert!(hub.transport("qwen", &with_key("KNOWN")).is_ok());
        assert!(hub.counts().is_some());
    }

    #[test]
    fn a_replay_opens_no_log() {
        let dir = tempfile::tempdir().unwrap();
        let hub = hub(Mode::Replay(dir.path().to_owned()), dir.path());
        assert!(hub.transport("qwen", &Endpoint::default()).is_ok());
        assert!(hub.counts().is_none() && !dir.path().join("replies").exists());
    }

    #[test]
    fn impossible_values_are_named() {
        let wrong = |endpoint: Endpoint| endpoint.wrong().map(|(key, _)| key);
        assert_eq!(wrong(Endpoint::default()), None);
        assert_eq!(
            wrong(Endpoint {
                in_flight: 0,
                ..Endpoint::default()
            }),
            Some("in_flight")
        );
        assert_eq!(
            wrong(Endpoint {
                deadline: 0.0,
                ..Endpoint::default()
            }),
            Some("deadline")
        );
        assert_eq!(
            wrong(Endpoint {
                usd_per_hour: f64::NAN,
                ..Endpoint::default()
            }),
            Some("usd_per_hour")
        );
    }
}
