//! Who this process is among the ranks of a run, from the variables that `torchrun` and Slurm set.

use super::meet::loopback;
use crate::{Error, Result};

/// A rank's place, as whoever started it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// This rank, from 0.
    pub rank: usize,
    /// How many ranks there are; at least 2.
    pub world: usize,
    /// Its number among the ranks of this machine, from 0: the card it takes.
    pub local: usize,
    /// How many of the ranks share this machine's memory, as far as it is told; at least this one.
    pub here: usize,
    /// Where rank 0 is met: a name or an address.
    pub address: String,
    /// And the port there.
    pub port: u16,
    /// What the launcher calls this run; empty if it has no name for it.
    pub token: String,
}

fn wrong<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::Ranks(why.into()))
}

/// Reads variables; one that is empty is not set.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Result<Option<usize>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => wrong(format!("{name} is `{text}`, which is no number from 0")),
        }
    }

    fn port(&self) -> Result<Option<u16>> {
        match self.number("MASTER_PORT")? {
            None => Ok(None),
            Some(port @ 1..=65535) => Ok(Some(port as u16)),
            Some(port) => wrong(format!("MASTER_PORT is {port}; a port is 1 to 65535")),
        }
    }
}

impl Launch {
    /// This process's place by RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or where RANK and WORLD_SIZE are not
    /// set by Slurm's SLURM_PROCID and SLURM_NTASKS; `None` for a process of its own. `variable` gives the value of one.
    ///
    /// Without MASTER_ADDR, Slurm's ranks meet at SLURM_LAUNCH_NODE_IPADDR or the first host of SLURM_JOB_NODELIST; without
    /// MASTER_PORT at 20000 + SLURM_JOB_ID mod 20000. Where torchrun's own process holds the port for its workers
    /// (TORCHELASTIC_USE_AGENT_STORE), they meet at the next one.
    ///
    /// Fails with [`Error::Ranks`] where one variable is set and one that belongs to it is not, or they contradict each other.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let variables = Variables(variable);
        match (variables.number("RANK")?, variables.number("WORLD_SIZE")?) {
            (Some(rank), Some(world)) => torchrun(&variables, rank, world),
            (Some(rank), None) => wrong(format!(
                "RANK is {rank} and WORLD_SIZE is not set: set both (torchrun does), or neither for one process"
            )),
            (None, Some(world)) => wrong(format!(
                "WORLD_SIZE is {world} and RANK is not set: set both (torchrun does), or neither for one process"
            )),
            (None, None) => slurm(&variables),
        }
    }
}

/// More would not meet at one port.
const MOST_RANKS: usize = 1 << 14;

/// Fails unless a rank is one of `world`. Whether there are several.
fn among(names: [&str; 2], rank: usize, world: usize) -> Result<bool> {
    if world == 0 {
        return wrong(format!("{} is 0; there is at least one rank", names[1]));
    }
    if world > MOST_RANKS {
        return wrong(format!(
            "{} is {world}; there are at most {MOST_RANKS} ranks",
            names[1]
        ));
    }
    if rank >= world {
        return wrong(format!(
            "{} is {rank} and {} is {world}: ranks are counted from 0 to {}",
            names[0],
            names[1],
            world - 1
        ));
    }
    Ok(world > 1)
}

/// The number among the ranks of a machine.
fn local(variables: &Variables<'_>, name: &str, rank: usize, world: usize) -> Result<usize> {
    // without it they all run here
    let local = variables.number(name)?.unwrap_or(rank);
    if local >= world {
        return wrong(format!("{name} is {local}, and there are {world} ranks in all"));
    }
    Ok(local)
}

fn torchrun(variables: &Variables<'_>, rank: usize, world: usize) -> Result<Option<Launch>> {
    if !among(["RANK", "WORLD_SIZE"], rank, world)? {
        return Ok(None);
    }
    let local = local(variables, "LOCAL_RANK", rank, world)?;
    let (Some(address), Some(port)) = (variables.text("MASTER_ADDR"), variables.port()?) else {
        let missing: Vec<&str> = ["MASTER_ADDR", "MASTER_PORT"]
            .into_iter()
            .filter(|name| variables.text(name).is_none())
            .collect();
        return wrong(format!(
            "RANK is {rank} of WORLD_SIZE {world}, and {} is not set: the ranks do not know where to meet (for example \
             MASTER_ADDR=127.0.0.1 MASTER_PORT=29500)",
            missing.join(" and ")
        ));
    };
    let held = variables.text("TORCHELASTIC_USE_AGENT_STORE");
    let held = held.is_some_and(|held| held.eq_ignore_ascii_case("true") || held == "1");
    let port = match port.checked_add(u16::from(held)) {
        Some(port) => port,
        None => {
            return wrong(
                "torchrun holds MASTER_PORT 65535, and there is no port after it; give a lower one",
            );
        }
    };
    let here = match variables.number("LOCAL_WORLD_SIZE")? {
        Some(here) => here,
        None if variables.text("LOCAL_RANK").is_none() || loopback(&address) => world,
        None => 1,
    };
    Ok(Some(Launch {
        rank,
        world,
        local,
        here: here.clamp(1, world),
        address,
        port,
        token: variables.text("TORCHELASTIC_RUN_ID").unwrap_or_default(),
    }))
}

