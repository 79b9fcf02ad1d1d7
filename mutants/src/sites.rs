//! Finds the places where a source can be mutated.
//!
//! The operators are those that a Raft engineer would try: a comparison that is off by one, a condition that is negated or
//! left out, an assignment or a call that is skipped, an early return that is not taken, a maximum for a minimum, a 1 that
//! is a 0.

use std::collections::BTreeSet;

use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, ExprBinary, ImplItem, Item, Lit, Pat, ReturnType, Stmt, Type};

pub struct Mutation {
    pub number: u32,
    pub line: usize,
    pub end_line: usize,
    pub function: String,
    pub what: String,
}

#[derive(Default)]
pub struct Sites {
    pub mutations: Vec<Mutation>,
    /// Byte ranges of the source, and what stands there instead: empty ranges for what is inserted.
    edits: Vec<Edit>,
}

struct Edit {
    /// Of which mutation it is a part.
    number: u32,
    start: usize,
    end: usize,
    /// Of two insertions at one place, the outer one opens first and closes last.
    rank: (u8, i64),
    text: String,
}

impl Sites {
    /// The source with all mutations but those that do not compile.
    pub fn apply(&self, source: &str, without: &BTreeSet<u32>) -> String {
        let mut edits: Vec<&Edit> =
            self.edits.iter().filter(|edit| !without.contains(&edit.number)).collect();
        edits.sort_by_key(|edit| (edit.start, edit.rank));
        let mut text = String::with_capacity(source.len() * 2);
        let mut at = 0;
        for edit in edits {
            text.push_str(&source[at..edit.start]);
            text.push_str(&edit.text);
            at = edit.end;
        }
        text.push_str(&source[at..]);
        text
    }
}

/// The sites of one file; the first mutation gets the number `first`.
pub fn of(source: &str, first: u32) -> syn::Result<Sites> {
    let file = syn::parse_file(source)?;
    let mut lines = vec![0];
    lines.extend(source.match_indices('\n').map(|(at, _)| at + 1));
    let mut finder = Finder {
        source,
        lines,
        next: first,
        function: Vec::new(),
        sites: Sites::default(),
        returns_bool: false,
    };
    finder.visit_file(&file);
    Ok(finder.sites)
}

struct Finder<'a> {
    source: &'a str,
    lines: Vec<usize>,
    next: u32,
    function: Vec<String>,
    sites: Sites,
    returns_bool: bool,
}

const OPENS: u8 = 2;
const CLOSES: u8 = 0;

