//! The codes that the sources can tell, read off their syntax.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Block, Expr, ExprCall, ExprMethodCall, ExprStruct, ImplItemFn, ItemConst, ItemFn,
    ItemMod, Lit, Local, Pat, Signature,
    visit::{self, Visit},
};

/// What makes something with a code, and which argument that is.
const MAKERS: &[(&str, usize)] = &[
    ("Event::new", 1),
    ("Diagnosis::new", 0),
    ("Explained::new", 1),
    ("StoreFailure::new", 0),
    (".record", 1),
    (".alert", 0),
    (".tell", 1),
    (".refuse", 1),
    ("Error::internal", 0),
    ("failure", 0),
    ("invalid", 0),
];

/// Functions that name a failure: every word in them is a code.
const NAMERS: &[&str] = &["classify", "code"];

/// What looks like a code beside one, and is none: names of headers, fields and entries; kinds of alerts.
const NO_CODES: &[&str] = &[
    "dark-at",
    "error",
    "ok",
    "procore-company-id",
    "test",
    "unread-reply",
];

/// What tells nobody: the demo's story, and what tests look at.
const NOT_TOLD: &[&str] = &["host/src/cli/demo", "host/src/cli/status/samples.rs"];

/// A code, and where it is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Code {
    pub(super) code: String,
    pub(super) is_alert: bool,
    pub(super) function: String,
}

/// All of them.
#[derive(Default)]
pub(super) struct Codes {
    pub(super) all: BTreeSet<Code>,
    /// Functions that tell alerts whose codes come from elsewhere.
    pub(super) passed_on: BTreeSet<String>,
    /// What the plugin can say is the matter.
    pub(super) diagnoses: BTreeSet<String>,
    /// Those of which it makes an error on the spot, with the error's kind.
    pub(super) kinds: BTreeSet<(String, String)>,
}

impl Codes {
    pub(super) fn of_the_sources() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a workspace");
        let mut files = Vec::new();
        for folder in ["guest/src", "host/src", "lending/src"] {
            list(&root.join(folder), &mut files);
        }
        let parsed: Vec<(String, syn::File)> = files
            .iter()
            .map(|path| {
                let text = fs::read_to_string(path).expect("readable");
                let name = path
                    .strip_prefix(root)
                    .expect("below")
                    .display()
                    .to_string();
                (name, syn::parse_file(&text).expect("Rust"))
            })
            .collect();
        let mut constants = Constants::default();
        parsed
            .iter()
            .for_each(|(_, file)| constants.visit_file(file));
        let mut codes = Self::default();
        let is_told = |name: &str| !NOT_TOLD.iter().any(|folder| name.starts_with(folder));
        for (name, file) in parsed.iter().filter(|(name, _)| is_told(name)) {
            let mut reader = Reader {
                file: name,
                constants: &constants.0,
                function: Vec::new(),
                codes: &mut codes,
            };
            reader.visit_file(file);
        }
        codes
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

/// The texts that have a name.
#[derive(Default)]
struct Constants(BTreeMap<String, String>);

impl<'ast> Visit<'ast> for Constants {
    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        if let Some(text) = literal(&item.expr) {
            self.0.insert(item.ident.to_string(), text);
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    constants: &'a BTreeMap<String, String>,
    /// The functions around, each with the texts in it that may be codes.
    function: Vec<(String, BTreeSet<String>)>,
    codes: &'a mut Codes,
}

impl Reader<'_> {
    /// Notes the code, or those that stand in the function where it is not said which.
    fn told(&mut self, code: &Expr, is_alert: bool) {
        let here = self.function.last().map(|(_, words)| words);
        let found = match self.text(code) {
            Some(code) => BTreeSet::from([code]),
            None => here.cloned().unwrap_or_default(),
        };
        self.note(found, is_alert);
    }

    fn note(&mut self, mut found: BTreeSet<String>, is_alert: bool) {
        let name = self.function.last().map_or("", |(name, _)| name);
        let function = format!("{}: {name}", self.file);
        found.retain(|code| is_code(code) && !NO_CODES.contains(&code.as_str()));
        if found.is_empty() && is_alert {
            self.codes.passed_on.insert(function.clone());
        }
        for code in found {
            let function = function.clone();
            self.codes.all.insert(Code {
                code,
                is_alert,
                function,
            });
        }
    }

    /// Returns a text that stands there, or behind a constant's name.
    fn text(&self, expression: &Expr) -> Option<String> {
        if let Some(text) = literal(expression) {
            return Some(text);
        }
        let Expr::Path(path) = peeled(expression) else {
            return None;
        };
        let name = &path.path.segments.last()?.ident;
        self.constants.get(&name.to_string()).cloned()
    }

    fn within(&mut self, signature: &Signature, block: &Block, go_on: impl FnOnce(&mut Self)) {
        let name = signature.ident.to_string();
        let mut words = words_in(|words| words.visit_block(block));
        // One word alone is too often none.
        words.retain(|word| word.contains('-'));
        self.function.push((name.clone(), words));
        if NAMERS.contains(&name.as_str()) {
            self.note(words_in(|words| words.visit_block(block)), false);
        }
        go_on(self);
        self.function.pop();
    }