fn slurm(variables: &Variables<'_>) -> Result<Option<Launch>> {
    let tasks = variables.number("SLURM_NTASKS")?;
    let Some(rank) = variables.number("SLURM_PROCID")? else {
        return Ok(None); // the shell of an allocation: no task of it
    };
    let Some(world) = tasks else {
        return wrong(format!(
            "SLURM_PROCID is {rank} and SLURM_NTASKS is not set: give srun --ntasks, or unset both for one process"
        ));
    };
    if !among(["SLURM_PROCID", "SLURM_NTASKS"], rank, world)? {
        return Ok(None);
    }
    let job = variables.number("SLURM_JOB_ID")?;
    let address = match ["MASTER_ADDR", "SLURM_LAUNCH_NODE_IPADDR"]
        .into_iter()
        .find_map(|name| variables.text(name))
    {
        Some(address) => address,
        None => first_host(variables)?,
    };
    let port = match (variables.port()?, job) {
        (Some(port), _) => port,
        (None, Some(job)) => (20_000 + job % 20_000) as u16,
        (None, None) => {
            return wrong(format!(
                "SLURM_PROCID is {rank} of {world} tasks, and neither MASTER_PORT nor SLURM_JOB_ID is set: the ranks do not \
                 know at which port to meet"
            ));
        }
    };
    let step = variables.text("SLURM_STEP_ID").unwrap_or_default();
    Ok(Some(Launch {
        rank,
        world,
        local: local(variables, "SLURM_LOCALID", rank, world)?,
        here: variables
            .number("SLURM_NTASKS_PER_NODE")?
            .unwrap_or(1)
            .clamp(1, world),
        address,
        port,
        token: job.map_or_else(String::new, |job| format!("slurm {job}.{step}")),
    }))
}

