//! Which answer lies where, rebuilt from the logs at start and kept up while other workers write theirs.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use super::super::{Key, Money, Reply, ServiceError};
use super::frame::{self, Head};
use super::{Recorded, Share};

/// Where the record of an answer or a refusal begins. Small, because there is one for every call ever made.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    log: u32,
    refused: bool,
}

struct Log {
    path: PathBuf,
    read_to: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    logs: Vec<Log>,
    answers: HashMap<Key, Place>,
    /// Which clips the calls are about, as hashes of key and clip.
    about: HashSet<u64>,
    pub(super) damaged: u64,
}

/// One worker's tries of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Account {
    share: (u64, u64),
    /// Price of every try: booked, then true; gone when nothing was paid.
    prices: BTreeMap<u64, u64>,
    /// Tries without an end, or with one that may have been paid.
    doubtful: BTreeMap<u64, Key>,
    /// Doubts that its tries have counted.
    counted: HashMap<Key, u32>,
    /// Price and counted doubts of tries that were taken out.
    carried: (u64, u64),
}

/// What dead processes left.
#[derive(Debug, Default)]
pub(super) struct Killed(Vec<Account>);

impl Killed {
    /// What this worker's part has spent: its own tries, and an equal part of those by workers that were shared out
    /// otherwise.
    pub(super) fn spent(&self, share: Share) -> Money {
        let world = share.world.max(1) as u64;
        let (mut own, mut other) = (0u64, 0u64);
        for account in &self.0 {
            let sum = account
                .prices
                .values()
                .fold(account.carried.0, |sum, price| sum.saturating_add(*price));
            match account.share {
                (rank, of) if of == world => own += u64::from(rank == share.rank as u64) * sum,
                _ => other = other.saturating_add(sum),
            }
        }
        Money(own.saturating_add(other.div_ceil(world)))
    }

    /// Tries of each call that may have been paid, less those that a later try has counted.
    pub(super) fn doubtful(&self) -> HashMap<Key, u32> {
        let mut doubtful: HashMap<Key, u32> = HashMap::new();
        for key in self.0.iter().flat_map(|account| account.doubtful.values()) {
            *doubtful.entry(*key).or_default() += 1;
        }
        for (key, count) in self.0.iter().flat_map(|account| &account.counted) {
            doubtful
                .entry(*key)
                .and_modify(|known| *known = known.saturating_sub(*count));
        }
        doubtful
    }

    /// Doubts that were counted so far.
    pub(super) fn twice(&self) -> u64 {
        let counts = self.0.iter().flat_map(|account| account.counted.values());
        let carried: u64 = self.0.iter().map(|account| account.carried.1).sum();
        carried + counts.map(|count| u64::from(*count)).sum::<u64>()
    }
}

impl Account {
    /// The record that keeps the cost of tries that are taken out; nothing when they cost nothing.
    pub(super) fn carried(&self) -> Option<Head> {
        let sum = |sum: u64, price: &u64| sum.saturating_add(*price);
        let price = self.prices.values().fold(self.carried.0, sum);
        let counted = self.carried.1 + self.counted.values().map(|count| u64::from(*count)).sum::<u64>();
        (price > 0 || counted > 0).then_some(Head::Carried { price, counted })
    }

    pub(super) fn note(&mut self, head: &Head) {
        match head {
            Head::About { .. } => {}
            Head::Carried { price, counted } => {
                self.carried.0 = self.carried.0.saturating_add(*price);
                self.carried.1 += counted;
            }
            Head::Worker { rank, world } => self.share = (*rank, *world),
            Head::Sent {
                id,
                key,
                booked,
                doubts,
                ..
            } => {
                self.prices.insert(*id, *booked);
                if let Some(key) = Key::parse(key) {
                    self.doubtful.insert(*id, key);
                    if *doubts > 0 {
                        *self.counted.entry(key).or_default() += doubts;
                    }
                }
            }
            Head::Answer { id, .. } => {
                self.doubtful.remove(id);
            }
            Head::Paid { id, price } => {
                self.prices.insert(*id, *price);
            }
            // They stay booked, and in doubt.
            Head::Failed { maybe_paid: true, .. } => {}
            Head::Refused { status, .. } if *status < 300 => {}
            Head::Failed { id, .. } | Head::Refused { id, .. } => {
                self.prices.remove(id);
                self.doubtful.remove(id);
            }
        }
    }

    /// A doubt about a call that was answered later was counted when that was sent.
    fn forget_answered(&mut self, answers: &HashMap<Key, Place>) {
        self.doubtful.retain(|_, key| !answers.contains_key(key));
    }
}

