//! From the parsed expression to the one that is evaluated: paths into the facts become
//! variables, arithmetic and macros become their bounded forms. Every name is checked on the way.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};

use super::arithmetic::RENAMED;
use super::bounds::{BUDGET, MEASURED, ORDERED, TICK, TICK_NOTHING};
use super::functions::{self, TYPES};
use super::kind::appends;
use super::names::{Fault, Names};
use super::path::{Path, Segment};

/// The rewriting of one expression.
pub(super) struct Rewrite<'a> {
    names: Names<'a>,
    bound: Vec<String>,
    /// The paths found; the variable `@n` stands for the `n`th.
    pub(super) paths: Vec<Path>,
    /// What is wrong.
    pub(super) faults: Vec<Fault>,
    /// Whether the budget is used.
    pub(super) bounded: bool,
}

/// The variable that stands for the path at `index`.
pub(super) fn variable(index: usize) -> String {
    format!("@{index}")
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(names: Names<'a>) -> Self {
        Self {
            names,
            bound: Vec::new(),
            paths: Vec::new(),
            faults: Vec::new(),
            bounded: false,
        }
    }

    pub(super) fn expression(&mut self, expr: IdedExpr) -> IdedExpr {
        if let Some((root, segments)) = self.chain(&expr.expr)
            && Names::is_root(&root)
        {
            return self.path(&root, segments, expr);
        }
        let IdedExpr { id, expr } = expr;
        let expr = match expr {
            Expr::Ident(name) => {
                self.check_ident(&name);
                Expr::Ident(name)
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => {
                return self.comprehension(id, *comprehension);
            }
            Expr::List(list) => Expr::List(ListExpr {
                elements: self.all(list.elements),
                optional_indices: list.optional_indices,
            }),
            Expr::Map(mut map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        entry.key = self.expression(std::mem::take(&mut entry.key));
                        entry.value = self.expression(std::mem::take(&mut entry.value));
                    }
                }
                Expr::Map(map)
            }
            Expr::Select(mut select) => {
                if !self.is_type_name(&select.operand.expr) {
                    *select.operand = self.expression(std::mem::take(&mut select.operand));
                }
                Expr::Select(select)
            }
            Expr::Struct(literal) => {
                let message = format!(
                    "`{}` is not a type that can be made here.",
                    literal.type_name
                );
                self.faults.push(Fault::new("unknown_name", message));
                Expr::Literal(LiteralValue::Null)
            }
            Expr::Literal(literal) => Expr::Literal(literal),
            Expr::Unspecified => Expr::Literal(LiteralValue::Null),
        };
        IdedExpr { id, expr }
    }

    fn all(&mut self, list: Vec<IdedExpr>) -> Vec<IdedExpr> {
        list.into_iter().map(|expr| self.expression(expr)).collect()
    }

    /// The free name and the selections on it, when `expr` is nothing but that.
    fn chain(&self, expr: &Expr) -> Option<(String, Vec<Segment>)> {
        match expr {
            Expr::Ident(name) if !self.bound.contains(name) => Some((name.clone(), Vec::new())),
            Expr::Select(select) => {
                let (root, mut segments) = self.chain(&select.operand.expr)?;
                let field = select.field.clone();
                segments.push(if select.test {
                    Segment::Has(field)
                } else {
                    Segment::Key(field)
                });
                Some((root, segments))
            }
            Expr::Call(call) => {
                let [operand, index] = call.args.as_slice() else {
                    return None;
                };
                let optional = match call.func_name.as_str() {
                    operators::INDEX => false,
                    operators::OPT_INDEX | operators::OPT_SELECT => true,
                    _ => return None,
                };
                let Expr::Literal(literal) = &index.expr else {
                    return None;
                };
                let (root, mut segments) = self.chain(&operand.expr)?;
                segments.push(segment(literal, optional)?);
                Some((root, segments))
            }
            Expr::Ident(_)
            | Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => None,
        }
    }

    fn path(&mut self, root: &str, segments: Vec<Segment>, expr: IdedExpr) -> IdedExpr {
        match self.names.path(root, segments) {
            Ok(path) => {
                let index = self
                    .paths
                    .iter()
                    .position(|known| *known == path)
                    .unwrap_or_else(|| {
                        self.paths.push(path);
                        self.paths.len() - 1
                    });
                IdedExpr {
                    id: expr.id,
                    expr: Expr::Ident(variable(index)),
                }
            }
            Err(fault) => {
                self.faults.push(fault);
                expr
            }
        }
    }

    fn check_ident(&mut self, name: &str) {
        if !self.bound.iter().any(|bound| bound == name) && !TYPES.contains(&name) {
            self.faults.push(Names::unknown(name));
        }
    }

    fn is_type_name(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Ident(name) => name == "google" && !self.bound.contains(name),
            Expr::Select(select) => self.is_type_name(&select.operand.expr),
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => false,
        }
    }

    fn call(&mut self, call: CallExpr) -> Expr {
        let CallExpr {
            func_name,
            target,
            args,
        } = call;
        let on_optional = target.as_ref().is_some_and(|target| {
            matches!(&target.expr, Expr::Ident(name) if name == "optional" && !self.bound.contains(name))
        });
        if let Some(fault) = functions::check(&func_name, on_optional) {
            self.faults.push(fault);
        }
        let target = if on_optional {
            target
        } else {
            target.map(|target| Box::new(self.expression(*target)))
        };
        let mut args = self.all(args);
        let renamed = RENAMED.iter().find(|(operator, _)| *operator == func_name);
        match renamed {
            Some((_, name)) if target.is_none() && args.len() == 2 => {
                args.push(self.budget());
                Expr::Call(CallExpr {
                    func_name: (*name).to_owned(),
                    target,
                    args,
                })
            }
            Some(_) | None => Expr::Call(CallExpr {
                func_name,
                target,
                args,
            }),
        }
    }

    fn budget(&mut self) -> IdedExpr {
        self.bounded = true;
        IdedExpr {
            id: 0,
            expr: Expr::Ident(BUDGET.to_owned()),
        }
    }

    fn bounded_call(&mut self, name: &str, of: Option<IdedExpr>) -> IdedExpr {
        let mut args: Vec<IdedExpr> = of.into_iter().collect();
        args.push(self.budget());
        call(name, args)
    }

    /// Counts the turns of a macro, and the bytes that each makes. `map` and `filter` keep the
    /// shape by which the evaluator knows that it may append in place.
    fn comprehension(&mut self, id: u64, comprehension: ComprehensionExpr) -> IdedExpr {
        let mut inner = comprehension;
        let range = self.expression(std::mem::take(&mut inner.iter_range));
        let plain = matches!(range.expr, Expr::List(_) | Expr::Literal(_));
        inner.iter_range = if plain {
            range
        } else {
            call(ORDERED, vec![range])
        };
        inner.accu_init = self.expression(inner.accu_init);
        let outer = self.bound.len();
        self.bound.push(inner.iter_var.clone());
        self.bound.extend(inner.iter_var2.clone());
        self.bound.push(inner.accu_var.clone());
        if appends(&inner) {
            inner.loop_step = self.appending(inner.loop_step);
        } else {
            let condition = self.expression(inner.loop_cond);
            let tick = self.bounded_call(TICK, None);
            inner.loop_cond = conditional(tick, condition, false_literal());
            inner.loop_step = self.expression(inner.loop_step);
            let result = self.expression(inner.result);
            inner.result = self.bounded_call(MEASURED, Some(result));
        }
        self.bound.truncate(outer);
        IdedExpr {
            id,
            expr: Expr::Comprehension(Box::new(inner)),
        }
    }

    /// The step of a `map` or `filter`: `@result + [x]`, or `guard ? @result + [x] : @result`.
    fn appending(&mut self, step: IdedExpr) -> IdedExpr {
        let IdedExpr { id, expr } = step;
        let Expr::Call(CallExpr {
            func_name,
            target,
            mut args,
        }) = expr
        else {
            return IdedExpr { id, expr };
        };
        if func_name == operators::CONDITIONAL {
            if let [guard, append, _] = args.as_mut_slice() {
                let condition = self.expression(std::mem::take(guard));
                let tick = self.bounded_call(TICK, None);
                *guard = conditional(tick, condition, false_literal());
                *append = self.append(std::mem::take(append), false);
            }
            IdedExpr {
                id,
                expr: Expr::Call(CallExpr {
                    func_name,
                    target,
                    args,
                }),
            }
        } else {
            let append = IdedExpr {
                id,
                expr: Expr::Call(CallExpr {
                    func_name,
                    target,
                    args,
                }),
            };
            self.append(append, true)
        }
    }

    fn append(&mut self, step: IdedExpr, counted: bool) -> IdedExpr {
        let IdedExpr { id, expr } = step;
        let Expr::Call(CallExpr {
            func_name,
            target,
            mut args,
        }) = expr
        else {
            return IdedExpr { id, expr };
        };
        if let Some(items) = args.last_mut()
            && let Expr::List(list) = &mut items.expr
        {
            let elements = self.all(std::mem::take(&mut list.elements));
            let measured = elements
                .into_iter()
                .map(|item| self.bounded_call(MEASURED, Some(item)));
            list.elements = measured.collect();
            if counted {
                let tick = self.bounded_call(TICK_NOTHING, None);
                list.elements.insert(0, tick);
                list.optional_indices = vec![0];
            }
        }
        IdedExpr {
            id,
            expr: Expr::Call(CallExpr {
                func_name,
                target,
                args,
            }),
        }
    }
}

fn segment(literal: &LiteralValue, optional: bool) -> Option<Segment> {
    match literal {
        LiteralValue::String(key) => {
            let key = key.inner().to_owned();
            Some(if optional {
                Segment::OptionalKey(key)
            } else {
                Segment::Key(key)
            })
        }
        LiteralValue::Int(index) => {
            let index = *index.inner();
            Some(if optional {
                Segment::OptionalIndex(index)
            } else {
                Segment::Index(index)
            })
        }
        LiteralValue::Boolean(_)
        | LiteralValue::Bytes(_)
        | LiteralValue::Double(_)
        | LiteralValue::Null
        | LiteralValue::UInt(_) => None,
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let func_name = name.to_owned();
    IdedExpr {
        id: 0,
        expr: Expr::Call(CallExpr {
            func_name,
            target: None,
            args,
        }),
    }
}

fn conditional(condition: IdedExpr, then: IdedExpr, otherwise: IdedExpr) -> IdedExpr {
    call(operators::CONDITIONAL, vec![condition, then, otherwise])
}

fn false_literal() -> IdedExpr {
    IdedExpr {
        id: 0,
        expr: Expr::Literal(LiteralValue::Boolean(false.into())),
    }
}
