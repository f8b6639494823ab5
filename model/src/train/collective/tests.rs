//! Processes, as threads that know each other by TCP alone: sums, ends, strangers. Real processes are in `tests/ranks.rs` of the
//! binary.

use super::{
    Collective, Launch, Meeting, Patience, Processes, Threads, agreed, alike,
    frame::{self, Kind},
    meet,
};
use crate::Error;
use candle_core::{DType, Device, Tensor};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

const PATIENCE: Patience = Patience {
    meet: Duration::from_secs(60),
    silence: Duration::from_secs(60),
};

fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn launch(rank: usize, world: usize, port: u16) -> Launch {
    Launch {
        rank,
        world,
        local: rank,
        here: 1,
        address: "127.0.0.1".to_owned(),
        port,
        token: String::new(),
    }
}

fn meeting(run: &str, settings: &str) -> Meeting {
    Meeting {
        run: run.to_owned(),
        settings: settings.to_owned(),
    }
}

/// What each of some ranks gives; each meets the others first.
fn on_each<R: Send>(
    world: usize,
    patience: Patience,
    work: impl Fn(crate::Result<Processes>) -> R + Sync,
) -> Vec<R> {
    let port = port();
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..world)
            .map(|rank| {
                scope.spawn(move || {
                    work(Processes::meet(
                        &launch(rank, world, port),
                        &meeting("a", "b"),
                        &patience,
                    ))
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Values whose sum depends on the order in which they are added.
fn own(rank: usize, dtype: DType) -> Tensor {
    let value = |at: usize| {
        ((at * 7919 + rank * 104_729) % 1000) as f64 / 7.0 * 10f64.powi((at + rank) as i32 % 9 - 4)
    };
    let row: Vec<f64> = (0..120).map(value).collect();
    Tensor::new(row, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// Bytes of everything that a rank hears.
fn heard(ranks: &dyn Collective) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for _ in 0..3 {
            let own = own(ranks.rank(), dtype);
            let last = ranks.world() - 1;
            for got in [
                ranks.all_reduce(&own).unwrap(),
                ranks.reduce_scatter(&own).unwrap(),
                ranks.all_gather(&own).unwrap(),
                ranks.broadcast(&own, last).unwrap(),
            ] {
                let mut bytes = Vec::new();
                got.write_bytes(&mut bytes).unwrap();
                all.push(bytes);
            }
        }
    }
    assert!(agreed(ranks, true).unwrap());
    assert!(!agreed(ranks, ranks.rank() != 1).unwrap());
    alike(ranks, "text", "same").unwrap();
    all
}

#[test]
fn processes_hear_the_bits_that_threads_hear() {
    for world in [2, 3, 4] {
        let processes = on_each(world, PATIENCE, |ranks| {
            let ranks = ranks.unwrap();
            let heard = heard(&ranks);
            let odd = ranks.reduce_scatter(&Tensor::zeros(world + 1, DType::F32, &Device::Cpu).unwrap());
            assert!(odd.unwrap_err().to_string().contains("no whole slices"));
            ranks.finish();
            heard
        });
        let threads = std::thread::scope(|scope| {
            let ranks = Threads::ranks(world, Duration::from_secs(60)).into_iter();
            let running: Vec<_> = ranks.map(|rank| scope.spawn(move || heard(&rank))).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(processes == threads, "{world} ranks");
    }
}

#[test]
fn what_differs_between_ranks_is_named() {
    let said = on_each(3, PATIENCE, |ranks| {
        let ranks = ranks.unwrap();
        let text = if ranks.rank() == 1 { "other" } else { "same" };
        let said = alike(&ranks, "recipe", text).unwrap_err().to_string();
        ranks.finish();
        said
    });
    assert_eq!(said, ["ranks: rank 1 has another recipe than rank 0"; 3]);
    // and ranks that do not make the same calls do not take each other's values
    let said = on_each(2, PATIENCE, |ranks| {
        let ranks = ranks.unwrap();
        let own = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
        let got = if ranks.rank() == 0 {
            ranks.all_gather(&own)
        } else {
            ranks.reduce_scatter(&own)
        };
        got.unwrap_err().to_string()
    });
    assert!(
        said.iter()
            .any(|said| said.contains("they do not train the same")),
        "{said:?}"
    );
}

/// What ranks 0 and 2 say when rank 1 does as `ends` says, and how long it took.
fn without_rank_1(patience: Patience, ends: impl Fn(Processes) + Sync) -> (Vec<String>, Duration) {
    let start = Instant::now();
    let said = on_each(3, patience, |ranks| {
        let ranks = ranks.unwrap();
        if ranks.rank() == 1 {
            ends(ranks);
            return String::new();
        }
        let own = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        let error = ranks.all_reduce(&own).unwrap_err();
        ranks.fail("the others went");
        error.to_string()
    });
    (vec![said[0].clone(), said[2].clone()], start.elapsed())
}

#[test]
fn a_rank_that_ends_or_fails_stops_the_others_with_its_number_and_reason() {
    for (ends, why) in [
        ((|ranks| drop(ranks)) as fn(Processes), "rank 1 has ended"),
        (|ranks| ranks.finish(), "rank 1 has ended"),
        (|ranks| ranks.fail("no file `x`"), "rank 1 failed: no file `x`"),
    ] {
        let (said, took) = without_rank_1(PATIENCE, ends);
        assert!(took.as_secs() < 30, "{took:?}");
        for (rank, said) in [(0, &said[0]), (2, &said[1])] {
            assert!(said.contains(&format!("rank {rank} stops: {why}")), "{said}");
            assert!(said.contains("--resume"), "{said}");
        }
    }
}

/// A rank that met the others and then does what no rank does.
fn odd_rank(world: usize, patience: Patience, act: impl Fn(Vec<Option<TcpStream>>) + Sync) -> Vec<String> {
    let port = port();
    std::thread::scope(|scope| {
        let odd = launch(1, world, port);
        let act = &act;
        scope.spawn(move || act(meet::meet(&odd, &meeting("a", "b"), &PATIENCE).unwrap()));
        let others = [0, 2].map(|rank| {
            scope.spawn(move || {
                let ranks =
                    Processes::meet(&launch(rank, world, port), &meeting("a", "b"), &patience).unwrap();
                let own = Tensor::zeros(world, DType::F32, &Device::Cpu).unwrap();
                ranks.all_reduce(&own).unwrap_err().to_string()
            })
        });
        others.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_rank_that_hangs_stops_the_others_when_it_was_silent_for_too_long() {
    let patience = Patience {
        silence: Duration::from_secs(2),
        ..PATIENCE
    };
    let said = odd_rank(3, patience, |lines| {
        std::thread::sleep(Duration::from_secs(5));
        drop(lines);
    });
    for said in said {
        assert!(said.contains("rank 1 gave no sign of life for 2 s"), "{said}");
    }
}

#[test]
fn garbage_in_the_middle_of_a_run_is_not_taken_for_values() {
    let said = odd_rank(3, PATIENCE, |lines| {
        for mut line in lines.into_iter().flatten() {
            let mut damaged = Vec::new();
            frame::write(&mut damaged, Kind::Values, &[1; 40]).unwrap();
            *damaged.last_mut().unwrap() ^= 4;
            line.write_all(&damaged).unwrap();
            let _ = line.read_to_end(&mut Vec::new());
        }
    });
    for said in said {
        assert!(
            said.contains("rank 1") && said.contains("sent what is no message"),
            "{said}"
        );
    }
}

#[test]
fn strangers_at_the_port_change_nothing() {
    let (port, world) = (port(), 2);
    std::thread::scope(|scope| {
        let host = scope.spawn(move || {
            let ranks = Processes::meet(&launch(0, world, port), &meeting("a", "b"), &PATIENCE).unwrap();
            let sum = ranks.all_reduce(&own(0, DType::F32)).unwrap();
            ranks.finish();
            sum.to_vec1::<f32>().unwrap()
        });
        let connect = || loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => return stream,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut silent = Vec::new();
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..],
            &[0xff; 5000],
            b"omnR\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f01234567",
            b"omnR",
            b"",
        ] {
            let mut stream = connect();
            stream.write_all(bytes).unwrap();
            silent.push(stream); // some never close
        }
        let mut wrong = connect();
        frame::write(&mut wrong, Kind::Greeting, b"{\"rank\": 1}").unwrap();
        // a rank of another run is sent away with the reason
        let other = Processes::meet(&launch(1, world, port), &meeting("another", "b"), &PATIENCE);
        let said = other.err().unwrap();
        assert!(matches!(&said, Error::Ranks(_)), "{said}");
        assert!(said.to_string().contains("another run"), "{said}");
        let ranks = Processes::meet(&launch(1, world, port), &meeting("a", "b"), &PATIENCE).unwrap();
        let sum = ranks.all_reduce(&own(1, DType::F32)).unwrap();
        ranks.finish();
        let both = (own(0, DType::F32) + own(1, DType::F32)).unwrap();
        assert_eq!(sum.to_vec1::<f32>().unwrap(), both.to_vec1::<f32>().unwrap());
        assert_eq!(host.join().unwrap(), both.to_vec1::<f32>().unwrap());
    });
}

/// What each of some ranks says that cannot begin.
fn refused(ranks: &[(usize, usize, &str)], patience: Patience) -> Vec<String> {
    let port = port();
    std::thread::scope(|scope| {
        let running: Vec<_> = ranks
            .iter()
            .map(|&(rank, world, settings)| {
                scope.spawn(move || {
                    let met = Processes::meet(&launch(rank, world, port), &meeting("a", settings), &patience);
                    met.map(drop).unwrap_err().to_string()
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_that_do_not_fit_together_do_not_begin() {
    for said in refused(&[(0, 3, "b"), (1, 3, "b"), (2, 3, "other")], PATIENCE) {
        assert!(said.contains("rank 2 was given another recipe"), "{said}");
    }
    for said in refused(&[(0, 2, "b"), (1, 3, "b")], PATIENCE) {
        assert!(said.contains("rank 1 counts 3 ranks, rank 0 counts 2"), "{said}");
    }
    let short = Patience {
        meet: Duration::from_secs(2),
        ..PATIENCE
    };
    let said = refused(&[(0, 4, "b"), (2, 4, "b")], short);
    assert!(
        said[0].contains("rank 0 stops: ranks 1, 3 of 4 did not come to 127.0.0.1 port"),
        "{said:?}"
    );
    assert!(said[1].starts_with("rank 2 stops: rank 0 "), "{said:?}");
    assert!(
        said[1].contains("did not come") || said[1].contains("was not met"),
        "{said:?}"
    );
    let said = refused(&[(1, 2, "b")], short);
    assert!(
        said[0].contains("rank 0 was not met at 127.0.0.1 port"),
        "{said:?}"
    );
    // somebody has the port
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = Processes::meet(&launch(0, 2, port), &meeting("a", "b"), &PATIENCE)
        .err()
        .unwrap();
    assert!(said.to_string().contains("give another MASTER_PORT"), "{said}");
}

#[test]
fn a_second_rank_of_a_number_is_refused_and_one_that_went_may_come_again() {
    let port = port();
    std::thread::scope(|scope| {
        let meet = move |rank| Processes::meet(&launch(rank, 4, port), &meeting("a", "b"), &PATIENCE);
        let first = scope.spawn(move || meet(1));
        let host = scope.spawn(move || meet(0));
        std::thread::sleep(Duration::from_secs(2));
        let twice = meet(1).err().unwrap().to_string();
        assert!(twice.contains("rank 1 is there already"), "{twice}");
        // one that says hello and goes
        let hello = format!(
            "{{\"protocol\":1,\"version\":\"{}\",\"run\":\"a\",\"settings\":\"b\",\"rank\":2,\"world\":4,\"port\":9}}",
            env!("CARGO_PKG_VERSION")
        );
        for _ in 0..2 {
            let mut gone = TcpStream::connect(("127.0.0.1", port)).unwrap();
            frame::write(&mut gone, Kind::Greeting, hello.as_bytes()).unwrap();
            drop(gone);
        }
        let third = scope.spawn(move || meet(3));
        std::thread::sleep(Duration::from_millis(200));
        let last = meet(2);
        assert!(
            last.is_ok()
                && third.join().unwrap().is_ok()
                && first.join().unwrap().is_ok()
                && host.join().unwrap().is_ok()
        );
    });
}