impl Index {
    /// Reads every log of a folder; with `mend`, cuts torn tails off the logs of dead processes.
    pub(super) fn load(&mut self, folder: &Path, mend: bool) -> Result<Killed, ServiceError> {
        let mut killed = Killed::default();
        for path in logs(folder)? {
            let fail = |error| ServiceError::log(&path)(error);
            let mut file = File::options().read(true).write(mend).open(&path).map_err(fail)?;
            let dead = mend && !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            let scan = frame::scan(&mut file, 0).map_err(fail)?;
            if dead && file.metadata().map_err(fail)?.len() > scan.end {
                file.set_len(scan.end).map_err(fail)?;
            }
            let mut account = Account::default();
            scan.found.iter().for_each(|found| account.note(&found.head));
            self.take(path.clone(), scan);
            // A living worker knows its own tries; the calls it has out are no doubt of ours. Its bookings count.
            if !dead {
                account.doubtful.clear();
            }
            killed.0.push(account);
        }
        for account in &mut killed.0 {
            account.forget_answered(&self.answers);
        }
        Ok(killed)
    }

    fn take(&mut self, path: PathBuf, scan: frame::Scan) {
        self.damaged += scan.damaged;
        let log = self.number(&path);
        if let Some(known) = self.logs.get_mut(log as usize) {
            known.read_to = scan.end;
        }
        for found in scan.found {
            self.enter(log, &found.head, found.at);
        }
    }

    fn enter(&mut self, log: u32, head: &Head, at: u64) {
        if let Head::Sent { key, clips, .. } | Head::About { key, clips } = head {
            let key = Key::parse(key);
            self.about.extend(
                key.iter()
                    .flat_map(|key| clips.iter().map(|clip| pair(*key, clip))),
            );
        }
        let (key, refused) = match head {
            Head::Answer { key, .. } => (Key::parse(key), false),
            Head::Refused { key, .. } => (Key::parse(key), true),
            _ => return,
        };
        let Some(key) = key else { return };
        // An answer is never replaced: the first one is what earlier runs have seen.
        if self.answers.get(&key).is_none_or(|known| known.refused) {
            self.answers.insert(key, Place { at, log, refused });
        }
    }

    fn number(&mut self, path: &Path) -> u32 {
        let known = self.logs.iter().position(|log| log.path == path);
        let number = known.unwrap_or_else(|| {
            self.logs.push(Log {
                path: path.to_owned(),
                read_to: 0,
            });
            self.logs.len() - 1
        });
        number as u32
    }

    /// Adds an answer of this process, whose record begins there.
    pub(super) fn add(&mut self, path: &Path, head: &Head, at: u64) {
        let log = self.number(path);
        self.enter(log, head, at);
    }

    /// This process wrote its own log up to there.
    pub(super) fn mine(&mut self, path: &Path, len: u64) {
        let log = self.number(path);
        if let Some(log) = self.logs.get_mut(log as usize) {
            log.read_to = len;
        }
    }

    /// The clips that a call is not yet known to be about.
    pub(super) fn unknown(&self, key: Key, clips: &[String]) -> Vec<String> {
        let new = |clip: &&String| !self.about.contains(&pair(key, clip));
        clips.iter().filter(new).cloned().collect()
    }

    /// Reads what others have written since.
    pub(super) fn refresh(&mut self, folder: &Path) -> Result<(), ServiceError> {
        for path in logs(folder)? {
            let number = self.number(&path);
            let from = self.logs.get(number as usize).map_or(0, |log| log.read_to);
            let fail = |error| ServiceError::log(&path)(error);
            let size = fs::metadata(&path).map_err(fail)?.len();
            if size > from {
                let scan = frame::scan(&mut File::open(&path).map_err(fail)?, from).map_err(fail)?;
                self.take(path.clone(), scan);
            }
        }
        Ok(())
    }

    /// The recorded end of a call. A damaged answer is forgotten: it must be asked for again.
    pub(super) fn read(&mut self, key: Key) -> Result<Option<Recorded>, ServiceError> {
        let Some(place) = self.answers.get(&key) else {
            return Ok(None);
        };
        let Some(log) = self.logs.get(place.log as usize) else {
            return Ok(None);
        };
        let found = recorded(&log.path, place.at).map_err(ServiceError::log(&log.path))?;
        if found.is_none() {
            self.answers.remove(&key);
            self.damaged += 1;
        }
        Ok(found)
    }
}

fn pair(key: Key, clip: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, clip).hash(&mut hasher);
    hasher.finish()
}

/// The record at a place; `None` when its head or body is damaged.
fn recorded(path: &Path, at: u64) -> std::io::Result<Option<Recorded>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if at >= size {
        return Ok(None);
    }
    let Some((found, _)) = frame::record(&mut file, at, size)? else {
        return Ok(None);
    };
    Ok(match found.head {
        Head::Answer {
            status,
            content_type,
            encoding,
            framed,
            sha256,
            ..
        } => frame::body(&mut file, found.body_at, found.body_len, &sha256)?.map(|body| {
            Recorded::Answer(Reply {
                status,
                content_type,
                encoding,
                framed,
                upload: Default::default(),
                body,
            })
        }),
        Head::Refused {
            status,
            error,
            message,
            ..
        } => Some(Recorded::Refused {
            status,
            kind: error,
            message,
        }),
        _ => None,
    })
}

/// The logs of a folder, by name.
pub(super) fn logs(folder: &Path) -> Result<Vec<PathBuf>, ServiceError> {
    let fail = |error| ServiceError::log(folder)(error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|end| end == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
