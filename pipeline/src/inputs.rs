//! What a stage reads, as types.

use crate::Fault;
use omni_manifests::Receipt;
use omni_schemas::Record;
use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// Exactly one row of a record for the clip. A clip without a row is dropped `no_<record>`.
#[derive(Debug, Clone, PartialEq)]
pub struct One<R>(pub R);

/// All rows of a record for the clip, in the maker's order; may be empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Many<R>(pub Vec<R>);

/// The input of a stage: [`One`], [`Many`], or a tuple of up to eight of them.
pub trait Inputs: Sized + Send {
    /// The records read.
    fn needs() -> Vec<Need>;

    /// The rows of one clip.
    ///
    /// # Errors
    /// [`Fault::Drop`] when there is no row where one is needed, [`Fault::Stop`] when there are several.
    fn gather(key: &str, tables: &Tables) -> Result<Self, Fault>;
}

type Loaded = (Arc<dyn Any + Send + Sync>, Receipt);

/// One record that a stage reads.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The record's name.
    pub record: &'static str,
    /// The record's version.
    pub version: u32,
    load: fn(&Path) -> Result<Loaded, omni_manifests::Error>,
}

impl Need {
    /// The need for a record.
    pub fn of<R: Record>() -> Self {
        Need {
            record: R::NAME,
            version: R::VERSION,
            load: load::<R>,
        }
    }

    /// Reads and checks a part and puts its rows into the tables.
    pub(crate) fn load(&self, part: &Path, tables: &mut Tables) -> Result<Receipt, omni_manifests::Error> {
        let (table, receipt) = (self.load)(part)?;
        tables.0.insert(self.record, table);
        Ok(receipt)
    }
}

fn load<R: Record>(part: &Path) -> Result<Loaded, omni_manifests::Error> {
    let (rows, receipt) = omni_manifests::read_part::<R>(part)?;
    Ok((Arc::new(Table::of(rows)), receipt))
}

/// Rows of one record by clip, in the maker's order.
struct Table<R>(HashMap<String, Vec<R>>);

impl<R: Record> Table<R> {
    fn of(rows: Vec<R>) -> Self {
        let mut by_key: HashMap<String, Vec<R>> = HashMap::new();
        for row in rows {
            by_key.entry(row.key().to_owned()).or_default().push(row);
        }
        Table(by_key)
    }
}

/// The rows of one shard that a step reads.
#[derive(Default)]
pub struct Tables(BTreeMap<&'static str, Arc<dyn Any + Send + Sync>>);

impl Tables {
    /// Adds rows by hand: the listing, and whatever a test feeds to [`Inputs::gather`].
    pub fn insert<R: Record>(&mut self, rows: Vec<R>) {
        self.0.insert(R::NAME, Arc::new(Table::of(rows)));
    }

    pub(crate) fn holds(&self, record: &str) -> bool {
        self.0.contains_key(record)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|record, _| keep(record));
    }

    /// The same tables, of these records only.
    pub(crate) fn share(&self, needs: &[Need]) -> Tables {
        let wanted = |record: &&str| needs.iter().any(|need| need.record == *record);
        let kept = self.0.iter().filter(|(record, _)| wanted(record));
        Tables(kept.map(|(record, table)| (*record, table.clone())).collect())
    }

    /// A copy of a clip's rows.
    fn rows<R: Record>(&self, key: &str) -> Vec<R> {
        let table = self
            .0
            .get(R::NAME)
            .and_then(|table| table.downcast_ref::<Table<R>>());
        table
            .and_then(|table| table.0.get(key).cloned())
            .unwrap_or_default()
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<R: Record> Inputs for One<R> {
    fn needs() -> Vec<Need> {
        vec![Need::of::<R>()]
    }

    fn gather(key: &str, tables: &Tables) -> Result<Self, Fault> {
        let mut rows = tables.rows::<R>(key);
        match (rows.len(), rows.pop()) {
            (1, Some(row)) => Ok(One(row)),
            (0, _) => Err(Fault::Drop(format!("no_{}", R::NAME))),
            (n, _) => Err(Fault::stop(format!(
                "bug: {n} rows of `{}` for `{key}` where one is read",
                R::NAME
            ))),
        }
    }
}

impl<R: Record> Inputs for Many<R> {
    fn needs() -> Vec<Need> {
        vec![Need::of::<R>()]
    }

    fn gather(key: &str, tables: &Tables) -> Result<Self, Fault> {
        Ok(Many(tables.rows(key)))
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Inputs),+> Inputs for ($($name,)+) {
            fn needs() -> Vec<Need> {
                [$($name::needs()),+].concat()
            }

            fn gather(key: &str, tables: &Tables) -> Result<Self, Fault> {
                Ok(($($name::gather(key, tables)?,)+))
            }
        }
    };
}
tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