    fn made(&mut self, maker: &str, arguments: &[&Expr]) {
        if self.file.starts_with("guest/") {
            self.diagnosed(maker, arguments);
        }
        let known = MAKERS.iter().find(|(known, _)| *known == maker);
        if let Some((_, index)) = known
            && let Some(code) = arguments.get(*index)
        {
            let is_alert = maker == ".alert" || arguments.iter().any(|argument| is_alert(argument));
            self.told(code, is_alert);
        }
    }
}

/// What the plugin says is the matter, and of which kind the error is that it makes of it.
impl Reader<'_> {
    fn diagnosed(&mut self, maker: &str, arguments: &[&Expr]) {
        match (maker, arguments) {
            ("Diagnosis::new", [code, ..]) | ("invalid", [code, _, ..]) => {
                let here = self.function.last().map(|(_, words)| words.clone());
                let found = self.text(code).map(|code| BTreeSet::from([code]));
                let found = found.or(here).unwrap_or_default().into_iter();
                let is_told = |code: &String| is_code(code) && !NO_CODES.contains(&code.as_str());
                self.codes.diagnoses.extend(found.filter(is_told));
            }
            ("Error::new", [kind, diagnosis]) => {
                if let (Some(kind), Some(code)) = (variant(kind), self.code_of(diagnosis)) {
                    self.codes.kinds.insert((code, kind));
                }
            }
            _ => {}
        }
    }

    /// Returns the code of a diagnosis that is made here and now.
    fn code_of(&self, diagnosis: &Expr) -> Option<String> {
        match diagnosis {
            Expr::MethodCall(call) => self.code_of(&call.receiver),
            Expr::Call(call) => self.text(call.args.first()?),
            _ => None,
        }
    }
}

/// Returns the last word of a path: `Busy` of `ErrorKind::Busy`.
fn variant(expression: &Expr) -> Option<String> {
    let Expr::Path(path) = expression else {
        return None;
    };
    let last = path.path.segments.last()?;
    Some(last.ident.to_string())
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.within(&item.sig, &item.block, |reader| {
            visit::visit_item_fn(reader, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.within(&item.sig, &item.block, |reader| {
            visit::visit_impl_item_fn(reader, item);
        });
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(function) = &*call.func {
            let names: Vec<String> = function
                .path
                .segments
                .iter()
                .map(|s| s.ident.to_string())
                .collect();
            let maker = names[names.len().saturating_sub(2)..].join("::");
            self.made(&maker, &call.args.iter().collect::<Vec<_>>());
        }
        visit::visit_expr_call(self, call);
    }

    /// `let code = …`, or `let (code, message) = …`: what looks like a code there is one.
    fn visit_local(&mut self, local: &'ast Local) {
        if let Some(init) = &local.init
            && names_code(&local.pat)
        {
            self.note(words_in(|words| words.visit_expr(&init.expr)), false);
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if call.method == "clone_into" {
            self.told(&call.receiver, false);
        }
        let maker = format!(".{}", call.method);
        self.made(&maker, &call.args.iter().collect::<Vec<_>>());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_struct(&mut self, made: &'ast ExprStruct) {
        let field = |name: &str| {
            let named = |field: &&syn::FieldValue| matches!(&field.member, syn::Member::Named(n) if n == name);
            made.fields.iter().find(named).map(|field| &field.expr)
        };
        if let Some(code) = field("code") {
            self.told(code, field("severity").is_some_and(is_alert));
        }
        visit::visit_expr_struct(self, made);
    }
}

/// The texts that look like codes.
struct Words(BTreeSet<String>);

fn words_in(look: impl FnOnce(&mut Words)) -> BTreeSet<String> {
    let mut words = Words(BTreeSet::new());
    look(&mut words);
    words.0
}

impl<'ast> Visit<'ast> for Words {
    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        if is_code(&text.value()) {
            self.0.insert(text.value());
        }
    }
}

/// Whether a text is made as codes are: words, with hyphens between them; underscores in those of the server.
fn is_code(text: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    text.split('-').all(is_word)
}

fn names_code(pattern: &Pat) -> bool {
    match pattern {
        Pat::Ident(name) => name.ident == "code",
        Pat::Tuple(tuple) => tuple.elems.iter().any(names_code),
        _ => false,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

fn is_alert(expression: &Expr) -> bool {
    let Expr::Path(path) = peeled(expression) else {
        return false;
    };
    path.path
        .segments
        .last()
        .is_some_and(|last| last.ident == "Alert")
}

fn literal(expression: &Expr) -> Option<String> {
    match peeled(expression) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// Takes off what only changes a value's type: `&x`, `x.to_owned()`, `x.into()`.
fn peeled(expression: &Expr) -> &Expr {
    match expression {
        Expr::Reference(reference) => peeled(&reference.expr),
        Expr::MethodCall(call) if call.args.is_empty() => peeled(&call.receiver),
        Expr::Paren(paren) => peeled(&paren.expr),
        other => other,
    }
}
