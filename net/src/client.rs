//! The client: one async run time inside, blocking calls outside.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};

use crate::retry::retry_after;
use crate::{Clock, Error, Settings, SystemClock};

/// Redirects followed in a row.
const MAX_REDIRECTS: usize = 10;
/// Most bytes read of an error's body.
const MAX_ERROR_BYTES: usize = 4096;

/// A client to share by reference between threads.
///
/// Its calls block; call them from ordinary threads, never from inside an async run time.
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    token: Option<(Url, HeaderValue)>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client on the machine's clock. Fails when the token is no header text or its origin no address.
    pub fn new(settings: Settings) -> Result<Client, Error> {
        Self::with_clock(settings, Arc::new(SystemClock))
    }

    /// A client on another clock (tests).
    pub fn with_clock(settings: Settings, clock: Arc<dyn Clock>) -> Result<Client, Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(&settings.user_agent);
        if !settings.system_proxy {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Error::Setup(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("omni-net")
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        let token = settings.token.as_ref().map(bearer).transpose()?;
        Ok(Client {
            http,
            runtime,
            settings,
            clock,
            token,
        })
    }

    /// GET with redirects; the token goes to its own origin only. Statuses other than success and
    /// 416 are errors.
    pub(crate) async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<reqwest::Response, Error> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&at, headers).await?;
            let status = response.status();
            if status.is_success() || status.as_u16() == 416 {
                return Ok(response);
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Err(self.refusal(&at, response).await);
            }
            at = redirected(&at, response.headers().get(LOCATION))?;
        }
        Err(Error::Redirect {
            url: shown(url),
            message: format!("more than {MAX_REDIRECTS} in a row"),
        })
    }

    async fn send(&self, url: &Url, headers: &HeaderMap) -> Result<reqwest::Response, Error> {
        let mut request = self
            .http
            .get(url.clone())
            .headers(headers.clone())
            .header(ACCEPT_ENCODING, "identity");
        if let Some((origin, bearer)) = &self.token
            && origin.origin() == url.origin()
        {
            request = request.header(AUTHORIZATION, bearer.clone());
        }
        request.send().await.map_err(|error| failure(url, &error))
    }

    async fn refusal(&self, url: &Url, mut response: reqwest::Response) -> Error {
        let status = response.status().as_u16();
        let header = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| retry_after(value, self.clock.now()));
        let url = shown(url);
        match status {
            404 | 410 => return Error::NotFound { url, status },
            401 | 403 => return Error::Unauthorized { url, status },
            _ => {}
        }
        let mut body = Vec::new();
        while body.len() < MAX_ERROR_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
        let message = String::from_utf8_lossy(&body)
            .chars()
            .filter(|c| !c.is_control())
            .take(300)
            .collect();
        Error::Status {
            url,
            status,
            message: self.without_secret(message),
            retry_after,
        }
    }

    /// A server that echoes the request must not put the token into an error.
    fn without_secret(&self, message: String) -> String {
        match &self.settings.token {
            Some(token) if !token.secret.is_empty() => message.replace(&token.secret, "***"),
            _ => message,
        }
    }
}

fn bearer(token: &crate::Token) -> Result<(Url, HeaderValue), Error> {
    let origin = address(&token.origin)?;
    let text = format!("Bearer {}", token.secret.trim());
    let header = HeaderValue::from_str(&text);
    let mut header =
        header.map_err(|_| Error::Setup("the token holds characters no header may hold".to_owned()))?;
    header.set_sensitive(true);
    Ok((origin, header))
}

/// Parses an http or https address.
pub(crate) fn address(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| Error::Url {
        url: text.split(['?', '#']).next().unwrap_or_default().to_owned(),
    })
}

fn redirected(from: &Url, location: Option<&HeaderValue>) -> Result<Url, Error> {
    let fail = |message: &str| Error::Redirect {
        url: shown(from),
        message: message.to_owned(),
    };
    let location = location
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| fail("no location"))?;
    let to = from
        .join(location)
        .map_err(|_| fail("the location is no address"))?;
    match (from.scheme(), to.scheme()) {
        ("https", "https") | ("http", "http" | "https") => Ok(to),
        _ => Err(fail("from https to another scheme")),
    }
}

/// An address without user, password, query and fragment.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Names a failed exchange by its cause.
pub(crate) fn failure(url: &Url, error: &reqwest::Error) -> Error {
    let host = match (url.host_str(), url.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => url.origin().ascii_serialization(),
    };
    if error.is_timeout() {
        return Error::Timeout { host };
    }
    let (message, kind) = cause(error);
    if !error.is_connect() {
        return Error::Interrupted {
            url: shown(url),
            message,
        };
    }
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match kind {
        Some(ConnectionRefused) => Error::Refused { host },
        Some(HostUnreachable | NetworkUnreachable) => Error::Offline { host, message },
        _ if message.contains("dns error") || message.contains("lookup address") => {
            Error::Offline { host, message }
        }
        _ => Error::Connect { host, message },
    }
}

/// The causes of a failed exchange in words, without its address.
pub(crate) fn failure_words(error: &reqwest::Error) -> String {
    cause(error).0
}

/// The innermost causes in words, and the system's error kind if there is one.
fn cause(error: &reqwest::Error) -> (String, Option<std::io::ErrorKind>) {
    let mut words: Vec<String> = Vec::new();
    let mut kind = None;
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            kind = Some(io.kind());
        }
        words.push(inner.to_string());
        source = inner.source();
    }
    words.dedup();
    (
        if words.is_empty() {
            "unknown cause".to_owned()
        } else {
            words.join(": ")
        },
        kind,
    )
}
