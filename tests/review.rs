//! `omni review`: cards over HTTP, verdicts that survive kills, who may vote, what the verdicts come to, and the page in a
//! browser. `OMNI_SCREENSHOTS=DIR` keeps what it showed.

use crate::{browser, common, made};
use common::{Scratch, code, stderr, stdout};
use made::MadeClip;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Stdio},
};

/// Two shards of four clips; everybody has a voice.
fn make(scratch: &Scratch) {
    let clip = |n: usize| {
        let mut clip = MadeClip::new(&format!("clip{n}"));
        clip.words = format!("good morning number {n}");
        clip
    };
    fs::create_dir_all(scratch.join("clips")).unwrap();
    fs::write(scratch.join("clips/clip1.mp4"), "0123456789").unwrap();
    let shards = [(0..4).map(clip).collect::<Vec<_>>(), (4..8).map(clip).collect()];
    made::run(&scratch.join("out"), &scratch.join("clips"), &shards, 9);
}

/// Gives every clip a film; `false` without ffmpeg.
fn films(scratch: &Scratch) -> bool {
    let path = scratch.join("clips/clip0.mp4");
    let made = common::film(&path, 0);
    if made {
        for n in 1..8 {
            fs::copy(&path, scratch.join(&format!("clips/clip{n}.mp4"))).unwrap();
        }
    }
    made
}

struct Review {
    child: Child,
    host: String,
    /// With slashes around it.
    secret: String,
    /// Kept open: a closed pipe is a normal end of the program.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Review {
    fn start(scratch: &Scratch, more: &[&str]) -> Review {
        let mut command = scratch.command(&[&["review", "out", "--root", "clips"], more].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let (_, address) = first.split_once("http://").unwrap();
        let (host, rest) = address.split_once('/').unwrap();
        let secret = format!("/{}", rest.trim());
        assert!(host.starts_with("127.0.0.1:") && secret.len() == 34, "{first}");
        Review {
            child,
            host: host.to_owned(),
            secret,
            _said: lines,
        }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        headers
            .iter()
            .for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            format!("{head}\n\n{body}"),
        )
    }

    fn get(&self, below: &str) -> (u16, String) {
        self.ask(
            "GET",
            &format!("{}{below}", self.secret),
            &[("Host", &self.host)],
            "",
        )
    }

    fn cards(&self) -> Value {
        let (status, body) = self.get("cards.json");
        assert_eq!(status, 200);
        serde_json::from_str(body.split_once("\n\n").unwrap().1).unwrap()
    }

