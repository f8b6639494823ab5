//! `omni-loopback --personality vllm [--rules FILE] [--log FILE] [--key-env NAME] [--work-ms N]`: prints its address on
//! standard output and serves canned answers until it is ended.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::fs::File;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use omni_loopback::{Options, Personality, Rule, Server};

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("omni-loopback: {what}");
            ExitCode::from(2)
        }
    }
}

fn serve() -> Result<(), String> {
    let (mut personality, mut rules, mut options) = (None, Vec::new(), Options::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--personality" => personality = Some(value.parse::<Personality>()?),
            "--rules" => rules = read_rules(&value)?,
            "--log" => {
                let file = File::options().create(true).append(true).open(&value);
                let file = file.map_err(|error| format!("--log {value}: {error}"))?;
                options.log = Some(Mutex::new(Box::new(file)));
            }
            "--key-env" => {
                options.key =
                    Some(std::env::var(&value).map_err(|error| format!("--key-env {value}: {error}"))?);
            }
            "--work-ms" => {
                let millis = value
                    .parse()
                    .map_err(|error| format!("--work-ms {value}: {error}"))?;
                options.work = Duration::from_millis(millis);
            }
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    let personality = personality.ok_or("give --personality vllm, whisper, gemini or cosyvoice")?;
    let server = Server::with_options(personality, rules, options).map_err(|error| error.to_string())?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}

fn read_rules(path: &str) -> Result<Vec<Rule>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("--rules {path}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("--rules {path}: {error}"))
}
