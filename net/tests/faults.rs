//! Every row of the services' fault tables, through the real client and real sockets.

use crate::kit;
use std::time::Duration;

use kit::{Wants, bench, chat, gemini, once, speech, transcription, wav};
use omni_loopback::{Fault, Personality, Rule, Server};
use omni_net::service::{Call, Part, Reply, ServiceError, Transport};

/// What must come of a row.
enum Want {
    /// An answer, after so many requests.
    Answer(usize),
    /// The request is refused at once: status, kind, a part of the message.
    Refused(u16, &'static str, &'static str),
    /// The endpoint is closed at once; a part of why.
    Closed(&'static str),
    /// Six tries, then this reason.
    Exhausted(&'static str),
}

struct Row {
    name: &'static str,
    personality: Personality,
    rules: Vec<Rule>,
    call: Call,
    want: Want,
}

fn check(rows: Vec<Row>) {
    for row in rows {
        let (result, requests, _) = once(row.personality, row.rules, &row.call);
        let seen = format!("{}: {result:?} after {requests} requests", row.name);
        match row.want {
            Want::Answer(wanted) => assert!(result.is_ok() && requests == wanted, "{seen}"),
            Want::Refused(status, kind, part) => match result.unwrap_err() {
                ServiceError::Refused {
                    status: s,
                    kind: k,
                    message,
                    ..
                } => {
                    assert!(
                        s == status && k == kind && message.contains(part) && requests == 1,
                        "{seen}"
                    );
                }
                _ => panic!("{seen}"),
            },
            Want::Closed(part) => match result.unwrap_err() {
                ServiceError::Closed { why, .. } => assert!(why.contains(part) && requests == 1, "{seen}"),
                _ => panic!("{seen}"),
            },
            Want::Exhausted(reason) => {
                let error = result.unwrap_err();
                assert!(
                    matches!(
                        error,
                        ServiceError::Exhausted {
                            tries: 6,
                            alive: false,
                            ..
                        }
                    ),
                    "{seen}"
                );
                assert!(
                    error.reason() == reason && requests == 6 && error.is_pending(),
                    "{seen}"
                );
            }
        }
    }
}

fn vllm(name: &'static str, status: u16, body: &str, want: Want) -> Row {
    Row {
        name,
        personality: Personality::Vllm,
        rules: vec![Rule::status(status, body).times(1)],
        call: chat("hello"),
        want,
    }
}

fn openai(message: &str, kind: &str, param: &str, code: u16) -> String {
    format!(
        r#"{{"error": {{"message": "{message}", "type": "{kind}", "param": "{param}", "code": {code}}}}}"#
    )
}

#[test]
fn the_errors_of_vllm() {
    let long = "This model's maximum context length is 32768 tokens. However, your prompt contains 41210 input tokens";
    let bad = |message: &str, param: &str| openai(message, "BadRequestError", param, 400);
    let old = r#"{"object": "error", "message": "too long", "type": "BadRequestError", "param": null, "code": 400}"#;
    let kwargs = Call {
        body: omni_net::service::Body::Json(
            br#"{"messages": [], "mm_processor_kwargs": {"use_audio_in_video": true}}"#.to_vec(),
        ),
        ..chat("")
    };
    check(vec![
        vllm(
            "too long",
            400,
            &bad(long, "input_tokens"),
            Want::Refused(400, "BadRequestError", "41210"),
        ),
        vllm(
            "older shape",
            400,
            old,
            Want::Refused(400, "BadRequestError", "too long"),
        ),
        vllm(
            "media",
            400,
            &bad("At most 1 video(s) may be provided in one prompt.", "video"),
            Want::Refused(400, "BadRequestError", "1 video(s)"),
        ),
        vllm(
            "local files",
            400,
            &bad(
                "Cannot load local files without `--allowed-local-media-path`.",
                "",
            ),
            Want::Refused(400, "BadRequestError", "local files"),
        ),
        vllm(
            "schema",
            400,
            &openai("1 validation error", "Bad Request", "body.messages", 400),
            Want::Refused(400, "Bad Request", "validation"),
        ),
        vllm(
            "model",
            404,
            &openai("The model `x` does not exist.", "NotFoundError", "model", 404),
            Want::Closed("does not exist"),
        ),
        vllm(
            "route",
            404,
            &openai("Not Found", "NotFoundError", "", 404),
            Want::Closed("is the address right?"),
        ),
        vllm(
            "route of a framework",
            404,
            r#"{"detail":"Not Found"}"#,
            Want::Closed("is the address right?"),
        ),
        vllm(
            "a thing that is asked for by name",
            404,
            &openai("The file `x` was not found.", "NotFoundError", "file", 404),
            Want::Refused(404, "NotFoundError", "file"),
        ),
        vllm(
            "route for this model",
            501,
            &openai("no", "NotImplementedError", "", 501),
            Want::Refused(501, "NotImplementedError", "no"),
        ),
        vllm(
            "engine",
            500,
            &openai("EngineDead", "InternalServerError", "", 500),
            Want::Answer(2),
        ),
        vllm(
            "not now",
            503,
            &openai("busy", "ServiceUnavailableError", "", 503),
            Want::Answer(2),
        ),
        vllm(
            "wrong key",
            401,
            r#"{"error": "Unauthorized"}"#,
            Want::Closed("Unauthorized"),
        ),
        vllm("forbidden", 403, "no", Want::Closed("no")),
        Row {
            name: "kwargs",
            personality: Personality::Vllm,
            rules: vec![],
            call: kwargs,
            want: Want::Refused(400, "BadRequestError", "mm_processor_kwargs"),
        },
    ]);
}

#[test]
fn statuses_that_end_the_item_and_statuses_that_are_tried_again() {
    for status in [413, 415, 422] {
        check(vec![vllm("ends", status, "no", Want::Refused(status, "", "no"))]);
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        check(vec![vllm("again", status, "busy", Want::Answer(2))]);
        let mut always = vllm(
            "always",
            status,
            "busy",
            Want::Exhausted(match status {
                408 => "status_408",
                425 => "status_425",
                429 => "status_429",
                500 => "status_500",
                502 => "status_502",
                503 => "status_503",
                _ => "status_504",
            }),
        );
        always.rules = vec![Rule::status(status, "busy")];
        check(vec![always]);
    }
}

#[test]
fn the_errors_of_a_transcription_endpoint() {
    let file = || Part::file("file", "a.wav", "audio/wav", wav(16_000, 0.1));
    let row = |name, parts, want| Row {
        name,
        personality: Personality::Whisper,
        rules: vec![],
        call: transcription(parts),
        want,
    };
    check(vec![
        row(
            "good",
            vec![file(), Part::text("response_format", "verbose_json")],
            Want::Answer(1),
        ),
        row(
            "no file",
            vec![Part::text("model", "x")],
            Want::Refused(422, "missing", "Field required"),
        ),
        row(
            "file as text",
            vec![Part::text("file", "RIFF")],
            Want::Refused(422, "value_error", "file-like object"),
        ),
        row(
            "format",
            vec![file(), Part::text("response_format", "srt")],
            Want::Refused(400, "BadRequestError", "Currently only support response_format"),
        ),
        row(
            "no sound",
            vec![Part::file("file", "a.wav", "audio/wav", b"junk".to_vec())],
            Want::Refused(400, "BadRequestError", "Invalid or unsupported"),
        ),
        row(
            "too large",
            vec![Part::file("file", "a.wav", "audio/wav", wav(48_000, 280.0))],
            Want::Refused(400, "BadRequestError", "Maximum file size"),
        ),
    ]);
    let mut other = row(
        "no such route",
        vec![file()],
        Want::Closed("is the address right?"),
    );
    other.personality = Personality::Vllm;
    check(vec![other]);
}

#[test]
fn the_errors_of_gemini() {
    let error = |code: u16, status: &str, details: &str| {
        format!(
            r#"{{"error": {{"code": {code}, "message": "said {status}", "status": "{status}", "details": [{details}]}}}}"#
        )
    };
    let quota = |id: &str| {
        format!(
            r#"{{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{{"quotaId": "{id}"}}]}}"#
        )
    };
    let key = r#"{"reason": "API_KEY_INVALID"}"#;
    let per_day = quota("GenerateRequestsPerDayPerProjectPerModel");
    let per_minute = quota("GenerateRequestsPerMinutePerProjectPerModel");
    let row = |name, status: u16, body: String, want| Row {
        name,
        personality: Personality::Gemini,
        rules: vec![Rule::status(status, &body).times(1)],
        call: gemini("hi"),
        want,
    };
    let list = format!("[{}]", error(503, "UNAVAILABLE", ""));
    check(vec![
        row(
            "argument",
            400,
            error(400, "INVALID_ARGUMENT", ""),
            Want::Refused(400, "INVALID_ARGUMENT", "said"),
        ),
        row(
            "key",
            400,
            error(400, "INVALID_ARGUMENT", key),
            Want::Closed("key"),
        ),
        row(
            "billing",
            400,
            error(400, "FAILED_PRECONDITION", ""),
            Want::Closed("account or region"),
        ),
        row(
            "permission",
            403,
            error(403, "PERMISSION_DENIED", ""),
            Want::Closed("not allowed"),
        ),
        row(
            "model",
            404,
            error(404, "NOT_FOUND", ""),
            Want::Closed("no such model"),
        ),
        row(
            "a day's quota",
            429,
            error(429, "RESOURCE_EXHAUSTED", &per_day),
            Want::Closed("quota of the day"),
        ),
        row(
            "a minute's quota",
            429,
            error(429, "RESOURCE_EXHAUSTED", &per_minute),
            Want::Answer(2),
        ),
        row("internal", 500, error(500, "INTERNAL", ""), Want::Answer(2)),
        row("list", 503, list, Want::Answer(2)),
        row(
            "deadline",
            504,
            error(504, "DEADLINE_EXCEEDED", ""),
            Want::Answer(2),
        ),
    ]);
}

#[test]
fn the_errors_of_cosyvoice() {
    let prompt = "You are a helpful assistant.<|endofprompt|>Come in.";
    let row = |name, call, want| Row {
        name,
        personality: Personality::Cosyvoice,
        rules: vec![],
        call,
        want,
    };
    let text_wav = Call {
        body: omni_net::service::Body::Form(vec![
            Part::text("tts_text", "a"),
            Part::text("prompt_text", prompt),
            Part::text("prompt_wav", "RIFF"),
        ]),
        ..speech("", "", vec![])
    };
    let json = Call {
        body: omni_net::service::Body::Json(b"{}".to_vec()),
        ..speech("", "", vec![])
    };
    let none = Call {
        body: omni_net::service::Body::Form(vec![
            Part::text("tts_text", "a"),
            Part::text("prompt_text", prompt),
        ]),
        ..speech("", "", vec![])
    };
    check(vec![
        row(
            "good",
            speech("We can leave at noon.", prompt, wav(16_000, 1.0)),
            Want::Answer(1),
        ),
        row(
            "field missing",
            none,
            Want::Refused(422, "missing", "prompt_wav: Field required"),
        ),
        row(
            "prompt as text",
            text_wav,
            Want::Refused(422, "value_error", "UploadFile"),
        ),
        row(
            "json",
            json,
            Want::Refused(422, "missing", "tts_text: Field required; prompt_text"),
        ),
        row(
            "low rate",
            speech("a", prompt, wav(8_000, 1.0)),
            Want::Exhausted("status_500"),
        ),
        row(
            "long prompt",
            speech("a", prompt, wav(16_000, 31.0)),
            Want::Exhausted("cut"),
        ),
        row(
            "no end of prompt",
            speech("a", "Come in.", wav(16_000, 1.0)),
            Want::Exhausted("cut"),
        ),
        row(
            "nothing to say",
            speech("...", prompt, wav(16_000, 1.0)),
            Want::Answer(1),
        ),
    ]);
    let some = Rule::canned("fails").times(1);
    let call = speech("We can leave.", prompt, wav(16_000, 1.0));
    check(vec![Row {
        name: "some sound, then cut",
        personality: Personality::Cosyvoice,
        rules: vec![some],
        call,
        want: Want::Answer(2),
    }]);
}

#[test]
fn faults_of_the_wire_are_tried_again_and_no_half_answer_is_taken() {
    use Fault::*;
    let row = |name, fault, want| Row {
        name,
        personality: Personality::Vllm,
        rules: vec![Rule::fault(fault).times(1)],
        call: chat("x"),
        want,
    };
    check(vec![
        row("late head", DelayHead(50), Want::Answer(1)),
        row("slow chunks", DelayChunks(5), Want::Answer(1)),
        row("silence", Stall, Want::Answer(2)),
        row("no head", CloseBeforeHead, Want::Answer(2)),
        row("head only", CloseAfterHead, Want::Answer(2)),
        row("half a chunk", CloseMidChunk, Want::Answer(2)),
        row("no end mark", NoEndMark, Want::Answer(2)),
        row("wrong length", WrongLength(10), Want::Answer(2)),
        row("web page", Html, Want::Answer(2)),
        row("no utf-8", InvalidUtf8, Want::Answer(1)),
        row("compressed", Gzip, Want::Answer(1)),
        row(
            "50 MB",
            Huge(50 << 20),
            Want::Refused(200, "too_long", "longer than"),
        ),
        row("dropped", DropKeepAlive, Want::Answer(1)),
        row("odd chunks", Chunks(3), Want::Answer(1)),
    ]);
    let (result, ..) = once(Personality::Vllm, vec![Rule::fault(Gzip)], &chat("x"));
    assert_eq!(
        result.unwrap().encoding.as_deref(),
        Some("gzip"),
        "the parser is told"
    );
    let (result, ..) = once(Personality::Vllm, vec![Rule::fault(Unframed)], &chat("x"));
    assert!(
        !result.unwrap().framed,
        "the parser is told that nothing marked the end"
    );
}

#[test]
fn a_dropped_connection_between_two_requests_is_no_failure() {
    let server = Server::start(Personality::Vllm, vec![Rule::fault(Fault::DropKeepAlive)]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &server.url(), Wants::default());
    for n in 0..20 {
        bench.stack.send(&chat(&n.to_string())).unwrap();
    }
    assert_eq!(bench.log.counts().answered, 20);
}

#[test]
fn nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let bench = bench(dir.path(), &format!("http://{closed}"), Wants::default());
    let error = bench.stack.send(&chat("x")).unwrap_err();
    assert_eq!(error.reason(), "unreachable");
    let seconds: Vec<f64> = bench.clock.slept().iter().map(Duration::as_secs_f64).collect();
    assert_eq!(
        seconds,
        [0.5, 1.0, 2.0, 4.0, 8.0],
        "full jitter at one half, base 1 s"
    );
}

#[test]
fn the_servers_own_delay_is_added_to_the_back_off() {
    let gemini_says = r#"{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": [{"retryDelay": "12s"}]}}"#;
    let in_words =
        r#"{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Please retry in 8.94s."}}"#;
    let rows = [
        (Rule::status(429, "x").header("Retry-After", "7"), 7.5),
        (
            Rule::status(503, "x").header("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),
            7.5,
        ),
        (Rule::status(429, gemini_says), 12.5),
        (Rule::status(429, in_words), 9.44),
    ];
    for (rule, wanted) in rows {
        let (result, _, slept) = once(Personality::Vllm, vec![rule.times(1)], &chat("x"));
        result.unwrap();
        let total: f64 = slept.iter().map(Duration::as_secs_f64).sum();
        assert!((total - wanted).abs() < 1e-6, "{slept:?}");
    }
}

#[test]
fn a_closed_endpoint_is_asked_once_by_all() {
    let server = Server::start(
        Personality::Vllm,
        vec![Rule::status(401, r#"{"error": "Unauthorized"}"#)],
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &server.url(), Wants::default());
    for n in 0..5 {
        let error = bench.stack.send(&chat(&n.to_string())).unwrap_err();
        assert!(
            error.is_pending() && matches!(error, ServiceError::Closed { .. }),
            "{error}"
        );
    }
    assert_eq!(server.log().len(), 1);
}

#[test]
fn one_request_that_always_fails_is_told_from_a_dead_endpoint() {
    // Each failure takes its time, so that others are answered between two of them.
    let poison = Rule {
        fault: Some(Fault::DelayHead(150)),
        ..Rule::status(500, "boom").containing("poison")
    };
    let server = Server::start(Personality::Vllm, vec![poison]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &server.url(), Wants::default());
    std::thread::scope(|scope| {
        let poison = scope.spawn(|| bench.stack.send(&chat("poison")));
        let mut n = 0;
        while !poison.is_finished() {
            n += 1;
            let good: Reply = bench.stack.send(&chat(&format!("good {n}"))).unwrap();
            assert_eq!(good.status, 200);
        }
        let error = poison.join().unwrap().unwrap_err();
        assert!(
            matches!(error, ServiceError::Exhausted { alive: true, .. }),
            "{error:?}"
        );
        assert!(!error.is_pending());
    });
}
