//! The files of a crate, and which other files of it each of them depends on.
//!
//! A file depends on the one that has what it imports or names by a path outside of macros; methods that a type has in
//! another file do not count. `pub use` is a table of contents: it is no
//! dependency of the file that has it, and whoever imports by way of it depends on where the item stands. Modules of
//! tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// A module: names from the crate's root on.
pub type Module = Vec<String>;
/// A path as it is written: `crate`, `super`, `self` and names.
type Written = Vec<String>;

/// Re-exports may lead to re-exports so often.
const MAX_STEPS: usize = 16;

/// All source files of a package below a folder. A folder with a manifest is another package.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            } else if path.is_dir() && !path.join("Cargo.toml").exists() {
                folders.push(path);
            }
        }
    }
    files
}

/// A module of this name in another one.
fn below(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

/// What one file says.
#[derive(Default)]
struct File {
    /// Imports for its own use, and paths in its code.
    used: BTreeSet<Written>,
    /// Where each imported or re-exported name comes from.
    origins: BTreeMap<String, Written>,
    children: Vec<String>,
    /// Children that are public.
    public_children: BTreeSet<String>,
    /// Its own public items: what each is, and its public fields or variants.
    items: BTreeMap<String, (&'static str, Vec<String>)>,
    /// Public functions of types, by the type's name.
    methods: Vec<(String, String)>,
    /// What it gives out with `pub use`.
    exports: BTreeMap<String, Written>,
}

/// A crate.
pub struct Crate(BTreeMap<Module, File>);

impl Crate {
    /// Reads a crate from its first file, with whatever reads files.
    pub fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut files = BTreeMap::new();
        let folder = root.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut left = vec![(Module::new(), root.to_path_buf(), folder)];
        while let Some((module, path, folder)) = left.pop() {
            let text = read(&path).unwrap_or_else(|| panic!("{}: cannot read", path.display()));
            let parsed = syn::parse_file(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut reader = Reader { file: File::default(), inline: 0 };
            reader.items(&parsed.items);
            for name in &reader.file.children {
                let folder = folder.join(name);
                let places = [folder.with_extension("rs"), folder.join("mod.rs")];
                let place = places.into_iter().find(|place| read(place).is_some());
                let place = place.unwrap_or_else(|| panic!("{}: no file", folder.display()));
                left.push((below(&module, name), place, folder));
            }
            files.insert(module, reader.file);
        }
        Self(files)
    }

    /// The module that has what a path names, if this crate has it.
    fn place(&self, from: &Module, written: &Written, steps: usize) -> Option<Module> {
        let mut at = from.clone();
        let mut rest = &written[..];
        match rest.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|word| word == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            name => {
                if !self.0.contains_key(&below(&at, name)) {
                    return None;
                }
            }
        }
        while let Some((name, behind)) = rest.split_first() {
            let next = below(&at, name);
            if !self.0.contains_key(&next) {
                break;
            }
            at = next;
            rest = behind;
        }
        let Some(name) = rest.first() else { return Some(at) };
        match self.0.get(&at)?.origins.get(name) {
            Some(origin) if steps < MAX_STEPS => {
                // What comes from another crate is no file of this one.
                self.place(&at, origin, steps + 1)
            }
            _ => Some(at),
        }
    }

    /// Everything that other crates can name, a line for each.
    pub fn public(&self) -> BTreeSet<String> {
        let mut methods: BTreeMap<(Module, &str), Vec<&str>> = BTreeMap::new();
        for (module, file) in &self.0 {
            for (of, method) in &file.methods {
                let place = match file.origins.get(of) {
                    Some(origin) => self.place(module, origin, 0),
                    None => Some(module.clone()),
                };
                if let Some(place) = place {
                    methods.entry((place, of)).or_default().push(method);
                }
            }
        }
        let mut lines = BTreeSet::new();
        let mut left = vec![Module::new()];
        while let Some(module) = left.pop() {
            let file = &self.0[&module];
            left.extend(file.public_children.iter().map(|name| below(&module, name)));
            let own = file.items.keys().map(|name| (name, module.clone(), name));
            let exported = file.exports.iter().filter_map(|(name, path)| {
                Some((name, self.place(&module, path, 0)?, path.last()?))
            });
            for (name, place, original) in own.chain(exported) {
                let Some((kind, parts)) = self.0[&place].items.get(original) else { continue };
                let path = below(&module, name).join("::");
                lines.insert(format!("{path} ({kind})"));
                lines.extend(parts.iter().map(|part| format!("{path}.{part}")));
                let methods = methods.get(&(place, original.as_str()));
                lines.extend(
                    methods.into_iter().flatten().map(|method| format!("{path}::{method}()")),
                );
            }
        }
        lines
    }

    /// The files that each file depends on.
    pub fn dependencies(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let of = |module: &Module, file: &File| {
            let places = file.used.iter().filter_map(|path| self.place(module, path, 0));
            places.filter(|place| place != module).collect()
        };
        self.0.iter().map(|(module, file)| (module.clone(), of(module, file))).collect()
    }
}

/// Gathers what a file says.
struct Reader {
    file: File,
    /// How many modules are open that have no file of their own.
    inline: usize,
}

impl Reader {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            self.visit_item(item);
        }
    }

    /// A path as it would be written outside of modules without a file; `None` if it stays inside of them.
    fn outside(&self, mut path: Written) -> Option<Written> {
        if self.inline == 0 || path.first().is_some_and(|word| word == "crate") {
            return Some(path);
        }
        let ups = path.iter().take_while(|word| *word == "super").count();
        (ups >= self.inline).then(|| {
            path.drain(..self.inline);
            if path.first().is_none_or(|word| word != "super") {
                path.insert(0, "self".to_owned());
            }
            path
        })
    }

    /// Takes note of an item that is public.
    fn public(&mut self, item: &Item) {
        let is_public = |visibility: &Visibility| matches!(visibility, Visibility::Public(_));
        let fields = |fields: &syn::Fields| {
            let named = fields.iter().filter(|field| is_public(&field.vis));
            named.filter_map(|field| field.ident.as_ref().map(ToString::to_string)).collect()
        };
        let (visibility, name, kind, parts) = match item {
            Item::Const(item) => (&item.vis, &item.ident, "const", Vec::new()),
            Item::Static(item) => (&item.vis, &item.ident, "static", Vec::new()),
            Item::Fn(item) => (&item.vis, &item.sig.ident, "fn", Vec::new()),
            Item::Type(item) => (&item.vis, &item.ident, "type", Vec::new()),
            Item::Struct(item) => (&item.vis, &item.ident, "struct", fields(&item.fields)),
            Item::Enum(item) => {
                let names = item.variants.iter().map(|variant| variant.ident.to_string());
                (&item.vis, &item.ident, "enum", names.collect())
            }
            Item::Trait(item) => {
                let methods = item.items.iter().filter_map(|item| match item {
                    syn::TraitItem::Fn(method) => Some(format!("{}()", method.sig.ident)),
                    _ => None,
                });
                (&item.vis, &item.ident, "trait", methods.collect())
            }
            Item::Impl(item) if item.trait_.is_none() => {
                let syn::Type::Path(of) = &*item.self_ty else { return };
                let Some(of) = of.path.segments.last() else { return };
                for method in &item.items {
                    if let syn::ImplItem::Fn(method) = method
                        && is_public(&method.vis)
                    {
                        let name = method.sig.ident.to_string();
                        self.file.methods.push((of.ident.to_string(), name));
                    }
                }
                return;
            }
            Item::Mod(item) if item.content.is_none() && is_public(&item.vis) => {
                self.file.public_children.insert(item.ident.to_string());
                return;
            }
            _ => return,
        };
        if is_public(visibility) {
            self.file.items.insert(name.to_string(), (kind, parts));
        }
    }

    fn import(&mut self, tree: &UseTree, before: &Written, is_public: bool) {
        let with = |name: &syn::Ident| [&before[..], &[name.to_string()]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), is_public),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, is_public));
            }
            UseTree::Name(name) if name.ident == "self" => (before.clone(), before.last().cloned()),
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
            UseTree::Glob(_) => (before.clone(), None),
        };
        let Some(path) = self.outside(path) else { return };
        if let Some(name) = name.filter(|_| self.inline == 0) {
            if is_public {
                self.file.exports.insert(name.clone(), path.clone());
            }
            self.file.origins.insert(name, path.clone());
        }
        if !is_public {
            self.file.used.insert(path);
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let said = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (said == "test" || said.starts_with("all (test") || said.starts_with("all(test"))
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if self.inline == 0 {
            self.public(item);
        }
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Mod(module) => match &module.content {
                Some((_, items)) => {
                    self.inline += 1;
                    self.items(items);
                    self.inline -= 1;
                }
                None => self.file.children.push(module.ident.to_string()),
            },
            Item::Use(import) if is_for_tests(&import.attrs) => {}
            Item::Use(import) => {
                let is_public = !matches!(import.vis, Visibility::Inherited);
                self.import(&import.tree, &Written::new(), is_public);
            }
            other => visit::visit_item(self, other),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            let written = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.file.used.extend(self.outside(written));
        }
        visit::visit_path(self, path);
    }
}
