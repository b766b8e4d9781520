//! Paths in the source of the crate, read without comments, texts and unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module path below the crate's root, such as `["graphql", "engine"]`; empty for the root.
pub(super) type Module = Vec<String>;

/// The parsed files of `src`.
pub(super) struct Crate {
    files: BTreeMap<Module, File>,
}

struct File {
    path: String,
    tokens: Vec<Token>,
    /// Names that `use` takes from child modules, with the path behind each.
    reexports: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

/// A path from one module to another, with the place where it is written.
pub(super) struct Reference {
    pub(super) from: Module,
    pub(super) to: Module,
    pub(super) place: String,
}

impl Crate {
    pub(super) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        collect(&root.join("src"), &mut paths);
        let files = paths.iter().filter(|path| !path.ends_with("src/main.rs")).map(|path| {
            let relative = path.strip_prefix(root).unwrap();
            let text = std::fs::read_to_string(path).unwrap();
            let tokens = without_tests(&tokens(&without_comments_and_texts(&text)));
            (
                module(relative),
                File { path: relative.display().to_string(), tokens, reexports: BTreeMap::new() },
            )
        });
        let mut source = Self { files: files.collect() };
        let modules: BTreeSet<_> = source.files.keys().cloned().collect();
        for (module, file) in &mut source.files {
            file.reexports = reexports(module, &file.tokens, &modules);
        }
        source
    }

    /// Names of the modules below the root.
    pub(super) fn rooms(&self) -> BTreeSet<String> {
        self.files.keys().filter_map(|module| module.first()).cloned().collect()
    }

    /// Returns where an identifier occurs in a room.
    pub(super) fn occurrences(&self, room: &str, identifier: &str) -> Vec<String> {
        let files = self.files.iter().filter(|(module, _)| module.first().is_some_and(|first| first == room));
        let tokens = files.flat_map(|(_, file)| file.tokens.iter().map(move |token| (file, token)));
        let found = tokens.filter(|(_, token)| token.text == identifier);
        found.map(|(file, token)| format!("{}:{}", file.path, token.line)).collect()
    }

    /// Returns all paths that begin with `crate`, `super` or `self` outside of the root, resolved to modules.
    pub(super) fn references(&self) -> Vec<Reference> {
        let files = self.files.iter().filter(|(module, _)| !module.is_empty());
        files.flat_map(|(module, file)| self.references_of(module, file)).collect()
    }

    fn references_of(&self, module: &Module, file: &File) -> Vec<Reference> {
        let starts = (0..file.tokens.len()).filter(|&at| is_start(&file.tokens, at));
        let paths = starts.flat_map(|at| read_path(&file.tokens, at));
        let reference = |(path, line): (Vec<String>, usize)| Reference {
            from: module.clone(),
            to: self.resolve(module, &path),
            place: format!("{}:{line}", file.path),
        };
        paths.map(reference).collect()
    }

    /// Returns the module that a path leads to, through re-exports.
    fn resolve(&self, from: &Module, path: &[String]) -> Module {
        let mut module = from.clone();
        for (at, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => drop(module.pop()),
                name => {
                    let below = below(&module, name);
                    if self.files.contains_key(&below) {
                        module = below;
                        continue;
                    }
                    let reexport = self.files.get(&module).and_then(|file| file.reexports.get(name));
                    let Some(reexport) = reexport else { return module };
                    let rest = reexport.iter().chain(&path[at + 1..]).cloned().collect::<Vec<_>>();
                    return self.resolve(&module, &rest);
                }
            }
        }
        module
    }
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            paths.push(path);
        }
    }
}

/// Returns the module that a file below `src` makes.
fn module(file: &Path) -> Module {
    let mut module: Module =
        file.with_extension("").iter().skip(1).map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn below(module: &Module, child: &str) -> Module {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// Blanks out comments, and texts and characters in quotes; lines keep their numbers.
fn without_comments_and_texts(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = length_of_comment_or_text(rest, code.chars().next_back());
        let taken = skipped.unwrap_or(first.len_utf8());
        let (piece, after) = rest.split_at(taken);
        match skipped {
            Some(_) => code.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => code.push(first),
        }
        rest = after;
    }
    code
}

fn length_of_comment_or_text(rest: &str, before: Option<char>) -> Option<usize> {
    let inside_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if !inside_name && (rest.starts_with("r\"") || rest.starts_with("r#\"")) {
        let marks = rest[1..].chars().take_while(|c| *c == '#').count();
        let end = format!("\"{}", "#".repeat(marks));
        let start = 2 + marks;
        return Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()));
    }
    // A lifetime has no closing quote one character, or one escape, later.
    let mut characters = rest.strip_prefix('\'')?.chars();
    let is_character = characters.next()? == '\\' || characters.next() == Some('\'');
    is_character.then(|| quoted(rest, '\''))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if name > 0 {
                name
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { text: rest[..length].to_owned(), line });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Leaves out items under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..].iter().take(attribute.len()).map(|token| token.text.as_str());
        if here.eq(attribute) {
            at = end_of_item(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Returns where the item ends that begins at an index: behind its block or its semicolon.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(token.text.as_str(), "}" | ";") {
            return at + 1;
        }
    }
    tokens.len()
}

