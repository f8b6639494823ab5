//! `omni report` in a real browser: a made run with hostile text, and ten thousand clips.
//!
//! `OMNI_SCREENSHOTS=DIR` keeps what the browser showed.

use crate::{browser, common, made};
use browser::Page;
use common::{Scratch, code, film, stderr, stdout};
use made::{Fate, MadeClip};
use std::{fs, path::Path, process::Stdio, time::Instant};

const HOSTILE: &str =
    "</script><img src=x onerror=alert(1)> <script>alert(2)</script> \u{2028} 👩‍🚀 'quoted' \"\\";

/// Six clips in two shards: the second shard has no bindings yet.
fn six(scratch: &Scratch) {
    let clip = |key: &str, change: &dyn Fn(&mut MadeClip)| {
        let mut clip = MadeClip::new(key);
        change(&mut clip);
        clip
    };
    // without ffmpeg there is none, and the page says so
    film(&scratch.join("clips/film one.mp4"), 0);
    fs::write(scratch.join("clips/no film.mpg"), "text").unwrap();
    let first = vec![
        clip("a<b>&\"1", &|clip| {
            clip.path = "film one.mp4".into();
            clip.caption = HOSTILE.into();
            clip.words = "hello 👩‍🚀 <b>world</b>".into();
            clip.people = 2;
        }),
        clip("plain", &|clip| {
            clip.path = "film one.mp4".into();
            clip.score = 7.0;
        }),
        clip("french", &|clip| {
            clip.path = "no film.mpg".into();
            clip.language = "fr";
            clip.words = "bonjour tout le monde".into();
        }),
    ];
    let second = vec![
        clip("nobody there", &|clip| clip.fate = Fate::NoFace),
        clip("silent one", &|clip| clip.fate = Fate::Silent),
        clip("waits", &|clip| clip.people = 2),
    ];
    made::run(&scratch.join("out"), &scratch.join("clips"), &[first, second], 6);
}

