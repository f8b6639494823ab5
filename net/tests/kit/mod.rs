//! The whole stack against the loopback server, on a clock that moves when somebody sleeps.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use omni_loopback::{Fault, Personality, Rule, Server};
use omni_net::Clock;
use omni_net::service::{
    Auth, Body, Budget, Cached, Call, Gate, Http, HttpSettings, Limits, Part, Recorded, Reply, ReplyLog,
    Retry, ServiceError, Share, Transport,
};

/// Time that passes only when somebody sleeps.
pub struct TestClock {
    now: Mutex<SystemTime>,
    slept: Mutex<Vec<Duration>>,
}

impl TestClock {
    pub fn start() -> Arc<TestClock> {
        Arc::new(TestClock {
            now: Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770)),
            slept: Mutex::default(),
        })
    }

    pub fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }

    pub fn passed(&self) -> Duration {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        self.now.lock().unwrap().duration_since(start).unwrap()
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }
    fn sleep(&self, duration: Duration) {
        *self.now.lock().unwrap() += duration;
        self.slept.lock().unwrap().push(duration);
        std::thread::yield_now();
    }
    fn uniform(&self) -> f64 {
        0.5
    }
}

pub type Stack = Cached<Retry<Recorded<Http>>>;

pub struct Bench {
    pub clock: Arc<TestClock>,
    pub log: Arc<ReplyLog>,
    pub budget: Arc<Budget>,
    pub stack: Stack,
}

/// What a test may want otherwise.
pub struct Wants<'a> {
    pub auth: Auth,
    pub limits: Limits,
    pub deadline: Duration,
    pub max_reply: usize,
    pub budget: Budget,
    pub worker: &'a str,
}

impl Default for Wants<'_> {
    fn default() -> Self {
        Wants {
            auth: Auth::None,
            limits: Limits::default(),
            deadline: Duration::from_secs(20),
            max_reply: 1 << 20,
            budget: Budget::unlimited(),
            worker: "test",
        }
    }
}

pub fn bench(folder: &Path, url: &str, wants: Wants<'_>) -> Bench {
    bench_on(TestClock::start(), folder, url, wants)
}

pub fn bench_on(clock: Arc<TestClock>, folder: &Path, url: &str, wants: Wants<'_>) -> Bench {
    let settings = HttpSettings {
        auth: wants.auth,
        deadline: wants.deadline,
        max_reply: wants.max_reply,
        system_proxy: false,
        ..HttpSettings::new("test", url)
    };
    let log = Arc::new(ReplyLog::open(folder, wants.worker, Share::default()).unwrap());
    let budget = Arc::new(wants.budget);
    let http = Http::with_clock(settings, clock.clone()).unwrap();
    let recorded = Recorded::new(http, log.clone(), budget.clone());
    let gate = Gate::new("test", wants.limits, clock.clone(), None);
    let stack = Cached::new(
        Retry::new(recorded, omni_net::Retry::default(), gate),
        log.clone(),
    );
    Bench {
        clock,
        log,
        budget,
        stack,
    }
}

pub fn chat(text: &str) -> Call {
    let body = format!(r#"{{"messages": [{{"role": "user", "content": "{text}"}}]}}"#);
    Call::post(
        "test",
        "p@1",
        "/v1/chat/completions",
        Body::Json(body.into_bytes()),
    )
}

pub fn gemini(text: &str) -> Call {
    let body = format!(r#"{{"contents": [{{"parts": [{{"text": "{text}"}}]}}]}}"#);
    Call::post(
        "test",
        "p@1",
        "/v1beta/models/gemini-2.5-pro:generateContent",
        Body::Json(body.into_bytes()),
    )
}

/// A WAV file of silence.
pub fn wav(rate: u32, seconds: f64) -> Vec<u8> {
    let data = (f64::from(rate) * seconds) as u32 * 2;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(data.to_le_bytes());
    bytes.resize(44 + data as usize, 0);
    bytes
}

pub fn speech(text: &str, prompt: &str, wave: Vec<u8>) -> Call {
    let parts = vec![
        Part::text("tts_text", text),
        Part::text("prompt_text", prompt),
        Part::file("prompt_wav", "p.wav", "audio/wav", wave),
    ];
    Call::post("test", "p@1", "/inference_zero_shot", Body::Form(parts))
}

pub fn transcription(parts: Vec<Part>) -> Call {
    Call::post("test", "p@1", "/v1/audio/transcriptions", Body::Form(parts))
}

/// One call through the real client: its result, the server's count of requests, the sleeps.
pub fn once(
    personality: Personality,
    rules: Vec<Rule>,
    call: &Call,
) -> (Result<Reply, ServiceError>, usize, Vec<Duration>) {
    // Only a server that says nothing is waited for in vain; a busy machine may take its time.
    let stalls = rules.iter().any(|rule| rule.fault == Some(Fault::Stall));
    let server = Server::start(personality, rules).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let wants = Wants {
        deadline: match stalls {
            true => Duration::from_millis(700),
            false => Duration::from_secs(60),
        },
        ..Wants::default()
    };
    let bench = bench(dir.path(), &server.url(), wants);
    let result = bench.stack.send(call);
    (result, server.log().len(), bench.clock.slept())
}