fn is_start(tokens: &[Token], at: usize) -> bool {
    let begins = matches!(tokens[at].text.as_str(), "crate" | "super" | "self");
    let goes_on = tokens.get(at + 1).is_some_and(|next| next.text == "::");
    begins && goes_on && (at == 0 || tokens[at - 1].text != "::")
}

/// Reads the paths of a tree such as `crate::{a::b, c as d}`.
fn read_path(tokens: &[Token], start: usize) -> Vec<(Vec<String>, usize)> {
    let mut at = start;
    let mut paths = Vec::new();
    read_tree(tokens, &mut at, &[], &mut paths);
    paths
}

fn read_tree(tokens: &[Token], at: &mut usize, prefix: &[String], paths: &mut Vec<(Vec<String>, usize)>) {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(*at) {
        if token.text == "{" {
            *at += 1;
            while tokens.get(*at).is_some_and(|token| token.text != "}") {
                read_tree(tokens, at, &path, paths);
                // An alias, and the comma.
                while tokens.get(*at).is_some_and(|token| token.text != "}" && token.text != ",") {
                    *at += 1;
                }
                *at += usize::from(tokens.get(*at).is_some_and(|token| token.text == ","));
            }
            *at += 1;
            return;
        }
        let is_name = token.text.chars().all(|c| c.is_alphanumeric() || c == '_');
        if is_name {
            path.push(token.text.clone());
            *at += 1;
        }
        let line = token.line;
        if !is_name || tokens.get(*at).is_none_or(|next| next.text != "::") {
            paths.push((path, line));
            return;
        }
        *at += 1;
    }
}

/// Returns the names that a module's `use` items take from its children.
fn reexports(module: &Module, tokens: &[Token], modules: &BTreeSet<Module>) -> BTreeMap<String, Vec<String>> {
    let uses = (0..tokens.len()).filter(|&at| tokens[at].text == "use");
    let paths = uses.flat_map(|at| read_path(tokens, at + 1)).map(|(path, _)| path);
    let below = paths.filter(|path| {
        let child = path.iter().find(|segment| *segment != "self");
        child.is_some_and(|child| modules.contains(&below(module, child)))
    });
    below.filter_map(|path| Some((path.last()?.clone(), path))).collect()
}

#[test]
fn paths_are_read_from_groups_and_code_and_not_from_comments_texts_or_tests() {
    let text = r##"
        // use crate::commented::A;
        use crate::{
            one::{A, b::C as D},
            two::*, /* crate::commented::B */ three,
        };
        pub(crate) use super::four::E;
        fn f<'a>(x: &'a str) -> char { crate::five::g("crate::text", r#"crate::"raw"."#); x == '"'; '\'' }
        macro_rules! m { () => { $crate::six::h() } }
        #[cfg(test)]
        mod tests { use crate::tested::F; fn t() { crate::tested::g() } }
        fn i() -> impl Sized + use<> { self::seven::K::<crate::eight::L>::new() }
    "##;
    let tokens = without_tests(&tokens(&without_comments_and_texts(text)));
    let starts = (0..tokens.len()).filter(|&at| is_start(&tokens, at));
    let paths: Vec<_> =
        starts.flat_map(|at| read_path(&tokens, at)).map(|(path, line)| (line, path.join("::"))).collect();
    let expected = [
        (4, "crate::one::A"),
        (4, "crate::one::b::C"),
        (5, "crate::two"),
        (5, "crate::three"),
        (7, "super::four::E"),
        (8, "crate::five::g"),
        (9, "crate::six::h"),
        (12, "self::seven::K"),
        (12, "crate::eight::L"),
    ];
    assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
}
