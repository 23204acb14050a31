//! The index of runs: a SQLite file in the user's cache folder, one per store, filled from the
//! manifests and never the only place where anything is kept. Deleting it costs reading them again.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::manifest::Manifest;
use super::store::Store;
use crate::base::Digest;

/// A run, as lists show it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    pub id: String,
    pub name: String,
    pub program: String,
    /// Seconds since 1970.
    pub started: f64,
    pub seconds: f64,
    pub status: String,
    /// Steps that ran; the others were hits.
    pub ran: u64,
    pub steps: u64,
    /// `step`, `metric`, value.
    pub metrics: Vec<(String, String, Option<f64>)>,
}

pub struct Index {
    connection: Connection,
}

/// Raised when the tables change: an older file is built anew.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS runs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, program TEXT NOT NULL, started REAL NOT NULL,
        seconds REAL NOT NULL, status TEXT NOT NULL, ran INTEGER NOT NULL, steps INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS metrics (
        run TEXT NOT NULL, place INTEGER NOT NULL, step TEXT NOT NULL, metric TEXT NOT NULL,
        value REAL, low REAL, high REAL
    );
    CREATE INDEX IF NOT EXISTS metrics_run ON metrics (run);
    CREATE TABLE IF NOT EXISTS parameters (run TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL);
";

impl Index {
    /// The file for a store, in the user's cache folder.
    pub fn path(store: &Store) -> Option<PathBuf> {
        use etcetera::BaseStrategy;
        let cache = etcetera::choose_base_strategy().ok()?.cache_dir();
        let root = std::path::absolute(store.root()).ok()?;
        let name = Digest::of(root.to_string_lossy().as_bytes()).short();
        Some(cache.join("ftrun").join(name).join("runs.db"))
    }

    /// Opens the index of a store and adds the runs that it does not know yet. Where it cannot be
    /// kept, or is damaged, it is built anew, at last in memory.
    pub fn open(store: &Store) -> Result<Self, String> {
        let kept = Self::path(store).and_then(|path| {
            Self::at(&path, store)
                .or_else(|_| {
                    let _ = std::fs::remove_file(&path);
                    Self::at(&path, store)
                })
                .ok()
        });
        match kept {
            Some(index) => Ok(index),
            None => Connection::open_in_memory()
                .map_err(|error| error.to_string())
                .and_then(|connection| Self::fill(connection, store)),
        }
    }

    /// Forgets everything and reads every manifest again. How many runs there are.
    pub fn rebuild(store: &Store) -> Result<u64, String> {
        if let Some(path) = Self::path(store) {
            let _ = std::fs::remove_file(path);
        }
        Self::open(store)?.count()
    }

    fn at(path: &Path, store: &Store) -> Result<Self, String> {
        let text = |error: rusqlite::Error| error.to_string();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        }
        let connection = Connection::open(path).map_err(text)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(text)?;
        Self::fill(connection, store)
    }

    fn fill(mut connection: Connection, store: &Store) -> Result<Self, String> {
        let ids = Manifest::ids(store);
        let mut work = || -> rusqlite::Result<()> {
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version != VERSION {
                connection.execute_batch(
                    "DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS metrics; DROP TABLE IF EXISTS parameters;",
                )?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            connection.execute_batch(TABLES)?;
            let known = Self::ids_in(&connection)?;
            // Manifests are immutable: a run that is known stays as it is, one that is gone goes.
            if known.iter().any(|id| ids.binary_search(id).is_err()) {
                connection.execute_batch(
                    "DELETE FROM runs; DELETE FROM metrics; DELETE FROM parameters;",
                )?;
            }
            let known = Self::ids_in(&connection)?;
            let fresh: Vec<&String> =
                ids.iter().filter(|id| known.binary_search(id).is_err()).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            let transaction = connection.transaction()?;
            for id in fresh {
                // A manifest that cannot be read is no run; `show` says so when it is asked for.
                if let Ok(manifest) = Manifest::read(store, id) {
                    insert(&transaction, &manifest)?;
                }
            }
            transaction.commit()
        };
        work().map_err(|error| error.to_string())?;
        Ok(Self { connection })
    }

    fn ids_in(connection: &Connection) -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("SELECT id FROM runs ORDER BY id")?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    pub fn count(&self) -> Result<u64, String> {
        self.connection
            .query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0))
            .map(|count| u64::try_from(count).unwrap_or(0))
            .map_err(|error| error.to_string())
    }

    /// Ids and names, the oldest first.
    pub fn names(&self) -> Result<Vec<(String, String)>, String> {
        let query = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut statement = self.connection.prepare("SELECT id, name FROM runs ORDER BY id")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        query().map_err(|error| error.to_string())
    }

    /// The latest runs, the latest first.
    pub fn latest(&self, count: usize) -> Result<Vec<Row>, String> {
        let query = || -> rusqlite::Result<Vec<Row>> {
            let mut statement = self.connection.prepare(
                "SELECT id, name, program, started, seconds, status, ran, steps FROM runs ORDER BY id DESC LIMIT ?1",
            )?;
            let mut metrics = self
                .connection
                .prepare("SELECT step, metric, value FROM metrics WHERE run = ?1 ORDER BY place")?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let rows = statement.query_map([count], |row| {
                Ok(Row {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    program: row.get(2)?,
                    started: row.get(3)?,
                    seconds: row.get(4)?,
                    status: row.get(5)?,
                    ran: row.get::<_, i64>(6)? as u64,
                    steps: row.get::<_, i64>(7)? as u64,
                    metrics: Vec::new(),
                })
            })?;
            rows.map(|row| {
                let mut row = row?;
                row.metrics = metrics
                    .query_map([&row.id], |metric| {
                        Ok((metric.get(0)?, metric.get(1)?, metric.get(2)?))
                    })?
                    .collect::<rusqlite::Result<_>>()?;
                Ok(row)
            })
            .collect()
        };
        query().map_err(|error| error.to_string())
    }
}

fn insert(connection: &Connection, manifest: &Manifest) -> rusqlite::Result<()> {
    let ran = manifest.steps.iter().filter(|step| step.status == "run").count() as i64;
    connection.execute(
        "INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            manifest.id,
            manifest.name,
            manifest.program.file,
            manifest.started,
            manifest.seconds,
            manifest.status,
            ran,
            manifest.steps.len() as i64
        ],
    )?;
    let mut place = 0;
    for (step, metrics) in &manifest.metrics {
        for (name, metric) in metrics {
            connection.execute(
                "INSERT INTO metrics VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![manifest.id, place, step, name, metric.value, metric.low, metric.high],
            )?;
            place += 1;
        }
    }
    for parameter in &manifest.program.parameters {
        connection.execute(
            "INSERT INTO parameters VALUES (?1, ?2, ?3)",
            params![manifest.id, parameter.name, parameter.value],
        )?;
    }
    Ok(())
}
