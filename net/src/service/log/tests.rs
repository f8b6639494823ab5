//! The log by itself; through the client it is tested in `tests/`.

use super::*;

fn reply(body: &[u8]) -> Reply {
    Reply {
        content_type: Some("application/json".into()),
        ..Reply::ok(body)
    }
}

fn key(n: u8) -> Key {
    Key([n; 32])
}

fn open(folder: &Path, worker: &str) -> ReplyLog {
    ReplyLog::open(folder, worker, Share::default()).unwrap()
}

fn answer(log: &ReplyLog, key: Key) -> Option<Vec<u8>> {
    match log.find(key).unwrap() {
        Some(Recorded::Answer(reply)) => Some(reply.body),
        _ => None,
    }
}

fn transient(maybe_paid: bool) -> ServiceError {
    ServiceError::Transient {
        service: "qwen",
        reason: "cut",
        message: String::new(),
        retry_after: None,
        maybe_paid,
    }
}

#[test]
fn an_answer_is_there_for_this_worker_another_and_a_later_run() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (open(dir.path(), "a"), open(dir.path(), "b"));
    let sent = a.sent(key(1), "qwen", Money(5), &[]).unwrap();
    assert_eq!(answer(&b, key(1)), None);
    a.answered(sent, &reply(b"{}")).unwrap();
    assert_eq!(answer(&a, key(1)).unwrap(), b"{}");
    assert_eq!(
        answer(&b, key(1)).unwrap(),
        b"{}",
        "a living worker's log is read"
    );
    drop((a, b));
    let later = open(dir.path(), "c");
    assert_eq!(answer(&later, key(1)).unwrap(), b"{}");
    assert_eq!(later.counts().from_disk, 1);
    assert_eq!(later.spent(), Money(5));
}

#[test]
fn a_torn_tail_is_cut_off_a_dead_workers_log_only() {
    let dir = tempfile::tempdir().unwrap();
    let a = open(dir.path(), "a");
    let sent = a.sent(key(1), "qwen", Money(0), &[]).unwrap();
    a.answered(sent, &reply(b"whole")).unwrap();
    let path = dir.path().join("a-0.log");
    let whole = fs::metadata(&path).unwrap().len();
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"OMNIrpl1 torn").unwrap();
    assert_eq!(answer(&open(dir.path(), "b"), key(1)).unwrap(), b"whole");
    assert!(fs::metadata(&path).unwrap().len() > whole, "the writer lives");
    drop(a);
    assert_eq!(answer(&open(dir.path(), "b"), key(1)).unwrap(), b"whole");
    assert_eq!(fs::metadata(&path).unwrap().len(), whole);
}

#[test]
fn a_damaged_answer_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let a = open(dir.path(), "a");
    let sent = a.sent(key(1), "qwen", Money(0), &[]).unwrap();
    a.answered(sent, &reply(b"answer")).unwrap();
    drop(a);
    let path = dir.path().join("a-0.log");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let log = open(dir.path(), "b");
    assert_eq!(answer(&log, key(1)), None);
    assert_eq!(log.counts().damaged, 1);
}

#[test]
fn a_kill_between_send_and_answer_is_counted_when_the_call_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = open(dir.path(), "a");
    a.sent(key(1), "qwen", Money(3), &[]).unwrap();
    let sent = a.sent(key(2), "qwen", Money(3), &[]).unwrap();
    a.failed(sent, &transient(false)).unwrap();
    drop(a);
    let b = open(dir.path(), "b");
    assert_eq!(
        b.spent(),
        Money(3),
        "the cut-off call stays booked, the refused one does not"
    );
    b.sent(key(2), "qwen", Money(3), &[]).unwrap();
    assert_eq!(b.counts().possibly_paid_twice, 0);
    let sent = b.sent(key(1), "qwen", Money(3), &[]).unwrap();
    assert_eq!(b.counts().possibly_paid_twice, 1);
    b.answered(sent, &reply(b"")).unwrap();
    drop(b);
    let c = open(dir.path(), "c");
    c.sent(key(1), "qwen", Money(0), &[]).unwrap();
    assert_eq!(
        c.counts().possibly_paid_twice,
        0,
        "what was counted is not counted again"
    );
}

#[test]
fn a_fault_after_an_answer_began_is_counted_too() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), "a");
    let sent = log.sent(key(1), "qwen", Money(0), &[]).unwrap();
    log.failed(sent, &transient(true)).unwrap();
    log.sent(key(1), "qwen", Money(0), &[]).unwrap();
    assert_eq!(log.counts().possibly_paid_twice, 1);
}

#[test]
fn spending_is_shared_out_by_rank_and_a_true_price_replaces_a_booking() {
    let dir = tempfile::tempdir().unwrap();
    for rank in 0..2 {
        let log = ReplyLog::open(dir.path(), &format!("w{rank}"), Share { rank, world: 2 }).unwrap();
        let sent = log.sent(key(rank as u8), "qwen", Money(100), &[]).unwrap();
        log.answered(sent, &reply(b"")).unwrap();
        log.paid(sent, Money(10 + rank as u64)).unwrap();
    }
    let spent = |rank, world| {
        ReplyLog::open(dir.path(), "x", Share { rank, world })
            .unwrap()
            .spent()
    };
    assert_eq!((spent(0, 2), spent(1, 2)), (Money(10), Money(11)));
    assert_eq!(spent(0, 1), Money(21));
    assert_eq!(
        spent(0, 4),
        Money(6),
        "an equal part of what others spent, rounded up"
    );
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_and_not_a_lost_answer() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("replies");
    let log = open(&folder, "a");
    fs::remove_dir_all(&folder).unwrap();
    let error = log.sent(key(1), "qwen", Money(0), &[]).unwrap_err();
    assert!(
        error.is_pending() && error.to_string().contains("replies"),
        "{error}"
    );
}
