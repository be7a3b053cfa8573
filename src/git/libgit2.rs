//! What libgit2 keeps in process-wide variables, set once before its first use.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Error, http};

/// How long a connection may take to come about, in milliseconds.
const CONNECT_MS: i32 = 15_000;
/// How long a server may be silent, in milliseconds. Tests have no time for that.
const SILENCE_MS: i32 = if cfg!(test) { 2_000 } else { 30_000 };

/// Time-outs and transports; ours for all uses of libgit2 in this process.
pub(super) fn prepare() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        #[expect(unsafe_code, reason = "libgit2's options are C globals; git2 has no safe way to set them")]
        // SAFETY: these write C globals (numbers, and the list of transports) that libgit2 reads when it opens a
        // connection or a repository. Every use of libgit2 in this crate calls `prepare` first and `OnceLock` makes the others wait, so no thread reads them
        // while they are written.
        let set = unsafe {
            [
                git2::opts::set_server_connect_timeout_in_milliseconds(CONNECT_MS),
                git2::opts::set_server_timeout_in_milliseconds(SILENCE_MS),
                // A mounted repository belongs to another user more often than not. The check guards against hooks and
                // configuration that run commands; libgit2 runs none.
                git2::opts::set_verify_owner_validation(false),
                git2::transport::register("http", http::transport),
                git2::transport::register("https", http::transport),
            ]
        };
        for failed in set.into_iter().filter_map(Result::err) {
            tracing::warn!(error = failed.message(), "an option of libgit2 could not be set");
        }
    });
}

/// Makes libgit2 trust the host keys in `known_hosts` and no others. libgit2 reads `~/.ssh/known_hosts` and knows no
/// other name, so it is given a home of its own: `home/.ssh/known_hosts` is written anew from the file each time.
///
/// # Errors
/// The file can't be read, the copy can't be written, or this process already has another home.
pub(super) fn trust(known_hosts: &Path, home: &Path) -> Result<(), Error> {
    static HOME: Mutex<Option<PathBuf>> = Mutex::new(None);
    let unreadable = |why: String| Error::Credentials { from: known_hosts.display().to_string(), why };
    let unwritable = |why: String| Error::Cache { path: home.to_owned(), why };
    let bytes = super::credentials::bounded(known_hosts).map_err(|error| unreadable(error.to_string()))?;

    let mut current = HOME.lock().unwrap_or_else(PoisonError::into_inner);
    if current.as_ref().is_some_and(|set| set != home) {
        return Err(unreadable("another repository of this process has other known hosts".to_owned()));
    }
    let folder = home.join(".ssh");
    std::fs::create_dir_all(&folder).map_err(|error| unwritable(error.to_string()))?;
    let copy = folder.join("known_hosts");
    if std::fs::read(&copy).ok().as_deref() != Some(bytes.as_slice()) {
        // Through a second name, so that nobody reads half of it.
        let fresh = folder.join("known_hosts.new");
        std::fs::write(&fresh, bytes.as_slice()).map_err(|error| unwritable(error.to_string()))?;
        std::fs::rename(&fresh, &copy).map_err(|error| unwritable(error.to_string()))?;
    }
    if current.is_none() {
        let path = CString::new(home.to_string_lossy().as_bytes()).map_err(|error| unwritable(error.to_string()))?;
        #[expect(unsafe_code, reason = "libgit2's home folder is a C global; git2 has no way to set it")]
        // SAFETY: `path` is a NUL-terminated string that libgit2 copies. libgit2 reads the variable while it opens an
        // ssh connection; it is written once, under the lock, before this process opens its first one with known hosts
        // of its own. `git_libgit2_init` is called by `git2::opts` in `prepare`, which comes before.
        let code = unsafe {
            libgit2_sys::git_libgit2_opts(libgit2_sys::GIT_OPT_SET_HOMEDIR as std::ffi::c_int, path.as_ptr())
        };
        if code < 0 {
            return Err(unwritable("libgit2 does not accept it as its home".to_owned()));
        }
        *current = Some(home.to_owned());
    }
    Ok(())
}
