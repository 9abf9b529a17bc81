//! `+ - * /` over numbers of different kinds, which the evaluator refuses: an integer and a
//! decimal make a decimal. Everything else is the evaluator's own.

use cel::ExecutionError;
use cel::common::ast::operators;
use cel::common::types::{CelBytes, CelDouble, CelInt, CelList, CelString, CelUInt};
use cel::common::value::{CowVal, Val};

use super::bounds::{budget, take_budget};

/// The operators that are replaced, and by what.
pub(super) const RENAMED: [(&str, &str); 4] = [
    (operators::ADD, "@add"),
    (operators::SUBSTRACT, "@subtract"),
    (operators::MULTIPLY, "@multiply"),
    (operators::DIVIDE, "@divide"),
];

#[derive(Clone, Copy)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

pub(super) fn add<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    apply(Operator::Add, args)
}

pub(super) fn subtract<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    apply(Operator::Subtract, args)
}

pub(super) fn multiply<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    apply(Operator::Multiply, args)
}

pub(super) fn divide<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    apply(Operator::Divide, args)
}

fn apply<'b, 'v>(operator: Operator, args: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut args = args;
    let held = take_budget(&mut args)?;
    let (Some(right), Some(left)) = (args.pop(), args.pop()) else {
        return Err(ExecutionError::MissingArgumentOrTarget);
    };
    if let Some(mixed) = mixed(operator, left.as_ref(), right.as_ref()) {
        return mixed;
    }
    if matches!(operator, Operator::Add) {
        budget(&held)?.spend(length(left.as_ref()).saturating_add(length(right.as_ref())))?;
    }
    native(operator, left.as_ref(), right.as_ref()).map(CowVal::Owned)
}

fn native<'v>(
    operator: Operator,
    left: &(dyn Val + 'v),
    right: &(dyn Val + 'v),
) -> Result<Box<dyn Val + 'v>, ExecutionError> {
    let unsupported = |name: &str| {
        ExecutionError::no_such_overload(
            name,
            vec![
                left.get_type().name().to_owned(),
                right.get_type().name().to_owned(),
            ],
        )
    };
    let result = match operator {
        Operator::Add => left.as_adder().ok_or_else(|| unsupported("+"))?.add(right),
        Operator::Subtract => left
            .as_subtractor()
            .ok_or_else(|| unsupported("-"))?
            .sub(right),
        Operator::Multiply => left
            .as_multiplier()
            .ok_or_else(|| unsupported("*"))?
            .mul(right),
        Operator::Divide => left
            .as_divider()
            .ok_or_else(|| unsupported("/"))?
            .div(right),
    };
    result.map(CowVal::into_owned)
}

/// How much an addition copies of a value.
fn length(value: &dyn Val) -> usize {
    if let Some(text) = value.downcast_ref::<CelString>() {
        text.inner().len()
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        bytes.inner().len()
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        super::values::size(list, usize::MAX / 2)
    } else {
        0
    }
}

#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Unsigned(u64),
    Decimal(f64),
}

impl Number {
    fn of(value: &dyn Val) -> Option<Self> {
        if let Some(value) = value.downcast_ref::<CelInt>() {
            Some(Self::Int(*value.inner()))
        } else if let Some(value) = value.downcast_ref::<CelUInt>() {
            Some(Self::Unsigned(*value.inner()))
        } else {
            value
                .downcast_ref::<CelDouble>()
                .map(|value| Self::Decimal(*value.inner()))
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a decimal is what was asked for"
    )]
    fn decimal(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Decimal(value) => value,
        }
    }
}

/// The result for two numbers of different kinds; `None` for anything else.
fn mixed<'b, 'v>(operator: Operator, left: &dyn Val, right: &dyn Val) -> Option<Answer<'b, 'v>> {
    let (left, right) = (Number::of(left)?, Number::of(right)?);
    match (left, right) {
        (Number::Int(left), Number::Unsigned(right)) => {
            Some(whole(operator, i128::from(left), i128::from(right)))
        }
        (Number::Unsigned(left), Number::Int(right)) => {
            Some(whole(operator, i128::from(left), i128::from(right)))
        }
        (Number::Decimal(_), Number::Int(_) | Number::Unsigned(_))
        | (Number::Int(_) | Number::Unsigned(_), Number::Decimal(_)) => {
            let (left, right) = (left.decimal(), right.decimal());
            let result = match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide => left / right,
            };
            Some(Ok(CowVal::owned(CelDouble::from(result))))
        }
        (Number::Int(_), Number::Int(_))
        | (Number::Unsigned(_), Number::Unsigned(_))
        | (Number::Decimal(_), Number::Decimal(_)) => None,
    }
}

/// Signed and unsigned integers together, in as many bits as both need.
fn whole<'b, 'v>(operator: Operator, left: i128, right: i128) -> Answer<'b, 'v> {
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide if right == 0 => {
            return Err(ExecutionError::DivisionByZero(cel::Value::Null));
        }
        Operator::Divide => left.checked_div(right),
    };
    let overflow = || ExecutionError::Overflow("arithmetic", cel::Value::Null, cel::Value::Null);
    let result = result.ok_or_else(overflow)?;
    if let Ok(signed) = i64::try_from(result) {
        Ok(CowVal::owned(CelInt::from(signed)))
    } else {
        u64::try_from(result)
            .map(|unsigned| CowVal::owned(CelUInt::from(unsigned)))
            .map_err(|_out_of_range| overflow())
    }
}
