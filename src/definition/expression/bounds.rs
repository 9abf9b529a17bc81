//! What keeps one evaluation small: turns of macros and bytes made on the way are counted in a
//! [`Budget`], which expressions carry as a hidden variable.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use cel::ExecutionError;
use cel::common::types::{CelBool, CelList, CelMap, CelOptional, CelString, Type};
use cel::common::value::{CowVal, StaticVal, Val};

use super::failure::Failure;
use super::values::{key_text, size};

/// Turns of the macros of one expression, inner and outer together.
pub(super) const TURNS_MAX: u32 = 10_000;

/// Bytes that the turns of one evaluation may make on the way to its result.
const WORK_BYTES_MAX: usize = 16 << 20;

/// The variable that holds the budget. No expression can name it.
pub(super) const BUDGET: &str = "@budget";
/// `@tick(@budget)` is true, and counts a turn.
pub(super) const TICK: &str = "@tick";
/// `@tick_nothing(@budget)` holds nothing, and counts a turn.
pub(super) const TICK_NOTHING: &str = "@tick_nothing";
/// `@measured(x, @budget)` is `x`, and counts its bytes.
pub(super) const MEASURED: &str = "@measured";
/// `@ordered(x)` is `x`, or a map's keys in their order.
pub(super) const ORDERED: &str = "@ordered";

static BUDGET_TYPE: Type = Type::new_unspecified_type("budget");

/// What one evaluation has used.
#[derive(Debug, Default)]
pub(super) struct Budget {
    turns: AtomicU32,
    bytes: AtomicUsize,
}

/// The budget as the variable that expressions carry.
#[derive(Debug)]
pub(super) struct SharedBudget(pub(super) Arc<Budget>);

impl Budget {
    /// What was used up, when something was.
    pub(super) fn exceeded(&self) -> Option<Failure> {
        if self.turns.load(Ordering::Relaxed) > TURNS_MAX {
            Some(Failure::TooManyTurns(TURNS_MAX))
        } else if self.bytes.load(Ordering::Relaxed) > WORK_BYTES_MAX {
            Some(Failure::TooLarge(WORK_BYTES_MAX))
        } else {
            None
        }
    }

    pub(super) fn turn(&self) -> Result<(), ExecutionError> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.check()
    }

    pub(super) fn spend(&self, bytes: usize) -> Result<(), ExecutionError> {
        let before = self.bytes.load(Ordering::Relaxed);
        self.bytes
            .store(before.saturating_add(bytes), Ordering::Relaxed);
        self.check()
    }

    fn check(&self) -> Result<(), ExecutionError> {
        self.exceeded().map_or(Ok(()), |failure| {
            Err(ExecutionError::function_error("bounds", failure))
        })
    }
}

impl Val for SharedBudget {
    fn get_type(&self) -> &Type {
        &BUDGET_TYPE
    }
    fn cel_type() -> &'static Type {
        &BUDGET_TYPE
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self(Arc::clone(&self.0)))
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for SharedBudget {}

/// The budget that a call was given as its last argument.
pub(super) fn take_budget<'b, 'v>(
    args: &mut Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)
}

/// The budget itself.
pub(super) fn budget<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a Budget, ExecutionError> {
    value
        .downcast_ref::<SharedBudget>()
        .map(|shared| shared.0.as_ref())
        .ok_or(ExecutionError::MissingArgumentOrTarget)
}

pub(super) fn tick<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args;
    budget(&take_budget(&mut args)?)?.turn()?;
    Ok(CowVal::owned(CelBool::from(true)))
}

pub(super) fn tick_nothing<'b, 'v>(
    args: Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args;
    budget(&take_budget(&mut args)?)?.turn()?;
    Ok(CowVal::owned(CelOptional::none()))
}

pub(super) fn measured<'b, 'v>(
    args: Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args;
    let held = take_budget(&mut args)?;
    let value = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    budget(&held)?.spend(size(value.as_ref(), WORK_BYTES_MAX))?;
    Ok(value)
}

/// The evaluator goes through a map in no particular order; a replay needs one.
pub(super) fn ordered<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut args = args;
    let value = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let Some(map) = value.downcast_ref::<CelMap>() else {
        return Ok(value);
    };
    let mut keys: Vec<_> = map.inner().keys().collect();
    keys.sort();
    let keys: Vec<Box<dyn Val + 'v>> = keys
        .into_iter()
        .map(|key| match key.inner().downcast_ref::<CelString>() {
            Some(_) => Box::new(CelString::from(key_text(key))) as Box<dyn Val + 'v>,
            None => key.inner().clone_as_boxed(),
        })
        .collect();
    Ok(CowVal::owned(CelList::from(keys)))
}
