//! The adapter that `load-model` puts on a model.

use std::path::PathBuf;

use super::{Folder, LoadModel, first};
use crate::base::Code;
use crate::model::adapter::{self, AdapterFiles, ProbedAdapter};
use crate::model::{LoadReport, Model, ModelError};
use crate::step::check::{CheckCx, Missing, Probe};
use crate::step::run::StepError;
use crate::variants;

variants! {
    /// a source of an adapter
    pub enum AdapterSource {
        /// A folder with `adapter_config.json` and `adapter_model.safetensors`, as peft and `save`
        /// write it.
        Folder(Folder) = "folder",
    }
}

const ARGUMENT: &str = "adapter.path";

impl LoadModel {
    fn adapter_folder(&self, probe: &dyn Probe) -> Result<Option<PathBuf>, Missing> {
        match &self.adapter {
            None => Ok(None),
            Some(AdapterSource::Folder(folder)) => first(probe, &folder.path).map(Some),
        }
    }

    /// What the adapter's files say, or a report of what is wrong with them.
    pub(super) fn check_adapter(&self, cx: &mut CheckCx) -> Option<ProbedAdapter> {
        let (message, help) = match self.adapter_folder(cx.probe) {
            Ok(None) => return None,
            Ok(Some(folder)) => match adapter::probe(&folder) {
                Ok(probed) => return Some(probed),
                Err(error) => (error.to_string(), error.help),
            },
            Err(missing) => (missing.message, missing.help),
        };
        let mut diag = cx.diag(Code::E0501, ARGUMENT, message);
        diag.help = help;
        cx.push(diag);
        None
    }

    pub(super) fn adapter_files(&self, probe: &dyn Probe) -> Result<Vec<PathBuf>, Missing> {
        let Some(folder) = self.adapter_folder(probe)? else { return Ok(Vec::new()) };
        let mut files = vec![folder.join(adapter::CONFIG_FILE), folder.join(adapter::WEIGHTS_FILE)];
        files.extend(adapter::model_config(&folder));
        Ok(files)
    }

    /// The model with its adapter, where the program names one.
    pub(super) fn adapted(
        &self,
        model: Model,
        report: LoadReport,
        probe: &dyn Probe,
    ) -> Result<(Model, LoadReport), StepError> {
        let failed = |error: ModelError| StepError {
            file: error.file,
            help: error.help,
            ..StepError::new(Code::E0501, error.message).argument(ARGUMENT)
        };
        let folder = self.adapter_folder(probe).map_err(|missing| StepError {
            help: missing.help,
            ..StepError::new(Code::E0501, missing.message).argument(ARGUMENT)
        })?;
        let Some(folder) = folder else { return Ok((model, report)) };
        let files: AdapterFiles = adapter::read(&folder).map_err(failed)?;
        let model = files.on(model.into()).map_err(|error| failed(error.in_file(&folder)))?;
        let is_missing = |name: &String| model.undrawn.contains(name);
        let report = LoadReport {
            missing: report.missing.into_iter().filter(is_missing).collect(),
            newly_initialised: model.undrawn.clone(),
            ..report
        };
        Ok((model, report))
    }
}
