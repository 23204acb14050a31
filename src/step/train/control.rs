//! The trainer's events, handed on; its checkpoints, in the scratch folder of the step.

use std::path::{Path, PathBuf};

use crate::model::ModelError;
use crate::step::run::{Event, RunCx, StepError, Stop, Work};
use crate::train::{Snapshot, State, trainer};

/// The state of an earlier attempt at the same key, if it is whole.
pub(super) fn resume(path: &Path, cx: &mut RunCx) -> Result<Option<State>, StepError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ModelError::io(path, &error).into()),
    };
    match State::from_bytes(&bytes) {
        Ok(state) => {
            let message = format!("continues after update {}", state.update);
            cx.control.event(Event::Note { message });
            Ok(Some(state))
        }
        Err(error) => {
            let message = format!("{}; training starts from its beginning", error.message);
            cx.control.event(Event::Warning { message });
            Ok(None)
        }
    }
}

/// Written beside its place, synced and renamed: the one before stays until then.
pub(super) fn write_checkpoint(path: &Path, snapshot: &Snapshot) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = path.with_extension("new");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&temporary)?);
    snapshot.write(&mut file)?;
    let file = file.into_inner()?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Hands the trainer's events on.
pub(super) struct Bridge<'a, 'b> {
    pub cx: &'a mut RunCx<'b>,
    pub path: PathBuf,
    pub stop: Option<Stop>,
}

impl trainer::Control for Bridge<'_, '_> {
    fn event(&mut self, event: &trainer::Event) {
        use trainer::Event as Inner;
        let event = match event {
            Inner::Started { updates, .. } => {
                Event::Phase { name: "training", total: Some(*updates) }
            }
            Inner::Updated { row, rows, tokens, optimizer_seconds, .. } => {
                let detail = format!(
                    "loss {:.4}, epoch {:.2}, rate {:.2e}",
                    row.loss, row.epoch, row.learning_rate
                );
                let work = Work {
                    rows: *rows,
                    tokens: *tokens,
                    loss: Some(row.loss),
                    optimizer_seconds: Some(*optimizer_seconds),
                };
                Event::Progress { done: row.update, detail, work: Some(work) }
            }
            Inner::Validating { .. } => return,
            Inner::Validated { update, epoch, loss, score } => {
                // What is watched may be the loss itself.
                let score = score.filter(|score| score != loss);
                let score = score.map(|score| format!(", watched {score:.4}")).unwrap_or_default();
                Event::Note {
                    message: format!(
                        "update {update} (epoch {epoch:.2}): validation loss {loss:.4}{score}"
                    ),
                }
            }
            Inner::StoppedEarly { update } => Event::Note {
                message: format!("no improvement any more: ends after update {update}"),
            },
        };
        self.cx.control.event(event);
    }

    fn stop_requested(&mut self) -> bool {
        self.stop = self.cx.control.stop_requested();
        self.stop.is_some()
    }

    fn checkpoint(&mut self, snapshot: &Snapshot) -> Result<(), ModelError> {
        write_checkpoint(&self.path, snapshot).map_err(|error| ModelError::io(&self.path, &error))
    }
}
