//! Models: their own exact form, with tokenizer and tokenization.

use std::path::Path;

use crate::base::{Code, Digest};
use crate::model::{Model, ModelError};
use crate::step::run::StepError;
use crate::step::value::Stored;

fn step_error(error: ModelError) -> StepError {
    StepError::new(Code::E0701, error.to_string())
}

impl Stored for Model {
    fn digest(&self) -> Result<Digest, StepError> {
        Model::digest(self).map_err(step_error)
    }

    fn write(&self, folder: &Path) -> Result<(), StepError> {
        Model::write(self, folder).map_err(step_error)
    }

    fn read(folder: &Path) -> Result<Self, StepError> {
        Model::read(folder).map_err(step_error)
    }
}
