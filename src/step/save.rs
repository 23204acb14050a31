//! `save`: a model as a folder that transformers opens, or a table as a file. Placing what was made
//! at `to` is `exec`'s, in every run.

use std::path::{Component, Path};

use super::check::CheckCx;
use super::run::{RunCx, StepError};
use super::shape::Shape;
use super::value::{Report, Value, port};
use super::{Output, Step};
use crate::base::{Code, suggest};
use crate::data::{to_bytes, written_formats};
use crate::model::checkpoint::{self, Written};
use crate::schema::{Port, PortType};
use crate::task;
use crate::{params, variants};

variants! {
    /// what the numbers of a saved model are
    pub enum SavedPrecision {
        /// 32-bit floats, as they were trained.
        F32 = "f32",
        /// bfloat16: rounded to the nearest, in half the size.
        Bf16 = "bf16",
    }
}

impl SavedPrecision {
    fn written(&self) -> Written {
        match self {
            SavedPrecision::F32 => Written::F32,
            SavedPrecision::Bf16 => Written::Bf16,
        }
    }
}

params! {
    /// Writes a model or a table for others to use.
    ///
    /// A model becomes a folder in Hugging Face layout with its labels and tokenizer, which
    /// transformers opens with the same logits. A model with an adapter becomes the adapter's folder,
    /// which peft opens on the model below; `merge = true` makes it whole. A table becomes a file in the format that the
    /// extension of `to` names. What lies at `to` is compared in every run, and written again where
    /// it differs or is gone.
    pub struct Save {
        /// The model; this or `table`.
        model: Option<Port<port::AModel>>;
        /// The table or predictions; this or `model`.
        table: Option<Port<port::ATable>>;
        /// Where, beside the program: a folder for a model, a file for a table.
        to: String, free;
        /// Merge an adapter into the model, so that the folder holds the whole of it.
        merge: bool = false;
        /// What the numbers of a model are written as; those of an adapter are always `f32`.
        precision: SavedPrecision = SavedPrecision::F32;
        /// What an adapter's config calls the model that it belongs to: `owner/name` on a hub, or a
        /// path.
        base: Option<String>;
        /// Write over files that ftrun did not write.
        overwrite: bool = false, free;
    }
}

impl Step for Save {
    const NAME: &'static str = "save";
    const VERSION: u32 = 2;
    const OUTPUTS: &'static [Output] =
        &[Output { name: "folder", ty: PortType::Folder, doc: "The files, as placed at `to`." }];
    const REPORT: &'static [&'static str] = &["files", "bytes"];
    const EXAMPLE: &'static str = "save release { model = tuned, to = \"out/sentiment\" }";

    fn check(&self, cx: &mut CheckCx) -> Vec<(&'static str, Shape)> {
        match (&self.model, &self.table) {
            (Some(_), Some(_)) => {
                let diag = cx
                    .diag(Code::E0209, "table", "one `save` writes a model or a table, not both")
                    .also(cx.places.at("model"), "the model")
                    .help("a second `save` can write the other");
                cx.push(diag);
            }
            (None, None) => {
                let diag = cx
                    .diag(Code::E0202, "", "there is nothing to save: no `model` and no `table`")
                    .help("`model = …` or `table = …` names it");
                cx.push(diag);
            }
            (Some(port), None) => {
                let alone = !self.merge && self.base.is_none();
                if cx.shape(port).is_some_and(|model| model.on_trained && alone) {
                    let message = "the adapter belongs to a model that was trained here, which its folder does not hold";
                    let diag = cx
                        .diag(Code::E0209, "model", message)
                        .also(cx.origin(port), "made here")
                        .help("`merge = true` saves all of it; or the model below is saved by itself, and `base = …` says where");
                    cx.push(diag);
                }
                if let Some(model) = cx.shape(port).filter(|model| model.undrawn) {
                    let message =
                        format!("tensors of the model `{}` have no values yet", model.name);
                    let diag = cx
                        .diag(Code::E0504, "model", message)
                        .help("the head is drawn by the first `train`; the trained model can be named here instead");
                    cx.push(diag);
                }
            }
            (None, Some(_)) => self.check_extension(cx),
        }
        if self.to.is_empty()
            || Path::new(&self.to).components().all(|part| part == Component::CurDir)
        {
            let diag = cx
                .diag(Code::E0205, "to", "`to` names no folder of its own")
                .help("`to = \"out/model\"` makes one beside the program");
            cx.push(diag);
        }
        vec![("folder", Shape::Folder)]
    }

    /// `to` is no part of a result's identity, but the format that its extension names is.
    fn identity(&self) -> Option<(&'static str, String)> {
        self.table.as_ref().map(|_| ("to", self.extension()))
    }

    fn target(&self) -> Option<(&str, bool)> {
        Some((&self.to, self.overwrite))
    }

    fn run(&self, cx: &mut RunCx) -> Result<Vec<(&'static str, Value)>, StepError> {
        let failed = |path: &Path, error: std::io::Error| {
            StepError::new(Code::E0701, error.to_string().to_lowercase()).at(path, None)
        };
        let made = cx.scratch.join("made");
        // What an interrupted attempt left behind.
        if made.exists() {
            std::fs::remove_dir_all(&made).map_err(|error| failed(&made, error))?;
        }
        std::fs::create_dir_all(&made).map_err(|error| failed(&made, error))?;
        let (sizes, value) = match (&self.model, &self.table) {
            (Some(port), _) => {
                let model = cx.input(port)?;
                let model = if self.merge { model.merged()?.into() } else { model };
                let problem = model.head.as_ref().map(|head| task::task(&head.task)).transpose()?;
                let files = checkpoint::save_folder(
                    &model,
                    problem.and_then(|task| task.problem_type()),
                    self.base.as_deref(),
                    self.precision.written(),
                    &made,
                )?;
                (files.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), Value::Folder(made))
            }
            (None, Some(port)) => {
                let table = cx.input(port)?;
                let file = made.join(format!("table.{}", self.extension()));
                let bytes = to_bytes(&table, &file)?;
                std::fs::write(&file, &bytes).map_err(|error| failed(&file, error))?;
                (vec![bytes.len() as u64], Value::Folder(file))
            }
            (None, None) => return Err(StepError::internal("a `save` of nothing was not refused")),
        };
        let report = Report::from([
            ("files".to_string(), sizes.len() as f64),
            ("bytes".to_string(), sizes.iter().sum::<u64>() as f64),
        ]);
        Ok(vec![("folder", value), ("report", Value::Report(report.into()))])
    }
}

impl Save {
    fn extension(&self) -> String {
        let extension = Path::new(&self.to).extension();
        extension.map(|found| found.to_string_lossy().to_lowercase()).unwrap_or_default()
    }

    fn check_extension(&self, cx: &mut CheckCx) {
        let extension = self.extension();
        if written_formats().any(|known| known == extension) {
            return;
        }
        let found = if extension.is_empty() {
            "`to` has no extension, which would name the format of the table".to_string()
        } else {
            format!("tables are not written as `.{extension}`")
        };
        let known = suggest::list(written_formats());
        let diag = cx.diag(Code::E0205, "to", found).help(format!("the extensions are {known}"));
        cx.push(diag);
    }
}
