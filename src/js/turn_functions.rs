//! The functions that JavaScript calls in each turn of its event loop in which something happens.
//!
//! They are closures, and not methods of `NativeNode`: for a method, napi checks the type of its receiver and records what
//! the call borrows, which took an eighth of the time of a call that is made alone.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::{Either, FunctionCallContext, Object};

use super::{Turn, turn};
use crate::driver::Handle;
use crate::raft::Input;
use crate::raft::events::Answered;

/// Longer texts of JavaScript are handled on the driver's thread, so that JavaScript can continue.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// A batch that `perform` returns: its text, or an array of that and the texts beside it.
type Batch = Either<String, Vec<String>>;

/// Sets the properties `perform`, `answered` and `turnOver` of a `NativeNode`.
pub fn set(env: &Env, native: &mut Object, handle: &Handle, turn: &Arc<Turn>) -> napi::Result<()> {
    let node = (handle.clone(), turn.clone());
    let perform = move |call: FunctionCallContext| perform(&node, &call);
    native.set("perform", env.create_function_from_closure::<(), _, _>("perform", perform)?)?;
    let node = (handle.clone(), turn.clone());
    let answered = move |call: FunctionCallContext| answered(&node, &call);
    native.set("answered", env.create_function_from_closure::<(), _, _>("answered", answered)?)?;
    let handle = handle.clone();
    let turn_over = move |_: FunctionCallContext| {
        handle.run_inline(Input::TurnOver);
        Ok(())
    };
    native.set("turnOver", env.create_function_from_closure::<(), _, _>("turnOver", turn_over)?)
}

/// `perform(first, text, mayEvaluate, beside?)`: calls, numbered from `first` on, as `["method",[…args],"method",0,…]`,
/// where 0 stands for the next text of `beside`. If methods may run now, a leader that has nothing else to do returns
/// the batch with their evaluations, which is then not delivered again.
fn perform((handle, turn): &(Handle, Arc<Turn>), call: &FunctionCallContext) -> napi::Result<Option<Batch>> {
    let (first, text) = (call.get::<f64>(0)?, call.get::<String>(1)?);
    let (may_evaluate, beside) = (call.get::<bool>(2)?, beside(call)?);
    let is_large = beside.is_some() || text.len() > INLINE_BYTES_MAX;
    let calls = turn::calls(first as u64, &text, beside.unwrap_or_default());
    let input = Input::Perform(calls.map_err(napi::Error::from_reason)?);
    if !may_evaluate || is_large {
        handle.send(input);
        return Ok(None);
    }
    Ok(handle.run_inline_and_evaluate(input).map(|evaluations| match turn.encode(&evaluations) {
        (text, None) => Either::A(text),
        (text, Some(beside)) => Either::B(std::iter::once(text).chain(beside).collect()),
    }))
}

/// `answered(text, micros, at, beside?)` ends the oldest delivered batch: `[0]` for nothing, `[1,action]`, `[2,error]`,
/// `[3,error]` for a method that is not there, `[4,action,changes]` for one that changes timers,
/// `[5,next,action,changes]` for that of a timer, `[6]` for the action that is the next text of `beside`, one after the
/// other in one flat array; how long these evaluations took, in microseconds; and their time, in milliseconds since
/// 1970. There may be fewer answers than the batch has evaluations: the others are delivered again.
fn answered((handle, turn): &(Handle, Arc<Turn>), call: &FunctionCallContext) -> napi::Result<()> {
    let (text, micros) = (call.get::<String>(0)?, call.get::<f64>(1)?);
    let (at, beside) = (call.get::<f64>(2)?, beside(call)?);
    let (refused, has_next) = turn.end_batch();
    // While JavaScript has another batch, the driver's thread proposes these answers.
    let is_large = beside.is_some() || text.len() > INLINE_BYTES_MAX || has_next;
    let answers = turn::answers(&text, beside.unwrap_or_default(), &refused);
    let answers = answers.map_err(napi::Error::from_reason)?;
    let input = Input::Answered(Answered { answers, micros: micros as u64, at: at as u64 });
    if is_large {
        handle.send(input);
    } else {
        handle.run_inline(input);
    }
    Ok(())
}

/// The last argument, which may be left out.
fn beside(call: &FunctionCallContext) -> napi::Result<Option<Vec<String>>> {
    if call.length() < 4 { Ok(None) } else { call.get(3) }
}
