//! Files that a program imports: read once each, through whoever may read files.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::base::{Code, Diag, Source, SourceId};
use crate::syntax::ast::{Ast, Item};
use crate::syntax::parse;

/// Reads what a program imports, and what that imports. `sources` gets every file that is read; `read`
/// gives the text of a path.
pub fn imports(
    ast: &mut Ast,
    sources: &mut Vec<Source>,
    read: &mut dyn FnMut(&Path) -> Result<String, String>,
    diags: &mut Vec<Diag>,
) {
    let first = sources.get(ast.source.0 as usize).map(|source| PathBuf::from(&*source.name));
    let mut importer = Importer { sources, read, diags, known: BTreeMap::new(), open: Vec::new() };
    importer.open.extend(first.as_deref().map(plain));
    importer.of(ast);
}

struct Importer<'a> {
    sources: &'a mut Vec<Source>,
    read: &'a mut dyn FnMut(&Path) -> Result<String, String>,
    diags: &'a mut Vec<Diag>,
    known: BTreeMap<PathBuf, Option<Arc<Ast>>>,
    /// The files that are being read.
    open: Vec<PathBuf>,
}

impl Importer<'_> {
    fn of(&mut self, ast: &mut Ast) {
        let importing = self.sources.get(ast.source.0 as usize);
        let folder = importing.map(|source| PathBuf::from(&*source.name));
        let folder = folder.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        for item in &mut ast.items {
            let Item::Import(import) = item else { continue };
            let path = plain(&folder.join(&import.path.value));
            let fault = |message: String| Diag::new(Code::E0309, import.path.span, message);
            if self.open.contains(&path) {
                let message = format!("`{}` imports itself in the end", import.path.value);
                self.diags.push(fault(message).here("already being read").help(
                    "fragments that both files need can stand in a third one, which both import",
                ));
                continue;
            }
            if !self.known.contains_key(&path) {
                let made = match (self.read)(&path) {
                    Ok(text) => Some(Arc::new(self.module(&path, text))),
                    Err(error) => {
                        self.diags.push(
                            fault(error)
                                .here("cannot be read")
                                .help("the path is relative to the file that it stands in"),
                        );
                        None
                    }
                };
                self.known.insert(path.clone(), made);
            }
            import.module = self.known.get(&path).cloned().flatten();
        }
    }

    fn module(&mut self, path: &Path, text: String) -> Ast {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        let (mut module, found) = parse(id, &text);
        self.diags.extend(found);
        self.sources.push(Source::new(path.display().to_string(), text));
        self.open.push(path.to_path_buf());
        self.of(&mut module);
        self.open.pop();
        module
    }
}

/// A path without `.` and, where it can be told, without `..`: so that one file has one name.
fn plain(path: &Path) -> PathBuf {
    let mut made = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(made.components().next_back(), Some(Component::Normal(_))) =>
            {
                made.pop();
            }
            other => made.push(other),
        }
    }
    made
}
