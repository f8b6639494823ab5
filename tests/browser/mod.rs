//! A headless Chromium, spoken to over its pipe: the DevTools protocol as JSON messages that end in a zero byte.
//! No WebSocket and no driver are needed, so the tests need nothing but the browser.

use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The browser: `OMNI_CHROMIUM`, or one on the PATH.
pub fn found() -> Option<PathBuf> {
    let named = std::env::var_os("OMNI_CHROMIUM")
        .map(PathBuf::from)
        .filter(|path| path.is_file());
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "chrome",
    ];
    let folders: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .collect();
    let on_path = || {
        let places = names
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        places.into_iter().find(|path| path.is_file())
    };
    let browser = named.or_else(on_path);
    if browser.is_none() {
        println!("skipped: no Chromium on the PATH and none named by OMNI_CHROMIUM");
    }
    browser
}

/// One page of a browser of its own.
pub struct Page {
    child: Child,
    to: File,
    from: Receiver<Value>,
    next: u64,
    session: String,
    /// Errors of scripts, of the console and of loading, as the browser told them.
    pub trouble: Vec<String>,
    /// the profile, held until the page is dropped
    _folder: tempfile::TempDir,
}

impl Page {
    pub fn open(browser: &Path) -> Page {
        let folder = tempfile::tempdir().unwrap();
        let (to, from) = (folder.path().join("to"), folder.path().join("from"));
        for pipe in [&to, &from] {
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        }
        // A shell puts the pipes at the two descriptors that the browser expects.
        let script = r#"to=$1; from=$2; shift 2; exec "$@" 3<"$to" 4>"$from""#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(&to)
            .arg(&from)
            .arg(browser);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ]);
        command.args([
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-pipe",
            "--mute-audio",
        ]);
        command.arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ));
        command
            .env("HOME", folder.path())
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let to = File::options().write(true).open(to).unwrap();
        let mut lines = BufReader::new(File::open(from).unwrap());
        let (told, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while lines.read_until(0, &mut message).is_ok_and(|length| length > 1) {
                message.pop();
                if told.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let (next, session) = (0, String::new());
        let trouble = Vec::new();
        let mut page = Page {
            child,
            to,
            from,
            next,
            session,
            trouble,
            _folder: folder,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = page.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        page.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// What the browser answers, or why it does not.
    fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let reply = self
                .from
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{method}: {error}"));
            if reply["id"] == self.next {
                return match reply.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(reply["result"].clone()),
                };
            }
            self.note(&reply);
        }
    }

    /// Remembers what a page must never cause.
    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let bad = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => {
                matches!(params["type"].as_str(), Some("error" | "warning" | "assert"))
            }
            "Log.entryAdded" => matches!(params["entry"]["level"].as_str(), Some("error" | "warning")),
            "Page.javascriptDialogOpening" => true,
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                !["file:", "data:", "about:", "blob:", "http://127.0.0.1:"]
                    .iter()
                    .any(|start| url.starts_with(start))
            }
            _ => false,
        };
        if bad {
            self.trouble.push(event.to_string());
        }
    }

    pub fn eval(&mut self, expression: &str) -> Value {
        self.value(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// What an expression is, or why it has no value.
    fn value(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let reply = self.ask("Runtime.evaluate", params)?;
        match reply.get("exceptionDetails") {
            Some(thrown) => Err(thrown.clone()),
            None => Ok(reply["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true. A page that is just being left, or is not built yet, has no value for it.
    pub fn until(&mut self, expression: &str) {
        let began = Instant::now();
        loop {
            let value = self.value(&format!("Boolean({expression})"));
            if value == Ok(json!(true)) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "never true: {expression}; {value:?}; {:?}",
                self.trouble
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Opens a report and waits until all its rows are there.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.until("typeof omni !== 'undefined' && omni.ready");
    }

    pub fn size(&mut self, width: u32, height: u32) {
        let params = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    pub fn scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A screenshot, when `OMNI_SCREENSHOTS` names a folder for them; the bytes' number in any case.
    pub fn shot(&mut self, name: &str) -> usize {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let text = picture["data"].as_str().unwrap();
        if let Some(folder) = std::env::var_os("OMNI_SCREENSHOTS").map(PathBuf::from) {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{name}.png")), decode(text)).unwrap();
        }
        text.len()
    }

    pub fn assert_quiet(&mut self) {
        self.eval("1");
        assert!(self.trouble.is_empty(), "{:#?}", self.trouble);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn decode(base64: &str) -> Vec<u8> {
    let digit = |byte: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            .iter()
            .position(|d| *d == byte)
    };
    let digits: Vec<u32> = base64.bytes().filter_map(digit).map(|n| n as u32).collect();
    let four = |digits: &[u32]| {
        let word = digits.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - digits.len()));
        word.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(four).collect()
}
