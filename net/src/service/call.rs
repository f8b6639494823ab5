//! What is asked and what comes back, free of any HTTP library's types.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Price;

/// How a call is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// One field of a form.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// Name of the field.
    pub name: String,
    /// File name and media type, for a file.
    pub file: Option<(String, String)>,
    /// The value.
    pub bytes: Vec<u8>,
}

impl Part {
    /// A text field.
    pub fn text(name: &str, value: &str) -> Part {
        Part {
            name: name.to_owned(),
            file: None,
            bytes: value.as_bytes().to_vec(),
        }
    }

    /// A file field.
    pub fn file(name: &str, file_name: &str, media_type: &str, bytes: Vec<u8>) -> Part {
        Part {
            name: name.to_owned(),
            file: Some((file_name.to_owned(), media_type.to_owned())),
            bytes,
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

/// What a call carries.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// JSON text.
    Json(Vec<u8>),
    /// `multipart/form-data`.
    Form(Vec<Part>),
    /// A piece of a file.
    Bytes(Vec<u8>),
}

/// Media may be inside, so only sizes are shown.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Json(text) => write!(f, "Json({} bytes)", text.len()),
            Body::Form(parts) => f.debug_tuple("Form").field(parts).finish(),
            Body::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
        }
    }
}

/// A medium that is too large for a request. The body names it by [`Media::placeholder`], and so the call's key depends on
/// its bytes and not on the address it is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Media {
    /// Media type, for example `video/mp4`.
    pub media_type: String,
    /// The content.
    pub bytes: Arc<Vec<u8>>,
}

impl Media {
    /// What stands in a body in the place of the address: it holds the content's SHA-256.
    pub fn placeholder(&self) -> String {
        let hash = Sha256::digest(self.bytes.as_slice());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("omni-media:{hex}")
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.media_type, self.bytes.len())
    }
}

/// One question to a service.
#[derive(Debug, Clone)]
pub struct Call {
    /// The kind of endpoint (`qwen`, `gemini`), which is part of the key; its address is not.
    pub service: &'static str,
    /// Name and version of the prompt; part of the key.
    pub prompt: String,
    /// The clips it is about, so that they can be forgotten; not part of the key.
    pub clips: Vec<String>,
    /// How.
    pub method: Method,
    /// Path below the endpoint's address, with a leading slash.
    pub path: String,
    /// What. The model, the parameters and the media are in it, so all of it is part of the key.
    pub body: Body,
    /// Tokens this call may cost, in and out, for the endpoint's rate.
    pub tokens: u64,
    /// What it may cost.
    pub price: Price,
    /// Time for the whole exchange; `None`: the endpoint's own.
    pub deadline: Option<Duration>,
    /// Further headers; no part of the key.
    pub headers: Vec<(&'static str, String)>,
    /// Media to be uploaded first, see [`super::Uploads`].
    pub media: Vec<Media>,
    /// Whether the request names an uploaded file, so that a status may be about the file and not about the key or the model.
    pub names_file: bool,
    /// The key of the call that this one stands for.
    pub known_as: Option<Key>,
}

impl Call {
    /// A POST without a price.
    pub fn post(service: &'static str, prompt: &str, path: &str, body: Body) -> Call {
        Call {
            service,
            prompt: prompt.to_owned(),
            clips: Vec::new(),
            method: Method::Post,
            path: path.to_owned(),
            body,
            tokens: 0,
            price: Price::default(),
            deadline: None,
            headers: Vec::new(),
            media: Vec::new(),
            names_file: false,
            known_as: None,
        }
    }

    /// A GET without a price.
    pub fn get(service: &'static str, path: &str) -> Call {
        Call {
            method: Method::Get,
            ..Call::post(service, "", path, Body::Empty)
        }
    }

