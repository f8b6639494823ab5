//! A toy pipeline: four stages over rows made up from numbers, one of them with artifacts.

use omni_pipeline::*;
use omni_schemas::{Blob, Column, Listing, Record, integer, record, text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

macro_rules! toy {
    ($name:ident, $text:literal, { $($field:ident: $kind:ty = $column:expr),* }, $blobs:expr) => {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name { pub clip: String, $(pub $field: $kind),* }
        impl Record for $name {
            const NAME: &'static str = $text;
            const VERSION: u32 = 1;
            fn key(&self) -> &str { &self.clip }
            fn columns() -> Vec<Column> { vec![text("clip", "clip"), $($column),*] }
            fn blobs_mut(&mut self) -> Vec<&mut Blob> { let blobs: fn(&mut Self) -> Vec<&mut Blob> = $blobs; blobs(self) }
        }
    };
}
toy!(Measured, "measured", { size: i64 = integer("size", "size") }, |_| Vec::new());
toy!(Picture, "picture", { number: i64 = integer("number", "number"), image: Blob = record("image", Blob::columns(), "image") },
    |row| vec![&mut row.image]);
toy!(Voice, "voice", { words: String = text("words", "words") }, |_| Vec::new());
toy!(Joined, "joined", { pictures: i64 = integer("pictures", "pictures"), words: String = text("words", "words") }, |_| Vec::new());

pub fn number(key: &str) -> u64 {
    u64::from_le_bytes(blake3::hash(key.as_bytes()).as_bytes()[..8].try_into().unwrap())
}

/// What the toy stages should do besides their work.
#[derive(Clone, Default)]
pub struct Wish {
    pub sleep: Duration,
    pub drop_below: u64,
    pub stop_at: Option<String>,
    pub panic_at: Option<String>,
    /// Clips for which `draw` cannot be had.
    pub wait_at: Vec<&'static str>,
    pub factor: i64,
    /// Asked by `measure` for every clip.
    pub hold: Option<Hold>,
    pub lanes_of_listen: Option<usize>,
}

/// Keeps a clip of a stage in flight as long as the closure runs; `false` fails the run.
#[derive(Clone)]
pub struct Hold(Arc<Asked>);
type Asked = dyn Fn(&str, &str) -> bool + Send + Sync;
impl Hold {
    pub fn new(hold: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Hold(Arc::new(hold))
    }
}

pub struct Measure(pub Wish);
impl Stage for Measure {
    type In = One<Listing>;
    type Out = Measured;
    const NAME: &'static str = "measure";
    const VERSION: u32 = 1;
    fn settings(&self) -> Value {
        json!({ "drop_below": self.0.drop_below })
    }
    fn run(&self, One(row): One<Listing>, cx: &Cx<'_>) -> Result<Vec<Measured>, Fault> {
        std::thread::sleep(self.0.sleep);
        cx.count("looks", 1);
        if self
            .0
            .hold
            .as_ref()
            .is_some_and(|hold| !hold.0("measure", &row.clip))
        {
            return Err(Fault::stop("held for too long"));
        }
        if number(&row.clip) % 100 < self.0.drop_below {
            return Err(Fault::drop("small"));
        }
        Ok(vec![Measured {
            size: (number(&row.clip) % 1000) as i64,
            clip: row.clip,
        }])
    }
}

pub struct Draw(pub Wish);
impl Stage for Draw {
    type In = One<Measured>;
    type Out = Picture;
    const NAME: &'static str = "draw";
    const VERSION: u32 = 1;
    fn settings(&self) -> Value {
        json!({ "factor": self.0.factor })
    }
    fn guarded(&self) -> bool {
        true
    }
    fn run(&self, One(row): One<Measured>, cx: &Cx<'_>) -> Result<Vec<Picture>, Fault> {
        std::thread::sleep(self.0.sleep * (row.size % 3) as u32);
        if self.0.stop_at.as_ref() == Some(&row.clip) {
            return Err(Fault::stop("no service"));
        }
        if self.0.wait_at.contains(&row.clip.as_str()) {
            return Err(Fault::Wait(Wait {
                on: "painter".into(),
                why: "closed".into(),
                what: "no paint".into(),
            }));
        }
        assert!(self.0.panic_at.as_ref() != Some(&row.clip), "a slip");
        let picture = |number: i64| {
            let bytes = vec![(row.size + number * self.0.factor) as u8; (row.size % 700) as usize];
            let image = cx.pack.put(
                &format!("{}/{number}.bin", row.clip),
                "application/octet-stream",
                bytes,
            );
            Picture {
                clip: row.clip.clone(),
                number,
                image,
            }
        };
        Ok((0..row.size % 4).map(picture).collect())
    }
}

pub struct Listen(pub Wish);
impl Stage for Listen {
    type In = One<Measured>;
    type Out = Voice;
    const NAME: &'static str = "listen";
    const VERSION: u32 = 1;
    fn settings(&self) -> Value {
        json!({})
    }
    fn lanes(&self, cores: usize) -> usize {
        self.0.lanes_of_listen.unwrap_or(cores)
    }
    fn run(&self, One(row): One<Measured>, _cx: &Cx<'_>) -> Result<Vec<Voice>, Fault> {
        std::thread::sleep(self.0.sleep);
        if row.size % 5 == 0 {
            return Err(Fault::drop("mute"));
        }
        Ok(vec![Voice {
            words: format!("{} mice", row.size),
            clip: row.clip,
        }])
    }
}

pub struct Join;
impl Stage for Join {
    type In = (One<Measured>, Many<Picture>, One<Voice>);
    type Out = Joined;
    const NAME: &'static str = "join";
    const VERSION: u32 = 1;
    fn settings(&self) -> Value {
        json!({})
    }
    fn run(
        &self,
        (One(row), Many(pictures), One(voice)): Self::In,
        _cx: &Cx<'_>,
    ) -> Result<Vec<Joined>, Fault> {
        Ok(vec![Joined {
            clip: row.clip,
            pictures: pictures.len() as i64,
            words: voice.words,
        }])
    }
}

/// Keys `clip-<n>`; every ninth is dropped by the source.
pub struct Toy(pub Vec<usize>);
impl Source for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }
    fn settings(&self) -> Value {
        json!({})
    }
    fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
        for number in &self.0 {
            let clip = format!("clip-{number}");
            if number % 9 == 0 {
                sink.drop(&clip, "no_file")?;
                continue;
            }
            let path = format!("{clip}.mp4");
            let (start, end, source_video, caption, transcript, licence) = Default::default();
            sink.keep(Listing {
                clip,
                path,
                start,
                end,
                source_video,
                caption,
                transcript,
                scores: vec![],
                licence,
                ..Listing::default()
            })?;
        }
        Ok(())
    }
}

