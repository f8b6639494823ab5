//! Signs of life of the clips in flight: one that is silent is reported, and noted as stuck when it stays so.

use crate::{
    Event,
    lanes::Work,
    stage::{Pulse, locked},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// A watcher that was itself away for longer (Ctrl-Z, a frozen container) blames no clip for that time.
const AWAY: Duration = Duration::from_secs(5);

/// The clips of a step in flight.
pub(crate) type Pulses = Mutex<Vec<Arc<Pulse>>>;

/// Watches the clips of a step until its sender is gone.
pub(crate) fn watch(work: &Work<'_>, pulses: &Pulses, stopped: &Receiver<()>) {
    let (slow, stuck) = (work.options.slow_after, work.options.stuck_after);
    let pause = stuck.map_or(slow, |stuck| stuck.min(slow)) / 4;
    let pause = pause.clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut looked = Instant::now();
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let away = std::mem::replace(&mut looked, Instant::now()).elapsed();
        for pulse in locked(pulses).iter() {
            if away > pause + AWAY {
                pulse.excuse(away);
            }
            let seconds = pulse.silence();
            if seconds > slow.as_secs_f64() && !pulse.told.swap(true, Ordering::Relaxed) {
                let (stage, key) = (work.stage, pulse.key.clone());
                work.progress.on(&Event::ClipSlow { stage, key, seconds });
            }
            if stuck.is_some_and(|stuck| seconds > stuck.as_secs_f64())
                && !pulse.stuck.swap(true, Ordering::Relaxed)
            {
                give_up(work, pulse, seconds);
            }
        }
    }
}

/// Notes the clip in the journal, so that the next run knows it, and tells the listener, who may end the process.
fn give_up(work: &Work<'_>, pulse: &Pulse, seconds: f64) {
    let noted = work.journal.stuck(work.dir, &pulse.key);
    work.progress.on(&Event::ClipStuck {
        stage: work.stage,
        key: pulse.key.clone(),
        seconds,
        times: 1 + work.suspects.get(&pulse.key).map_or(0, |faults| faults.times()),
        unnoted: noted.err().map(|error| error.to_string()),
    });
}