    /// The hash by which the answer is known: everything that may change it, and neither address nor key.
    pub fn key(&self) -> Key {
        if let Some(key) = self.known_as {
            return key;
        }
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            // The length first, so that no two lists of fields run together.
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for text in [self.service, &self.prompt, self.method.as_str(), &self.path] {
            add(text.as_bytes());
        }
        match &self.body {
            Body::Empty => add(b"empty"),
            Body::Json(text) => {
                add(b"json");
                add(text);
            }
            Body::Form(parts) => {
                add(b"form");
                for part in parts {
                    add(part.name.as_bytes());
                    let (name, media_type) = part.file.as_ref().map_or(("", ""), |(n, t)| (n, t));
                    add(name.as_bytes());
                    add(media_type.as_bytes());
                    add(&part.bytes);
                }
            }
            Body::Bytes(bytes) => {
                add(b"bytes");
                add(bytes);
            }
        }
        Key(hasher.finalize().into())
    }
}

/// Hash of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub(crate) [u8; 32]);

impl Key {
    /// Lower-case hex, 64 digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn parse(hex: &str) -> Option<Key> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Key(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex()[..12])
    }
}

/// What an answer's headers say of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadState {
    /// Path of the session.
    pub path: Option<String>,
    /// `active` or `final`.
    pub status: Option<String>,
}

/// A whole answer with a status of success, raw.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Media type, if one was given.
    pub content_type: Option<String>,
    /// Content encoding, if one was given although none was asked for.
    pub encoding: Option<String>,
    /// Whether the server said where the body ends (a length, or chunks with an end mark).
    pub framed: bool,
    /// Where an upload goes on (a path below the endpoint's address) and how it stands; never recorded.
    pub upload: UploadState,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A whole answer with status 200, as a service sends it that has nothing else to say.
    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply {
            status: 200,
            content_type: None,
            encoding: None,
            framed: true,
            upload: UploadState::default(),
            body: body.into(),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} bytes)", self.status, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_call_is_in_its_key_but_not_price_deadline_and_clips() {
        let base = Call::post("qwen", "asr@1", "/v1", Body::Json(b"{}".to_vec()));
        let mut seen = vec![base.key()];
        let form = |name: &str, bytes: &[u8]| {
            Body::Form(vec![Part::file(name, "a.wav", "audio/wav", bytes.to_vec())])
        };
        let others = [
            Call {
                service: "gemini",
                ..base.clone()
            },
            Call {
                prompt: "asr@2".into(),
                ..base.clone()
            },
            Call {
                path: "/v2".into(),
                ..base.clone()
            },
            Call {
                method: Method::Get,
                ..base.clone()
            },
            Call {
                body: Body::Json(b"{} ".to_vec()),
                ..base.clone()
            },
            Call {
                body: Body::Empty,
                ..base.clone()
            },
            Call {
                body: form("a", b"bc"),
                ..base.clone()
            },
            Call {
                body: form("ab", b"c"),
                ..base.clone()
            },
        ];
        for other in others {
            assert!(!seen.contains(&other.key()), "{other:?}");
            seen.push(other.key());
        }
        let same = Call {
            headers: vec![("x", "y".into())],
            tokens: 9,
            clips: vec!["talk.mp4".into()],
            deadline: Some(Duration::from_secs(1)),
            ..base.clone()
        };
        assert_eq!(same.key(), base.key());
        assert_eq!(Key::parse(&base.key().hex()), Some(base.key()));
        assert_eq!(Key::parse("zz"), None);
    }

    #[test]
    fn a_medium_is_known_by_its_bytes() {
        let media = |bytes: &[u8]| Media {
            media_type: "video/mp4".into(),
            bytes: Arc::new(bytes.to_vec()),
        };
        assert_eq!(
            media(b"foo").placeholder(),
            "omni-media:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        );
        assert_ne!(media(b"foo").placeholder(), media(b"fop").placeholder());
        assert!(!format!("{:?}", media(b"foo")).contains("foo"));
    }

    #[test]
    fn media_is_not_printed() {
        let call = Call::post("qwen", "", "/v1", Body::Json(b"secret media".to_vec()));
        assert!(!format!("{call:?}").contains("secret media"));
    }
}