pub fn plan(clips: impl IntoIterator<Item = usize>, wish: &Wish) -> Plan {
    // Not in running order, on purpose.
    let stages: Vec<Box<dyn AnyStage>> = vec![
        Box::new(Join),
        Box::new(Measure(wish.clone())),
        Box::new(Draw(wish.clone())),
        Box::new(Listen(wish.clone())),
    ];
    Plan::new(Box::new(Toy(clips.into_iter().collect())), stages).unwrap()
}

pub fn options(out: &Path) -> RunOptions {
    RunOptions {
        out: out.to_owned(),
        threads: 4,
        shard_clips: 8,
        ..RunOptions::default()
    }
}

pub fn go(plan: &Plan, options: &RunOptions) -> Summary {
    run(plan, options, &Cancel::new(), &Silent).unwrap()
}

/// Remembers every event.
#[derive(Default)]
pub struct Heard(pub Mutex<Vec<Event>>);
impl Progress for Heard {
    fn on(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
impl Heard {
    pub fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| which(event)).count()
    }
}

/// Content, inode and time of every file that must not differ between equal runs.
pub type Tree = BTreeMap<PathBuf, (Vec<u8>, u64, std::time::SystemTime)>;

pub fn tree(out: &Path) -> Tree {
    use std::os::unix::fs::MetadataExt;
    fn walk(base: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(base).unwrap().to_owned();
            if below == Path::new("log") || below == Path::new("summary.json") {
                continue;
            }
            if path.is_dir() {
                walk(base, &path, tree);
            } else {
                let data = fs::metadata(&path).unwrap();
                tree.insert(
                    below,
                    (fs::read(&path).unwrap(), data.ino(), data.modified().unwrap()),
                );
            }
        }
    }
    let mut found = Tree::new();
    walk(out, out, &mut found);
    found
}

pub fn contents(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    tree(out)
        .into_iter()
        .map(|(path, (bytes, ..))| (path, bytes))
        .collect()
}

pub fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (contents(a), contents(b));
    let names = |tree: &BTreeMap<PathBuf, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for (path, bytes) in &a {
        assert!(bytes == &b[path], "{} differs", path.display());
    }
}

pub fn adds_up(summary: &Summary) -> bool {
    summary.listed == summary.kept + summary.dropped.values().sum::<u64>() + summary.pending
}
