//! Where a run of the test binary keeps its logs and data: `target/tmp/run-<pid>`.
//!
//! Statics are never dropped, so a run can't remove its own folder; the next run removes those whose process is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The folder of this run; what an earlier run left is removed on the first call.
pub(crate) fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        sweep(root);
        let folder = root.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the run's folder can be created");
        folder
    })
}

/// A new folder within the run's.
pub(crate) fn folder(stem: &str) -> PathBuf {
    let folder = run_folder().join(super::unique(stem));
    fs::create_dir_all(&folder).expect("a folder can be created in the run's folder");
    folder
}

/// Whether a process of that id lives.
pub(crate) fn alive(pid: u32) -> bool {
    let probe = Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("run-")).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| !alive(pid)) {
            // Another run may be sweeping the same folder: whoever comes second finds nothing.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
