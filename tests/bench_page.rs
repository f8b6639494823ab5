//! The page of `omni bench report` in a real browser: hostile words, curves, faces, narrow screens.

use crate::{
    bench_made::{MadeRun, PAPER, cases, noise, write},
    browser::{self, Page},
    common::{Scratch, code, film, stderr},
};
use omni_schemas::Case;
use serde_json::{Value, json};
use std::fs;

const HOSTILE: &str = "</script><img src=x onerror=alert(1)> \u{2028} 'quoted' \"\\ & <b>";

fn details(case: usize, metric: &str) -> Option<Value> {
    match metric {
        "face" => Some(
            json!({ "subjects": [{ "anchor": "<sub1>", "sim": 0.6 }, { "anchor": "<sub2>", "sim": 0.5 }],
            "frames": (0..32).map(|n| json!({ "frame": n, "seconds": f64::from(n) * 0.06, "faces": if n == 9 { vec![] } else { vec![
                json!({ "box": [40.0 + f64::from(n), 30.0, 60.0, 70.0], "score": 0.93, "subject": 0, "cosine": noise(0, n as usize, "x") }),
                json!({ "box": [180.0, 30.0, 60.0, 70.0], "score": 0.8, "subject": if n % 3 == 0 { Value::Null } else { 1.into() }, "cosine": if n % 3 == 0 { Value::Null } else { noise(1, n as usize, "y").into() } })] } })).collect::<Vec<_>>() }),
        ),
        "sync" => Some(
            json!({ "tracks": [], "curve": (0..31).map(|k| 12.0 - 4.0 / (1.0 + f64::from((k - 14) * (k - 14)))).collect::<Vec<_>>() }),
        ),
        "av_offset" => Some(
            json!({ "seconds_per_step": 0.04, "mouths": 1, "curve": (-12..=12).map(|n| json!({
            "shift_ms": f64::from(n) * 40.0, "correlation": 0.7 / (1.0 + f64::from((n - 2) * (n - 2)) / 9.0) })).collect::<Vec<_>>() }),
        ),
        "wer" => Some(
            json!({ "language": "en", "heard": format!("words {case} of won and {HOSTILE}"), "errors": { "substitutions": 1, "deletions": 1, "insertions": 1, "of": 8 },
            "pieces": [{ "op": "same", "script": "words", "heard": "words" }, { "op": "sub", "script": "one", "heard": "won" }, { "op": "del", "script": "lost", "heard": "" }, { "op": "ins", "script": "", "heard": HOSTILE }] }),
        ),
        "t_sim" => Some(
            json!({ "speakers": [{ "anchor": "<sub1>", "seconds": 1.9, "cosine": 0.61, "flag": null }, { "anchor": "<sub2>", "seconds": 0.2, "cosine": null, "flag": "no_speech" }] }),
        ),
        _ => None,
    }
}

