//! A folder's `*.json` files as they lie.
//!
//! Kubernetes mounts a ConfigMap as links through `..data`, and swaps that link. So links are followed as long as they
//! stay inside the folder, and a read during which anything changed is thrown away and done again.

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use git2::{ObjectType, Oid};
use sha2::{Digest as _, Sha256};

use super::tree::{FOLDERS_THAT_MATTER, Found, MAX_DEPTH, STRANGE, is_json, join, name, not_followed};
use super::{Error, File, Limits, Snapshot};

/// How often a read is begun anew because the folder changed.
const ATTEMPTS: usize = 20;

const LEADS_AWAY: &str = "it is a symbolic link that leads nowhere or out of the folder, or no file at all";

/// A file that was seen, as far as its change would show.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Path inside the folder, with `/`.
    path: String,
    /// Where it really lies, or why it is not read.
    real: Result<PathBuf, &'static str>,
    size: u64,
    modified: Option<SystemTime>,
}

/// Why a read gave nothing.
enum Torn {
    /// Something changed meanwhile.
    Changed,
    Failed(Error),
}

/// Reads `folder`/`root`.
pub(super) fn read(folder: &Path, root: &str, limits: Limits, until: Instant) -> Result<Snapshot, Error> {
    let location = folder.display().to_string();
    let top = match folder.canonicalize() {
        Ok(top) if top.is_dir() => top,
        Ok(_) => return Err(Error::Unreachable { location, why: "it is not a folder".to_owned() }),
        Err(error) => return Err(Error::Unreachable { location, why: error.to_string() }),
    };
    for _ in 0..ATTEMPTS {
        match once(&top, root, limits, &location) {
            Ok(snapshot) => return Ok(snapshot),
            Err(Torn::Failed(error)) => return Err(error),
            Err(Torn::Changed) if Instant::now() >= until => break,
            // Not a wait for a result: only so that the writer gets its turn.
            Err(Torn::Changed) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    Err(Error::Changing { location })
}

fn once(top: &Path, root: &str, limits: Limits, location: &str) -> Result<Snapshot, Torn> {
    let (before, root_present) = list(top, root, limits, location)?;
    let mut found = Found::new(location, limits);
    for seen in &before {
        let real = match &seen.real {
            Ok(real) => real,
            Err(why) => {
                found.push(File::refused(seen.path.clone(), Oid::ZERO_SHA1.to_string(), (*why).to_owned()))?;
                continue;
            }
        };
        // The id of what isn't read stands for its size and time: enough to see that it changed.
        let stand_in = || blob_id(format!("{} {:?}", seen.size, seen.modified).as_bytes());
        if !found.admit(&seen.path, seen.size, stand_in)? {
            continue;
        }
        match bounded(real, found.file_bytes()) {
            Ok(Some(bytes)) => {
                let blob = blob_id(&bytes);
                found.push(File::read(seen.path.clone(), Arc::from(bytes), blob))?;
            }
            Ok(None) => return Err(Torn::Changed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Torn::Changed),
            Err(error) => {
                let why = format!("it can't be read: {error}");
                found.push(File::refused(seen.path.clone(), Oid::ZERO_SHA1.to_string(), why))?;
            }
        }
    }
    if list(top, root, limits, location)? != (before, root_present) {
        return Err(Torn::Changed);
    }
    let files = found.into_files();
    Ok(Snapshot { revision: revision(&files, root_present), commit: None, files, root_present })
}

/// Every `*.json` under the root, and whether there is a root.
fn list(top: &Path, root: &str, limits: Limits, location: &str) -> Result<(Vec<Seen>, bool), Torn> {
    let at = top.join(root);
    let real = match at.canonicalize() {
        Ok(real) => real,
        // Where the name itself is there, it is a link that leads nowhere: no absence.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(&at).is_err() => {
            return Ok((Vec::new(), false));
        }
        Err(error) => return Err(unreadable(location, root, &error)),
    };
    if !real.starts_with(top) {
        return Err(Torn::Failed(not_followed(location, root, "a symbolic link out of the folder")));
    }
    if !real.is_dir() {
        return Ok((Vec::new(), false));
    }
    let mut seen = Vec::new();
    let mut counted = Found::new(location, limits);
    descend(top, &real, root, (0, false), &mut counted, &mut seen)?;
    seen.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((seen, true))
}

fn descend(
    top: &Path,
    real: &Path,
    path: &str,
    (depth, strange): (usize, bool),
    counted: &mut Found,
    seen: &mut Vec<Seen>,
) -> Result<(), Torn> {
    let entries = fs::read_dir(real).map_err(|error| unreadable(&counted.location, path, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(&counted.location, path, &error))?;
        counted.entry()?;
        let (name, odd) = name(entry.file_name().as_encoded_bytes());
        let strange = strange || odd;
        // `..data` and its neighbours too: their content is seen under its real name.
        if name.starts_with('.') {
            continue;
        }
        let path = join(path, &name);
        let resolved = entry.path().canonicalize().and_then(|real| fs::metadata(&real).map(|meta| (real, meta)));
        match resolved {
            Ok((real, meta)) if meta.is_dir() => {
                if !real.starts_with(top) {
                    if depth < FOLDERS_THAT_MATTER {
                        let what = "a symbolic link out of the folder";
                        return Err(Torn::Failed(not_followed(&counted.location, &path, what)));
                    }
                } else if depth < MAX_DEPTH {
                    descend(top, &real, &path, (depth + 1, strange), counted, seen)?;
                }
            }
            Ok((_, meta)) if is_json(&name) && strange => seen.push(stamp(path, Err(STRANGE), &meta)),
            Ok((real, meta)) if is_json(&name) => {
                let inside = real.starts_with(top) && meta.is_file();
                seen.push(stamp(path, inside.then_some(real).ok_or(LEADS_AWAY), &meta));
            }
            Ok(_) => {}
            Err(_) if is_json(&name) => match fs::symlink_metadata(entry.path()) {
                Ok(meta) => seen.push(stamp(path, Err(LEADS_AWAY), &meta)),
                Err(_) => return Err(Torn::Changed),
            },
            // Gone between the listing and the look: an editor's temporary file, or a swap that is under way.
            Err(error) if error.kind() == io::ErrorKind::NotFound && entry.path().symlink_metadata().is_err() => {
                return Err(Torn::Changed);
            }
            Err(error) if depth < FOLDERS_THAT_MATTER && name_could_be_folder(&name) => {
                return Err(unreadable(&counted.location, &path, &error));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn stamp(path: String, real: Result<PathBuf, &'static str>, meta: &Metadata) -> Seen {
    Seen { path, real, size: meta.len(), modified: meta.modified().ok() }
}

/// A dangling `README.md` is nobody's folder of connectors; a dangling `stg-ue2` may be.
fn name_could_be_folder(name: &str) -> bool {
    !name.contains('.')
}

/// The whole file; none when it has grown beyond `most`.
fn bounded(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= most).then_some(bytes))
}

fn blob_id(bytes: &[u8]) -> String {
    // It can't fail for bytes in memory; a failure would show as a change at the next look, and as nothing else.
    Oid::hash_object(ObjectType::Blob, bytes).unwrap_or(Oid::ZERO_SHA1).to_string()
}

fn revision(files: &[File], root_present: bool) -> String {
    let mut hash = Sha256::new();
    hash.update([u8::from(root_present)]);
    for file in files {
        for part in [&file.path, &file.blob, file.refused.as_deref().unwrap_or_default()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    format!("working-tree:{}", super::cache::hex(&hash.finalize()[..20]))
}

fn unreadable(location: &str, path: &str, error: &io::Error) -> Torn {
    if error.kind() == io::ErrorKind::NotFound {
        return Torn::Changed;
    }
    let why = format!("{path}: {error}");
    Torn::Failed(Error::Read { location: location.to_owned(), why })
}

// === impl Torn ===

impl From<Error> for Torn {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