impl Finder<'_> {
    fn offset(&self, at: LineColumn) -> usize {
        let start = self.lines[at.line - 1];
        let line = &self.source[start..];
        start + line.char_indices().nth(at.column).map_or(line.len(), |(offset, _)| offset)
    }

    fn range(&self, span: Span) -> (usize, usize) {
        (self.offset(span.start()), self.offset(span.end()))
    }

    fn text(&self, span: Span) -> String {
        let (start, end) = self.range(span);
        self.source[start..end].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn mutation(&mut self, span: Span, what: String) -> u32 {
        let number = self.next;
        self.next += 1;
        let function = self.function.last().cloned().unwrap_or_default();
        let (line, end_line) = (span.start().line, span.end().line);
        self.sites.mutations.push(Mutation { number, line, end_line, function, what });
        number
    }

    fn around(&mut self, span: Span, before: String, after: String) {
        let (start, end) = self.range(span);
        let length = (end - start) as i64;
        self.edit(start, start, (OPENS, -length), before);
        self.edit(end, end, (CLOSES, length), after);
    }

    fn replace(&mut self, span: Span, text: String) {
        let (start, end) = self.range(span);
        self.edit(start, end, (OPENS, 0), text);
    }

    /// A part of the mutation that was made last.
    fn edit(&mut self, start: usize, end: usize, rank: (u8, i64), text: String) {
        self.sites.edits.push(Edit { number: self.next - 1, start, end, rank, text });
    }

    /// The value of a condition is the opposite.
    fn negate(&mut self, expr: &Expr) {
        let what = format!("`{}` is negated", self.text(expr.span()));
        let number = self.mutation(expr.span(), what);
        self.around(expr.span(), "((".into(), format!(") ^ crate::mutants::is({number}))"));
    }

    /// A statement is skipped.
    fn skip(&mut self, span: Span) {
        let what = format!("`{}` is skipped", self.text(span));
        let number = self.mutation(span, what);
        self.around(span, format!("if !crate::mutants::is({number}) {{ "), " }".into());
    }

    /// One operand of `&&` or `||` has no say.
    fn drop_operand(&mut self, operand: &Expr, is_and: bool) {
        if contains_let(operand) || matches!(operand, Expr::Binary(binary) if is_logical(&binary.op)) {
            return;
        }
        let what = format!("`{}` is left out", self.text(operand.span()));
        let number = self.mutation(operand.span(), what);
        let on = format!("crate::mutants::is({number})");
        let after = if is_and { format!(") || {on})") } else { format!(") && !{on})") };
        self.around(operand.span(), "((".into(), after);
    }

    fn compare(&mut self, binary: &ExprBinary, name: &str, becomes: &str) {
        let operator = self.text(binary.op.span());
        let what = format!("`{}`: `{operator}` becomes `{becomes}`", self.text(binary.span()));
        let number = self.mutation(binary.span(), what);
        self.around(binary.left.span(), format!("crate::mutants::{name}({number}, &("), ")".into());
        self.replace(binary.op.span(), ",".into());
        self.around(binary.right.span(), "&(".into(), "))".into());
    }

    fn condition(&mut self, expr: &Expr) {
        if !contains_let(expr) && !matches!(expr, Expr::Binary(binary) if is_logical(&binary.op)) {
            self.negate(expr);
        }
    }

    fn in_function(
        &mut self,
        name: String,
        output: &ReturnType,
        block: &Block,
        visit: impl FnOnce(&mut Self),
    ) {
        self.function.push(name);
        let returns_bool = matches!(output, ReturnType::Type(_, ty) if is_bool(ty));
        let outer = std::mem::replace(&mut self.returns_bool, returns_bool);
        if let Some(Stmt::Expr(tail, None)) = block.stmts.last()
            && returns_bool
            && !contains_let(tail)
            && !matches!(tail, Expr::If(_) | Expr::Match(_) | Expr::Block(_) | Expr::Loop(_))
            && !matches!(tail, Expr::Binary(binary) if is_logical(&binary.op))
        {
            self.negate(tail);
        }
        visit(self);
        self.returns_bool = outer;
        self.function.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        // What is evaluated by the compiler can't be switched.
        if matches!(item, Item::Const(_) | Item::Static(_) | Item::Macro(_) | Item::Enum(_))
            || of_tests(attributes(item))
        {
            return;
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() {
            self.in_function(item.sig.ident.to_string(), &item.sig.output, &item.block, |finder| {
                visit::visit_block(finder, &item.block);
            });
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let ImplItem::Fn(item) = item else { return };
        // What `Debug` and `Display` say is for people.
        if of_tests(&item.attrs) || item.sig.constness.is_some() || item.sig.ident == "fmt" {
            return;
        }
        self.in_function(item.sig.ident.to_string(), &item.sig.output, &item.block, |finder| {
            visit::visit_block(finder, &item.block);
        });
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Local(local) if of_tests(&local.attrs) => return,
            Stmt::Local(local) => {
                if let Some(init) = local.init.as_ref().filter(|init| init.diverge.is_none())
                    && names_condition(&local.pat)
                    && !contains_let(&init.expr)
                    && !matches!(&*init.expr, Expr::Binary(binary) if is_logical(&binary.op))
                {
                    self.negate(&init.expr);
                }
                // What an `else` of `let` does must end in a jump.
                if let Some(init) = local.init.as_ref().filter(|init| init.diverge.is_some()) {
                    return self.visit_expr(&init.expr);
                }
            }
            Stmt::Expr(expr, semicolon) => {
                if of_tests(expression_attributes(expr)) {
                    return;
                }
                match expr {
                    Expr::Assign(_) | Expr::MethodCall(_) | Expr::Call(_) if semicolon.is_some() => {
                        self.skip(statement.span());
                    }
                    Expr::Binary(binary) if is_assignment(&binary.op) => self.skip(statement.span()),
                    Expr::Return(_) if semicolon.is_some() => self.skip(statement.span()),
                    _ => {}
                }
            }
            Stmt::Item(_) | Stmt::Macro(_) => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        if of_tests(expression_attributes(expr)) {
            return;
        }
        match expr {
            Expr::If(one) => self.condition(&one.cond),
            Expr::While(one) => self.condition(&one.cond),
            Expr::Match(one) => {
                for guard in one.arms.iter().filter_map(|arm| arm.guard.as_ref().map(|(_, guard)| guard)) {
                    self.condition(guard);
                }
            }
            Expr::Binary(binary) => match binary.op {
                BinOp::And(_) | BinOp::Or(_) => {
                    let is_and = matches!(binary.op, BinOp::And(_));
                    self.drop_operand(&binary.left, is_and);
                    self.drop_operand(&binary.right, is_and);
                }
                BinOp::Lt(_) => self.compare(binary, "lt", "<="),
                BinOp::Le(_) => self.compare(binary, "le", "<"),
                BinOp::Gt(_) => self.compare(binary, "gt", ">="),
                BinOp::Ge(_) => self.compare(binary, "ge", ">"),
                BinOp::Add(_) | BinOp::Sub(_) => {
                    if let Expr::Lit(literal) = &*binary.right
                        && matches!(&literal.lit, Lit::Int(number) if number.base10_digits() == "1")
                    {
                        let what = format!("`{}`: without the 1", self.text(binary.span()));
                        let number = self.mutation(binary.span(), what);
                        // Literals, so that their type is inferred as that of the 1 was.
                        let one = self.text(literal.span());
                        let zero = one.replacen('1', "0", 1);
                        let choice =
                            format!("(if crate::mutants::is({number}) {{ {zero} }} else {{ {one} }})");
                        self.replace(literal.span(), choice);
                    }
                }
                _ => {}
            },
            Expr::MethodCall(call)
                if (call.method == "min" || call.method == "max") && call.args.len() == 1 =>
            {
                let what = format!("`.{}(…)` of `{}` is the other", call.method, self.text(call.span()));
                let number = self.mutation(call.span(), what);
                let (_, receiver_end) = self.range(call.receiver.span());
                let (argument_start, _) = self.range(call.args[0].span());
                self.around(
                    call.receiver.span(),
                    format!("crate::mutants::{}({number}, ", call.method),
                    "".into(),
                );
                self.edit(receiver_end, argument_start, (1, 0), ", ".into());
            }
            Expr::Closure(closure) if matches!(&*closure.body, Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Not(_))) =>
            {
                self.negate(&closure.body);
            }
            _ => {}
        }
        visit::visit_expr(self, expr);
    }
}

fn is_logical(op: &BinOp) -> bool {
    matches!(op, BinOp::And(_) | BinOp::Or(_))
}

fn is_assignment(op: &BinOp) -> bool {
    use BinOp::{AddAssign, BitAndAssign, BitOrAssign, SubAssign};
    matches!(op, AddAssign(_) | SubAssign(_) | BitOrAssign(_) | BitAndAssign(_))
}

/// `let` in a condition can't be inside parentheses.
fn contains_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => contains_let(&binary.left) || contains_let(&binary.right),
        _ => false,
    }
}

/// `let is_empty = …`: names of conditions begin so.
fn names_condition(pat: &Pat) -> bool {
    let Pat::Ident(ident) = pat else { return false };
    let name = ident.ident.to_string();
    ["is_", "has_", "may_", "can_", "must_", "was_", "had_"].iter().any(|prefix| name.starts_with(prefix))
}

fn is_bool(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("bool"))
}

fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            _ => String::new(),
        };
        attribute.path().is_ident("cfg") && text.contains("test") || attribute.path().is_ident("test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        _ => &[],
    }
}

fn expression_attributes(expr: &Expr) -> &[Attribute] {
    match expr {
        Expr::Assign(one) => &one.attrs,
        Expr::Binary(one) => &one.attrs,
        Expr::Block(one) => &one.attrs,
        Expr::Call(one) => &one.attrs,
        Expr::If(one) => &one.attrs,
        Expr::Macro(one) => &one.attrs,
        Expr::Match(one) => &one.attrs,
        Expr::MethodCall(one) => &one.attrs,
        Expr::Return(one) => &one.attrs,
        _ => &[],
    }
}
