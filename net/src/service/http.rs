//! HTTP to one endpoint: one try, no redirects, the key in one header, the body whole or an error.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::{Body, Call, Method, Reply, Secret, ServiceError, Transport, UploadState, fault};
use crate::retry::retry_after;
use crate::{Clock, SystemClock};

/// Most bytes read of a failing answer.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// How often a waiting call asks whether to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How the key is shown to the service.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// No key.
    #[default]
    None,
    /// `Authorization: Bearer KEY`.
    Bearer(Secret),
    /// A header of its own, such as `x-goog-api-key`.
    Header(&'static str, Secret),
}

/// Settings of one endpoint.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Its kind, for messages.
    pub service: &'static str,
    /// Scheme, host, port and an optional path, without a slash at the end.
    pub base: String,
    /// Its key.
    pub auth: Auth,
    /// Time for a connection.
    pub connect_timeout: Duration,
    /// Longest silence.
    pub read_timeout: Duration,
    /// Time for a whole exchange, unless the call says otherwise.
    pub deadline: Duration,
    /// Longest answer.
    pub max_reply: usize,
    /// Whether the proxy variables of the environment count.
    pub system_proxy: bool,
    /// Asked while a call waits: true ends it with [`ServiceError::Stopped`].
    pub interrupted: Option<fn() -> bool>,
}

impl HttpSettings {
    /// The defaults, for an endpoint at an address.
    pub fn new(service: &'static str, base: &str) -> HttpSettings {
        HttpSettings {
            service,
            base: base.trim_end_matches('/').to_owned(),
            auth: Auth::None,
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(300),
            deadline: Duration::from_secs(600),
            max_reply: 32 << 20,
            system_proxy: true,
            interrupted: None,
        }
    }
}

