//! The class of a run's numbers: what decides their last bits beside the key. And how many threads
//! compute, which decides nothing but time.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// The device kind.
    pub device: String,
    pub architecture: String,
    /// The vector extensions that the products choose between.
    pub features: Vec<String>,
    pub dtype: String,
    pub ftrun: String,
}

impl Class {
    pub fn here() -> Self {
        Self {
            device: "cpu".into(),
            architecture: std::env::consts::ARCH.into(),
            features: features(),
            dtype: "f32".into(),
            ftrun: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, architecture, dtype, ftrun, .. } = self;
        write!(f, "{device} {architecture} {} {dtype} ftrun {ftrun}", self.features.join("+"))
    }
}

fn features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    found.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_string()).collect()
}

/// The processors that this process may use: the control group's quota and the affinity mask.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The most memory this process has had at once, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Begins a new measurement of [`peak_memory`]. Where that is not possible the peak of the whole
/// process is told.
pub fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