/// The first host of a list as Slurm writes it: `gpu[03-05,9],login` is `gpu03`.
fn first_host(variables: &Variables<'_>) -> Result<String> {
    let Some(list) = variables.text("SLURM_JOB_NODELIST") else {
        return wrong(
            "none of MASTER_ADDR, SLURM_LAUNCH_NODE_IPADDR and SLURM_JOB_NODELIST is set: the ranks do not know where to meet",
        );
    };
    let (mut host, mut within) = (String::new(), None::<bool>);
    for letter in list.chars() {
        match (letter, within) {
            ('[', None) => within = Some(true),
            (']', Some(_)) => within = None,
            (',', None) => break,
            (',' | '-', Some(_)) => within = Some(false), // the rest of the group names other hosts
            (_, Some(false)) => {}
            (letter, _) => host.push(letter),
        }
    }
    if host.is_empty() || within.is_some() {
        return wrong(format!(
            "SLURM_JOB_NODELIST is `{list}`, which names no first host"
        ));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &str) -> Result<Option<Launch>> {
        let pairs: Vec<(&str, &str)> = variables
            .split_whitespace()
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        let get = |name: &str| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Launch::from_variables(&get)
    }

    fn refused(variables: &str, words: &[&str]) {
        let said = launch(variables).unwrap_err().to_string();
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }

    #[test]
    fn torchruns_variables_name_a_rank() {
        let all = "RANK=3 WORLD_SIZE=8 LOCAL_RANK=1 MASTER_ADDR=node1 MASTER_PORT=29500";
        let wanted = Launch {
            rank: 3,
            world: 8,
            local: 1,
            here: 1,
            address: "node1".to_owned(),
            port: 29500,
            token: String::new(),
        };
        assert_eq!(launch(all).unwrap().unwrap(), wanted);
        // torchrun within a job of Slurm: its own variables count
        let within = format!("{all} SLURM_PROCID=0 SLURM_NTASKS=2 SLURM_JOB_ID=5");
        assert_eq!(launch(&within).unwrap().unwrap(), wanted);
        let held = launch(&format!(
            "{all} TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RUN_ID=ab"
        ))
        .unwrap();
        let held = held.unwrap();
        assert_eq!((held.port, held.token.as_str()), (29501, "ab"));
        let alone = launch("RANK=2 WORLD_SIZE=4 MASTER_ADDR=localhost MASTER_PORT=1").unwrap();
        let alone = alone.unwrap();
        assert_eq!((alone.local, alone.here), (2, 4));
        let four = launch(&format!("{all} LOCAL_WORLD_SIZE=4")).unwrap();
        assert_eq!(four.unwrap().here, 4);
    }

    #[test]
    fn one_process_needs_nothing() {
        for one in [
            "",
            "RANK=0 WORLD_SIZE=1",
            "MASTER_ADDR=a MASTER_PORT=1",
            "SLURM_NTASKS=4 SLURM_JOB_ID=1",
            "SLURM_PROCID=0 SLURM_NTASKS=1",
            "RANK= WORLD_SIZE=",
        ] {
            assert_eq!(launch(one).unwrap(), None, "{one}");
        }
    }

    #[test]
    fn half_set_and_contradictory_variables_are_refused_by_name() {
        refused("RANK=0", &["RANK is 0", "WORLD_SIZE is not set"]);
        refused("WORLD_SIZE=2", &["WORLD_SIZE is 2", "RANK is not set"]);
        refused("RANK=0 WORLD_SIZE=2", &["MASTER_ADDR and MASTER_PORT is not set"]);
        refused(
            "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a",
            &["and MASTER_PORT is not set"],
        );
        refused("RANK=2 WORLD_SIZE=2", &["RANK is 2", "from 0 to 1"]);
        refused("RANK=0 WORLD_SIZE=0", &["WORLD_SIZE is 0"]);
        refused(
            "RANK=0 WORLD_SIZE=1000000000000000 MASTER_ADDR=a MASTER_PORT=1",
            &["WORLD_SIZE is 1000000000000000", "at most 16384"],
        );
        refused("RANK=-1 WORLD_SIZE=2", &["RANK is `-1`"]);
        refused(
            "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=70000",
            &["MASTER_PORT is 70000"],
        );
        refused(
            "RANK=0 WORLD_SIZE=2 LOCAL_RANK=7 MASTER_ADDR=a MASTER_PORT=1",
            &["LOCAL_RANK is 7"],
        );
        refused(
            "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=65535 TORCHELASTIC_USE_AGENT_STORE=True",
            &["65535"],
        );
        refused("SLURM_PROCID=1", &["SLURM_NTASKS is not set"]);
        refused("SLURM_PROCID=4 SLURM_NTASKS=4", &["SLURM_PROCID is 4"]);
        refused(
            "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=1",
            &["SLURM_JOB_NODELIST"],
        );
        refused(
            "SLURM_PROCID=0 SLURM_NTASKS=4 MASTER_ADDR=a",
            &["MASTER_PORT nor SLURM_JOB_ID"],
        );
        refused(
            "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=1 SLURM_JOB_NODELIST=a[1-",
            &["names no first host"],
        );
    }

    #[test]
    fn slurms_variables_name_a_rank() {
        let job = "SLURM_PROCID=5 SLURM_NTASKS=16 SLURM_LOCALID=1 SLURM_JOB_ID=123456 SLURM_STEP_ID=2";
        let of = |more: &str| launch(&format!("{job} {more}")).unwrap().unwrap();
        let one = of("SLURM_JOB_NODELIST=gpu[03-05,9],login");
        assert_eq!((one.rank, one.world, one.local), (5, 16, 1));
        assert_eq!((one.address.as_str(), one.port), ("gpu03", 20_000 + 3456));
        assert_eq!(one.token, "slurm 123456.2");
        let both = of("SLURM_JOB_NODELIST=a SLURM_LAUNCH_NODE_IPADDR=10.0.0.7");
        assert_eq!(both.address, "10.0.0.7");
        let given = of("SLURM_JOB_NODELIST=a MASTER_ADDR=b MASTER_PORT=77");
        assert_eq!((given.address.as_str(), given.port), ("b", 77));
        for (list, first) in [
            ("solo", "solo"),
            ("a1,a2", "a1"),
            ("r[1-2]n[01-03]", "r1n01"),
            ("n[4,7]-ib,x", "n4-ib"),
            ("gpu-a100-[001-100]", "gpu-a100-001"),
        ] {
            assert_eq!(of(&format!("SLURM_JOB_NODELIST={list}")).address, first);
        }
    }
}
