//! Runs of the binary against a loopback server.

use crate::{common::Scratch, kit};
use omni_loopback::{Options, Personality, Rule, Server};
use std::{collections::BTreeMap, fs, process::Output};

/// A recipe of two stages that needs no network.
pub const CHAT: &str = r#"
name = "chat"
source = "openhumanvid"
stages = ["probe", "transcribe_service"]

[settings.transcribe_service]
probe_sound = false
"#;

/// A scratch folder, the sample corpus and a server.
pub struct Bench {
    pub scratch: Scratch,
    pub root: String,
    pub server: Server,
}

impl Bench {
    pub fn new(personality: Personality, rules: Vec<Rule>, options: Options) -> Option<Bench> {
        Bench::of(CHAT, personality, rules, options)
    }

    /// With another recipe.
    pub fn of(recipe: &str, personality: Personality, rules: Vec<Rule>, options: Options) -> Option<Bench> {
        let root = kit::sample()?.to_str().unwrap().to_owned();
        let scratch = Scratch::new();
        scratch.write("chat.toml", recipe);
        let server = Server::with_options(personality, rules, options).unwrap();
        Some(Bench {
            scratch,
            root,
            server,
        })
    }

    pub fn chat(rules: Vec<Rule>) -> Option<Bench> {
        Bench::new(Personality::Vllm, rules, Options::default())
    }

    /// `omni curate` on the recipe, with the server's address.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// One clip, always the same, asked live.
    pub fn one(&self) -> Output {
        self.run(&[
            "--services",
            "live",
            "--out",
            "out",
            "--limit",
            "1",
            "--seed",
            "1",
        ])
    }

    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let url = format!("settings.transcribe_service.endpoint.url={}", self.server.url());
        let recipe = [
            "curate",
            "--recipe",
            "chat.toml",
            "--root",
            &self.root,
            "--set",
            &url,
        ];
        let mut command = self.scratch.command(&[&recipe, args].concat());
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Files below a folder of the output, by name without the folder's own.
    pub fn parts(&self, out: &str, stage: &str) -> BTreeMap<String, Vec<u8>> {
        let folders = fs::read_dir(self.scratch.join(out))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mine = folders.filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&format!("{stage}-"))
        });
        let files = mine.flat_map(|folder| fs::read_dir(folder).unwrap());
        files
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    fs::read(path).unwrap(),
                )
            })
            .collect()
    }
}