#[test]
fn the_page_is_one_file_and_works_in_a_browser() {
    let Some(browser) = browser::found() else {
        return;
    };
    let scratch = Scratch::new();
    let mut all: Vec<Case> = cases(90);
    all[1].prompt = format!("{} {HOSTILE}", all[1].prompt);
    fs::write(scratch.join("face.png"), picture()).unwrap();
    for case in &mut all {
        case.subjects[0].face = Some(scratch.join("face.png").to_string_lossy().into_owned());
    }
    let long = "a method with a name that somebody typed without thinking of tables, v2-final-final_checkpoint-120000";
    for (number, (name, paradigm)) in [
        ("ours", "joint"),
        (long, "joint"),
        ("the driven one", "audio_driven"),
    ]
    .iter()
    .enumerate()
    {
        let outputs = scratch.join(&format!("clips {number}"));
        for case in all.iter().take(3) {
            film(&outputs.join(format!("{}.mp4", case.case)), number as u32 * 90);
        }
        write(
            &scratch.join(&format!("run{number}")),
            &MadeRun {
                paradigm,
                value: &|case, _, reading| match (number, case % 11, reading) {
                    (1, 5, "face_sim") => Err("no_face"),
                    _ => Ok(noise(number, case, reading)),
                },
                detail: &details,
                missing: if number == 1 { vec![2, 70] } else { Vec::new() },
                outputs: &outputs,
                ..MadeRun::new(name, PAPER, all.clone())
            },
        );
    }
    scratch.write("a.toml", &format!("title = 'Parts'\nticks = ['OCF', 'MTP-CA']\n[[row]]\nmethod = 'ours'\nticks = ['OCF', 'MTP-CA']\n[[row]]\nmethod = '{long}'\n"));
    let output = scratch.omni(&[
        "bench",
        "report",
        "run0",
        "run1",
        "run2",
        "--out",
        "page.html",
        "--ablation",
        "a.toml",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let html = fs::read_to_string(scratch.join("page.html")).unwrap();
    // The name of SVG in the script is no address that anything is loaded from.
    let addresses = html.replace("http://www.w3.org/2000/svg", "");
    assert!(!addresses.contains("http://") && !addresses.contains("https://"));
    assert!(html.contains("published, other protocol") && !html.contains("<img src=x"));
    let mut page = Page::open(&browser);
    page.size(1400, 1000);
    page.scheme("light");
    page.go(&format!(
        "file://{}",
        fs::canonicalize(scratch.join("page.html")).unwrap().display()
    ));
    let count = |page: &mut Page, selector: &str| {
        page.eval(&format!("document.querySelectorAll({selector:?}).length"))
    };
    // 12 published rows and ours, and four groups, in the first table.
    assert_eq!(
        page.eval("document.querySelectorAll('#results table')[0].querySelectorAll('tbody tr').length"),
        12 + 3 + 4
    );
    assert_eq!(
        page.eval("document.querySelectorAll('#results table')[0].querySelectorAll('.published').length"),
        12
    );
    assert!(
        page.eval("document.querySelectorAll('#results table')[0].querySelectorAll('.best').length")
            .as_u64()
            .unwrap()
            >= 12
    );
    assert_eq!(count(&mut page, "#subsets svg"), 12);
    assert_eq!(count(&mut page, "#spread svg"), 12);
    assert_eq!(count(&mut page, ".web"), 3);
    assert_eq!(count(&mut page, ".strip"), 3, "the first case of each subset");
    let with_film = page.eval("document.querySelectorAll('.frames img').length");
    println!("{with_film} frames");
    shots(&mut page, "light");
    page.scheme("dark");
    page.until("document.documentElement.dataset.theme === 'dark'");
    shots(&mut page, "dark");
    page.scheme("light");
    // The drill-down: search, open, look at a frame, close.
    page.eval("document.getElementById('search').value = 'case-00001'; document.getElementById('search').dispatchEvent(new Event('input'))");
    assert_eq!(
        page.eval("document.getElementById('shown').textContent"),
        "1 of 90 cases"
    );
    page.eval("document.querySelector('#list button').click()");
    assert_eq!(count(&mut page, "#case .take"), 3);
    assert_eq!(
        page.eval("document.querySelector('#case .prompt').textContent.includes('</script>')"),
        true
    );
    assert_eq!(
        page.eval("document.querySelector('#case .diff ins:last-of-type').textContent.includes('onerror')"),
        true
    );
    assert_eq!(count(&mut page, "#case img[src^='x']"), 0);
    page.until("document.querySelector('#case .person img').naturalWidth > 0");
    page.eval("document.querySelector('#case .face').dispatchEvent(new MouseEvent('click'))");
    if with_film != 0 {
        page.until("document.querySelector('#case video').readyState >= 2");
        page.until("document.querySelector('#case .screen canvas').dataset.method === 'ours'");
    }
    page.shot("bench-case");
    page.eval("document.querySelector('#case .quiet').click()");
    assert_eq!(count(&mut page, "#case .take"), 0);
    page.size(390, 800);
    for part in ["results", "subsets", "radar", "strips", "cases", "made"] {
        page.eval(&format!("document.getElementById('{part}').scrollIntoView()"));
        page.shot(&format!("bench-narrow-{part}"));
    }
    assert_eq!(
        page.eval("document.documentElement.scrollWidth <= innerWidth"),
        true,
        "nothing is wider than a narrow screen"
    );
    page.assert_quiet();
}

fn shots(page: &mut Page, scheme: &str) {
    for part in ["results", "subsets", "radar", "spread", "strips", "cases", "made"] {
        page.eval(&format!("document.getElementById('{part}').scrollIntoView()"));
        assert!(page.shot(&format!("bench-{scheme}-{part}")) > 1000);
    }
}

fn picture() -> Vec<u8> {
    let data = (0..64 * 64)
        .flat_map(|n| [(n % 64 * 4) as u8, (n / 64 * 4) as u8, 120])
        .collect();
    omni_media::png(&omni_media::Image {
        width: 64,
        height: 64,
        data,
    })
    .unwrap()
}