/// See the module. Its calls block; never call them from inside an async run time.
pub struct Http {
    settings: HttpSettings,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    headers: HeaderMap,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Http {
    /// A client for one endpoint.
    ///
    /// # Errors
    /// When the address is none, or the key holds what no header may hold.
    pub fn new(settings: HttpSettings) -> Result<Http, ServiceError> {
        Http::with_clock(settings, Arc::new(SystemClock))
    }

    /// A client that reads the dates of `Retry-After` against another clock (tests).
    pub fn with_clock(settings: HttpSettings, clock: Arc<dyn Clock>) -> Result<Http, ServiceError> {
        let setup = |error: &dyn fmt::Display| ServiceError::Setup(format!("{}: {error}", settings.service));
        let base = crate::client::address(&settings.base).map_err(|error| setup(&error))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(setup(
                &"the address holds a name or password; give the key by the environment",
            ));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("omni/", env!("CARGO_PKG_VERSION")));
        if !settings.system_proxy {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| setup(&error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("omni-service")
            .enable_all()
            .build()
            .map_err(|error| setup(&error))?;
        let headers = headers(&settings)?;
        Ok(Http {
            settings,
            client,
            runtime,
            headers,
            clock,
        })
    }

    async fn exchange(&self, call: &Call) -> Result<Reply, ServiceError> {
        let request = self.request(call)?;
        let response = request.send().await.map_err(|error| self.failed(&error, false))?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(self.refusal(response, call).await);
        }
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (content_type, encoding) = (header(CONTENT_TYPE.as_str()), header(CONTENT_ENCODING.as_str()));
        let framed = ["content-length", "transfer-encoding"]
            .iter()
            .any(|name| response.headers().contains_key(*name))
            || response.version() >= reqwest::Version::HTTP_2;
        if content_type
            .as_deref()
            .is_some_and(|kind| kind.starts_with("text/html"))
        {
            // Somebody between us and the service: a proxy's error or log-in page. It is no answer.
            return Err(self.transient("html", "a web page came in place of an answer".into(), false));
        }
        let upload = UploadState {
            path: header("x-goog-upload-url")
                .map(|url| self.below(&url))
                .transpose()?,
            status: header("x-goog-upload-status"),
        };
        let body = self.body(response).await?;
        Ok(Reply {
            status,
            content_type,
            encoding,
            framed,
            upload,
            body,
        })
    }

    fn request(&self, call: &Call) -> Result<reqwest::RequestBuilder, ServiceError> {
        let url = format!("{}{}", self.settings.base, call.path);
        let request = match call.method {
            Method::Get => self.client.get(url),
            Method::Post => self.client.post(url),
            Method::Delete => self.client.delete(url),
        };
        let mut request = request.headers(self.headers.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        Ok(match &call.body {
            Body::Empty => request,
            Body::Json(text) => request
                .header(CONTENT_TYPE, "application/json")
                .body(text.clone()),
            Body::Form(parts) => request.multipart(form(parts)?),
            Body::Bytes(bytes) => request.body(bytes.clone()),
        })
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, ServiceError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.failed(&error, true))?
        {
            if body.len() + chunk.len() > self.settings.max_reply {
                return Err(ServiceError::Refused {
                    service: self.settings.service,
                    status: response.status().as_u16(),
                    kind: "too_long".into(),
                    message: format!("the answer is longer than {} bytes", self.settings.max_reply),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The path of an address that the service gave. The key goes with every request, so it must be the endpoint's own.
    fn below(&self, url: &str) -> Result<String, ServiceError> {
        let path = url
            .strip_prefix(&self.settings.base)
            .filter(|path| path.starts_with('/'));
        path.map(str::to_owned).ok_or_else(|| ServiceError::Closed {
            service: self.settings.service,
            why: "it sends uploads to another address; the key is not sent there".into(),
        })
    }

    async fn refusal(&self, mut response: reqwest::Response, call: &Call) -> ServiceError {
        let status = response.status().as_u16();
        let header = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        let asked = header.and_then(|value| retry_after(value, self.clock.now()));
        let mut body = Vec::new();
        while body.len() < MAX_ERROR_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        // A server that echoes the request must not put the key into an error.
        let text = match &self.settings.auth {
            Auth::None => body,
            Auth::Bearer(secret) | Auth::Header(_, secret) => {
                secret.scrub(&String::from_utf8_lossy(&body)).into_bytes()
            }
        };
        let (service, said) = (self.settings.service, fault::read(&text));
        let gone = call.names_file.then(|| fault::file_gone(service, status, &said));
        gone.flatten()
            .unwrap_or_else(|| fault::error(service, status, said, asked))
    }

    fn transient(&self, reason: &'static str, message: String, maybe_paid: bool) -> ServiceError {
        ServiceError::Transient {
            service: self.settings.service,
            reason,
            message,
            retry_after: None,
            maybe_paid,
        }
    }

    /// Names a failed exchange; `answered`: its head had come with a status of success.
    fn failed(&self, error: &reqwest::Error, answered: bool) -> ServiceError {
        let words = crate::client::failure_words(error);
        if error.is_connect() {
            return self.transient("unreachable", format!("no connection: {words}"), false);
        }
        if error.is_builder() || error.is_request() && error.url().is_none() {
            return ServiceError::Setup(format!("{}: {words}", self.settings.service));
        }
        match (error.is_timeout(), answered) {
            (true, _) => self.transient("timeout", "no answer in time".into(), true),
            (false, true) => self.transient("cut", format!("the answer ended early: {words}"), true),
            (false, false) => self.transient(
                "reset",
                format!("the connection ended without an answer: {words}"),
                true,
            ),
        }
    }

    async fn interruption(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.settings.interrupted.is_some_and(|interrupted| interrupted()) {
                return;
            }
        }
    }
}

impl Transport for Http {
    fn send(&self, call: &Call) -> Result<Reply, ServiceError> {
        let deadline = call.deadline.unwrap_or(self.settings.deadline);
        self.runtime.block_on(async {
            tokio::select! {
                done = tokio::time::timeout(deadline, self.exchange(call)) => done.unwrap_or_else(|_| {
                    Err(self.transient("timeout", format!("no whole answer within {} s", deadline.as_secs_f64()), true))
                }),
                () = self.interruption() => Err(ServiceError::Stopped),
            }
        })
    }
}

fn headers(settings: &HttpSettings) -> Result<HeaderMap, ServiceError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let (name, text) = match &settings.auth {
        Auth::None => return Ok(headers),
        Auth::Bearer(secret) => ("authorization", format!("Bearer {}", secret.expose())),
        Auth::Header(name, secret) => (*name, secret.expose().to_owned()),
    };
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| {
        ServiceError::Setup(format!(
            "{}: the key holds characters no header may hold",
            settings.service
        ))
    })?;
    value.set_sensitive(true);
    let name = reqwest::header::HeaderName::from_static(name);
    headers.insert(name, value);
    Ok(headers)
}

fn form(parts: &[super::Part]) -> Result<reqwest::multipart::Form, ServiceError> {
    let mut form = reqwest::multipart::Form::new();
    for part in parts {
        let mut field = reqwest::multipart::Part::bytes(part.bytes.clone());
        if let Some((file, media_type)) = &part.file {
            field = field
                .file_name(file.clone())
                .mime_str(media_type)
                .map_err(|_| ServiceError::Setup(format!("`{media_type}` is no media type")))?;
        }
        form = form.part(part.name.clone(), field);
    }
    Ok(form)
}
