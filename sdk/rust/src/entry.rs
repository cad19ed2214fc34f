//! An entry: what the attribute macro makes of a function, and how a call runs through it.

use crate::error::Error;
use crate::input::{Input, Storage};
use crate::parameter::Parameter;
use crate::reply::Reply;

/// An annotated function, callable with keys and arguments. The macro writes it.
pub struct Entry {
    /// The name it is called by.
    pub name: &'static str,
    /// Name and parameters as they were written, for error replies.
    pub signature: &'static str,
    /// The parameters, in order.
    pub parameters: &'static [Description],
    /// Fills the parameters, calls the function and replies its result.
    pub call: fn(&mut Input<'_>) -> Result<(), Error>,
}

/// A parameter as error replies describe it.
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// Its type as it was written.
    pub type_text: &'static str,
}

/// Runs one call: its input is the host's, its reply goes to the host.
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
