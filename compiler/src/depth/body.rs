//! Adds counting to the body of one function.

use wasm_encoder::{BlockType, InstructionSink};
use wasmparser::{BinaryReader, Error, FunctionBody, Operator};

/// A function's body, without its size.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Pairs (offset in the source, offset in `bytes`) where their distance may change.
    pub(super) offsets: Vec<(usize, usize)>,
}

/// Wraps a body that begins at offset `start`. `remaining` is the index of the global; `block` has the
/// results of the function.
pub(super) fn instrument(
    bytes: &[u8],
    start: usize,
    remaining: u32,
    block: BlockType,
) -> Result<Body, Error> {
    let mut operators =
        FunctionBody::new(BinaryReader::new(bytes, start)).get_operators_reader()?;
    let first = operators.original_position();
    let mut out = bytes[..first - start].to_vec();
    InstructionSink::new(&mut out)
        .global_get(remaining)
        .i32_eqz()
        .if_(BlockType::Empty)
        .i32_const(-1)
        .global_set(remaining)
        .unreachable()
        .end()
        .global_get(remaining)
        .i32_const(1)
        .i32_sub()
        .global_set(remaining)
        .block(block);
    let mut offsets = vec![(first, out.len())];
    let mut copied = first;
    // Blocks around the instruction, without the added block around the body.
    let mut nesting = 0_u32;
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => nesting += 1,
            // The last one ends the block around the body.
            Operator::End => nesting = nesting.saturating_sub(1),
            Operator::Return => {
                out.extend_from_slice(&bytes[copied - start..at - start]);
                InstructionSink::new(&mut out).br(nesting);
                copied = operators.original_position();
                offsets.push((copied, out.len()));
            }
            _ => {}
        }
    }
    out.extend_from_slice(&bytes[copied - start..]);
    InstructionSink::new(&mut out)
        .global_get(remaining)
        .i32_const(1)
        .i32_add()
        .global_set(remaining)
        .end();
    Ok(Body {
        bytes: out,
        offsets,
    })
}