fn report(scratch: &Scratch) -> String {
    let output = scratch.omni(&["report", "out"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output)
}

fn page_url(scratch: &Scratch) -> String {
    format!(
        "file://{}/report/index.html",
        fs::canonicalize(scratch.join("out")).unwrap().display()
    )
}

fn data(scratch: &Scratch) -> Vec<(String, std::time::SystemTime)> {
    let mut found: Vec<_> = fs::read_dir(scratch.join("out/report/data"))
        .unwrap()
        .flatten()
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().modified().unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn only_what_changed_is_written_again() {
    let scratch = Scratch::new();
    six(&scratch);
    assert!(report(&scratch).contains("6 clips; 2 shards written, 0 as they were"));
    let before = data(&scratch);
    assert_eq!(before.len(), 7, "{before:?}");
    assert!(report(&scratch).contains("6 clips; 0 shards written, 2 as they were"));
    assert_eq!(data(&scratch), before, "nothing is written when nothing changed");
    fs::write(scratch.join("clips/waits.mp4"), "new file").unwrap();
    assert!(report(&scratch).contains("1 shards written, 1 as they were"));
    let after = data(&scratch);
    assert_eq!(after.len(), 7, "the old shard's files are gone");
    let shard = made::shard_id(0);
    let of_first = |files: &[(String, std::time::SystemTime)]| {
        files
            .iter()
            .filter(|(name, _)| name.contains(&shard))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(of_first(&after), of_first(&before));
}

#[test]
fn what_is_no_run_and_a_missing_folder_of_clips_are_named() {
    let scratch = Scratch::new();
    let output = scratch.omni(&["report", "nowhere"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("nowhere is no output folder of a run"),
        "{}",
        stderr(&output)
    );
    six(&scratch);
    let output = scratch.omni(&["report", "out", "--root", "gone"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("gone") && stderr(&output).contains("--root DIR"),
        "{}",
        stderr(&output)
    );
    assert_eq!(code(&scratch.omni(&["report", "out", "--threads", "0"])), 2);
    assert_eq!(
        code(&scratch.omni(&["report", "out", "--port", "80"])),
        2,
        "--port wants --serve"
    );
}

#[test]
fn a_browser_shows_filters_and_plays_it() {
    let Some(browser) = browser::found() else { return };
    let scratch = Scratch::new();
    six(&scratch);
    report(&scratch);
    let mut page = Page::open(&browser);
    page.size(1440, 900);
    page.scheme("light");
    page.go(&page_url(&scratch));
    assert_eq!(
        page.eval("omni.clips.length"),
        7,
        "six rows and one the source dropped"
    );
    assert_eq!(
        page.eval("[...document.querySelectorAll('.states button')].map((one) => one.textContent).join()"),
        "3 kept,3 dropped,1 pending"
    );
    page.shot("list-light");
    filters(&mut page);
    hostile(&mut page);
    plays(&mut page, scratch.join("clips/film one.mp4").is_file());
    honest(&mut page);
    keyboard(&mut page);
    looks(&mut page);
    page.assert_quiet();
}

fn shown(page: &mut Page) -> String {
    page.eval("list.shown.map((clip) => clip.key).join('|')")
        .as_str()
        .unwrap()
        .to_owned()
}

fn choose(page: &mut Page, id: &str, value: &str) {
    page.eval(&format!("(() => {{ const one = document.getElementById('{id}'); one.value = '{value}'; one.dispatchEvent(new Event('change')); }})()"));
}

fn filters(page: &mut Page) {
    choose(page, "reason", "no_face");
    assert_eq!(shown(page), "nobody there");
    choose(page, "reason", "");
    choose(page, "language", "fr");
    assert_eq!(shown(page), "french");
    choose(page, "language", "");
    choose(page, "people", "2");
    assert_eq!(shown(page), "a<b>&\"1|waits");
    choose(page, "people", "");
    page.eval("(() => { const one = document.getElementById('search'); one.value = 'MONDE bonjour'; one.dispatchEvent(new Event('input')); })()");
    page.until("list.shown.length === 1");
    assert_eq!(shown(page), "french");
    page.eval("document.getElementById('clear').click()");
    page.until("list.shown.length === 7");
    page.eval("document.querySelector('.states .kept').click()");
    assert_eq!(shown(page), "nobody there|silent one|waits|broken row");
    page.eval("document.getElementById('clear').click()");
    page.eval(
        "document.querySelector('#drops g').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }))",
    );
    assert_eq!(
        shown(page),
        "broken row",
        "a bar of the chart filters, also by key"
    );
    page.eval("document.getElementById('clear').click()");
    choose(page, "score", "aesthetic");
    page.eval("wanted.range = null; [...document.querySelectorAll('#histogram g')].pop().dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }))");
    assert_eq!(shown(page), "plain");
    page.eval("document.getElementById('clear').click()");
}

fn open(page: &mut Page, key: &str) {
    let key = serde_json::to_string(key).unwrap();
    page.eval(&format!("location.hash = '#clip=' + encodeURIComponent({key})"));
    page.until(&format!(
        "document.querySelector('#card h2')?.textContent === {key} && document.querySelector('#card .body')"
    ));
}

/// A caption is text, whatever is in it; spans hold in characters beyond the first plane.
fn hostile(page: &mut Page) {
    open(page, "a<b>&\"1");
    assert_eq!(page.eval("document.querySelectorAll('#card .prompt img, #card .prompt script, #card img[onerror], #card b b').length"), 0);
    let prompt = page.eval("document.querySelector('#card .prompt').textContent");
    assert!(prompt.as_str().unwrap().starts_with(HOSTILE), "{prompt}");
    assert_eq!(
        page.eval("document.querySelector('#card .prompt mark').textContent"),
        "hello 👩‍🚀 <b>world</b>"
    );
    assert_eq!(
        page.eval("document.querySelector('#card .prompt .described').textContent"),
        HOSTILE
    );
    assert_eq!(
        page.eval("document.querySelectorAll('#card .time .who').length"),
        2,
        "a lane for each face"
    );
    assert_eq!(
        page.eval("document.querySelector('#card .said').textContent"),
        "hello 👩‍🚀 <b>world</b>"
    );
}

fn plays(page: &mut Page, there: bool) {
    if !there {
        println!("skipped: no film to play without `ffmpeg`");
        return;
    }
    page.until(
        "document.querySelector('#card video').readyState >= 2 || document.querySelector('#card .trouble')",
    );
    if page.eval("Boolean(document.querySelector('#card .trouble'))") == true {
        println!("skipped: this browser decodes no H.264; the card says so");
        return;
    }
    page.eval("document.querySelector('#card video').play()");
    page.until("document.querySelector('#card video').currentTime > 0.4 && omni.view.frame > 8");
    page.eval("document.querySelector('#card video').pause()");
    assert_eq!(page.eval("omni.view.drawn"), 2, "both faces have their box");
    assert_eq!(
        page.eval("boxAt([0,10,10,20,20, 9,40,40,50,50], 8, 3).join()"),
        "40,40,50,50"
    );
    assert_eq!(
        page.eval("boxAt([0,10,10,20,20, 40,40,40,50,50], 20, 3)"),
        serde_json::Value::Null
    );
    assert_eq!(page.eval("document.querySelector('#card .wave canvas').getContext('2d').getImageData(0, 0, 400, 60).data.some((one) => one > 0)"), true);
    page.eval("document.querySelector('#card .said').click()");
    page.until("document.querySelector('#card video').paused && document.querySelector('#card video').currentTime >= 1.5");
    page.eval("(() => { document.querySelector('.under input').click(); })()");
    assert_eq!(page.eval("omni.view.drawn"), 0, "boxes can be switched off");
}

fn honest(page: &mut Page) {
    open(page, "french");
    page.until("document.querySelector('#card .trouble')");
    let words = page.eval("document.querySelector('#card .trouble').textContent");
    assert!(
        words
            .as_str()
            .unwrap()
            .contains("This browser cannot decode the file (h264 with aac)"),
        "{words}"
    );
    open(page, "nobody there");
    let words = page.eval("document.querySelector('#card').textContent");
    let words = words.as_str().unwrap();
    assert!(
        words.contains("no_face – dropped at stage track.") && words.contains("not where the run found it"),
        "{words}"
    );
    open(page, "broken row");
    assert_eq!(
        page.eval("document.querySelector('#card .banner').textContent"),
        "bad_row – dropped by the source, before any stage saw it."
    );
    open(page, "waits");
    let words = page.eval("document.querySelector('#card .banner').textContent");
    assert!(
        words
            .as_str()
            .unwrap()
            .starts_with("Pending: stage av_evidence has yet to run."),
        "{words}"
    );
}

fn press(page: &mut Page, key: &str) {
    page.eval(&format!("(document.activeElement || document.body).dispatchEvent(new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }}))"));
}

fn keyboard(page: &mut Page) {
    press(page, "k");
    page.until("list.current === 'silent one'");
    press(page, "Escape");
    page.until("document.getElementById('card').hidden");
    assert_eq!(
        page.eval("document.activeElement.dataset.place"),
        "4",
        "the focus returns to the clip"
    );
    press(page, "ArrowLeft");
    assert_eq!(page.eval("document.activeElement.title"), "nobody there");
    press(page, "Home");
    assert_eq!(page.eval("document.activeElement.dataset.place"), "0");
    assert_eq!(page.eval("[...document.querySelectorAll('button, a, select, input, [role=button], video')].filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length || one.title)).length"), 0, "every control has a name");
}

fn looks(page: &mut Page) {
    open(page, "a<b>&\"1");
    page.shot("card-light");
    assert!(contrast(page) >= 4.5);
    page.scheme("dark");
    page.until("document.documentElement.dataset.theme === 'dark'");
    assert!(contrast(page) >= 4.5);
    page.shot("card-dark");
    page.size(390, 844);
    page.until("innerWidth === 390");
    page.shot("card-narrow-dark");
    assert_eq!(page.eval("document.documentElement.scrollWidth <= 390 && document.querySelector('#card').scrollWidth <= 390"), true, "nothing is wider than the screen");
    page.eval("close()");
    page.until("document.getElementById('card').hidden");
    page.shot("list-narrow-dark");
    page.eval("document.getElementById('theme').click()");
    page.until("document.documentElement.dataset.theme === 'light'");
}

/// The smallest contrast of the palette's text colours on the surfaces they stand on.
fn contrast(page: &mut Page) -> f64 {
    let script = r#"(() => {
        const style = getComputedStyle(document.documentElement), probe = document.body.appendChild(document.createElement('i'));
        const light = (name) => { probe.style.color = style.getPropertyValue(name); const parts = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3)
            .map((one) => one / 255).map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4); return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]; };
        const pairs = [['--text', '--ground'], ['--text', '--surface'], ['--text', '--sunken'], ['--soft', '--ground'], ['--soft', '--surface'], ['--soft', '--sunken'],
            ['--accent', '--surface'], ...['kept', 'dropped', 'pending'].map((one) => ['--' + one, `--${one}-soft`]), ...[1, 2, 3, 4, 5, 6, 7, 8].flatMap((one) => [['--p' + one, '--surface'], ['--p' + one, '--ground']])];
        const worst = Math.min(...pairs.map(([a, b]) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); }));
        probe.remove();
        return worst;
    })()"#;
    page.eval(script).as_f64().unwrap()
}

