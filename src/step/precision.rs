//! `precision` and `memory`, as the steps that compute with models take them.

use super::check::CheckCx;
use super::run::{Event, RunCx, StepError};
use crate::base::Code;
use crate::model;
use crate::nn;
use crate::variants;

variants! {
    /// what matrix products are computed in
    pub enum Precision {
        /// 32-bit floats.
        F32 = "f32",
        /// bfloat16 factors with sums in 32 bits; weights, norms, softmax and losses stay 32-bit. About
        /// 1.6 times as fast, on processors with AVX512-BF16; an error on others.
        Bf16 = "bf16",
        /// `bf16` where the processor has it, else `f32`; the run tells which.
        Auto = "auto",
    }
}

variants! {
    /// what is kept for the backward pass
    pub enum Memory {
        /// What every operation needs.
        Normal = "normal",
        /// Only what each layer starts from; the rest is computed again. Slower, the same result.
        Low = "low",
    }
}

const MISSING: &str = "this processor has no products of bf16 (AVX512-BF16)";
const WAY_OUT: &str =
    "`precision = f32`, or `auto`, which takes bf16 only where the processor has it";

impl Precision {
    /// What it comes to on this processor, also where it cannot be computed.
    pub(super) fn resolved(&self) -> nn::Precision {
        match self {
            Precision::F32 => nn::Precision::F32,
            Precision::Bf16 => nn::Precision::Bf16,
            Precision::Auto if nn::Precision::Bf16.is_available() => nn::Precision::Bf16,
            Precision::Auto => nn::Precision::F32,
        }
    }

    /// What the result depends on beside the arguments: `auto` is another precision elsewhere.
    pub(super) fn identity(&self) -> (&'static str, String) {
        let name = match self.resolved() {
            nn::Precision::F32 => "f32",
            nn::Precision::Bf16 => "bf16",
        };
        ("precision", name.to_string())
    }

    pub(super) fn check(&self, cx: &mut CheckCx) {
        if !self.resolved().is_available() {
            let diag = cx.diag(Code::E0205, "precision", MISSING).help(WAY_OUT);
            cx.push(diag);
        }
    }

    /// Says what `auto` comes to. Fails where the processor lacks what is asked for.
    pub(super) fn start(
        &self,
        cx: &mut RunCx,
        memory: &Memory,
    ) -> Result<model::Compute, StepError> {
        if !self.resolved().is_available() {
            let error = StepError::new(Code::E0205, MISSING).argument("precision");
            return Err(error.help(WAY_OUT));
        }
        if matches!(self, Precision::Auto) {
            let message = format!("precision: {}", self.identity().1);
            cx.control.event(Event::Note { message });
        }
        Ok(self.compute(memory))
    }

    /// How models are computed with these arguments.
    pub(super) fn compute(&self, memory: &Memory) -> model::Compute {
        let memory = match memory {
            Memory::Normal => model::Memory::Normal,
            Memory::Low => model::Memory::Low,
        };
        model::Compute { precision: self.resolved(), memory, ..model::Compute::default() }
    }
}