    /// As the page votes, with some headers put otherwise.
    fn vote(&self, id: &str, verdict: &str, other: &[(&str, &str)]) -> u16 {
        let origin = format!("http://{}", self.host);
        let mut headers = vec![
            ("Host", self.host.as_str()),
            ("Origin", &origin),
            ("Content-Type", "application/json"),
        ];
        for (name, value) in other {
            headers.retain(|(known, _)| known != name);
            if !value.is_empty() {
                headers.push((name, value));
            }
        }
        let body = json!({"id": id, "verdict": verdict}).to_string();
        self.ask("POST", &format!("{}verdict", self.secret), &headers, &body)
            .0
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Review {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ids(cards: &Value) -> Vec<String> {
    let cards = cards["cards"].as_array().unwrap();
    cards
        .iter()
        .map(|card| card["id"].as_str().unwrap().to_owned())
        .collect()
}

fn summary(scratch: &Scratch) -> Value {
    let output = scratch.omni(&["review", "out", "--summary", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn verdicts_survive_kills_and_come_to_a_precision_with_its_interval() {
    let scratch = Scratch::new();
    make(&scratch);
    let review = Review::start(&scratch, &["--n", "4", "--seed", "1"]);
    let cards = review.cards();
    let drawn = ids(&cards);
    assert_eq!((drawn.len(), &cards["of"]), (4, &json!(8)));
    let card = &cards["cards"][0];
    assert!(
        card["faces"][0].as_str().unwrap().starts_with("data:image/jpeg"),
        "{card}"
    );
    assert_eq!((&card["speaker"], &card["voice"]), (&json!("S1"), &json!(true)));
    assert!(
        card.get("margin").is_none() && !card.to_string().contains("local"),
        "the card is blind"
    );
    assert_eq!(review.get(&format!("voice/{}.wav", drawn[0])).0, 200);
    for (id, verdict) in drawn.iter().zip(["right", "right", "wrong", "unsure"]) {
        assert_eq!(review.vote(id, verdict, &[]), 200);
    }
    review.kill();
    let found = summary(&scratch);
    let all = &found["all"];
    assert_eq!(
        (&all["right"], &all["wrong"], &all["unsure"]),
        (&json!(2), &json!(1), &json!(1))
    );
    let near = |name: &str, wanted: f64| (all[name].as_f64().unwrap() - wanted).abs() < 5e-4;
    assert!(
        near("precision", 0.6667) && near("low", 0.2077) && near("high", 0.9385),
        "{found}"
    );
    assert_eq!(found["routes"]["local"], *all);

    let again = Review::start(&scratch, &["--n", "100", "--seed", "1"]);
    let cards = again.cards();
    assert_eq!(
        cards["verdicts"].as_object().unwrap().len(),
        4,
        "taken up where it was left"
    );
    assert!(ids(&cards).len() == 8 && drawn.iter().all(|id| ids(&cards).contains(id)));
    assert_eq!(again.vote(&drawn[2], "right", &[]), 200, "a mind may change");
    again.kill();
    assert_eq!(summary(&scratch)["all"]["right"], 3);
    let table = stdout(&scratch.omni(&["review", "out", "--summary"]));
    assert!(
        table.contains("local") && table.contains("4 of 8 pairs judged"),
        "{table}"
    );

    let clip = cards["cards"]
        .as_array()
        .unwrap()
        .iter()
        .find(|card| card["id"] == *drawn[0])
        .unwrap();
    let clip = clip["clip"].as_str().unwrap();
    let forgot = scratch.omni(&["forget", "out", "--clip", clip]);
    assert!(
        stdout(&forgot).contains("verdicts of the review"),
        "{}{}",
        stdout(&forgot),
        stderr(&forgot)
    );
    assert_eq!(summary(&scratch)["all"]["right"], 2);
    for entry in fs::read_dir(scratch.join("out/review")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(clip), "{text}");
    }
}

#[test]
fn only_the_page_itself_may_vote() {
    let scratch = Scratch::new();
    make(&scratch);
    let review = Review::start(&scratch, &[]);
    let id = &ids(&review.cards())[0];
    let far = "http://evil.example";
    for (other, wanted) in [
        (&[("Origin", far)][..], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", "")], 403),
        (&[("Host", "evil.example")], 403),
        (&[("Sec-Fetch-Site", "cross-site")], 403),
        (&[("Content-Type", "text/plain")], 415),
        (&[("Content-Type", "")], 415),
    ] {
        assert_eq!(review.vote(id, "right", other), wanted, "{other:?}");
    }
    assert_eq!(review.vote("0123456789abcdef", "right", &[]), 400);
    assert_eq!(review.vote(id, "splendid", &[]), 400);
    assert_eq!(review.get("verdict").0, 404);
    let host = [("Host", review.host.as_str())];
    let origin = format!("http://{}", review.host);
    let ours = [
        host[0],
        ("Origin", origin.as_str()),
        ("Content-Type", "application/json"),
    ];
    let vote = json!({"id": id, "verdict": "right"}).to_string();
    for path in [
        "/verdict",
        "//verdict",
        "/0123456789abcdef0123456789abcdef/verdict",
    ] {
        assert_eq!(review.ask("POST", path, &ours, &vote).0, 404, "{path}");
    }
    let verdict = format!("{}verdict", review.secret);
    assert_eq!(review.ask("POST", &verdict, &ours, &" ".repeat(5000)).0, 413);
    assert_eq!(review.ask("PUT", &verdict, &ours, &vote).0, 405);
    assert_eq!(
        review.ask("GET", "/", &host, "").0,
        404,
        "without the secret there is nothing"
    );
    assert_eq!(review.get("media/clip1.mp4").0, 200);
    for below in [
        "media/../out/run.json",
        "media/%2e%2e/out/run.json",
        "run.json",
        "voice/x.wav",
    ] {
        assert_eq!(review.get(below).0, 404, "{below}");
    }
    let (_, page) = review.get("");
    assert!(
        page.contains("Content-Security-Policy: default-src 'none'"),
        "{page}"
    );
    assert!(!scratch.join("out/review").exists(), "nobody voted");
}

#[test]
fn mistakes_are_named() {
    let scratch = Scratch::new();
    make(&scratch);
    for (args, wanted, words) in [
        (&["review", "out", "--n", "0"][..], 2, "--n must be at least 1"),
        (&["review", "nowhere"], 1, "no output folder of a run"),
        (&["review", "out", "--root", "gone"], 1, "--root DIR"),
    ] {
        let output = scratch.omni(args);
        assert!(
            code(&output) == wanted && stderr(&output).contains(words),
            "{args:?}: {} {}",
            code(&output),
            stderr(&output)
        );
    }
    assert_eq!(summary(&scratch)["all"]["precision"], Value::Null);
}

#[test]
fn a_person_judges_by_keys_and_sees_the_result() {
    let Some(browser) = browser::found() else { return };
    let scratch = Scratch::new();
    make(&scratch);
    let plays = films(&scratch);
    let review = Review::start(&scratch, &["--n", "3"]);
    let mut page = browser::Page::open(&browser);
    page.size(1280, 800);
    for scheme in ["light", "dark"] {
        page.scheme(scheme);
        page.call(
            "Page.navigate",
            json!({ "url": format!("http://{}{}", review.host, review.secret) }),
        );
        page.until("document.querySelector('.faces img')");
        if plays {
            page.until("document.querySelector('video').readyState >= 2");
            page.until("document.querySelector('.screen canvas').width > 300");
        }
        assert_eq!(page.eval("document.documentElement.dataset.theme"), scheme);
        page.shot(&format!("review-{scheme}"));
    }
    let press = |page: &mut browser::Page, key: &str, judged: u64| {
        page.eval(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true }}))"
        ));
        page.until(&format!(
            "document.getElementById('count').textContent.startsWith('{judged} of 3')"
        ));
    };
    if plays {
        page.eval("document.querySelector('video').muted = true, state.hear()");
        page.until("document.querySelector('video').currentTime > 0.4");
        page.shot("review-playing");
    }
    press(&mut page, "r", 1);
    press(&mut page, "W", 2);
    page.eval("document.querySelector('[data-verdict=unsure]').click()");
    page.until("document.querySelector('.end')");
    page.shot("review-end");
    let told = page.eval("document.querySelector('.end table').textContent");
    assert!(told.as_str().unwrap().contains("50.0 %"), "{told}");
    let all = summary(&scratch)["all"].clone();
    assert_eq!(
        (&all["right"], &all["wrong"], &all["unsure"]),
        (&json!(1), &json!(1), &json!(1))
    );
    page.eval("window.old = true");
    page.call("Page.reload", json!({}));
    page.until("!window.old && document.querySelector('.end') && state.cards.length === 3");
    page.size(420, 860);
    page.eval("step(-1)");
    page.until("document.querySelector('.faces img')");
    page.shot("review-narrow");
    assert_eq!(
        page.eval("document.documentElement.scrollWidth <= innerWidth"),
        true
    );
    println!("{:?}", page.trouble);
}