#[test]
fn it_is_served_on_this_machine() {
    let Some(browser) = browser::found() else { return };
    let scratch = Scratch::new();
    six(&scratch);
    let mut child = scratch
        .command(&["report", "out", "--serve"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let url = lines
        .find_map(|line| {
            Some(
                line.unwrap()
                    .strip_prefix("serving ")?
                    .split(' ')
                    .next()?
                    .to_owned(),
            )
        })
        .unwrap();
    let mut page = Page::open(&browser);
    page.go(&format!("{url}#clip=plain"));
    page.until("document.querySelector('#card .body')");
    if scratch.join("clips/film one.mp4").is_file() {
        page.until("document.querySelector('#card video').readyState >= 1 || document.querySelector('#card .trouble')");
        page.eval("document.querySelector('#card video').currentTime = 1.5");
        page.until("document.querySelector('#card video').currentTime >= 1.4 || document.querySelector('#card .trouble')");
    }
    page.assert_quiet();
    drop(page);
    assert!(
        // the shell's own: a bare system has no program of that name
        std::process::Command::new("sh")
            .args(["-c", &format!("kill -INT {}", child.id())])
            .status()
            .unwrap()
            .success()
    );
    assert!(child.wait().unwrap().success(), "Ctrl-C is how it ends");
}

/// The figures of docs/gallery.md: `cargo test --workspace --test tests ten_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "makes ten thousand clips; its figures are in docs/gallery.md"]
fn ten_thousand_clips_open_and_scroll() {
    let Some(browser) = browser::found() else { return };
    let scratch = Scratch::new();
    many(&scratch);
    let began = Instant::now();
    report(&scratch);
    println!("report written in {:.1} s", began.elapsed().as_secs_f64());
    let again = Instant::now();
    report(&scratch);
    println!(
        "report again, nothing changed, in {:.2} s",
        again.elapsed().as_secs_f64()
    );
    println!(
        "data: {:.1} MiB",
        size(&scratch.join("out/report/data")) as f64 / f64::from(1 << 20)
    );
    let mut page = Page::open(&browser);
    page.size(1440, 900);
    page.go(&page_url(&scratch));
    let paint = page
        .eval("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        .as_f64()
        .unwrap();
    let ready = page
        .eval("(() => { performance.mark('x'); return performance.now(); })()")
        .as_f64()
        .unwrap();
    println!("first contentful paint {paint:.0} ms; all rows loaded before {ready:.0} ms");
    let script = r#"(async () => {
        const pane = document.getElementById('list'), times = []; let last = performance.now(); const end = pane.scrollHeight;
        for (let step = 0; step < 300; step += 1) {
            pane.scrollTop = end * step / 300;
            await new Promise(requestAnimationFrame);
            const now = performance.now(); times.push(now - last); last = now;
        }
        times.sort((a, b) => a - b);
        return [times[150], times[285], times[299], document.querySelectorAll('.tile').length];
    })()"#;
    let scrolled = page.eval(script);
    println!(
        "scrolling end to end in 300 steps: median, 95th, longest frame (ms), tiles at the end: {scrolled}"
    );
    let filtered = page.eval("(() => { const began = performance.now(); wanted.text = 'clip 77'; apply(); return performance.now() - began; })()");
    println!("text filter over all rows: {filtered} ms");
    page.shot("ten-thousand");
    page.assert_quiet();
    assert!(paint < 2000.0 && scrolled[1].as_f64().unwrap() < 100.0 && scrolled[3].as_u64().unwrap() < 200);
}

fn many(scratch: &Scratch) {
    film(&scratch.join("clips/film.mp4"), 0);
    let clip = |number: usize| {
        let mut clip = MadeClip::new(&format!("clip {number}"));
        clip.path = "film.mp4".into();
        clip.caption = format!(
            "Person number {number} stands in a street and talks to somebody who is out of sight, with cars behind."
        );
        clip.fate = match number % 9 {
            0 => Fate::Silent,
            1 => Fate::NoFace,
            _ => Fate::Kept,
        };
        clip.people = 1 + i64::from(number.is_multiple_of(3));
        clip.score = 4.0 + (number % 101) as f64 / 40.0;
        clip.language = ["en", "fr", "zh"][number % 3];
        clip
    };
    let clips: Vec<MadeClip> = (0..10_000).map(clip).collect();
    let shards: Vec<Vec<MadeClip>> = clips.chunks(256).map(<[MadeClip]>::to_vec).collect();
    made::run(&scratch.join("out"), &scratch.join("clips"), &shards, 9);
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.metadata().unwrap().len())
        .sum()
}
