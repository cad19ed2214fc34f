//! Runs calls of entries: the functions that the macro's code uses.

use crate::error::Error;
use crate::input::parameter::Parameter;
use crate::input::{Entry, Input, Storage};
use crate::reply::Reply;

/// Runs one call with the host's input, and sends the reply to the host.
pub fn run(entry: &'static Entry) {
    let outcome =
        Storage::fetch().and_then(|storage| (entry.call)(&mut Input::new(entry, &storage)));
    if let Err(error) = outcome {
        error.reply();
    }
}

/// Fills one parameter.
pub fn take<'a, P: Parameter<'a>>(input: &mut Input<'a>) -> Result<P, Error> {
    let value = P::take(input).map_err(|refusal| input.error(&refusal))?;
    input.parameter += 1;
    Ok(value)
}

/// Refuses values that no parameter took.
pub fn finish(input: &Input<'_>) -> Result<(), Error> {
    if input.left() > 0 {
        return Err(input.surplus());
    }
    Ok(())
}
