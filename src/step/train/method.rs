//! From `method` and `freeze` to what trains, and what can be wrong with them.

use std::sync::Arc;

use super::Train;
use crate::base::Code;
use crate::model::adapter::{self, Misfit};
use crate::model::{Model, architectures};
use crate::schema::Port;
use crate::step::check::CheckCx;
use crate::step::run::{Event, RunCx, StepError};
use crate::step::shape::ModelShape;
use crate::step::value::port;
use crate::task::Network;
use crate::train::method::{Method, Part};

/// The parameters of a network with what they belong to.
pub(super) fn parts(network: &Network) -> Vec<(String, Part)> {
    let head: Vec<String> =
        network.head().declarations().into_iter().map(|declaration| declaration.name).collect();
    let own = network.model_declarations().len();
    let declared = network.declarations().into_iter().enumerate();
    let part = |(place, name): (usize, &str)| Part {
        head: head.iter().any(|own| own == name),
        saved: network.adapter().is_some_and(|adapter| adapter.saves(name)),
        adapter: place >= own,
    };
    declared
        .map(|(place, declaration)| {
            let part = part((place, &declaration.name));
            (declaration.name, part)
        })
        .collect()
}

impl Train {
    pub(super) fn method(&self) -> Result<Box<dyn Method>, StepError> {
        let built = self.method.build();
        built.ok_or_else(|| StepError::internal(format!("`{:?}` was not checked", self.method)))
    }

    /// The model to start from. An adapter that it has becomes part of it: what is trained next sits
    /// on the whole.
    pub(super) fn base(
        &self,
        port: &Port<port::AModel>,
        cx: &mut RunCx,
    ) -> Result<Arc<Model>, StepError> {
        let model = cx.input(port)?;
        if model.adapter.is_none() {
            return Ok(model);
        }
        let message = "the adapter of the model to start from was merged into it".to_string();
        cx.control.event(Event::Note { message });
        Ok(Arc::new(model.merged()?))
    }

    /// Which of these names `freeze` matches. A pattern that is none, or matches nothing, is `Err`
    /// with its place.
    fn frozen_by_name(&self, names: &[&str]) -> Result<Vec<bool>, (usize, String)> {
        let mut frozen = vec![false; names.len()];
        for (at, text) in self.freeze.iter().enumerate() {
            let pattern = glob::Pattern::new(text)
                .map_err(|error| (at, format!("`{text}` is no pattern: {}", error.msg)))?;
            let mut found = false;
            for (name, frozen) in names.iter().zip(&mut frozen) {
                if pattern.matches(name) {
                    *frozen = true;
                    found = true;
                }
            }
            if !found {
                return Err((at, format!("`{text}` matches no parameter of the model")));
            }
        }
        Ok(frozen)
    }

    /// Which parameters of a network stay as they are, in the order of its declarations.
    pub(super) fn frozen(&self, network: &Network) -> Result<Vec<bool>, StepError> {
        let method = self.method()?;
        let parts = parts(network);
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let by_name = self.frozen_by_name(&names).map_err(|(at, message)| {
            StepError::new(Code::E0205, message).argument(format!("freeze.{at}"))
        })?;
        let frozen: Vec<bool> = parts
            .iter()
            .zip(by_name)
            .map(|((name, part), frozen)| frozen || !method.trains(name, *part))
            .collect();
        if frozen.iter().all(|frozen| *frozen) {
            let message = "all parameters are frozen, so nothing is trained";
            return Err(StepError::new(Code::E0209, message).argument("freeze"));
        }
        Ok(frozen)
    }

    pub(super) fn check_freeze(&self, cx: &mut CheckCx, model: &ModelShape) {
        let names: Vec<&str> = model.parameters.iter().map(String::as_str).collect();
        if names.is_empty() {
            return;
        }
        match self.frozen_by_name(&names) {
            Err((at, message)) => {
                let text = self.freeze.get(at).map(String::as_str).unwrap_or_default();
                let path = format!("freeze.{at}");
                let mut diag = cx.diag(Code::E0205, &path, message);
                diag = match crate::base::suggest::nearest(text, names.iter().copied()) {
                    Some(near) => diag.fix(cx.places.at(&path), format!("{near:?}")),
                    None => diag
                        .help(format!("names are such as `{}`; `*` stands for any part", names[0])),
                };
                cx.push(diag);
            }
            Ok(frozen) if frozen.iter().all(|frozen| *frozen) => {
                let diag = cx.diag(
                    Code::E0209,
                    "freeze",
                    "all parameters are frozen, so nothing is trained",
                );
                cx.push(diag.help("`method = head_only` freezes all but the head"));
            }
            Ok(_) => {}
        }
    }

    /// Whether the modules that an adapter is to sit on are there.
    pub(super) fn check_method(&self, cx: &mut CheckCx, model: &ModelShape) {
        let Some(request) = self.method.build().and_then(|method| method.adapter()) else { return };
        let family =
            architectures().iter().find(|family| family.model_type() == model.architecture);
        let Some(family) = family else { return };
        let linear: Vec<&str> = model.linear.iter().map(String::as_str).collect();
        let modules = adapter::modules(model.parameters.iter().map(String::as_str));
        let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
        let Err(misfit) = request.resolve(&family.adaptable(), &linear, &modules, Vec::new())
        else {
            return;
        };
        let Misfit { argument, place, message, nearest } = misfit;
        let path = match place {
            Some(place) => format!("method.{argument}.{place}"),
            None => "method".to_string(),
        };
        let diag = cx.diag(Code::E0205, &path, message);
        let diag = match nearest {
            Some(near) => {
                let help = format!("the nearest is `{near}`");
                diag.fix(cx.places.at(&path), format!("{near:?}")).help(help)
            }
            None => diag.help("`targets = all_linear` puts it on every linear module"),
        };
        cx.push(diag);
    }
}
