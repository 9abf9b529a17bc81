//! What an expression's form tells: the kind of value it can give, and how deep it is nested.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// What an expression's form says of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It gives true or false, or may.
    Possible,
    /// It cannot give true or false.
    NotBoolean,
}

const NOT_BOOLEAN: [&str; 26] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    operators::OPT_INDEX,
    operators::OPT_SELECT,
    "bytes",
    "double",
    "duration",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "size",
    "string",
    "timestamp",
    "uint",
];

/// The kind of `expr`.
pub(super) fn kind(expr: &IdedExpr) -> Kind {
    let cannot = match &expr.expr {
        Expr::Literal(literal) => !matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => true,
        Expr::Ident(name) => matches!(name.as_str(), "saga" | "steps" | "failure"),
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => call
            .args
            .iter()
            .skip(1)
            .all(|branch| kind(branch) == Kind::NotBoolean),
        Expr::Call(call) => NOT_BOOLEAN.contains(&call.func_name.as_str()),
        Expr::Comprehension(inner) => {
            matches!(inner.accu_init.expr, Expr::List(_)) && inner.accu_var.starts_with('@')
        }
        Expr::Select(select) => {
            !select.test && is_text(select.field.as_str(), &select.operand.expr)
        }
        Expr::Unspecified => false,
    };
    if cannot {
        Kind::NotBoolean
    } else {
        Kind::Possible
    }
}

/// Whether it is one of the facts that are texts or numbers: `saga.…`, `failure.…`,
/// `steps.<id>.status`.
fn is_text(field: &str, operand: &Expr) -> bool {
    match operand {
        Expr::Ident(name) => matches!(name.as_str(), "saga" | "failure"),
        Expr::Select(inner) => {
            field == "status" && matches!(&inner.operand.expr, Expr::Ident(name) if name == "steps")
        }
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_) => false,
    }
}

/// How deep an expression is nested, counted without recursion.
pub(super) fn depth(expr: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(expr, 1_usize)];
    while let Some((expr, depth)) = open.pop() {
        deepest = deepest.max(depth);
        let mut push = |child| open.push((child, depth + 1));
        match &expr.expr {
            Expr::Call(call) => {
                call.args.iter().for_each(&mut push);
                call.target.iter().for_each(|target| push(target));
            }
            Expr::Comprehension(inner) => {
                push(&inner.iter_range);
                push(&inner.accu_init);
                push(&inner.loop_cond);
                push(&inner.loop_step);
                push(&inner.result);
            }
            Expr::List(list) => list.elements.iter().for_each(push),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        push(&entry.key);
                        push(&entry.value);
                    }
                }
            }
            Expr::Select(select) => push(&select.operand),
            Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }
    deepest
}

/// Whether the evaluator appends to the accumulator in place (its `AppendStep`).
pub(super) fn appends(comprehension: &ComprehensionExpr) -> bool {
    let is_accu = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if *name == comprehension.accu_var);
    let is_append = |expr: &IdedExpr| {
        matches!(&expr.expr, Expr::Call(call)
            if call.func_name == operators::ADD
                && call.target.is_none()
                && matches!(call.args.as_slice(), [accu, items]
                    if is_accu(accu) && matches!(items.expr, Expr::List(_))))
    };
    let step = &comprehension.loop_step;
    let shape = is_append(step)
        || matches!(&step.expr, Expr::Call(call)
            if call.func_name == operators::CONDITIONAL
                && matches!(call.args.as_slice(), [_, append, otherwise]
                    if is_append(append) && is_accu(otherwise)));
    shape
        && is_accu(&comprehension.result)
        && comprehension.accu_var.starts_with('@')
        && matches!(comprehension.loop_cond.expr, Expr::Literal(_))
}
