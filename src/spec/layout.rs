//! Which files are connector files: `<root>/<environment>/<destination>/<source>/<name>.json`, and nothing else.

use std::collections::BTreeMap;

use super::diagnostic::{self as codes, Diagnostic, Severity};
use super::rules::Draft;
use super::{
    Connector, DriftMode, InvalidFile, LoadOptions, Loaded, Name, PruneMode, Scope, SourceFile, TargetState, repository,
};

/// Where a file lies below the root.
enum Place<'a> {
    Connector {
        environment: &'a str,
        destination: &'a str,
        source: &'a str,
        stem: &'a str,
    },
    /// JSON where no connector file is looked for, and the folders above it.
    Misplaced {
        folders: Vec<&'a str>,
    },
    /// Not JSON: none of our business.
    Other,
}

/// Reads all connector files of a scope. Never fails: problems are values, each with its file.
///
/// A file that can't be read, parsed or accepted is in [`Loaded::invalid`] and never missing (law 8), and it takes nothing
/// from the other files (law 7).
#[must_use]
pub fn load(scope: &Scope, files: &[SourceFile], options: &LoadOptions) -> Loaded {
    let mut loaded = Loaded::default();
    let mut drafts = Vec::new();
    let mut neighbours = Vec::new();
    let mut files: Vec<&SourceFile> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        let Some(below) = below(&scope.root, &file.path) else { continue };
        loaded.root_present = true;
        let ours = format!("{}/{}/", scope.environment, scope.destination);
        loaded.scope_present |= below.starts_with(&ours);
        match place(below) {
            Place::Connector { environment, destination, source, stem } => {
                let in_scope = environment == scope.environment
                    && destination == scope.destination
                    && (scope.sources.is_empty() || scope.sources.iter().any(|wanted| wanted == source));
                if in_scope {
                    loaded.files += 1;
                    drafts.push(Draft::read(file, source, stem, options));
                } else if environment == scope.environment && destination != scope.destination {
                    neighbours.push((file, source, stem));
                }
            }
            Place::Misplaced { folders } if concerns(scope, &folders) => loaded.warnings.push(misplaced(scope, file)),
            Place::Misplaced { .. } | Place::Other => {}
        }
    }
    // Neighbours are read for cycles only; their problems are for their own instance to tell.
    let neighbours: Vec<Draft> =
        neighbours.into_iter().map(|(file, source, stem)| Draft::read(file, source, stem, options)).collect();
    repository::check(&mut drafts, &neighbours);
    for draft in drafts {
        finish(draft, &mut loaded);
    }
    loaded
}

/// The path below the root, or `None` for files outside.
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let root = root.trim_matches('/');
    let root = root.strip_prefix("./").unwrap_or(root);
    if root.is_empty() || root == "." {
        return Some(path);
    }
    path.strip_prefix(root)?.strip_prefix('/')
}

fn place(below: &str) -> Place<'_> {
    let parts: Vec<&str> = below.split('/').collect();
    let Some(file) = parts.last() else { return Place::Other };
    // Hidden files and folders are not for us: editors and tools keep JSON of their own there.
    if parts.iter().any(|part| part.starts_with('.')) {
        return Place::Other;
    }
    let Some(stem) = file.strip_suffix(".json").filter(|stem| !stem.is_empty()) else {
        return if file.to_ascii_lowercase().ends_with(".json") {
            Place::Misplaced { folders: parts[..parts.len() - 1].to_vec() }
        } else {
            Place::Other
        };
    };
    match parts[..parts.len() - 1] {
        [environment, destination, source] => Place::Connector { environment, destination, source, stem },
        ref folders => Place::Misplaced { folders: folders.to_vec() },
    }
}

/// Whether the folders could have been meant for this scope.
fn concerns(scope: &Scope, folders: &[&str]) -> bool {
    folders.first().is_none_or(|environment| *environment == scope.environment)
        && folders.get(1).is_none_or(|destination| *destination == scope.destination)
}

fn misplaced(scope: &Scope, file: &SourceFile) -> Diagnostic {
    let root = scope.root.trim_matches('/');
    let root = if root.is_empty() { String::new() } else { format!("{root}/") };
    Diagnostic::new(codes::MISPLACED, Severity::Warning, &file.path, "this JSON file is not read: it lies elsewhere")
        .hint(format!("connector files are {root}<environment>/<destination>/<source>/<name>.json"))
}

fn finish(mut draft: Draft, loaded: &mut Loaded) {
    draft.problems.sort_by(|a, b| (a.line, a.column, a.code).cmp(&(b.line, b.column, b.code)));
    let failed = draft.failed();
    match draft.name {
        Some(name) if !failed => {
            let config = draft.config;
            let word = |key: &str| config.get(key).map(|value| value.trim().to_ascii_lowercase());
            let connector = Connector {
                state: match word("mirrorkeeper.state").as_deref() {
                    Some("paused") => TargetState::Paused,
                    Some("stopped") => TargetState::Stopped,
                    _ => TargetState::Running,
                },
                drift: match word("mirrorkeeper.drift").as_deref() {
                    Some("correct") => Some(DriftMode::Correct),
                    Some("report") => Some(DriftMode::Report),
                    Some("off") => Some(DriftMode::Off),
                    _ => None,
                },
                prune: match word("mirrorkeeper.prune").as_deref() {
                    Some("auto") => Some(PruneMode::Auto),
                    Some("off") => Some(PruneMode::Off),
                    _ => None,
                },
                renamed_from: config.get("mirrorkeeper.renamed.from").and_then(|old| old.parse().ok()),
                name: name.clone(),
                path: draft.path,
                source: draft.source,
                blob: draft.blob,
                warnings: draft.problems,
                config,
            };
            loaded.connectors.insert(name, connector);
        }
        name => loaded.invalid.push(InvalidFile { path: draft.path, name, problems: draft.problems }),
    }
}

/// All files that give one name, by name.
pub(super) fn by_name(drafts: &[Draft]) -> BTreeMap<Name, Vec<usize>> {
    let mut names: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if let Some(name) = &draft.name {
            names.entry(name.clone()).or_default().push(index);
        }
    }
    names
}
